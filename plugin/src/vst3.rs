//! The VST3 component: wraps nice-plug's, so that hosts may leave the auxiliary outputs inactive, and activate without
//! a request for a restart.
//!
//! nice-plug 0.4 processes a VST3 block only if every output bus has its own buffers of the right width,
//! and accepts only bus arrangements in which every bus has channels. But auxiliary buses are inactive in
//! VST3 until the user activates them, and an inactive bus has neither. [`Component`] forwards all calls,
//! passes scratch buffers to nice-plug for the auxiliary outputs, and copies them to the buffers that the
//! host provides.
//!
//! nice-plug 0.4 calls the host's `restartComponent` inside `setActive` if the latency is new, as it always is at first.
//! Live then activates again, in a loop. Hosts read the latency before or after each activation anyway: [`Component`]
//! reports it itself, from `setupProcessing` on.
//!
//! nice-plug 0.4 panics, and so ends the host, if it is asked for the parameter behind the last one, and in debug builds
//! for a bus of a very negative index or a value far beyond a range. It loses the state if the host's stream cannot seek,
//! or reads and writes in pieces. [`Component`] checks indices, sizes and values, and passes on whole states.

mod host_notifier;
mod view;

use std::ffi::{c_char, c_void};
use std::ptr::null_mut;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};

use nice_plug::wrapper::setup_logger;
use nice_plug::wrapper::vst3::vst3::Steinberg::Vst::{
    AudioBusBuffers, AudioBusBuffers__type0, BusDirection, BusDirections_::kOutput, BusInfo, CString,
    IAudioProcessor, IAudioProcessorTrait, IComponent, IComponentHandler, IComponentTrait, IEditController,
    IEditControllerTrait, IProcessContextRequirements, IProcessContextRequirementsTrait, IUnitInfo,
    IUnitInfoTrait, IoMode, MediaType, MediaTypes_::kAudio, ParamID, ParamValue, ParameterInfo, ProcessData,
    ProcessSetup, ProgramListID, ProgramListInfo, RoutingInfo, SpeakerArr::kEmpty, SpeakerArrangement,
    String128, TChar, UnitID, UnitInfo,
};
use nice_plug::wrapper::vst3::vst3::Steinberg::{
    FIDString, FUnknown, IBStream,
    IBStream_::IStreamSeekMode as SeekMode,
    IBStream_::IStreamSeekMode_::{kIBSeekCur, kIBSeekSet},
    IBStreamTrait, IPlugView, IPluginBaseTrait, IPluginFactory, IPluginFactory2, IPluginFactory2Trait,
    IPluginFactory3, IPluginFactory3Trait, IPluginFactoryTrait, PClassInfo, PClassInfo2, PClassInfoW,
    PFactoryInfo, TBool, TUID, int16, int32, int64, kInvalidArgument, kNotInitialized, kResultFalse,
    kResultOk, tresult, uint32,
};
use nice_plug::wrapper::vst3::vst3::{Class, ComRef, ComWrapper};
use nice_plug::wrapper::vst3::{PluginInfo, Wrapper};
use parking_lot::Mutex;
use sift_engine::Config;

use self::host_notifier::Vst3Notifier;
use self::view::View;
use crate::host_link::HostLink;
use crate::{Sift, is_supported};

/// Number of auxiliary outputs: Target and Residual.
const AUX_OUTPUTS: usize = 2;
/// Largest number of channels of a bus.
const MAX_CHANNELS: usize = 2;
/// Value of `Component::active_outputs` as long as the host has not said which outputs it uses.
const ALL_OUTPUTS: u32 = u32::MAX;
/// Scratch channels: those of the auxiliary outputs, and one for the main output.
const SCRATCH_CHANNELS: usize = AUX_OUTPUTS * MAX_CHANNELS + 1;

/// One plugin instance: component and controller in one object.
struct Component {
    inner: Wrapper<Sift>,
    link: Arc<HostLink>,
    notifier: Vst3Notifier,
    is_active: AtomicBool,
    /// Configuration by the host's last `setupProcessing`.
    config: Mutex<Option<Config>>,
    /// Number of channels of the main buses, as accepted last.
    channels: AtomicUsize,
    /// Auxiliary outputs that are active, a bit for each; `ALL_OUTPUTS` before the host has activated any bus.
    active_outputs: AtomicU32,
    /// Arrangements that the host requested for the auxiliary outputs; empty: that of the main output.
    arrangements: [AtomicU64; AUX_OUTPUTS],
    /// `SCRATCH_CHANNELS` channels of the largest block, one after the other. `setupProcessing` and `process` lock
    /// it, which the host never calls at the same time.
    scratch: Mutex<Vec<f32>>,
}

impl Class for Component {
    /// The interfaces of an effect without MIDI.
    type Interfaces = (IComponent, IEditController, IAudioProcessor, IProcessContextRequirements, IUnitInfo);
}

impl Component {
    fn new() -> Self {
        let (inner, link) = HostLink::connect(Wrapper::new);
        let notifier = Vst3Notifier::default();
        link.set_notifier(notifier.clone());
        Self {
            inner,
            link,
            notifier,
            is_active: AtomicBool::new(false),
            config: Mutex::new(None),
            channels: AtomicUsize::new(MAX_CHANNELS),
            active_outputs: AtomicU32::new(ALL_OUTPUTS),
            arrangements: Default::default(),
            scratch: Mutex::default(),
        }
    }

