//! A loaded network, with limited memory if it is untrusted.

use std::ptr;
use std::time::Duration;

use ort::environment::Environment;
use ort::ep::{self, ExecutionProvider, ExecutionProviderDispatch};
use ort::memory::{AllocationDevice, AllocatorType, MemoryInfo, MemoryType};
use ort::session::builder::SessionBuilder;
use ort::session::{RunOptions, SessionInputs, SessionOutputs};
use ort::value::Outlet;
use ort::{AsPointer, ortsys};
use parking_lot::{Mutex, MutexGuard};

use crate::inference::cancel::{CANCELLED, CancelToken};
use crate::inference::onnx_check;
use crate::inference::provider::Provider;

/// Memory limit of an untrusted network on the CPU, in GiB, without its weights.
///
/// Three times the memory that AudioSep needs for windows of 5 s, and available on most machines.
const MAX_MEMORY_GIB: usize = 4;

/// Limit of the constants that ONNX Runtime computes while it loads an untrusted network, in bytes. It comes on top of
/// [`MAX_MEMORY_GIB`].
const MAX_CONSTANT_BYTES: usize = 1 << 30;

/// Option of ONNX Runtime that selects its own matrix kernels on ARM. Other processors ignore it.
const DISABLE_KLEIDIAI: &str = "mlas.disable_kleidiai";

/// Interval at which a thread that waits for a [`LoadTurn`] checks its cancel token.
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// Held while an untrusted network loads, because sessions read the registered allocators without a lock.
static UNTRUSTED_LOAD: Mutex<()> = Mutex::new(());

/// Permission to load one network. Untrusted networks load one after another, trusted ones at any time.
///
/// It is acquired before the time limit of the load begins, so that this does not count the loads of others.
pub struct LoadTurn(Option<MutexGuard<'static, ()>>);

impl LoadTurn {
    /// Waits until the network may load.
    ///
    /// # Errors
    /// [`CANCELLED`] if `token` is cancelled first.
    pub fn wait(untrusted: bool, token: &CancelToken) -> Result<Self, String> {
        if !untrusted {
            return Ok(Self(None));
        }
        loop {
            match UNTRUSTED_LOAD.try_lock_for(POLL_INTERVAL) {
                Some(lock) => return Ok(Self(Some(lock))),
                None if token.is_cancelled() => return Err(CANCELLED.into()),
                None => {}
            }
        }
    }
}

/// A loaded network that computes on the calling thread only.
pub struct Session(ort::session::Session);

impl Session {
    /// Loads the network in `onnx`. Denormals are flushed to zero.
    ///
    /// The memory of a network is limited if `turn` is that of an untrusted one. The CPU computes all operators that
    /// `provider` lacks.
    ///
    /// # Errors
    /// If the network is invalid, `provider` is not available, or `token` is cancelled.
    pub fn new(
        environment: &Environment,
        onnx: &[u8],
        turn: LoadTurn,
        provider: Provider,
        token: &CancelToken,
    ) -> ort::Result<Self> {
        load(environment, onnx, turn, provider, token).map(Self)
    }

    /// Returns names, types and shapes of the inputs.
    pub fn inputs(&self) -> &[Outlet] {
        self.0.inputs()
    }

    /// Returns names, types and shapes of the outputs.
    pub fn outputs(&self) -> &[Outlet] {
        self.0.outputs()
    }

    /// Runs the network once.
    ///
    /// # Errors
    /// If the run fails, needs too much memory, or is cancelled by the [`CancelToken`] that made `run_options`.
    pub fn run<'s, 'i, 'v: 'i, const N: usize>(
        &'s mut self,
        inputs: impl Into<SessionInputs<'i, 'v, N>>,
        run_options: &'s RunOptions,
    ) -> ort::Result<SessionOutputs<'s>> {
        self.0.run_with_options(inputs, run_options).map_err(|error| {
            // The message of an arena that has reached its limit.
            match error.message().contains("Available memory of") {
                true => ort::Error::new(format!(
                    "the network needs too much memory; expected at most {MAX_MEMORY_GIB} GiB"
                )),
                false => error,
            }
        })
    }
}

