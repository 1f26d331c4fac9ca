//! The CLAP plugin: wraps nice-plug's, and corrects calls that it handles wrongly.
//!
//! Faults of nice-plug 0.4.2 (`src/wrapper/clap/wrapper.rs`, `src/wrapper/util/buffer_management.rs`):
//!
//! - `process` splits the block at the time of each event, also of one beyond the block's end, and so lets the plugin
//!   write behind the host's buffers. The value of an event at the end is lost. A time before that of the previous
//!   event overflows.
//! - `process` before `activate` panics, which ends the host's process.
//! - `process` reads one port more than the host passes, and leaves the plugin out if an auxiliary output has no
//!   buffers.
//! - `start_processing` resets the plugin. Hosts may start and stop around each block, where audio must continue.
//! - `activate` requests a restart of the host if the latency is new, as it always is at first. The engine would be
//!   built twice, and Bitwig Studio does not start an export.
//!
//! - `clap_plugin_params.get_info` panics for the index behind the last one.
//! - `activate` allocates for blocks of any size, and a failed allocation ends the host's process.
//!
//! [`Shim`] passes complete buffers and events within the block, refuses blocks while the plugin is inactive, tells
//! the plugin which resets are the host's, reports the latency itself, and checks indices and sizes.

mod host_notifier;

use std::cell::{Cell, UnsafeCell};
use std::ffi::{CStr, c_char, c_void};
use std::mem::MaybeUninit;
use std::ptr::{from_ref, null, null_mut};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};

use clap_sys::audio_buffer::clap_audio_buffer;
use clap_sys::events::{
    CLAP_CORE_EVENT_SPACE_ID, CLAP_EVENT_PARAM_MOD, CLAP_EVENT_PARAM_VALUE, clap_event_header,
    clap_event_param_mod, clap_event_param_value, clap_input_events, clap_output_events,
};
use clap_sys::ext::audio_ports::{CLAP_EXT_AUDIO_PORTS, clap_audio_port_info, clap_plugin_audio_ports};
use clap_sys::ext::audio_ports_activation::{
    CLAP_EXT_AUDIO_PORTS_ACTIVATION, CLAP_EXT_AUDIO_PORTS_ACTIVATION_COMPAT,
    clap_plugin_audio_ports_activation,
};
use clap_sys::ext::latency::{CLAP_EXT_LATENCY, clap_host_latency, clap_plugin_latency};
use clap_sys::ext::params::{CLAP_EXT_PARAMS, clap_param_info, clap_plugin_params};
use clap_sys::id::clap_id;
use clap_sys::process::{
    CLAP_PROCESS_CONTINUE, CLAP_PROCESS_ERROR, CLAP_PROCESS_SLEEP, clap_process, clap_process_status,
};
use nice_plug::wrapper::clap::{
    CLAP_PLUGIN_FACTORY_ID, CLAP_VERSION, PluginDescriptor, Wrapper, clap_host, clap_plugin,
    clap_plugin_descriptor, clap_plugin_entry, clap_plugin_factory,
};
use nice_plug::wrapper::setup_logger;
use parking_lot::Mutex;

use self::host_notifier::ClapNotifier;
use crate::host_link::HostLink;
use crate::{Sift, is_supported};

/// Number of output ports: the main output, Target and Residual.
const OUTPUT_PORTS: usize = 3;
/// Largest number of channels of a port.
const MAX_CHANNELS: usize = 2;
/// Scratch channels: one for each output, and a silent input.
const SCRATCH_CHANNELS: usize = OUTPUT_PORTS * MAX_CHANNELS + 1;

/// One plugin instance.
#[repr(C)]
struct Shim {
    /// What the host calls. It is the first field, so that its address is that of the shim. `plugin_data` is
    /// nice-plug's: nice-plug's functions and extensions read nothing else of the host's pointer.
    plugin: clap_plugin,
    inner: *const clap_plugin,
    host: *const clap_host,
    link: Arc<HostLink>,
    was_active: AtomicBool,
    /// Output ports that the host has deactivated, a bit for each.
    inactive_outputs: AtomicU32,
    /// `Some` while the plugin is active. `process` locks it, which the host never calls during `activate` or
    /// `deactivate`.
    scratch: Mutex<Option<Scratch>>,
}

