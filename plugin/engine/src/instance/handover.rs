//! Queues by which a processor takes a newer engine and gives the replaced one back.

use std::thread::{self, Thread};

use crossbeam_queue::ArrayQueue;

use crate::engine::Engine;

/// An engine with the thread that built it.
pub struct BuiltEngine {
    pub engine: Engine,
    /// Waits to drop the engine that this one replaces.
    builder: Thread,
}

impl BuiltEngine {
    /// Records the calling thread as the one that built `engine`.
    pub fn new(engine: Engine) -> Self {
        Self { engine, builder: thread::current() }
    }
}

/// Exchange of engines between a processor and the thread that builds the next one.
pub struct Handover {
    arriving: ArrayQueue<BuiltEngine>,
    leaving: ArrayQueue<BuiltEngine>,
}

impl Default for Handover {
    fn default() -> Self {
        Self { arriving: ArrayQueue::new(1), leaving: ArrayQueue::new(1) }
    }
}

impl Handover {
    /// Offers a loaded engine of the calling thread to the processor, instead of an earlier one.
    pub fn offer(&self, engine: Engine) {
        drop(self.leaving.pop());
        drop(self.arriving.force_push(BuiltEngine::new(engine)));
    }

    /// Drops the engine that the processor has replaced; returns whether the newest engine runs.
    pub fn finish(&self) -> bool {
        // The processor may have held an older pending engine, whose predecessor comes back first.
        self.leaving.pop().is_some() && self.arriving.is_empty()
    }

    /// Takes the next engine, if there is one. Real-time safe.
    pub fn take(&self) -> Option<BuiltEngine> {
        // The engine that it replaces needs a free place in `leaving`.
        if self.leaving.is_full() { None } else { self.arriving.pop() }
    }
    /// Gives `replaced` back, in whose place `running` now plays. Real-time safe.
    pub fn replace(&self, replaced: BuiltEngine, running: &BuiltEngine) {
        let _ = self.leaving.push(replaced);
        running.builder.unpark();
    }
}
