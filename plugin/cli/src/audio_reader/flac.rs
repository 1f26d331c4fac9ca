//! Corrections of FLAC files.

use std::ops::Range;

use anyhow::Result;

use super::source::Window;

/// The smallest block that the format allows, in frames.
const MIN_BLOCK: u16 = 16;

/// What is needed to read a FLAC stream: the bytes without tags, and corrections of its header.
pub struct FlacStream {
    pub range: Range<u64>,
    /// Offsets and bytes.
    pub patches: Vec<(u64, Vec<u8>)>,
}

/// Inspects the FLAC stream in `range`. Some encoders write a smallest block of 0, which stands for unknown.
///
/// # Errors
/// If the file cannot be read.
pub fn inspect(window: &mut Window, range: Range<u64>) -> Result<FlacStream> {
    let mut patches = Vec::new();
    let start = range.start + 8;
    if let Some(blocks) = window.array::<4>(start)? {
        let [min, max] = [[blocks[0], blocks[1]], [blocks[2], blocks[3]]].map(u16::from_be_bytes);
        if min < MIN_BLOCK && max >= MIN_BLOCK {
            let min = if has_fixed_blocks(window, &range)? { max } else { MIN_BLOCK };
            patches.push((start, min.to_be_bytes().to_vec()));
        }
    }
    Ok(FlacStream { range, patches })
}

/// Whether the header of the first frame says that all blocks are of one size.
fn has_fixed_blocks(window: &mut Window, range: &Range<u64>) -> Result<bool> {
    let mut offset = range.start + 4;
    while let Some([kind, size @ ..]) = window.array::<4>(offset)? {
        offset += 4 + super::big_endian::number(&size);
        if kind & 0x80 != 0 {
            break;
        }
    }
    Ok(window.array::<2>(offset)?.is_some_and(|sync| sync[1] & 1 == 0))
}