/// Buffers for the channels that the host does not provide.
struct Scratch {
    /// Number of channels of each port.
    channels: usize,
    max_frames: usize,
    /// `SCRATCH_CHANNELS` channels of `max_frames` samples, one after the other.
    samples: Vec<f32>,
}

/// Calls a function that CLAP requires to be there.
macro_rules! call {
    ($object:expr => $function:ident($($argument:expr),*)) => {
        ((*$object).$function.expect("CLAP requires the function"))($($argument),*)
    };
}

impl Shim {
    /// Creates an instance for `host`, which calls `destroy` in the end.
    unsafe fn create(host: *const clap_host) -> *const clap_plugin {
        // SAFETY: the host outlives its plugins. `destroy` of nice-plug's plugin takes back the wrapper.
        unsafe {
            let (wrapper, link) = HostLink::connect(|| Wrapper::<Sift>::new(host));
            link.set_notifier(ClapNotifier::new(host));
            let inner = (*Arc::into_raw(wrapper)).clap_plugin.as_ptr().cast_const();
            let plugin = clap_plugin {
                destroy: Some(destroy),
                activate: Some(activate),
                deactivate: Some(deactivate),
                reset: Some(reset),
                process: Some(process),
                get_extension: Some(get_extension),
                ..*inner
            };
            let shim = Self {
                plugin,
                inner,
                host,
                link,
                was_active: AtomicBool::new(false),
                inactive_outputs: AtomicU32::new(0),
                scratch: Mutex::new(None),
            };
            Box::into_raw(Box::new(shim)).cast_const().cast()
        }
    }

    /// The shim behind the host's pointer.
    unsafe fn of<'a>(plugin: *const clap_plugin) -> &'a Self {
        // SAFETY: the host passes a pointer of `create` that it has not destroyed.
        unsafe { &*plugin.cast::<Self>() }
    }

    /// Number of channels of each port, in the configuration that the host has selected.
    unsafe fn channels(&self) -> usize {
        // SAFETY: nice-plug has this extension for any plugin, and fills `info` if it returns true.
        unsafe {
            let ports = call!(self.inner => get_extension(self.inner, CLAP_EXT_AUDIO_PORTS.as_ptr()))
                .cast::<clap_plugin_audio_ports>();
            let mut info = MaybeUninit::<clap_audio_port_info>::zeroed();
            let is_described = call!(ports => get(self.inner, 0, false, info.as_mut_ptr()));
            if is_described { info.assume_init().channel_count as usize } else { 0 }
        }
    }

    /// Reports to the host, during its activation of the plugin, that the latency is another.
    unsafe fn report_latency_change(&self) {
        // SAFETY: the host outlives the plugin, and its extension has this type.
        unsafe {
            let latency = call!(self.host => get_extension(self.host, CLAP_EXT_LATENCY.as_ptr()))
                .cast::<clap_host_latency>();
            if !latency.is_null() {
                call!(latency => changed(self.host));
            }
        }
    }
}

unsafe extern "C" fn destroy(plugin: *const clap_plugin) {
    // SAFETY: the host does not use the plugin after this call.
    unsafe {
        let shim = Box::from_raw(plugin.cast_mut().cast::<Shim>());
        call!(shim.inner => destroy(shim.inner));
    }
}

unsafe extern "C" fn activate(
    plugin: *const clap_plugin,
    rate: f64,
    min_frames: u32,
    max_frames: u32,
) -> bool {
    // SAFETY: this is the host's call, passed on.
    unsafe {
        let shim = Shim::of(plugin);
        let latency = shim.link.latency();
        if !is_supported(rate, max_frames as usize) {
            return false;
        }
        if !call!(shim.inner => activate(shim.inner, rate, min_frames, max_frames)) {
            return false;
        }
        let max_frames = max_frames as usize;
        let samples = vec![0.0; SCRATCH_CHANNELS * max_frames];
        *shim.scratch.lock() = Some(Scratch { channels: shim.channels(), max_frames, samples });
        // Before the first activation, the host cannot know a latency.
        if shim.was_active.swap(true, Ordering::AcqRel) && shim.link.latency() != latency {
            shim.report_latency_change();
        }
        true
    }
}

