//! Words of the languages in which requests are written, and how their texts are divided into units.

use std::collections::{BTreeMap, HashMap};
use std::ops::RangeInclusive;
use std::sync::LazyLock;

use serde::Deserialize;

/// Effect of a phrase; the table in [`request`](super) explains them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Keep,
    KeepVerb,
    KeepAfter,
    LeaveOut,
    LeaveOutVerb,
    LeaveOutAfter,
    LeaveOutParticle,
    EverythingBut,
    Except,
    ExceptAfter,
    And,
    With,
    But,
    Source,
    SourceAfter,
    Relative,
    Aside,
    Preamble,
    PreambleAfter,
    Frame,
    Protected,
    Negation,
}

impl Kind {
    /// Whether the phrase asks for something.
    pub fn asks(&self) -> bool {
        use Kind::*;
        matches!(
            self,
            Keep | KeepVerb
                | KeepAfter
                | LeaveOut
                | LeaveOutVerb
                | LeaveOutAfter
                | LeaveOutParticle
                | EverythingBut
                | Except
                | ExceptAfter
        )
    }
}

/// Words of one language, as in its file, in lower case.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Words {
    keep: Vec<String>,
    keep_verbs: Vec<String>,
    keep_after: Vec<String>,
    leave_out: Vec<String>,
    leave_out_verbs: Vec<String>,
    leave_out_after: Vec<String>,
    leave_out_particles: Vec<String>,
    everything_but: Vec<String>,
    except: Vec<String>,
    except_after: Vec<String>,
    and: Vec<String>,
    with: Vec<String>,
    but: Vec<String>,
    source: Vec<String>,
    source_after: Vec<String>,
    relative: Vec<String>,
    asides: Vec<String>,
    preambles: Vec<String>,
    preambles_after: Vec<String>,
    frames: Vec<String>,
    protected: Vec<String>,
    negations: Vec<String>,
    /// Endings of verbs that invert them.
    negations_after: Vec<String>,
    articles: Vec<String>,
    tails: Vec<String>,
    pub generic: Vec<String>,
    pub pronouns: Vec<String>,
    pub rest: Vec<String>,
    /// Words between a sound and what it is a part of: the drums "of" this song.
    of: Vec<String>,
    /// Names of what a sound is a part of.
    containers: Vec<String>,
    /// Words that leave out what precedes their "less".
    without_words: Vec<String>,
    /// Endings of words that leave out what precedes them: "-free", "-less".
    without_endings: Vec<String>,
    /// Endings of words that keep only what precedes them: "-only".
    only_endings: Vec<String>,
    /// Words of names that tell the language apart from others with the same letters.
    hints: Vec<String>,
    /// Whether a word ends with an apostrophe: "l'orgue" is two words.
    has_elision: bool,
}

/// Manner in which a language writes words.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Script {
    /// Words are separated by spaces; a unit is a word.
    Spaced,
    /// Endings and particles are written without a space; a unit is a character.
    Joined,
}

/// A language, prepared for the parser.
pub struct Language {
    pub script: Script,
    pub words: Words,
    /// Phrases by their first unit.
    phrases: HashMap<String, Vec<(Vec<String>, Kind)>>,
}

/// Languages with Latin letters; the first wins where scores are equal.
static LATIN: LazyLock<Vec<Language>> = LazyLock::new(|| {
    let files = [
        include_str!("words/en.toml"),
        include_str!("words/de.toml"),
        include_str!("words/fr.toml"),
        include_str!("words/es.toml"),
        include_str!("words/pt.toml"),
        include_str!("words/it.toml"),
    ];
    files.into_iter().map(|file| Language::new(Script::Spaced, file)).collect()
});

static RUSSIAN: LazyLock<Language> =
    LazyLock::new(|| Language::new(Script::Spaced, include_str!("words/ru.toml")));
static KOREAN: LazyLock<Language> =
    LazyLock::new(|| Language::new(Script::Joined, include_str!("words/ko.toml")));
static JAPANESE: LazyLock<Language> =
    LazyLock::new(|| Language::new(Script::Joined, include_str!("words/ja.toml")));
static CHINESE: LazyLock<Language> =
    LazyLock::new(|| Language::new(Script::Joined, include_str!("words/zh.toml")));

