//! The window's thread, and those that it starts, which may run on for a while after the window has been closed.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// How long the end of a window's thread is waited for. One takes some milliseconds to let go of its graphics.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long then that of threads which it started. A graphics driver may have some that stay.
const FURTHER_PATIENCE: Duration = Duration::from_millis(200);
const LOOK: Duration = Duration::from_millis(1);

/// The threads that windows of one plugin were drawn on.
///
/// baseview 0.4.2 does not wait for one that ends just while the window is being closed, and x11-clipboard 0.9.3 never
/// for its own. They would go on in a library that the host has unloaded, or in a process that is ending.
#[derive(Clone, Default)]
pub struct WindowThreads(Arc<Mutex<Vec<WindowThread>>>);

/// By its path in the file system that Linux lists threads in.
#[derive(PartialEq)]
struct WindowThread(PathBuf);

impl WindowThread {
    /// None where the system does not list threads as files (not Linux).
    fn current() -> Option<Self> {
        Some(Self(Path::new("/proc").join(fs::read_link("/proc/thread-self").ok()?)))
    }

    /// Its own, and no other window's. Threads that it starts inherit it.
    fn name(&self) -> String {
        // Linux cuts names at 15 bytes.
        format!("sift w{}", self.0.file_name().unwrap_or_default().to_string_lossy())
    }

    fn runs(&self) -> bool {
        self.0.exists()
    }
}

impl WindowThreads {
    /// Notes the calling thread, and names it. Does nothing where the system does not list threads as files (not Linux),
    /// for there a window has no thread of its own.
    pub fn enter(&self) {
        let Some(thread) = WindowThread::current() else { return };
        // Without the name, what the thread starts is not waited for.
        let _ = fs::write(thread.0.join("comm"), thread.name());
        let running = names();
        let mut threads = self.0.lock();
        threads.retain(|thread| running.contains(&thread.name()));
        threads.push(thread);
    }

    /// Waits until all of them have ended, and what they started, or for some two seconds.
    pub fn wait_for_end(&self) {
        // The last one that lets go of a plugin may be its window.
        let own = WindowThread::current();
        let mut threads = std::mem::take(&mut *self.0.lock());
        threads.retain(|thread| Some(thread) != own.as_ref());
        wait_while(PATIENCE, || threads.iter().any(WindowThread::runs));
        wait_while(FURTHER_PATIENCE, || {
            let running = names();
            threads.iter().any(|thread| running.contains(&thread.name()))
        });
    }
}

fn wait_while(patience: Duration, condition: impl Fn() -> bool) {
    let end = Instant::now() + patience;
    while condition() && Instant::now() < end {
        std::thread::sleep(LOOK);
    }
}

/// Of this process's threads.
fn names() -> Vec<String> {
    let threads = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let name = |thread: fs::DirEntry| fs::read_to_string(thread.path().join("comm")).ok();
    threads.filter_map(name).map(|name| name.trim_end().to_owned()).collect()
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
                entered.send(WindowThread::current().unwrap()).unwrap();
                std::thread::sleep(Duration::from_millis(100));
            })
        };
        let running = wait.recv().unwrap();
        assert!(running.runs());
        threads.wait_for_end();
        assert!(!running.runs());
        thread.join().unwrap();
    }

    #[test]
    fn what_it_started_is_waited_for() {
        let threads = WindowThreads::default();
        let thread = {
            let threads = threads.clone();
            std::thread::spawn(move || {
                threads.enter();
                let (started, wait) = mpsc::channel();
                std::thread::spawn(move || {
                    started.send(WindowThread::current().unwrap()).unwrap();
                    std::thread::sleep(FURTHER_PATIENCE / 2);
                });
                wait.recv().unwrap()
            })
        };
        let further = thread.join().unwrap();
        assert!(further.runs());
        threads.wait_for_end();
        assert!(!further.runs());
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
