//! The library ONNX Runtime: loaded by absolute path, with one environment per process that is never dropped.

use std::path::{Path, PathBuf};

use libloading::Library;
use ort::environment::Environment;
use ort::logging::LogLevel;
use parking_lot::Mutex;

use crate::inference::remedies;

/// The reason why ONNX Runtime cannot be used.
#[derive(Clone, Debug, thiserror::Error)]
pub enum RuntimeError {
    #[error(
        "ORT_DYLIB_PATH: {0:?} is not an absolute path. Set it to the full path of ONNX Runtime, or unset it"
    )]
    NotAbsolute(PathBuf),
    #[error("{0}: ONNX Runtime is missing. {remedy}", remedy = remedies::of_missing_file())]
    Missing(PathBuf),
    #[error("{path}: ONNX Runtime cannot be loaded: {reason}. {remedy}", remedy = remedies::of_unusable(path))]
    Unusable { path: PathBuf, reason: String },
    #[error(
        "{path}: ONNX Runtime is not used: version {version} of {loaded} answers in its place. Remove the other plugin, or set ORT_DYLIB_PATH to its ONNX Runtime"
    )]
    Replaced { path: PathBuf, loaded: PathBuf, version: String },
    #[error(
        "ONNX Runtime: the folder of this program or plugin is unknown. Set ORT_DYLIB_PATH to the full path of ONNX Runtime"
    )]
    NoOwnFolder,
}

/// File name of ONNX Runtime in the folder of the plugin.
pub const LIBRARY: &str = if cfg!(target_os = "windows") {
    "onnxruntime.dll"
} else if cfg!(target_os = "macos") {
    "libonnxruntime.dylib"
} else {
    "libonnxruntime.so"
};

/// Version of ONNX Runtime that Sift is tested and delivered with.
pub const BUNDLED_VERSION: &str = "1.32.0";

static ENVIRONMENT: Mutex<Option<&'static Environment>> = Mutex::new(None);

/// Returns the absolute path of ONNX Runtime: `ORT_DYLIB_PATH`, or else [`LIBRARY`] in [`own_folder`].
///
/// A bare name is never used: it could load a different version that the host or the system has.
///
/// # Errors
/// If the path is not absolute, or no file is there.
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

/// Returns the environment of the process, which the first successful call creates.
///
/// # Errors
/// If ONNX Runtime is missing or cannot be loaded. The next call tries again, as the file may be there by then.
pub fn environment() -> Result<&'static Environment, RuntimeError> {
    let mut environment = ENVIRONMENT.lock();
    if let Some(environment) = *environment {
        return Ok(environment);
    }
    let path = library_path()?;
    let unusable = |reason: String| RuntimeError::Unusable { path: path.clone(), reason };
    // ONNX Runtime stays loaded and may call back into this code, so neither may be unmapped.
    prevent_unload();
    // Loaded until ONNX Runtime is loaded by its path, which then gives the same library.
    let _library = check_answering_library(&path)?;
    let created = ort::init_from(&path)
        .map_err(|error| unusable(error.to_string()))?
        .with_name("sift")
        .with_telemetry(false)
        .build()
        .map_err(|error| unusable(error.to_string()))?;
    // Each failure is an error of a call, and a cancelled run is none. ONNX Runtime would print both to standard error.
    created.set_log_level(LogLevel::Fatal);
    Ok(environment.insert(Box::leak(Box::new(created))))
}

/// Returns the version of ONNX Runtime, such as "1.32.0".
///
/// # Errors
/// If ONNX Runtime is missing or cannot be loaded.
pub fn version() -> Result<String, RuntimeError> {
    environment()?;
    let path = library_path()?;
    // SAFETY: `environment` loaded this library as ONNX Runtime, whose initialisers have run.
    let answering = unsafe { AnsweringLibrary::load(&path) }?;
    Ok(answering.version)
}

/// Loads the library at `path`, and checks that its functions are in that file.
///
/// Systems may take a library of the same name that another plugin has loaded before.
fn check_answering_library(path: &Path) -> Result<Library, RuntimeError> {
    // SAFETY: ONNX Runtime is loaded next in any case; its initialisers only prepare its own state.
    let answering = unsafe { AnsweringLibrary::load(path) }?;
    check_is_same_file(path, answering.file, answering.version)?;
    Ok(answering.library)
}

fn check_is_same_file(path: &Path, loaded: Option<PathBuf>, version: String) -> Result<(), RuntimeError> {
    match loaded {
        Some(loaded) if !is_same_file(path, &loaded) => {
            Err(RuntimeError::Replaced { path: path.to_owned(), loaded, version })
        }
        _ => Ok(()),
    }
}