    /// The arrangement that the host requested for an auxiliary output; `None` for other buses, or without a request.
    fn requested_arrangement(&self, direction: BusDirection, index: int32) -> Option<SpeakerArrangement> {
        let aux = usize::try_from(index).ok()?.checked_sub(1)?;
        let requested = self.arrangements.get(aux)?.load(Ordering::Relaxed);
        (direction == kOutput as BusDirection && requested != kEmpty).then_some(requested)
    }

    /// Applies the parameter changes of a block whose audio cannot be processed, and outputs silence.
    unsafe fn flush(&self, host: &ProcessData) -> tresult {
        // SAFETY: the caller passes the data of the host's call, and the copy has no buses.
        unsafe {
            outputs(host).iter_mut().for_each(|bus| silence(bus, frames(host)));
            let mut flush =
                ProcessData { numInputs: 0, inputs: null_mut(), numOutputs: 0, outputs: null_mut(), ..*host };
            IAudioProcessorTrait::process(&self.inner, &mut flush)
        }
    }
}

/// Implements trait methods by calling those of `inner`.
macro_rules! forward {
    ($interface:ident: $($method:ident($($argument:ident: $kind:ty),*) -> $result:ty;)*) => {
        $(unsafe fn $method(&self, $($argument: $kind),*) -> $result {
            // SAFETY: the arguments are the host's, for the same method.
            unsafe { $interface::$method(&self.inner, $($argument),*) }
        })*
    };
}

impl IPluginBaseTrait for Component {
    forward! { IPluginBaseTrait:
        initialize(context: *mut FUnknown) -> tresult;
        terminate() -> tresult;
    }
}

impl IComponentTrait for Component {
    forward! { IComponentTrait:
        getControllerClassId(class: *mut TUID) -> tresult;
        setIoMode(mode: IoMode) -> tresult;
        getBusCount(media: MediaType, direction: BusDirection) -> int32;
        getRoutingInfo(input: *mut RoutingInfo, output: *mut RoutingInfo) -> tresult;
    }

    unsafe fn setState(&self, state: *mut IBStream) -> tresult {
        // SAFETY: the host passes a stream, or null. nice-plug uses the copy during the call only.
        unsafe {
            let Some(bytes) = ComRef::from_raw(state).and_then(read_all) else { return kInvalidArgument };
            with_memory_stream(bytes, |copy| IComponentTrait::setState(&self.inner, copy)).0
        }
    }

    unsafe fn getState(&self, state: *mut IBStream) -> tresult {
        // SAFETY: the host passes a stream, or null. nice-plug uses the other one during the call only.
        unsafe {
            let Some(stream) = ComRef::from_raw(state) else { return kInvalidArgument };
            let (result, bytes) =
                with_memory_stream(Vec::new(), |copy| IComponentTrait::getState(&self.inner, copy));
            if result == kResultOk && !write_all(stream, &bytes) { kResultFalse } else { result }
        }
    }

    /// Notes which outputs the host uses.
    unsafe fn activateBus(
        &self,
        media: MediaType,
        direction: BusDirection,
        index: int32,
        state: TBool,
    ) -> tresult {
        // SAFETY: this is the host's call, passed on.
        let result = unsafe { IComponentTrait::activateBus(&self.inner, media, direction, index, state) };
        if result == kResultOk && media == kAudio as MediaType && direction == kOutput as BusDirection {
            // All buses are inactive until the host activates them; hosts that activate none use what they pass.
            let before = match self.active_outputs.load(Ordering::Relaxed) {
                ALL_OUTPUTS => 0,
                known => known,
            };
            let bit = 1_u32.checked_shl(index as u32).unwrap_or(0);
            let after = if state != 0 { before | bit } else { before & !bit };
            self.active_outputs.store(after, Ordering::Relaxed);
        }
        result
    }

    unsafe fn setActive(&self, state: TBool) -> tresult {
        // SAFETY: this is the host's call, passed on.
        let result = unsafe { IComponentTrait::setActive(&self.inner, state) };
        self.is_active.store(state != 0 && result == kResultOk, Ordering::Release);
        result
    }

    /// Reports auxiliary outputs as inactive by default, so that an insert keeps its track's width.
    unsafe fn getBusInfo(
        &self,
        media: MediaType,
        direction: BusDirection,
        index: int32,
        info: *mut BusInfo,
    ) -> tresult {
        if index < 0 {
            return kInvalidArgument;
        }
        // SAFETY: the host passes a valid `info`, which nice-plug checks before it returns `kResultOk`.
        unsafe {
            let result = IComponentTrait::getBusInfo(&self.inner, media, direction, index, info);
            if result == kResultOk && direction == kOutput as BusDirection && index > 0 {
                (*info).flags = 0;
                if let Some(requested) = self.requested_arrangement(direction, index) {
                    (*info).channelCount = requested.count_ones() as int32;
                }
            }
            result
        }
    }
}

impl IEditControllerTrait for Component {
    forward! { IEditControllerTrait:
        setComponentState(state: *mut IBStream) -> tresult;
        setState(state: *mut IBStream) -> tresult;
        getState(state: *mut IBStream) -> tresult;
        getParameterCount() -> int32;
        getParamStringByValue(id: ParamID, normalized: ParamValue, text: *mut String128) -> tresult;
        getParamValueByString(id: ParamID, text: *mut TChar, normalized: *mut ParamValue) -> tresult;
        normalizedParamToPlain(id: ParamID, normalized: ParamValue) -> ParamValue;
        getParamNormalized(id: ParamID) -> ParamValue;
        setParamNormalized(id: ParamID, value: ParamValue) -> tresult;
    }

