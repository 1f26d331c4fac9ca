//! Query slots: the eight texts of an instance with their embeddings and nearest concepts.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use crate::query::encoder::EncodedQuery;
use crate::query::names::SoundRequest;
use crate::query::text::{DEFAULT_QUERIES, QueryText, SLOTS, normalise, truncate};
use crate::query::understanding::Understanding;

/// Place of the text of the rest, after the slots.
const REST: usize = SLOTS;

const PLACES: usize = SLOTS + 1;

/// Callback that requests the encoding of changed texts, without waiting for it.
pub(crate) type RequestEncoding = Arc<dyn Fn(&Arc<Queries>) + Send + Sync>;

/// State of a slot's text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum SlotState {
    /// The slot is empty, so audio passes unchanged.
    Empty,
    /// The text waits for its embedding; the previous embedding stays in use.
    Encoding,
    /// The embedding is in use.
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
    committed: String,
    /// Text that is being typed and replaces it when committed.
    draft: Option<String>,
}

/// Encoding of the text in each place; `None` before the first encoding and after a failed one.
type Encodings = [Option<EncodedQuery>; PLACES];

/// The eight queries of one instance, and a text for the rest, shared by its editor, host state, separator thread and the model service.
///
/// The audio thread never uses it.
pub struct Queries {
    texts: Mutex<[SlotText; PLACES]>,
    /// Incremented with every change of a text.
    generation: AtomicU64,
    states: [AtomicU8; PLACES],
    problem: Mutex<Option<String>>,
    /// Called when a text changes, while an engine uses these queries.
    encoding_callback: Mutex<Option<RequestEncoding>>,
    /// Engine that owns the embeddings; incremented with every engine that is opened on these queries or leaves them.
    engine_id: AtomicU64,
    /// Locked only by the model service and the separator thread.
    encodings: Mutex<Encodings>,
    /// Notified when `encodings`, a state or the engine's id changes.
    encodings_changed: Condvar,
    understandings: Mutex<[Arc<Understanding>; PLACES]>,
    concept_names: Mutex<Arc<[String]>>,
}

impl Default for Queries {
    fn default() -> Self {
        Self::new(DEFAULT_QUERIES.map(String::from))
    }
}

impl Queries {
    /// Creates queries with `texts`, of which none is encoded yet.
    pub fn new(texts: [String; SLOTS]) -> Self {
        let queries = Self {
            texts: Default::default(),
            generation: AtomicU64::new(0),
            states: Default::default(),
            problem: Mutex::new(None),
            encoding_callback: Mutex::new(None),
            engine_id: AtomicU64::new(0),
            encodings: Default::default(),
            encodings_changed: Condvar::new(),
            understandings: Default::default(),
            concept_names: Default::default(),
        };
        for (slot, text) in texts.into_iter().enumerate() {
            queries.write(&mut queries.texts.lock(), slot, text);
        }
        queries
    }

    /// Returns the texts for a saved state: drafts where there are any, else the committed texts.
    pub fn texts(&self) -> [String; SLOTS] {
        let texts = self.texts.lock();
        std::array::from_fn(|slot| texts[slot].draft.as_ref().unwrap_or(&texts[slot].committed).clone())
    }

    /// Stores a text that is being typed into `slot`, so that it is not lost when the editor closes.
    ///
    /// It takes effect by [`set_text`](Self::set_text) or [`commit_drafts`](Self::commit_drafts).
    pub fn draft(&self, slot: usize, text: &str) {
        self.texts.lock()[slot].draft = Some(truncate(text));
    }

    /// Commits all drafts and returns whether there were any.
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

    /// Returns the committed text of `slot`.
    pub fn text(&self, slot: usize) -> String {
        self.texts.lock()[slot].committed.clone()
    }

    /// Returns a number that grows with every change of a text.
    pub fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Returns the state of the text of `slot`.
    pub fn slot_state(&self, slot: usize) -> SlotState {
        SlotState::from_u8(self.states[slot].load(Ordering::Acquire))
    }

    /// Returns how the text of `slot` was understood.
    ///
    /// Empty while the text is being encoded.
    pub fn understanding(&self, slot: usize) -> Arc<Understanding> {
        self.understandings.lock()[slot].clone()
    }

    /// Returns the names of the model's concepts; empty if it has none or none is loaded.
    pub fn concept_names(&self) -> Arc<[String]> {
        self.concept_names.lock().clone()
    }

    /// Sets the names of the model's concepts; called by the model service.
    pub fn set_concept_names(&self, names: Arc<[String]>) {
        *self.concept_names.lock() = names;
    }

    /// Returns the reason why a text could not be encoded.
    pub fn problem(&self) -> Option<String> {
        self.problem.lock().clone()
    }

