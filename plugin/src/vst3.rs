//! Sift as VST3: nice-plug's component, with auxiliary outputs that a host may leave alone.
//!
//! nice-plug 0.4 processes a VST3 block only when every output bus has buffers, and accepts only bus
//! arrangements in which every bus has channels. Yet auxiliary buses are inactive in VST3 unless the
//! user asks for them, and an inactive bus has neither. [`Component`] stands between: it forwards
//! everything, and gives the buses that the host leaves out buffers of its own.

use std::ffi::{c_char, c_void};

use nice_plug::wrapper::setup_logger;
use nice_plug::wrapper::vst3::vst3::Steinberg::Vst::{
    AudioBusBuffers, AudioBusBuffers__type0, BusDirection, BusDirections_::kOutput, BusInfo, CString,
    IAudioProcessor, IAudioProcessorTrait, IComponent, IComponentHandler, IComponentTrait, IEditController,
    IEditControllerTrait, IProcessContextRequirements, IProcessContextRequirementsTrait, IUnitInfo,
    IUnitInfoTrait, IoMode, MediaType, ParamID, ParamValue, ParameterInfo, ProcessData, ProcessSetup,
    ProgramListID, ProgramListInfo, RoutingInfo, SpeakerArr::kEmpty, SpeakerArrangement, String128, TChar,
    UnitID, UnitInfo,
};
use nice_plug::wrapper::vst3::vst3::Steinberg::{
    FIDString, FUnknown, IBStream, IPlugView, IPluginBaseTrait, IPluginFactory, IPluginFactory2,
    IPluginFactory2Trait, IPluginFactory3, IPluginFactory3Trait, IPluginFactoryTrait, PClassInfo,
    PClassInfo2, PClassInfoW, PFactoryInfo, TBool, TUID, int16, int32, kInvalidArgument, kResultFalse,
    kResultOk, tresult, uint32,
};
use nice_plug::wrapper::vst3::vst3::{Class, ComWrapper};
use nice_plug::wrapper::vst3::{PluginInfo, Wrapper};
use parking_lot::Mutex;

use crate::Sift;

/// Target and Residual.
const AUX: usize = 2;
/// Of any bus.
const MAX_CHANNELS: usize = 2;

/// One instance in the host: component and controller in one object.
struct Component {
    inner: Wrapper<Sift>,
    /// Where the auxiliary outputs go that the host does not take. Locked by the thread that sets
    /// processing up and by the one that processes, which the host never runs at once.
    unheard: Mutex<Vec<f32>>,
}

impl Class for Component {
    /// Those that an effect without MIDI needs.
    type Interfaces = (IComponent, IEditController, IAudioProcessor, IProcessContextRequirements, IUnitInfo);
}

impl Component {
    fn new() -> Self {
        Self { inner: Wrapper::new(), unheard: Mutex::default() }
    }
}

