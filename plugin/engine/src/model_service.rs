//! Model service: a background thread per package in use, which loads it and then encodes queries by it.
//!
//! All engines of a package share its thread, its model and its encoder. Loads and texts of different packages do not wait
//! for each other. Audio, editor and host threads never load a package or run the query network.

use std::panic::{self, AssertUnwindSafe};
use std::sync::{Arc, OnceLock, Weak};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, unbounded};
use parking_lot::{Condvar, Mutex};

use crate::dsp::grid::SpectrogramFormat;
use crate::inference::cancel::{self, CANCELLED, CancelToken};
use crate::inference::library;
use crate::listener;
use crate::package::{Package, PackageError, PackageInfo, SeparatorSection};
use crate::query::encoder::{EncodedQuery, QueryEncoder};
use crate::query::slots::Queries;
use crate::query::text::QueryText;
use crate::realtime::denormals::FlushDenormals;
use crate::realtime::separator_thread::{Networks, SeparatorFactory};
use crate::separator;
use crate::separator::load::LoadedSeparator;
use crate::separator::network::LoadedModel;
use crate::user::preferences::provider_choice;

/// Interval at which a thread that waits for a model checks its cancel token.
const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// The model of one engine: its formats, which are known at once, and its separator, which is loaded later.
pub(crate) struct ModelSource {
    pub audio: SpectrogramFormat,
    pub separator: SeparatorSection,
    pub factory: SeparatorFactory,
    /// `None` without a model.
    pub binding: Option<QueryBinding>,
}

impl ModelSource {
    /// Requests that the package of `info` is loaded and that `queries` are encoded by it; returns at once.
    ///
    /// With an error as `info`, the factory returns it, and the formats are those of the built-in model.
    pub fn open(info: Result<PackageInfo, PackageError>, queries: &Arc<Queries>) -> Self {
        match info {
            Ok(info) => {
                let (audio, section) = (info.manifest.audio, info.manifest.separator.clone());
                let (binding, pending) = SERVICES.open(info, queries.clone(), load_package);
                let factory = move |token: &CancelToken| {
                    let model = pending.wait(token)?;
                    let environment = library::environment().map_err(|error| error.to_string())?;
                    let LoadedSeparator { separator, embedding_size, provider } =
                        separator::load::load(environment, &model, &provider_choice(), token)
                            .map_err(|error| error.to_string())?;
                    let (package, sessions) = (&model.package, &model.listener_sessions);
                    let listener =
                        listener::load::load(environment, package, sessions, embedding_size, token);
                    let listener =
                        listener.map(|loaded| loaded.map_err(|error: PackageError| error.to_string()));
                    Ok(Networks { separator, listener, provider })
                };
                Self { audio, separator: section, factory: Box::new(factory), binding: Some(binding) }
            }
            Err(error) => {
                // Also disconnects the engine before this one, which uses the same queries.
                queries.connect(None);
                let manifest = PackageInfo::built_in().manifest;
                Self {
                    audio: manifest.audio,
                    separator: manifest.separator,
                    factory: Box::new(move |_| Err(error.to_string())),
                    binding: None,
                }
            }
        }
    }
}

/// Encoder of the texts of a loaded package; replaced by fakes in tests.
trait TextEncoder {
    fn concept_names(&self) -> Arc<[String]>;

    fn encode(&mut self, text: &QueryText) -> Result<EncodedQuery, String>;
}

impl TextEncoder for QueryEncoder {
    fn concept_names(&self) -> Arc<[String]> {
        self.concept_names()
    }

    fn encode(&mut self, text: &QueryText) -> Result<EncodedQuery, String> {
        self.encode(text)
    }
}

type LoadedPackage = (Package, Box<dyn TextEncoder>);

