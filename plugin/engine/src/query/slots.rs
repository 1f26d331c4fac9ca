//! The words: eight texts of an instance, the embeddings they became, and what was understood.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use crate::query::concepts::Understood;
use crate::query::encoder::Encoding;
use crate::query::parts::Part;
use crate::query::text::{cut, normalise};

/// Query slots an instance has.
pub const SLOTS: usize = 8;

/// What the slots of a fresh instance say.
pub const FACTORY: [&str; SLOTS] =
    ["a person speaking", "drums", "piano", "guitar", "rain", "wind", "a dog barking", "crowd chatter"];

/// Requests that the changed texts of the given queries are encoded, without waiting for it.
pub(crate) type Encode = Arc<dyn Fn(&Arc<Queries>) + Send + Sync>;

/// How far a slot's text has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Stage {
    /// The slot is empty: there is nothing to separate by.
    Empty,
    /// The text waits for its embedding; the one before it stays in force.
    Encoding,
    /// The embedding is in force.
    Ready,
    /// The text could not be encoded; [`Queries::problem`] says why.
    Failed,
}

impl Stage {
    fn from_u8(value: u8) -> Self {
        [Stage::Empty, Stage::Encoding, Stage::Ready, Stage::Failed][usize::from(value)]
    }
}

#[derive(Clone, Default)]
struct Text {
    set: String,
    /// What somebody is typing in its place.
    draft: Option<String>,
}

/// The eight queries of one instance, shared between its editor, host state, the librarian and
/// its separator thread. The audio thread never touches it.
pub struct Queries {
    texts: Mutex<[Text; SLOTS]>,
    /// Grows with every change of a text.
    generation: AtomicU64,
    stages: [AtomicU8; SLOTS],
    problem: Mutex<Option<String>>,
    /// Has changed texts encoded, while an engine runs on these queries.
    encode: Mutex<Option<Encode>>,
    /// Who the embeddings are for: grows with every engine that is opened on these queries. The one
    /// before it finds none any more.
    reader: AtomicU64,
    /// Taken by the librarian and the separator thread only.
    parts: Mutex<[Option<Arc<[Part]>>; SLOTS]>,
    encoded: Condvar,
    understood: Mutex<[Arc<[Understood]>; SLOTS]>,
    known: Mutex<Arc<[String]>>,
}

impl Default for Queries {
    fn default() -> Self {
        Self::new(FACTORY.map(String::from))
    }
}

