//! AIFF, AIFC, CAF and AU: headers of big-endian numbers.

use anyhow::{Result, bail, ensure};

use super::errors::{CUT_SHORT, Unsupported, ensure_supported};
use super::packets::Trim;
use super::raw::{ByteOrder, PcmKind, RawAudio, RawFormat};
use super::source::Window;

/// The unsigned number in up to 8 `bytes`.
pub fn number(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0, |number, &byte| number << 8 | u64::from(byte))
}

/// The sample rate in hertz for `rate`, where it is a number that fits.
fn whole_rate(rate: f64) -> u32 {
    if rate.is_finite() { rate.round() as u32 } else { 0 }
}

/// What the end of the audio is: `size` bytes behind `start`, or the end of the file if the size is unknown.
///
/// # Errors
/// If the file is cut short.
fn audio_end(
    window: &Window,
    start: u64,
    size: u64,
    is_unknown: bool,
    warnings: &mut Vec<String>,
) -> Result<u64> {
    let available = window.length().saturating_sub(start);
    if is_unknown {
        warnings.push("the length of the audio is unknown; read to the end of the file".into());
        return Ok(start + available);
    }
    ensure!(
        size <= available,
        "{CUT_SHORT}: the file ends before its audio: {available} of {size} bytes. Get the file again, or convert it \
         to WAV or FLAC"
    );
    Ok(start + size)
}

/// Finds the audio of an AIFF or AIFC file.
///
/// # Errors
/// If the file is cut short or damaged, or its codec is not supported.
pub fn parse_aiff(window: &mut Window) -> Result<RawAudio> {
    let mut common = None;
    let mut ranges = Vec::new();
    let mut warnings = Vec::new();
    let mut offset = 12;
    while let Some(header) = window.array::<8>(offset)? {
        let (id, size) = (&header[..4], number(&header[4..]));
        let start = offset + 8;
        match id {
            b"COMM" => common = Some(window.get(start, size.min(256) as usize)?.to_vec()),
            b"SSND" => {
                let skip = window.array::<8>(start)?.map_or(0, |fields| number(&fields[..4]));
                let available = window.length().saturating_sub(start + 8);
                let is_unknown = (size < 8 && available > 0) || (size >= 0x7FFF_F000 && size > available + 8);
                let audio = start + 8 + skip;
                let size = size.saturating_sub(8 + skip);
                let end = audio_end(window, audio, size, is_unknown, &mut warnings)?;
                ranges.push(audio..end.max(audio));
                offset = end.next_multiple_of(2);
                continue;
            }
            _ => {}
        }
        // A chunk of odd size has a pad byte.
        offset = start.saturating_add(size).next_multiple_of(2);
    }
    let Some(common) = common.filter(|common| common.len() >= 18) else {
        bail!("{CUT_SHORT} or damaged: no chunk \"COMM\", which tells the format. Get the file again");
    };
    ensure!(!ranges.is_empty(), "contains no audio");
    let (channels, bits) = (number(&common[..2]) as u16, number(&common[6..8]));
    let rate = whole_rate(extended(&common[8..18]));
    ensure_supported(rate, usize::from(channels))?;
    let bytes = bits.div_ceil(8);
    let (kind, order, bytes) = match common.get(18..22).unwrap_or(b"NONE") {
        b"NONE" | b"twos" | b"in16" | b"in24" | b"in32" => (PcmKind::Signed, ByteOrder::Big, bytes),
        b"sowt" => (PcmKind::Signed, ByteOrder::Little, bytes),
        b"raw " => (PcmKind::Unsigned, ByteOrder::Big, bytes),
        b"fl32" | b"FL32" => (PcmKind::Float, ByteOrder::Big, 4),
        b"fl64" | b"FL64" => (PcmKind::Float, ByteOrder::Big, 8),
        b"alaw" | b"ALAW" => (PcmKind::ALaw, ByteOrder::Big, 1),
        b"ulaw" | b"ULAW" => (PcmKind::MuLaw, ByteOrder::Big, 1),
        codec => bail!(Unsupported::Kind(format!("AIFC with the codec \"{}\"", codec.escape_ascii()))),
    };
    let format = RawFormat::pcm(kind, order, bytes, rate, channels)?;
    Ok(RawAudio { format, ranges, frames: None, warnings })
}

/// An 80-bit float: sign and exponent, then the mantissa.
fn extended(bytes: &[u8]) -> f64 {
    let exponent = number(&bytes[..2]) as i32 & 0x7FFF;
    number(&bytes[2..10]) as f64 * f64::from(exponent - 16_383 - 63).exp2()
}

