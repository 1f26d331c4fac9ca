//! Parameters. Ids never change once released.

use std::sync::Arc;

use nice_plug::prelude::*;
#[cfg(feature = "editor")]
use parking_lot::{Mutex, RwLock};
use sift_engine::{MaskShaping, Mode, Queries, SLOTS};

use crate::host_link::HostLink;
use crate::state::PersistedState;
#[cfg(feature = "editor")]
use crate::{
    editor::{Appearance, TextHistory},
    host_link::HostNotice,
};

/// Largest number of characters of a slot's text in the value of *Active query*. CLAP hosts provide 256 bytes, VST3
/// hosts 128 units of UTF-16.
const MAX_SHOWN_CHARACTERS: usize = 60;

/// Smallest and largest value of a parameter.
pub type Range = (f32, f32);

pub const STRENGTH: Range = (0.0, 1.0);
pub const STEREO: Range = (0.0, 1.0);
const SHARPNESS: Range = (0.5, 4.0);
/// In decibels.
const FLOOR: Range = (-80.0, 0.0);
/// In milliseconds.
const SMOOTHING: Range = (0.0, 200.0);
/// In decibels.
pub const GAIN: Range = (-24.0, 12.0);

/// Returns the value of the range that is nearest to `value`; the smallest for NaN.
pub fn limited(value: f32, (low, high): Range) -> f32 {
    if value > low { value.min(high) } else { low }
}

const fn linear((min, max): Range) -> FloatRange {
    FloatRange::Linear { min, max }
}

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
    /// Hidden; changes with every edit of the persisted state in hosts that cannot be told of it otherwise.
    /// It makes them mark the project as changed.
    #[id = "revision"]
    pub revision: IntParam,
    // Later parameters follow, so that those of before keep their places in hosts that number them.
    #[id = "rest"]
    pub rest: BoolParam,
    #[id = "stereo"]
    pub stereo: FloatParam,

    #[nested]
    pub state: PersistedState,

    /// How the editor looks, which outlives the window and belongs to the machine.
    #[cfg(feature = "editor")]
    pub appearance: RwLock<Appearance>,
    /// The edits of the texts, which outlive the window.
    #[cfg(feature = "editor")]
    pub history: Mutex<TextHistory>,
    #[cfg(feature = "editor")]
    link: Arc<HostLink>,
}

impl SiftParams {
    /// Creates the parameters whose persisted state is that of the instance of `link`.
    pub fn new(link: &Arc<HostLink>) -> Self {
        let queries = link.instance().queries();
        let (shown, parsed) = (queries.clone(), queries.clone());
        Self {
            strength: FloatParam::new("Mask strength", 1.0, linear(STRENGTH))
                .with_smoother(SmoothingStyle::Linear(10.0))
                .with_unit(" %")
                .with_value_to_string(formatters::v2s_f32_percentage(1))
                .with_string_to_value(formatters::s2v_f32_percentage()),
            mode: EnumParam::new("Mode", ModeParam::Isolate),
            query: IntParam::new("Active query", 1, IntRange::Linear { min: 1, max: SLOTS as i32 })
                .with_value_to_string(Arc::new(move |number| show_slot(&shown, number)))
                .with_string_to_value(Arc::new(move |text| parse_slot(&parsed, text))),
            sharpness: FloatParam::new(
                "Sharpness",
                1.0,
                FloatRange::Skewed {
                    min: SHARPNESS.0,
                    max: SHARPNESS.1,
                    factor: FloatRange::skew_factor(-1.0),
                },
            )
            .with_step_size(0.01),
            floor: FloatParam::new("Floor", -80.0, linear(FLOOR)).with_unit(" dB").with_step_size(0.1),
            smooth: FloatParam::new("Smoothing", 0.0, linear(SMOOTHING)).with_unit(" ms").with_step_size(0.1),
            // In decibels with steps, so that 0 dB is a gain of exactly 1 in spite of hosts' rounding.
            gain: FloatParam::new("Output gain", 0.0, linear(GAIN))
                .with_smoother(SmoothingStyle::Linear(10.0))
                .with_unit(" dB")
                .with_step_size(0.1),
            listen: EnumParam::new("Listen to", ListenParam::Output),
            bypass: BoolParam::new("Bypass", false).make_bypass(),
            revision: IntParam::new("Revision", 0, IntRange::Linear { min: 0, max: 1 })
                .hide()
                .non_automatable(),
            rest: BoolParam::new("Listen to the rest", true),
            stereo: FloatParam::new("Stereo", 1.0, linear(STEREO))
                .with_unit(" %")
                .with_value_to_string(formatters::v2s_f32_percentage(1))
                .with_string_to_value(formatters::s2v_f32_percentage()),
            state: PersistedState::new(link),
            #[cfg(feature = "editor")]
            appearance: RwLock::default(),
            #[cfg(feature = "editor")]
            history: Mutex::default(),
            #[cfg(feature = "editor")]
            link: link.clone(),
        }
    }

    /// The slot of the active query, 0 to 7.
    pub fn active_slot(&self) -> usize {
        (self.query.value() - 1).clamp(0, SLOTS as i32 - 1) as usize
    }

    /// The settings that shape the mask.
    pub fn shape(&self) -> MaskShaping {
        MaskShaping {
            sharpness: limited(self.sharpness.value(), SHARPNESS),
            floor: util::db_to_gain(limited(self.floor.value(), FLOOR)),
            smoothing: limited(self.smooth.value(), SMOOTHING) / 1000.0,
        }
    }

