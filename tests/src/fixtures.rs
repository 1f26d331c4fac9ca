//! Where the bundles, packages and recordings lie, and the latency to expect of the plugin.

use std::path::{Path, PathBuf};

/// The repository's root.
pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lies in the repository")
}

/// What the programs of this package load and play.
#[derive(clap::Args)]
pub struct Inputs {
    /// The CLAP to load
    #[arg(long, default_value_os_t = repository().join("target/bundled/Sift.clap"))]
    pub plugin: PathBuf,
    /// Folder of mixture.wav and speech.wav
    #[arg(long, default_value_os_t = demo(""))]
    pub assets: PathBuf,
}

/// The bundled CLAP: in the folder `SIFT_BUNDLES`, else in `target/bundled`.
///
/// # Panics
/// If it is not there, with the remedy.
pub fn clap_bundle() -> PathBuf {
    bundled("Sift.clap".as_ref())
}

/// The library within the bundled VST3, likewise.
///
/// # Panics
/// If it is not there, with the remedy.
pub fn vst3_module() -> PathBuf {
    bundled(
        &Path::new("Sift.vst3/Contents").join(format!("{}-linux", std::env::consts::ARCH)).join("Sift.so"),
    )
}

fn bundled(file: &Path) -> PathBuf {
    let folder =
        std::env::var_os("SIFT_BUNDLES").map_or_else(|| repository().join("target/bundled"), PathBuf::from);
    let path = folder.join(file);
    assert!(
        path.exists(),
        "{} is missing: build it with `cargo xtask bundle`, or set SIFT_BUNDLES to the folder that holds it",
        path.display()
    );
    path
}

/// One of the tiny packages of `tests/packages`, which stand in for the default one.
///
/// # Panics
/// If there is none of that name.
pub fn package(name: &str) -> PathBuf {
    let path = repository().join("tests/packages").join(name);
    assert!(path.join("package.toml").exists(), "no package in {}", path.display());
    path
}

/// A file of the demonstration recording.
pub fn demo(file: &str) -> PathBuf {
    repository().join("assets/demo").join(file)
}

/// The word that makes the mask of the package `by-query` 1; without it the mask is 0.
pub const KEPT_WORD: &str = "말소리";

/// The STFT's frame and hop, in samples, at the host's rate (DESIGN, §3), for a model of 1,024 points
/// and a hop of 512 at 32 kHz.
pub fn stft_frame_and_hop(rate: f64) -> (usize, usize) {
    let ratio = rate / 32_000.0;
    let frame = 2 * (1024.0 * ratio / 2.0).round() as usize;
    (frame, (512.0 * ratio).round() as usize)
}

/// The latency in samples that DESIGN, §4, promises for the default model.
pub fn expected_latency(rate: f64, max_block: usize) -> usize {
    let (frame, hop) = stft_frame_and_hop(rate);
    let budget = 0.004 * rate;
    frame + ((max_block as f64 + budget) / hop as f64).ceil() as usize * hop
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latency_of_the_usual_set_ups_is_as_documented() {
        assert_eq!(expected_latency(48_000.0, 512), 2304);
        assert_eq!(expected_latency(48_000.0, 1), 2304);
        assert_eq!(expected_latency(48_000.0, 2048), 3840);
        assert_eq!(expected_latency(32_000.0, 512), 2048);
    }
}
