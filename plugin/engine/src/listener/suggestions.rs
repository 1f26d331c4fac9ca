//! The sounds that a listener hears, as a short list that does not flicker.

use crate::listener::concepts::ListenerConcepts;

/// Most sounds of the list.
pub const MAX_SUGGESTIONS: usize = 6;

/// Probability from which a sound is heard.
pub const HEARD: f32 = 0.5;

/// Probability below which a sound is no longer heard.
pub const LOST: f32 = 0.35;

/// Time in seconds for which a probability must be above or below its bound; also the shortest time between two changes of
/// the list.
const HOLD_SECONDS: f64 = 0.5;

/// A sound that is heard.
#[derive(Clone, Debug, PartialEq)]
pub struct HeardSound {
    /// Name of the concept.
    pub name: String,
    /// Probability that it sounded in the last second.
    pub probability: f32,
}

/// Whether a concept is heard, with hysteresis.
#[derive(Clone, Copy, Default)]
struct Hearing {
    is_heard: bool,
    /// Hops for which the probability has spoken against `is_heard`.
    contrary_hops: u32,
}

/// Concepts that are heard now.
pub struct Suggestions {
    hold_hops: u32,
    hearings: Vec<Hearing>,
    /// Concepts of the list, in the order in which they appeared.
    shown: Vec<usize>,
    hops_since_change: u32,
}

impl Suggestions {
    /// Creates an empty list for a listener of `concepts` concepts and a frame per `hop_seconds`.
    pub fn new(concepts: usize, hop_seconds: f64) -> Self {
        let hold_hops = (HOLD_SECONDS / hop_seconds).ceil() as u32;
        Self {
            hold_hops,
            hearings: vec![Hearing::default(); concepts],
            shown: Vec::new(),
            hops_since_change: hold_hops,
        }
    }

    /// Empties the list: the next frame begins a new stream.
    pub fn reset(&mut self) {
        self.hearings.fill(Hearing::default());
        self.shown.clear();
        self.hops_since_change = self.hold_hops;
    }

    /// Takes one hop's probability of each concept and returns whether the list has changed.
    pub fn step(&mut self, heard: &[f32], concepts: &ListenerConcepts) -> bool {
        for (hearing, &probability) in self.hearings.iter_mut().zip(heard) {
            let is_contrary = if hearing.is_heard { probability < LOST } else { probability >= HEARD };
            hearing.contrary_hops = if is_contrary { hearing.contrary_hops + 1 } else { 0 };
            if hearing.contrary_hops >= self.hold_hops {
                *hearing = Hearing { is_heard: !hearing.is_heard, contrary_hops: 0 };
            }
        }
        self.hops_since_change = self.hops_since_change.saturating_add(1);
        if self.hops_since_change < self.hold_hops {
            return false;
        }
        let list = self.list(heard, concepts);
        let is_changed = list != self.shown;
        if is_changed {
            self.shown = list;
            self.hops_since_change = 0;
        }
        is_changed
    }

    /// The concepts to show: those that are heard, but no umbrella of which a member is heard. New ones come last.
    fn list(&self, heard: &[f32], concepts: &ListenerConcepts) -> Vec<usize> {
        let is_heard = |concept: usize| self.hearings[concept].is_heard;
        let all = 0..self.hearings.len();
        let is_covered = |umbrella: usize| {
            all.clone().any(|member| is_heard(member) && concepts.is_member(member, umbrella))
        };
        let is_shown = |&concept: &usize| is_heard(concept) && !is_covered(concept);
        let mut list: Vec<usize> = self.shown.iter().copied().filter(is_shown).collect();
        let mut new: Vec<usize> =
            all.clone().filter(is_shown).filter(|concept| !list.contains(concept)).collect();
        new.sort_by(|&a, &b| heard[b].total_cmp(&heard[a]));
        list.extend(new);
        list.truncate(MAX_SUGGESTIONS);
        list
    }

    /// The list with names and the given probabilities.
    pub fn sounds(&self, heard: &[f32], concepts: &ListenerConcepts) -> Vec<HeardSound> {
        let sound = |&concept: &usize| HeardSound {
            name: concepts.names()[concept].clone(),
            probability: heard[concept],
        };
        self.shown.iter().map(sound).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONCEPTS: &[u8] = br#"{
        "concepts": [
            {"name": "music", "members": ["guitar", "drums"], "overlaps": []},
            {"name": "guitar", "members": [], "overlaps": []},
            {"name": "drums", "members": [], "overlaps": []},
            {"name": "speech", "members": [], "overlaps": []}
        ],
        "rest": {"from": 0.5, "full": 0.9, "strength": 0.7, "fade": 0.25, "switch": 1.0, "margin": 0.1}
    }"#;

    /// A list with hops of 100 ms, so that 5 hops are the hold time.
    struct Fixture {
        suggestions: Suggestions,
        concepts: ListenerConcepts,
    }

    impl Fixture {
        fn new() -> Self {
            let concepts = ListenerConcepts::parse(CONCEPTS).unwrap();
            Self { suggestions: Suggestions::new(4, 0.1), concepts }
        }

        /// Steps through `hops` of the same probabilities; returns the names then, and the number of changes.
        fn step(&mut self, hops: usize, heard: [f32; 4]) -> (Vec<String>, usize) {
            let changes = (0..hops).filter(|_| self.suggestions.step(&heard, &self.concepts)).count();
            let names = self.suggestions.sounds(&heard, &self.concepts).into_iter().map(|sound| sound.name);
            (names.collect(), changes)
        }
    }

    #[test]
    fn sound_appears_and_vanishes_after_half_a_second() {
        let mut fixture = Fixture::new();
        assert_eq!(fixture.step(4, [0.0, 0.0, 0.0, 0.9]).0, [""; 0]);
        assert_eq!(fixture.step(1, [0.0, 0.0, 0.0, 0.9]).0, ["speech"]);
        assert_eq!(
            fixture.step(20, [0.0, 0.0, 0.0, 0.4]).0,
            ["speech"],
            "between the bounds nothing changes"
        );
        assert_eq!(fixture.step(4, [0.0, 0.0, 0.0, 0.1]).0, ["speech"]);
        assert_eq!(fixture.step(1, [0.0, 0.0, 0.0, 0.1]).0, [""; 0]);
    }

    #[test]
    fn list_changes_at_most_twice_a_second() {
        let mut fixture = Fixture::new();
        let mut changes = 0;
        for hop in 0..200 {
            let blink = |period: usize| if (hop / period).is_multiple_of(2_usize) { 0.9 } else { 0.1 };
            changes += fixture.step(1, [0.0, blink(6), blink(7), blink(5)]).1;
        }
        assert!((10..=40).contains(&changes), "{changes} changes in 20 s");
    }

    #[test]
    fn umbrella_is_shown_where_no_member_is_heard() {
        let mut fixture = Fixture::new();
        assert_eq!(fixture.step(10, [0.9, 0.4, 0.4, 0.0]).0, ["music"]);
        assert_eq!(fixture.step(10, [0.9, 0.4, 0.8, 0.0]).0, ["drums"]);
    }

    #[test]
    fn new_sounds_come_last_and_the_surest_of_them_first() {
        let mut fixture = Fixture::new();
        fixture.step(10, [0.0, 0.6, 0.0, 0.0]);
        assert_eq!(fixture.step(10, [0.0, 0.6, 0.7, 0.9]).0, ["guitar", "speech", "drums"]);
        fixture.suggestions.reset();
        assert_eq!(fixture.step(0, [0.0; 4]).0, [""; 0]);
    }
}
