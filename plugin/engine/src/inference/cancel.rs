//! Cancellation of runs and loads of ONNX Runtime: by another thread, or after a timeout.

use std::sync::{Arc, Weak};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{RecvTimeoutError, bounded};
use ort::session::RunOptions;
use ort::session::builder::{LoadCanceler, SessionBuilder};
use parking_lot::Mutex;

/// Longest time to load a network and run it once, or to encode a query.
///
/// An offline render also waits at most this long for a mask.
pub const NETWORK_TIMEOUT: Duration = Duration::from_secs(30);

/// Longest wait for the end of a thread whose token is cancelled.
const JOIN_TIMEOUT: Duration = Duration::from_secs(1);

/// The error of work whose token was cancelled by its owner.
pub const CANCELLED: &str = "the network was stopped";

/// Cancels the runs and the load of one owner. Clones share their state.
#[derive(Clone)]
pub struct CancelToken {
    state: Arc<Mutex<State>>,
    /// Longest time of one piece of work ([`with_timeout`]).
    timeout: Duration,
}

#[derive(Default)]
struct State {
    cancelled: bool,
    run_options: Option<Arc<RunOptions>>,
    loading: Option<LoadCanceler>,
    children: Vec<Weak<Mutex<State>>>,
}

impl Default for CancelToken {
    /// A token whose work ends within [`NETWORK_TIMEOUT`].
    fn default() -> Self {
        Self::new(NETWORK_TIMEOUT)
    }
}

impl CancelToken {
    /// Creates a token whose pieces of work end within `timeout` each.
    pub fn new(timeout: Duration) -> Self {
        Self { state: Arc::default(), timeout }
    }

    /// Creates a token that is cancelled together with this one, of the same timeout.
    pub fn child(&self) -> Self {
        let child = Self::new(self.timeout);
        let mut state = self.state.lock();
        state.children.retain(|child| child.strong_count() > 0);
        state.children.push(Arc::downgrade(&child.state));
        if state.cancelled {
            child.cancel();
        }
        child
    }

    /// Cancels all runs and the load, after their current operator, and all later ones.
    pub fn cancel(&self) {
        let mut state = self.state.lock();
        state.cancelled = true;
        if let Some(run_options) = &state.run_options {
            let _ = run_options.terminate();
        }
        if let Some(loading) = &state.loading {
            let _ = loading.cancel();
        }
        for child in state.children.iter().filter_map(Weak::upgrade) {
            Self { state: child, timeout: self.timeout }.cancel();
        }
    }

    /// The error of work that did not end within the timeout.
    fn too_late(&self) -> String {
        format!("the network did not end within {} s", self.timeout.as_secs_f32())
    }

    /// Returns whether [`cancel`](Self::cancel) was called on this token or a parent.
    pub fn is_cancelled(&self) -> bool {
        self.state.lock().cancelled
    }

    /// Returns the options of runs that this token cancels. ONNX Runtime must be loaded.
    pub fn run_options(&self) -> ort::Result<Arc<RunOptions>> {
        let mut state = self.state.lock();
        let run_options = match &state.run_options {
            Some(run_options) => run_options.clone(),
            None => state.run_options.insert(Arc::new(RunOptions::new()?)).clone(),
        };
        if state.cancelled {
            run_options.terminate()?;
        }
        Ok(run_options)
    }

    /// Makes this token cancel the load of `builder`, in place of an earlier load.
    pub fn watch_load(&self, builder: &SessionBuilder) -> ort::Result<()> {
        let mut state = self.state.lock();
        let canceler = builder.canceler();
        if state.cancelled {
            canceler.cancel()?;
        }
        state.loading = Some(canceler);
        Ok(())
    }
}

/// Returns the result of `work`, which gets a child of `token`. The child is cancelled after the timeout of `token`.
///
/// `token` itself stays valid: later work gets its own time.
///
/// # Errors
/// If `work` does not end in time, or [`CANCELLED`] if `token` is cancelled before or during `work`.
pub fn with_timeout<T>(token: &CancelToken, work: impl FnOnce(&CancelToken) -> T) -> Result<T, String> {
    if token.is_cancelled() {
        return Err(CANCELLED.into());
    }
    let attempt = token.child();
    let result = cancel_when_late(&attempt, || work(&attempt));
    if token.is_cancelled() {
        return Err(CANCELLED.into());
    }
    if attempt.is_cancelled() {
        return Err(attempt.too_late());
    }
    result
}

