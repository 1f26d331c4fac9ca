//! Short-time Fourier analysis and weighted overlap-add, at the host's rate.

use std::sync::Arc;

use realfft::num_complex::Complex32;
use realfft::{ComplexToReal, RealFftPlanner, RealToComplex};
use serde::{Deserialize, Serialize};

/// Window function of analysis and synthesis.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WindowFunction {
    /// Periodic Hann.
    Hann,
    /// Square root of the periodic Hann window, which is a half sine.
    SqrtHann,
}

impl WindowFunction {
    /// Returns the window's `size` samples. Not real-time safe.
    pub fn samples(self, size: usize) -> Vec<f32> {
        (0..size)
            .map(|i| {
                let half_sine = (std::f64::consts::PI * i as f64 / size as f64).sin();
                match self {
                    WindowFunction::Hann => (half_sine * half_sine) as f32,
                    WindowFunction::SqrtHann => half_sine as f32,
                }
            })
            .collect()
    }
}

/// Short-time Fourier transform of single frames and its inverse.
///
/// Owns all working buffers: nothing allocates after construction.
pub struct Stft {
    analysis: Vec<f32>,
    /// Window divided by the transform's gain and by the summed power of overlapping windows.
    synthesis: Vec<f32>,
    forward: Arc<dyn RealToComplex<f32>>,
    inverse: Arc<dyn ComplexToReal<f32>>,
    frame: Vec<f32>,
    spectrum: Vec<Complex32>,
    scratch: Vec<Complex32>,
}

impl Stft {
    /// Creates a transform of `size` samples (even) every `hop` samples, `hop <= size`.
    ///
    /// Not real-time safe.
    pub fn new(size: usize, hop: usize, window: WindowFunction) -> Self {
        assert!(size.is_multiple_of(2) && 0 < hop && hop <= size);
        let mut planner = RealFftPlanner::new();
        let forward = planner.plan_fft_forward(size);
        let inverse = planner.plan_fft_inverse(size);
        let analysis = window.samples(size);
        // Weighted overlap-add: dividing by the sum of squared windows at each phase of the hop
        // makes any window and hop reconstruct (Crochiere, 1980).
        let power = |phase: usize| -> f32 { analysis[phase..].iter().step_by(hop).map(|w| w * w).sum() };
        let synthesis =
            analysis.iter().enumerate().map(|(i, w)| w / (power(i % hop) * size as f32)).collect();
        Self {
            synthesis,
            frame: vec![0.0; size],
            spectrum: forward.make_output_vec(),
            scratch: vec![Complex32::ZERO; forward.get_scratch_len().max(inverse.get_scratch_len())],
            analysis,
            forward,
            inverse,
        }
    }

    /// Sum of the window: the magnitude of a full-scale constant in the lowest bin.
    pub fn window_sum(&self) -> f32 {
        self.analysis.iter().sum()
    }

    /// Writes the spectrum of the newest `size` samples to `spectrum`, `size / 2 + 1` long.
    ///
    /// Real-time safe.
    pub fn analyse(&mut self, history: &AnalysisBuffer, spectrum: &mut [Complex32]) {
        let (older, newer) = history.oldest_first();
        let (first, rest) = self.frame.split_at_mut(older.len());
        let (rising, falling) = self.analysis.split_at(older.len());
        apply_window(older, rising, first);
        apply_window(newer, falling, rest);
        self.forward
            .process_with_scratch(&mut self.frame, spectrum, &mut self.scratch)
            .expect("every buffer has the planned length");
    }

    /// Adds the frame with the spectrum `spectrum · gain`, bin for bin, to `overlap`. Real-time safe.
    pub fn synthesise(&mut self, spectrum: &[Complex32], gain: &[Complex32], overlap: &mut OverlapAdd) {
        for ((out, bin), gain) in self.spectrum.iter_mut().zip(spectrum).zip(gain) {
            *out = bin * gain;
        }
        self.add_inverse(overlap);
    }

    /// Adds the frame with this spectrum to `overlap`. Real-time safe.
    pub fn synthesise_filtered(&mut self, spectrum: &[Complex32], overlap: &mut OverlapAdd) {
        self.spectrum.copy_from_slice(spectrum);
        self.add_inverse(overlap);
    }

    /// Adds the inverse transform of `self.spectrum`, which it destroys.
    fn add_inverse(&mut self, overlap: &mut OverlapAdd) {
        // A complex gain can make these two bins complex. In a real signal they are real, and realfft
        // returns an error otherwise.
        let nyquist = self.spectrum.len() - 1;
        self.spectrum[0].im = 0.0;
        self.spectrum[nyquist].im = 0.0;
        self.inverse
            .process_with_scratch(&mut self.spectrum, &mut self.frame, &mut self.scratch)
            .expect("every buffer has the planned length and the outer bins are real");
        for (sample, window) in self.frame.iter_mut().zip(&self.synthesis) {
            *sample *= window;
        }
        overlap.add(&self.frame);
    }
}

fn apply_window(samples: &[f32], window: &[f32], out: &mut [f32]) {
    for ((out, sample), window) in out.iter_mut().zip(samples).zip(window) {
        *out = sample * window;
    }
}

/// Newest samples of one channel, one frame long. All methods but `new` are real-time safe.
pub struct AnalysisBuffer {
    ring: Vec<f32>,
    /// Index of the oldest sample, which the next one replaces.
    next: usize,
}

