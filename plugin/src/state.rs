//! State that hosts save with the project, besides the parameters. Its keys never change once released.

use std::collections::BTreeMap;
use std::sync::Arc;

use nice_plug::params::internals::ParamPtr;
use nice_plug::params::persist::PersistentField;
use nice_plug::plugin::ParamValue;
use nice_plug::prelude::*;
use parking_lot::RwLock;
use sift_engine::{Instance, ModelChoice, Queries};

use crate::host_link::{HostLink, HostNotice};
use crate::params::SiftParams;

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
    #[nested]
    pub load_problem: LoadProblem,
}

impl PersistedState {
    /// Creates the state with the texts and the model of the instance of `link`.
    pub fn new(link: &Arc<HostLink>) -> Self {
        Self {
            queries: PersistedQueries(link.clone()),
            model: PersistedModel(link.instance().clone()),
            load_problem: LoadProblem::default(),
        }
    }
}

/// Key under which [`repair`] passes its message to [`LoadProblem`]. It is never saved.
const PROBLEM_KEY: &str = "load problem";

/// Makes each value of `state` one that the plugin could have saved, before it is loaded.
///
/// A value beyond its parameter's range becomes the nearest value within. One that is absent, not finite, of another type or
/// of no known name becomes the default, as nice-plug would keep what the instance has. Parameters that the version
/// which saved the state did not have get the value that keeps its sound.
pub fn repair(state: &mut PluginState) {
    for (id, value) in values_of_before() {
        state.params.entry(id.into()).or_insert(value);
    }
    let instance = Arc::default();
    let defaults = SiftParams::new(&instance);
    let mut problems = Vec::new();
    for (id, param, _) in defaults.param_map() {
        // SAFETY: `param` points into `defaults`.
        let (name, default) = unsafe { (param.name().to_owned(), default_value(param)) };
        let Some(saved) = state.params.get_mut(&id) else {
            state.params.insert(id, default);
            continue;
        };
        // SAFETY: as above.
        let value = unsafe { nearest_value(param, saved) };
        if value.as_ref().is_none_or(|value| !is_same(value, saved)) {
            problems.push(name);
            *saved = value.unwrap_or(default);
        }
    }
    for (key, default) in defaults.serialize_fields() {
        if ["queries", "model"].contains(&key.as_str()) {
            state.fields.entry(key).or_insert(default);
        }
    }
    state.fields.remove(PROBLEM_KEY);
    if !problems.is_empty() {
        let problem = format!(
            "The project has invalid values, which were replaced: {}. Check them, and save the project",
            problems.join(", ")
        );
        state.fields.insert(PROBLEM_KEY.into(), problem);
    }
}

