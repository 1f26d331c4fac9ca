//! Real-time priority of the separator thread: below the audio thread, above everything else.
//!
//! On Linux it is requested of the system and not of rtkit: for that, `audio_thread_priority` limits the processor time of
//! the whole process to one hop at once, and the kernel ends hosts that do not expect it.

use std::time::Duration;

use audio_thread_priority::{
    RtPriorityHandle, demote_current_thread_from_real_time, promote_current_thread_to_real_time,
};

#[cfg(target_os = "linux")]
use crate::realtime::processor_time::{self, GuardedThread};

/// Guard that holds the calling thread at real-time priority until it is dropped.
pub struct RealtimePriority {
    handle: Option<RtPriorityHandle>,
    /// Keeps the thread below the limit of processor time, if the system sets one.
    #[cfg(target_os = "linux")]
    guarded: Option<GuardedThread>,
}

impl RealtimePriority {
    /// Raises the calling thread, whose work takes up to `samples` at `sample_rate` in hertz.
    ///
    /// If the system refuses, the priority is unchanged; the status then shows the effect as late
    /// masks. Not real-time safe.
    pub fn raise(samples: usize, sample_rate: f64) -> Self {
        let handle = promote_current_thread_to_real_time(samples as u32, sample_rate as u32).ok();
        if handle.is_some() {
            lower_by_one();
        }
        Self {
            handle,
            #[cfg(target_os = "linux")]
            guarded: None,
        }
    }

    /// Begins a run of a network, of unknown length.
    ///
    /// Gives up the priority if the system limits its processor time so that this thread cannot keep the limit. The limit
    /// may be set at any time, as by a host that connects to a sound server.
    pub fn begin_run(&mut self) {
        #[cfg(target_os = "linux")]
        {
            if self.handle.is_some()
                && self.guarded.is_none()
                && let Some(limit) = processor_time::limit()
            {
                self.guarded = GuardedThread::new(limit);
                if self.guarded.is_none() {
                    self.lower();
                }
            }
            if let Some(guarded) = &self.guarded {
                guarded.begin_run();
            }
        }
    }

    /// Ends the run. Returns false if it took so long that the thread lost the priority.
    pub fn end_run(&mut self) -> bool {
        #[cfg(target_os = "linux")]
        if let Some(guarded) = &mut self.guarded {
            guarded.end_run();
            return !guarded.is_lowered();
        }
        true
    }

    fn lower(&mut self) {
        if let Some(handle) = self.handle.take() {
            let _ = demote_current_thread_from_real_time(handle);
        }
    }
}

impl Drop for RealtimePriority {
    fn drop(&mut self) {
        self.lower();
    }
}

/// Real-time priority that threads of this process get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GrantedPriority {
    /// The system grants it, and limits how long a thread may compute without blocking.
    Granted { limit: Option<Duration> },
    /// The separator thread has the priority of usual threads.
    Refused,
}

impl GrantedPriority {
    /// Finds out which priority a separator thread gets now, on a thread that ends before this returns.
    pub fn find() -> Self {
        let raise = || RealtimePriority::raise(768, 48_000.0).handle.is_some();
        let is_granted = std::thread::scope(|scope| {
            let spawned = std::thread::Builder::new().spawn_scoped(scope, raise);
            spawned.is_ok_and(|thread| thread.join().unwrap_or(false))
        });
        if !is_granted {
            return Self::Refused;
        }
        #[cfg(target_os = "linux")]
        return Self::Granted { limit: processor_time::limit() };
        #[cfg(not(target_os = "linux"))]
        Self::Granted { limit: None }
    }
}