fn load(
    environment: &Environment,
    onnx: &[u8],
    turn: LoadTurn,
    provider: Provider,
    token: &CancelToken,
) -> ort::Result<ort::session::Session> {
    let mut builder = options(environment)?;
    if let Some(accelerator) = accelerator(provider) {
        if !offers(environment, provider) {
            return Err(ort::Error::new(format!("the loaded ONNX Runtime does not offer {provider}")));
        }
        builder = builder.with_execution_providers([accelerator.error_on_failure()])?;
    }
    token.watch_load(&builder)?;
    let Some(lock) = turn.0 else { return builder.commit_from_memory(onnx) };
    let nodes = onnx_check::check(onnx).map_err(ort::Error::new)?.max(1);
    // The option limits each node, not their sum. A node with a larger output is not folded: it runs each time, within
    // the limit of the arena.
    let largest_constant = (MAX_CONSTANT_BYTES / nodes).max(1);
    builder = builder.with_config_entry(
        "optimization.constant_folding_max_output_size_in_bytes",
        largest_constant.to_string(),
    )?;
    let _arena = Arena::register(environment, lock)?;
    builder.with_env_allocators()?.commit_from_memory(onnx)
}

/// Returns the options of all sessions.
fn options(environment: &Environment) -> ort::Result<SessionBuilder> {
    Ok(ort::session::Session::builder(environment)?
        .with_intra_threads(1)?
        .with_intra_op_spinning(false)?
        // On Apple M4 and later, KleidiAI's kernels give other bits in each run, or infinities.
        .with_config_entry(DISABLE_KLEIDIAI, "1")?
        .with_flush_to_zero()?)
}

/// An arena of [`MAX_MEMORY_GIB`] for the session that is created while this value exists.
///
/// Afterwards only that session keeps the arena.
struct Arena<'a> {
    environment: &'a Environment,
    info: MemoryInfo<'static>,
    _lock: MutexGuard<'static, ()>,
}

impl<'a> Arena<'a> {
    fn register(environment: &'a Environment, lock: MutexGuard<'static, ()>) -> ort::Result<Self> {
        let info = MemoryInfo::new(AllocationDevice::CPU, 0, AllocatorType::Arena, MemoryType::Default)?;
        // -1 selects the default value.
        let (extend_strategy, initial_chunk, max_dead_bytes) = (-1, -1, -1);
        let mut config = ptr::null_mut();
        ortsys![unsafe CreateArenaCfg(MAX_MEMORY_GIB << 30, extend_strategy, initial_chunk, max_dead_bytes, &mut config)?];
        let registered = ortsys![@ort:
            unsafe CreateAndRegisterAllocator(environment.ptr().cast_mut(), info.ptr(), config) as Result
        ];
        ortsys![unsafe ReleaseArenaCfg(config)];
        registered?;
        Ok(Self { environment, info, _lock: lock })
    }
}

impl Drop for Arena<'_> {
    fn drop(&mut self) {
        // Fails only if no allocator is registered.
        let _ = ortsys![@ort:
            unsafe UnregisterAllocator(self.environment.ptr().cast_mut(), self.info.ptr()) as Result
        ];
    }
}

/// Returns whether the loaded ONNX Runtime was built with `provider`.
///
/// The drivers and libraries that `provider` needs may still be missing; creating a session checks them.
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

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;
    use crate::inference::library;

    #[test]
    fn sessions_use_no_kernels_of_kleidiai() {
        let options = options(library::environment().unwrap()).unwrap();
        let key = std::ffi::CString::new(DISABLE_KLEIDIAI).unwrap();
        let (mut value, mut length) = ([0_u8; 8], 8);
        ortsys![@ort:
            unsafe GetSessionConfigEntry(options.ptr(), key.as_ptr(), value.as_mut_ptr().cast(), &mut length) as Result
        ]
        .unwrap();
        assert_eq!(&value[..length], b"1\0");
    }

    #[test]
    fn wait_for_a_turn_ends_when_cancelled() {
        let token = CancelToken::default();
        let turn = LoadTurn::wait(true, &token).unwrap();
        thread::scope(|scope| {
            let waiting = scope.spawn(|| LoadTurn::wait(true, &token).err());
            assert!(LoadTurn::wait(false, &token).is_ok(), "trusted networks do not wait");
            token.cancel();
            assert_eq!(waiting.join().unwrap().as_deref(), Some(CANCELLED));
        });
        drop(turn);
    }
}