    /// Sets the text of `slot`, truncated to [`MAX_CHARACTERS`](crate::MAX_CHARACTERS), and requests its encoding.
    ///
    /// Does not wait for the network: the old embedding stays in use until the new one is ready.
    pub fn set_text(self: &Arc<Self>, slot: usize, text: &str) {
        let text = truncate(text);
        let mut texts = self.texts.lock();
        texts[slot].draft = None;
        if texts[slot].committed != text {
            self.write(&mut texts, slot, text);
            drop(texts);
            self.request_encoding();
        }
    }

    /// Sets the texts of all slots as [`set_text`](Self::set_text) does.
    pub fn set_texts(self: &Arc<Self>, texts: &[String; SLOTS]) {
        for (slot, text) in texts.iter().enumerate() {
            self.set_text(slot, text);
        }
    }

    fn write(&self, texts: &mut [SlotText; PLACES], slot: usize, text: String) {
        let state = if normalise(&text).is_empty() { SlotState::Empty } else { SlotState::Encoding };
        texts[slot].committed = text;
        let encodings = self.encodings.lock();
        self.set_state(&encodings, slot, state);
        self.understandings.lock()[slot] = Arc::default();
        // "Everything else" in another slot now means something else. Slots that wait are encoded anyway, so that a new
        // instance parses nothing.
        let is_encoded = |slot: usize| matches!(self.slot_state(slot), SlotState::Ready | SlotState::Failed);
        for other in (0..SLOTS).filter(|&other| other != slot && slot < SLOTS && is_encoded(other)) {
            if SoundRequest::depends_on_others(&texts[other].committed) {
                self.set_state(&encodings, other, SlotState::Encoding);
            }
        }
        self.generation.fetch_add(1, Ordering::Release);
    }

    /// Returns the text in `slot` with those on which its meaning depends.
    fn query_text(texts: &[SlotText; PLACES], slot: usize) -> QueryText {
        let text = normalise(&texts[slot].committed);
        let mut others = Vec::new();
        if slot < SLOTS && SoundRequest::depends_on_others(&text) {
            let slots = (0..SLOTS).filter(|&other| other != slot);
            others.extend(slots.map(|other| normalise(&texts[other].committed)));
        }
        QueryText { text, others }
    }

    /// Starts a new engine on these queries and returns its id.
    ///
    /// Discards all embeddings, and calls `callback` at every later change of a text. Without a callback nothing is
    /// encoded.
    pub(crate) fn connect(self: &Arc<Self>, callback: Option<RequestEncoding>) -> u64 {
        let mut texts = self.texts.lock();
        for slot in 0..PLACES {
            let SlotText { committed, draft } = std::mem::take(&mut texts[slot]);
            self.write(&mut texts, slot, draft.unwrap_or(committed));
        }
        let mut encodings = self.encodings.lock();
        *encodings = Default::default();
        let engine_id = self.engine_id.fetch_add(1, Ordering::AcqRel) + 1;
        self.encodings_changed.notify_all();
        drop((encodings, texts));
        *self.problem.lock() = None;
        self.set_concept_names(Arc::default());
        *self.encoding_callback.lock() = callback;
        engine_id
    }

    /// Stops the encoding of texts and the use of the embeddings, unless another engine was connected since.
    ///
    /// Ends waits for a text, which may never be encoded.
    pub(crate) fn disconnect(&self, engine_id: u64) {
        let mut callback = self.encoding_callback.lock();
        let _encodings = self.encodings.lock();
        if self.engine_id() == engine_id {
            *callback = None;
            self.engine_id.fetch_add(1, Ordering::AcqRel);
            self.encodings_changed.notify_all();
        }
    }

    /// Returns the id of the engine that owns the embeddings; that of no engine after [`disconnect`](Self::disconnect).
    pub(crate) fn engine_id(&self) -> u64 {
        self.engine_id.load(Ordering::Acquire)
    }

    fn request_encoding(self: &Arc<Self>) {
        if let Some(callback) = &*self.encoding_callback.lock() {
            callback(self);
        }
    }

    /// Returns the slots whose texts wait to be encoded, with their texts.
    pub(crate) fn pending(&self) -> Vec<(usize, QueryText)> {
        let texts = self.texts.lock();
        (0..PLACES)
            .filter(|&slot| self.slot_state(slot) == SlotState::Encoding)
            .map(|slot| (slot, Self::query_text(&texts, slot)))
            .collect()
    }

