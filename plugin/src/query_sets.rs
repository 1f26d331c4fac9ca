//! Sets of eight queries: built-in ones, and the user's own as one TOML file each.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sift_engine::user::{folders, toml_file};
use sift_engine::{MAX_CHARACTERS, SLOTS};

const EXTENSION: &str = "toml";

/// The built-in sets: names and queries.
pub const FACTORY_SETS: [(&str, [&str; SLOTS]); 5] = [
    (
        "Voice",
        [
            "a person speaking",
            "a choir singing",
            "crowd chatter",
            "a baby crying",
            "a person sneezing",
            "hands clapping",
            "fingers snapping",
            "footsteps",
        ],
    ),
    (
        "Band",
        [
            "drums",
            "a bass guitar",
            "piano",
            "an acoustic guitar",
            "an electric guitar",
            "strings",
            "a saxophone",
            "a person speaking",
        ],
    ),
    (
        "Nature",
        ["birds chirping", "rain", "wind", "thunder", "sea waves", "a stream", "crickets", "frogs croaking"],
    ),
    (
        "Street",
        [
            "traffic",
            "a siren",
            "footsteps",
            "crowd chatter",
            "a dog barking",
            "an airplane",
            "a train",
            "construction noise",
        ],
    ),
    (
        "Household",
        [
            "kitchen sounds",
            "a clock ticking",
            "a washing machine",
            "a fan",
            "keyboard typing",
            "a hair dryer",
            "a door",
            "an alarm",
        ],
    ),
];

/// Up to eight queries with a name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QuerySet {
    pub name: String,
    /// At most one per slot; further slots are empty.
    pub queries: Vec<String>,
}

impl QuerySet {
    /// The texts for all slots.
    pub fn texts(&self) -> [String; SLOTS] {
        std::array::from_fn(|slot| self.queries.get(slot).cloned().unwrap_or_default())
    }

    fn read(path: &Path) -> Result<Self, String> {
        let set: Self =
            toml_file::read(path)?.ok_or_else(|| toml_file::fault(path, "the file was removed"))?;
        let fault = |fault: &dyn std::fmt::Display| toml_file::fault(path, fault);
        if set.queries.len() > SLOTS {
            return Err(fault(&format_args!(
                "field `queries` has {} texts; expected at most {SLOTS}",
                set.queries.len()
            )));
        }
        match set.queries.iter().find(|query| query.chars().count() > MAX_CHARACTERS) {
            Some(long) => Err(fault(&format_args!(
                "field `queries` has a text of {} characters; expected at most {MAX_CHARACTERS}",
                long.chars().count()
            ))),
            None => Ok(set),
        }
    }
}

/// The folder of the user's own sets.
pub fn folder() -> Option<PathBuf> {
    Some(folders::data()?.join("sets"))
}

/// Reads the sets in `folder`, sorted by file name. Files that are not valid sets give an error message.
pub fn list(folder: &Path) -> Vec<Result<QuerySet, String>> {
    let files = fs::read_dir(folder).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path()));
    let mut files: Vec<_> =
        files.filter(|path| path.extension().is_some_and(|end| end == EXTENSION)).collect();
    files.sort();
    files.iter().map(|path| QuerySet::read(path)).collect()
}

/// Writes `set` into `folder` and returns its file. Replaces a set of the same name.
///
/// # Errors
/// If the name has no letter or digit, or the file cannot be written.
pub fn save(folder: &Path, set: &QuerySet) -> Result<PathBuf, String> {
    let stem: String =
        set.name.trim().chars().map(|letter| if letter.is_alphanumeric() { letter } else { '-' }).collect();
    if !stem.chars().any(char::is_alphanumeric) {
        return Err(format!("set name {:?}: no letter or digit. Choose another name", set.name.trim()));
    }
    let path = folder.join(stem).with_extension(EXTENSION);
    toml_file::write(&path, set)?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(name: &str, queries: &[&str]) -> QuerySet {
        QuerySet { name: name.into(), queries: queries.iter().map(|&query| query.into()).collect() }
    }

    #[test]
    fn saved_set_is_listed() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("sets");
        assert!(list(&folder).is_empty(), "the folder does not have to exist");
        let mine = set("내 밴드 / live", &["기타 소리", "drums"]);
        let path = save(&folder, &mine).unwrap();
        assert_eq!(path.file_name().unwrap(), "내-밴드---live.toml");
        assert_eq!(list(&folder), [Ok(mine.clone())]);
        assert_eq!(mine.texts()[..3], ["기타 소리", "drums", ""]);
    }

    #[test]
    fn save_refuses_a_name_without_letter_or_digit() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("sets");
        assert!(save(&folder, &set(" ../ ", &["drums"])).unwrap_err().contains("name"));
        assert!(!folder.exists());
    }

    #[test]
    fn error_of_an_invalid_set_names_file_and_field() {
        let folder = tempfile::tempdir().unwrap();
        let long = format!("name = \"a\"\nqueries = [\"{}\"]", "x".repeat(257));
        for (text, field) in [
            ("name = \"a\"", "queries"),
            ("name = \"a\"\nqueries = [1]", "queries"),
            ("name = \"a\"\nqueries = [\"\",\"\",\"\",\"\",\"\",\"\",\"\",\"\",\"\"]", "queries"),
            (&long, "257 characters"),
            ("queries = []", "name"),
        ] {
            fs::write(folder.path().join("a.toml"), text).unwrap();
            let [Err(problem)] = &list(folder.path())[..] else { panic!("{text} was accepted") };
            assert!(
                problem.contains("a.toml") && problem.contains(field) && problem.contains("Correct"),
                "{problem}"
            );
        }
    }

    #[test]
    fn factory_sets_fill_every_slot() {
        for (name, queries) in FACTORY_SETS {
            assert!(queries.iter().all(|query| !query.is_empty()), "{name}");
        }
    }
}
