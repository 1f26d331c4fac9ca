//! The parts of the Rust toolchain that a minimal installation leaves out.

use anyhow::{Result, bail};

use crate::process::{self, Run};

/// Makes `cargo fmt` and `cargo clippy` work.
pub fn ensure_lints() -> Result<()> {
    for (command, component) in [("fmt", "rustfmt"), ("clippy", "clippy")] {
        if Run::cargo().args([command, "--version"]).succeeds() {
            continue;
        }
        if !process::on_path("rustup") {
            bail!("`cargo {command}` is missing, and so is rustup, which would add it: install {component}");
        }
        super::announce(component, "CI checks with it");
        Run::new("rustup").args(["component", "add", component]).run()?;
    }
    Ok(())
}
