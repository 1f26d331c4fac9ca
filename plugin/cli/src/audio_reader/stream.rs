//! Streams of decoded audio, and the decoders of Symphonia.

use std::io::ErrorKind;

use anyhow::{Result, anyhow, bail, ensure};
use symphonia::core::codecs::audio::well_known::*;
use symphonia::core::codecs::audio::{AudioCodecId, AudioCodecParameters, AudioDecoder, AudioDecoderOptions};
use symphonia::core::errors::{Error, Result as SymphoniaResult};
use symphonia::core::formats::probe::Hint;
use symphonia::core::formats::{FormatOptions, FormatReader, TrackType};
use symphonia::core::io::MediaSourceStream;
use symphonia::core::meta::MetadataOptions;
use symphonia::core::packet::Packet;

use super::boxes::Edit;
use super::errors::{CUT_SHORT, REPAIR, Unsupported, ensure_supported};
use super::packets::{Packets, Trim};
use super::source::{Section, Source};
use super::{mpeg, raw};

/// Audio that is decoded block by block.
pub trait Stream {
    /// Decodes the next samples to `block`, one vector per channel. Returns their sample rate in hertz, or `None` at
    /// the end.
    ///
    /// # Errors
    /// If the audio is damaged or incomplete.
    fn decode(&mut self, block: &mut Vec<Vec<f32>>) -> Result<Option<u32>>;

    /// Samples per channel, if they are known.
    fn length(&self) -> Option<u64>;

    /// Returns what was repaired since the last call.
    fn take_warnings(&mut self) -> Vec<String>;
}

/// A track of a container that Symphonia reads.
struct Container {
    reader: Box<dyn FormatReader>,
    track: u32,
}

impl Packets for Container {
    fn next_packet(&mut self) -> SymphoniaResult<Option<Packet>> {
        loop {
            match self.reader.next_packet()? {
                Some(packet) if packet.track_id != self.track => {}
                packet => return Ok(packet),
            }
        }
    }
}

/// The part of a container's audio that is wanted.
pub enum Selection {
    All,
    /// Samples, of which the last packet may lack up to as many: some programs count it as full.
    Frames(Trim, u64),
    Edits(Vec<Edit>),
    /// All up to the end of the file, because the container does not tell its length.
    Open,
}

/// How the length that a container declares is held against what was decoded.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Declaration {
    /// Less is an error.
    AtLeast,
    /// Less is an error, and more a warning; packets follow without gaps.
    Flac,
    /// The end must be marked.
    Ogg,
}

/// A stream that Symphonia decodes.
pub struct DecodedStream {
    packets: Box<dyn Packets>,
    decoder: Box<dyn AudioDecoder>,
    trim: Trim,
    declaration: Declaration,
    /// Samples per channel that the file declares, before the trim.
    declared: Option<u64>,
    /// The end of the file ends the audio.
    is_open: bool,
    /// By how much fewer samples may be decoded.
    slack: u64,
    /// Time of the first sample behind the encoder's delay, in samples: an Ogg file may be cut from a longer recording.
    start: Option<i64>,
    /// Samples per channel decoded so far, before the trim.
    decoded: u64,
    warnings: Vec<String>,
}

impl DecodedStream {
    fn new(
        packets: Box<dyn Packets>,
        parameters: &AudioCodecParameters,
        trim: Trim,
        declared: Option<u64>,
    ) -> Result<Self> {
        let decoder = symphonia::default::get_codecs()
            .make_audio_decoder(parameters, &AudioDecoderOptions::default().verify(true))
            .map_err(|error| explain(error, true))?;
        Ok(Self {
            packets,
            decoder,
            trim,
            declaration: Declaration::AtLeast,
            declared,
            is_open: false,
            slack: 0,
            start: None,
            decoded: 0,
            warnings: Vec::new(),
        })
    }

    /// Opens raw audio.
    ///
    /// # Errors
    /// If its header makes no sense.
    pub fn raw(audio: raw::RawAudio, source: &Source) -> Result<Self> {
        let audio = audio.open(source)?;
        let mut stream =
            Self::new(Box::new(audio.packets), &audio.parameters, audio.trim, Some(audio.length))?;
        stream.warnings = audio.warnings;
        Ok(stream)
    }

    /// Opens a segment of MPEG audio.
    ///
    /// # Errors
    /// If there is no decoder for it.
    pub fn mpeg(segment: &mpeg::Segment, source: &Source) -> Result<Self> {
        let packets = Box::new(segment.packets(source));
        Self::new(packets, &segment.parameters(), segment.trim(), Some(segment.decoded_length()))
    }

