//! Audio buffers of all channels: delay line, STFT in both directions, and the mix of one stretch of samples.

use std::ops::Range;

use realfft::num_complex::Complex32;

use crate::dsp::analyzer::PeakLevels;
use crate::dsp::delay_line::DelayLine;
use crate::dsp::grid::{self, SpectrogramFormat};
use crate::dsp::mixer::{MixWeights, Mixer};
use crate::dsp::sanitize;
use crate::dsp::spatial_filter::{SpatialControls, SpatialFilter};
use crate::dsp::stft::{AnalysisBuffer, OverlapAdd, Stft};
use crate::engine::block::{AuxOutputs, Controls};
use crate::engine::timing::Timing;

/// One channel's buffers that hold audio from block to block.
struct ChannelState {
    history: AnalysisBuffer,
    /// Spectra of the newest `delay_hops + 1` frames, indexed by [`Timing::ring_index`].
    spectra: Vec<Box<[Complex32]>>,
    overlap: OverlapAdd,
    dry: DelayLine,
}

/// All channels of an engine, with the working buffers that they share.
///
/// All methods but `new` are real-time safe.
pub(super) struct ChannelBank {
    stft: Stft,
    channels: Vec<ChannelState>,
    /// `None` if there are not two channels.
    spatial: Option<SpatialFilter>,
    scratch: MixScratch,
    weights: Vec<MixWeights>,
    /// Factor from a magnitude of the host's STFT to one of the model's.
    to_model_scale: f32,
}

impl ChannelBank {
    /// Creates silent buffers for a model that was trained on `audio`.
    pub fn new(audio: &SpectrogramFormat, timing: &Timing, channels: usize) -> Self {
        let grid = &timing.grid;
        let stft = Stft::new(grid.size, grid.hop, audio.window);
        let spectrum = || vec![Complex32::ZERO; grid.bins()].into_boxed_slice();
        let channel = || ChannelState {
            history: AnalysisBuffer::new(grid.size),
            spectra: (0..=timing.delay_hops).map(|_| spectrum()).collect(),
            overlap: OverlapAdd::new(grid.size),
            dry: DelayLine::new(timing.latency),
        };
        Self {
            to_model_scale: grid::model_scale(audio, &stft),
            stft,
            channels: (0..channels).map(|_| channel()).collect(),
            spatial: (channels == 2).then(|| SpatialFilter::new(grid)),
            scratch: MixScratch::new(grid.hop),
            weights: Vec::with_capacity(grid.hop),
        }
    }

    /// Replaces all audio by silence.
    pub fn clear(&mut self) {
        for channel in &mut self.channels {
            channel.history.clear();
            channel.overlap.clear();
            channel.dry.clear();
        }
        self.forget_places();
    }

    /// Takes note of a frame of silence that is not synthesised.
    pub fn skip_silence(&mut self) {
        if let Some(filter) = &mut self.spatial {
            filter.skip_silence();
        }
    }

    fn forget_places(&mut self) {
        if let Some(filter) = &mut self.spatial {
            filter.clear();
        }
    }

    /// Copies the input that `old` holds, with a fade of `fade` samples where the delays differ.
    pub fn copy_input(&mut self, old: &Self, fade: usize) {
        for (channel, old) in self.channels.iter_mut().zip(&old.channels) {
            channel.dry.copy_from(&old.dry, fade);
            channel.history.copy_from(&old.history);
        }
    }

    /// Takes in the samples of `range`, at most a hop, and replaces them by the output.
    ///
    /// The weights of `mixer` advance by as many samples, and `peaks` is updated if there is any. Returns the peak of the
    /// input.
    pub fn process(
        &mut self,
        range: Range<usize>,
        channels: &mut [&mut [f32]],
        aux: &mut AuxOutputs<'_, '_>,
        controls: &Controls<'_>,
        mixer: &mut Mixer,
        mut peaks: Option<&mut PeakLevels>,
    ) -> f32 {
        let mut input_peak = 0.0_f32;
        let length = range.len();
        let (strength, gain) = (&controls.strength[range.clone()], &controls.gain[range.clone()]);
        let settled = mixer.settled_weights();
        if settled.is_none() {
            self.weights.clear();
            self.weights.extend((0..length).map(|_| mixer.next_weights()));
        }
        let scratch = &mut self.scratch;
        for (c, (state, channel)) in self.channels.iter_mut().zip(channels.iter_mut()).enumerate() {
            let channel = &mut channel[range.clone()];
            channel.iter_mut().for_each(|sample| *sample = sanitize(*sample));
            input_peak = channel.iter().fold(input_peak, |peak, sample| peak.max(sample.abs()));
            state.history.extend(channel);
            state.dry.process(channel, &mut scratch.dry[..length]);
            state.overlap.take(&mut scratch.target[..length]);
            match settled {
                Some(weights) => scratch.mix(|_| weights, strength, gain, channel),
                None => scratch.mix(|at| self.weights[at], strength, gain, channel),
            }
            if let Some(peaks) = &mut peaks {
                peaks.update(&scratch.dry, channel, gain);
            }
            if let Some(target) = aux.target.get_mut(c) {
                target[range.clone()].copy_from_slice(&scratch.target[..length]);
            }
            if let Some(residual) = aux.residual.get_mut(c) {
                residual[range.clone()].copy_from_slice(&scratch.residual[..length]);
            }
        }
        input_peak
    }

    /// Stores the spectra of the newest frame at ring index `at`.
    pub fn analyse(&mut self, at: usize) {
        for channel in &mut self.channels {
            self.stft.analyse(&channel.history, &mut channel.spectra[at]);
        }
    }

    /// Writes the model's magnitude of the frame at ring index `at`.
    pub fn write_magnitude(&self, at: usize, magnitude: &mut [f32]) {
        let spectra = self.channels.iter().map(|channel| &*channel.spectra[at]);
        grid::write_model_magnitude(spectra, self.to_model_scale, magnitude);
    }

    /// Adds the frame at ring index `at`, multiplied by `gain` per bin and filtered by place, to the output.
    pub fn synthesise(&mut self, at: usize, gain: &[Complex32], controls: SpatialControls) {
        if let (Some(filter), [left, right]) = (&mut self.spatial, &mut self.channels[..]) {
            if controls.amount > 0.0 {
                let filtered = filter.process([&left.spectra[at], &right.spectra[at]], gain, controls);
                for (channel, spectrum) in [left, right].into_iter().zip(filtered) {
                    self.stft.synthesise_filtered(spectrum, &mut channel.overlap);
                }
                return;
            }
            filter.clear();
        }
        for channel in &mut self.channels {
            self.stft.synthesise(&channel.spectra[at], gain, &mut channel.overlap);
        }
    }
}

/// Working buffers for one channel: inputs and auxiliary outputs of the mix.
struct MixScratch {
    dry: Vec<f32>,
    /// Before the mix the separated sound, after it the target.
    target: Vec<f32>,
    residual: Vec<f32>,
}

impl MixScratch {
    fn new(samples: usize) -> Self {
        let silence = || vec![0.0; samples];
        Self { dry: silence(), target: silence(), residual: silence() }
    }

    /// Mixes `dry` and `target` into `main`, `target` and `residual`.
    ///
    /// `weights` returns the weights of a sample; `strength` and `gain` are as long as `main`.
    fn mix(
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
