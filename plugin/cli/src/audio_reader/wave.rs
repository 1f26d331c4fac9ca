//! WAV files and their relatives: RIFF, RIFX (big-endian), RF64, BW64 and Sony Wave64.
//!
//! Sizes in headers are often wrong, and most programs forgive that. The RIFF size is not used at all; the size of the
//! `data` chunk only if it is possible.

use std::ops::Range;

use anyhow::{Result, anyhow, bail, ensure};
use symphonia::core::codecs::audio::well_known::{CODEC_ID_ADPCM_IMA_WAV, CODEC_ID_ADPCM_MS};

use super::errors::{CUT_SHORT, Unsupported, ensure_supported};
use super::raw::{ByteOrder, PcmKind, RawAudio, RawFormat};
use super::source::Window;

/// Format tags.
const PCM: u16 = 1;
const ADPCM_MS: u16 = 2;
const FLOAT: u16 = 3;
const A_LAW: u16 = 6;
const MU_LAW: u16 = 7;
const ADPCM_IMA: u16 = 0x11;
const MPEG: u16 = 0x50;
const MP3: u16 = 0x55;
const EXTENSIBLE: u16 = 0xFFFE;

/// How many bytes the `data` chunk may declare too many: programs that count the header do so. A file that was cut
/// short lacks more.
const MAX_EXCESS: u64 = 64;

/// GUIDs of Wave64.
const W64_RIFF: &[u8; 16] = b"riff\x2E\x91\xCF\x11\xA5\xD6\x28\xDB\x04\xC1\x00\x00";
/// The end of the GUIDs of Wave64's chunks, behind four letters.
const W64_CHUNK: &[u8; 12] = b"\xF3\xAC\xD3\x11\x8C\xD1\x00\xC0\x4F\x8E\xDB\x8A";

/// Chunks that begin at an odd offset where a pad byte is missing.
const KNOWN: [&[u8; 4]; 10] =
    [b"fmt ", b"data", b"fact", b"LIST", b"bext", b"JUNK", b"junk", b"id3 ", b"cue ", b"smpl"];

/// The audio of a WAV file.
pub enum WaveAudio {
    Raw(RawAudio),
    /// MPEG audio in these bytes.
    Mpeg(Range<u64>, Vec<String>),
}

/// The variants of the header.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Variant {
    Riff(ByteOrder),
    /// 64-bit sizes in the chunk `ds64`.
    Rf64,
    Wave64,
}

impl Variant {
    fn of(head: &[u8]) -> Option<Self> {
        match head {
            [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'A', b'V', b'E', ..] => {
                Some(Self::Riff(ByteOrder::Little))
            }
            [b'R', b'I', b'F', b'X', _, _, _, _, b'W', b'A', b'V', b'E', ..] => {
                Some(Self::Riff(ByteOrder::Big))
            }
            [b'R', b'F', b'6', b'4', ..] | [b'B', b'W', b'6', b'4', ..] if head[8..].starts_with(b"WAVE") => {
                Some(Self::Rf64)
            }
            _ if head.starts_with(W64_RIFF) => Some(Self::Wave64),
            _ => None,
        }
    }

    fn order(self) -> ByteOrder {
        match self {
            Self::Riff(order) => order,
            Self::Rf64 | Self::Wave64 => ByteOrder::Little,
        }
    }
}

/// Whether the file begins, with its 24 bytes `head`, like a WAV file.
pub fn is_wave(head: &[u8]) -> bool {
    head.len() >= 12 && Variant::of(head).is_some()
}

struct Chunk {
    id: [u8; 4],
    /// Offset of the content.
    start: u64,
    /// The declared size of the content.
    size: u64,
}

impl Chunk {
    fn end(&self) -> u64 {
        self.start.saturating_add(self.size)
    }
}

/// Finds the audio.
///
/// # Errors
/// If the file is cut short or damaged, or its codec is not supported.
pub fn parse(window: &mut Window) -> Result<WaveAudio> {
    let variant = Variant::of(window.get(0, 24)?).ok_or_else(|| anyhow!("is not a WAV file"))?;
    let mut file = WaveFile { variant, ..WaveFile::default() };
    let mut offset = if variant == Variant::Wave64 { 40 } else { 12 };
    while let Some(chunk) = file.next_chunk(window, offset)? {
        offset = file.add(window, &chunk)?;
    }
    file.finish()
}

struct WaveFile {
    variant: Variant,
    format: Option<Vec<u8>>,
    /// The contents of the `data` chunks.
    data: Vec<Range<u64>>,
    /// Size of the audio in `ds64`, in bytes.
    data_size: Option<u64>,
    /// Frames in `fact`.
    frames: Option<u64>,
    warnings: Vec<String>,
}

