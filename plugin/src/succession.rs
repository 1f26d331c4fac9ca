//! One engine after another: the next one is made and warmed away from the audio thread, which takes it over when it is
//! ready, and what is over is dropped away from it, too.

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
    /// The newest thread that makes or drops engines. Each waits for the one before it.
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
        let shared = self.0.clone();
        self.0.go_on(move || shared.make(config, turn))
    }

    /// The engine that an activated plugin begins with, once the ones before it are dropped: hosts that activate again
    /// and again never have more than one plugin's threads and memory.
    pub fn begin(&self, config: Config) -> Engine {
        self.wait_for_end();
        let mut active = self.0.config.lock();
        *active = Some(config);
        self.0.open(config)
    }

    /// The plugin is active no more, and its `engines` are dropped on a thread of their own: that takes as long as
    /// networks take to stop and go, and some hosts deactivate on their audio thread.
    pub fn end(&self, engines: [Option<Engine>; 2]) {
        let mut active = self.0.config.lock();
        *active = None;
        self.0.next_turn();
        self.0.live.end();
        if engines.iter().all(Option::is_none) {
            return;
        }
        let shared = self.0.clone();
        // A thread that cannot be started drops them here and now.
        let _ = self.0.go_on(move || {
            drop(engines);
            while shared.arriving.pop().is_some() || shared.leaving.pop().is_some() {}
        });
    }

    /// Waits until all is dropped that [`end`](Self::end) was given.
    pub fn wait_for_end(&self) {
        let thread = self.0.thread.lock().take();
        // A panic there was a bug; this thread must not follow it.
        thread.map(JoinHandle::join);
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
    /// Starts a thread that does `work` after the one before it has ended.
    fn go_on(&self, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
        let mut thread = self.thread.lock();
        let before = thread.take();
        let body = move || {
            before.map(JoinHandle::join);
            work();
        };
        *thread = Some(thread::Builder::new().name("sift model".into()).spawn(body)?);
        Ok(())
    }

    /// Opens an engine on the model as it is named now, and shows it. For whoever holds `config`, or one that is wanted
    /// no more might be shown.
    fn open(&self, config: Config) -> Engine {
        let model = self.model.read().clone();
        let engine = Engine::open(&model, config, self.queries.clone());
        self.live.begin(&engine, model);
        engine
    }

    fn next_turn(&self) -> u64 {
        self.turn.fetch_add(1, Ordering::AcqRel) + 1
    }

    fn is_turn(&self, turn: u64) -> bool {
        self.turn.load(Ordering::Acquire) == turn
    }

    /// Makes the next engine, hands it over, and drops the one that comes back for it. From the
    /// moment it is opened, the one that runs finds no embeddings and passes the sound unchanged.
    fn make(&self, config: Config, turn: u64) {
        let engine = {
            let _active = self.config.lock();
            if !self.is_turn(turn) {
                return;
            }
            self.open(config)
        };
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