impl Language {
    fn new(script: Script, file: &str) -> Self {
        let words: Words = toml::from_str(file).expect("the words of every language are tested");
        let lists = [
            (Kind::Keep, &words.keep),
            (Kind::KeepVerb, &words.keep_verbs),
            (Kind::KeepAfter, &words.keep_after),
            (Kind::LeaveOut, &words.leave_out),
            (Kind::LeaveOutVerb, &words.leave_out_verbs),
            (Kind::LeaveOutAfter, &words.leave_out_after),
            (Kind::LeaveOutParticle, &words.leave_out_particles),
            (Kind::EverythingBut, &words.everything_but),
            (Kind::Except, &words.except),
            (Kind::ExceptAfter, &words.except_after),
            (Kind::And, &words.and),
            (Kind::With, &words.with),
            (Kind::But, &words.but),
            (Kind::Source, &words.source),
            (Kind::SourceAfter, &words.source_after),
            (Kind::Relative, &words.relative),
            (Kind::Aside, &words.asides),
            (Kind::Preamble, &words.preambles),
            (Kind::PreambleAfter, &words.preambles_after),
            (Kind::Frame, &words.frames),
            (Kind::Protected, &words.protected),
            (Kind::Negation, &words.negations),
        ];
        let mut phrases: HashMap<String, Vec<(Vec<String>, Kind)>> = HashMap::new();
        for (kind, list) in lists {
            for phrase in list {
                let units = split_into_units(phrase, script, words.has_elision);
                let units: Vec<_> = units.iter().map(|unit| fold(unit)).collect();
                if let Some(first) = units.first() {
                    phrases.entry(first.clone()).or_default().push((units, kind));
                }
            }
        }
        Self { script, words, phrases }
    }