/// Loads the package of `info` and its query network, until `token` is cancelled.
fn load_package(info: &PackageInfo, token: &CancelToken) -> Result<LoadedPackage, String> {
    let environment = library::environment().map_err(|error| error.to_string())?;
    let load = || {
        let package = info.load_until_cancelled(token)?;
        let encoder = QueryEncoder::new(environment, &package, token.clone())?;
        Ok((package, Box::new(encoder) as _))
    };
    load().map_err(|error: PackageError| error.to_string())
}

/// The services of the process.
static SERVICES: Services = Services(Mutex::new(Vec::new()));

/// Packages in use with their services.
struct Services(Mutex<Vec<(PackageInfo, Weak<ModelService>)>>);

impl Services {
    /// Requests that the package of `info` is loaded and `queries` are encoded by it, and returns at once.
    ///
    /// If the package is in use, its model is shared; otherwise `load` loads it on a new thread. The queries are encoded
    /// until the binding is dropped.
    fn open(
        &self,
        info: PackageInfo,
        queries: Arc<Queries>,
        load: impl FnOnce(&PackageInfo, &CancelToken) -> Result<LoadedPackage, String> + Send + 'static,
    ) -> (QueryBinding, PendingModel) {
        let service = self.service(info, load);
        let id = Arc::new(OnceLock::new());
        let request = {
            let (id, requests) = (id.clone(), service.requests.clone());
            move |queries: &Arc<Queries>| {
                // Until the id is known, changed texts wait for the request below, which has all texts.
                if let Some(&engine_id) = id.get() {
                    // Sending fails only if the thread could not be started or has ended.
                    let _ = requests.send(ServiceRequest::Encode(queries.clone(), engine_id));
                }
            }
        };
        let engine_id = queries.connect(Some(Arc::new(request.clone())));
        let _ = id.set(engine_id);
        request(&queries);
        let pending = PendingModel(service.loading.clone());
        (QueryBinding { queries, engine_id, _service: service }, pending)
    }

    /// Returns the service of the package, and starts it if there is none or its load has failed.
    fn service(
        &self,
        info: PackageInfo,
        load: impl FnOnce(&PackageInfo, &CancelToken) -> Result<LoadedPackage, String> + Send + 'static,
    ) -> Arc<ModelService> {
        let mut services = self.0.lock();
        services.retain(|(_, service)| service.strong_count() > 0);
        let is_same = |other: &PackageInfo| other.origin == info.origin && other.manifest == info.manifest;
        if let Some(at) = services.iter().position(|(other, _)| is_same(other)) {
            let (_, service) = &services[at];
            if let Some(service) = service.upgrade().filter(|service| !service.loading.has_failed()) {
                return service;
            }
            services.swap_remove(at);
        }
        let service = Arc::new(ModelService::start(info.clone(), load));
        services.push((info, Arc::downgrade(&service)));
        service
    }
}

/// Request to the thread of a service.
enum ServiceRequest {
    /// Encode the texts of these queries that wait for it, for the engine of this id.
    Encode(Arc<Queries>, u64),
    /// End the thread.
    Quit,
}

/// Handle of the thread of one package, which runs as long as any engine uses the package.
struct ModelService {
    requests: Sender<ServiceRequest>,
    loading: Arc<Loading>,
    token: CancelToken,
    thread: Option<JoinHandle<()>>,
}

impl ModelService {
    /// Starts the thread, which calls `load`.
    fn start(
        info: PackageInfo,
        load: impl FnOnce(&PackageInfo, &CancelToken) -> Result<LoadedPackage, String> + Send + 'static,
    ) -> Self {
        let (requests, inbox) = unbounded();
        let (loading, token) = <(Arc<Loading>, CancelToken)>::default();
        let (outcome, cancelled) = (loading.clone(), token.clone());
        let body = move || {
            // ONNX Runtime sets this only on the first thread of the process that creates a session.
            let _flush = FlushDenormals::set();
            match catch_panic(|| load(&info, &cancelled)) {
                Ok((package, mut encoder)) => {
                    // The separator thread loads its network while the queries are encoded here.
                    outcome.finish(Ok(Arc::new(LoadedModel::new(package))));
                    encode_requests(&inbox, &mut *encoder, &cancelled);
                }
                Err(problem) => outcome.finish(Err(problem)),
            }
        };
        let spawned = thread::Builder::new().name("sift service".into()).spawn(body);
        let thread = spawned
            .inspect_err(|error| {
                loading.finish(Err(format!(
                    "model service: the thread cannot be started: {error}. Restart the host"
                )));
            })
            .ok();
        Self { requests, loading, token, thread }
    }
}

