//! The priority of the separator's thread: above everything that is not audio, below the audio thread.

use audio_thread_priority::{
    RtPriorityHandle, demote_current_thread_from_real_time, promote_current_thread_to_real_time,
};

/// The calling thread has priority while this is there.
pub struct RealtimePriority(Option<RtPriorityHandle>);

impl RealtimePriority {
    /// Raises the calling thread, which has work for a while of `frames` samples at `sample_rate` hertz. Without the
    /// privilege it stays as it is, which the status shows as late parcels if it ever matters.
    pub fn raise(frames: usize, sample_rate: f64) -> Self {
        let raised = promote_current_thread_to_real_time(frames as u32, sample_rate as u32).ok();
        if raised.is_some() {
            step_down();
        }
        Self(raised)
    }
}

impl Drop for RealtimePriority {
    fn drop(&mut self) {
        if let Some(handle) = self.0.take() {
            let _ = demote_current_thread_from_real_time(handle);
        }
    }
}

/// One below what audio threads are given in the same way: threads of one priority take turns only when they wait, so
/// that the audio thread would come after the separators of all other instances.
fn step_down() {
    #[cfg(target_os = "linux")]
    // SAFETY: both calls are of the calling thread, and read and write `parameters` alone.
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

    /// 0 where the thread has no priority in real time.
    fn own() -> i32 {
        // SAFETY: as above.
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
            let priority = own();
            raised.map(demote_current_thread_from_real_time).is_ok().then_some(priority)
        });
        let audio = audio.join().unwrap();
        let audio = audio.expect("the system grants real-time priority: raise the limit with `ulimit -r 95`");
        let raised = RealtimePriority::raise(768, 48_000.0);
        assert!((1..audio).contains(&own()), "{} beside {audio}", own());
        drop(raised);
        assert_eq!(own(), 0);
    }
}
