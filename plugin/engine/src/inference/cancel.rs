//! Networks that do not end: cancelled from another thread, or when their time is over.

use std::sync::{Arc, Weak};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{RecvTimeoutError, bounded};
use ort::session::RunOptions;
use ort::session::builder::{LoadCanceler, SessionBuilder};
use parking_lot::Mutex;

/// How long a network may take to be loaded and run once, and a query to be encoded. A separator that takes
/// this long for a run is not waited for even when a host renders.
pub const NETWORK_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a thread is waited for that was told to token.
const JOIN_TIMEOUT: Duration = Duration::from_secs(1);

/// Stops what ONNX Runtime does for its owner. A clone is the same one.
#[derive(Clone, Default)]
pub struct CancelToken(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    cancelled: bool,
    run_options: Option<Arc<RunOptions>>,
    loading: Option<LoadCanceler>,
    children: Vec<Weak<Mutex<State>>>,
}

impl CancelToken {
    /// Another one, which is cancelled with this one.
    pub fn child(&self) -> Self {
        let child = Self::default();
        let mut state = self.0.lock();
        state.children.retain(|child| child.strong_count() > 0);
        state.children.push(Arc::downgrade(&child.0));
        if state.cancelled {
            child.cancel();
        }
        child
    }

    /// What goes on ends after the operator that it has come to, and nothing begins any more.
    pub fn cancel(&self) {
        let mut state = self.0.lock();
        state.cancelled = true;
        if let Some(run_options) = &state.run_options {
            let _ = run_options.terminate();
        }
        if let Some(loading) = &state.loading {
            let _ = loading.cancel();
        }
        state.children.iter().filter_map(Weak::upgrade).for_each(|child| Self(child).cancel());
    }

    pub fn is_cancelled(&self) -> bool {
        self.0.lock().cancelled
    }

    /// What sessions are to be run with. ONNX Runtime must be loaded.
    pub fn run_options(&self) -> ort::Result<Arc<RunOptions>> {
        let mut state = self.0.lock();
        let run_options = match &state.run_options {
            Some(run_options) => run_options.clone(),
            None => state.run_options.insert(Arc::new(RunOptions::new()?)).clone(),
        };
        if state.cancelled {
            run_options.terminate()?;
        }
        Ok(run_options)
    }

    /// The session that `builder` is about to load is cancelled, too.
    pub fn watch_load(&self, builder: &SessionBuilder) -> ort::Result<()> {
        let mut state = self.0.lock();
        let canceler = builder.canceler();
        if state.cancelled {
            canceler.cancel()?;
        }
        state.loading = Some(canceler);
        Ok(())
    }
}

/// What `work` gives, which is cancelled by `token` when [`NETWORK_TIMEOUT`] is over.
///
/// # Errors
/// When it was cancelled, now or before.
pub fn with_timeout<T>(token: &CancelToken, work: impl FnOnce() -> T) -> Result<T, String> {
    let late = || format!("the network did not end within {} s", NETWORK_TIMEOUT.as_secs());
    if token.is_cancelled() {
        return Err(late());
    }
    let outcome = thread::scope(|scope| {
        let (done, over) = bounded::<()>(0);
        let watch = move || {
            if over.recv_timeout(NETWORK_TIMEOUT) == Err(RecvTimeoutError::Timeout) {
                token.cancel();
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
    if token.is_cancelled() { Err(late()) } else { outcome }
}

/// Waits until `thread` has ended, which was told to. One that is in the middle of an operator that takes
/// long is left to itself: its host goes on, and the code that it run_options [stays loaded](crate::inference::library).
pub fn join_with_timeout(thread: JoinHandle<()>) {
    let deadline = Instant::now() + JOIN_TIMEOUT;
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
        let token = CancelToken::default();
        assert_eq!(with_timeout(&token, || 3), Ok(3));
        assert!(!token.is_cancelled());
    }

    #[test]
    fn what_was_stopped_does_not_begin_again() {
        let token = CancelToken::default();
        token.cancel();
        let message = with_timeout(&token, || unreachable!("it does not begin")).unwrap_err();
        assert_eq!(message, "the network did not end within 30 s");
    }

    #[test]
    fn children_are_stopped_with_their_parent_and_not_the_other_way_round() {
        let parent = CancelToken::default();
        let (first, second) = (parent.child(), parent.child());
        first.cancel();
        assert!(!parent.is_cancelled() && !second.is_cancelled());
        parent.cancel();
        assert!(second.is_cancelled() && parent.child().is_cancelled());
    }

    #[test]
    fn a_thread_that_does_not_end_is_not_waited_for_without_end() {
        let (end, ended) = bounded::<()>(0);
        let thread = thread::spawn(move || ended.recv().unwrap_or_default());
        let begin = Instant::now();
        join_with_timeout(thread);
        assert!((JOIN_TIMEOUT..2 * JOIN_TIMEOUT).contains(&begin.elapsed()), "{:?}", begin.elapsed());
        drop(end);
    }
}