    /// Returns the languages that a text may be in, by its letters.
    pub fn candidates(text: &str) -> &'static [Self] {
        let has = |range: RangeInclusive<char>| text.chars().any(|character| range.contains(&character));
        let one = |language: &'static Self| std::slice::from_ref(language);
        if has('\u{ac00}'..='\u{d7a3}') {
            one(&KOREAN)
        } else if has('\u{3040}'..='\u{30ff}') {
            one(&JAPANESE)
        } else if has('\u{4e00}'..='\u{9fff}') {
            one(&CHINESE)
        } else if has('\u{0400}'..='\u{04ff}') {
            one(&RUSSIAN)
        } else {
            &LATIN
        }
    }

    /// Splits a text into units. Of a joined script, a space stands at both ends and around punctuation.
    pub fn units(&self, text: &str) -> Vec<String> {
        let text = match self.script {
            Script::Spaced => text.to_owned(),
            Script::Joined => {
                let spaced =
                    |character: char| match is_punctuation(&character.to_string()) && character != '-' {
                        true => format!(" {character} "),
                        false => character.to_string(),
                    };
                let spaced: String = text.chars().map(spaced).collect();
                format!(
                    " {} ",
                    spaced.split(' ').filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
                )
            }
        };
        split_into_units(&text, self.script, self.words.has_elision)
    }

    /// Returns the phrases at the beginning of `units`, longest first: the length and the kinds of each.
    pub fn phrases_at(&self, units: &[String]) -> Vec<(usize, Vec<Kind>)> {
        let candidates = units.first().and_then(|first| self.phrases.get(&fold(first)));
        let mut found: BTreeMap<usize, Vec<Kind>> = BTreeMap::new();
        for (phrase, kind) in candidates.into_iter().flatten() {
            let begins = units.iter().zip(phrase).all(|(unit, word)| fold(unit) == *word);
            if phrase.len() <= units.len() && begins {
                found.entry(phrase.len()).or_default().push(*kind);
            }
        }
        found.into_iter().rev().collect()
    }

    /// Returns the number of units after the first that inflect the verb at the beginning of `units`; 0 in a spaced script.
    pub fn ending(&self, units: &[String]) -> usize {
        if self.script == Script::Spaced || units[0] == " " {
            return 0;
        }
        let is_syllable = |letter: char| ('가'..='힣').contains(&letter) || ('ぁ'..='ゖ').contains(&letter);
        units[1..].iter().take_while(|unit| unit.chars().all(is_syllable)).count()
    }

    /// Returns the number of units to the end of a negation that begins within the `ending` of a verb: "지 마".
    ///
    /// `after`: the units after the verb without its ending. `None` if there is no negation.
    pub fn negation_after(&self, after: &[String], ending: usize) -> Option<usize> {
        (0..=ending.min(after.len())).find_map(|start| {
            let rest = &after[start..];
            let text = rest.concat();
            let mut negations = self.words.negations_after.iter();
            let negation = negations.find(|negation| text.starts_with(negation.as_str()))?;
            let length = negation.chars().count();
            Some(start + length + self.ending(&rest[length - 1..]))
        })
    }

    /// Whether `name` is an article and no name.
    pub fn is_article(&self, name: &str) -> bool {
        self.words.articles.iter().any(|article| article == name)
    }

    /// Joins the units of a name.
    pub fn join(&self, units: &[String]) -> String {
        match self.script {
            Script::Spaced if self.words.has_elision => units.join(" ").replace("' ", "'"),
            Script::Spaced => units.join(" "),
            Script::Joined => units.concat().trim().to_owned(),
        }
    }

    /// Returns what precedes the ending or word in `unit` that leaves it out: "drum" of "drum-free".
    pub fn without_ending<'a>(&self, unit: &'a str) -> Option<&'a str> {
        let Words { without_endings, without_words, .. } = &self.words;
        let ending = without_endings.iter().find_map(|ending| unit.strip_suffix(ending.as_str()));
        let word = || without_words.iter().find(|word| *word == unit).and_then(|_| unit.strip_suffix("less"));
        ending.or_else(word).filter(|stem| !stem.is_empty())
    }

    /// Whether the unit is a word of this language that may occur in a name.
    pub fn is_hint(&self, unit: &str) -> bool {
        self.words.hints.iter().any(|hint| hint == unit)
    }

    /// Whether the name is that of what sounds are taken from, such as "song", "wedding video" or "video of my wedding".
    pub fn is_container(&self, name: &str) -> bool {
        let (first, last) = name.split_once(' ').unwrap_or((name, name));
        self.words.containers.iter().any(|known| known == name || known == first || known == last)
    }

    /// Returns what precedes the ending of `unit` that keeps it only: "drum" of "drum-only".
    pub fn only_ending<'a>(&self, unit: &'a str) -> Option<&'a str> {
        let stem = self.words.only_endings.iter().find_map(|ending| unit.strip_suffix(ending.as_str()));
        stem.filter(|stem| !stem.is_empty())
    }

    /// Returns the name without articles and tails, and how many of them it had.
    pub fn trim_name(&self, name: &str) -> (String, usize) {
        let mut name = name.trim();
        let mut trimmed = 0;
        while let Some(shorter) = self
            .without_article(name)
            .or_else(|| self.without_tail(name))
            .map(str::trim)
            .filter(|shorter| !shorter.is_empty())
        {
            name = shorter;
            trimmed += 1;
        }
        (name.to_owned(), trimmed)
    }

    fn boundary(&self) -> &'static str {
        match self.script {
            Script::Spaced => " ",
            Script::Joined => "",
        }
    }

    fn without_article<'a>(&self, name: &'a str) -> Option<&'a str> {
        if self.words.protected.iter().any(|protected| name.starts_with(protected.as_str())) {
            return None;
        }
        let without = |article: &String| {
            // An article that ends in an apostrophe needs no space.
            let boundary = if article.ends_with('\'') { "" } else { self.boundary() };
            name.strip_prefix(article.as_str())?.strip_prefix(boundary)
        };
        self.words.articles.iter().filter_map(without).min_by_key(|rest| rest.len())
    }

    fn without_tail<'a>(&self, name: &'a str) -> Option<&'a str> {
        if self.words.protected.iter().any(|protected| name.ends_with(protected.as_str())) {
            return None;
        }
        let without = |tail: &String| name.strip_suffix(tail.as_str())?.strip_suffix(self.boundary());
        let tail = self.words.tails.iter().filter_map(without).min_by_key(|rest| rest.len());
        tail.or_else(|| self.without_container(name))
    }

    /// Returns the name in "name of this song".
    fn without_container<'a>(&self, name: &'a str) -> Option<&'a str> {
        let Words { of, articles, .. } = &self.words;
        of.iter().find_map(|of| {
            let boundary = if of.ends_with('\'') { "" } else { " " };
            let (before, mut container) = name.rsplit_once(&format!(" {of}{boundary}"))?;
            let without =
                |container: &'a str| articles.iter().find_map(|article| strip_word(container, article));
            while let Some(shorter) = without(container) {
                container = shorter;
            }
            self.is_container(container).then_some(before)
        })
    }
}

/// Returns what follows the word at the beginning of `text`.
fn strip_word<'a>(text: &'a str, word: &str) -> Option<&'a str> {
    text.strip_prefix(word)?.strip_prefix(' ')
}

