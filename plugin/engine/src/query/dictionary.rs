//! Dictionary of a package: names of sounds that need no network, and the correction of slips.

use std::collections::{HashMap, HashSet};

use serde::Deserialize;

use crate::query::names;

/// Fewest letters of a word that is corrected; shorter words are near to too many others.
const MIN_CORRECTED_LETTERS: usize = 4;

/// Fewest words of a name that is taken for a sentence if the dictionary has none of them.
const MIN_SENTENCE_WORDS: usize = 3;

/// Content of `names.json`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NamesFile {
    concepts: Vec<NamedConcept>,
    /// Names of sounds that the model cannot separate.
    #[serde(default)]
    unknown: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NamedConcept {
    /// Name of a concept in `concepts.json`.
    name: String,
    /// Subjects that it belongs to, such as "music".
    groups: Vec<String>,
    /// Names that mean it, in lower case. A name of several concepts may mean each of them.
    names: Vec<String>,
}

/// Names of a package's concepts, and of sounds that it does not know.
pub struct Dictionary {
    /// Whether the package has names beside those of its concepts.
    has_names: bool,
    /// Indices of concepts by name; none for a sound that the model cannot separate.
    entries: HashMap<String, Vec<usize>>,
    /// Groups of each concept.
    groups: Vec<Vec<String>>,
    /// Number of names that have a word of Latin letters.
    words: HashMap<String, u32>,
    /// Stems of all words.
    stems: HashSet<String>,
}

impl Dictionary {
    /// Parses `names.json` of a package with these concepts. Without it, only the concepts' own names are known.
    ///
    /// # Errors
    /// Fails if the JSON is invalid or names a concept that the package does not have.
    pub fn new(json: Option<&[u8]>, concepts: &[String]) -> Result<Self, String> {
        let mut dictionary = Self {
            has_names: json.is_some(),
            entries: HashMap::new(),
            groups: vec![Vec::new(); concepts.len()],
            words: HashMap::new(),
            stems: HashSet::new(),
        };
        for (index, name) in concepts.iter().enumerate() {
            dictionary.insert(name, Some(index));
        }
        if let Some(json) = json {
            let NamesFile { concepts: named, unknown } =
                serde_json::from_slice(json).map_err(|error| error.to_string())?;
            for NamedConcept { name, groups, names } in named {
                let index = concepts.iter().position(|known| *known == name).ok_or_else(|| {
                    format!("field `concepts` has {name:?}; expected names of concepts in concepts.json")
                })?;
                dictionary.groups[index] = groups;
                names.iter().for_each(|name| dictionary.insert(name, Some(index)));
            }
            unknown.iter().for_each(|name| dictionary.insert(name, None));
        }
        names::all_names().for_each(|name| dictionary.count_words(name));
        Ok(dictionary)
    }

    fn insert(&mut self, name: &str, concept: Option<usize>) {
        let name = name.to_lowercase();
        self.count_words(&name);
        self.stems.extend(name.split(' ').filter_map(stem).map(str::to_owned));
        let indices = self.entries.entry(name).or_default();
        if let Some(index) = concept.filter(|index| !indices.contains(index)) {
            indices.push(index);
        }
    }

    fn count_words(&mut self, name: &str) {
        for word in name.split(' ').filter(|word| is_correctable(word)) {
            *self.words.entry(word.to_owned()).or_default() += 1;
        }
    }

    /// Returns the concepts that a name in lower case may mean; none if the model cannot separate the sound.
    ///
    /// `None` if the dictionary does not have the name.
    pub fn concepts(&self, name: &str) -> Option<&[usize]> {
        self.entries.get(name).map(Vec::as_slice)
    }

    /// Whether the model cannot separate the sound of a common English name.
    ///
    /// Unknown of a package that has no names beside those of its concepts; then false.
    pub fn lacks(&self, name: &str) -> bool {
        self.has_names && self.concepts(name).is_none_or(<[usize]>::is_empty)
    }

    /// Whether `name`, in lower case, is of three words or more, and no name of the dictionary has any of them.
    ///
    /// Such a name is rather a sentence about something else. False if the package has no names beside those of its concepts.
    pub fn is_sentence(&self, name: &str) -> bool {
        let mut stems = name.split(' ').filter_map(stem);
        self.has_names
            && name.split(' ').count() >= MIN_SENTENCE_WORDS
            && !stems.any(|stem| self.stems.contains(stem))
    }

    /// Returns the subjects of a concept, such as "music".
    pub fn groups(&self, concept: usize) -> &[String] {
        &self.groups[concept]
    }

