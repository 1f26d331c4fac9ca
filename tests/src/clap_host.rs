//! A small CLAP host.
//!
//! [`Instance`] is one plugin from its creation to its destruction. [`Instance::render`] sends a whole sound through
//! it, block by block:
//!
//! ```no_run
//! use sift_tests::{audio::Audio, clap_host::{Blocks, Instance, Mode}, fixtures};
//!
//! let mut plugin = Instance::create(&fixtures::clap_bundle())?;
//! plugin.set("Mask strength", "0 %")?;
//! plugin.activate(48_000.0, 512, Mode::Offline)?;
//! let output = plugin.render(&Audio::impulse(2, 48_000, 0), Blocks::of(512), &[])?;
//! # anyhow::Ok(())
//! ```
//!
//! A host calls a plugin from two threads. Here both are the caller's thread, as in a host that renders; only
//! [`Instance::play`] processes on a thread of its own.

use std::ffi::CString;
use std::path::Path;
use std::ptr::null_mut;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use audio_thread_priority::{demote_current_thread_from_real_time, promote_current_thread_to_real_time};
use clack_extensions::audio_ports::{AudioPortInfoBuffer, PluginAudioPorts};
use clack_extensions::audio_ports_config::{AudioPortsConfigBuffer, PluginAudioPortsConfig};
use clack_extensions::gui::{GuiApiType, GuiConfiguration, GuiSize, HostGui, HostGuiImpl, PluginGui, Window};
use clack_extensions::latency::{HostLatency, HostLatencyImpl, PluginLatency};
use clack_extensions::params::{
    HostParams, HostParamsImplMainThread, HostParamsImplShared, ParamClearFlags, ParamInfoBuffer,
    ParamInfoFlags, ParamRescanFlags, PluginParams,
};
use clack_extensions::render::{PluginRender, RenderMode};
use clack_extensions::state::{HostState, HostStateImpl, PluginState};
use clack_host::events::event_types::ParamValueEvent;
use clack_host::prelude::*;
use clap_sys::audio_buffer::clap_audio_buffer;
use clap_sys::plugin::clap_plugin;
use clap_sys::process::clap_process;

use crate::audio::{Audio, Random};

/// Frames behind each buffer, which the plugin must not write.
const GUARD_FRAMES: usize = 512;
/// The name of the thread of [`Instance::play`].
pub const AUDIO_THREAD: &str = "audio";

const NOT_ACTIVE: &str = "the plugin is not active; expected a call of `activate` before";

/// Whether the host plays or renders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Realtime,
    Offline,
}

/// The plugin's description of a parameter.
#[derive(Clone, Debug)]
pub struct Parameter {
    id: ClapId,
    pub name: String,
    /// Range of the values in [`Event`]s, which are not the plain values that a user sees.
    pub range: std::ops::RangeInclusive<f64>,
    pub default: f64,
    pub is_automatable: bool,
    pub is_bypass: bool,
    pub is_hidden: bool,
}

impl Parameter {
    /// A change to `value`, within [`Self::range`], at `frame`.
    pub fn change(&self, frame: usize, value: f64) -> Event {
        Event { frame, parameter: self.id, value }
    }
}

/// A change of a parameter during processing.
#[derive(Clone, Copy, Debug)]
pub struct Event {
    /// Frame from the start of the sound that is rendered.
    pub frame: usize,
    parameter: ClapId,
    value: f64,
}

/// The plugin's description of an audio port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    pub name: String,
    pub channels: usize,
}

/// The plugin's outputs. They are late by the latency, except from [`Instance::render_aligned`].
#[derive(Clone, Debug)]
pub struct Output {
    pub main: Audio,
    pub target: Audio,
    pub residual: Audio,
}

/// Times of one block.
#[derive(Clone, Copy, Debug)]
pub struct BlockTiming {
    /// Time from when the block was due until it began; zero unless in real time.
    pub late: Duration,
    /// Time that the plugin took.
    pub processing: Duration,
    /// Whether the plugin needs no further blocks until its input changes.
    pub sleeps: bool,
}

/// How a host passes the auxiliary outputs, Target and Residual, to the plugin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuxPorts {
    Connected,
    /// The host passes the main output only.
    Absent,
    /// The ports have channels, but no array of buffers.
    NullArray,
    /// The ports have an array of null pointers.
    NullChannels,
    /// The ports have no channels.
    NoChannels,
    /// All channels share one buffer.
    OneBuffer,
}

