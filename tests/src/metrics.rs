//! SI-SDR, levels, and clicks.
//!
//! Signals are mono slices of equal length, aligned sample by sample. Ratios are in dB; they are computed in `f64`
//! and are infinite for a perfect estimate.

use std::time::Duration;

/// Scale-invariant signal-to-distortion ratio of `estimate` against `reference`, in dB.
///
/// `s_target = (⟨ŝ, s⟩ / ‖s‖²) s`, and SI-SDR is `10 log10(‖s_target‖² / ‖s_target − ŝ‖²)`:
/// J. Le Roux, S. Wisdom, H. Erdogan, J. R. Hershey, "SDR – half-baked or well done?", ICASSP 2019,
/// equation 3.
///
/// # Panics
/// If the lengths differ.
pub fn si_sdr(estimate: &[f32], reference: &[f32]) -> f64 {
    let scale = dot(estimate, reference) / energy(reference);
    let distortion: f64 =
        pairs(estimate, reference).map(|(estimate, reference)| (scale * reference - estimate).powi(2)).sum();
    decibels_of_power(scale * scale * energy(reference) / distortion)
}

/// RMS level in dBFS: a full-scale sine wave is at 0 dBFS (AES17-2020, section 3.12).
pub fn level_dbfs(signal: &[f32]) -> f64 {
    decibels_of_power(2.0 * energy(signal) / signal.len() as f64)
}

/// Largest absolute sample value.
pub fn peak(signal: &[f32]) -> f32 {
    signal.iter().fold(0.0, |peak, sample| peak.max(sample.abs()))
}

/// Largest absolute difference of two signals; NaN if any difference is NaN.
///
/// # Panics
/// If the lengths differ.
pub fn largest_difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len(), "the signals differ in length");
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, |largest, difference| {
        if difference.is_nan() || difference > largest { difference } else { largest }
    })
}

/// Largest difference between neighbouring samples: a click, where the signal itself is smooth.
///
/// A sine of amplitude *a* and frequency *f* at the rate *r* never jumps by more than `2π·a·f/r`.
pub fn largest_jump(signal: &[f32]) -> f32 {
    signal.windows(2).fold(0.0, |largest, pair| largest.max((pair[1] - pair[0]).abs()))
}

fn pairs<'a>(a: &'a [f32], b: &'a [f32]) -> impl Iterator<Item = (f64, f64)> + 'a {
    assert_eq!(a.len(), b.len(), "the signals differ in length");
    a.iter().zip(b).map(|(&a, &b)| (f64::from(a), f64::from(b)))
}

fn dot(a: &[f32], b: &[f32]) -> f64 {
    pairs(a, b).map(|(a, b)| a * b).sum()
}

fn energy(signal: &[f32]) -> f64 {
    dot(signal, signal)
}

fn decibels_of_power(ratio: f64) -> f64 {
    10.0 * ratio.log10()
}

/// Median of `times`, which are sorted on return.
///
/// # Panics
/// If there are none.
pub fn median(times: &mut [Duration]) -> Duration {
    times.sort();
    times[times.len() / 2]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two orthogonal signals of equal energy.
    const REFERENCE: [f32; 4] = [1.0, -1.0, 1.0, -1.0];
    const NOISE: [f32; 4] = [1.0, 1.0, -1.0, -1.0];

    fn mix(signal: f32, noise: f32) -> Vec<f32> {
        REFERENCE.iter().zip(&NOISE).map(|(s, n)| signal * s + noise * n).collect()
    }

    #[track_caller]
    fn assert_close(value: f64, expected: f64) {
        assert!((value - expected).abs() < 1e-4, "{value} is not {expected}");
    }

    #[test]
    fn si_sdr_is_the_ratio_of_signal_to_noise() {
        assert_close(si_sdr(&mix(1.0, 0.1), &REFERENCE), 20.0);
        assert_close(si_sdr(&mix(1.0, 1.0), &REFERENCE), 0.0);
    }

    #[test]
    fn si_sdr_of_a_scaled_estimate_is_the_same() {
        assert_close(si_sdr(&mix(0.25, 0.025), &REFERENCE), 20.0);
    }

    #[test]
    fn si_sdr_of_the_reference_is_infinite() {
        assert_eq!(si_sdr(&REFERENCE, &REFERENCE), f64::INFINITY);
    }

    #[test]
    fn full_scale_sine_is_at_0_dbfs() {
        let sine: Vec<f32> = (0..48_000).map(|n| (std::f32::consts::TAU * 0.01 * n as f32).sin()).collect();
        assert!(level_dbfs(&sine).abs() < 0.01);
        assert_close(level_dbfs(&[0.5; 8]), -3.0103);
    }

    #[test]
    fn largest_jump_of_a_signal_is_found() {
        assert_eq!(largest_jump(&[0.0, 0.1, 0.2, -0.3, -0.2]), 0.5);
        assert_eq!(largest_jump(&[0.7]), 0.0);
    }

    #[test]
    fn largest_difference_with_a_nan_is_nan() {
        assert!(largest_difference(&[0.0, f32::NAN, 0.0], &[0.0; 3]).is_nan());
        assert_eq!(largest_difference(&[0.0, -2.0, 1.0], &[0.0; 3]), 2.0);
    }
}
