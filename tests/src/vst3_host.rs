//! A small VST3 host, for auxiliary outputs, which pedalboard does not have.
//!
//! ```no_run
//! use sift_tests::{audio::Audio, fixtures, vst3_host::Instance};
//!
//! let mut plugin = Instance::create(&fixtures::vst3_module())?;
//! plugin.activate(48_000.0, 512, [true, false])?;
//! let output = plugin.render(&Audio::impulse(2, 48_000, 0), 512)?;
//! # anyhow::Ok(())
//! ```

use std::ffi::c_void;
use std::path::Path;
use std::ptr::null_mut;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use anyhow::{Context, Result, ensure};
use libloading::Library;
use vst3::Steinberg::Vst::{
    AudioBusBuffers, AudioBusBuffers__type0, BusDirections_::kInput, BusDirections_::kOutput, BusInfo,
    BusInfo_::BusFlags_::kDefaultActive, IAudioProcessor, IAudioProcessorTrait, IComponent, IComponent_iid,
    IComponentHandler, IComponentHandlerTrait, IComponentTrait, IEditController, IEditControllerTrait,
    MediaTypes_::kAudio, ParamID, ParamValue, ProcessData, ProcessModes_::kOffline, ProcessSetup,
    SpeakerArrangement, SymbolicSampleSizes_::kSample32,
};
use vst3::Steinberg::{
    IPlugFrame, IPlugFrameTrait, IPlugView, IPlugViewContentScaleSupport, IPlugViewContentScaleSupportTrait,
    IPlugViewTrait, IPluginBaseTrait, IPluginFactory, IPluginFactoryTrait, PClassInfo, ViewRect, int32,
    kPlatformTypeX11EmbedWindowID, kResultOk, tresult,
};
use vst3::{Class, ComPtr, ComWrapper, Steinberg::Vst::SpeakerArr};

use crate::audio::Audio;

/// The plugin's description of an output bus.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bus {
    pub name: String,
    pub channels: usize,
    pub is_active_by_default: bool,
}

/// The plugin's outputs, late by the latency; of the auxiliary outputs, those that are active.
pub struct Output {
    pub main: Audio,
    pub target: Option<Audio>,
    pub residual: Option<Audio>,
}

/// How a host passes the buses of a block to the plugin; hosts differ.
#[derive(Clone, Copy, Debug)]
pub struct BusLayout {
    /// Number of output buses that the host passes.
    pub outputs: usize,
    /// An inactive bus has channels without buffers, instead of no channels.
    pub null_buffers: bool,
    /// The main output is in the input's memory.
    pub in_place: bool,
    /// All auxiliary channels share one buffer.
    pub shared_buffer: bool,
}

impl Default for BusLayout {
    fn default() -> Self {
        Self { outputs: 3, null_buffers: false, in_place: false, shared_buffer: false }
    }
}

/// One instance of the plugin.
pub struct Instance {
    component: ComPtr<IComponent>,
    processor: ComPtr<IAudioProcessor>,
    /// Whether Target and Residual are active.
    active: [bool; 2],
    pub bus_layout: BusLayout,
    /// Whether [`Self::render`] stops and starts processing before each block.
    pub is_restarted_per_block: bool,
    latency_before_activation: usize,
    restarts: Arc<RestartRequests>,
    _handler: ComPtr<IComponentHandler>,
    /// Last, because the other fields run its code when they are dropped.
    _library: Library,
}

/// What the plugin requested of the host by `restartComponent`.
#[derive(Default)]
struct RestartRequests {
    is_activating: AtomicBool,
    in_activation: AtomicUsize,
    outside_activation: AtomicUsize,
}

/// The host's side of the parameters, and the receiver of requests for a restart.
struct Handler(Arc<RestartRequests>);

impl Class for Handler {
    type Interfaces = (IComponentHandler,);
}

impl IComponentHandlerTrait for Handler {
    unsafe fn beginEdit(&self, _: ParamID) -> tresult {
        kResultOk
    }

    unsafe fn performEdit(&self, _: ParamID, _: ParamValue) -> tresult {
        kResultOk
    }

    unsafe fn endEdit(&self, _: ParamID) -> tresult {
        kResultOk
    }

    unsafe fn restartComponent(&self, _: int32) -> tresult {
        let requests = &self.0;
        let is_activating = requests.is_activating.load(Ordering::Acquire);
        let count = if is_activating { &requests.in_activation } else { &requests.outside_activation };
        count.fetch_add(1, Ordering::AcqRel);
        kResultOk
    }
}

/// The host's window around the editor, which keeps its size, whatever the plugin requests.
struct Frame(Arc<Mutex<Vec<(u32, u32)>>>);

