//! Names that stand for several sounds, for one of several, or for a kind; the data is in `names.toml`.

use std::collections::HashMap;
use std::sync::LazyLock;

use serde::Deserialize;

use crate::query::request::{EVERYTHING_ELSE, Request, parse};

/// Sounds that a name of a text stands for, by texts that the query network encodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sounds {
    /// The name itself is that of a sound.
    Itself,
    /// All of these: "vocals" are singing, speech and a choir.
    AllOf(Vec<String>),
    /// One of these: a "keyboard" is an instrument or a thing to type on.
    OneOf(Vec<String>),
}

/// A name of a text with the sounds that it stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedSounds {
    /// As in the text, in lower case.
    pub name: String,
    pub sounds: Sounds,
}

impl NamedSounds {
    fn new(name: &str) -> Self {
        let sounds = match NAMES.entries.get(name) {
            Some(Entry::AllOf(sounds)) => Sounds::AllOf(sounds.clone()),
            Some(Entry::OneOf(sounds)) => Sounds::OneOf(sounds.clone()),
            Some(Entry::AllBut(_)) | None => Sounds::Itself,
        };
        Self { name: name.to_owned(), sounds }
    }

    /// Removes the sounds with these names. Returns whether any is left.
    fn remove(&mut self, names: &[String]) -> bool {
        match &mut self.sounds {
            Sounds::Itself => !names.contains(&self.name),
            Sounds::AllOf(sounds) | Sounds::OneOf(sounds) => {
                sounds.retain(|sound| !names.contains(sound));
                !sounds.is_empty()
            }
        }
    }
}

/// The sounds that a text asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SoundRequest {
    pub keep: Vec<NamedSounds>,
    pub leave_out: Vec<NamedSounds>,
}

impl SoundRequest {
    /// Replaces the names of `request` by the sounds that they stand for.
    ///
    /// Of names that mean everything but some sounds ("karaoke", "everything else"), these sounds are left out instead, or
    /// kept where the names are left out. `others`: the texts of the other slots, which name what is not everything else.
    pub fn new(request: &Request, others: &[String]) -> Self {
        let mut named = Self::default();
        // Sounds beside everything else, of names to keep and of names to leave out.
        let (mut kept_but, mut left_out_but) = (Vec::new(), Vec::new());
        for (names, sounds, all_but) in [
            (&request.keep, &mut named.keep, &mut kept_but),
            (&request.leave_out, &mut named.leave_out, &mut left_out_but),
        ] {
            for name in names {
                match NAMES.entries.get(name) {
                    _ if name == EVERYTHING_ELSE => all_but.extend(sounds_of(others)),
                    Some(Entry::AllBut(sounds)) => {
                        all_but
                            .push(NamedSounds { name: name.clone(), sounds: Sounds::AllOf(sounds.clone()) });
                    }
                    _ => sounds.push(NamedSounds::new(name)),
                }
            }
        }
        if !kept_but.is_empty() {
            // All but speech, and speech: all.
            kept_but.retain_mut(|sounds| sounds.remove(&request.keep));
            named.keep.clear();
            named.leave_out.append(&mut kept_but);
        }
        if named.keep.is_empty() {
            left_out_but.retain_mut(|sounds| sounds.remove(&request.leave_out));
            named.keep = left_out_but;
        }
        named
    }

    /// Whether the text means something else beside other texts in other slots.
    pub fn depends_on_others(text: &str) -> bool {
        let Ok(Request { keep, leave_out, .. }) = parse(text) else { return false };
        let mut names = keep.iter().chain(&leave_out);
        names.any(|name| name == EVERYTHING_ELSE || matches!(NAMES.entries.get(name), Some(Entry::OneOf(_))))
    }
}

/// Returns the sounds that `texts` keep.
fn sounds_of(texts: &[String]) -> Vec<NamedSounds> {
    let requests = texts.iter().filter_map(|text| parse(text).ok());
    let names = requests.flat_map(|request| request.keep);
    let is_sound =
        |name: &String| name != EVERYTHING_ELSE && !matches!(NAMES.entries.get(name), Some(Entry::AllBut(_)));
    let mut sounds: Vec<NamedSounds> = Vec::new();
    for name in names.filter(is_sound) {
        if !sounds.iter().any(|other| other.name == name) {
            sounds.push(NamedSounds::new(&name));
        }
    }
    sounds
}

/// Returns words of one of several sources of a kind, of which the name has one: those of "the man", or of "lead guitar".
pub fn kind_words(name: &str) -> Option<&'static [String]> {
    let has = |word: &String| match word.is_ascii() || name.contains(' ') {
        true => name.split(' ').any(|part| part == word),
        false => name.contains(word.as_str()),
    };
    NAMES.kinds.iter().find(|words| words.iter().any(has)).map(Vec::as_slice)
}

/// Returns the English names of sets and of words with several meanings.
pub fn all_names() -> impl Iterator<Item = &'static str> {
    NAMES.entries.keys().map(String::as_str).filter(|name| name.is_ascii())
}

enum Entry {
    AllOf(Vec<String>),
    AllBut(Vec<String>),
    OneOf(Vec<String>),
}

