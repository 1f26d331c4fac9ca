//! Writes WAV files of 32-bit floats; as RF64 if they are too large for WAV.

use std::fs::File;
use std::io::{BufWriter, Seek, Write};

use anyhow::Result;

use crate::atomic_file::{AtomicFile, OutputTarget};

/// Largest size of a RIFF chunk, in bytes.
const MAX_RIFF_SIZE: u64 = u32::MAX as u64;
/// Size that means "see the chunk `ds64`" in RF64 (EBU Tech 3306).
const SIZE_IN_DS64: u32 = u32::MAX;
/// Code of IEEE floats in the chunk `fmt `.
const WAVE_FORMAT_IEEE_FLOAT: u16 = 3;
const SAMPLE_SIZE: u16 = size_of::<f32>() as u16;
/// Bytes before the first sample.
const HEADER_SIZE: u64 = 94;

/// A writer of a WAV file of 32-bit floats.
pub struct WavFile {
    file: AtomicFile,
    writer: BufWriter<File>,
    layout: WavLayout,
}

/// The parts of the header.
struct WavLayout {
    /// In hertz.
    sample_rate: u32,
    channels: u16,
    /// Samples per channel.
    frames: u64,
    /// A file with a larger RIFF chunk, in bytes, becomes RF64.
    max_riff_size: u64,
}

impl WavFile {
    /// Creates a file of `channels` channels at `sample_rate` hertz.
    ///
    /// # Errors
    /// The errors of [`AtomicFile::create`], or if the file cannot be written.
    pub fn create(target: &OutputTarget, sample_rate: u32, channels: usize) -> Result<Self> {
        Self::with_limit(target, sample_rate, channels, MAX_RIFF_SIZE)
    }

    fn with_limit(
        target: &OutputTarget,
        sample_rate: u32,
        channels: usize,
        max_riff_size: u64,
    ) -> Result<Self> {
        let file = AtomicFile::create(target)?;
        let mut writer = BufWriter::new(file.file()?);
        let layout = WavLayout { sample_rate, channels: channels as u16, frames: 0, max_riff_size };
        writer.write_all(&layout.header()).map_err(|error| target.failure(&error))?;
        Ok(Self { file, writer, layout })
    }

    /// Appends a block: one slice per channel, of equal length.
    pub fn write(&mut self, block: &[&[f32]]) -> Result<()> {
        let length = block.first().map_or(0, |channel| channel.len());
        self.layout.frames += length as u64;
        (0..length)
            .flat_map(|n| block.iter().map(move |channel| channel[n]))
            .try_for_each(|sample| self.writer.write_all(&sample.to_le_bytes()))
            .map_err(|error| self.file.target().failure(&error))
    }

    /// Completes the file, which appears when it is committed.
    pub fn finish(self) -> Result<AtomicFile> {
        let Self { file, mut writer, layout } = self;
        writer
            .rewind()
            .and_then(|()| writer.write_all(&layout.header()))
            .and_then(|()| writer.flush())
            .map_err(|error| file.target().failure(&error))?;
        Ok(file)
    }
}

