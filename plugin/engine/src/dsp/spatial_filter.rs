//! Separation by place: a causal 2 × 2 Wiener filter in each bin, on top of the mask.
//!
//! Target and rest are modelled in each bin as Gaussian signals with a variance and a spatial covariance, the 2 × 2
//! covariance of the two channels with trace 1 (Duong, Vincent and Gribonval, "Under-Determined Reverberant Audio Source
//! Separation Using a Full-Rank Spatial Covariance Model", 2010). With v of 0 to 1, the share of the target's variance:
//!
//! ```text
//! target = v·R_t · (v·R_t + (1 − v)·R_r)⁻¹ · input
//! ```
//!
//! Where both covariances are equal, this is v times the input: the mask. The covariances are recursive means of the frames
//! before, weighted by how surely the bin is target or rest. The mask is the first guess of v, which a few steps of
//! expectation-maximisation improve by what both channels of this frame are.

use realfft::num_complex::Complex32;
use wide::f32x8;

use crate::dsp::grid::Grid;
use crate::dsp::spatial_filter::covariance::{Classes, ComplexLanes, Covariance, LANES, SILENCE};

mod covariance;

/// Time constant of the covariances, in seconds.
const MEMORY_SECONDS: f32 = 2.0;

/// Standard deviation in hertz of the smoothing over bins, at frequency 0 and per hertz of frequency, and its limit.
const SMOOTHING_HZ: f32 = 94.0;
const SMOOTHING_PER_HZ: f32 = 0.03;
const MAX_SMOOTHING_HZ: f32 = 250.0;

/// Share of the mean covariance of all bins, as level differences are much the same in all of them.
const SHARED: f32 = 0.05;

/// Share of the covariance of both classes in that of each, so that a class that was hardly heard is like the other.
const COMMON: f32 = 0.003;

/// Squared distances of the covariances from which the filter counts, and from which it counts fully.
const FILTER_FROM: f32 = 0.02;
const FILTER_FULL: f32 = 0.1;

/// The same of the improved variances.
const IMPROVEMENT_FROM: f32 = 0.05;
const IMPROVEMENT_FULL: f32 = 0.3;

/// What a mask is of: masks of another stream or of other sounds are of other places.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MaskOrigin {
    /// Number of the stream.
    pub stream: u32,
    /// Number of the sounds that the text names.
    pub sounds: u32,
}

/// Settings of the filter for one frame.
#[derive(Clone, Copy, Debug)]
pub struct SpatialControls {
    /// How much places count, 0 to 1.
    pub amount: f32,
    /// Smallest gain, linear, 0 to 1.
    pub floor: f32,
    /// What the gain is of; `None` if it is held from a frame before.
    pub origin: Option<MaskOrigin>,
}

/// Filter of a stereo signal with one mask. All methods but `new` are real-time safe.
pub struct SpatialFilter {
    /// Recursive means of the covariances, weighted by how surely the bin is of the class.
    means: Vec<Classes>,
    /// Spatial covariances: the means smoothed over bins, with trace 1.
    spatial: Vec<Classes>,
    /// The numbers of [`Classes`] for each bin, smoothed over bins.
    smoothed: Vec<[f32x8; LANES]>,
    /// Share of the target in the variance of each bin of this frame.
    share: Vec<f32x8>,
    /// For each bin the weight of its neighbour in a recursive mean over bins.
    neighbour: Vec<[f32; LANES]>,
    /// Weight of the means of before after a hop.
    keep: f32,
    /// Frames of silence since the last one of the means.
    skipped: u32,
    /// What the means are of.
    origin: MaskOrigin,
    filtered: [Box<[Complex32]>; 2],
}

