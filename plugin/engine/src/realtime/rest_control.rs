//! What else is there: runs the listener on the frames of a stream, and selects the rest of each hop.

use std::sync::Arc;

use crate::listener::load::LoadedListener;
use crate::listener::rest_selector::RestSelector;
use crate::listener::suggestions::Suggestions;
use crate::query::encoder::EncodedQuery;
use crate::query::parts::{PartRole, QueryPart};
use crate::realtime::status::{RestSound, Status};
use crate::separator::multi_part::Rest;

/// Most sounds of a rest that was said.
const MAX_SAID: usize = 3;

/// Weight of a rest that was said if the package has no listener: 0.7 and 0.3 of the logits.
const UNTAUGHT_WEIGHT: f32 = 0.6;

/// Time in seconds in which the weight of a rest that was said rises or falls while audio plays.
const SAID_FADE_SECONDS: f64 = 0.25;

/// The listener of a stream, with the states that follow from what it hears.
struct Hearing {
    loaded: LoadedListener,
    selector: RestSelector,
    suggestions: Suggestions,
    /// Newest probability of each concept.
    heard: Vec<f32>,
    /// The selected concept, as a part with its embedding.
    selected: Option<(usize, QueryPart)>,
}

/// A query's parts, divided into those to separate and the sounds of its rest that it says.
#[derive(Default)]
struct DividedQuery {
    /// The parts that were divided.
    source: Arc<[QueryPart]>,
    kept: Arc<[QueryPart]>,
    said: Vec<QueryPart>,
}

/// Selects the rest for each hop of a separator thread.
pub struct RestControl {
    hearing: Option<Hearing>,
    status: Arc<Status>,
    /// Stream of the states; `None` before the first frame.
    stream: Option<u32>,
    divided: DividedQuery,
    /// Sounds of the newest rest that was said.
    said: Vec<QueryPart>,
    said_weight: f32,
    /// Largest change of `said_weight` per hop.
    said_step: f32,
    /// Whether the stream has had a hop, so that weights change in ramps.
    is_playing: bool,
}

impl RestControl {
    /// Creates the control of a stream with a frame per `hop_seconds`. It reports to `status`.
    pub fn new(loaded: Option<LoadedListener>, status: Arc<Status>, hop_seconds: f64) -> Self {
        let hearing = loaded.map(|loaded| {
            let concepts = loaded.concepts.names().len();
            Hearing {
                selector: RestSelector::new(*loaded.concepts.rule(), hop_seconds),
                suggestions: Suggestions::new(concepts, hop_seconds),
                heard: vec![0.0; concepts],
                selected: None,
                loaded,
            }
        });
        Self {
            hearing,
            status,
            stream: None,
            divided: DividedQuery::default(),
            said: Vec::new(),
            said_weight: 0.0,
            said_step: (hop_seconds / SAID_FADE_SECONDS).min(1.0) as f32,
            is_playing: false,
        }
    }

    /// Takes the frame `magnitude` of `stream`, after `skipped` frames of silence; with `is_needed`, the listener hears them.
    ///
    /// A listener that fails is reported and not used again.
    pub fn hear(&mut self, stream: u32, magnitude: &[f32], skipped: u32, is_needed: bool) {
        let is_new = self.stream != Some(stream);
        if is_new {
            self.stream = Some(stream);
            self.reset();
        }
        let Some(hearing) = self.hearing.as_mut().filter(|_| is_needed) else { return };
        let listener = &mut hearing.loaded.listener;
        let skipping = match is_new {
            true => Ok(()),
            false => listener.skip_silence(skipped as usize),
        };
        match skipping.and_then(|()| listener.hear(magnitude)) {
            Ok(heard) => hearing.heard.copy_from_slice(heard),
            Err(problem) => {
                self.hearing = None;
                self.status.update_hearing(|state| {
                    state.sounds = Arc::default();
                    state.problem = Some(format!("listener: {problem}. Install the model again"));
                });
                return;
            }
        }
        let Hearing { suggestions, heard, loaded, .. } = hearing;
        if suggestions.step(heard, &loaded.concepts) {
            let sounds = suggestions.sounds(heard, &loaded.concepts).into();
            self.status.update_hearing(|state| state.sounds = sounds);
        }
    }

