//! MPEG audio (MP3, MP2, MP1), also several files one after another.
//!
//! Nothing in an MPEG stream tells its length reliably, so the headers of all frames are read first.

use std::io::Read;
use std::ops::Range;

use anyhow::{Result, bail, ensure};
use symphonia::core::codecs::audio::AudioCodecParameters;
use symphonia::core::codecs::audio::well_known::{CODEC_ID_MP1, CODEC_ID_MP2, CODEC_ID_MP3};
use symphonia::core::errors::{Error, Result as SymphoniaResult};
use symphonia::core::packet::Packet;
use symphonia::core::units::{Duration, Timestamp};

use super::errors::CUT_SHORT;
use super::packets::{Packets, Trim};
use super::source::{Section, Source, Window};
use super::tags;

/// Frames in a row by which a stream is recognised behind other bytes.
const START_FRAMES: usize = 4;

/// Frames in a row by which a stream is recognised behind damage.
const RESUMED_FRAMES: usize = 2;

/// Bytes in which the first frame is searched.
const SEARCH_LENGTH: u64 = 256 * 1024;

/// Delay of every decoder of Layer III, in samples.
const DECODER_DELAY: u64 = 529;

/// The header of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FrameHeader {
    layer: u8,
    /// 1; 2 stands for MPEG-2, 3 for MPEG-2.5.
    version: u8,
    rate: u32,
    is_mono: bool,
    has_checksum: bool,
    /// Bytes of the frame with its header; 0 if the bit rate is free.
    size: u64,
}

impl FrameHeader {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let &[0xFF, second, third, fourth, ..] = bytes else { return None };
        let version = match (second & 0xE0, second >> 3 & 3) {
            (0xE0, 0) => 3,
            (0xE0, 2) => 2,
            (0xE0, 3) => 1,
            _ => return None,
        };
        let layer = match second >> 1 & 3 {
            0 => return None,
            layer => 4 - layer,
        };
        let rate = [44_100, 48_000, 32_000].get(usize::from(third >> 2 & 3))? >> (version - 1);
        let kilobits: [u64; 15] = match (version, layer) {
            (1, 1) => [0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448],
            (1, 2) => [0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384],
            (1, _) => [0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320],
            (_, 1) => [0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256],
            _ => [0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160],
        };
        let bits = kilobits.get(usize::from(third >> 4))? * 1_000;
        let padding = u64::from(third >> 1 & 1);
        let mut header =
            Self { layer, version, rate, is_mono: fourth >> 6 == 3, has_checksum: second & 1 == 0, size: 0 };
        if bits > 0 {
            let slots = header.samples() / 8 * bits / u64::from(rate);
            header.size = if layer == 1 { (slots / 4 + padding) * 4 } else { slots + padding };
        }
        Some(header)
    }

    /// Samples per channel.
    fn samples(&self) -> u64 {
        match (self.layer, self.version) {
            (1, _) => 384,
            (2, _) | (3, 1) => 1_152,
            _ => 576,
        }
    }

    fn continues(&self, other: &Self) -> bool {
        (self.layer, self.version, self.rate) == (other.layer, other.version, other.rate)
    }

    /// Bytes of side information in Layer III, behind which Xing's header begins.
    fn side_information(&self) -> usize {
        match (self.version == 1, self.is_mono) {
            (true, false) => 32,
            (true, true) | (false, false) => 17,
            (false, true) => 9,
        }
    }
}

/// What Xing's, LAME's or Fraunhofer's header in the first frame tells.
#[derive(Clone, Copy, Debug, Default)]
struct StreamInfo {
    frames: Option<u64>,
    /// Samples that the encoder added at the beginning and the end.
    delay_and_padding: Option<(u64, u64)>,
}

impl StreamInfo {
    /// Reads the content of a frame; `None` if it contains audio.
    fn parse(frame: &[u8], header: &FrameHeader) -> Option<Self> {
        if header.layer != 3 {
            return None;
        }
        if frame.get(36..40) == Some(b"VBRI") {
            return Some(Self { frames: big(frame.get(50..54)?), ..Self::default() });
        }
        let checksum = if header.has_checksum { 2 } else { 0 };
        let at = 4 + header.side_information();
        let tag = [at, at + checksum]
            .into_iter()
            .filter_map(|at| frame.get(at..))
            .find(|tag| tag.starts_with(b"Xing") || tag.starts_with(b"Info"))?;
        let flags = big(tag.get(4..8)?)?;
        let mut at = 8;
        let mut field = |flag: u64, size: usize| {
            let field = (flags & flag != 0).then(|| tag.get(at..at + size)).flatten();
            at += if flags & flag == 0 { 0 } else { size };
            field
        };
        let frames = field(1, 4).and_then(big);
        field(2, 4);
        field(4, 100);
        field(8, 4);
        let lame = tag
            .get(at..at + 24)
            .filter(|lame| [b"LAME", b"Lavf", b"Lavc"].iter().any(|encoder| lame.starts_with(*encoder)));
        let delay_and_padding =
            lame.and_then(|lame| big(&lame[21..24])).map(|both| (both >> 12, both & 0xFFF));
        Some(Self { frames, delay_and_padding })
    }
}

