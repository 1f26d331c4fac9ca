//! The separator thread: takes mask requests, fills in the masks, and replies.

use std::any::Any;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::dsp::analyzer::Analyzer;
use crate::dsp::mask_processor::is_valid_gain;
use crate::inference::cancel::{self, CancelToken};
use crate::inference::provider::ActiveProvider;
use crate::listener::load::LoadedListener;
use crate::query::parts::QueryPart;
use crate::query::slots::Queries;
use crate::realtime::denormals::FlushDenormals;
use crate::realtime::mask_queue::{FrameTask, MaskRequest, QueueState, SeparatorEndpoint, WaitLimit};
use crate::realtime::priority::RealtimePriority;
use crate::realtime::rest_budget::RestBudget;
use crate::realtime::rest_control::RestControl;
use crate::realtime::status::Status;
use crate::separator::Separator;
use crate::separator::multi_part::MultiPartSeparator;

/// Interval at which the idle thread checks its queue if no send unparks it.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// Time without a request after which the instance counts as idle.
const IDLE: Duration = Duration::from_secs(1);

/// Time for which either thread spins instead of sleeping while the host renders.
///
/// Waking a thread takes as long as the work.
pub const SPIN_DURATION: Duration = Duration::from_millis(1);

/// Requests of a host that waits, one after another, after which this thread gives up its priority and may spin.
///
/// With the priority, spinning would keep the host's thread from its core. A live host waits for a few masks only.
const MIN_RENDERED_HOPS: u32 = 16;

/// Time without real-time priority after a run that took too long for it.
const LOWERED_DURATION: Duration = Duration::from_secs(10);

/// Longest wait for an embedding, or for a reply, while the host renders.
pub const WAIT_TIMEOUT: Duration = cancel::NETWORK_TIMEOUT;

/// What the separator thread runs.
pub struct Networks {
    pub separator: Box<dyn Separator>,
    /// `None` if the package has no listener; an error message if it is broken.
    pub listener: Option<Result<LoadedListener, String>>,
    /// Provider on which the separator runs.
    pub provider: ActiveProvider,
}

#[cfg(test)]
impl Networks {
    /// A separator without a listener, on the CPU.
    pub fn without_listener(separator: Box<dyn Separator>) -> Self {
        Self { separator, listener: None, provider: ActiveProvider::default() }
    }
}

/// Constructor of the networks, called on the separator thread.
///
/// May block until the token is cancelled.
pub type SeparatorFactory = Box<dyn FnOnce(&CancelToken) -> Result<Networks, String> + Send>;

/// Handle of the separator thread. Drop cancels the network's run and ends the thread.
pub struct SeparatorThread {
    queue: Arc<QueueState>,
    cancel: CancelToken,
    thread: Option<JoinHandle<()>>,
}

