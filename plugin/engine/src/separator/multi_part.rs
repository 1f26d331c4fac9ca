//! One mask for all parts of a query, beside the rest.

use std::sync::Arc;

use realfft::num_complex::Complex32;

use crate::dsp::competition::compete;
use crate::query::parts::{PartRole, QueryPart};
use crate::separator::Separator;
use crate::separator::streaming::group::{StreamRun, run_together};

/// Sounds that compete with the included parts of a query.
#[derive(Clone, Copy, Default)]
pub struct Rest<'a> {
    /// Empty if nothing competes. The mask of each passes its sound, in either role.
    pub parts: &'a [QueryPart],
    /// From 0 to 1, how strongly they compete.
    pub weight: f32,
}

/// The separator of a part of the rest.
struct RestBranch {
    /// Identifies the part.
    embedding: Arc<[f32]>,
    separator: Box<dyn Separator>,
}

/// A separator per part of a query and of the rest, each with its own state of the same stream.
pub struct MultiPartSeparator {
    /// Separators of the query's parts, at least one.
    branches: Vec<Box<dyn Separator>>,
    /// Separators of the rest's parts.
    rest_branches: Vec<RestBranch>,
    /// Masks of all branches, reused.
    masks: Vec<Vec<Complex32>>,
}

impl MultiPartSeparator {
    /// Creates the separator; further parts use forks of `separator`.
    pub fn new(separator: Box<dyn Separator>) -> Self {
        Self { branches: vec![separator], rest_branches: Vec::new(), masks: Vec::new() }
    }

    /// Resets the state: the next frame begins a new stream.
    pub fn reset(&mut self) {
        self.rest_branches.clear();
        self.branches.truncate(1);
        self.branches[0].reset();
    }

    /// [Notes the silence](Separator::note_silence) of the last frame for every part.
    pub fn note_silence(&mut self) {
        self.separators().for_each(|separator| separator.note_silence());
    }

    /// [Skips silence](Separator::skip_silence) for every part.
    pub fn skip_silence(&mut self, hops: u32) {
        self.separators().for_each(|separator| separator.skip_silence(hops));
    }

    /// The separators of all parts, and then of those of the rest.
    fn separators(&mut self) -> impl Iterator<Item = &mut Box<dyn Separator>> {
        let rest = self.rest_branches.iter_mut().map(|branch| &mut branch.separator);
        self.branches.iter_mut().chain(rest)
    }

    /// Runs every part and combines the masks and presences.
    ///
    /// A bin's gain is the largest of the included parts, lowered where that of the rest is high ([`compete`]), and limited by
    /// one minus the gains of the excluded parts. The presence is the highest of the included parts. A new part, and
    /// a new part of the rest, begin with a copy of the first part's state. `is_batched` selects
    /// [`Separator::run_batched`]. With a rest, all parts run in one batch.
    ///
    /// # Errors
    /// Fails if a part does; the mask is then invalid.
    pub fn run(
        &mut self,
        magnitude: &[f32],
        parts: &[QueryPart],
        rest: Rest<'_>,
        mask: &mut [Complex32],
        is_batched: bool,
    ) -> Result<Option<f32>, String> {
        self.prepare_branches(parts, rest.parts)?;
        self.masks.resize(parts.len() + rest.parts.len(), Vec::new());
        self.masks.iter_mut().for_each(|part_mask| part_mask.resize(mask.len(), Complex32::ZERO));
        let rest_branches = self.rest_branches.iter_mut().map(|branch| &mut branch.separator);
        let branches = self.branches.iter_mut().chain(rest_branches);
        let mut streams: Vec<_> = branches
            .zip(parts.iter().chain(rest.parts))
            .zip(&mut self.masks)
            .map(|((branch, part), part_mask)| StreamRun {
                separator: &mut **branch,
                embedding: &part.embedding,
                mask: part_mask,
                presence: None,
            })
            .collect();
        if rest.parts.is_empty() {
            // Without a rest each part runs by itself, as in projects of versions that knew no rest: a batch has other bits.
            streams.chunks_mut(1).try_for_each(|stream| run_together(magnitude, stream, is_batched))?;
        } else {
            run_together(magnitude, &mut streams, is_batched)?;
        }
        let direct = streams.iter().zip(parts).filter(|(_, part)| part.role != PartRole::Exclude);
        let presence = direct.map(|(stream, _)| stream.presence).fold(None, |a, b| if b > a { b } else { a });
        self.combine(parts, rest, mask);
        Ok(presence)
    }

