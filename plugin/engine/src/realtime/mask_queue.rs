//! Queue of mask requests between the audio thread and the separator thread.
//!
//! Requests come from a fixed pool and are never freed while audio runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::Thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};
use realfft::num_complex::Complex32;

/// Time that the audio thread may wait for a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitLimit {
    /// The host plays live.
    None,
    /// The host works ahead of the wall clock by this much, beyond what block sizes explain.
    Lead(Duration),
    /// The host says that it renders offline. Only then may the separator wait for an embedding.
    Offline,
}

impl WaitLimit {
    pub fn is_wait_allowed(self) -> bool {
        self != Self::None
    }

    /// Whether the host renders: it says so, or is too far ahead to play live.
    pub fn is_render(self) -> bool {
        matches!(self, Self::Offline | Self::Lead(Duration::MAX))
    }
}

/// What the separator thread does with a frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FrameTask {
    /// It makes a mask.
    #[default]
    Separate,
    /// The frame is silence. The network runs so that its state follows; the mask is not used.
    FollowSilence,
    /// The output needs no mask. Only the listener takes the frame, for the window.
    Hear,
}

/// Request for one mask: the audio thread fills `magnitude`, the separator thread `mask`.
pub struct MaskRequest {
    /// Number of the stream. The separator resets its recurrent state when the stream changes.
    pub stream: u32,
    /// Number of the frame since the last reset.
    pub index: u64,
    /// Query slot whose embedding conditions the mask.
    pub query: u8,
    /// Whether what else is there competes with the described sound.
    pub with_rest: bool,
    pub wait: WaitLimit,
    pub task: FrameTask,
    /// Frames of silence before this one that were not sent.
    pub skipped: u32,
    /// Whether `mask` was filled. False without an embedding or after an error.
    pub has_mask: bool,
    /// Number of the sounds that `mask` is of: another one after the text has changed.
    pub sounds: u32,
    /// Linear magnitude on the model's grid, `model_bins` long.
    pub magnitude: Box<[f32]>,
    /// Complex gain on the model's grid, `model_bins` long, of the frame `index - mask_lag`.
    pub mask: Box<[Complex32]>,
}

impl MaskRequest {
    fn new(bins: usize) -> Self {
        Self {
            stream: 0,
            index: 0,
            query: 0,
            with_rest: false,
            wait: WaitLimit::None,
            task: FrameTask::Separate,
            skipped: 0,
            has_mask: false,
            sounds: 0,
            magnitude: vec![0.0; bins].into(),
            mask: vec![Complex32::ZERO; bins].into(),
        }
    }
}

/// State that both endpoints share.
#[derive(Default)]
pub struct QueueState {
    /// Requests of streams before this one are stale.
    oldest_stream: AtomicU32,
    closed: AtomicBool,
    /// Whether the audio thread may wait for the newest request.
    is_newest_awaited: AtomicBool,
}

impl QueueState {
    /// Whether the reply to a request is no longer needed.
    pub fn is_stale(&self, request: &MaskRequest) -> bool {
        request.stream < self.oldest_stream.load(Ordering::Acquire)
    }

    /// Whether the audio thread may wait for the newest request, so that none comes too late.
    pub fn is_newest_awaited(&self) -> bool {
        self.is_newest_awaited.load(Ordering::Acquire)
    }

    /// Whether the engine has ended, so that the separator thread ends.
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Makes the separator thread end.
    pub fn close(&self) {
        self.closed.store(true, Ordering::Release);
    }
}

/// Endpoint of the audio thread. Its methods are real-time safe.
pub struct AudioEndpoint {
    state: Arc<QueueState>,
    #[expect(clippy::vec_box, reason = "the boxes themselves are sent, so they stay allocated")]
    pool: Vec<Box<MaskRequest>>,
    requests: Sender<Box<MaskRequest>>,
    replies: Receiver<Box<MaskRequest>>,
    /// Thread that each send unparks.
    separator: Option<Thread>,
}

