//! Parameters. Ids never change once released.

use std::sync::Arc;

use nice_plug::prelude::*;
use sift_engine::{Instance, MaskShaping, Mode, SLOTS};

use crate::state::PersistedState;

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
    /// Hidden; changes with every edit of the persisted state, of which hosts take no notice.
    /// It makes them mark the project as changed.
    #[id = "revision"]
    pub revision: IntParam,
    // Later parameters follow, so that those of before keep their places in hosts that number them.
    #[id = "rest"]
    pub rest: BoolParam,

    #[nested]
    pub state: PersistedState,
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
            rest: BoolParam::new("Listen to the rest", true),
            state: PersistedState::new(instance),
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
    #[cfg(feature = "editor")]
    pub fn mark_edited(&self, setter: &ParamSetter<'_>) {
        setter.begin_set_parameter(&self.revision);
        setter.set_parameter(&self.revision, 1 - self.revision.value());
        setter.end_set_parameter(&self.revision);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
                "revision",
                "rest"
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
