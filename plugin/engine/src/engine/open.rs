//! Construction of an engine.

use std::sync::Arc;

use crate::dsp::analyzer::Analyzer;
use crate::dsp::mask_processor::MaskProcessor;
use crate::dsp::mixer::Mixer;
use crate::engine::Engine;
use crate::engine::block::Config;
use crate::engine::channel_bank::ChannelBank;
use crate::engine::idle::IdleControl;
use crate::engine::mask_exchange::MaskExchange;
use crate::engine::timing::Timing;
use crate::engine::wait_policy::WaitPolicy;
use crate::model_service::{ModelSource, QueryBinding};
use crate::package::Manifest;
use crate::query::slots::Queries;
use crate::realtime::mask_queue::mask_queue;
use crate::realtime::separator_thread::SeparatorThread;
use crate::realtime::status::Status;

/// Requests beyond those in flight in normal operation.
///
/// A stall of this many hops drops no frame, and so does not reset the recurrent state.
const SPARE_REQUESTS: usize = 16;

impl Engine {
    /// Latency in samples of an engine for the model of `manifest`.
    pub fn latency_of(manifest: &Manifest, config: &Config) -> usize {
        Timing::new(&manifest.audio, &manifest.separator, config).latency
    }

    /// Creates an engine for the model of `source`, which loads in the background.
    ///
    /// The latency is that for blocks of at most `block_limit` samples. Masks in larger blocks of the host are late, and are
    /// concealed.
    ///
    /// If the model cannot be loaded, audio passes dry with the same latency, and [`Status::problem`] holds the error
    /// message. Not real-time safe.
    pub fn open(
        source: ModelSource,
        config: Config,
        block_limit: Option<usize>,
        queries: Arc<Queries>,
    ) -> Self {
        let ModelSource { audio, separator, factory, binding } = source;
        let timing = Timing::new(&audio, &separator, &config.limited_to(block_limit));
        let status = Arc::new(Status::new(separator.advance()));
        let analyzer = Arc::new(Analyzer::new(&audio));
        let requests = timing.delay_hops.max(config.max_block / timing.grid.hop) + 1 + SPARE_REQUESTS;
        let (mut queue, separator_endpoint) = mask_queue(requests, timing.grid.model_bins);
        let engine_id = binding.as_ref().map_or(queries.engine_id(), QueryBinding::engine_id);
        let separator_thread = SeparatorThread::start(
            factory,
            separator_endpoint,
            (queries, engine_id),
            (status.clone(), analyzer.clone()),
            timing.delay_hops - timing.mask_lag,
            (timing.grid.hop, config.sample_rate),
        );
        if let Some(thread) = separator_thread.thread() {
            queue.wake_on_send(thread.clone());
        }
        let slack = config.max_block + timing.grid.size / 2;
        Self {
            channels: ChannelBank::new(&audio, &timing, config.channels),
            mask: MaskProcessor::new(&timing.grid),
            mixer: Mixer::new(config.sample_rate),
            masks: MaskExchange::new(queue, timing, status.clone()),
            waiting: WaitPolicy::new(config.offline, config.sample_rate, slack),
            idle: IdleControl::new(&timing),
            frame: 0,
            first_due: 0,
            samples_to_hop: timing.grid.hop,
            missed_hops: 0,
            timing,
            status,
            analyzer,
            _background: (separator_thread, binding),
        }
    }
}
