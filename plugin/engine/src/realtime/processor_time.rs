//! Guard against the system's limit of processor time at real-time priority.
//!
//! Desktop services limit how long a thread at real-time priority may compute without blocking (`RLIMIT_RTTIME` of
//! `getrlimit(2)`). Beyond the limit, the kernel ends the whole process, which is the host's. A guarded thread sleeps for
//! a moment between its runs. A run that takes too long is lowered by another thread, as networks cannot be interrupted.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use audio_thread_priority::promote_current_thread_to_real_time;
use crossbeam_channel::bounded;
use parking_lot::Mutex;

/// Shortest limit under which a thread may have real-time priority. The kernel counts in ticks of up to 10 ms.
const MIN_LIMIT: Duration = Duration::from_millis(10);

/// Sleep after which the kernel counts from zero.
const SLEEP: Duration = Duration::from_micros(50);

/// Longest time until the guard's thread ends after the last guarded thread.
const IDLE_INTERVAL: Duration = Duration::from_secs(1);

static GUARD: Mutex<Guard> = Mutex::new(Guard { threads: Vec::new(), thread: None });

/// All guarded threads of the process.
struct Guard {
    threads: Vec<Arc<ThreadState>>,
    /// Runs [`watch`]; `None` if it does not run.
    thread: Option<Thread>,
}

/// Whether the guard's thread waits for a run to begin.
static IS_IDLE: AtomicBool = AtomicBool::new(false);

/// State that a guarded thread shares with the guard's thread.
struct ThreadState {
    id: libc::pid_t,
    limit: Duration,
    epoch: Instant,
    /// Nanoseconds from `epoch` to the beginning of the run; 0 between runs.
    run_start: AtomicU64,
    is_lowered: AtomicBool,
}

impl ThreadState {
    /// Whether the run takes so long that the limit may be reached.
    fn is_late(&self) -> bool {
        let start = self.run_start.load(Ordering::SeqCst);
        start != 0 && self.epoch.elapsed().saturating_sub(Duration::from_nanos(start)) > self.limit / 2
    }

    /// Gives the thread the priority of usual threads.
    fn lower(&self) {
        // SAFETY: all bits zero is a valid value.
        let parameters = unsafe { std::mem::zeroed::<libc::sched_param>() };
        // Without the flag, the kernel refuses the call of a user who may not take real-time priority.
        let policy = libc::SCHED_OTHER | libc::SCHED_RESET_ON_FORK;
        // SAFETY: the call only reads `parameters`. The thread lives: it ends its registration under the same lock.
        unsafe { libc::sched_setscheduler(self.id, policy, &parameters) };
        self.is_lowered.store(true, Ordering::SeqCst);
    }
}

/// Returns the limit of this process; `None` if there is none.
pub fn limit() -> Option<Duration> {
    let mut limit = libc::rlimit { rlim_cur: libc::RLIM_INFINITY, rlim_max: libc::RLIM_INFINITY };
    // SAFETY: the call writes only `limit`.
    let is_known = unsafe { libc::getrlimit(libc::RLIMIT_RTTIME, &mut limit) } == 0;
    let microseconds = limit.rlim_cur.min(limit.rlim_max);
    (is_known && microseconds != libc::RLIM_INFINITY).then(|| Duration::from_micros(microseconds))
}

/// Registration of the calling thread, which has real-time priority and keeps below the limit until this is dropped.
pub struct GuardedThread {
    state: Arc<ThreadState>,
    guard: Thread,
    last_sleep: Instant,
}

impl GuardedThread {
    /// Registers the calling thread. Returns `None` if it cannot be guarded: it must give up its priority then.
    pub fn new(limit: Duration) -> Option<Self> {
        if limit < MIN_LIMIT {
            return None;
        }
        // SAFETY: the call has no arguments and always succeeds.
        let id = unsafe { libc::syscall(libc::SYS_gettid) } as libc::pid_t;
        let state = Arc::new(ThreadState {
            id,
            limit,
            epoch: Instant::now(),
            run_start: AtomicU64::new(0),
            is_lowered: AtomicBool::new(false),
        });
        let mut guard = GUARD.lock();
        let thread = match &guard.thread {
            Some(thread) => thread.clone(),
            None => start_watching()?,
        };
        guard.thread = Some(thread.clone());
        guard.threads.push(state.clone());
        Some(Self { state, guard: thread, last_sleep: Instant::now() })
    }

    /// Begins a run of unknown length.
    pub fn begin_run(&self) {
        let start = self.state.epoch.elapsed().as_nanos().max(1) as u64;
        self.state.run_start.store(start, Ordering::SeqCst);
        if IS_IDLE.load(Ordering::SeqCst) {
            self.guard.unpark();
        }
    }

    /// Ends the run, and sleeps if the next one could reach the limit.
    pub fn end_run(&mut self) {
        self.state.run_start.store(0, Ordering::SeqCst);
        if self.last_sleep.elapsed() > self.state.limit / 8 {
            thread::sleep(SLEEP);
            self.last_sleep = Instant::now();
        }
    }

    /// Whether a run took too long, so that the thread has the priority of usual threads.
    pub fn is_lowered(&self) -> bool {
        self.state.is_lowered.load(Ordering::SeqCst)
    }
}

impl Drop for GuardedThread {
    fn drop(&mut self) {
        GUARD.lock().threads.retain(|state| !Arc::ptr_eq(state, &self.state));
        self.guard.unpark();
    }
}

/// Starts the guard's thread, and waits until it is ready: on a busy machine, this may take longer than the limit.
fn start_watching() -> Option<Thread> {
    let (ready, is_ready) = bounded(1);
    let body = move || {
        // Above the guarded threads, which could keep it from the only core. It sleeps too often to reach the limit.
        let _raised = promote_current_thread_to_real_time(0, 48_000);
        let _ = ready.send(());
        watch();
    };
    let thread = thread::Builder::new().name("sift guard".into()).spawn(body).ok()?.thread().clone();
    is_ready.recv().ok()?;
    Some(thread)
}

/// Lowers threads whose runs take too long, until no thread is guarded.
fn watch() {
    loop {
        let interval = {
            let mut guard = GUARD.lock();
            let Some(shortest) = guard.threads.iter().map(|state| state.limit).min() else {
                guard.thread = None;
                return;
            };
            guard.threads.iter().filter(|state| state.is_late()).for_each(|state| state.lower());
            // A run that begins from here on wakes this thread.
            IS_IDLE.store(true, Ordering::SeqCst);
            let is_running = guard.threads.iter().any(|state| state.run_start.load(Ordering::SeqCst) != 0);
            IS_IDLE.store(!is_running, Ordering::SeqCst);
            if is_running { shortest / 8 } else { IDLE_INTERVAL }
        };
        thread::park_timeout(interval);
    }
}
