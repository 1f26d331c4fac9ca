//! Inputs: files, or standard input.

use std::ffi::OsStr;
use std::fs;
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow, ensure};
use symphonia::core::io::ReadOnlySource;

use crate::audio_reader::AudioReader;

/// Standard input as an argument.
const STANDARD_INPUT: &str = "-";

/// An input.
#[derive(Clone, Debug, PartialEq)]
pub enum Input {
    File(PathBuf),
    StandardInput,
}

impl From<&Path> for Input {
    fn from(argument: &Path) -> Self {
        match argument == Path::new(STANDARD_INPUT) {
            true => Self::StandardInput,
            false => Self::File(argument.to_owned()),
        }
    }
}

impl Input {
    /// The name in messages.
    pub fn name(&self) -> &Path {
        match self {
            Self::File(path) => path,
            Self::StandardInput => Path::new("standard input"),
        }
    }

    /// The path of the file.
    pub fn path(&self) -> Option<&Path> {
        match self {
            Self::File(path) => Some(path),
            Self::StandardInput => None,
        }
    }

    /// The name that an output's name begins with, without ending.
    pub fn stem(&self) -> &OsStr {
        match self {
            Self::File(path) => path.file_stem().unwrap_or(OsStr::new("output")),
            Self::StandardInput => OsStr::new("stdin"),
        }
    }

    /// The folder of the file; the current one for standard input.
    pub fn folder(&self) -> &Path {
        match self {
            Self::File(path) => path.parent().unwrap_or(Path::new("")),
            Self::StandardInput => Path::new(""),
        }
    }

    /// Checks that there is something to read, before any work.
    ///
    /// # Errors
    /// If the file does not exist, or standard input is a terminal.
    pub fn check(&self) -> Result<()> {
        let name = self.name().display();
        match self {
            Self::File(path) => {
                let explain = |error| match missing_file_hint(&path.to_string_lossy()) {
                    Some(hint) => anyhow!("{name}: {hint}"),
                    None => anyhow!("{name}: cannot be opened: {error}"),
                };
                fs::metadata(path).map(drop).map_err(explain)
            }
            Self::StandardInput => {
                ensure!(
                    !io::stdin().is_terminal(),
                    "{name}: is a terminal; expected audio. Redirect a file or a pipe to it"
                );
                Ok(())
            }
        }
    }

    /// Opens the input and decodes its first block.
    ///
    /// # Errors
    /// The errors of [`AudioReader::open`].
    pub fn open(&self) -> Result<AudioReader> {
        match self {
            Self::File(path) => AudioReader::open(path),
            Self::StandardInput => AudioReader::read(Box::new(ReadOnlySource::new(io::stdin())), self.name()),
        }
    }
}

/// The problem and the remedy if there is no file of this name, but the name shows what was meant.
fn missing_file_hint(name: &str) -> Option<&'static str> {
    let scheme = name.split_once("://").map(|(scheme, _)| scheme);
    match scheme {
        Some("file") => Some("is an address; expected a path, such as /home/me/song.wav. Give the path"),
        Some(scheme) if scheme.chars().all(char::is_alphanumeric) => {
            Some("is an address; expected a file. Download it first")
        }
        _ if name.starts_with('~') => {
            Some("the shell did not replace ~ by your folder. Write ~ without quotation marks")
        }
        _ if name.contains(['*', '?']) => Some("no file matches this pattern. Give the names of files"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(argument: &str) -> String {
        format!("{:#}", Input::from(Path::new(argument)).check().unwrap_err())
    }

    #[test]
    fn missing_file_is_named() {
        assert!(refusal("none/missing.wav").contains("none/missing.wav: cannot be opened"));
        assert!(refusal("[1] {2}.wav").contains("cannot be opened"));
    }

    #[test]
    fn name_that_is_no_path_has_a_hint() {
        for (name, hint) in [
            ("https://example.org/a.wav", "Download it first"),
            ("FTP://example.org/a.wav", "Download it first"),
            ("file:///home/me/my%20song.wav", "Give the path"),
            ("~/song.wav", "without quotation marks"),
            ("*.wav", "no file matches"),
            ("take?.wav", "no file matches"),
        ] {
            let message = refusal(name);
            assert!(message.starts_with(name) && message.contains(hint), "{message}");
        }
    }

    #[test]
    fn file_whose_name_looks_like_a_pattern_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("~what [1]{2}#.wav");
        fs::write(&path, "").unwrap();
        Input::from(&*path).check().unwrap();
    }
}
