//! Memory, threads and processor time of this process, as Linux reports them.

use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Linux counts processor time in hundredths of a second.
const TICKS_PER_SECOND: f64 = 100.0;
/// Linux's flag of a thread that is ending (`PF_EXITING` in `include/linux/sched.h`).
const EXITING: u64 = 4;
const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// Resident memory of this process in bytes; `None` where the system does not report it (not Linux).
pub fn resident_memory() -> Option<u64> {
    status_field("VmRSS:").map(|kibibytes| kibibytes * 1024)
}

/// Resident memory in bytes that is in use by this process alone, without the pages of files such as libraries.
///
/// Returns free memory to the system first: the allocator would otherwise keep an amount that depends on timing.
///
/// # Panics
/// Where the system does not report it (not Linux), because a test that cannot measure must not pass.
pub fn private_memory() -> u64 {
    // SAFETY: `malloc_trim` has no preconditions.
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    unsafe {
        libc::malloc_trim(0);
    }
    1024 * status_field("RssAnon:").expect("/proc/self/status has the field RssAnon: this test needs Linux")
}

/// Names of the threads of this process that run.
///
/// Linux lists a joined thread for a moment longer; it is left out.
///
/// # Panics
/// Where the system does not list them (not Linux), because a test that cannot count must not pass.
pub fn threads() -> Vec<String> {
    let running = |thread: Thread| (thread.flags & EXITING == 0).then_some(thread.name);
    let names: Vec<_> = Thread::all().filter_map(running).collect();
    assert!(!names.is_empty(), "/proc/self/task lists no thread: this test needs Linux");
    names
}

/// Processor seconds that the threads of each name have taken so far; empty where the system does not report them.
///
/// Threads of a pool, whose names differ by a number, count as one.
pub fn seconds_by_thread() -> HashMap<String, f64> {
    let mut spent = HashMap::new();
    for thread in Thread::all() {
        let name = thread.name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '-' || c == ':');
        *spent.entry(name.to_owned()).or_default() += thread.seconds;
    }
    spent
}

/// One thread by `/proc/self/task/*/stat`, and its time by `schedstat`, which counts nanoseconds.
struct Thread {
    name: String,
    flags: u64,
    /// Processor time so far.
    seconds: f64,
}

impl Thread {
    fn all() -> impl Iterator<Item = Self> {
        let tasks = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
        // A thread may end between the listing and the reading.
        tasks.filter_map(|task| {
            let read = |name: &str| std::fs::read_to_string(task.path().join(name)).ok();
            let mut thread = Self::parse(&read("stat")?)?;
            // Not all kernels have it.
            if let Some(nanoseconds) = read("schedstat").and_then(|text| Self::parse_nanoseconds(&text)) {
                thread.seconds = 1e-9 * nanoseconds as f64;
            }
            Some(thread)
        })
    }

    /// Reads the first of the three numbers; 0 where the kernel does not count.
    fn parse_nanoseconds(schedstat: &str) -> Option<u64> {
        schedstat.split_whitespace().next()?.parse().ok().filter(|&nanoseconds| nanoseconds > 0)
    }

    /// Reads `number (name) state parent …`; by proc(5), field 9 is the flags, and 14 and 15 are ticks.
    fn parse(stat: &str) -> Option<Self> {
        let (start, rest) = stat.rsplit_once(')')?;
        let (_, name) = start.split_once('(')?;
        let fields: Vec<_> = rest.split_whitespace().collect();
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        Some(Self {
            name: name.to_owned(),
            flags: field(9)?,
            seconds: (field(14)? + field(15)?) as f64 / TICKS_PER_SECOND,
        })
    }
}

/// The system's number of the thread of this process with this name.
pub fn thread_id(name: &str) -> Option<u32> {
    let tasks = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let named = |task: &std::fs::DirEntry| {
        std::fs::read_to_string(task.path().join("comm")).is_ok_and(|comm| comm.trim_end() == name)
    };
    tasks.filter(named).find_map(|task| task.file_name().to_str()?.parse().ok())
}

/// Lets processes of the same user trace this one, where the system restricts that.
pub fn allow_tracing() {
    // SAFETY: the call has no preconditions; systems without such a restriction ignore it.
    #[cfg(target_os = "linux")]
    unsafe {
        libc::prctl(libc::PR_SET_PTRACER, libc::PR_SET_PTRACER_ANY);
    }
}

/// Wall time of a computation divided by its processor time: 1 on an idle machine, more under load.
///
/// Bounds on times are multiplied by it, so that a test judges the plugin and not the other work of the machine.
/// Takes 50 ms of processor time. 1 where the system does not measure it (not Linux).
pub fn load_factor() -> f64 {
    const PROCESSOR_TIME: Duration = Duration::from_millis(50);
    let (begin, spent) = (Instant::now(), thread_time());
    while thread_time().saturating_sub(spent) < PROCESSOR_TIME {
        if !cfg!(target_os = "linux") {
            return 1.0;
        }
    }
    begin.elapsed().div_duration_f64(PROCESSOR_TIME).max(1.0)
}

/// Processor time that the calling thread has taken so far; zero where the system does not report it.
fn thread_time() -> Duration {
    #[cfg(target_os = "linux")]
    {
        let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: the call writes `time` and nothing else.
        let result = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) };
        assert_eq!(result, 0, "clock_gettime fails");
        Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
    }
    #[cfg(not(target_os = "linux"))]
    Duration::ZERO
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

/// Polls `condition` until it holds or `timeout` has passed; returns whether it held.
pub fn eventually(timeout: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let begin = Instant::now();
    loop {
        if condition() {
            return true;
        }
        if begin.elapsed() > timeout {
            return false;
        }
        std::thread::sleep(POLL_INTERVAL);
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn memory_grows_by_what_is_allocated() {
        const SIZE: usize = 64 << 20;
        let before = private_memory();
        let buffer = std::hint::black_box(vec![1_u8; SIZE]);
        let grown = private_memory() - before;
        drop(buffer);
        assert!(grown > SIZE as u64 / 2, "{grown} bytes of {SIZE}");
    }

    #[test]
    fn a_thread_is_listed_by_name_while_it_runs() {
        let (sender, receiver) = std::sync::mpsc::channel::<()>();
        let thread = std::thread::Builder::new().name("a test thread".into());
        let thread = thread.spawn(move || receiver.recv().is_ok()).unwrap();
        // A thread names itself once it runs.
        assert!(eventually(Duration::from_secs(5), || threads().iter().any(|name| name == "a test thread")));
        drop(sender);
        thread.join().unwrap();
        assert!(!threads().iter().any(|name| name == "a test thread"));
    }

    #[test]
    fn load_factor_is_1_or_more() {
        assert!(load_factor() >= 1.0);
    }
}