impl Queries {
    pub fn new(texts: [String; SLOTS]) -> Self {
        let queries = Self {
            texts: Default::default(),
            generation: AtomicU64::new(0),
            stages: Default::default(),
            problem: Mutex::new(None),
            encode: Mutex::new(None),
            reader: AtomicU64::new(0),
            parts: Default::default(),
            encoded: Condvar::new(),
            understood: Default::default(),
            known: Default::default(),
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
    /// It is in force once it is [set](Self::set_text), or [all are settled](Self::settle).
    pub fn draft(&self, slot: usize, text: &str) {
        self.texts.lock()[slot].draft = Some(cut(text));
    }

    /// Takes everything as meant that was being typed. Whether there was anything.
    pub fn settle(self: &Arc<Self>) -> bool {
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
            self.ask();
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

    pub fn stage(&self, slot: usize) -> Stage {
        Stage::from_u8(self.stages[slot].load(Ordering::Acquire))
    }

    /// What the text of `slot` was understood as, nearest concept first; nothing while it is being
    /// encoded, or where the model does not tell.
    pub fn understood(&self, slot: usize) -> Arc<[Understood]> {
        self.understood.lock()[slot].clone()
    }

    /// The names of what the model knows; nothing while none is loaded, or where it does not tell.
    pub fn known(&self) -> Arc<[String]> {
        self.known.lock().clone()
    }

    /// Tells what the model knows; the librarian's to call.
    pub fn set_known(&self, names: Arc<[String]>) {
        *self.known.lock() = names;
    }

    /// Why a text could not be encoded.
    pub fn problem(&self) -> Option<String> {
        self.problem.lock().clone()
    }

    /// Puts `text`, cut to [`MAX_CHARACTERS`], into `slot` and has it encoded. Never blocks on the
    /// network: the old embedding stays in force until the new one is there.
    pub fn set_text(self: &Arc<Self>, slot: usize, text: &str) {
        let text = cut(text);
        let mut texts = self.texts.lock();
        texts[slot].draft = None;
        if texts[slot].set != text {
            self.write(&mut texts, slot, text);
            drop(texts);
            self.ask();
        }
    }

    /// As [`set_text`](Self::set_text), for all slots.
    pub fn set_texts(self: &Arc<Self>, texts: &[String; SLOTS]) {
        for (slot, text) in texts.iter().enumerate() {
            self.set_text(slot, text);
        }
    }

    fn write(&self, texts: &mut [Text; SLOTS], slot: usize, text: String) {
        let stage = if normalise(&text).is_empty() { Stage::Empty } else { Stage::Encoding };
        texts[slot].set = text;
        self.stages[slot].store(stage as u8, Ordering::Release);
        self.understood.lock()[slot] = Arc::default();
        self.generation.fetch_add(1, Ordering::Release);
    }

    /// Calls `encode` at every change of a text from now on, and marks all of them as not encoded; for the reader that
    /// is returned. Without it there is nothing to read.
    pub(crate) fn connect(self: &Arc<Self>, encode: Option<Encode>) -> u64 {
        let mut texts = self.texts.lock();
        for slot in 0..SLOTS {
            let Text { set, draft } = std::mem::take(&mut texts[slot]);
            self.write(&mut texts, slot, draft.unwrap_or(set));
        }
        let mut parts = self.parts.lock();
        *parts = Default::default();
        let reader = self.reader.fetch_add(1, Ordering::AcqRel) + 1;
        self.encoded.notify_all();
        drop((parts, texts));
        *self.problem.lock() = None;
        self.set_known(Arc::default());
        *self.encode.lock() = encode;
        reader
    }

    /// Has no text encoded any more, unless another reader came since.
    pub(crate) fn disconnect(&self, reader: u64) {
        let mut encode = self.encode.lock();
        if self.reader() == reader {
            *encode = None;
        }
    }

    /// Who the embeddings are for.
    pub(crate) fn reader(&self) -> u64 {
        self.reader.load(Ordering::Acquire)
    }

    fn ask(self: &Arc<Self>) {
        if let Some(encode) = &*self.encode.lock() {
            encode(self);
        }
    }

    /// The slots that wait for a change to take effect, with their normalised texts.
    pub(crate) fn waiting(&self) -> Vec<(usize, String)> {
        let texts = self.texts.lock();
        texts
            .iter()
            .enumerate()
            .filter(|(slot, _)| self.stage(*slot) == Stage::Encoding)
            .map(|(slot, text)| (slot, normalise(&text.set)))
            .collect()
    }

    /// Hands over to `reader` what became of `text` in `slot`, or the reason why nothing did. Ignored
    /// when the slot says something else by now, or is read by another.
    pub(crate) fn deliver(&self, reader: u64, slot: usize, text: &str, outcome: Result<Encoding, String>) {
        let texts = self.texts.lock();
        if normalise(&texts[slot].set) != text || self.reader() != reader {
            return;
        }
        let (stage, encoded) = match outcome {
            Ok(Encoding { parts, understood }) => {
                self.understood.lock()[slot] = understood;
                (Stage::Ready, Some(parts))
            }
            Err(problem) => {
                *self.problem.lock() = Some(problem);
                (Stage::Failed, None)
            }
        };
        // The stage changes under the lock that a waiting separator checks it under.
        let mut parts = self.parts.lock();
        parts[slot] = encoded;
        self.stages[slot].store(stage as u8, Ordering::Release);
        self.encoded.notify_all();
    }

    /// The sounds that the embeddings in force for `slot` are of, one at least, if they are for `reader`.
    /// Where `patience` allows, waits for those being encoded.
    pub(crate) fn parts(&self, reader: u64, slot: usize, patience: Duration) -> Option<Arc<[Part]>> {
        let deadline = Instant::now() + patience;
        let mut parts = self.parts.lock();
        while self.reader() == reader
            && self.stage(slot) == Stage::Encoding
            && !self.encoded.wait_until(&mut parts, deadline).timed_out()
        {}
        match self.stage(slot) {
            _ if self.reader() != reader => None,
            // What the slot said before it was emptied is in force no more.
            Stage::Empty => None,
            _ => parts[slot].clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoding(value: f32) -> Encoding {
        let understood = Understood { name: "drums".into(), closeness: 0.8, meant: true };
        Encoding { understood: Arc::from([understood]), ..Encoding::of_one(Arc::from([value])) }
    }

    /// The embedding in force.
    fn embedding(queries: &Queries, reader: u64, slot: usize, patience: Duration) -> Option<f32> {
        queries.parts(reader, slot, patience).map(|parts| parts[0].embedding[0])
    }

    #[test]
    fn a_fresh_instance_has_something_to_say_in_every_slot() {
        let queries = Queries::default();
        assert!(
            (0..SLOTS).all(|slot| queries.stage(slot) == Stage::Encoding && !queries.text(slot).is_empty())
        );
    }

    #[test]
    fn the_old_embedding_stays_in_force_until_the_new_one_is_there() {
        let queries = Arc::new(Queries::default());
        queries.deliver(0, 1, "drums", Ok(encoding(1.0)));
        queries.set_text(1, "bass");
        assert_eq!(queries.stage(1), Stage::Encoding);
        assert_eq!(embedding(&queries, 0, 1, Duration::ZERO), Some(1.0));
        queries.deliver(0, 1, "bass", Ok(encoding(2.0)));
        assert_eq!(embedding(&queries, 0, 1, Duration::ZERO), Some(2.0));
    }

    #[test]
    fn an_embedding_of_a_text_that_changed_meanwhile_is_ignored() {
        let queries = Arc::new(Queries::default());
        queries.set_text(0, "the singer");
        queries.deliver(0, 0, "a person speaking", Ok(encoding(1.0)));
        assert_eq!(queries.stage(0), Stage::Encoding);
        assert!(embedding(&queries, 0, 0, Duration::ZERO).is_none());
    }

    #[test]
    fn embeddings_are_for_the_newest_reader_only() {
        let queries = Arc::new(Queries::default());
        let encode: Encode = Arc::new(|_| ());
        let first = queries.connect(Some(encode.clone()));
        queries.deliver(first, 1, "drums", Ok(encoding(1.0)));
        assert!(embedding(&queries, first, 1, Duration::ZERO).is_some());
        let second = queries.connect(Some(encode));
        assert!(embedding(&queries, first, 1, Duration::from_secs(60)).is_none(), "and is not waited for");
        queries.deliver(first, 1, "drums", Ok(encoding(1.0)));
        assert_eq!(queries.stage(1), Stage::Encoding, "what the first one's model says is ignored");
        queries.deliver(second, 1, "drums", Ok(encoding(2.0)));
        assert_eq!(embedding(&queries, second, 1, Duration::ZERO), Some(2.0));
        queries.disconnect(first);
        assert!(queries.encode.lock().is_some(), "the second one goes on");
        queries.disconnect(second);
        assert!(queries.encode.lock().is_none());
    }

    #[test]
    fn what_was_understood_is_told_of_the_text_that_is_there() {
        let queries = Arc::new(Queries::default());
        assert!(queries.understood(1).is_empty());
        queries.deliver(0, 1, "drums", Ok(encoding(1.0)));
        assert_eq!(queries.understood(1)[0].name, "drums");
        queries.set_text(1, "bass");
        assert!(queries.understood(1).is_empty());
    }

    #[test]
    fn an_emptied_slot_loses_its_embedding() {
        let queries = Arc::new(Queries::default());
        queries.deliver(0, 0, "a person speaking", Ok(encoding(1.0)));
        queries.set_text(0, "   ");
        assert_eq!(queries.stage(0), Stage::Empty);
        assert!(embedding(&queries, 0, 0, Duration::ZERO).is_none());
    }

    #[test]
    fn what_is_being_typed_is_saved_and_in_force_only_once_it_is_settled() {
        let queries = Arc::new(Queries::default());
        queries.deliver(0, 0, "a person speaking", Ok(encoding(1.0)));
        queries.draft(0, "the sing");
        queries.draft(1, "");
        assert_eq!(queries.texts()[..3], ["the sing", "", "piano"]);
        assert_eq!((queries.text(0).as_str(), queries.stage(0)), ("a person speaking", Stage::Ready));
        queries.settle();
        assert_eq!((queries.text(0).as_str(), queries.stage(0)), ("the sing", Stage::Encoding));
        assert_eq!(queries.stage(1), Stage::Empty);
    }

    #[test]
    fn a_text_that_is_set_replaces_what_was_being_typed() {
        let queries = Arc::new(Queries::default());
        queries.draft(0, "the sing");
        queries.set_text(0, "a person speaking");
        assert_eq!(queries.texts()[0], "a person speaking");
    }
}