unsafe extern "C" fn deactivate(plugin: *const clap_plugin) {
    // SAFETY: this is the host's call, passed on.
    unsafe {
        let shim = Shim::of(plugin);
        *shim.scratch.lock() = None;
        call!(shim.inner => deactivate(shim.inner));
    }
}

unsafe extern "C" fn reset(plugin: *const clap_plugin) {
    // SAFETY: this is the host's call, passed on.
    unsafe {
        let shim = Shim::of(plugin);
        shim.link.announce_reset();
        call!(shim.inner => reset(shim.inner));
    }
}

unsafe extern "C" fn process(
    plugin: *const clap_plugin,
    process: *const clap_process,
) -> clap_process_status {
    // SAFETY: the host passes a valid block and keeps it valid during the call. The ports passed on point to the host's
    // buffers or to `scratch`, which is locked.
    unsafe {
        let shim = Shim::of(plugin);
        let Some(mut scratch) = shim.scratch.try_lock() else { return CLAP_PROCESS_ERROR };
        let Some((scratch, host)) = scratch.as_mut().zip(process.as_ref()) else { return CLAP_PROCESS_ERROR };
        let frames = host.frames_count as usize;
        if frames > scratch.max_frames {
            return CLAP_PROCESS_ERROR;
        }

        let channels = scratch.channels;
        let mut free_channels = scratch.samples.chunks_exact_mut(scratch.max_frames.max(1));
        let mut next_channel = || free_channels.next().map_or(null_mut(), <[f32]>::as_mut_ptr);
        let silence = next_channel();
        if !silence.is_null() {
            silence.write_bytes(0, frames);
        }
        let mut inputs = [silence; MAX_CHANNELS];
        for (channel, pointer) in inputs.iter_mut().enumerate() {
            let provided = channel_pointer(host.audio_inputs, host.audio_inputs_count, 0, channel);
            if !provided.is_null() {
                *pointer = provided;
            }
        }
        let inactive = shim.inactive_outputs.load(Ordering::Relaxed);
        let is_used = |port: usize| {
            let channel = channel_pointer(host.audio_outputs, host.audio_outputs_count, port, 0);
            inactive & 1 << port == 0 && !channel.is_null()
        };
        shim.link.begin_block((1..OUTPUT_PORTS).any(is_used));
        let mut outputs = [[null_mut(); MAX_CHANNELS]; OUTPUT_PORTS];
        for port in 0..OUTPUT_PORTS {
            for channel in 0..channels {
                let provided = channel_pointer(host.audio_outputs, host.audio_outputs_count, port, channel);
                // Some hosts use one buffer for all unconnected channels.
                let is_free = !provided.is_null() && !outputs.as_flattened().contains(&provided);
                outputs[port][channel] = if is_free { provided } else { next_channel() };
            }
        }

        let events = BlockEvents::new(host.in_events, frames);
        let list = events.list();
        let input = port(&mut inputs, channels);
        let mut output_ports = outputs.each_mut().map(|pointers| port(pointers, channels));
        let block = clap_process {
            audio_inputs: &input,
            audio_inputs_count: 1,
            audio_outputs: output_ports.as_mut_ptr(),
            audio_outputs_count: OUTPUT_PORTS as u32,
            in_events: if host.in_events.is_null() { null() } else { &list },
            ..*host
        };
        let status = call!(shim.inner => process(shim.inner, &block));
        let is_silent = status == CLAP_PROCESS_CONTINUE && shim.link.is_silent();
        if !host.audio_outputs.is_null() {
            for index in 0..host.audio_outputs_count as usize {
                let is_constant = is_silent && index < OUTPUT_PORTS;
                (*host.audio_outputs.add(index)).constant_mask = if is_constant { u64::MAX } else { 0 };
            }
        }
        if is_silent { CLAP_PROCESS_SLEEP } else { status }
    }
}