    unsafe fn createView(&self, name: FIDString) -> *mut IPlugView {
        // SAFETY: this is the host's call, passed on, which returns a view or null.
        unsafe { View::wrap(IEditControllerTrait::createView(&self.inner, name), self.link.clone()) }
    }

    unsafe fn setComponentHandler(&self, handler: *mut IComponentHandler) -> tresult {
        // SAFETY: the host passes a valid handler or null.
        unsafe {
            self.notifier.set_handler(ComRef::from_raw(handler).map(|handler| handler.to_com_ptr()));
            IEditControllerTrait::setComponentHandler(&self.inner, handler)
        }
    }

    /// Limits the value to the parameter's range, beyond which nice-plug's numbers overflow.
    unsafe fn plainParamToNormalized(&self, id: ParamID, plain: ParamValue) -> ParamValue {
        // SAFETY: the calls have no pointers.
        unsafe {
            let [low, high] = [0.0, 1.0].map(|end| self.normalizedParamToPlain(id, end));
            let limited = if plain > low { plain.min(high) } else { low };
            IEditControllerTrait::plainParamToNormalized(&self.inner, id, limited)
        }
    }

    unsafe fn getParameterInfo(&self, index: int32, info: *mut ParameterInfo) -> tresult {
        // SAFETY: this is the host's call, passed on.
        unsafe {
            if index < 0 || index >= IEditControllerTrait::getParameterCount(&self.inner) {
                return kInvalidArgument;
            }
            IEditControllerTrait::getParameterInfo(&self.inner, index, info)
        }
    }
}

impl IAudioProcessorTrait for Component {
    forward! { IAudioProcessorTrait:
        canProcessSampleSize(size: int32) -> tresult;
        setProcessing(state: TBool) -> tresult;
        getTailSamples() -> uint32;
    }

    unsafe fn getLatencySamples(&self) -> uint32 {
        match *self.config.lock() {
            // JUCE's hosts read the latency before they activate the plugin, and not after.
            Some(config) if !self.is_active.load(Ordering::Acquire) => {
                self.link.instance().latency(&config) as uint32
            }
            _ => self.link.latency(),
        }
    }

    /// Accepts the main output's arrangement for all buses and stores those requested for the auxiliary outputs:
    /// hosts keep the old width of an inactive bus and expect it back.
    unsafe fn setBusArrangements(
        &self,
        inputs: *mut SpeakerArrangement,
        input_count: int32,
        outputs: *mut SpeakerArrangement,
        output_count: int32,
    ) -> tresult {
        let count = usize::try_from(output_count).unwrap_or(0);
        if inputs.is_null()
            || outputs.is_null()
            || input_count != 1
            || !(1..=1 + AUX_OUTPUTS).contains(&count)
        {
            return kInvalidArgument;
        }
        // SAFETY: the pointers are not null, and the host passes as many arrangements as it says.
        unsafe {
            let outputs = std::slice::from_raw_parts(outputs, count);
            if outputs.iter().any(|requested| requested.count_ones() as usize > MAX_CHANNELS) {
                return kResultFalse;
            }
            let mut equal = [outputs[0]; 1 + AUX_OUTPUTS];
            let (pointer, length) = (equal.as_mut_ptr(), equal.len() as int32);
            let result =
                IAudioProcessorTrait::setBusArrangements(&self.inner, inputs, input_count, pointer, length);
            if result == kResultOk {
                self.channels.store(outputs[0].count_ones() as usize, Ordering::Relaxed);
                for (aux, stored) in self.arrangements.iter().enumerate() {
                    stored.store(outputs.get(1 + aux).copied().unwrap_or(kEmpty), Ordering::Relaxed);
                }
            }
            result
        }
    }

    unsafe fn getBusArrangement(
        &self,
        direction: BusDirection,
        index: int32,
        arrangement: *mut SpeakerArrangement,
    ) -> tresult {
        if index < 0 {
            return kInvalidArgument;
        }
        // SAFETY: the host passes a valid `arrangement`, which nice-plug checks before it returns `kResultOk`.
        unsafe {
            let result = IAudioProcessorTrait::getBusArrangement(&self.inner, direction, index, arrangement);
            if result == kResultOk
                && let Some(requested) = self.requested_arrangement(direction, index)
            {
                *arrangement = requested;
            }
            result
        }
    }

    unsafe fn setupProcessing(&self, setup: *mut ProcessSetup) -> tresult {
        if setup.is_null() {
            return kInvalidArgument;
        }
        // SAFETY: `setup` is not null, and the host passes a valid one.
        unsafe {
            let Ok(frames) = usize::try_from((*setup).maxSamplesPerBlock) else { return kInvalidArgument };
            let sample_rate = f64::from((*setup).sampleRate as f32);
            if !is_supported(sample_rate, frames) {
                return kInvalidArgument;
            }
            *self.config.lock() =
                Some(Config { sample_rate, max_block: frames, channels: MAX_CHANNELS, offline: false });
            *self.scratch.lock() = vec![0.0; SCRATCH_CHANNELS * frames];
            // nice-plug stores the process mode after it has built its configuration from the previous mode:
            // the second call applies it.
            IAudioProcessorTrait::setupProcessing(&self.inner, setup);
            IAudioProcessorTrait::setupProcessing(&self.inner, setup)
        }
    }