    /// Opens the audio track of a container. `extension` hints at the format.
    ///
    /// # Errors
    /// If there is no audio track, or Symphonia does not read it.
    pub fn container(section: Section, extension: Option<&str>, selection: &Selection) -> Result<Self> {
        let mut hint = Hint::new();
        if let Some(extension) = extension {
            hint.with_extension(extension);
        }
        let stream = MediaSourceStream::new(Box::new(section), Default::default());
        let reader = symphonia::default::get_probe()
            .probe(&hint, stream, FormatOptions::default(), MetadataOptions::default())
            .map_err(|error| explain(error, true))?;
        let audio_tracks = reader
            .tracks()
            .iter()
            .filter(|track| {
                track.codec_params.as_ref().is_some_and(|parameters| parameters.audio().is_some())
            })
            .count();
        let Some(track) = reader.default_track(TrackType::Audio) else {
            // A track of an unknown codec may be audio.
            ensure!(
                reader.tracks().iter().all(|track| track.codec_params.is_some()),
                Unsupported::Kind("a container without a known audio track".into())
            );
            bail!("no audio track. Choose a file with sound");
        };
        let parameters = track.codec_params.as_ref().and_then(|parameters| parameters.audio());
        let Some(parameters) = parameters.cloned() else {
            bail!(Unsupported::Kind(format!("{} with an unknown codec", reader.format_info().long_name)));
        };
        if symphonia::default::get_codecs().get_audio_decoder(parameters.codec).is_none() {
            bail!(Unsupported::Kind(format!(
                "{} in {}",
                codec_name(parameters.codec),
                reader.format_info().long_name
            )));
        }
        // Fragments are not counted.
        let mut declared = track.num_frames.filter(|&frames| frames > 0);
        let track = track.id;
        let mut slack = 0;
        let trim = match selection {
            Selection::All | Selection::Open => Trim::default(),
            Selection::Frames(trim, packet) => {
                slack = *packet;
                declared = trim.length.map(|length| trim.skip + length);
                *trim
            }
            Selection::Edits(edits) => {
                let edit = edits.iter().find(|edit| edit.track == track);
                edit.zip(parameters.sample_rate)
                    .map_or(Trim::default(), |(edit, rate)| edit_trim(edit, rate, declared))
            }
        };
        let declaration = match reader.format_info().short_name {
            "flac" => Declaration::Flac,
            "ogg" => Declaration::Ogg,
            _ => Declaration::AtLeast,
        };
        let packets = Box::new(Container { reader, track });
        let mut stream = Self::new(packets, &parameters, trim, declared)?;
        (stream.declaration, stream.slack) = (declaration, slack);
        stream.is_open = matches!(selection, Selection::Open);
        if audio_tracks > 1 {
            stream.warnings.push(format!("{audio_tracks} audio tracks; only the first is read"));
        }
        Ok(stream)
    }

    /// Trims the newly decoded `block`, which begins at sample `position`.
    fn trim(&self, block: &mut [Vec<f32>], position: u64) {
        let from = self.trim.skip.saturating_sub(position);
        let end = self.trim.length.map(|length| self.trim.skip + length);
        let to = end.map_or(u64::MAX, |end| end.saturating_sub(position));
        for channel in block {
            channel.truncate(usize::try_from(to).unwrap_or(usize::MAX));
            channel.drain(..channel.len().min(usize::try_from(from).unwrap_or(usize::MAX)));
        }
    }

    /// Checks that the file contained all audio that it declares.
    fn ensure_complete(&mut self) -> Result<()> {
        ensure!(
            self.decoder.finalize().verify_ok != Some(false),
            "damaged: wrong checksum. Get the file again"
        );
        ensure!(
            self.declaration != Declaration::Ogg || self.declared.is_some(),
            "{CUT_SHORT} or damaged: the end is not marked. Get the file again, or convert it to WAV or FLAC"
        );
        let Some(declared) = self.length_from_start() else { return Ok(()) };
        let decoded = self.decoded;
        ensure!(
            decoded + self.slack >= declared,
            "damaged or {CUT_SHORT}: {decoded} samples; expected {declared}. Get the file again"
        );
        if decoded > declared && self.declaration == Declaration::Flac {
            self.warnings.push(format!("its header counts {declared} of {decoded} samples; all are read"));
        }
        Ok(())
    }

    /// The declared length behind the first packet.
    fn length_from_start(&self) -> Option<u64> {
        let start = self.start.unwrap_or(0).max(0).unsigned_abs();
        let start = if self.declaration == Declaration::Ogg { start } else { 0 };
        self.declared.map(|declared| declared.saturating_sub(start))
    }
}

