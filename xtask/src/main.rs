//! `cargo xtask`: the commands of this repository that `cargo build` does not have.
//!
//! Each command first installs what it needs and does not find (see [`setup`]). A fresh clone needs only Rust
//! and Python.

mod bundle;
mod bundler_config;
mod ci;
mod demo;
mod files;
mod fuzz;
mod install;
mod notices;
mod paths;
mod platform;
mod portability;
mod process;
mod screenshot;
mod setup;
mod test_counts;

use std::process::ExitCode;

use anyhow::{Context, Result, bail};

use crate::bundle::Programs;
use crate::bundler_config::BundlerConfig;
use crate::paths::Profile;
use crate::platform::Platform;
use crate::process::ToolCommand;
use crate::setup::onnxruntime;

const HELP: &str = "\
cargo xtask COMMAND

  bundle [--release]   build Sift.vst3 and Sift.clap with ONNX Runtime, in target/bundled/debug or release
  install              build release bundles and copy them to your VST3 and CLAP folders
  demo                 separate assets/demo with the CLAP; results in target/demo
  test [--full]        what CI runs: format, lints, licences, all tests, the bundles in hosts;
                       --full: also an hour of sound, minutes of random calls, and the release bundles
  fuzz [--minutes M]   run each fuzz target of tests/fuzz for M minutes (20)
  bench [--minutes M]  measure time, latency, memory and sizes; M minutes (1) of live playing, twice
  screenshot           write pictures of the window to assets/screenshots, from a virtual display
  help                 print this text

A command installs what it needs and does not find, and prints what it installs: system packages by
apt-get (by sudo if you are not root), cargo-deny and cargo-fuzz by cargo, and ONNX Runtime, Zig and Python
packages by pip into $SIFT_CACHE (default: $XDG_CACHE_HOME/sift or ~/.cache/sift).
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match command(&arguments) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn command(arguments: &[String]) -> Result<ExitCode> {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["bundle"] => drop(bundle::bundle(Profile::Dev, Programs::Distributed)?),
        ["bundle", "--release"] => drop(bundle::bundle(Profile::Release, Programs::Distributed)?),
        ["install"] => install::install(&bundle::bundle(Profile::Release, Programs::Distributed)?)?,
        ["demo"] => demo::demo()?,
        ["test"] => return Ok(test(false)),
        ["test", "--full"] => return Ok(test(true)),
        ["fuzz"] => fuzz::fuzz(20)?,
        ["fuzz", "--minutes", minutes] => {
            let minutes =
                minutes.parse().with_context(|| format!("--minutes {minutes}: expected a whole number"))?;
            fuzz::fuzz(minutes)?;
        }
        ["bench"] => bench(&[])?,
        ["bench", "--minutes", minutes] => bench(&["--minutes", minutes])?,
        ["screenshot"] => screenshot::screenshot()?,
        [] | ["help" | "--help" | "-h"] => print!("{HELP}"),
        _ => bail!("cargo xtask {}: unknown command; expected one of these.\n\n{HELP}", words.join(" ")),
    }
    Ok(ExitCode::SUCCESS)
}

/// Runs CI's steps. A failure is not an error here, because the line with the counts must be the last and an
/// error message would follow it.
fn test(full: bool) -> ExitCode {
    if ci::run(full) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Measures the engine's components by criterion, then the bundled plugin and the command line.
fn bench(arguments: &[&str]) -> Result<()> {
    let bundles = bundle::bundle(Profile::Release, Programs::Named(&["bench", "sift"]))?;
    let runtime = onnxruntime::ensure(&BundlerConfig::read()?.onnxruntime, &Platform::current()?)?;
    ToolCommand::cargo()
        .args(["bench", "--package", "sift-engine", "--bench", "components"])
        .env("ORT_DYLIB_PATH", &runtime.library)
        .run()?;
    ToolCommand::new(paths::program(Profile::Release, "bench"))
        .arg("--plugin")
        .arg(&bundles.clap)
        .arg("--program")
        .arg(paths::program(Profile::Release, "sift"))
        .args(arguments)
        .run()
}