/// The blocks in which a host processes a sound.
pub struct Blocks {
    next: Box<dyn FnMut() -> usize + Send>,
    in_place: bool,
    in_real_time: bool,
    restarted: bool,
    aux: AuxPorts,
    event_delay: usize,
    unsorted: bool,
    on_block: Box<dyn FnMut(BlockTiming) + Send>,
}

impl Blocks {
    fn new(next: impl FnMut() -> usize + Send + 'static) -> Self {
        Self {
            next: Box::new(next),
            in_place: false,
            in_real_time: false,
            restarted: false,
            aux: AuxPorts::Connected,
            event_delay: 0,
            unsorted: false,
            on_block: Box::new(|_| ()),
        }
    }

    /// Blocks of `frames`; the last one may be shorter.
    pub fn of(frames: usize) -> Self {
        Self::new(move || frames)
    }

    /// Blocks of 1 to `largest` frames; equal seeds give equal blocks.
    pub fn random(largest: usize, seed: u64) -> Self {
        let mut random = Random::new(seed);
        Self::new(move || random.between(1, largest))
    }

    /// Places the main output in the input's memory.
    pub fn in_place(mut self) -> Self {
        self.in_place = true;
        self
    }

    /// Processes each block when it is due by the clock, as a sound card requests it.
    pub fn in_real_time(mut self) -> Self {
        self.in_real_time = true;
        self
    }

    /// Stops and starts processing before each block.
    pub fn restarted(mut self) -> Self {
        self.restarted = true;
        self
    }

    /// Passes the auxiliary outputs as `aux`. Those that are not [connected](AuxPorts::Connected) are silent in the
    /// [`Output`].
    pub fn with_aux(mut self, aux: AuxPorts) -> Self {
        self.aux = aux;
        self
    }

    /// Passes each event in its block, but with a time that is `frames` later, beyond the block's end or not.
    pub fn with_late_events(mut self, frames: usize) -> Self {
        self.event_delay = frames;
        self
    }

    /// Passes the events of a block in the order given instead of that of their times.
    pub fn with_unsorted_events(mut self) -> Self {
        self.unsorted = true;
        self
    }

    /// Calls `observe` with the times of each block.
    pub fn timed(mut self, observe: impl FnMut(BlockTiming) + Send + 'static) -> Self {
        self.on_block = Box::new(observe);
        self
    }
}

/// One instance of the plugin.
pub struct Instance {
    // Before `plugin`, which cannot be destroyed while it is processing.
    processor: Option<Processor>,
    plugin: PluginInstance<Host>,
    parameters: Vec<Parameter>,
    rate: f64,
}

impl Instance {
    /// Loads the bundle at `path` and creates a stereo instance of its only plugin.
    ///
    /// # Errors
    /// If the bundle cannot be loaded, does not hold exactly one plugin, or fails to create it.
    pub fn create(path: &Path) -> Result<Self> {
        // SAFETY: loading a library runs its code; it is our own plugin, built by this workspace.
        let entry =
            unsafe { PluginEntry::load(path) }.with_context(|| format!("cannot load {}", path.display()))?;
        Self::of(&entry)
    }

    /// Creates a stereo instance of the only plugin of `entry`.
    ///
    /// # Errors
    /// As [`Self::create`].
    pub fn of(entry: &PluginEntry) -> Result<Self> {
        let factory = entry.get_plugin_factory().context("the bundle has no plugin factory")?;
        ensure!(
            factory.plugin_count() == 1,
            "the bundle holds {} plugins; expected 1",
            factory.plugin_count()
        );
        let id = factory
            .plugin_descriptor(0)
            .and_then(|descriptor| descriptor.id())
            .context("the plugin has no id")?;
        let host = HostInfo::new("Sift tests", "Sift", "", env!("CARGO_PKG_VERSION"))?;
        let plugin =
            PluginInstance::new(|_| Shared::default(), |shared| MainThread { shared }, entry, id, &host)?;
        let mut instance = Self { processor: None, plugin, parameters: Vec::new(), rate: 0.0 };
        instance.parameters = instance.read_parameters()?;
        instance.run_requested_callback();
        Ok(instance)
    }

    /// The plugin's CLAP id.
    pub fn id(&self) -> String {
        self.plugin
            .plugin_shared_handle()
            .descriptor()
            .and_then(|descriptor| descriptor.id())
            .map(|id| id.to_string_lossy().into_owned())
            .unwrap_or_default()
    }

    pub fn parameters(&self) -> &[Parameter] {
        &self.parameters
    }

    /// The parameter with this name.
    ///
    /// # Errors
    /// If there is none.
    pub fn parameter(&self, name: &str) -> Result<&Parameter> {
        self.parameters.iter().find(|parameter| parameter.name == name).with_context(|| {
            let names: Vec<_> = self.parameters.iter().map(|parameter| &parameter.name).collect();
            format!("no parameter is named `{name}`; expected one of {names:?}")
        })
    }

