//! AAC in ADTS: frames with a header each, which Symphonia searches again behind damage without an error.

use std::ops::Range;

use anyhow::{Result, bail, ensure};

use super::errors::CUT_SHORT;
use super::source::Window;

/// Samples per channel of a block; a frame has up to four.
const BLOCK: u64 = 1_024;

/// Whether a frame begins with `bytes`.
pub fn is_adts(bytes: &[u8]) -> bool {
    matches!(bytes, [0xFF, second, ..] if second & 0xF6 == 0xF0)
}

/// Counts the samples per channel of the frames in `range`.
///
/// # Errors
/// If the stream is damaged or cut short.
pub fn samples(window: &mut Window, range: Range<u64>) -> Result<u64> {
    let mut offset = range.start;
    let mut samples = 0;
    while offset < range.end {
        let header = window.get(offset, 7)?;
        let &[_, _, _, high, middle, low, blocks] = header else {
            bail!(
                "{CUT_SHORT}: the file ends within a frame. Get the file again, or convert it to WAV or FLAC"
            );
        };
        let size = u64::from(high & 3) << 11 | u64::from(middle) << 3 | u64::from(low) >> 5;
        ensure!(is_adts(header) && size >= 7, "damaged: no AAC frame at byte {offset}. Get the file again");
        offset += size;
        samples += BLOCK * (1 + u64::from(blocks & 3));
    }
    ensure!(
        offset == range.end,
        "{CUT_SHORT}: the file ends within a frame. Get the file again, or convert it to WAV or FLAC"
    );
    Ok(samples)
}
