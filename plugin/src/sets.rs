//! Sets of eight queries: some that come with Sift, and a person's own, each a file to be shared.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sift_engine::user::{folders, toml_file};
use sift_engine::{MAX_CHARACTERS, SLOTS};

const EXTENSION: &str = "toml";

/// Sets that come with Sift.
pub const FACTORY: [(&str, [&str; SLOTS]); 5] = [
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

/// Eight queries with a name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Set {
    pub name: String,
    /// At most as many as there are slots; the others are empty.
    pub queries: Vec<String>,
}

impl Set {
    /// The texts of all slots.
    pub fn texts(&self) -> [String; SLOTS] {
        std::array::from_fn(|slot| self.queries.get(slot).cloned().unwrap_or_default())
    }

    fn read(path: &Path) -> Result<Self, String> {
        let set: Self = toml_file::read(path)?.ok_or_else(|| toml_file::fault(path, "is there no more"))?;
        let fault = |fault: &dyn std::fmt::Display| toml_file::fault(path, fault);
        if set.queries.len() > SLOTS {
            return Err(fault(&format_args!(
                "field `queries` has {} texts, more than {SLOTS}",
                set.queries.len()
            )));
        }
        match set.queries.iter().find(|query| query.chars().count() > MAX_CHARACTERS) {
            Some(long) => Err(fault(&format_args!(
                "field `queries` has a text of {} characters, more than {MAX_CHARACTERS}",
                long.chars().count()
            ))),
            None => Ok(set),
        }
    }
}

/// Where a person's own sets lie, a file each.
pub fn folder() -> Option<PathBuf> {
    Some(folders::data()?.join("sets"))
}

/// The sets in `folder` by name; for a file that is none, what is wrong with it.
pub fn list(folder: &Path) -> Vec<Result<Set, String>> {
    let files = fs::read_dir(folder).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path()));
    let mut files: Vec<_> =
        files.filter(|path| path.extension().is_some_and(|end| end == EXTENSION)).collect();
    files.sort();
    files.iter().map(|path| Set::read(path)).collect()
}

/// Writes `set` into `folder` and returns its file. A set of the same name is replaced.
pub fn save(folder: &Path, set: &Set) -> Result<PathBuf, String> {
    let stem: String =
        set.name.trim().chars().map(|letter| if letter.is_alphanumeric() { letter } else { '-' }).collect();
    if !stem.chars().any(char::is_alphanumeric) {
        return Err("A set needs a name with a letter or a digit in it".into());
    }
    let path = folder.join(stem).with_extension(EXTENSION);
    toml_file::write(&path, set)?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder that is removed when the test ends.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let folder = std::env::temp_dir().join(format!("sift-sets-{name}-{}", std::process::id()));
            let _ = fs::remove_dir_all(&folder);
            Self(folder)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn set(name: &str, queries: &[&str]) -> Set {
        Set { name: name.into(), queries: queries.iter().map(|&query| query.into()).collect() }
    }

    #[test]
    fn a_set_that_was_saved_is_listed() {
        let folder = Folder::new("saved");
        assert!(list(&folder.0).is_empty(), "the folder need not exist");
        let mine = set("내 밴드 / live", &["기타 소리", "drums"]);
        let path = save(&folder.0, &mine).unwrap();
        assert_eq!(path.file_name().unwrap(), "내-밴드---live.toml");
        assert_eq!(list(&folder.0), [Ok(mine.clone())]);
        assert_eq!(mine.texts()[..3], ["기타 소리", "drums", ""]);
    }

    #[test]
    fn a_name_without_a_letter_is_refused() {
        let folder = Folder::new("nameless");
        assert!(save(&folder.0, &set(" ../ ", &["drums"])).unwrap_err().contains("name"));
        assert!(!folder.0.exists());
    }

    #[test]
    fn a_file_that_is_no_set_is_named_with_its_field() {
        let folder = Folder::new("faulty");
        fs::create_dir_all(&folder.0).unwrap();
        let long = format!("name = \"a\"\nqueries = [\"{}\"]", "x".repeat(257));
        for (text, field) in [
            ("name = \"a\"", "queries"),
            ("name = \"a\"\nqueries = [1]", "queries"),
            ("name = \"a\"\nqueries = [\"\",\"\",\"\",\"\",\"\",\"\",\"\",\"\",\"\"]", "queries"),
            (&long, "257 characters"),
            ("queries = []", "name"),
        ] {
            fs::write(folder.0.join("a.toml"), text).unwrap();
            let [Err(problem)] = &list(&folder.0)[..] else { panic!("{text} was taken") };
            assert!(
                problem.contains("a.toml") && problem.contains(field) && problem.contains("Correct"),
                "{problem}"
            );
        }
    }

    #[test]
    fn factory_sets_fill_every_slot() {
        for (name, queries) in FACTORY {
            assert!(queries.iter().all(|query| !query.is_empty()), "{name}");
        }
    }
}
