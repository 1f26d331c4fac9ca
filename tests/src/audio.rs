//! Sound in memory and in WAV files.

use std::path::Path;

use anyhow::{Context, Result, ensure};

/// Samples by channel: one or more channels of equal length, full scale ±1.
#[derive(Clone, Debug, PartialEq)]
pub struct Audio {
    channels: Vec<Vec<f32>>,
}

impl Audio {
    /// Takes samples by channel.
    ///
    /// # Panics
    /// If there is no channel, or the lengths differ.
    pub fn new(channels: Vec<Vec<f32>>) -> Self {
        assert!(!channels.is_empty(), "audio needs at least one channel");
        assert!(
            channels.iter().all(|channel| channel.len() == channels[0].len()),
            "the channels differ in length"
        );
        Self { channels }
    }

    /// `frames` samples per channel, each computed by `sample(channel, frame)`.
    pub fn from_fn(channels: usize, frames: usize, sample: impl Fn(usize, usize) -> f32) -> Self {
        Self::new(
            (0..channels).map(|channel| (0..frames).map(|frame| sample(channel, frame)).collect()).collect(),
        )
    }

    pub fn silence(channels: usize, frames: usize) -> Self {
        Self::from_fn(channels, frames, |_, _| 0.0)
    }

    /// A single sample of 1 at `position` in every channel.
    pub fn impulse(channels: usize, frames: usize, position: usize) -> Self {
        Self::from_fn(channels, frames, |_, frame| f32::from(u8::from(frame == position)))
    }

    /// A sine of `frequency` Hz at `rate` Hz, the same in every channel.
    pub fn sine(channels: usize, frames: usize, rate: f64, frequency: f64, amplitude: f32) -> Self {
        Self::from_fn(channels, frames, |_, frame| {
            let phase = (frequency * frame as f64 / rate).fract() * std::f64::consts::TAU;
            amplitude * phase.sin() as f32
        })
    }

    /// White noise, uniform in ±`amplitude`, different in every channel; equal seeds give equal noise.
    pub fn noise(channels: usize, frames: usize, amplitude: f32, seed: u64) -> Self {
        let mut random = Random::new(seed);
        Self::new(
            (0..channels).map(|_| (0..frames).map(|_| amplitude * random.bipolar()).collect()).collect(),
        )
    }

    /// Number of channels.
    pub fn width(&self) -> usize {
        self.channels.len()
    }

    pub fn frames(&self) -> usize {
        self.channels[0].len()
    }

    pub fn channel(&self, index: usize) -> &[f32] {
        &self.channels[index]
    }

    pub fn channels(&self) -> &[Vec<f32>] {
        &self.channels
    }

    pub fn channels_mut(&mut self) -> &mut [Vec<f32>] {
        &mut self.channels
    }

