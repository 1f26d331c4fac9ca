//! What is the person's rather than the project's, in a small file that all of Sift reads.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::inference::provider::{Provider, ProviderChoice};
use crate::user::{folders, toml_file};

/// The variable that comes before the preferences.
pub const PROVIDER_VARIABLE: &str = "SIFT_PROVIDER";

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

/// The execution provider that the environment names, else the preferences; the processor where neither does.
pub fn provider_choice() -> ProviderChoice {
    choice_of(env::var_os(PROVIDER_VARIABLE), Preferences::file().as_deref())
}

fn choice_of(variable: Option<OsString>, preferences: Option<&Path>) -> ProviderChoice {
    match (variable.filter(|text| !text.is_empty()), preferences) {
        (Some(text), _) => {
            let parsed = text.to_string_lossy().parse();
            let fault = |error: String| format!("{PROVIDER_VARIABLE}: {error}. Correct or unset it");
            ProviderChoice::new(PROVIDER_VARIABLE.into(), parsed.map_err(fault))
        }
        (None, Some(file)) => ProviderChoice::new(
            format!("field `provider` of {}", file.display()),
            Preferences::read(file).map(|preferences| preferences.provider),
        ),
        (None, None) => ProviderChoice::default(),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::inference::provider::ActiveProvider;

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

    fn chosen(choice: &ProviderChoice) -> Provider {
        choice.with_fallback(Ok).unwrap().0
    }

    fn file(name: &str, text: &str) -> PathBuf {
        let path = fresh(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    #[test]
    fn provider_without_variable_and_file_is_the_processor() {
        for choice in [choice_of(None, None), choice_of(None, Some(Path::new("/nowhere/preferences.toml")))] {
            assert_eq!(choice.with_fallback(Ok), Ok((Provider::Cpu, ActiveProvider::default())));
        }
    }

    #[test]
    fn provider_of_the_variable_comes_before_the_file() {
        let path = file("precedence", "provider = \"coreml\"");
        assert_eq!(chosen(&choice_of(Some("cuda".into()), Some(&path))), Provider::Cuda);
        assert_eq!(chosen(&choice_of(Some("".into()), Some(&path))), Provider::CoreMl);
        fs::write(&path, "provider = \"gpu\"").unwrap();
        assert_eq!(chosen(&choice_of(Some("cpu".into()), Some(&path))), Provider::Cpu);
        fs::remove_dir_all(path.parent().unwrap()).unwrap();
    }

    #[test]
    fn unknown_provider_is_reported_with_its_place_and_remedy() {
        let path = file("unknown", "provider = \"gpu\"");
        let place = path.display().to_string();
        for (choice, parts) in [
            (choice_of(None, Some(&path)), [place.as_str(), "provider = \"gpu\"", "Correct or remove"]),
            (choice_of(Some("gpu".into()), None), ["SIFT_PROVIDER", "\"gpu\"", "Correct or unset"]),
        ] {
            let (provider, ActiveProvider { fallback_reason, .. }) = choice.with_fallback(Ok).unwrap();
            let fallback_reason = fallback_reason.unwrap();
            assert_eq!(provider, Provider::Cpu);
            assert!(parts.iter().all(|part| fallback_reason.contains(part)), "{fallback_reason}");
        }
        fs::remove_dir_all(path.parent().unwrap()).unwrap();
    }

    #[test]
    fn fallback_reason_names_the_file_that_chose_the_provider() {
        let path = file("missing", "provider = \"cuda\"");
        let make = |provider| if provider == Provider::Cuda { Err("there is none".into()) } else { Ok(()) };
        let ((), ActiveProvider { fallback_reason, .. }) =
            choice_of(None, Some(&path)).with_fallback(make).unwrap();
        let expected = format!("field `provider` of {} asks for CUDA, but there is none", path.display());
        assert!(fallback_reason.unwrap().starts_with(&expected));
        fs::remove_dir_all(path.parent().unwrap()).unwrap();
    }
}
