//! From the separator's mask to the gain of each host bin: smoothing, sharpness, floor.

use realfft::num_complex::Complex32;

use crate::dsp::grid::{self, Grid};

/// How the mask is shaped before it is applied.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MaskShaping {
    /// The power the mask's magnitude is raised to, 0.5 to 4.
    pub sharpness: f32,
    /// The least gain, linear.
    pub floor: f32,
    /// Time constant of the smoothing over frames, in seconds.
    pub smoothing: f32,
}

impl Default for MaskShaping {
    /// The mask as the separator made it, down to −80 dB.
    fn default() -> Self {
        Self { sharpness: 1.0, floor: 1e-4, smoothing: 0.0 }
    }
}

/// The mask in force, and the gain made of it.
pub struct MaskProcessor {
    /// On the model's grid, smoothed.
    mask: Vec<Complex32>,
    /// On the host's grid, shaped.
    gain: Vec<Complex32>,
    hop_seconds: f32,
    /// Whether `mask` holds one of this stream.
    held: bool,
}

impl MaskProcessor {
    /// For masks and gains of the bins of `grid`.
    pub fn new(grid: &Grid) -> Self {
        Self {
            mask: vec![Complex32::ZERO; grid.model_bins],
            gain: vec![Complex32::ZERO; grid.bins()],
            hop_seconds: grid.hop_seconds() as f32,
            held: false,
        }
    }

    /// Takes the mask of the next frame, as many values as the model has bins.
    pub fn update(&mut self, mask: &[Complex32], shape: &MaskShaping) {
        // One pole: the share of the old mask that is left after a hop.
        let keep = match self.held && shape.smoothing > 0.0 {
            true => (-self.hop_seconds / shape.smoothing).exp(),
            false => 0.0,
        };
        for (smoothed, new) in self.mask.iter_mut().zip(mask) {
            *smoothed = *new + (*smoothed - *new) * keep;
        }
        self.held = true;
    }

    /// Whether there is a mask of this stream to hold on to.
    pub fn is_held(&self) -> bool {
        self.held
    }

    /// Begins a new stream.
    pub fn clear(&mut self) {
        self.held = false;
    }

    /// The gain of each host bin, shaped.
    pub fn gain(&mut self, shape: &MaskShaping) -> &[Complex32] {
        grid::to_host(&self.mask, &mut self.gain);
        let least = shape.floor * shape.floor;
        for gain in &mut self.gain {
            // Most bins of most masks: nothing to do.
            if shape.sharpness == 1.0 && gain.norm_sqr() >= least {
                continue;
            }
            let size = gain.norm();
            let shaped = size.powf(shape.sharpness).max(shape.floor);
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

    fn mask() -> MaskProcessor {
        let audio =
            SpectrogramFormat { sample_rate: 32_000, n_fft: 64, hop: 32, window: WindowFunction::SqrtHann };
        MaskProcessor::new(&Grid::new(&audio, 32_000.0))
    }

    fn real(value: f32) -> Vec<Complex32> {
        vec![Complex32::new(value, 0.0); 33]
    }

    #[test]
    fn sharpness_is_a_power_of_the_magnitude_and_keeps_the_phase() {
        let mut mask = mask();
        let shape = MaskShaping { sharpness: 2.0, ..MaskShaping::default() };
        mask.update(&[Complex32::new(0.0, 0.5); 33], &shape);
        assert!((mask.gain(&shape)[3] - Complex32::new(0.0, 0.25)).norm() < 1e-6);
    }

    #[test]
    fn no_gain_is_below_the_floor() {
        let mut mask = mask();
        let shape = MaskShaping { floor: 0.1, ..MaskShaping::default() };
        mask.update(&real(0.0), &shape);
        assert!(mask.gain(&shape).iter().all(|gain| gain.re == 0.1));
    }

    #[test]
    fn smoothing_follows_its_time_constant_from_the_first_mask_on() {
        let mut mask = mask();
        let shape = MaskShaping { smoothing: 0.1, ..MaskShaping::default() };
        mask.update(&real(1.0), &shape);
        assert_eq!(mask.gain(&shape)[0].re, 1.0);
        for _ in 0..100 {
            mask.update(&real(0.0), &shape);
        }
        assert!((mask.gain(&shape)[0].re - (-1.0_f32).exp()).abs() < 1e-3);
    }
}
