//! Audio files in, blocks of samples out.

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

/// Sample rates that are separated, in hertz. The spectrogram grows with the rate.
const RATES: std::ops::RangeInclusive<u32> = 4_000..=768_000;

/// An audio file (WAV, FLAC, MP3, Ogg Vorbis) being decoded.
pub struct Source {
    path: PathBuf,
    reader: Box<dyn FormatReader>,
    decoder: Box<dyn AudioDecoder>,
    track: u32,
    sample_rate: u32,
    length: Option<u64>,
    /// Time of the first packet, in samples: an Ogg file may be cut from a longer recording.
    start: Option<i64>,
    /// Samples a channel decoded so far.
    decoded: u64,
    /// One vector a channel, equally long.
    block: Vec<Vec<f32>>,
    /// `block` was decoded to learn the channels and waits to be read.
    pending: bool,
}

impl Source {
    /// Opens the file and decodes its first block.
    ///
    /// # Errors
    /// When it cannot be read, is no audio, holds none, or has more than two channels.
    pub fn open(path: &Path) -> Result<Self> {
        let name = path.display();
        let file = File::open(path).with_context(|| format!("{name} cannot be opened"))?;
        ensure!(!file.metadata().is_ok_and(|file| file.is_dir()), "{name} is a folder. Name an audio file");
        Self::read(Box::new(file), path)
    }

    /// As [`open`](Self::open), of what `media` holds; `path` names it in messages, and its format by its
    /// extension.
    pub fn read(media: Box<dyn MediaSource>, path: &Path) -> Result<Self> {
        unless_panic(path, || Self::begin(media, path))
    }

    fn begin(media: Box<dyn MediaSource>, path: &Path) -> Result<Self> {
        let name = path.display();
        let mut hint = Hint::new();
        if let Some(extension) = path.extension().and_then(OsStr::to_str) {
            hint.with_extension(extension);
        }
        let stream = MediaSourceStream::new(media, Default::default());
        let unknown = |reason: &dyn Display| {
            anyhow!("{name} cannot be read: {reason}. Get the file again, or convert it to WAV or FLAC")
        };
        let reader = symphonia::default::get_probe()
            .probe(&hint, stream, FormatOptions::default(), MetadataOptions::default())
            .map_err(|error| unknown(&error))?;
        let track =
            reader.default_track(TrackType::Audio).ok_or_else(|| unknown(&"it has no audio track"))?;
        let parameters = track
            .codec_params
            .as_ref()
            .and_then(|parameters| parameters.audio())
            .ok_or_else(|| unknown(&"its codec is not known"))?;
        let decoder = symphonia::default::get_codecs()
            .make_audio_decoder(parameters, &AudioDecoderOptions::default().verify(true))
            .map_err(|error| unknown(&error))?;

        let mut source = Self {
            path: path.to_owned(),
            track: track.id,
            sample_rate: 0,
            length: track.num_frames,
            start: None,
            decoded: 0,
            block: Vec::new(),
            pending: false,
            reader,
            decoder,
        };
        ensure!(source.decode()?, "{name} holds no audio");
        source.pending = true;
        Ok(source)
    }

    /// Hertz.
    pub fn sample_rate(&self) -> u32 {
        self.sample_rate
    }

    /// 1 or 2.
    pub fn channels(&self) -> usize {
        self.block.len()
    }

    /// Samples a channel as far as the file tells beforehand; an MP3's is an estimate.
    pub fn length(&self) -> Option<u64> {
        self.length
    }

    /// The next block, one slice a channel, or nothing at the end.
    ///
    /// # Errors
    /// When the audio is damaged: it is never skipped.
    pub fn next_block(&mut self) -> Result<Option<&[Vec<f32>]>> {
        let path = self.path.clone();
        let found = std::mem::take(&mut self.pending) || unless_panic(&path, || self.decode())?;
        Ok(found.then_some(&*self.block))
    }

