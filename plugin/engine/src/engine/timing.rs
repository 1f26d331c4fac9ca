//! Delays of an engine, in hops and in samples.

use crate::dsp::grid::{Grid, SpectrogramFormat};
use crate::engine::block::Config;
use crate::package::SeparatorSection;

/// Time for which the last mask is held when the next one is late, in seconds.
const MASK_HOLD_SECONDS: f64 = 0.05;

/// Time-frequency grid of an engine, and the delays that follow from its model and the largest block.
#[derive(Clone, Copy)]
pub(super) struct Timing {
    pub grid: Grid,
    /// Frames by which a mask lags behind the newest frame when its reply arrives.
    pub mask_lag: usize,
    /// Hops between a frame's analysis and its synthesis.
    pub delay_hops: usize,
    /// Hops for which the last mask is held when the next one is late.
    pub hold_hops: usize,
    /// From input to output, in samples.
    pub latency: usize,
    /// Size in samples of the largest block for which masks are in time.
    pub max_block: usize,
}

impl Timing {
    pub fn new(audio: &SpectrogramFormat, separator: &SeparatorSection, config: &Config) -> Self {
        let grid = Grid::new(audio, config.sample_rate);
        Self {
            mask_lag: separator.mask_lag(),
            delay_hops: grid.delay_hops(separator.delay_hops(), config.max_block),
            hold_hops: (MASK_HOLD_SECONDS / grid.hop_seconds()).round() as usize,
            latency: grid.latency(separator.delay_hops(), config.max_block),
            max_block: config.max_block,
            grid,
        }
    }

    /// Returns the samples from the last one of the input to the last one of the output that it changes.
    pub fn tail(&self) -> usize {
        self.latency + self.grid.size
    }

    /// Index of `frame` in the rings of the newest `delay_hops + 1` frames.
    pub fn ring_index(&self, frame: u64) -> usize {
        (frame % (self.delay_hops as u64 + 1)) as usize
    }
}
