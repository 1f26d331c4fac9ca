//! Pool of sessions that instances share, with batched runs.

use std::collections::VecDeque;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::thread::{self, Thread};
use std::time::Duration;

use parking_lot::{Condvar, Mutex, MutexGuard};

use crate::inference::cancel::{CANCELLED, CancelToken};

/// Interval at which a waiting thread checks its cancel token.
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// Batches of this size or smaller are not split among items.
const MIN_BATCH: usize = 4;

/// Equal items, each used by one thread at a time, and jobs `J` that wait for an item and run in batches.
pub struct BatchingPool<T, J = ()> {
    /// Held while an item is made: concurrent first users would otherwise make more items than needed.
    making: Mutex<()>,
    state: Mutex<PoolState<T, J>>,
    /// Signals a returned item to threads in `acquire`.
    returned: Condvar,
    limit: usize,
}

struct PoolState<T, J> {
    /// Unused items. The most recently used one is taken first, because it is still in the CPU's caches.
    free: Vec<T>,
    made: usize,
    /// Jobs in the order of their submission.
    waiting: VecDeque<(Ticket, J)>,
    /// Finished jobs with the numbers of their tickets; `None` if the run panicked.
    done: Vec<(u64, Option<J>)>,
    /// Tickets whose owners were cancelled while another thread ran their jobs.
    cancelled: Vec<u64>,
    newest: u64,
}

/// The number of a job, and the thread that waits for it.
struct Ticket {
    number: u64,
    owner: Thread,
}

impl<T, J> Default for BatchingPool<T, J> {
    /// A pool of as many items as the machine has cores.
    fn default() -> Self {
        Self::new(thread::available_parallelism().map_or(1, usize::from))
    }
}

impl<T, J> BatchingPool<T, J> {
    fn new(limit: usize) -> Self {
        let state = PoolState {
            free: Vec::new(),
            made: 0,
            waiting: VecDeque::new(),
            done: Vec::new(),
            cancelled: Vec::new(),
            newest: 0,
        };
        Self { making: Mutex::new(()), state: Mutex::new(state), returned: Condvar::new(), limit }
    }

    /// Returns a new handle. Makes another item by `make` if the pool has fewer than its limit.
    ///
    /// Takes no item of the pool: this thread may have a lower priority than those that wait for one.
    ///
    /// # Errors
    /// The errors of `make`, and [`CANCELLED`] if `token` is cancelled before an item can be made.
    pub fn attach(
        self: &Arc<Self>,
        token: &CancelToken,
        make: impl FnOnce() -> Result<T, String>,
    ) -> Result<PoolHandle<T, J>, String> {
        let making = loop {
            match self.making.try_lock_for(POLL_INTERVAL) {
                Some(making) => break making,
                None if token.is_cancelled() => return Err(CANCELLED.into()),
                None => {}
            }
        };
        if self.state.lock().made < self.limit {
            let made = make()?;
            self.state.lock().made += 1;
            self.take_back(made);
        }
        drop(making);
        Ok(self.handle(token))
    }

    /// Returns a new handle without making an item.
    pub fn handle(self: &Arc<Self>, token: &CancelToken) -> PoolHandle<T, J> {
        PoolHandle { pool: self.clone(), token: token.clone() }
    }

    fn take_back(&self, item: T) {
        let mut state = self.state.lock();
        state.free.push(item);
        Self::wake_one(state);
        self.returned.notify_one();
    }

    /// Wakes the owner of the oldest job if an item is free. One thread is enough, because it runs the jobs of others too.
    fn wake_one(state: MutexGuard<'_, PoolState<T, J>>) {
        let first = state.waiting.front().filter(|_| !state.free.is_empty());
        let owner = first.map(|(ticket, _)| ticket.owner.clone());
        drop(state);
        if let Some(owner) = owner {
            owner.unpark();
        }
    }
}

/// The error of a job whose run panicked.
const PANICKED: &str = "the run of the network ended with an internal error";

