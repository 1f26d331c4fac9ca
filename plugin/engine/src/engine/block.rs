//! Settings, parameter values and auxiliary outputs of the blocks that an engine processes.

use crate::dsp::mask_processor::MaskShaping;
use crate::dsp::mixer::Mode;

/// Settings that are fixed while audio runs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Config {
    /// Sample rate in hertz.
    pub sample_rate: f64,
    /// Size of the largest block, in samples. The latency depends on it.
    pub max_block: usize,
    /// Number of audio channels, 1 or 2.
    pub channels: usize,
    /// Whether the host renders offline. If so, the audio thread waits for the separator.
    pub offline: bool,
}

impl Config {
    /// Returns this configuration for blocks of at most `block_limit` samples.
    pub(crate) fn limited_to(self, block_limit: Option<usize>) -> Self {
        let max_block = block_limit.map_or(self.max_block, |limit| self.max_block.min(limit.max(1)));
        Self { max_block, ..self }
    }
}

/// Parameter values for one block.
#[derive(Clone, Copy, Debug)]
pub struct Controls<'a> {
    /// Strength of the mask, 0 to 1, one value per sample.
    pub strength: &'a [f32],
    /// Output gain, linear, one value per sample.
    pub gain: &'a [f32],
    pub mode: Mode,
    /// Active query slot, 0 to 7.
    pub query: usize,
    /// Whether what else is there competes with the described sound.
    pub with_rest: bool,
    pub shape: MaskShaping,
    /// How much the places of sounds between the two channels count beside the mask, 0 to 1. Without effect on mono.
    pub stereo: f32,
    /// Whether the main output carries the removed sound instead.
    pub listen_removed: bool,
    pub bypass: bool,
}

impl<'a> Controls<'a> {
    /// Isolates by the first slot with the default shaping; `strength` and `gain` are as long as the block.
    pub fn new(strength: &'a [f32], gain: &'a [f32]) -> Self {
        Self {
            strength,
            gain,
            mode: Mode::Isolate,
            query: 0,
            with_rest: false,
            shape: MaskShaping::default(),
            stereo: 0.0,
            listen_removed: false,
            bypass: false,
        }
    }
}

/// Buffers of the auxiliary outputs, one slice per channel.
///
/// Empty if the host has not connected the output.
#[derive(Default)]
pub struct AuxOutputs<'a, 'b> {
    /// Receives the described sound.
    pub target: &'a mut [&'b mut [f32]],
    /// Receives everything else.
    pub residual: &'a mut [&'b mut [f32]],
}

impl AuxOutputs<'_, '_> {
    /// Whether the host has connected any of them.
    pub(crate) fn is_connected(&self) -> bool {
        !self.target.is_empty() || !self.residual.is_empty()
    }
}
