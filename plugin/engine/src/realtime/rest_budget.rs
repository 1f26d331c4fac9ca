//! Whether a live instance can afford a rest: it is the first thing that goes when the machine is short of time.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::realtime::status::Status;
use crate::realtime::thread_time::thread_time;

/// Load of the separator threads of all live instances of the process, in millionths of a core.
static TOTAL_LOAD: AtomicI64 = AtomicI64::new(0);

/// Load per core up to which instances have a rest, in millionths.
const MAX_LOAD: i64 = 500_000;

/// A rest takes about half of a hop more, so an instance without one has it again only below this part of the load.
const RESUME_SHARE: f64 = 1.0 / 1.6;

/// Shortest time without a rest.
const PAUSE: Duration = Duration::from_secs(10);

/// Time over which a load is measured.
const MEASURED: Duration = Duration::from_millis(500);

/// Load of one instance, and whether it can afford a rest. Used by the separator thread only.
pub struct RestBudget {
    status: Arc<Status>,
    /// This instance's share of [`TOTAL_LOAD`].
    load: i64,
    /// When the load was last measured, and the processor time of the thread then.
    measured: Option<(Instant, Duration)>,
    max_load: i64,
    missing_masks: u64,
    paused_until: Option<Instant>,
}

impl RestBudget {
    /// Creates the budget of an instance that counts its late masks in `status`.
    pub fn new(status: Arc<Status>) -> Self {
        let cores = thread::available_parallelism().map_or(1, |cores| cores.get() as i64);
        let missing_masks = status.faults().missing();
        Self {
            status,
            load: 0,
            measured: None,
            max_load: MAX_LOAD * cores,
            missing_masks,
            paused_until: None,
        }
    }

    /// Returns whether the next hop can have a rest. Hosts that wait for masks (not `is_live`) can always.
    pub fn can_afford(&mut self, is_live: bool) -> bool {
        let now = Instant::now();
        if is_live {
            self.measure(now, thread_time);
        } else {
            self.release();
        }
        self.decide(is_live, TOTAL_LOAD.load(Ordering::Relaxed), now)
    }

    /// Takes the load of this instance, which gets no frames, out of the total.
    pub fn release(&mut self) {
        self.measured = None;
        self.set_load(0);
    }

    /// Updates the load from the processor time of this thread, which is a system call, if it is time for that.
    fn measure(&mut self, now: Instant, thread_time: impl FnOnce() -> Option<Duration>) {
        if self.measured.is_some_and(|(begin, _)| now - begin < MEASURED) {
            return;
        }
        let Some(time) = thread_time() else { return };
        let (begin, before) = *self.measured.get_or_insert((now, time));
        if now > begin {
            self.set_load((1e6 * (time - before).div_duration_f64(now - begin)) as i64);
            self.measured = Some((now, time));
        }
    }

    fn set_load(&mut self, load: i64) {
        TOTAL_LOAD.fetch_add(load - self.load, Ordering::Relaxed);
        self.load = load;
    }

    fn decide(&mut self, is_live: bool, total: i64, now: Instant) -> bool {
        let missing = self.status.faults().missing();
        let is_late = missing > self.missing_masks;
        self.missing_masks = missing;
        if !is_live {
            self.paused_until = None;
            return true;
        }
        let share = if self.paused_until.is_some() { RESUME_SHARE } else { 1.0 };
        if is_late || total > (self.max_load as f64 * share) as i64 {
            self.paused_until = Some(now + PAUSE);
        }
        self.paused_until = self.paused_until.filter(|&until| now < until);
        self.paused_until.is_none()
    }
}

impl Drop for RestBudget {
    fn drop(&mut self) {
        self.release();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budget() -> RestBudget {
        let mut budget = RestBudget::new(Arc::new(Status::new(1)));
        budget.max_load = 1_000_000;
        budget
    }

    #[test]
    fn late_mask_pauses_the_rest_for_ten_seconds() {
        let (mut budget, start) = (budget(), Instant::now());
        assert!(budget.decide(true, 0, start));
        budget.status.count_late_mask();
        assert!(!budget.decide(true, 0, start));
        assert!(!budget.decide(true, 0, start + Duration::from_secs(9)));
        assert!(budget.decide(true, 0, start + Duration::from_secs(10)));
    }

    #[test]
    fn full_machine_pauses_the_rest_until_there_is_room_for_it() {
        let (mut budget, start) = (budget(), Instant::now());
        let after = |seconds| start + Duration::from_secs(seconds);
        assert!(budget.decide(true, 999_000, start));
        assert!(!budget.decide(true, 1_001_000, start));
        assert!(!budget.decide(true, 700_000, after(9)), "no room for the load of a rest");
        assert!(!budget.decide(true, 600_000, after(18)), "ten seconds since there was no room");
        assert!(budget.decide(true, 600_000, after(19)));
    }

    #[test]
    fn host_that_waits_can_always_afford_a_rest() {
        let mut budget = budget();
        budget.status.count_late_mask();
        assert!(budget.decide(false, 5_000_000, Instant::now()));
    }

    #[test]
    fn load_is_the_share_of_processor_time_while_frames_come() {
        let (mut budget, start) = (budget(), Instant::now());
        let milliseconds = Duration::from_millis;
        budget.measure(start, || Some(milliseconds(7)));
        budget.measure(start + milliseconds(400), || Some(milliseconds(90)));
        assert_eq!(budget.load, 0, "the time is too short");
        budget.measure(start + milliseconds(500), || Some(milliseconds(57)));
        assert_eq!(budget.load, 100_000);
        budget.release();
        assert_eq!(budget.load, 0);
        budget.measure(start + milliseconds(9_000), || Some(milliseconds(60)));
        assert_eq!(budget.load, 0, "the pause does not count");
    }
}
