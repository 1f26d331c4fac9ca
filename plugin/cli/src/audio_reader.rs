//! Decodes audio files into blocks of samples.

use std::ffi::OsStr;
use std::fmt::Display;
use std::fs::File;
use std::io::ErrorKind;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, ensure};
use symphonia::core::codecs::audio::{AudioDecoder, AudioDecoderOptions};
use symphonia::core::errors::Error;
use symphonia::core::formats::probe::Hint;
use symphonia::core::formats::{FormatOptions, FormatReader, TrackType};
use symphonia::core::io::{MediaSource, MediaSourceStream};
use symphonia::core::meta::MetadataOptions;

/// Supported sample rates, in hertz. The limit bounds the size of the spectrogram.
const SAMPLE_RATES: std::ops::RangeInclusive<u32> = 4_000..=768_000;

/// A decoder of an audio file: WAV, FLAC, MP3 or Ogg Vorbis.
pub struct AudioReader {
    path: PathBuf,
    reader: Box<dyn FormatReader>,
    decoder: Box<dyn AudioDecoder>,
    track: u32,
    sample_rate: u32,
    /// Samples per channel, as declared by the file.
    length: Option<u64>,
    /// Time of the first packet, in samples: an Ogg file may be cut from a longer recording.
    start: Option<i64>,
    /// Samples per channel decoded so far.
    decoded: u64,
    /// The newest block: one vector per channel, of equal length.
    block: Vec<Vec<f32>>,
    /// `block` was decoded when the file was opened and not read yet.
    is_pending: bool,
}

impl AudioReader {
    /// Opens the file and decodes its first block.
    ///
    /// # Errors
    /// If the file cannot be read, contains no audio, or has more than two channels.
    pub fn open(path: &Path) -> Result<Self> {
        let name = path.display();
        let file = File::open(path).with_context(|| format!("{name}: cannot be opened"))?;
        ensure!(
            !file.metadata().is_ok_and(|file| file.is_dir()),
            "{name}: is a folder; expected an audio file"
        );
        Self::read(Box::new(file), path)
    }

    /// Like [`open`](Self::open), for the content of `media`. `path` names it in messages, and its extension hints at
    /// the format.
    ///
    /// # Errors
    /// The errors of [`open`](Self::open).
    pub fn read(media: Box<dyn MediaSource>, path: &Path) -> Result<Self> {
        catch_panic(path, || Self::decode_first_block(media, path))
    }

    fn decode_first_block(media: Box<dyn MediaSource>, path: &Path) -> Result<Self> {
        let name = path.display();
        let mut hint = Hint::new();
        if let Some(extension) = path.extension().and_then(OsStr::to_str) {
            hint.with_extension(extension);
        }
        let stream = MediaSourceStream::new(media, Default::default());
        let unreadable = |reason: &dyn Display| {
            anyhow!("{name}: cannot be read: {reason}. Get the file again, or convert it to WAV or FLAC")
        };
        let format = symphonia::default::get_probe()
            .probe(&hint, stream, FormatOptions::default(), MetadataOptions::default())
            .map_err(|error| unreadable(&error))?;
        let track = format.default_track(TrackType::Audio).ok_or_else(|| unreadable(&"no audio track"))?;
        let parameters = track
            .codec_params
            .as_ref()
            .and_then(|parameters| parameters.audio())
            .ok_or_else(|| unreadable(&"unknown codec"))?;
        let decoder = symphonia::default::get_codecs()
            .make_audio_decoder(parameters, &AudioDecoderOptions::default().verify(true))
            .map_err(|error| unreadable(&error))?;

        let mut reader = Self {
            path: path.to_owned(),
            track: track.id,
            sample_rate: 0,
            length: track.num_frames,
            start: None,
            decoded: 0,
            block: Vec::new(),
            is_pending: false,
            reader: format,
            decoder,
        };
        ensure!(reader.decode()?, "{name}: contains no audio");
        reader.is_pending = true;
        Ok(reader)
    }

    /// The sample rate, in hertz.
    pub fn sample_rate(&self) -> u32 {
        self.sample_rate
    }

    /// The number of channels, 1 or 2.
    pub fn channels(&self) -> usize {
        self.block.len()
    }

    /// Samples per channel as declared by the file; an estimate for MP3.
    pub fn length(&self) -> Option<u64> {
        self.length
    }

