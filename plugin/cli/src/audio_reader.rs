//! Decodes audio files into blocks of samples.
//!
//! A file is read whole, or refused: what was decoded is held against what the file declares and contains. Headers are
//! corrected where other programs forgive them, with a warning. [`kinds`] names what is not audio.

mod adts;
mod big_endian;
mod boxes;
mod errors;
mod ffmpeg;
mod flac;
mod kinds;
mod mpeg;
mod ogg;
mod packets;
mod raw;
mod source;
mod stream;
mod tags;
#[cfg(test)]
mod tests;
mod wave;

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail, ensure};
use symphonia::core::io::MediaSource;

use self::errors::{CUT_SHORT, Unsupported};
pub use self::ffmpeg::Ffmpeg;
use self::kinds::Kind;
use self::packets::Trim;
use self::source::{Section, Source, Window};
use self::stream::{DecodedStream, Selection, Stream};

/// A decoder of an audio file.
///
/// Reads WAV, RF64, BW64, Wave64, AIFF, CAF, AU, FLAC, MP3, MP2, Ogg Vorbis, AAC and ALAC, and the sound of MP4,
/// Matroska and WebM; everything else by the program ffmpeg, if it is installed.
pub struct AudioReader {
    path: PathBuf,
    source: Source,
    ffmpeg: Ffmpeg,
    /// The parts of the audio that were not opened yet.
    parts: VecDeque<Part>,
    /// The part that is decoded.
    stream: Option<Box<dyn Stream>>,
    warnings: Vec<String>,
    sample_rate: u32,
    channels: usize,
    length: Option<u64>,
    /// Samples per channel in the blocks before the newest.
    position: u64,
    /// The newest block: one vector per channel, of equal length.
    block: Vec<Vec<f32>>,
    /// `block` was decoded when the file was opened and not read yet.
    is_pending: bool,
}

/// A part of the audio, with a decoder of its own.
enum Part {
    Raw(raw::RawAudio),
    Mpeg(mpeg::Segment),
    /// Bytes that Symphonia reads, or else ffmpeg.
    Container(Section, Selection),
    /// Bytes that only ffmpeg may read, and why.
    Other(Section, Unsupported),
}

impl AudioReader {
    /// Opens the file and decodes its first block. The file may be a pipe.
    ///
    /// # Errors
    /// If the file cannot be read, contains no audio, or has more than two channels.
    pub fn open(path: &Path) -> Result<Self> {
        Self::open_with(path, Ffmpeg::find())
    }

    /// Like [`open`](Self::open), with the given ffmpeg.
    ///
    /// # Errors
    /// The errors of [`open`](Self::open).
    pub fn open_with(path: &Path, ffmpeg: Ffmpeg) -> Result<Self> {
        let name = path.display();
        let file = File::open(path).with_context(|| format!("{name}: cannot be opened"))?;
        ensure!(
            !file.metadata().is_ok_and(|file| file.is_dir()),
            "{name}: is a folder; expected an audio file"
        );
        catch_panic(path, || {
            let source = Source::new(Box::new(file))?.with_file(path);
            Self::decode_first_block(source, path, ffmpeg)
        })
    }

    /// Like [`open`](Self::open), for the content of `media`. `path` names it in messages, and its extension hints at
    /// the format. What cannot seek, such as standard input in Symphonia's `ReadOnlySource`, is copied to a temporary
    /// file.
    ///
    /// # Errors
    /// The errors of [`open`](Self::open), and if there is no space for a temporary copy.
    pub fn read(media: Box<dyn MediaSource>, path: &Path) -> Result<Self> {
        Self::read_with(media, path, Ffmpeg::find())
    }

    /// Like [`read`](Self::read), with the given ffmpeg.
    ///
    /// # Errors
    /// The errors of [`read`](Self::read).
    pub fn read_with(media: Box<dyn MediaSource>, path: &Path, ffmpeg: Ffmpeg) -> Result<Self> {
        catch_panic(path, || Self::decode_first_block(Source::new(media)?, path, ffmpeg))
    }