impl Default for WaveFile {
    fn default() -> Self {
        Self {
            variant: Variant::Rf64,
            format: None,
            data: Vec::new(),
            data_size: None,
            frames: None,
            warnings: Vec::new(),
        }
    }
}

impl WaveFile {
    /// The chunk at `offset`; `None` at the end of the file, or where no chunk is behind the audio.
    fn next_chunk(&self, window: &mut Window, offset: u64) -> Result<Option<Chunk>> {
        let header_size = if self.variant == Variant::Wave64 { 24 } else { 8 };
        let header = window.get(offset, header_size)?;
        let is_chunk = header.len() == header_size
            && header[..4].iter().all(|byte| (b' '..=b'~').contains(byte))
            && (self.variant != Variant::Wave64 || header[4..16] == *W64_CHUNK);
        if !is_chunk {
            ensure!(
                !self.data.is_empty() || header.len() == header_size,
                "{CUT_SHORT}: no audio behind the header. Get the file again"
            );
            ensure!(
                !self.data.is_empty(),
                "damaged: no chunk at byte {offset}, before the audio. Get the file again"
            );
            return Ok(None);
        }
        let id = header[..4].try_into().expect("four bytes");
        let size = match self.variant {
            // The size includes the header.
            Variant::Wave64 => little(&header[16..24]).saturating_sub(24),
            _ => number(&header[4..8], self.variant.order()),
        };
        Ok(Some(Chunk { id, start: offset + header_size as u64, size }))
    }

    /// Takes what is needed of the chunk. Returns the offset of the next one.
    fn add(&mut self, window: &mut Window, chunk: &Chunk) -> Result<u64> {
        if &chunk.id == b"data" {
            return self.add_data(window, chunk);
        }
        let length = window.length();
        if chunk.end() > length && self.data.is_empty() {
            bail!(
                "{CUT_SHORT}: it ends within the chunk \"{}\". Get the file again",
                chunk.id.escape_ascii()
            );
        }
        let content = window.get(chunk.start, chunk.size.min(1_024) as usize)?.to_vec();
        match &chunk.id {
            b"fmt " if self.format.is_none() => self.format = Some(content),
            b"ds64" if content.len() >= 16 => self.data_size = Some(little(&content[8..16])),
            b"fact" if content.len() >= 4 => {
                self.frames = Some(number(&content[..4], self.variant.order()));
            }
            _ => {}
        }
        self.behind(window, chunk)
    }

    /// The offset of the chunk behind `chunk`.
    fn behind(&mut self, window: &mut Window, chunk: &Chunk) -> Result<u64> {
        let end = chunk.end();
        if self.variant == Variant::Wave64 {
            return Ok(end.next_multiple_of(8));
        }
        if end.is_multiple_of(2) || end >= window.length() {
            return Ok(end);
        }
        let is_known = |bytes: &[u8]| KNOWN.iter().any(|known| bytes == *known);
        if is_known(window.get(end, 4)?) && !is_known(window.get(end + 1, 4)?) {
            self.warnings.push(format!(
                "the chunk \"{}\" lacks its pad byte; read without it",
                chunk.id.escape_ascii()
            ));
            return Ok(end);
        }
        Ok(end + 1)
    }

    fn add_data(&mut self, window: &mut Window, chunk: &Chunk) -> Result<u64> {
        let length = window.length();
        let available = length - chunk.start.min(length);
        let mut size = chunk.size;
        if let (Variant::Rf64, 0xFFFF_FFFF, Some(true_size)) = (self.variant, size, self.data_size) {
            size = true_size;
        }
        if is_unknown(size) || (size == 0 && available > 0 && !self.ends_in_chunks(window, chunk)?) {
            self.warnings.push(format!(
                "the length of the audio is unknown (the header says {size} bytes); read to the end of the file"
            ));
            size = available;
        } else if size > available && size - available <= MAX_EXCESS && available > 0 {
            self.warnings.push(format!(
                "the header declares {} bytes of audio more than there are; read to the end of the file",
                size - available
            ));
            size = available;
        }
        ensure!(
            size <= available,
            "{CUT_SHORT}: the file ends before its audio: {available} of {size} bytes. Get the file again, or convert \
             it to WAV or FLAC"
        );
        if size > 0 {
            if self.data.len() == 1 {
                self.warnings.push("several chunks of audio; read one after another".into());
            }
            self.data.push(chunk.start..chunk.start + size);
        } else if self.data.is_empty() {
            self.data.push(chunk.start..chunk.start);
        }
        self.behind(window, &Chunk { size, ..*chunk })
    }

