//! What can be used by one at a time, and costs so much that all share it: a network's sessions.

use std::collections::VecDeque;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::thread::{self, Thread};
use std::time::Duration;

use parking_lot::{Condvar, Mutex, MutexGuard};

use crate::inference::cancel::Stop;

/// How often one who waits looks whether it was stopped.
const GLANCE: Duration = Duration::from_millis(10);

/// Jobs that are not worth being shared among several.
const FEW: usize = 4;

/// Things that are all alike, lent to one at a time; and jobs `J` that wait for one, to be done several at once.
pub struct Pool<T, J = ()> {
    /// Only one is made at a time, or all who come first would make more than are needed.
    making: Mutex<()>,
    state: Mutex<State<T, J>>,
    /// A thing, for whom brought no job.
    returned: Condvar,
    limit: usize,
}

struct State<T, J> {
    /// What nobody has now. The one used last is lent first: it is still in the processor's caches.
    free: Vec<T>,
    made: usize,
    /// The oldest first.
    waiting: VecDeque<(Ticket, J)>,
    /// By the numbers of their tickets.
    done: Vec<(u64, J)>,
    /// Of those who went while somebody else was at their jobs.
    gone: Vec<u64>,
    newest: u64,
}

/// Whose a job is.
struct Ticket {
    number: u64,
    owner: Thread,
}

impl<T, J> Default for Pool<T, J> {
    /// A pool of as many things as there are cores to use them at a time.
    fn default() -> Self {
        Self::new(thread::available_parallelism().map_or(1, usize::from))
    }
}

impl<T, J> Pool<T, J> {
    fn new(limit: usize) -> Self {
        let state = State {
            free: Vec::new(),
            made: 0,
            waiting: VecDeque::new(),
            done: Vec::new(),
            gone: Vec::new(),
            newest: 0,
        };
        Self { making: Mutex::new(()), state: Mutex::new(state), returned: Condvar::new(), limit }
    }

    /// One more who shares the pool, until it is stopped. Has one more made by `make` if there are too few.
    ///
    /// # Errors
    /// Those of `make`, and that it was stopped meanwhile.
    pub fn join(
        self: &Arc<Self>,
        stop: &Stop,
        make: impl FnOnce() -> Result<T, String>,
    ) -> Result<Share<T, J>, String> {
        let making = loop {
            match self.making.try_lock_for(GLANCE) {
                Some(making) => break making,
                None if stop.is_stopped() => return Err(STOPPED.into()),
                None => {}
            }
        };
        if self.state.lock().made < self.limit {
            let made = make()?;
            self.state.lock().made += 1;
            self.take_back(made);
        }
        drop(making);
        Ok(Share { pool: self.clone(), stop: stop.clone() })
    }

    fn deliver(&self, tickets: Vec<Ticket>, jobs: Vec<J>) {
        let mut state = self.state.lock();
        for (ticket, job) in tickets.iter().zip(jobs) {
            match state.gone.iter().position(|gone| *gone == ticket.number) {
                Some(at) => drop(state.gone.swap_remove(at)),
                None => state.done.push((ticket.number, job)),
            }
        }
        drop(state);
        tickets.iter().for_each(|ticket| ticket.owner.unpark());
    }

    fn take_back(&self, thing: T) {
        let mut state = self.state.lock();
        state.free.push(thing);
        Self::wake_one(state);
        self.returned.notify_one();
    }

    /// Wakes somebody to do jobs, where some wait and there is a thing. One alone: it does those of others, too.
    fn wake_one(state: MutexGuard<'_, State<T, J>>) {
        let first = state.waiting.front().filter(|_| !state.free.is_empty());
        let owner = first.map(|(ticket, _)| ticket.owner.clone());
        drop(state);
        if let Some(owner) = owner {
            owner.unpark();
        }
    }
}

/// Why there is no outcome.
pub const STOPPED: &str = "the network was stopped";

/// A share of a pool.
pub struct Share<T, J = ()> {
    pool: Arc<Pool<T, J>>,
    stop: Stop,
}

impl<T, J> Clone for Share<T, J> {
    /// The same share, for who brings one job after another.
    fn clone(&self) -> Self {
        Self { pool: self.pool.clone(), stop: self.stop.clone() }
    }
}