    /// Opens the same input once more, from its start. What could not seek is read from its copy.
    ///
    /// # Errors
    /// The errors of [`open`](Self::open).
    pub fn reopen(&self) -> Result<Self> {
        let (source, ffmpeg) = (self.source.clone(), self.ffmpeg.clone());
        catch_panic(&self.path, || Self::decode_first_block(source, &self.path, ffmpeg))
    }

    fn decode_first_block(source: Source, path: &Path, ffmpeg: Ffmpeg) -> Result<Self> {
        let mut warnings = Vec::new();
        let parts = match find_parts(&source, &mut warnings) {
            Ok(parts) => parts,
            Err(error) => {
                let reason = error.downcast()?;
                VecDeque::from([Part::Other(source.section(0..source.length()), reason)])
            }
        };
        let is_single = parts.len() == 1;
        let segments: Option<u64> = parts
            .iter()
            .map(|part| match part {
                Part::Mpeg(segment) => Some(segment.length()),
                _ => None,
            })
            .sum();
        let mut reader = Self {
            path: path.to_owned(),
            source,
            ffmpeg,
            parts,
            stream: None,
            warnings,
            sample_rate: 0,
            channels: 0,
            length: None,
            position: 0,
            block: Vec::new(),
            is_pending: false,
        };
        ensure!(reader.decode()?, "contains no audio");
        reader.is_pending = true;
        let first = reader.stream.as_ref().filter(|_| is_single).and_then(|stream| stream.length());
        reader.length = segments.or(first);
        Ok(reader)
    }

    /// The sample rate, in hertz.
    pub fn sample_rate(&self) -> u32 {
        self.sample_rate
    }

    /// The number of channels, 1 or 2.
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// Samples per channel, if they are known before the file is decoded.
    pub fn length(&self) -> Option<u64> {
        self.length
    }

    /// Returns descriptions of what was repaired or left out since the last call. Some are known only at the end of the
    /// file.
    pub fn take_warnings(&mut self) -> Vec<String> {
        let stream = self.stream.as_mut().map(|stream| stream.take_warnings());
        self.warnings.extend(stream.into_iter().flatten());
        let name = self.path.display();
        self.warnings.drain(..).map(|warning| format!("{name}: {warning}")).collect()
    }

    /// Returns the next block, one vector per channel, or `None` at the end.
    ///
    /// # Errors
    /// If the audio is damaged or incomplete; damaged parts are never skipped.
    pub fn next_block(&mut self) -> Result<Option<&[Vec<f32>]>> {
        let path = self.path.clone();
        let has_block = std::mem::take(&mut self.is_pending) || catch_panic(&path, || self.decode())?;
        Ok(has_block.then_some(&*self.block))
    }

    /// Decodes the next block with samples. Returns whether there was one.
    fn decode(&mut self) -> Result<bool> {
        self.position += self.block.first().map_or(0, Vec::len) as u64;
        self.block.iter_mut().for_each(Vec::clear);
        loop {
            let rate = match &mut self.stream {
                Some(stream) => stream.decode(&mut self.block)?,
                None => match self.parts.pop_front() {
                    Some(part) => self.open_part(part)?,
                    None => return Ok(false),
                },
            };
            match rate {
                Some(rate) => return self.check_block(rate).map(|()| true),
                None => {
                    let stream = self.stream.take();
                    self.warnings.extend(stream.into_iter().flat_map(|mut stream| stream.take_warnings()));
                }
            }
        }
    }

