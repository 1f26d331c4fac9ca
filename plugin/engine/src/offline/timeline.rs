//! From the probabilities of a listener to a timeline: which sounds there are, from when to when.

use std::ops::Range;

use crate::listener::concepts::ListenerConcepts;
use crate::listener::suggestions::{HEARD, LOST};

/// Time in seconds for which a listener hears a sound after its end.
///
/// Its probabilities are about the last second, but trained listeners no longer hear most sounds a few tenths of a second
/// after their end.
pub(super) const END_DELAY_SECONDS: f64 = 0.3;

/// Duration in seconds over which the probabilities are averaged, about the middle.
pub(super) const SMOOTHED_SECONDS: f64 = 0.5;

/// Longest gap of a sound that is closed, in seconds: pauses of speech are shorter.
const BRIDGED_SECONDS: f64 = 1.0;

/// Duration of the shortest segment, in seconds.
const MIN_SECONDS: f64 = 0.5;

/// Probability of a segment from which its sound is surely there.
const SURE: f32 = 0.7;

/// Part of a recording beyond which a longer time makes a sound no surer, and the shortest such time in seconds.
const ENOUGH: (f64, f64) = (0.25, 5.0);

/// A time for which a sound is heard.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Segment {
    /// In seconds.
    pub start: f64,
    /// In seconds.
    pub end: f64,
    /// Probability that the sound is there, in its surest second.
    pub probability: f32,
}

impl Segment {
    /// Duration in seconds.
    pub fn seconds(&self) -> f64 {
        self.end - self.start
    }
}

/// A sound of a recording.
#[derive(Clone, Debug, PartialEq)]
pub struct TimelineSound {
    /// Number of the concept.
    pub concept: usize,
    /// Name of the concept.
    pub name: String,
    /// When it is heard, in order; at least one.
    pub segments: Vec<Segment>,
}

impl TimelineSound {
    /// Time for which the sound is heard, in seconds.
    pub fn seconds(&self) -> f64 {
        self.segments.iter().map(Segment::seconds).sum()
    }

    /// Highest probability of a segment.
    pub fn probability(&self) -> f32 {
        self.segments.iter().map(|segment| segment.probability).fold(0.0, f32::max)
    }

    /// How surely the sound is there in a recording of `recording_seconds`: its expected time, up to a limit.
    fn certainty(&self, recording_seconds: f64) -> f64 {
        let enough = ENOUGH.1.max(ENOUGH.0 * recording_seconds);
        f64::from(self.probability()) * self.seconds().min(enough)
    }
}

/// The sounds of a recording, in the order in which they begin.
#[derive(Clone, Debug, PartialEq)]
pub struct Timeline {
    /// Duration of the recording in seconds.
    pub seconds: f64,
    pub sounds: Vec<TimelineSound>,
}

impl Timeline {
    /// Creates the timeline of `heard`, shape [runs, concepts], with a run every `run_seconds`, and of a recording of
    /// `seconds`.
    ///
    /// A sound begins at a probability of 0.5 and ends below 0.35. An umbrella is listed only where none of its members
    /// is.
    pub(super) fn new(concepts: &ListenerConcepts, heard: &[f32], run_seconds: f64, seconds: f64) -> Self {
        let count = concepts.names().len();
        let segments = |concept: usize| -> Vec<Segment> {
            let probabilities: Vec<f32> = heard.iter().skip(concept).step_by(count).copied().collect();
            find_segments(&probabilities, run_seconds, seconds)
        };
        let all: Vec<_> = (0..count).map(segments).collect();
        let is_covering = |concept: usize, umbrella: usize| concepts.is_member(concept, umbrella);
        let mut sounds = Vec::new();
        for (umbrella, own) in all.iter().enumerate() {
            let members = (0..count).filter(|&concept| is_covering(concept, umbrella));
            let covered: Vec<_> = members.flat_map(|member| &all[member]).copied().collect();
            let segments = subtract(own, &covered);
            if !segments.is_empty() {
                let name = concepts.names()[umbrella].clone();
                sounds.push(TimelineSound { concept: umbrella, name, segments });
            }
        }
        let begin = |sound: &TimelineSound| sound.segments[0].start;
        sounds
            .sort_by(|a, b| begin(a).total_cmp(&begin(b)).then(b.probability().total_cmp(&a.probability())));
        Self { seconds, sounds }
    }

    /// The surest sounds, at most `max`, of those that are surely there: with a probability of at least 0.7 in a segment.
    ///
    /// The surer and the longer a sound is heard, up to a quarter of the recording, the surer it is. Of sounds that cannot be
    /// told from each other, or contain each other, only the surest is among them.
    pub fn sure(&self, concepts: &ListenerConcepts, max: usize) -> Vec<&TimelineSound> {
        let is_sure = |sound: &&TimelineSound| sound.probability() >= SURE;
        self.select_distinct(self.sounds.iter().filter(is_sure).collect(), concepts, max)
    }