    /// Corrects words of `name` that differ by one letter from a word of the dictionary, or by two that are swapped.
    ///
    /// `None` if there are none, or if a word is not known even then: the name is in another language. The first letter must
    /// be right. Words for which `is_word` holds are known.
    pub fn correct(&self, name: &str, is_word: impl Fn(&str) -> bool) -> Option<String> {
        if self.entries.contains_key(name) {
            return None;
        }
        let is_known = |word: &str| self.words.contains_key(word) || word.is_ascii() && is_word(word);
        let mut corrected = Vec::new();
        for word in name.split(' ') {
            match is_known(word) {
                true => corrected.push(word),
                false if is_correctable(word) => corrected.push(self.nearest_word(word)?),
                false => return None,
            }
        }
        Some(corrected.join(" ")).filter(|corrected| corrected != name)
    }

    /// Returns the word at a distance of one that most names have.
    fn nearest_word(&self, word: &str) -> Option<&str> {
        let is_near = |known: &str| {
            known.as_bytes()[0] == word.as_bytes()[0]
                && known.len().abs_diff(word.len()) <= 1
                && strsim::osa_distance(known, word) == 1
        };
        let near = self.words.iter().filter(|(known, _)| is_near(known));
        near.max_by(|(a, a_names), (b, b_names)| a_names.cmp(b_names).then(b.cmp(a)))
            .map(|(known, _)| &**known)
    }
}

/// Returns the part of a word that its inflections share: two characters where they are written without a space, as in
/// Korean. `None` for words too short to tell anything.
fn stem(word: &str) -> Option<&str> {
    let length = match word.is_ascii() {
        true => word.len(),
        false => word.char_indices().nth(2).map_or(word.len(), |(at, _)| at),
    };
    (word.chars().count() >= if word.is_ascii() { 3 } else { 2 }).then_some(&word[..length])
}

fn is_correctable(word: &str) -> bool {
    word.len() >= MIN_CORRECTED_LETTERS && word.bytes().all(|letter| letter.is_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: &str = r#"{
        "concepts": [
            {"name": "piano", "groups": ["music"], "names": ["grand piano", "keys", "pianos", "the piano"]},
            {"name": "typing", "groups": ["office"], "names": ["keys", "타자 소리"]}
        ],
        "unknown": ["accordion"]
    }"#;

    fn dictionary() -> Dictionary {
        let concepts = ["piano", "typing", "acoustic guitar"].map(String::from);
        Dictionary::new(Some(NAMES.as_bytes()), &concepts).unwrap()
    }

    #[test]
    fn name_means_its_concepts() {
        let dictionary = dictionary();
        assert_eq!(dictionary.concepts("grand piano"), Some(&[0][..]));
        assert_eq!(dictionary.concepts("타자 소리"), Some(&[1][..]));
        assert_eq!(dictionary.concepts("keys"), Some(&[0, 1][..]));
        assert_eq!(dictionary.concepts("acoustic guitar"), Some(&[2][..]));
        assert_eq!(dictionary.concepts("accordion"), Some(&[][..]), "known, but not to the model");
        assert_eq!(dictionary.concepts("zither"), None);
        assert!(dictionary.lacks("accordion") && dictionary.lacks("zither") && !dictionary.lacks("keys"));
        let without_names = Dictionary::new(None, &["piano".into()]).unwrap();
        assert!(!without_names.lacks("zither"));
        assert_eq!(dictionary.groups(1), ["office"]);
        assert!(dictionary.groups(2).is_empty());
    }

    #[test]
    fn slip_of_one_letter_is_corrected() {
        let dictionary = dictionary();
        let correct = |name: &str| dictionary.correct(name, |word| ["a", "gutter"].contains(&word));
        for (slip, corrected) in [
            ("gutar", "guitar"),
            ("guitsr", "guitar"),
            ("gutiar", "guitar"),
            ("pianno", "piano"),
            ("a pianno", "a piano"),
            ("grnad piano", "grand piano"),
        ] {
            assert_eq!(correct(slip).as_deref(), Some(corrected), "{slip}");
        }
        for right in ["guitar", "gutter", "uitar", "key", "타자", "zither", "pianno zither", "el pianno", ""]
        {
            assert_eq!(correct(right), None, "{right}");
        }
    }

    #[test]
    fn sentence_shares_no_word_with_the_names() {
        let dictionary = dictionary();
        for sentence in ["see you tomorrow", "내일 몇 시에 만날까요"] {
            assert!(dictionary.is_sentence(sentence), "{sentence}");
        }
        for name in ["the grand old piano", "타자기를 치는 사람", "zither", "two zithers"] {
            assert!(!dictionary.is_sentence(name), "{name}");
        }
    }

    #[test]
    fn parse_error_names_the_field() {
        let parse = |json: &str| Dictionary::new(Some(json.as_bytes()), &["rain".into()]).err().unwrap();
        assert!(parse(NAMES).contains("`concepts` has \"piano\""));
        assert!(parse(r#"{"concepts": [], "names": []}"#).contains("names"));
    }
}