    /// A change at `frame` of the parameter `name` to the value that the plugin parses from `text`.
    ///
    /// # Errors
    /// If there is no such parameter, or the plugin cannot parse the text.
    pub fn event(&mut self, frame: usize, name: &str, text: &str) -> Result<Event> {
        let id = self.parameter(name)?.id;
        let params = self.extension::<PluginParams>("params")?;
        let value = params
            .text_to_value(&self.plugin.plugin_handle(), id, &CString::new(text)?)
            .with_context(|| format!("the parameter `{name}` cannot parse `{text}`"))?;
        Ok(Event { frame, parameter: id, value })
    }

    /// Sets the parameter `name` to the value that the plugin parses from `text`, while the plugin is not active.
    ///
    /// # Errors
    /// As [`Self::event`], or if the plugin is active.
    pub fn set(&mut self, name: &str, text: &str) -> Result<()> {
        let event = self.event(0, name, text)?;
        let params = self.extension::<PluginParams>("params")?;
        let mut input = EventBuffer::new();
        input.push(&event.to_clap(0));
        let mut inactive = self
            .plugin
            .inactive_plugin_handle()
            .context("the plugin is active; expected an event of `render` instead")?;
        params.flush(&mut inactive, &input.as_input(), &mut OutputEvents::void());
        self.run_requested_callback();
        Ok(())
    }

    /// The text of the parameter's current value.
    ///
    /// # Errors
    /// If there is no such parameter, or the plugin does not give its value.
    pub fn parameter_text(&mut self, name: &str) -> Result<String> {
        let id = self.parameter(name)?.id;
        let params = self.extension::<PluginParams>("params")?;
        let plugin = self.plugin.plugin_handle();
        let value =
            params.get_value(&plugin, id).context("the plugin does not give the parameter's value")?;
        let mut buffer = [0; 256];
        let text = params.value_to_text(&plugin, id, value, &mut buffer)?;
        Ok(String::from_utf8(text.to_vec())?)
    }

    /// Selects ports of `channels` channels, while the plugin is not active.
    ///
    /// # Errors
    /// If the plugin has no such configuration.
    pub fn set_channels(&mut self, channels: usize) -> Result<()> {
        ensure!(self.processor.is_none(), "the plugin is active; its ports can change only while it is not");
        let configurations = self.extension::<PluginAudioPortsConfig>("audio-ports-config")?;
        let plugin = self.plugin.plugin_handle();
        for index in 0..configurations.count(&plugin) {
            let mut buffer = AudioPortsConfigBuffer::new();
            let Some(configuration) = configurations.get(&plugin, index, &mut buffer) else {
                continue;
            };
            let width = |port: Option<clack_extensions::audio_ports_config::MainPortInfo>| {
                port.map_or(0, |port| port.channel_count as usize)
            };
            if width(configuration.main_input) == channels && width(configuration.main_output) == channels {
                return Ok(configurations.select(&plugin, configuration.id)?);
            }
        }
        bail!("the plugin has no port configuration of {channels} channels")
    }

    /// The input ports.
    ///
    /// # Errors
    /// If the plugin does not describe them.
    pub fn input_ports(&mut self) -> Result<Vec<Port>> {
        self.read_ports(true)
    }

    /// The output ports.
    ///
    /// # Errors
    /// If the plugin does not describe them.
    pub fn output_ports(&mut self) -> Result<Vec<Port>> {
        self.read_ports(false)
    }

    /// Activates the plugin for blocks of up to `max_block` frames at `rate` Hz, and starts processing.
    ///
    /// # Errors
    /// If the plugin is already active, or refuses.
    pub fn activate(&mut self, rate: f64, max_block: usize, mode: Mode) -> Result<()> {
        ensure!(self.processor.is_none(), "the plugin is already active");
        self.extension::<PluginRender>("render")?.set(
            &self.plugin.plugin_handle(),
            match mode {
                Mode::Realtime => RenderMode::Realtime,
                Mode::Offline => RenderMode::Offline,
            },
        )?;
        let ports = Ports::new(&self.input_ports()?, &self.output_ports()?, max_block)?;
        self.rate = rate;
        self.set_activating(true);
        let stopped = self.plugin.activate(
            |_, _| (),
            PluginAudioConfiguration {
                sample_rate: rate,
                min_frames_count: 1,
                max_frames_count: u32::try_from(max_block)?,
            },
        );
        self.set_activating(false);
        match stopped?.start_processing() {
            Ok(started) => {
                self.processor = Some(Processor { audio: started.into(), ports, rate, max_block });
            }
            Err(refused) => {
                self.plugin.deactivate(refused.into_stopped_processor());
                bail!("the plugin refuses to start processing");
            }
        }
        self.run_requested_callback();
        Ok(())
    }

