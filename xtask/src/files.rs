//! File operations that make parent folders and never write into a file that is in use.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// Replaces `to` with the file or folder that `make` writes to the path it receives.
///
/// The old file is removed, not overwritten: a host may have it loaded. If `make` fails, `to` is unchanged.
pub fn replace(to: &Path, make: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let new = hidden_sibling(to, "new");
    let old = hidden_sibling(to, "old");
    for left_over in [&new, &old] {
        remove(left_over)?;
    }
    make(&new)?;
    // A rename replaces a file, but not a folder with files in it.
    if to.is_dir() {
        fs::rename(to, &old)
            .with_context(|| format!("cannot rename {} to {}", to.display(), old.display()))?;
    }
    fs::rename(&new, to).with_context(|| format!("cannot rename {} to {}", new.display(), to.display()))?;
    remove(&old)
}

/// Copies a file or folder. Makes parent folders.
pub fn copy(from: &Path, to: &Path) -> Result<()> {
    if from.is_dir() {
        for entry in fs::read_dir(from).with_context(|| format!("cannot read {}", from.display()))? {
            let entry = entry?;
            copy(&entry.path(), &to.join(entry.file_name()))?;
        }
        return Ok(());
    }
    make_parent(to)?;
    fs::copy(from, to).with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))?;
    Ok(())
}

/// Writes a text file. Makes parent folders.
pub fn write(to: &Path, text: &str) -> Result<()> {
    make_parent(to)?;
    fs::write(to, text).with_context(|| format!("cannot write {}", to.display()))
}

fn make_parent(path: &Path) -> Result<()> {
    let parent = path.parent().expect("a file has a folder");
    fs::create_dir_all(parent).with_context(|| format!("cannot make {}", parent.display()))
}

/// A path beside `path` that hosts do not scan: hidden, and with another extension.
fn hidden_sibling(path: &Path, extension: &str) -> PathBuf {
    let name = path.file_name().expect("the path has a file name").to_string_lossy();
    path.with_file_name(format!(".{name}.{extension}"))
}

fn remove(path: &Path) -> Result<()> {
    let result = if path.is_dir() {
        fs::remove_dir_all(path)
    } else if path.exists() {
        fs::remove_file(path)
    } else {
        Ok(())
    };
    result.with_context(|| format!("cannot remove {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replace_keeps_the_old_file_when_making_fails() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        write(&path, "old").unwrap();
        replace(&path, |_| anyhow::bail!("no")).unwrap_err();
        assert_eq!(fs::read_to_string(&path).unwrap(), "old");
    }

    #[test]
    fn replace_of_a_folder_removes_its_old_files() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bundle");
        write(&path.join("old"), "").unwrap();
        replace(&path, |new| write(&new.join("new"), "")).unwrap();
        assert!(path.join("new").is_file());
        assert!(!path.join("old").exists());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no temporary folder is left");
    }
}