/// Jobs that one thread runs for their owners. The drop hands them back, also after a panic.
struct Batch<'a, T, J> {
    pool: &'a BatchingPool<T, J>,
    tickets: Vec<Ticket>,
    jobs: Vec<J>,
    /// False while the jobs run, and after a panic.
    is_done: bool,
}

impl<T, J> Drop for Batch<'_, T, J> {
    fn drop(&mut self) {
        let mut jobs = self.jobs.drain(..);
        let mut state = self.pool.state.lock();
        for ticket in &self.tickets {
            let job = jobs.next().filter(|_| self.is_done);
            match state.cancelled.iter().position(|cancelled| *cancelled == ticket.number) {
                Some(at) => drop(state.cancelled.swap_remove(at)),
                // The panic leaves `submit` of this thread, so that nobody would take the job.
                None if job.is_none() && ticket.owner.id() == thread::current().id() => {}
                None => state.done.push((ticket.number, job)),
            }
        }
        drop(state);
        self.tickets.iter().for_each(|ticket| ticket.owner.unpark());
    }
}

/// Access of one user to a pool, with the user's cancel token.
pub struct PoolHandle<T, J = ()> {
    pool: Arc<BatchingPool<T, J>>,
    token: CancelToken,
}

impl<T, J> Clone for PoolHandle<T, J> {
    /// A handle of the same user.
    fn clone(&self) -> Self {
        Self { pool: self.pool.clone(), token: self.token.clone() }
    }
}

impl<T, J> PoolHandle<T, J> {
    pub fn token(&self) -> &CancelToken {
        &self.token
    }

    /// Waits for a free item and returns it.
    ///
    /// # Errors
    /// [`CANCELLED`] if the token is cancelled first.
    pub fn acquire(&self) -> Result<PoolGuard<'_, T, J>, String> {
        let mut state = self.pool.state.lock();
        loop {
            if let Some(item) = state.free.pop() {
                return Ok(PoolGuard { pool: &self.pool, item: Some(item) });
            }
            if self.token.is_cancelled() {
                return Err(CANCELLED.into());
            }
            self.pool.returned.wait_for(&mut state, POLL_INTERVAL);
        }
    }

    /// Runs `jobs` and returns them in their order. The thread that gets an item runs waiting jobs of all threads by `run`,
    /// oldest first and at most `max_batch` at once.
    ///
    /// # Errors
    /// [`CANCELLED`] if the token is cancelled first, or an error if `run` panics on another thread. The jobs are lost then.
    ///
    /// # Panics
    /// If `run` panics on this thread.
    pub fn submit(
        &self,
        jobs: impl IntoIterator<Item = J>,
        max_batch: usize,
        mut run: impl FnMut(&mut T, &mut [J]),
    ) -> Result<Vec<J>, String> {
        let mut state = self.pool.state.lock();
        let first = state.newest + 1;
        for job in jobs {
            state.newest += 1;
            let ticket = Ticket { number: state.newest, owner: thread::current() };
            state.waiting.push_back((ticket, job));
        }
        let own = first..=state.newest;
        loop {
            let done = state.done.iter().filter(|(number, _)| own.contains(number)).count();
            if done == own.clone().count() {
                let mut finished: Vec<_> =
                    state.done.extract_if(.., |(number, _)| own.contains(number)).collect();
                finished.sort_by_key(|(number, _)| *number);
                return finished.into_iter().map(|(_, job)| job.ok_or_else(|| PANICKED.into())).collect();
            }
            let is_waiting = state.waiting.iter().any(|(ticket, _)| own.contains(&ticket.number));
            if is_waiting && let Some(item) = state.free.pop() {
                drop(state);
                self.run_batch(PoolGuard { pool: &self.pool, item: Some(item) }, max_batch, &mut run);
                state = self.pool.state.lock();
                continue;
            }
            if self.token.is_cancelled() {
                for number in own {
                    let is_own = |ticket: &Ticket| ticket.number == number;
                    if let Some(at) = state.waiting.iter().position(|(ticket, _)| is_own(ticket)) {
                        drop(state.waiting.remove(at));
                    } else if let Some(at) = state.done.iter().position(|(done, _)| *done == number) {
                        drop(state.done.swap_remove(at));
                    } else {
                        state.cancelled.push(number);
                    }
                }
                // The wake-up for all waiting jobs may have come to this thread.
                BatchingPool::wake_one(state);
                return Err(CANCELLED.into());
            }
            drop(state);
            thread::park_timeout(POLL_INTERVAL);
            state = self.pool.state.lock();
        }
    }

    /// Runs a batch of the waiting jobs, if any are left.
    fn run_batch(
        &self,
        mut guard: PoolGuard<'_, T, J>,
        max_batch: usize,
        run: &mut impl FnMut(&mut T, &mut [J]),
    ) {
        // Threads of equal priority on one core run one after another. Let those woken at the same time submit their jobs
        // first; otherwise each would run its own.
        thread::yield_now();
        let mut state = self.pool.state.lock();
        // Leave the rest to the other items, so that all of them finish at about the same time.
        let count =
            state.waiting.len().div_ceil(state.made).max(MIN_BATCH).min(max_batch).min(state.waiting.len());
        let (tickets, jobs) = state.waiting.drain(..count).unzip();
        BatchingPool::wake_one(state);
        let mut batch = Batch { pool: &self.pool, tickets, jobs, is_done: false };
        if !batch.jobs.is_empty() {
            run(&mut guard, &mut batch.jobs);
        }
        batch.is_done = true;
        drop(guard);
    }
}