    unsafe fn process(&self, data: *mut ProcessData) -> tresult {
        if data.is_null() {
            return kInvalidArgument;
        }
        // SAFETY: `data` is not null, and the host keeps it and its buffers valid during the call. The buses passed on
        // point to those buffers or to `scratch`, which is locked.
        unsafe {
            // nice-plug's own `process` would end the host's process.
            if !self.is_active.load(Ordering::Acquire) {
                outputs(&*data).iter_mut().for_each(|bus| silence(bus, frames(&*data)));
                return kNotInitialized;
            }
            let (host, frames, channels) = (&*data, frames(&*data), self.channels.load(Ordering::Relaxed));
            let Some(mut scratch) = self.scratch.try_lock() else { return self.flush(host) };
            let Some(main) = outputs(host).first().filter(|main| is_complete(main, channels)).copied() else {
                return self.flush(host);
            };
            if frames == 0 || scratch.len() < SCRATCH_CHANNELS * frames {
                let result = self.flush(host);
                // The scratch buffers do not hold a block larger than announced.
                return if frames == 0 { result } else { kResultFalse };
            }

            let active = self.active_outputs.load(Ordering::Relaxed);
            let is_used = |(index, bus): (usize, &AudioBusBuffers)| {
                active & 1 << index != 0 && !channel_pointer(bus, 0).is_null()
            };
            let aux = outputs(host).iter().enumerate().take(1 + AUX_OUTPUTS).skip(1);
            self.link.begin_block(aux.into_iter().any(is_used));
            let mut free_channels = scratch.chunks_exact_mut(frames).map(<[f32]>::as_mut_ptr);
            let mut next_channel = || free_channels.next().unwrap_or(null_mut());
            let mut pointers = [[null_mut(); MAX_CHANNELS]; 1 + AUX_OUTPUTS];
            for (index, bus) in pointers.iter_mut().enumerate() {
                for (channel, pointer) in bus.iter_mut().enumerate().take(channels) {
                    *pointer = if index == 0 { channel_pointer(&main, channel) } else { next_channel() };
                }
            }
            // Some hosts use one buffer for all unconnected channels.
            if channels == 2 && pointers[0][0] == pointers[0][1] {
                pointers[0][1] = next_channel();
            }
            let mut buses = pointers.each_mut().map(|pointers| bus(pointers, channels));
            let mut inner_data =
                ProcessData { numOutputs: 1 + AUX_OUTPUTS as int32, outputs: buses.as_mut_ptr(), ..*host };
            // The samples of a channel that is flagged as silent need not be zero.
            let has_input = host.numInputs > 0
                && !host.inputs.is_null()
                && is_complete(&*host.inputs, channels)
                && !is_flagged_silent(&*host.inputs, channels);
            if !has_input {
                silence(&mut buses[0], frames);
                (inner_data.numInputs, inner_data.inputs) = (0, null_mut());
            }
            let result = IAudioProcessorTrait::process(&self.inner, &mut inner_data);

            let is_silent = result == kResultOk && self.link.is_silent();
            for (index, bus) in outputs(host).iter_mut().enumerate() {
                bus.silenceFlags = if is_silent { channel_bits(bus.numChannels) } else { 0 };
                match buses.get(index) {
                    Some(processed) => copy(processed, bus, frames),
                    None => silence(bus, frames),
                }
            }
            result
        }
    }
}

/// Largest state that is read, in bytes. That of eight long texts has some thousand.
const MAX_STATE_BYTES: usize = 1 << 26;
/// Bytes that are requested of the host's stream at once.
const READ_BYTES: usize = 1 << 16;

/// Reads `stream` until its end, also if it gives less than requested. Returns `None` if it has too much.
fn read_all(stream: ComRef<'_, IBStream>) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut piece = vec![0_u8; READ_BYTES];
    while bytes.len() <= MAX_STATE_BYTES {
        let mut count = 0;
        // SAFETY: the buffer has as many bytes as the call says. Some hosts return an error at the end, or always.
        unsafe { stream.read(piece.as_mut_ptr().cast(), READ_BYTES as int32, &mut count) };
        match usize::try_from(count).ok().and_then(|count| piece.get(..count)) {
            None | Some([]) => return Some(bytes),
            Some(read) => bytes.extend_from_slice(read),
        }
    }
    None
}

/// Writes `bytes` to `stream`, also if it takes less than requested. Returns false if it does not take all.
fn write_all(stream: ComRef<'_, IBStream>, mut bytes: &[u8]) -> bool {
    while !bytes.is_empty() {
        let mut count = 0;
        let length = bytes.len().min(int32::MAX as usize) as int32;
        // SAFETY: the stream reads at most `length` bytes and writes none.
        let result = unsafe { stream.write(bytes.as_ptr().cast_mut().cast(), length, &mut count) };
        match usize::try_from(count) {
            // Some hosts do not say how much they have taken.
            Ok(0) => return result == kResultOk,
            Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
            Err(_) => return false,
        }
    }
    true
}

/// A stream in memory.
struct MemoryStream {
    bytes: Mutex<Vec<u8>>,
    position: AtomicUsize,
}

impl Class for MemoryStream {
    type Interfaces = (IBStream,);
}

