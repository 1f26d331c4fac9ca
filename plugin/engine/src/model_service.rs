//! Model service: background thread, one per process, that loads model packages and encodes queries.
//!
//! Audio, editor and host threads never load a package or run the query network.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Weak};
use std::thread::{self, JoinHandle};

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use parking_lot::Mutex;

use crate::dsp::grid::SpectrogramFormat;
use crate::inference::cancel::{self, CancelToken};
use crate::inference::library;
use crate::package::{PackageError, PackageInfo, SeparatorSection};
use crate::query::encoder::QueryEncoder;
use crate::query::slots::Queries;
use crate::realtime::separator_thread::SeparatorFactory;
use crate::separator::load;
use crate::separator::network::LoadedModel;
use crate::user::preferences::provider_choice;

/// Request to the thread of the model service.
enum ServiceRequest {
    /// Load a package, reply, and encode the texts of `queries` by it from now on.
    Open { info: Box<PackageInfo>, queries: Arc<Queries>, engine_id: u64, reply: Sender<LoadResult> },
    /// Encode the changed texts of these queries.
    Encode(Arc<Queries>),
    /// Stop encoding these queries for the engine of this id.
    Close(Arc<Queries>, u64),
    /// End the thread.
    Quit,
}

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
                let (binding, pending) = ModelService::shared().open(info, queries.clone());
                let factory = move |token: &CancelToken| {
                    let model = pending.wait()?;
                    let environment = library::environment().map_err(|error| error.to_string())?;
                    load::load(environment, &model, &provider_choice(), token)
                        .map_err(|error| error.to_string())
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

type LoadResult = Result<Arc<LoadedModel>, String>;

/// Handle of the service's thread, which runs as long as any engine exists.
struct ModelService {
    requests: Sender<ServiceRequest>,
    token: CancelToken,
    thread: Option<JoinHandle<()>>,
}

static CURRENT: Mutex<Weak<ModelService>> = Mutex::new(Weak::new());

impl ModelService {
    /// Returns the service of the process and starts it if there is none.
    fn shared() -> Arc<Self> {
        let mut current = CURRENT.lock();
        if let Some(service) = current.upgrade() {
            return service;
        }
        let (requests, inbox) = unbounded();
        let token = CancelToken::default();
        let service_loop = ServiceLoop { token: token.clone(), models: Vec::new(), bindings: HashMap::new() };
        let body = move || service_loop.run(&inbox);
        let thread = thread::Builder::new().name("sift service".into()).spawn(body).ok();
        let service = Arc::new(Self { requests, token, thread });
        *current = Arc::downgrade(&service);
        service
    }

    /// Requests that the package of `info` is loaded and `queries` are encoded by it, and returns at once.
    ///
    /// The queries are encoded until the binding is dropped.
    fn open(self: &Arc<Self>, info: PackageInfo, queries: Arc<Queries>) -> (QueryBinding, PendingModel) {
        let (reply, result) = bounded(1);
        let requests = self.requests.clone();
        // Sending fails only if the thread could not be started or has ended.
        let callback =
            move |queries: &Arc<Queries>| drop(requests.send(ServiceRequest::Encode(queries.clone())));
        let engine_id = queries.connect(Some(Arc::new(callback)));
        let request =
            ServiceRequest::Open { info: Box::new(info), queries: queries.clone(), engine_id, reply };
        // If the thread could not be started, `PendingModel::wait` returns the error.
        let _ = self.requests.send(request);
        (QueryBinding { service: self.clone(), queries, engine_id }, PendingModel(result))
    }
}

impl Drop for ModelService {
    fn drop(&mut self) {
        let _ = self.requests.send(ServiceRequest::Quit);
        self.token.cancel();
        if let Some(thread) = self.thread.take() {
            cancel::join_with_timeout(thread);
        }
    }
}

/// Guard of the encoding of queries by a package.
///
/// The encoding stops when the guard is dropped or another package is opened for the queries.
pub(crate) struct QueryBinding {
    service: Arc<ModelService>,
    queries: Arc<Queries>,
    engine_id: u64,
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
        let _ = self.service.requests.send(ServiceRequest::Close(self.queries.clone(), self.engine_id));
    }
}