    /// Stores the result of encoding `text` for `slot` and the engine `engine_id`.
    ///
    /// Ignored if the slot's text, one on which its meaning depends, or the engine has changed meanwhile.
    pub(crate) fn set_encoded(
        &self,
        engine_id: u64,
        slot: usize,
        text: &QueryText,
        result: Result<EncodedQuery, String>,
    ) {
        let texts = self.texts.lock();
        if Self::query_text(&texts, slot) != *text || self.engine_id() != engine_id {
            return;
        }
        let (state, encoding) = match result {
            Ok(encoding) => {
                self.understandings.lock()[slot] = encoding.understanding.clone();
                (SlotState::Ready, Some(encoding))
            }
            Err(problem) => {
                *self.problem.lock() = Some(problem);
                (SlotState::Failed, None)
            }
        };
        let mut encodings = self.encodings.lock();
        encodings[slot] = encoding;
        self.set_state(&encodings, slot, state);
    }

    /// Changes a state under the lock of `encodings`, so that no waiting thread misses the notification.
    fn set_state(&self, _encodings: &Encodings, slot: usize, state: SlotState) {
        self.states[slot].store(state as u8, Ordering::Release);
        self.encodings_changed.notify_all();
    }

    /// Blocks until every text is encoded or has failed, at most until `deadline`; returns whether that is so.
    pub(crate) fn wait_until_encoded(&self, deadline: Instant) -> bool {
        let is_encoding = || (0..PLACES).any(|slot| self.slot_state(slot) == SlotState::Encoding);
        let mut encodings = self.encodings.lock();
        while is_encoding() && !self.encodings_changed.wait_until(&mut encodings, deadline).timed_out() {}
        !is_encoding()
    }

    /// Returns the encoding of the text in `slot` if `engine_id` is the current engine.
    ///
    /// Waits up to `timeout` for a text that is being encoded.
    pub(crate) fn encoding(&self, engine_id: u64, slot: usize, timeout: Duration) -> Option<EncodedQuery> {
        let deadline = Instant::now() + timeout;
        let mut encodings = self.encodings.lock();
        while self.engine_id() == engine_id
            && self.slot_state(slot) == SlotState::Encoding
            && !self.encodings_changed.wait_until(&mut encodings, deadline).timed_out()
        {}
        match self.slot_state(slot) {
            _ if self.engine_id() != engine_id => None,
            // The slot still has the encoding of the text before it was emptied.
            SlotState::Empty => None,
            _ => encodings[slot].clone(),
        }
    }

    /// Sets the text of the sounds that compete with those of every slot as their rest; empty for none.
    ///
    /// As [`set_text`](Self::set_text).
    pub fn set_rest(self: &Arc<Self>, text: &str) {
        self.set_text(REST, text);
    }

    /// State of the text of the rest.
    pub fn rest_state(&self) -> SlotState {
        self.slot_state(REST)
    }

    /// Returns how the text of the rest was understood, as [`understanding`](Self::understanding).
    pub fn rest_understanding(&self) -> Arc<Understanding> {
        self.understanding(REST)
    }

