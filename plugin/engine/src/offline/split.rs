//! Splitting of a recording into several sounds and a rest, in one pass.

use std::collections::VecDeque;

use realfft::num_complex::Complex32;

use crate::dsp::competition::compete;
use crate::dsp::grid::{SpectrogramFormat, write_host_gain};
use crate::dsp::mask_processor::is_valid_gain;
use crate::dsp::sanitize;
use crate::dsp::stft::OverlapAdd;
use crate::inference::cancel::{CancelToken, run_within_timeout};
use crate::offline::frame_analysis::FrameAnalysis;
use crate::realtime::denormals::FlushDenormals;
use crate::separator::Separator;
use crate::separator::streaming::group::{StreamRun, run_together};

/// A separator with the embedding of its sound.
pub(super) type SoundStream = (Box<dyn Separator>, Vec<f32>);

/// Splits a recording, of which blocks are pushed in order.
///
/// Every sound is a stream of the separator, and all streams run in one batch. The masks compete: each sound has the
/// largest gain of the others as its rest ([`compete`], weight 1). One of the others is everything else, whose gain is 1
/// less the largest of all sounds: without it, the sounds would share what is none of them. Where the resulting gains add
/// up to more than 1, they are scaled to 1. What remains of the input is the last stem, so that all stems add up to the
/// input.
pub struct OfflineSplitter {
    frames: FrameAnalysis,
    streams: Vec<SoundStream>,
    /// Cancels the network of the streams.
    token: CancelToken,
    masks: SoundMasks,
    /// Gain of one sound for each bin of the recording's grid.
    gain: Vec<Complex32>,
    /// Output of each sound and channel.
    overlaps: Vec<Vec<OverlapAdd>>,
    /// Input of each channel that is not in the output yet.
    dry: Vec<VecDeque<f32>>,
    /// Frames from a mask to the newest frame.
    mask_lag: usize,
    frame: usize,
    /// Output samples to skip, which precede the recording.
    skip: usize,
    /// One vector per channel, for each sound and the rest.
    stems: Vec<Vec<Vec<f32>>>,
}

impl OfflineSplitter {
    /// Creates the splitter. `token` cancels the network of `streams`. `format`: sample rate in hertz, and channels.
    pub(super) fn new(
        streams: Vec<SoundStream>,
        token: CancelToken,
        audio: &SpectrogramFormat,
        mask_lag: usize,
        format: (u32, usize),
    ) -> Self {
        let (frames, channels) = (FrameAnalysis::new(audio, format, mask_lag + 1), format.1);
        let grid = frames.grid();
        let overlaps = || (0..channels).map(|_| OverlapAdd::new(grid.size)).collect();
        Self {
            masks: SoundMasks::new(streams.len(), grid.model_bins),
            gain: vec![Complex32::ZERO; grid.bins()],
            overlaps: streams.iter().map(|_| overlaps()).collect(),
            dry: vec![VecDeque::new(); channels],
            mask_lag,
            frame: 0,
            // The first frame ends after a hop.
            skip: grid.size - grid.hop,
            stems: vec![vec![Vec::new(); channels]; streams.len() + 1],
            streams,
            token,
            frames,
        }
    }

    /// Splits the next samples: one slice per channel, of equal length.
    ///
    /// Returns the stems that are ready by then: for each sound, and last for the rest, one vector per channel.
    ///
    /// # Errors
    /// Fails if a run of the separator fails, or a mask is invalid.
    pub fn push<S: AsRef<[f32]>>(&mut self, block: &[S]) -> Result<&[Vec<Vec<f32>>], String> {
        for (dry, channel) in self.dry.iter_mut().zip(block) {
            dry.extend(channel.as_ref().iter().copied().map(sanitize));
        }
        self.clear();
        self.split(block)?;
        Ok(&self.stems)
    }

    /// Returns the last samples. All stems together are then as long as the recording.
    ///
    /// # Errors
    /// The errors of [`push`](Self::push).
    pub fn finish(&mut self) -> Result<&[Vec<Vec<f32>>], String> {
        self.clear();
        let silence = vec![vec![0.0; self.frames.grid().hop]; self.dry.len()];
        while self.dry.first().is_some_and(|dry| !dry.is_empty()) {
            self.split(&silence)?;
        }
        Ok(&self.stems)
    }

