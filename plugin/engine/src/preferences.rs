//! What is the person's rather than the project's, in a small file that all of Sift reads.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::provider::Provider;
use crate::{folders, toml_file};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ThemeChoice {
    #[default]
    Dark,
    Light,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Preferences {
    /// Of the windows of new projects.
    pub theme: ThemeChoice,
    /// That separators run on, unless `SIFT_PROVIDER` says another.
    pub provider: Provider,
}

impl Preferences {
    /// Where they are kept.
    pub fn file() -> Option<PathBuf> {
        Some(folders::config()?.join("preferences.toml"))
    }

    /// The preferences in a file; the usual ones where there is none.
    ///
    /// # Errors
    /// What is wrong with the file.
    pub fn read(path: &Path) -> Result<Self, String> {
        Ok(toml_file::read(path)?.unwrap_or_default())
    }

    /// Changes what the file says. It is replaced by a whole one, and a broken one not at all.
    ///
    /// # Errors
    /// Why the file cannot be read or written.
    pub fn change(path: &Path, change: impl FnOnce(&mut Self)) -> Result<(), String> {
        let mut preferences = Self::read(path)?;
        change(&mut preferences);
        toml_file::write(path, &preferences)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// A path at which there is no file yet.
    fn fresh(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("sift-preferences-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        folder.join("preferences.toml")
    }

    #[test]
    fn a_change_is_read_again_and_leaves_the_rest_as_it_is() {
        let path = fresh("change");
        assert_eq!(Preferences::read(&path), Ok(Preferences::default()), "there need not be a file");
        Preferences::change(&path, |preferences| preferences.provider = Provider::CoreMl).unwrap();
        Preferences::change(&path, |preferences| preferences.theme = ThemeChoice::Light).unwrap();
        let both = Preferences { theme: ThemeChoice::Light, provider: Provider::CoreMl };
        assert_eq!(Preferences::read(&path), Ok(both));
        fs::remove_dir_all(path.parent().unwrap()).unwrap();
    }

    #[test]
    fn a_broken_file_is_named_with_its_field_and_not_replaced() {
        let path = fresh("broken");
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        for (text, field) in [
            ("theme = \"pink\"", "pink"),
            ("provider = \"gpu\"", "provider"),
            ("colour = 1", "colour"),
            ("theme = [", "theme"),
        ] {
            fs::write(&path, text).unwrap();
            let problem = Preferences::change(&path, |_| ()).unwrap_err();
            assert!(problem.contains("preferences.toml") && problem.contains(field), "{problem}");
            assert!(problem.contains("Correct or remove"), "{problem}");
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
        fs::remove_dir_all(path.parent().unwrap()).unwrap();
    }
}