/// An item of a pool, which is returned when the guard is dropped.
pub struct PoolGuard<'a, T, J = ()> {
    pool: &'a BatchingPool<T, J>,
    /// `Some` until the drop.
    item: Option<T>,
}

impl<T, J> Deref for PoolGuard<'_, T, J> {
    type Target = T;

    fn deref(&self) -> &T {
        self.item.as_ref().expect("the guard holds its item until it is dropped")
    }
}

impl<T, J> DerefMut for PoolGuard<'_, T, J> {
    fn deref_mut(&mut self) -> &mut T {
        self.item.as_mut().expect("the guard holds its item until it is dropped")
    }
}

impl<T, J> Drop for PoolGuard<'_, T, J> {
    fn drop(&mut self) {
        if let Some(item) = self.item.take() {
            self.pool.take_back(item);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
    use std::thread::ScopedJoinHandle;

    use super::*;

    /// Handles of a pool of two, and the number of items made for them.
    fn handles(number: usize) -> (Vec<PoolHandle<usize>>, usize) {
        let pool = Arc::new(BatchingPool::<usize>::new(2));
        let made = AtomicUsize::new(0);
        let make = || Ok(made.fetch_add(1, Ordering::Relaxed));
        let handles = (0..number).map(|_| pool.attach(&CancelToken::default(), make).unwrap()).collect();
        (handles, made.into_inner())
    }

    #[test]
    fn pool_makes_at_most_its_limit() {
        assert_eq!([1, 2, 5].map(|number| handles(number).1), [1, 2, 2]);
    }

    #[test]
    fn item_is_used_by_one_thread_at_a_time() {
        let (handles, _) = handles(5);
        let using = [const { AtomicUsize::new(0) }; 2];
        thread::scope(|scope| {
            for handle in &handles {
                scope.spawn(|| {
                    for _ in 0..1000 {
                        let item = handle.acquire().unwrap();
                        assert_eq!(using[*item].fetch_add(1, Ordering::SeqCst), 0);
                        using[*item].fetch_sub(1, Ordering::SeqCst);
                    }
                });
            }
        });
    }

    #[test]
    fn acquire_returns_the_item_used_last() {
        let (handles, _) = handles(2);
        let (first, second) = (handles[0].acquire().unwrap(), handles[1].acquire().unwrap());
        let last = *first;
        drop(second);
        drop(first);
        assert_eq!(*handles[1].acquire().unwrap(), last);
    }

    #[test]
    fn acquire_fails_when_cancelled() {
        let pool = Arc::new(BatchingPool::<i32>::new(1));
        let (holder, waiter) = (CancelToken::default(), CancelToken::default());
        let held = pool.attach(&holder, || Ok(0)).unwrap();
        let waiting = pool.attach(&waiter, || unreachable!("the pool has its item")).unwrap();
        let guard = held.acquire().unwrap();
        thread::scope(|scope| {
            let outcome = scope.spawn(|| waiting.acquire().map(|item| *item));
            waiter.cancel();
            assert_eq!(outcome.join().unwrap(), Err(CANCELLED.into()));
        });
        drop(guard);
        assert_eq!(*held.acquire().unwrap(), 0, "the other handle still works");
    }

    #[test]
    fn attach_fails_when_cancelled_while_another_makes_an_item() {
        let pool = Arc::new(BatchingPool::<i32>::new(1));
        let _making = pool.making.lock();
        let token = CancelToken::default();
        token.cancel();
        assert!(pool.attach(&token, || Ok(0)).is_err());
    }

    #[test]
    fn item_that_could_not_be_made_is_made_by_the_next_attach() {
        let pool = Arc::new(BatchingPool::<i32>::new(1));
        let token = CancelToken::default();
        assert_eq!(pool.attach(&token, || Err("broken".into())).err(), Some("broken".into()));
        assert_eq!(*pool.attach(&token, || Ok(3)).unwrap().acquire().unwrap(), 3);
    }

    fn until(condition: impl Fn() -> bool) {
        while !condition() {
            thread::yield_now();
        }
    }

    /// `number` handles of a pool of `items`.
    fn new_handles(items: usize, number: usize) -> Vec<PoolHandle<(), i32>> {
        let pool = Arc::new(BatchingPool::new(items));
        (0..number).map(|_| pool.attach(&CancelToken::default(), || Ok(())).unwrap()).collect()
    }

    #[test]
    fn each_thread_gets_its_own_job_back() {
        let handles = new_handles(1, 5);
        thread::scope(|scope| {
            for (handle, own) in handles.iter().zip(0..) {
                scope.spawn(move || {
                    for round in 0..1000 {
                        let job = 10_000 * own + round;
                        let double =
                            |(): &mut (), jobs: &mut [i32]| jobs.iter_mut().for_each(|job| *job *= 2);
                        assert_eq!(handle.submit([job], 3, double), Ok(vec![2 * job]));
                    }
                });
            }
        });
        assert!(handles[0].pool.state.lock().done.is_empty());
    }

    /// Submits `number` jobs while all `items` are in use, returns one item, and gives the sizes of the batches.
    fn batch_sizes(items: usize, number: usize, max_batch: usize) -> Vec<usize> {
        let handles = new_handles(items, number + items);
        let counts = Mutex::new(Vec::new());
        let (bringing, holding) = handles.split_at(number);
        let mut guard: Vec<_> = holding.iter().map(|handle| handle.acquire().unwrap()).collect();
        thread::scope(|scope| {
            for handle in bringing {
                scope.spawn(|| {
                    handle.submit([0], max_batch, |(), jobs| counts.lock().push(jobs.len())).unwrap()
                });
            }
            until(|| handles[0].pool.state.lock().waiting.len() == number);
            guard.pop();
        });
        counts.into_inner()
    }

    #[test]
    fn waiting_jobs_run_in_batches_up_to_the_limit() {
        assert_eq!(batch_sizes(1, 3, 8), [3]);
        assert_eq!(batch_sizes(1, 3, 2), [2, 1]);
        assert_eq!(batch_sizes(1, 3, 1), [1, 1, 1]);
    }

    #[test]
    fn waiting_jobs_are_split_among_the_items() {
        assert_eq!(batch_sizes(2, 20, 16), [10, 5, 4, 1]);
        assert_eq!(batch_sizes(3, 9, 16), [4, 4, 1]);
    }

    #[cfg(target_os = "linux")]
    #[test]
    #[ignore = "needs real-time priority: cargo xtask test runs it where the system grants that"]
    fn jobs_woken_with_realtime_priority_on_one_core_run_at_once() {
        use audio_thread_priority::promote_current_thread_to_real_time;

        const NUMBER: usize = 6;
        let handles = new_handles(1, NUMBER);
        let (counts, all) = (&Mutex::new(Vec::new()), &Barrier::new(NUMBER));
        let bring = |handle: &PoolHandle<(), i32>| {
            // SAFETY: the call changes only the calling thread and reads only `core`.
            let on_one_core = unsafe {
                let mut core = std::mem::zeroed::<libc::cpu_set_t>();
                libc::CPU_SET(0, &mut core);
                libc::sched_setaffinity(0, size_of_val(&core), &core) == 0
            };
            let raised = on_one_core && promote_current_thread_to_real_time(768, 48_000).is_ok();
            all.wait();
            handle.submit([0], NUMBER, |(), jobs| counts.lock().push(jobs.len())).unwrap();
            raised
        };
        let bring = &bring;
        let raised = thread::scope(|scope| {
            let bringing: Vec<_> = handles.iter().map(|handle| scope.spawn(move || bring(handle))).collect();
            bringing.into_iter().all(|bringing| bringing.join().unwrap())
        });
        assert!(
            raised,
            "the system grants neither real-time priority nor a core; raise the limit with `ulimit -r 95`"
        );
        assert_eq!(counts.lock()[..], [NUMBER]);
    }

    #[test]
    fn panic_in_a_run_fails_the_jobs_of_all_its_owners() {
        let handles = new_handles(1, 4);
        let (bringing, holding) = handles.split_at(3);
        thread::scope(|scope| {
            let guard = holding[0].acquire().unwrap();
            let submit = |handle: &PoolHandle<(), i32>| handle.submit([0], 8, |(), _| panic!("broken run"));
            let outcomes: Vec<_> =
                bringing.iter().map(|handle| scope.spawn(move || submit(handle))).collect();
            until(|| handles[0].pool.state.lock().waiting.len() == bringing.len());
            drop(guard);
            let outcomes: Vec<_> = outcomes.into_iter().map(ScopedJoinHandle::join).collect();
            let panicked = outcomes.iter().filter(|outcome| outcome.is_err()).count();
            let failed =
                outcomes.iter().filter(|outcome| matches!(outcome, Ok(Err(error)) if error == PANICKED));
            assert_eq!((panicked, failed.count()), (1, bringing.len() - 1));
        });
        assert!(handles[0].pool.state.lock().done.is_empty());
        assert_eq!(handles[0].submit([3], 8, |(), jobs| jobs[0] = 4), Ok(vec![4]), "the pool still works");
    }

    #[test]
    fn submit_fails_when_cancelled_while_the_job_waits() {
        let handles = new_handles(1, 2);
        let guard = handles[0].acquire().unwrap();
        handles[1].token().cancel();
        assert!(handles[1].submit([1], 8, |(), _| unreachable!("the item is in use")).is_err());
        drop(guard);
        assert_eq!(handles[0].submit([2], 8, |(), jobs| assert_eq!(jobs, [2])), Ok(vec![2]));
    }

    #[test]
    fn submit_fails_when_cancelled_while_another_runs_the_job() {
        let handles = new_handles(1, 2);
        let (busy, over) = (AtomicUsize::new(usize::MAX), AtomicBool::new(false));
        let bring = |who: usize| {
            handles[who].submit([0], 8, |(), jobs| {
                assert_eq!(jobs.len(), 2);
                busy.store(who, Ordering::SeqCst);
                until(|| over.load(Ordering::SeqCst));
            })
        };
        let bring = &bring;
        thread::scope(|scope| {
            let guard = handles[0].acquire().unwrap();
            let mut outcomes = [0, 1].map(|who| Some(scope.spawn(move || bring(who))));
            until(|| handles[0].pool.state.lock().waiting.len() == 2);
            drop(guard);
            until(|| busy.load(Ordering::SeqCst) < 2);
            let busy = busy.load(Ordering::SeqCst);
            handles[1 - busy].token().cancel();
            assert!(outcomes[1 - busy].take().unwrap().join().unwrap().is_err());
            over.store(true, Ordering::SeqCst);
            assert_eq!(outcomes[busy].take().unwrap().join().unwrap(), Ok(vec![0]));
        });
        let state = handles[0].pool.state.lock();
        assert!(state.done.is_empty() && state.cancelled.is_empty());
    }
}
