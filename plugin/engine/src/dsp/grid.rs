//! The host's time-frequency grid, and how its bins map to the model's and back.
//!
//! There is no resampler: the STFT is taken at the host's rate with the model's frame and hop
//! durations, so that bin *k* is the same frequency and frame *t* the same time on both grids.

use realfft::num_complex::Complex32;
use serde::{Deserialize, Serialize};

use crate::dsp::stft::WindowFunction;

/// How many of the model's highest mask bins speak for the frequencies above its Nyquist.
const TOP_BINS: usize = 8;

/// The spectrogram the model was trained on.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SpectrogramFormat {
    /// Hertz.
    pub sample_rate: u32,
    /// Samples a frame, even.
    pub n_fft: usize,
    /// Samples between frames.
    pub hop: usize,
    pub window: WindowFunction,
}

impl SpectrogramFormat {
    /// Bins of a frame.
    pub fn bins(&self) -> usize {
        self.n_fft / 2 + 1
    }
}

/// Frame and hop of the STFT at one host rate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Grid {
    /// Samples a frame, even.
    pub size: usize,
    /// Samples between frames.
    pub hop: usize,
    /// Bins of the model, `n_fft / 2 + 1`.
    pub model_bins: usize,
    /// The host's rate in hertz.
    pub sample_rate: f64,
}

impl Grid {
    /// Time the separator is given beyond the host's largest block, in seconds.
    pub const BUDGET_SECONDS: f64 = 0.004;

    /// The grid of a model's frames at `sample_rate` hertz.
    pub fn new(audio: &SpectrogramFormat, sample_rate: f64) -> Self {
        let ratio = sample_rate / f64::from(audio.sample_rate);
        Self {
            size: 2 * ((audio.n_fft as f64 * ratio / 2.0).round() as usize).max(1),
            hop: ((audio.hop as f64 * ratio).round() as usize).max(1),
            model_bins: audio.bins(),
            sample_rate,
        }
    }

    /// Bins of a frame at the host's rate.
    pub fn bins(&self) -> usize {
        self.size / 2 + 1
    }

    /// Seconds between frames.
    pub fn hop_seconds(&self) -> f64 {
        self.hop as f64 / self.sample_rate
    }

    /// Hops between a frame's analysis and its synthesis: a parcel is sent in one block and must
    /// be home `max_block` samples and the separator's budget later. `model_delay`: hops that the model delays its masks by.
    pub fn delay_hops(&self, model_delay: usize, max_block: usize) -> usize {
        let due = max_block as f64 + Self::BUDGET_SECONDS * self.sample_rate;
        model_delay + (due / self.hop as f64).ceil() as usize
    }

    /// Samples from an input sample to the output sample it becomes.
    pub fn latency(&self, model_delay: usize, max_block: usize) -> usize {
        self.size + self.delay_hops(model_delay, max_block) * self.hop
    }
}

/// Writes the magnitude the model sees: over channels, the root of the mean power of each bin
/// (so that opposite phases do not cancel), times `scale`; model bins above the host's Nyquist
/// are zero.
///
/// `spectra` yields one spectrum a channel.
pub fn to_model<'a>(
    spectra: impl ExactSizeIterator<Item = &'a [Complex32]>,
    scale: f32,
    magnitude: &mut [f32],
) {
    magnitude.fill(0.0);
    let channels = spectra.len() as f32;
    for spectrum in spectra {
        for (power, bin) in magnitude.iter_mut().zip(spectrum) {
            *power += bin.norm_sqr();
        }
    }
    for value in magnitude {
        *value = (*value / channels).sqrt() * scale;
    }
}

/// Spreads the model's mask over the host's bins; those above the model's Nyquist take the mean
/// of its top eight.
pub fn to_host(mask: &[Complex32], gain: &mut [Complex32]) {
    let shared = mask.len().min(gain.len());
    gain[..shared].copy_from_slice(&mask[..shared]);
    if shared < gain.len() {
        let top = &mask[mask.len().saturating_sub(TOP_BINS)..];
        let mean = top.iter().sum::<Complex32>() / top.len() as f32;
        gain[shared..].fill(mean);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AUDIO: SpectrogramFormat =
        SpectrogramFormat { sample_rate: 32_000, n_fft: 1024, hop: 512, window: WindowFunction::SqrtHann };

    #[test]
    fn the_default_grid_at_48_khz_in_blocks_of_512_takes_48_ms() {
        let grid = Grid::new(&AUDIO, 48_000.0);
        assert_eq!((grid.size, grid.hop), (1536, 768));
        assert_eq!(grid.latency(0, 512), 2304);
    }

    #[test]
    fn latency_follows_its_formula_at_any_rate_and_block() {
        for rate in [8_000.0, 22_050.0, 44_100.0, 50_317.0, 96_000.0, 192_000.0, 768_000.0] {
            for block in [1, 64, 480, 512, 2048, 16_384] {
                for model_delay in [0, 3] {
                    let ratio: f64 = rate / 32_000.0;
                    let size = 2 * (512.0 * ratio).round() as usize;
                    let hop = (512.0 * ratio).round() as usize;
                    let delay = model_delay + ((block as f64 + 0.004 * rate) / hop as f64).ceil() as usize;
                    assert_eq!(Grid::new(&AUDIO, rate).latency(model_delay, block), size + delay * hop);
                }
            }
        }
    }

    #[test]
    fn opposite_phases_do_not_cancel() {
        let left = [Complex32::new(3.0, 4.0)];
        let right = [Complex32::new(-3.0, -4.0)];
        let mut magnitude = [0.0];
        to_model([&left[..], &right[..]].into_iter(), 1.0, &mut magnitude);
        assert_eq!(magnitude, [5.0]);
    }

    #[test]
    fn a_narrower_host_leaves_the_models_top_silent() {
        let spectrum = [Complex32::ONE; 2];
        let mut magnitude = [9.0; 4];
        to_model([&spectrum[..]].into_iter(), 2.0, &mut magnitude);
        assert_eq!(magnitude, [2.0, 2.0, 0.0, 0.0]);
    }

    #[test]
    fn a_wider_host_takes_the_mean_of_the_top_eight_mask_bins() {
        let mask: Vec<_> = (0..10).map(|k| Complex32::new(k as f32, 0.0)).collect();
        let mut gain = [Complex32::ZERO; 12];
        to_host(&mask, &mut gain);
        assert_eq!(gain[9].re, 9.0);
        assert_eq!((gain[10].re, gain[11].re), (5.5, 5.5));
    }
}
