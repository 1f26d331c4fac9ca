//! The host's time-frequency grid, and its mapping to the model's bins and back.
//!
//! There is no resampler: the STFT is taken at the host's rate with the model's frame and hop
//! durations, so that bin *k* is the same frequency and frame *t* the same time on both grids.

use realfft::num_complex::Complex32;
use serde::{Deserialize, Serialize};

use crate::dsp::stft::{Stft, WindowFunction};

/// Number of the model's highest mask bins whose mean applies above its Nyquist frequency.
const TOP_BINS: usize = 8;

/// Format of the spectrogram that the model was trained on.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SpectrogramFormat {
    /// Sample rate in hertz.
    pub sample_rate: u32,
    /// Samples a frame, even.
    pub n_fft: usize,
    /// Samples between frames.
    pub hop: usize,
    pub window: WindowFunction,
}

impl SpectrogramFormat {
    /// Number of bins of a frame.
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
    /// Time for the separator beyond the host's largest block, in seconds.
    pub const BUDGET_SECONDS: f64 = 0.004;

    /// Creates the grid for a model's format at the host's `sample_rate` in hertz.
    pub fn new(audio: &SpectrogramFormat, sample_rate: f64) -> Self {
        let ratio = sample_rate / f64::from(audio.sample_rate);
        Self {
            size: 2 * ((audio.n_fft as f64 * ratio / 2.0).round() as usize).max(1),
            hop: ((audio.hop as f64 * ratio).round() as usize).max(1),
            model_bins: audio.bins(),
            sample_rate,
        }
    }

    /// Number of bins of a frame at the host's rate.
    pub fn bins(&self) -> usize {
        self.size / 2 + 1
    }

    /// Seconds between frames.
    pub fn hop_seconds(&self) -> f64 {
        self.hop as f64 / self.sample_rate
    }

    /// Returns the number of hops between a frame's analysis and its synthesis.
    ///
    /// `model_delay` is the delay of the model's masks in hops. The reply to a request is due
    /// `max_block` samples and [`BUDGET_SECONDS`](Self::BUDGET_SECONDS) after it was sent.
    pub fn delay_hops(&self, model_delay: usize, max_block: usize) -> usize {
        let due = max_block as f64 + Self::BUDGET_SECONDS * self.sample_rate;
        model_delay + (due / self.hop as f64).ceil() as usize
    }

    /// Returns the latency from input to output in samples.
    ///
    /// The arguments are those of [`delay_hops`](Self::delay_hops).
    pub fn latency(&self, model_delay: usize, max_block: usize) -> usize {
        self.size + self.delay_hops(model_delay, max_block) * self.hop
    }
}

/// Returns the factor from a magnitude of `stft`, at the host's rate, to one of the model's.
pub(crate) fn model_scale(audio: &SpectrogramFormat, stft: &Stft) -> f32 {
    let window_sum: f32 = audio.window.samples(audio.n_fft).iter().sum();
    window_sum / stft.window_sum()
}

/// Writes the magnitude for the model: the root of the channels' mean power per bin, times `scale`.
///
/// Power is averaged so that opposite phases do not cancel. Model bins above the host's Nyquist
/// frequency become zero. `spectra` yields one spectrum per channel. Real-time safe.
pub fn write_model_magnitude<'a>(
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

/// Writes the gain of each host bin from the model's mask. Real-time safe.
///
/// Bins above the model's Nyquist frequency get the mean of its eight highest mask bins.
pub fn write_host_gain(mask: &[Complex32], gain: &mut [Complex32]) {
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
    fn latency_of_default_format_at_48_khz_is_48_ms() {
        let grid = Grid::new(&AUDIO, 48_000.0);
        assert_eq!((grid.size, grid.hop), (1536, 768));
        assert_eq!(grid.latency(0, 512), 2304);
    }

    #[test]
    fn latency_follows_formula_at_any_rate_and_block_size() {
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
    fn channels_of_opposite_phase_do_not_cancel() {
        let left = [Complex32::new(3.0, 4.0)];
        let right = [Complex32::new(-3.0, -4.0)];
        let mut magnitude = [0.0];
        write_model_magnitude([&left[..], &right[..]].into_iter(), 1.0, &mut magnitude);
        assert_eq!(magnitude, [5.0]);
    }

    #[test]
    fn model_bins_above_host_nyquist_are_zero() {
        let spectrum = [Complex32::ONE; 2];
        let mut magnitude = [9.0; 4];
        write_model_magnitude([&spectrum[..]].into_iter(), 2.0, &mut magnitude);
        assert_eq!(magnitude, [2.0, 2.0, 0.0, 0.0]);
    }

    #[test]
    fn host_bins_above_model_nyquist_get_mean_of_top_eight() {
        let mask: Vec<_> = (0..10).map(|k| Complex32::new(k as f32, 0.0)).collect();
        let mut gain = [Complex32::ZERO; 12];
        write_host_gain(&mask, &mut gain);
        assert_eq!(gain[9].re, 9.0);
        assert_eq!((gain[10].re, gain[11].re), (5.5, 5.5));
    }
}
