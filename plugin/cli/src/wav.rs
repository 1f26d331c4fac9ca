//! Writes WAV files of 32-bit floats.

use std::fs::File;
use std::io::BufWriter;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use hound::{SampleFormat, WavSpec, WavWriter};

use crate::atomic_file::AtomicFile;

/// Largest number of audio bytes in a WAV file, whose sizes have 32 bits.
const MAX_SIZE: u64 = u32::MAX as u64 - 128;

/// A writer of a WAV file of 32-bit floats.
pub struct WavFile {
    file: AtomicFile,
    writer: WavWriter<BufWriter<File>>,
    channels: usize,
    /// Bytes of audio written so far.
    written: u64,
}

impl WavFile {
    /// Creates a file of `channels` channels at `sample_rate` hertz.
    pub fn create(target: &Path, sample_rate: u32, channels: usize) -> Result<Self> {
        let file = AtomicFile::create(target)?;
        let spec = WavSpec {
            channels: channels as u16,
            sample_rate,
            bits_per_sample: 32,
            sample_format: SampleFormat::Float,
        };
        let writer = WavWriter::new(BufWriter::new(file.file()?), spec)
            .with_context(|| format!("{}: cannot be written", target.display()))?;
        Ok(Self { file, writer, channels, written: 0 })
    }

    /// Appends a block: one slice per channel, of equal length.
    pub fn write(&mut self, block: &[&[f32]]) -> Result<()> {
        let target = self.file.target();
        let length = block.first().map_or(0, |channel| channel.len());
        self.written += (length * self.channels * size_of::<f32>()) as u64;
        ensure!(
            self.written <= MAX_SIZE,
            "{}: larger than 4 GiB, the limit of WAV files. Split the input",
            target.display()
        );
        for n in 0..length {
            for channel in block {
                self.writer
                    .write_sample(channel[n])
                    .with_context(|| format!("{}: cannot be written", target.display()))?;
            }
        }
        Ok(())
    }

    /// Completes the file, which appears when it is committed.
    pub fn finish(self) -> Result<AtomicFile> {
        let Self { file, writer, .. } = self;
        writer.finalize().with_context(|| format!("{}: cannot be written", file.target().display()))?;
        Ok(file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_files::write_wav;

    #[test]
    fn samples_are_written_bit_for_bit_beyond_full_scale() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.wav");
        write_wav(&path, 48_000, &[vec![0.1, -1.5, 0.0], vec![2.0, 1e-30, -0.0]]);
        let mut reader = hound::WavReader::open(&path).unwrap();
        assert_eq!((reader.spec().sample_rate, reader.spec().channels), (48_000, 2));
        let samples: Vec<f32> = reader.samples().map(Result::unwrap).collect();
        assert_eq!(samples, [0.1, 2.0, -1.5, 1e-30, 0.0, -0.0]);
    }

    #[test]
    fn file_beyond_the_size_limit_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let mut file = WavFile::create(&folder.path().join("out.wav"), 48_000, 1).unwrap();
        file.written = MAX_SIZE - 4;
        file.write(&[&[0.0]]).unwrap();
        let message = file.write(&[&[0.0]]).unwrap_err().to_string();
        assert!(message.contains("4 GiB") && message.contains("Split the input"), "{message}");
    }
}