/// Implements methods of a trait by calling the same ones of `inner`.
macro_rules! forward {
    ($interface:ident: $($method:ident($($argument:ident: $kind:ty),*) -> $result:ty;)*) => {
        $(unsafe fn $method(&self, $($argument: $kind),*) -> $result {
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
        activateBus(media: MediaType, direction: BusDirection, index: int32, state: TBool) -> tresult;
        setActive(state: TBool) -> tresult;
        setState(state: *mut IBStream) -> tresult;
        getState(state: *mut IBStream) -> tresult;
    }

    /// The auxiliary outputs are not active unless the host asks: an insert stays as wide as its track.
    unsafe fn getBusInfo(
        &self,
        media: MediaType,
        direction: BusDirection,
        index: int32,
        info: *mut BusInfo,
    ) -> tresult {
        unsafe {
            let result = IComponentTrait::getBusInfo(&self.inner, media, direction, index, info);
            if result == kResultOk && direction == kOutput as BusDirection && index > 0 {
                (*info).flags = 0;
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
        setComponentHandler(handler: *mut IComponentHandler) -> tresult;
        createView(name: FIDString) -> *mut IPlugView;
    }
}

impl IAudioProcessorTrait for Component {
    forward! { IAudioProcessorTrait:
        getBusArrangement(direction: BusDirection, index: int32, arrangement: *mut SpeakerArrangement) -> tresult;
        canProcessSampleSize(size: int32) -> tresult;
        getLatencySamples() -> uint32;
        setProcessing(state: TBool) -> tresult;
        getTailSamples() -> uint32;
    }

    /// The main output decides; the auxiliary ones are as wide, whether or not the host will use them.
    /// Asked for another width, they take this one and the answer is no, after which hosts ask what it is.
    unsafe fn setBusArrangements(
        &self,
        inputs: *mut SpeakerArrangement,
        input_count: int32,
        outputs: *mut SpeakerArrangement,
        output_count: int32,
    ) -> tresult {
        let count = usize::try_from(output_count).unwrap_or(0);
        if inputs.is_null() || outputs.is_null() || !(1..=1 + AUX).contains(&count) {
            return kInvalidArgument;
        }
        unsafe {
            let outputs = std::slice::from_raw_parts(outputs, count);
            let mut arrangements = [outputs[0]; 1 + AUX];
            let result = IAudioProcessorTrait::setBusArrangements(
                &self.inner,
                inputs,
                input_count,
                arrangements.as_mut_ptr(),
                arrangements.len() as int32,
            );
            let fits = |aux: &SpeakerArrangement| *aux == kEmpty || *aux == outputs[0];
            if outputs[1..].iter().all(fits) { result } else { kResultFalse }
        }
    }

    unsafe fn setupProcessing(&self, setup: *mut ProcessSetup) -> tresult {
        if setup.is_null() {
            return kInvalidArgument;
        }
        unsafe {
            let frames = usize::try_from((*setup).maxSamplesPerBlock).unwrap_or(0);
            *self.unheard.lock() = vec![0.0; AUX * MAX_CHANNELS * frames];
            // nice-plug notes the mode, offline or not, only after it has made its configuration of the
            // one before: told twice, it knows.
            IAudioProcessorTrait::setupProcessing(&self.inner, setup);
            IAudioProcessorTrait::setupProcessing(&self.inner, setup)
        }
    }

    unsafe fn process(&self, data: *mut ProcessData) -> tresult {
        if data.is_null() {
            return kInvalidArgument;
        }
        unsafe {
            let host = &*data;
            let frames = usize::try_from(host.numSamples).unwrap_or(0);
            let given = usize::try_from(host.numOutputs).unwrap_or(0);
            let unheard = self.unheard.try_lock();
            // Without audio it is a flush of parameters, which nice-plug knows.
            let (Some(mut unheard), true) = (unheard, frames > 0 && given > 0 && !host.outputs.is_null())
            else {
                return IAudioProcessorTrait::process(&self.inner, data);
            };
            let main = *host.outputs;
            if unheard.len() < AUX * MAX_CHANNELS * frames
                || !(1..=MAX_CHANNELS as int32).contains(&main.numChannels)
            {
                return IAudioProcessorTrait::process(&self.inner, data);
            }

            let mut pointers = [[std::ptr::null_mut::<f32>(); MAX_CHANNELS]; AUX];
            let spare = unheard.chunks_exact_mut(frames).map(<[f32]>::as_mut_ptr);
            pointers.as_flattened_mut().iter_mut().zip(spare).for_each(|(pointer, spare)| *pointer = spare);
            let mut outputs = [main; 1 + AUX];
            for (index, channels) in pointers.iter_mut().enumerate() {
                let taken = (1 + index < given).then(|| host.outputs.add(1 + index));
                outputs[1 + index] = match taken {
                    Some(bus) if is_whole(&*bus, main.numChannels) => *bus,
                    _ => AudioBusBuffers {
                        numChannels: main.numChannels,
                        silenceFlags: 0,
                        __field0: AudioBusBuffers__type0 { channelBuffers32: channels.as_mut_ptr() },
                    },
                };
            }
            let mut whole =
                ProcessData { numOutputs: outputs.len() as int32, outputs: outputs.as_mut_ptr(), ..*host };
            IAudioProcessorTrait::process(&self.inner, &mut whole)
        }
    }
}

/// Whether the host gives a bus all its channels.
unsafe fn is_whole(bus: &AudioBusBuffers, channels: int32) -> bool {
    unsafe {
        let buffers = bus.__field0.channelBuffers32;
        bus.numChannels == channels
            && !buffers.is_null()
            && (0..channels as usize).all(|channel| !(*buffers.add(channel)).is_null())
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

/// What the module offers: one class.
struct Factory(PluginInfo);

impl Class for Factory {
    type Interfaces = (IPluginFactory, IPluginFactory2, IPluginFactory3);
}

impl Factory {
    /// Answers a question about class `index`.
    unsafe fn tell<T>(&self, index: int32, info: *mut T, answer: fn(&PluginInfo) -> T) -> tresult {
        if index != 0 || info.is_null() {
            return kInvalidArgument;
        }
        unsafe { info.write(answer(&self.0)) };
        kResultOk
    }
}

impl IPluginFactoryTrait for Factory {
    unsafe fn getFactoryInfo(&self, info: *mut PFactoryInfo) -> tresult {
        unsafe { self.tell(0, info, PluginInfo::create_factory_info) }
    }

    unsafe fn countClasses(&self) -> int32 {
        1
    }

    unsafe fn getClassInfo(&self, index: int32, info: *mut PClassInfo) -> tresult {
        unsafe { self.tell(index, info, PluginInfo::create_class_info) }
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
        unsafe { self.tell(index, info, PluginInfo::create_class_info_2) }
    }
}

impl IPluginFactory3Trait for Factory {
    unsafe fn getClassInfoUnicode(&self, index: int32, info: *mut PClassInfoW) -> tresult {
        unsafe { self.tell(index, info, PluginInfo::create_class_info_unicode) }
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
        .map_or(std::ptr::null_mut(), |factory| factory.into_raw().cast())
}

/// Hosts call this before, and [`leave`] after all else, by the name of each system.
#[cfg_attr(target_os = "windows", unsafe(export_name = "InitDll"))]
#[cfg_attr(target_os = "macos", unsafe(export_name = "bundleEntry"))]
#[cfg_attr(not(any(target_os = "windows", target_os = "macos")), unsafe(export_name = "ModuleEntry"))]
extern "system" fn enter(_module: *mut c_void) -> bool {
    setup_logger::<Sift>();
    true
}

#[cfg_attr(target_os = "windows", unsafe(export_name = "ExitDll"))]
#[cfg_attr(target_os = "macos", unsafe(export_name = "bundleExit"))]
#[cfg_attr(not(any(target_os = "windows", target_os = "macos")), unsafe(export_name = "ModuleExit"))]
extern "system" fn leave() -> bool {
    true
}
