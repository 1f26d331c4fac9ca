//! One model after another while audio plays: the next engine is made and warmed away from the
//! audio thread, which takes it over when it is ready.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam_queue::ArrayQueue;
use parking_lot::{Mutex, RwLock};
use sift_engine::{Config, Engine, Queries, Readiness, package};

use crate::live::Live;

/// How often the thread that makes an engine looks whether it is ready, or back.
const NAP: Duration = Duration::from_millis(10);

/// Which model the plugin runs on. Shared between host state, the window, and the plugin, whose
/// audio thread only [takes](Self::arrived) and [gives back](Self::give_back) engines.
#[derive(Clone)]
pub struct Succession(Arc<Shared>);

struct Shared {
    queries: Arc<Queries>,
    live: Live,
    /// The name of the model package.
    model: RwLock<String>,
    /// While the plugin is active.
    config: Mutex<Option<Config>>,
    /// Grows with every engine that is asked for: a thread that makes an older one stops.
    turn: AtomicU64,
    thread: Mutex<Option<JoinHandle<()>>>,
    arriving: ArrayQueue<Engine>,
    leaving: ArrayQueue<Engine>,
}

impl Succession {
    pub fn new(queries: Arc<Queries>, live: Live) -> Self {
        Self(Arc::new(Shared {
            queries,
            live,
            model: RwLock::new(package::DEFAULT.to_owned()),
            config: Mutex::new(None),
            turn: AtomicU64::new(0),
            thread: Mutex::new(None),
            arriving: ArrayQueue::new(1),
            leaving: ArrayQueue::new(1),
        }))
    }

    /// The name of the model package.
    pub fn model(&self) -> String {
        self.0.model.read().clone()
    }

    pub fn live(&self) -> &Live {
        &self.0.live
    }

    /// Makes `model` the one to run on. An active plugin goes over to it while audio plays, also when
    /// it is the one already: its package may have changed.
    ///
    /// # Errors
    /// When the thread that would load it could not be started.
    pub fn set_model(&self, model: &str) -> io::Result<()> {
        model.clone_into(&mut self.0.model.write());
        let config = self.0.config.lock();
        let Some(config) = *config else { return Ok(()) };
        let turn = self.0.next_turn();
        let mut thread = self.0.thread.lock();
        let (shared, before) = (self.0.clone(), thread.take());
        let body = move || {
            before.map(JoinHandle::join);
            shared.make(config, turn);
        };
        *thread = Some(thread::Builder::new().name("sift model".into()).spawn(body)?);
        Ok(())
    }

    /// The engine that an activated plugin begins with.
    pub fn begin(&self, config: Config) -> Engine {
        let model = self.model();
        let engine = Engine::open(&model, config, self.0.queries.clone());
        self.0.live.begin(&engine, model);
        *self.0.config.lock() = Some(config);
        engine
    }

    /// The plugin is active no more; waits for the thread that makes an engine.
    pub fn end(&self) {
        *self.0.config.lock() = None;
        self.0.next_turn();
        if let Some(thread) = self.0.thread.lock().take() {
            // A panic there was a bug; this thread must not follow it.
            let _ = thread.join();
        }
        self.0.live.end();
        while self.0.arriving.pop().is_some() || self.0.leaving.pop().is_some() {}
    }

    /// The next engine, ready to go. For the audio thread.
    pub fn arrived(&self) -> Option<Engine> {
        // There is to be room for the one that it follows.
        if self.0.leaving.is_full() { None } else { self.0.arriving.pop() }
    }

    /// Has an engine dropped away from the audio thread, which calls this.
    pub fn give_back(&self, old: Engine) {
        let _ = self.0.leaving.push(old);
    }
}

impl Shared {
    fn next_turn(&self) -> u64 {
        self.turn.fetch_add(1, Ordering::AcqRel) + 1
    }

    fn is_turn(&self, turn: u64) -> bool {
        self.turn.load(Ordering::Acquire) == turn
    }

    /// Makes the next engine, hands it over, and drops the one that comes back for it. From the
    /// moment it is opened, the one that runs finds no embeddings and passes the sound unchanged.
    fn make(&self, config: Config, turn: u64) {
        if !self.is_turn(turn) {
            return;
        }
        let model = self.model.read().clone();
        let engine = Engine::open(&model, config, self.queries.clone());
        self.live.begin(&engine, model);
        while engine.status().readiness() == Readiness::Loading {
            if !self.is_turn(turn) {
                return;
            }
            thread::sleep(NAP);
        }
        drop(self.leaving.pop());
        drop(self.arriving.force_push(engine));
        // Another one may have been on its way, and comes back first.
        while self.is_turn(turn) && !(self.leaving.pop().is_some() && self.arriving.is_empty()) {
            thread::sleep(NAP);
        }
    }
}
