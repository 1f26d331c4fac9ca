//! Reading and writing of small per-user TOML files.

use std::fmt::Display;
use std::fs;
use std::io::{self, Write};
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Largest size of a file, in bytes.
const MAX_BYTES: u64 = 64 << 10;

/// Message of an error in a file, with the remedy.
pub fn fault(path: &Path, fault: impl Display) -> String {
    format!("{}: {fault}. Correct or remove the file", path.display())
}

/// Reads a file; `None` if it is missing.
///
/// # Errors
/// If it cannot be read, is too large, or does not match `T`.
pub fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, String> {
    let size = match fs::metadata(path) {
        Ok(found) => found.len(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(fault(path, error)),
    };
    if size > MAX_BYTES {
        return Err(fault(path, format_args!("has {size} bytes; expected at most {MAX_BYTES}")));
    }
    let text = fs::read_to_string(path).map_err(|error| fault(path, error))?;
    toml::from_str(&text).map(Some).map_err(|error| fault(path, error.to_string().trim_end()))
}

/// Writes a file, and creates its folder. Replaces an existing file only when the new one is complete.
///
/// # Errors
/// If the file cannot be written.
pub fn write(path: &Path, content: &impl Serialize) -> Result<(), String> {
    let write = || -> io::Result<()> {
        fs::create_dir_all(path.parent().unwrap_or(Path::new(".")))?;
        let draft = path.with_extension("part");
        let mut file = fs::File::create(&draft)?;
        file.write_all(toml::to_string_pretty(content).map_err(io::Error::other)?.as_bytes())?;
        file.sync_all()?;
        fs::rename(draft, path)
    };
    write().map_err(|error| format!("{}: {error}. Check that the folder can be written to", path.display()))
}
