//! What can be used by one at a time, and costs so much that all share it: a network's sessions.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use crate::stop::Stop;

/// How often one who waits looks whether it was stopped.
const GLANCE: Duration = Duration::from_millis(10);

/// Things that are all alike, lent to one at a time.
pub struct Pool<T> {
    /// Only one is made at a time, or all who come first would make more than are needed.
    making: Mutex<()>,
    state: Mutex<State<T>>,
    returned: Condvar,
    limit: usize,
}

struct State<T> {
    /// What nobody has now. The one used last is lent first: it is still in the processor's caches.
    free: Vec<T>,
    made: usize,
}

impl<T> Default for Pool<T> {
    /// A pool of as many things as there are cores to use them at a time.
    fn default() -> Self {
        Self::new(thread::available_parallelism().map_or(1, usize::from))
    }
}

impl<T> Pool<T> {
    fn new(limit: usize) -> Self {
        let state = State { free: Vec::new(), made: 0 };
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
    ) -> Result<Share<T>, String> {
        let making = loop {
            match self.making.try_lock_for(GLANCE) {
                Some(making) => break making,
                None if stop.is_stopped() => return Err(stopped()),
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

    fn take_back(&self, thing: T) {
        self.state.lock().free.push(thing);
        self.returned.notify_one();
    }
}

fn stopped() -> String {
    "the network was stopped".into()
}

/// A share of a pool.
pub struct Share<T> {
    pool: Arc<Pool<T>>,
    stop: Stop,
}

impl<T> Share<T> {
    pub fn stop(&self) -> &Stop {
        &self.stop
    }

    /// One of the pool's things, as soon as there is one that nobody has.
    ///
    /// # Errors
    /// That it was stopped meanwhile.
    pub fn lend(&self) -> Result<Lent<'_, T>, String> {
        let mut state = self.pool.state.lock();
        loop {
            if let Some(thing) = state.free.pop() {
                return Ok(Lent { pool: &self.pool, thing: Some(thing) });
            }
            if self.stop.is_stopped() {
                return Err(stopped());
            }
            self.pool.returned.wait_for(&mut state, GLANCE);
        }
    }
}

/// One of a pool's things, which goes back when this is dropped.
pub struct Lent<'a, T> {
    pool: &'a Pool<T>,
    /// There until then.
    thing: Option<T>,
}

impl<T> Deref for Lent<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.thing.as_ref().expect("there until it is dropped")
    }
}

impl<T> DerefMut for Lent<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.thing.as_mut().expect("there until it is dropped")
    }
}

impl<T> Drop for Lent<'_, T> {
    fn drop(&mut self) {
        if let Some(thing) = self.thing.take() {
            self.pool.take_back(thing);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// Shares of a pool of two, and how many things were made for them.
    fn shares(number: usize) -> (Vec<Share<usize>>, usize) {
        let pool = Arc::new(Pool::new(2));
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
        let pool = Arc::new(Pool::new(1));
        let (holder, waiter) = (Stop::default(), Stop::default());
        let held = pool.join(&holder, || Ok(0)).unwrap();
        let waiting = pool.join(&waiter, || unreachable!("there are enough")).unwrap();
        let lent = held.lend().unwrap();
        thread::scope(|scope| {
            let outcome = scope.spawn(|| waiting.lend().map(|thing| *thing));
            waiter.now();
            assert_eq!(outcome.join().unwrap(), Err("the network was stopped".into()));
        });
        drop(lent);
        assert_eq!(*held.lend().unwrap(), 0, "the other one goes on");
    }

    #[test]
    fn one_who_waits_for_another_to_make_it_goes_when_it_is_stopped() {
        let pool = Arc::new(Pool::new(1));
        let _making = pool.making.lock();
        let stop = Stop::default();
        stop.now();
        assert!(pool.join(&stop, || Ok(0)).is_err());
    }

    #[test]
    fn what_could_not_be_made_is_tried_again_by_the_next() {
        let pool = Arc::new(Pool::new(1));
        let stop = Stop::default();
        assert_eq!(pool.join(&stop, || Err("broken".into())).err(), Some("broken".into()));
        assert_eq!(*pool.join(&stop, || Ok(3)).unwrap().lend().unwrap(), 3);
    }
}
