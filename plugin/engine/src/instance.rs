//! An instance: eight queries, a model, and the engine that runs it, which model switches replace.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::dsp::analyzer::Analyzer;
use crate::engine::Engine;
use crate::engine::block::Config;
use crate::instance::handover::Handover;
use crate::instance::processor::Processor;
use crate::instance::shared::{Activation, OpenSource, Selection, Shared};
use crate::instance::snapshot::{MonitoredEngine, Snapshot};
use crate::model_service::ModelSource;
use crate::package::PackageInfo;
use crate::package::search::ModelChoice;
use crate::query::slots::Queries;
use crate::realtime::status::Readiness;

mod handover;
pub mod processor;
mod shared;
pub mod snapshot;
#[cfg(test)]
mod tests;

/// Control side of an instance, for any thread but audio's. [`Processor`] is its audio side.
///
/// Drop waits until the background threads of the instance have ended.
pub struct Instance {
    shared: Arc<Shared>,
}

impl Default for Instance {
    fn default() -> Self {
        Self::new(ModelChoice::default())
    }
}

impl Instance {
    /// Creates an instance with the default texts. Nothing is loaded until it [starts](Self::start).
    pub fn new(model: ModelChoice) -> Self {
        Self::with_source(model, Box::new(|model, queries| ModelSource::open(model.find(), queries)))
    }

    fn with_source(model: ModelChoice, open_source: OpenSource) -> Self {
        Self { shared: Arc::new(Shared::new(model, open_source)) }
    }

    /// The texts of the slots, their states, and the concepts that they were understood as.
    pub fn queries(&self) -> &Arc<Queries> {
        &self.shared.queries
    }

    /// The chosen model.
    pub fn model(&self) -> ModelChoice {
        self.shared.selection.lock().model.clone()
    }

    /// Latency in samples of a processor that would [start](Self::start) with `config` now.
    ///
    /// Reads the manifest of the chosen model, for hosts that ask before they start.
    pub fn latency(&self, config: &Config) -> usize {
        let package = self.model().find().unwrap_or_else(|_| PackageInfo::built_in());
        Engine::latency_of(&package.manifest, &config.limited_to(self.block_limit()))
    }

    /// Chooses `model`. If audio plays, it is loaded in the background, and the processor switches to
    /// it without a click. The current model is loaded again, because its package may have changed.
    ///
    /// # Errors
    /// If the background thread cannot be started.
    pub fn set_model(&self, model: ModelChoice) -> io::Result<()> {
        let mut selection = self.shared.selection.lock();
        selection.model = model;
        self.switch_engine(&mut selection)
    }

    /// Size in samples of the largest block for which the latency is set, if the host's is larger.
    pub fn block_limit(&self) -> Option<usize> {
        self.shared.selection.lock().block_limit
    }

    /// Sets the latency for blocks of at most `samples`; `None` for the largest block that the host announces.
    ///
    /// Hosts may announce far larger blocks than they pass. If a larger block comes all the same, its late masks are
    /// concealed and counted, and [`Snapshot::oversized_block`] has its size. If audio plays, this takes effect as
    /// [`set_model`](Self::set_model) does.
    ///
    /// # Errors
    /// If the background thread cannot be started.
    pub fn set_block_limit(&self, samples: Option<usize>) -> io::Result<()> {
        let mut selection = self.shared.selection.lock();
        if selection.block_limit == samples {
            return Ok(());
        }
        selection.block_limit = samples;
        self.switch_engine(&mut selection)
    }

    /// Builds an engine of the selection in the background, if audio plays.
    fn switch_engine(&self, selection: &mut Selection) -> io::Result<()> {
        let Some(activation) = &mut selection.activation else { return Ok(()) };
        activation.is_outdated = true;
        let generation = self.shared.cancel_switch();
        let shared = self.shared.clone();
        self.shared.spawn_after_previous(move || shared.switch_model(generation))
    }

    /// Starts to load the chosen model and returns the audio side, which passes audio dry until then.
    ///
    /// Does not wait for the engine of a [stopped](Self::stop) processor, unless there are more that are not dropped yet: a
    /// host that activates repeatedly never holds the threads and memory of more than two activations. Of several
    /// processors only the newest separates; the others pass audio dry.
    pub fn start(&self, config: Config) -> Processor {
        self.end_activation();
        if self.shared.stopping() > 1 {
            self.shared.join_thread();
        }
        let _opening = self.shared.opening.lock();
        let mut selection = self.shared.selection.lock();
        let engine = self.shared.open_engine(&selection.model, selection.block_limit, config);
        let handover = Arc::new(Handover::default());
        selection.activation = Some(Activation {
            config,
            handover: handover.clone(),
            newest: MonitoredEngine::new(&engine, selection.model.to_string()),
            is_outdated: false,
        });
        Processor::new(engine, handover, self.shared.clone())
    }

    /// Ends the activation of `processor` and drops it on a background thread.
    ///
    /// Dropping takes as long as networks take to stop, and some hosts deactivate on their audio thread.
    pub fn stop(&self, processor: Processor) {
        self.shared.end_activation(processor.handover());
        self.shared.drop_in_background(processor);
    }

    /// Ends the activation, and waits until stopped processors are dropped and no background thread runs.
    ///
    /// A processor that is not stopped continues with its engine.
    pub fn shut_down(&self) {
        self.end_activation();
        self.shared.join_thread();
    }

    /// Ends the activation and any switch of models.
    fn end_activation(&self) {
        self.shared.selection.lock().activation = None;
        self.shared.engine_opened.notify_all();
        self.shared.cancel_switch();
    }

    /// Blocks until the newest model is loaded and every text is encoded or has failed.
    ///
    /// # Errors
    /// The instance is not started, the model cannot be loaded, or `timeout` has passed.
    pub fn wait_until_ready(&self, timeout: Duration) -> Result<(), String> {
        let deadline = Instant::now() + timeout;
        let status = {
            let mut selection = self.shared.selection.lock();
            let is_outdated = |it: &mut Selection| it.activation.as_ref().is_some_and(|it| it.is_outdated);
            self.shared.engine_opened.wait_while_until(&mut selection, is_outdated, deadline);
            let activation = selection.activation.as_ref().ok_or("model: the instance is not started")?;
            (!activation.is_outdated).then(|| activation.newest.status().clone())
        };
        match status.map_or(Readiness::Loading, |status| status.wait_while_loading(deadline)) {
            Readiness::Ready if self.queries().wait_until_encoded(deadline) => Ok(()),
            Readiness::Failed => Err(self.snapshot().and_then(|newest| newest.problem).unwrap_or_default()),
            Readiness::Ready | Readiness::Loading => Err(format!(
                "model: not ready within {} s. Try again when the machine is less busy",
                timeout.as_secs()
            )),
        }
    }

    /// State of the newest engine; `None` while there is no processor.
    pub fn snapshot(&self) -> Option<Snapshot> {
        let selection = self.shared.selection.lock();
        Some(selection.activation.as_ref()?.newest.snapshot())
    }

    /// Spectrum, mask and peak levels of the newest engine; `None` while there is no processor.
    pub fn analyzer(&self) -> Option<Arc<Analyzer>> {
        let selection = self.shared.selection.lock();
        Some(selection.activation.as_ref()?.newest.analyzer().clone())
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.shut_down();
    }
}
