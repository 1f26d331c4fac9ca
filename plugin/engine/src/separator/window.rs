//! The window kind of network: run every few frames on the last ones, without a state of its own.

use ort::environment::Environment;
use realfft::num_complex::Complex32;

use crate::inference::cancel::CancelToken;
use crate::inference::provider::{ActiveProvider, ProviderChoice};
use crate::package::{PackageError, SeparatorSection};
use crate::separator::Separator;
use crate::separator::network::{self, LoadedModel, Network};

/// A package's window network.
#[derive(Clone)]
pub struct WindowSeparator {
    network: Network,
    frames: FrameWindow,
}

impl WindowSeparator {
    /// Loads the network of `model`, checks its inputs and outputs against the contract, and
    /// run_options it once; where `choice` says, if it can be, and until it is stopped.
    pub fn new(
        environment: &Environment,
        model: &LoadedModel,
        choice: &ProviderChoice,
        token: &CancelToken,
    ) -> Result<(Self, ActiveProvider), PackageError> {
        let section = &model.package.manifest.separator;
        let bins = model.package.manifest.audio.bins();
        network::load_separator(environment, model, choice, token, |sessions| {
            let frames = FrameWindow::new(section, bins);
            let network = Network::new(sessions, frames.context, bins, |_| false)?;
            let embedding = network.layout.embedding;
            Ok((Self { network, frames }, embedding))
        })
    }

    /// One run on the window, of which it fills in the masks that are next.
    fn infer(&mut self, embedding: &[f32]) -> ort::Result<()> {
        let layout = self.network.layout;
        let FrameWindow { context, advance, lookahead, bins, window, masks, presences, .. } =
            &mut self.frames;
        let mut session = self.network.sessions.acquire().map_err(ort::Error::new)?;
        let outputs = session.run(layout.inputs(window, embedding)?, &self.network.run_options)?;
        let first = *context - *lookahead - *advance;
        for (number, mask) in masks.chunks_exact_mut(*bins).enumerate() {
            layout.read_mask(&outputs, 0, first + number, mask)?;
            presences[number] = layout.read_presence(&outputs, 0, first + number)?;
        }
        Ok(())
    }
}

impl Separator for WindowSeparator {
    fn reset(&mut self) {
        self.frames.clear();
    }

    fn fork(&self) -> Result<Box<dyn Separator>, String> {
        Ok(Box::new(self.clone()))
    }

    fn run(
        &mut self,
        magnitude: &[f32],
        embedding: &[f32],
        mask: &mut [Complex32],
    ) -> Result<Option<f32>, String> {
        self.network.layout.check_embedding(embedding)?;
        if self.frames.push(magnitude) {
            self.infer(embedding).map_err(|error| error.to_string())?;
        }
        Ok(self.frames.pop(mask))
    }
}

/// The frames that go in and the masks that come out: one of each a hop, the network's run_options between.
#[derive(Clone)]
struct FrameWindow {
    context: usize,
    advance: usize,
    lookahead: usize,
    bins: usize,
    /// Magnitudes of the last `context` frames, the oldest first; silence before the stream's start.
    window: Vec<f32>,
    /// Of the last run: `advance` masks, the last of them `lookahead` frames behind the frame that was the newest.
    masks: Vec<Complex32>,
    presences: Vec<Option<f32>>,
    /// FrameWindow since the last run.
    since: usize,
}

impl FrameWindow {
    /// `section`: of a window model, checked.
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
            since: 0,
        }
    }

    fn clear(&mut self) {
        self.window.fill(0.0);
        self.masks.fill(Complex32::ZERO);
        self.presences.fill(None);
        self.since = 0;
    }

    /// Takes the newest frame. Whether the network is to run now.
    fn push(&mut self, magnitude: &[f32]) -> bool {
        self.window.copy_within(self.bins.., 0);
        let newest = self.window.len() - self.bins;
        self.window[newest..].copy_from_slice(magnitude);
        self.since = (self.since + 1) % self.advance;
        self.since == 0
    }

    /// The mask and presence of the frame that lies [`SeparatorSection::mask_lag`] the newest.
    fn pop(&self, mask: &mut [Complex32]) -> Option<f32> {
        mask.copy_from_slice(&self.masks[self.since * self.bins..][..self.bins]);
        self.presences[self.since]
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

    /// Runs a network whose mask is the magnitude; what comes out a hop after frames 1, 2, 3 …
    fn masks_of_a_copy(section: &SeparatorSection, hops: usize) -> Vec<f32> {
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
    fn each_hop_gives_the_mask_of_the_frame_so_far_behind() {
        for (context, advance, lookahead) in
            [(1, 1, 0), (8, 1, 0), (8, 1, 3), (8, 4, 0), (8, 4, 4), (9, 5, 2)]
        {
            let section = section(context, advance, lookahead);
            let behind = section.mask_lag();
            assert_eq!(behind, lookahead + advance - 1);
            let expected: Vec<f32> =
                (1..=40_usize).map(|newest| newest.saturating_sub(behind) as f32).collect();
            assert_eq!(masks_of_a_copy(&section, 40), expected, "{context}, {advance}, {lookahead}");
        }
    }

    #[test]
    fn a_new_stream_begins_with_silence() {
        let mut frames = FrameWindow::new(&section(4, 2, 0), BINS);
        for _ in 0..3 {
            frames.push(&[1.0; BINS]);
        }
        frames.clear();
        frames.push(&[2.0; BINS]);
        assert!(frames.push(&[3.0; BINS]), "the network run_options at the second frame again");
        assert_eq!(frames.window, [[0.0; BINS], [0.0; BINS], [2.0; BINS], [3.0; BINS]].concat());
    }
}
