//! A small VST3 host, for what pedalboard's does not do: auxiliary outputs, taken or left.
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

use anyhow::{Context, Result, ensure};
use libloading::Library;
use vst3::Steinberg::Vst::{
    AudioBusBuffers, AudioBusBuffers__type0, BusDirections_::kInput, BusDirections_::kOutput, BusInfo,
    BusInfo_::BusFlags_::kDefaultActive, IAudioProcessor, IAudioProcessorTrait, IComponent, IComponent_iid,
    IComponentTrait, MediaTypes_::kAudio, ProcessData, ProcessModes_::kOffline, ProcessSetup,
    SpeakerArrangement, SymbolicSampleSizes_::kSample32,
};
use vst3::Steinberg::{IPluginBaseTrait, IPluginFactory, IPluginFactoryTrait, PClassInfo, kResultOk};
use vst3::{ComPtr, Steinberg::Vst::SpeakerArr};

use crate::audio::Audio;

/// An output of the plugin, as it describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bus {
    pub name: String,
    pub channels: usize,
    pub is_active_by_default: bool,
}

/// What came out of the plugin, at the time it came; of the auxiliary outputs, those that were taken.
pub struct Output {
    pub main: Audio,
    pub target: Option<Audio>,
    pub residual: Option<Audio>,
}

/// How a host hands over the buses of a block. Hosts differ.
#[derive(Clone, Copy, Debug)]
pub struct Manner {
    /// Output buses that are passed at all.
    pub outputs: usize,
    /// A bus that is not taken has its channels, but no buffers, instead of no channels.
    pub null_buffers: bool,
    /// The main output is the input's memory.
    pub in_place: bool,
    /// All auxiliary channels are one buffer.
    pub one_sink: bool,
}

impl Default for Manner {
    fn default() -> Self {
        Self { outputs: 3, null_buffers: false, in_place: false, one_sink: false }
    }
}

/// One instance of the plugin.
pub struct Instance {
    component: ComPtr<IComponent>,
    processor: ComPtr<IAudioProcessor>,
    /// Whether Target and Residual are active.
    taken: [bool; 2],
    pub manner: Manner,
    /// After all that is made of its code.
    _library: Library,
}

/// Fails where a call does not answer that it succeeded.
fn succeed(result: i32, call: &str) -> Result<()> {
    ensure!(result == kResultOk, "{call} answered {result}");
    Ok(())
}

impl Instance {
    /// Loads the module at `path` and creates an instance of its only class.
    ///
    /// # Errors
    /// If it cannot be loaded, does not hold exactly one class, or fails to create it.
    pub fn create(path: &Path) -> Result<Self> {
        // SAFETY: loading a library runs its code, our own plugin; the entry points have the types that
        // VST3 gives them.
        unsafe {
            let library = Library::new(path).with_context(|| format!("cannot load {}", path.display()))?;
            let enter = library.get::<unsafe extern "C" fn(*mut c_void) -> bool>(b"ModuleEntry")?;
            ensure!(enter(null_mut()), "the module refuses to be loaded");
            let factory =
                library.get::<unsafe extern "system" fn() -> *mut IPluginFactory>(b"GetPluginFactory")?;
            let factory = ComPtr::from_raw(factory()).context("the module has no factory")?;
            ensure!(factory.countClasses() == 1, "the module holds {} classes", factory.countClasses());
            let mut class: PClassInfo = std::mem::zeroed();
            succeed(factory.getClassInfo(0, &mut class), "getClassInfo")?;
            let mut component = null_mut();
            let made = factory.createInstance(class.cid.as_ptr(), IComponent_iid.as_ptr(), &mut component);
            succeed(made, "createInstance")?;
            let component =
                ComPtr::from_raw(component.cast::<IComponent>()).context("no component was made")?;
            succeed(component.initialize(null_mut()), "initialize")?;
            let processor =
                component.cast::<IAudioProcessor>().context("the component processes no audio")?;
            Ok(Self { component, processor, taken: [false; 2], manner: Manner::default(), _library: library })
        }
    }

