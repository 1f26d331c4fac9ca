//! Whether the host runs ahead of the wall clock, so that waiting for the separator cannot hurt.

use std::time::{Duration, Instant};

/// How far back the comparison reaches, at least. Short enough that a sound card's clock, which
/// drifts by some 0.1 ms a second, is never mistaken for a host that renders.
const MEASUREMENT_INTERVAL: Duration = Duration::from_secs(1);

#[derive(Clone, Copy)]
struct Checkpoint {
    samples: u64,
    worked: Duration,
}

/// Compares the samples a host has asked for with the time it took over them.
///
/// Hosts and wrappers report the offline mode late or not at all; a host that renders gives
/// itself away by asking for samples sooner than a sound card could play them. Time spent waiting
/// for the separator does not count: it is ours, not the host's.
pub struct OfflineDetector {
    sample_rate: f64,
    /// Seconds ahead that a host playing live can be: its block, and half a frame for jitter.
    slack: f64,
    now: Checkpoint,
    began: Option<Instant>,
    waited: Duration,
    /// Two earlier moments; the older one lies at least `MEASUREMENT_INTERVAL` back, once there is one.
    older: Checkpoint,
    newer: Checkpoint,
}

impl OfflineDetector {
    /// `slack` in samples.
    pub fn new(sample_rate: f64, slack: usize) -> Self {
        let zero = Checkpoint { samples: 0, worked: Duration::ZERO };
        Self {
            sample_rate,
            slack: slack as f64 / sample_rate,
            now: zero,
            began: None,
            waited: Duration::ZERO,
            older: zero,
            newer: zero,
        }
    }

    /// Forgets the past: a new stream begins.
    pub fn restart(&mut self) {
        *self = Self { sample_rate: self.sample_rate, slack: self.slack, ..Self::new(self.sample_rate, 0) };
    }

    /// Notes that the host handed over `samples` more.
    pub fn advance(&mut self, samples: usize, now: Instant) {
        let elapsed = now.duration_since(*self.began.get_or_insert(now));
        self.now.samples += samples as u64;
        self.now.worked = elapsed.saturating_sub(self.waited);
        if self.now.worked - self.newer.worked > MEASUREMENT_INTERVAL {
            self.older = self.newer;
            self.newer = self.now;
        }
    }

    /// Notes time spent waiting for the separator.
    pub fn waited(&mut self, duration: Duration) {
        self.waited += duration;
    }

    /// Whether the host is further ahead of the wall clock than one that plays live can be.
    pub fn is_faster_than_realtime(&self) -> bool {
        let samples = (self.now.samples - self.older.samples) as f64 / self.sample_rate;
        let worked = (self.now.worked - self.older.worked).as_secs_f64();
        samples - worked > self.slack
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: f64 = 48_000.0;

    fn play(detector: &mut OfflineDetector, start: Instant, blocks: u64, seconds_a_block: f64) -> Vec<bool> {
        (0..blocks)
            .map(|block| {
                detector.advance(512, start + Duration::from_secs_f64(block as f64 * seconds_a_block));
                detector.is_faster_than_realtime()
            })
            .collect()
    }

    #[test]
    fn a_host_that_renders_is_ahead_within_three_blocks_and_stays_so() {
        let ahead = play(&mut OfflineDetector::new(RATE, 512 + 768), Instant::now(), 20_000, 0.0005);
        assert!(ahead[3..].iter().all(|&ahead| ahead));
    }

    #[test]
    fn a_host_that_plays_live_is_never_ahead_even_with_a_fast_sound_card() {
        let an_hour = 3600 * 48_000 / 512;
        let fast_clock = 512.0 / RATE * (1.0 - 200e-6);
        let ahead = play(&mut OfflineDetector::new(RATE, 512 + 768), Instant::now(), an_hour, fast_clock);
        assert!(ahead.iter().all(|&ahead| !ahead));
    }

    #[test]
    fn our_own_waiting_does_not_make_a_rendering_host_look_live() {
        let mut detector = OfflineDetector::new(RATE, 512 + 768);
        let start = Instant::now();
        detector.advance(2048, start);
        detector.waited(Duration::from_secs(2));
        detector.advance(512, start + Duration::from_millis(2001));
        assert!(detector.is_faster_than_realtime());
    }
}
