//! Parts of a text that names several sounds, such as "drums and bass".
//!
//! Each part is encoded and separated by itself, because no single embedding represents two sounds well.

use std::ops::Range;
use std::sync::Arc;

/// Most parts of a text. Each costs one run of the network per hop.
pub const MAX_PARTS: usize = 4;

/// One of the sounds that a text names.
#[derive(Clone, Debug, PartialEq)]
pub struct QueryPart {
    /// Embedding that conditions the separator.
    pub embedding: Arc<[f32]>,
    pub role: PartRole,
}

/// Effect of a part's mask on the combined mask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartRole {
    /// The mask passes the sound: each bin gets the largest gain of such parts.
    Include,
    /// The mask passes all other sounds, as the text negates: its gains are upper limits.
    ExcludeNegated,
    /// The mask passes a sound to exclude: one minus its gains are upper limits.
    ///
    /// An example is the bass in "everything but drums and bass".
    ExcludeInverted,
}

impl PartRole {
    /// Returns the roles of the parts of `text`; `negated` has for each part whether its own words negate.
    ///
    /// A negation also applies to the parts after it, or in Korean, which negates at the end ("A 빼고 전부"), to those
    /// before it.
    pub fn assign(text: &str, negated: &[bool]) -> Vec<Self> {
        let is_in_scope = |at: usize| match is_korean(text) {
            true => negated[at..].contains(&true),
            false => negated[..at].contains(&true),
        };
        let role = |at: usize| match (negated[at], is_in_scope(at)) {
            (true, _) => PartRole::ExcludeNegated,
            (false, true) => PartRole::ExcludeInverted,
            (false, false) => PartRole::Include,
        };
        (0..negated.len()).map(role).collect()
    }
}

fn is_korean(text: &str) -> bool {
    text.chars().any(|character| ('가'..='힣').contains(&character))
}

/// Words that separate the names of sounds, in lower case.
#[derive(Default)]
pub struct Conjunctions {
    pub words: Vec<String>,
    /// Words that contain a conjunction but do not separate sounds.
    pub exceptions: Vec<String>,
    /// Words before a sound to exclude, such as " without ". They separate, and belong to what follows them.
    pub exclusions: Vec<String>,
}

/// Returns the byte ranges of `text` between `conjunctions`, without blank ones. A range may begin with an exclusion.
///
/// The longest of several words at one position counts. ASCII letters match in either case.
pub fn split_at_conjunctions(text: &str, conjunctions: &Conjunctions) -> Vec<Range<usize>> {
    let lower = text.to_ascii_lowercase();
    let longest = |words: &[String], at: usize| {
        words.iter().filter(|word| lower[at..].starts_with(word.as_str())).map(String::len).max()
    };
    let mut pieces = Vec::new();
    let mut begin = 0;
    let mut at = 0;
    while let Some(character) = lower[at..].chars().next() {
        let (word, exception) = (longest(&conjunctions.words, at), longest(&conjunctions.exceptions, at));
        let exclusion = longest(&conjunctions.exclusions, at);
        at += match word.max(exception).max(exclusion) {
            Some(length) if exclusion > word.max(exception) => {
                pieces.push(begin..at);
                begin = at;
                length
            }
            Some(length) if word > exception => {
                pieces.push(begin..at);
                begin = at + length;
                length
            }
            Some(length) => length,
            None => character.len_utf8(),
        };
    }
    pieces.push(begin..text.len());
    pieces.retain(|piece| !text[piece.clone()].trim().is_empty());
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split<'a>(text: &'a str, words: &[&str]) -> Vec<&'a str> {
        let words = words.iter().map(|&word| word.to_owned()).collect();
        let conjunctions = Conjunctions {
            words,
            exceptions: vec!["하고 있".to_owned()],
            exclusions: vec![" without ".to_owned(), " but no ".to_owned()],
        };
        split_at_conjunctions(text, &conjunctions).into_iter().map(|piece| text[piece].trim()).collect()
    }

    #[test]
    fn text_is_split_at_its_conjunctions() {
        let english = [" and ", ",", " &"];
        assert_eq!(split("drums and bass", &english), ["drums", "bass"]);
        assert_eq!(split("Drums AND Bass", &english), ["Drums", "Bass"]);
        assert_eq!(split("drums, bass, and a piano", &english), ["drums", "bass", "a piano"]);
        assert_eq!(split("sand and island", &english), ["sand", "island"]);
        assert_eq!(split("and drums and", &english), ["and drums and"]);
        assert_eq!(split("", &english), [""; 0]);
        assert_eq!(split(" , ,", &english), [""; 0]);
    }

    #[test]
    fn longest_conjunction_at_a_position_counts() {
        let korean = ["랑 ", "이랑 ", "하고 "];
        assert_eq!(split("베이스랑 드럼하고 바람이랑 비", &korean), ["베이스", "드럼", "바람", "비"]);
    }

    #[test]
    fn exclusion_separates_and_belongs_to_what_follows() {
        assert_eq!(split("speech without music", &[]), ["speech", "without music"]);
        assert_eq!(split("Speech, but no music", &[","]), ["Speech", "but no music"]);
        assert_eq!(split("drums and bass without a piano", &[" and "]), ["drums", "bass", "without a piano"]);
        assert_eq!(split("without music", &[]), ["without music"]);
    }

    #[test]
    fn exception_is_not_a_conjunction() {
        assert_eq!(split("말하고 있는 사람하고 비", &["하고 "]), ["말하고 있는 사람", "비"]);
    }

    #[test]
    fn pieces_of_any_text_are_ordered_and_not_empty() {
        const WORDS: [&str; 7] = [" and ", ",", "a", "소", "하고 ", "하고 있", "İ"];
        for number in 0..WORDS.len().pow(5) {
            let word = |place: u32| WORDS[number / WORDS.len().pow(place) % WORDS.len()];
            let text: String = (0..5).map(word).collect();
            let mut rest = text.as_str();
            for piece in split(&text, &[" and ", ",", "하고 "]) {
                assert!(!piece.is_empty());
                rest = rest.split_once(piece).unwrap_or_else(|| panic!("{piece:?} of {text:?}")).1;
            }
        }
    }

    #[test]
    fn negation_applies_after_it_and_in_korean_before_it() {
        use PartRole::{ExcludeInverted, ExcludeNegated, Include};
        assert_eq!(PartRole::assign("drums and bass", &[false, false]), [Include, Include]);
        assert_eq!(PartRole::assign("no drums and bass", &[true, false]), [ExcludeNegated, ExcludeInverted]);
        assert_eq!(PartRole::assign("no drums and no bass", &[true, true]), [ExcludeNegated, ExcludeNegated]);
        assert_eq!(PartRole::assign("drums and no bass", &[false, true]), [Include, ExcludeNegated]);
        assert_eq!(
            PartRole::assign("드럼하고 베이스 빼고 전부", &[false, true]),
            [ExcludeInverted, ExcludeNegated]
        );
    }
}