/// Splits a text in lower case into words and punctuation, or into characters.
fn split_into_units(text: &str, script: Script, has_elision: bool) -> Vec<String> {
    let text = text.to_lowercase().replace(['’', '‘', '`'], "'");
    let characters: Vec<char> = text.chars().collect();
    let mut units: Vec<String> = Vec::new();
    if script == Script::Joined {
        for (at, character) in characters.iter().enumerate() {
            // The hyphen of "TB-303" belongs to the character before.
            let is_hyphen = *character == '-' && at > 0 && characters[at - 1].is_ascii_alphanumeric();
            match units.last_mut().filter(|_| is_hyphen) {
                Some(unit) => unit.push('-'),
                None => units.push(character.to_string()),
            }
        }
        return units;
    }
    let mut in_word = false;
    for (at, &character) in characters.iter().enumerate() {
        if is_word_character(character) || is_within_abbreviation(&characters, at) {
            match units.last_mut().filter(|_| in_word) {
                Some(word) => word.push(character),
                None => units.push(character.into()),
            }
            in_word = !(has_elision && character == '\'');
        } else {
            if !character.is_whitespace() || character == '\n' {
                units.push(character.into());
            }
            in_word = false;
        }
    }
    units.retain(|unit| unit == "-" || !unit.chars().all(|character| "-_".contains(character)));
    units
}

fn is_word_character(character: char) -> bool {
    character.is_alphanumeric() || "'-_".contains(character)
}

/// Whether the character at `at` is a sign between two single letters, as in "w/o" and "r&b".
fn is_within_abbreviation(characters: &[char], at: usize) -> bool {
    let is_in_word = |at: Option<usize>| {
        at.and_then(|at| characters.get(at)).is_some_and(|&character| is_word_character(character))
    };
    matches!(characters[at], '/' | '&')
        && is_in_word(at.checked_sub(1))
        && is_in_word(Some(at + 1))
        && !is_in_word(at.checked_sub(2))
        && !is_in_word(Some(at + 2))
}

/// Folds the accents of Latin letters, which people often leave out, and ё.
fn fold(unit: &str) -> String {
    let letter = |letter: char| match letter {
        'à' | 'á' | 'â' | 'ã' | 'ä' => 'a',
        'ç' => 'c',
        'è' | 'é' | 'ê' | 'ë' => 'e',
        'ì' | 'í' | 'î' | 'ï' => 'i',
        'ñ' => 'n',
        'ò' | 'ó' | 'ô' | 'õ' | 'ö' => 'o',
        'ù' | 'ú' | 'û' | 'ü' => 'u',
        'ё' => 'е',
        other => other,
    };
    unit.chars().map(letter).collect()
}

/// Whether a unit separates two names.
pub fn is_separator(unit: &str) -> bool {
    matches!(unit, "," | "、" | "，" | "/" | "+" | "&" | "|" | "·" | "•" | "・")
}

/// Whether a unit ends a name.
pub fn is_punctuation(unit: &str) -> bool {
    const SENTENCE_MARKS: &str = "-;:.!?()[]{}\n。；：！？（）「」–—…→";
    is_separator(unit) || !unit.is_empty() && SENTENCE_MARKS.contains(unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn units(text: &str) -> Vec<String> {
        Language::candidates(text)[0].units(text)
    }

    #[test]
    fn words_of_every_language_can_be_parsed() {
        for text in ["drums", "북", "たいこ", "鼓", "барабан"] {
            assert!(Language::candidates(text).iter().all(|language| !language.phrases.is_empty()), "{text}");
        }
        assert_eq!(Language::candidates("drums").len(), 6);
    }

    #[test]
    fn units_of_a_spaced_script_are_words_and_punctuation() {
        assert_eq!(units("Drums, w/o hi-hat!"), ["drums", ",", "w/o", "hi-hat", "!"]);
        assert_eq!(units("drums/bass"), ["drums", "/", "bass"]);
        assert_eq!(units("don’t -- stop"), ["don't", "stop"]);
    }

    #[test]
    fn units_of_a_joined_script_are_characters() {
        assert_eq!(units("북,비"), [" ", "북", " ", ",", " ", "비", " "]);
    }

    #[test]
    fn phrases_match_without_accents() {
        let german = &Language::candidates("x")[1];
        for text in ["alles außer", "Könntest du"] {
            assert!(!german.phrases_at(&german.units(text)).is_empty(), "{text}");
        }
        assert!(!german.phrases_at(&german.units("konntest du")).is_empty());
    }

    #[test]
    fn name_loses_articles_tails_and_containers() {
        let english = &Language::candidates("x")[0];
        for (name, trimmed) in [
            ("all the drums please", "drums"),
            ("the sound", "sound"),
            ("bass of the song", "bass"),
            ("bass of the band", "bass of the band"),
        ] {
            assert_eq!(english.trim_name(name).0, trimmed);
        }
    }
}
