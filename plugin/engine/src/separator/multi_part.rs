//! One mask for all sounds that a text names.

use realfft::num_complex::Complex32;

use crate::query::parts::{PartRole, QueryPart};
use crate::separator::Separator;

/// A separator for every part of a query, each with its own memory of the one stream that they hear.
pub struct MultiPartSeparator {
    /// One at least.
    branches: Vec<Box<dyn Separator>>,
    /// Of one part.
    mask: Vec<Complex32>,
}

impl MultiPartSeparator {
    pub fn new(separator: Box<dyn Separator>) -> Self {
        Self { branches: vec![separator], mask: Vec::new() }
    }

    /// Forgets everything heard so far.
    pub fn reset(&mut self) {
        self.branches.truncate(1);
        self.branches[0].reset();
    }

    /// As [`Separator::run`], or where `batched` says so as [`Separator::run_batched`]: a bin's gain is the largest of those of
    /// the parts that are kept, but not above that of any part that is left out. A part that is new begins with what the
    /// first one has heard.
    ///
    /// The presence is the highest of the parts, but for those whose mask is turned around.
    pub fn run(
        &mut self,
        magnitude: &[f32],
        parts: &[QueryPart],
        mask: &mut [Complex32],
        batched: bool,
    ) -> Result<Option<f32>, String> {
        self.branches.truncate(parts.len().max(1));
        while self.branches.len() < parts.len() {
            self.branches.push(self.branches[0].fork()?);
        }
        self.mask.resize(mask.len(), Complex32::ZERO);
        let keeps = parts.iter().any(|part| part.role == PartRole::Include);
        mask.fill(if keeps { Complex32::ZERO } else { Complex32::ONE });
        let mut presence = None;
        // Those that are left out have the last word.
        for kept in [true, false] {
            for (part, branch) in parts.iter().zip(&mut self.branches) {
                if (part.role == PartRole::Include) != kept {
                    continue;
                }
                let own = match batched {
                    true => branch.run_batched(magnitude, &part.embedding, &mut self.mask)?,
                    false => branch.run(magnitude, &part.embedding, &mut self.mask)?,
                };
                match part.role {
                    PartRole::ExcludeInverted => {
                        self.mask.iter_mut().for_each(|gain| *gain = Complex32::ONE - *gain)
                    }
                    _ if own > presence => presence = own,
                    _ => {}
                }
                mask.iter_mut().zip(&self.mask).for_each(|(gain, own)| *gain = chosen(*gain, *own, kept));
            }
        }
        Ok(presence)
    }
}

/// The larger of two gains, or the smaller; one that is not finite in any case, so that it is noticed.
fn chosen(gain: Complex32, own: Complex32, larger: bool) -> Complex32 {
    if !gain.is_finite() || own.is_finite() && (own.norm_sqr() > gain.norm_sqr()) != larger {
        return gain;
    }
    own
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    /// Gains that the embedding tells, times the hops heard so far; the presence is its first one.
    #[derive(Clone, Default)]
    struct ScaledGains {
        hops: f32,
    }

    impl Separator for ScaledGains {
        fn reset(&mut self) {
            self.hops = 0.0;
        }

        fn fork(&self) -> Result<Box<dyn Separator>, String> {
            Ok(Box::new(self.clone()))
        }

        fn run(
            &mut self,
            _: &[f32],
            embedding: &[f32],
            mask: &mut [Complex32],
        ) -> Result<Option<f32>, String> {
            self.hops += 1.0;
            let gains = embedding.iter().map(|gain| Complex32::new(gain * self.hops, 0.0));
            mask.iter_mut().zip(gains).for_each(|(own, gain)| *own = gain);
            Ok(Some(embedding[0]))
        }
    }

    fn part(gains: [f32; 3], role: PartRole) -> QueryPart {
        QueryPart { embedding: Arc::from(gains), role }
    }

    /// Gains and presence of the next hop.
    fn next(separator: &mut MultiPartSeparator, parts: &[QueryPart]) -> ([f32; 3], Option<f32>) {
        let mut mask = [Complex32::ZERO; 3];
        let presence = separator.run(&[0.0; 3], parts, &mut mask, false).unwrap();
        (mask.map(|gain| gain.re), presence)
    }

    fn of(parts: &[QueryPart]) -> ([f32; 3], Option<f32>) {
        next(&mut MultiPartSeparator::new(Box::new(ScaledGains::default())), parts)
    }

    #[test]
    fn what_one_of_two_sounds_lets_through_passes() {
        let parts = [part([0.2, 0.9, 0.5], PartRole::Include), part([0.6, 0.1, 0.5], PartRole::Include)];
        assert_eq!(of(&parts), ([0.6, 0.9, 0.5], Some(0.6)));
    }

    #[test]
    fn what_one_of_two_sounds_would_leave_out_does_not_pass() {
        let parts = [
            part([1.0, 0.25, 0.5], PartRole::ExcludeNegated),
            part([0.75, 0.0, 0.25], PartRole::ExcludeInverted),
        ];
        assert_eq!(of(&parts), ([0.25, 0.25, 0.5], Some(1.0)));
    }

    #[test]
    fn one_is_kept_and_the_other_left_out_whatever_comes_first() {
        let (kept, left_out) =
            (part([0.9, 0.3, 0.7], PartRole::Include), part([0.2, 1.0, 0.5], PartRole::ExcludeNegated));
        for parts in [[kept.clone(), left_out.clone()], [left_out, kept]] {
            assert_eq!(of(&parts).0, [0.2, 0.3, 0.5]);
        }
    }

    #[test]
    fn a_gain_that_is_not_finite_is_not_lost_among_others() {
        for at in 0..3 {
            let mut parts = [PartRole::Include, PartRole::Include, PartRole::ExcludeNegated]
                .map(|role| part([0.5; 3], role));
            parts[at].embedding = Arc::from([f32::NAN, 0.5, 0.5]);
            let (gains, _) = of(&parts);
            assert!(gains[0].is_nan() && gains[1..] == [0.5, 0.5], "part {at}: {gains:?}");
        }
    }

    #[test]
    fn a_sound_that_is_named_later_begins_with_what_was_heard_and_all_forget_at_a_reset() {
        let first = part([0.25, 0.0, 0.0], PartRole::Include);
        let second = part([0.0, 0.0, 0.125], PartRole::Include);
        let mut separator = MultiPartSeparator::new(Box::new(ScaledGains::default()));
        assert_eq!(next(&mut separator, std::slice::from_ref(&first)).0, [0.25, 0.0, 0.0]);
        let both = [first.clone(), second];
        assert_eq!(next(&mut separator, &both).0, [0.5, 0.0, 0.25]);
        assert_eq!(next(&mut separator, &[first]).0, [0.75, 0.0, 0.0]);
        separator.reset();
        assert_eq!(next(&mut separator, &both).0, [0.25, 0.0, 0.125]);
    }
}
