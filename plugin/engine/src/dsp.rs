//! Signal processing: from samples to spectra and back.
//!
//! Independent of networks and threads. Constructors allocate; all other calls are real-time safe,
//! unless their documentation says otherwise.

pub mod analyzer;
pub(crate) mod competition;
pub(crate) mod delay_line;
pub mod grid;
pub mod mask_processor;
pub mod mixer;
pub mod stft;

/// Returns the sample, or 0 if it is NaN, infinite or at least 10⁶.
///
/// The power of such samples could overflow.
pub(crate) fn sanitize(sample: f32) -> f32 {
    if sample.abs() < 1e6 { sample } else { 0.0 }
}
