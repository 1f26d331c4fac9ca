//! Real-time priority of the separator thread: below the audio thread, above everything else.

use audio_thread_priority::{
    RtPriorityHandle, demote_current_thread_from_real_time, promote_current_thread_to_real_time,
};

/// Guard that holds the calling thread at real-time priority until it is dropped.
pub struct RealtimePriority(Option<RtPriorityHandle>);

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
        Self(handle)
    }
}

impl Drop for RealtimePriority {
    fn drop(&mut self) {
        if let Some(handle) = self.0.take() {
            let _ = demote_current_thread_from_real_time(handle);
        }
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
}