impl Class for Frame {
    type Interfaces = (IPlugFrame,);
}

impl IPlugFrameTrait for Frame {
    unsafe fn resizeView(&self, _: *mut IPlugView, size: *mut ViewRect) -> tresult {
        // SAFETY: the plugin passes a size.
        let size = unsafe { *size };
        self.0.lock().expect("no thread panics with the lock").push(width_and_height(&size));
        kResultOk
    }
}

fn width_and_height(size: &ViewRect) -> (u32, u32) {
    ((size.right - size.left) as u32, (size.bottom - size.top) as u32)
}

/// The editor's view.
pub struct View {
    view: ComPtr<IPlugView>,
    requests: Arc<Mutex<Vec<(u32, u32)>>>,
    _frame: ComPtr<IPlugFrame>,
}

impl View {
    /// Tells the plugin the scale of the window.
    ///
    /// # Errors
    /// If the plugin refuses it.
    pub fn set_scale(&self, scale: f32) -> Result<()> {
        let view = self.view.cast::<IPlugViewContentScaleSupport>().context("the view takes no scale")?;
        // SAFETY: the call has no pointers.
        check(unsafe { view.setContentScaleFactor(scale) }, "setContentScaleFactor")
    }

    /// Width and height in pixels, as the plugin reports them.
    ///
    /// # Errors
    /// If the plugin does not report them.
    pub fn size(&self) -> Result<(u32, u32)> {
        let mut size = ViewRect { left: 0, top: 0, right: 0, bottom: 0 };
        // SAFETY: the size is valid during the call.
        check(unsafe { self.view.getSize(&mut size) }, "getSize")?;
        Ok(width_and_height(&size))
    }

    /// The last size that the plugin has requested since the last call.
    pub fn take_requested_size(&self) -> Option<(u32, u32)> {
        std::mem::take(&mut *self.requests.lock().expect("no thread panics with the lock")).pop()
    }

    /// Opens the editor in the X11 window `parent`, which must outlive it.
    ///
    /// # Errors
    /// If the plugin opens none.
    pub fn open(&self, parent: u32) -> Result<()> {
        // SAFETY: the caller keeps the window.
        let opened =
            unsafe { self.view.attached(parent as usize as *mut c_void, kPlatformTypeX11EmbedWindowID) };
        check(opened, "attached")
    }

    /// Closes the editor.
    ///
    /// # Errors
    /// If none is open.
    pub fn close(&self) -> Result<()> {
        // SAFETY: the call has no pointers.
        check(unsafe { self.view.removed() }, "removed")
    }
}

/// # Errors
/// If `result`, of the function `call`, is not the one of success.
fn check(result: i32, call: &str) -> Result<()> {
    ensure!(result == kResultOk, "{call} returned {result}; expected {kResultOk}");
    Ok(())
}

impl Instance {
    /// Loads the module at `path` and creates an instance of its only class.
    ///
    /// # Errors
    /// If the module cannot be loaded, does not hold exactly one class, or fails to create it.
    pub fn create(path: &Path) -> Result<Self> {
        // SAFETY: loading a library runs its code, our own plugin; the entry points have the types that
        // VST3 specifies.
        unsafe {
            let library = Library::new(path).with_context(|| format!("cannot load {}", path.display()))?;
            let enter = library.get::<unsafe extern "C" fn(*mut c_void) -> bool>(b"ModuleEntry")?;
            ensure!(enter(null_mut()), "the module refuses to be loaded");
            let factory =
                library.get::<unsafe extern "system" fn() -> *mut IPluginFactory>(b"GetPluginFactory")?;
            let factory = ComPtr::from_raw(factory()).context("the module has no factory")?;
            ensure!(
                factory.countClasses() == 1,
                "the module holds {} classes; expected 1",
                factory.countClasses()
            );
            let mut class: PClassInfo = std::mem::zeroed();
            check(factory.getClassInfo(0, &mut class), "getClassInfo")?;
            let mut component = null_mut();
            let made = factory.createInstance(class.cid.as_ptr(), IComponent_iid.as_ptr(), &mut component);
            check(made, "createInstance")?;
            let component = ComPtr::from_raw(component.cast::<IComponent>())
                .context("createInstance gave no component")?;
            check(component.initialize(null_mut()), "initialize")?;
            let processor =
                component.cast::<IAudioProcessor>().context("the component has no IAudioProcessor")?;
            let controller =
                component.cast::<IEditController>().context("the component has no IEditController")?;
            let restarts = Arc::<RestartRequests>::default();
            let handler = ComWrapper::new(Handler(restarts.clone()))
                .to_com_ptr::<IComponentHandler>()
                .context("the handler has no IComponentHandler")?;
            check(controller.setComponentHandler(handler.as_ptr()), "setComponentHandler")?;
            Ok(Self {
                component,
                processor,
                active: [false; 2],
                bus_layout: BusLayout::default(),
                is_restarted_per_block: false,
                latency_before_activation: 0,
                restarts,
                _handler: handler,
                _library: library,
            })
        }
    }