fn is_same_file(one: &Path, other: &Path) -> bool {
    match (one.canonicalize(), other.canonicalize()) {
        (Ok(one), Ok(other)) => one == other,
        _ => one == other,
    }
}

/// The library that answers to a path.
struct AnsweringLibrary {
    library: Library,
    /// The version of ONNX Runtime that it gives.
    version: String,
    /// The file of the function that says so, if the system knows it.
    file: Option<PathBuf>,
}

impl AnsweringLibrary {
    /// Loads the library at the absolute `path`.
    ///
    /// # Safety
    /// The library's initialisers must be sound to run.
    unsafe fn load(path: &Path) -> Result<Self, RuntimeError> {
        let unusable = |error: libloading::Error| RuntimeError::Unusable {
            path: path.to_owned(),
            reason: error.to_string(),
        };
        // SAFETY: the caller asserts that of the initialisers. A function of this name has this signature in all versions,
        // and the table and the string that it returns live as long as the library.
        unsafe {
            let library = open(path).map_err(unusable)?;
            let function = *library
                .get::<unsafe extern "system" fn() -> *const ort::sys::OrtApiBase>(b"OrtGetApiBase\0")
                .map_err(unusable)?;
            let version = std::ffi::CStr::from_ptr(((*function()).GetVersionString)());
            Ok(Self {
                version: version.to_string_lossy().into_owned(),
                file: binary_path(function as *const std::ffi::c_void),
                library,
            })
        }
    }
}

/// Loads the library at the absolute `path`.
///
/// # Safety
/// The library's initialisers must be sound to run.
unsafe fn open(path: &Path) -> Result<Library, libloading::Error> {
    // SAFETY: the caller asserts it.
    #[cfg(not(windows))]
    return unsafe { Library::new(path) };
    // By default, Windows looks for the C++ runtime in the host's folder first, which may have an older one.
    #[cfg(windows)]
    {
        use libloading::os::windows;
        let folders = windows::LOAD_LIBRARY_SEARCH_DLL_LOAD_DIR | windows::LOAD_LIBRARY_SEARCH_SYSTEM32;
        // SAFETY: the caller asserts it.
        unsafe { windows::Library::load_with_flags(path, folders) }.map(Into::into)
    }
}

/// Returns the folder of the binary that contains this function: of the plugin, not of the host.
pub fn own_folder() -> Option<PathBuf> {
    own_path()?.parent().map(Path::to_owned)
}

fn own_path() -> Option<PathBuf> {
    binary_path(own_path as *const std::ffi::c_void)
}

/// Returns the file of the loaded binary that contains `address`.
#[cfg(unix)]
fn binary_path(address: *const std::ffi::c_void) -> Option<PathBuf> {
    use std::os::unix::ffi::OsStrExt;

    let own = binary_at(address)?;
    // Linux names the main program as the command line does: without a folder if the shell found it through PATH.
    #[cfg(target_os = "linux")]
    if is_main_program(&own) {
        return std::env::current_exe().ok();
    }
    // SAFETY: dladdr returned this string, which lives while the binary is loaded, hence while this code runs.
    let name = unsafe { std::ffi::CStr::from_ptr(own.dli_fname) };
    Path::new(std::ffi::OsStr::from_bytes(name.to_bytes())).canonicalize().ok()
}

/// Returns the loaded binary that contains `address`; its name is not null.
#[cfg(unix)]
fn binary_at(address: *const libc::c_void) -> Option<libc::Dl_info> {
    let mut info = std::mem::MaybeUninit::<libc::Dl_info>::zeroed();
    // SAFETY: dladdr only reads the address and writes `info`, for which all bits zero is a valid value.
    let (found, info) = unsafe { (libc::dladdr(address, info.as_mut_ptr()) != 0, info.assume_init()) };
    (found && !info.dli_fname.is_null()).then_some(info)
}

#[cfg(target_os = "linux")]
fn is_main_program(binary: &libc::Dl_info) -> bool {
    // SAFETY: getauxval only reads the process's own values. The program headers are in the main program.
    let headers = unsafe { libc::getauxval(libc::AT_PHDR) };
    binary_at(headers as *const libc::c_void).is_some_and(|main| main.dli_fbase == binary.dli_fbase)
}

