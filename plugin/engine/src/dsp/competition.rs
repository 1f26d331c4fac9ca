//! Competition of two masks for each bin.

use realfft::num_complex::Complex32;

/// Bounds within which a gain counts in the competition: a mask can be surer than it is right.
const BOUNDS: (f32, f32) = (0.01, 0.99);

/// Lowers the gains of `mask` where those of `rest` are high, and raises them where they are low.
///
/// For gains within the bounds, logit m = (1 − w/2) logit g − (w/2) logit h with the weight w from 0 to 1: a weight of 1
/// is the mean of g and 1 − h in logits, a weight of 0 leaves the mask as it is, bit for bit. Gains outside of [0, 1), and
/// gains that are not finite, do not change. Of complex gains, the absolute value competes.
pub fn compete(mask: &mut [Complex32], rest: &[Complex32], weight: f32) {
    if weight <= 0.0 {
        return;
    }
    for (gain, other) in mask.iter_mut().zip(rest) {
        let (size, other) = (absolute(*gain), absolute(*other));
        if size > 0.0 && size < 1.0 && other.is_finite() {
            *gain *= compete_gain(size, other, weight) / size;
        }
    }
}

/// The absolute value of a complex gain; a real gain as it is.
fn absolute(gain: Complex32) -> f32 {
    if gain.im == 0.0 { gain.re } else { gain.norm() }
}

/// Returns the gain for `gain` in (0, 1) beside the gain `rest` of the rest.
fn compete_gain(gain: f32, rest: f32, weight: f32) -> f32 {
    let bounded_odds = |gain: f32| odds(gain.clamp(BOUNDS.0, BOUNDS.1));
    let result = odds(gain) * (bounded_odds(gain) * bounded_odds(rest)).powf(-weight / 2.0);
    result / (1.0 + result)
}

fn odds(gain: f32) -> f32 {
    gain / (1.0 - gain)
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    fn logit(gain: f32) -> f32 {
        odds(gain).ln()
    }

    fn compete_one(gain: f32, rest: f32, weight: f32) -> f32 {
        let mut mask = [Complex32::new(gain, 0.0)];
        compete(&mut mask, &[Complex32::new(rest, 0.0)], weight);
        mask[0].re
    }

    #[test]
    fn weights_are_those_of_a_mean_of_logits() {
        for (gain, rest, weight) in [(0.3, 0.6, 1.0), (0.9, 0.2, 0.6), (0.05, 0.97, 0.25)] {
            let expected = (1.0 - weight / 2.0) * logit(gain) - weight / 2.0 * logit(rest);
            assert!((logit(compete_one(gain, rest, weight)) - expected).abs() < 1e-4);
        }
    }

    #[test]
    fn weight_of_zero_keeps_every_bit_and_small_ones_hardly_change() {
        for gain in [0.0, 1e-6, 0.3, 0.999_999, 1.0, 3.5, f32::INFINITY] {
            assert_eq!(compete_one(gain, 0.7, 0.0).to_bits(), gain.to_bits());
            assert!(
                compete_one(gain, 0.7, 1e-6) == gain
                    || (compete_one(gain, 0.7, 1e-6) / gain - 1.0).abs() < 1e-4
            );
        }
    }

    #[test]
    fn gains_outside_the_unit_interval_do_not_change() {
        for gain in [0.0, 1.0, 2.0, -0.5, f32::INFINITY] {
            assert_eq!(compete_one(gain, 0.9, 1.0), gain);
        }
        assert!(compete_one(f32::NAN, 0.9, 1.0).is_nan());
        assert_eq!(compete_one(0.5, f32::NAN, 1.0), 0.5);
    }

    #[test]
    fn absolute_value_of_a_complex_gain_competes() {
        let mut mask = [Complex32::new(0.0, 0.3)];
        compete(&mut mask, &[Complex32::new(0.0, -0.6)], 1.0);
        assert_eq!(mask[0].re, 0.0);
        assert!((mask[0].im - compete_one(0.3, 0.6, 1.0)).abs() < 1e-6);
    }

    /// Gains that the tests of the training share.
    #[derive(Deserialize)]
    struct Case {
        weight: f32,
        wanted: Vec<f32>,
        rest: Vec<f32>,
        expected: Vec<f32>,
    }

    #[test]
    fn gains_are_those_of_the_shared_cases() {
        let json = include_str!("../../../../tests/cases/rest.json");
        let all: serde_json::Value = serde_json::from_str(json).unwrap();
        let cases: Vec<Case> = serde_json::from_value(all["competition"].clone()).unwrap();
        assert!(!cases.is_empty());
        for Case { weight, wanted, rest, expected } in cases {
            for ((gain, other), expected) in wanted.into_iter().zip(rest).zip(expected) {
                let found = compete_one(gain, other, weight);
                assert!(
                    (found - expected).abs() < 1e-5,
                    "{gain} beside {other} by {weight}: {found}, not {expected}"
                );
            }
        }
    }
}
