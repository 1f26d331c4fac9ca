//! Delay by a fixed number of samples.

/// Delay by a fixed number of samples.
pub struct DelayLine {
    ring: Vec<f32>,
    next: usize,
}

impl DelayLine {
    /// Creates a delay by `samples`, at least one. Not real-time safe.
    pub fn new(samples: usize) -> Self {
        Self { ring: vec![0.0; samples], next: 0 }
    }

    /// Writes `samples` and reads the delayed samples into `delayed`. Real-time safe.
    ///
    /// Both slices have the same length, at most the delay.
    pub fn process(&mut self, samples: &[f32], delayed: &mut [f32]) {
        let (wrapped, ahead) = self.ring.split_at_mut(self.next);
        let split = samples.len().min(ahead.len());
        let (first, rest) = samples.split_at(split);
        let (first_out, rest_out) = delayed.split_at_mut(split);
        for (samples, out, ring) in [(first, first_out, ahead), (rest, rest_out, wrapped)] {
            let ring = &mut ring[..samples.len()];
            out.copy_from_slice(ring);
            ring.copy_from_slice(samples);
        }
        self.next = (self.next + samples.len()) % self.ring.len();
    }

    /// Fills the delay with silence. Real-time safe.
    pub fn clear(&mut self) {
        self.ring.fill(0.0);
    }

    /// Copies the newest samples of `other`, as many as fit. Real-time safe.
    ///
    /// If this delay is longer, silence precedes them, and their first `fade` samples fade in.
    pub fn copy_from(&mut self, other: &DelayLine, fade: usize) {
        let (newer, older) = other.ring.split_at(other.next);
        let missing = self.ring.len().saturating_sub(other.ring.len());
        let held = older.iter().chain(newer).skip(other.ring.len().saturating_sub(self.ring.len()));
        self.ring[..missing].fill(0.0);
        for (sample, held) in self.ring[missing..].iter_mut().zip(held) {
            *sample = *held;
        }
        if missing > 0 {
            for (at, sample) in self.ring[missing..].iter_mut().take(fade).enumerate() {
                *sample *= at as f32 / fade as f32;
            }
        }
        self.next = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copy_from_keeps_newest_samples_and_fades_in_if_longer() {
        for length in [2, 3, 5] {
            let mut old = DelayLine::new(3);
            let mut delayed = [0.0; 7];
            for (at, sample) in (1..=7).enumerate() {
                old.process(&[sample as f32], &mut delayed[at..=at]);
            }
            assert_eq!(delayed, [0.0, 0.0, 0.0, 1.0, 2.0, 3.0, 4.0]);
            let mut new = DelayLine::new(length);
            new.copy_from(&old, 2);
            let mut output = vec![0.0; length];
            new.process(&vec![0.0; length], &mut output);
            let expected: &[f32] =
                if length > 3 { &[0.0, 0.0, 0.0, 3.0, 7.0] } else { &[5.0, 6.0, 7.0][3 - length..] };
            assert_eq!(output, expected);
        }
    }
}
