//! Installs what a command needs and this machine lacks, and prints what it installs.

pub mod onnxruntime;
pub mod python;
pub mod rust;
pub mod system_packages;
pub mod zig;

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

/// Prints what is installed next, and its purpose.
fn announce(what: &str, purpose: &str) {
    println!("setting up {what}: {purpose}");
}

/// The path at which `folder` is made before it is [renamed](move_into_place), so that an interrupted set-up
/// never looks complete.
fn partial(folder: &Path) -> PathBuf {
    let name = folder.file_name().expect("a folder in the cache has a name").to_string_lossy();
    folder.with_file_name(format!("{name}.partial.{}", std::process::id()))
}

/// Renames `complete` to `folder`. If another process has made `folder` meanwhile, that one is kept.
fn move_into_place(complete: &Path, folder: &Path) -> Result<()> {
    match fs::rename(complete, folder) {
        Err(_) if folder.is_dir() => Ok(()),
        result => result.with_context(|| format!("cannot make {}", folder.display())),
    }
}

/// The SHA-256 of `data`, in lower-case hexadecimal digits.
fn sha256(mut data: impl Read) -> Result<String> {
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match data.read(&mut buffer)? {
            0 => break,
            read => hasher.update(&buffer[..read]),
        }
    }
    Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_of_two_concurrent_set_ups_is_kept() {
        let scratch = tempfile::tempdir().unwrap();
        let (first, second, folder) =
            (scratch.path().join("1"), scratch.path().join("2"), scratch.path().join("ort"));
        for complete in [&first, &second] {
            fs::create_dir(complete).unwrap();
            fs::write(complete.join("library"), complete.display().to_string()).unwrap();
            move_into_place(complete, &folder).unwrap();
        }
        let kept = fs::read_to_string(folder.join("library")).unwrap();
        assert_eq!(kept, first.display().to_string());
    }
}
