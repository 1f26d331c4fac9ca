//! "Drums and bass": texts that name several sounds. Each is encoded and separated by itself, since no single embedding
//! has been found that stands for two sounds.

use std::ops::Range;
use std::sync::Arc;

/// Sounds that are separated at once for one text, at most: each costs a run of the network a hop.
pub const MAX_PARTS: usize = 4;

/// One of the sounds that a text names.
#[derive(Clone, Debug, PartialEq)]
pub struct QueryPart {
    /// What the separator is conditioned on.
    pub embedding: Arc<[f32]>,
    pub role: PartRole,
}

/// What becomes of a part's sound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartRole {
    /// What its mask lets through passes.
    Include,
    /// Only what its mask lets through passes: it is that of all other sounds.
    ExcludeNegated,
    /// As [`ExcludeNegated`](Self::ExcludeNegated), but its mask is that of the sound and is to be turned around: in "everything but
    /// drums and bass", the bass's.
    ExcludeInverted,
}

impl PartRole {
    /// Those of the parts of `text`, by which of them negate: "everything but A" and what follows it, or what comes
    /// before "A 빼고 전부", since Korean negates at the end.
    pub fn assign(text: &str, negated: &[bool]) -> Vec<Self> {
        let carried = |at: usize| match is_korean(text) {
            true => negated[at..].contains(&true),
            false => negated[..at].contains(&true),
        };
        let role = |at: usize| match (negated[at], carried(at)) {
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

/// What stands between the names of two sounds, in lower case.
#[derive(Default)]
pub struct Conjunctions {
    pub words: Vec<String>,
    /// What looks like one and is none.
    pub exceptions: Vec<String>,
}

/// Where the pieces between `conjunctions` lie in `text`, none of them empty. Where several words begin at one place, the
/// longest counts; ASCII letters count whatever their case.
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
        at += match word.max(exception) {
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

    fn cut<'a>(text: &'a str, words: &[&str]) -> Vec<&'a str> {
        let words = words.iter().map(|&word| word.to_owned()).collect();
        let conjunctions = Conjunctions { words, exceptions: vec!["하고 있".to_owned()] };
        split_at_conjunctions(text, &conjunctions).into_iter().map(|piece| text[piece].trim()).collect()
    }

    #[test]
    fn a_text_is_cut_at_its_conjunctions() {
        let english = [" and ", ",", " &"];
        assert_eq!(cut("drums and bass", &english), ["drums", "bass"]);
        assert_eq!(cut("Drums AND Bass", &english), ["Drums", "Bass"]);
        assert_eq!(cut("drums, bass, and a piano", &english), ["drums", "bass", "a piano"]);
        assert_eq!(cut("sand and island", &english), ["sand", "island"]);
        assert_eq!(cut("and drums and", &english), ["and drums and"]);
        assert_eq!(cut("", &english), [""; 0]);
        assert_eq!(cut(" , ,", &english), [""; 0]);
    }

    #[test]
    fn the_longest_of_two_conjunctions_at_one_place_counts() {
        let korean = ["랑 ", "이랑 ", "하고 "];
        assert_eq!(cut("베이스랑 드럼하고 바람이랑 비", &korean), ["베이스", "드럼", "바람", "비"]);
    }

    #[test]
    fn what_only_looks_like_a_conjunction_is_none() {
        assert_eq!(cut("말하고 있는 사람하고 비", &["하고 "]), ["말하고 있는 사람", "비"]);
    }

    #[test]
    fn whatever_is_typed_pieces_lie_in_order_and_are_whole_characters() {
        const TYPED: [&str; 7] = [" and ", ",", "a", "소", "하고 ", "하고 있", "İ"];
        for number in 0..TYPED.len().pow(5) {
            let chosen = |place: u32| TYPED[number / TYPED.len().pow(place) % TYPED.len()];
            let text: String = (0..5).map(chosen).collect();
            let mut rest = text.as_str();
            for piece in cut(&text, &[" and ", ",", "하고 "]) {
                assert!(!piece.is_empty());
                rest = rest.split_once(piece).unwrap_or_else(|| panic!("{piece:?} of {text:?}")).1;
            }
        }
    }

    #[test]
    fn what_follows_a_negation_is_left_out_too_and_in_korean_what_comes_before_it() {
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
