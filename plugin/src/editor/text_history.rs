//! The edits of the slots' texts, which can be undone.

use std::sync::Arc;

use sift_engine::Queries;

/// Largest number of edits that can be undone.
const MAX_EDITS: usize = 100;

/// A changed text.
struct Change {
    slot: usize,
    before: String,
    after: String,
}

/// Changes that are undone together.
type Edit = Vec<Change>;

/// The user's edits since the instance was created. Texts of a loaded state end it.
#[derive(Default)]
pub struct TextHistory {
    done: Vec<Edit>,
    undone: Vec<Edit>,
}

impl TextHistory {
    /// Sets the given slots to the given texts. Returns whether any is another text.
    pub fn edit<'a>(
        &mut self,
        queries: &Arc<Queries>,
        texts: impl IntoIterator<Item = (usize, &'a str)>,
    ) -> bool {
        let mut edit = Edit::new();
        for (slot, text) in texts {
            let before = queries.text(slot);
            queries.set_text(slot, text);
            let after = queries.text(slot);
            if after != before {
                edit.push(Change { slot, before, after });
            }
        }
        if edit.is_empty() {
            return false;
        }
        self.undone.clear();
        if self.done.len() == MAX_EDITS {
            self.done.remove(0);
        }
        self.done.push(edit);
        true
    }

    /// Gives the slots the texts of before the last edit. Returns whether there is one.
    pub fn undo(&mut self, queries: &Arc<Queries>) -> bool {
        self.forget_if_others_have_edited(queries);
        let Some(edit) = self.done.pop() else { return false };
        edit.iter().for_each(|change| queries.set_text(change.slot, &change.before));
        self.undone.push(edit);
        true
    }

    /// Repeats the edit that was undone last. Returns whether there is one.
    pub fn redo(&mut self, queries: &Arc<Queries>) -> bool {
        self.forget_if_others_have_edited(queries);
        let Some(edit) = self.undone.pop() else { return false };
        edit.iter().for_each(|change| queries.set_text(change.slot, &change.after));
        self.done.push(edit);
        true
    }

    /// Whether there is an edit to undo, and one to redo.
    pub fn availability(&mut self, queries: &Queries) -> (bool, bool) {
        self.forget_if_others_have_edited(queries);
        (!self.done.is_empty(), !self.undone.is_empty())
    }

    /// Forgets all edits if the texts are not those that the last one has left.
    fn forget_if_others_have_edited(&mut self, queries: &Queries) {
        let are_kept = |edit: Option<&Edit>, text: fn(&Change) -> &String| {
            edit.into_iter().flatten().all(|change| queries.text(change.slot) == *text(change))
        };
        if !are_kept(self.done.last(), |change| &change.after)
            || !are_kept(self.undone.last(), |change| &change.before)
        {
            *self = Self::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_are_undone_and_redone_in_order() {
        let (mut history, queries) = (TextHistory::default(), Arc::<Queries>::default());
        assert!(history.edit(&queries, [(1, "a violin")]));
        assert!(history.edit(&queries, [(1, "a cello"), (2, "")]));
        assert!(!history.edit(&queries, [(1, "a cello")]), "the text is the same");
        let texts = || [queries.text(1), queries.text(2)];
        assert!(history.undo(&queries));
        assert_eq!(texts(), ["a violin", "piano"]);
        assert!(history.undo(&queries));
        assert_eq!(texts(), ["drums", "piano"]);
        assert!(!history.undo(&queries));
        assert!(history.redo(&queries) && history.redo(&queries));
        assert_eq!(texts(), ["a cello", ""]);
        assert!(!history.redo(&queries));
    }

    #[test]
    fn edit_after_an_undo_cannot_be_redone_over() {
        let (mut history, queries) = (TextHistory::default(), Arc::<Queries>::default());
        history.edit(&queries, [(0, "rain")]);
        history.undo(&queries);
        history.edit(&queries, [(0, "wind")]);
        assert_eq!(history.availability(&queries), (true, false));
        assert!(!history.redo(&queries));
        assert_eq!(queries.text(0), "wind");
    }

    #[test]
    fn loaded_texts_end_the_history() {
        let (mut history, queries) = (TextHistory::default(), Arc::<Queries>::default());
        history.edit(&queries, [(0, "rain")]);
        queries.set_text(0, "from a project");
        assert_eq!(history.availability(&queries), (false, false));
        assert!(!history.undo(&queries));
        assert_eq!(queries.text(0), "from a project");
    }

    #[test]
    fn number_of_edits_is_limited() {
        let (mut history, queries) = (TextHistory::default(), Arc::<Queries>::default());
        for number in 0..MAX_EDITS + 5 {
            history.edit(&queries, [(0, &*number.to_string())]);
        }
        let undone = (0..).take_while(|_| history.undo(&queries)).count();
        assert_eq!((undone, queries.text(0)), (MAX_EDITS, "4".into()));
    }
}
