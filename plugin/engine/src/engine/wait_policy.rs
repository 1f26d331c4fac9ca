//! Decision whether, and how long, the audio thread waits for a mask.

use std::time::{Duration, Instant};

use crate::engine::mask_exchange::MaskExchange;
use crate::realtime::mask_queue::WaitLimit;
use crate::realtime::offline_detector::OfflineDetector;
use crate::realtime::separator_thread::{SPIN_DURATION, WAIT_TIMEOUT};

/// Waits for masks while the host renders. All methods but `new` are real-time safe.
pub(super) struct WaitPolicy {
    /// Whether the host says that it renders offline.
    offline: bool,
    detector: OfflineDetector,
    /// Longest wait for the next reply, however far ahead the host is; zero once the separator has missed it.
    timeout: Duration,
}

impl WaitPolicy {
    pub fn new(offline: bool, detector: OfflineDetector) -> Self {
        Self { offline, detector, timeout: WAIT_TIMEOUT }
    }

    /// Discards all measurements, as a new stream begins.
    pub fn restart(&mut self) {
        self.detector.restart();
        self.timeout = WAIT_TIMEOUT;
    }

    /// Records that the host passes `samples` more samples.
    pub fn advance(&mut self, samples: usize) {
        self.detector.advance(samples, Instant::now());
    }

    /// Returns how long the audio thread may wait now.
    pub fn limit(&self) -> WaitLimit {
        if self.offline { WaitLimit::Offline } else { self.detector.wait_limit(Instant::now()) }
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
    pub fn wait_for_mask(&mut self, masks: &mut MaskExchange, newest: u64, due: u64, limit: WaitLimit) {
        let lead = match limit {
            WaitLimit::None => return,
            WaitLimit::Lead(lead) => lead,
            WaitLimit::Offline => Duration::MAX,
        };
        let start = Instant::now();
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
        self.detector.record_wait(start.elapsed());
    }
}