/// Lowers the calling thread to one below the priority that audio threads get in the same way.
///
/// At equal priority a thread runs until it waits, so that the audio thread would run after the
/// separators of all other instances.
fn lower_by_one() {
    #[cfg(target_os = "linux")]
    // SAFETY: both calls concern the calling thread (0), and access only `parameters`.
    unsafe {
        let mut parameters = std::mem::zeroed::<libc::sched_param>();
        if libc::sched_getparam(0, &mut parameters) == 0 && parameters.sched_priority > 1 {
            parameters.sched_priority -= 1;
            libc::sched_setparam(0, &parameters);
        }
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    /// Real-time priority of the calling thread, 0 if it has none.
    fn current_priority() -> i32 {
        // SAFETY: the call concerns the calling thread (0), and writes only `parameters`.
        unsafe {
            let mut parameters = std::mem::zeroed::<libc::sched_param>();
            assert_eq!(libc::sched_getparam(0, &mut parameters), 0);
            parameters.sched_priority
        }
    }

    #[test]
    #[ignore = "needs real-time priority: cargo xtask test runs it where the system grants that"]
    fn separator_with_realtime_priority_is_below_audio_thread() {
        let audio = std::thread::spawn(|| {
            let raised = promote_current_thread_to_real_time(512, 48_000);
            let priority = current_priority();
            raised.map(demote_current_thread_from_real_time).is_ok().then_some(priority)
        });
        let audio = audio.join().unwrap();
        let audio = audio.expect("the system grants real-time priority: raise the limit with `ulimit -r 95`");
        let raised = RealtimePriority::raise(768, 48_000.0);
        let separator = current_priority();
        assert!((1..audio).contains(&separator), "separator {separator}, audio thread {audio}");
        drop(raised);
        assert_eq!(current_priority(), 0);
    }

    /// Runs the ignored test `name` of this module in a subprocess with this limit, in microseconds.
    #[track_caller]
    fn assert_survives(name: &str, (soft, hard): (libc::rlim_t, libc::rlim_t)) {
        use std::os::unix::process::{CommandExt, ExitStatusExt};

        let mut command = std::process::Command::new(std::env::current_exe().unwrap());
        command.args([&format!("realtime::priority::tests::{name}"), "--exact", "--ignored", "--nocapture"]);
        command.env("SIFT_TEST_SUBPROCESS", name);
        // SAFETY: setrlimit is allowed between fork and exec.
        unsafe {
            command.pre_exec(move || {
                let limit = libc::rlimit { rlim_cur: soft, rlim_max: hard };
                match libc::setrlimit(libc::RLIMIT_RTTIME, &limit) {
                    0 => Ok(()),
                    _ => Err(std::io::Error::last_os_error()),
                }
            });
        }
        let output = command.output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success() && text.contains("1 passed"),
            "limits {soft} and {hard}: signal {:?}: {text}",
            output.status.signal()
        );
    }

    fn compute(time: Duration) {
        let start = std::time::Instant::now();
        while start.elapsed() < time {
            std::hint::spin_loop();
        }
    }

    #[test]
    #[ignore = "needs real-time priority: cargo xtask test runs it where the system grants that"]
    fn limit_ends_no_process_with_realtime_priority() {
        const NAME: &str = "limit_ends_no_process_with_realtime_priority";
        if std::env::var_os("SIFT_TEST_SUBPROCESS").is_none() {
            for limits in [(200_000, 200_000), (16_000, 200_000), (2_000, 200_000)] {
                assert_survives(NAME, limits);
            }
            return;
        }
        let limit = processor_time::limit().unwrap();
        let mut priority = RealtimePriority::raise(768, 48_000.0);
        assert!(
            current_priority() > 0,
            "the system grants real-time priority: raise the limit with `ulimit -r 95`"
        );
        // Short runs one after another, without a wait of their own.
        for _ in 0..400 {
            priority.begin_run();
            compute(Duration::from_millis(1));
            if !priority.end_run() {
                priority = RealtimePriority::raise(768, 48_000.0);
            }
        }
        assert_eq!(current_priority() > 0, limit > Duration::from_millis(10));
        priority.begin_run();
        compute(Duration::from_millis(600));
        let is_kept = priority.end_run();
        assert!(!is_kept || limit < Duration::from_millis(10));
        assert_eq!(current_priority(), 0);
    }
}