impl Drop for ModelService {
    fn drop(&mut self) {
        self.token.cancel();
        let _ = self.requests.send(ServiceRequest::Quit);
        if let Some(thread) = self.thread.take() {
            cancel::join_with_timeout(thread);
        }
    }
}

/// Calls `work` and returns its result, or an error if it panics.
fn catch_panic<T>(work: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    panic::catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
        Err("model service: stopped by an internal error. Choose another model, or another text".into())
    })
}

/// Encodes the texts of each request, until the request to quit.
fn encode_requests(inbox: &Receiver<ServiceRequest>, encoder: &mut dyn TextEncoder, token: &CancelToken) {
    while let Ok(ServiceRequest::Encode(queries, engine_id)) = inbox.recv() {
        let encoder = &mut *encoder;
        let concept_names = catch_panic(|| Ok(encoder.concept_names()));
        if queries.engine_id() == engine_id {
            queries.set_concept_names(concept_names.unwrap_or_default());
        }
        for (slot, text) in queries.pending() {
            if queries.engine_id() != engine_id {
                // A newer engine, or none, uses the queries now.
                break;
            }
            let result = catch_panic(|| encoder.encode(&text));
            if token.is_cancelled() {
                return;
            }
            queries.set_encoded(engine_id, slot, &text, result);
        }
    }
}

type LoadResult = Result<Arc<LoadedModel>, String>;

/// A load and its result, for all engines that wait for it.
#[derive(Default)]
struct Loading {
    result: Mutex<Option<LoadResult>>,
    finished: Condvar,
}

impl Loading {
    fn finish(&self, result: LoadResult) {
        *self.result.lock() = Some(result);
        self.finished.notify_all();
    }

    fn has_failed(&self) -> bool {
        matches!(*self.result.lock(), Some(Err(_)))
    }
}

/// A model that is being loaded.
struct PendingModel(Arc<Loading>);

impl PendingModel {
    /// Blocks until the model is loaded. Must not be called on the audio thread.
    ///
    /// # Errors
    /// Fails if the package cannot be loaded, or [`CANCELLED`] if `token` is cancelled first.
    fn wait(self, token: &CancelToken) -> LoadResult {
        let mut result = self.0.result.lock();
        loop {
            if let Some(result) = &*result {
                return result.clone();
            }
            if token.is_cancelled() {
                return Err(CANCELLED.into());
            }
            self.0.finished.wait_for(&mut result, POLL_INTERVAL);
        }
    }
}

/// Guard of the encoding of queries by a package.
///
/// The encoding stops when the guard is dropped or another package is opened for the queries. Drop of the last guard of a
/// package waits until its thread has ended.
pub(crate) struct QueryBinding {
    queries: Arc<Queries>,
    engine_id: u64,
    _service: Arc<ModelService>,
}

impl QueryBinding {
    /// Returns the id of the engine that owns the embeddings.
    pub fn engine_id(&self) -> u64 {
        self.engine_id
    }
}

