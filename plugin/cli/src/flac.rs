//! Writes FLAC files of 24-bit integers.

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::rc::Rc;

use anyhow::{Result, anyhow, ensure};
use flac_codec::Error;
use flac_codec::encode::{FlacSampleWriter, Options};

use crate::atomic_file::{AtomicFile, OutputTarget};
use crate::message;

const BITS: u32 = 24;
/// Highest sample rate that all decoders accept, in hertz.
const MAX_SAMPLE_RATE: u32 = 655_350;
/// Integer for a sample of 1.
const FULL_SCALE: f32 = (1 << (BITS - 1)) as f32;

/// A writer of a FLAC file of 24-bit integers.
pub struct FlacFile {
    // Dropped first: the encoder writes to the file when it is dropped.
    encoder: FlacSampleWriter<SharedWriter>,
    writer: SharedWriter,
    file: AtomicFile,
    interleaved: Vec<i32>,
    /// Samples beyond full scale.
    clipped: u64,
}

impl FlacFile {
    /// Creates a file of `channels` channels, at most 8, at `sample_rate` hertz.
    ///
    /// # Errors
    /// The errors of [`AtomicFile::create`], or if the sample rate is too high or the file cannot be written.
    pub fn create(target: &OutputTarget, sample_rate: u32, channels: usize) -> Result<Self> {
        ensure!(
            sample_rate <= MAX_SAMPLE_RATE,
            "{}: sample rate of {sample_rate} Hz; FLAC has at most {MAX_SAMPLE_RATE} Hz. Choose a name that ends in .wav",
            target.path.display()
        );
        let file = AtomicFile::create(target)?;
        let writer = SharedWriter(Rc::new(RefCell::new(BufWriter::new(file.file()?))));
        let encoder = FlacSampleWriter::new(
            writer.clone(),
            Options::default(),
            sample_rate,
            BITS,
            channels as u8,
            None,
        )
        .map_err(|error| failure(target, error))?;
        Ok(Self { encoder, writer, file, interleaved: Vec::new(), clipped: 0 })
    }

    /// Appends a block: one slice per channel, of equal length. Samples beyond full scale are clipped.
    pub fn write(&mut self, block: &[&[f32]]) -> Result<()> {
        let length = block.first().map_or(0, |channel| channel.len());
        self.interleaved.clear();
        for n in 0..length {
            for channel in block {
                let sample = (channel[n] * FULL_SCALE).round();
                let in_range = sample.clamp(-FULL_SCALE, FULL_SCALE - 1.0);
                // A sample of exactly 1 is within rounding.
                self.clipped += u64::from((sample - in_range).abs() > 1.0);
                self.interleaved.push(in_range as i32);
            }
        }
        self.encoder.write(&self.interleaved).map_err(|error| failure(self.file.target(), error))
    }

    /// Completes the file, which appears when it is committed. Warns of clipped samples.
    pub fn finish(self) -> Result<AtomicFile> {
        let Self { encoder, mut writer, file, clipped, .. } = self;
        encoder
            .finalize()
            .and_then(|()| Ok(writer.flush()?))
            .map_err(|error| failure(file.target(), error))?;
        if clipped > 0 {
            message::warn(format_args!(
                "{}: clipped samples: {clipped}, as FLAC has none beyond full scale. Choose a name that ends in .wav to \
                 keep them",
                file.target().path.display()
            ));
        }
        Ok(file)
    }
}

fn failure(target: &OutputTarget, error: Error) -> anyhow::Error {
    match error {
        Error::Io(error) => target.failure(&error),
        error => anyhow!(
            "{}: cannot be encoded as FLAC: {error}. Choose a name that ends in .wav",
            target.path.display()
        ),
    }
}

/// The encoder's writer, which it drops without telling whether the last bytes were written.
#[derive(Clone)]
struct SharedWriter(Rc<RefCell<BufWriter<File>>>);

impl Write for SharedWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.borrow_mut().flush()
    }
}

