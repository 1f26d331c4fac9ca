//! One mask for all parts of a query.

use realfft::num_complex::Complex32;

use crate::query::parts::{PartRole, QueryPart};
use crate::separator::Separator;

/// A separator per part of a query, each with its own state of the same stream.
pub struct MultiPartSeparator {
    /// Separators of the parts, at least one.
    branches: Vec<Box<dyn Separator>>,
    /// Mask of one part, reused.
    mask: Vec<Complex32>,
}

impl MultiPartSeparator {
    /// Creates the separator; further parts use forks of `separator`.
    pub fn new(separator: Box<dyn Separator>) -> Self {
        Self { branches: vec![separator], mask: Vec::new() }
    }

    /// Resets the state: the next frame begins a new stream.
    pub fn reset(&mut self) {
        self.branches.truncate(1);
        self.branches[0].reset();
    }

    /// Runs every part and combines the masks and presences.
    ///
    /// A bin's gain is the largest of the included parts, limited by the gains of the excluded parts. The presence is the
    /// highest of the parts whose mask is not inverted. A new part begins with a copy of the first part's state.
    /// `is_batched` selects [`Separator::run_batched`].
    ///
    /// # Errors
    /// Fails if a part does; the mask is then invalid.
    pub fn run(
        &mut self,
        magnitude: &[f32],
        parts: &[QueryPart],
        mask: &mut [Complex32],
        is_batched: bool,
    ) -> Result<Option<f32>, String> {
        self.branches.truncate(parts.len().max(1));
        while self.branches.len() < parts.len() {
            self.branches.push(self.branches[0].fork()?);
        }
        self.mask.resize(mask.len(), Complex32::ZERO);
        let has_included = parts.iter().any(|part| part.role == PartRole::Include);
        mask.fill(if has_included { Complex32::ZERO } else { Complex32::ONE });
        let mut presence = None;
        // Excluded parts come last, because their gains limit those of the included ones.
        for is_included in [true, false] {
            for (part, branch) in parts.iter().zip(&mut self.branches) {
                if (part.role == PartRole::Include) != is_included {
                    continue;
                }
                let part_presence = match is_batched {
                    true => branch.run_batched(magnitude, &part.embedding, &mut self.mask)?,
                    false => branch.run(magnitude, &part.embedding, &mut self.mask)?,
                };
                match part.role {
                    PartRole::ExcludeInverted => {
                        self.mask.iter_mut().for_each(|gain| *gain = Complex32::ONE - *gain);
                    }
                    _ if part_presence > presence => presence = part_presence,
                    _ => {}
                }
                for (gain, part_gain) in mask.iter_mut().zip(&self.mask) {
                    *gain = select_gain(*gain, *part_gain, is_included);
                }
            }
        }
        Ok(presence)
    }
}

/// Returns the larger or the smaller of two gains.
///
/// A gain that is not finite is always returned, so that the engine detects it.
fn select_gain(a: Complex32, b: Complex32, is_larger: bool) -> Complex32 {
    if !a.is_finite() || b.is_finite() && (b.norm_sqr() > a.norm_sqr()) != is_larger {
        return a;
    }
    b
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    /// Fake separator: gains are the embedding times the hops so far; the presence is the embedding's first value.
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
            mask.iter_mut().zip(gains).for_each(|(value, gain)| *value = gain);
            Ok(Some(embedding[0]))
        }
    }

    fn part(gains: [f32; 3], role: PartRole) -> QueryPart {
        QueryPart { embedding: Arc::from(gains), role }
    }

    /// Runs one hop and returns gains and presence.
    fn run_hop(separator: &mut MultiPartSeparator, parts: &[QueryPart]) -> ([f32; 3], Option<f32>) {
        let mut mask = [Complex32::ZERO; 3];
        let presence = separator.run(&[0.0; 3], parts, &mut mask, false).unwrap();
        (mask.map(|gain| gain.re), presence)
    }

    /// Runs the first hop of a new stream.
    fn run_first_hop(parts: &[QueryPart]) -> ([f32; 3], Option<f32>) {
        run_hop(&mut MultiPartSeparator::new(Box::new(ScaledGains::default())), parts)
    }

    #[test]
    fn included_parts_pass_the_largest_gain() {
        let parts = [part([0.2, 0.9, 0.5], PartRole::Include), part([0.6, 0.1, 0.5], PartRole::Include)];
        assert_eq!(run_first_hop(&parts), ([0.6, 0.9, 0.5], Some(0.6)));
    }

    #[test]
    fn excluded_parts_pass_the_smallest_gain() {
        let parts = [
            part([1.0, 0.25, 0.5], PartRole::ExcludeNegated),
            part([0.75, 0.0, 0.25], PartRole::ExcludeInverted),
        ];
        assert_eq!(run_first_hop(&parts), ([0.25, 0.25, 0.5], Some(1.0)));
    }

    #[test]
    fn excluded_part_limits_an_included_one_in_any_order() {
        let (included, excluded) =
            (part([0.9, 0.3, 0.7], PartRole::Include), part([0.2, 1.0, 0.5], PartRole::ExcludeNegated));
        for parts in [[included.clone(), excluded.clone()], [excluded, included]] {
            assert_eq!(run_first_hop(&parts).0, [0.2, 0.3, 0.5]);
        }
    }

    #[test]
    fn gain_that_is_not_finite_stays_in_the_combined_mask() {
        for invalid in 0..3 {
            let mut parts = [PartRole::Include, PartRole::Include, PartRole::ExcludeNegated]
                .map(|role| part([0.5; 3], role));
            parts[invalid].embedding = Arc::from([f32::NAN, 0.5, 0.5]);
            let (gains, _) = run_first_hop(&parts);
            assert!(gains[0].is_nan() && gains[1..] == [0.5, 0.5], "part {invalid}: {gains:?}");
        }
    }

    #[test]
    fn new_part_copies_the_state_and_reset_clears_all() {
        let first = part([0.25, 0.0, 0.0], PartRole::Include);
        let second = part([0.0, 0.0, 0.125], PartRole::Include);
        let mut separator = MultiPartSeparator::new(Box::new(ScaledGains::default()));
        assert_eq!(run_hop(&mut separator, std::slice::from_ref(&first)).0, [0.25, 0.0, 0.0]);
        let both = [first.clone(), second];
        assert_eq!(run_hop(&mut separator, &both).0, [0.5, 0.0, 0.25]);
        assert_eq!(run_hop(&mut separator, &[first]).0, [0.75, 0.0, 0.0]);
        separator.reset();
        assert_eq!(run_hop(&mut separator, &both).0, [0.25, 0.0, 0.125]);
    }
}
