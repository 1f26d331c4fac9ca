//! The service: one thread a process that loads model packages and encodes queries, away from
//! everyone, and hands out what is ready.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Weak};
use std::thread::{self, JoinHandle};

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use parking_lot::Mutex;

use crate::inference::cancel::{self, CancelToken};
use crate::inference::library;
use crate::package::PackageInfo;
use crate::query::encoder::QueryEncoder;
use crate::query::slots::Queries;
use crate::separator::network::LoadedModel;

/// What the service is asked to do.
pub(crate) enum ServiceRequest {
    /// Load a package for these queries, reply, and encode them by it from now on.
    Open {
        info: Box<PackageInfo>,
        queries: Arc<Queries>,
        engine_id: u64,
        reply: Sender<LoadResult>,
    },
    /// A text changed.
    Encode(Arc<Queries>),
    /// This engine_id of these queries is gone.
    Close(Arc<Queries>, u64),
    Quit,
}

type LoadResult = Result<Arc<LoadedModel>, String>;

/// The thread. It lives as long as any engine does.
pub struct ModelService {
    requests: Sender<ServiceRequest>,
    token: CancelToken,
    thread: Option<JoinHandle<()>>,
}

static CURRENT: Mutex<Weak<ModelService>> = Mutex::new(Weak::new());

impl ModelService {
    /// The process's service, started when there is none.
    pub fn shared() -> Arc<Self> {
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

    /// Has the package of `info` loaded, and `queries` encoded by it until the loan is dropped.
    pub fn open(self: &Arc<Self>, info: PackageInfo, queries: Arc<Queries>) -> (QueryBinding, PendingModel) {
        let (reply, opened) = bounded(1);
        let requests = self.requests.clone();
        // Fails only while the process ends.
        let encode =
            move |queries: &Arc<Queries>| drop(requests.send(ServiceRequest::Encode(queries.clone())));
        let engine_id = queries.connect(Some(Arc::new(encode)));
        let request =
            ServiceRequest::Open { info: Box::new(info), queries: queries.clone(), engine_id, reply };
        // A service that could not start has dropped its inbox; the opening then says so.
        let _ = self.requests.send(request);
        (QueryBinding { service: self.clone(), queries, engine_id }, PendingModel(opened))
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

/// Queries being encoded by a package, until another one is opened for them or this is dropped.
pub struct QueryBinding {
    service: Arc<ModelService>,
    queries: Arc<Queries>,
    engine_id: u64,
}

impl QueryBinding {
    /// Whom the embeddings are for.
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

/// A package on its way.
pub struct PendingModel(Receiver<LoadResult>);

impl PendingModel {
    /// Waits for the package. Not for the audio thread.
    pub fn wait(self) -> Result<Arc<LoadedModel>, String> {
        self.0
            .recv()
            .unwrap_or_else(|_| Err("Sift's service thread could not be started. Restart the host".into()))
    }
}

/// A package with its query encoder.
struct CachedModel {
    model: Arc<LoadedModel>,
    encoder: QueryEncoder,
}

/// What the thread owns.
struct ServiceLoop {
    /// Of every package's encoder.
    token: CancelToken,
    models: Vec<CachedModel>,
    /// For which engine_id and by which package queries are encoded, by the address of the queries.
    bindings: HashMap<usize, (u64, Arc<LoadedModel>)>,
}

fn key(queries: &Arc<Queries>) -> usize {
    Arc::as_ptr(queries) as usize
}

impl ServiceLoop {
    fn run(mut self, inbox: &Receiver<ServiceRequest>) {
        while let Ok(request) = inbox.recv() {
            match request {
                ServiceRequest::Open { info, queries, engine_id, reply } => {
                    let opened = self.open(&info);
                    if let Ok(model) = &opened {
                        self.bindings.insert(key(&queries), (engine_id, model.clone()));
                    }
                    // The separator thread loads its network while the queries are encoded here.
                    let _ = reply.send(opened);
                    self.encode(&queries);
                }
                ServiceRequest::Encode(queries) => self.encode(&queries),
                ServiceRequest::Close(queries, engine_id) => self.close(&queries, engine_id),
                ServiceRequest::Quit => return,
            }
        }
    }

    fn open(&mut self, info: &PackageInfo) -> LoadResult {
        let same = |LoadedModel { package, .. }: &LoadedModel| {
            package.origin == info.origin && package.manifest == info.manifest
        };
        if let Some(cached) = self.models.iter().find(|cached| same(&cached.model)) {
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

    fn encode(&mut self, queries: &Arc<Queries>) {
        let Some((engine_id, model)) = self.bindings.get(&key(queries)) else { return };
        let cached = self.models.iter_mut().find(|cached| Arc::ptr_eq(&cached.model, model));
        // A newer engine_id's package is still to be opened.
        let Some(cached) = cached.filter(|_| queries.engine_id() == *engine_id) else { return };
        queries.set_concept_names(cached.encoder.concept_names());
        for (slot, text) in queries.pending() {
            queries.set_encoded(*engine_id, slot, &text, cached.encoder.encode(&text));
        }
    }

    /// Forgets the engine_id, and packages that nobody reads by any more.
    fn close(&mut self, queries: &Arc<Queries>, engine_id: u64) {
        if let Entry::Occupied(entry) = self.bindings.entry(key(queries))
            && entry.get().0 == engine_id
        {
            entry.remove();
        }
        self.models.retain(|cached| self.bindings.values().any(|(_, read)| Arc::ptr_eq(&cached.model, read)));
    }
}
