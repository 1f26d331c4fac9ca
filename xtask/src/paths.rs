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
    /// Whether binaries of this profile run on older systems than this one: those that are given to others, on Linux.
    pub fn is_portable(self) -> bool {
        cfg!(target_os = "linux") && self == Self::Release
    }

    /// The name of the profile's folder.
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

/// Rust's target triple of portable binaries.
pub const LINUX_TARGET: &str =
    if cfg!(target_arch = "aarch64") { "aarch64-unknown-linux-gnu" } else { "x86_64-unknown-linux-gnu" };

/// The folder of what cargo builds with `profile`.
pub fn output(profile: Profile) -> PathBuf {
    // Cargo gives each target that it is told a folder.
    let folder = if profile.is_portable() { target().join(LINUX_TARGET) } else { target() };
    folder.join(profile.folder())
}

/// The path of a program that cargo builds.
pub fn program(profile: Profile, name: &str) -> PathBuf {
    output(profile).join(format!("{name}{}", std::env::consts::EXE_SUFFIX))
}
