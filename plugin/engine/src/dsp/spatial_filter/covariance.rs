//! Covariances of two channels, of several bins at once.

use std::ops::{Add, Mul, Sub};

use realfft::num_complex::Complex32;
use wide::f32x8;

/// Bins that are computed at once.
pub const LANES: usize = 8;

/// What is added to both variances of a spatial covariance, so that it can be inverted.
const DIFFUSE: f32 = 0.001;

/// Steps of expectation-maximisation a frame.
const STEPS: usize = 2;

/// Powers and amplitudes below this, relative to full scale, are silence.
pub const SILENCE: f32 = 1e-20;

/// A complex number per bin.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ComplexLanes {
    pub re: f32x8,
    pub im: f32x8,
}

impl ComplexLanes {
    /// Takes up to [`LANES`] values; zero beyond the last one.
    pub fn load(values: &[Complex32]) -> Self {
        let (mut re, mut im) = ([0.0; LANES], [0.0; LANES]);
        for ((value, re), im) in values.iter().zip(&mut re).zip(&mut im) {
            (*re, *im) = (value.re, value.im);
        }
        Self { re: re.into(), im: im.into() }
    }

    /// Writes as many values as there is room for.
    pub fn store(self, values: &mut [Complex32]) {
        for ((value, re), im) in values.iter_mut().zip(self.re.to_array()).zip(self.im.to_array()) {
            *value = Complex32::new(re, im);
        }
    }

    pub fn conj(self) -> Self {
        Self { re: self.re, im: -self.im }
    }

    pub fn norm_sqr(self) -> f32x8 {
        self.re * self.re + self.im * self.im
    }

    /// `self` where `choice` is set, `other` elsewhere.
    pub fn select(self, choice: f32x8, other: Self) -> Self {
        Self { re: choice.bitselect(self.re, other.re), im: choice.bitselect(self.im, other.im) }
    }
}

impl Add for ComplexLanes {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { re: self.re + other.re, im: self.im + other.im }
    }
}

impl Sub for ComplexLanes {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self { re: self.re - other.re, im: self.im - other.im }
    }
}

impl Mul for ComplexLanes {
    type Output = Self;

    /// The same bits as `Complex32`'s.
    fn mul(self, other: Self) -> Self {
        Self { re: self.re * other.re - self.im * other.im, im: self.re * other.im + self.im * other.re }
    }
}

impl Mul<f32x8> for ComplexLanes {
    type Output = Self;

    fn mul(self, factor: f32x8) -> Self {
        Self { re: self.re * factor, im: self.im * factor }
    }
}

/// Covariance of two channels: a Hermitian 2 × 2 matrix per bin.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Covariance {
    left: f32x8,
    right: f32x8,
    /// Mean of the left channel times the conjugate of the right one.
    cross: ComplexLanes,
}

impl Covariance {
    /// The covariance of one frame, divided by the fourth root of its power.
    ///
    /// Therefore a loud sound of before counts less against a quiet one of now.
    pub fn levelled([left, right]: [ComplexLanes; 2]) -> Self {
        let covariance = Self { left: left.norm_sqr(), right: right.norm_sqr(), cross: left * right.conj() };
        let power = covariance.trace().fast_max(f32x8::splat(SILENCE));
        covariance * (1.0 / power.sqrt().sqrt())
    }

    fn trace(self) -> f32x8 {
        self.left + self.right
    }

    /// With trace 1, or nearly zero for silence.
    pub fn normalised(self) -> Self {
        self * (1.0 / self.trace().fast_max(f32x8::splat(SILENCE)))
    }

    fn with_diffuse(self) -> Self {
        Self { left: self.left + DIFFUSE, right: self.right + DIFFUSE, ..self }
    }

    fn determinant(self) -> f32x8 {
        self.left * self.right - self.cross.norm_sqr()
    }

    /// The matrix times a vector.
    fn apply(self, [left, right]: [ComplexLanes; 2]) -> [ComplexLanes; 2] {
        [left * self.left + self.cross * right, self.cross.conj() * left + right * self.right]
    }

    /// The inverse times a vector. The matrix must have a determinant above zero.
    fn solve(self, [left, right]: [ComplexLanes; 2]) -> [ComplexLanes; 2] {
        let scale = 1.0 / self.determinant();
        [
            (left * self.right - self.cross * right) * scale,
            (right * self.left - self.cross.conj() * left) * scale,
        ]
    }
}

impl Add for Covariance {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            left: self.left + other.left,
            right: self.right + other.right,
            cross: self.cross + other.cross,
        }
    }
}

impl Mul<f32x8> for Covariance {
    type Output = Self;

    fn mul(self, factor: f32x8) -> Self {
        Self { left: self.left * factor, right: self.right * factor, cross: self.cross * factor }
    }
}

