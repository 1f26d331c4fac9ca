//! The librarian: one thread a process that loads model packages and encodes queries, away from
//! everyone, and hands out what is ready.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Weak};
use std::thread::{self, JoinHandle};

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use parking_lot::Mutex;

use crate::inference::cancel::{self, Stop};
use crate::inference::library;
use crate::package::Listing;
use crate::query::encoder::QueryEncoder;
use crate::query::slots::Queries;
use crate::separator::network::LoadedModel;

/// What the librarian is asked to do.
pub(crate) enum Job {
    /// Load a package for these queries, answer, and encode them by it from now on.
    Open {
        listing: Box<Listing>,
        queries: Arc<Queries>,
        reader: u64,
        answer: Sender<Answer>,
    },
    /// A text changed.
    Encode(Arc<Queries>),
    /// This reader of these queries is gone.
    Close(Arc<Queries>, u64),
    Quit,
}

type Answer = Result<Arc<LoadedModel>, String>;

/// The thread. It lives as long as any engine does.
pub struct Librarian {
    jobs: Sender<Job>,
    stop: Stop,
    thread: Option<JoinHandle<()>>,
}

static CURRENT: Mutex<Weak<Librarian>> = Mutex::new(Weak::new());

impl Librarian {
    /// The process's librarian, started when there is none.
    pub fn shared() -> Arc<Self> {
        let mut current = CURRENT.lock();
        if let Some(librarian) = current.upgrade() {
            return librarian;
        }
        let (jobs, inbox) = unbounded();
        let stop = Stop::default();
        let desk = Desk { stop: stop.clone(), shelves: Vec::new(), readers: HashMap::new() };
        let body = move || desk.work(&inbox);
        let thread = thread::Builder::new().name("sift librarian".into()).spawn(body).ok();
        let librarian = Arc::new(Self { jobs, stop, thread });
        *current = Arc::downgrade(&librarian);
        librarian
    }

    /// Has the package of `listing` loaded, and `queries` encoded by it until the loan is dropped.
    pub fn open(self: &Arc<Self>, listing: Listing, queries: Arc<Queries>) -> (Loan, Opening) {
        let (answer, opened) = bounded(1);
        let jobs = self.jobs.clone();
        // Fails only while the process ends.
        let encode = move |queries: &Arc<Queries>| drop(jobs.send(Job::Encode(queries.clone())));
        let reader = queries.connect(Some(Arc::new(encode)));
        let job = Job::Open { listing: Box::new(listing), queries: queries.clone(), reader, answer };
        // A librarian that could not start has dropped its inbox; the opening then says so.
        let _ = self.jobs.send(job);
        (Loan { librarian: self.clone(), queries, reader }, Opening(opened))
    }
}

impl Drop for Librarian {
    fn drop(&mut self) {
        let _ = self.jobs.send(Job::Quit);
        self.stop.now();
        if let Some(thread) = self.thread.take() {
            cancel::join(thread);
        }
    }
}

/// Queries being encoded by a package, until another one is opened for them or this is dropped.
pub struct Loan {
    librarian: Arc<Librarian>,
    queries: Arc<Queries>,
    reader: u64,
}

impl Loan {
    /// Whom the embeddings are for.
    pub fn reader(&self) -> u64 {
        self.reader
    }
}

impl Drop for Loan {
    fn drop(&mut self) {
        self.queries.disconnect(self.reader);
        let _ = self.librarian.jobs.send(Job::Close(self.queries.clone(), self.reader));
    }
}

/// A package on its way.
pub struct Opening(Receiver<Answer>);

impl Opening {
    /// Waits for the package. Not for the audio thread.
    pub fn wait(self) -> Result<Arc<LoadedModel>, String> {
        self.0
            .recv()
            .unwrap_or_else(|_| Err("Sift's librarian thread could not be started. Restart the host".into()))
    }
}

/// A package with its query encoder.
struct Shelf {
    model: Arc<LoadedModel>,
    encoder: QueryEncoder,
}

/// What the thread owns.
struct Desk {
    /// Of every package's encoder.
    stop: Stop,
    shelves: Vec<Shelf>,
    /// For which reader and by which package queries are encoded, by the address of the queries.
    readers: HashMap<usize, (u64, Arc<LoadedModel>)>,
}

fn key(queries: &Arc<Queries>) -> usize {
    Arc::as_ptr(queries) as usize
}

impl Desk {
    fn work(mut self, inbox: &Receiver<Job>) {
        while let Ok(job) = inbox.recv() {
            match job {
                Job::Open { listing, queries, reader, answer } => {
                    let opened = self.open(&listing);
                    if let Ok(model) = &opened {
                        self.readers.insert(key(&queries), (reader, model.clone()));
                    }
                    // The separator thread loads its network while the queries are encoded here.
                    let _ = answer.send(opened);
                    self.encode(&queries);
                }
                Job::Encode(queries) => self.encode(&queries),
                Job::Close(queries, reader) => self.close(&queries, reader),
                Job::Quit => return,
            }
        }
    }

    fn open(&mut self, listing: &Listing) -> Answer {
        let same = |LoadedModel { package, .. }: &LoadedModel| {
            package.origin == listing.origin && package.manifest == listing.manifest
        };
        if let Some(shelf) = self.shelves.iter().find(|shelf| same(&shelf.model)) {
            return Ok(shelf.model.clone());
        }
        let environment = library::environment().map_err(|error| error.to_string())?;
        let package = listing.load().map_err(|error| error.to_string())?;
        let encoder =
            QueryEncoder::new(environment, &package, self.stop.child()).map_err(|error| error.to_string())?;
        let model = Arc::new(LoadedModel::new(package));
        self.shelves.push(Shelf { model: model.clone(), encoder });
        Ok(model)
    }

    fn encode(&mut self, queries: &Arc<Queries>) {
        let Some((reader, model)) = self.readers.get(&key(queries)) else { return };
        let shelf = self.shelves.iter_mut().find(|shelf| Arc::ptr_eq(&shelf.model, model));
        // A newer reader's package is still to be opened.
        let Some(shelf) = shelf.filter(|_| queries.reader() == *reader) else { return };
        queries.set_known(shelf.encoder.known());
        for (slot, text) in queries.waiting() {
            queries.deliver(*reader, slot, &text, shelf.encoder.encode(&text));
        }
    }

    /// Forgets the reader, and packages that nobody reads by any more.
    fn close(&mut self, queries: &Arc<Queries>, reader: u64) {
        if let Entry::Occupied(entry) = self.readers.entry(key(queries))
            && entry.get().0 == reader
        {
            entry.remove();
        }
        self.shelves.retain(|shelf| self.readers.values().any(|(_, read)| Arc::ptr_eq(&shelf.model, read)));
    }
}
