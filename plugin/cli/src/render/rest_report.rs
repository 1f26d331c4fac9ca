//! What competed as the rest during a rendering.

use sift_engine::{HearingState, RestSound};

/// A sound that competed.
#[derive(Clone, Debug, PartialEq)]
pub struct RestShare {
    /// Name of the concept, the text that was said, or [`EXCLUDED`].
    pub name: String,
    /// Part of the time for which it competed, 0 to 1.
    pub share: f64,
    /// Its mean weight in that time, 0 to 1.
    pub weight: f64,
}

/// Stands for sounds that the described text excludes, as "speech without music" does.
const EXCLUDED: &str = "what the text excludes";

/// Counts which sounds compete, block by block.
#[derive(Default)]
pub struct RestReport {
    blocks: u32,
    /// Name of each sound, blocks in which it competed, and the sum of its weights.
    sounds: Vec<(Option<String>, u32, f64)>,
    /// Error message of the listener, if it is broken.
    problem: Option<String>,
}

impl RestReport {
    /// Takes the state after the newest block.
    pub fn add(&mut self, state: HearingState) {
        self.blocks += 1;
        self.problem = state.problem.or(self.problem.take());
        let Some(RestSound { name, weight }) = state.rest else { return };
        match self.sounds.iter_mut().find(|(known, ..)| *known == name) {
            Some((_, blocks, sum)) => (*blocks, *sum) = (*blocks + 1, *sum + f64::from(weight)),
            None => self.sounds.push((name, 1, weight.into())),
        }
    }

    /// Error message of the listener, if it is broken.
    pub fn problem(&self) -> Option<&str> {
        self.problem.as_deref()
    }

    /// The sounds that competed, the one with the longest time first. `said`: the text of the rest, empty if there is none.
    pub fn shares(&self, said: &str) -> Vec<RestShare> {
        let unnamed = if said.is_empty() { EXCLUDED } else { said };
        let share = |(name, blocks, sum): &(Option<String>, u32, f64)| RestShare {
            name: name.as_deref().unwrap_or(unnamed).to_owned(),
            share: f64::from(*blocks) / f64::from(self.blocks),
            weight: sum / f64::from(*blocks),
        };
        let mut shares: Vec<_> = self.sounds.iter().map(share).collect();
        shares.sort_by(|a, b| b.share.total_cmp(&a.share));
        shares
    }
}

/// Describes `shares` for a person: "drums 62 %, bass guitar 20 %"; `None` if nothing competed.
pub fn describe(shares: &[RestShare]) -> Option<String> {
    let sound = |rest: &RestShare| format!("{} {:.0} %", rest.name, 100.0 * rest.share);
    (!shares.is_empty()).then(|| shares.iter().map(sound).collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(name: Option<&str>, weight: f32) -> HearingState {
        let rest = Some(RestSound { name: name.map(str::to_owned), weight });
        HearingState { rest, ..HearingState::default() }
    }

    #[test]
    fn shares_are_of_the_whole_time_and_the_longest_is_first() {
        let mut report = RestReport::default();
        report.add(HearingState::default());
        report.add(state(Some("bass"), 0.5));
        report.add(state(Some("drums"), 0.25));
        report.add(state(Some("drums"), 0.75));
        let shares = report.shares("");
        assert_eq!(shares[0], RestShare { name: "drums".into(), share: 0.5, weight: 0.5 });
        assert_eq!(shares[1], RestShare { name: "bass".into(), share: 0.25, weight: 0.5 });
        assert_eq!(describe(&shares).unwrap(), "drums 50 %, bass 25 %");
        assert_eq!(describe(&[]), None);
    }

    #[test]
    fn rest_without_a_name_was_said_or_excluded() {
        let mut report = RestReport::default();
        report.add(state(None, 1.0));
        assert_eq!(report.shares("music")[0].name, "music");
        assert_eq!(report.shares("")[0].name, "what the text excludes");
    }
}
