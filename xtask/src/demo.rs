//! The demo: the CLAP separates the demo recording.
//!
//! It is the first that a newcomer runs, so it compiles only what it runs: the plugin as a CLAP without its window,
//! and the program `demo`.

use anyhow::Result;

use crate::bundle::copy_beside_programs;
use crate::bundler_config::BundlerConfig;
use crate::paths::{self, Profile};
use crate::platform::Platform;
use crate::process::ToolCommand;
use crate::setup::{onnxruntime, system_packages};

/// The packages that the demo is made of, and their features, as arguments of cargo.
pub const SELECTION: [&str; 5] =
    ["--package", "sift-plugin", "--package", "sift-tests", "--no-default-features"];

/// Installs what is missing, builds and runs the demo.
pub fn demo() -> Result<()> {
    system_packages::ensure(system_packages::DEMO)?;
    let config = BundlerConfig::read()?;
    let platform = Platform::current()?;
    let runtime = onnxruntime::ensure(&config.onnxruntime, &platform)?;
    ToolCommand::cargo()
        .arg("build")
        .args(Profile::Quick.arguments())
        .args(SELECTION)
        .args(["--lib", "--bin", "demo"])
        .run()?;
    copy_beside_programs(&runtime, &platform, Profile::Quick)?;

    let output = paths::target();
    ToolCommand::new(paths::program(Profile::Quick, "demo"))
        .arg("--plugin")
        .arg(output.join(Profile::Quick.folder()).join(platform.cdylib(&config.plugin.library)))
        .arg("--assets")
        .arg(paths::root().join("assets/demo"))
        .arg("--output")
        .arg(output.join("demo"))
        .run()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn demo_compiles_no_window_sound_card_decoder_or_bench() {
        let tree = ToolCommand::cargo()
            .args(["tree", "--edges", "normal,build", "--prefix", "none", "--format", "{lib}"])
            .args(SELECTION)
            .read()
            .unwrap();
        let compiled: BTreeSet<&str> = tree.split_whitespace().collect();
        for needed in ["sift_plugin", "sift_engine", "sift_tests", "clack_host"] {
            assert!(compiled.contains(needed), "{needed}");
        }
        for unneeded in ["egui", "x11rb", "cpal", "jack", "vst3", "sift_cli", "symphonia", "criterion"] {
            assert!(!compiled.contains(unneeded), "{unneeded}");
        }
    }
}
