//! ONNX Runtime: found, loaded by absolute path, one environment a process, never dropped.

use std::path::{Path, PathBuf};

use ort::environment::Environment;
use parking_lot::Mutex;

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
