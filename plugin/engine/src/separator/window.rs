//! Window network: run every few frames on the latest frames, without state tensors.

use std::any::Any;

use ort::environment::Environment;
use realfft::num_complex::Complex32;

use crate::inference::cancel::CancelToken;
use crate::inference::provider::{ActiveProvider, ProviderChoice};
use crate::inference::session::Session;
use crate::package::{PackageError, SeparatorSection};
use crate::separator::Separator;
use crate::separator::network::{self, LoadedModel, Network, NetworkSeparator};

/// Separator of a window model.
#[derive(Clone)]
pub struct WindowSeparator {
    network: Network,
    frames: FrameWindow,
}

impl WindowSeparator {
    /// Loads the network of `model`, checks its tensors and runs it once on silence.
    ///
    /// It runs on the provider of `choice`, or on the CPU if this fails. `token` cancels the loading and all runs.
    ///
    /// # Errors
    /// Fails if the network is invalid, or the loading is cancelled or does not end in time.
    pub fn new(
        environment: &Environment,
        model: &LoadedModel,
        choice: &ProviderChoice,
        token: &CancelToken,
    ) -> Result<(Self, ActiveProvider), PackageError> {
        let section = &model.package.manifest.separator;
        let bins = model.package.manifest.audio.bins();
        network::load_separator(environment, model, choice, token, |signature, sessions| {
            let frames = FrameWindow::new(section, bins);
            let network = Network::new(signature, sessions, frames.context, bins, |_| false)?;
            Ok(Self { network, frames })
        })
    }

    /// Runs the network on the window and stores the next `advance` masks.
    fn infer(&mut self, session: &mut Session, embedding: &[f32]) -> ort::Result<()> {
        let layout = self.network.layout;
        let FrameWindow { context, advance, lookahead, bins, window, masks, presences, .. } =
            &mut self.frames;
        let outputs = session.run(layout.inputs(window, embedding)?, &self.network.run_options)?;
        layout.check_outputs(&outputs, 1)?;
        let first = *context - *lookahead - *advance;
        for (number, mask) in masks.chunks_exact_mut(*bins).enumerate() {
            layout.read_mask(&outputs, 0, first + number, mask)?;
            presences[number] = layout.read_presence(&outputs, 0, first + number)?;
        }
        Ok(())
    }
}

impl Separator for WindowSeparator {
    fn as_any(&mut self) -> &mut dyn Any {
        self
    }

    fn reset(&mut self) {
        self.frames.clear();
    }

    fn fork(&self) -> Result<Box<dyn Separator>, String> {
        Ok(Box::new(self.clone()))
    }

    fn skip_silence(&mut self, hops: u32) {
        self.frames.skip_silence(hops as usize);
    }

    fn run(
        &mut self,
        magnitude: &[f32],
        embedding: &[f32],
        mask: &mut [Complex32],
    ) -> Result<Option<f32>, String> {
        self.network.layout.check_embedding(embedding)?;
        if self.frames.push(magnitude) {
            let sessions = self.network.sessions.clone();
            self.infer(&mut *sessions.acquire()?, embedding).map_err(|error| error.to_string())?;
        }
        Ok(self.frames.pop(mask))
    }
}

impl NetworkSeparator for WindowSeparator {
    fn network(&self) -> &Network {
        &self.network
    }

    fn run_on(
        &mut self,
        session: &mut Session,
        magnitude: &[f32],
        embedding: &[f32],
        mask: &mut [Complex32],
    ) -> Result<Option<f32>, String> {
        self.network.layout.check_embedding(embedding)?;
        if self.frames.push(magnitude) {
            self.infer(session, embedding).map_err(|error| error.to_string())?;
        }
        Ok(self.frames.pop(mask))
    }
}

/// Sliding window of input frames, and the masks of the latest run: one of each per hop.
#[derive(Clone)]
struct FrameWindow {
    context: usize,
    advance: usize,
    lookahead: usize,
    bins: usize,
    /// Magnitudes of the latest `context` frames, oldest first; silence before the stream's start.
    window: Vec<f32>,
    /// Masks of the latest run: `advance` of them, the last one `lookahead` frames behind the run's newest frame.
    masks: Vec<Complex32>,
    presences: Vec<Option<f32>>,
    /// Frames since the latest run.
    frames_since_run: usize,
}

impl FrameWindow {
    /// Creates the window of a model with a checked manifest `section`.
    fn new(section: &SeparatorSection, bins: usize) -> Self {
        let (context, advance) = (section.context(), section.advance());
        Self {
            context,
            advance,
            lookahead: section.lookahead,
            bins,
            window: vec![0.0; context * bins],
            masks: vec![Complex32::ZERO; advance * bins],
            presences: vec![None; advance],
            frames_since_run: 0,
        }
    }

