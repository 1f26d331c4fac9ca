//! What the operating system says of this process.

use std::collections::HashMap;
use std::time::Duration;

/// Linux counts processor time in hundredths of a second.
const TICKS: f64 = 100.0;
/// Linux's flag of a thread that is on its way out (`PF_EXITING` in `include/linux/sched.h`).
const EXITING: u64 = 4;

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
    // SAFETY: a plain call.
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    unsafe {
        libc::malloc_trim(0);
    }
}

/// The threads of this process that run, by name; none where the system does not say (not Linux). The system
/// lists one that has been joined for a moment still, but it runs no more.
pub fn threads() -> Vec<String> {
    let running = |thread: Thread| (thread.flags & EXITING == 0).then_some(thread.name);
    Thread::all().filter_map(running).collect()
}

/// Processor time that the threads of each name have taken so far. Threads of a pool, whose names differ
/// by a number, count as one. Empty where the system does not say (not Linux).
pub fn seconds_by_thread() -> HashMap<String, f64> {
    let mut spent = HashMap::new();
    for thread in Thread::all() {
        let name = thread.name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '-' || c == ':');
        *spent.entry(name.to_owned()).or_default() += thread.seconds;
    }
    spent
}

/// What `/proc/self/task/*/stat` tells of a thread.
struct Thread {
    name: String,
    flags: u64,
    /// Of a processor, so far.
    seconds: f64,
}

impl Thread {
    fn all() -> impl Iterator<Item = Self> {
        let tasks = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
        // A thread may end meanwhile.
        let stats = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("stat")).ok());
        stats.filter_map(|stat| Self::parse(&stat))
    }

    /// Of `number (name) state parent …`, as proc(5) numbers them from 1: 9 are flags, 14 and 15 ticks.
    fn parse(stat: &str) -> Option<Self> {
        let (start, rest) = stat.rsplit_once(')')?;
        let (_, name) = start.split_once('(')?;
        let fields: Vec<_> = rest.split_whitespace().collect();
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        Some(Self {
            name: name.to_owned(),
            flags: field(9)?,
            seconds: (field(14)? + field(15)?) as f64 / TICKS,
        })
    }
}

/// The system's number of the thread of this process that has this name.
pub fn thread_called(name: &str) -> Option<u32> {
    let tasks = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let named = |task: &std::fs::DirEntry| {
        std::fs::read_to_string(task.path().join("comm")).is_ok_and(|comm| comm.trim_end() == name)
    };
    tasks.filter(named).find_map(|task| task.file_name().to_str()?.parse().ok())
}

/// Lets processes of the same user trace this one, where the system asks for leave.
pub fn let_others_trace() {
    // SAFETY: a plain call; systems without such a rule do not know it.
    #[cfg(target_os = "linux")]
    unsafe {
        libc::prctl(libc::PR_SET_PTRACER, libc::PR_SET_PTRACER_ANY);
    }
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
