//! The separator's thread: parcels in, masks filled, parcels home.

use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::dsp::analyzer::Scope;
use crate::inference::cancel::{self, Stop};
use crate::inference::provider::Placement;
use crate::query::slots::Queries;
use crate::realtime::mask_queue::{Hop, Line, SeparatorEnd};
use crate::realtime::priority::Priority;
use crate::realtime::status::Status;
use crate::separator::Separator;
use crate::separator::multi_part::Compound;

/// How long the thread sleeps when nobody wakes it.
const NAP: Duration = Duration::from_millis(100);

/// How long the other side of an exact hop is waited for without sleep: to be woken takes as long as the work.
pub const SPIN: Duration = Duration::from_millis(1);

/// How long a query may be waited for when the audio thread waits too.
pub const PATIENCE: Duration = cancel::LIMIT;

/// Makes the separator, on its thread, and tells on what it runs. It may take its time, until it is stopped.
pub type Build = Box<dyn FnOnce(&Stop) -> Result<(Box<dyn Separator>, Placement), String> + Send>;

/// The running thread. When this is dropped, it ends, and so does what its network is at.
pub struct Worker {
    line: Arc<Line>,
    stop: Stop,
    thread: Option<JoinHandle<()>>,
}

impl Worker {
    /// Starts the thread, which has the embeddings of `queries` that are for `reader`. `hop_frames` samples at `sample_rate` hertz are the time a hop has.
    pub fn start(
        build: Build,
        end: SeparatorEnd,
        (queries, reader): (Arc<Queries>, u64),
        (status, scope): (Arc<Status>, Arc<Scope>),
        hop_frames: usize,
        sample_rate: f64,
    ) -> Self {
        let line = end.line.clone();
        let reporter = status.clone();
        let stop = Stop::default();
        let stopped = stop.clone();
        let body = move || match build(&stopped) {
            Ok((separator, placement)) => {
                status.set_ready(placement);
                let _raised = Priority::raise(hop_frames, sample_rate);
                Desk {
                    separator: Compound::new(separator),
                    end,
                    queries,
                    reader,
                    status,
                    scope,
                    stream: None,
                }
                .work();
            }
            // What was stopped has no problem.
            Err(_) if end.line.is_closed() => {}
            Err(problem) => status.fail(problem),
        };
        let spawned = thread::Builder::new().name("sift separator".into()).spawn(body);
        let thread = spawned
            .inspect_err(|error| {
                reporter
                    .fail(format!("the separator's thread could not be started: {error}. Restart the host"))
            })
            .ok();
        Self { line, stop, thread }
    }

    pub fn thread(&self) -> Option<&thread::Thread> {
        self.thread.as_ref().map(JoinHandle::thread)
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.line.close();
        self.stop.now();
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            cancel::join(thread);
        }
    }
}

struct Desk {
    separator: Compound,
    end: SeparatorEnd,
    queries: Arc<Queries>,
    reader: u64,
    status: Arc<Status>,
    scope: Arc<Scope>,
    /// The stream whose state the separator holds.
    stream: Option<u32>,
}

impl Desk {
    fn work(&mut self) {
        let mut spin_until = Instant::now();
        while !self.end.line.is_closed() {
            // Never a blocking `recv`: a receiver that blocks makes the audio thread's send lock.
            let Some(mut hop) = self.end.receive() else {
                if Instant::now() < spin_until {
                    thread::yield_now()
                } else {
                    thread::park_timeout(NAP)
                }
                continue;
            };
            hop.masked = !self.end.line.is_stale(&hop) && self.separate(&mut hop);
            self.scope.show(&hop.magnitude, hop.masked.then_some(&*hop.mask));
            if hop.exact {
                spin_until = Instant::now() + SPIN;
            }
            self.end.send_home(hop);
        }
    }

    /// Fills in the mask, if there is something to separate by and it works.
    fn separate(&mut self, hop: &mut Hop) -> bool {
        let patience = if hop.exact { PATIENCE } else { Duration::ZERO };
        let Some(parts) = self.queries.parts(self.reader, hop.query.into(), patience) else {
            self.stream = None;
            self.status.set_presence(None);
            return false;
        };
        if self.stream != Some(hop.stream) {
            self.separator.reset();
            self.stream = Some(hop.stream);
        }
        let start = Instant::now();
        let Hop { magnitude, mask, exact, .. } = hop;
        // What must not depend on how busy the machine is runs alone.
        let outcome = self.separator.run(magnitude, &parts, mask, !*exact);
        self.status.count_hop(start.elapsed());
        match outcome {
            Ok(presence) => self.status.set_presence(presence),
            Err(_) if self.end.line.is_closed() => return false,
            Err(problem) => {
                self.status.fail(problem);
                return false;
            }
        }
        if !hop.mask.iter().all(|gain| gain.is_finite()) {
            // A value that is not finite would stay in the recurrent state for good.
            self.status.count_unusable();
            self.stream = None;
            return false;
        }
        true
    }
}