impl SpatialFilter {
    /// Creates a filter for the bins of `grid` that knows of no place yet.
    pub fn new(grid: &Grid) -> Self {
        let bins = grid.bins();
        let blocks = bins.div_ceil(LANES);
        let bin_hz = (grid.sample_rate / grid.size as f64) as f32;
        let neighbour = |bin: usize| {
            if bin >= bins {
                return 0.0;
            }
            let hertz = (SMOOTHING_HZ + SMOOTHING_PER_HZ * bin as f32 * bin_hz).min(MAX_SMOOTHING_HZ);
            // Of a one-pole filter forwards and backwards, whose response has the variance 2c / (1 − c)².
            let variance = (hertz / bin_hz).powi(2);
            (variance + 1.0 - (2.0 * variance + 1.0).sqrt()) / variance
        };
        Self {
            means: vec![Classes::default(); blocks],
            spatial: vec![Classes::default(); blocks],
            smoothed: vec![[f32x8::ZERO; LANES]; blocks],
            share: vec![f32x8::ZERO; blocks],
            neighbour: (0..blocks)
                .map(|block| std::array::from_fn(|lane| neighbour(LANES * block + lane)))
                .collect(),
            keep: (-grid.hop_seconds() as f32 / MEMORY_SECONDS).exp(),
            skipped: 0,
            origin: MaskOrigin::default(),
            filtered: [0; 2].map(|_| vec![Complex32::ZERO; bins].into()),
        }
    }

    /// Forgets all places.
    pub fn clear(&mut self) {
        self.means.fill(Classes::default());
        self.spatial.fill(Classes::default());
        self.skipped = 0;
    }

    /// Takes note of a frame of silence, which is not processed.
    pub fn skip_silence(&mut self) {
        self.skipped = self.skipped.saturating_add(1);
    }

    /// Returns the spectra of the left and the right channel times `gain` per bin, with `amount` of the difference that
    /// places make.
    ///
    /// Where target and rest are at one place, the result is `gain` times the spectrum, bit for bit.
    pub fn process(
        &mut self,
        spectra: [&[Complex32]; 2],
        gain: &[Complex32],
        controls: SpatialControls,
    ) -> [&[Complex32]; 2] {
        if let Some(origin) = controls.origin {
            if origin != self.origin {
                self.clear();
                self.origin = origin;
            }
            self.learn(spectra, gain, controls.floor);
            self.smooth();
        }
        self.filter(spectra, gain, controls);
        self.filtered.each_ref().map(|spectrum| &**spectrum)
    }

    /// Takes a frame into the means.
    fn learn(&mut self, [left, right]: [&[Complex32]; 2], gain: &[Complex32], floor: f32) {
        let frames = std::mem::take(&mut self.skipped).saturating_add(1);
        let (keep, new) = (f32x8::splat(self.keep.powf(frames as f32)), 1.0 - self.keep);
        let inputs = left.chunks(LANES).zip(right.chunks(LANES)).zip(gain.chunks(LANES));
        let blocks = self.means.iter_mut().zip(&self.spatial).zip(&mut self.share);
        for (((left, right), gain), ((mean, spatial), share)) in inputs.zip(blocks) {
            let input = [left, right].map(ComplexLanes::load);
            let mask = above_floor(ComplexLanes::load(gain).norm_sqr().sqrt(), floor);
            let weight = ramp(spatial.squared_distance(), IMPROVEMENT_FROM, IMPROVEMENT_FULL);
            *share = mask + (spatial.improve(mask, input) - mask) * weight;
            let covariance = Covariance::levelled(input);
            mean.target = mean.target * keep + covariance * (new * sureness(*share));
            mean.rest = mean.rest * keep + covariance * (new * sureness(1.0 - *share));
        }
    }

    /// Makes the spatial covariances of the means, by a recursive mean over bins in both directions.
    fn smooth(&mut self) {
        let mut sum = f32x8::ZERO;
        let mut neighbour = self.means[0].by_bin()[0];
        for ((smoothed, means), weights) in self.smoothed.iter_mut().zip(&self.means).zip(&self.neighbour) {
            *smoothed = means.by_bin();
            for (bin, weight) in smoothed.iter_mut().zip(weights) {
                sum += *bin;
                neighbour = *bin + (neighbour - *bin) * *weight;
                *bin = neighbour;
            }
        }
        let shared = sum * (SHARED / self.filtered[0].len() as f32);
        let blocks = self.spatial.iter_mut().zip(&mut self.smoothed).zip(&self.neighbour);
        for ((spatial, smoothed), weights) in blocks.rev() {
            for (bin, weight) in smoothed.iter_mut().zip(weights).rev() {
                neighbour = *bin + (neighbour - *bin) * *weight;
                *bin = neighbour + shared;
            }
            let Classes { target, rest } = Classes::from_bins(*smoothed);
            let common = (target + rest) * f32x8::splat(COMMON);
            *spatial = Classes { target, rest }.map(|class| (class + common).normalised());
        }
    }