    /// Creates the editor's view, which opens no window yet.
    ///
    /// # Errors
    /// If the plugin has no editor.
    pub fn create_view(&self) -> Result<View> {
        let controller =
            self.component.cast::<IEditController>().context("the component has no IEditController")?;
        // SAFETY: the name is that of the editor's view, which the caller of `create` owns.
        let view = unsafe { ComPtr::from_raw(controller.createView(c"editor".as_ptr())) };
        let view = view.context("createView gave no view")?;
        let requests = Arc::<Mutex<Vec<(u32, u32)>>>::default();
        let frame = ComWrapper::new(Frame(requests.clone()));
        let frame = frame.to_com_ptr::<IPlugFrame>().context("the frame has no IPlugFrame")?;
        // SAFETY: the frame lives as long as the view.
        check(unsafe { view.setFrame(frame.as_ptr()) }, "setFrame")?;
        Ok(View { view, requests, _frame: frame })
    }

    /// The plugin's audio outputs.
    pub fn outputs(&self) -> Vec<Bus> {
        // SAFETY: the component is alive; `info` is plain data that the call fills.
        unsafe {
            (0..self.component.getBusCount(kAudio as i32, kOutput as i32))
                .map(|index| {
                    let mut info: BusInfo = std::mem::zeroed();
                    self.component.getBusInfo(kAudio as i32, kOutput as i32, index, &mut info);
                    let end = info.name.iter().position(|&unit| unit == 0).unwrap_or(info.name.len());
                    Bus {
                        name: String::from_utf16_lossy(&info.name[..end]),
                        channels: info.channelCount as usize,
                        is_active_by_default: info.flags & kDefaultActive != 0,
                    }
                })
                .collect()
        }
    }

    /// Requests speaker arrangements; returns whether the plugin accepts them.
    pub fn request_arrangement(&mut self, input: SpeakerArrangement, outputs: &[SpeakerArrangement]) -> bool {
        let (mut input, mut outputs) = (input, outputs.to_vec());
        // SAFETY: both pointers are valid for the lengths that are passed.
        unsafe {
            self.processor.setBusArrangements(&mut input, 1, outputs.as_mut_ptr(), outputs.len() as i32)
                == kResultOk
        }
    }

    /// Activates the plugin for offline processing, with the buses Target and Residual `active` or not.
    ///
    /// # Errors
    /// If the plugin refuses.
    pub fn activate(&mut self, rate: f64, max_block: usize, active: [bool; 2]) -> Result<()> {
        self.active = active;
        let mut setup = ProcessSetup {
            processMode: kOffline as i32,
            symbolicSampleSize: kSample32 as i32,
            maxSamplesPerBlock: max_block as i32,
            sampleRate: rate,
        };
        // SAFETY: the component is alive and is not active.
        unsafe {
            check(self.processor.setupProcessing(&mut setup), "setupProcessing")?;
            self.latency_before_activation = self.processor.getLatencySamples() as usize;
            for (direction, index, state) in
                [(kInput, 0, true), (kOutput, 0, true), (kOutput, 1, active[0]), (kOutput, 2, active[1])]
            {
                let result =
                    self.component.activateBus(kAudio as i32, direction as i32, index, u8::from(state));
                check(result, "activateBus")?;
            }
            self.restarts.is_activating.store(true, Ordering::Release);
            let activated = self.component.setActive(1);
            self.restarts.is_activating.store(false, Ordering::Release);
            check(activated, "setActive")?;
            check(self.processor.setProcessing(1), "setProcessing")
        }
    }

    /// The latency in samples that the plugin reported between `setupProcessing` and `setActive`.
    pub fn latency_before_activation(&self) -> usize {
        self.latency_before_activation
    }

    /// Number of restarts that the plugin has requested: while it was activated, and at other times.
    pub fn restart_requests(&self) -> (usize, usize) {
        let RestartRequests { in_activation, outside_activation, .. } = &*self.restarts;
        (in_activation.load(Ordering::Acquire), outside_activation.load(Ordering::Acquire))
    }