impl WavLayout {
    /// The bytes before the samples. Their number is the same for WAV, which has an unused chunk `JUNK`, and for RF64,
    /// which has the chunk `ds64` there.
    fn header(&self) -> Vec<u8> {
        let frame_size = self.channels * SAMPLE_SIZE;
        let data_size = self.frames * u64::from(frame_size);
        let riff_size = HEADER_SIZE - 8 + data_size;
        let is_rf64 = riff_size > self.max_riff_size;
        let size = |size: u64| if is_rf64 { SIZE_IN_DS64 } else { size as u32 };
        let chunk = |name: &[u8; 4], size: u32| [*name, size.to_le_bytes()].concat();

        let sizes = if is_rf64 { [riff_size, data_size, self.frames] } else { [0; 3] };
        // Number of further chunks with 64-bit sizes.
        let table_length = 0_u32;
        [
            chunk(if is_rf64 { b"RF64" } else { b"RIFF" }, size(riff_size)),
            b"WAVE".to_vec(),
            chunk(if is_rf64 { b"ds64" } else { b"JUNK" }, 28),
            sizes.map(u64::to_le_bytes).concat(),
            table_length.to_le_bytes().to_vec(),
            chunk(b"fmt ", 18),
            [WAVE_FORMAT_IEEE_FLOAT, self.channels].map(u16::to_le_bytes).concat(),
            [self.sample_rate, self.sample_rate * u32::from(frame_size)].map(u32::to_le_bytes).concat(),
            // The last number is the size of an extension, which floats do not have.
            [frame_size, 8 * SAMPLE_SIZE, 0].map(u16::to_le_bytes).concat(),
            // Formats other than integers must have it.
            chunk(b"fact", 4),
            u32::try_from(self.frames).unwrap_or(SIZE_IN_DS64).to_le_bytes().to_vec(),
            chunk(b"data", size(data_size)),
        ]
        .concat()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::ops::Range;
    use std::path::Path;

    use super::*;
    use crate::audio_reader::AudioReader;
    use crate::test_files::{replacing, write_wav};

    fn number(bytes: &[u8], place: Range<usize>) -> u64 {
        bytes[place].iter().rev().fold(0, |number, &byte| number << 8 | u64::from(byte))
    }

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
    fn format_is_plain_float_for_mono_and_stereo() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.wav");
        for channels in [1, 2] {
            write_wav(&path, 44_100, &vec![vec![0.5; 3]; channels]);
            let bytes = fs::read(&path).unwrap();
            let data_size = 4 * 3 * channels as u64;
            assert_eq!(
                (&bytes[..4], &bytes[8..16], &bytes[48..52]),
                (&b"RIFF"[..], &b"WAVEJUNK"[..], &b"fmt "[..])
            );
            assert_eq!(number(&bytes, 4..8), bytes.len() as u64 - 8);
            // Format, channels, rate, bytes per second, bytes per frame, bits per sample, size of the extension.
            let fields =
                [56..58, 58..60, 60..64, 64..68, 68..70, 70..72, 72..74].map(|at| number(&bytes, at));
            let frame = 4 * channels as u64;
            assert_eq!(fields, [3, channels as u64, 44_100, 44_100 * frame, frame, 32, 0]);
            assert_eq!((&bytes[74..78], number(&bytes, 82..86)), (&b"fact"[..], 3));
            assert_eq!((&bytes[86..90], number(&bytes, 90..94)), (&b"data"[..], data_size));
            assert_eq!(bytes.len() as u64, 94 + data_size);
        }
    }

    /// The bytes of a stereo file of 10 samples per channel, whose RIFF chunk has 166 bytes.
    fn limited(path: &Path, max_riff_size: u64) -> Vec<u8> {
        let mut file = WavFile::with_limit(&replacing(path), 48_000, 2, max_riff_size).unwrap();
        file.write(&[&[0.25; 10], &[-0.25; 10]]).unwrap();
        file.finish().unwrap().commit().unwrap();
        fs::read(path).unwrap()
    }

    #[test]
    fn file_beyond_the_limit_of_wav_is_rf64() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.wav");
        let wav = limited(&path, 166);
        assert_eq!((&wav[..4], number(&wav, 4..8)), (&b"RIFF"[..], 166));

        let rf64 = limited(&path, 165);
        assert_eq!((&rf64[..4], &rf64[8..16]), (&b"RF64"[..], &b"WAVEds64"[..]));
        for size in [4..8, 90..94] {
            assert_eq!(number(&rf64, size), 0xFFFF_FFFF);
        }
        // RIFF chunk, audio, samples per channel, further sizes.
        let fields = [20..28, 28..36, 36..44, 44..48].map(|at| number(&rf64, at));
        assert_eq!(fields, [166, 80, 10, 0]);
        assert_eq!(rf64[48..90], wav[48..90]);
        assert_eq!(rf64[94..], wav[94..]);
    }

    #[test]
    fn rf64_of_more_than_4_gib_has_its_sizes() {
        let frames = 3_000_000_000;
        let layout = WavLayout { sample_rate: 48_000, channels: 2, frames, max_riff_size: MAX_RIFF_SIZE };
        let header = layout.header();
        assert_eq!(header.len() as u64, HEADER_SIZE);
        let fields = [20..28, 28..36, 36..44].map(|at| number(&header, at));
        assert_eq!(fields, [8 * frames + 86, 8 * frames, frames]);
        assert_eq!((&header[..4], number(&header, 82..86)), (&b"RF64"[..], frames));
    }

    #[test]
    fn own_files_are_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.wav");
        limited(&path, MAX_RIFF_SIZE);
        let mut reader = AudioReader::open(&path).unwrap();
        assert_eq!(reader.next_block().unwrap().unwrap(), [[0.25; 10], [-0.25; 10]]);
    }
}