/// The big-endian number in `bytes`.
fn big(bytes: &[u8]) -> Option<u64> {
    Some(super::big_endian::number(bytes))
}

/// Frames that one encoder wrote.
#[derive(Clone, Debug)]
pub struct Segment {
    header: FrameHeader,
    range: Range<u64>,
    /// Frames with audio.
    frames: u64,
    trim: Trim,
}

impl Segment {
    pub fn parameters(&self) -> AudioCodecParameters {
        let mut parameters = AudioCodecParameters::new();
        let codec = match self.header.layer {
            1 => CODEC_ID_MP1,
            2 => CODEC_ID_MP2,
            _ => CODEC_ID_MP3,
        };
        parameters.for_codec(codec).with_sample_rate(self.header.rate);
        parameters
    }

    pub fn trim(&self) -> Trim {
        self.trim
    }

    /// Samples per channel.
    pub fn length(&self) -> u64 {
        let decoded = self.decoded_length().saturating_sub(self.trim.skip);
        self.trim.length.map_or(decoded, |length| length.min(decoded))
    }

    /// Samples per channel of all frames.
    pub fn decoded_length(&self) -> u64 {
        self.frames * self.header.samples()
    }

    /// The bytes of the frames.
    pub fn section(&self, source: &Source) -> Section {
        source.section(self.range.clone())
    }

    pub fn packets(&self, source: &Source) -> MpegPackets {
        MpegPackets { section: self.section(source), left: self.frames, position: 0 }
    }
}

/// The segments of a file, and what was repaired.
pub struct MpegAudio {
    pub segments: Vec<Segment>,
    pub warnings: Vec<String>,
}

/// Reads the headers of all frames in `range`. Returns `None` if it is not MPEG audio.
///
/// # Errors
/// If the stream is cut short or damaged.
pub fn scan(window: &mut Window, range: Range<u64>) -> Result<Option<MpegAudio>> {
    let Some(start) = find_start(window, &range)? else {
        return Ok(None);
    };
    let mut scanner = Scanner { segments: Vec::new(), infos: Vec::new(), warnings: Vec::new() };
    if start > range.start {
        let count = start - range.start;
        scanner.warnings.push(format!("{count} bytes before the first frame are not MPEG audio; left out"));
    }
    let end = scanner.scan(window, start..range.end)?;
    scanner.finish(range.end - end).map(Some)
}

/// The offset of the first frame.
fn find_start(window: &mut Window, range: &Range<u64>) -> Result<Option<u64>> {
    let first = window.get(range.start, 4)?.to_vec();
    if let Some(header) = FrameHeader::parse(&first)
        && header.size == 0
        && is_free_format(window, range, &first)?
    {
        bail!(
            "MPEG audio in free format, which is not supported. Convert it to WAV or FLAC, for example by mpg123"
        );
    }
    if follow(window, range.start, range.end, START_FRAMES)? {
        return Ok(Some(range.start));
    }
    find_frames(window, range.start + 1..range.end.min(range.start + SEARCH_LENGTH), range.end, START_FRAMES)
}

/// Whether a frame like the first is repeated within 8 KiB.
fn is_free_format(window: &mut Window, range: &Range<u64>, first: &[u8]) -> Result<bool> {
    let bytes = window.get(range.start, 8_192.min((range.end - range.start) as usize))?;
    let is_same = |frame: &[u8]| frame[..2] == first[..2] && frame[2] & 0xFC == first[2] & 0xFC;
    Ok(bytes.windows(4).skip(24).filter(|frame| is_same(frame)).count() >= 2)
}

/// The first offset in `range` at which `count` frames follow one another.
fn find_frames(window: &mut Window, range: Range<u64>, end: u64, count: usize) -> Result<Option<u64>> {
    let mut offset = range.start;
    while offset < range.end {
        let bytes = window.get(offset, 4_096)?;
        let Some(found) = bytes.iter().position(|&byte| byte == 0xFF) else {
            offset += bytes.len().max(1) as u64;
            continue;
        };
        offset += found as u64;
        if offset < range.end && follow(window, offset, end, count)? {
            return Ok(Some(offset));
        }
        offset += 1;
    }
    Ok(None)
}

/// Whether `count` frames follow one another at `offset`, or fewer up to `end`.
fn follow(window: &mut Window, mut offset: u64, end: u64, count: usize) -> Result<bool> {
    let mut first = None;
    for _ in 0..count {
        let Some(header) = FrameHeader::parse(window.get(offset, 4)?).filter(|header| header.size > 0) else {
            return Ok(false);
        };
        if !first.get_or_insert(header).continues(&header) {
            return Ok(false);
        }
        offset += header.size;
        if offset == end {
            return Ok(true);
        }
        if offset > end {
            return Ok(false);
        }
    }
    Ok(true)
}

struct Scanner {
    segments: Vec<Segment>,
    infos: Vec<StreamInfo>,
    warnings: Vec<String>,
}

