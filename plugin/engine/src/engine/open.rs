//! Construction of an engine from a model package.

use std::sync::Arc;

use realfft::num_complex::Complex32;

use crate::dsp::analyzer::Analyzer;
use crate::dsp::delay_line::DelayLine;
use crate::dsp::grid::{Grid, SpectrogramFormat};
use crate::dsp::mask_processor::MaskProcessor;
use crate::dsp::mixer::Mixer;
use crate::dsp::stft::{AnalysisBuffer, OverlapAdd, Stft};
use crate::engine::channel::{ChannelScratch, ChannelState};
use crate::engine::{Config, Engine, RequestState};
use crate::inference::cancel::CancelToken;
use crate::inference::library;
use crate::inference::provider::ActiveProvider;
use crate::model_service::{ModelService, QueryBinding};
use crate::package::{PackageError, PackageInfo, SeparatorKind, SeparatorSection, search};
use crate::query::slots::Queries;
use crate::realtime::mask_queue;
use crate::realtime::offline_detector::OfflineDetector;
use crate::realtime::separator_thread::{SeparatorFactory, SeparatorThread, WAIT_TIMEOUT};
use crate::realtime::status::Status;
use crate::separator::Separator;
use crate::separator::streaming::StreamingSeparator;
use crate::separator::window::WindowSeparator;
use crate::user::preferences::provider_choice;

/// Time for which the last mask is held when the next one is late, in seconds.
const MASK_HOLD_SECONDS: f64 = 0.05;

/// Requests beyond those in flight in normal operation.
///
/// A stall of this many hops drops no frame, and so does not reset the recurrent state.
const SPARE_REQUESTS: usize = 16;

fn boxed<S: Separator + 'static>(
    (separator, provider): (S, ActiveProvider),
) -> (Box<dyn Separator>, ActiveProvider) {
    (Box::new(separator), provider)
}

impl Engine {
    /// Creates an engine for the installed model package named `model`.
    ///
    /// The package loads in the background. If that fails, audio passes dry with the same latency, and
    /// [`Status::problem`] holds the error message. Not real-time safe.
    pub fn open(model: &str, config: Config, queries: Arc<Queries>) -> Self {
        Self::with_package(search::find(model), config, queries)
    }

    /// Same as [`open`](Self::open), for a package that was searched for before.
    ///
    /// With an error as `info`, audio passes dry. Not real-time safe.
    pub fn with_package(
        info: Result<PackageInfo, PackageError>,
        config: Config,
        queries: Arc<Queries>,
    ) -> Self {
        let manifest =
            info.as_ref().map_or_else(|_| PackageInfo::built_in().manifest, |found| found.manifest.clone());
        let (binding, factory): (_, SeparatorFactory) = match info {
            Ok(info) => {
                let (binding, pending) = ModelService::shared().open(info, queries.clone());
                let factory = move |token: &CancelToken| {
                    let model = pending.wait()?;
                    let environment = library::environment().map_err(|error| error.to_string())?;
                    let choice = provider_choice();
                    let separator = match model.package.manifest.separator.kind {
                        SeparatorKind::Streaming => {
                            StreamingSeparator::new(environment, &model, &choice, token).map(boxed)
                        }
                        SeparatorKind::Window => {
                            WindowSeparator::new(environment, &model, &choice, token).map(boxed)
                        }
                    };
                    separator.map_err(|error| error.to_string())
                };
                (Some(binding), Box::new(factory))
            }
            Err(error) => {
                // Also disconnects the engine before this one, which uses the same queries.
                queries.connect(None);
                (None, Box::new(move |_| Err(error.to_string())))
            }
        };
        Self::with_separator(&manifest.audio, &manifest.separator, factory, binding, config, queries)
    }

    pub(super) fn with_separator(
        audio: &SpectrogramFormat,
        separator: &SeparatorSection,
        factory: SeparatorFactory,
        binding: Option<QueryBinding>,
        config: Config,
        queries: Arc<Queries>,
    ) -> Self {
        let Config { sample_rate, max_block, channels, offline } = config;
        let grid = Grid::new(audio, sample_rate);
        let delay = grid.delay_hops(separator.delay_hops(), max_block);
        let latency = grid.latency(separator.delay_hops(), max_block);
        let stft = Stft::new(grid.size, grid.hop, audio.window);
        let model_window_sum: f32 = audio.window.samples(audio.n_fft).iter().sum();
        let spectrum = || vec![Complex32::ZERO; grid.bins()].into_boxed_slice();
        let channel = || ChannelState {
            history: AnalysisBuffer::new(grid.size),
            spectra: (0..=delay).map(|_| spectrum()).collect(),
            overlap: OverlapAdd::new(grid.size),
            dry: DelayLine::new(latency),
        };
        let status = Arc::new(Status::new(separator.advance()));
        let (mut queue, separator_endpoint) =
            mask_queue::mask_queue(delay + 1 + SPARE_REQUESTS, grid.model_bins);
        let analyzer = Arc::new(Analyzer::new(audio));
        let outputs = (status.clone(), analyzer.clone());
        let engine_id = binding.as_ref().map_or(queries.engine_id(), QueryBinding::engine_id);
        let separator_thread = SeparatorThread::start(
            factory,
            separator_endpoint,
            (queries, engine_id),
            outputs,
            grid.hop,
            sample_rate,
        );
        if let Some(thread) = separator_thread.thread() {
            queue.wake_on_send(thread.clone());
        }
        Self {
            mask_lag: separator.mask_lag(),
            delay_hops: delay,
            latency,
            hold_hops: (MASK_HOLD_SECONDS / grid.hop_seconds()).round() as usize,
            offline,
            status,
            analyzer,
            to_model_scale: model_window_sum / stft.window_sum(),
            stft,
            channels: (0..channels).map(|_| channel()).collect(),
            mask: MaskProcessor::new(&grid),
            mixer: Mixer::new(sample_rate),
            weights: Vec::with_capacity(grid.hop),
            scratch: ChannelScratch::new(grid.hop),
            queue,
            requests: (0..=delay).map(|_| RequestState::Idle).collect(),
            stream: 0,
            discontinuity: false,
            frame: 0,
            samples_to_hop: grid.hop,
            missed_hops: 0,
            first_block: true,
            offline_detector: OfflineDetector::new(sample_rate, max_block + grid.size / 2),
            wait_timeout: WAIT_TIMEOUT,
            grid,
            _separator_thread: separator_thread,
            _query_binding: binding,
        }
    }
}