    /// Clears the window: the next frame begins a new stream.
    fn clear(&mut self) {
        self.window.fill(0.0);
        self.masks.fill(Complex32::ZERO);
        self.presences.fill(None);
        self.frames_since_run = 0;
    }

    /// Adds the newest frame and returns whether the network must run now.
    fn push(&mut self, magnitude: &[f32]) -> bool {
        self.window.copy_within(self.bins.., 0);
        let newest = self.window.len() - self.bins;
        self.window[newest..].copy_from_slice(magnitude);
        self.frames_since_run = (self.frames_since_run + 1) % self.advance;
        self.frames_since_run == 0
    }

    /// Adds `frames` frames of silence without a run: the masks stay those of earlier frames of silence.
    fn skip_silence(&mut self, frames: usize) {
        let values = frames.min(self.context) * self.bins;
        self.window.copy_within(values.., 0);
        let kept = self.window.len() - values;
        self.window[kept..].fill(0.0);
        self.frames_since_run = (self.frames_since_run + frames) % self.advance;
    }

    /// Fills in the mask of the frame [`SeparatorSection::mask_lag`] frames before the newest, and returns its presence.
    fn pop(&self, mask: &mut [Complex32]) -> Option<f32> {
        mask.copy_from_slice(&self.masks[self.frames_since_run * self.bins..][..self.bins]);
        self.presences[self.frames_since_run]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::package::SeparatorKind;

    const BINS: usize = 3;

    fn section(context: usize, advance: usize, lookahead: usize) -> SeparatorSection {
        let (context, advance) = (Some(context), Some(advance));
        SeparatorSection {
            kind: SeparatorKind::Window,
            context,
            advance,
            ..SeparatorSection::streaming(lookahead)
        }
    }

    /// Returns the gain per hop for frames of magnitude 1, 2, 3 … and a network whose mask is the magnitude.
    fn gains_of_magnitudes(section: &SeparatorSection, hops: usize) -> Vec<f32> {
        let mut frames = FrameWindow::new(section, BINS);
        (1..=hops)
            .map(|number| {
                if frames.push(&[number as f32; BINS]) {
                    let first = frames.context - frames.lookahead - frames.advance;
                    for (mask, magnitude) in frames.masks.iter_mut().zip(&frames.window[first * BINS..]) {
                        *mask = Complex32::new(*magnitude, 0.0);
                    }
                }
                let mut mask = [Complex32::ZERO; BINS];
                frames.pop(&mut mask);
                assert!(mask.iter().all(|gain| *gain == mask[0]));
                mask[0].re
            })
            .collect()
    }

    #[test]
    fn each_hop_gives_the_mask_of_the_frame_mask_lag_back() {
        for (context, advance, lookahead) in
            [(1, 1, 0), (8, 1, 0), (8, 1, 3), (8, 4, 0), (8, 4, 4), (9, 5, 2)]
        {
            let section = section(context, advance, lookahead);
            let lag = section.mask_lag();
            assert_eq!(lag, lookahead + advance - 1);
            let expected: Vec<f32> = (1..=40_usize).map(|newest| newest.saturating_sub(lag) as f32).collect();
            assert_eq!(gains_of_magnitudes(&section, 40), expected, "{context}, {advance}, {lookahead}");
        }
    }

    #[test]
    fn skipped_silence_leaves_the_window_as_if_it_had_been_added() {
        for skipped in [1, 3, 4, 9, 1000] {
            let new = || FrameWindow::new(&section(8, 5, 0), BINS);
            let (mut skipping, mut adding) = (new(), new());
            for number in 1..=6 {
                skipping.push(&[number as f32; BINS]);
                adding.push(&[number as f32; BINS]);
            }
            skipping.skip_silence(skipped);
            for _ in 0..skipped {
                adding.push(&[0.0; BINS]);
            }
            assert_eq!(skipping.window, adding.window, "{skipped}");
            assert_eq!(skipping.frames_since_run, adding.frames_since_run, "{skipped}");
        }
    }

    #[test]
    fn new_stream_begins_with_silence() {
        let mut frames = FrameWindow::new(&section(4, 2, 0), BINS);
        for _ in 0..3 {
            frames.push(&[1.0; BINS]);
        }
        frames.clear();
        frames.push(&[2.0; BINS]);
        assert!(frames.push(&[3.0; BINS]), "the network runs at the second frame of the new stream");
        assert_eq!(frames.window, [[0.0; BINS], [0.0; BINS], [2.0; BINS], [3.0; BINS]].concat());
    }
}
