//! The words: eight texts of an instance, the embeddings they became, and what was concept_matches.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use crate::query::concepts::ConceptMatch;
use crate::query::encoder::EncodedQuery;
use crate::query::parts::QueryPart;
use crate::query::text::{normalise, truncate};

/// Query slots an instance has.
pub const SLOTS: usize = 8;

/// What the slots of a fresh instance say.
pub const DEFAULT_QUERIES: [&str; SLOTS] =
    ["a person speaking", "drums", "piano", "guitar", "rain", "wind", "a dog barking", "crowd chatter"];

/// Requests that the changed texts of the given queries are encoded, without waiting for it.
pub(crate) type RequestEncoding = Arc<dyn Fn(&Arc<Queries>) + Send + Sync>;

/// How far a slot's text has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum SlotState {
    /// The slot is empty: there is nothing to separate by.
    Empty,
    /// The text waits for its embedding; the one before it stays in force.
    Encoding,
    /// The embedding is in force.
    Ready,
    /// The text could not be encoded; [`Queries::problem`] says why.
    Failed,
}

impl SlotState {
    fn from_u8(value: u8) -> Self {
        [SlotState::Empty, SlotState::Encoding, SlotState::Ready, SlotState::Failed][usize::from(value)]
    }
}

#[derive(Clone, Default)]
struct SlotText {
    set: String,
    /// What somebody is typing in its place.
    draft: Option<String>,
}

/// The eight queries of one instance, shared between its editor, host state, the librarian and
/// its separator thread. The audio thread never touches it.
pub struct Queries {
    texts: Mutex<[SlotText; SLOTS]>,
    /// Grows with every change of a text.
    generation: AtomicU64,
    states: [AtomicU8; SLOTS],
    problem: Mutex<Option<String>>,
    /// Has changed texts encoded, while an engine runs on these queries.
    encode: Mutex<Option<RequestEncoding>>,
    /// Who the embeddings are for: grows with every engine that is opened on these queries. The one
    /// before it finds none any more.
    engine_id: AtomicU64,
    /// Taken by the librarian and the separator thread only.
    parts: Mutex<[Option<Arc<[QueryPart]>>; SLOTS]>,
    encoded: Condvar,
    concept_matches: Mutex<[Arc<[ConceptMatch]>; SLOTS]>,
    concept_names: Mutex<Arc<[String]>>,
}

impl Default for Queries {
    fn default() -> Self {
        Self::new(DEFAULT_QUERIES.map(String::from))
    }
}

impl Queries {
    pub fn new(texts: [String; SLOTS]) -> Self {
        let queries = Self {
            texts: Default::default(),
            generation: AtomicU64::new(0),
            states: Default::default(),
            problem: Mutex::new(None),
            encode: Mutex::new(None),
            engine_id: AtomicU64::new(0),
            parts: Default::default(),
            encoded: Condvar::new(),
            concept_matches: Default::default(),
            concept_names: Default::default(),
        };
        for (slot, text) in texts.into_iter().enumerate() {
            queries.write(&mut queries.texts.lock(), slot, text);
        }
        queries
    }

    /// The texts as they were set, and where one is being typed, as far as it has come: what a saved
    /// state is to hold.
    pub fn texts(&self) -> [String; SLOTS] {
        self.texts.lock().clone().map(|text| text.draft.unwrap_or(text.set))
    }

    /// Notes what is being typed into `slot`, so that it is not lost when the window closes under it.
    /// It is in force once it is [set](Self::set_text), or [all are settled](Self::commit_drafts).
    pub fn draft(&self, slot: usize, text: &str) {
        self.texts.lock()[slot].draft = Some(truncate(text));
    }

    /// Takes everything as selected that was being typed. Whether there was anything.
    pub fn commit_drafts(self: &Arc<Self>) -> bool {
        let mut texts = self.texts.lock();
        let mut changed = false;
        for slot in 0..SLOTS {
            if let Some(draft) = texts[slot].draft.take() {
                self.write(&mut texts, slot, draft);
                changed = true;
            }
        }
        drop(texts);
        if changed {
            self.request_encoding();
        }
        changed
    }

    pub fn text(&self, slot: usize) -> String {
        self.texts.lock()[slot].set.clone()
    }

