//! What is the person's rather than the project's, in a small file.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::toml_file;

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
}

impl Preferences {
    /// Where they are kept.
    pub fn file() -> Option<PathBuf> {
        let from =
            |variable: &str| std::env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute());
        let folder = if cfg!(target_os = "windows") {
            from("APPDATA")?.join("Sift")
        } else if cfg!(target_os = "macos") {
            from("HOME")?.join("Library/Application Support/Sift")
        } else {
            from("XDG_CONFIG_HOME").or_else(|| Some(from("HOME")?.join(".config")))?.join("sift")
        };
        Some(folder.join("preferences.toml"))
    }

    /// The preferences in a file; the usual ones where there is none.
    ///
    /// # Errors
    /// What is wrong with the file.
    pub fn read(path: &Path) -> Result<Self, String> {
        Ok(toml_file::read(path)?.unwrap_or_default())
    }

    /// Replaces the file, and only by a whole one.
    pub fn save(&self, path: &Path) -> Result<(), String> {
        toml_file::write(path, self)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn what_was_saved_is_read_again_and_a_broken_file_is_named() {
        let folder = std::env::temp_dir().join(format!("sift-preferences-{}", std::process::id()));
        let path = folder.join("deeper").join("preferences.toml");
        assert_eq!(Preferences::read(&path), Ok(Preferences::default()), "there need not be a file");
        let light = Preferences { theme: ThemeChoice::Light };
        light.save(&path).unwrap();
        assert_eq!(Preferences::read(&path), Ok(light));
        for (text, field) in [("theme = \"pink\"", "pink"), ("colour = 1", "colour"), ("theme = [", "theme")]
        {
            fs::write(&path, text).unwrap();
            let problem = Preferences::read(&path).unwrap_err();
            assert!(problem.contains("preferences.toml") && problem.contains(field), "{problem}");
            assert!(problem.contains("Correct or remove"), "{problem}");
        }
        fs::remove_dir_all(folder).unwrap();
    }
}