    /// Opens a part and decodes its first block. Returns its sample rate, or `None` if it has no samples.
    fn open_part(&mut self, part: Part) -> Result<Option<u32>> {
        let extension = self.path.extension().and_then(OsStr::to_str);
        let (section, opened) = match part {
            Part::Raw(audio) => (None, DecodedStream::raw(audio, &self.source)),
            Part::Mpeg(segment) => {
                (Some(segment.section(&self.source)), DecodedStream::mpeg(&segment, &self.source))
            }
            Part::Container(section, selection) => {
                let opened = DecodedStream::container(section.clone(), extension, &selection);
                (Some(section), opened)
            }
            Part::Other(section, reason) => (Some(section), Err(anyhow!(reason))),
        };
        let decoded = opened.and_then(|mut stream| {
            let rate = stream.decode(&mut self.block)?;
            self.stream = Some(Box::new(stream));
            Ok(rate)
        });
        match (decoded, section) {
            (Err(error), Some(section)) => {
                let reason: Unsupported = error.downcast()?;
                let stream = match (self.ffmpeg.open(&section, &reason.to_string()), &reason) {
                    (Ok(stream), _) => stream,
                    (Err(_), Unsupported::Damage(_)) => None,
                    (Err(error), _) => return Err(error),
                };
                let stream = stream.ok_or_else(|| reason.without_ffmpeg())?;
                let stream = self.stream.insert(Box::new(stream));
                stream.decode(&mut self.block)
            }
            (decoded, _) => decoded,
        }
    }

    /// Checks the newest block, of `rate` hertz.
    fn check_block(&mut self, rate: u32) -> Result<()> {
        let channels = self.block.len();
        if self.channels == 0 {
            (self.sample_rate, self.channels) = (rate, channels);
        }
        ensure!(
            (rate, channels) == (self.sample_rate, self.channels),
            "sample rate or channels change within the file, from {} Hz and {} to {rate} Hz and {channels}. Convert it to \
             WAV or FLAC",
            self.sample_rate,
            self.channels
        );
        for (index, channel) in self.block.iter().enumerate() {
            if let Some(sample) = channel.iter().position(|sample| !sample.is_finite()) {
                bail!(
                    "sample {} of channel {} is not a number (NaN or infinite). Replace such samples in an audio editor",
                    self.position + sample as u64,
                    index + 1
                );
            }
        }
        Ok(())
    }
}

