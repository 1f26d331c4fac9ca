//! Small files of a person's, read with an eye on what is wrong and written whole.

use std::fmt::Display;
use std::fs;
use std::io::{self, Write};
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Largest file that is read, in bytes.
const MAX_BYTES: u64 = 64 << 10;

/// What is wrong with a file, and the remedy.
pub fn fault(path: &Path, fault: impl Display) -> String {
    format!("{}: {fault}. Correct or remove the file", path.display())
}

/// What a file holds; nothing where there is none.
///
/// # Errors
/// What is wrong with the file.
pub fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, String> {
    let size = match fs::metadata(path) {
        Ok(found) => found.len(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(fault(path, error)),
    };
    if size > MAX_BYTES {
        return Err(fault(path, format_args!("has {size} bytes, more than the {MAX_BYTES} allowed")));
    }
    let text = fs::read_to_string(path).map_err(|error| fault(path, error))?;
    toml::from_str(&text).map(Some).map_err(|error| fault(path, error.to_string().trim_end()))
}

/// Writes a file and the folder it lies in. One that is there already is replaced, and only by a
/// whole one.
///
/// # Errors
/// Which file could not be written, and why.
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
