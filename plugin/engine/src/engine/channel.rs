//! The buffers of one channel.

use realfft::num_complex::Complex32;

use crate::dsp::delay_line::Delay;
use crate::dsp::mixer::Weights;
use crate::dsp::stft::{History, Overlap};

/// One channel's buffers.
pub(super) struct Voice {
    pub history: History,
    /// The newest `delay + 1` frames' spectra, by frame.
    pub spectra: Vec<Box<[Complex32]>>,
    pub overlap: Overlap,
    pub dry: Delay,
}

/// What a channel's samples are mixed from, and to beside the main output.
pub(super) struct Lane {
    pub dry: Vec<f32>,
    /// The separated sound, and then the target made of it.
    pub target: Vec<f32>,
    pub residual: Vec<f32>,
}

impl Lane {
    pub fn new(samples: usize) -> Self {
        let silence = || vec![0.0; samples];
        Self { dry: silence(), target: silence(), residual: silence() }
    }

    /// Fills `main`, the target and the residual. `weights` gives those of a sample; `strength` and `gain` are as long as `main`.
    pub fn mix(
        &mut self,
        weights: impl Fn(usize) -> Weights,
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