    /// Returns the encoding of the text of the rest, as [`encoding`](Self::encoding).
    pub(crate) fn rest_encoding(&self, engine_id: u64, timeout: Duration) -> Option<EncodedQuery> {
        self.encoding(engine_id, REST, timeout)
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;
    use crate::query::understanding::UnderstoodSound;

    fn encoding(value: f32) -> EncodedQuery {
        let sound = UnderstoodSound { name: "drums".into(), ..UnderstoodSound::default() };
        let understanding = Understanding { keep: vec![sound], ..Understanding::default() };
        EncodedQuery { understanding: understanding.into(), ..EncodedQuery::single(Arc::from([value])) }
    }

    /// Returns the only value of the embedding in use.
    fn embedding(queries: &Queries, engine_id: u64, slot: usize, timeout: Duration) -> Option<f32> {
        queries.encoding(engine_id, slot, timeout).map(|encoding| encoding.parts[0].embedding[0])
    }

    #[test]
    fn new_queries_have_a_text_in_every_slot() {
        let queries = Queries::default();
        assert!(
            (0..SLOTS).all(|slot| queries.slot_state(slot) == SlotState::Encoding && !queries.text(slot).is_empty())
        );
    }

    #[test]
    fn old_embedding_stays_in_use_until_the_new_one_is_ready() {
        let queries = Arc::new(Queries::default());
        queries.set_encoded(0, 1, &"drums".into(), Ok(encoding(1.0)));
        queries.set_text(1, "violin");
        assert_eq!(queries.slot_state(1), SlotState::Encoding);
        assert_eq!(embedding(&queries, 0, 1, Duration::ZERO), Some(1.0));
        queries.set_encoded(0, 1, &"violin".into(), Ok(encoding(2.0)));
        assert_eq!(embedding(&queries, 0, 1, Duration::ZERO), Some(2.0));
    }

    #[test]
    fn embedding_of_a_changed_text_is_ignored() {
        let queries = Arc::new(Queries::default());
        queries.set_text(0, "the singer");
        queries.set_encoded(0, 0, &"a person speaking".into(), Ok(encoding(1.0)));
        assert_eq!(queries.slot_state(0), SlotState::Encoding);
        assert!(embedding(&queries, 0, 0, Duration::ZERO).is_none());
    }

    #[test]
    fn embeddings_belong_to_the_newest_engine() {
        let queries = Arc::new(Queries::default());
        let callback: RequestEncoding = Arc::new(|_| ());
        let first = queries.connect(Some(callback.clone()));
        queries.set_encoded(first, 1, &"drums".into(), Ok(encoding(1.0)));
        assert!(embedding(&queries, first, 1, Duration::ZERO).is_some());
        let second = queries.connect(Some(callback));
        assert!(
            embedding(&queries, first, 1, Duration::from_secs(60)).is_none(),
            "the first engine does not wait"
        );
        queries.set_encoded(first, 1, &"drums".into(), Ok(encoding(1.0)));
        assert_eq!(queries.slot_state(1), SlotState::Encoding, "results for the first engine are ignored");
        queries.set_encoded(second, 1, &"drums".into(), Ok(encoding(2.0)));
        assert_eq!(embedding(&queries, second, 1, Duration::ZERO), Some(2.0));
        queries.disconnect(first);
        assert!(queries.encoding_callback.lock().is_some(), "the second engine stays connected");
        assert_eq!(embedding(&queries, second, 1, Duration::ZERO), Some(2.0));
        queries.disconnect(second);
        assert!(queries.encoding_callback.lock().is_none());
        assert!(embedding(&queries, second, 1, Duration::ZERO).is_none());
    }

    #[test]
    fn wait_for_a_text_ends_when_its_engine_disconnects() {
        let queries = Arc::new(Queries::default());
        let engine_id = queries.connect(Some(Arc::new(|_| ())));
        let start = Instant::now();
        thread::scope(|scope| {
            let waiting = scope.spawn(|| embedding(&queries, engine_id, 0, Duration::from_secs(60)));
            queries.disconnect(engine_id);
            assert!(waiting.join().unwrap().is_none());
        });
        assert!(start.elapsed() < Duration::from_secs(30), "{:?}", start.elapsed());
    }

    #[test]
    fn understanding_is_cleared_when_the_text_changes() {
        let queries = Arc::new(Queries::default());
        assert!(queries.understanding(1).keep.is_empty());
        queries.set_encoded(0, 1, &"drums".into(), Ok(encoding(1.0)));
        assert_eq!(queries.understanding(1).keep[0].name, "drums");
        queries.set_text(1, "bass");
        assert!(queries.understanding(1).keep.is_empty());
    }

    #[test]
    fn emptied_slot_loses_its_embedding() {
        let queries = Arc::new(Queries::default());
        queries.set_encoded(0, 0, &"a person speaking".into(), Ok(encoding(1.0)));
        queries.set_text(0, "   ");
        assert_eq!(queries.slot_state(0), SlotState::Empty);
        assert!(embedding(&queries, 0, 0, Duration::ZERO).is_none());
    }

    #[test]
    fn draft_is_saved_and_takes_effect_when_committed() {
        let queries = Arc::new(Queries::default());
        queries.set_encoded(0, 0, &"a person speaking".into(), Ok(encoding(1.0)));
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
    fn set_text_replaces_the_draft() {
        let queries = Arc::new(Queries::default());
        queries.draft(0, "the sing");
        queries.set_text(0, "a person speaking");
        assert_eq!(queries.texts()[0], "a person speaking");
    }

    #[test]
    fn text_that_depends_on_others_is_encoded_again_when_they_change() {
        let queries = Arc::new(Queries::default());
        queries.set_text(0, "everything else");
        let (slot, text) = queries.pending().swap_remove(0);
        assert_eq!((slot, &*text.text, text.others.len()), (0, "everything else", SLOTS - 1));
        assert!(queries.pending()[1].1.others.is_empty(), "\"drums\" means the same beside any text");
        queries.set_encoded(0, 0, &text, Ok(encoding(1.0)));
        assert_eq!(queries.slot_state(0), SlotState::Ready);
        queries.set_text(3, "the violin");
        assert_eq!(queries.slot_state(0), SlotState::Encoding);
        queries.set_encoded(0, 0, &text, Ok(encoding(1.0)));
        assert_eq!(queries.slot_state(0), SlotState::Encoding, "the other texts have changed");
        queries.set_rest("music");
        let (_, text) = queries.pending().swap_remove(0);
        queries.set_encoded(0, 0, &text, Ok(encoding(1.0)));
        queries.set_rest("rain");
        assert_eq!(queries.slot_state(0), SlotState::Ready, "the rest is no slot");
    }
}
