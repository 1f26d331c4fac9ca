//! The running engine's data for the editor.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use sift_engine::dsp::analyzer::Analyzer;
use sift_engine::inference::provider::ActiveProvider;
use sift_engine::{Engine, Readiness, Status};

/// A handle to the newest engine's status; empty while the plugin is not active.
///
/// The plugin sets it when it opens an engine, and the editor reads it.
#[derive(Clone, Default)]
pub struct EngineMonitor(Arc<Mutex<Option<MonitoredEngine>>>);

struct MonitoredEngine {
    status: Arc<Status>,
    model: String,
    sample_rate: f64,
    latency: usize,
    hop: Duration,
    analyzer: Arc<Analyzer>,
}

/// State of the running engine at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct EngineSnapshot {
    pub readiness: Readiness,
    /// Error message with the file and the remedy.
    pub problem: Option<String>,
    /// Name of the model package.
    pub model: String,
    /// The execution provider of the separator.
    pub active_provider: ActiveProvider,
    /// In hertz.
    pub sample_rate: f64,
    /// In samples.
    pub latency: usize,
    /// The separator's time per hop divided by the hop's duration.
    pub load: f32,
    /// Number of masks that came late or could not be requested.
    pub late_masks: u64,
    /// Probability that the described sound is present; `None` if the model does not report it.
    pub presence: Option<f32>,
}

impl EngineSnapshot {
    pub fn latency_milliseconds(&self) -> f64 {
        self.latency as f64 / self.sample_rate * 1000.0
    }
}

impl EngineMonitor {
    /// Monitors `engine` from now on. `model` is the name of its package.
    pub fn watch(&self, engine: &Engine, model: String) {
        let grid = engine.grid();
        *self.0.lock() = Some(MonitoredEngine {
            status: engine.status().clone(),
            model,
            sample_rate: grid.sample_rate,
            latency: engine.latency(),
            hop: Duration::from_secs_f64(grid.hop_seconds()),
            analyzer: engine.analyzer().clone(),
        });
    }

    /// Ends the monitoring.
    pub fn clear(&self) {
        *self.0.lock() = None;
    }

    /// The running engine's spectrum analyzer.
    pub fn analyzer(&self) -> Option<Arc<Analyzer>> {
        self.0.lock().as_ref().map(|running| running.analyzer.clone())
    }

    /// The running engine's state; `None` while no engine runs.
    pub fn snapshot(&self) -> Option<EngineSnapshot> {
        let running = self.0.lock();
        let running = running.as_ref()?;
        let status = &running.status;
        Some(EngineSnapshot {
            readiness: status.readiness(),
            problem: status.problem(),
            model: running.model.clone(),
            active_provider: status.active_provider(),
            sample_rate: running.sample_rate,
            latency: running.latency,
            load: status.hop_time().div_duration_f32(running.hop),
            late_masks: status.late_masks() + status.dropped_frames(),
            presence: status.presence(),
        })
    }
}