    /// Writes the filtered frame.
    fn filter(&mut self, [left, right]: [&[Complex32]; 2], gain: &[Complex32], controls: SpatialControls) {
        let amount = controls.amount * (1.0 - controls.floor);
        let inputs = left.chunks(LANES).zip(right.chunks(LANES)).zip(gain.chunks(LANES));
        let [left, right] = &mut self.filtered;
        let outputs = left.chunks_mut(LANES).zip(right.chunks_mut(LANES));
        let blocks = self.spatial.iter().zip(&self.share).zip(outputs);
        for (((left, right), gain), ((spatial, share), outputs)) in inputs.zip(blocks) {
            let (input, gain) = ([left, right].map(ComplexLanes::load), ComplexLanes::load(gain));
            let size = gain.norm_sqr().sqrt();
            let phase = gain * (1.0 / size.fast_max(f32x8::splat(SILENCE)));
            let mask = above_floor(size, controls.floor);
            let weight = ramp(spatial.squared_distance(), FILTER_FROM, FILTER_FULL) * amount;
            let target = spatial.filter(*share, input);
            for ((output, input), target) in [outputs.0, outputs.1].into_iter().zip(input).zip(target) {
                let masked = input * gain;
                let change = phase * (target - input * mask) * weight;
                (masked + change).select(weight.simd_gt(f32x8::ZERO), masked).store(output);
            }
        }
    }
}

/// The gain, 0 to 1, of which `floor` and this make `gain`.
fn above_floor(gain: f32x8, floor: f32) -> f32x8 {
    let above = (gain - floor) * (1.0 / (1.0 - floor).max(SILENCE));
    above.fast_max(f32x8::ZERO).fast_min(f32x8::ONE)
}

/// How much a bin of this share counts for the covariance of its class.
fn sureness(share: f32x8) -> f32x8 {
    let square = share * share;
    square * square * square
}

