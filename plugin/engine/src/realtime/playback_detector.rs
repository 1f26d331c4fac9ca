//! Detection of hosts that say that they render offline, and play.

use std::time::{Duration, Instant};

/// Part of the time compared, in seconds per second, by which the calls of a host that plays may be early or late.
const TOLERANCE: f64 = 0.05;

/// Jitter of the calls of a host that plays, in seconds.
const JITTER: f64 = 0.001;

/// Shortest time span of the comparison, in seconds of audio, once it has passed.
const MEASUREMENT_INTERVAL: f64 = 1.0;

/// Part of the gaps that the thread of a host which plays computes at most; for the rest it waits for the sound card.
const MAX_COMPUTING: f64 = 0.75;

/// Part of a block that the gaps of a held host last on average if it plays: it is late, and calls at once.
const MAX_HELD_GAP: f64 = 0.5;

/// Weight of the newest gap in the average.
const GAP_WEIGHT: f64 = 0.125;

/// Calls so far at one moment, in seconds.
#[derive(Clone, Copy, Default)]
struct Checkpoint {
    /// Audio of the calls that have returned.
    audio: f64,
    /// Time from the return of a call to the next call, without pauses.
    outside: f64,
    /// Part of `outside` in which the thread of the host computed.
    computed: f64,
    /// Time inside the calls.
    inside: f64,
    /// Part of `inside` that the audio thread waited for masks.
    waited: f64,
}

/// Compares the calls of a host that says *offline* with the clock.
///
/// A host that plays calls when its sound card needs the next block. If a call takes longer, the next gap is shorter by as much,
/// so that the calls follow the clock. The gaps of a host that renders do not depend on the calls: if they follow the clock by
/// chance, they do so no longer as soon as a call takes longer. And in most hosts that render the thread computes in the gaps,
/// while in one that plays it sleeps.
///
/// All methods but `new` run on the audio thread and are real-time safe. `thread_time` is the processor time of this thread.
pub struct PlaybackDetector {
    sample_rate: f64,
    /// Most seconds by which calls of a host that plays are early or late: its block, plus half a frame.
    slack: f64,
    /// Calls that have begun.
    calls: u64,
    /// Start of the current call.
    begin: Option<Instant>,
    /// End of the call before it, and the processor time of the thread then.
    end: Option<(Instant, Option<Duration>)>,
    /// Duration in seconds of the audio of the current call.
    block: f64,
    now: Checkpoint,
    /// Start of the comparison: `MEASUREMENT_INTERVAL` or more before `now`, or the stream's start.
    older: Checkpoint,
    /// Start of the next comparison.
    newer: Checkpoint,
    /// Average gap before a call, in parts of the block before it.
    gap: f64,
    /// Whether the calls have ever followed the clock.
    has_followed: bool,
    /// Whether the host has been found to play.
    plays: bool,
}

impl PlaybackDetector {
    /// Creates a detector. `slack` is the lead that a host which plays can have, in samples.
    pub fn new(sample_rate: f64, slack: usize) -> Self {
        let zero = Checkpoint::default();
        Self {
            sample_rate,
            slack: slack as f64 / sample_rate,
            calls: 0,
            begin: None,
            end: None,
            block: 0.0,
            now: zero,
            older: zero,
            newer: zero,
            gap: 1.0,
            has_followed: false,
            plays: false,
        }
    }

    /// Discards all measurements, as a new stream begins.
    pub fn restart(&mut self) {
        *self = Self { slack: self.slack, ..Self::new(self.sample_rate, 0) };
    }

    /// Records the begin of a call with `samples` samples.
    pub fn begin_call(&mut self, samples: usize, now: Instant, thread_time: Option<Duration>) {
        if let Some((end, thread_time_then)) = self.end {
            // A longer gap is a pause.
            let longest = self.slack.max(2.0 * self.block);
            let gap = now.duration_since(end).as_secs_f64().min(longest);
            self.now.outside += gap;
            let computed = thread_time.zip(thread_time_then).map(|(now, then)| now.saturating_sub(then));
            self.now.computed += computed.unwrap_or_default().as_secs_f64().min(gap);
            self.now.audio += self.block;
            if self.block > 0.0 {
                self.gap += GAP_WEIGHT * ((gap / self.block).min(2.0) - self.gap);
            }
        }
        if self.now.audio - self.newer.audio > MEASUREMENT_INTERVAL {
            (self.older, self.newer) = (self.newer, self.now);
        }
        self.block = samples as f64 / self.sample_rate;
        self.begin = Some(now);
        self.calls += 1;
        self.plays &= self.follows_clock();
    }

    /// Records the end of the call.
    pub fn end_call(&mut self, now: Instant, thread_time: Option<Duration>) {
        if let Some(begin) = self.begin {
            self.now.inside += now.duration_since(begin).as_secs_f64();
        }
        self.end = Some((now, thread_time));
    }

    /// Records time spent waiting for masks in the current call.
    pub fn record_wait(&mut self, duration: Duration) {
        self.now.waited += duration.as_secs_f64();
    }