    fn clear(&mut self) {
        self.stems.iter_mut().flatten().for_each(Vec::clear);
    }

    fn split<S: AsRef<[f32]>>(&mut self, block: &[S]) -> Result<(), String> {
        let _flush = FlushDenormals::set();
        let length = block.first().map_or(0, |channel| channel.as_ref().len());
        let mut at = 0;
        while at < length {
            let (count, has_frame) = self.frames.push(block, at);
            at += count;
            if has_frame {
                let Self { frames, streams, token, masks, .. } = &mut *self;
                run_within_timeout(token, || masks.run(frames.magnitude(), streams))
                    .map_err(|problem| format!("separator: {problem}. Try again, or use another model"))?;
                self.frame += 1;
                // The first masks are for frames before the recording.
                if self.frame > self.mask_lag {
                    self.masks.combine()?;
                    self.output();
                }
            }
        }
        Ok(())
    }

    /// Adds the frame of the newest masks to the output, and moves the hop that is complete by it to the stems.
    fn output(&mut self) {
        let hop = self.frames.grid().hop;
        let skip = self.skip.min(hop);
        self.skip -= skip;
        let length = (hop - skip).min(self.dry.first().map_or(0, VecDeque::len));
        let Some((rest, sounds)) = self.stems.split_last_mut() else { return };
        for (rest, dry) in rest.iter_mut().zip(&mut self.dry) {
            rest.extend(dry.drain(..length));
        }
        let mut samples = vec![0.0; hop];
        for ((stem, overlaps), mask) in sounds.iter_mut().zip(&mut self.overlaps).zip(&self.masks.sounds) {
            write_host_gain(mask, &mut self.gain);
            self.frames.synthesise_oldest(&self.gain, overlaps);
            for ((channel, overlap), rest) in stem.iter_mut().zip(overlaps).zip(&mut *rest) {
                overlap.take(&mut samples);
                let samples = &samples[skip..skip + length];
                channel.extend_from_slice(samples);
                let start = rest.len() - length;
                rest[start..].iter_mut().zip(samples).for_each(|(rest, sample)| *rest -= sample);
            }
        }
    }
}

/// The masks of all sounds for one frame.
struct SoundMasks {
    /// Masks of the separator, by themselves.
    raw: Vec<Vec<Complex32>>,
    /// Masks beside each other.
    sounds: Vec<Vec<Complex32>>,
    /// Gain of everything else in each bin.
    else_gains: Vec<Complex32>,
    /// Largest gain of the others in each bin.
    others: Vec<Complex32>,
}

impl SoundMasks {
    fn new(sounds: usize, bins: usize) -> Self {
        let masks = || vec![vec![Complex32::ZERO; bins]; sounds];
        let gains = || vec![Complex32::ZERO; bins];
        Self { raw: masks(), sounds: masks(), else_gains: gains(), others: gains() }
    }

    /// Runs the separators of all sounds on the newest frame.
    fn run(&mut self, magnitude: &[f32], streams: &mut [SoundStream]) -> Result<(), String> {
        let mut runs: Vec<_> = streams
            .iter_mut()
            .zip(&mut self.raw)
            .map(|((separator, embedding), mask)| StreamRun {
                separator: &mut **separator,
                embedding,
                mask,
                presence: None,
            })
            .collect();
        run_together(magnitude, &mut runs, false)
    }