    /// Decodes the next block that holds samples; says whether there was one.
    fn decode(&mut self) -> Result<bool> {
        loop {
            let packet = match self.reader.next_packet() {
                Ok(Some(packet)) if packet.track_id == self.track => packet,
                Ok(Some(_)) => continue,
                Ok(None) => return self.ensure_whole().map(|()| false),
                Err(error) => return Err(self.fault(&error)),
            };
            self.start.get_or_insert(packet.pts.get());
            let decoded = match self.decoder.decode(&packet) {
                Ok(decoded) => decoded,
                Err(error) => return Err(self.fault(&error)),
            };
            if decoded.frames() == 0 {
                continue;
            }
            let (rate, channels) = (decoded.spec().rate(), decoded.spec().channels().count());
            if self.block.is_empty() {
                self.sample_rate = rate;
            }
            self.decoded += decoded.frames() as u64;
            let known = self.block.len();
            decoded.copy_to_vecs_planar(&mut self.block);
            let name = self.path.display();
            ensure!(
                (1..=2).contains(&channels),
                "{name} has {channels} channels, and Sift takes mono or stereo. Mix it down to stereo first"
            );
            ensure!(
                RATES.contains(&rate),
                "{name} has a sample rate of {rate} Hz, not within {} to {} Hz. Resample it first",
                RATES.start(),
                RATES.end()
            );
            ensure!(
                rate == self.sample_rate && (known == 0 || known == channels),
                "{name} changes its sample rate or channels on the way. Convert it to WAV or FLAC first"
            );
            return Ok(true);
        }
    }

    /// Whether all was there that the file promised.
    fn ensure_whole(&mut self) -> Result<()> {
        let name = self.path.display();
        ensure!(
            self.decoder.finalize().verify_ok != Some(false),
            "{name} is damaged: its checksum is wrong. Get the file again"
        );
        let format = self.reader.format_info().short_name;
        ensure!(
            format != "ogg" || self.length.is_some(),
            "{name} is damaged or cut short: its end is not marked. Get the file again, or convert it to WAV or FLAC"
        );
        // An MPEG stream does not know its length.
        let promises = !format.starts_with("mp");
        let start = self.start.unwrap_or(0).max(0).unsigned_abs();
        if let Some(length) = self.length.filter(|_| promises).map(|length| length.saturating_sub(start)) {
            let decoded = self.decoded;
            ensure!(
                decoded >= length,
                "{name} is damaged: {decoded} of {length} samples are there. Get the file again"
            );
        }
        Ok(())
    }

    fn fault(&self, error: &Error) -> anyhow::Error {
        let name = self.path.display();
        match error {
            Error::IoError(error) if error.kind() == ErrorKind::UnexpectedEof => {
                anyhow!("{name} ends before its audio does. Get the file again, or convert it to WAV or FLAC")
            }
            Error::IoError(error) => anyhow!("{name} cannot be read: {error}"),
            Error::ResetRequired => {
                anyhow!("{name} holds several streams one after another. Convert it to WAV or FLAC first")
            }
            error => anyhow!("{name} is damaged: {error}. Get the file again"),
        }
    }
}

