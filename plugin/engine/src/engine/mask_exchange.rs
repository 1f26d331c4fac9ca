//! Mask requests of the audio thread, from the newest frame until the frame is due.

use std::sync::Arc;

use crate::engine::timing::Timing;
use crate::realtime::mask_queue::{AudioEndpoint, FrameTask, MaskRequest, WaitLimit};
use crate::realtime::status::{Readiness, Status};

/// State of the request for one frame.
pub(super) enum RequestState {
    /// Not sent, or no longer needed.
    Idle,
    InFlight,
    Done(Box<MaskRequest>),
}

/// Sends a request per frame and keeps the replies until they are due.
///
/// All methods but `new` are real-time safe.
pub(super) struct MaskExchange {
    queue: AudioEndpoint,
    timing: Timing,
    status: Arc<Status>,
    /// Requests of the newest `delay_hops + 1` frames, indexed by [`Timing::ring_index`].
    requests: Vec<RequestState>,
    stream: u32,
    /// Whether the next frame does not follow the last one sent, so that it starts a new stream.
    discontinuity: bool,
}

impl MaskExchange {
    pub fn new(queue: AudioEndpoint, timing: Timing, status: Arc<Status>) -> Self {
        let requests = (0..=timing.delay_hops).map(|_| RequestState::Idle).collect();
        Self { queue, timing, status, requests, stream: 0, discontinuity: false }
    }

    /// Discards all requests and starts a new stream.
    pub fn reset(&mut self) {
        self.stream = self.stream.wrapping_add(1);
        self.discontinuity = false;
        self.queue.discard_before(self.stream);
        for state in &mut self.requests {
            if let RequestState::Done(request) = std::mem::replace(state, RequestState::Idle) {
                self.queue.release(request);
            }
        }
    }

    /// Makes the next frame start a new stream, while requests that are in flight stay valid.
    pub fn mark_discontinuity(&mut self) {
        self.discontinuity = true;
    }

    /// Sends the request for the newest frame, whose magnitude `write_magnitude` writes.
    ///
    /// `skipped` frames of silence before it were not sent. `query` is the active slot; `with_rest` lets what else is there
    /// compete with it.
    ///
    /// While the model loads, only a host that renders offline sends requests.
    pub fn send(
        &mut self,
        frame: u64,
        (task, skipped): (FrameTask, u32),
        (query, with_rest): (usize, bool),
        wait: WaitLimit,
        write_magnitude: impl FnOnce(&mut [f32]),
    ) {
        let can_send = match self.status.readiness() {
            Readiness::Ready => true,
            Readiness::Loading => wait == WaitLimit::Offline,
            Readiness::Failed => false,
        };
        let Some(mut request) = can_send.then(|| self.queue.acquire()).flatten() else {
            if can_send {
                self.status.count_dropped_frame();
            }
            self.discontinuity = true;
            return;
        };
        if std::mem::take(&mut self.discontinuity) {
            self.stream = self.stream.wrapping_add(1);
        }
        (request.stream, request.index, request.wait) = (self.stream, frame, wait);
        (request.task, request.skipped) = (task, skipped);
        (request.query, request.with_rest) = (query as u8, with_rest);
        write_magnitude(&mut request.magnitude);
        self.requests[self.timing.ring_index(frame)] = RequestState::InFlight;
        self.queue.send(request);
    }

    /// Stores the replies that have arrived and are still needed; returns whether any has arrived.
    ///
    /// `newest` is the newest frame.
    pub fn receive(&mut self, newest: u64) -> bool {
        let mut has_reply = false;
        while let Some(request) = self.queue.receive() {
            has_reply = true;
            let at = self.timing.ring_index(request.index);
            // The first masks of a stream are for frames before it.
            let masked = request.index.checked_sub(self.timing.mask_lag as u64);
            let is_needed = masked.is_some_and(|frame| frame + self.timing.delay_hops as u64 >= newest);
            if is_needed && matches!(self.requests[at], RequestState::InFlight) {
                self.requests[at] = RequestState::Done(request);
            } else {
                self.queue.release(request);
            }
        }
        has_reply
    }

    /// Whether the reply with the mask of frame `due` is still expected.
    pub fn is_in_flight(&self, due: u64) -> bool {
        matches!(self.requests[self.index_of_mask(due)], RequestState::InFlight)
            && self.status.readiness() != Readiness::Failed
    }

    /// Takes the request whose reply has the mask of frame `due`.
    pub fn take(&mut self, due: u64) -> RequestState {
        let at = self.index_of_mask(due);
        std::mem::replace(&mut self.requests[at], RequestState::Idle)
    }

    /// Returns a taken request to the pool.
    pub fn release(&mut self, request: Box<MaskRequest>) {
        self.queue.release(request);
    }

    fn index_of_mask(&self, due: u64) -> usize {
        self.timing.ring_index(due + self.timing.mask_lag as u64)
    }
}
