//! Audio in blocks of equal size behind a header: PCM and ADPCM in WAV, AIFF, CAF and AU.

use std::io::Read;
use std::ops::Range;

use anyhow::{Result, bail, ensure};
use symphonia::core::audio::{Channels, Position};
use symphonia::core::codecs::audio::well_known::*;
use symphonia::core::codecs::audio::{AudioCodecId, AudioCodecParameters};
use symphonia::core::errors::Result as SymphoniaResult;
use symphonia::core::packet::Packet;
use symphonia::core::units::{Duration, Timestamp};

use super::errors::ensure_supported;
use super::packets::{Packets, Trim};
use super::source::{Piece, Section, Source};

/// Frames per packet of PCM.
const PACKET_FRAMES: u64 = 1_152;

/// What the header tells.
#[derive(Clone, Debug)]
pub struct RawFormat {
    pub codec: AudioCodecId,
    pub rate: u32,
    pub channels: u16,
    /// Bytes per block of all channels.
    pub block_size: u64,
    /// Frames (samples per channel) per block; 1 for PCM.
    pub block_frames: u64,
}

/// Byte order of numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ByteOrder {
    Little,
    Big,
}

impl RawFormat {
    /// PCM with `bytes` per sample.
    ///
    /// # Errors
    /// If there is no such format.
    pub fn pcm(kind: PcmKind, order: ByteOrder, bytes: u64, rate: u32, channels: u16) -> Result<Self> {
        use ByteOrder::{Big, Little};
        let codec = match (kind, bytes, order) {
            (PcmKind::Signed, 1, _) => CODEC_ID_PCM_S8,
            (PcmKind::Unsigned, 1, _) => CODEC_ID_PCM_U8,
            (PcmKind::Signed, 2, Little) => CODEC_ID_PCM_S16LE,
            (PcmKind::Signed, 2, Big) => CODEC_ID_PCM_S16BE,
            (PcmKind::Signed, 3, Little) => CODEC_ID_PCM_S24LE,
            (PcmKind::Signed, 3, Big) => CODEC_ID_PCM_S24BE,
            (PcmKind::Signed, 4, Little) => CODEC_ID_PCM_S32LE,
            (PcmKind::Signed, 4, Big) => CODEC_ID_PCM_S32BE,
            (PcmKind::Float, 4, Little) => CODEC_ID_PCM_F32LE,
            (PcmKind::Float, 4, Big) => CODEC_ID_PCM_F32BE,
            (PcmKind::Float, 8, Little) => CODEC_ID_PCM_F64LE,
            (PcmKind::Float, 8, Big) => CODEC_ID_PCM_F64BE,
            (PcmKind::ALaw, 1, _) => CODEC_ID_PCM_ALAW,
            (PcmKind::MuLaw, 1, _) => CODEC_ID_PCM_MULAW,
            _ => bail!("damaged: PCM of {bytes} bytes per sample. Convert it to WAV or FLAC"),
        };
        let block_size = bytes * u64::from(channels);
        Ok(Self { codec, rate, channels, block_size, block_frames: 1 })
    }

    fn parameters(&self) -> AudioCodecParameters {
        let mut parameters = AudioCodecParameters::new();
        let channels = Position::from_count(u32::from(self.channels))
            .map_or_else(|| Channels::Discrete(self.channels), Channels::Positioned);
        parameters.for_codec(self.codec).with_sample_rate(self.rate).with_channels(channels);
        if self.block_frames > 1 {
            parameters.with_frames_per_block(self.block_frames).with_max_frames_per_packet(self.block_frames);
        } else {
            parameters.with_max_frames_per_packet(PACKET_FRAMES);
        }
        if self.block_frames == 1 && ![CODEC_ID_PCM_ALAW, CODEC_ID_PCM_MULAW].contains(&self.codec) {
            let bits = (self.block_size / u64::from(self.channels) * 8) as u32;
            parameters.with_bits_per_sample(bits).with_bits_per_coded_sample(bits);
        }
        parameters
    }
}

/// How PCM samples are coded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PcmKind {
    Signed,
    /// Of one byte only.
    Unsigned,
    Float,
    ALaw,
    MuLaw,
}

/// Audio behind a header.
#[derive(Clone)]
pub struct RawAudio {
    pub format: RawFormat,
    /// Where the blocks are in the file.
    pub ranges: Vec<Range<u64>>,
    /// Frames per channel, where the header tells them and the last block may be filled up.
    pub frames: Option<u64>,
    /// What was repaired.
    pub warnings: Vec<String>,
}

impl RawAudio {
    /// Prepares to read the audio: parameters for its decoder, its packets and its trim.
    ///
    /// # Errors
    /// If the header makes no sense.
    pub fn open(mut self, source: &Source) -> Result<RawStream> {
        let RawFormat { rate, channels, block_size, block_frames, .. } = self.format;
        ensure_supported(rate, usize::from(channels))?;
        ensure!(block_size > 0 && block_frames > 0, "damaged: blocks of 0 bytes. Get the file again");
        let bytes: u64 = self.ranges.iter().map(|range| range.end - range.start).sum();
        let rest = bytes % block_size;
        if rest != 0 {
            let unit = if block_frames == 1 { "frame" } else { "block" };
            self.warnings.push(format!("ends within a {unit}: its last {rest} bytes are left out"));
        }
        let length = bytes / block_size * block_frames;
        ensure!(length > 0, "contains no audio");
        // A count that differs by more than the fill of the last block is wrong.
        let trimmed = self.frames.filter(|&frames| frames <= length && length - frames < block_frames);
        let section = source.sections(self.ranges.into_iter().map(Piece::Range));
        Ok(RawStream {
            parameters: self.format.parameters(),
            packets: RawPackets {
                section,
                left: bytes / block_size,
                blocks: if block_frames == 1 { PACKET_FRAMES } else { 1 },
                block_size,
                block_frames,
                position: 0,
            },
            trim: Trim { skip: 0, length: trimmed },
            length: trimmed.unwrap_or(length),
            warnings: self.warnings,
        })
    }
}

/// What [`RawAudio::open`] prepares.
pub struct RawStream {
    pub parameters: AudioCodecParameters,
    pub packets: RawPackets,
    pub trim: Trim,
    /// Frames per channel.
    pub length: u64,
    pub warnings: Vec<String>,
}

/// The packets of raw audio.
pub struct RawPackets {
    section: Section,
    /// Blocks left.
    left: u64,
    /// Blocks per packet.
    blocks: u64,
    block_size: u64,
    block_frames: u64,
    position: i64,
}

impl Packets for RawPackets {
    fn next_packet(&mut self) -> SymphoniaResult<Option<Packet>> {
        let blocks = self.blocks.min(self.left);
        if blocks == 0 {
            return Ok(None);
        }
        let mut data = vec![0; (blocks * self.block_size) as usize];
        self.section.read_exact(&mut data)?;
        let frames = blocks * self.block_frames;
        let packet = Packet::new(0, Timestamp::new(self.position), Duration::new(frames), data);
        self.left -= blocks;
        self.position += frames as i64;
        Ok(Some(packet))
    }
}
