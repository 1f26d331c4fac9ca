//! Spectra of a recording, frame by frame, on a model's grid.

use std::collections::VecDeque;

use realfft::num_complex::Complex32;

use crate::dsp::grid::{self, Grid, SpectrogramFormat};
use crate::dsp::sanitize;
use crate::dsp::stft::{AnalysisBuffer, OverlapAdd, Stft};

/// Short-time Fourier transform of all channels of a recording, with the newest frames.
///
/// As in the engine, frame *n* (from 1) ends after *n* hops, and silence precedes the recording.
pub struct FrameAnalysis {
    grid: Grid,
    stft: Stft,
    history: Vec<AnalysisBuffer>,
    /// Spectra of the newest frames, the oldest first: one vector per channel.
    spectra: VecDeque<Vec<Vec<Complex32>>>,
    magnitude: Vec<f32>,
    /// Factor from a magnitude at this rate to one of the model's.
    to_model_scale: f32,
    samples_to_frame: usize,
}

impl FrameAnalysis {
    /// Creates the analysis for a model that was trained on `audio`. It keeps the newest `kept` frames, at least one.
    pub fn new(audio: &SpectrogramFormat, (sample_rate, channels): (u32, usize), kept: usize) -> Self {
        let grid = Grid::new(audio, sample_rate.into());
        let stft = Stft::new(grid.size, grid.hop, audio.window);
        let frame = vec![vec![Complex32::ZERO; grid.bins()]; channels];
        Self {
            to_model_scale: grid::model_scale(audio, &stft),
            stft,
            history: (0..channels).map(|_| AnalysisBuffer::new(grid.size)).collect(),
            spectra: vec![frame; kept].into(),
            magnitude: vec![0.0; grid.model_bins],
            samples_to_frame: grid.hop,
            grid,
        }
    }

    /// Grid of the frames at the recording's sample rate.
    pub fn grid(&self) -> &Grid {
        &self.grid
    }

    /// Number of channels.
    pub fn channels(&self) -> usize {
        self.history.len()
    }

    /// Takes in the samples of `block` from `start` on, one slice per channel, until a frame is complete.
    ///
    /// Returns the number of samples and whether there is a new frame. Samples that are not finite count as 0.
    pub fn push<S: AsRef<[f32]>>(&mut self, block: &[S], start: usize) -> (usize, bool) {
        let left = block.first().map_or(0, |channel| channel.as_ref().len() - start);
        let count = left.min(self.samples_to_frame);
        for (history, channel) in self.history.iter_mut().zip(block) {
            let samples: Vec<_> =
                channel.as_ref()[start..start + count].iter().copied().map(sanitize).collect();
            history.extend(&samples);
        }
        self.samples_to_frame -= count;
        let is_complete = self.samples_to_frame == 0;
        if is_complete {
            self.samples_to_frame = self.grid.hop;
            self.analyse();
        }
        (count, is_complete)
    }

    fn analyse(&mut self) {
        let Some(mut frame) = self.spectra.pop_front() else { return };
        for (history, spectrum) in self.history.iter().zip(&mut frame) {
            self.stft.analyse(history, spectrum);
        }
        let spectra = frame.iter().map(Vec::as_slice);
        grid::write_model_magnitude(spectra, self.to_model_scale, &mut self.magnitude);
        self.spectra.push_back(frame);
    }

    /// Magnitude of the newest frame on the model's grid.
    pub fn magnitude(&self) -> &[f32] {
        &self.magnitude
    }

    /// Adds the oldest frame that is kept, times `gain` per bin, to the output of each channel.
    pub fn synthesise_oldest(&mut self, gain: &[Complex32], output: &mut [OverlapAdd]) {
        let Some(frame) = self.spectra.front() else { return };
        for (spectrum, overlap) in frame.iter().zip(output) {
            self.stft.synthesise(spectrum, gain, overlap);
        }
    }
}
