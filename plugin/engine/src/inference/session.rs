//! A network that is loaded, within limits where anybody may have made it.

use std::ptr;

use ort::environment::Environment;
use ort::ep::{self, ExecutionProvider, ExecutionProviderDispatch};
use ort::memory::{AllocationDevice, AllocatorType, MemoryInfo, MemoryType};
use ort::session::{RunOptions, SessionInputs, SessionOutputs};
use ort::value::Outlet;
use ort::{AsPointer, ortsys};
use parking_lot::{Mutex, MutexGuard};

use crate::inference::cancel::CancelToken;
use crate::inference::onnx_check;
use crate::inference::provider::Provider;

/// Memory that a network of somebody else's may have on the processor, beside its weights, in GiB: three times what
/// AudioSep takes for windows of 5 s, and what most machines can spare.
const MAX_MEMORY_GIB: usize = 4;

/// Bytes that it may have for what follows from its constants and is computed while it is loaded, beside that memory.
const MAX_CONSTANT_BYTES: usize = 1 << 30;

/// A network that is loaded, to be run on the calling thread alone.
pub struct Session(ort::session::Session);

impl Session {
    /// Loads the network in `onnx`, which is `untrusted` where anybody may have made it: its memory is limited then. What
    /// `provider` cannot compute of it is left to the processor. Denormals are flushed. Loading ends with `token`.
    pub fn new(
        environment: &Environment,
        onnx: &[u8],
        untrusted: bool,
        provider: Provider,
        token: &CancelToken,
    ) -> ort::Result<Self> {
        load(environment, onnx, untrusted, provider, token).map(Self)
    }

    pub fn inputs(&self) -> &[Outlet] {
        self.0.inputs()
    }

    pub fn outputs(&self) -> &[Outlet] {
        self.0.outputs()
    }

    /// One run, which ends with the [`CancelToken`] that `run_options` is of.
    pub fn run<'s, 'i, 'v: 'i, const N: usize>(
        &'s mut self,
        inputs: impl Into<SessionInputs<'i, 'v, N>>,
        run_options: &'s RunOptions,
    ) -> ort::Result<SessionOutputs<'s>> {
        self.0.run_with_options(inputs, run_options).map_err(|error| {
            // So says an arena that may not grow any more.
            match error.message().contains("Available memory of") {
                true => ort::Error::new(format!(
                    "the network takes more than the {MAX_MEMORY_GIB} GiB of memory that a network may have"
                )),
                false => error,
            }
        })
    }
}

fn load(
    environment: &Environment,
    onnx: &[u8],
    untrusted: bool,
    provider: Provider,
    token: &CancelToken,
) -> ort::Result<ort::session::Session> {
    let mut builder = ort::session::Session::builder(environment)?
        .with_intra_threads(1)?
        .with_intra_op_spinning(false)?
        .with_flush_to_zero()?;
    if let Some(accelerator) = accelerator(provider) {
        if !offers(environment, provider) {
            return Err(ort::Error::new(format!(
                "the ONNX Runtime that is loaded does not offer {provider}"
            )));
        }
        builder = builder.with_execution_providers([accelerator.error_on_failure()])?;
    }
    token.watch_load(&builder)?;
    if !untrusted {
        return builder.commit_from_memory(onnx);
    }
    let nodes = onnx_check::check(onnx).map_err(ort::Error::new)?.max(1);
    // A node alone is limited. One that makes more is left to the run_options, which the arena is for.
    let largest_constant = (MAX_CONSTANT_BYTES / nodes).max(1);
    builder = builder.with_config_entry(
        "optimization.constant_folding_max_output_size_in_bytes",
        largest_constant.to_string(),
    )?;
    let _arena = Arena::register(environment)?;
    builder.with_env_allocators()?.commit_from_memory(onnx)
}

/// An arena of [`MAX_MEMORY_GIB`], which the session takes that is made while this is there. The session alone keeps it.
struct Arena<'a> {
    environment: &'a Environment,
    info: MemoryInfo<'static>,
    /// A session reads what is registered without a lock of its own.
    _turn: MutexGuard<'static, ()>,
}

impl<'a> Arena<'a> {
    fn register(environment: &'a Environment) -> ort::Result<Self> {
        static TURN: Mutex<()> = Mutex::new(());
        let turn = TURN.lock();
        let info = MemoryInfo::new(AllocationDevice::CPU, 0, AllocatorType::Arena, MemoryType::Default)?;
        // The rest as it is without an arena of one's own.
        let (strategy, chunk, dead) = (-1, -1, -1);
        let mut config = ptr::null_mut();
        ortsys![unsafe CreateArenaCfg(MAX_MEMORY_GIB << 30, strategy, chunk, dead, &mut config)?];
        let registered = ortsys![@ort:
            unsafe CreateAndRegisterAllocator(environment.ptr().cast_mut(), info.ptr(), config) as Result
        ];
        ortsys![unsafe ReleaseArenaCfg(config)];
        registered?;
        Ok(Self { environment, info, _turn: turn })
    }
}

impl Drop for Arena<'_> {
    fn drop(&mut self) {
        // Fails only if nothing is registered.
        let _ = ortsys![@ort:
            unsafe UnregisterAllocator(self.environment.ptr().cast_mut(), self.info.ptr()) as Result
        ];
    }
}

/// Whether the ONNX Runtime that `_environment` was made by was built with `provider`. Drivers and
/// further libraries that it needs are looked for only when a session is made.
pub fn offers(_environment: &Environment, provider: Provider) -> bool {
    let offered = match provider {
        Provider::Cpu => Ok(true),
        Provider::Cuda => ep::CUDA::is_available(),
        Provider::CoreMl => ep::CoreML::is_available(),
        Provider::DirectMl => ep::DirectML::is_available(),
    };
    offered.unwrap_or(false)
}

fn accelerator(provider: Provider) -> Option<ExecutionProviderDispatch> {
    match provider {
        Provider::Cpu => None,
        Provider::Cuda => Some(ep::CUDA::default().build()),
        Provider::CoreMl => Some(ep::CoreML::default().build()),
        Provider::DirectMl => Some(ep::DirectML::default().build()),
    }
}
