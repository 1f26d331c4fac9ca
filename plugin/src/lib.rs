//! Sift as a plugin: parameters, state, buses and latency around a [`sift_engine::Instance`].

mod clap;
#[cfg_attr(not(feature = "editor"), path = "no_editor.rs")]
mod editor;
mod host_link;
mod params;
#[cfg(feature = "editor")]
mod query_sets;
mod state;
mod transport;
#[cfg(feature = "vst3")]
mod vst3;

use std::sync::Arc;

use nice_plug::prelude::*;
use sift_engine::user::preferences::Preferences;
use sift_engine::{AuxOutputs, Config, Controls, Instance, Processor};

pub use crate::clap::clap_entry;
use crate::editor::{EditorThreads, SiftEditor};
use crate::host_link::{HostLink, HostNotice};
use crate::params::{GAIN, ListenParam, STEREO, STRENGTH, SiftParams, limited};
use crate::transport::Transport;

/// The plugin, with the auxiliary outputs *Target* and *Residual*.
pub struct Sift {
    params: Arc<SiftParams>,
    instance: Arc<Instance>,
    editor_threads: EditorThreads,
    link: Arc<HostLink>,
    /// Number of changes of the latency that were reported while the plugin was active.
    latency_changes: u32,
    /// `Some` between `activate` and `deactivate`.
    processor: Option<Processor>,
    /// Mask strength for each sample of the block, 0 to 1.
    strength: Vec<f32>,
    /// Output gain for each sample of the block, a linear factor.
    gain: Vec<f32>,
    transport: Transport,
}

impl Default for Sift {
    fn default() -> Self {
        let link = HostLink::of_new_plugin();
        let instance = link.instance().clone();
        // The editor tells errors of the preferences.
        let preferences =
            Preferences::file().and_then(|file| Preferences::read(&file).ok()).unwrap_or_default();
        // Nothing plays yet, so no thread is started, which is all that can fail.
        let _ = instance.set_block_limit(preferences.largest_block.map(|samples| samples as usize));
        Self {
            params: Arc::new(SiftParams::new(&link)),
            instance,
            editor_threads: EditorThreads::default(),
            link,
            latency_changes: 0,
            processor: None,
            strength: Vec::new(),
            gain: Vec::new(),
            transport: Transport::default(),
        }
    }
}

/// Most samples of a block. The buffers for a larger one may be more than the machine has.
const MAX_BLOCK: usize = 1 << 20;

/// Whether Sift can process audio of this sample rate, in hertz, in blocks of up to `max_block` samples.
fn is_supported(sample_rate: f64, max_block: usize) -> bool {
    (1_000.0..=1_000_000.0).contains(&sample_rate) && max_block <= MAX_BLOCK
}

const fn layout(name: &'static str, channels: NonZeroU32, aux: &'static [NonZeroU32]) -> AudioIOLayout {
    AudioIOLayout {
        main_input_channels: Some(channels),
        main_output_channels: Some(channels),
        aux_output_ports: aux,
        names: PortNames {
            layout: Some(name),
            aux_outputs: &["Target", "Residual"],
            ..PortNames::const_default()
        },
        ..AudioIOLayout::const_default()
    }
}

const ONE: NonZeroU32 = new_nonzero_u32(1);
const TWO: NonZeroU32 = new_nonzero_u32(2);

impl Plugin for Sift {
    const NAME: &'static str = "Sift";
    const VENDOR: &'static str = "Sift";
    const URL: &'static str = "";
    const EMAIL: &'static str = "";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");

    const AUDIO_IO_LAYOUTS: &'static [AudioIOLayout] =
        &[layout("Stereo", TWO, &[TWO, TWO]), layout("Mono", ONE, &[ONE, ONE])];
    const SAMPLE_ACCURATE_AUTOMATION: bool = true;

    type Editor = SiftEditor;
    type SysExMessage = ();
    type BackgroundTask = HostNotice;

    fn params(&self) -> Arc<dyn Params> {
        self.params.clone()
    }

    fn filter_state(state: &mut PluginState) {
        state::repair(state);
    }

    fn task_executor(&mut self) -> TaskExecutor<Self> {
        let link = self.link.clone();
        Box::new(move |notice| link.deliver(notice))
    }

    fn editor(&mut self, executor: AsyncExecutor<Self>) -> Option<SiftEditor> {
        self.link.set_schedule(move |notice| executor.execute_gui(notice));
        editor::create(
            self.params.clone(),
            self.instance.clone(),
            self.editor_threads.clone(),
            self.link.clone(),
        )
    }

