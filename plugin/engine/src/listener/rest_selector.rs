//! Selection of the rest: the concept that competes with the described sound, and its weight.

use crate::listener::concepts::RestRule;

/// Selects the rest, hop by hop.
///
/// The weight changes in a ramp. Another concept becomes the rest only after the weight has fallen to zero.
pub struct RestSelector {
    rule: RestRule,
    /// Largest change of the weight per hop.
    fade_step: f32,
    switch_hops: u32,
    current: Option<usize>,
    weight: f32,
    /// Whether the weight falls to zero, whatever is heard.
    is_leaving: bool,
    /// Hops since another concept is more probable than the current one.
    contender_hops: u32,
}

impl RestSelector {
    /// Creates the selector of a stream of a frame per `hop_seconds`.
    pub fn new(rule: RestRule, hop_seconds: f64) -> Self {
        let hops = |seconds: f32| (f64::from(seconds) / hop_seconds).round().max(1.0);
        Self {
            rule,
            fade_step: (f64::from(rule.strength) / hops(rule.fade)) as f32,
            switch_hops: hops(rule.switch) as u32,
            current: None,
            weight: 0.0,
            is_leaving: false,
            contender_hops: 0,
        }
    }

    /// Forgets the rest: the next frame begins a new stream.
    pub fn reset(&mut self) {
        (self.current, self.weight, self.is_leaving, self.contender_hops) = (None, 0.0, false, 0);
    }

