//! State of a running engine at one moment, for editors and reports.

use std::sync::Arc;
use std::time::Duration;

use crate::dsp::analyzer::Analyzer;
use crate::engine::Engine;
use crate::inference::provider::ActiveProvider;
use crate::realtime::status::{HearingState, MaskFaults, Readiness, Status};

/// State of an instance's newest engine at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot {
    pub readiness: Readiness,
    /// Error message of a failed model, with the file and the remedy.
    pub problem: Option<String>,
    /// Name of the model package, or its folder.
    pub model: String,
    /// Execution provider of the separator, once it is ready.
    pub active_provider: ActiveProvider,
    /// In hertz.
    pub sample_rate: f64,
    /// In samples.
    pub latency: usize,
    /// Duration of a hop.
    pub hop: Duration,
    /// Average time of the separator per hop, over about the last 32 hops.
    pub hop_time: Duration,
    pub faults: MaskFaults,
    /// Size in samples of the host's largest block, if it was larger than the largest one for which masks are in time.
    pub oversized_block: Option<usize>,
    /// Probability that the described sound is in the newest frame; `None` if the model has no such output.
    pub presence: Option<f32>,
    /// What the listener hears, and the rest that competes.
    pub hearing: HearingState,
}

impl Snapshot {
    pub fn latency_milliseconds(&self) -> f64 {
        self.latency as f64 / self.sample_rate * 1000.0
    }

    /// The separator's time per hop, divided by the hop's duration.
    pub fn load(&self) -> f32 {
        self.hop_time.div_duration_f32(self.hop)
    }
}

/// Data of an engine that other threads read while it runs, also after it has moved to the audio thread.
pub(super) struct MonitoredEngine {
    model: String,
    status: Arc<Status>,
    analyzer: Arc<Analyzer>,
    sample_rate: f64,
    latency: usize,
    hop: Duration,
}

impl MonitoredEngine {
    /// Monitors `engine`, whose model is called `model`.
    pub fn new(engine: &Engine, model: String) -> Self {
        Self {
            model,
            status: engine.status().clone(),
            analyzer: engine.analyzer().clone(),
            sample_rate: engine.sample_rate(),
            latency: engine.latency(),
            hop: Duration::from_secs_f64(engine.hop_seconds()),
        }
    }

    pub fn status(&self) -> &Arc<Status> {
        &self.status
    }

    pub fn analyzer(&self) -> &Arc<Analyzer> {
        &self.analyzer
    }

    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            readiness: self.status.readiness(),
            problem: self.status.problem(),
            model: self.model.clone(),
            active_provider: self.status.active_provider(),
            sample_rate: self.sample_rate,
            latency: self.latency,
            hop: self.hop,
            hop_time: self.status.hop_time(),
            faults: self.status.faults(),
            oversized_block: self.status.oversized_block(),
            presence: self.status.presence(),
            hearing: self.status.hearing(),
        }
    }
}