    /// Stops processing and deactivates; does nothing if the plugin is not active.
    pub fn deactivate(&mut self) {
        if let Some(processor) = self.processor.take() {
            self.plugin.deactivate(processor.audio.into_stopped());
            self.run_requested_callback();
        }
    }

    /// Sample rate of the last activation, in Hz.
    pub fn rate(&self) -> f64 {
        self.rate
    }

    /// The reported latency in frames, which the plugin knows while it is active.
    ///
    /// # Errors
    /// If the plugin does not report it.
    pub fn latency(&mut self) -> Result<usize> {
        let latency = self.extension::<PluginLatency>("latency")?;
        Ok(latency.get(&self.plugin.plugin_handle()) as usize)
    }

    /// Resets the plugin, as a host does when the playhead jumps.
    ///
    /// # Errors
    /// If the plugin is not active.
    pub fn reset(&mut self) -> Result<()> {
        self.processor.as_mut().context(NOT_ACTIVE)?.audio.reset();
        Ok(())
    }

    /// Processes `input` in blocks, with the parameter changes `events`, whose frames count from its start.
    ///
    /// The output is as long as the input.
    ///
    /// # Errors
    /// If the plugin is not active, a block is larger than announced, the channels of the input are not
    /// those of the ports, or the plugin fails.
    pub fn render(&mut self, input: &Audio, blocks: Blocks, events: &[Event]) -> Result<Output> {
        let mut processor = self.processor.take().context(NOT_ACTIVE)?;
        let output = processor.render(input, blocks, events, || self.run_requested_callback());
        self.processor = Some(processor);
        output
    }

    /// Processes a block without frames, with the parameter changes `events`.
    ///
    /// # Errors
    /// As [`Self::render`].
    pub fn process_empty(&mut self, events: &[Event]) -> Result<()> {
        let processor = self.processor.as_mut().context(NOT_ACTIVE)?;
        let input = vec![&[][..]; processor.ports.width];
        processor.process(&input, events, false, AuxPorts::Connected).map(drop)
    }

    /// Renders `input` with its latency removed: the output is aligned with the input and as long.
    ///
    /// # Errors
    /// As [`Self::render`].
    pub fn render_aligned(&mut self, input: &Audio, blocks: Blocks) -> Result<Output> {
        let latency = self.latency()?;
        let padded = input.then(&Audio::silence(input.width(), latency));
        let output = self.render(&padded, blocks, &[])?;
        let aligned = |audio: Audio| audio.slice(latency..latency + input.frames());
        Ok(Output {
            main: aligned(output.main),
            target: aligned(output.target),
            residual: aligned(output.residual),
        })
    }

    /// Renders `input` on a thread of its own, while `meanwhile` does the work of a host's main thread.
    ///
    /// The thread has the priority of a host's audio thread, where the system grants it.
    ///
    /// # Errors
    /// As [`Self::render`].
    pub fn play<T>(
        &mut self,
        input: &Audio,
        blocks: Blocks,
        meanwhile: impl FnOnce(&mut Self) -> T,
    ) -> Result<(Output, T)> {
        let mut processor = self.processor.take().context(NOT_ACTIVE)?;
        let (output, done) = std::thread::scope(|scope| {
            let thread = std::thread::Builder::new().name(AUDIO_THREAD.into());
            let play = || {
                let raised =
                    promote_current_thread_to_real_time(processor.max_block as u32, processor.rate as u32);
                let output = processor.render(input, blocks, &[], || ());
                if let Ok(handle) = raised {
                    drop(demote_current_thread_from_real_time(handle));
                }
                output
            };
            let playing = thread.spawn_scoped(scope, play).expect("the system starts a thread");
            let done = meanwhile(self);
            (playing.join().expect("playing does not panic"), done)
        });
        self.processor = Some(processor);
        Ok((output?, done))
    }

    /// Runs the main thread's callbacks for `time`.
    pub fn wait(&mut self, time: Duration) {
        let end = Instant::now() + time;
        while Instant::now() < end {
            self.run_requested_callback();
            std::thread::sleep(Duration::from_millis(10).min(end.saturating_duration_since(Instant::now())));
        }
    }