    fn reset(&mut self) {
        if let Some(hearing) = &mut self.hearing {
            hearing.loaded.listener.reset();
            hearing.selector.reset();
            hearing.suggestions.reset();
            hearing.heard.fill(0.0);
            hearing.selected = None;
        }
        (self.said_weight, self.is_playing) = (0.0, false);
        self.status.update_hearing(|state| (state.sounds, state.rest) = (Arc::default(), None));
    }

    /// Returns the parts of `query` to separate, and the rest that competes with them in this hop.
    ///
    /// `said`: the text of the rest, if there is one. Without `is_wanted`, a rest fades away and none takes its place.
    pub fn select(
        &mut self,
        query: &EncodedQuery,
        said: Option<&EncodedQuery>,
        is_wanted: bool,
    ) -> (Arc<[QueryPart]>, Rest<'_>) {
        self.divide(query);
        let has_said = is_wanted && (said.is_some() || !self.divided.said.is_empty());
        if has_said {
            let is_included = |part: &&QueryPart| part.role == PartRole::Include;
            let of_text = said.iter().flat_map(|said| said.parts.iter()).filter(is_included);
            self.said.clear();
            self.said.extend(self.divided.said.iter().chain(of_text).take(MAX_SAID).cloned());
        }
        let full = if self.hearing.is_some() { 1.0 } else { UNTAUGHT_WEIGHT };
        let target = if has_said { full } else { 0.0 };
        let change = if self.is_playing { self.said_step } else { 1.0 };
        self.said_weight += (target - self.said_weight).clamp(-change, change);
        self.is_playing = true;
        // A sound that the query excludes limits its gains again when it is no longer the rest.
        let kept = match has_said {
            true => self.divided.kept.clone(),
            false => query.parts.clone(),
        };
        let heard = self.hearing.as_mut().and_then(|hearing| {
            let candidates = if is_wanted && !has_said { &*query.rest_candidates } else { &[] };
            hearing.select(candidates)
        });
        let (parts, weight, name) = match heard {
            _ if self.said_weight > 0.0 => (&*self.said, self.said_weight, None),
            Some((part, weight, name)) => (std::slice::from_ref(part), weight, Some(name)),
            None => (&[][..], 0.0, None),
        };
        self.status.update_hearing(|state| match &mut state.rest {
            None if weight == 0.0 => {}
            Some(rest) if rest.name.as_deref() == name && weight > 0.0 => rest.weight = weight,
            rest => *rest = (weight > 0.0).then(|| RestSound { name: name.map(str::to_owned), weight }),
        });
        (kept, Rest { parts, weight })
    }

    /// Divides `query`, if it has included parts: sounds that it excludes are its rest.
    fn divide(&mut self, query: &EncodedQuery) {
        if Arc::ptr_eq(&self.divided.source, &query.parts) {
            return;
        }
        let is_included = |part: &&QueryPart| part.role == PartRole::Include;
        let kept: Arc<[QueryPart]> = query.parts.iter().filter(is_included).cloned().collect();
        let (kept, said) = match kept.is_empty() {
            true => (query.parts.clone(), Vec::new()),
            false => (kept, query.parts.iter().filter(|part| !is_included(part)).cloned().collect()),
        };
        self.divided = DividedQuery { source: query.parts.clone(), kept, said };
    }
}