    fn activate(
        &mut self,
        layout: &AudioIOLayout,
        buffer: &BufferConfig,
        _context: &mut impl ActivateContext<Self>,
    ) -> bool {
        self.deactivate();
        let config = Config {
            sample_rate: f64::from(buffer.sample_rate),
            max_block: buffer.max_buffer_size as usize,
            channels: layout.main_output_channels.map_or(0, NonZeroU32::get) as usize,
            offline: buffer.process_mode == ProcessMode::Offline,
        };
        let processor = self.instance.start(config);
        // Not by the context, by which nice-plug would request a restart from inside the activation.
        self.link.set_latency(processor.latency() as u32);
        self.strength = vec![0.0; config.max_block];
        self.gain = vec![0.0; config.max_block];
        self.processor = Some(processor);
        true
    }

    fn deactivate(&mut self) {
        if let Some(processor) = self.processor.take() {
            self.instance.stop(processor);
        }
    }

    fn reset(&mut self) {
        // nice-plug also calls this when processing starts, as some hosts do around each block.
        if !self.link.take_announced_reset() {
            return;
        }
        self.transport.reset();
        if let Some(processor) = &mut self.processor {
            processor.reset();
        }
    }

    fn process(
        &mut self,
        buffer: &mut Buffer,
        aux: &mut AuxiliaryBuffers,
        context: &mut impl ProcessContext<Self>,
    ) -> ProcessStatus {
        let Some(processor) = &mut self.processor else {
            return ProcessStatus::Error("process was called before activate");
        };
        let samples = buffer.samples();
        let Some((strength, gain)) = self.strength.get_mut(..samples).zip(self.gain.get_mut(..samples))
        else {
            return ProcessStatus::Error("the block is larger than the size given at activation");
        };

        let position = context.transport().playing.then(|| context.transport().pos_samples()).flatten();
        if self.transport.has_jumped(position, samples) {
            processor.seek();
        }

        let params = &*self.params;
        params.strength.smoothed.next_block_exact(strength);
        params.gain.smoothed.next_block_exact(gain);
        // nice-plug passes on what a host sends, also NaN.
        strength.iter_mut().for_each(|value| *value = limited(*value, STRENGTH));
        gain.iter_mut().for_each(|value| *value = limited(*value, GAIN));
        to_linear(gain);
        let controls = Controls {
            strength,
            gain,
            mode: params.mode.value().into(),
            query: params.active_slot(),
            with_rest: params.rest.value(),
            shape: params.shape(),
            stereo: limited(params.stereo.value(), STEREO),
            listen_removed: params.listen.value() == ListenParam::Removed,
            bypass: params.bypass.value(),
        };
        let mut outputs = AuxOutputs::default();
        if let [target, residual] = aux.outputs
            && target.samples() == samples
            && residual.samples() == samples
        {
            let (target, residual) = (target.as_slice(), residual.as_slice());
            if self.link.is_aux_used() {
                outputs = AuxOutputs { target, residual };
            } else {
                target.iter_mut().chain(residual).for_each(|channel| channel.fill(0.0));
            }
        }
        processor.process(buffer.as_slice(), &mut outputs, &controls);
        self.link.end_part(processor.is_silent());
        // Another model may have another latency.
        let latency = processor.latency() as u32;
        if self.link.set_latency(latency) {
            // The host reads the latency from the link. nice-plug requests a restart if the number passed differs from
            // the last one, which a latency may not do after an activation.
            self.latency_changes += 1;
            context.set_latency_samples(self.latency_changes);
        }
        ProcessStatus::Tail(processor.tail() as u32)
    }
}

/// Converts decibels to linear factors in place.
///
/// Equal neighbours are computed once, because the power would be the most expensive part of a block.
fn to_linear(gain: &mut [f32]) {
    let (mut decibels, mut factor) = (f32::NAN, f32::NAN);
    for gain in gain {
        if *gain != decibels {
            (decibels, factor) = (*gain, util::db_to_gain(*gain));
        }
        *gain = factor;
    }
}

impl Drop for Sift {
    fn drop(&mut self) {
        self.deactivate();
        self.instance.shut_down();
        self.editor_threads.wait_until_ended();
    }
}

impl ClapPlugin for Sift {
    const CLAP_ID: &'static str = "org.sift-audio.sift";
    const CLAP_DESCRIPTION: Option<&'static str> =
        Some("Isolates or removes the sound that you describe in words");
    const CLAP_MANUAL_URL: Option<&'static str> = None;
    const CLAP_SUPPORT_URL: Option<&'static str> = None;
    const CLAP_FEATURES: &'static [ClapFeature] = &[
        ClapFeature::AudioEffect,
        ClapFeature::Restoration,
        ClapFeature::Mixing,
        ClapFeature::Stereo,
        ClapFeature::Mono,
    ];
}

#[cfg(feature = "vst3")]
impl Vst3Plugin for Sift {
    const VST3_CLASS_ID: [u8; 16] = *b"SiftSoundByWords";
    const VST3_SUBCATEGORIES: &'static [Vst3SubCategory] =
        &[Vst3SubCategory::Fx, Vst3SubCategory::Restoration];
}