    /// Creates and shows the editor in the X11 window `parent`, which must outlive it.
    ///
    /// # Errors
    /// If the plugin has no such editor.
    pub fn open_editor(&mut self, parent: u32) -> Result<()> {
        self.create_editor(parent)?;
        self.show_editor()
    }

    /// Creates the editor without showing it.
    ///
    /// # Errors
    /// If the plugin has no such editor.
    pub fn create_editor(&mut self, parent: u32) -> Result<()> {
        let gui = self.extension::<PluginGui>("gui")?;
        let plugin = self.plugin.plugin_handle();
        gui.create(&plugin, GuiConfiguration { api_type: GuiApiType::X11, is_floating: false })?;
        // SAFETY: the caller keeps the window.
        unsafe { gui.set_parent(&plugin, Window::from_x11_handle(parent.into()))? };
        Ok(())
    }

    /// Shows the editor.
    ///
    /// # Errors
    /// If no editor was created.
    pub fn show_editor(&mut self) -> Result<()> {
        Ok(self.extension::<PluginGui>("gui")?.show(&self.plugin.plugin_handle())?)
    }

    /// Width and height of the editor in pixels, as the plugin reports them, whether the editor is created or not.
    ///
    /// # Errors
    /// If the plugin does not report them.
    pub fn editor_size(&mut self) -> Result<(u32, u32)> {
        let size = self.extension::<PluginGui>("gui")?.get_size(&self.plugin.plugin_handle());
        let size = size.context("the plugin does not report its editor's size")?;
        Ok((size.width, size.height))
    }

    /// Suggests a scale of the editor, which is created.
    ///
    /// # Errors
    /// If the plugin refuses.
    pub fn set_editor_scale(&mut self, scale: f64) -> Result<()> {
        Ok(self.extension::<PluginGui>("gui")?.set_scale(&self.plugin.plugin_handle(), scale)?)
    }

    /// Width and height that the editor has requested last since the last call.
    pub fn take_requested_size(&self) -> Option<(u32, u32)> {
        self.plugin.access_shared_handler(|shared| {
            shared.requested_size.lock().expect("no thread panics with the lock").take()
        })
    }

    /// Destroys the editor.
    ///
    /// # Errors
    /// If the plugin has no editor.
    pub fn close_editor(&mut self) -> Result<()> {
        let gui = self.extension::<PluginGui>("gui")?;
        gui.destroy(&self.plugin.plugin_handle());
        Ok(())
    }