impl IBStreamTrait for MemoryStream {
    unsafe fn read(&self, buffer: *mut c_void, length: int32, read: *mut int32) -> tresult {
        let bytes = self.bytes.lock();
        let position = self.position.load(Ordering::Relaxed).min(bytes.len());
        let count = usize::try_from(length).unwrap_or(0).min(bytes.len() - position);
        // SAFETY: the caller passes a buffer of `length` bytes, and a place for the count unless it is null.
        unsafe {
            buffer.cast::<u8>().copy_from_nonoverlapping(bytes[position..].as_ptr(), count);
            if let Some(read) = read.as_mut() {
                *read = count as int32;
            }
        }
        self.position.store(position + count, Ordering::Relaxed);
        kResultOk
    }

    unsafe fn write(&self, buffer: *mut c_void, length: int32, written: *mut int32) -> tresult {
        let count = usize::try_from(length).unwrap_or(0);
        // SAFETY: the caller passes `length` bytes, and a place for the count unless it is null.
        unsafe {
            self.bytes.lock().extend_from_slice(std::slice::from_raw_parts(buffer.cast(), count));
            if let Some(written) = written.as_mut() {
                *written = count as int32;
            }
        }
        kResultOk
    }

    unsafe fn seek(&self, offset: int64, mode: int32, position: *mut int64) -> tresult {
        let mode = mode as SeekMode;
        let from = if mode == kIBSeekSet {
            0
        } else if mode == kIBSeekCur {
            self.position.load(Ordering::Relaxed)
        } else {
            self.bytes.lock().len()
        };
        let Some(target) = usize::try_from(offset).ok().and_then(|offset| from.checked_add(offset)) else {
            return kInvalidArgument;
        };
        self.position.store(target, Ordering::Relaxed);
        // SAFETY: the caller passes a place for the position, or null.
        if let Some(position) = unsafe { position.as_mut() } {
            *position = target as int64;
        }
        kResultOk
    }

    unsafe fn tell(&self, position: *mut int64) -> tresult {
        // SAFETY: the caller passes a place for the position, or null.
        let Some(position) = (unsafe { position.as_mut() }) else { return kInvalidArgument };
        *position = self.position.load(Ordering::Relaxed) as int64;
        kResultOk
    }
}

/// Calls `use_stream` with a stream that begins with `bytes`. Returns its result and the stream's bytes after it.
fn with_memory_stream(
    bytes: Vec<u8>,
    use_stream: impl FnOnce(*mut IBStream) -> tresult,
) -> (tresult, Vec<u8>) {
    let stream = ComWrapper::new(MemoryStream { bytes: Mutex::new(bytes), position: AtomicUsize::new(0) });
    let result = stream.as_com_ref::<IBStream>().map_or(kResultFalse, |stream| use_stream(stream.as_ptr()));
    let bytes = std::mem::take(&mut *stream.bytes.lock());
    (result, bytes)
}

fn frames(data: &ProcessData) -> usize {
    usize::try_from(data.numSamples).unwrap_or(0)
}

/// The output buses that the host provides.
unsafe fn outputs<'a>(data: &ProcessData) -> &'a mut [AudioBusBuffers] {
    let count = usize::try_from(data.numOutputs).unwrap_or(0);
    match data.outputs.is_null() {
        true => &mut [],
        // SAFETY: the host provides `count` buses, and no caller holds two of these slices at once.
        false => unsafe { std::slice::from_raw_parts_mut(data.outputs, count) },
    }
}

fn bus(pointers: &mut [*mut f32], channels: usize) -> AudioBusBuffers {
    AudioBusBuffers {
        numChannels: channels as int32,
        silenceFlags: 0,
        __field0: AudioBusBuffers__type0 { channelBuffers32: pointers.as_mut_ptr() },
    }
}

/// The samples of a channel; null if the host provides none.
unsafe fn channel_pointer(bus: &AudioBusBuffers, channel: usize) -> *mut f32 {
    // SAFETY: a bus has `numChannels` pointers unless the array is null.
    unsafe {
        let buffers = bus.__field0.channelBuffers32;
        let is_provided = !buffers.is_null() && channel < usize::try_from(bus.numChannels).unwrap_or(0);
        if is_provided { *buffers.add(channel) } else { null_mut() }
    }
}

/// Whether a bus has exactly `channels` channels, all with buffers.
unsafe fn is_complete(bus: &AudioBusBuffers, channels: usize) -> bool {
    bus.numChannels == channels as int32
        // SAFETY: the caller passes a valid bus.
        && (0..channels).all(|channel| unsafe { !channel_pointer(bus, channel).is_null() })
}

/// Bits for the channels of a bus.
fn channel_bits(channels: int32) -> u64 {
    (0..channels.clamp(0, 64)).fold(0, |bits, channel| bits | 1 << channel)
}

/// Whether the host has flagged all `channels` channels of a bus as silent.
fn is_flagged_silent(bus: &AudioBusBuffers, channels: usize) -> bool {
    let bits = channel_bits(channels as int32);
    bits != 0 && bus.silenceFlags & bits == bits
}

unsafe fn silence(bus: &mut AudioBusBuffers, frames: usize) {
    for channel in 0..usize::try_from(bus.numChannels).unwrap_or(0) {
        // SAFETY: the caller passes a bus whose channels have `frames` samples.
        unsafe {
            let samples = channel_pointer(bus, channel);
            if !samples.is_null() {
                samples.write_bytes(0, frames);
            }
        }
    }
}

