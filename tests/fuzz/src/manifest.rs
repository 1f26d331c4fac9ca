//! `package.toml` of a package that anybody may have made.

use std::path::Path;

use sift_engine::Grid;
use sift_engine::package::{Listing, Manifest};

const RATE: f64 = 48_000.0;
const BLOCK: usize = 512;

/// Bytes that an engine at 48 kHz may hold for a package before it has looked at its networks.
const MEMORY: usize = 256 << 20;

/// # Panics
/// If the manifest that is `bytes` is refused without a place or remedy, or taken though no engine could
/// be made by it.
pub fn check(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match Listing::parse(text, Path::new("folder")) {
        Err(error) => {
            let message = error.to_string();
            assert!(message.starts_with("folder/package.toml: "), "{message}");
            assert!(message.ends_with("install the package again"), "{message}");
        }
        Ok(Listing { manifest, .. }) => {
            for file in [&manifest.separator.file, &manifest.query.file, &manifest.query.tokenizer] {
                let name = Path::new(file).file_name();
                assert!(name.is_some_and(|name| name == file.as_str()), "{file:?} may lie elsewhere");
            }
            let memory = memory(&manifest);
            assert!(memory <= MEMORY, "an engine of {memory} bytes: {manifest:?}");
        }
    }
}

/// About as many bytes as a stereo engine takes: spectra, parcels, and the window of a window model.
fn memory(manifest: &Manifest) -> usize {
    let grid = Grid::new(&manifest.audio, RATE);
    let frames = grid.delay_hops(manifest.separator.delay_hops(), BLOCK) + 1;
    let complex = 2 * size_of::<f32>();
    let spectra = 2 * frames * grid.bins() * complex;
    let parcels = frames * grid.model_bins * (size_of::<f32>() + complex);
    let window = manifest.separator.context() * grid.model_bins * size_of::<f32>();
    let masks = manifest.separator.advance() * grid.model_bins * complex;
    spectra + parcels + window + masks
}
