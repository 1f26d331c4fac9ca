//! Parsing of `package.toml`.

use std::path::Path;

use sift_engine::Grid;
use sift_engine::package::{Manifest, PackageInfo};

const RATE: f64 = 48_000.0;
const BLOCK: usize = 512;

/// Most bytes that an engine at 48 kHz may allocate for a package before it has checked its networks.
const MAX_MEMORY: usize = 256 << 20;

/// Parses `bytes` as a manifest.
///
/// # Panics
/// If the error lacks place or remedy, or if the manifest allows files outside its folder or too much memory.
pub fn check(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match PackageInfo::parse(text, Path::new("folder")) {
        Err(error) => {
            let message = error.to_string();
            assert!(message.starts_with("folder/package.toml: "), "{message}");
            let has_remedy = ["install the package again", "needs a newer version of Sift"];
            assert!(has_remedy.iter().any(|remedy| message.ends_with(remedy)), "{message}");
        }
        Ok(PackageInfo { manifest, .. }) => {
            for file in [&manifest.separator.file, &manifest.query.file, &manifest.query.tokenizer] {
                let name = Path::new(file).file_name();
                assert!(
                    name.is_some_and(|name| name == file.as_str()),
                    "{file:?} may lie outside the package's folder"
                );
            }
            let memory = memory(&manifest);
            assert!(
                memory <= MAX_MEMORY,
                "an engine needs {memory} bytes; expected at most {MAX_MEMORY}: {manifest:?}"
            );
        }
    }
}

/// Approximate bytes of a stereo engine: spectra, mask requests, and the frames of a window model.
fn memory(manifest: &Manifest) -> usize {
    let grid = Grid::new(&manifest.audio, RATE);
    let frames = grid.delay_hops(manifest.separator.delay_hops(), BLOCK) + 1;
    let complex = 2 * size_of::<f32>();
    let spectra = 2 * frames * grid.bins() * complex;
    let requests = frames * grid.model_bins * (size_of::<f32>() + complex);
    let window = manifest.separator.context() * grid.model_bins * size_of::<f32>();
    let masks = manifest.separator.advance() * grid.model_bins * complex;
    spectra + requests + window + masks
}
