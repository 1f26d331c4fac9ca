//! What an engine tells the outside about itself, without locks on the audio thread.

use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

/// How far the separator has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Readiness {
    /// The model is being loaded; audio passes dry.
    Loading,
    /// Frames are being separated.
    Ready,
    /// There is no working model; audio passes dry. [`Status::problem`] says why.
    Failed,
}

/// Counters and messages of one engine. The separator thread and the audio thread write, anyone
/// reads.
pub struct Status {
    readiness: AtomicU8,
    problem: Mutex<Option<String>>,
    hops: AtomicU64,
    late: AtomicU64,
    dropped: AtomicU64,
    unusable: AtomicU64,
    /// Nanoseconds a hop takes the separator, averaged over about the last thirty.
    hop_nanoseconds: AtomicU32,
    /// The bits of an `f32`, not a number where it is not known.
    presence: AtomicU32,
}

impl Default for Status {
    fn default() -> Self {
        Self {
            readiness: AtomicU8::new(Readiness::Loading as u8),
            problem: Mutex::new(None),
            hops: AtomicU64::new(0),
            late: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            unusable: AtomicU64::new(0),
            hop_nanoseconds: AtomicU32::new(0),
            presence: AtomicU32::new(f32::NAN.to_bits()),
        }
    }
}

impl Status {
    pub fn readiness(&self) -> Readiness {
        [Readiness::Loading, Readiness::Ready, Readiness::Failed]
            [usize::from(self.readiness.load(Ordering::Acquire))]
    }

    /// What is wrong, with the file and the remedy.
    pub fn problem(&self) -> Option<String> {
        self.problem.lock().clone()
    }

    /// Hops the separator has made a mask for.
    pub fn hops(&self) -> u64 {
        self.hops.load(Ordering::Relaxed)
    }

    /// Parcels that were not home when due, and were concealed.
    pub fn late(&self) -> u64 {
        self.late.load(Ordering::Relaxed)
    }

    /// Hops that could not be sent, since every parcel was on its way.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Masks that were not finite; their frames pass dry.
    pub fn unusable(&self) -> u64 {
        self.unusable.load(Ordering::Relaxed)
    }

    /// Time the separator takes for a hop, averaged over about the last thirty.
    pub fn hop_time(&self) -> Duration {
        Duration::from_nanos(self.hop_nanoseconds.load(Ordering::Relaxed).into())
    }

    /// Probability that the described sound is in what the separator heard last, where the model
    /// tells.
    pub fn presence(&self) -> Option<f32> {
        Some(f32::from_bits(self.presence.load(Ordering::Relaxed))).filter(|presence| presence.is_finite())
    }

    pub(crate) fn set_presence(&self, presence: Option<f32>) {
        self.presence.store(presence.unwrap_or(f32::NAN).to_bits(), Ordering::Relaxed);
    }

    pub(crate) fn set_ready(&self) {
        self.readiness.store(Readiness::Ready as u8, Ordering::Release);
    }

    pub(crate) fn fail(&self, problem: String) {
        *self.problem.lock() = Some(problem);
        self.readiness.store(Readiness::Failed as u8, Ordering::Release);
    }

    pub(crate) fn count_hop(&self, took: Duration) {
        let took = took.as_nanos().min(u128::from(u32::MAX)) as u32;
        let before = self.hop_nanoseconds.load(Ordering::Relaxed);
        let average = if before == 0 { took } else { before - before / 32 + took / 32 };
        self.hop_nanoseconds.store(average, Ordering::Relaxed);
        self.hops.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_late(&self) {
        self.late.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_unusable(&self) {
        self.unusable.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn count_dropped(&self) {
        self.dropped.fetch_add(1, Ordering::Relaxed);
    }
}
