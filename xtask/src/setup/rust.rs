//! Components of Rust and programs that cargo installs.

use anyhow::{Result, bail};

use crate::process::{self, ToolCommand};

/// The version that `deny.toml` is written for.
const CARGO_DENY_VERSION: &str = "0.20.2";

/// Ensures that `cargo fmt` and `cargo clippy` work, which a minimal installation of Rust leaves out.
pub fn ensure_lints() -> Result<()> {
    for (command, component) in [("fmt", "rustfmt"), ("clippy", "clippy")] {
        if has_command(command) {
            continue;
        }
        if !process::is_on_path("rustup") {
            bail!("cargo {command}: missing, and there is no rustup to add it. Install {component}.");
        }
        super::announce(component, "checks the code");
        ToolCommand::new("rustup").args(["component", "add", component]).run()?;
    }
    Ok(())
}

/// Ensures that `cargo deny` works.
pub fn ensure_deny() -> Result<()> {
    if has_command("deny") {
        return Ok(());
    }
    super::announce(
        "cargo-deny",
        "checks licences and sources of dependencies; compiles for about two minutes",
    );
    ToolCommand::cargo().args(["install", "--locked", "cargo-deny", "--version", CARGO_DENY_VERSION]).run()
}

/// Ensures that `cargo fuzz` works.
pub fn ensure_fuzzer() -> Result<()> {
    if has_command("fuzz") {
        return Ok(());
    }
    super::announce("cargo-fuzz", "builds and runs the fuzz targets");
    ToolCommand::cargo().args(["install", "--locked", "cargo-fuzz"]).run()
}

/// Whether cargo has the subcommand `name`.
fn has_command(name: &str) -> bool {
    ToolCommand::cargo().args([name, "--version"]).succeeds()
}