    /// Makes a separator for each part and each part of the rest.
    fn prepare_branches(&mut self, parts: &[QueryPart], rest: &[QueryPart]) -> Result<(), String> {
        self.branches.truncate(parts.len().max(1));
        while self.branches.len() < parts.len() {
            self.branches.push(self.branches[0].fork()?);
        }
        self.rest_branches.truncate(rest.len());
        for (at, part) in rest.iter().enumerate() {
            match self.rest_branches.get(at) {
                Some(branch) if Arc::ptr_eq(&branch.embedding, &part.embedding) => {}
                _ => {
                    self.rest_branches.truncate(at);
                    let separator = self.branches[0].fork()?;
                    self.rest_branches.push(RestBranch { embedding: part.embedding.clone(), separator });
                }
            }
        }
        Ok(())
    }

    /// Combines the masks of all branches.
    fn combine(&mut self, parts: &[QueryPart], rest: Rest<'_>, mask: &mut [Complex32]) {
        let (part_masks, rest_masks) = self.masks.split_at_mut(parts.len());
        let has_included = parts.iter().any(|part| part.role == PartRole::Include);
        mask.fill(if has_included { Complex32::ZERO } else { Complex32::ONE });
        for (_, part_mask) in
            parts.iter().zip(&*part_masks).filter(|(part, _)| part.role == PartRole::Include)
        {
            select_gains(mask, part_mask, true);
        }
        if let Some((rest_mask, others)) = rest_masks.split_first_mut()
            && has_included
        {
            for other in others {
                select_gains(rest_mask, other, true);
            }
            compete(mask, rest_mask, rest.weight);
        }
        let excluded = parts.iter().zip(part_masks).filter(|(part, _)| part.role == PartRole::Exclude);
        for (_, part_mask) in excluded {
            invert(part_mask);
            select_gains(mask, part_mask, false);
        }
    }
}

fn invert(mask: &mut [Complex32]) {
    mask.iter_mut().for_each(|gain| *gain = Complex32::ONE - *gain);
}

