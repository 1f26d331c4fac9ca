//! Measurement of how far a host is ahead of the wall clock, which is how long the audio thread may wait.

use std::time::{Duration, Instant};

use crate::realtime::mask_queue::WaitLimit;

/// Shortest time span of the comparison, once it has passed.
///
/// Sound card clocks drift by about 0.1 ms per second. Over this span that is too little to look
/// like a host that renders.
const MEASUREMENT_INTERVAL: Duration = Duration::from_secs(1);

/// Lead without waits that no live host has: the host renders.
///
/// A live host that is ahead by a second can gain as much again while the audio thread waits.
const RENDER_LEAD: f64 = 2.0;

/// Progress of the host at one moment since the stream began.
#[derive(Clone, Copy, Default)]
struct Checkpoint {
    samples: u64,
    elapsed: Duration,
    /// Part of `elapsed` that the audio thread waited for the separator.
    waited: Duration,
}

impl Checkpoint {
    /// Time that the host took itself.
    fn busy(&self) -> Duration {
        self.elapsed.saturating_sub(self.waited)
    }
}

/// Compares the samples that the host has requested with the time that it took.
///
/// Hosts and wrappers report the offline mode late or not at all, and some live hosts work ahead. A
/// host that is ahead requests samples sooner than a sound card could play them. All methods but
/// `new` run on the audio thread and are real-time safe.
pub struct OfflineDetector {
    sample_rate: f64,
    /// Lead in seconds that a host without any work ahead can have: its block, plus half a frame for jitter.
    slack: f64,
    start: Option<Instant>,
    now: Checkpoint,
    /// Start of the comparison: `MEASUREMENT_INTERVAL` or more before `now`, or the stream's start.
    older: Checkpoint,
    /// Start of the next comparison.
    newer: Checkpoint,
}

impl OfflineDetector {
    /// Creates a detector. `slack` is the lead that a live host can have, in samples.
    pub fn new(sample_rate: f64, slack: usize) -> Self {
        let zero = Checkpoint::default();
        Self {
            sample_rate,
            slack: slack as f64 / sample_rate,
            start: None,
            now: zero,
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
        self.now.elapsed = now.duration_since(*self.start.get_or_insert(now));
        self.now.samples += samples as u64;
        if self.now.busy().saturating_sub(self.newer.busy()) > MEASUREMENT_INTERVAL {
            self.older = self.newer;
            self.newer = self.now;
        }
    }

    /// Records time spent waiting for the separator.
    pub fn record_wait(&mut self, duration: Duration) {
        self.now.waited += duration;
    }

    /// Returns how long the audio thread may wait at the time `now`: not longer than the host is ahead.
    ///
    /// Waits count as time that the host has lost, so that a live host which works ahead keeps its lead.
    /// Only where the host is too far ahead to be live do they not count.
    pub fn wait_limit(&self, now: Instant) -> WaitLimit {
        let samples = (self.now.samples - self.older.samples) as f64 / self.sample_rate;
        let busy = self.now.busy().saturating_sub(self.older.busy()).as_secs_f64();
        if samples - busy > RENDER_LEAD {
            return WaitLimit::Lead(Duration::MAX);
        }
        let elapsed = self.start.map_or(Duration::ZERO, |start| now.duration_since(start));
        let lead = samples - elapsed.saturating_sub(self.older.elapsed).as_secs_f64();
        if lead > self.slack {
            WaitLimit::Lead(Duration::from_secs_f64(lead - self.slack))
        } else {
            WaitLimit::None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: f64 = 48_000.0;

    fn play(detector: &mut OfflineDetector, start: Instant, blocks: u64, block_seconds: f64) -> Vec<bool> {
        (0..blocks)
            .map(|block| {
                let now = start + Duration::from_secs_f64(block as f64 * block_seconds);
                detector.advance(512, now);
                detector.wait_limit(now).is_wait_allowed()
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
    fn host_that_works_ahead_gets_back_its_lead() {
        let (mut detector, start) = (OfflineDetector::new(RATE, 512 + 768), Instant::now());
        detector.advance(9_600 + 1_280, start);
        let WaitLimit::Lead(ahead) = detector.wait_limit(start) else { panic!("the host is not ahead") };
        assert!(ahead.abs_diff(Duration::from_millis(200)) < Duration::from_micros(1), "{ahead:?}");
        detector.record_wait(ahead);
        assert_eq!(detector.wait_limit(start + ahead + Duration::from_micros(1)), WaitLimit::None);
    }

    #[test]
    fn rendering_host_is_waited_for_however_slow_the_separator() {
        let (mut detector, mut now) = (OfflineDetector::new(RATE, 512 + 768), Instant::now());
        for _ in 0..400 {
            detector.advance(512, now);
            let wait = Duration::from_millis(if detector.wait_limit(now).is_wait_allowed() { 30 } else { 0 });
            detector.record_wait(wait);
            now += wait + Duration::from_micros(100);
        }
        assert_eq!(detector.wait_limit(now), WaitLimit::Lead(Duration::MAX));
    }
}