    /// Time from the begin of the call that the call should take while no mask is due, to find out whether the host plays.
    ///
    /// Half a block, which is too little to disturb a host that plays; zero for a host whose calls do not follow the clock.
    pub fn probe(&self) -> Duration {
        let seconds = if !self.plays && self.follows_clock() { self.block / 2.0 } else { 0.0 };
        Duration::from_secs_f64(seconds)
    }

    /// Whether the host is known to play, so that a wait must not make it late.
    pub fn plays(&self) -> bool {
        self.plays
    }

    /// Returns whether the host plays, now that a mask is missing.
    pub fn decide(&mut self) -> bool {
        self.plays = self.follows_clock();
        // The first gap alone may be a coincidence.
        self.has_followed |= self.plays && self.calls > 2;
        if !self.plays && self.has_followed && self.gap < MAX_HELD_GAP {
            // It was late once, and was held since.
            (self.older, self.newer) = (self.now, self.now);
            self.plays = true;
        }
        self.plays
    }

    /// Whether the calls since the start of the comparison began when a sound card would have requested them.
    ///
    /// The host was not held for longer than the tolerance, apart from the probes.
    fn follows_clock(&self) -> bool {
        let (now, older) = (&self.now, &self.older);
        let audio = now.audio - older.audio;
        let outside = now.outside - older.outside;
        let late = outside + now.inside - older.inside - audio;
        let late_without_waits = late - (now.waited - older.waited);
        let tolerance = (JITTER + TOLERANCE * audio).min(self.slack);
        self.calls > 1
            && late <= tolerance
            && late_without_waits >= -tolerance
            && now.computed - older.computed <= MAX_COMPUTING * outside
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: f64 = 48_000.0;
    const BLOCK: usize = 512;
    const BLOCK_SECONDS: f64 = BLOCK as f64 / RATE;
    /// Seconds from a request to when its mask is due: two blocks.
    const DUE_BLOCKS: usize = 2;

    /// When a host calls.
    #[derive(Clone, Copy, Debug)]
    enum Host {
        /// At each block's time, plus a jitter of up to this many seconds; at once if it is late.
        Plays { jitter: f64 },
        /// Several blocks at once, at the time of the first of them.
        PlaysInBursts { blocks: usize },
        /// At each block's time, but `seconds` late for the block `at`.
        PlaysLateOnce { at: usize, seconds: f64 },
        /// This many seconds after the previous call has returned, and up to `random` more.
        Renders { least: f64, random: f64, computes: bool },
    }

    /// Durations of the calls of `host` in seconds, and the number of masks that were missed.
    struct Simulated {
        calls: Vec<f64>,
        missed: usize,
    }

    impl Simulated {
        fn longest_call(&self) -> f64 {
            self.calls.iter().copied().fold(0.0, f64::max)
        }
    }

    /// Simulates `host` with a separator that loads for `loading` seconds, and then takes `cost` seconds per block.
    fn simulate(host: Host, blocks: usize, loading: f64, cost: f64, seed: u32) -> Simulated {
        let start = Instant::now();
        let at = |seconds: f64| start + Duration::from_secs_f64(seconds);
        let mut detector = PlaybackDetector::new(RATE, BLOCK + 768);
        let mut random = seed.wrapping_mul(2).wrapping_add(1);
        // Xorshift (Marsaglia, 2003), from 0 to 1.
        let mut next = || {
            random ^= random << 13;
            random ^= random >> 17;
            random ^= random << 5;
            f64::from(random) / f64::from(u32::MAX)
        };
        let (mut time, mut free, mut ready) = (0.0_f64, loading, Vec::<f64>::new());
        let mut thread_time = 0.0;
        let mut simulated = Simulated { calls: Vec::new(), missed: 0 };
        for number in 0..blocks {
            let due = match host {
                Host::Plays { jitter } => number as f64 * BLOCK_SECONDS + jitter * next(),
                Host::PlaysInBursts { blocks } => (number - number % blocks) as f64 * BLOCK_SECONDS,
                Host::PlaysLateOnce { at, seconds } => {
                    number as f64 * BLOCK_SECONDS + if number == at { seconds } else { 0.0 }
                }
                Host::Renders { least, random, .. } if number > 0 => time + least + random * next(),
                Host::Renders { .. } => 0.0,
            };
            if matches!(host, Host::Renders { computes: true, .. }) {
                thread_time += due - time;
            }
            time = time.max(due);
            let begin = time;
            detector.begin_call(BLOCK, at(time), Some(Duration::from_secs_f64(thread_time)));
            time += 0.000_1;
            if number <= DUE_BLOCKS {
                time = time.max(begin + detector.probe().as_secs_f64());
            }
            free = time.max(free) + cost;
            ready.push(free);
            if let Some(&mask) = number.checked_sub(DUE_BLOCKS).map(|due| &ready[due])
                && mask > time
            {
                if detector.decide() {
                    simulated.missed += 1;
                } else {
                    detector.record_wait(Duration::from_secs_f64(mask - time));
                    time = mask;
                }
            }
            detector.end_call(at(time), Some(Duration::from_secs_f64(thread_time)));
            simulated.calls.push(time - begin);
        }
        simulated
    }

    #[test]
    fn host_that_plays_is_never_held_longer_than_a_block() {
        for jitter in [0.0, 0.001, 0.002] {
            for (loading, cost) in [(0.0, 0.02), (2.0, 0.002), (2.0, 0.03)] {
                let simulated = simulate(Host::Plays { jitter }, 2_000, loading, cost, 7);
                let longest = simulated.longest_call();
                assert!(longest < BLOCK_SECONDS, "{longest} s, jitter {jitter}, {loading} and {cost} s");
            }
        }
    }

    #[test]
    fn bursts_are_not_held_once_the_model_is_loaded() {
        let simulated = simulate(Host::PlaysInBursts { blocks: 2 }, 2_000, 1.0, 0.004, 7);
        let held = simulated.calls.iter().filter(|&&call| call > BLOCK_SECONDS).count();
        assert!(held <= 4, "{held} calls");
    }

    #[test]
    fn fast_render_waits_for_every_mask_however_slow_the_separator() {
        for cost in [0.001, 0.010, BLOCK_SECONDS, 0.011, 0.05] {
            for own in [0.0, 0.001, 0.005] {
                let host = Host::Renders { least: own, random: own, computes: false };
                let simulated = simulate(host, 1_000, 1.0, cost, 3);
                assert_eq!(simulated.missed, 0, "{host:?}, {cost} s per mask");
            }
        }
    }

    #[test]
    fn render_with_heavy_plugins_waits_for_every_mask() {
        for own in [0.008, 0.009, 0.012, 0.013, 0.02, 0.1] {
            for cost in [0.004, 0.02] {
                let host = Host::Renders { least: own, random: 0.1 * own, computes: false };
                let simulated = simulate(host, 500, 0.5, cost, 11);
                assert_eq!(simulated.missed, 0, "{host:?}, {cost} s per mask");
            }
        }
    }

    #[test]
    fn render_at_the_pace_of_the_clock_is_told_apart_by_the_probe() {
        // Without the probe this host would be taken for one that plays.
        let host = Host::Renders { least: BLOCK_SECONDS - 0.000_1, random: 0.0, computes: false };
        assert_eq!(simulate(host, 500, 0.5, 0.02, 11).missed, 0);
    }

    /// Masks that each of 1,000 renders missed, which are half to twice as fast as real time.
    ///
    /// The separator loads first, and is slower than real time.
    fn missed_by_random_renders(computes: bool) -> Vec<usize> {
        let missed = |seed: u32| {
            let least = BLOCK_SECONDS * (0.5 + f64::from(seed % 40) / 40.0);
            let random = BLOCK_SECONDS * f64::from(seed % 7) / 7.0;
            simulate(Host::Renders { least, random, computes }, 300, 0.5, 0.012, seed).missed
        };
        (0..1_000).map(missed).collect()
    }

    #[test]
    fn render_whose_thread_computes_misses_no_mask() {
        assert_eq!(missed_by_random_renders(true).iter().sum::<usize>(), 0);
    }

    #[test]
    fn render_whose_thread_sleeps_misses_hardly_any_mask() {
        let missed: usize = missed_by_random_renders(false).iter().sum();
        assert!(missed < 600, "{missed} of 300,000");
    }

    #[test]
    fn host_that_plays_is_held_only_shortly_after_it_was_late() {
        let late = Host::PlaysLateOnce { at: 100, seconds: 0.05 };
        let simulated = simulate(late, 2_000, 0.0, 0.03, 7);
        let held = simulated.calls.iter().filter(|&&call| call > BLOCK_SECONDS).count();
        assert!((1..40).contains(&held), "{held} calls");
    }

    #[test]
    fn host_that_plays_after_a_pause_is_not_held() {
        let start = Instant::now();
        let mut detector = PlaybackDetector::new(RATE, BLOCK + 768);
        let mut call = |seconds: f64| {
            detector.begin_call(BLOCK, start + Duration::from_secs_f64(seconds), None);
            detector.end_call(start + Duration::from_secs_f64(seconds + 0.000_1), None);
            detector.decide()
        };
        for number in 0..200 {
            let plays = call(f64::from(number) * BLOCK_SECONDS);
            assert!(plays || number == 0, "call {number}");
        }
        assert!((0..200).all(|number| call(30.0 + f64::from(number) * BLOCK_SECONDS)));
    }

    #[test]
    fn restart_forgets_that_the_host_played() {
        let start = Instant::now();
        let mut detector = PlaybackDetector::new(RATE, BLOCK + 768);
        for number in 0..10 {
            let begin = start + Duration::from_secs_f64(f64::from(number) * BLOCK_SECONDS);
            detector.begin_call(BLOCK, begin, None);
            detector.end_call(begin, None);
        }
        assert!(detector.decide());
        detector.restart();
        assert!(!detector.plays() && !detector.decide());
    }
}