/// What parameters of later versions have in states of before, which sound as they did.
fn values_of_before() -> [(&'static str, ParamValue); 2] {
    [("rest", ParamValue::Bool(false)), ("stereo", ParamValue::F32(0.0))]
}

/// The default of `param`, as it is saved.
///
/// # Safety
/// `param` must point to a parameter.
unsafe fn default_value(param: ParamPtr) -> ParamValue {
    // SAFETY: the caller asserts it.
    unsafe {
        match param {
            ParamPtr::FloatParam(param) => ParamValue::F32((*param).default_plain_value()),
            ParamPtr::IntParam(param) => ParamValue::I32((*param).default_plain_value()),
            ParamPtr::BoolParam(param) => ParamValue::Bool((*param).default_plain_value()),
            ParamPtr::EnumParam(param) => match (*param).unmodulated_plain_id() {
                Some(id) => ParamValue::String(id.into()),
                None => ParamValue::I32((*param).default_plain_value()),
            },
        }
    }
}

/// The value of `param` that is nearest to `saved`; `None` if there is none. An enum is left at the value.
///
/// # Safety
/// `param` must point to a parameter.
unsafe fn nearest_value(param: ParamPtr, saved: &ParamValue) -> Option<ParamValue> {
    // SAFETY: the caller asserts it.
    unsafe {
        match (param, saved) {
            (ParamPtr::FloatParam(param), ParamValue::F32(value)) => {
                let (low, high) = ((*param).preview_plain(0.0), (*param).preview_plain(1.0));
                value.is_finite().then(|| ParamValue::F32(value.clamp(low, high)))
            }
            (ParamPtr::IntParam(param), ParamValue::I32(value)) => {
                let (low, high) = ((*param).preview_plain(0.0), (*param).preview_plain(1.0));
                Some(ParamValue::I32(*value.clamp(&low, &high)))
            }
            (ParamPtr::EnumParam(param), ParamValue::I32(index)) => {
                let is_known = usize::try_from(*index).is_ok_and(|index| index < (*param).len());
                is_known.then(|| saved.clone())
            }
            (ParamPtr::EnumParam(param), ParamValue::String(id)) => {
                (*param).set_from_id(id).then(|| saved.clone())
            }
            (ParamPtr::BoolParam(_), ParamValue::Bool(_)) => Some(saved.clone()),
            _ => None,
        }
    }
}

fn is_same(a: &ParamValue, b: &ParamValue) -> bool {
    match (a, b) {
        (ParamValue::F32(a), ParamValue::F32(b)) => a == b,
        (ParamValue::I32(a), ParamValue::I32(b)) => a == b,
        (ParamValue::Bool(a), ParamValue::Bool(b)) => a == b,
        (ParamValue::String(a), ParamValue::String(b)) => a == b,
        _ => false,
    }
}

/// What [`repair`] replaced in the state that was loaded last.
#[derive(Default)]
pub struct LoadProblem(RwLock<Option<String>>);

impl LoadProblem {
    /// The message for the user, if anything was replaced.
    #[cfg_attr(not(feature = "editor"), allow(dead_code))]
    pub fn message(&self) -> Option<String> {
        self.0.read().clone()
    }
}

// SAFETY: there are no parameters, hence no pointers.
unsafe impl Params for LoadProblem {
    fn param_map(&self) -> Vec<(String, ParamPtr, String)> {
        Vec::new()
    }

    fn deserialize_fields(&self, fields: &BTreeMap<String, String>) {
        *self.0.write() = fields.get(PROBLEM_KEY).cloned();
    }
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

    /// A state with these parameters and nothing else.
    fn state(params: &[(&str, ParamValue)]) -> PluginState {
        PluginState {
            version: "0.2.0".into(),
            params: params.iter().map(|(id, value)| ((*id).into(), value.clone())).collect(),
            fields: BTreeMap::new(),
        }
    }

    #[test]
    fn state_of_before_gets_later_parameters_switched_off() {
        use ParamValue::{Bool, F32};

        for (id, saved, expected) in [
            ("rest", None, Bool(false)),
            ("rest", Some(Bool(true)), Bool(true)),
            ("rest", Some(Bool(false)), Bool(false)),
            ("stereo", None, F32(0.0)),
            ("stereo", Some(F32(1.0)), F32(1.0)),
            ("stereo", Some(F32(0.25)), F32(0.25)),
        ] {
            let saved: Vec<_> = saved.into_iter().map(|value| (id, value)).collect();
            let mut loaded = state(&saved);
            repair(&mut loaded);
            assert!(is_same(&loaded.params[id], &expected), "{id}: {saved:?}");
            assert!(!loaded.fields.contains_key(PROBLEM_KEY));
        }
    }

    #[test]
    fn state_has_texts_and_model_and_nothing_of_the_machine() {
        let params = SiftParams::new(&Arc::default());
        let mut keys: Vec<_> = params.serialize_fields().into_keys().collect();
        keys.sort();
        assert_eq!(keys, ["model", "queries"]);
    }

    #[test]
    fn loaded_value_is_within_its_range_or_the_default() {
        use ParamValue::{Bool, F32, I32, String};

        let text = |text: &str| String(text.into());
        let cases = [
            ("gain", F32(200.0), F32(12.0)),
            ("gain", F32(-1e30), F32(-24.0)),
            ("gain", F32(f32::INFINITY), F32(0.0)),
            ("gain", F32(f32::NAN), F32(0.0)),
            ("gain", text("loud"), F32(0.0)),
            ("strength", F32(1000.0), F32(1.0)),
            ("strength", F32(-0.1), F32(0.0)),
            ("floor", F32(1e30), F32(0.0)),
            ("sharpness", F32(-5.0), F32(0.5)),
            ("smooth", F32(1e9), F32(200.0)),
            ("query", I32(99), I32(8)),
            ("query", I32(i32::MIN), I32(1)),
            ("mode", text("louder"), text("isolate")),
            ("mode", I32(99), text("isolate")),
            ("mode", I32(-1), text("isolate")),
            ("listen", Bool(true), text("output")),
            ("bypass", I32(1), Bool(false)),
        ];
        for (id, saved, expected) in cases {
            let mut loaded = state(&[("rest", Bool(true)), (id, saved.clone())]);
            repair(&mut loaded);
            assert!(is_same(&loaded.params[id], &expected), "{id} of {saved:?}: {:?}", loaded.params[id]);
            assert!(loaded.fields[PROBLEM_KEY].contains("invalid values"), "{id} of {saved:?}");
        }
    }

    #[test]
    fn valid_state_is_loaded_as_it_is() {
        use ParamValue::{Bool, F32, I32, String};

        let valid = [
            ("strength", F32(0.123_456)),
            ("mode", String("remove".into())),
            ("query", I32(8)),
            ("sharpness", F32(0.500_1)),
            ("floor", F32(-80.0)),
            ("smooth", F32(33.333)),
            ("gain", F32(-0.05)),
            ("listen", String("removed".into())),
            ("bypass", Bool(true)),
            ("revision", I32(1)),
            ("rest", Bool(true)),
            ("stereo", F32(0.3)),
        ];
        let mut loaded = state(&valid);
        loaded.fields.insert(PROBLEM_KEY.into(), "of another program".into());
        repair(&mut loaded);
        for (id, value) in &valid {
            assert!(is_same(&loaded.params[*id], value), "{id}: {:?}", loaded.params[*id]);
        }
        assert!(!loaded.fields.contains_key(PROBLEM_KEY));
    }

    #[test]
    fn absent_values_are_the_defaults() {
        let mut loaded = state(&[]);
        repair(&mut loaded);
        let params = SiftParams::new(&Arc::default());
        for (id, param, _) in params.param_map() {
            // SAFETY: `param` points into `params`.
            let default = unsafe { default_value(param) };
            let of_before = values_of_before().into_iter().find(|(later, _)| *later == id);
            let expected = of_before.map_or(default, |(_, value)| value);
            assert!(is_same(&loaded.params[&id], &expected), "{id}: {:?}", loaded.params[&id]);
        }
        assert_eq!(loaded.fields["model"], "\"Sift default\"");
        assert!(loaded.fields["queries"].starts_with('['));
    }

    #[test]
    fn problem_of_a_state_is_gone_with_the_next_one() {
        let params = SiftParams::new(&Arc::default());
        let load = |value| {
            let mut loaded = state(&[("gain", ParamValue::F32(value))]);
            repair(&mut loaded);
            params.deserialize_fields(&loaded.fields);
            params.state.load_problem.message()
        };
        assert!(load(200.0).unwrap().contains("Output gain"));
        assert!(!params.serialize_fields().contains_key(PROBLEM_KEY));
        assert_eq!(load(3.0), None);
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