/// Returns the file of the loaded binary that contains `address`.
#[cfg(windows)]
fn binary_path(address: *const std::ffi::c_void) -> Option<PathBuf> {
    use std::os::windows::ffi::OsStringExt;
    use windows_sys::Win32::System::LibraryLoader::{
        GET_MODULE_HANDLE_EX_FLAG_FROM_ADDRESS, GET_MODULE_HANDLE_EX_FLAG_UNCHANGED_REFCOUNT,
        GetModuleFileNameW, GetModuleHandleExW,
    };

    let mut module = std::ptr::null_mut();
    let mut name = vec![0_u16; 32_768];
    // SAFETY: the call only looks the address up, and the length is that of the buffer.
    let length = unsafe {
        let flags = GET_MODULE_HANDLE_EX_FLAG_FROM_ADDRESS | GET_MODULE_HANDLE_EX_FLAG_UNCHANGED_REFCOUNT;
        if GetModuleHandleExW(flags, address.cast(), &mut module) == 0 {
            return None;
        }
        GetModuleFileNameW(module, name.as_mut_ptr(), name.len() as u32) as usize
    };
    (length > 0 && length < name.len()).then(|| PathBuf::from(std::ffi::OsString::from_wide(&name[..length])))
}

/// Adds a reference to this binary that is never released, for threads that end with the process.
pub fn prevent_unload() {
    if let Some(path) = own_path()
        // SAFETY: the binary is loaded already, so no initialiser runs.
        && let Ok(this) = unsafe { Library::new(path) }
    {
        std::mem::forget(this);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_folder_is_that_of_the_test_program() {
        let test = std::env::current_exe().unwrap().canonicalize().unwrap();
        assert_eq!(own_folder().as_deref(), test.parent());
    }

    #[cfg(unix)]
    #[test]
    fn own_folder_does_not_depend_on_the_command_line() {
        use std::os::unix::process::CommandExt;

        let planted = tempfile::tempdir().unwrap();
        std::fs::write(planted.path().join("sift"), "").unwrap();
        // The command line of a program that the shell found through PATH.
        let subprocess = std::process::Command::new(std::env::current_exe().unwrap())
            .arg0("sift")
            .args(["--exact", "inference::library::tests::own_folder_is_that_of_the_test_program"])
            .current_dir(planted.path())
            .output()
            .unwrap();
        let output = String::from_utf8_lossy(&subprocess.stdout);
        assert!(subprocess.status.success() && output.contains("1 passed"), "{output}");
    }

    #[test]
    fn library_of_another_file_is_refused_and_both_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let (own, other) = (folder.path().join(LIBRARY), folder.path().join("other.so"));
        std::fs::write(&own, "").unwrap();
        // Windows gives a path in two forms.
        let parent = folder.path().file_name().unwrap();
        let same = folder.path().join("..").join(parent).join(LIBRARY);
        for same in [own.canonicalize().unwrap(), same] {
            assert!(check_is_same_file(&own, Some(same), "1.32.0".into()).is_ok());
        }
        assert!(check_is_same_file(&own, None, "1.32.0".into()).is_ok());
        let problem = check_is_same_file(&own, Some(other.clone()), "1.20.1".into()).unwrap_err().to_string();
        for part in [own.to_str().unwrap(), other.to_str().unwrap(), "version 1.20.1"] {
            assert!(problem.contains(part), "{problem}");
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn library_that_another_plugin_loaded_before_is_not_used() {
        const SUBPROCESS: &str = "SIFT_TEST_SUBPROCESS";
        const NAME: &str = "inference::library::tests::library_that_another_plugin_loaded_before_is_not_used";
        if std::env::var_os(SUBPROCESS).is_none() {
            let exe = std::env::current_exe().unwrap();
            let mut command = std::process::Command::new(exe);
            let output = command.args([NAME, "--exact"]).env(SUBPROCESS, "1").output().unwrap();
            let text = String::from_utf8_lossy(&output.stdout);
            assert!(output.status.success() && text.contains("1 passed"), "{text}");
            return;
        }
        let folder = tempfile::tempdir().unwrap();
        let other = folder.path().join("libonnxruntime.so.1");
        std::fs::copy(library_path().unwrap(), &other).unwrap();
        // SAFETY: this is ONNX Runtime, whose initialisers only prepare its own state.
        let loaded = unsafe {
            use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_NOW};
            Library::open(Some(&other), RTLD_NOW | RTLD_GLOBAL).unwrap()
        };
        environment().unwrap();
        // SAFETY: `environment` has loaded the library.
        let answering = unsafe { AnsweringLibrary::load(&library_path().unwrap()) }.unwrap();
        assert_eq!(answering.file.unwrap(), library_path().unwrap().canonicalize().unwrap());
        loaded.close().unwrap();
    }

    #[test]
    fn bundled_version_is_that_of_the_bundler() {
        let bundler = include_str!("../../../../bundler.toml");
        assert!(bundler.contains(&format!("\nversion = \"{BUNDLED_VERSION}\"\n")));
    }

    #[test]
    fn missing_library_error_has_path_and_remedy() {
        let message = RuntimeError::Missing("/there/libonnxruntime.so".into()).to_string();
        assert!(message.contains("/there/libonnxruntime.so") && message.contains("ORT_DYLIB_PATH"));
    }
}