impl SeparatorThread {
    /// Starts the thread, which uses the embeddings that `queries` holds for `engine_id`.
    ///
    /// There is a request per `hop_samples` samples at `sample_rate` in hertz, and its mask is due `due_hops` hops later.
    /// Not real-time safe.
    pub fn start(
        factory: SeparatorFactory,
        endpoint: SeparatorEndpoint,
        (queries, engine_id): (Arc<Queries>, u64),
        (status, analyzer): (Arc<Status>, Arc<Analyzer>),
        due_hops: usize,
        (hop_samples, sample_rate): (usize, f64),
    ) -> Self {
        let queue = endpoint.state.clone();
        let thread_status = status.clone();
        let cancel = CancelToken::default();
        let cancelled = cancel.clone();
        let separate = move || match factory(&cancelled) {
            Ok(Networks { separator, listener, provider }) => {
                let listener = match listener.transpose() {
                    Ok(listener) => listener,
                    Err(problem) => {
                        thread_status.update_hearing(|state| state.problem = Some(problem));
                        None
                    }
                };
                thread_status.set_ready(provider);
                let hop = Duration::from_secs_f64(hop_samples as f64 / sample_rate);
                SeparatorLoop {
                    rest: RestControl::new(listener, thread_status.clone(), hop.as_secs_f64()),
                    budget: RestBudget::new(thread_status.clone()),
                    separator: MultiPartSeparator::new(separator),
                    endpoint,
                    queries,
                    engine_id,
                    status: thread_status,
                    analyzer,
                    stream: None,
                    sounds: (Arc::default(), 0),
                    rendered_hops: 0,
                    due: due_hops as u32 * hop,
                    hop,
                }
                .run(|| RealtimePriority::raise(hop_samples, sample_rate));
            }
            // Cancelled because the engine was dropped: no error.
            Err(_) if endpoint.state.is_closed() => {}
            Err(problem) => thread_status.fail(problem),
        };
        let panic_status = status.clone();
        let body = move || {
            let _flush = FlushDenormals::set();
            // Without a failed status, a rendering audio thread would wait for the reply.
            if let Err(panic) = panic::catch_unwind(AssertUnwindSafe(separate)) {
                let message = panic_message(&*panic);
                panic_status.fail(format!(
                    "separator: stopped by an internal error: {message}. Choose the model again"
                ));
            }
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

/// Returns the message of a panic.
fn panic_message(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("unknown")
}

/// State of the running thread.
struct SeparatorLoop {
    separator: MultiPartSeparator,
    rest: RestControl,
    budget: RestBudget,
    endpoint: SeparatorEndpoint,
    queries: Arc<Queries>,
    engine_id: u64,
    status: Arc<Status>,
    analyzer: Arc<Analyzer>,
    /// Stream of the separator's recurrent state; `None` if the state has to be reset.
    stream: Option<u32>,
    /// The parts of the last query that was separated, and their number among all those before.
    sounds: (Arc<[QueryPart]>, u32),
    /// Requests since the last one for which the host did not wait.
    rendered_hops: u32,
    /// Time from a request to when its mask is due.
    due: Duration,
    /// Time between requests.
    hop: Duration,
}

impl SeparatorLoop {
    /// Processes requests until the queue is closed, with the priority that `raise` gives while the host plays live.
    fn run(&mut self, raise: impl Fn() -> RealtimePriority) {
        let mut priority = None;
        let mut raise_at = Instant::now();
        let mut spin_until = Instant::now();
        let mut last_request = Instant::now();
        while !self.endpoint.state.is_closed() {
            // No blocking `recv`: with a blocked receiver the audio thread's send takes a lock.
            let Some(mut request) = self.endpoint.receive() else {
                if last_request.elapsed() > IDLE {
                    self.budget.release();
                }
                if priority.is_none() && Instant::now() < spin_until {
                    thread::yield_now();
                } else {
                    thread::park_timeout(POLL_INTERVAL);
                }
                continue;
            };
            last_request = Instant::now();
            let wait_allowed = request.wait.is_wait_allowed();
            self.rendered_hops = if wait_allowed { self.rendered_hops.saturating_add(1) } else { 0 };
            if self.rendered_hops == 0 && priority.is_none() && last_request >= raise_at {
                priority = Some(raise());
            } else if self.rendered_hops >= MIN_RENDERED_HOPS || request.wait == WaitLimit::Offline {
                priority = None;
            }
            if let Some(priority) = &mut priority {
                priority.begin_run();
            }
            // The network goes on after the gap without a reset, which would harm more.
            // A host that works ahead sends its first requests before it is known to be ahead.
            let is_skipped = !wait_allowed && self.is_behind() && !self.endpoint.state.is_newest_awaited();
            request.has_mask =
                !is_skipped && !self.endpoint.state.is_stale(&request) && self.separate(&mut request);
            self.analyzer.push_frame(&request.magnitude, request.has_mask.then_some(&*request.mask));
            if wait_allowed {
                spin_until = Instant::now() + SPIN_DURATION;
            }
            self.endpoint.reply(request);
            if priority.as_mut().is_some_and(|priority| !priority.end_run()) {
                priority = None;
                raise_at = Instant::now() + LOWERED_DURATION;
            }
        }
    }

    /// Whether the mask of the request just received would come too late, and a later request waits.
    fn is_behind(&self) -> bool {
        let waiting = self.endpoint.waiting() as u32;
        waiting > 0 && waiting * self.hop + self.status.hop_time() > self.due
    }

    /// Fills in the mask. Returns false if there is no embedding, or after an error.
    fn separate(&mut self, request: &mut MaskRequest) -> bool {
        let timeout = if request.wait == WaitLimit::Offline { WAIT_TIMEOUT } else { Duration::ZERO };
        let start = Instant::now();
        // Also without a text: the window shows what could be asked for.
        let is_watched = self.analyzer.is_active();
        let (skipped, is_needed) = (request.skipped, request.with_rest || is_watched);
        self.rest.hear(request.stream, &request.magnitude, skipped, is_needed);
        if request.task == FrameTask::Hear {
            self.set_unseparated();
            return false;
        }
        let listening = start.elapsed();
        let query = self.queries.encoding(self.engine_id, request.query.into(), timeout);
        // A text without parts lets everything pass.
        let Some(query) = query.filter(|query| !query.parts.is_empty()) else {
            self.stream = None;
            self.set_unseparated();
            return false;
        };
        if self.stream != Some(request.stream) {
            self.separator.reset();
            self.stream = Some(request.stream);
        } else if skipped > 0 {
            self.separator.skip_silence(skipped);
        }
        if *self.sounds.0 != *query.parts {
            self.sounds = (query.parts.clone(), self.sounds.1.wrapping_add(1));
        }
        request.sounds = self.sounds.1;
        let is_live = !request.wait.is_wait_allowed();
        let can_afford = self.budget.can_afford(is_live);
        let said = match request.with_rest {
            true => self.queries.rest_encoding(self.engine_id, timeout),
            false => None,
        };
        let (parts, rest) = self.rest.select(&query, said.as_ref(), request.with_rest && can_afford);
        self.status.update_hearing(|state| state.is_rest_paused = request.with_rest && !can_afford);
        let start = Instant::now();
        let MaskRequest { magnitude, mask, .. } = request;
        // Offline results must not depend on load, and batching can change the last bits of a mask.
        let outcome = self.separator.run(magnitude, &parts, rest, mask, is_live);
        self.status.count_hop(listening + start.elapsed());
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
        if request.task == FrameTask::FollowSilence {
            self.separator.note_silence();
        }
        true
    }

    /// Tells the window that no sound and no rest are separated.
    fn set_unseparated(&self) {
        self.status.set_presence(None);
        self.status.update_hearing(|state| state.rest = None);
    }
}

#[cfg(test)]
mod tests {
    use std::hint::black_box;

    use realfft::num_complex::Complex32;

    use super::*;
    use crate::dsp::grid::SpectrogramFormat;
    use crate::dsp::stft::WindowFunction;
    use crate::listener::concepts::{ConceptEmbeddings, ListenerConcepts};
    use crate::listener::fake::FakeListener;
    use crate::query::encoder::EncodedQuery;
    use crate::realtime::mask_queue::{AudioEndpoint, mask_queue};
    use crate::realtime::status::Readiness;
    use crate::separator::fake::{FakeSeparator, ForkingSeparator};

    const AUDIO: SpectrogramFormat =
        SpectrogramFormat { sample_rate: 32_000, n_fft: 64, hop: 32, window: WindowFunction::SqrtHann };

    /// A separator thread with the endpoint of its audio thread.
    struct Fixture {
        _thread: SeparatorThread,
        audio: AudioEndpoint,
        status: Arc<Status>,
    }

    impl Fixture {
        fn new(mut gain: impl FnMut() -> f32 + Send + 'static) -> Self {
            let separator = FakeSeparator(move |_: &[f32], _: &[f32], mask: &mut [Complex32]| {
                mask.fill(Complex32::new(gain(), 0.0));
            });
            Self::with_networks(move || Networks::without_listener(Box::new(separator)))
        }

        fn with_networks(networks: impl FnOnce() -> Networks + Send + 'static) -> Self {
            let queries = Arc::new(Queries::default());
            let encoding =
                EncodedQuery { rest_candidates: Arc::from([true]), ..EncodedQuery::single(Arc::from([0.6])) };
            queries.set_encoded(0, 0, &queries.text(0).as_str().into(), Ok(encoding));
            let (mut audio, endpoint) = mask_queue(1, AUDIO.bins());
            let status = Arc::new(Status::new(1));
            let factory: SeparatorFactory = Box::new(move |_| Ok(networks()));
            let outputs = (status.clone(), Arc::new(Analyzer::new(&AUDIO)));
            let thread =
                SeparatorThread::start(factory, endpoint, (queries, 0), outputs, 1, (AUDIO.hop, 32_000.0));
            audio.wake_on_send(thread.thread().unwrap().clone());
            Self { _thread: thread, audio, status }
        }

        /// Sends a request and returns the reply, or `None` if the status fails instead.
        fn request(&mut self) -> Option<Box<MaskRequest>> {
            self.request_as(WaitLimit::None)
        }

        fn request_as(&mut self, wait: WaitLimit) -> Option<Box<MaskRequest>> {
            self.send(|request| (request.wait, request.with_rest) = (wait, true))
        }

        /// Sends a request after `change`, and returns the reply, or `None` if the status fails instead.
        fn send(&mut self, change: impl FnOnce(&mut MaskRequest)) -> Option<Box<MaskRequest>> {
            let mut request = self.audio.acquire().unwrap();
            change(&mut request);
            self.audio.send(request);
            loop {
                if let Some(reply) = self.audio.receive() {
                    return Some(reply);
                }
                if self.status.readiness() == Readiness::Failed {
                    return None;
                }
                thread::yield_now();
            }
        }
    }

    #[test]
    fn panic_of_the_separator_fails_the_status_with_its_message() {
        let mut fixture = Fixture::new(|| panic!("broken"));
        assert!(fixture.request().is_none());
        let problem = fixture.status.problem().unwrap();
        assert!(problem.contains("internal error: broken. Choose the model again"), "{problem}");
    }

    /// Separator whose gains are the embedding's first value.
    fn embedded_gain() -> Box<dyn Separator> {
        Box::new(ForkingSeparator::new(|_, embedding: &[f32], mask: &mut [Complex32]| {
            mask.fill(Complex32::new(embedding[0], 0.0));
            None
        }))
    }

    /// Listener that always hears its only concept, whose embedding is 0.9.
    fn networks_that_hear() -> Networks {
        let concepts = br#"{
            "concepts": [{"name": "rain", "members": [], "overlaps": []}],
            "rest": {"from": 0.5, "full": 0.9, "strength": 1.0, "fade": 0.0, "switch": 0.0, "margin": 0.0}
        }"#;
        let embedding = half::f16::from_f32(0.9).to_le_bytes();
        Networks {
            listener: Some(Ok(LoadedListener {
                listener: Box::new(FakeListener::new(1, |_: &[f32], heard: &mut [f32]| heard.fill(1.0))),
                concepts: Arc::new(ListenerConcepts::parse(concepts).unwrap()),
                embeddings: Arc::new(ConceptEmbeddings::parse(&embedding, 1, 1).unwrap()),
            })),
            ..Networks::without_listener(embedded_gain())
        }
    }

    #[test]
    fn rest_lowers_the_gain_until_masks_come_late() {
        let mut fixture = Fixture::with_networks(networks_that_hear);
        let gain = |fixture: &mut Fixture| {
            let reply = fixture.request().unwrap();
            let gain = reply.mask[0].re;
            fixture.audio.release(reply);
            gain
        };
        assert!(gain(&mut fixture) < 0.5);
        assert_eq!(fixture.status.hearing().rest.unwrap().name.as_deref(), Some("rain"));
        fixture.status.count_late_mask();
        assert_eq!(gain(&mut fixture), 0.6);
        let hearing = fixture.status.hearing();
        assert!(hearing.is_rest_paused && hearing.rest.is_none());
    }

    #[test]
    fn frame_to_hear_runs_the_listener_and_no_separator() {
        let mut fixture = Fixture::with_networks(|| Networks {
            separator: Box::new(FakeSeparator(|_: &[f32], _: &[f32], _: &mut [Complex32]| panic!("it runs"))),
            ..networks_that_hear()
        });
        // Half a second passes before a sound is shown.
        for _ in 0..600 {
            let reply =
                fixture.send(|request| (request.task, request.with_rest) = (FrameTask::Hear, true)).unwrap();
            assert!(!reply.has_mask);
            fixture.audio.release(reply);
        }
        assert_eq!(fixture.status.hearing().sounds.len(), 1);
    }

    #[test]
    fn skipped_silence_reaches_the_separator_before_the_next_frame() {
        struct Skipping(f32);
        impl Separator for Skipping {
            fn as_any(&mut self) -> &mut dyn Any {
                self
            }
            fn reset(&mut self) {}
            fn fork(&self) -> Result<Box<dyn Separator>, String> {
                Err("fake separator: fork is unsupported".into())
            }
            fn skip_silence(&mut self, hops: u32) {
                self.0 += hops as f32;
            }
            fn run(&mut self, _: &[f32], _: &[f32], mask: &mut [Complex32]) -> Result<Option<f32>, String> {
                mask.fill(Complex32::new(self.0, 0.0));
                Ok(None)
            }
        }
        let mut fixture = Fixture::with_networks(|| Networks::without_listener(Box::new(Skipping(0.0))));
        for (stream, skipped, expected) in [(0, 0, 0.0), (0, 40, 40.0), (0, 0, 40.0), (1, 30, 40.0)] {
            let reply =
                fixture.send(|request| (request.stream, request.skipped) = (stream, skipped)).unwrap();
            assert_eq!(reply.mask[0].re, expected, "a new stream has no silence before it");
            fixture.audio.release(reply);
        }
    }

    #[test]
    fn broken_listener_is_reported_and_masks_are_made_without_it() {
        let mut fixture = Fixture::with_networks(|| Networks {
            listener: Some(Err("listener.onnx: damaged. Install the package again".into())),
            ..Networks::without_listener(embedded_gain())
        });
        assert_eq!(fixture.request().unwrap().mask[0].re, 0.6);
        let problem = fixture.status.hearing().problem.unwrap();
        assert_eq!(problem, "listener.onnx: damaged. Install the package again");
    }

    #[test]
    fn only_masks_of_valid_gains_are_used() {
        let gains = [0.5, 1e10, 100.0, f32::NAN, f32::INFINITY, -101.0, 1.0];
        let mut next = gains.into_iter();
        let mut fixture = Fixture::new(move || next.next().unwrap());
        for (gain, is_valid) in gains.into_iter().zip([true, false, true, false, false, false, true]) {
            let reply = fixture.request().unwrap();
            assert_eq!(reply.has_mask, is_valid, "{gain}");
            fixture.audio.release(reply);
        }
        assert_eq!(fixture.status.faults().invalid, 4);
    }

    #[cfg(any(target_arch = "x86", target_arch = "x86_64", target_arch = "aarch64"))]
    #[test]
    fn denormals_are_zero_on_the_separator_thread() {
        let is_flushed = || black_box(f32::MIN_POSITIVE) * black_box(0.5) == 0.0;
        assert!(!is_flushed(), "this thread computes with denormal numbers");
        let mut fixture = Fixture::new(move || if is_flushed() { 1.0 } else { 0.5 });
        assert_eq!(fixture.request().unwrap().mask[0].re, 1.0);
    }

    #[cfg(target_os = "linux")]
    #[test]
    #[ignore = "needs real-time priority: cargo xtask test runs it where the system grants that"]
    fn only_live_hosts_get_a_separator_with_realtime_priority() {
        // SAFETY: the call only reads the policy of the calling thread (0).
        let is_raised =
            || f32::from(u8::from(unsafe { libc::sched_getscheduler(0) } & 0xff != libc::SCHED_OTHER));
        let mut fixture = Fixture::new(is_raised);
        let mut is_raised = |wait| {
            let reply = fixture.request_as(wait).unwrap();
            let is_raised = reply.mask[0].re == 1.0;
            fixture.audio.release(reply);
            is_raised
        };
        let ahead = WaitLimit::Lead(Duration::ZERO);
        assert!(!is_raised(WaitLimit::Offline), "an offline render never asks for it");
        for _ in 0..2 {
            assert!(
                is_raised(WaitLimit::None),
                "the system grants real-time priority: raise the limit with `ulimit -r 95`"
            );
            assert!((1..MIN_RENDERED_HOPS).all(|_| is_raised(ahead)), "a live host may wait for a few masks");
            assert!((0..10).all(|_| !is_raised(ahead)));
            assert!(is_raised(WaitLimit::None));
            assert!((0..10).all(|_| !is_raised(WaitLimit::Offline)));
        }
    }
}
