//! What a minimal installation of Rust leaves out.

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

/// Makes `cargo fuzz` work.
pub fn ensure_fuzzer() -> Result<()> {
    if Run::cargo().args(["fuzz", "--version"]).succeeds() {
        return Ok(());
    }
    super::announce("cargo-fuzz", "builds programs for libFuzzer and runs them");
    Run::cargo().args(["install", "--locked", "cargo-fuzz"]).run()
}
