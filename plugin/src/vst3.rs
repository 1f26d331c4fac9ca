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

mod host_notifier;

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
    FIDString, FUnknown, IBStream, IPlugView, IPluginBaseTrait, IPluginFactory, IPluginFactory2,
    IPluginFactory2Trait, IPluginFactory3, IPluginFactory3Trait, IPluginFactoryTrait, PClassInfo,
    PClassInfo2, PClassInfoW, PFactoryInfo, TBool, TUID, int16, int32, kInvalidArgument, kNotInitialized,
    kResultFalse, kResultOk, tresult, uint32,
};
use nice_plug::wrapper::vst3::vst3::{Class, ComRef, ComWrapper};
use nice_plug::wrapper::vst3::{PluginInfo, Wrapper};
use parking_lot::Mutex;
use sift_engine::Config;

use self::host_notifier::Vst3Notifier;
use crate::Sift;
use crate::host_link::HostLink;

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
        setState(state: *mut IBStream) -> tresult;
        getState(state: *mut IBStream) -> tresult;
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
        getParameterInfo(index: int32, info: *mut ParameterInfo) -> tresult;
        getParamStringByValue(id: ParamID, normalized: ParamValue, text: *mut String128) -> tresult;
        getParamValueByString(id: ParamID, text: *mut TChar, normalized: *mut ParamValue) -> tresult;
        normalizedParamToPlain(id: ParamID, normalized: ParamValue) -> ParamValue;
        plainParamToNormalized(id: ParamID, plain: ParamValue) -> ParamValue;
        getParamNormalized(id: ParamID) -> ParamValue;
        setParamNormalized(id: ParamID, value: ParamValue) -> tresult;
        createView(name: FIDString) -> *mut IPlugView;
    }

    unsafe fn setComponentHandler(&self, handler: *mut IComponentHandler) -> tresult {
        // SAFETY: the host passes a valid handler or null.
        unsafe {
            self.notifier.set_handler(ComRef::from_raw(handler).map(|handler| handler.to_com_ptr()));
            IEditControllerTrait::setComponentHandler(&self.inner, handler)
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
            let frames = usize::try_from((*setup).maxSamplesPerBlock).unwrap_or(0);
            let sample_rate = f64::from((*setup).sampleRate as f32);
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