/// The audio of a CAF file.
pub enum CafAudio {
    Raw(RawAudio),
    Compressed(CompressedCaf),
}

/// Compressed audio in CAF.
#[derive(Default)]
pub struct CompressedCaf {
    /// Corrections of the header: offsets and bytes.
    pub patches: Vec<(u64, Vec<u8>)>,
    /// The samples that are audio.
    pub trim: Option<Trim>,
    /// Samples per packet; 0 if they vary.
    pub packet: u64,
    pub warnings: Vec<String>,
}

/// Finds the audio of a CAF file.
///
/// # Errors
/// If the file is cut short or damaged.
pub fn parse_caf(window: &mut Window) -> Result<CafAudio> {
    let mut description = None;
    let mut data = None;
    let CompressedCaf { mut patches, mut trim, mut warnings, .. } = CompressedCaf::default();
    let mut offset = 8;
    while let Some(header) = window.array::<12>(offset)? {
        let (id, size) = (&header[..4], number(&header[4..]));
        let start = offset + 12;
        if id == b"desc" {
            description = window.array::<32>(start)?;
        }
        if id == b"pakt"
            && let Some(table) = window.array::<24>(start)?
        {
            // The number of packets, then of valid frames, and those before them.
            let (frames, skip) = (number(&table[8..16]), number(&table[16..20]));
            trim = Some(Trim { skip, length: Some(frames) }).filter(|_| frames > 0);
        }
        if id == b"data" && data.is_none() {
            // The audio follows the number of edits.
            let is_unknown = size == u64::MAX;
            let end = audio_end(window, start, size, is_unknown, &mut warnings)?;
            if is_unknown {
                patches.push((offset + 4, (end - start).to_be_bytes().to_vec()));
            }
            data = Some((start + 4).min(end)..end);
            offset = end;
        } else {
            offset = start.saturating_add(size);
        }
    }
    let (Some(description), Some(data)) = (description, data) else {
        bail!("{CUT_SHORT} or damaged: no chunk \"desc\" or \"data\". Get the file again");
    };
    if &description[8..12] != b"lpcm" {
        return Ok(CafAudio::Compressed(CompressedCaf {
            patches,
            trim,
            packet: number(&description[20..24]),
            warnings,
        }));
    }
    let rate = whole_rate(f64::from_bits(number(&description[..8])));
    let field = |index: usize| number(&description[12 + 4 * index..16 + 4 * index]);
    let (flags, packet_size, channels) = (field(0), field(1), field(3) as u16);
    ensure_supported(rate, usize::from(channels))?;
    let kind = if flags & 1 == 0 { PcmKind::Signed } else { PcmKind::Float };
    let order = if flags & 2 == 0 { ByteOrder::Big } else { ByteOrder::Little };
    let format = RawFormat::pcm(kind, order, packet_size / u64::from(channels), rate, channels)?;
    Ok(CafAudio::Raw(RawAudio { format, ranges: vec![data], frames: None, warnings }))
}

/// Finds the audio of an AU file.
///
/// # Errors
/// If the file is cut short, or its codec is not supported.
pub fn parse_au(window: &mut Window) -> Result<RawAudio> {
    let Some(header) = window.array::<24>(0)? else {
        bail!("{CUT_SHORT}: it ends within the header. Get the file again");
    };
    let field = |index: usize| number(&header[4 * index..4 * index + 4]);
    let (start, size, codec, rate, channels) =
        (field(1), field(2), field(3), field(4) as u32, field(5) as u16);
    ensure_supported(rate, usize::from(channels))?;
    let (kind, bytes) = match codec {
        1 => (PcmKind::MuLaw, 1),
        2..=5 => (PcmKind::Signed, codec - 1),
        6 => (PcmKind::Float, 4),
        7 => (PcmKind::Float, 8),
        27 => (PcmKind::ALaw, 1),
        codec => bail!(Unsupported::Kind(format!("AU with the codec {codec}"))),
    };
    let mut warnings = Vec::new();
    let available = window.length().saturating_sub(start);
    let is_unknown = size == 0xFFFF_FFFF || (size == 0 && available > 0);
    let audio = start..audio_end(window, start, size, is_unknown, &mut warnings)?;
    let format = RawFormat::pcm(kind, ByteOrder::Big, bytes, rate, channels)?;
    Ok(RawAudio { format, ranges: vec![audio], frames: None, warnings })
}
