//! Zig as a linker, which binds to older versions of glibc than this system's, and the cargo command that uses it.

use std::path::PathBuf;

use anyhow::Result;

use super::python;
use crate::platform;
use crate::process::ToolCommand;

/// Zig and `cargo zigbuild`, in a Python environment.
pub struct Zig {
    python: PathBuf,
    /// Zig's licence: parts of its runtime are linked into what it builds.
    pub licence: PathBuf,
}

impl Zig {
    /// Installs both unless they are there.
    pub fn ensure() -> Result<Self> {
        let purpose = "Zig, which links for older Linux systems than this one; 100 MB";
        let python = python::environment("python-zig", "xtask/requirements.txt", purpose)?;
        let folder =
            ToolCommand::new(&python).args(["-c", "import ziglang; print(ziglang.__path__[0])"]).read()?;
        Ok(Self { licence: PathBuf::from(folder.trim()).join("LICENSE"), python })
    }

    /// `cargo build` for `target`, which is Rust's triple, a dot and the version of glibc.
    pub fn cargo_build(&self, target: &str) -> Result<ToolCommand> {
        let cache = platform::cache()?.join("zig");
        Ok(ToolCommand::new(self.python.with_file_name("cargo-zigbuild"))
            .args(["zigbuild", "--target", target])
            .env("CARGO_ZIGBUILD_PYTHON_PATH", &self.python)
            .env("CARGO_ZIGBUILD_CACHE_DIR", &cache)
            .env("ZIG_GLOBAL_CACHE_DIR", &cache)
            .env("ZIG_LOCAL_CACHE_DIR", &cache))
    }
}
