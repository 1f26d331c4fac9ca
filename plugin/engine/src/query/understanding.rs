//! How a text was understood.

use crate::query::concepts::{ConceptMatch, UNDERSTOOD};

/// Most concepts told as near to a name that the model does not know.
const MAX_NEAREST: usize = 2;

/// A name of a text that the model knows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct UnderstoodSound {
    /// The name in the text, in lower case, with slips corrected.
    pub name: String,
    /// The name as in the text if a slip was corrected.
    pub slip: Option<String>,
    /// Nearest concepts, nearest first; empty if the package has none.
    pub matches: Vec<ConceptMatch>,
    /// Whether the name is that of one of several sources that the model cannot tell apart.
    pub is_kind: bool,
}

impl UnderstoodSound {
    /// Returns the concepts that the name is taken to mean.
    pub fn selected(&self) -> impl Iterator<Item = &ConceptMatch> + Clone {
        self.matches.iter().filter(|concept| concept.selected)
    }

    /// Whether both names are taken to mean the same concepts; false without concepts.
    pub fn means_same_as(&self, other: &Self) -> bool {
        let names =
            |sound: &'_ Self| sound.selected().map(|concept| concept.name.clone()).collect::<Vec<_>>();
        !self.matches.is_empty() && names(self) == names(other)
    }

    /// Lists the concepts that the name is taken to mean, with their closeness: "electric guitar 0.62 or harp 0.55".
    pub fn describe(&self) -> String {
        let names: Vec<_> = self.selected().map(ConceptMatch::describe).collect();
        if names.is_empty() { self.name.clone() } else { names.join(" or ") }
    }

    fn is_sure(&self) -> bool {
        self.matches.first().is_none_or(|nearest| nearest.closeness >= UNDERSTOOD)
    }
}

/// A name of a text that the model does not know.
#[derive(Clone, Debug, PartialEq)]
pub struct UnknownSound {
    /// The name in the text, in lower case.
    pub name: String,
    /// Nearest concepts, nearest first, none of which is near enough.
    pub nearest: Vec<ConceptMatch>,
}

/// A sound that may be meant by a name of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice<'a> {
    /// The name in the text, in lower case.
    pub typed: &'a str,
    /// Name of the concept.
    pub concept: &'a str,
}

/// What a text was understood as.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Understanding {
    /// Sounds to keep. Without any, everything is kept but what is left out.
    pub keep: Vec<UnderstoodSound>,
    pub leave_out: Vec<UnderstoodSound>,
    pub unknown: Vec<UnknownSound>,
    /// Why the text has no effect, so that everything passes; beside unknown sounds.
    pub problem: Option<String>,
}

impl Understanding {
    /// Returns whether the input passes whole because the text asks for nothing that the model knows.
    pub fn passes_everything(&self) -> bool {
        self.keep.is_empty() && self.leave_out.is_empty()
    }

    /// Returns whether all that the text asks for was surely understood.
    pub fn is_sure(&self) -> bool {
        let mut sounds = self.keep.iter().chain(&self.leave_out);
        !self.passes_everything() && self.unknown.is_empty() && sounds.all(UnderstoodSound::is_sure)
    }

    /// Returns whether the text is one name that is taken as it stands, so that there is nothing to tell.
    pub fn is_verbatim(&self) -> bool {
        let Self { keep, leave_out, unknown, .. } = self;
        matches!(&keep[..], [sound] if sound.matches.is_empty()) && leave_out.is_empty() && unknown.is_empty()
    }