impl Stream for DecodedStream {
    fn decode(&mut self, block: &mut Vec<Vec<f32>>) -> Result<Option<u32>> {
        loop {
            let is_first = self.decoded == 0;
            let packet = match self.packets.next_packet() {
                Ok(Some(packet)) => packet,
                Ok(None) => return self.ensure_complete().map(|()| None),
                Err(Error::IoError(error))
                    if self.is_open && !is_first && error.kind() == ErrorKind::UnexpectedEof =>
                {
                    self.warnings
                        .push("the length of the audio is unknown; read to the end of the file".into());
                    return self.ensure_complete().map(|()| None);
                }
                Err(error) => return Err(explain(error, is_first)),
            };
            let time = packet.pts.get();
            self.start.get_or_insert(time.saturating_add_unsigned(packet.trim_start.get()));
            ensure!(
                self.declaration != Declaration::Flac || u64::try_from(time) == Ok(self.decoded),
                "damaged: a frame of time {time} behind {} samples (wrong checksum of a frame). Get the file again",
                self.decoded
            );
            let decoded = self.decoder.decode(&packet).map_err(|error| explain(error, is_first))?;
            let (frames, rate) = (decoded.frames() as u64, decoded.spec().rate());
            if frames == 0 {
                continue;
            }
            ensure_supported(rate, decoded.spec().channels().count())?;
            decoded.copy_to_vecs_planar(block);
            self.trim(block, self.decoded);
            self.decoded += frames;
            if block.iter().any(|channel| !channel.is_empty()) {
                return Ok(Some(rate));
            }
        }
    }

    fn length(&self) -> Option<u64> {
        let exact = self.length_from_start().filter(|_| self.slack == 0);
        let length = exact?.saturating_sub(self.trim.skip);
        Some(self.trim.length.map_or(length, |trimmed| trimmed.min(length)))
    }

    fn take_warnings(&mut self) -> Vec<String> {
        std::mem::take(&mut self.warnings)
    }
}

/// The name of a codec that Symphonia does not decode.
fn codec_name(codec: AudioCodecId) -> &'static str {
    match codec {
        CODEC_ID_OPUS => "Opus",
        CODEC_ID_AC3 => "AC-3",
        CODEC_ID_EAC3 => "E-AC-3",
        CODEC_ID_AC4 => "AC-4",
        CODEC_ID_DCA => "DTS",
        CODEC_ID_TRUEHD => "TrueHD",
        CODEC_ID_WMA => "Windows Media Audio",
        CODEC_ID_TTA => "True Audio",
        CODEC_ID_WAVPACK => "WavPack",
        _ => "an unknown codec",
    }
}

/// The samples that `edit` selects, of a track with `declared` samples at `rate` hertz.
fn edit_trim(edit: &Edit, rate: u32, declared: Option<u64>) -> Trim {
    let samples = |units: u64, scale: u32| {
        u64::try_from(u128::from(units) * u128::from(rate) / u128::from(scale)).unwrap_or(u64::MAX)
    };
    let skip = samples(edit.start, edit.scale);
    let left = declared.map(|declared| declared.saturating_sub(skip));
    // The movie's units are coarse: a duration within one of them of the track's end is meant to be that end.
    let unit = samples(1, edit.movie_scale) + 1;
    let length = match (edit.duration, left) {
        (0, left) => left,
        (duration, Some(left)) => {
            let length = samples(duration, edit.movie_scale);
            Some(if length.abs_diff(left) <= unit { left } else { length.min(left) })
        }
        // Of fragments, only the beginning is trimmed.
        (_, None) => None,
    };
    Trim { skip, length }
}

/// Describes an error of Symphonia. `is_opening`: nothing was decoded yet, so that another decoder can be tried.
fn explain(error: Error, is_opening: bool) -> anyhow::Error {
    let damage = match error {
        Error::IoError(error) if error.kind() == ErrorKind::UnexpectedEof => {
            return anyhow!(
                "{CUT_SHORT}: the file ends before its audio. Get the file again, or convert it to WAV or FLAC"
            );
        }
        Error::IoError(error) if error.raw_os_error().is_some() => return anyhow!("cannot be read: {error}"),
        Error::Unsupported(reason) if is_opening => return anyhow!(Unsupported::Kind(reason.to_owned())),
        Error::ResetRequired => {
            return anyhow!("several consecutive streams; expected one. Convert the file to WAV or FLAC");
        }
        error => format!("damaged: {error}"),
    };
    if is_opening {
        return anyhow!(Unsupported::Damage(damage));
    }
    anyhow!("{damage}. {REPAIR}")
}
