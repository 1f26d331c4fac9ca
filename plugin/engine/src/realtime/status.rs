//! Status of an engine for other threads, without locks on the audio thread.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use crate::inference::provider::ActiveProvider;
use crate::listener::suggestions::HeardSound;

/// State of the separator's model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Readiness {
    /// The model is loading; audio passes dry.
    Loading,
    /// The model has been loaded; audio is separated.
    Ready,
    /// There is no working model; audio passes dry. [`Snapshot::problem`](crate::Snapshot::problem) holds the error.
    Failed,
}

/// Numbers of frames whose masks could not be used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MaskFaults {
    /// Masks that were not there when due, and were concealed.
    pub late: u64,
    /// Frames that were not sent, because all requests were in flight.
    pub dropped: u64,
    /// Masks with a gain that is not finite or above [`MAX_GAIN`](crate::dsp::mask_processor::MAX_GAIN); their frames pass dry.
    pub invalid: u64,
}

impl MaskFaults {
    /// Number of frames without a mask when it was due.
    pub fn missing(&self) -> u64 {
        self.late + self.dropped
    }
}

/// Counters and messages of one engine.
///
/// The separator thread and the audio thread write, any thread reads. All methods are real-time safe
/// but those that concern the outcome of loading and what is heard, which take a lock.
pub struct Status {
    readiness: AtomicU8,
    outcome: Mutex<Outcome>,
    hearing: Mutex<HearingState>,
    /// Notified when the model is loaded or fails.
    readiness_changed: Condvar,
    /// Number of hops per run of the network.
    advance: u64,
    /// Time in nanoseconds spent on hops since the last run of the network ended.
    run_nanoseconds: AtomicU64,
    hops: AtomicU64,
    late_masks: AtomicU64,
    dropped_frames: AtomicU64,
    invalid_masks: AtomicU64,
    /// Samples; 0 before the first.
    oversized_block: AtomicU64,
    /// Average of [`Self::hop_time`] in nanoseconds; 0 before the first.
    hop_nanoseconds: AtomicU32,
    /// Bits of an `f32`, NaN if the presence is unknown.
    presence: AtomicU32,
}

/// What a listener hears, and which rest competes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HearingState {
    /// Sounds that are heard, in the order in which they appeared.
    pub sounds: Arc<[HeardSound]>,
    /// The rest that competes with the described sound.
    pub rest: Option<RestSound>,
    /// Whether the machine is too busy for a rest.
    pub is_rest_paused: bool,
    /// Error message of a broken listener. The described sound is separated without a rest then.
    pub problem: Option<String>,
}

/// A rest that competes.
#[derive(Clone, Debug, PartialEq)]
pub struct RestSound {
    /// Name of the concept that is heard; `None` if the rest was said.
    pub name: Option<String>,
    /// How strongly it competes, above 0 and up to 1.
    pub weight: f32,
}

/// Outcome of loading the model.
#[derive(Default)]
struct Outcome {
    problem: Option<String>,
    active_provider: ActiveProvider,
}

impl Status {
    /// Creates the status of a separator whose network runs every `advance` hops.
    pub(crate) fn new(advance: usize) -> Self {
        Self {
            readiness: AtomicU8::new(Readiness::Loading as u8),
            outcome: Mutex::default(),
            hearing: Mutex::default(),
            readiness_changed: Condvar::new(),
            advance: advance as u64,
            run_nanoseconds: AtomicU64::new(0),
            hops: AtomicU64::new(0),
            late_masks: AtomicU64::new(0),
            dropped_frames: AtomicU64::new(0),
            invalid_masks: AtomicU64::new(0),
            oversized_block: AtomicU64::new(0),
            hop_nanoseconds: AtomicU32::new(0),
            presence: AtomicU32::new(f32::NAN.to_bits()),
        }
    }

    /// State of the model.
    pub fn readiness(&self) -> Readiness {
        [Readiness::Loading, Readiness::Ready, Readiness::Failed]
            [usize::from(self.readiness.load(Ordering::Acquire))]
    }

    /// Blocks while the model loads, at most until `deadline`. Returns the state then.
    pub fn wait_while_loading(&self, deadline: Instant) -> Readiness {
        let mut outcome = self.outcome.lock();
        while self.readiness() == Readiness::Loading
            && !self.readiness_changed.wait_until(&mut outcome, deadline).timed_out()
        {}
        self.readiness()
    }

    /// Error message of a failed model, with file and remedy.
    pub fn problem(&self) -> Option<String> {
        self.outcome.lock().problem.clone()
    }

    /// Provider on which the separator runs, once it is ready.
    pub fn active_provider(&self) -> ActiveProvider {
        self.outcome.lock().active_provider.clone()
    }