    /// Whether only chunks are behind the empty `chunk`.
    fn ends_in_chunks(&mut self, window: &mut Window, chunk: &Chunk) -> Result<bool> {
        let mut offset = chunk.start;
        while offset + 8 <= window.length() {
            let header = window.get(offset, 8)?;
            if !header[..4].iter().all(|byte| (b' '..=b'~').contains(byte)) {
                return Ok(false);
            }
            let size = number(&header[4..8], self.variant.order());
            offset = (offset + 8).saturating_add(size).next_multiple_of(2);
        }
        Ok(offset <= window.length() + 1)
    }

    fn finish(self) -> Result<WaveAudio> {
        ensure!(!self.data.is_empty(), "damaged: no chunk \"data\", hence no audio. Get the file again");
        let Some(format) = &self.format else {
            bail!("damaged: no chunk \"fmt \", which tells the format. Get the file again");
        };
        ensure!(
            format.len() >= 14,
            "damaged: chunk \"fmt \" of {} bytes; expected 16. Get the file again",
            format.len()
        );
        let order = self.variant.order();
        let field = |at: usize| format.get(at..at + 2).map_or(0, |bytes| number(bytes, order) as u16);
        let (channels, rate) = (field(2), number(&format[4..8], order) as u32);
        let (align, bits) = (field(12), field(14));
        let tag = match field(0) {
            // The subformat's GUID begins with the tag.
            EXTENSIBLE => field(24),
            tag => tag,
        };
        ensure_supported(rate, usize::from(channels))?;
        // The bytes per sample follow from the block, because the number of bits may be smaller or missing.
        let bytes = match u64::from(align) / u64::from(channels) {
            0 => u64::from(bits).div_ceil(8),
            bytes => bytes,
        };
        let pcm = |kind| RawFormat::pcm(kind, order, bytes, rate, channels);
        let format = match tag {
            PCM if bytes == 1 => pcm(PcmKind::Unsigned)?,
            PCM => pcm(PcmKind::Signed)?,
            FLOAT => pcm(PcmKind::Float)?,
            A_LAW => pcm(PcmKind::ALaw)?,
            MU_LAW => pcm(PcmKind::MuLaw)?,
            ADPCM_MS | ADPCM_IMA => adpcm(tag, rate, channels, u64::from(align))?,
            MPEG | MP3 => {
                let start = self.data.first().map_or(0, |range| range.start);
                let end = self.data.last().map_or(0, |range| range.end);
                return Ok(WaveAudio::Mpeg(start..end, self.warnings));
            }
            tag => bail!(Unsupported::Kind(format!("WAV with the codec {tag:#06x}"))),
        };
        // PCM needs no count of frames, and some programs write a wrong one.
        let frames = self.frames.filter(|_| format.block_frames > 1);
        Ok(WaveAudio::Raw(RawAudio { format, ranges: self.data, frames, warnings: self.warnings }))
    }
}

/// The format of ADPCM in blocks of `align` bytes: a header per channel, then 4 bits per sample.
fn adpcm(tag: u16, rate: u32, channels: u16, align: u64) -> Result<RawFormat> {
    // Samples in the header, and its bytes.
    let (codec, samples, bytes) = match tag {
        ADPCM_MS => (CODEC_ID_ADPCM_MS, 2, 7),
        _ => (CODEC_ID_ADPCM_IMA_WAV, 1, 4),
    };
    let channel_size = align / u64::from(channels);
    ensure!(channel_size > bytes, "damaged: ADPCM in blocks of {align} bytes. Get the file again");
    let block_frames = (channel_size - bytes) * 2 + samples;
    Ok(RawFormat { codec, rate, channels, block_size: align, block_frames })
}

/// Whether a program that wrote to a pipe declared `size`: about 4 GiB or 2 GiB, less the header.
fn is_unknown(size: u64) -> bool {
    (0xFFFF_FF00..=0xFFFF_FFFF).contains(&size)
        || (0x7FFF_F000..=0x8000_0000).contains(&size)
        || size >= 0x7FFF_FFFF_FFFF_F000
}

fn little(bytes: &[u8]) -> u64 {
    number(bytes, ByteOrder::Little)
}

/// The unsigned number in up to 8 `bytes`.
fn number(bytes: &[u8], order: ByteOrder) -> u64 {
    let add = |number: u64, &byte: &u8| number << 8 | u64::from(byte);
    match order {
        ByteOrder::Little => bytes.iter().rev().fold(0, add),
        ByteOrder::Big => bytes.iter().fold(0, add),
    }
}