impl Seek for SharedWriter {
    fn seek(&mut self, position: SeekFrom) -> io::Result<u64> {
        self.0.borrow_mut().seek(position)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::audio_reader::AudioReader;
    use crate::test_files::replacing;

    /// Writes `audio` in blocks of 511 samples. Returns the number of clipped samples.
    fn write(path: &Path, sample_rate: u32, audio: &[Vec<f32>]) -> u64 {
        let mut file = FlacFile::create(&replacing(path), sample_rate, audio.len()).unwrap();
        for start in (0..audio[0].len()).step_by(511) {
            let end = audio[0].len().min(start + 511);
            file.write(&audio.iter().map(|channel| &channel[start..end]).collect::<Vec<_>>()).unwrap();
        }
        let clipped = file.clipped;
        file.finish().unwrap().commit().unwrap();
        clipped
    }

    fn read(path: &Path) -> (AudioReader, Vec<Vec<f32>>) {
        let mut reader = AudioReader::open(path).unwrap();
        let mut audio = vec![Vec::new(); reader.channels()];
        // The reader verifies length and MD5.
        while let Some(block) = reader.next_block().unwrap() {
            audio.iter_mut().zip(block).for_each(|(channel, block)| channel.extend(block));
        }
        (reader, audio)
    }

    /// Noise with silence and steps in it, in multiples of 2⁻²³, up to full scale.
    fn noise(channels: usize, length: usize) -> Vec<Vec<f32>> {
        let sample = |n: usize| match n / 3_000 % 4 {
            0 => ((n * 7_919_317) % (1 << 24)) as f32 / FULL_SCALE - 1.0,
            1 => 0.0,
            2 => {
                if (n / 109).is_multiple_of(2) {
                    0.8
                } else {
                    -0.8
                }
            }
            _ => (0.3 * (n as f32 * 0.05).sin() * FULL_SCALE).round() / FULL_SCALE,
        };
        let step = |sample: f32| (sample * FULL_SCALE).round() / FULL_SCALE;
        (0..channels).map(|channel| (0..length).map(|n| step(sample(n + 31 * channel))).collect()).collect()
    }

    #[test]
    fn integers_of_24_bits_are_written_exactly() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.flac");
        for (rate, channels, length) in
            [(44_100, 2, 30_011), (48_000, 1, 4_096), (50_317, 2, 1), (192_000, 1, 12_289), (655_350, 2, 100)]
        {
            let audio = noise(channels, length);
            assert_eq!(write(&path, rate, &audio), 0);
            let (reader, found) = read(&path);
            assert_eq!((reader.sample_rate(), reader.length()), (rate, Some(length as u64)));
            assert!(found == audio, "{length} samples, {channels} channels, {rate} Hz");
        }
    }

    #[test]
    fn header_has_24_bits_and_an_md5() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.flac");
        write(&path, 48_000, &noise(2, 5_000));
        let bytes = std::fs::read(&path).unwrap();
        // The lowest bit of byte 20 and the high half of byte 21 are bits per sample, less one.
        assert_eq!((bytes[20] & 1) << 4 | bytes[21] >> 4, 23);
        assert_ne!(bytes[26..42], [0; 16]);
    }

    #[test]
    fn samples_beyond_full_scale_are_clipped_and_counted() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.flac");
        assert_eq!(write(&path, 48_000, &[vec![0.5, 1.0, 1.5, -1.0, -1.001, 1e10]]), 3);
        let largest = 1.0 - 1.0 / FULL_SCALE;
        assert_eq!(read(&path).1, [[0.5, largest, largest, -1.0, -1.0, largest]]);
    }

    #[test]
    fn sample_rate_that_decoders_refuse_is_an_error() {
        let target = replacing(Path::new("out.flac"));
        let message = FlacFile::create(&target, 705_600, 1).err().unwrap().to_string();
        assert!(message.contains("705600 Hz") && message.contains(".wav"), "{message}");
    }

    #[test]
    fn file_without_samples_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let file = FlacFile::create(&replacing(&folder.path().join("out.flac")), 48_000, 1).unwrap();
        assert!(file.finish().err().unwrap().to_string().contains("out.flac"));
    }
}