    /// The plugin's audio outputs.
    pub fn outputs(&self) -> Vec<Bus> {
        // SAFETY: the component lives; `info` is plain data that the call fills.
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

    /// Asks for speaker arrangements. Whether the plugin accepts them as they are.
    pub fn arrange(&mut self, input: SpeakerArrangement, outputs: &[SpeakerArrangement]) -> bool {
        let (mut input, mut outputs) = (input, outputs.to_vec());
        // SAFETY: both are as long as is said.
        unsafe {
            self.processor.setBusArrangements(&mut input, 1, outputs.as_mut_ptr(), outputs.len() as i32)
                == kResultOk
        }
    }

    /// Prepares for offline processing. `taken`: whether the host takes Target and Residual.
    ///
    /// # Errors
    /// If the plugin refuses.
    pub fn activate(&mut self, rate: f64, max_block: usize, taken: [bool; 2]) -> Result<()> {
        self.taken = taken;
        let mut setup = ProcessSetup {
            processMode: kOffline as i32,
            symbolicSampleSize: kSample32 as i32,
            maxSamplesPerBlock: max_block as i32,
            sampleRate: rate,
        };
        // SAFETY: the component lives and is not active.
        unsafe {
            succeed(self.processor.setupProcessing(&mut setup), "setupProcessing")?;
            for (direction, index, state) in
                [(kInput, 0, true), (kOutput, 0, true), (kOutput, 1, taken[0]), (kOutput, 2, taken[1])]
            {
                let result =
                    self.component.activateBus(kAudio as i32, direction as i32, index, u8::from(state));
                succeed(result, "activateBus")?;
            }
            succeed(self.component.setActive(1), "setActive")?;
            succeed(self.processor.setProcessing(1), "setProcessing")
        }
    }

    /// Stops and deactivates.
    pub fn deactivate(&mut self) {
        // SAFETY: the component lives.
        unsafe {
            self.processor.setProcessing(0);
            self.component.setActive(0);
        }
    }

    /// In samples.
    pub fn latency(&self) -> usize {
        // SAFETY: the component lives.
        unsafe { self.processor.getLatencySamples() as usize }
    }

    /// Hands over a block without audio, as hosts do to pass parameters on.
    ///
    /// # Errors
    /// If the plugin fails.
    pub fn flush(&mut self) -> Result<()> {
        // SAFETY: ProcessData is plain data; there is no sound in it.
        unsafe {
            let mut data: ProcessData = std::mem::zeroed();
            data.symbolicSampleSize = kSample32 as i32;
            succeed(self.processor.process(&mut data), "process")
        }
    }

    /// Sends all of `input` through in blocks of `block`. The auxiliary outputs are as wide as the plugin
    /// says.
    ///
    /// # Errors
    /// If the plugin fails.
    pub fn render(&mut self, input: &Audio, block: usize) -> Result<Output> {
        let Manner { outputs: passed, null_buffers, in_place, one_sink } = self.manner;
        let widths: Vec<usize> = self.outputs().iter().map(|bus| bus.channels).collect();
        let mut source = input.clone();
        // Spoilt, so that a plugin that leaves an output alone is found out.
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
            if one_sink {
                let sink = channels[1][0];
                channels[1..].iter_mut().flatten().for_each(|pointer| *pointer = sink);
            }
            let describe = |pointers: &mut Vec<*mut f32>, is_taken: bool| AudioBusBuffers {
                numChannels: if is_taken || null_buffers { pointers.len() as i32 } else { 0 },
                silenceFlags: 3,
                __field0: AudioBusBuffers__type0 {
                    channelBuffers32: if is_taken { pointers.as_mut_ptr() } else { null_mut() },
                },
            };
            let mut input_bus = describe(&mut inputs, true);
            let taken = [true, self.taken[0], self.taken[1]];
            let mut buses: Vec<AudioBusBuffers> =
                channels.iter_mut().zip(taken).map(|(pointers, taken)| describe(pointers, taken)).collect();
            buses.resize(passed, describe(&mut Vec::new(), false));
            // SAFETY: ProcessData is plain data; the buffers are as long as is said and outlive the call.
            unsafe {
                let mut data: ProcessData = std::mem::zeroed();
                data.processMode = kOffline as i32;
                data.symbolicSampleSize = kSample32 as i32;
                data.numSamples = frames as i32;
                data.numInputs = 1;
                data.numOutputs = buses.len() as i32;
                data.inputs = &mut input_bus;
                data.outputs = buses.as_mut_ptr();
                succeed(self.processor.process(&mut data), "process")?;
            }
            ensure!(buses.iter().all(|bus| bus.silenceFlags == 0), "an output is marked as silent");
        }
        let mut outputs = outputs.into_iter();
        let mut next = || outputs.next().context("the plugin has fewer than three outputs");
        let (main, target, residual) = (next()?, next()?, next()?);
        let [takes_target, takes_residual] = self.taken;
        Ok(Output {
            main: if in_place { source } else { main },
            target: takes_target.then_some(target),
            residual: takes_residual.then_some(residual),
        })
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.deactivate();
        // SAFETY: the component lives; a host ends in this order.
        unsafe {
            self.component.terminate();
        }
    }
}

pub const MONO: SpeakerArrangement = SpeakerArr::kMono;
pub const STEREO: SpeakerArrangement = SpeakerArr::kStereo;
/// Of a bus that is not used.
pub const EMPTY: SpeakerArrangement = SpeakerArr::kEmpty;