/// Content of `names.toml`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NamesFile {
    set: Vec<Set>,
    meaning: Vec<Meaning>,
    kind: Vec<Kind>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Set {
    names: Vec<String>,
    #[serde(default)]
    sounds: Vec<String>,
    /// Sounds to which the names are the opposite.
    #[serde(default)]
    without: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Meaning {
    names: Vec<String>,
    sounds: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Kind {
    words: Vec<String>,
}

struct Names {
    entries: HashMap<String, Entry>,
    kinds: Vec<Vec<String>>,
}

static NAMES: LazyLock<Names> = LazyLock::new(|| {
    let NamesFile { set, meaning, kind } =
        toml::from_str(include_str!("names.toml")).expect("the names are tested");
    let mut entries = HashMap::new();
    for Set { names, sounds, without } in set {
        for name in names {
            let entry = match without.is_empty() {
                true => Entry::AllOf(sounds.clone()),
                false => Entry::AllBut(without.clone()),
            };
            entries.insert(name, entry);
        }
    }
    for Meaning { names, sounds } in meaning {
        entries.extend(names.into_iter().map(|name| (name, Entry::OneOf(sounds.clone()))));
    }
    Names { entries, kinds: kind.into_iter().map(|kind| kind.words).collect() }
});

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn resolve(text: &str, others: &[&str]) -> SoundRequest {
        let others: Vec<_> = others.iter().map(|&text| text.to_owned()).collect();
        SoundRequest::new(&parse(text).unwrap(), &others)
    }

    /// The texts for the network of each name.
    fn texts(named: &[NamedSounds]) -> Vec<Vec<&str>> {
        let texts = |named: &NamedSounds| match &named.sounds {
            Sounds::Itself => vec![named.name.clone()],
            Sounds::AllOf(sounds) | Sounds::OneOf(sounds) => sounds.clone(),
        };
        named.iter().map(|named| texts(named).into_iter().map(|text| &*text.leak()).collect()).collect()
    }

    const VOICES: [&str; 3] = ["singing", "speech", "choir"];

    #[test]
    fn every_name_has_one_entry() {
        let NamesFile { set, meaning, kind } = toml::from_str(include_str!("names.toml")).unwrap();
        let of_sets = set.iter().flat_map(|set| &set.names);
        let mut seen = HashSet::new();
        for name in of_sets.chain(meaning.iter().flat_map(|meaning| &meaning.names)) {
            assert!(seen.insert(name), "{name:?} is there twice");
            assert_eq!(*name, name.trim().to_lowercase());
        }
        assert!(set.iter().all(|set| set.sounds.is_empty() != set.without.is_empty()));
        assert!(meaning.iter().all(|meaning| meaning.sounds.len() > 1));
        assert!(kind.iter().all(|kind| !kind.words.is_empty()));
    }

    #[test]
    fn set_stands_for_all_of_its_sounds() {
        for text in ["vocals", "only the vocals", "acapella", "보컬만"] {
            let SoundRequest { keep, leave_out } = resolve(text, &[]);
            assert_eq!((texts(&keep), leave_out), (vec![VOICES.to_vec()], Vec::new()), "{text}");
        }
        assert_eq!(texts(&resolve("no vocals", &[]).leave_out), [VOICES]);
    }

    #[test]
    fn opposite_of_a_set_leaves_its_sounds_out() {
        for text in ["karaoke", "the instrumental", "반주"] {
            let SoundRequest { keep, leave_out } = resolve(text, &[]);
            assert_eq!((keep, texts(&leave_out)), (Vec::new(), vec![VOICES.to_vec()]), "{text}");
        }
        let SoundRequest { keep, leave_out } = resolve("no backing track", &[]);
        assert_eq!((texts(&keep), leave_out), (vec![VOICES.to_vec()], Vec::new()));
    }

    #[test]
    fn opposite_of_a_set_counts_beside_other_names() {
        let SoundRequest { keep, leave_out } = resolve("speech without background noise", &[]);
        assert_eq!((texts(&keep), leave_out), (vec![vec!["speech"]], Vec::new()));
        let SoundRequest { keep, leave_out } = resolve("speech and background noise", &[]);
        assert_eq!(keep, []);
        assert!(!texts(&leave_out).concat().contains(&"speech"), "{leave_out:?}");
        let SoundRequest { keep, leave_out } = resolve("instrumental without drums", &[]);
        assert_eq!((keep, texts(&leave_out).len()), (Vec::new(), 2));
    }

    #[test]
    fn everything_else_is_what_no_other_slot_names() {
        let others = ["only the drums", "a dog barking", "karaoke", ""];
        let SoundRequest { keep, leave_out } = resolve("everything else", &others);
        assert_eq!((keep, texts(&leave_out)), (Vec::new(), vec![vec!["drums"], vec!["dog barking"]]));
        let SoundRequest { keep, leave_out } = resolve("no other sounds", &others);
        assert_eq!((texts(&keep), leave_out), (vec![vec!["drums"], vec!["dog barking"]], Vec::new()));
        assert_eq!(resolve("the rest", &[]), SoundRequest::default());
    }

    #[test]
    fn word_with_several_meanings_stands_for_one_of_them() {
        let SoundRequest { keep, .. } = resolve("keyboard", &[]);
        assert!(matches!(&keep[..], [NamedSounds { sounds: Sounds::OneOf(sounds), .. }] if sounds.len() > 1));
    }

    #[test]
    fn only_some_texts_depend_on_others() {
        for text in ["keyboard", "no keyboard", "everything else", "나머지"] {
            assert!(SoundRequest::depends_on_others(text), "{text}");
        }
        for text in ["drums", "karaoke", "only the vocals", ""] {
            assert!(!SoundRequest::depends_on_others(text), "{text}");
        }
    }

    #[test]
    fn kind_is_found_by_a_word_of_the_name() {
        for (name, word) in [("man speaking", "woman"), ("lead guitar", "rhythm"), ("남자 목소리", "여자")]
        {
            let has = |words: &[String]| words.iter().any(|other| other == word);
            assert!(kind_words(name).is_some() && !kind_words(name).is_some_and(has), "{name}");
        }
        assert_eq!(kind_words("drums"), None);
        assert_eq!(kind_words("mandolin"), None);
    }
}