    /// Takes one hop's probability of each concept and returns the rest and its weight above 0, if there is one.
    ///
    /// `candidates`: whether each concept can be the rest; fewer than concepts if none can.
    pub fn step(&mut self, heard: &[f32], candidates: &[bool]) -> Option<(usize, f32)> {
        let RestRule { from, full, strength, margin, .. } = self.rule;
        let is_candidate = |concept: usize| candidates.get(concept).copied().unwrap_or(false);
        let mut best = None;
        for (concept, &probability) in heard.iter().enumerate() {
            if is_candidate(concept) && best.is_none_or(|(_, highest)| probability > highest) {
                best = Some((concept, probability));
            }
        }
        if self.current.is_none()
            && let Some((concept, _)) = best.filter(|(_, probability)| *probability >= from)
        {
            (self.current, self.is_leaving, self.contender_hops) = (Some(concept), false, 0);
        }
        let current = self.current?;
        let probability = heard.get(current).copied().unwrap_or(0.0);
        if !is_candidate(current) {
            self.is_leaving = true;
        } else if best.is_some_and(|(concept, highest)| concept != current && highest > probability + margin)
        {
            self.contender_hops += 1;
            self.is_leaving |= self.contender_hops >= self.switch_hops;
        } else {
            self.contender_hops = 0;
        }
        let share = ((probability - from) / (full - from)).clamp(0.0, 1.0);
        let target = if self.is_leaving { 0.0 } else { strength * share };
        self.weight += (target - self.weight).clamp(-self.fade_step, self.fade_step);
        if self.weight <= 0.0 && target == 0.0 {
            self.reset();
        }
        (self.weight > 0.0).then_some((current, self.weight))
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    // All values are sums of powers of two, so that weights are exact.
    const RULE: RestRule =
        RestRule { from: 0.5, full: 1.0, strength: 1.0, fade: 0.5, switch: 0.375, margin: 0.125 };

    type Selected = Option<(usize, f32)>;

    /// Steps a selector of a hop of 125 ms through `hops` of the same probabilities; returns rest and weight of each.
    fn steps(selector: &mut RestSelector, hops: usize, heard: &[f32], candidates: &[bool]) -> Vec<Selected> {
        (0..hops).map(|_| selector.step(heard, candidates)).collect()
    }

    /// A selector after ten hops of these probabilities.
    fn selector_after(heard: &[f32], candidates: &[bool]) -> RestSelector {
        let mut selector = RestSelector::new(RULE, 0.125);
        steps(&mut selector, 10, heard, candidates);
        selector
    }

    #[test]
    fn surest_candidate_rises_to_its_weight_without_a_step() {
        let mut selector = RestSelector::new(RULE, 0.125);
        let rest = steps(&mut selector, 4, &[0.9, 0.75, 0.625], &[false, true, true]);
        assert_eq!(rest, [Some((1, 0.25)), Some((1, 0.5)), Some((1, 0.5)), Some((1, 0.5))]);
    }

    #[test]
    fn concept_below_the_threshold_is_no_rest() {
        let mut selector = RestSelector::new(RULE, 0.125);
        assert_eq!(steps(&mut selector, 2, &[0.49, 0.2], &[true; 2]), [None, None]);
        assert_eq!(steps(&mut selector, 1, &[0.9, 0.9], &[]), [None]);
    }

    #[test]
    fn another_rest_takes_over_after_its_time_and_from_zero() {
        let mut selector = selector_after(&[1.0, 0.0], &[true; 2]);
        let rest = steps(&mut selector, 10, &[0.75, 1.0], &[true; 2]);
        assert_eq!(rest[..2], [Some((0, 0.75)), Some((0, 0.5))], "the weight follows the probability");
        assert_eq!(rest[2..4], [Some((0, 0.25)), None], "from the third hop on it falls to zero");
        assert_eq!(rest[4..8], [0.25, 0.5, 0.75, 1.0].map(|weight| Some((1, weight))));
    }

    #[test]
    fn short_or_small_lead_of_another_changes_nothing() {
        let mut selector = selector_after(&[0.75, 0.0], &[true; 2]);
        for _ in 0..5 {
            steps(&mut selector, 2, &[0.75, 1.0], &[true; 2]);
            assert_eq!(steps(&mut selector, 1, &[0.75, 0.875], &[true; 2]), [Some((0, 0.5))]);
        }
    }

    #[test]
    fn rest_that_the_text_now_wants_fades_away() {
        let mut selector = selector_after(&[1.0, 1.0], &[true; 2]);
        let rest = steps(&mut selector, 6, &[1.0, 1.0], &[false, true]);
        assert_eq!(rest[..4], [Some((0, 0.75)), Some((0, 0.5)), Some((0, 0.25)), None]);
        assert_eq!(rest[4..], [Some((1, 0.25)), Some((1, 0.5))]);
    }

    #[test]
    fn rest_that_ends_fades_away_and_reset_forgets_it() {
        let mut selector = selector_after(&[1.0], &[true]);
        assert_eq!(steps(&mut selector, 5, &[0.0], &[true])[3..], [None, None]);
        steps(&mut selector, 10, &[1.0], &[true]);
        selector.reset();
        assert_eq!(steps(&mut selector, 1, &[1.0], &[true]), [Some((0, 0.25))]);
    }

    /// A sequence that the tests of the training share.
    #[derive(Deserialize)]
    struct Sequence {
        name: String,
        rest: RestRule,
        hop_seconds: f64,
        segments: Vec<Segment>,
    }

    #[derive(Deserialize)]
    struct Segment {
        hops: usize,
        heard: Vec<f32>,
        candidates: Vec<usize>,
        expected: Vec<(Option<usize>, f32)>,
    }

    #[test]
    fn selection_is_that_of_the_shared_cases() {
        let json = include_str!("../../../../tests/cases/rest.json");
        let all: serde_json::Value = serde_json::from_str(json).unwrap();
        let sequences: Vec<Sequence> = serde_json::from_value(all["selection"].clone()).unwrap();
        assert!(!sequences.is_empty());
        for Sequence { name, rest, hop_seconds, segments } in sequences {
            let mut selector = RestSelector::new(rest, hop_seconds);
            for Segment { hops, heard, candidates, expected } in segments {
                let candidates: Vec<_> =
                    (0..heard.len()).map(|concept| candidates.contains(&concept)).collect();
                let found = steps(&mut selector, hops, &heard, &candidates);
                for (found, expected) in found.into_iter().zip(expected) {
                    assert_eq!(found.map(|(concept, _)| concept), expected.0, "{name}");
                    let weight = found.map_or(0.0, |(_, weight)| weight);
                    assert!((weight - expected.1).abs() < 1e-5, "{name}: {weight}, not {}", expected.1);
                }
            }
        }
    }
}