    /// Makes the host mark the project as changed. The editor calls it after an edit of persisted state.
    #[cfg(feature = "editor")]
    pub fn mark_edited(&self, setter: &ParamSetter<'_>) {
        if self.link.post(HostNotice::Edited) {
            return;
        }
        // A host that takes the change of this parameter back does not take back the edit, so this is the last resort.
        setter.begin_set_parameter(&self.revision);
        setter.set_parameter(&self.revision, 1 - self.revision.value());
        setter.end_set_parameter(&self.revision);
    }
}

/// The slot with this number, 1 to 8, and its text: "2: drums".
fn show_slot(queries: &Queries, number: i32) -> String {
    let text = queries.text((number - 1).clamp(0, SLOTS as i32 - 1) as usize);
    let text = match text.trim() {
        "" => "empty",
        text => text,
    };
    match text.char_indices().nth(MAX_SHOWN_CHARACTERS) {
        Some((end, _)) => format!("{number}: {}…", &text[..end]),
        None => format!("{number}: {text}"),
    }
}

/// The number of the slot that [`show_slot`] shows so, that has this number, or whose text this is.
fn parse_slot(queries: &Queries, text: &str) -> Option<i32> {
    let number = text.split_once(':').map_or(text, |(number, _)| number).trim().parse().ok();
    number.filter(|number| (1..=SLOTS as i32).contains(number)).or_else(|| {
        let text = text.trim().to_lowercase();
        let is_same = |own: &String| !text.is_empty() && own.trim().to_lowercase() == text;
        queries.texts().iter().position(is_same).map(|slot| slot as i32 + 1)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host_link::HostNotifier;

    /// The value text of *Active query* for `slot`, 0 to 7.
    fn value_text(params: &SiftParams, slot: usize) -> String {
        let query = &params.query;
        query.normalized_value_to_string(query.preview_normalized(slot as i32 + 1), true)
    }

    #[test]
    fn active_query_shows_the_words_of_the_slot_and_parses_them() {
        let link = Arc::<HostLink>::default();
        let (params, queries) = (SiftParams::new(&link), link.instance().queries());
        assert_eq!(value_text(&params, 1), "2: drums");
        queries.set_text(1, " 808: kick, 드럼 ");
        queries.set_text(2, "");
        queries.set_text(3, &"👩‍👩‍👧‍👦".repeat(60));
        assert_eq!(value_text(&params, 1), "2: 808: kick, 드럼");
        assert_eq!(value_text(&params, 2), "3: empty");
        let long = value_text(&params, 3);
        assert!(long.ends_with('…') && long.len() < 256 && long.encode_utf16().count() < 128, "{long}");
        let parse =
            |text: &str| Some(params.query.preview_plain(params.query.string_to_normalized_value(text)?));
        for slot in 0..SLOTS {
            assert_eq!(parse(&value_text(&params, slot)), Some(slot as i32 + 1));
        }
        for (text, slot) in
            [("4", Some(4)), (" 8 ", Some(8)), ("Rain", Some(5)), ("808: kick, 드럼", Some(2))]
        {
            assert_eq!(parse(text), slot, "{text}");
        }
        for unknown in ["", "9", "0", "xylophone", "-1: drums"] {
            assert_eq!(parse(unknown), None, "{unknown}");
        }
    }

    /// Records the notices, and marks edits or not.
    struct FakeNotifier(Arc<Mutex<Vec<HostNotice>>>);

    impl HostNotifier for FakeNotifier {
        fn marks_edits(&self) -> bool {
            true
        }

        fn notify(&self, notice: HostNotice) {
            self.0.lock().push(notice);
        }
    }

    #[test]
    fn loaded_texts_are_told_to_the_host() {
        let (link, notices) = (Arc::<HostLink>::default(), Arc::default());
        link.set_notifier(FakeNotifier(Arc::clone(&notices)));
        let weak = Arc::downgrade(&link);
        link.set_schedule(move |notice| weak.upgrade().unwrap().deliver(notice));
        let params = SiftParams::new(&link);
        let saved = params.serialize_fields();
        params.deserialize_fields(&saved);
        assert!(notices.lock().is_empty(), "the texts are the same");
        link.instance().queries().set_text(1, "a violin");
        params.deserialize_fields(&saved);
        assert_eq!(*notices.lock(), [HostNotice::TextsLoaded]);
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
                "revision",
                "rest",
                "stereo"
            ]
        );
    }

    #[test]
    fn limited_value_is_within_its_range() {
        for (value, expected) in [
            (0.3, 0.3),
            (0.0, 0.0),
            (1.0, 1.0),
            (1e30, 1.0),
            (-5.0, 0.0),
            (f32::INFINITY, 1.0),
            (f32::NEG_INFINITY, 0.0),
            (f32::NAN, 0.0),
        ] {
            assert_eq!(limited(value, STRENGTH), expected, "{value}");
        }
    }

    #[test]
    fn defaults_survive_normalisation() {
        let params = SiftParams::new(&Arc::default());
        for param in [&params.sharpness, &params.floor, &params.smooth, &params.gain, &params.strength] {
            assert_eq!(param.preview_plain(param.default_normalized_value()), param.default_plain_value());
        }
    }
}
