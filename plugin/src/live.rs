//! What the window may know of the running engine.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use sift_engine::dsp::analyzer::Scope;
use sift_engine::inference::provider::Placement;
use sift_engine::{Engine, Readiness, Status};

/// The running engine as the window sees it; empty while the host has not activated the plugin.
/// Shared between the plugin, which writes at activation, and the window, which reads.
#[derive(Clone, Default)]
pub struct Live(Arc<Mutex<Option<Running>>>);

struct Running {
    status: Arc<Status>,
    model: String,
    sample_rate: f64,
    latency: usize,
    hop: Duration,
    scope: Arc<Scope>,
}

/// One look at the running engine.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot {
    pub readiness: Readiness,
    /// What is wrong, with the file and the remedy.
    pub problem: Option<String>,
    pub model: String,
    /// On what the separator runs.
    pub placement: Placement,
    /// Hertz.
    pub sample_rate: f64,
    /// Samples.
    pub latency: usize,
    /// Share of its time that the separator works, 1 being all of it.
    pub load: f32,
    /// Parcels that came late or could not be sent.
    pub late: u64,
    /// Probability that the described sound is there, where the model tells.
    pub presence: Option<f32>,
}

impl Snapshot {
    pub fn latency_milliseconds(&self) -> f64 {
        self.latency as f64 / self.sample_rate * 1000.0
    }
}

impl Live {
    pub fn begin(&self, engine: &Engine, model: String) {
        let grid = engine.grid();
        *self.0.lock() = Some(Running {
            status: engine.status().clone(),
            model,
            sample_rate: grid.sample_rate,
            latency: engine.latency(),
            hop: Duration::from_secs_f64(grid.hop_seconds()),
            scope: engine.scope().clone(),
        });
    }

    pub fn end(&self) {
        *self.0.lock() = None;
    }

    /// What the running engine shows.
    pub fn scope(&self) -> Option<Arc<Scope>> {
        self.0.lock().as_ref().map(|running| running.scope.clone())
    }

    pub fn snapshot(&self) -> Option<Snapshot> {
        let running = self.0.lock();
        let running = running.as_ref()?;
        let status = &running.status;
        Some(Snapshot {
            readiness: status.readiness(),
            problem: status.problem(),
            model: running.model.clone(),
            placement: status.placement(),
            sample_rate: running.sample_rate,
            latency: running.latency,
            load: status.hop_time().div_duration_f32(running.hop),
            late: status.late() + status.dropped(),
            presence: status.presence(),
        })
    }
}
