//! The separator thread: takes mask requests, fills in the masks, and replies.

use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::dsp::analyzer::Analyzer;
use crate::dsp::mask_processor::is_valid_gain;
use crate::inference::cancel::{self, CancelToken};
use crate::inference::provider::ActiveProvider;
use crate::query::slots::Queries;
use crate::realtime::mask_queue::{MaskRequest, QueueState, SeparatorEndpoint};
use crate::realtime::priority::RealtimePriority;
use crate::realtime::status::Status;
use crate::separator::Separator;
use crate::separator::multi_part::MultiPartSeparator;

/// Interval at which the idle thread checks its queue if no send unparks it.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// Time for which either thread spins instead of sleeping while the host renders.
///
/// Waking a thread takes as long as the work.
pub const SPIN_DURATION: Duration = Duration::from_millis(1);

/// Longest wait for an embedding, or for a reply, while the host renders.
pub const WAIT_TIMEOUT: Duration = cancel::NETWORK_TIMEOUT;

/// Constructor of the separator, called on its thread. Returns the provider in use as well.
///
/// May block until the token is cancelled.
pub type SeparatorFactory =
    Box<dyn FnOnce(&CancelToken) -> Result<(Box<dyn Separator>, ActiveProvider), String> + Send>;

/// Handle of the separator thread. Drop cancels the network's run and ends the thread.
pub struct SeparatorThread {
    queue: Arc<QueueState>,
    cancel: CancelToken,
    thread: Option<JoinHandle<()>>,
}

impl SeparatorThread {
    /// Starts the thread, which uses the embeddings that `queries` holds for `engine_id`.
    ///
    /// A request should take at most `hop` samples at `sample_rate` in hertz. Not real-time safe.
    pub fn start(
        factory: SeparatorFactory,
        endpoint: SeparatorEndpoint,
        (queries, engine_id): (Arc<Queries>, u64),
        (status, analyzer): (Arc<Status>, Arc<Analyzer>),
        hop: usize,
        sample_rate: f64,
    ) -> Self {
        let queue = endpoint.state.clone();
        let thread_status = status.clone();
        let cancel = CancelToken::default();
        let cancelled = cancel.clone();
        let body = move || match factory(&cancelled) {
            Ok((separator, provider)) => {
                thread_status.set_ready(provider);
                let _priority = RealtimePriority::raise(hop, sample_rate);
                SeparatorLoop {
                    separator: MultiPartSeparator::new(separator),
                    endpoint,
                    queries,
                    engine_id,
                    status: thread_status,
                    analyzer,
                    stream: None,
                }
                .run();
            }
            // Cancelled because the engine was dropped: no error.
            Err(_) if endpoint.state.is_closed() => {}
            Err(problem) => thread_status.fail(problem),
        };
        let spawned = thread::Builder::new().name("sift separator".into()).spawn(body);
        let thread = spawned
            .inspect_err(|error| {
                status.fail(format!("separator: the thread cannot be started: {error}. Restart the host"));
            })
            .ok();
        Self { queue, cancel, thread }
    }

    /// The running thread, if it could be started.
    pub fn thread(&self) -> Option<&thread::Thread> {
        self.thread.as_ref().map(JoinHandle::thread)
    }
}

impl Drop for SeparatorThread {
    fn drop(&mut self) {
        self.queue.close();
        self.cancel.cancel();
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            cancel::join_with_timeout(thread);
        }
    }
}

/// State of the running thread.
struct SeparatorLoop {
    separator: MultiPartSeparator,
    endpoint: SeparatorEndpoint,
    queries: Arc<Queries>,
    engine_id: u64,
    status: Arc<Status>,
    analyzer: Arc<Analyzer>,
    /// Stream of the separator's recurrent state; `None` if the state has to be reset.
    stream: Option<u32>,
}

impl SeparatorLoop {
    fn run(&mut self) {
        let mut spin_until = Instant::now();
        while !self.endpoint.state.is_closed() {
            // No blocking `recv`: with a blocked receiver the audio thread's send takes a lock.
            let Some(mut request) = self.endpoint.receive() else {
                if Instant::now() < spin_until {
                    thread::yield_now();
                } else {
                    thread::park_timeout(POLL_INTERVAL);
                }
                continue;
            };
            request.has_mask = !self.endpoint.state.is_stale(&request) && self.separate(&mut request);
            self.analyzer.push_frame(&request.magnitude, request.has_mask.then_some(&*request.mask));
            if request.wait_allowed {
                spin_until = Instant::now() + SPIN_DURATION;
            }
            self.endpoint.reply(request);
        }
    }

    /// Fills in the mask. Returns false if there is no embedding, or after an error.
    fn separate(&mut self, request: &mut MaskRequest) -> bool {
        let timeout = if request.wait_allowed { WAIT_TIMEOUT } else { Duration::ZERO };
        let Some(parts) = self.queries.parts(self.engine_id, request.query.into(), timeout) else {
            self.stream = None;
            self.status.set_presence(None);
            return false;
        };
        if self.stream != Some(request.stream) {
            self.separator.reset();
            self.stream = Some(request.stream);
        }
        let start = Instant::now();
        let MaskRequest { magnitude, mask, wait_allowed, .. } = request;
        // Offline results must not depend on load, and batching can change the last bits of a mask.
        let outcome = self.separator.run(magnitude, &parts, mask, !*wait_allowed);
        self.status.count_hop(start.elapsed());
        match outcome {
            Ok(presence) => self.status.set_presence(presence),
            Err(_) if self.endpoint.state.is_closed() => return false,
            Err(problem) => {
                self.status.fail(problem);
                return false;
            }
        }
        if !request.mask.iter().all(|gain| is_valid_gain(*gain)) {
            // The recurrent state may hold the same value, or a NaN.
            self.status.count_invalid_mask();
            self.stream = None;
            return false;
        }
        true
    }
}