impl Drop for QueryBinding {
    fn drop(&mut self) {
        self.queries.disconnect(self.engine_id);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Instant;

    use crossbeam_channel::bounded;

    use super::*;
    use crate::package::Origin;
    use crate::query::slots::SlotState;

    /// Longest wait for what must happen.
    const TIMEOUT: Duration = Duration::from_secs(10);

    /// Encoder that fails for "fail" and panics for "panic".
    struct FakeEncoder;

    impl TextEncoder for FakeEncoder {
        fn concept_names(&self) -> Arc<[String]> {
            Arc::default()
        }

        fn encode(&mut self, text: &QueryText) -> Result<EncodedQuery, String> {
            match &*text.text {
                "fail" => Err("fake encoder: the text is \"fail\"".into()),
                "panic" => panic!("fake encoder: the text is \"panic\""),
                _ => Ok(EncodedQuery::single(Arc::from([text.text.len() as f32]))),
            }
        }
    }

    fn info(name: &str) -> PackageInfo {
        PackageInfo { origin: Origin::Folder(name.into()), ..PackageInfo::built_in() }
    }

    fn loaded(info: &PackageInfo) -> Result<LoadedPackage, String> {
        let package = PackageInfo::built_in().load().unwrap();
        Ok((Package { origin: info.origin.clone(), ..package }, Box::new(FakeEncoder)))
    }

    /// Load that succeeds at once.
    fn at_once(info: &PackageInfo, _: &CancelToken) -> Result<LoadedPackage, String> {
        loaded(info)
    }

    /// Load that never ends by itself.
    fn endless(_: &PackageInfo, token: &CancelToken) -> Result<LoadedPackage, String> {
        wait_until(|| token.is_cancelled());
        Err(CANCELLED.into())
    }

    fn never(_: &PackageInfo, _: &CancelToken) -> Result<LoadedPackage, String> {
        unreachable!("the package is in use")
    }

    #[track_caller]
    fn wait_until(condition: impl Fn() -> bool) {
        let deadline = Instant::now() + TIMEOUT;
        while !condition() {
            assert!(Instant::now() < deadline, "not within {TIMEOUT:?}");
            thread::sleep(Duration::from_millis(1));
        }
    }

    fn services() -> Services {
        Services(Mutex::default())
    }

    fn wait(pending: PendingModel) -> LoadResult {
        pending.wait(&CancelToken::default())
    }

    #[track_caller]
    fn assert_encoded(queries: &Queries) {
        assert!(queries.wait_until_encoded(Instant::now() + TIMEOUT));
        assert!(queries.slot_state(0) == SlotState::Ready, "{:?}", queries.problem());
    }

    #[test]
    fn endless_load_delays_no_other_package() {
        let services = services();
        let (busy, queries) = <(Arc<Queries>, Arc<Queries>)>::default();
        let _loading = services.open(info("endless"), busy.clone(), endless);
        let (_binding, pending) = services.open(info("other"), queries.clone(), at_once);
        assert!(wait(pending).is_ok());
        assert_encoded(&queries);
        queries.set_text(0, "rain");
        assert_encoded(&queries);
        assert_eq!(busy.slot_state(0), SlotState::Encoding);
    }

    #[test]
    fn engines_of_one_package_share_its_load() {
        let services = services();
        let (open, is_open) = bounded::<()>(0);
        let gated = move |info: &PackageInfo, _: &CancelToken| {
            is_open.recv().unwrap();
            loaded(info)
        };
        let all: [Arc<Queries>; 3] = Default::default();
        let (_first, pending) = services.open(info("shared"), all[0].clone(), gated);
        let (_second, also_pending) = services.open(info("shared"), all[1].clone(), never);
        open.send(()).unwrap();
        let model = wait(pending).unwrap();
        let (_third, loaded) = services.open(info("shared"), all[2].clone(), never);
        assert!(Arc::ptr_eq(&model, &wait(also_pending).unwrap()));
        assert!(Arc::ptr_eq(&model, &wait(loaded).unwrap()));
        all.iter().for_each(|queries| assert_encoded(queries));
    }

    #[test]
    fn load_is_cancelled_when_no_engine_needs_it() {
        let services = services();
        let (first, pending) = services.open(info("endless"), Arc::default(), endless);
        let (second, also_pending) = services.open(info("endless"), Arc::default(), never);
        drop(first);
        assert!(!pending.0.has_failed());
        let start = Instant::now();
        drop(second);
        assert!(start.elapsed() < Duration::from_millis(500), "{:?}", start.elapsed());
        assert_eq!(wait(pending).err().as_deref(), Some(CANCELLED));
        assert_eq!(wait(also_pending).err().as_deref(), Some(CANCELLED));
        let (_third, pending) = services.open(info("endless"), Arc::default(), at_once);
        assert!(wait(pending).is_ok());
    }

    #[test]
    fn wait_for_a_model_ends_when_cancelled() {
        let services = services();
        let (_binding, pending) = services.open(info("endless"), Arc::default(), endless);
        let token = CancelToken::default();
        thread::scope(|scope| {
            let waiting = scope.spawn(|| pending.wait(&token).err());
            token.cancel();
            assert_eq!(waiting.join().unwrap().as_deref(), Some(CANCELLED));
        });
    }

    #[test]
    fn failed_load_is_tried_again() {
        let services = services();
        let broken = |_: &PackageInfo, _: &CancelToken| Err("broken".into());
        let (_first, pending) = services.open(info("repaired"), Arc::default(), broken);
        assert_eq!(wait(pending).err().as_deref(), Some("broken"));
        let queries = Arc::<Queries>::default();
        let (_second, pending) = services.open(info("repaired"), queries.clone(), at_once);
        assert!(wait(pending).is_ok());
        assert_encoded(&queries);
    }

    #[test]
    fn panic_fails_its_load_or_text_only() {
        let services = services();
        let broken = |_: &PackageInfo, _: &CancelToken| panic!("broken load");
        let (_broken, pending) = services.open(info("broken"), Arc::default(), broken);
        let problem = wait(pending).err().unwrap();
        assert!(problem.contains("internal error"), "{problem}");

        let queries = Arc::<Queries>::default();
        queries.set_text(1, "panic");
        queries.set_text(2, "fail");
        let (_binding, _) = services.open(info("other"), queries.clone(), at_once);
        assert_encoded(&queries);
        let states = [0, 1, 2, 3].map(|slot| queries.slot_state(slot));
        assert_eq!(states, [SlotState::Ready, SlotState::Failed, SlotState::Failed, SlotState::Ready]);
        queries.set_text(1, "rain");
        assert_encoded(&queries);
        assert_eq!(queries.slot_state(1), SlotState::Ready);
    }

    #[test]
    fn panic_of_the_concept_names_fails_no_text() {
        struct Nameless;

        impl TextEncoder for Nameless {
            fn concept_names(&self) -> Arc<[String]> {
                panic!("fake encoder: no names")
            }

            fn encode(&mut self, text: &QueryText) -> Result<EncodedQuery, String> {
                FakeEncoder.encode(text)
            }
        }

        let services = services();
        let queries = Arc::<Queries>::default();
        let nameless = |info: &PackageInfo, _: &CancelToken| {
            loaded(info).map(|(package, _)| (package, Box::new(Nameless) as _))
        };
        let (_binding, _) = services.open(info("nameless"), queries.clone(), nameless);
        assert_encoded(&queries);
        assert!(queries.concept_names().is_empty());
    }

    #[test]
    fn texts_are_encoded_by_the_newest_package() {
        let services = services();
        let queries = Arc::<Queries>::default();
        let count = Arc::new(AtomicUsize::new(0));
        let counted = {
            let count = count.clone();
            move |info: &PackageInfo, _: &CancelToken| {
                count.fetch_add(1, Ordering::SeqCst);
                loaded(info)
            }
        };
        let first = services.open(info("first"), queries.clone(), counted.clone());
        assert_encoded(&queries);
        let second = services.open(info("second"), queries.clone(), counted);
        drop(first);
        assert_encoded(&queries);
        assert_eq!(count.load(Ordering::SeqCst), 2);
        drop(second);
        queries.set_text(0, "rain");
        assert_eq!(queries.slot_state(0), SlotState::Encoding, "no package encodes it");
    }
}