/// Copies a bus to one of the host's, whose further channels get a copy of the last channel.
unsafe fn copy(from: &AudioBusBuffers, to: &mut AudioBusBuffers, frames: usize) {
    let last = usize::try_from(from.numChannels).unwrap_or(0).saturating_sub(1);
    for channel in 0..usize::try_from(to.numChannels).unwrap_or(0) {
        // SAFETY: the caller passes buses whose channels have `frames` samples.
        unsafe {
            let (source, target) = (channel_pointer(from, channel.min(last)), channel_pointer(to, channel));
            if source != target && !source.is_null() && !target.is_null() {
                target.copy_from(source, frames);
            }
        }
    }
}

impl IProcessContextRequirementsTrait for Component {
    forward! { IProcessContextRequirementsTrait:
        getProcessContextRequirements() -> uint32;
    }
}

impl IUnitInfoTrait for Component {
    forward! { IUnitInfoTrait:
        getUnitCount() -> int32;
        getUnitInfo(index: int32, info: *mut UnitInfo) -> tresult;
        getProgramListCount() -> int32;
        getProgramListInfo(index: int32, info: *mut ProgramListInfo) -> tresult;
        getProgramName(list: ProgramListID, index: int32, name: *mut String128) -> tresult;
        getProgramInfo(list: ProgramListID, index: int32, id: CString, value: *mut String128) -> tresult;
        hasProgramPitchNames(list: ProgramListID, index: int32) -> tresult;
        getProgramPitchName(list: ProgramListID, index: int32, pitch: int16, name: *mut String128) -> tresult;
        getSelectedUnit() -> UnitID;
        selectUnit(unit: UnitID) -> tresult;
        getUnitByBus(media: MediaType, direction: BusDirection, bus: int32, channel: int32, unit: *mut UnitID) -> tresult;
        setUnitProgramData(list_or_unit: int32, index: int32, data: *mut IBStream) -> tresult;
    }
}

/// The module's factory, with one class.
struct Factory(PluginInfo);

impl Class for Factory {
    type Interfaces = (IPluginFactory, IPluginFactory2, IPluginFactory3);
}

impl Factory {
    /// Writes the data that `create` returns about class `index` to `info`.
    unsafe fn write_info<T>(&self, index: int32, info: *mut T, create: fn(&PluginInfo) -> T) -> tresult {
        if index != 0 || info.is_null() {
            return kInvalidArgument;
        }
        // SAFETY: `info` is not null, and the host passes a valid one.
        unsafe { info.write(create(&self.0)) };
        kResultOk
    }
}

impl IPluginFactoryTrait for Factory {
    unsafe fn getFactoryInfo(&self, info: *mut PFactoryInfo) -> tresult {
        // SAFETY: the arguments are the host's.
        unsafe { self.write_info(0, info, PluginInfo::create_factory_info) }
    }

    unsafe fn countClasses(&self) -> int32 {
        1
    }

    unsafe fn getClassInfo(&self, index: int32, info: *mut PClassInfo) -> tresult {
        // SAFETY: the arguments are the host's.
        unsafe { self.write_info(index, info, PluginInfo::create_class_info) }
    }

    unsafe fn createInstance(
        &self,
        class: FIDString,
        interface: FIDString,
        object: *mut *mut c_void,
    ) -> tresult {
        if class.is_null() || interface.is_null() || object.is_null() {
            return kInvalidArgument;
        }
        // SAFETY: the pointers are not null; the host passes two identifiers of 16 bytes and a place for a pointer.
        unsafe {
            if *class.cast::<[u8; 16]>() != *self.0.cid {
                return kInvalidArgument;
            }
            let component = ComWrapper::new(Component::new());
            let Some(unknown) = component.as_com_ref::<FUnknown>() else {
                return kResultFalse;
            };
            let unknown = unknown.as_ptr();
            ((*(*unknown).vtbl).queryInterface)(unknown, interface.cast::<[c_char; 16]>(), object)
        }
    }
}

impl IPluginFactory2Trait for Factory {
    unsafe fn getClassInfo2(&self, index: int32, info: *mut PClassInfo2) -> tresult {
        // SAFETY: the arguments are the host's.
        unsafe { self.write_info(index, info, PluginInfo::create_class_info_2) }
    }
}

impl IPluginFactory3Trait for Factory {
    unsafe fn getClassInfoUnicode(&self, index: int32, info: *mut PClassInfoW) -> tresult {
        // SAFETY: the arguments are the host's.
        unsafe { self.write_info(index, info, PluginInfo::create_class_info_unicode) }
    }

    unsafe fn setHostContext(&self, _context: *mut FUnknown) -> tresult {
        kResultOk
    }
}

/// The entry point of a VST3 module.
#[unsafe(no_mangle)]
extern "system" fn GetPluginFactory() -> *mut c_void {
    ComWrapper::new(Factory(PluginInfo::for_plugin::<Sift>()))
        .to_com_ptr::<IPluginFactory>()
        .map_or(null_mut(), |factory| factory.into_raw().cast())
}

/// The module's first call. Its name depends on the system.
#[cfg_attr(target_os = "windows", unsafe(export_name = "InitDll"))]
#[cfg_attr(target_os = "macos", unsafe(export_name = "bundleEntry"))]
#[cfg_attr(not(any(target_os = "windows", target_os = "macos")), unsafe(export_name = "ModuleEntry"))]
extern "system" fn enter(_module: *mut c_void) -> bool {
    setup_logger::<Sift>();
    true
}

