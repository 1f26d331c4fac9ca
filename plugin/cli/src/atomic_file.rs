//! Files that appear at their path only when they are complete.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow, ensure};
use sift_plot::Picture;
use tempfile::NamedTempFile;

use crate::interruption::{self, UnfinishedEntry};

/// Largest number of links that lead from one to the next.
const MAX_LINKS: usize = 40;

/// The path of an output file, and what to do if it exists.
#[derive(Clone, Debug)]
pub struct OutputTarget {
    pub path: PathBuf,
    /// The options of the command line that select the path.
    pub options: &'static str,
    /// Replace an existing file.
    pub overwrite: bool,
}

impl OutputTarget {
    /// Returns the path that is written: the end of all links, whether there is a file or not.
    ///
    /// # Errors
    /// If the target exists and is not a file or must not be replaced, or cannot exist.
    pub fn check(&self) -> Result<PathBuf> {
        let (name, options) = (self.path.display(), self.options);
        let path = resolve(&self.path);
        let folder = folder(&path);
        ensure!(
            folder.is_dir(),
            "{name}: cannot be written: the folder {} does not exist. Create it, or choose another with {options}",
            folder.display()
        );
        match fs::metadata(&path) {
            Ok(existing) => {
                ensure!(existing.is_file(), "{name}: not a file. Choose another output with {options}");
                ensure!(self.overwrite, self.exists());
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(self.failure(&error)),
        }
        Ok(path)
    }

    fn exists(&self) -> anyhow::Error {
        anyhow!(
            "{}: exists already. Replace it with --overwrite, or choose another output with {}",
            self.path.display(),
            self.options
        )
    }

    /// The error message if the file cannot be written, with the remedy.
    pub fn failure(&self, error: &io::Error) -> anyhow::Error {
        let (name, options) = (self.path.display(), self.options);
        match error.kind() {
            ErrorKind::InvalidFilename => {
                anyhow!("{name}: cannot be written: {error}. Choose another name with {options}")
            }
            ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => anyhow!(
                "{name}: cannot be written: {error}. Choose a folder with write permission with {options}"
            ),
            ErrorKind::FileTooLarge => anyhow!(
                "{name}: larger than the limit for files of this process (`ulimit -f`) or file system. Raise it, or \
                 choose another folder with {options}"
            ),
            _ => anyhow!("{name}: cannot be written: {error}. Choose another output with {options}"),
        }
    }
}

/// The folder that contains `path`.
fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// The path that identifies a file, whether it exists or not. Follows links, also those that lead to no file yet.
pub fn resolve(path: &Path) -> PathBuf {
    if let Ok(path) = path.canonicalize() {
        return path;
    }
    let mut path = path.to_owned();
    for _ in 0..MAX_LINKS {
        let Ok(target) = fs::read_link(&path) else { break };
        path = folder(&path).join(target);
    }
    match (folder(&path).canonicalize(), path.file_name()) {
        (Ok(folder), Some(name)) => folder.join(name),
        _ => path,
    }
}

/// A file that is written under a temporary name and moved to its target at the end.
///
/// The temporary file is in the target's folder. Dropping without [`commit`](Self::commit) deletes it, and so do
/// signals that end the program.
pub struct AtomicFile {
    target: OutputTarget,
    /// The end of the target's links.
    path: PathBuf,
    temporary: NamedTempFile,
    // Dropped after the file.
    _unfinished: UnfinishedEntry,
}

impl AtomicFile {
    /// Creates the temporary file; `target` stays unchanged.
    ///
    /// # Errors
    /// The errors of [`OutputTarget::check`], or if the folder cannot be written to.
    pub fn create(target: &OutputTarget) -> Result<Self> {
        let path = target.check()?;
        let (temporary, unfinished) = interruption::create_unfinished(|| {
            let create = |path: &Path| OpenOptions::new().write(true).read(true).create_new(true).open(path);
            tempfile::Builder::new().prefix(".sift-").suffix(".part").make_in(folder(&path), create)
        })
        .map_err(|error| target.failure(&error))?;
        Ok(Self { target: target.clone(), path, temporary, _unfinished: unfinished })
    }

    /// The target, for messages.
    pub fn target(&self) -> &OutputTarget {
        &self.target
    }

    /// Writes `picture` as PNG.
    pub fn write_png(&self, picture: &Picture) -> Result<()> {
        picture.write_png(self.file()?).map_err(|error| self.target.failure(&error))
    }

    /// A handle of the temporary file.
    pub fn file(&self) -> Result<File> {
        self.temporary.as_file().try_clone().map_err(|error| self.target.failure(&error))
    }