impl Scanner {
    /// Collects the segments in `range`. Returns the offset behind the last frame.
    fn scan(&mut self, window: &mut Window, range: Range<u64>) -> Result<u64> {
        let mut offset = range.start;
        while offset < range.end {
            let header = FrameHeader::parse(window.get(offset, 4)?).filter(|header| header.size > 0);
            match header {
                Some(header) if offset + header.size <= range.end => {
                    self.add(window, offset, header)?;
                    offset += header.size;
                }
                _ => match tag_size(window, offset)? {
                    0 => {
                        let next = find_frames(window, offset + 1..range.end, range.end, RESUMED_FRAMES)?;
                        let Some(next) = next else { break };
                        bail!(
                            "damaged: {} bytes at byte {offset} are not MPEG audio. Get the file again",
                            next - offset
                        );
                    }
                    size => offset += size,
                },
            }
        }
        Ok(offset.min(range.end))
    }

    fn add(&mut self, window: &mut Window, offset: u64, header: FrameHeader) -> Result<()> {
        let info = StreamInfo::parse(window.get(offset, header.size.min(512) as usize)?, &header);
        let end = offset + header.size;
        match (info, self.segments.last_mut()) {
            (None, Some(segment)) if segment.range.end == offset || segment.frames > 0 => {
                if segment.range.end == offset {
                    segment.frames += 1;
                    segment.range.end = end;
                } else {
                    // Tags are between: another file begins.
                    self.begin(header, offset..end, 1, StreamInfo::default());
                }
            }
            (None, _) => self.begin(header, offset..end, 1, StreamInfo::default()),
            (Some(info), _) => self.begin(header, end..end, 0, info),
        }
        Ok(())
    }

    fn begin(&mut self, header: FrameHeader, range: Range<u64>, frames: u64, info: StreamInfo) {
        self.segments.push(Segment { header, range, frames, trim: Trim::default() });
        self.infos.push(info);
    }

    /// Holds the frames against what the headers count. `rest` is the number of bytes behind the last frame.
    fn finish(mut self, rest: u64) -> Result<MpegAudio> {
        for (segment, info) in self.segments.iter_mut().zip(&self.infos) {
            let frames = segment.frames;
            // Some encoders count the frame of the header.
            let counted = info.frames.filter(|&counted| counted > 0).unwrap_or(frames);
            ensure!(
                counted <= frames + 1,
                "{CUT_SHORT}: {frames} MPEG frames; its header counts {counted}. Get the file again, or convert it to \
                 WAV or FLAC"
            );
            let delay = info
                .delay_and_padding
                .map(|(delay, padding)| (delay + DECODER_DELAY, padding.saturating_sub(DECODER_DELAY)));
            segment.trim.skip = delay.map_or(0, |(delay, _)| delay);
            if counted >= frames {
                segment.trim.length =
                    delay.map(|(delay, padding)| segment.decoded_length().saturating_sub(delay + padding));
            } else {
                self.warnings
                    .push(format!("its header counts {counted} of {frames} MPEG frames; all are read"));
            }
        }
        self.segments.retain(|segment| segment.frames > 0);
        ensure!(!self.segments.is_empty(), "contains no audio");
        if rest > 0 {
            self.warnings.push(format!("{rest} bytes behind the last whole MPEG frame; left out"));
        }
        if self.segments.len() > 1 {
            self.warnings.push(format!("{} MPEG files one after another; all are read", self.segments.len()));
        }
        Ok(MpegAudio { segments: self.segments, warnings: self.warnings })
    }
}

/// The size of the tag at `offset` between two files, in bytes; 0 without one.
fn tag_size(window: &mut Window, offset: u64) -> Result<u64> {
    let id3v2 = tags::id3v2_size(window, offset)?;
    if id3v2 > 0 {
        return Ok(id3v2);
    }
    let bytes = window.get(offset, 32)?;
    if bytes.starts_with(b"TAG") {
        return Ok(128);
    }
    if bytes.len() == 32 && bytes.starts_with(b"APETAGEX") {
        // The header tells the size of the items and the footer.
        let size = u32::from_le_bytes(bytes[12..16].try_into().expect("four bytes"));
        let has_header = bytes[23] & 0x20 != 0;
        return Ok(u64::from(size) + if has_header { 32 } else { 0 });
    }
    Ok(0)
}

/// The frames of a segment.
pub struct MpegPackets {
    section: Section,
    left: u64,
    position: i64,
}

impl Packets for MpegPackets {
    fn next_packet(&mut self) -> SymphoniaResult<Option<Packet>> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        let mut data = vec![0; 4];
        self.section.read_exact(&mut data)?;
        let header = FrameHeader::parse(&data).ok_or(Error::DecodeError("mpa: no frame header"))?;
        data.resize(header.size.max(4) as usize, 0);
        self.section.read_exact(&mut data[4..])?;
        let packet = Packet::new(0, Timestamp::new(self.position), Duration::new(header.samples()), data);
        self.position += header.samples() as i64;
        Ok(Some(packet))
    }
}