    /// Returns the sounds among which the user may choose: those of a name in doubt, and those near to an unknown one.
    ///
    /// In the order in which [`describe`](Self::describe) has them.
    pub fn choices(&self) -> Vec<Choice<'_>> {
        let mut choices = Vec::new();
        for sound in self.keep.iter().chain(&self.leave_out).filter(|sound| sound.selected().count() > 1) {
            let typed = sound.slip.as_ref().unwrap_or(&sound.name);
            choices.extend(sound.selected().map(|concept| Choice { typed, concept: &concept.name }));
        }
        for UnknownSound { name, nearest } in &self.unknown {
            let near = nearest.iter().take(MAX_NEAREST);
            choices.extend(near.map(|concept| Choice { typed: name, concept: &concept.name }));
        }
        choices
    }

    /// Describes the understanding in one line.
    ///
    /// For example "keeping speech 0.93 · leaving out music 0.88", "everything but drums 0.96", or "everything passes:
    /// “florble” is no sound that the model knows".
    pub fn describe(&self) -> String {
        let Self { keep, leave_out, unknown, problem } = self;
        let list = |sounds: &[UnderstoodSound]| {
            sounds.iter().map(UnderstoodSound::describe).collect::<Vec<_>>().join(" + ")
        };
        let mut parts = Vec::new();
        if !keep.is_empty() {
            parts.push(format!("keeping {}", list(keep)));
            if !leave_out.is_empty() {
                parts.push(format!("leaving out {}", list(leave_out)));
            }
        } else if !leave_out.is_empty() {
            parts.push(format!("everything but {}", list(leave_out)));
        } else if let Some(problem) = problem {
            parts.push(format!("everything passes: {problem}"));
        } else {
            parts.push("everything passes".into());
        }
        for sound in keep.iter().chain(leave_out) {
            if let Some(slip) = &sound.slip {
                parts.push(format!("“{slip}” taken for “{}”", sound.name));
            }
            if sound.is_kind {
                parts.push(format!("“{}” cannot be told from others of its kind", sound.name));
            }
            if !sound.is_sure() {
                parts.push(format!("not sure of “{}”", sound.name));
            }
        }
        parts.extend(unknown.iter().map(|sound| {
            let nearest: Vec<_> =
                sound.nearest.iter().take(MAX_NEAREST).map(|near| near.name.as_str()).collect();
            match nearest.is_empty() {
                true => format!("the model does not know “{}”", sound.name),
                false => format!("the model does not know “{}”; nearest: {}", sound.name, nearest.join(", ")),
            }
        }));
        parts.join(" · ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn concept(name: &str, closeness: f32, selected: bool) -> ConceptMatch {
        ConceptMatch { name: name.into(), closeness, selected }
    }

    fn sound(name: &str, matches: &[(&str, f32)]) -> UnderstoodSound {
        let matches = matches.iter().map(|(name, closeness)| concept(name, *closeness, true)).collect();
        UnderstoodSound { name: name.into(), matches, ..UnderstoodSound::default() }
    }

    #[test]
    fn sounds_are_kept_or_left_out() {
        let (speech, music) = (sound("the voice", &[("speech", 0.93)]), sound("song", &[("music", 0.884)]));
        let keep = Understanding { keep: vec![speech.clone()], ..Understanding::default() };
        assert_eq!(keep.describe(), "keeping speech 0.93");
        let both = Understanding { leave_out: vec![music.clone()], ..keep };
        assert_eq!(both.describe(), "keeping speech 0.93 · leaving out music 0.88");
        let leave_out = Understanding { leave_out: vec![speech, music], ..Understanding::default() };
        assert_eq!(leave_out.describe(), "everything but speech 0.93 + music 0.88");
        assert!(both.is_sure() && leave_out.is_sure());
    }

    #[test]
    fn doubt_slips_and_kinds_are_told() {
        let guitar = UnderstoodSound {
            slip: Some("gutar".into()),
            is_kind: true,
            ..sound("guitar", &[("electric guitar", 0.42), ("acoustic guitar", 0.4)])
        };
        let doubtful = Understanding { keep: vec![guitar], ..Understanding::default() };
        assert_eq!(
            doubtful.describe(),
            "keeping electric guitar 0.42 or acoustic guitar 0.40 · “gutar” taken for “guitar” · “guitar” cannot be told \
             from others of its kind · not sure of “guitar”"
        );
        assert!(!doubtful.is_sure());
        let choices: Vec<_> =
            doubtful.choices().iter().map(|choice| (choice.typed, choice.concept)).collect();
        assert_eq!(choices, [("gutar", "electric guitar"), ("gutar", "acoustic guitar")]);
    }

    #[test]
    fn unknown_sounds_are_told_and_everything_passes_where_nothing_is_known() {
        let unknown = UnknownSound { name: "florble".into(), nearest: vec![concept("fan", 0.1, false)] };
        let some = Understanding {
            keep: vec![sound("drums", &[])],
            unknown: vec![unknown.clone()],
            ..Understanding::default()
        };
        assert_eq!(some.choices(), [Choice { typed: "florble", concept: "fan" }]);
        assert_eq!(some.describe(), "keeping drums · the model does not know “florble”; nearest: fan");
        let nothing = Understanding { unknown: vec![unknown], ..Understanding::default() };
        assert_eq!(nothing.describe(), "everything passes · the model does not know “florble”; nearest: fan");
        assert!(nothing.passes_everything() && !nothing.is_sure() && !some.is_sure());
        let problem =
            Understanding { problem: Some("the text names 9 sounds".into()), ..Understanding::default() };
        assert_eq!(problem.describe(), "everything passes: the text names 9 sounds");
    }

    #[test]
    fn name_without_concepts_is_verbatim() {
        let name = Understanding { keep: vec![sound("rain", &[])], ..Understanding::default() };
        assert!(name.is_verbatim());
        assert!(!Understanding { leave_out: name.keep.clone(), ..name.clone() }.is_verbatim());
        assert!(!Understanding { keep: vec![sound("rain", &[("rain", 1.0)])], ..name }.is_verbatim());
        assert!(!Understanding::default().is_verbatim());
    }

    #[test]
    fn sound_without_doubt_offers_no_choice() {
        let sure =
            Understanding { keep: vec![sound("drums", &[("drums", 0.9)])], ..Understanding::default() };
        assert!(sure.choices().is_empty());
    }
}