/// The samples of a channel; null if the host provides none.
unsafe fn channel_pointer(
    ports: *const clap_audio_buffer,
    count: u32,
    port: usize,
    channel: usize,
) -> *mut f32 {
    if ports.is_null() || port >= count as usize {
        return null_mut();
    }
    // SAFETY: there are `count` ports, and each has `channel_count` pointers unless the array is null.
    unsafe {
        let port = &*ports.add(port);
        let is_provided = !port.data32.is_null() && channel < port.channel_count as usize;
        if is_provided { *port.data32.add(channel) } else { null_mut() }
    }
}

fn port(pointers: &mut [*mut f32; MAX_CHANNELS], channels: usize) -> clap_audio_buffer {
    clap_audio_buffer {
        data32: pointers.as_mut_ptr(),
        data64: null_mut(),
        channel_count: channels as u32,
        latency: 0,
        constant_mask: 0,
    }
}

/// The events of a block, with times that are within it and never decrease.
struct BlockEvents {
    host: *const clap_input_events,
    /// Time of the previous event.
    earliest: Cell<u32>,
    /// Time of the block's last frame; 0 for an empty block.
    last: u32,
    /// The event with another time than the host's that was read last.
    copy: UnsafeCell<MaybeUninit<clap_event_param_value>>,
}

// A modulation is copied as a value.
const _: () = assert!(size_of::<clap_event_param_mod>() == size_of::<clap_event_param_value>());

impl BlockEvents {
    fn new(host: *const clap_input_events, frames: usize) -> Self {
        Self {
            host,
            earliest: Cell::new(0),
            last: frames.saturating_sub(1) as u32,
            copy: UnsafeCell::new(MaybeUninit::uninit()),
        }
    }

    /// The list for nice-plug, valid as long as `self`.
    fn list(&self) -> clap_input_events {
        clap_input_events {
            ctx: from_ref(self).cast_mut().cast(),
            size: Some(Self::size),
            get: Some(Self::get),
        }
    }

    unsafe extern "C" fn size(list: *const clap_input_events) -> u32 {
        // SAFETY: `list` is one of `Self::list`, and the host's is valid during its call of `process`.
        unsafe {
            let events = &*(*list).ctx.cast_const().cast::<Self>();
            call!(events.host => size(events.host))
        }
    }

    /// Returns null for an event that nice-plug should skip, as it does with null.
    unsafe extern "C" fn get(list: *const clap_input_events, index: u32) -> *const clap_event_header {
        // SAFETY: as in `size`. nice-plug reads a value or a modulation before it gets the next event.
        unsafe {
            let events = &*(*list).ctx.cast_const().cast::<Self>();
            let event = call!(events.host => get(events.host, index));
            let Some(header) = event.as_ref() else { return null() };
            let time = header.time.clamp(events.earliest.get(), events.last);
            events.earliest.set(time);
            if time == header.time {
                return event;
            }
            match (header.space_id, header.type_) {
                (CLAP_CORE_EVENT_SPACE_ID, CLAP_EVENT_PARAM_VALUE | CLAP_EVENT_PARAM_MOD) => {
                    let copy = (*events.copy.get()).write(*event.cast());
                    copy.header.time = time;
                    &copy.header
                }
                // A transport beyond the block is that of the next block; Sift ignores all other kinds.
                _ => null(),
            }
        }
    }
}

static LATENCY: clap_plugin_latency = clap_plugin_latency { get: Some(latency) };

unsafe extern "C" fn latency(plugin: *const clap_plugin) -> u32 {
    // SAFETY: the host passes its pointer.
    unsafe { Shim::of(plugin) }.link.latency()
}

