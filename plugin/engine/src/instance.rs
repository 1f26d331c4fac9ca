//! An instance: eight queries, a model, and the engine that runs it, which model switches replace.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use crate::dsp::analyzer::Analyzer;
use crate::engine::{Config, Engine};
use crate::instance::processor::{Handover, Processor};
use crate::instance::snapshot::{MonitoredEngine, Snapshot};
use crate::model_service::ModelSource;
use crate::package::search::ModelChoice;
use crate::query::slots::Queries;
use crate::realtime::status::Readiness;

pub mod processor;
pub mod snapshot;
#[cfg(test)]
mod tests;

/// Longest time until a thread that loads a model notices that the model is no longer wanted.
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// Control side of an instance, for any thread but audio's. [`Processor`] is its audio side.
///
/// Drop waits until the background threads of the instance have ended.
pub struct Instance {
    shared: Arc<Shared>,
}

/// State that an instance shares with its processors and background threads.
struct Shared {
    queries: Arc<Queries>,
    open_source: OpenSource,
    selection: Mutex<Selection>,
    /// Notified when an engine with the chosen model is opened.
    engine_opened: Condvar,
    /// Grows with every engine requested: a thread that builds an older one stops.
    generation: AtomicU64,
    /// The newest thread that builds or drops engines. Each thread joins the one before it first.
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// Function that begins to load a model and to encode queries by it; replaced by fakes in tests.
type OpenSource = Box<dyn Fn(&ModelChoice, &Arc<Queries>) -> ModelSource + Send + Sync>;

/// The chosen model, and what runs it.
struct Selection {
    model: ModelChoice,
    /// `Some` while there is a processor.
    activation: Option<Activation>,
}

/// The newest processor of an instance and its newest engine.
struct Activation {
    config: Config,
    handover: Arc<Handover>,
    newest: MonitoredEngine,
    /// Whether the chosen model is newer than the newest engine.
    is_outdated: bool,
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
        Self {
            shared: Arc::new(Shared {
                queries: Arc::default(),
                open_source,
                selection: Mutex::new(Selection { model, activation: None }),
                engine_opened: Condvar::new(),
                generation: AtomicU64::new(0),
                thread: Mutex::new(None),
            }),
        }
    }

    /// The texts of the slots, their states, and the concepts that they were understood as.
    pub fn queries(&self) -> &Arc<Queries> {
        &self.shared.queries
    }

    /// The chosen model.
    pub fn model(&self) -> ModelChoice {
        self.shared.selection.lock().model.clone()
    }

    /// Chooses `model`. If audio plays, it is loaded in the background, and the processor switches to
    /// it without a click. The current model is loaded again, because its package may have changed.
    ///
    /// # Errors
    /// If the background thread cannot be started.
    pub fn set_model(&self, model: ModelChoice) -> io::Result<()> {
        let mut selection = self.shared.selection.lock();
        selection.model = model;
        let Some(activation) = &mut selection.activation else { return Ok(()) };
        activation.is_outdated = true;
        let generation = self.shared.cancel_switch();
        let shared = self.shared.clone();
        self.shared.spawn_after_previous(move || shared.switch_model(generation))
    }

    /// Starts to load the chosen model and returns the audio side, which passes audio dry until then.
    ///
    /// Waits until the engines of [stopped](Self::stop) processors are dropped: a host that activates
    /// repeatedly never holds the threads and memory of more than one activation. Of several processors
    /// only the newest separates; the others pass audio dry.
    pub fn start(&self, config: Config) -> Processor {
        self.shut_down();
        // The lock is held while the engine opens, so that two threads cannot start at once.
        let mut selection = self.shared.selection.lock();
        let engine = self.shared.open_engine(&selection.model, config);
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
        // If the thread cannot be started, the processor is dropped with its closure, here.
        let _ = self.shared.spawn_after_previous(move || drop(processor));
    }

    /// Ends the activation, and waits until stopped processors are dropped and no background thread runs.
    ///
    /// A processor that is not stopped continues with its engine.
    pub fn shut_down(&self) {
        self.shared.selection.lock().activation = None;
        self.shared.engine_opened.notify_all();
        self.shared.cancel_switch();
        let thread = self.shared.thread.lock().take();
        // A panic of that thread is a bug there and must not end this thread.
        thread.map(JoinHandle::join);
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

impl Shared {
    fn open_engine(&self, model: &ModelChoice, config: Config) -> Engine {
        Engine::open((self.open_source)(model, &self.queries), config, self.queries.clone())
    }

    /// Opens an engine for the chosen model, passes it to the processor when it is loaded, and drops the
    /// engine that it replaces. From its opening on, the running engine has no embeddings and passes
    /// audio dry.
    ///
    /// Ends early if another engine has been requested since `generation`.
    fn switch_model(&self, generation: u64) {
        let (model, config, handover) = {
            let selection = self.selection.lock();
            let Some(activation) = selection.activation.as_ref().filter(|_| self.is_current(generation))
            else {
                return;
            };
            (selection.model.clone(), activation.config, activation.handover.clone())
        };
        // No other engine is opened meanwhile: `start` and the next switch wait for this thread.
        let engine = self.open_engine(&model, config);
        let status = engine.status().clone();
        match &mut self.selection.lock().activation {
            Some(activation) if self.is_current(generation) => {
                activation.newest = MonitoredEngine::new(&engine, model.to_string());
                activation.is_outdated = false;
                self.engine_opened.notify_all();
            }
            _ => return,
        }
        while status.wait_while_loading(Instant::now() + POLL_INTERVAL) == Readiness::Loading {
            if !self.is_current(generation) {
                return;
            }
        }
        handover.offer(engine);
        while self.is_current(generation) && !handover.finish() {
            thread::park_timeout(POLL_INTERVAL);
        }
    }

    /// Ends the activation to which `handover` belongs, unless it has ended.
    fn end_activation(&self, handover: &Arc<Handover>) {
        let mut selection = self.selection.lock();
        let is_own = |activation: &mut Activation| Arc::ptr_eq(&activation.handover, handover);
        if selection.activation.take_if(is_own).is_some() {
            self.engine_opened.notify_all();
            self.cancel_switch();
        }
    }

    /// Starts a thread that runs `work` after the previous thread has ended.
    fn spawn_after_previous(&self, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
        let mut thread = self.thread.lock();
        let previous = thread.take();
        let body = move || {
            previous.map(JoinHandle::join);
            work();
        };
        *thread = Some(thread::Builder::new().name("sift model".into()).spawn(body)?);
        Ok(())
    }

    /// Makes the thread that switches the model end, if there is one. Returns the new generation.
    fn cancel_switch(&self) -> u64 {
        let generation = self.generation.fetch_add(1, Ordering::AcqRel) + 1;
        if let Some(thread) = &*self.thread.lock() {
            thread.thread().unpark();
        }
        generation
    }

    fn is_current(&self, generation: u64) -> bool {
        self.generation.load(Ordering::Acquire) == generation
    }
}
