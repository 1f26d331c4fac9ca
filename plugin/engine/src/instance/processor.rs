//! Audio side of an instance: runs its engine and replaces it when the next one is loaded.

use std::sync::Arc;

use crate::engine::Engine;
use crate::engine::block::{AuxOutputs, Controls};
use crate::instance::handover::{BuiltEngine, Handover};
use crate::instance::shared::Shared;

/// Audio side of an [`Instance`](crate::Instance), made by [`Instance::start`](crate::Instance::start).
///
/// Its methods are real-time safe. Drop is not: it waits until the network has stopped. Give the
/// processor to [`Instance::stop`](crate::Instance::stop) where that may take no time.
pub struct Processor {
    running: BuiltEngine,
    /// The engine with the next model, until the running one can hand over.
    next: Option<BuiltEngine>,
    handover: Arc<Handover>,
    shared: Arc<Shared>,
}

impl Processor {
    pub(super) fn new(engine: Engine, handover: Arc<Handover>, shared: Arc<Shared>) -> Self {
        Self { running: BuiltEngine::new(engine), next: None, handover, shared }
    }

    pub(super) fn handover(&self) -> &Arc<Handover> {
        &self.handover
    }

    /// Latency from input to output in samples. It can change when [`process`](Self::process) switches models.
    pub fn latency(&self) -> usize {
        self.running.engine.latency()
    }

    /// Samples from the last one of the input to the last one of the output that it changes.
    pub fn tail(&self) -> usize {
        self.running.engine.tail()
    }

    /// Whether all outputs are zero and stay so until the input is not, so that the host may pause.
    ///
    /// Never while it renders, nor while an editor reads the [`Analyzer`](crate::dsp::analyzer::Analyzer).
    pub fn is_silent(&self) -> bool {
        self.next.is_none() && self.running.engine.is_silent()
    }

    /// Clears all buffers and starts a new stream.
    pub fn reset(&mut self) {
        self.running.engine.reset();
    }

    /// Marks a discontinuity of the input, after which the separator resets its recurrent state.
    ///
    /// The output continues without a gap.
    pub fn seek(&mut self) {
        self.running.engine.seek();
    }

    /// Processes one block in place.
    ///
    /// `channels` holds one slice per channel of the configuration; all slices of `channels`, `aux` and
    /// `controls` have the same length, at most `max_block`.
    ///
    /// Does not allocate, lock or run a network. Blocks, for a bounded time, only if the host renders
    /// offline or is ahead of the wall clock.
    pub fn process(
        &mut self,
        channels: &mut [&mut [f32]],
        aux: &mut AuxOutputs<'_, '_>,
        controls: &Controls<'_>,
    ) {
        self.switch_engine();
        self.running.engine.process(channels, aux, controls);
    }

    /// Continues with the next engine once it is loaded and the output of the running one has faded.
    fn switch_engine(&mut self) {
        // Replacing a pending engine would drop it on the audio thread: a newer one stays in its queue.
        if self.next.is_none() {
            self.next = self.handover.take();
        }
        let running = &mut self.running.engine;
        if let Some(mut next) = self.next.take_if(|next| running.prepare_handover(&next.engine)) {
            next.engine.continue_from(running);
            let replaced = std::mem::replace(&mut self.running, next);
            self.handover.replace(replaced, &self.running);
        }
    }
}

impl Drop for Processor {
    fn drop(&mut self) {
        self.shared.end_activation(&self.handover);
    }
}