/// 0 up to `from`, 1 from `full` on, and linear between them.
fn ramp(value: f32x8, from: f32, full: f32) -> f32x8 {
    ((value - from) * (1.0 / (full - from))).fast_max(f32x8::ZERO).fast_min(f32x8::ONE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dsp::grid::SpectrogramFormat;
    use crate::dsp::stft::WindowFunction;
    use crate::dsp::test_signals::noise;

    const FORMAT: SpectrogramFormat =
        SpectrogramFormat { sample_rate: 32_000, n_fft: 256, hop: 128, window: WindowFunction::SqrtHann };
    const BINS: usize = 129;
    const CONTROLS: SpatialControls =
        SpatialControls { amount: 1.0, floor: 0.0, origin: Some(MaskOrigin { stream: 0, sounds: 0 }) };

    fn filter() -> SpatialFilter {
        SpatialFilter::new(&Grid::new(&FORMAT, 32_000.0))
    }

    /// Spectra of independent sounds, frame by frame.
    struct Sounds(std::iter::Cycle<std::vec::IntoIter<f32>>);

    impl Sounds {
        fn new() -> Self {
            Self(noise(1 << 18).into_iter().cycle())
        }

        fn next_value(&mut self) -> f32 {
            self.0.next().unwrap()
        }

        /// A frame in which half of the bins are 30 dB quieter, others in each frame, as in real sounds.
        fn frame(&mut self) -> Vec<Complex32> {
            let bin = |_| {
                let level = if self.next_value() < 0.0 { 1.0 } else { 0.03 };
                Complex32::new(self.next_value(), self.next_value()) * level
            };
            (0..BINS).map(bin).collect()
        }
    }

    /// Frames of a target and a rest at two places, 0 left to 1 right.
    struct Scene {
        target: [Vec<Complex32>; 2],
        mixture: [Vec<Complex32>; 2],
        /// A mask with errors.
        mask: Vec<Complex32>,
    }

    fn place(sound: &[Complex32], place: f32) -> [Vec<Complex32>; 2] {
        let (right, left) = (place * std::f32::consts::FRAC_PI_2).sin_cos();
        [left, right].map(|level| sound.iter().map(|value| value * level).collect())
    }

    fn scene(sounds: &mut Sounds, target_place: f32, rest_place: f32) -> Scene {
        let (target, rest) = (sounds.frame(), sounds.frame());
        let mask = target.iter().zip(&rest).map(|(target, rest)| {
            let share = target.norm() / (target.norm() + rest.norm() + 1e-9);
            Complex32::from((share + 0.3 * sounds.next_value()).clamp(0.0, 1.0))
        });
        let mask = mask.collect();
        let (target, rest) = (place(&target, target_place), place(&rest, rest_place));
        let mixture =
            [0, 1].map(|channel| target[channel].iter().zip(&rest[channel]).map(|(a, b)| a + b).collect());
        Scene { target, mixture, mask }
    }

    /// Signal-to-distortion ratios in dB of the mask and of the filter over `frames`, after as many to learn from.
    fn ratios(filter: &mut SpatialFilter, frames: usize, mut next: impl FnMut(usize) -> Scene) -> (f32, f32) {
        let (mut signal, mut by_mask, mut by_filter) = (0.0, 0.0, 0.0);
        for frame in 0..2 * frames {
            let Scene { target, mixture, mask } = next(frame);
            let filtered = filter.process([&mixture[0], &mixture[1]], &mask, CONTROLS);
            if frame < frames {
                continue;
            }
            for channel in 0..2 {
                for bin in 0..BINS {
                    let target = target[channel][bin];
                    signal += target.norm_sqr();
                    by_mask += (mixture[channel][bin] * mask[bin] - target).norm_sqr();
                    by_filter += (filtered[channel][bin] - target).norm_sqr();
                }
            }
        }
        (10.0 * (signal / by_mask).log10(), 10.0 * (signal / by_filter).log10())
    }

    #[test]
    fn sounds_at_different_places_are_separated_better_than_by_the_mask() {
        for (target, rest) in [(0.0, 1.0), (0.5, 1.0), (0.3, 0.7)] {
            let mut sounds = Sounds::new();
            let (mask, filtered) = ratios(&mut filter(), 500, |_| scene(&mut sounds, target, rest));
            assert!(filtered > mask + 6.0, "{target}, {rest}: {mask} dB, {filtered} dB");
        }
    }

    #[test]
    fn source_that_moves_is_followed() {
        let mut sounds = Sounds::new();
        let mut filter = filter();
        // From the left to the centre in 16 s.
        let (mask, filtered) =
            ratios(&mut filter, 2000, |frame| scene(&mut sounds, frame as f32 / 8000.0, 1.0));
        assert!(filtered > mask + 2.0, "{mask} dB, {filtered} dB");
    }

    #[test]
    fn one_place_gives_the_masked_input_bit_for_bit() {
        for at in [0.0, 0.3, 0.5, 1.0] {
            let (mut filter, mut sounds) = (filter(), Sounds::new());
            for _ in 0..200 {
                let Scene { mixture, mask, .. } = scene(&mut sounds, at, at);
                let filtered = filter.process([&mixture[0], &mixture[1]], &mask, CONTROLS);
                for (filtered, mixture) in filtered.iter().zip(&mixture) {
                    let masked = mixture.iter().zip(&mask).map(|(value, gain)| value * gain);
                    assert!(filtered.iter().copied().eq(masked), "at {at}");
                }
            }
        }
    }

    #[test]
    fn mask_of_another_origin_begins_without_places() {
        let (mut filter, mut sounds) = (filter(), Sounds::new());
        ratios(&mut filter, 200, |_| scene(&mut sounds, 0.0, 1.0));
        let Scene { mixture, mask, .. } = scene(&mut sounds, 0.0, 1.0);
        let spectra = [&*mixture[0], &*mixture[1]];
        let origin = Some(MaskOrigin { stream: 0, sounds: 1 });
        let first = filter.process(spectra, &mask, SpatialControls { origin, ..CONTROLS }).map(<[_]>::to_vec);
        let new = self::filter().process(spectra, &mask, CONTROLS).map(<[_]>::to_vec);
        assert_eq!(first, new);
    }

    #[test]
    fn missing_mask_teaches_nothing() {
        let (mut filter, mut sounds) = (filter(), Sounds::new());
        ratios(&mut filter, 200, |_| scene(&mut sounds, 0.0, 1.0));
        let Scene { mixture, mask, .. } = scene(&mut sounds, 0.0, 1.0);
        let spectra = [&*mixture[0], &*mixture[1]];
        let means = filter.means.clone();
        filter.process(spectra, &mask, SpatialControls { origin: None, ..CONTROLS });
        assert_eq!(filter.means, means);
    }

    #[test]
    fn skipped_silence_leaves_what_processed_silence_leaves() {
        let mut sounds = Sounds::new();
        let (mut skipping, mut processing) = (filter(), filter());
        let frames: Vec<_> = (0..200).map(|_| scene(&mut sounds, 0.0, 1.0)).collect();
        let silence = vec![Complex32::ZERO; BINS];
        let mut last = [const { Vec::new() }; 2];
        for (number, Scene { mixture, mask, .. }) in frames.iter().enumerate() {
            for (filter, last) in [&mut skipping, &mut processing].into_iter().zip(&mut last) {
                *last = filter.process([&mixture[0], &mixture[1]], mask, CONTROLS).concat();
            }
            if number == 100 {
                for _ in 0..1000 {
                    skipping.skip_silence();
                    processing.process([&silence, &silence], mask, CONTROLS);
                }
            }
        }
        assert!(last[0].iter().zip(&last[1]).all(|(a, b)| (a - b).norm() < 1e-5));
    }

    #[test]
    fn no_bin_is_louder_than_in_the_input() {
        let (mut filter, mut sounds) = (filter(), Sounds::new());
        for frame in 0..400 {
            // Places that come near to each other.
            let Scene { mixture, mask, .. } =
                scene(&mut sounds, 0.45, 0.45 + 0.5 * (1.0 - frame as f32 / 400.0));
            let filtered = filter.process([&mixture[0], &mixture[1]], &mask, CONTROLS);
            for bin in 0..BINS {
                let power = |channels: [Complex32; 2]| channels[0].norm_sqr() + channels[1].norm_sqr();
                let input = power([mixture[0][bin], mixture[1][bin]]);
                assert!(power([filtered[0][bin], filtered[1][bin]]) <= 1.0001 * input);
            }
        }
    }

    #[test]
    fn floor_stays_in_what_is_left_of_the_rest() {
        let (mut filter, mut sounds) = (filter(), Sounds::new());
        let floor = 0.25;
        let mut kept = 0.0;
        let mut input = 0.0;
        for frame in 0..400 {
            let Scene { target, mixture, mask } = scene(&mut sounds, 0.0, 1.0);
            let mask: Vec<_> = mask.iter().map(|gain| Complex32::from(gain.re.max(floor))).collect();
            let controls = SpatialControls { floor, ..CONTROLS };
            let filtered = filter.process([&mixture[0], &mixture[1]], &mask, controls);
            // The right channel has the rest only.
            if frame >= 200 {
                assert!(target[1].iter().all(|value| value.norm() < 1e-6));
                kept += filtered[1].iter().map(Complex32::norm_sqr).sum::<f32>();
                input += mixture[1].iter().map(Complex32::norm_sqr).sum::<f32>();
            }
        }
        let level = (kept / input).sqrt();
        assert!((floor * 0.9..floor * 1.2).contains(&level), "{level}");
    }

    #[test]
    fn any_input_gives_finite_output() {
        let mut sounds = Sounds::new();
        for level in [0.0, 1e-30, 1e-12, 1.0, 1e9] {
            let mut filter = filter();
            for _ in 0..50 {
                let Scene { mixture, mask, .. } = scene(&mut sounds, 0.2, 0.9);
                let mixture =
                    mixture.map(|channel| channel.iter().map(|value| value * level).collect::<Vec<_>>());
                let filtered = filter.process([&mixture[0], &mixture[1]], &mask, CONTROLS);
                assert!(
                    filtered.iter().all(|channel| channel.iter().all(|value| value.is_finite())),
                    "{level}"
                );
            }
        }
    }

    #[test]
    fn hop_of_another_rate_remembers_as_long() {
        let seconds = |rate: f64| {
            let grid = Grid::new(&FORMAT, rate);
            -grid.hop_seconds() as f32 / SpatialFilter::new(&grid).keep.ln()
        };
        for rate in [32_000.0, 44_100.0, 96_000.0] {
            assert!((seconds(rate) - MEMORY_SECONDS).abs() < 1e-3);
        }
    }
}
