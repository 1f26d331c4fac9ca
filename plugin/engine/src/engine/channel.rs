//! The buffers of one channel.

use realfft::num_complex::Complex32;

use crate::dsp::delay_line::DelayLine;
use crate::dsp::mixer::MixWeights;
use crate::dsp::stft::{AnalysisBuffer, OverlapAdd};

/// One channel's buffers.
pub(super) struct ChannelState {
    pub history: AnalysisBuffer,
    /// The newest `delay + 1` frames' spectra, by frame.
    pub spectra: Vec<Box<[Complex32]>>,
    pub overlap: OverlapAdd,
    pub dry: DelayLine,
}

/// What a channel's samples are mixed from, and to beside the main output.
pub(super) struct ChannelScratch {
    pub dry: Vec<f32>,
    /// The separated sound, and then the target made of it.
    pub target: Vec<f32>,
    pub residual: Vec<f32>,
}

impl ChannelScratch {
    pub fn new(samples: usize) -> Self {
        let silence = || vec![0.0; samples];
        Self { dry: silence(), target: silence(), residual: silence() }
    }

    /// Fills `main`, the target and the residual. `weights` gives those of a sample; `strength` and `gain` are as long as `main`.
    pub fn mix(
        &mut self,
        weights: impl Fn(usize) -> MixWeights,
        strength: &[f32],
        gain: &[f32],
        main: &mut [f32],
    ) {
        // As long as one another, as the compiler must see to make vectors of them.
        let length = main.len();
        let (strength, gain, dry) = (&strength[..length], &gain[..length], &self.dry[..length]);
        let (target, residual) = (&mut self.target[..length], &mut self.residual[..length]);
        for at in 0..length {
            let out = weights(at).mix(dry[at], target[at], strength[at], gain[at]);
            (main[at], target[at], residual[at]) = (out.main, out.target, out.residual);
        }
    }
}
