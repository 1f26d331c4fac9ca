//! Parameters and persisted state. Ids never change once released.

use std::sync::Arc;

use nice_plug::params::persist::PersistentField;
use nice_plug::prelude::*;
use parking_lot::RwLock;
use serde::{Deserialize, Serialize};
use sift_engine::user::preferences::ThemeChoice;
use sift_engine::{Instance, MaskShaping, Mode, ModelChoice, Queries, SLOTS};

/// The editor's initial width and height, in logical pixels.
pub const DEFAULT_EDITOR_SIZE: (u32, u32) = (760, 620);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
pub enum ModeParam {
    #[id = "isolate"]
    #[name = "Isolate"]
    Isolate,
    #[id = "remove"]
    #[name = "Remove"]
    Remove,
}

impl From<ModeParam> for Mode {
    fn from(mode: ModeParam) -> Self {
        match mode {
            ModeParam::Isolate => Mode::Isolate,
            ModeParam::Remove => Mode::Remove,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Enum)]
pub enum ListenParam {
    #[id = "output"]
    #[name = "Output"]
    Output,
    #[id = "removed"]
    #[name = "What was taken away"]
    Removed,
}

/// The signal that the editor's spectrogram shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SpectrogramView {
    /// The input, with the kept part in colour.
    #[default]
    Input,
    Output,
    Removed,
}

#[derive(Params)]
pub struct SiftParams {
    #[id = "strength"]
    pub strength: FloatParam,
    #[id = "mode"]
    pub mode: EnumParam<ModeParam>,
    #[id = "query"]
    pub query: IntParam,
    #[id = "sharpness"]
    pub sharpness: FloatParam,
    #[id = "floor"]
    pub floor: FloatParam,
    #[id = "smooth"]
    pub smooth: FloatParam,
    #[id = "gain"]
    pub gain: FloatParam,
    #[id = "listen"]
    pub listen: EnumParam<ListenParam>,
    #[id = "bypass"]
    pub bypass: BoolParam,
    /// Hidden; changes with every edit of the persisted state below, of which hosts take no notice.
    /// It makes them mark the project as changed.
    #[id = "revision"]
    pub revision: IntParam,

    #[persist = "queries"]
    pub queries: PersistedQueries,
    #[persist = "model"]
    pub model: PersistedModel,
    /// The editor's width and height, in logical pixels.
    #[persist = "window"]
    pub window: Arc<RwLock<(u32, u32)>>,
    /// The project's theme; `None` for the one in the user's preferences.
    #[persist = "theme"]
    pub theme: Arc<RwLock<Option<ThemeChoice>>>,
    #[persist = "picture"]
    pub picture: Arc<RwLock<SpectrogramView>>,
}

impl SiftParams {
    /// Creates the parameters whose persisted state is that of `instance`.
    pub fn new(instance: &Arc<Instance>) -> Self {
        Self {
            strength: FloatParam::new("Mask strength", 1.0, FloatRange::Linear { min: 0.0, max: 1.0 })
                .with_smoother(SmoothingStyle::Linear(10.0))
                .with_unit(" %")
                .with_value_to_string(formatters::v2s_f32_percentage(1))
                .with_string_to_value(formatters::s2v_f32_percentage()),
            mode: EnumParam::new("Mode", ModeParam::Isolate),
            query: IntParam::new("Active query", 1, IntRange::Linear { min: 1, max: SLOTS as i32 }),
            sharpness: FloatParam::new(
                "Sharpness",
                1.0,
                FloatRange::Skewed { min: 0.5, max: 4.0, factor: FloatRange::skew_factor(-1.0) },
            )
            .with_step_size(0.01),
            floor: FloatParam::new("Floor", -80.0, FloatRange::Linear { min: -80.0, max: 0.0 })
                .with_unit(" dB")
                .with_step_size(0.1),
            smooth: FloatParam::new("Smoothing", 0.0, FloatRange::Linear { min: 0.0, max: 200.0 })
                .with_unit(" ms")
                .with_step_size(0.1),
            // In decibels with steps, so that 0 dB is a gain of exactly 1 in spite of hosts' rounding.
            gain: FloatParam::new("Output gain", 0.0, FloatRange::Linear { min: -24.0, max: 12.0 })
                .with_smoother(SmoothingStyle::Linear(10.0))
                .with_unit(" dB")
                .with_step_size(0.1),
            listen: EnumParam::new("Listen to", ListenParam::Output),
            bypass: BoolParam::new("Bypass", false).make_bypass(),
            revision: IntParam::new("Revision", 0, IntRange::Linear { min: 0, max: 1 })
                .hide()
                .non_automatable(),
            queries: PersistedQueries(instance.queries().clone()),
            model: PersistedModel(instance.clone()),
            window: Arc::new(RwLock::new(DEFAULT_EDITOR_SIZE)),
            theme: Arc::default(),
            picture: Arc::default(),
        }
    }