    /// Lets the masks of the newest run compete, and limits their sum.
    ///
    /// # Errors
    /// Fails if a gain is not finite or too large.
    fn combine(&mut self) -> Result<(), String> {
        if !self.raw.iter().flatten().copied().all(is_valid_gain) {
            return Err("separator: invalid masks. Use another model, or install this one again".into());
        }
        for (bin, gain) in self.else_gains.iter_mut().enumerate() {
            let largest = self.raw.iter().map(|mask| mask[bin].norm()).fold(0.0, f32::max);
            *gain = Complex32::new((1.0 - largest).max(0.0), 0.0);
        }
        for (at, mask) in self.sounds.iter_mut().enumerate() {
            self.others.copy_from_slice(&self.else_gains);
            for (_, other) in self.raw.iter().enumerate().filter(|(other, _)| *other != at) {
                for (largest, gain) in self.others.iter_mut().zip(other) {
                    if gain.norm_sqr() > largest.norm_sqr() {
                        *largest = *gain;
                    }
                }
            }
            mask.copy_from_slice(&self.raw[at]);
            compete(mask, &self.others, 1.0);
        }
        for bin in 0..self.others.len() {
            let sum: f32 = self.sounds.iter().map(|mask| mask[bin].norm()).sum();
            if sum > 1.0 {
                self.sounds.iter_mut().for_each(|mask| mask[bin] /= sum);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dsp::stft::WindowFunction;
    use crate::separator::fake::ForkingSeparator;

    /// Separator whose gains are those of the embedding, from left to right in equal bands, `lag` frames late.
    fn bands(lag: usize) -> Box<dyn Separator> {
        Box::new(ForkingSeparator::new(move |frame, embedding: &[f32], mask: &mut [Complex32]| {
            let bins = mask.len();
            for (bin, gain) in mask.iter_mut().enumerate() {
                let band = embedding[bin * embedding.len() / bins];
                // Before the recording, as a window model may give.
                *gain = Complex32::new(if frame < lag { 9.0 } else { band }, 0.0);
            }
            None
        }))
    }

    fn splitter(embeddings: &[&[f32]], rate: u32, channels: usize, lag: usize) -> OfflineSplitter {
        let audio = SpectrogramFormat {
            sample_rate: 32_000,
            n_fft: 1024,
            hop: 512,
            window: WindowFunction::SqrtHann,
        };
        let stream = |embedding: &&[f32]| (bands(lag), embedding.to_vec());
        let streams = embeddings.iter().map(stream).collect();
        OfflineSplitter::new(streams, CancelToken::default(), &audio, lag, (rate, channels))
    }

    /// Splits `input` in blocks of these lengths, in turn.
    fn split(splitter: &mut OfflineSplitter, input: &[Vec<f32>], blocks: &[usize]) -> Vec<Vec<Vec<f32>>> {
        let mut stems = vec![vec![Vec::new(); input.len()]; splitter.stems.len()];
        let append = |stems: &mut Vec<Vec<Vec<f32>>>, ready: &[Vec<Vec<f32>>]| {
            for (channel, ready) in stems.iter_mut().flatten().zip(ready.iter().flatten()) {
                channel.extend(ready);
            }
        };
        let mut start = 0;
        for length in blocks.iter().cycle() {
            let end = input[0].len().min(start + length);
            let block: Vec<_> = input.iter().map(|channel| &channel[start..end]).collect();
            append(&mut stems, splitter.push(&block).unwrap());
            start = end;
            if start == input[0].len() {
                break;
            }
        }
        append(&mut stems, splitter.finish().unwrap());
        stems
    }

    fn noise(channels: usize, length: usize) -> Vec<Vec<f32>> {
        let sample = |n: usize| ((n * 7_919) % 2_003) as f32 / 2_003.0 - 0.5;
        (0..channels).map(|channel| (0..length).map(|n| sample(n + 31 * channel)).collect()).collect()
    }

    #[test]
    fn stems_add_up_to_the_input_at_any_rate_length_and_lag() {
        for (rate, channels, lag) in [(48_000, 2, 0), (44_100, 1, 3), (22_050, 1, 0), (96_000, 2, 6)] {
            for length in [1, 500, 10_007] {
                let input = noise(channels, length);
                let mut splitter = splitter(&[&[0.9, 0.1], &[0.2, 0.7]], rate, channels, lag);
                let stems = split(&mut splitter, &input, &[1_000]);
                assert_eq!(stems.len(), 3);
                for (channel, input) in input.iter().enumerate() {
                    assert!(stems.iter().all(|stem| stem[channel].len() == length));
                    for (n, sample) in input.iter().enumerate() {
                        let sum: f32 = stems.iter().map(|stem| stem[channel][n]).sum();
                        assert!((sum - sample).abs() < 1e-6, "{rate} Hz, sample {n} of {length}");
                    }
                }
            }
        }
    }

    #[test]
    fn stem_of_a_mask_of_one_is_the_input_in_place() {
        for lag in [0, 3] {
            let input = noise(1, 20_000);
            let stems = split(&mut splitter(&[&[1.0]], 48_000, 1, lag), &input, &[512]);
            for (stem, sample) in stems[0][0].iter().zip(&input[0]) {
                assert!((stem - sample).abs() < 1e-5);
            }
            assert!(stems[1][0].iter().all(|rest| rest.abs() < 1e-5));
        }
    }

    #[test]
    fn stems_do_not_depend_on_the_blocks() {
        let input = noise(1, 9_000);
        let split = |blocks: &[usize]| {
            split(&mut splitter(&[&[0.9, 0.1], &[0.3, 0.6]], 48_000, 1, 3), &input, blocks)
        };
        assert!(split(&[9_000]) == split(&[1, 700, 64, 3_000]));
    }

    #[test]
    fn invalid_samples_count_as_silence() {
        let mut input = noise(1, 9_000);
        input[0][4_000] = f32::NAN;
        input[0][4_001] = f32::INFINITY;
        let stems = split(&mut splitter(&[&[0.5]], 48_000, 1, 0), &input, &[512]);
        assert!(stems.iter().flatten().flatten().all(|sample| sample.is_finite()));
    }

    fn combined(raw: &[&[f32]]) -> Vec<Vec<f32>> {
        let mut masks = SoundMasks::new(raw.len(), raw[0].len());
        for (mask, raw) in masks.raw.iter_mut().zip(raw) {
            mask.iter_mut().zip(*raw).for_each(|(gain, &raw)| *gain = Complex32::new(raw, 0.0));
        }
        masks.combine().unwrap();
        masks.sounds.iter().map(|mask| mask.iter().map(|gain| gain.re).collect()).collect()
    }

    /// The gain of `own` beside `other`.
    fn beside(own: f32, other: f32) -> f32 {
        let logit = |gain: f32| (gain / (1.0 - gain)).ln();
        1.0 / (1.0 + (0.5 * (logit(other) - logit(own))).exp())
    }

    #[test]
    fn each_sound_competes_with_the_largest_of_the_others() {
        let masks = combined(&[&[0.6], &[0.5], &[0.1]]);
        let expected = [beside(0.6, 0.5), beside(0.5, 0.6), beside(0.1, 0.6)];
        let sum: f32 = expected.iter().sum();
        assert!(sum > 1.0);
        for (mask, expected) in masks.iter().zip(expected) {
            assert!((mask[0] - expected / sum).abs() < 1e-5);
        }
    }

    #[test]
    fn everything_else_competes_with_what_the_largest_leaves() {
        let masks = combined(&[&[0.2, 0.9], &[0.1, 0.05]]);
        assert!((masks[0][0] - 0.2).abs() < 1e-5 && (masks[0][1] - 0.9).abs() < 1e-5, "{masks:?}");
        assert!((masks[1][0] - beside(0.1, 0.8)).abs() < 1e-5);
        assert!((masks[1][1] - beside(0.05, 0.9)).abs() < 1e-5);
        let alone = combined(&[&[0.6, 0.0, 1.0]]);
        assert!((alone[0][0] - 0.6).abs() < 1e-5 && alone[0][1..] == [0.0, 1.0], "{alone:?}");
    }

    #[test]
    fn sum_of_the_gains_is_at_most_one() {
        let masks = combined(&[&[1.0, 0.4], &[1.0, 0.3], &[2.0, 0.01]]);
        let sum = |bin: usize| masks.iter().map(|mask| mask[bin]).sum::<f32>();
        assert!((sum(0) - 1.0).abs() < 1e-6 && sum(1) <= 1.0, "{masks:?}");
        assert!((masks[2][0] - 0.5).abs() < 1e-6);
    }

    #[test]
    fn invalid_mask_is_an_error() {
        let mut splitter = splitter(&[&[f32::NAN]], 48_000, 1, 0);
        let problem = splitter.push(&noise(1, 2_000)).unwrap_err();
        assert!(problem.contains("invalid masks"), "{problem}");
    }
}