    /// The plugin's saved state.
    ///
    /// # Errors
    /// If the plugin cannot save.
    pub fn save_state(&mut self) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.extension::<PluginState>("state")?.save(&self.plugin.plugin_handle(), &mut bytes)?;
        Ok(bytes)
    }

    /// Loads a saved state.
    ///
    /// # Errors
    /// If the plugin refuses the state.
    pub fn load_state(&mut self, mut bytes: &[u8]) -> Result<()> {
        self.extension::<PluginState>("state")?.load(&self.plugin.plugin_handle(), &mut bytes)?;
        self.run_requested_callback();
        Ok(())
    }

    /// Whether the plugin has requested a restart since the last call.
    pub fn take_restart_request(&self) -> bool {
        self.plugin.access_shared_handler(|shared| shared.restart_requested.swap(false, Ordering::AcqRel))
    }

    /// The host's functions that the plugin has called during activations, and forgets them.
    pub fn take_calls_in_activation(&self) -> Vec<&'static str> {
        self.plugin.access_shared_handler(|shared| {
            std::mem::take(&mut *shared.calls_in_activation.lock().expect("no thread panics with the lock"))
        })
    }

    fn set_activating(&self, is_activating: bool) {
        self.plugin.access_shared_handler(|shared| {
            shared.is_activating.store(is_activating, Ordering::Release);
        });
    }

    /// Processes a block of 64 silent frames in whatever state the plugin is; returns CLAP's status.
    pub fn process_in_any_state(&mut self) -> i32 {
        const FRAMES: usize = 64;
        let mut channels = vec![vec![0.0_f32; FRAMES]; 8];
        let mut pointers: Vec<[*mut f32; 2]> =
            channels.chunks_mut(2).map(|pair| [pair[0].as_mut_ptr(), pair[1].as_mut_ptr()]).collect();
        let mut buffers: Vec<clap_audio_buffer> =
            pointers.iter_mut().map(|pair| audio_buffer(pair.as_mut_ptr(), pair.len())).collect();
        let (inputs, outputs) = buffers.split_at_mut(1);
        let process = clap_process {
            steady_time: -1,
            frames_count: FRAMES as u32,
            transport: std::ptr::null(),
            audio_inputs: inputs.as_ptr(),
            audio_outputs: outputs.as_mut_ptr(),
            audio_inputs_count: inputs.len() as u32,
            audio_outputs_count: outputs.len() as u32,
            in_events: std::ptr::null(),
            out_events: std::ptr::null(),
        };
        let plugin: *const clap_plugin = self.plugin.raw_instance();
        // SAFETY: the plugin is alive, and the buffers have the lengths that are passed and outlive the call.
        unsafe { ((*plugin).process.expect("a plugin has `process`"))(plugin, &process) }
    }

    /// Runs the main thread's callback if the plugin has requested it.
    fn run_requested_callback(&mut self) {
        let is_requested = self
            .plugin
            .access_shared_handler(|shared| shared.callback_requested.swap(false, Ordering::AcqRel));
        if is_requested {
            self.plugin.call_on_main_thread_callback();
        }
    }

    fn extension<
        E: clack_host::extensions::Extension<ExtensionSide = clack_host::extensions::PluginExtensionSide>,
    >(
        &self,
        name: &str,
    ) -> Result<E> {
        self.plugin
            .plugin_shared_handle()
            .get_extension()
            .ok_or_else(|| anyhow!("the plugin has no extension `{name}`"))
    }

    fn read_parameters(&mut self) -> Result<Vec<Parameter>> {
        let params = self.extension::<PluginParams>("params")?;
        let plugin = self.plugin.plugin_handle();
        (0..params.count(&plugin))
            .map(|index| {
                let mut buffer = ParamInfoBuffer::new();
                let info = params
                    .get_info(&plugin, index, &mut buffer)
                    .with_context(|| format!("the plugin does not describe parameter {index}"))?;
                Ok(Parameter {
                    id: info.id,
                    name: String::from_utf8(info.name.to_vec())?,
                    range: info.min_value..=info.max_value,
                    default: info.default_value,
                    is_automatable: info.flags.contains(ParamInfoFlags::IS_AUTOMATABLE),
                    is_bypass: info.flags.contains(ParamInfoFlags::IS_BYPASS),
                    is_hidden: info.flags.contains(ParamInfoFlags::IS_HIDDEN),
                })
            })
            .collect()
    }

    fn read_ports(&mut self, is_input: bool) -> Result<Vec<Port>> {
        let ports = self.extension::<PluginAudioPorts>("audio-ports")?;
        let plugin = self.plugin.plugin_handle();
        (0..ports.count(&plugin, is_input))
            .map(|index| {
                let mut buffer = AudioPortInfoBuffer::new();
                let info = ports
                    .get(&plugin, index, is_input, &mut buffer)
                    .with_context(|| format!("the plugin does not describe port {index}"))?;
                Ok(Port {
                    name: String::from_utf8(info.name.to_vec())?,
                    channels: info.channel_count as usize,
                })
            })
            .collect()
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.deactivate();
    }
}

/// The part of an active plugin that a host's audio thread owns.
struct Processor {
    audio: PluginAudioProcessor<Host>,
    ports: Ports,
    rate: f64,
    max_block: usize,
}

impl Processor {
    /// As [`Instance::render`]; calls `after_block` after each block.
    fn render(
        &mut self,
        input: &Audio,
        mut blocks: Blocks,
        events: &[Event],
        mut after_block: impl FnMut(),
    ) -> Result<Output> {
        ensure!(
            input.width() == self.ports.width,
            "the input has {} channels; expected {}",
            input.width(),
            self.ports.width
        );
        let mut outputs = vec![Audio::silence(input.width(), input.frames()); 3];
        let begin = Instant::now();
        let mut start = 0;
        while start < input.frames() {
            let end = (start + (blocks.next)()).min(input.frames());
            let block: Vec<&[f32]> = input.channels().iter().map(|channel| &channel[start..end]).collect();
            let mut changes: Vec<Event> = events
                .iter()
                .filter(|event| (start..end).contains(&event.frame))
                .map(|event| Event { frame: event.frame - start + blocks.event_delay, ..*event })
                .collect();
            if !blocks.unsorted {
                changes.sort_by_key(|event| event.frame);
            }
            let mut late = Duration::ZERO;
            if blocks.in_real_time {
                let due = begin + Duration::from_secs_f64(start as f64 / self.rate);
                std::thread::sleep(due.saturating_duration_since(Instant::now()));
                late = due.elapsed();
            }
            if blocks.restarted {
                self.audio.ensure_processing_stopped();
            }
            let (processing, status) = self.process(&block, &changes, blocks.in_place, blocks.aux)?;
            let sleeps = status == ProcessStatus::Sleep;
            (blocks.on_block)(BlockTiming { late, processing, sleeps });
            let written = if blocks.aux == AuxPorts::Connected { 3 } else { 1 };
            for (port, output) in outputs.iter_mut().enumerate().take(written) {
                for (channel, samples) in output.channels_mut().iter_mut().enumerate() {
                    samples[start..end].copy_from_slice(self.ports.output(port, channel, end - start));
                }
            }
            after_block();
            start = end;
        }
        let [main, target, residual] = outputs.try_into().expect("three ports");
        Ok(Output { main, target, residual })
    }

