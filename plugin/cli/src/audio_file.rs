//! Audio output files; the format follows the name.

use std::ffi::OsStr;
use std::path::Path;

use anyhow::Result;

use crate::atomic_file::{AtomicFile, OutputTarget};
use crate::flac::FlacFile;
use crate::wav::WavFile;

/// A writer of an audio file.
pub enum AudioFile {
    Wav(WavFile),
    Flac(Box<FlacFile>),
}

/// The formats that can be written.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum AudioFormat {
    Wav,
    Flac,
}

impl AudioFormat {
    /// The format that the ending of `path` names, if any.
    pub fn of(path: &Path) -> Option<Self> {
        let extension = path.extension().and_then(OsStr::to_str)?;
        [Self::Wav, Self::Flac].into_iter().find(|format| extension.eq_ignore_ascii_case(format.extension()))
    }

    /// The ending of file names.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Wav => "wav",
            Self::Flac => "flac",
        }
    }
}

impl AudioFile {
    /// Creates a file of `channels` channels at `sample_rate` hertz: FLAC if the name ends so, WAV otherwise.
    ///
    /// # Errors
    /// The errors of [`AtomicFile::create`], or if the file cannot be written.
    pub fn create(target: &OutputTarget, sample_rate: u32, channels: usize) -> Result<Self> {
        match AudioFormat::of(&target.path) {
            Some(AudioFormat::Flac) => {
                FlacFile::create(target, sample_rate, channels).map(|file| Self::Flac(Box::new(file)))
            }
            Some(AudioFormat::Wav) | None => WavFile::create(target, sample_rate, channels).map(Self::Wav),
        }
    }

    /// Appends a block: one slice per channel, of equal length.
    pub fn write(&mut self, block: &[&[f32]]) -> Result<()> {
        match self {
            Self::Wav(file) => file.write(block),
            Self::Flac(file) => file.write(block),
        }
    }

    /// Completes the file, which appears when it is committed.
    pub fn finish(self) -> Result<AtomicFile> {
        match self {
            Self::Wav(file) => file.finish(),
            Self::Flac(file) => file.finish(),
        }
    }
}