/// What `work` on the file at `path` gives. A decoder that a damaged file makes panic refuses it.
fn unless_panic<T>(path: &Path, work: impl FnOnce() -> Result<T>) -> Result<T> {
    // Whatever state it left behind: nothing is read of the file after an error.
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
        Err(anyhow!("{} is damaged: its decoder gave up on it. Get the file again", path.display()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wav::tests::{Folder, write_wav};

    fn read_all(path: &Path) -> Result<Vec<Vec<f32>>> {
        let mut source = Source::open(path)?;
        let mut channels = vec![Vec::new(); source.channels()];
        while let Some(block) = source.next_block()? {
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
    fn a_wav_is_decoded_sample_by_sample_at_its_own_rate() {
        let folder = Folder::new();
        for (rate, channels, length) in
            [(44_100, 1, 1), (48_000, 2, 10_007), (96_000, 2, 480), (22_051, 1, 5_000)]
        {
            let audio: Vec<Vec<f32>> = (0..channels)
                .map(|channel| (0..length).map(|n| ((n * 7 + channel) % 100) as f32 / 128.0 - 0.3).collect())
                .collect();
            let path = folder.path("any.wav");
            write_wav(&path, rate, &audio);
            let source = Source::open(&path).unwrap();
            assert_eq!((source.sample_rate(), source.channels()), (rate, channels));
            assert_eq!(source.length(), Some(length as u64));
            assert_eq!(read_all(&path).unwrap(), audio);
        }
    }

    /// A file of `tests/data`: 0.5·sin(2π·440·t), 64,077 samples at 32 kHz, mono, encoded by libsndfile.
    fn tone(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
    }

    #[test]
    fn compressed_files_are_decoded_whole_and_in_their_place() {
        for name in ["tone.flac", "tone.mp3", "tone.ogg"] {
            assert_eq!(Source::open(&tone(name)).unwrap().sample_rate(), 32_000);
            let audio = read_all(&tone(name)).unwrap();
            assert_eq!((audio.len(), audio[0].len()), (1, 64_077), "{name}");
            let expected =
                |n: usize| 0.5 * (std::f64::consts::TAU * 440.0 * n as f64 / 32_000.0).sin() as f32;
            let worst = audio[0]
                .iter()
                .enumerate()
                .map(|(n, sample)| (sample - expected(n)).abs())
                .fold(0.0, f32::max);
            assert!(worst < 0.05, "{name} is off by {worst}");
        }
    }

    #[test]
    fn a_compressed_file_with_a_wrong_byte_is_refused() {
        let folder = Folder::new();
        for name in ["tone.flac", "tone.ogg"] {
            let mut bytes = std::fs::read(tone(name)).unwrap();
            let middle = 3 * bytes.len() / 4;
            bytes[middle] ^= 0x55;
            std::fs::write(folder.path(name), bytes).unwrap();
            let message = refusal(&folder.path(name));
            assert!(message.contains("Get the file again"), "{message}");
        }
    }

    #[test]
    fn a_file_that_is_missing_or_a_folder_or_no_audio_is_named() {
        let folder = Folder::new();
        assert!(refusal(&folder.path("missing.wav")).contains("cannot be opened"));
        assert!(refusal(folder.root()).contains("folder"));
        std::fs::write(folder.path("text.wav"), "not audio at all ".repeat(1_000)).unwrap();
        assert!(refusal(&folder.path("text.wav")).contains("convert it"));
        std::fs::write(folder.path("empty.wav"), "").unwrap();
        refusal(&folder.path("empty.wav"));
    }

    #[test]
    fn a_file_that_its_decoder_breaks_on_is_refused() {
        let message = unless_panic::<()>(Path::new("a.wav"), || panic!("overflow")).unwrap_err().to_string();
        assert!(message.contains("a.wav is damaged") && message.contains("Get the file again"), "{message}");
    }

    #[test]
    fn a_file_without_samples_is_refused() {
        let folder = Folder::new();
        write_wav(&folder.path("silent.wav"), 48_000, &[vec![]]);
        assert!(refusal(&folder.path("silent.wav")).contains("holds no audio"));
    }

    #[test]
    fn a_file_cut_short_is_refused() {
        let folder = Folder::new();
        let path = folder.path("cut.wav");
        write_wav(&path, 48_000, &[vec![0.1; 20_000]]);
        let bytes = std::fs::read(&path).unwrap();
        std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
        assert!(refusal(&path).contains("ends before its audio does"));
    }

    #[test]
    fn more_than_two_channels_are_refused_with_the_remedy() {
        let folder = Folder::new();
        let path = folder.path("surround.wav");
        write_wav(&path, 48_000, &vec![vec![0.1; 100]; 6]);
        let message = refusal(&path);
        assert!(message.contains("6 channels") && message.contains("Mix it down"), "{message}");
    }

    #[test]
    fn a_rate_out_of_range_is_refused_with_the_remedy() {
        let folder = Folder::new();
        let path = folder.path("slow.wav");
        write_wav(&path, 100, &[vec![0.1; 100]]);
        let message = refusal(&path);
        assert!(message.contains("100 Hz") && message.contains("Resample"), "{message}");
    }
}
