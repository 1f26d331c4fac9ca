//! The window's thread, which may run on for a while after the window has been closed.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// How long the end of a thread is waited for. One takes some milliseconds to let go of its graphics.
const PATIENCE: Duration = Duration::from_secs(2);
const LOOK: Duration = Duration::from_millis(1);

/// The threads that windows of one plugin were drawn on.
///
/// baseview 0.4.2 does not wait for one that ends just while the window is being closed. It would go on in a library
/// that the host has unloaded, or in a process that is ending.
#[derive(Clone, Default)]
pub struct WindowThreads(Arc<Mutex<Vec<PathBuf>>>);

impl WindowThreads {
    /// Notes the calling thread. Does nothing where the system does not list threads as files (not Linux).
    pub fn enter(&self) {
        let mut threads = self.0.lock();
        threads.retain(|thread| thread.exists());
        threads.extend(this_thread());
    }

    /// Waits until all of them have ended, or for two seconds.
    pub fn wait_for_end(&self) {
        let end = Instant::now() + PATIENCE;
        // The last one that lets go of a plugin may be its window.
        let own = this_thread();
        let runs = |thread: &PathBuf| thread.exists() && Some(thread) != own.as_ref();
        while self.0.lock().iter().any(runs) && Instant::now() < end {
            std::thread::sleep(LOOK);
        }
    }
}

fn this_thread() -> Option<PathBuf> {
    Some(Path::new("/proc").join(std::fs::read_link("/proc/thread-self").ok()?))
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn a_thread_that_entered_is_waited_for() {
        let threads = WindowThreads::default();
        let (entered, wait) = mpsc::channel();
        let thread = {
            let threads = threads.clone();
            std::thread::spawn(move || {
                threads.enter();
                entered.send(this_thread().unwrap()).unwrap();
                std::thread::sleep(Duration::from_millis(100));
            })
        };
        let running = wait.recv().unwrap();
        assert!(running.exists());
        threads.wait_for_end();
        assert!(!running.exists());
        thread.join().unwrap();
    }

    #[test]
    fn a_thread_does_not_wait_for_itself() {
        let threads = WindowThreads::default();
        threads.enter();
        let begin = Instant::now();
        threads.wait_for_end();
        assert!(begin.elapsed() < PATIENCE);
    }

    #[test]
    fn one_that_stays_is_given_up_after_a_while() {
        let threads = WindowThreads::default();
        let (end, wait) = mpsc::channel::<()>();
        let (entered, has_entered) = mpsc::channel();
        let thread = {
            let threads = threads.clone();
            std::thread::spawn(move || {
                threads.enter();
                entered.send(()).unwrap();
                let _ = wait.recv();
            })
        };
        has_entered.recv().unwrap();
        let begin = Instant::now();
        threads.wait_for_end();
        assert!(begin.elapsed() >= PATIENCE);
        drop(end);
        thread.join().unwrap();
    }
}