impl Hearing {
    /// Selects the rest among `candidates`: its part, weight and name.
    fn select(&mut self, candidates: &[bool]) -> Option<(&QueryPart, f32, &str)> {
        let Some((concept, weight)) = self.selector.step(&self.heard, candidates) else {
            self.selected = None;
            return None;
        };
        if self.selected.as_ref().is_none_or(|(selected, _)| *selected != concept) {
            let embedding = self.loaded.embeddings.row(concept).into();
            self.selected = Some((concept, QueryPart { embedding, role: PartRole::Include }));
        }
        let (_, part) = self.selected.as_ref()?;
        Some((part, weight, &self.loaded.concepts.names()[concept]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::listener::concepts::{ConceptEmbeddings, ListenerConcepts};
    use crate::listener::fake::FakeListener;

    const HOP_SECONDS: f64 = 0.125;
    const CONCEPTS: &[u8] = br#"{
        "concepts": [
            {"name": "speech", "members": [], "overlaps": []},
            {"name": "music", "members": [], "overlaps": []},
            {"name": "rain", "members": [], "overlaps": []}
        ],
        "rest": {"from": 0.5, "full": 1.0, "strength": 1.0, "fade": 0.5, "switch": 0.5, "margin": 0.125}
    }"#;

    /// Listener that hears the magnitudes as probabilities of the three concepts.
    fn listener() -> LoadedListener {
        let halves = [1.0, 2.0, 3.0].map(half::f16::from_f32);
        let bytes: Vec<u8> = halves.iter().flat_map(|value| value.to_le_bytes()).collect();
        LoadedListener {
            listener: Box::new(FakeListener::new(3, |magnitude: &[f32], heard: &mut [f32]| {
                heard.copy_from_slice(magnitude);
            })),
            concepts: Arc::new(ListenerConcepts::parse(CONCEPTS).unwrap()),
            embeddings: Arc::new(ConceptEmbeddings::parse(&bytes, 3, 1).unwrap()),
        }
    }

    fn part(value: f32, role: PartRole) -> QueryPart {
        QueryPart { embedding: Arc::from([value]), role }
    }

    fn query(parts: &[QueryPart], rest_candidates: &[bool]) -> EncodedQuery {
        let understanding = Arc::default();
        EncodedQuery { parts: parts.into(), understanding, rest_candidates: rest_candidates.into() }
    }

    /// A text that means speech.
    fn speech() -> EncodedQuery {
        query(&[part(0.0, PartRole::Include)], &[false, true, true])
    }

    struct Fixture {
        control: RestControl,
        status: Arc<Status>,
    }

    impl Fixture {
        fn new(listener: Option<LoadedListener>) -> Self {
            let status = Arc::new(Status::new(1));
            Self { control: RestControl::new(listener, status.clone(), HOP_SECONDS), status }
        }

        /// Hears the frame and selects; returns the embeddings' values of the rest, its weight, and the number of kept parts.
        fn hop(
            &mut self,
            heard: [f32; 3],
            query: &EncodedQuery,
            said: Option<&EncodedQuery>,
        ) -> (Vec<f32>, f32, usize) {
            self.hop_in((0, true), heard, query, said)
        }

        fn hop_in(
            &mut self,
            (stream, is_wanted): (u32, bool),
            heard: [f32; 3],
            query: &EncodedQuery,
            said: Option<&EncodedQuery>,
        ) -> (Vec<f32>, f32, usize) {
            self.control.hear(stream, &heard, 0, is_wanted);
            let (kept, rest) = self.control.select(query, said, is_wanted);
            (rest.parts.iter().map(|part| part.embedding[0]).collect(), rest.weight, kept.len())
        }

        fn rest(&self) -> Option<RestSound> {
            self.status.hearing().rest
        }
    }

    #[test]
    fn surest_sound_that_the_text_does_not_mean_is_the_rest() {
        let mut fixture = Fixture::new(Some(listener()));
        assert_eq!(fixture.hop([1.0, 0.9, 0.6], &speech(), None), (vec![2.0], 0.25, 1));
        assert_eq!(fixture.rest(), Some(RestSound { name: Some("music".into()), weight: 0.25 }));
        assert_eq!(fixture.hop([1.0, 1.0, 0.6], &speech(), None).1, 0.5);
        assert_eq!(fixture.rest().unwrap().weight, 0.5);
    }

    #[test]
    fn nothing_is_the_rest_where_nothing_else_is_heard() {
        let mut fixture = Fixture::new(Some(listener()));
        assert_eq!(fixture.hop([1.0, 0.4, 0.4], &speech(), None), (vec![], 0.0, 1));
        assert_eq!(fixture.rest(), None);
        let unknown = query(&[part(0.0, PartRole::Include)], &[]);
        assert_eq!(fixture.hop([1.0, 1.0, 1.0], &unknown, None), (vec![], 0.0, 1));
    }

    #[test]
    fn rest_that_was_said_counts_fully_and_alone() {
        let mut fixture = Fixture::new(Some(listener()));
        let parts: Vec<_> = [5.0, 6.0, 7.0, 8.0].map(|value| part(value, PartRole::Include)).into();
        let said = query(&parts, &[]);
        assert_eq!(fixture.hop([1.0; 3], &speech(), Some(&said)), (vec![5.0, 6.0, 7.0], 1.0, 1));
        assert_eq!(fixture.rest(), Some(RestSound { name: None, weight: 1.0 }));
    }

    #[test]
    fn without_a_listener_a_said_rest_counts_for_less() {
        let mut fixture = Fixture::new(None);
        let said = query(&[part(5.0, PartRole::Include)], &[]);
        assert_eq!(fixture.hop([1.0; 3], &speech(), Some(&said)), (vec![5.0], 0.6, 1));
    }

    #[test]
    fn sounds_excluded_beside_a_wanted_one_are_its_rest() {
        let mut fixture = Fixture::new(Some(listener()));
        let parts = [part(0.0, PartRole::Include), part(9.0, PartRole::Exclude)];
        let both = query(&parts, &[]);
        assert_eq!(fixture.hop([1.0; 3], &both, None), (vec![9.0], 1.0, 1));
        assert_eq!(
            fixture.hop_in((1, false), [1.0; 3], &both, None),
            (vec![], 0.0, 2),
            "they limit gains without"
        );
        let excluded = query(&parts[1..], &[]);
        assert_eq!(fixture.hop_in((2, true), [1.0; 3], &excluded, None), (vec![], 0.0, 1));
    }

    #[test]
    fn weight_of_a_said_rest_changes_in_a_ramp_while_audio_plays() {
        let mut fixture = Fixture::new(Some(listener()));
        let said = query(&[part(5.0, PartRole::Include)], &[]);
        fixture.hop([0.0; 3], &speech(), None);
        assert_eq!(fixture.hop([0.0; 3], &speech(), Some(&said)).1, 0.5);
        assert_eq!(fixture.hop([0.0; 3], &speech(), Some(&said)).1, 1.0);
        assert_eq!(fixture.hop([0.0; 3], &speech(), None), (vec![5.0], 0.5, 1));
        assert_eq!(fixture.hop([0.0; 3], &speech(), None), (vec![], 0.0, 1));
    }

    #[test]
    fn new_text_begins_with_what_is_heard_already() {
        let mut fixture = Fixture::new(Some(listener()));
        for _ in 0..4 {
            fixture.hop([1.0, 1.0, 0.0], &speech(), None);
        }
        let music = query(&[part(0.5, PartRole::Include)], &[true, false, true]);
        let weights: Vec<_> = (0..5).map(|_| fixture.hop([1.0, 1.0, 0.0], &music, None)).collect();
        assert_eq!(weights[2], (vec![2.0], 0.25, 1), "the rest that is now wanted fades first");
        assert_eq!(weights[4], (vec![1.0], 0.25, 1), "speech, heard all the time, takes over at once");
    }

    #[test]
    fn new_stream_forgets_what_was_heard() {
        let mut fixture = Fixture::new(Some(listener()));
        for _ in 0..10 {
            fixture.hop([1.0, 1.0, 0.0], &speech(), None);
        }
        assert_eq!(fixture.status.hearing().sounds.len(), 2);
        assert_eq!(fixture.hop_in((1, true), [1.0, 0.9, 0.0], &speech(), None).1, 0.25);
        assert!(fixture.status.hearing().sounds.is_empty());
    }

    #[test]
    fn failing_listener_is_reported_and_not_asked_again() {
        struct Failing;
        impl crate::listener::network::Listener for Failing {
            fn reset(&mut self) {}
            fn hear(&mut self, _: &[f32]) -> Result<&[f32], String> {
                Err("broken".into())
            }
            fn skip_silence(&mut self, _: usize) -> Result<(), String> {
                Ok(())
            }
        }
        let mut fixture = Fixture::new(Some(LoadedListener { listener: Box::new(Failing), ..listener() }));
        assert_eq!(fixture.hop([1.0; 3], &speech(), None), (vec![], 0.0, 1));
        let problem = fixture.status.hearing().problem.unwrap();
        assert_eq!(problem, "listener: broken. Install the model again");
        assert_eq!(fixture.hop([1.0; 3], &speech(), None), (vec![], 0.0, 1));
    }

    #[test]
    fn listener_rests_while_nobody_needs_it() {
        let mut fixture = Fixture::new(Some(listener()));
        for _ in 0..10 {
            fixture.hop_in((0, false), [1.0, 1.0, 0.0], &speech(), None);
        }
        assert!(fixture.status.hearing().sounds.is_empty());
    }
}
