//! Buffers of one audio channel.

use realfft::num_complex::Complex32;

use crate::dsp::delay_line::DelayLine;
use crate::dsp::mixer::MixWeights;
use crate::dsp::stft::{AnalysisBuffer, OverlapAdd};

/// One channel's buffers that hold audio from block to block.
pub(super) struct ChannelState {
    pub history: AnalysisBuffer,
    /// Spectra of the newest `delay_hops + 1` frames, indexed by `Engine::ring_index`.
    pub spectra: Vec<Box<[Complex32]>>,
    pub overlap: OverlapAdd,
    pub dry: DelayLine,
}

/// Working buffers for one channel: inputs and auxiliary outputs of the mix.
pub(super) struct ChannelScratch {
    pub dry: Vec<f32>,
    /// Before the mix the separated sound, after it the target.
    pub target: Vec<f32>,
    pub residual: Vec<f32>,
}

impl ChannelScratch {
    pub fn new(samples: usize) -> Self {
        let silence = || vec![0.0; samples];
        Self { dry: silence(), target: silence(), residual: silence() }
    }

    /// Mixes `dry` and `target` into `main`, `target` and `residual`. Real-time safe.
    ///
    /// `weights` returns the weights of a sample; `strength` and `gain` are as long as `main`.
    pub fn mix(
        &mut self,
        weights: impl Fn(usize) -> MixWeights,
        strength: &[f32],
        gain: &[f32],
        main: &mut [f32],
    ) {
        // Equal lengths, visible to the compiler, so that it vectorises the loop.
        let length = main.len();
        let (strength, gain, dry) = (&strength[..length], &gain[..length], &self.dry[..length]);
        let (target, residual) = (&mut self.target[..length], &mut self.residual[..length]);
        for at in 0..length {
            let out = weights(at).mix(dry[at], target[at], strength[at], gain[at]);
            (main[at], target[at], residual[at]) = (out.main, out.target, out.residual);
        }
    }
}
