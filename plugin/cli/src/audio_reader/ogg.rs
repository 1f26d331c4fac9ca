//! Ogg files: the pages of the streams that follow one another ("chained").

use std::collections::HashMap;
use std::ops::Range;

use anyhow::{Result, bail, ensure};

use symphonia::core::checksum::Crc32;
use symphonia::core::io::Monitor;

use super::errors::{CUT_SHORT, ensure_supported};
use super::source::Window;

/// Bits of a page's type.
const FIRST: u8 = 2;
const LAST: u8 = 4;

/// A group of streams that begin together: one link of a chain.
pub struct Link {
    pub range: Range<u64>,
    /// The codecs of the streams.
    codecs: Vec<Codec>,
}

impl Link {
    /// Whether Symphonia reads the link.
    pub fn is_supported(&self) -> bool {
        self.codecs.contains(&Codec::Supported)
    }

    /// The name of the codec, for links that Symphonia does not read.
    pub fn codec(&self) -> &'static str {
        let named = self.codecs.iter().find_map(|codec| match codec {
            Codec::Other(name) => Some(*name),
            _ => None,
        });
        named.unwrap_or("Ogg with an unknown codec")
    }
}

/// What a stream contains.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Codec {
    /// Vorbis or FLAC.
    Supported,
    /// Audio that Symphonia does not read.
    Other(&'static str),
    /// Anything else, such as video.
    Unknown,
}

impl Codec {
    /// The codec of the stream whose first packet begins with `packet`.
    ///
    /// # Errors
    /// If it is Opus with more than two channels.
    fn of(packet: &[u8]) -> Result<Self> {
        if packet.starts_with(b"OpusHead") {
            let channels = packet.get(9).copied().unwrap_or_default();
            ensure_supported(48_000, usize::from(channels))?;
            return Ok(Self::Other("Opus"));
        }
        Ok(match packet {
            [1, b'v', b'o', b'r', b'b', b'i', b's', ..] | [0x7F, b'F', b'L', b'A', b'C', ..] => {
                Self::Supported
            }
            [b'S', b'p', b'e', b'e', b'x', ..] => Self::Other("Speex"),
            _ => Self::Unknown,
        })
    }
}

/// Finds the links of the chain.
///
/// # Errors
/// If the file is cut short or damaged, or an Opus stream has more than two channels.
pub fn links(window: &mut Window, range: Range<u64>) -> Result<(Vec<Link>, Vec<String>)> {
    let mut links: Vec<Link> = Vec::new();
    let mut warnings = Vec::new();
    // The streams of the newest link: number of the next page, and whether audio has begun.
    let mut streams: HashMap<u32, (u32, bool)> = HashMap::new();
    let mut has_begun = true;
    let mut is_ended = false;
    let mut offset = range.start;
    while offset < range.end {
        let header = window.get(offset, 27)?.to_vec();
        if !header.starts_with(b"OggS") {
            if is_ended && find_page(window, offset, range.end)?.is_none() {
                warnings.push(format!("{} bytes behind the audio; left out", range.end - offset));
                break;
            }
            bail!("damaged: no Ogg page at byte {offset}. Get the file again");
        }
        let lacing = match header.get(26) {
            Some(&count) => window.get(offset + 27, usize::from(count))?.to_vec(),
            None => Vec::new(),
        };
        let content = offset + 27 + lacing.len() as u64;
        let end = content + lacing.iter().map(|&size| u64::from(size)).sum::<u64>();
        ensure!(
            header.len() == 27 && end <= range.end,
            "{CUT_SHORT}: the file ends before its audio. Get the file again, or convert it to WAV or FLAC"
        );
        let page = window.get(offset, (end - offset) as usize)?;
        ensure!(
            checksum(page) == Some(u32::from_le_bytes(header[22..26].try_into().expect("four bytes"))),
            "damaged: wrong checksum of the Ogg page at byte {offset}. Get the file again"
        );
        let field = |at: usize| u32::from_le_bytes(header[at..at + 4].try_into().expect("four bytes"));
        let (serial, number) = (field(14), field(18));
        let is_first = header[5] & FIRST != 0;
        if is_first {
            if has_begun {
                links.push(Link { range: offset..end, codecs: Vec::new() });
                streams.clear();
                has_begun = false;
            }
            let codec = Codec::of(window.get(content, 16)?)?;
            links.last_mut().expect("a link has begun").codecs.push(codec);
        } else {
            has_begun = true;
        }
        let is_header = header[6..14].iter().all(|&byte| byte == 0);
        if let Some((expected, is_in_audio)) = streams.get(&serial)
            && *is_in_audio
            && number != *expected
        {
            bail!(
                "damaged: Ogg page {number} where {expected} belongs, at byte {offset}. Get the file again"
            );
        }
        streams.insert(serial, (number.wrapping_add(1), !is_header));
        is_ended = header[5] & LAST != 0;
        if let Some(link) = links.last_mut() {
            link.range.end = end;
        }
        offset = end;
    }
    if links.len() > 1 {
        warnings.push(format!("{} Ogg streams one after another; all are read", links.len()));
    }
    Ok((links, warnings))
}

/// The checksum of a page, with zeros in place of its own.
fn checksum(page: &[u8]) -> Option<u32> {
    let mut checksum = Crc32::new(0);
    checksum.process_buf_bytes(page.get(..22)?);
    checksum.process_buf_bytes(&[0; 4]);
    checksum.process_buf_bytes(page.get(26..)?);
    Some(checksum.crc())
}

/// The offset of the next page at or behind `offset`.
fn find_page(window: &mut Window, mut offset: u64, end: u64) -> Result<Option<u64>> {
    while offset < end {
        let bytes = window.get(offset, 4_096)?;
        if let Some(found) = bytes.windows(4).position(|bytes| bytes == b"OggS") {
            return Ok(Some(offset + found as u64));
        }
        offset += bytes.len().saturating_sub(3).max(1) as u64;
    }
    Ok(None)
}
