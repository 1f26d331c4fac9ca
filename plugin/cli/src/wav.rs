//! Float WAV files out.

use std::fs::File;
use std::io::BufWriter;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use hound::{SampleFormat, WavSpec, WavWriter};

use crate::draft::Draft;

/// Bytes a WAV file's 32-bit sizes can count, less its header.
const SIZE_LIMIT: u64 = u32::MAX as u64 - 128;

/// A WAV file of 32-bit floats being written.
pub struct WavFile {
    draft: Draft,
    writer: WavWriter<BufWriter<File>>,
    channels: usize,
    written: u64,
}

impl WavFile {
    /// Starts a file of `channels` channels at `sample_rate` hertz.
    pub fn create(target: &Path, sample_rate: u32, channels: usize) -> Result<Self> {
        let draft = Draft::create(target)?;
        let spec = WavSpec {
            channels: channels as u16,
            sample_rate,
            bits_per_sample: 32,
            sample_format: SampleFormat::Float,
        };
        let writer = WavWriter::new(BufWriter::new(draft.file()?), spec)
            .with_context(|| format!("{} cannot be written", target.display()))?;
        Ok(Self { draft, writer, channels, written: 0 })
    }

    /// Appends a block, one equally long slice a channel.
    pub fn write(&mut self, block: &[&[f32]]) -> Result<()> {
        let target = self.draft.target();
        let length = block.first().map_or(0, |channel| channel.len());
        self.written += (length * self.channels * size_of::<f32>()) as u64;
        ensure!(
            self.written <= SIZE_LIMIT,
            "{} would be larger than the 4 GiB a WAV file can hold. Cut the input into parts",
            target.display()
        );
        for n in 0..length {
            for channel in block {
                self.writer
                    .write_sample(channel[n])
                    .with_context(|| format!("{} cannot be written", target.display()))?;
            }
        }
        Ok(())
    }

    /// Ends the file. It appears when the draft is published.
    pub fn finish(self) -> Result<Draft> {
        let Self { draft, writer, .. } = self;
        writer.finalize().with_context(|| format!("{} cannot be written", draft.target().display()))?;
        Ok(draft)
    }
}

#[cfg(test)]
pub mod tests {
    use std::path::PathBuf;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    /// A folder that a test has to itself, removed at its end.
    pub struct Folder(PathBuf);

    impl Folder {
        pub fn new() -> Self {
            static NEXT: AtomicU32 = AtomicU32::new(0);
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let path = std::env::temp_dir().join(format!("sift-cli-{}-{number}", std::process::id()));
            std::fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        pub fn root(&self) -> &Path {
            &self.0
        }

        pub fn path(&self, name: &str) -> PathBuf {
            self.0.join(name)
        }

        /// The names of what is there, sorted.
        pub fn names(&self) -> Vec<String> {
            let mut names: Vec<_> = std::fs::read_dir(&self.0)
                .unwrap()
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .collect();
            names.sort();
            names
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    pub fn write_wav(path: &Path, sample_rate: u32, audio: &[Vec<f32>]) {
        let mut file = WavFile::create(path, sample_rate, audio.len()).unwrap();
        file.write(&audio.iter().map(Vec::as_slice).collect::<Vec<_>>()).unwrap();
        file.finish().unwrap().publish().unwrap();
    }

    #[test]
    fn samples_are_kept_bit_for_bit_beyond_full_scale_too() {
        let folder = Folder::new();
        let path = folder.path("out.wav");
        write_wav(&path, 48_000, &[vec![0.1, -1.5, 0.0], vec![2.0, 1e-30, -0.0]]);
        let mut reader = hound::WavReader::open(&path).unwrap();
        assert_eq!((reader.spec().sample_rate, reader.spec().channels), (48_000, 2));
        let samples: Vec<f32> = reader.samples().map(Result::unwrap).collect();
        assert_eq!(samples, [0.1, 2.0, -1.5, 1e-30, 0.0, -0.0]);
    }

    #[test]
    fn a_file_beyond_the_formats_limit_is_refused_with_the_remedy() {
        let folder = Folder::new();
        let mut file = WavFile::create(&folder.path("out.wav"), 48_000, 1).unwrap();
        file.written = SIZE_LIMIT - 4;
        file.write(&[&[0.0]]).unwrap();
        let message = file.write(&[&[0.0]]).unwrap_err().to_string();
        assert!(message.contains("4 GiB") && message.contains("Cut the input"), "{message}");
    }
}