/// Replaces each gain of `mask` by that of `other` if it is larger, or smaller.
fn select_gains(mask: &mut [Complex32], other: &[Complex32], is_larger: bool) {
    mask.iter_mut().zip(other).for_each(|(gain, &other)| *gain = select_gain(*gain, other, is_larger));
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
    use super::*;
    use crate::separator::fake::ForkingSeparator;

    /// Separator whose gains are the embedding times the hops so far; the presence is the embedding's first value.
    fn scaled_gains() -> Box<dyn Separator> {
        Box::new(ForkingSeparator::new(|hop, embedding: &[f32], mask: &mut [Complex32]| {
            let gains = embedding.iter().map(|gain| Complex32::new(gain * (hop + 1) as f32, 0.0));
            mask.iter_mut().zip(gains).for_each(|(value, gain)| *value = gain);
            Some(embedding[0])
        }))
    }

    fn part(gains: [f32; 3], role: PartRole) -> QueryPart {
        QueryPart { embedding: Arc::from(gains), role }
    }

    /// Runs one hop and returns gains and presence.
    fn run_hop(separator: &mut MultiPartSeparator, parts: &[QueryPart]) -> ([f32; 3], Option<f32>) {
        run_beside(separator, parts, Rest::default())
    }

    fn run_beside(
        separator: &mut MultiPartSeparator,
        parts: &[QueryPart],
        rest: Rest<'_>,
    ) -> ([f32; 3], Option<f32>) {
        let mut mask = [Complex32::ZERO; 3];
        let presence = separator.run(&[0.0; 3], parts, rest, &mut mask, false).unwrap();
        (mask.map(|gain| gain.re), presence)
    }

    /// Runs the first hop of a new stream.
    fn run_first_hop(parts: &[QueryPart]) -> ([f32; 3], Option<f32>) {
        run_hop(&mut MultiPartSeparator::new(scaled_gains()), parts)
    }

    #[test]
    fn included_parts_pass_the_largest_gain() {
        let parts = [part([0.2, 0.9, 0.5], PartRole::Include), part([0.6, 0.1, 0.5], PartRole::Include)];
        assert_eq!(run_first_hop(&parts), ([0.6, 0.9, 0.5], Some(0.6)));
    }

    #[test]
    fn excluded_parts_pass_the_smallest_gain() {
        let parts = [part([0.0, 0.75, 0.5], PartRole::Exclude), part([0.75, 0.0, 0.25], PartRole::Exclude)];
        assert_eq!(run_first_hop(&parts), ([0.25, 0.25, 0.5], None));
    }

    #[test]
    fn excluded_part_limits_an_included_one_in_any_order() {
        let (included, excluded) =
            (part([0.9, 0.3, 0.7], PartRole::Include), part([0.75, 0.0, 0.5], PartRole::Exclude));
        for parts in [[included.clone(), excluded.clone()], [excluded, included]] {
            assert_eq!(run_first_hop(&parts).0, [0.25, 0.3, 0.5]);
        }
    }

    #[test]
    fn gain_that_is_not_finite_stays_in_the_combined_mask() {
        for invalid in 0..3 {
            let mut parts =
                [PartRole::Include, PartRole::Include, PartRole::Exclude].map(|role| part([0.5; 3], role));
            parts[invalid].embedding = Arc::from([f32::NAN, 0.5, 0.5]);
            let (gains, _) = run_first_hop(&parts);
            assert!(gains[0].is_nan() && gains[1..] == [0.5, 0.5], "part {invalid}: {gains:?}");
        }
    }

    #[test]
    fn new_part_copies_the_state_and_reset_clears_all() {
        let first = part([0.25, 0.0, 0.0], PartRole::Include);
        let second = part([0.0, 0.0, 0.125], PartRole::Include);
        let mut separator = MultiPartSeparator::new(scaled_gains());
        assert_eq!(run_hop(&mut separator, std::slice::from_ref(&first)).0, [0.25, 0.0, 0.0]);
        let both = [first.clone(), second];
        assert_eq!(run_hop(&mut separator, &both).0, [0.5, 0.0, 0.25]);
        assert_eq!(run_hop(&mut separator, &[first]).0, [0.75, 0.0, 0.0]);
        separator.reset();
        assert_eq!(run_hop(&mut separator, &both).0, [0.25, 0.0, 0.125]);
    }
    /// The gains of the first hop beside a rest of these parts.
    fn gains_beside(parts: &[QueryPart], rest: &[QueryPart], weight: f32) -> ([f32; 3], Option<f32>) {
        let mut separator = MultiPartSeparator::new(scaled_gains());
        run_beside(&mut separator, parts, Rest { parts: rest, weight })
    }

    #[test]
    fn rest_competes_by_its_weight_with_the_included_parts() {
        let wanted = [part([0.9, 0.5, 0.2], PartRole::Include)];
        let rest = [part([0.1, 0.5, 0.8], PartRole::Include)];
        let (gains, presence) = gains_beside(&wanted, &rest, 1.0);
        for (gain, expected) in gains.into_iter().zip([0.9, 0.5, 0.2]) {
            assert!((gain - expected).abs() < 1e-6, "a rest that agrees changes nothing: {gains:?}");
        }
        assert_eq!(presence, Some(0.9), "the presence is that of the query");
        let (gains, _) = gains_beside(&wanted, &[part([0.9, 0.9, 0.1], PartRole::Include)], 1.0);
        assert!((gains[0] - 0.5).abs() < 1e-6 && gains[1] < 0.3 && gains[2] > 0.4, "{gains:?}");
        assert_eq!(gains_beside(&wanted, &rest, 0.0).0, [0.9, 0.5, 0.2]);
    }

    #[test]
    fn largest_of_several_rests_competes() {
        let wanted = [part([0.5; 3], PartRole::Include)];
        let first = part([0.9, 0.2, 0.5], PartRole::Include);
        let excluded = part([0.1, 0.9, 0.3], PartRole::Exclude);
        let both = gains_beside(&wanted, &[first, excluded], 1.0).0;
        let largest = gains_beside(&wanted, &[part([0.9, 0.9, 0.5], PartRole::Include)], 1.0).0;
        for (gain, expected) in both.into_iter().zip(largest) {
            assert!((gain - expected).abs() < 1e-6, "{both:?} {largest:?}");
        }
    }

    #[test]
    fn excluded_parts_alone_have_no_rest() {
        let excluded = [part([0.75, 0.5, 0.25], PartRole::Exclude)];
        let rest = [part([0.9; 3], PartRole::Include)];
        assert_eq!(gains_beside(&excluded, &rest, 1.0).0, [0.25, 0.5, 0.75]);
    }

    #[test]
    fn rest_copies_the_state_when_it_changes_and_only_then() {
        let wanted = [part([0.25; 3], PartRole::Include)];
        let (first, second) = (part([0.1; 3], PartRole::Include), part([0.1; 3], PartRole::Include));
        let mut separator = MultiPartSeparator::new(scaled_gains());
        run_hop(&mut separator, &wanted);
        let beside = |separator: &mut MultiPartSeparator, rest: &QueryPart| {
            run_beside(separator, &wanted, Rest { parts: std::slice::from_ref(rest), weight: 1.0 });
            separator.rest_branches.len()
        };
        assert_eq!(beside(&mut separator, &first), 1);
        let kept: *const dyn Separator = &*separator.rest_branches[0].separator;
        beside(&mut separator, &first);
        assert!(std::ptr::addr_eq(kept, &raw const *separator.rest_branches[0].separator));
        beside(&mut separator, &second);
        assert!(Arc::ptr_eq(&separator.rest_branches[0].embedding, &second.embedding));
        run_hop(&mut separator, &wanted);
        assert!(separator.rest_branches.is_empty(), "without a rest there is no stream of it");
    }
}