    /// Returns the next block, one vector per channel, or `None` at the end.
    ///
    /// # Errors
    /// If the audio is damaged; damaged parts are never skipped.
    pub fn next_block(&mut self) -> Result<Option<&[Vec<f32>]>> {
        let path = self.path.clone();
        let has_block = std::mem::take(&mut self.is_pending) || catch_panic(&path, || self.decode())?;
        Ok(has_block.then_some(&*self.block))
    }

    /// Decodes the next block with samples. Returns whether there was one.
    fn decode(&mut self) -> Result<bool> {
        loop {
            let packet = match self.reader.next_packet() {
                Ok(Some(packet)) if packet.track_id == self.track => packet,
                Ok(Some(_)) => continue,
                Ok(None) => return self.ensure_complete().map(|()| false),
                Err(error) => return Err(self.error(&error)),
            };
            self.start.get_or_insert(packet.pts.get());
            let decoded = match self.decoder.decode(&packet) {
                Ok(decoded) => decoded,
                Err(error) => return Err(self.error(&error)),
            };
            if decoded.frames() == 0 {
                continue;
            }
            let (rate, channels) = (decoded.spec().rate(), decoded.spec().channels().count());
            if self.block.is_empty() {
                self.sample_rate = rate;
            }
            self.decoded += decoded.frames() as u64;
            let known_channels = self.block.len();
            decoded.copy_to_vecs_planar(&mut self.block);
            let name = self.path.display();
            ensure!(
                (1..=2).contains(&channels),
                "{name}: {channels} channels; expected 1 or 2. Mix the file down to stereo"
            );
            ensure!(
                SAMPLE_RATES.contains(&rate),
                "{name}: sample rate of {rate} Hz; expected {} to {} Hz. Resample the file",
                SAMPLE_RATES.start(),
                SAMPLE_RATES.end()
            );
            ensure!(
                rate == self.sample_rate && (known_channels == 0 || known_channels == channels),
                "{name}: sample rate or channels change within the file. Convert it to WAV or FLAC"
            );
            return Ok(true);
        }
    }

    /// Checks that the file contained all audio that it declares.
    fn ensure_complete(&mut self) -> Result<()> {
        let name = self.path.display();
        ensure!(
            self.decoder.finalize().verify_ok != Some(false),
            "{name}: damaged: wrong checksum. Get the file again"
        );
        let format = self.reader.format_info().short_name;
        ensure!(
            format != "ogg" || self.length.is_some(),
            "{name}: damaged or truncated: the end is not marked. Get the file again, or convert it to WAV or FLAC"
        );
        // An MPEG stream does not declare its length.
        let declares_length = !format.starts_with("mp");
        let start = self.start.unwrap_or(0).max(0).unsigned_abs();
        if let Some(length) =
            self.length.filter(|_| declares_length).map(|length| length.saturating_sub(start))
        {
            let decoded = self.decoded;
            ensure!(
                decoded >= length,
                "{name}: damaged: {decoded} samples; expected {length}. Get the file again"
            );
        }
        Ok(())
    }

    fn error(&self, error: &Error) -> anyhow::Error {
        let name = self.path.display();
        match error {
            Error::IoError(error) if error.kind() == ErrorKind::UnexpectedEof => {
                anyhow!(
                    "{name}: truncated: the file ends before its audio. Get the file again, or convert it to WAV or FLAC"
                )
            }
            Error::IoError(error) => anyhow!("{name}: cannot be read: {error}"),
            Error::ResetRequired => {
                anyhow!("{name}: several consecutive streams; expected one. Convert the file to WAV or FLAC")
            }
            error => anyhow!("{name}: damaged: {error}. Get the file again"),
        }
    }
}

