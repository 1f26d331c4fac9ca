//! `cargo xtask`: everything that one does with this repository beyond `cargo build`.
//!
//! Each command first sets up what it needs and does not find (see [`setup`]), so that it works
//! from a fresh clone where only Rust and Python are installed.

mod bundle;
mod fuzz;
mod install;
mod manifest;
mod notices;
mod platform;
mod process;
mod project;
#[cfg(test)]
mod scratch;
mod screenshot;
mod setup;
mod suite;
mod tally;

use std::process::ExitCode;

use anyhow::{Context, Result, bail};

use crate::bundle::{Bundles, Profile};
use crate::manifest::Manifest;
use crate::platform::Platform;
use crate::process::Run;
use crate::setup::onnxruntime;

const HELP: &str = "\
cargo xtask COMMAND

  bundle [--release]   build target/bundled/Sift.vst3 and Sift.clap, ONNX Runtime included
  install              bundle with --release into your own VST3 and CLAP folders
  demo                 separate assets/demo with the bundled plugin; results in target/demo
  test [--full]        format, lints, every test, the bundles in real hosts: what CI runs; all of it
                       with --full, an hour of sound among it
  fuzz [--minutes M]   hand anything at all to what reads bytes (tests/fuzz), M minutes (20) to each
  bench [--minutes M]  the figures: time, latency, memory, sizes; plays M minutes (1) in real time, twice
  screenshot           draw the window while the demo plays, without a screen, into assets/screenshots
  help                 this text

What a command needs and does not find, it sets up, and says so: packages by apt-get (with sudo
where you are not root), cargo-fuzz by cargo, ONNX Runtime and Python packages by pip into
$SIFT_CACHE (default: $XDG_CACHE_HOME/sift or ~/.cache/sift).
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
        ["bundle"] => drop(bundle::bundle(Profile::Dev)?),
        ["bundle", "--release"] => drop(bundle::bundle(Profile::Release)?),
        ["install"] => install::install(&bundle::bundle(Profile::Release)?)?,
        ["demo"] => demo(&bundle::bundle(Profile::Release)?)?,
        ["test"] => return Ok(suite(false)),
        ["test", "--full"] => return Ok(suite(true)),
        ["fuzz"] => fuzz::fuzz(20)?,
        ["fuzz", "--minutes", minutes] => {
            fuzz::fuzz(minutes.parse().with_context(|| format!("--minutes {minutes}: not a number"))?)?;
        }
        ["bench"] => bench(&bundle::bundle(Profile::Release)?, &[])?,
        ["bench", "--minutes", minutes] => {
            bench(&bundle::bundle(Profile::Release)?, &["--minutes", minutes])?;
        }
        ["screenshot"] => screenshot::screenshot()?,
        [] | ["help" | "--help" | "-h"] => print!("{HELP}"),
        _ => bail!("there is no `cargo xtask {}`\n\n{HELP}", words.join(" ")),
    }
    Ok(ExitCode::SUCCESS)
}

/// A failure is no error here: it has said what failed, and its count is to be the last line.
fn suite(full: bool) -> ExitCode {
    if suite::run(full) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn demo(bundles: &Bundles) -> Result<()> {
    let output = project::target().join("demo");
    Run::new(project::program(Profile::Release, "demo"))
        .arg("--plugin")
        .arg(&bundles.clap)
        .arg("--assets")
        .arg(project::root().join("assets/demo"))
        .arg("--output")
        .arg(&output)
        .run()
}

/// The parts by criterion, and then the whole.
fn bench(bundles: &Bundles, arguments: &[&str]) -> Result<()> {
    let runtime = onnxruntime::ensure(&Manifest::read()?.onnxruntime, &Platform::current()?)?;
    Run::cargo()
        .args(["bench", "--package", "sift-engine", "--bench", "parts"])
        .env("ORT_DYLIB_PATH", &runtime.library)
        .run()?;
    Run::new(project::program(Profile::Release, "bench"))
        .arg("--plugin")
        .arg(&bundles.clap)
        .arg("--program")
        .arg(project::program(Profile::Release, "sift"))
        .args(arguments)
        .run()
}