/// The module's last call. Its name depends on the system.
#[cfg_attr(target_os = "windows", unsafe(export_name = "ExitDll"))]
#[cfg_attr(target_os = "macos", unsafe(export_name = "bundleExit"))]
#[cfg_attr(not(any(target_os = "windows", target_os = "macos")), unsafe(export_name = "ModuleExit"))]
extern "system" fn leave() -> bool {
    true
}

#[cfg(test)]
mod tests {
    use nice_plug::wrapper::vst3::vst3::Steinberg::Vst::{
        BusDirections_::kInput, MediaTypes_::kAudio, MediaTypes_::kEvent, ProcessModes_::kRealtime,
        SymbolicSampleSizes_::kSample32,
    };

    use super::*;

    /// Indices and ids that a host may pass, of which the first few are valid.
    const INDICES: [int32; 12] = [0, 1, 2, 3, 10, 11, 12, 1000, -1, -2, int32::MIN, int32::MAX];

    fn count(component: &Component) -> int32 {
        // SAFETY: the call has no arguments.
        unsafe { component.getParameterCount() }
    }

    fn info<T>() -> T {
        // SAFETY: all bits zero is a valid value of each description.
        unsafe { std::mem::zeroed() }
    }

    #[test]
    fn parameter_info_of_any_index_ends_no_host() {
        let component = Component::new();
        for index in INDICES.into_iter().chain([count(&component), count(&component) + 1]) {
            // SAFETY: `info` is valid.
            let result = unsafe { component.getParameterInfo(index, &mut info()) };
            let is_valid = (0..count(&component)).contains(&index);
            assert_eq!(result == kResultOk, is_valid, "{index}");
        }
        // SAFETY: null is what is tested.
        assert_eq!(unsafe { component.getParameterInfo(0, null_mut()) }, kInvalidArgument);
    }

    #[test]
    fn bus_of_any_index_ends_no_host() {
        let component = Component::new();
        for media in [kAudio as MediaType, kEvent as MediaType, -1, 99] {
            for (direction, buses) in
                [(kInput as BusDirection, 1), (kOutput as BusDirection, 3), (-1, 0), (99, 0)]
            {
                for index in INDICES {
                    let is_valid = media == kAudio as MediaType && (0..buses).contains(&index);
                    // SAFETY: each description is valid, or null.
                    unsafe {
                        let result = component.getBusInfo(media, direction, index, &mut info());
                        assert_eq!(result == kResultOk, is_valid, "{media} {direction} {index}");
                        let result = component.activateBus(media, direction, index, 1);
                        assert_eq!(result == kResultOk, is_valid, "{media} {direction} {index}");
                        assert_ne!(component.getBusInfo(media, direction, index, null_mut()), kResultOk);
                        component.getBusCount(media, direction);
                    }
                }
            }
        }
        for direction in [kInput as BusDirection, kOutput as BusDirection, -1, 99] {
            for index in INDICES {
                // SAFETY: the arrangement is valid, or null.
                unsafe {
                    let result = component.getBusArrangement(direction, index, &mut 0);
                    assert!(result != kResultOk || (0..3).contains(&index), "{direction} {index}");
                    assert_ne!(component.getBusArrangement(direction, index, null_mut()), kResultOk);
                }
            }
        }
    }

    #[test]
    fn parameter_calls_of_any_id_and_value_end_no_host() {
        let component = Component::new();
        let mut ids = vec![0, 1, 99, ParamID::MAX, ParamID::MAX / 2];
        for index in 0..count(&component) {
            let mut described: ParameterInfo = info();
            // SAFETY: `described` is valid.
            assert_eq!(unsafe { component.getParameterInfo(index, &mut described) }, kResultOk);
            ids.push(described.id);
        }
        let values = [0.0, 0.5, 1.0, -1.0, 2.0, 1e300, f64::NAN, f64::INFINITY, f64::NEG_INFINITY];
        let texts = ["", "99999999999999999999", "NaN", "-inf", "\u{1f3b8}", "On", "Isolate", "50 %"];
        for &id in &ids {
            for value in values {
                // SAFETY: the texts have 128 characters and end with 0; null is what is tested.
                unsafe {
                    component.getParamStringByValue(id, value, &mut [0; 128]);
                    assert_ne!(component.getParamStringByValue(id, value, null_mut()), kResultOk);
                    component.normalizedParamToPlain(id, value);
                    assert!(component.plainParamToNormalized(id, value).is_finite(), "{id} of {value}");
                    component.setParamNormalized(id, value);
                    assert!(component.getParamNormalized(id).is_finite(), "{id} after {value}");
                }
            }
            for text in texts {
                let mut text: Vec<TChar> = text.encode_utf16().chain([0]).collect();
                // SAFETY: the text ends with 0; null is what is tested.
                unsafe {
                    component.getParamValueByString(id, text.as_mut_ptr(), &mut 0.0);
                    assert_ne!(component.getParamValueByString(id, text.as_mut_ptr(), null_mut()), kResultOk);
                    assert_ne!(component.getParamValueByString(id, null_mut(), &mut 0.0), kResultOk);
                }
            }
        }
    }

    #[test]
    fn unit_and_program_of_any_index_end_no_host() {
        let component = Component::new();
        for index in INDICES {
            // SAFETY: each description is valid, or null.
            unsafe {
                component.getUnitInfo(index, &mut info());
                assert_ne!(component.getUnitInfo(index, null_mut()), kResultOk);
                component.getProgramListInfo(index, null_mut());
                component.getProgramName(index, index, null_mut());
                component.getProgramInfo(index, index, std::ptr::null(), null_mut());
                component.hasProgramPitchNames(index, index);
                component.getProgramPitchName(index, index, 0, null_mut());
                component.selectUnit(index);
                component.getUnitByBus(index, index, index, index, null_mut());
                component.setUnitProgramData(index, index, null_mut());
                component.canProcessSampleSize(index);
            }
        }
    }