    /// Moves the file to its target.
    ///
    /// # Errors
    /// If the file cannot be moved, or the target appeared since the file was created and must not be replaced.
    pub fn commit(self) -> Result<()> {
        let Self { target, path, temporary, _unfinished } = self;
        temporary.as_file().sync_all().map_err(|error| target.failure(&error))?;
        let outcome = match target.overwrite {
            true => temporary.persist(&path),
            false => match temporary.persist_noclobber(&path) {
                // Some file systems can only replace.
                Err(failed) if !path.exists() => failed.file.persist(&path),
                outcome => outcome,
            },
        };
        outcome.map(drop).map_err(|failed| match !target.overwrite && path.exists() {
            true => target.exists(),
            false => target.failure(&failed.error),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::test_files::{file_names, replacing};

    /// A target that must not be replaced.
    fn keeping(path: &Path) -> OutputTarget {
        OutputTarget { overwrite: false, ..replacing(path) }
    }

    fn refusal(target: &OutputTarget) -> String {
        AtomicFile::create(target).err().unwrap().to_string()
    }

    #[test]
    fn commit_replaces_the_target_and_leaves_no_other_file() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("out.wav");
        fs::write(&target, "old").unwrap();
        let file = AtomicFile::create(&replacing(&target)).unwrap();
        file.file().unwrap().write_all(b"new").unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"old");
        file.commit().unwrap();
        assert_eq!(fs::read(&target).unwrap(), b"new");
        assert_eq!(file_names(folder.path()), ["out.wav"]);
    }

    #[test]
    fn existing_file_is_kept_without_overwrite() {
        let folder = tempfile::tempdir().unwrap();
        let target = keeping(&folder.path().join("out.wav"));
        fs::write(&target.path, "old").unwrap();
        let message = refusal(&target);
        assert!(message.contains("out.wav: exists already"), "{message}");
        assert!(message.contains("--overwrite") && message.contains("--output"), "{message}");

        fs::remove_file(&target.path).unwrap();
        let file = AtomicFile::create(&target).unwrap();
        fs::write(&target.path, "appeared meanwhile").unwrap();
        let message = file.commit().unwrap_err().to_string();
        assert!(message.contains("exists already"), "{message}");
        assert_eq!(fs::read(&target.path).unwrap(), b"appeared meanwhile");
        assert_eq!(file_names(folder.path()), ["out.wav"]);
    }

    #[test]
    fn file_dropped_without_commit_is_deleted() {
        let folder = tempfile::tempdir().unwrap();
        let file = AtomicFile::create(&keeping(&folder.path().join("out.wav"))).unwrap();
        file.file().unwrap().write_all(b"half").unwrap();
        drop(file);
        assert!(file_names(folder.path()).is_empty());
    }

    #[test]
    fn two_files_in_one_folder_do_not_conflict() {
        let folder = tempfile::tempdir().unwrap();
        let files = ["a", "b"].map(|name| AtomicFile::create(&keeping(&folder.path().join(name))).unwrap());
        files.into_iter().for_each(|file| file.commit().unwrap());
        assert_eq!(file_names(folder.path()), ["a", "b"]);
    }

    #[test]
    fn error_names_an_impossible_target() {
        let folder = tempfile::tempdir().unwrap();
        let message = refusal(&replacing(folder.path()));
        assert!(message.contains("not a file"), "{message}");
        let message = refusal(&replacing(&folder.path().join("none/out.wav")));
        assert!(message.contains("does not exist") && message.contains("none"), "{message}");
    }

    #[test]
    fn name_that_is_too_long_is_refused_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let message = refusal(&keeping(&folder.path().join("n".repeat(252) + ".wav")));
        assert!(message.contains("Choose another name with --output"), "{message}");
    }

    // Nobody may create files there, not even root.
    #[cfg(target_os = "linux")]
    #[test]
    fn folder_without_permission_names_the_option() {
        let message = refusal(&keeping(Path::new("/sys/out.wav")));
        assert!(message.starts_with("/sys/out.wav: cannot be written"), "{message}");
        assert!(message.contains("Choose a folder with write permission with --output"), "{message}");
    }

    #[cfg(unix)]
    #[test]
    fn link_stays_and_its_end_is_written() {
        use std::os::unix::fs::symlink;

        let folder = tempfile::tempdir().unwrap();
        let (link, end) = (folder.path().join("link.wav"), folder.path().join("else").join("end.wav"));
        fs::create_dir(folder.path().join("else")).unwrap();
        symlink("middle.wav", &link).unwrap();
        symlink("else/end.wav", folder.path().join("middle.wav")).unwrap();
        for text in ["dangling before", "leads to a file before"] {
            let file = AtomicFile::create(&replacing(&link)).unwrap();
            file.file().unwrap().write_all(text.as_bytes()).unwrap();
            file.commit().unwrap();
            assert!(link.is_symlink() && !end.is_symlink());
            assert_eq!(fs::read(&end).unwrap(), text.as_bytes());
        }
        assert!(refusal(&keeping(&link)).contains("exists already"));
    }
}