static PORTS_ACTIVATION: clap_plugin_audio_ports_activation = clap_plugin_audio_ports_activation {
    can_activate_while_processing: Some(can_activate_while_processing),
    set_active: Some(set_active),
};

unsafe extern "C" fn can_activate_while_processing(_plugin: *const clap_plugin) -> bool {
    true
}

/// Notes which outputs the host uses.
unsafe extern "C" fn set_active(
    plugin: *const clap_plugin,
    is_input: bool,
    port: u32,
    is_active: bool,
    _sample_size: u32,
) -> bool {
    let is_known = port < if is_input { 1 } else { OUTPUT_PORTS as u32 };
    if is_known && !is_input {
        // SAFETY: the host passes its pointer.
        let inactive = unsafe { &Shim::of(plugin).inactive_outputs };
        match is_active {
            true => inactive.fetch_and(!(1 << port), Ordering::Relaxed),
            false => inactive.fetch_or(1 << port, Ordering::Relaxed),
        };
    }
    is_known
}

static PARAMS: clap_plugin_params = clap_plugin_params {
    count: Some(param_count),
    get_info: Some(param_info),
    get_value: Some(param_value),
    value_to_text: Some(param_value_to_text),
    text_to_value: Some(param_text_to_value),
    flush: Some(flush_params),
};

impl Shim {
    /// nice-plug's functions of the parameters.
    unsafe fn params(&self) -> *const clap_plugin_params {
        // SAFETY: nice-plug has this extension for any plugin.
        unsafe { call!(self.inner => get_extension(self.inner, CLAP_EXT_PARAMS.as_ptr())) }.cast()
    }
}

unsafe extern "C" fn param_count(plugin: *const clap_plugin) -> u32 {
    // SAFETY: this is the host's call, passed on.
    unsafe {
        let shim = Shim::of(plugin);
        call!(shim.params() => count(shim.inner))
    }
}

unsafe extern "C" fn param_info(plugin: *const clap_plugin, index: u32, info: *mut clap_param_info) -> bool {
    // SAFETY: this is the host's call, passed on.
    unsafe {
        let shim = Shim::of(plugin);
        index < param_count(plugin) && call!(shim.params() => get_info(shim.inner, index, info))
    }
}

unsafe extern "C" fn param_value(plugin: *const clap_plugin, id: clap_id, value: *mut f64) -> bool {
    // SAFETY: this is the host's call, passed on.
    unsafe {
        let shim = Shim::of(plugin);
        call!(shim.params() => get_value(shim.inner, id, value))
    }
}

unsafe extern "C" fn param_value_to_text(
    plugin: *const clap_plugin,
    id: clap_id,
    value: f64,
    text: *mut c_char,
    size: u32,
) -> bool {
    // SAFETY: this is the host's call, passed on.
    unsafe {
        let shim = Shim::of(plugin);
        call!(shim.params() => value_to_text(shim.inner, id, value, text, size))
    }
}

unsafe extern "C" fn param_text_to_value(
    plugin: *const clap_plugin,
    id: clap_id,
    text: *const c_char,
    value: *mut f64,
) -> bool {
    // SAFETY: this is the host's call, passed on.
    unsafe {
        let shim = Shim::of(plugin);
        call!(shim.params() => text_to_value(shim.inner, id, text, value))
    }
}

unsafe extern "C" fn flush_params(
    plugin: *const clap_plugin,
    input: *const clap_input_events,
    output: *const clap_output_events,
) {
    // SAFETY: this is the host's call, passed on.
    unsafe {
        let shim = Shim::of(plugin);
        call!(shim.params() => flush(shim.inner, input, output));
    }
}

