//! The separator's thread: parcels in, masks filled, parcels home.

use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::dsp::analyzer::Analyzer;
use crate::inference::cancel::{self, CancelToken};
use crate::inference::provider::ActiveProvider;
use crate::query::slots::Queries;
use crate::realtime::mask_queue::{MaskRequest, QueueState, SeparatorEndpoint};
use crate::realtime::priority::RealtimePriority;
use crate::realtime::status::Status;
use crate::separator::Separator;
use crate::separator::multi_part::MultiPartSeparator;

/// How long the thread sleeps when nobody wakes it.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// How long the other side of an wait_allowed request is waited for without sleep: to be woken takes as long as the work.
pub const SPIN_DURATION: Duration = Duration::from_millis(1);

/// How long a query may be waited for when the audio thread waits too.
pub const WAIT_TIMEOUT: Duration = cancel::NETWORK_TIMEOUT;

/// Makes the separator, on its thread, and tells on what it runs. It may take its time, until it is cancelled.
pub type SeparatorFactory =
    Box<dyn FnOnce(&CancelToken) -> Result<(Box<dyn Separator>, ActiveProvider), String> + Send>;

/// The running thread. When this is dropped, it ends, and so does what its network is at.
pub struct SeparatorThread {
    queue: Arc<QueueState>,
    cancel: CancelToken,
    thread: Option<JoinHandle<()>>,
}

impl SeparatorThread {
    /// Starts the thread, which has the embeddings of `queries` that are for `engine_id`. `hop_frames` samples at `sample_rate` hertz are the time a request has.
    pub fn start(
        factory: SeparatorFactory,
        endpoint: SeparatorEndpoint,
        (queries, engine_id): (Arc<Queries>, u64),
        (status, analyzer): (Arc<Status>, Arc<Analyzer>),
        hop_frames: usize,
        sample_rate: f64,
    ) -> Self {
        let queue = endpoint.state.clone();
        let reporter = status.clone();
        let cancel = CancelToken::default();
        let cancelled = cancel.clone();
        let body = move || match factory(&cancelled) {
            Ok((separator, provider)) => {
                status.set_ready(provider);
                let _raised = RealtimePriority::raise(hop_frames, sample_rate);
                SeparatorLoop {
                    separator: MultiPartSeparator::new(separator),
                    endpoint,
                    queries,
                    engine_id,
                    status,
                    analyzer,
                    stream: None,
                }
                .run();
            }
            // What was cancelled has no problem.
            Err(_) if endpoint.state.is_closed() => {}
            Err(problem) => status.fail(problem),
        };
        let spawned = thread::Builder::new().name("sift separator".into()).spawn(body);
        let thread = spawned
            .inspect_err(|error| {
                reporter
                    .fail(format!("the separator's thread could not be started: {error}. Restart the host"))
            })
            .ok();
        Self { queue, cancel, thread }
    }

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

struct SeparatorLoop {
    separator: MultiPartSeparator,
    endpoint: SeparatorEndpoint,
    queries: Arc<Queries>,
    engine_id: u64,
    status: Arc<Status>,
    analyzer: Arc<Analyzer>,
    /// The stream whose state the separator holds.
    stream: Option<u32>,
}

impl SeparatorLoop {
    fn run(&mut self) {
        let mut spin_until = Instant::now();
        while !self.endpoint.state.is_closed() {
            // Never a blocking `recv`: a receiver that blocks makes the audio thread's send lock.
            let Some(mut request) = self.endpoint.receive() else {
                if Instant::now() < spin_until {
                    thread::yield_now()
                } else {
                    thread::park_timeout(POLL_INTERVAL)
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

    /// Fills in the mask, if there is something to separate by and it works.
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
        // What must not depend on how busy the machine is runs alone.
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
        if !request.mask.iter().all(|gain| gain.is_finite()) {
            // A value that is not finite would stay in the recurrent state for good.
            self.status.count_invalid_mask();
            self.stream = None;
            return false;
        }
        true
    }
}
