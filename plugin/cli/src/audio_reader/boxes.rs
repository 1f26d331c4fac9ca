//! MP4, M4A and MOV files, and Matroska and WebM: whether they are cut short, and what their edit lists select.

use std::ops::Range;

use anyhow::{Result, bail, ensure};

use super::big_endian::number;
use super::errors::CUT_SHORT;
use super::source::Window;

/// The part of a track that its edit list selects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edit {
    pub track: u32,
    /// Beginning in units of the track's `scale`.
    pub start: u64,
    /// Duration in units of `movie_scale`; 0 if it is not told.
    pub duration: u64,
    /// Units per second of the track.
    pub scale: u32,
    /// Units per second of the movie.
    pub movie_scale: u32,
}

/// A box: its type and its content.
type BoxRange = ([u8; 4], Range<u64>);

/// The box at `offset` within `end`.
fn box_at(window: &mut Window, offset: u64, end: u64) -> Result<Option<BoxRange>> {
    let Some(header) = window.array::<8>(offset)?.filter(|_| offset + 8 <= end) else { return Ok(None) };
    let kind = header[4..].try_into().expect("four bytes");
    let (start, size) = match number(&header[..4]) {
        0 => (offset + 8, end - offset),
        1 => (offset + 16, window.array::<8>(offset + 8)?.map_or(0, |size| number(&size))),
        size => (offset + 8, size),
    };
    Ok(Some((kind, start..offset.saturating_add(size).max(start))))
}

/// The boxes in `range`.
fn boxes(window: &mut Window, range: Range<u64>) -> Result<Vec<BoxRange>> {
    let mut found = Vec::new();
    let mut offset = range.start;
    while let Some((kind, content)) = box_at(window, offset, range.end)? {
        offset = content.end;
        found.push((kind, content));
    }
    Ok(found)
}

/// Checks that an MP4 file is whole. Returns the edits of its tracks: of those with one edit, which begins late or ends
/// early.
///
/// # Errors
/// If the file is cut short.
pub fn edits(window: &mut Window) -> Result<Vec<Edit>> {
    let length = window.length();
    let top = boxes(window, 0..length)?;
    for (kind, content) in &top {
        let is_box = kind.iter().all(|byte| (b' '..=b'~').contains(byte));
        ensure!(
            !is_box || content.end <= length,
            "{CUT_SHORT}: the file ends before its audio. Get the file again"
        );
    }
    let Some((_, movie)) = top.iter().find(|(kind, _)| kind == b"moov") else {
        bail!("{CUT_SHORT}: its index (\"moov\") is missing. Get the file again");
    };
    let movie = boxes(window, movie.clone())?;
    let mut movie_scale = 0;
    let mut edits = Vec::new();
    for (kind, content) in movie {
        if &kind == b"mvhd" {
            movie_scale = scale(window, &content)?;
        }
        if &kind == b"trak" {
            edits.extend(track_edit(window, content, movie_scale)?);
        }
    }
    Ok(edits)
}

/// The units per second in `mvhd` or `mdhd`.
fn scale(window: &mut Window, content: &Range<u64>) -> Result<u32> {
    let bytes = window.get(content.start, 24)?;
    let at = if bytes.first() == Some(&1) { 20 } else { 12 };
    Ok(bytes.get(at..at + 4).map_or(0, |bytes| number(bytes) as u32))
}

fn track_edit(window: &mut Window, content: Range<u64>, movie_scale: u32) -> Result<Option<Edit>> {
    let mut edit = Edit { track: 0, start: 0, duration: 0, scale: 0, movie_scale };
    let mut entries = Vec::new();
    for (kind, content) in boxes(window, content)? {
        match &kind {
            b"tkhd" => {
                let bytes = window.get(content.start, 24)?;
                let at = if bytes.first() == Some(&1) { 20 } else { 12 };
                edit.track = bytes.get(at..at + 4).map_or(0, |bytes| number(bytes) as u32);
            }
            b"mdia" => {
                for (kind, content) in boxes(window, content)? {
                    if &kind == b"mdhd" {
                        edit.scale = scale(window, &content)?;
                    }
                }
            }
            b"edts" => {
                for (kind, content) in boxes(window, content)? {
                    if &kind == b"elst" {
                        entries = edit_list(window, &content)?;
                    }
                }
            }
            _ => {}
        }
    }
    // An edit without media delays the track against the video.
    entries.retain(|&(_, start)| start >= 0);
    let &[(duration, start)] = &entries[..] else { return Ok(None) };
    (edit.start, edit.duration) = (start.unsigned_abs(), duration);
    Ok(Some(edit).filter(|edit| edit.scale > 0 && edit.movie_scale > 0))
}

/// The entries of an edit list: durations and beginnings.
fn edit_list(window: &mut Window, content: &Range<u64>) -> Result<Vec<(u64, i64)>> {
    let bytes = window.get(content.start, (content.end - content.start).min(4_096) as usize)?;
    let is_long = bytes.first() == Some(&1);
    let entries = bytes.get(8..).unwrap_or_default();
    Ok(match is_long {
        true => entries
            .chunks_exact(20)
            .map(|entry| (number(&entry[..8]), number(&entry[8..16]) as i64))
            .collect(),
        false => entries
            .chunks_exact(12)
            .map(|entry| (number(&entry[..4]), i64::from(number(&entry[4..8]) as u32 as i32)))
            .collect(),
    })
}

/// Checks that a Matroska file is as long as it declares. Returns whether it declares a length, which files from a live
/// stream or a pipe do not.
///
/// # Errors
/// If the file is cut short.
pub fn has_length(window: &mut Window) -> Result<bool> {
    const SEGMENT: u64 = 0x1853_8067;
    let Some((_, header_end)) = element(window, 0)? else { return Ok(false) };
    let Some((SEGMENT, end)) = element(window, header_end)? else { return Ok(false) };
    ensure!(end <= window.length(), "{CUT_SHORT}: the file ends before its audio. Get the file again");
    Ok(true)
}

/// The identifier of the element at `offset`, and the offset behind it; `None` if its size is unknown.
fn element(window: &mut Window, offset: u64) -> Result<Option<(u64, u64)>> {
    let bytes = window.get(offset, 12)?;
    let Some(&first) = bytes.first() else { return Ok(None) };
    let id_size = first.leading_zeros() as usize + 1;
    let Some(&second) = bytes.get(id_size) else { return Ok(None) };
    let size_size = second.leading_zeros() as usize + 1;
    let (Some(id), Some(size)) = (bytes.get(..id_size), bytes.get(id_size..id_size + size_size)) else {
        return Ok(None);
    };
    if size_size > 8 {
        return Ok(None);
    }
    let unknown = (1 << (7 * size_size)) - 1;
    let size = number(size) & unknown;
    let start = offset + (id_size + size_size) as u64;
    Ok((size != unknown).then(|| (number(id), start.saturating_add(size))))
}