/// Endpoint of the separator thread. Its methods never block.
pub struct SeparatorEndpoint {
    pub state: Arc<QueueState>,
    requests: Receiver<Box<MaskRequest>>,
    replies: Sender<Box<MaskRequest>>,
}

/// Creates both endpoints of a queue with a pool of `size` requests, each of `bins` bins.
pub fn mask_queue(size: usize, bins: usize) -> (AudioEndpoint, SeparatorEndpoint) {
    let state = Arc::new(QueueState::default());
    // Each channel can hold the whole pool, so no send fails because it is full.
    let (request_sender, request_receiver) = bounded(size);
    let (reply_sender, reply_receiver) = bounded(size);
    let audio = AudioEndpoint {
        state: state.clone(),
        pool: (0..size).map(|_| Box::new(MaskRequest::new(bins))).collect(),
        requests: request_sender,
        replies: reply_receiver,
        separator: None,
    };
    (audio, SeparatorEndpoint { state, requests: request_receiver, replies: reply_sender })
}

impl AudioEndpoint {
    /// Makes each send unpark `separator`.
    pub fn wake_on_send(&mut self, separator: Thread) {
        self.separator = Some(separator);
    }

    /// Takes an unused request from the pool; `None` while all are in flight.
    pub fn acquire(&mut self) -> Option<Box<MaskRequest>> {
        self.pool.pop()
    }

    /// Returns a request to the pool.
    pub fn release(&mut self, request: Box<MaskRequest>) {
        self.pool.push(request);
    }

    /// Sends a request to the separator thread.
    pub fn send(&mut self, request: Box<MaskRequest>) {
        // Before the request, so that the separator sees it with the request.
        self.state.is_newest_awaited.store(request.wait.is_wait_allowed(), Ordering::Release);
        if let Err(error) = self.requests.try_send(request) {
            // The separator thread has ended; the frame stays dry.
            self.pool.push(error.into_inner());
        } else if let Some(separator) = &self.separator {
            separator.unpark();
        }
    }

    /// Takes the next reply of a current stream. Stale replies go back to the pool.
    pub fn receive(&mut self) -> Option<Box<MaskRequest>> {
        while let Ok(request) = self.replies.try_recv() {
            if !self.state.is_stale(&request) {
                return Some(request);
            }
            self.pool.push(request);
        }
        None
    }

    /// Makes every request of a stream before `stream` stale.
    pub fn discard_before(&self, stream: u32) {
        self.state.oldest_stream.store(stream, Ordering::Release);
    }
}

impl SeparatorEndpoint {
    /// Returns the number of requests that wait to be received.
    pub fn waiting(&self) -> usize {
        self.requests.len()
    }

    /// Takes the next request, if there is one.
    pub fn receive(&self) -> Option<Box<MaskRequest>> {
        self.requests.try_recv().ok()
    }

    /// Returns a processed request to the audio thread.
    pub fn reply(&self, request: Box<MaskRequest>) {
        // Fails only when the audio endpoint, and with it the receiver, is gone.
        let _ = self.replies.try_send(request);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reply_arrives_in_box_of_its_request() {
        let (mut audio, separator) = mask_queue(2, 4);
        let mut request = audio.acquire().unwrap();
        request.index = 7;
        let address: *const MaskRequest = &*request;
        audio.send(request);
        separator.reply(separator.receive().unwrap());
        let reply = audio.receive().unwrap();
        assert_eq!((reply.index, &*reply as *const MaskRequest), (7, address));
    }

    #[test]
    fn stale_replies_go_back_to_pool() {
        let (mut audio, separator) = mask_queue(1, 4);
        let request = audio.acquire().unwrap();
        audio.send(request);
        separator.reply(separator.receive().unwrap());
        audio.discard_before(1);
        assert!(audio.receive().is_none());
        assert!(audio.acquire().is_some());
    }
}
