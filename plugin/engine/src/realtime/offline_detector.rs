//! Detection of hosts that render faster than real time, in which the audio thread may wait.

use std::time::{Duration, Instant};

/// Shortest time span of the comparison, once it has passed.
///
/// Sound card clocks drift by about 0.1 ms per second. Over this span that is too little to look
/// like a host that renders.
const MEASUREMENT_INTERVAL: Duration = Duration::from_secs(1);

/// Progress of the host at one moment since the stream began.
#[derive(Clone, Copy)]
struct Checkpoint {
    samples: u64,
    /// Elapsed time without the time spent waiting for the separator.
    busy: Duration,
}

/// Compares the samples that the host has requested with the time that it took.
///
/// Hosts and wrappers report the offline mode late or not at all. A host that renders requests
/// samples sooner than a sound card could play them. Time spent waiting for the separator does not
/// count, since it is not the host's. All methods but `new` run on the audio thread and are
/// real-time safe.
pub struct OfflineDetector {
    sample_rate: f64,
    /// Lead in seconds that a live host can have: its block, plus half a frame for jitter.
    slack: f64,
    now: Checkpoint,
    start: Option<Instant>,
    waited: Duration,
    /// Start of the comparison: `MEASUREMENT_INTERVAL` or more before `now`, or the stream's start.
    older: Checkpoint,
    /// Start of the next comparison.
    newer: Checkpoint,
}

impl OfflineDetector {
    /// Creates a detector. `slack` is the lead that a live host can have, in samples.
    pub fn new(sample_rate: f64, slack: usize) -> Self {
        let zero = Checkpoint { samples: 0, busy: Duration::ZERO };
        Self {
            sample_rate,
            slack: slack as f64 / sample_rate,
            now: zero,
            start: None,
            waited: Duration::ZERO,
            older: zero,
            newer: zero,
        }
    }

    /// Discards all measurements, as a new stream begins.
    pub fn restart(&mut self) {
        *self = Self { sample_rate: self.sample_rate, slack: self.slack, ..Self::new(self.sample_rate, 0) };
    }

    /// Records that the host has passed `samples` more samples.
    pub fn advance(&mut self, samples: usize, now: Instant) {
        let elapsed = now.duration_since(*self.start.get_or_insert(now));
        self.now.samples += samples as u64;
        self.now.busy = elapsed.saturating_sub(self.waited);
        if self.now.busy - self.newer.busy > MEASUREMENT_INTERVAL {
            self.older = self.newer;
            self.newer = self.now;
        }
    }

    /// Records time spent waiting for the separator.
    pub fn record_wait(&mut self, duration: Duration) {
        self.waited += duration;
    }

    /// Whether the host is further ahead of the wall clock than a live host can be.
    pub fn is_faster_than_realtime(&self) -> bool {
        let samples = (self.now.samples - self.older.samples) as f64 / self.sample_rate;
        let busy = (self.now.busy - self.older.busy).as_secs_f64();
        samples - busy > self.slack
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: f64 = 48_000.0;

    fn play(detector: &mut OfflineDetector, start: Instant, blocks: u64, block_seconds: f64) -> Vec<bool> {
        (0..blocks)
            .map(|block| {
                detector.advance(512, start + Duration::from_secs_f64(block as f64 * block_seconds));
                detector.is_faster_than_realtime()
            })
            .collect()
    }

    #[test]
    fn rendering_host_is_detected_within_three_blocks_and_stays_so() {
        let ahead = play(&mut OfflineDetector::new(RATE, 512 + 768), Instant::now(), 20_000, 0.0005);
        assert!(ahead[3..].iter().all(|&ahead| ahead));
    }

    #[test]
    fn live_host_with_fast_sound_card_is_never_detected() {
        let blocks = 3600 * 48_000 / 512;
        let fast_clock = 512.0 / RATE * (1.0 - 200e-6);
        let ahead = play(&mut OfflineDetector::new(RATE, 512 + 768), Instant::now(), blocks, fast_clock);
        assert!(ahead.iter().all(|&ahead| !ahead));
    }

    #[test]
    fn rendering_host_is_detected_despite_waits_for_separator() {
        let mut detector = OfflineDetector::new(RATE, 512 + 768);
        let start = Instant::now();
        detector.advance(2048, start);
        detector.record_wait(Duration::from_secs(2));
        detector.advance(512, start + Duration::from_millis(2001));
        assert!(detector.is_faster_than_realtime());
    }
}
