//! Per-user folders, by the conventions of the system. `None` if the user has no home folder.

use std::env;
use std::path::PathBuf;

/// Folder of installed packages and of query sets.
pub fn data() -> Option<PathBuf> {
    own("XDG_DATA_HOME", ".local/share", "Library/Application Support", "APPDATA")
}

/// Folder of settings.
pub fn config() -> Option<PathBuf> {
    own("XDG_CONFIG_HOME", ".config", "Library/Application Support", "APPDATA")
}

/// Folder of data that can be recreated.
pub fn cache() -> Option<PathBuf> {
    own("XDG_CACHE_HOME", ".cache", "Library/Caches", "LOCALAPPDATA")
}

/// Sift's folder: on Linux in the folder of the environment variable `variable`, by default `usual` in the home folder; on
/// macOS in `macos` in the home folder; on Windows in the folder of the variable `windows`.
fn own(variable: &str, usual: &str, macos: &str, windows: &str) -> Option<PathBuf> {
    let from = |variable: &str| env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute());
    Some(if cfg!(target_os = "windows") {
        from(windows)?.join("Sift")
    } else if cfg!(target_os = "macos") {
        from("HOME")?.join(macos).join("Sift")
    } else {
        from(variable).or_else(|| Some(from("HOME")?.join(usual)))?.join("sift")
    })
}