impl<T, J> Share<T, J> {
    pub fn stop(&self) -> &Stop {
        &self.stop
    }

    /// One of the pool's things, as soon as there is one that nobody has.
    ///
    /// # Errors
    /// That it was stopped meanwhile.
    pub fn lend(&self) -> Result<Lent<'_, T, J>, String> {
        let mut state = self.pool.state.lock();
        loop {
            if let Some(thing) = state.free.pop() {
                return Ok(Lent { pool: &self.pool, thing: Some(thing) });
            }
            if self.stop.is_stopped() {
                return Err(STOPPED.into());
            }
            self.pool.returned.wait_for(&mut state, GLANCE);
        }
    }

    /// `job`, done. Whoever is lent a thing does by `work` what waits for one, `most` jobs at once and the oldest first,
    /// its own and those of others.
    ///
    /// # Errors
    /// That it was stopped meanwhile; the job is lost then.
    pub fn together(&self, job: J, most: usize, mut work: impl FnMut(&mut T, &mut [J])) -> Result<J, String> {
        let mut state = self.pool.state.lock();
        state.newest += 1;
        let own = state.newest;
        state.waiting.push_back((Ticket { number: own, owner: thread::current() }, job));
        loop {
            if let Some(at) = state.done.iter().position(|(number, _)| *number == own) {
                return Ok(state.done.swap_remove(at).1);
            }
            let waits = state.waiting.iter().position(|(ticket, _)| ticket.number == own);
            if waits.is_some()
                && let Some(thing) = state.free.pop()
            {
                drop(state);
                self.work_off(Lent { pool: &self.pool, thing: Some(thing) }, most, &mut work);
                state = self.pool.state.lock();
                continue;
            }
            if self.stop.is_stopped() {
                match waits {
                    Some(at) => drop(state.waiting.remove(at)),
                    None => state.gone.push(own),
                }
                // It may be this one that was woken for all.
                Pool::wake_one(state);
                return Err(STOPPED.into());
            }
            drop(state);
            thread::park_timeout(GLANCE);
            state = self.pool.state.lock();
        }
    }

    /// Does by `work` some of the jobs that wait, if any still do.
    fn work_off(&self, mut lent: Lent<'_, T, J>, most: usize, work: &mut impl FnMut(&mut T, &mut [J])) {
        // One core's threads of one priority run one after another: those that were woken together have not brought
        // their jobs yet, and would each do its own.
        thread::yield_now();
        let mut state = self.pool.state.lock();
        // The rest is left to who has the other things, lest one is still at them when all others are done.
        let share = state.waiting.len().div_ceil(state.made).max(FEW).min(most).min(state.waiting.len());
        let (tickets, mut jobs): (Vec<_>, Vec<_>) = state.waiting.drain(..share).unzip();
        Pool::wake_one(state);
        if !jobs.is_empty() {
            work(&mut lent, &mut jobs);
        }
        drop(lent);
        self.pool.deliver(tickets, jobs);
    }
}

/// One of a pool's things, which goes back when this is dropped.
pub struct Lent<'a, T, J = ()> {
    pool: &'a Pool<T, J>,
    /// There until then.
    thing: Option<T>,
}

impl<T, J> Deref for Lent<'_, T, J> {
    type Target = T;

    fn deref(&self) -> &T {
        self.thing.as_ref().expect("there until it is dropped")
    }
}

impl<T, J> DerefMut for Lent<'_, T, J> {
    fn deref_mut(&mut self) -> &mut T {
        self.thing.as_mut().expect("there until it is dropped")
    }
}

