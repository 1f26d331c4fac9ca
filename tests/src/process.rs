//! What the operating system says of this process.

use std::time::Duration;

/// Resident memory of this process in bytes; `None` where the system does not say (not Linux).
pub fn resident_memory() -> Option<u64> {
    status_field("VmRSS:").map(|kibibytes| kibibytes * 1024)
}

/// The part of [`resident_memory`] that is not pages of files, as a library's are, which come and go.
pub fn private_memory() -> Option<u64> {
    status_field("RssAnon:").map(|kibibytes| kibibytes * 1024)
}

/// Has the allocator give free memory back to the system, so that [`private_memory`] tells what is in
/// use; how much it keeps otherwise depends on who freed what when. Does nothing but with glibc.
pub fn release_free_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        unsafe extern "C" {
            safe fn malloc_trim(pad: usize) -> std::ffi::c_int;
        }
        malloc_trim(0);
    }
}

/// Number of threads of this process; `None` where the system does not say (not Linux).
pub fn threads() -> Option<u64> {
    status_field("Threads:")
}

/// A number of `/proc/self/status`, whose lines read `Name:  value [kB]`.
fn status_field(name: &str) -> Option<u64> {
    std::fs::read_to_string("/proc/self/status")
        .ok()?
        .lines()
        .find_map(|line| line.strip_prefix(name))?
        .split_whitespace()
        .next()?
        .parse()
        .ok()
}

/// Asks `condition` every few milliseconds until it holds or `limit` has passed; says whether it held.
pub fn eventually(limit: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let begin = std::time::Instant::now();
    loop {
        if condition() {
            return true;
        }
        if begin.elapsed() > limit {
            return false;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}