    /// All samples, channel after channel.
    pub fn samples(&self) -> impl Iterator<Item = f32> + '_ {
        self.channels.iter().flatten().copied()
    }

    pub fn is_finite(&self) -> bool {
        self.samples().all(f32::is_finite)
    }

    /// The mean of the channels.
    pub fn to_mono(&self) -> Vec<f32> {
        (0..self.frames())
            .map(|frame| {
                self.channels.iter().map(|channel| channel[frame]).sum::<f32>() / self.width() as f32
            })
            .collect()
    }

    /// This sound, of the same length, after `frames` of silence; its end is cut off.
    pub fn delayed(&self, frames: usize) -> Self {
        Self::from_fn(self.width(), self.frames(), |channel, frame| {
            frame.checked_sub(frames).map_or(0.0, |source| self.channels[channel][source])
        })
    }

    /// The frames of `range`.
    ///
    /// # Panics
    /// If the range ends beyond the sound.
    pub fn slice(&self, range: std::ops::Range<usize>) -> Self {
        Self::new(self.channels.iter().map(|channel| channel[range.clone()].to_vec()).collect())
    }

    /// This sound followed by `next`.
    pub fn then(&self, next: &Self) -> Self {
        assert_eq!(self.width(), next.width(), "the sounds differ in channels");
        Self::new(
            self.channels
                .iter()
                .zip(&next.channels)
                .map(|(first, second)| [first.as_slice(), second].concat())
                .collect(),
        )
    }

    /// The sum, sample by sample.
    pub fn plus(&self, other: &Self) -> Self {
        assert_eq!(self.frames(), other.frames(), "the sounds differ in length");
        Self::from_fn(self.width(), self.frames(), |channel, frame| {
            self.channels[channel][frame] + other.channels[channel][frame]
        })
    }

    /// Largest absolute difference of two samples; NaN if any difference is NaN.
    pub fn largest_difference(&self, other: &Self) -> f32 {
        assert_eq!(self.width(), other.width(), "the sounds differ in channels");
        self.channels
            .iter()
            .zip(&other.channels)
            .map(|(a, b)| crate::metrics::largest_difference(a, b))
            .fold(0.0, |a, b| if b.is_nan() || b > a { b } else { a })
    }

    /// Largest difference between neighbouring samples of any channel.
    pub fn largest_jump(&self) -> f32 {
        self.channels.iter().map(|channel| crate::metrics::largest_jump(channel)).fold(0.0, f32::max)
    }

    /// The place and the samples where two sounds first differ in any bit; `None` if they are equal.
    pub fn first_difference(&self, other: &Self) -> Option<String> {
        assert_eq!(self.width(), other.width(), "the sounds differ in channels");
        assert_eq!(self.frames(), other.frames(), "the sounds differ in length");
        (0..self.frames()).find_map(|frame| {
            (0..self.width()).find_map(|channel| {
                let (a, b) = (self.channels[channel][frame], other.channels[channel][frame]);
                // Zeros of either sign count as equal.
                (a.to_bits() != b.to_bits() && !(a == 0.0 && b == 0.0))
                    .then(|| format!("channel {channel}, frame {frame}: {a:e} is not {b:e}"))
            })
        })
    }

    /// Reads a WAV file of integer or float samples; returns its sample rate in Hz as well.
    ///
    /// # Errors
    /// If the file cannot be read; the message names it.
    pub fn read_wav(path: &Path) -> Result<(Self, u32)> {
        let read = || -> Result<_> {
            let mut reader = hound::WavReader::open(path)?;
            let spec = reader.spec();
            let interleaved: Vec<f32> = match spec.sample_format {
                hound::SampleFormat::Float => reader.samples::<f32>().collect::<Result<_, _>>()?,
                hound::SampleFormat::Int => {
                    let full_scale = (1_i64 << (spec.bits_per_sample - 1)) as f32;
                    reader
                        .samples::<i32>()
                        .map(|sample| Ok(sample? as f32 / full_scale))
                        .collect::<Result<_>>()?
                }
            };
            let width = usize::from(spec.channels);
            ensure!(!interleaved.is_empty(), "the file holds no samples");
            let audio = Self::from_fn(width, interleaved.len() / width, |channel, frame| {
                interleaved[frame * width + channel]
            });
            Ok((audio, spec.sample_rate))
        };
        read().with_context(|| format!("cannot read {}", path.display()))
    }

    /// Writes a WAV file of 32-bit float samples.
    ///
    /// # Errors
    /// If the file cannot be written; the message names it.
    pub fn write_wav(&self, path: &Path, rate: u32) -> Result<()> {
        let write = || -> Result<()> {
            let spec = hound::WavSpec {
                channels: self.width() as u16,
                sample_rate: rate,
                bits_per_sample: 32,
                sample_format: hound::SampleFormat::Float,
            };
            let mut writer = hound::WavWriter::create(path, spec)?;
            for frame in 0..self.frames() {
                for channel in &self.channels {
                    writer.write_sample(channel[frame])?;
                }
            }
            Ok(writer.finalize()?)
        };
        write().with_context(|| format!("cannot write {}", path.display()))
    }
}

/// A random number generator with a seed: SplitMix64 (G. Steele, D. Lea, C. Flood, "Fast splittable
/// pseudorandom number generators", OOPSLA 2014).
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform in −1…1.
    pub fn bipolar(&mut self) -> f32 {
        (self.bits() >> 40) as f32 / (1_u32 << 23) as f32 - 1.0
    }

    /// Uniform in `low..=high`.
    pub fn between(&mut self, low: usize, high: usize) -> usize {
        low + (self.bits() % (high - low + 1) as u64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delayed_impulse_is_an_impulse_at_a_later_frame() {
        assert_eq!(Audio::impulse(2, 9, 2).delayed(3), Audio::impulse(2, 9, 5));
        assert_eq!(Audio::impulse(1, 4, 2).delayed(2), Audio::silence(1, 4));
    }

    #[test]
    fn first_difference_names_channel_and_frame() {
        let silence = Audio::silence(2, 5);
        let differs = silence.first_difference(&Audio::impulse(2, 5, 3)).unwrap();
        assert!(differs.starts_with("channel 0, frame 3:"), "{differs}");
        assert_eq!(silence.first_difference(&Audio::from_fn(2, 5, |_, _| -0.0)), None);
    }

    #[test]
    fn wav_file_that_was_written_reads_back_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("noise.wav");
        let noise = Audio::noise(2, 1000, 0.7, 5);
        noise.write_wav(&path, 44_100).unwrap();
        assert_eq!(Audio::read_wav(&path).unwrap(), (noise, 44_100));
    }

    #[test]
    fn missing_wav_file_is_named_in_the_error() {
        let error = Audio::read_wav(Path::new("no/such.wav")).unwrap_err();
        assert!(error.to_string().contains("no/such.wav"), "{error}");
    }
}
