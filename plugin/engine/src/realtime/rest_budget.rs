//! Whether a live instance can afford a rest: it is the first thing that goes when the machine is short of time.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::realtime::status::Status;

/// Load of all live instances of the process, in millionths of a core.
static TOTAL_LOAD: AtomicI64 = AtomicI64::new(0);

/// Load per core up to which instances have a rest, in millionths. `bench` finds late masks from about 0.55 of each core on.
const MAX_LOAD: i64 = 500_000;

/// A rest takes at most half of a hop more, so an instance without one has it again only below this part of the load.
const RESUME_SHARE: f64 = 1.0 / 1.5;

/// Shortest time without a rest.
const PAUSE: Duration = Duration::from_secs(10);

/// Load of one instance, and whether it can afford a rest.
pub struct RestBudget {
    status: Arc<Status>,
    /// Time between two frames.
    hop: Duration,
    /// This instance's share of [`TOTAL_LOAD`].
    load: i64,
    max_load: i64,
    missing_masks: u64,
    paused_until: Option<Instant>,
}

impl RestBudget {
    /// Creates the budget of an instance with a frame per `hop`, which counts its late masks in `status`.
    pub fn new(status: Arc<Status>, hop: Duration) -> Self {
        let cores = thread::available_parallelism().map_or(1, |cores| cores.get() as i64);
        let missing_masks = status.faults().missing();
        Self { status, hop, load: 0, max_load: MAX_LOAD * cores, missing_masks, paused_until: None }
    }

    /// Returns whether the next hop can have a rest. Hosts that wait for masks (not `is_live`) can always.
    pub fn can_afford(&mut self, is_live: bool) -> bool {
        let load = if is_live { self.own_load() } else { 0 };
        let total = TOTAL_LOAD.fetch_add(load - self.load, Ordering::Relaxed) + load - self.load;
        self.load = load;
        self.decide(is_live, total, Instant::now())
    }

    fn own_load(&self) -> i64 {
        (1e6 * self.status.hop_time().div_duration_f64(self.hop)) as i64
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
        TOTAL_LOAD.fetch_sub(self.load, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn budget() -> RestBudget {
        let mut budget = RestBudget::new(Arc::new(Status::new(1)), Duration::from_millis(16));
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
    fn load_of_dropped_instances_does_not_count() {
        let mut first = budget();
        first.status.count_hop(Duration::from_millis(8));
        let before = TOTAL_LOAD.load(Ordering::Relaxed);
        first.can_afford(true);
        assert_eq!(first.load, 500_000);
        drop(first);
        // Other tests of this process may run instances meanwhile.
        assert!((TOTAL_LOAD.load(Ordering::Relaxed) - before).abs() < 400_000);
    }
}
