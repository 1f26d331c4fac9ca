//! ONNX Runtime: found, loaded by absolute path, one environment a process, never dropped.

use std::path::{Path, PathBuf};
use std::ptr;

use ort::environment::Environment;
use ort::ep::{self, ExecutionProvider, ExecutionProviderDispatch};
use ort::memory::{AllocationDevice, AllocatorType, MemoryInfo, MemoryType};
use ort::session::{RunOptions, SessionInputs, SessionOutputs};
use ort::value::Outlet;
use ort::{AsPointer, ortsys};
use parking_lot::{Mutex, MutexGuard};

use crate::provider::Provider;
use crate::stop::Stop;

/// Why ONNX Runtime cannot be used.
#[derive(Clone, Debug, thiserror::Error)]
pub enum RuntimeError {
    #[error(
        "ORT_DYLIB_PATH is {0:?}, which is not an absolute path. Set it to the library's full path, or unset it"
    )]
    NotAbsolute(PathBuf),
    #[error(
        "ONNX Runtime is missing: {0} does not exist. Install Sift again, or set ORT_DYLIB_PATH to the library's full path"
    )]
    Missing(PathBuf),
    #[error(
        "ONNX Runtime could not be loaded from {path}: {reason}. Install Sift again, or set ORT_DYLIB_PATH to another one"
    )]
    Unusable { path: PathBuf, reason: String },
    #[error(
        "the folder that Sift was loaded from is unknown. Set ORT_DYLIB_PATH to the full path of ONNX Runtime"
    )]
    NoOwnFolder,
}

/// The library's file name, as it lies beside the plugin.
pub const LIBRARY: &str = if cfg!(target_os = "windows") {
    "onnxruntime.dll"
} else if cfg!(target_os = "macos") {
    "libonnxruntime.dylib"
} else {
    "libonnxruntime.so"
};

/// Memory that a network of somebody else's may have on the processor, beside its weights, in GiB: three times what
/// AudioSep takes for windows of 5 s, and what most machines can spare.
const MEMORY_LIMIT: usize = 4;

/// Bytes that it may have for what follows from its constants and is computed while it is loaded, beside that memory.
const CONSTANTS_LIMIT: usize = 1 << 30;

static ENVIRONMENT: Mutex<Option<&'static Environment>> = Mutex::new(None);

/// Where ONNX Runtime is loaded from: `ORT_DYLIB_PATH`, else beside the binary this code is in.
/// Never by bare name, which would take whatever the host or the system has.
pub fn library_path() -> Result<PathBuf, RuntimeError> {
    let path = match std::env::var_os("ORT_DYLIB_PATH").filter(|path| !path.is_empty()) {
        Some(path) => PathBuf::from(path),
        None => own_folder().ok_or(RuntimeError::NoOwnFolder)?.join(LIBRARY),
    };
    if !path.is_absolute() {
        return Err(RuntimeError::NotAbsolute(path));
    }
    if !path.is_file() {
        return Err(RuntimeError::Missing(path));
    }
    Ok(path)
}

/// The process's environment, made at the first call. A failure is not kept: the library may be
/// there at the next call.
pub fn environment() -> Result<&'static Environment, RuntimeError> {
    let mut environment = ENVIRONMENT.lock();
    if let Some(environment) = *environment {
        return Ok(environment);
    }
    let path = library_path()?;
    let unusable = |reason: String| RuntimeError::Unusable { path: path.clone(), reason };
    // ONNX Runtime stays loaded and may call back into this code: neither may be unmapped.
    stay_loaded();
    let made = ort::init_from(&path)
        .map_err(|error| unusable(error.to_string()))?
        .with_name("sift")
        .with_telemetry(false)
        .build()
        .map_err(|error| unusable(error.to_string()))?;
    Ok(environment.insert(Box::leak(Box::new(made))))
}

/// A network that is loaded, to be run on the calling thread alone.
pub struct Session(ort::session::Session);

impl Session {
    /// Loads the network in `onnx`, which is `foreign` where anybody may have made it: its memory is limited then. What
    /// `provider` cannot compute of it is left to the processor. Denormals are flushed. Loading ends with `stop`.
    pub fn new(
        environment: &Environment,
        onnx: &[u8],
        foreign: bool,
        provider: Provider,
        stop: &Stop,
    ) -> ort::Result<Self> {
        load(environment, onnx, foreign, provider, stop).map(Self)
    }

    pub fn inputs(&self) -> &[Outlet] {
        self.0.inputs()
    }

    pub fn outputs(&self) -> &[Outlet] {
        self.0.outputs()
    }

    /// One run, which ends with the [`Stop`] that `runs` is of.
    pub fn run<'s, 'i, 'v: 'i, const N: usize>(
        &'s mut self,
        inputs: impl Into<SessionInputs<'i, 'v, N>>,
        runs: &'s RunOptions,
    ) -> ort::Result<SessionOutputs<'s>> {
        self.0.run_with_options(inputs, runs).map_err(|error| {
            // So says an arena that may not grow any more.
            match error.message().contains("Available memory of") {
                true => ort::Error::new(format!(
                    "the network takes more than the {MEMORY_LIMIT} GiB of memory that a network may have"
                )),
                false => error,
            }
        })
    }
}

