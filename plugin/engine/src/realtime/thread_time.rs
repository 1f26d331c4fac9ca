//! Processor time of the calling thread.

use std::time::Duration;

/// Returns the processor time that the calling thread has taken so far; `None` if the system does not tell.
#[cfg(unix)]
pub fn thread_time() -> Option<Duration> {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call writes to `time`, which outlives it.
    let result = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    (result == 0).then(|| Duration::new(time.tv_sec as u64, time.tv_nsec as u32))
}

/// Returns the processor time that the calling thread has taken so far; `None` if the system does not tell.
#[cfg(windows)]
pub fn thread_time() -> Option<Duration> {
    use windows_sys::Win32::Foundation::FILETIME;
    use windows_sys::Win32::System::Threading::{GetCurrentThread, GetThreadTimes};

    let zero = FILETIME { dwLowDateTime: 0, dwHighDateTime: 0 };
    let [mut created, mut ended, mut kernel, mut user] = [zero; 4];
    // SAFETY: the pseudo handle is that of this thread, and the call writes to the four times, which outlive it.
    let result = unsafe {
        GetThreadTimes(GetCurrentThread(), &raw mut created, &raw mut ended, &raw mut kernel, &raw mut user)
    };
    // Units of 100 ns.
    let units = |time: FILETIME| (u64::from(time.dwHighDateTime) << 32) | u64::from(time.dwLowDateTime);
    (result != 0).then(|| Duration::from_nanos(100 * (units(kernel) + units(user))))
}

#[cfg(test)]
mod tests {
    use std::hint::black_box;
    use std::thread;

    use super::*;

    #[test]
    fn time_grows_with_work_and_not_with_sleep() {
        let before = thread_time().unwrap();
        thread::sleep(Duration::from_millis(50));
        let slept = thread_time().unwrap() - before;
        let work = (0..20_000_000_u64).fold(0, |sum, value| black_box(sum ^ value));
        black_box(work);
        let worked = thread_time().unwrap() - before - slept;
        assert!(worked > 2 * slept, "{slept:?} asleep, {worked:?} at work");
    }
}
