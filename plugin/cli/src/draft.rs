//! Files that appear under their name only when they are whole.

use std::fs::{self, File, OpenOptions};
use std::io::{BufWriter, ErrorKind};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use image::{ImageFormat, RgbImage};

/// A file being written under a temporary name beside its target. Dropped unpublished, it leaves
/// nothing behind.
pub struct Draft {
    target: PathBuf,
    temporary: PathBuf,
    file: File,
}

impl Draft {
    /// Starts a draft of `target`, which is not touched.
    ///
    /// # Errors
    /// When `target` is not the name of a file, or its folder cannot be written to.
    pub fn create(target: &Path) -> Result<Self> {
        let name = target.display();
        // Where a link leads is replaced, not the link.
        let target = target.canonicalize().unwrap_or_else(|_| target.to_owned());
        if let Ok(existing) = fs::metadata(&target) {
            ensure!(existing.is_file(), "{name} is not a file. Name another output");
        }
        let folder = match target.parent() {
            Some(folder) if folder.as_os_str().is_empty() => Path::new("."),
            Some(folder) => folder,
            None => Path::new("."),
        };
        ensure!(
            folder.is_dir(),
            "{name} cannot be written: there is no folder {}. Create it",
            folder.display()
        );
        for attempt in 0.. {
            let temporary = folder.join(format!(".sift-{}-{attempt}.part", std::process::id()));
            match OpenOptions::new().write(true).read(true).create_new(true).open(&temporary) {
                Ok(file) => return Ok(Self { target, temporary, file }),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => {
                    bail!("{name} cannot be written: {error}. Choose a folder that you may write to")
                }
            }
        }
        unreachable!("every name of a temporary file is taken")
    }

    /// Where the file will be.
    pub fn target(&self) -> &Path {
        &self.target
    }

    /// Writes a picture as the whole of the file.
    pub fn write_png(&self, picture: &RgbImage) -> Result<()> {
        let failed = || format!("{} cannot be written", self.target.display());
        let mut file = BufWriter::new(self.file()?);
        picture.write_to(&mut file, ImageFormat::Png).with_context(failed)?;
        file.into_inner().map(drop).with_context(failed)
    }

    /// A handle to write by.
    pub fn file(&self) -> Result<File> {
        self.file.try_clone().with_context(|| format!("{} cannot be written", self.target.display()))
    }

    /// Puts the file in its place, replacing what was there.
    pub fn publish(self) -> Result<()> {
        self.file
            .sync_all()
            .and_then(|()| fs::rename(&self.temporary, &self.target))
            .with_context(|| format!("{} cannot be written", self.target.display()))
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        // Gone already where it was published.
        let _ = fs::remove_file(&self.temporary);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::wav::tests::Folder;

    #[test]
    fn a_published_draft_replaces_the_target_and_leaves_nothing_else() {
        let folder = Folder::new();
        let target = folder.path("out.wav");
        fs::write(&target, "old").unwrap();
        let draft = Draft::create(&target).unwrap();
        draft.file().unwrap().write_all(b"new").unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"old");
        draft.publish().unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"new");
        assert_eq!(folder.names(), ["out.wav"]);
    }

    #[test]
    fn a_dropped_draft_leaves_no_trace() {
        let folder = Folder::new();
        let draft = Draft::create(&folder.path("out.wav")).unwrap();
        draft.file().unwrap().write_all(b"half").unwrap();
        drop(draft);
        assert!(folder.names().is_empty());
    }

    #[test]
    fn two_drafts_in_one_folder_do_not_meet() {
        let folder = Folder::new();
        let drafts = ["a", "b"].map(|name| Draft::create(&folder.path(name)).unwrap());
        drafts.into_iter().for_each(|draft| draft.publish().unwrap());
        assert_eq!(folder.names(), ["a", "b"]);
    }

    #[test]
    fn a_target_that_cannot_be_is_named() {
        let folder = Folder::new();
        let message = format!("{:#}", Draft::create(folder.root()).err().unwrap());
        assert!(message.contains("is not a file"), "{message}");
        let message = format!("{:#}", Draft::create(&folder.path("none/out.wav")).err().unwrap());
        assert!(message.contains("there is no folder") && message.contains("none"), "{message}");
    }
}
