//! The bytes of an input file.

use std::io::{self, ErrorKind, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use symphonia::core::io::MediaSource;

/// Bytes that [`Window`] reads at once.
const WINDOW: usize = 64 * 1024;

/// A seekable input whose readers have a position each.
#[derive(Clone)]
pub struct Source {
    media: Arc<Mutex<Box<dyn MediaSource>>>,
    length: u64,
    /// The regular file that has the same content, which another program can open.
    file: Option<PathBuf>,
}

impl Source {
    /// Takes `media` from its first byte. What cannot seek, such as a pipe, is copied to a temporary file without a
    /// name first, because most formats can be read completely only with seeks.
    ///
    /// # Errors
    /// If `media` cannot be read or copied.
    pub fn new(mut media: Box<dyn MediaSource>) -> Result<Self> {
        if !media.is_seekable() {
            media = Box::new(spool(media)?);
        }
        let length = media.seek(SeekFrom::End(0)).context("cannot be read")?;
        Ok(Self { media: Arc::new(Mutex::new(media)), length, file: None })
    }

    /// Notes that the regular file at `path` has this content.
    pub fn with_file(mut self, path: &Path) -> Self {
        self.file = path.canonicalize().ok().filter(|path| path.is_file());
        self
    }

    pub fn file(&self) -> Option<&Path> {
        self.file.as_deref()
    }

    /// The number of bytes.
    pub fn length(&self) -> u64 {
        self.length
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let mut media = self.media.lock().unwrap_or_else(PoisonError::into_inner);
        media.seek(SeekFrom::Start(offset))?;
        media.read(buffer)
    }

    /// A reader of the bytes in `range`.
    pub fn section(&self, range: Range<u64>) -> Section {
        self.sections([Piece::Range(range)])
    }

    /// A reader of `pieces`, one after another.
    pub fn sections(&self, pieces: impl IntoIterator<Item = Piece>) -> Section {
        let mut end = 0;
        let pieces = pieces
            .into_iter()
            .map(|piece| {
                end += piece.length();
                (end, piece)
            })
            .collect();
        Section { source: self.clone(), pieces, length: end, position: 0 }
    }

    /// A reader of the bytes in `range`, with other bytes at the given offsets into the source, which ascend.
    pub fn patched(&self, range: Range<u64>, patches: Vec<(u64, Vec<u8>)>) -> Section {
        let mut pieces = Vec::new();
        let mut start = range.start;
        for (offset, bytes) in patches {
            pieces.push(Piece::Range(start..offset));
            start = offset + bytes.len() as u64;
            pieces.push(Piece::Bytes(bytes));
        }
        pieces.push(Piece::Range(start..range.end));
        self.sections(pieces)
    }

    pub fn window(&self) -> Window {
        Window { source: self.clone(), start: 0, bytes: Vec::new() }
    }
}

/// Copies `media` to a temporary file that disappears with its handle, also when the process is killed.
fn spool(mut media: Box<dyn MediaSource>) -> Result<std::fs::File> {
    let place = std::env::temp_dir();
    let mut file = tempfile::tempfile().with_context(|| no_copy(&place))?;
    io::copy(&mut media, &mut file).with_context(|| no_copy(&place))?;
    Ok(file)
}

/// Describes that the input cannot be copied to the folder `place`.
pub fn no_copy(place: &Path) -> String {
    format!("cannot be copied to {}. Free space there, or set TMPDIR to another folder", place.display())
}

/// A part of a [`Section`].
#[derive(Clone)]
pub enum Piece {
    /// Bytes of the source.
    Range(Range<u64>),
    /// Other bytes.
    Bytes(Vec<u8>),
}

impl Piece {
    fn length(&self) -> u64 {
        match self {
            Self::Range(range) => range.end.saturating_sub(range.start),
            Self::Bytes(bytes) => bytes.len() as u64,
        }
    }
}

/// A reader of parts of a source.
#[derive(Clone)]
pub struct Section {
    source: Source,
    /// The pieces with their ends, in bytes of the section.
    pieces: Arc<[(u64, Piece)]>,
    length: u64,
    position: u64,
}

impl Section {
    /// The regular file with the same content as this section.
    pub fn file(&self) -> Option<&Path> {
        let is_whole =
            matches!(&*self.pieces, [(_, Piece::Range(range))] if *range == (0..self.source.length));
        self.source.file().filter(|_| is_whole)
    }
}

impl Read for Section {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let index = self.pieces.partition_point(|(end, _)| *end <= self.position);
        let Some((end, piece)) = self.pieces.get(index) else { return Ok(0) };
        let left = end - self.position;
        let offset = piece.length() - left;
        let count = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let count = match piece {
            Piece::Range(range) => self.source.read_at(range.start + offset, &mut buffer[..count])?,
            Piece::Bytes(bytes) => (&bytes[offset as usize..]).read(&mut buffer[..count])?,
        };
        self.position += count as u64;
        Ok(count)
    }
}

impl Seek for Section {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let position = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::End(offset) => self.length.checked_add_signed(offset),
            SeekFrom::Current(offset) => self.position.checked_add_signed(offset),
        };
        self.position = position.ok_or(ErrorKind::InvalidInput)?;
        Ok(self.position)
    }
}

impl MediaSource for Section {
    fn is_seekable(&self) -> bool {
        true
    }

    fn byte_len(&self) -> Option<u64> {
        Some(self.length)
    }
}

/// A buffered view of a source for parsers.
pub struct Window {
    source: Source,
    start: u64,
    bytes: Vec<u8>,
}

impl Window {
    /// The number of bytes of the source.
    pub fn length(&self) -> u64 {
        self.source.length
    }

    /// The `count` bytes at `offset`, at most 64 KiB; fewer at the end of the source.
    pub fn get(&mut self, offset: u64, count: usize) -> io::Result<&[u8]> {
        let end = self.start + self.bytes.len() as u64;
        if offset < self.start || offset + count as u64 > end {
            self.bytes.resize(WINDOW, 0);
            let mut filled = 0;
            while filled < count {
                match self.source.read_at(offset + filled as u64, &mut self.bytes[filled..])? {
                    0 => break,
                    read => filled += read,
                }
            }
            self.bytes.truncate(filled);
            self.start = offset;
        }
        let from = ((offset - self.start) as usize).min(self.bytes.len());
        let to = (from + count).min(self.bytes.len());
        Ok(&self.bytes[from..to])
    }

    /// The bytes at `offset`; `None` at the end of the source.
    pub fn array<const N: usize>(&mut self, offset: u64) -> io::Result<Option<[u8; N]>> {
        Ok(self.get(offset, N)?.try_into().ok())
    }
}