    /// The slot of the active query, 0 to 7.
    pub fn active_slot(&self) -> usize {
        (self.query.value() - 1).clamp(0, SLOTS as i32 - 1) as usize
    }

    /// The settings that shape the mask.
    pub fn shape(&self) -> MaskShaping {
        MaskShaping {
            sharpness: self.sharpness.value(),
            floor: util::db_to_gain(self.floor.value()),
            smoothing: self.smooth.value() / 1000.0,
        }
    }

    /// Makes the host mark the project as changed. The editor calls it after an edit of persisted state.
    pub fn mark_edited(&self, setter: &ParamSetter<'_>) {
        setter.begin_set_parameter(&self.revision);
        setter.set_parameter(&self.revision, 1 - self.revision.value());
        setter.end_set_parameter(&self.revision);
    }
}

/// The queries as persisted state. Loading a state starts the encoding of its texts, also while the editor is closed.
pub struct PersistedQueries(pub Arc<Queries>);

impl<'a> PersistentField<'a, Vec<String>> for PersistedQueries {
    /// Sets the texts of all slots. Slots missing from the state become empty; texts beyond the eighth are ignored.
    fn set(&self, texts: Vec<String>) {
        let mut texts = texts.into_iter();
        self.0.set_texts(&std::array::from_fn(|_| texts.next().unwrap_or_default()));
    }

    fn map<F, R>(&self, f: F) -> R
    where
        F: Fn(&Vec<String>) -> R,
    {
        f(&self.0.texts().to_vec())
    }
}

/// The name of the model package as persisted state. Loading another name switches the model, also while audio plays.
pub struct PersistedModel(Arc<Instance>);

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
    use super::*;

    #[test]
    fn loaded_state_sets_its_slots_and_empties_the_others() {
        let queries = PersistedQueries(Arc::default());
        queries.set(vec!["기타 소리".into(), "🎸".into()]);
        assert_eq!(queries.0.text(0), "기타 소리");
        assert_eq!(queries.0.text(1), "🎸");
        assert_eq!(queries.0.text(2), "");
        queries.set((0..20).map(|i| i.to_string()).collect());
        assert_eq!(queries.map(Vec::len), SLOTS);
    }

    #[test]
    fn parameter_ids_are_the_released_ones() {
        let ids: Vec<_> =
            SiftParams::new(&Arc::default()).param_map().into_iter().map(|(id, _, _)| id).collect();
        assert_eq!(
            ids,
            [
                "strength",
                "mode",
                "query",
                "sharpness",
                "floor",
                "smooth",
                "gain",
                "listen",
                "bypass",
                "revision"
            ]
        );
    }

    #[test]
    fn defaults_survive_normalisation() {
        let params = SiftParams::new(&Arc::default());
        for param in [&params.sharpness, &params.floor, &params.smooth, &params.gain, &params.strength] {
            assert_eq!(param.preview_plain(param.default_normalized_value()), param.default_plain_value());
        }
    }
}