    /// Processes one block of `input`, samples by channel, into [`Ports`]; returns the plugin's time for it, and its status.
    ///
    /// # Errors
    /// If the block is larger than announced, the plugin fails, or it writes behind a buffer.
    fn process(
        &mut self,
        input: &[&[f32]],
        events: &[Event],
        in_place: bool,
        aux: AuxPorts,
    ) -> Result<(Duration, ProcessStatus)> {
        let frames = input[0].len();
        ensure!(
            frames <= self.max_block,
            "a block has {frames} frames; expected at most {}, as announced",
            self.max_block
        );
        let mut changes = EventBuffer::with_capacity(events.len());
        for event in events {
            changes.push(&event.to_clap(event.frame));
        }
        let (inputs, mut outputs) = self.ports.prepare(input, in_place, aux);
        // SAFETY: the pointers point to vectors of `self.ports`, of at least `max_block` ≥ `frames`
        // samples, which nothing else accesses before the call returns. Input and output may be the
        // same memory: CLAP allows it where the plugin declares the ports an in-place pair.
        let (inputs, mut outputs) = unsafe {
            (
                InputAudioBuffers::from_raw_buffers(&inputs, frames as u32),
                OutputAudioBuffers::from_raw_buffers(&mut outputs, frames as u32),
            )
        };
        let begin = Instant::now();
        let status = self.audio.ensure_processing_started()?.process(
            &inputs,
            &mut outputs,
            &changes.as_input(),
            &mut OutputEvents::void(),
            None,
            None,
        )?;
        let elapsed = begin.elapsed();
        self.ports.check_guards(frames)?;
        Ok((elapsed, status))
    }
}

impl Event {
    fn to_clap(self, frame: usize) -> ParamValueEvent {
        ParamValueEvent::new(frame as u32, self.parameter, Pckn::match_all(), self.value)
    }
}

/// The buffers of the plugin's ports: the input, and the outputs Output, Target and Residual.
struct Ports {
    width: usize,
    input: Vec<Vec<f32>>,
    outputs: Vec<Vec<Vec<f32>>>,
    input_pointers: Vec<*mut f32>,
    output_pointers: Vec<Vec<*mut f32>>,
    in_place: bool,
}

// SAFETY: the pointers point into the vectors of the same struct, which move with it.
unsafe impl Send for Ports {}

impl Ports {
    fn new(inputs: &[Port], outputs: &[Port], max_block: usize) -> Result<Self> {
        let [input] = inputs else {
            bail!("the plugin has {} input ports, {inputs:?}; expected one", inputs.len());
        };
        ensure!(
            outputs.len() == 3 && outputs.iter().all(|output| output.channels == input.channels),
            "the output ports are {outputs:?}; expected three with the channels of the input"
        );
        let channels = || vec![vec![0.0; max_block + GUARD_FRAMES]; input.channels];
        Ok(Self {
            width: input.channels,
            input: channels(),
            outputs: vec![channels(), channels(), channels()],
            input_pointers: Vec::new(),
            output_pointers: Vec::new(),
            in_place: false,
        })
    }

