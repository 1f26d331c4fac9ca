//! What is the person's rather than the project's, in a small file.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// Largest file that is read, in bytes.
const LIMIT: u64 = 64 << 10;

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
        let fault = |fault: &dyn std::fmt::Display| {
            format!("{}: {fault}. Correct or remove the file", path.display())
        };
        let size = match fs::metadata(path) {
            Ok(found) => found.len(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(fault(&error)),
        };
        if size > LIMIT {
            return Err(fault(&format_args!("has {size} bytes, more than the {LIMIT} allowed")));
        }
        let text = fs::read_to_string(path).map_err(|error| fault(&error))?;
        toml::from_str(&text).map_err(|error| fault(&error.to_string().trim_end()))
    }

    /// Replaces the file, and only by a whole one.
    pub fn save(&self, path: &Path) -> Result<(), String> {
        let write = || -> std::io::Result<()> {
            fs::create_dir_all(path.parent().unwrap_or(Path::new(".")))?;
            let draft = path.with_extension("part");
            fs::write(&draft, toml::to_string_pretty(self).map_err(std::io::Error::other)?)?;
            fs::rename(draft, path)
        };
        write()
            .map_err(|error| format!("{}: {error}. Check that the folder can be written to", path.display()))
    }
}

#[cfg(test)]
mod tests {
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