unsafe extern "C" fn get_extension(plugin: *const clap_plugin, id: *const c_char) -> *const c_void {
    // SAFETY: this is the host's call, passed on. `id` is a string unless it is null.
    unsafe {
        if !id.is_null() && CStr::from_ptr(id) == CLAP_EXT_LATENCY {
            return from_ref(&LATENCY).cast();
        }
        let activation = [CLAP_EXT_AUDIO_PORTS_ACTIVATION, CLAP_EXT_AUDIO_PORTS_ACTIVATION_COMPAT];
        if !id.is_null() && activation.contains(&CStr::from_ptr(id)) {
            return from_ref(&PORTS_ACTIVATION).cast();
        }
        if !id.is_null() && CStr::from_ptr(id) == CLAP_EXT_PARAMS {
            return from_ref(&PARAMS).cast();
        }
        let shim = Shim::of(plugin);
        call!(shim.inner => get_extension(shim.inner, id))
    }
}

/// The description of the only plugin.
fn descriptor() -> &'static PluginDescriptor {
    static DESCRIPTOR: OnceLock<PluginDescriptor> = OnceLock::new();
    DESCRIPTOR.get_or_init(PluginDescriptor::for_plugin::<Sift>)
}

static FACTORY: clap_plugin_factory = clap_plugin_factory {
    get_plugin_count: Some(plugin_count),
    get_plugin_descriptor: Some(plugin_descriptor),
    create_plugin: Some(create_plugin),
};

unsafe extern "C" fn plugin_count(_factory: *const clap_plugin_factory) -> u32 {
    1
}

unsafe extern "C" fn plugin_descriptor(
    _factory: *const clap_plugin_factory,
    index: u32,
) -> *const clap_plugin_descriptor {
    if index == 0 { descriptor().clap_plugin_descriptor() } else { null() }
}

unsafe extern "C" fn create_plugin(
    _factory: *const clap_plugin_factory,
    host: *const clap_host,
    id: *const c_char,
) -> *const clap_plugin {
    // SAFETY: the host passes itself and a string, unless they are null.
    unsafe {
        let is_known = !host.is_null() && !id.is_null() && CStr::from_ptr(id) == descriptor().clap_id();
        if is_known { Shim::create(host) } else { null() }
    }
}

unsafe extern "C" fn init(_path: *const c_char) -> bool {
    setup_logger::<Sift>();
    true
}

unsafe extern "C" fn deinit() {}

unsafe extern "C" fn get_factory(id: *const c_char) -> *const c_void {
    // SAFETY: `id` is a string unless it is null.
    let is_known = !id.is_null() && unsafe { CStr::from_ptr(id) } == CLAP_PLUGIN_FACTORY_ID;
    if is_known { from_ref(&FACTORY).cast() } else { null() }
}

/// The entry point of a CLAP library.
#[unsafe(no_mangle)]
#[used]
#[allow(non_upper_case_globals, reason = "CLAP specifies the name")]
pub static clap_entry: clap_plugin_entry = clap_plugin_entry {
    clap_version: CLAP_VERSION,
    init: Some(init),
    deinit: Some(deinit),
    get_factory: Some(get_factory),
};

#[cfg(test)]
mod tests {
    use super::*;

    unsafe extern "C" fn no_extension(_: *const clap_host, _: *const c_char) -> *const c_void {
        null()
    }

    unsafe extern "C" fn ignore_request(_: *const clap_host) {}

    /// A host without extensions, and the plugin in it.
    struct Fixture {
        plugin: *const clap_plugin,
        _host: Box<clap_host>,
    }

    impl Fixture {
        fn new() -> Self {
            let host = Box::new(clap_host {
                clap_version: CLAP_VERSION,
                host_data: null_mut(),
                name: c"test".as_ptr(),
                vendor: c"".as_ptr(),
                url: c"".as_ptr(),
                version: c"1".as_ptr(),
                get_extension: Some(no_extension),
                request_restart: Some(ignore_request),
                request_process: Some(ignore_request),
                request_callback: Some(ignore_request),
            });
            // SAFETY: the host lives as long as the plugin.
            unsafe {
                let plugin = Shim::create(&*host);
                assert!(call!(plugin => init(plugin)));
                Self { plugin, _host: host }
            }
        }