impl<T, J> Drop for Lent<'_, T, J> {
    fn drop(&mut self) {
        if let Some(thing) = self.thing.take() {
            self.pool.take_back(thing);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    use super::*;

    /// Shares of a pool of two, and how many things were made for them.
    fn shares(number: usize) -> (Vec<Share<usize>>, usize) {
        let pool = Arc::new(Pool::<usize>::new(2));
        let made = AtomicUsize::new(0);
        let make = || Ok(made.fetch_add(1, Ordering::Relaxed));
        let shares = (0..number).map(|_| pool.join(&Stop::default(), make).unwrap()).collect();
        (shares, made.into_inner())
    }

    #[test]
    fn no_more_are_made_than_can_be_used_at_a_time() {
        assert_eq!([1, 2, 5].map(|number| shares(number).1), [1, 2, 2]);
    }

    #[test]
    fn nobody_has_what_another_one_has() {
        let (shares, _) = shares(5);
        let using = [const { AtomicUsize::new(0) }; 2];
        thread::scope(|scope| {
            for share in &shares {
                scope.spawn(|| {
                    for _ in 0..1000 {
                        let thing = share.lend().unwrap();
                        assert_eq!(using[*thing].fetch_add(1, Ordering::SeqCst), 0);
                        using[*thing].fetch_sub(1, Ordering::SeqCst);
                    }
                });
            }
        });
    }

    #[test]
    fn the_one_used_last_is_lent_first() {
        let (shares, _) = shares(2);
        let (first, second) = (shares[0].lend().unwrap(), shares[1].lend().unwrap());
        let last = *first;
        drop(second);
        drop(first);
        assert_eq!(*shares[1].lend().unwrap(), last);
    }

    #[test]
    fn one_who_waits_goes_when_it_is_stopped() {
        let pool = Arc::new(Pool::<i32>::new(1));
        let (holder, waiter) = (Stop::default(), Stop::default());
        let held = pool.join(&holder, || Ok(0)).unwrap();
        let waiting = pool.join(&waiter, || unreachable!("there are enough")).unwrap();
        let lent = held.lend().unwrap();
        thread::scope(|scope| {
            let outcome = scope.spawn(|| waiting.lend().map(|thing| *thing));
            waiter.now();
            assert_eq!(outcome.join().unwrap(), Err(STOPPED.into()));
        });
        drop(lent);
        assert_eq!(*held.lend().unwrap(), 0, "the other one goes on");
    }

    #[test]
    fn one_who_waits_for_another_to_make_it_goes_when_it_is_stopped() {
        let pool = Arc::new(Pool::<i32>::new(1));
        let _making = pool.making.lock();
        let stop = Stop::default();
        stop.now();
        assert!(pool.join(&stop, || Ok(0)).is_err());
    }

    #[test]
    fn what_could_not_be_made_is_tried_again_by_the_next() {
        let pool = Arc::new(Pool::<i32>::new(1));
        let stop = Stop::default();
        assert_eq!(pool.join(&stop, || Err("broken".into())).err(), Some("broken".into()));
        assert_eq!(*pool.join(&stop, || Ok(3)).unwrap().lend().unwrap(), 3);
    }

    fn until(condition: impl Fn() -> bool) {
        while !condition() {
            thread::yield_now();
        }
    }

    /// `number` shares of a pool of so many `things`.
    fn sharing(things: usize, number: usize) -> Vec<Share<(), i32>> {
        let pool = Arc::new(Pool::new(things));
        (0..number).map(|_| pool.join(&Stop::default(), || Ok(())).unwrap()).collect()
    }

    #[test]
    fn everyone_gets_its_own_job_back_done() {
        let shares = sharing(1, 5);
        thread::scope(|scope| {
            for (share, own) in shares.iter().zip(0..) {
                scope.spawn(move || {
                    for round in 0..1000 {
                        let job = 10_000 * own + round;
                        let double =
                            |(): &mut (), jobs: &mut [i32]| jobs.iter_mut().for_each(|job| *job *= 2);
                        assert_eq!(share.together(job, 3, double), Ok(2 * job));
                    }
                });
            }
        });
        assert!(shares[0].pool.state.lock().done.is_empty());
    }

    /// Has `number` bring a job each while all `things` are lent, one of which then comes back; gives how many jobs were
    /// done at once.
    fn done_at_once(things: usize, number: usize, most: usize) -> Vec<usize> {
        let shares = sharing(things, number + things);
        let counts = Mutex::new(Vec::new());
        let (bringing, holding) = shares.split_at(number);
        let mut lent: Vec<_> = holding.iter().map(|share| share.lend().unwrap()).collect();
        thread::scope(|scope| {
            for share in bringing {
                scope.spawn(|| share.together(0, most, |(), jobs| counts.lock().push(jobs.len())).unwrap());
            }
            until(|| shares[0].pool.state.lock().waiting.len() == number);
            lent.pop();
        });
        counts.into_inner()
    }

    #[test]
    fn what_waits_is_done_at_once_as_much_as_may_be() {
        assert_eq!(done_at_once(1, 3, 8), [3]);
        assert_eq!(done_at_once(1, 3, 2), [2, 1]);
        assert_eq!(done_at_once(1, 3, 1), [1, 1, 1]);
    }

    #[test]
    fn so_much_is_left_that_all_things_are_done_at_one_time() {
        assert_eq!(done_at_once(2, 20, 16), [10, 5, 4, 1]);
        assert_eq!(done_at_once(3, 9, 16), [4, 4, 1]);
    }

    #[cfg(target_os = "linux")]
    #[test]
    #[ignore = "needs real-time priority: cargo xtask test runs it where the system grants that"]
    fn jobs_woken_with_realtime_priority_on_one_core_run_at_once() {
        use audio_thread_priority::promote_current_thread_to_real_time;

        const NUMBER: usize = 6;
        let shares = sharing(1, NUMBER);
        let (counts, all) = (&Mutex::new(Vec::new()), &Barrier::new(NUMBER));
        let bring = |share: &Share<(), i32>| {
            // SAFETY: the call is of the calling thread, and reads `core` alone.
            let on_one_core = unsafe {
                let mut core = std::mem::zeroed::<libc::cpu_set_t>();
                libc::CPU_SET(0, &mut core);
                libc::sched_setaffinity(0, size_of_val(&core), &core) == 0
            };
            let raised = on_one_core && promote_current_thread_to_real_time(768, 48_000).is_ok();
            all.wait();
            share.together(0, NUMBER, |(), jobs| counts.lock().push(jobs.len())).unwrap();
            raised
        };
        let bring = &bring;
        let raised = thread::scope(|scope| {
            let bringing: Vec<_> = shares.iter().map(|share| scope.spawn(move || bring(share))).collect();
            bringing.into_iter().all(|bringing| bringing.join().unwrap())
        });
        assert!(
            raised,
            "the system grants neither real-time priority nor a core: raise the limit with `ulimit -r 95`"
        );
        assert_eq!(counts.lock()[..], [NUMBER]);
    }

    #[test]
    fn one_whose_job_waits_goes_when_it_is_stopped() {
        let shares = sharing(1, 2);
        let lent = shares[0].lend().unwrap();
        shares[1].stop().now();
        assert!(shares[1].together(1, 8, |(), _| unreachable!("the thing is lent")).is_err());
        drop(lent);
        assert_eq!(shares[0].together(2, 8, |(), jobs| assert_eq!(jobs, [2])), Ok(2));
    }

    #[test]
    fn one_whose_job_another_is_at_goes_when_it_is_stopped() {
        let shares = sharing(1, 2);
        let (busy, over) = (AtomicUsize::new(usize::MAX), AtomicBool::new(false));
        let bring = |who: usize| {
            shares[who].together(0, 8, |(), jobs| {
                assert_eq!(jobs.len(), 2);
                busy.store(who, Ordering::SeqCst);
                until(|| over.load(Ordering::SeqCst));
            })
        };
        let bring = &bring;
        thread::scope(|scope| {
            let lent = shares[0].lend().unwrap();
            let mut outcomes = [0, 1].map(|who| Some(scope.spawn(move || bring(who))));
            until(|| shares[0].pool.state.lock().waiting.len() == 2);
            drop(lent);
            until(|| busy.load(Ordering::SeqCst) < 2);
            let busy = busy.load(Ordering::SeqCst);
            shares[1 - busy].stop().now();
            assert!(outcomes[1 - busy].take().unwrap().join().unwrap().is_err());
            over.store(true, Ordering::SeqCst);
            assert_eq!(outcomes[busy].take().unwrap().join().unwrap(), Ok(0));
        });
        let state = shares[0].pool.state.lock();
        assert!(state.done.is_empty() && state.gone.is_empty());
    }
}