    /// Numbers of frames whose masks could not be used.
    pub fn faults(&self) -> MaskFaults {
        MaskFaults {
            late: self.late_masks.load(Ordering::Relaxed),
            dropped: self.dropped_frames.load(Ordering::Relaxed),
            invalid: self.invalid_masks.load(Ordering::Relaxed),
        }
    }

    /// Size in samples of the largest block, if it was larger than the largest one for which masks are in time.
    pub fn oversized_block(&self) -> Option<usize> {
        Some(self.oversized_block.load(Ordering::Relaxed) as usize).filter(|samples| *samples > 0)
    }

    /// Records a block of `samples`, more than the largest one for which masks are in time.
    pub(crate) fn record_oversized_block(&self, samples: usize) {
        self.oversized_block.fetch_max(samples as u64, Ordering::Relaxed);
    }

    /// Average time of the separator per hop, over about the last 32 hops.
    ///
    /// The average covers at least the hops of one run of the network.
    pub fn hop_time(&self) -> Duration {
        Duration::from_nanos(self.hop_nanoseconds.load(Ordering::Relaxed).into())
    }

    /// Probability that the described sound is in the newest frame, if the model has this output.
    pub fn presence(&self) -> Option<f32> {
        Some(f32::from_bits(self.presence.load(Ordering::Relaxed))).filter(|presence| presence.is_finite())
    }

    pub(crate) fn set_presence(&self, presence: Option<f32>) {
        self.presence.store(presence.unwrap_or(f32::NAN).to_bits(), Ordering::Relaxed);
    }

    pub(crate) fn set_ready(&self, active_provider: ActiveProvider) {
        let mut outcome = self.outcome.lock();
        outcome.active_provider = active_provider;
        self.set_readiness(Readiness::Ready);
    }

    pub(crate) fn fail(&self, problem: String) {
        let mut outcome = self.outcome.lock();
        outcome.problem = Some(problem);
        self.set_readiness(Readiness::Failed);
    }

    /// The caller holds the lock of `outcome`, so that no waiting thread misses the notification.
    fn set_readiness(&self, readiness: Readiness) {
        self.readiness.store(readiness as u8, Ordering::Release);
        self.readiness_changed.notify_all();
    }

    /// What the listener hears.
    pub fn hearing(&self) -> HearingState {
        self.hearing.lock().clone()
    }

    /// Changes what the listener hears. Only the separator thread calls this.
    pub(crate) fn update_hearing(&self, change: impl FnOnce(&mut HearingState)) {
        change(&mut self.hearing.lock());
    }

    /// Records the time that the separator took for a hop. Only its thread calls this.
    pub(crate) fn count_hop(&self, duration: Duration) {
        let hops = self.hops.fetch_add(1, Ordering::Relaxed) + 1;
        let run = self.run_nanoseconds.load(Ordering::Relaxed) + duration.as_nanos() as u64;
        if !hops.is_multiple_of(self.advance) {
            self.run_nanoseconds.store(run, Ordering::Relaxed);
            return;
        }
        self.run_nanoseconds.store(0, Ordering::Relaxed);
        let hop = run / self.advance;
        let before = u64::from(self.hop_nanoseconds.load(Ordering::Relaxed));
        let weight = self.advance.min(32);
        let average = if before == 0 { hop } else { (before * (32 - weight) + hop * weight) / 32 };
        self.hop_nanoseconds.store(average.min(u32::MAX.into()) as u32, Ordering::Relaxed);
    }

    pub(crate) fn count_late_mask(&self) {
        self.late_masks.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_invalid_mask(&self) {
        self.invalid_masks.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_dropped_frame(&self) {
        self.dropped_frames.fetch_add(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hop_time_is_run_time_divided_by_its_hops() {
        let status = Status::new(40);
        for run in 1..=3_u32 {
            for hop in 1..=40 {
                status.count_hop(Duration::from_millis(if hop == 40 { 400 * u64::from(run) } else { 0 }));
            }
            assert_eq!(status.hop_time(), Duration::from_millis(10) * run);
        }
        status.count_hop(Duration::from_secs(1));
        assert_eq!(status.hop_time(), Duration::from_millis(30), "a run counts once it is over");
    }

    #[test]
    fn hop_time_is_average_of_recent_hops_if_each_runs() {
        let status = Status::new(1);
        status.count_hop(Duration::from_millis(8));
        assert_eq!(status.hop_time(), Duration::from_millis(8));
        (0..200).for_each(|_| status.count_hop(Duration::from_millis(2)));
        assert!(status.hop_time().abs_diff(Duration::from_millis(2)) < Duration::from_micros(20));
    }
}