/// Covariances of target and rest per bin.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Classes {
    pub target: Covariance,
    pub rest: Covariance,
}

impl Classes {
    /// All numbers of each bin in one vector.
    pub fn by_bin(self) -> [f32x8; LANES] {
        let Self { target, rest } = self;
        f32x8::transpose([
            target.left,
            target.right,
            target.cross.re,
            target.cross.im,
            rest.left,
            rest.right,
            rest.cross.re,
            rest.cross.im,
        ])
    }

    /// The inverse of [`by_bin`](Self::by_bin).
    pub fn from_bins(bins: [f32x8; LANES]) -> Self {
        let [left, right, re, im, rest_left, rest_right, rest_re, rest_im] = f32x8::transpose(bins);
        Self {
            target: Covariance { left, right, cross: ComplexLanes { re, im } },
            rest: Covariance {
                left: rest_left,
                right: rest_right,
                cross: ComplexLanes { re: rest_re, im: rest_im },
            },
        }
    }

    pub fn map(self, change: impl Fn(Covariance) -> Covariance) -> Self {
        Self { target: change(self.target), rest: change(self.rest) }
    }

    /// Squared Frobenius norm of the difference.
    pub fn squared_distance(self) -> f32x8 {
        let Self { target, rest } = self;
        let (left, right) = (target.left - rest.left, target.right - rest.right);
        left * left + right * right + 2.0 * (target.cross - rest.cross).norm_sqr()
    }

    /// The target in `input` by the Wiener filter, for its `share` of the variance. The covariances have trace 1.
    ///
    /// It is made as quiet as the input where it would be louder, as it can be where the covariances are nearly parallel.
    pub fn filter(self, share: f32x8, input: [ComplexLanes; 2]) -> [ComplexLanes; 2] {
        let Self { target, rest } = self.map(Covariance::with_diffuse);
        let mixture = target * share + rest * (1.0 - share);
        let filtered = target.apply(mixture.solve(input));
        let power = |[left, right]: [ComplexLanes; 2]| left.norm_sqr() + right.norm_sqr();
        let limit = (power(input) / power(filtered).fast_max(f32x8::splat(SILENCE))).sqrt();
        filtered.map(|channel| channel * share.fast_min(limit))
    }

    /// Moves `share` to the most likely one for `input` in a Gaussian model. The covariances have trace 1.
    ///
    /// One step multiplies the odds by (xᴴA⁻¹R_tA⁻¹x · tr A⁻¹R_r) / (xᴴA⁻¹R_rA⁻¹x · tr A⁻¹R_t), A the mixture's covariance
    /// (the multiplicative update of Sawada et al., "Multichannel Extensions of Non-Negative Matrix Factorization with
    /// Complex-Valued Data", 2013, without its root), and takes the geometric mean with the first odds. R_t and R_r are
    /// diagonal in one basis, so that the steps are scalar.
    pub fn improve(self, share: f32x8, input: [ComplexLanes; 2]) -> f32x8 {
        let Self { target, rest } = self.map(Covariance::with_diffuse);
        let scale = 1.0 / rest.determinant();
        let cross = rest.cross.re * target.cross.re + rest.cross.im * target.cross.im;
        let half_trace = 0.5 * scale * (rest.right * target.left + rest.left * target.right - 2.0 * cross);
        let product = scale * target.determinant();
        let larger = half_trace + (half_trace * half_trace - product).fast_max(f32x8::ZERO).sqrt();
        let smaller = product / larger;
        // Power of the input along both common directions.
        let [left, right] = rest.solve(input);
        let total = (left.conj() * input[0] + right.conj() * input[1]).re;
        let weighted = target.left * left.norm_sqr()
            + target.right * right.norm_sqr()
            + 2.0 * (left.conj() * target.cross * right).re;
        let difference = (larger - smaller).fast_max(f32x8::splat(SILENCE));
        let first = ((weighted - smaller * total) / difference).fast_max(f32x8::ZERO).fast_min(total);
        let second = total - first;
        let share = share.fast_max(f32x8::splat(1e-4)).fast_min(f32x8::splat(1.0 - 1e-4));
        let given = share / (1.0 - share);
        let mut odds = given;
        for _ in 0..STEPS {
            // The eigenvalues of A.
            let (a, b) = (odds * larger + 1.0, odds * smaller + 1.0);
            let (first, second) = (first * b * b, second * a * a);
            let likely = (larger * first + smaller * second) * (a + b) + SILENCE;
            let unlikely = (first + second) * (larger * b + smaller * a) + SILENCE;
            odds = (odds * given).sqrt() * likely / unlikely;
            odds = odds.fast_max(f32x8::splat(1e-5)).fast_min(f32x8::splat(1e5));
        }
        odds / (1.0 + odds)
    }
}
