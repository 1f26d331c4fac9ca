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
pub mod spatial_filter;
pub mod stft;

/// Returns the sample, or 0 if it is NaN, infinite, at least 10⁶, or subnormal.
///
/// The power of large samples could overflow. Subnormal ones (below 1.2 · 10⁻³⁸) are slow to compute with, and hosts do not
/// expect them as output.
pub(crate) fn sanitize(sample: f32) -> f32 {
    if sample.abs() < 1e6 && !sample.is_subnormal() { sample } else { 0.0 }
}

#[cfg(test)]
pub(crate) mod test_signals {
    /// Deterministic noise within ±0.5 (xorshift; Marsaglia, 2003).
    pub fn noise(samples: usize) -> Vec<f32> {
        let mut state = 0x2545_f491_u32;
        (0..samples)
            .map(|_| {
                state ^= state << 13;
                state ^= state >> 17;
                state ^= state << 5;
                state as f32 / u32::MAX as f32 - 0.5
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sanitised_samples_are_normal_or_zero() {
        for kept in [0.0, -0.0, 1.0, -1.0, f32::MIN_POSITIVE, -f32::MIN_POSITIVE, 999_999.0] {
            assert_eq!(sanitize(kept).to_bits(), kept.to_bits(), "{kept:e}");
        }
        let subnormal = f32::MIN_POSITIVE / 2.0;
        for flushed in [subnormal, -subnormal, f32::from_bits(1), f32::NAN, f32::INFINITY, 1e6, -1e30] {
            assert_eq!(sanitize(flushed), 0.0, "{flushed:e}");
        }
    }
}
