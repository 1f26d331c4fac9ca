//! Paths in the working copy.

use std::path::{Path, PathBuf};

/// Cargo's build profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    Dev,
    Release,
    /// Compiles fast, and still keeps up with real time.
    Quick,
}

impl Profile {
    /// The profile's folder in the target folder.
    pub fn folder(self) -> &'static str {
        match self {
            Self::Dev => "debug",
            Self::Release => "release",
            Self::Quick => "quick",
        }
    }

    /// The arguments of `cargo build` that select the profile.
    pub fn arguments(self) -> &'static [&'static str] {
        match self {
            Self::Dev => &[],
            Self::Release => &["--release"],
            Self::Quick => &["--profile", "quick"],
        }
    }
}

/// The repository's root folder.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask is a folder in the repository")
}

/// Cargo's output folder.
pub fn target() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(folder) => root().join(folder),
        None => root().join("target"),
    }
}

/// The path of a program that cargo builds.
pub fn program(profile: Profile, name: &str) -> PathBuf {
    target().join(profile.folder()).join(format!("{name}{}", std::env::consts::EXE_SUFFIX))
}