fn load(
    environment: &Environment,
    onnx: &[u8],
    foreign: bool,
    provider: Provider,
    stop: &Stop,
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
    stop.loading(&builder)?;
    if !foreign {
        return builder.commit_from_memory(onnx);
    }
    let nodes = crate::onnx::check(onnx).map_err(ort::Error::new)?.max(1);
    // A node alone is limited. One that makes more is left to the runs, which the arena is for.
    let largest_constant = (CONSTANTS_LIMIT / nodes).max(1);
    builder = builder.with_config_entry(
        "optimization.constant_folding_max_output_size_in_bytes",
        largest_constant.to_string(),
    )?;
    let _arena = Arena::register(environment)?;
    builder.with_env_allocators()?.commit_from_memory(onnx)
}

/// An arena of [`MEMORY_LIMIT`], which the session takes that is made while this is there. The session alone keeps it.
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
        ortsys![unsafe CreateArenaCfg(MEMORY_LIMIT << 30, strategy, chunk, dead, &mut config)?];
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

/// The version of the library that [`library_path`] finds, such as "1.32.0".
pub fn version() -> Result<String, RuntimeError> {
    environment()?;
    let path = library_path()?;
    let unusable =
        |error: libloading::Error| RuntimeError::Unusable { path: path.clone(), reason: error.to_string() };
    // SAFETY: `environment` has loaded this library, and it is ONNX Runtime: it has this function,
    // which returns a table and a string that live as long as the library does.
    let version = unsafe {
        let library = libloading::Library::new(&path).map_err(unusable)?;
        let base = library
            .get::<unsafe extern "system" fn() -> *const ort::sys::OrtApiBase>(b"OrtGetApiBase\0")
            .map_err(unusable)?();
        std::ffi::CStr::from_ptr(((*base).GetVersionString)()).to_string_lossy().into_owned()
    };
    Ok(version)
}

/// The folder of the binary that contains this function: the plugin's, not the host's.
pub fn own_folder() -> Option<PathBuf> {
    own_path()?.parent().map(Path::to_owned)
}

#[cfg(unix)]
fn own_path() -> Option<PathBuf> {
    use std::os::unix::ffi::OsStrExt;

    let mut info = std::mem::MaybeUninit::<libc::Dl_info>::zeroed();
    // SAFETY: dladdr only reads the address and writes `info`; the name it gives lives as long as
    // the binary is loaded, which is as long as this code runs.
    let name = unsafe {
        if libc::dladdr(own_path as *const libc::c_void, info.as_mut_ptr()) == 0 {
            return None;
        }
        let info = info.assume_init();
        if info.dli_fname.is_null() {
            return None;
        }
        std::ffi::CStr::from_ptr(info.dli_fname)
    };
    let path = Path::new(std::ffi::OsStr::from_bytes(name.to_bytes()));
    // The main program is named as it was called, perhaps without a folder.
    path.canonicalize().ok().or_else(|| std::env::current_exe().ok())
}

#[cfg(windows)]
fn own_path() -> Option<PathBuf> {
    use std::os::windows::ffi::OsStringExt;
    use windows_sys::Win32::System::LibraryLoader::{
        GET_MODULE_HANDLE_EX_FLAG_FROM_ADDRESS, GET_MODULE_HANDLE_EX_FLAG_UNCHANGED_REFCOUNT,
        GetModuleFileNameW, GetModuleHandleExW,
    };

    let mut module = std::ptr::null_mut();
    let mut name = vec![0_u16; 32_768];
    // SAFETY: the address lies in this module; the buffer is as long as is said.
    let length = unsafe {
        let flags = GET_MODULE_HANDLE_EX_FLAG_FROM_ADDRESS | GET_MODULE_HANDLE_EX_FLAG_UNCHANGED_REFCOUNT;
        if GetModuleHandleExW(flags, own_path as *const u16, &mut module) == 0 {
            return None;
        }
        GetModuleFileNameW(module, name.as_mut_ptr(), name.len() as u32) as usize
    };
    (length > 0 && length < name.len()).then(|| PathBuf::from(std::ffi::OsString::from_wide(&name[..length])))
}

/// Adds a reference to this binary that is never given back.
fn stay_loaded() {
    if let Some(path) = own_path()
        // SAFETY: the binary is loaded already, so none of its initialisers runs.
        && let Ok(this) = unsafe { libloading::Library::new(path) }
    {
        std::mem::forget(this);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_folder_is_the_one_this_test_was_loaded_from() {
        let test = std::env::current_exe().unwrap().canonicalize().unwrap();
        assert_eq!(own_folder().as_deref(), test.parent());
    }

    #[test]
    fn a_missing_library_is_named_with_its_remedy() {
        let message = RuntimeError::Missing("/there/libonnxruntime.so".into()).to_string();
        assert!(message.contains("/there/libonnxruntime.so") && message.contains("ORT_DYLIB_PATH"));
    }
}
