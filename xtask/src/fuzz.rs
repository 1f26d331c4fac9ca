//! Has libFuzzer look for bytes that do harm. What they are, and what must hold, is in `tests/fuzz`.

use std::fs;

use anyhow::{Result, bail};

use crate::manifest::Manifest;
use crate::platform::{self, Platform};
use crate::process::Run;
use crate::project;
use crate::setup::{onnxruntime, packages, rust};

/// The programs, and the most bytes that each is handed.
const TARGETS: [(&str, usize); 5] =
    [("manifest", 2048), ("state", 4096), ("query", 1024), ("decoding", 8192), ("partition", 512)];

/// Seconds that a single input may take, and megabytes.
const LIMITS: [&str; 2] = ["-timeout=20", "-rss_limit_mb=3072"];

/// Runs every program for so many minutes, also after one that found something.
///
/// What is found on the way is kept between runs, in the cache, beside what is compiled: with other flags
/// than everything else.
pub fn fuzz(minutes: u64) -> Result<()> {
    packages::ensure(packages::BUILD)?;
    rust::ensure_fuzzer()?;
    let runtime = onnxruntime::ensure(&Manifest::read()?.onnxruntime, &Platform::current()?)?;
    let folder = project::root().join("tests/fuzz");
    let cache = platform::cache()?.join("fuzz");
    let mut fallen = Vec::new();
    for (name, length) in TARGETS {
        let found = cache.join("corpus").join(name);
        fs::create_dir_all(&found)?;
        // The profile with every check on; the compiler is a stable one, which keeps coverage to itself.
        let run = Run::cargo()
            .args(["fuzz", "run", "--dev", "--features", "libfuzzer", "--fuzz-dir"])
            .arg(&folder)
            .arg("--target-dir")
            .arg(cache.join("target"))
            .arg(name)
            .args([found, folder.join("corpus").join(name)])
            .arg("--")
            .args(LIMITS)
            .args([format!("-max_len={length}"), format!("-max_total_time={}", 60 * minutes)])
            .env("RUSTC_BOOTSTRAP", "1")
            .env("ORT_DYLIB_PATH", &runtime.library);
        if let Err(error) = run.run() {
            println!("{name}: {error:#}");
            fallen.push(name);
        }
    }
    if !fallen.is_empty() {
        bail!(
            "{} fell: the bytes lie in tests/fuzz/artifacts. Mend it, and keep them in tests/fuzz/corpus",
            fallen.join(", ")
        );
    }
    Ok(())
}