/// Finds the parts of the audio by the file's first bytes. `warnings` describes what was repaired.
///
/// # Errors
/// If the file contains no audio, or is damaged. [`Unsupported`]: only ffmpeg may read it.
fn find_parts(source: &Source, warnings: &mut Vec<String>) -> Result<VecDeque<Part>> {
    ensure!(source.length() > 0, "empty: a file of 0 bytes. Get the file again");
    let mut window = source.window();
    let head = window.get(0, 1_024)?.to_vec();
    let whole = 0..source.length();
    let container = |section| VecDeque::from([Part::Container(section, Selection::All)]);
    let raw = |audio| VecDeque::from([Part::Raw(audio)]);
    if wave::is_wave(&head) {
        return match wave::parse(&mut window)? {
            wave::WaveAudio::Raw(audio) => Ok(raw(audio)),
            wave::WaveAudio::Mpeg(range, found) => {
                warnings.extend(found);
                mpeg_parts(&mut window, range, warnings)?
                    .ok_or_else(|| anyhow!("damaged: MP3 in WAV without MPEG frames. Get the file again"))
            }
        };
    }
    match &head[..] {
        [b'F', b'O', b'R', b'M', _, _, _, _, b'A', b'I', b'F', b'F' | b'C', ..] => {
            return Ok(raw(big_endian::parse_aiff(&mut window)?));
        }
        [b'.', b's', b'n', b'd', ..] => return Ok(raw(big_endian::parse_au(&mut window)?)),
        [b'c', b'a', b'f', b'f', ..] => {
            return Ok(match big_endian::parse_caf(&mut window)? {
                big_endian::CafAudio::Raw(audio) => raw(audio),
                big_endian::CafAudio::Compressed(audio) => {
                    warnings.extend(audio.warnings);
                    let frames = |trim| Selection::Frames(trim, audio.packet);
                    let selection = audio.trim.map_or(Selection::All, frames);
                    VecDeque::from([Part::Container(source.patched(whole, audio.patches), selection)])
                }
            });
        }
        [0x1A, 0x45, 0xDF, 0xA3, ..] => {
            let selection = if boxes::has_length(&mut window)? { Selection::All } else { Selection::Open };
            return Ok(VecDeque::from([Part::Container(source.section(whole), selection)]));
        }
        _ if head.get(4..8).is_some_and(is_movie) => {
            let edits = boxes::edits(&mut window)?;
            return Ok(VecDeque::from([Part::Container(source.section(whole), Selection::Edits(edits))]));
        }
        _ => {}
    }
    let range = tags::without_tags(&mut window)?;
    ensure!(!range.is_empty(), "contains no audio, only tags. Get the file again");
    match window.get(range.start, 8)? {
        [b'f', b'L', b'a', b'C', ..] => {
            let stream = flac::inspect(&mut window, range)?;
            return Ok(container(source.patched(stream.range, stream.patches)));
        }
        [b'O', b'g', b'g', b'S', ..] => {
            let (links, found) = ogg::links(&mut window, range)?;
            warnings.extend(found);
            let part = |link: ogg::Link| {
                let section = source.section(link.range.clone());
                match link.is_supported() {
                    true => Part::Container(section, Selection::All),
                    false => Part::Other(section, Unsupported::Kind(link.codec().into())),
                }
            };
            return Ok(links.into_iter().map(part).collect());
        }
        bytes if adts::is_adts(bytes) => {
            let length = Some(adts::samples(&mut window, range.clone())?);
            let selection = Selection::Frames(Trim { skip: 0, length }, 0);
            return Ok(VecDeque::from([Part::Container(source.section(range), selection)]));
        }
        _ => {}
    }
    let kind = kinds::recognise(&head);
    if let Kind::Known(name) = kind {
        ensure_whole_riff(&head, source.length())?;
        bail!(Unsupported::Kind(name.into()));
    }
    if let Some(parts) = mpeg_parts(&mut window, range, warnings)? {
        return Ok(parts);
    }
    match kind {
        Kind::NotAudio(name) => bail!("not audio but {name}. Choose an audio file"),
        _ => bail!(Unsupported::Unknown),
    }
}

/// Checks that a RIFF file that is not WAV, such as an AVI video, has the size that its first bytes `head` declare.
///
/// # Errors
/// If it is cut short.
fn ensure_whole_riff(head: &[u8], length: u64) -> Result<()> {
    let [b'R', b'I', b'F', b'F', size @ ..] = head else { return Ok(()) };
    let size = size.first_chunk().map_or(0, |size| u64::from(u32::from_le_bytes(*size)));
    ensure!(
        size + 8 <= length || size == u64::from(u32::MAX),
        "{CUT_SHORT}: {length} of {} bytes. Get the file again",
        size + 8
    );
    Ok(())
}

/// Whether `kind` is the type of a box with which MP4 and MOV files begin.
fn is_movie(kind: &[u8]) -> bool {
    [b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"styp"].iter().any(|name| kind == *name)
}

/// The segments of MPEG audio in `range`; `None` if there are none.
fn mpeg_parts(
    window: &mut Window,
    range: std::ops::Range<u64>,
    warnings: &mut Vec<String>,
) -> Result<Option<VecDeque<Part>>> {
    let Some(audio) = mpeg::scan(window, range)? else { return Ok(None) };
    warnings.extend(audio.warnings);
    Ok(Some(audio.segments.into_iter().map(Part::Mpeg).collect()))
}

/// Returns the result of `work` on the file at `path`, which errors name. A panic of its decoder, as damaged files
/// cause it, becomes an error.
fn catch_panic<T>(path: &Path, work: impl FnOnce() -> Result<T>) -> Result<T> {
    // Unwind safety: the decoder is not used any more after an error.
    let result = catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|_| Err(anyhow!("damaged: its decoder panicked. Get the file again")));
    result.map_err(|error| anyhow!("{}: {error:#}", path.display()))
}
