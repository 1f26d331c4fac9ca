//! Decision whether, and how long, the audio thread waits for a mask.

use std::time::{Duration, Instant};

use crate::engine::mask_exchange::MaskExchange;
use crate::realtime::mask_queue::WaitLimit;
use crate::realtime::offline_detector::OfflineDetector;
use crate::realtime::playback_detector::PlaybackDetector;
use crate::realtime::separator_thread::{SPIN_DURATION, WAIT_TIMEOUT};
use crate::realtime::thread_time::thread_time;

/// Waits for masks while the host renders. All methods but `new` are real-time safe.
pub(super) struct WaitPolicy {
    detector: OfflineDetector,
    /// `Some` if the host says that it renders offline.
    playback: Option<PlaybackDetector>,
    /// Longest wait for the next reply, however far ahead the host is; zero once the separator has missed it.
    timeout: Duration,
}

impl WaitPolicy {
    /// Creates a policy. `offline`: the host says that it renders. `slack` is the lead of a host without any work ahead, in
    /// samples.
    pub fn new(offline: bool, sample_rate: f64, slack: usize) -> Self {
        Self {
            detector: OfflineDetector::new(sample_rate, slack),
            playback: offline.then(|| PlaybackDetector::new(sample_rate, slack)),
            timeout: WAIT_TIMEOUT,
        }
    }

    /// Discards all measurements, as a new stream begins.
    pub fn restart(&mut self) {
        self.detector.restart();
        if let Some(playback) = &mut self.playback {
            playback.restart();
        }
        self.timeout = WAIT_TIMEOUT;
    }

    /// Whether the host says that it renders offline, or is too far ahead to play live, so that the network never rests.
    pub fn is_render(&self) -> bool {
        self.playback.is_some() || self.limit().is_render()
    }

    /// Records that a call begins, with `samples` more samples. Until the first mask is due, may take half of their duration.
    pub fn begin_call(&mut self, samples: usize, is_mask_due: bool) {
        let now = Instant::now();
        self.detector.advance(samples, now);
        let Some(playback) = &mut self.playback else { return };
        playback.begin_call(samples, now, thread_time());
        if !is_mask_due {
            std::thread::sleep(playback.probe());
        }
    }

    /// Records that the call ends.
    pub fn end_call(&mut self) {
        if let Some(playback) = &mut self.playback {
            playback.end_call(Instant::now(), thread_time());
        }
    }

    /// Returns how long the audio thread may wait now.
    pub fn limit(&self) -> WaitLimit {
        match &self.playback {
            Some(playback) if !playback.plays() => WaitLimit::Offline,
            _ => self.detector.wait_limit(Instant::now()),
        }
    }

    /// Stores the replies that have arrived, as [`MaskExchange::receive`] does.
    pub fn receive(&mut self, masks: &mut MaskExchange, newest: u64) {
        if masks.receive(newest) {
            // The separator works: a wait is worthwhile again.
            self.timeout = WAIT_TIMEOUT;
        }
    }

    /// Blocks until the mask of frame `due` has arrived or failed, or `limit` has passed.
    ///
    /// After the timeout it does not block again until any reply has arrived.
    pub fn wait_for_mask(&mut self, masks: &mut MaskExchange, newest: u64, due: u64, mut limit: WaitLimit) {
        if !masks.is_in_flight(due) {
            return;
        }
        let start = Instant::now();
        if let Some(playback) = &mut self.playback {
            limit = if playback.decide() { self.detector.wait_limit(start) } else { WaitLimit::Offline };
        }
        let lead = match limit {
            WaitLimit::None => return,
            WaitLimit::Lead(lead) => lead,
            WaitLimit::Offline => Duration::MAX,
        };
        while masks.is_in_flight(due) && start.elapsed() <= lead {
            if start.elapsed() > self.timeout {
                self.timeout = Duration::ZERO;
                break;
            }
            if start.elapsed() < SPIN_DURATION {
                std::thread::yield_now();
            } else {
                std::thread::sleep(Duration::from_micros(50));
            }
            self.receive(masks, newest);
        }
        let waited = start.elapsed();
        self.detector.record_wait(waited);
        if let Some(playback) = &mut self.playback {
            playback.record_wait(waited);
        }
    }
}
