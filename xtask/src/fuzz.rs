//! Runs libFuzzer on the fuzz targets of `tests/fuzz`.

use std::fs;

use anyhow::{Result, bail};

use crate::bundler_config::BundlerConfig;
use crate::paths;
use crate::platform::{self, Platform};
use crate::process::ToolCommand;
use crate::setup::{onnxruntime, rust, system_packages};

/// The fuzz targets, each with its largest input in bytes.
const TARGETS: [(&str, usize); 5] =
    [("manifest", 2048), ("state", 4096), ("query", 1024), ("decoding", 8192), ("partition", 512)];

/// Limits of one input: seconds and megabytes.
const LIMITS: [&str; 2] = ["-timeout=20", "-rss_limit_mb=3072"];

/// Runs each target for `minutes`, also after one has failed.
///
/// The cache folder keeps the inputs that libFuzzer finds, and the build, whose compiler flags differ from those
/// of other builds.
pub fn fuzz(minutes: u64) -> Result<()> {
    system_packages::ensure(system_packages::BUILD)?;
    rust::ensure_fuzzer()?;
    let runtime = onnxruntime::ensure(&BundlerConfig::read()?.onnxruntime, &Platform::current()?)?;
    let folder = paths::root().join("tests/fuzz");
    let cache = platform::cache()?.join("fuzz");
    let mut failed = Vec::new();
    for (name, max_bytes) in TARGETS {
        let found = cache.join("corpus").join(name);
        fs::create_dir_all(&found)?;
        // The dev profile has debug assertions. RUSTC_BOOTSTRAP: the flags for coverage are unstable.
        let command = ToolCommand::cargo()
            .args(["fuzz", "run", "--dev", "--features", "libfuzzer", "--fuzz-dir"])
            .arg(&folder)
            .arg("--target-dir")
            .arg(cache.join("target"))
            .arg(name)
            .args([found, folder.join("corpus").join(name)])
            .arg("--")
            .args(LIMITS)
            .args([format!("-max_len={max_bytes}"), format!("-max_total_time={}", 60 * minutes)])
            .env("RUSTC_BOOTSTRAP", "1")
            .env("ORT_DYLIB_PATH", &runtime.library);
        if let Err(error) = command.run() {
            println!("{name}: {error:#}");
            failed.push(name);
        }
    }
    if !failed.is_empty() {
        bail!(
            "fuzz target {} failed: input in tests/fuzz/artifacts. Fix it, and add the input to \
             tests/fuzz/corpus.",
            failed.join(", ")
        );
    }
    Ok(())
}