    /// The surest sounds, at most `max`, however sure; otherwise as [`sure`](Self::sure).
    pub fn surest(&self, concepts: &ListenerConcepts, max: usize) -> Vec<&TimelineSound> {
        self.select_distinct(self.sounds.iter().collect(), concepts, max)
    }

    /// Returns at most `max` of `sounds`, the surest first, of which each can be told from the others.
    fn select_distinct<'a>(
        &self,
        mut sounds: Vec<&'a TimelineSound>,
        concepts: &ListenerConcepts,
        max: usize,
    ) -> Vec<&'a TimelineSound> {
        sounds.sort_by(|a, b| b.certainty(self.seconds).total_cmp(&a.certainty(self.seconds)));
        let mut selected: Vec<&TimelineSound> = Vec::new();
        for sound in sounds {
            if selected.len() < max
                && selected.iter().all(|other| concepts.is_distinct(sound.concept, other.concept))
            {
                selected.push(sound);
            }
        }
        selected
    }
}

/// Returns the segments of one sound from its probability in each run.
fn find_segments(probabilities: &[f32], run_seconds: f64, seconds: f64) -> Vec<Segment> {
    let runs = |duration: f64| (duration / run_seconds).round() as usize;
    let (bridged, second) = (runs(BRIDGED_SECONDS), runs(1.0).max(1));
    let mut spans: Vec<Range<usize>> = Vec::new();
    let mut is_heard = false;
    for (run, probability) in smooth(probabilities, runs(SMOOTHED_SECONDS / 2.0)).into_iter().enumerate() {
        is_heard = probability >= if is_heard { LOST } else { HEARD };
        match spans.last_mut() {
            _ if !is_heard => {}
            Some(last) if run - last.end <= bridged => last.end = run + 1,
            _ => spans.push(run..run + 1),
        }
    }
    let is_steady = |span: &Range<usize>| span.len() as f64 * run_seconds >= MIN_SECONDS;
    let segment = |span: Range<usize>| {
        let start = (span.start as f64 * run_seconds).min((seconds - MIN_SECONDS).max(0.0));
        let heard_until = span.end as f64 * run_seconds;
        // What is heard to the end of the recording has no end of its own.
        let delay = if heard_until < seconds { END_DELAY_SECONDS } else { 0.0 };
        let end = (heard_until - delay).max(start + MIN_SECONDS).min(seconds);
        let heard = &probabilities[span];
        let surest = heard.windows(second.min(heard.len())).map(mean).fold(0.0, f32::max);
        Segment { start, end, probability: surest }
    };
    spans.into_iter().filter(is_steady).map(segment).collect()
}

/// Returns the mean of each value with its `reach` neighbours on both sides.
fn smooth(values: &[f32], reach: usize) -> Vec<f32> {
    let neighbours = |at: usize| at.saturating_sub(reach)..values.len().min(at + reach + 1);
    (0..values.len()).map(|at| mean(&values[neighbours(at)])).collect()
}

fn mean(values: &[f32]) -> f32 {
    values.iter().sum::<f32>() / values.len() as f32
}

