//! Files for the tests of this crate.

use std::path::Path;

use crate::atomic_file::OutputTarget;
use crate::wav::WavFile;

/// A target at `path`, as given by `--output` and `--overwrite`.
pub fn replacing(path: &Path) -> OutputTarget {
    OutputTarget { path: path.to_owned(), options: "--output", overwrite: true }
}

/// The names in `folder`, sorted.
pub fn file_names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Writes `audio`, one vector per channel, as a WAV file.
pub fn write_wav(path: &Path, sample_rate: u32, audio: &[Vec<f32>]) {
    let mut file = WavFile::create(&replacing(path), sample_rate, audio.len()).unwrap();
    file.write(&audio.iter().map(Vec::as_slice).collect::<Vec<_>>()).unwrap();
    file.finish().unwrap().commit().unwrap();
}