    /// Stops and deactivates.
    pub fn deactivate(&mut self) {
        // SAFETY: the component is alive.
        unsafe {
            self.processor.setProcessing(0);
            self.component.setActive(0);
        }
    }

    /// The reported latency in samples.
    pub fn latency(&self) -> usize {
        // SAFETY: the component is alive.
        unsafe { self.processor.getLatencySamples() as usize }
    }

    /// Processes a block without audio, as hosts do to pass parameter changes.
    ///
    /// # Errors
    /// If the plugin fails.
    pub fn flush(&mut self) -> Result<()> {
        // SAFETY: ProcessData is plain data, and a block without samples has no buffers.
        unsafe {
            let mut data: ProcessData = std::mem::zeroed();
            data.symbolicSampleSize = kSample32 as i32;
            check(self.processor.process(&mut data), "process")
        }
    }

    /// Processes `input` in blocks of `block` frames; the outputs have the channels of the plugin's buses.
    ///
    /// # Errors
    /// If the plugin fails.
    pub fn render(&mut self, input: &Audio, block: usize) -> Result<Output> {
        let BusLayout { outputs: passed, null_buffers, in_place, shared_buffer } = self.bus_layout;
        let widths: Vec<usize> = self.outputs().iter().map(|bus| bus.channels).collect();
        let mut source = input.clone();
        // NaN, so that an output left unwritten shows.
        let mut outputs: Vec<Audio> =
            widths.iter().map(|&width| Audio::from_fn(width, input.frames(), |_, _| f32::NAN)).collect();
        for start in (0..input.frames()).step_by(block) {
            let frames = block.min(input.frames() - start);
            let from_start = |audio: &mut Audio| -> Vec<*mut f32> {
                audio.channels_mut().iter_mut().map(|channel| channel[start..].as_mut_ptr()).collect()
            };
            let mut inputs = from_start(&mut source);
            let mut channels: Vec<Vec<*mut f32>> = outputs.iter_mut().map(from_start).collect();
            if in_place {
                channels[0].clone_from(&inputs);
            }
            if shared_buffer {
                let shared = channels[1][0];
                channels[1..].iter_mut().flatten().for_each(|pointer| *pointer = shared);
            }
            // The plugin must clear the flags of outputs that have sound.
            let describe = |pointers: &mut Vec<*mut f32>, is_active: bool| AudioBusBuffers {
                numChannels: if is_active || null_buffers { pointers.len() as i32 } else { 0 },
                silenceFlags: 3,
                __field0: AudioBusBuffers__type0 {
                    channelBuffers32: if is_active { pointers.as_mut_ptr() } else { null_mut() },
                },
            };
            let mut input_bus = AudioBusBuffers { silenceFlags: 0, ..describe(&mut inputs, true) };
            let active = [true, self.active[0], self.active[1]];
            let mut buses: Vec<AudioBusBuffers> = channels
                .iter_mut()
                .zip(active)
                .map(|(pointers, is_active)| describe(pointers, is_active))
                .collect();
            buses.resize(passed, describe(&mut Vec::new(), false));
            // SAFETY: ProcessData is plain data; the buffers have the lengths that are passed and outlive the call.
            unsafe {
                if self.is_restarted_per_block {
                    check(self.processor.setProcessing(0), "setProcessing")?;
                    check(self.processor.setProcessing(1), "setProcessing")?;
                }
                let mut data: ProcessData = std::mem::zeroed();
                data.processMode = kOffline as i32;
                data.symbolicSampleSize = kSample32 as i32;
                data.numSamples = frames as i32;
                data.numInputs = 1;
                data.numOutputs = buses.len() as i32;
                data.inputs = &mut input_bus;
                data.outputs = buses.as_mut_ptr();
                check(self.processor.process(&mut data), "process")?;
            }
            ensure!(buses.iter().all(|bus| bus.silenceFlags == 0), "an output is marked as silent");
        }
        let mut outputs = outputs.into_iter();
        let mut next = || outputs.next().context("the plugin has fewer than three output buses");
        let (main, target, residual) = (next()?, next()?, next()?);
        let [has_target, has_residual] = self.active;
        Ok(Output {
            main: if in_place { source } else { main },
            target: has_target.then_some(target),
            residual: has_residual.then_some(residual),
        })
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.deactivate();
        // SAFETY: the component is alive; a host deactivates before it terminates.
        unsafe {
            self.component.terminate();
        }
    }
}

pub const MONO: SpeakerArrangement = SpeakerArr::kMono;
pub const STEREO: SpeakerArrangement = SpeakerArr::kStereo;
/// The arrangement of an unused bus.
pub const EMPTY: SpeakerArrangement = SpeakerArr::kEmpty;