/// Returns the result of `work`, which runs networks of `token`. Cancels `token` if it does not end within its timeout: all
/// later work fails, too.
///
/// # Errors
/// The errors of `work`, or if it does not end in time.
pub fn run_within_timeout<T>(
    token: &CancelToken,
    work: impl FnOnce() -> Result<T, String>,
) -> Result<T, String> {
    if token.is_cancelled() {
        return Err(CANCELLED.into());
    }
    let result = cancel_when_late(token, work);
    if token.is_cancelled() {
        return Err(token.too_late());
    }
    result.flatten()
}

/// Returns the result of `work`, and cancels `token` after its timeout.
fn cancel_when_late<T>(token: &CancelToken, work: impl FnOnce() -> T) -> Result<T, String> {
    thread::scope(|scope| {
        let (done, finished) = bounded::<()>(0);
        let watch = move || {
            if finished.recv_timeout(token.timeout) == Err(RecvTimeoutError::Timeout) {
                token.cancel();
            }
        };
        thread::Builder::new()
            .name("sift watch".into())
            .spawn_scoped(scope, watch)
            .map_err(|error| format!("the network cannot be watched: {error}"))?;
        let result = work();
        drop(done);
        Ok(result)
    })
}

/// Joins `thread`, whose token is cancelled, or leaves it running after [`JOIN_TIMEOUT`].
///
/// A thread ends only after its current operator, which may take long; the host must not wait for it. Its code [stays
/// loaded](crate::inference::library).
pub fn join_with_timeout(thread: JoinHandle<()>) {
    join_within(JOIN_TIMEOUT, thread);
}

fn join_within(timeout: Duration, thread: JoinHandle<()>) {
    let deadline = Instant::now() + timeout;
    while !thread.is_finished() {
        if Instant::now() > deadline {
            return;
        }
        thread::sleep(Duration::from_millis(1));
    }
    // A panic of that thread must not end this one.
    let _ = thread.join();
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Waits until `token` is cancelled.
    fn until_cancelled(token: &CancelToken) {
        while !token.is_cancelled() {
            thread::sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn late_work_cancels_the_token_of_its_networks() {
        let token = CancelToken::new(Duration::from_millis(20));
        assert_eq!(run_within_timeout(&token, || Ok(3)), Ok(3));
        assert_eq!(run_within_timeout(&token, || Err::<(), _>("broken".into())), Err("broken".into()));
        let wait = || {
            until_cancelled(&token);
            Err::<(), _>("stopped".into())
        };
        assert_eq!(run_within_timeout(&token, wait), Err("the network did not end within 0.02 s".into()));
        assert_eq!(run_within_timeout(&token, || Ok(3)), Err(CANCELLED.into()));
    }

    #[test]
    fn work_within_the_timeout_returns_its_result() {
        let token = CancelToken::default();
        assert_eq!(with_timeout(&token, |_| 3), Ok(3));
        assert!(!token.is_cancelled());
    }

    #[test]
    fn work_does_not_start_after_cancellation() {
        let token = CancelToken::default();
        token.cancel();
        let message = with_timeout(&token, |_| unreachable!("started after cancellation")).unwrap_err();
        assert_eq!(message, CANCELLED);
    }

    #[test]
    fn work_after_a_timeout_gets_its_own_time() {
        let token = CancelToken::new(Duration::from_millis(50));
        for _ in 0..2 {
            let start = Instant::now();
            let message = with_timeout(&token, until_cancelled).unwrap_err();
            assert_eq!(message, "the network did not end within 0.05 s");
            assert!(start.elapsed() >= Duration::from_millis(50));
            assert_eq!(with_timeout(&token, |_| 3), Ok(3));
        }
    }

    #[test]
    fn work_is_cancelled_with_its_owner() {
        let token = CancelToken::default();
        thread::scope(|scope| {
            let outcome = scope.spawn(|| with_timeout(&token, until_cancelled));
            token.cancel();
            assert_eq!(outcome.join().unwrap(), Err(CANCELLED.into()));
        });
    }

    #[test]
    fn cancel_reaches_children_but_not_the_parent() {
        let parent = CancelToken::default();
        let (first, second) = (parent.child(), parent.child());
        first.cancel();
        assert!(!parent.is_cancelled() && !second.is_cancelled());
        parent.cancel();
        assert!(second.is_cancelled() && parent.child().is_cancelled());
    }

    #[test]
    fn join_of_a_blocked_thread_ends_after_the_timeout() {
        const TIMEOUT: Duration = Duration::from_millis(50);
        let (unblock, blocked) = bounded::<()>(0);
        let thread = thread::spawn(move || blocked.recv().unwrap_or_default());
        let start = Instant::now();
        join_within(TIMEOUT, thread);
        assert!((TIMEOUT..JOIN_TIMEOUT).contains(&start.elapsed()), "{:?}", start.elapsed());
        drop(unblock);
    }
}
