//! Per-user settings, in one file for all of Sift.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::inference::provider::{Provider, ProviderChoice};
use crate::user::{folders, toml_file};

/// Environment variable that overrides the preference `provider`.
pub const PROVIDER_VARIABLE: &str = "SIFT_PROVIDER";

/// Colours of the editor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ThemeChoice {
    #[default]
    Dark,
    Light,
}

/// The signal that the editor's spectrogram shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SpectrogramView {
    /// The input, with the kept part in colour.
    #[default]
    Input,
    Output,
    Removed,
}

/// Content of `preferences.toml`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Preferences {
    /// Theme of the editor.
    pub theme: ThemeChoice,
    /// Width and height in which the last editor was left, in logical pixels; the default size if there was none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window: Option<[u32; 2]>,
    /// What the last editor's spectrogram showed.
    pub picture: SpectrogramView,
    /// Size in samples of the largest block for which the latency is set; that of the host if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub largest_block: Option<u32>,
    /// Provider of the separators, unless `SIFT_PROVIDER` names another.
    pub provider: Provider,
}

impl Preferences {
    /// Path of the file; `None` if the user has no home folder.
    pub fn file() -> Option<PathBuf> {
        Some(folders::config()?.join("preferences.toml"))
    }

    /// Reads the preferences; returns the defaults if the file is missing.
    ///
    /// # Errors
    /// If the file cannot be read or has an unknown field or value.
    pub fn read(path: &Path) -> Result<Self, String> {
        Ok(toml_file::read(path)?.unwrap_or_default())
    }

    /// Changes the file. The new file replaces the old one at once; a file with errors is not replaced.
    ///
    /// # Errors
    /// If the file cannot be read or written.
    pub fn change(path: &Path, change: impl FnOnce(&mut Self)) -> Result<(), String> {
        let before = Self::read(path)?;
        let mut preferences = before.clone();
        change(&mut preferences);
        if preferences == before { Ok(()) } else { toml_file::write(path, &preferences) }
    }
}

/// The provider that the environment variable names, else the preferences, else the CPU.
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

    /// The path of a missing file in an empty folder, and the folder.
    fn fresh() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("preferences.toml");
        (folder, path)
    }

    #[test]
    fn changed_preference_is_read_again_and_others_stay() {
        let (_folder, path) = fresh();
        assert_eq!(Preferences::read(&path), Ok(Preferences::default()), "a missing file gives the defaults");
        Preferences::change(&path, |preferences| preferences.provider = Provider::CoreMl).unwrap();
        Preferences::change(&path, |preferences| preferences.theme = ThemeChoice::Light).unwrap();
        Preferences::change(&path, |preferences| preferences.window = Some([900, 700])).unwrap();
        Preferences::change(&path, |preferences| preferences.picture = SpectrogramView::Removed).unwrap();
        Preferences::change(&path, |preferences| preferences.largest_block = Some(512)).unwrap();
        let all = Preferences {
            theme: ThemeChoice::Light,
            window: Some([900, 700]),
            picture: SpectrogramView::Removed,
            largest_block: Some(512),
            provider: Provider::CoreMl,
        };
        assert_eq!(Preferences::read(&path), Ok(all));
    }

    #[test]
    fn broken_file_is_reported_with_its_field_and_not_replaced() {
        let (_folder, path) = fresh();
        for (text, field) in [
            ("theme = \"pink\"", "pink"),
            ("provider = \"gpu\"", "provider"),
            ("colour = 1", "colour"),
            ("theme = [", "theme"),
            ("window = [900]", "window"),
            ("picture = \"Output\"", "picture"),
        ] {
            fs::write(&path, text).unwrap();
            let problem = Preferences::change(&path, |_| ()).unwrap_err();
            assert!(problem.contains("preferences.toml") && problem.contains(field), "{problem}");
            assert!(problem.contains("Correct or remove"), "{problem}");
            assert_eq!(fs::read_to_string(&path).unwrap(), text);
        }
    }

    fn chosen(choice: &ProviderChoice) -> Provider {
        choice.with_fallback(Ok).unwrap().0
    }

    /// A file with `text`, and its folder.
    fn file(text: &str) -> (tempfile::TempDir, PathBuf) {
        let (folder, path) = fresh();
        fs::write(&path, text).unwrap();
        (folder, path)
    }

    #[test]
    fn provider_without_variable_and_file_is_the_processor() {
        for choice in [choice_of(None, None), choice_of(None, Some(Path::new("/nowhere/preferences.toml")))] {
            assert_eq!(choice.with_fallback(Ok), Ok((Provider::Cpu, ActiveProvider::default())));
        }
    }

    #[test]
    fn provider_of_the_variable_comes_before_the_file() {
        let (_folder, path) = file("provider = \"coreml\"");
        assert_eq!(chosen(&choice_of(Some("cuda".into()), Some(&path))), Provider::Cuda);
        assert_eq!(chosen(&choice_of(Some("".into()), Some(&path))), Provider::CoreMl);
        fs::write(&path, "provider = \"gpu\"").unwrap();
        assert_eq!(chosen(&choice_of(Some("cpu".into()), Some(&path))), Provider::Cpu);
    }

    #[test]
    fn unknown_provider_is_reported_with_its_place_and_remedy() {
        let (_folder, path) = file("provider = \"gpu\"");
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
    }

    #[test]
    fn fallback_reason_names_the_file_that_chose_the_provider() {
        let (_folder, path) = file("provider = \"cuda\"");
        let make = |provider| if provider == Provider::Cuda { Err("there is none".into()) } else { Ok(()) };
        let ((), ActiveProvider { fallback_reason, .. }) =
            choice_of(None, Some(&path)).with_fallback(make).unwrap();
        let expected = format!("field `provider` of {} selects CUDA, but there is none", path.display());
        assert!(fallback_reason.unwrap().starts_with(&expected));
    }
}
