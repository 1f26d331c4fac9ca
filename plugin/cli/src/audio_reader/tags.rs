//! Tags that surround the audio of MPEG and FLAC files.

use std::io;
use std::ops::Range;

use super::source::Window;

/// The size of an ID3v2 tag at `offset`, in bytes; 0 without one.
pub fn id3v2_size(window: &mut Window, offset: u64) -> io::Result<u64> {
    let header = window.get(offset, 10)?;
    if header.len() < 10 || &header[..3] != b"ID3" || header[6..].iter().any(|&byte| byte >= 0x80) {
        return Ok(0);
    }
    let size = header[6..].iter().fold(0, |size, &byte| size << 7 | u64::from(byte));
    let footer = if header[5] & 0x10 == 0 { 0 } else { 10 };
    Ok(10 + size + footer)
}

/// The bytes between the tags at the beginning and the end of the file.
pub fn without_tags(window: &mut Window) -> io::Result<Range<u64>> {
    let mut range = 0..window.length();
    loop {
        let size = id3v2_size(window, range.start)?;
        if size == 0 {
            break;
        }
        range.start = (range.start + size).min(range.end);
    }
    loop {
        let size = trailing_size(window, &range)?;
        if size == 0 || size > range.end - range.start {
            return Ok(range);
        }
        range.end -= size;
    }
}

/// The size of the tag that ends at `range.end`, in bytes; 0 without one.
fn trailing_size(window: &mut Window, range: &Range<u64>) -> io::Result<u64> {
    let length = range.end - range.start;
    if length >= 128 && window.get(range.end - 128, 3)? == b"TAG" {
        return Ok(128);
    }
    if length >= 32 {
        let footer = window.get(range.end - 32, 32)?;
        if footer.starts_with(b"APETAGEX") {
            let number = |at: usize| u32::from_le_bytes(footer[at..at + 4].try_into().expect("four bytes"));
            let header = if number(20) & 0x8000_0000 == 0 { 0 } else { 32 };
            return Ok(u64::from(number(12)) + header);
        }
    }
    if length >= 15 {
        let footer = window.get(range.end - 15, 15)?;
        if footer.ends_with(b"LYRICS200") {
            let size = std::str::from_utf8(&footer[..6]).ok().and_then(|digits| digits.parse::<u64>().ok());
            return Ok(size.map_or(0, |size| size + 15));
        }
    }
    Ok(0)
}
