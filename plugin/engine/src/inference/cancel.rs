//! Networks that do not end: stopped from another thread, or when their time is over.

use std::sync::{Arc, Weak};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{RecvTimeoutError, bounded};
use ort::session::RunOptions;
use ort::session::builder::{LoadCanceler, SessionBuilder};
use parking_lot::Mutex;

/// How long a network may take to be loaded and run once, and a query to be encoded. A separator that takes
/// this long for a run is not waited for even when a host renders.
pub const LIMIT: Duration = Duration::from_secs(30);

/// How long a thread is waited for that was told to stop.
const GRACE: Duration = Duration::from_secs(1);

/// Stops what ONNX Runtime does for its owner. A clone is the same one.
#[derive(Clone, Default)]
pub struct Stop(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    stopped: bool,
    runs: Option<Arc<RunOptions>>,
    loading: Option<LoadCanceler>,
    children: Vec<Weak<Mutex<State>>>,
}

impl Stop {
    /// Another one, which is stopped with this one.
    pub fn child(&self) -> Self {
        let child = Self::default();
        let mut state = self.0.lock();
        state.children.retain(|child| child.strong_count() > 0);
        state.children.push(Arc::downgrade(&child.0));
        if state.stopped {
            child.now();
        }
        child
    }

    /// What goes on ends after the operator that it has come to, and nothing begins any more.
    pub fn now(&self) {
        let mut state = self.0.lock();
        state.stopped = true;
        if let Some(runs) = &state.runs {
            let _ = runs.terminate();
        }
        if let Some(loading) = &state.loading {
            let _ = loading.cancel();
        }
        state.children.iter().filter_map(Weak::upgrade).for_each(|child| Self(child).now());
    }

    pub fn is_stopped(&self) -> bool {
        self.0.lock().stopped
    }

    /// What sessions are to be run with. ONNX Runtime must be loaded.
    pub fn runs(&self) -> ort::Result<Arc<RunOptions>> {
        let mut state = self.0.lock();
        let runs = match &state.runs {
            Some(runs) => runs.clone(),
            None => state.runs.insert(Arc::new(RunOptions::new()?)).clone(),
        };
        if state.stopped {
            runs.terminate()?;
        }
        Ok(runs)
    }

    /// The session that `builder` is about to load is stopped, too.
    pub fn loading(&self, builder: &SessionBuilder) -> ort::Result<()> {
        let mut state = self.0.lock();
        let canceler = builder.canceler();
        if state.stopped {
            canceler.cancel()?;
        }
        state.loading = Some(canceler);
        Ok(())
    }
}

/// What `work` gives, which is stopped by `stop` when [`LIMIT`] is over.
///
/// # Errors
/// When it was stopped, now or before.
pub fn within_limit<T>(stop: &Stop, work: impl FnOnce() -> T) -> Result<T, String> {
    let late = || format!("the network did not end within {} s", LIMIT.as_secs());
    if stop.is_stopped() {
        return Err(late());
    }
    let outcome = thread::scope(|scope| {
        let (done, over) = bounded::<()>(0);
        let watch = move || {
            if over.recv_timeout(LIMIT) == Err(RecvTimeoutError::Timeout) {
                stop.now();
            }
        };
        thread::Builder::new()
            .name("sift watch".into())
            .spawn_scoped(scope, watch)
            .map_err(|error| format!("the network cannot be watched: {error}"))?;
        let outcome = work();
        drop(done);
        Ok(outcome)
    });
    if stop.is_stopped() { Err(late()) } else { outcome }
}

/// Waits until `thread` has ended, which was told to. One that is in the middle of an operator that takes
/// long is left to itself: its host goes on, and the code that it runs [stays loaded](crate::inference::library).
pub fn join(thread: JoinHandle<()>) {
    let deadline = Instant::now() + GRACE;
    while !thread.is_finished() {
        if Instant::now() > deadline {
            return;
        }
        thread::sleep(Duration::from_millis(1));
    }
    // A panic there was a bug of that thread; this one must not follow it.
    let _ = thread.join();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_ends_in_time_gives_its_outcome() {
        let stop = Stop::default();
        assert_eq!(within_limit(&stop, || 3), Ok(3));
        assert!(!stop.is_stopped());
    }

    #[test]
    fn what_was_stopped_does_not_begin_again() {
        let stop = Stop::default();
        stop.now();
        let message = within_limit(&stop, || unreachable!("it does not begin")).unwrap_err();
        assert_eq!(message, "the network did not end within 30 s");
    }

    #[test]
    fn children_are_stopped_with_their_parent_and_not_the_other_way_round() {
        let parent = Stop::default();
        let (first, second) = (parent.child(), parent.child());
        first.now();
        assert!(!parent.is_stopped() && !second.is_stopped());
        parent.now();
        assert!(second.is_stopped() && parent.child().is_stopped());
    }

    #[test]
    fn a_thread_that_does_not_end_is_not_waited_for_without_end() {
        let (end, ended) = bounded::<()>(0);
        let thread = thread::spawn(move || ended.recv().unwrap_or_default());
        let begin = Instant::now();
        join(thread);
        assert!((GRACE..2 * GRACE).contains(&begin.elapsed()), "{:?}", begin.elapsed());
        drop(end);
    }
}