    #[test]
    fn setup_beyond_what_can_be_processed_is_refused() {
        let component = Component::new();
        let setup = |sample_rate, frames| ProcessSetup {
            processMode: kRealtime as int32,
            symbolicSampleSize: kSample32 as int32,
            maxSamplesPerBlock: frames,
            sampleRate: sample_rate,
        };
        for (sample_rate, frames) in [
            (48_000.0, -1),
            (48_000.0, int32::MAX),
            (48_000.0, int32::MIN),
            (0.0, 512),
            (-48_000.0, 512),
            (f64::NAN, 512),
            (f64::INFINITY, 512),
            (1e300, 512),
        ] {
            // SAFETY: the setup is valid.
            let result = unsafe { component.setupProcessing(&mut setup(sample_rate, frames)) };
            assert_eq!(result, kInvalidArgument, "{sample_rate} Hz, {frames} samples");
            // SAFETY: the calls have no pointers.
            unsafe {
                component.getLatencySamples();
                assert_ne!(component.setActive(1), kResultOk, "{sample_rate} Hz, {frames} samples");
            }
        }
        // SAFETY: null is what is tested.
        assert_eq!(unsafe { component.setupProcessing(null_mut()) }, kInvalidArgument);
    }

    /// A host's stream that cannot seek, and reads and writes at most so many bytes per call.
    struct PieceStream {
        bytes: Mutex<Vec<u8>>,
        position: AtomicUsize,
        piece: int32,
    }

    impl Class for PieceStream {
        type Interfaces = (IBStream,);
    }

    impl IBStreamTrait for PieceStream {
        unsafe fn read(&self, buffer: *mut c_void, length: int32, read: *mut int32) -> tresult {
            let bytes = self.bytes.lock();
            let position = self.position.load(Ordering::Relaxed);
            let count = (bytes.len() - position).min(length.min(self.piece) as usize);
            // SAFETY: the plugin passes a buffer of `length` bytes and a place for the count.
            unsafe {
                buffer.cast::<u8>().copy_from_nonoverlapping(bytes[position..].as_ptr(), count);
                *read = count as int32;
            }
            self.position.store(position + count, Ordering::Relaxed);
            if count == 0 { kResultFalse } else { kResultOk }
        }

        unsafe fn write(&self, buffer: *mut c_void, length: int32, written: *mut int32) -> tresult {
            let count = length.min(self.piece);
            // SAFETY: the plugin passes `length` bytes and a place for the count.
            unsafe {
                self.bytes
                    .lock()
                    .extend_from_slice(std::slice::from_raw_parts(buffer.cast(), count as usize));
                *written = count;
            }
            kResultOk
        }

        unsafe fn seek(&self, _: int64, _: int32, _: *mut int64) -> tresult {
            kResultFalse
        }

        unsafe fn tell(&self, _: *mut int64) -> tresult {
            kResultFalse
        }
    }

    fn stream(bytes: &[u8], piece: int32) -> ComWrapper<PieceStream> {
        let bytes = Mutex::new(bytes.to_vec());
        ComWrapper::new(PieceStream { bytes, position: AtomicUsize::new(0), piece })
    }

    /// The state of `component`, written in pieces.
    fn save(component: &Component, piece: int32) -> Vec<u8> {
        let stream = stream(&[], piece);
        let pointer = stream.as_com_ref::<IBStream>().unwrap().as_ptr();
        // SAFETY: the stream is valid.
        assert_eq!(unsafe { IComponentTrait::getState(component, pointer) }, kResultOk);
        stream.bytes.lock().clone()
    }

    fn load(component: &Component, bytes: &[u8], piece: int32) -> tresult {
        let stream = stream(bytes, piece);
        // SAFETY: the stream is valid.
        unsafe { IComponentTrait::setState(component, stream.as_com_ref::<IBStream>().unwrap().as_ptr()) }
    }

    #[test]
    fn state_is_kept_by_streams_that_give_pieces() {
        let saved = Component::new();
        saved.link.instance().queries().set_text(0, "a violin in a large hall");
        for piece in [1, 64, int32::MAX] {
            let bytes = save(&saved, piece);
            assert_eq!(bytes, save(&saved, int32::MAX), "written in pieces of {piece}");
            let loaded = Component::new();
            assert_eq!(load(&loaded, &bytes, piece), kResultOk, "read in pieces of {piece}");
            assert_eq!(loaded.link.instance().queries().text(0), "a violin in a large hall");
        }
    }

    #[test]
    fn state_that_is_cut_or_absent_is_refused() {
        let component = Component::new();
        let bytes = save(&component, int32::MAX);
        for cut in [0, 1, bytes.len() / 2, bytes.len() - 1] {
            assert_ne!(load(&component, &bytes[..cut], 64), kResultOk, "{cut} bytes");
        }
        // SAFETY: null is what is tested.
        unsafe {
            assert_eq!(IComponentTrait::setState(&component, null_mut()), kInvalidArgument);
            assert_eq!(IComponentTrait::getState(&component, null_mut()), kInvalidArgument);
        }
        assert_eq!(save(&component, int32::MAX), bytes);
    }
}
