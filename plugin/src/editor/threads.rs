//! The threads of editors, which may still run for a moment after the editor is closed.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Longest wait for editor threads. Releasing the graphics takes some milliseconds.
const EDITOR_TIMEOUT: Duration = Duration::from_secs(2);
/// Longest further wait for the threads that they started. Those of a graphics driver may not end.
const CHILD_TIMEOUT: Duration = Duration::from_millis(200);
const POLL_INTERVAL: Duration = Duration::from_millis(1);

/// The threads on which the editors of one plugin instance were drawn.
///
/// baseview 0.4.2 does not wait for a thread that ends while the window is being closed, and x11-clipboard 0.9.3 never
/// waits for its own. They would run on in a library that the host has unloaded, or in a process that is exiting.
#[derive(Clone, Default)]
pub struct EditorThreads(Arc<Mutex<Vec<EditorThread>>>);

/// A thread, by its path in `/proc`.
#[derive(PartialEq)]
struct EditorThread(PathBuf);

impl EditorThread {
    /// The calling thread; `None` on systems other than Linux.
    fn current() -> Option<Self> {
        Some(Self(Path::new("/proc").join(fs::read_link("/proc/thread-self").ok()?)))
    }

    /// A name unique to this thread. Threads that it starts inherit the name.
    fn name(&self) -> String {
        // Linux cuts names at 15 bytes.
        format!("sift w{}", self.0.file_name().unwrap_or_default().to_string_lossy())
    }

    fn is_running(&self) -> bool {
        self.0.exists()
    }
}

impl EditorThreads {
    /// Records and names the calling thread. Does nothing on systems other than Linux, where an editor has no thread
    /// of its own.
    pub fn enter(&self) {
        let Some(thread) = EditorThread::current() else { return };
        // If the name cannot be set, only the threads that this one starts are not waited for.
        let _ = fs::write(thread.0.join("comm"), thread.name());
        let running = names();
        let mut threads = self.0.lock();
        threads.retain(|thread| running.contains(&thread.name()));
        threads.push(thread);
    }

    /// Waits until all recorded threads and those that they started have ended, for at most about two seconds.
    pub fn wait_until_ended(&self) {
        // The editor's thread may be the last owner of the plugin, and must not wait for itself.
        let own = EditorThread::current();
        let mut threads = std::mem::take(&mut *self.0.lock());
        threads.retain(|thread| Some(thread) != own.as_ref());
        wait_while(EDITOR_TIMEOUT, || threads.iter().any(EditorThread::is_running));
        wait_while(CHILD_TIMEOUT, || {
            let running = names();
            threads.iter().any(|thread| running.contains(&thread.name()))
        });
    }
}

fn wait_while(timeout: Duration, condition: impl Fn() -> bool) {
    let end = Instant::now() + timeout;
    while condition() && Instant::now() < end {
        std::thread::sleep(POLL_INTERVAL);
    }
}

/// Names of this process's threads.
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
    fn wait_until_ended_waits_for_recorded_threads() {
        let threads = EditorThreads::default();
        let (entered, wait) = mpsc::channel();
        let thread = {
            let threads = threads.clone();
            std::thread::spawn(move || {
                threads.enter();
                entered.send(EditorThread::current().unwrap()).unwrap();
                std::thread::sleep(Duration::from_millis(100));
            })
        };
        let running = wait.recv().unwrap();
        assert!(running.is_running());
        threads.wait_until_ended();
        assert!(!running.is_running());
        thread.join().unwrap();
    }

    #[test]
    fn wait_until_ended_waits_for_child_threads() {
        let threads = EditorThreads::default();
        let thread = {
            let threads = threads.clone();
            std::thread::spawn(move || {
                threads.enter();
                let (started, wait) = mpsc::channel();
                std::thread::spawn(move || {
                    started.send(EditorThread::current().unwrap()).unwrap();
                    std::thread::sleep(CHILD_TIMEOUT / 2);
                });
                wait.recv().unwrap()
            })
        };
        let further = thread.join().unwrap();
        assert!(further.is_running());
        threads.wait_until_ended();
        assert!(!further.is_running());
    }

    #[test]
    fn wait_until_ended_does_not_wait_for_the_caller() {
        let threads = EditorThreads::default();
        threads.enter();
        let begin = Instant::now();
        threads.wait_until_ended();
        assert!(begin.elapsed() < EDITOR_TIMEOUT);
    }

    #[test]
    fn wait_until_ended_times_out() {
        let threads = EditorThreads::default();
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
        threads.wait_until_ended();
        assert!(begin.elapsed() >= EDITOR_TIMEOUT);
        drop(end);
        thread.join().unwrap();
    }
}
