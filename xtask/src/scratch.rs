//! Folders for tests.

use std::fs;
use std::path::{Path, PathBuf};

/// An empty folder that goes when the test ends.
pub struct Scratch(PathBuf);

impl Scratch {
    /// `test` tells it from the folders of other tests.
    pub fn new(test: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("sift-xtask-{test}-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Writes a file, and the folders above it; gives its path.
    pub fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