        fn extension<T>(&self, id: &CStr) -> &'static T {
            // SAFETY: the extension of this id has the type `T`.
            unsafe { &*call!(self.plugin => get_extension(self.plugin, id.as_ptr())).cast() }
        }
    }

    impl Drop for Fixture {
        fn drop(&mut self) {
            // SAFETY: the plugin is not used afterwards.
            unsafe { call!(self.plugin => destroy(self.plugin)) };
        }
    }

    /// Description that a plugin fills.
    fn info<T>() -> T {
        // SAFETY: all bits zero is a valid value of each description.
        unsafe { std::mem::zeroed() }
    }

    #[test]
    fn parameter_calls_of_any_index_id_and_value_end_no_host() {
        let fixture = Fixture::new();
        let (plugin, params) = (fixture.plugin, fixture.extension::<clap_plugin_params>(CLAP_EXT_PARAMS));
        let params = from_ref(params);
        // SAFETY: each pointer is valid, or null.
        unsafe {
            let count = call!(params => count(plugin));
            let mut ids = vec![0, 1, u32::MAX, u32::MAX / 2];
            for index in (0..count).chain([count, count + 1, 1000, u32::MAX]) {
                let mut described: clap_param_info = info();
                assert_eq!(
                    call!(params => get_info(plugin, index, &mut described)),
                    index < count,
                    "{index}"
                );
                assert!(!call!(params => get_info(plugin, index, null_mut())), "{index}");
                ids.push(described.id);
            }
            for id in ids {
                let mut value = 0.0;
                call!(params => get_value(plugin, id, &mut value));
                assert!(!call!(params => get_value(plugin, id, null_mut())));
                let mut text: [c_char; 64] = [0; 64];
                for value in [0.0, 1.0, -1.0, 99.0, 1e300, f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
                    for size in [0, 1, 64] {
                        call!(params => value_to_text(plugin, id, value, text.as_mut_ptr(), size));
                    }
                    assert!(!call!(params => value_to_text(plugin, id, value, null_mut(), 64)));
                }
                for text in [c"", c"99999999999999999999", c"NaN", c"-inf", c"On", c"Isolate", c"\xff"] {
                    call!(params => text_to_value(plugin, id, text.as_ptr(), &mut value));
                    assert!(!call!(params => text_to_value(plugin, id, text.as_ptr(), null_mut())));
                }
                assert!(!call!(params => text_to_value(plugin, id, null(), &mut value)));
            }
            call!(params => flush(plugin, null(), null()));
        }
    }

    #[test]
    fn port_of_any_index_ends_no_host() {
        let fixture = Fixture::new();
        let ports = from_ref(fixture.extension::<clap_plugin_audio_ports>(CLAP_EXT_AUDIO_PORTS));
        for (is_input, count) in [(true, 1), (false, 3)] {
            for index in [0, 1, 2, 3, 4, 1000, u32::MAX] {
                // SAFETY: the description is valid, or null.
                unsafe {
                    let result = call!(ports => get(fixture.plugin, index, is_input, &mut info()));
                    assert_eq!(result, index < count, "{index}");
                    assert!(!call!(ports => get(fixture.plugin, index, is_input, null_mut())));
                }
            }
        }
    }

    #[test]
    fn activation_beyond_what_can_be_processed_is_refused() {
        let fixture = Fixture::new();
        for (rate, frames) in [
            (48_000.0, i32::MAX as u32),
            (48_000.0, u32::MAX),
            (0.0, 512),
            (-48_000.0, 512),
            (f64::NAN, 512),
            (f64::INFINITY, 512),
            (1e300, 512),
        ] {
            // SAFETY: the plugin is inactive.
            let is_active = unsafe { call!(fixture.plugin => activate(fixture.plugin, rate, 1, frames)) };
            assert!(!is_active, "{rate} Hz, {frames} samples");
        }
    }

    #[test]
    fn unknown_extension_is_null() {
        let fixture = Fixture::new();
        for id in [c"", c"clap.unknown/1"] {
            // SAFETY: the id is a string.
            assert!(unsafe { call!(fixture.plugin => get_extension(fixture.plugin, id.as_ptr())) }.is_null());
        }
    }
}
