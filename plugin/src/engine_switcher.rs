//! Switches engines: builds the next one on a background thread, which also drops the one it replaces.
//!
//! The audio thread only [takes](EngineSwitcher::take_next) and [retires](EngineSwitcher::retire) engines.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam_queue::ArrayQueue;
use parking_lot::{Mutex, RwLock};
use sift_engine::{Config, Engine, Queries, Readiness, package};

use crate::engine_monitor::EngineMonitor;

/// Interval at which a background thread checks whether its engine is loaded, or replaced.
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// A handle to the plugin's engines and the name of their model, shared by plugin, persisted state and editor.
#[derive(Clone)]
pub struct EngineSwitcher(Arc<Shared>);

struct Shared {
    queries: Arc<Queries>,
    monitor: EngineMonitor,
    /// Name of the model package.
    model: RwLock<String>,
    /// `Some` while the plugin is active.
    config: Mutex<Option<Config>>,
    /// Grows with every engine requested: a thread that builds an older one stops.
    generation: AtomicU64,
    /// The newest thread that builds or drops engines. Each thread joins the one before it first.
    thread: Mutex<Option<JoinHandle<()>>>,
    /// The loaded engine that the audio thread takes next.
    arriving: ArrayQueue<Engine>,
    /// The replaced engine that the background thread drops.
    leaving: ArrayQueue<Engine>,
}

impl Default for EngineSwitcher {
    fn default() -> Self {
        Self(Arc::new(Shared {
            queries: Arc::default(),
            monitor: EngineMonitor::default(),
            model: RwLock::new(package::DEFAULT_PACKAGE.to_owned()),
            config: Mutex::new(None),
            generation: AtomicU64::new(0),
            thread: Mutex::new(None),
            arriving: ArrayQueue::new(1),
            leaving: ArrayQueue::new(1),
        }))
    }
}

impl EngineSwitcher {
    /// The queries that all engines encode.
    pub fn queries(&self) -> &Arc<Queries> {
        &self.0.queries
    }

    /// The name of the selected model package.
    pub fn model(&self) -> String {
        self.0.model.read().clone()
    }

    /// The editor's view of the newest engine.
    pub fn monitor(&self) -> &EngineMonitor {
        &self.0.monitor
    }

    /// Selects `model`. An active plugin loads it in the background and switches while audio plays. The
    /// current model is loaded again, because its package may have changed.
    ///
    /// # Errors
    /// If the background thread cannot be started.
    pub fn set_model(&self, model: &str) -> io::Result<()> {
        model.clone_into(&mut self.0.model.write());
        let config = self.0.config.lock();
        let Some(config) = *config else { return Ok(()) };
        let generation = self.0.next_generation();
        let shared = self.0.clone();
        self.0.spawn_after_previous(move || shared.build(config, generation))
    }

    /// Opens the first engine of an activation.
    ///
    /// Waits until the engines before it are dropped: a host that activates repeatedly never holds the
    /// threads and memory of more than one activation.
    pub fn activate(&self, config: Config) -> Engine {
        self.wait_until_retired();
        let mut active = self.0.config.lock();
        *active = Some(config);
        self.0.open(config)
    }

    /// Ends the activation and drops its `engines` on a background thread.
    ///
    /// Dropping takes as long as networks take to stop, and some hosts deactivate on their audio thread.
    pub fn deactivate(&self, engines: [Option<Engine>; 2]) {
        let mut active = self.0.config.lock();
        *active = None;
        self.0.next_generation();
        self.0.monitor.clear();
        if engines.iter().all(Option::is_none) {
            return;
        }
        let shared = self.0.clone();
        // If the thread cannot be started, the engines are dropped with its closure, here.
        let _ = self.0.spawn_after_previous(move || {
            drop(engines);
            while shared.arriving.pop().is_some() || shared.leaving.pop().is_some() {}
        });
    }

    /// Waits until all engines given to [`deactivate`](Self::deactivate) are dropped.
    pub fn wait_until_retired(&self) {
        let thread = self.0.thread.lock().take();
        // A panic of that thread is a bug there and must not end this thread.
        thread.map(JoinHandle::join);
    }

    /// Returns the next engine once it is loaded. Real-time safe.
    pub fn take_next(&self) -> Option<Engine> {
        // The engine that it replaces needs a free place in `leaving`.
        if self.0.leaving.is_full() { None } else { self.0.arriving.pop() }
    }

    /// Passes a replaced engine to the background thread, which drops it. Real-time safe.
    pub fn retire(&self, replaced: Engine) {
        let _ = self.0.leaving.push(replaced);
    }
}

impl Shared {
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

    /// Opens an engine with the selected model and monitors it. The caller holds the lock of `config`;
    /// otherwise an engine of an ended activation could become the monitored one.
    fn open(&self, config: Config) -> Engine {
        let model = self.model.read().clone();
        let engine = Engine::open(&model, config, self.queries.clone());
        self.monitor.watch(&engine, model);
        engine
    }

    fn next_generation(&self) -> u64 {
        self.generation.fetch_add(1, Ordering::AcqRel) + 1
    }

    fn is_current(&self, generation: u64) -> bool {
        self.generation.load(Ordering::Acquire) == generation
    }

    /// Builds the next engine, passes it to the audio thread, and drops the engine it replaces. From its
    /// opening on, the running engine has no embeddings and passes audio unchanged.
    fn build(&self, config: Config, generation: u64) {
        let engine = {
            let _active = self.config.lock();
            if !self.is_current(generation) {
                return;
            }
            self.open(config)
        };
        while engine.status().readiness() == Readiness::Loading {
            if !self.is_current(generation) {
                return;
            }
            thread::sleep(POLL_INTERVAL);
        }
        drop(self.leaving.pop());
        drop(self.arriving.force_push(engine));
        // The audio thread may have held an older pending engine, which then comes back first.
        while self.is_current(generation) && !(self.leaving.pop().is_some() && self.arriving.is_empty()) {
            thread::sleep(POLL_INTERVAL);
        }
    }
}
