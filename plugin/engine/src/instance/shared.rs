//! State of an instance that its processors and background threads share, and the switching of models.

use std::io;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use crate::engine::Engine;
use crate::engine::block::Config;
use crate::instance::handover::Handover;
use crate::instance::snapshot::MonitoredEngine;
use crate::model_service::ModelSource;
use crate::package::search::ModelChoice;
use crate::query::slots::Queries;
use crate::realtime::status::Readiness;

/// Longest time until a thread that loads a model notices that the model is no longer wanted.
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// State that an instance shares with its processors and background threads.
pub struct Shared {
    pub queries: Arc<Queries>,
    open_source: OpenSource,
    pub selection: Mutex<Selection>,
    /// Notified when an engine with the chosen model is opened.
    pub engine_opened: Condvar,
    /// Held while an engine is opened, so that the newest one connects to the queries last.
    pub opening: Mutex<()>,
    /// Stopped processors that are not dropped yet.
    stopping: Arc<AtomicUsize>,
    /// Grows with every engine requested: a thread that builds an older one stops.
    generation: AtomicU64,
    /// The newest thread that builds or drops engines. Each thread joins the one before it first.
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// Function that begins to load a model and to encode queries by it; replaced by fakes in tests.
pub type OpenSource = Box<dyn Fn(&ModelChoice, &Arc<Queries>) -> ModelSource + Send + Sync>;

/// Counts a stopped processor until it is dropped.
struct StoppingGuard(Arc<AtomicUsize>);

impl Drop for StoppingGuard {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

/// The chosen model, and what runs it.
pub struct Selection {
    pub model: ModelChoice,
    /// Size in samples of the largest block for which the latency is set, if the host's is larger.
    pub block_limit: Option<usize>,
    /// `Some` while there is a processor.
    pub activation: Option<Activation>,
}

/// The newest processor of an instance and its newest engine.
pub struct Activation {
    pub config: Config,
    pub handover: Arc<Handover>,
    pub newest: MonitoredEngine,
    /// Whether the chosen model is newer than the newest engine.
    pub is_outdated: bool,
}

impl Shared {
    pub fn new(model: ModelChoice, open_source: OpenSource) -> Self {
        Self {
            queries: Arc::default(),
            open_source,
            selection: Mutex::new(Selection { model, block_limit: None, activation: None }),
            engine_opened: Condvar::new(),
            opening: Mutex::new(()),
            stopping: Arc::default(),
            generation: AtomicU64::new(0),
            thread: Mutex::new(None),
        }
    }

    /// Opens an engine of `model` with the latency for blocks of up to `block_limit`.
    pub fn open_engine(&self, model: &ModelChoice, block_limit: Option<usize>, config: Config) -> Engine {
        let source = (self.open_source)(model, &self.queries);
        Engine::open(source, config, block_limit, self.queries.clone())
    }

    /// Opens an engine for the chosen model, passes it to the processor when it is loaded, and drops the
    /// engine that it replaces. From its opening on, the running engine has no embeddings and passes
    /// audio dry.
    ///
    /// Ends early if another engine has been requested since `generation`. After a panic, the newest engine has failed.
    pub fn switch_model(&self, generation: u64) {
        if panic::catch_unwind(AssertUnwindSafe(|| self.open_and_hand_over(generation))).is_ok() {
            return;
        }
        if let Some(activation) = &mut self.selection.lock().activation
            && self.is_current(generation)
        {
            let problem = "model: loading stopped with an internal error. Choose the model again";
            activation.newest.status().fail(problem.into());
            activation.is_outdated = false;
            self.engine_opened.notify_all();
        }
    }

    fn open_and_hand_over(&self, generation: u64) {
        let opening = self.opening.lock();
        let (model, block_limit, config, handover) = {
            let selection = self.selection.lock();
            let Some(activation) = selection.activation.as_ref().filter(|_| self.is_current(generation))
            else {
                return;
            };
            let activation = (activation.config, activation.handover.clone());
            (selection.model.clone(), selection.block_limit, activation.0, activation.1)
        };
        let engine = self.open_engine(&model, block_limit, config);
        let status = engine.status().clone();
        match &mut self.selection.lock().activation {
            Some(activation) if self.is_current(generation) => {
                activation.newest = MonitoredEngine::new(&engine, model.to_string());
                activation.is_outdated = false;
                self.engine_opened.notify_all();
            }
            _ => {
                // Before the engine, whose drop takes time.
                drop(opening);
                return;
            }
        }
        drop(opening);
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
    pub fn end_activation(&self, handover: &Arc<Handover>) {
        let mut selection = self.selection.lock();
        let is_own = |activation: &mut Activation| Arc::ptr_eq(&activation.handover, handover);
        if selection.activation.take_if(is_own).is_some() {
            self.engine_opened.notify_all();
            self.cancel_switch();
        }
    }

    /// Drops a stopped `processor` on a background thread.
    pub fn drop_in_background(&self, processor: impl Send + 'static) {
        self.stopping.fetch_add(1, Ordering::AcqRel);
        let guard = StoppingGuard(self.stopping.clone());
        // If the thread cannot be started, the processor is dropped with its closure, here.
        let _ = self.spawn_after_previous(move || {
            drop(processor);
            drop(guard);
        });
    }

    /// Number of stopped processors that are not dropped yet.
    pub fn stopping(&self) -> usize {
        self.stopping.load(Ordering::Acquire)
    }

    /// Starts a thread that runs `work` after the previous thread has ended.
    pub fn spawn_after_previous(&self, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
        let mut thread = self.thread.lock();
        let previous = thread.take();
        let body = move || {
            previous.map(JoinHandle::join);
            work();
        };
        *thread = Some(thread::Builder::new().name("sift model".into()).spawn(body)?);
        Ok(())
    }

    /// Waits until no background thread runs.
    pub fn join_thread(&self) {
        let thread = self.thread.lock().take();
        // A panic of that thread is a bug there and must not end this thread.
        thread.map(JoinHandle::join);
    }

    /// Makes the thread that switches the model end, if there is one. Returns the new generation.
    pub fn cancel_switch(&self) -> u64 {
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