/// Returns the result of `work` on the file at `path`. A panic of its decoder, as damaged files cause it, becomes an
/// error.
fn catch_panic<T>(path: &Path, work: impl FnOnce() -> Result<T>) -> Result<T> {
    // Unwind safety: the decoder is not used any more after an error.
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
        Err(anyhow!("{}: damaged: its decoder panicked. Get the file again", path.display()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_files::write_wav;

    fn read_all(path: &Path) -> Result<Vec<Vec<f32>>> {
        let mut reader = AudioReader::open(path)?;
        let mut channels = vec![Vec::new(); reader.channels()];
        while let Some(block) = reader.next_block()? {
            channels.iter_mut().zip(block).for_each(|(channel, block)| channel.extend(block));
        }
        Ok(channels)
    }

    fn refusal(path: &Path) -> String {
        let message = format!("{:#}", read_all(path).unwrap_err());
        assert!(message.contains(&path.display().to_string()), "{message}");
        message
    }

    #[test]
    fn wav_is_decoded_exactly_at_its_own_rate() {
        let folder = tempfile::tempdir().unwrap();
        for (rate, channels, length) in
            [(44_100, 1, 1), (48_000, 2, 10_007), (96_000, 2, 480), (22_051, 1, 5_000)]
        {
            let audio: Vec<Vec<f32>> = (0..channels)
                .map(|channel| (0..length).map(|n| ((n * 7 + channel) % 100) as f32 / 128.0 - 0.3).collect())
                .collect();
            let path = folder.path().join("any.wav");
            write_wav(&path, rate, &audio);
            let reader = AudioReader::open(&path).unwrap();
            assert_eq!((reader.sample_rate(), reader.channels()), (rate, channels));
            assert_eq!(reader.length(), Some(length as u64));
            assert_eq!(read_all(&path).unwrap(), audio);
        }
    }

    /// Path of a file in `tests/data`: 0.5·sin(2π·440·t), 64,077 samples at 32 kHz, mono, encoded by libsndfile.
    fn tone(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
    }

    #[test]
    fn compressed_files_are_decoded_completely_without_offset() {
        for name in ["tone.flac", "tone.mp3", "tone.ogg"] {
            assert_eq!(AudioReader::open(&tone(name)).unwrap().sample_rate(), 32_000);
            let audio = read_all(&tone(name)).unwrap();
            assert_eq!((audio.len(), audio[0].len()), (1, 64_077), "{name}");
            let expected =
                |n: usize| 0.5 * (std::f64::consts::TAU * 440.0 * n as f64 / 32_000.0).sin() as f32;
            let worst = audio[0]
                .iter()
                .enumerate()
                .map(|(n, sample)| (sample - expected(n)).abs())
                .fold(0.0, f32::max);
            assert!(worst < 0.05, "{name}: error of {worst}");
        }
    }

    #[test]
    fn compressed_file_with_a_wrong_byte_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["tone.flac", "tone.ogg"] {
            let mut bytes = std::fs::read(tone(name)).unwrap();
            let middle = 3 * bytes.len() / 4;
            bytes[middle] ^= 0x55;
            std::fs::write(folder.path().join(name), bytes).unwrap();
            let message = refusal(&folder.path().join(name));
            assert!(message.contains("Get the file again"), "{message}");
        }
    }

    #[test]
    fn error_names_a_missing_or_unreadable_file() {
        let folder = tempfile::tempdir().unwrap();
        assert!(refusal(&folder.path().join("missing.wav")).contains("cannot be opened"));
        assert!(refusal(folder.path()).contains("folder"));
        std::fs::write(folder.path().join("text.wav"), "not audio at all ".repeat(1_000)).unwrap();
        assert!(refusal(&folder.path().join("text.wav")).contains("convert it"));
        std::fs::write(folder.path().join("empty.wav"), "").unwrap();
        refusal(&folder.path().join("empty.wav"));
    }

    #[test]
    fn panic_of_a_decoder_is_an_error() {
        let message = catch_panic::<()>(Path::new("a.wav"), || panic!("overflow")).unwrap_err().to_string();
        assert!(message.contains("a.wav: damaged") && message.contains("Get the file again"), "{message}");
    }

    #[test]
    fn file_without_samples_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        write_wav(&folder.path().join("silent.wav"), 48_000, &[vec![]]);
        assert!(refusal(&folder.path().join("silent.wav")).contains("contains no audio"));
    }

    #[test]
    fn truncated_file_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cut.wav");
        write_wav(&path, 48_000, &[vec![0.1; 20_000]]);
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
        assert!(refusal(&path).contains("ends before its audio"));
    }

    #[test]
    fn more_than_two_channels_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("surround.wav");
        write_wav(&path, 48_000, &vec![vec![0.1; 100]; 6]);
        let message = refusal(&path);
        assert!(message.contains("6 channels") && message.contains("Mix the file down"), "{message}");
    }

    #[test]
    fn unsupported_sample_rate_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("slow.wav");
        write_wav(&path, 100, &[vec![0.1; 100]]);
        let message = refusal(&path);
        assert!(message.contains("100 Hz") && message.contains("Resample"), "{message}");
    }
}