impl AnalysisBuffer {
    /// Creates a buffer of `size` samples of silence.
    pub fn new(size: usize) -> Self {
        Self { ring: vec![0.0; size], next: 0 }
    }

    /// Appends samples, at most one frame.
    pub fn extend(&mut self, samples: &[f32]) {
        let (wrapped, ahead) = self.ring.split_at_mut(self.next);
        let (first, rest) = samples.split_at(samples.len().min(ahead.len()));
        ahead[..first.len()].copy_from_slice(first);
        wrapped[..rest.len()].copy_from_slice(rest);
        self.next = (self.next + samples.len()) % self.ring.len();
    }

    /// Fills the buffer with silence.
    pub fn clear(&mut self) {
        self.ring.fill(0.0);
    }

    fn oldest_first(&self) -> (&[f32], &[f32]) {
        let (newer, older) = self.ring.split_at(self.next);
        (older, newer)
    }

    /// Appends the newest samples of `other`, as many as fit.
    pub fn copy_from(&mut self, other: &AnalysisBuffer) {
        let (older, newer) = other.oldest_first();
        for part in [older, newer] {
            self.extend(&part[part.len().saturating_sub(self.ring.len())..]);
        }
    }
}

/// Sum of one channel's overlapping output frames. All methods but `new` are real-time safe.
pub struct OverlapAdd {
    ring: Vec<f32>,
    /// Index of the next output sample, at which the next frame begins.
    next: usize,
}

impl OverlapAdd {
    /// Creates a buffer of silence for frames of `size` samples.
    pub fn new(size: usize) -> Self {
        Self { ring: vec![0.0; size], next: 0 }
    }

    fn add(&mut self, frame: &[f32]) {
        let (wrapped, ahead) = self.ring.split_at_mut(self.next);
        let (first, rest) = frame.split_at(ahead.len());
        ahead.iter_mut().zip(first).for_each(|(sum, sample)| *sum += sample);
        wrapped.iter_mut().zip(rest).for_each(|(sum, sample)| *sum += sample);
    }

    /// Removes the next samples, at most one hop between two frames.
    pub fn take(&mut self, out: &mut [f32]) {
        let (wrapped, ahead) = self.ring.split_at_mut(self.next);
        let (first, rest) = out.split_at_mut(out.len().min(ahead.len()));
        for (out, sums) in [(first, ahead), (rest, wrapped)] {
            let sums = &mut sums[..out.len()];
            out.copy_from_slice(sums);
            sums.fill(0.0);
        }
        self.next = (self.next + out.len()) % self.ring.len();
    }

    /// Fills the buffer with silence.
    pub fn clear(&mut self) {
        self.ring.fill(0.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip(size: usize, hop: usize, window: WindowFunction) -> f32 {
        let mut stft = Stft::new(size, hop, window);
        let (mut history, mut overlap) = (AnalysisBuffer::new(size), OverlapAdd::new(size));
        let mut spectrum = vec![Complex32::ZERO; size / 2 + 1];
        let gain = vec![Complex32::ONE; size / 2 + 1];
        let input: Vec<f32> =
            (0..8 * size).map(|i| (i as f32 * 0.37).sin() * (i as f32 * 0.011).cos()).collect();
        let mut output = Vec::new();
        for chunk in input.chunks(hop) {
            let mut samples = vec![0.0; chunk.len()];
            overlap.take(&mut samples);
            output.extend(samples);
            history.extend(chunk);
            if chunk.len() == hop {
                stft.analyse(&history, &mut spectrum);
                stft.synthesise(&spectrum, &gain, &mut overlap);
            }
        }
        output[size..].iter().zip(&input).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
    }

    #[test]
    fn unit_gain_reconstructs_input_for_any_window_and_hop() {
        for (size, hop, window) in [
            (1024, 512, WindowFunction::SqrtHann),
            (1024, 256, WindowFunction::Hann),
            (1412, 706, WindowFunction::SqrtHann),
            (1002, 501, WindowFunction::SqrtHann),
            (2048, 500, WindowFunction::Hann),
        ] {
            let error = round_trip(size, hop, window);
            assert!(error < 1e-5, "{size}/{hop} {window:?}: {error}");
        }
    }

    #[test]
    fn complex_gain_at_dc_and_nyquist_gives_finite_samples() {
        let mut stft = Stft::new(64, 32, WindowFunction::SqrtHann);
        let spectrum = vec![Complex32::new(1.0, 1.0); 33];
        let gain = vec![Complex32::I; 33];
        let mut overlap = OverlapAdd::new(64);
        stft.synthesise(&spectrum, &gain, &mut overlap);
        let mut output = [0.0; 32];
        overlap.take(&mut output);
        assert!(output.iter().all(|sample| sample.is_finite()));
    }

    #[test]
    fn magnitude_over_window_sum_is_independent_of_size() {
        let level = |size: usize| {
            let mut stft = Stft::new(size, size / 2, WindowFunction::SqrtHann);
            let mut history = AnalysisBuffer::new(size);
            let tone = |at: usize| (std::f32::consts::TAU * 8.0 * at as f32 / size as f32).cos();
            history.extend(&(0..size).map(tone).collect::<Vec<_>>());
            let mut spectrum = vec![Complex32::ZERO; size / 2 + 1];
            stft.analyse(&history, &mut spectrum);
            spectrum[8].norm() / stft.window_sum()
        };
        assert!((level(1024) - level(3072)).abs() < 1e-3);
    }
}
