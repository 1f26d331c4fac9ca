//! Where a person's files lie, by the system's customs; nowhere where there is no home.

use std::env;
use std::path::PathBuf;

/// What a person installs and makes: model packages, sets.
pub fn data() -> Option<PathBuf> {
    own("XDG_DATA_HOME", ".local/share", "Library/Application Support", "APPDATA")
}

/// What a person chooses.
pub fn config() -> Option<PathBuf> {
    own("XDG_CONFIG_HOME", ".config", "Library/Application Support", "APPDATA")
}

/// What this machine can find out again.
pub fn cache() -> Option<PathBuf> {
    own("XDG_CACHE_HOME", ".cache", "Library/Caches", "LOCALAPPDATA")
}

/// Sift's folder in the one that Linux names by `variable` and else has at `usual`, macOS at `macos`
/// (both in the home), and Windows names by `windows`.
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
