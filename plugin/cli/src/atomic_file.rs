//! Files that appear at their path only when they are complete.

use std::fs::{self, File, OpenOptions};
use std::io::{BufWriter, ErrorKind};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use image::{ImageFormat, RgbImage};

/// A file that is written under a temporary name and moved to its target at the end.
///
/// The temporary file is in the target's folder. Dropping without [`commit`](Self::commit) deletes it.
pub struct AtomicFile {
    target: PathBuf,
    temporary: PathBuf,
    file: File,
}

impl AtomicFile {
    /// Creates the temporary file; `target` stays unchanged.
    ///
    /// # Errors
    /// If `target` exists and is not a file, or its folder cannot be written to.
    pub fn create(target: &Path) -> Result<Self> {
        let name = target.display();
        // Replaces the file that a link leads to, not the link.
        let target = target.canonicalize().unwrap_or_else(|_| target.to_owned());
        if let Ok(existing) = fs::metadata(&target) {
            ensure!(existing.is_file(), "{name}: not a file. Choose another output");
        }
        let folder = match target.parent() {
            Some(folder) if folder.as_os_str().is_empty() => Path::new("."),
            Some(folder) => folder,
            None => Path::new("."),
        };
        ensure!(
            folder.is_dir(),
            "{name}: cannot be written: the folder {} does not exist. Create it",
            folder.display()
        );
        for attempt in 0.. {
            let temporary = folder.join(format!(".sift-{}-{attempt}.part", std::process::id()));
            match OpenOptions::new().write(true).read(true).create_new(true).open(&temporary) {
                Ok(file) => return Ok(Self { target, temporary, file }),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => {
                    bail!("{name}: cannot be written: {error}. Choose a folder with write permission")
                }
            }
        }
        unreachable!("all names of temporary files are taken")
    }

    /// The path of the complete file.
    pub fn target(&self) -> &Path {
        &self.target
    }

    /// Writes `image` as PNG.
    pub fn write_png(&self, image: &RgbImage) -> Result<()> {
        let failed = || format!("{}: cannot be written", self.target.display());
        let mut file = BufWriter::new(self.file()?);
        image.write_to(&mut file, ImageFormat::Png).with_context(failed)?;
        file.into_inner().map(drop).with_context(failed)
    }

    /// A handle of the temporary file.
    pub fn file(&self) -> Result<File> {
        self.file.try_clone().with_context(|| format!("{}: cannot be written", self.target.display()))
    }

    /// Moves the file to its target, replacing an existing file.
    pub fn commit(self) -> Result<()> {
        self.file
            .sync_all()
            .and_then(|()| fs::rename(&self.temporary, &self.target))
            .with_context(|| format!("{}: cannot be written", self.target.display()))
    }
}

impl Drop for AtomicFile {
    fn drop(&mut self) {
        // Fails after a commit: the file was moved.
        let _ = fs::remove_file(&self.temporary);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::test_files::file_names;

    #[test]
    fn commit_replaces_the_target_and_leaves_no_other_file() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("out.wav");
        fs::write(&target, "old").unwrap();
        let file = AtomicFile::create(&target).unwrap();
        file.file().unwrap().write_all(b"new").unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"old");
        file.commit().unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"new");
        assert_eq!(file_names(folder.path()), ["out.wav"]);
    }

    #[test]
    fn file_dropped_without_commit_is_deleted() {
        let folder = tempfile::tempdir().unwrap();
        let file = AtomicFile::create(&folder.path().join("out.wav")).unwrap();
        file.file().unwrap().write_all(b"half").unwrap();
        drop(file);
        assert!(file_names(folder.path()).is_empty());
    }

    #[test]
    fn two_files_in_one_folder_do_not_conflict() {
        let folder = tempfile::tempdir().unwrap();
        let files = ["a", "b"].map(|name| AtomicFile::create(&folder.path().join(name)).unwrap());
        files.into_iter().for_each(|file| file.commit().unwrap());
        assert_eq!(file_names(folder.path()), ["a", "b"]);
    }

    #[test]
    fn error_names_an_impossible_target() {
        let folder = tempfile::tempdir().unwrap();
        let message = format!("{:#}", AtomicFile::create(folder.path()).err().unwrap());
        assert!(message.contains("not a file"), "{message}");
        let message = format!("{:#}", AtomicFile::create(&folder.path().join("none/out.wav")).err().unwrap());
        assert!(message.contains("does not exist") && message.contains("none"), "{message}");
    }
}