    /// Grows with every change of a text.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    pub fn slot_state(&self, slot: usize) -> SlotState {
        SlotState::from_u8(self.states[slot].load(Ordering::Acquire))
    }

    /// What the text of `slot` was concept_matches as, nearest concept first; nothing while it is being
    /// encoded, or where the model does not tell.
    pub fn concept_matches(&self, slot: usize) -> Arc<[ConceptMatch]> {
        self.concept_matches.lock()[slot].clone()
    }

    /// The names of what the model knows; nothing while none is loaded, or where it does not tell.
    pub fn concept_names(&self) -> Arc<[String]> {
        self.concept_names.lock().clone()
    }

    /// Tells what the model knows; the librarian's to call.
    pub fn set_concept_names(&self, names: Arc<[String]>) {
        *self.concept_names.lock() = names;
    }

    /// Why a text could not be encoded.
    pub fn problem(&self) -> Option<String> {
        self.problem.lock().clone()
    }

    /// Puts `text`, truncate to [`MAX_CHARACTERS`], into `slot` and has it encoded. Never blocks on the
    /// network: the old embedding stays in force until the new one is there.
    pub fn set_text(self: &Arc<Self>, slot: usize, text: &str) {
        let text = truncate(text);
        let mut texts = self.texts.lock();
        texts[slot].draft = None;
        if texts[slot].set != text {
            self.write(&mut texts, slot, text);
            drop(texts);
            self.request_encoding();
        }
    }

    /// As [`set_text`](Self::set_text), for all slots.
    pub fn set_texts(self: &Arc<Self>, texts: &[String; SLOTS]) {
        for (slot, text) in texts.iter().enumerate() {
            self.set_text(slot, text);
        }
    }

    fn write(&self, texts: &mut [SlotText; SLOTS], slot: usize, text: String) {
        let state = if normalise(&text).is_empty() { SlotState::Empty } else { SlotState::Encoding };
        texts[slot].set = text;
        self.states[slot].store(state as u8, Ordering::Release);
        self.concept_matches.lock()[slot] = Arc::default();
        self.generation.fetch_add(1, Ordering::Release);
    }

    /// Calls `encode` at every change of a text from now on, and marks all of them as not encoded; for the engine_id that
    /// is returned. Without it there is nothing to read.
    pub(crate) fn connect(self: &Arc<Self>, encode: Option<RequestEncoding>) -> u64 {
        let mut texts = self.texts.lock();
        for slot in 0..SLOTS {
            let SlotText { set, draft } = std::mem::take(&mut texts[slot]);
            self.write(&mut texts, slot, draft.unwrap_or(set));
        }
        let mut parts = self.parts.lock();
        *parts = Default::default();
        let engine_id = self.engine_id.fetch_add(1, Ordering::AcqRel) + 1;
        self.encoded.notify_all();
        drop((parts, texts));
        *self.problem.lock() = None;
        self.set_concept_names(Arc::default());
        *self.encode.lock() = encode;
        engine_id
    }

    /// Has no text encoded any more, unless another engine_id came since.
    pub(crate) fn disconnect(&self, engine_id: u64) {
        let mut encode = self.encode.lock();
        if self.engine_id() == engine_id {
            *encode = None;
        }
    }

    /// Who the embeddings are for.
    pub(crate) fn engine_id(&self) -> u64 {
        self.engine_id.load(Ordering::Acquire)
    }

    fn request_encoding(self: &Arc<Self>) {
        if let Some(encode) = &*self.encode.lock() {
            encode(self);
        }
    }

    /// The slots that wait for a change to take effect, with their normalised texts.
    pub(crate) fn pending(&self) -> Vec<(usize, String)> {
        let texts = self.texts.lock();
        texts
            .iter()
            .enumerate()
            .filter(|(slot, _)| self.slot_state(*slot) == SlotState::Encoding)
            .map(|(slot, text)| (slot, normalise(&text.set)))
            .collect()
    }

    /// Hands over to `engine_id` what became of `text` in `slot`, or the reason why nothing did. Ignored
    /// when the slot says something else by now, or is read by another.
    pub(crate) fn set_encoded(
        &self,
        engine_id: u64,
        slot: usize,
        text: &str,
        outcome: Result<EncodedQuery, String>,
    ) {
        let texts = self.texts.lock();
        if normalise(&texts[slot].set) != text || self.engine_id() != engine_id {
            return;
        }
        let (state, encoded) = match outcome {
            Ok(EncodedQuery { parts, matches }) => {
                self.concept_matches.lock()[slot] = matches;
                (SlotState::Ready, Some(parts))
            }
            Err(problem) => {
                *self.problem.lock() = Some(problem);
                (SlotState::Failed, None)
            }
        };
        // The state changes under the lock that a waiting separator checks it under.
        let mut parts = self.parts.lock();
        parts[slot] = encoded;
        self.states[slot].store(state as u8, Ordering::Release);
        self.encoded.notify_all();
    }

    /// The sounds that the embeddings in force for `slot` are of, one at least, if they are for `engine_id`.
    /// Where `timeout` allows, waits for those being encoded.
    pub(crate) fn parts(&self, engine_id: u64, slot: usize, timeout: Duration) -> Option<Arc<[QueryPart]>> {
        let deadline = Instant::now() + timeout;
        let mut parts = self.parts.lock();
        while self.engine_id() == engine_id
            && self.slot_state(slot) == SlotState::Encoding
            && !self.encoded.wait_until(&mut parts, deadline).timed_out()
        {}
        match self.slot_state(slot) {
            _ if self.engine_id() != engine_id => None,
            // What the slot said before it was emptied is in force no more.
            SlotState::Empty => None,
            _ => parts[slot].clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoding(value: f32) -> EncodedQuery {
        let nearest = ConceptMatch { name: "drums".into(), closeness: 0.8, selected: true };
        EncodedQuery { matches: Arc::from([nearest]), ..EncodedQuery::single(Arc::from([value])) }
    }

    /// The embedding in force.
    fn embedding(queries: &Queries, engine_id: u64, slot: usize, timeout: Duration) -> Option<f32> {
        queries.parts(engine_id, slot, timeout).map(|parts| parts[0].embedding[0])
    }

    #[test]
    fn a_fresh_instance_has_something_to_say_in_every_slot() {
        let queries = Queries::default();
        assert!(
            (0..SLOTS).all(|slot| queries.slot_state(slot) == SlotState::Encoding && !queries.text(slot).is_empty())
        );
    }

    #[test]
    fn the_old_embedding_stays_in_force_until_the_new_one_is_there() {
        let queries = Arc::new(Queries::default());
        queries.set_encoded(0, 1, "drums", Ok(encoding(1.0)));
        queries.set_text(1, "bass");
        assert_eq!(queries.slot_state(1), SlotState::Encoding);
        assert_eq!(embedding(&queries, 0, 1, Duration::ZERO), Some(1.0));
        queries.set_encoded(0, 1, "bass", Ok(encoding(2.0)));
        assert_eq!(embedding(&queries, 0, 1, Duration::ZERO), Some(2.0));
    }

    #[test]
    fn an_embedding_of_a_text_that_changed_meanwhile_is_ignored() {
        let queries = Arc::new(Queries::default());
        queries.set_text(0, "the singer");
        queries.set_encoded(0, 0, "a person speaking", Ok(encoding(1.0)));
        assert_eq!(queries.slot_state(0), SlotState::Encoding);
        assert!(embedding(&queries, 0, 0, Duration::ZERO).is_none());
    }

    #[test]
    fn embeddings_are_for_the_newest_reader_only() {
        let queries = Arc::new(Queries::default());
        let encode: RequestEncoding = Arc::new(|_| ());
        let first = queries.connect(Some(encode.clone()));
        queries.set_encoded(first, 1, "drums", Ok(encoding(1.0)));
        assert!(embedding(&queries, first, 1, Duration::ZERO).is_some());
        let second = queries.connect(Some(encode));
        assert!(embedding(&queries, first, 1, Duration::from_secs(60)).is_none(), "and is not waited for");
        queries.set_encoded(first, 1, "drums", Ok(encoding(1.0)));
        assert_eq!(queries.slot_state(1), SlotState::Encoding, "what the first one's model says is ignored");
        queries.set_encoded(second, 1, "drums", Ok(encoding(2.0)));
        assert_eq!(embedding(&queries, second, 1, Duration::ZERO), Some(2.0));
        queries.disconnect(first);
        assert!(queries.encode.lock().is_some(), "the second one goes on");
        queries.disconnect(second);
        assert!(queries.encode.lock().is_none());
    }

    #[test]
    fn what_was_understood_is_told_of_the_text_that_is_there() {
        let queries = Arc::new(Queries::default());
        assert!(queries.concept_matches(1).is_empty());
        queries.set_encoded(0, 1, "drums", Ok(encoding(1.0)));
        assert_eq!(queries.concept_matches(1)[0].name, "drums");
        queries.set_text(1, "bass");
        assert!(queries.concept_matches(1).is_empty());
    }

    #[test]
    fn an_emptied_slot_loses_its_embedding() {
        let queries = Arc::new(Queries::default());
        queries.set_encoded(0, 0, "a person speaking", Ok(encoding(1.0)));
        queries.set_text(0, "   ");
        assert_eq!(queries.slot_state(0), SlotState::Empty);
        assert!(embedding(&queries, 0, 0, Duration::ZERO).is_none());
    }

    #[test]
    fn what_is_being_typed_is_saved_and_in_force_only_once_it_is_settled() {
        let queries = Arc::new(Queries::default());
        queries.set_encoded(0, 0, "a person speaking", Ok(encoding(1.0)));
        queries.draft(0, "the sing");
        queries.draft(1, "");
        assert_eq!(queries.texts()[..3], ["the sing", "", "piano"]);
        assert_eq!(
            (queries.text(0).as_str(), queries.slot_state(0)),
            ("a person speaking", SlotState::Ready)
        );
        queries.commit_drafts();
        assert_eq!((queries.text(0).as_str(), queries.slot_state(0)), ("the sing", SlotState::Encoding));
        assert_eq!(queries.slot_state(1), SlotState::Empty);
    }

    #[test]
    fn a_text_that_is_set_replaces_what_was_being_typed() {
        let queries = Arc::new(Queries::default());
        queries.draft(0, "the sing");
        queries.set_text(0, "a person speaking");
        assert_eq!(queries.texts()[0], "a person speaking");
    }
}
