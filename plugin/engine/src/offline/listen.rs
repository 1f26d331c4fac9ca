//! Listening to a recording.

use crate::dsp::grid::SpectrogramFormat;
use crate::inference::cancel::{CancelToken, run_within_timeout};
use crate::listener::load::LoadedListener;
use crate::offline::frame_analysis::FrameAnalysis;
use crate::offline::timeline::{END_DELAY_SECONDS, SMOOTHED_SECONDS, Timeline};
use crate::realtime::denormals::FlushDenormals;

/// Runs a listener on a recording, of which blocks are pushed in order.
pub struct OfflineListener<'a> {
    listener: &'a mut LoadedListener,
    token: CancelToken,
    frames: FrameAnalysis,
    /// Frames per run of the network.
    frames_per_run: usize,
    frame: usize,
    /// Probability of each concept, one run after another.
    heard: Vec<f32>,
    sample_rate: u32,
    samples: u64,
}

impl<'a> OfflineListener<'a> {
    /// Creates the listener in the state of the start of a stream. `token` cancels its network. `format`: sample rate
    /// in hertz, and channels.
    pub(super) fn new(
        listener: &'a mut LoadedListener,
        token: CancelToken,
        audio: &SpectrogramFormat,
        frames_per_run: usize,
        format: (u32, usize),
    ) -> Self {
        listener.listener.reset();
        Self {
            listener,
            token,
            frames: FrameAnalysis::new(audio, format, 1),
            frames_per_run,
            frame: 0,
            heard: Vec::new(),
            sample_rate: format.0,
            samples: 0,
        }
    }

    /// Listens to the next samples: one slice per channel, of equal length.
    ///
    /// # Errors
    /// Fails if a run of the network fails.
    pub fn push<S: AsRef<[f32]>>(&mut self, block: &[S]) -> Result<(), String> {
        self.samples += block.first().map_or(0, |channel| channel.as_ref().len()) as u64;
        self.hear(block)
    }

    /// Returns which sounds were heard when.
    ///
    /// # Errors
    /// Fails if a run of the network fails.
    pub fn finish(mut self) -> Result<Timeline, String> {
        // Silence, until a sound at the end is no longer heard.
        let hop = self.frames.grid().hop;
        let tail = ((END_DELAY_SECONDS + SMOOTHED_SECONDS) * f64::from(self.sample_rate)) as usize;
        let silence = vec![vec![0.0; tail + hop * self.frames_per_run]; self.frames.channels()];
        self.hear(&silence)?;
        let duration = self.samples as f64 / f64::from(self.sample_rate);
        let run_seconds = self.frames.grid().hop_seconds() * self.frames_per_run as f64;
        Ok(Timeline::new(&self.listener.concepts, &self.heard, run_seconds, duration))
    }

    fn hear<S: AsRef<[f32]>>(&mut self, block: &[S]) -> Result<(), String> {
        let _flush = FlushDenormals::set();
        let length = block.first().map_or(0, |channel| channel.as_ref().len());
        let mut at = 0;
        while at < length {
            let (count, has_frame) = self.frames.push(block, at);
            at += count;
            if !has_frame {
                continue;
            }
            self.frame += 1;
            let Self { listener, token, frames, frame, frames_per_run, heard, .. } = &mut *self;
            let (network, magnitude) = (&mut listener.listener, frames.magnitude());
            let result = match frame.is_multiple_of(*frames_per_run) {
                true => run_within_timeout(token, || {
                    network.hear(magnitude).map(|newest| heard.extend_from_slice(newest))
                }),
                // The network does not run.
                false => network.hear(magnitude).map(drop),
            };
            result.map_err(|problem| format!("listener: {problem}. Install the model again"))?;
        }
        Ok(())
    }
}
