//! State that hosts save with the project, besides the parameters. Its keys never change once released.

use std::sync::Arc;

use nice_plug::params::persist::PersistentField;
use nice_plug::plugin::ParamValue;
use nice_plug::prelude::*;
use sift_engine::{Instance, ModelChoice, Queries};

use crate::host_link::{HostLink, HostNotice};

/// Saved state of an instance.
///
/// States of before also have the keys `window`, `theme` and `picture`, with the author's size, theme and spectrogram view
/// of the editor. They are ignored, because these belong to the machine, and must not get another meaning.
#[derive(Params)]
pub struct PersistedState {
    #[persist = "queries"]
    queries: PersistedQueries,
    #[persist = "model"]
    model: PersistedModel,
}

impl PersistedState {
    /// Creates the state with the texts and the model of the instance of `link`.
    pub fn new(link: &Arc<HostLink>) -> Self {
        Self { queries: PersistedQueries(link.clone()), model: PersistedModel(link.instance().clone()) }
    }
}

/// Adds the parameters that the version which saved `state` did not have, with values that keep its sound.
///
/// Otherwise they would keep the values that they have when the state is loaded.
pub fn add_missing_parameters(state: &mut PluginState) {
    state.params.entry("rest".into()).or_insert(ParamValue::Bool(false));
}

/// The texts of all slots. Loading a state starts the encoding of its texts, also while the editor is closed.
struct PersistedQueries(Arc<HostLink>);

impl PersistedQueries {
    fn queries(&self) -> &Arc<Queries> {
        self.0.instance().queries()
    }
}

impl<'a> PersistentField<'a, Vec<String>> for PersistedQueries {
    /// Sets the texts of all slots. Slots missing from the state become empty; texts beyond the eighth are ignored.
    fn set(&self, texts: Vec<String>) {
        let mut texts = texts.into_iter();
        let before = self.queries().generation();
        self.queries().set_texts(&std::array::from_fn(|_| texts.next().unwrap_or_default()));
        if self.queries().generation() != before {
            self.0.post(HostNotice::TextsLoaded);
        }
    }

    fn map<F, R>(&self, f: F) -> R
    where
        F: Fn(&Vec<String>) -> R,
    {
        f(&self.queries().texts().to_vec())
    }
}

/// The name of the model package. Loading another name switches the model, also while audio plays.
struct PersistedModel(Arc<Instance>);

impl<'a> PersistentField<'a, String> for PersistedModel {
    fn set(&self, model: String) {
        if model != self.0.model().to_string() {
            // If the thread that loads it cannot be started, the next activation loads it.
            let _ = self.0.set_model(ModelChoice::Installed(model));
        }
    }

    fn map<F, R>(&self, f: F) -> R
    where
        F: Fn(&String) -> R,
    {
        f(&self.0.model().to_string())
    }
}

#[cfg(test)]
mod tests {
    use sift_engine::SLOTS;

    use super::*;

    #[test]
    fn state_without_a_rest_gets_it_switched_off() {
        let state = |params: &[(&str, bool)]| PluginState {
            version: "0.2.0".into(),
            params: params.iter().map(|&(id, value)| (id.into(), ParamValue::Bool(value))).collect(),
            fields: Default::default(),
        };
        for (saved, expected) in [
            (state(&[("bypass", true)]), state(&[("bypass", true), ("rest", false)])),
            (state(&[("rest", true)]), state(&[("rest", true)])),
            (state(&[("rest", false)]), state(&[("rest", false)])),
        ] {
            let mut loaded = saved;
            add_missing_parameters(&mut loaded);
            assert_eq!(format!("{:?}", loaded.params), format!("{:?}", expected.params));
        }
    }

    #[test]
    fn state_has_texts_and_model_and_nothing_of_the_machine() {
        let params = crate::SiftParams::new(&Arc::default());
        let mut keys: Vec<_> = params.serialize_fields().into_keys().collect();
        keys.sort();
        assert_eq!(keys, ["model", "queries"]);
    }

    #[test]
    fn loaded_state_sets_its_slots_and_empties_the_others() {
        let queries = PersistedQueries(Arc::default());
        queries.set(vec!["기타 소리".into(), "🎸".into()]);
        assert_eq!(queries.queries().texts()[..3], ["기타 소리", "🎸", ""]);
        queries.set((0..20).map(|i| i.to_string()).collect());
        assert_eq!(queries.map(Vec::len), SLOTS);
    }
}