/// Returns what is left of `segments` outside of `covered`, without pieces that are too short.
fn subtract(segments: &[Segment], covered: &[Segment]) -> Vec<Segment> {
    let mut left = segments.to_vec();
    for cover in covered {
        let pieces = left.iter().flat_map(|segment| {
            let before = Segment { end: segment.end.min(cover.start), ..*segment };
            let after = Segment { start: segment.start.max(cover.end), ..*segment };
            [before, after]
        });
        left = pieces.filter(|piece| piece.seconds() > 0.0).collect();
    }
    left.retain(|piece| piece.seconds() >= MIN_SECONDS || segments.contains(piece));
    left
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A run every tenth of a second.
    const RUN: f64 = 0.1;

    const CONCEPTS: &[u8] = br#"{
        "concepts": [
            {"name": "music", "members": ["guitar", "drums"], "overlaps": []},
            {"name": "guitar", "members": [], "overlaps": ["harp"]},
            {"name": "drums", "members": [], "overlaps": []},
            {"name": "harp", "members": [], "overlaps": []}
        ],
        "rest": {"from": 0.5, "full": 0.9, "strength": 0.7, "fade": 0.25, "switch": 1.0, "margin": 0.1}
    }"#;

    /// The probabilities of runs: for each pair, as many runs with that probability.
    fn runs(parts: &[(usize, f32)]) -> Vec<f32> {
        parts.iter().flat_map(|&(count, probability)| vec![probability; count]).collect()
    }

    /// Start and end of each segment in a recording of 20 s, in tenths of a second.
    fn segments(parts: &[(usize, f32)]) -> Vec<(i64, i64)> {
        let tenths = |seconds: f64| (10.0 * seconds).round() as i64;
        let found = find_segments(&runs(parts), RUN, 20.0);
        found.iter().map(|segment| (tenths(segment.start), tenths(segment.end))).collect()
    }

    /// The timeline of a recording of 20 s, from the runs of each concept.
    fn timeline(heard: [&[(usize, f32)]; 4]) -> (Timeline, ListenerConcepts) {
        let rows = heard.map(runs);
        let all: Vec<f32> = (0..rows[0].len()).flat_map(|run| rows.each_ref().map(|row| row[run])).collect();
        let concepts = ListenerConcepts::parse(CONCEPTS).unwrap();
        (Timeline::new(&concepts, &all, RUN, 20.0), concepts)
    }

    fn names<'a>(sounds: impl IntoIterator<Item = &'a TimelineSound>) -> Vec<&'a str> {
        sounds.into_iter().map(|sound| &*sound.name).collect()
    }

    #[test]
    fn segment_lies_where_the_sound_is_heard() {
        assert_eq!(segments(&[(30, 0.0), (40, 1.0), (130, 0.0)]), [(30, 68)]);
        assert_eq!(segments(&[(200, 0.49)]), []);
    }

    #[test]
    fn segment_begins_at_a_half_and_ends_below_035() {
        assert_eq!(segments(&[(30, 0.45), (10, 0.6), (30, 0.36), (130, 0.33)]).len(), 1);
        assert_eq!(segments(&[(60, 0.45), (140, 0.34)]), []);
        let [(start, end)] = segments(&[(30, 0.45), (10, 0.6), (30, 0.36), (130, 0.33)])[..] else {
            panic!()
        };
        assert!((28..=32).contains(&start) && (65..=70).contains(&end), "{start} to {end}");
    }

    #[test]
    fn short_gaps_are_closed_and_long_ones_are_not() {
        assert_eq!(segments(&[(40, 0.9), (8, 0.1), (40, 0.9), (100, 0.0)]).len(), 1);
        assert_eq!(segments(&[(40, 0.9), (15, 0.1), (40, 0.9), (100, 0.0)]).len(), 2);
    }

    #[test]
    fn flicker_is_dropped_and_a_short_sound_has_half_a_second() {
        assert_eq!(segments(&[(30, 0.0), (3, 0.9), (30, 0.0), (3, 0.9), (100, 0.0)]), []);
        assert_eq!(segments(&[(30, 0.0), (6, 0.9), (100, 0.0)]), [(30, 35)]);
    }

    #[test]
    fn segments_lie_within_the_recording() {
        assert_eq!(segments(&[(190, 0.0), (15, 0.9)]), [(190, 200)]);
        assert_eq!(segments(&[(100, 0.0), (100, 0.9), (8, 0.0)]), [(100, 200)]);
        assert_eq!(segments(&[(198, 0.0), (12, 0.9)]), [(195, 200)]);
        let short = find_segments(&runs(&[(13, 0.9)]), RUN, 0.3);
        assert!(matches!(short[..], [Segment { start: 0.0, end: 0.3, .. }]), "{short:?}");
    }

    #[test]
    fn probability_of_a_segment_is_that_of_its_surest_second() {
        let found = find_segments(&runs(&[(20, 0.6), (5, 0.9), (5, 0.7), (20, 0.5), (50, 0.0)]), RUN, 20.0);
        assert!((found[0].probability - 0.8).abs() < 1e-6, "{found:?}");
        let short = find_segments(&runs(&[(30, 0.0), (6, 0.9), (100, 0.0)]), RUN, 20.0);
        assert!(short[0].probability > 0.6, "{short:?}");
    }

    #[test]
    fn umbrella_is_listed_where_no_member_is() {
        let (timeline, _) =
            timeline([&[(200, 0.9)], &[(50, 0.0), (60, 0.8), (90, 0.0)], &[(200, 0.0)], &[(200, 0.0)]]);
        assert_eq!(names(&timeline.sounds), ["music", "guitar"]);
        let [music, guitar] = [0, 1].map(|at| &timeline.sounds[at].segments);
        assert_eq!((music[0].start, music[0].end), (0.0, guitar[0].start));
        assert_eq!(music[1].start, guitar[0].end);
    }

    #[test]
    fn sounds_are_in_the_order_in_which_they_begin() {
        let (timeline, _) = timeline([
            &[(200, 0.0)],
            &[(100, 0.0), (100, 0.9)],
            &[(50, 0.0), (150, 0.6)],
            &[(50, 0.0), (150, 0.7)],
        ]);
        assert_eq!(names(&timeline.sounds), ["harp", "drums", "guitar"]);
    }

    #[test]
    fn sure_sounds_are_probable_and_distinct() {
        let (timeline, concepts) = timeline([
            &[(100, 0.9), (100, 0.0)],
            &[(100, 0.0), (100, 0.9)],
            &[(200, 0.6)],
            &[(150, 0.0), (50, 0.8)],
        ]);
        assert_eq!(names(&timeline.sounds), ["drums", "guitar", "harp"]);
        assert_eq!(names(timeline.sure(&concepts, 4)), ["guitar"], "harp and guitar overlap");
        assert_eq!(names(timeline.surest(&concepts, 4)), ["guitar", "drums"]);
        assert_eq!(names(timeline.surest(&concepts, 1)), ["guitar"]);
    }
}
