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
        let text = toml::to_string_pretty(content).map_err(io::Error::other)?;
        let folder = path.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(folder)?;
        // The name is unique: another process may write the same file at the same time.
        let mut draft = draft_options().tempfile_in(folder)?;
        draft.write_all(text.as_bytes())?;
        draft.as_file().sync_all()?;
        draft.persist(path)?;
        Ok(())
    };
    write().map_err(|error| format!("{}: {error}. Check that the folder can be written to", path.display()))
}

/// Options of temporary files, with the permissions that new files usually get.
fn draft_options() -> tempfile::Builder<'static, 'static> {
    let mut options = tempfile::Builder::new();
    options.suffix(".part");
    #[cfg(unix)]
    options.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    options
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::thread;

    use super::*;

    const WRITERS: usize = 8;
    const ROUNDS: usize = 50;

    /// Content of a size that differs for each writer.
    fn content(writer: usize) -> BTreeMap<String, usize> {
        (0..=20 * writer).map(|number| (format!("field_{number}"), writer)).collect()
    }

    #[test]
    fn file_is_complete_while_many_write_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("shared.toml");
        write(&path, &content(0)).unwrap();
        thread::scope(|scope| {
            for writer in 0..WRITERS {
                let path = &path;
                scope.spawn(move || {
                    for _ in 0..ROUNDS {
                        write(path, &content(writer)).unwrap();
                        let found: BTreeMap<String, usize> = read(path).unwrap().unwrap();
                        let last = *found.values().next().unwrap();
                        assert_eq!(found, content(last));
                    }
                });
            }
        });
        let names: Vec<_> =
            fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["shared.toml"], "temporary files are left");
    }

    #[cfg(unix)]
    #[test]
    fn file_gets_the_permissions_of_new_files() {
        use std::os::unix::fs::PermissionsExt;

        let folder = tempfile::tempdir().unwrap();
        let mode = |name: &str| fs::metadata(folder.path().join(name)).unwrap().permissions().mode();
        fs::write(folder.path().join("usual"), "").unwrap();
        write(&folder.path().join("written.toml"), &content(0)).unwrap();
        assert_eq!(mode("written.toml"), mode("usual"));
    }
}