/// A model that is being loaded.
struct PendingModel(Receiver<LoadResult>);

impl PendingModel {
    /// Blocks until the model is loaded. Must not be called on the audio thread.
    ///
    /// # Errors
    /// Fails if the package cannot be loaded or the service's thread could not be started.
    fn wait(self) -> Result<Arc<LoadedModel>, String> {
        self.0.recv().unwrap_or_else(|_| {
            Err("model service: its thread could not be started. Restart the host".into())
        })
    }
}

/// A loaded model with its query encoder.
struct CachedModel {
    model: Arc<LoadedModel>,
    encoder: QueryEncoder,
}

/// State of the service's thread.
struct ServiceLoop {
    /// Parent of the tokens of all encoders.
    token: CancelToken,
    models: Vec<CachedModel>,
    /// Engine and model of each connected set of queries, by its [`key`].
    bindings: HashMap<usize, (u64, Arc<LoadedModel>)>,
}

/// Returns the address of the queries.
fn key(queries: &Arc<Queries>) -> usize {
    Arc::as_ptr(queries) as usize
}

impl ServiceLoop {
    fn run(mut self, inbox: &Receiver<ServiceRequest>) {
        while let Ok(request) = inbox.recv() {
            match request {
                ServiceRequest::Open { info, queries, engine_id, reply } => {
                    let result = self.open(&info);
                    if let Ok(model) = &result {
                        self.bindings.insert(key(&queries), (engine_id, model.clone()));
                    }
                    // The separator thread loads its network while the queries are encoded here.
                    let _ = reply.send(result);
                    self.encode(&queries);
                }
                ServiceRequest::Encode(queries) => self.encode(&queries),
                ServiceRequest::Close(queries, engine_id) => self.close(&queries, engine_id),
                ServiceRequest::Quit => return,
            }
        }
    }

    /// Returns the model of `info`, loaded if it is not cached.
    fn open(&mut self, info: &PackageInfo) -> LoadResult {
        let is_same = |LoadedModel { package, .. }: &LoadedModel| {
            package.origin == info.origin && package.manifest == info.manifest
        };
        if let Some(cached) = self.models.iter().find(|cached| is_same(&cached.model)) {
            return Ok(cached.model.clone());
        }
        let environment = library::environment().map_err(|error| error.to_string())?;
        let package = info.load().map_err(|error| error.to_string())?;
        let encoder = QueryEncoder::new(environment, &package, self.token.child())
            .map_err(|error| error.to_string())?;
        let model = Arc::new(LoadedModel::new(package));
        self.models.push(CachedModel { model: model.clone(), encoder });
        Ok(model)
    }

    /// Encodes the texts of `queries` that wait for it.
    fn encode(&mut self, queries: &Arc<Queries>) {
        let Some((engine_id, model)) = self.bindings.get(&key(queries)) else { return };
        let cached = self.models.iter_mut().find(|cached| Arc::ptr_eq(&cached.model, model));
        // If a newer engine has connected, its `Open` request follows and encodes the texts.
        let Some(cached) = cached.filter(|_| queries.engine_id() == *engine_id) else { return };
        queries.set_concept_names(cached.encoder.concept_names());
        for (slot, text) in queries.pending() {
            queries.set_encoded(*engine_id, slot, &text, cached.encoder.encode(&text));
        }
    }

    /// Removes the binding of the engine, and models without bindings.
    fn close(&mut self, queries: &Arc<Queries>, engine_id: u64) {
        if let Entry::Occupied(entry) = self.bindings.entry(key(queries))
            && entry.get().0 == engine_id
        {
            entry.remove();
        }
        self.models
            .retain(|cached| self.bindings.values().any(|(_, model)| Arc::ptr_eq(&cached.model, model)));
    }
}