    /// Copies the input, fills the outputs with NaN so that an output left unwritten shows, and describes both to CLAP.
    fn prepare(
        &mut self,
        input: &[&[f32]],
        in_place: bool,
        aux: AuxPorts,
    ) -> (Vec<clap_audio_buffer>, Vec<clap_audio_buffer>) {
        self.in_place = in_place;
        for (memory, samples) in self.input.iter_mut().zip(input) {
            memory.fill(f32::NAN);
            memory[..samples.len()].copy_from_slice(samples);
        }
        self.outputs.iter_mut().flatten().for_each(|channel| channel.fill(f32::NAN));
        self.input_pointers = self.input.iter_mut().map(Vec::as_mut_ptr).collect();
        self.output_pointers =
            self.outputs.iter_mut().map(|port| port.iter_mut().map(Vec::as_mut_ptr).collect()).collect();
        if in_place {
            self.output_pointers[0].clone_from(&self.input_pointers);
        }
        let aux_pointers = self.output_pointers[1..].iter_mut().flatten();
        match aux {
            AuxPorts::NullChannels => aux_pointers.for_each(|pointer| *pointer = null_mut()),
            AuxPorts::OneBuffer => {
                let shared = self.outputs[1][0].as_mut_ptr();
                aux_pointers.for_each(|pointer| *pointer = shared);
            }
            _ => (),
        }
        let describe = |pointers: &mut Vec<*mut f32>| audio_buffer(pointers.as_mut_ptr(), pointers.len());
        let mut outputs: Vec<_> = self.output_pointers.iter_mut().map(describe).collect();
        match aux {
            AuxPorts::Absent => outputs.truncate(1),
            AuxPorts::NullArray => outputs[1..].iter_mut().for_each(|port| port.data32 = null_mut()),
            AuxPorts::NoChannels => {
                outputs[1..].iter_mut().for_each(|port| *port = audio_buffer(null_mut(), 0));
            }
            _ => (),
        }
        (vec![describe(&mut self.input_pointers)], outputs)
    }

    /// Checks that the plugin has written nothing behind the first `frames` samples of each buffer.
    ///
    /// # Errors
    /// If it has.
    fn check_guards(&self, frames: usize) -> Result<()> {
        let mut buffers = self.outputs.iter().flatten().chain(&self.input);
        let is_intact = |buffer: &Vec<f32>| buffer[frames..].iter().all(|sample| sample.is_nan());
        ensure!(buffers.all(is_intact), "the plugin wrote behind the block's end");
        Ok(())
    }

    fn output(&self, port: usize, channel: usize, frames: usize) -> &[f32] {
        let port = if self.in_place && port == 0 { &self.input } else { &self.outputs[port] };
        &port[channel][..frames]
    }
}

/// A port of `channels` channels without further properties.
fn audio_buffer(data32: *mut *mut f32, channels: usize) -> clap_audio_buffer {
    clap_audio_buffer {
        data32,
        data64: null_mut(),
        channel_count: channels as u32,
        latency: 0,
        constant_mask: 0,
    }
}

/// The host's callbacks.
struct Host;

impl HostHandlers for Host {
    type Shared<'a> = Shared;
    type MainThread<'a> = MainThread<'a>;
    type AudioProcessor<'a> = ();

    fn declare_extensions(builder: &mut HostExtensions<Self>, _: &Shared) {
        builder
            .register::<HostGui>()
            .register::<HostLatency>()
            .register::<HostParams>()
            .register::<HostState>();
    }
}

#[derive(Default)]
struct Shared {
    callback_requested: AtomicBool,
    restart_requested: AtomicBool,
    is_activating: AtomicBool,
    calls_in_activation: Mutex<Vec<&'static str>>,
    requested_size: Mutex<Option<(u32, u32)>>,
}

impl Shared {
    /// Records that the plugin calls `function`.
    fn record(&self, function: &'static str) {
        if self.is_activating.load(Ordering::Acquire) {
            self.calls_in_activation.lock().expect("no thread panics with the lock").push(function);
        }
    }
}

impl SharedHandler<'_> for Shared {
    fn request_restart(&self) {
        self.record("request_restart");
        self.restart_requested.store(true, Ordering::Release);
    }

    fn request_process(&self) {}

    fn request_callback(&self) {
        self.callback_requested.store(true, Ordering::Release);
    }
}

/// The parent window keeps its size, whatever the plugin requests.
impl HostGuiImpl for Shared {
    fn resize_hints_changed(&self) {}

    fn request_resize(&self, size: GuiSize) -> Result<(), HostError> {
        let requested = Some((size.width, size.height));
        *self.requested_size.lock().expect("no thread panics with the lock") = requested;
        Ok(())
    }

    fn request_show(&self) -> Result<(), HostError> {
        Ok(())
    }

    fn request_hide(&self) -> Result<(), HostError> {
        Ok(())
    }

    fn closed(&self, _: bool) {}
}

impl HostParamsImplShared for Shared {
    fn request_flush(&self) {}
}

struct MainThread<'a> {
    shared: &'a Shared,
}

impl<'a> MainThreadHandler<'a> for MainThread<'a> {}

impl HostLatencyImpl for MainThread<'_> {
    fn changed(&self) {
        self.shared.record("latency.changed");
    }
}

impl HostParamsImplMainThread for MainThread<'_> {
    fn rescan(&self, _: ParamRescanFlags) {}

    fn clear(&self, _: ClapId, _: ParamClearFlags) {}
}

impl HostStateImpl for MainThread<'_> {
    fn mark_dirty(&self) {}
}
