//! Errors that several formats have in common.

use std::fmt;

use anyhow::{Result, anyhow, ensure};

/// Supported sample rates, in hertz. The limit bounds the size of the spectrogram.
const SAMPLE_RATES: std::ops::RangeInclusive<u32> = 4_000..=768_000;

/// Begins the errors about files that end too early.
pub const CUT_SHORT: &str = "cut short";

/// Ends the errors about damaged files.
pub const REPAIR: &str = "Get the file again, or convert it to WAV or FLAC";

/// Why Sift does not read audio by itself. ffmpeg may read it.
#[derive(Debug)]
pub enum Unsupported {
    /// The name of its format.
    Kind(String),
    /// The decoder's error at the beginning.
    Damage(String),
    /// The format is not recognised.
    Unknown,
}

impl Unsupported {
    /// The error where there is no ffmpeg.
    pub fn without_ffmpeg(&self) -> anyhow::Error {
        match self {
            Self::Kind(_) => {
                anyhow!("{self}, which ffmpeg reads. Install ffmpeg, or convert the file to WAV or FLAC")
            }
            Self::Damage(_) => anyhow!("{self}. {REPAIR}"),
            Self::Unknown => {
                anyhow!(
                    "{self}. If other programs play it, install ffmpeg, or convert the file to WAV or FLAC"
                )
            }
        }
    }
}

impl fmt::Display for Unsupported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kind(text) | Self::Damage(text) => f.write_str(text),
            Self::Unknown => f.write_str("not audio of a known format"),
        }
    }
}

impl std::error::Error for Unsupported {}

/// Checks that the sample rate, in hertz, and the number of channels are supported.
pub fn ensure_supported(rate: u32, channels: usize) -> Result<()> {
    ensure!((1..=2).contains(&channels), "{channels} channels; expected 1 or 2. Mix the file down to stereo");
    ensure!(
        SAMPLE_RATES.contains(&rate),
        "sample rate of {rate} Hz; expected {} to {} Hz. Resample the file",
        SAMPLE_RATES.start(),
        SAMPLE_RATES.end()
    );
    Ok(())
}
