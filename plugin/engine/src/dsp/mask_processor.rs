//! Smoothing, sharpness and floor: from the separator's mask to the gain of each host bin.

use realfft::num_complex::Complex32;

use crate::dsp::grid::{self, Grid};

/// Largest magnitude of a gain, linear (+40 dB).
///
/// Masks of separators rarely exceed 1. With a gain above this limit the output could overflow.
pub const MAX_GAIN: f32 = 100.0;

/// Returns whether `gain` is finite and at most [`MAX_GAIN`].
pub fn is_valid_gain(gain: Complex32) -> bool {
    // False for NaN, and if the square overflows.
    gain.norm_sqr() <= MAX_GAIN * MAX_GAIN
}

/// Returns `gain` with a magnitude of at most [`MAX_GAIN`], or 0 if it is not finite.
fn limit_gain(gain: Complex32) -> Complex32 {
    if is_valid_gain(gain) {
        return gain;
    }
    let limited = gain * (MAX_GAIN / gain.norm());
    if limited.is_finite() { limited } else { Complex32::ZERO }
}

/// Settings that shape the mask before it is applied.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MaskShaping {
    /// Exponent of the mask's magnitude, 0.5 to 4.
    pub sharpness: f32,
    /// Smallest gain, linear.
    pub floor: f32,
    /// Time constant of the smoothing over frames, in seconds.
    pub smoothing: f32,
}

impl Default for MaskShaping {
    /// The separator's mask unchanged, with a floor of −80 dB.
    fn default() -> Self {
        Self { sharpness: 1.0, floor: 1e-4, smoothing: 0.0 }
    }
}

/// The current mask, and the gain per host bin made from it.
pub struct MaskProcessor {
    /// Smoothed mask on the model's grid, of valid gains.
    mask: Vec<Complex32>,
    /// Shaped gain on the host's grid.
    gain: Vec<Complex32>,
    hop_seconds: f32,
    /// Whether `mask` belongs to this stream.
    held: bool,
}

impl MaskProcessor {
    /// Creates a processor for the bins of `grid`. Not real-time safe.
    pub fn new(grid: &Grid) -> Self {
        Self {
            mask: vec![Complex32::ZERO; grid.model_bins],
            gain: vec![Complex32::ZERO; grid.bins()],
            hop_seconds: grid.hop_seconds() as f32,
            held: false,
        }
    }

    /// Updates the smoothed mask with that of the next frame, `model_bins` long. Real-time safe.
    ///
    /// Gains are limited to [`MAX_GAIN`]; those that are not finite become 0.
    pub fn update(&mut self, mask: &[Complex32], shape: &MaskShaping) {
        // One-pole smoothing: the weight of the old mask after one hop.
        let keep = match self.held && shape.smoothing > 0.0 {
            true => (-self.hop_seconds / shape.smoothing).exp(),
            false => 0.0,
        };
        for (smoothed, new) in self.mask.iter_mut().zip(mask) {
            let new = limit_gain(*new);
            *smoothed = new + (*smoothed - new) * keep;
        }
        self.held = true;
    }

    /// Whether there is a mask of this stream that concealment can hold. Real-time safe.
    pub fn is_held(&self) -> bool {
        self.held
    }

    /// Starts a new stream, without a mask. Real-time safe.
    pub fn clear(&mut self) {
        self.mask.fill(Complex32::ZERO);
        self.held = false;
    }

    /// Returns the shaped gain of each host bin, at most [`MAX_GAIN`]. Real-time safe.
    pub fn gain(&mut self, shape: &MaskShaping) -> &[Complex32] {
        grid::write_host_gain(&self.mask, &mut self.gain);
        let floor_power = shape.floor * shape.floor;
        for gain in &mut self.gain {
            // The common case needs no square root.
            if shape.sharpness == 1.0 && gain.norm_sqr() >= floor_power {
                continue;
            }
            let size = gain.norm();
            let shaped = size.powf(shape.sharpness).max(shape.floor).min(MAX_GAIN);
            *gain = if size > 0.0 { *gain * (shaped / size) } else { Complex32::new(shaped, 0.0) };
        }
        &self.gain
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dsp::grid::SpectrogramFormat;
    use crate::dsp::stft::WindowFunction;

    fn processor() -> MaskProcessor {
        let audio =
            SpectrogramFormat { sample_rate: 32_000, n_fft: 64, hop: 32, window: WindowFunction::SqrtHann };
        MaskProcessor::new(&Grid::new(&audio, 32_000.0))
    }

    fn real(value: f32) -> Vec<Complex32> {
        vec![Complex32::new(value, 0.0); 33]
    }

    #[test]
    fn sharpness_is_exponent_of_magnitude_and_keeps_phase() {
        let mut processor = processor();
        let shape = MaskShaping { sharpness: 2.0, ..MaskShaping::default() };
        processor.update(&[Complex32::new(0.0, 0.5); 33], &shape);
        assert!((processor.gain(&shape)[3] - Complex32::new(0.0, 0.25)).norm() < 1e-6);
    }

    #[test]
    fn gain_is_never_below_floor() {
        let mut processor = processor();
        let shape = MaskShaping { floor: 0.1, ..MaskShaping::default() };
        processor.update(&real(0.0), &shape);
        assert!(processor.gain(&shape).iter().all(|gain| gain.re == 0.1));
    }

    #[test]
    fn gain_is_never_above_its_limit() {
        for sharpness in [0.5, 1.0, 4.0] {
            let shape = MaskShaping { sharpness, ..MaskShaping::default() };
            for size in [99.0, 101.0, 1e10, 1e30, f32::MAX] {
                let mut processor = processor();
                processor.update(&[Complex32::new(0.6 * size, -0.8 * size); 33], &shape);
                for gain in processor.gain(&shape) {
                    assert!(gain.norm() <= MAX_GAIN * 1.001, "{size}, {sharpness}: {gain}");
                    assert!((gain / gain.norm() - Complex32::new(0.6, -0.8)).norm() < 1e-3, "{gain}");
                }
            }
        }
    }

    #[test]
    fn gains_up_to_the_limit_keep_their_bits() {
        let mut processor = processor();
        let gains: Vec<_> = (0..33).map(|bin| Complex32::new(3.0 * bin as f32, -0.3 * bin as f32)).collect();
        let shape = MaskShaping { floor: 0.0, ..MaskShaping::default() };
        processor.update(&gains, &shape);
        assert_eq!(processor.gain(&shape), gains);
    }

    #[test]
    fn mask_that_is_not_finite_does_not_stay() {
        let shape = MaskShaping { smoothing: 0.1, ..MaskShaping::default() };
        for invalid in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut processor = processor();
            processor.update(&real(invalid), &shape);
            assert!(processor.gain(&shape).iter().all(|gain| gain.is_finite()));
            processor.clear();
            processor.update(&real(0.5), &shape);
            assert!(processor.gain(&shape).iter().all(|gain| gain.re == 0.5 && gain.im == 0.0));
        }
    }

    #[test]
    fn smoothing_follows_time_constant_after_first_mask() {
        let mut processor = processor();
        let shape = MaskShaping { smoothing: 0.1, ..MaskShaping::default() };
        processor.update(&real(1.0), &shape);
        assert_eq!(processor.gain(&shape)[0].re, 1.0);
        for _ in 0..100 {
            processor.update(&real(0.0), &shape);
        }
        assert!((processor.gain(&shape)[0].re - (-1.0_f32).exp()).abs() < 1e-3);
    }
}
