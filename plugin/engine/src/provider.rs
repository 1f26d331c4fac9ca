//! On what separator networks run: what the person chose, and what came of it.
//!
//! The choice belongs to the machine and not to a project: it is made by `SIFT_PROVIDER`, else in the
//! [`Preferences`], and the plugin and the command line read it here. Query networks run on the
//! processor whatever is chosen: once a text.

use std::ffi::OsString;
use std::fmt;
use std::path::Path;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::preferences::Preferences;

/// The variable that comes before the preferences.
pub const VARIABLE: &str = "SIFT_PROVIDER";

/// An execution provider of ONNX Runtime.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", try_from = "String")]
pub enum Provider {
    /// The processor, which is always there.
    #[default]
    Cpu,
    Cuda,
    CoreMl,
    DirectMl,
}

impl Provider {
    pub const ALL: [Self; 4] = [Self::Cpu, Self::Cuda, Self::CoreMl, Self::DirectMl];
}

impl fmt::Display for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cpu => "CPU",
            Self::Cuda => "CUDA",
            Self::CoreMl => "CoreML",
            Self::DirectMl => "DirectML",
        })
    }
}

impl FromStr for Provider {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let called = |provider: &Self| provider.to_string().eq_ignore_ascii_case(text);
        Self::ALL.into_iter().find(called).ok_or_else(|| {
            let allowed = Self::ALL.map(|provider| provider.to_string().to_lowercase()).join(", ");
            format!("{text:?} is no execution provider; allowed are {allowed}")
        })
    }
}

impl TryFrom<String> for Provider {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

/// What the person chose.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Choice {
    provider: Provider,
    /// The variable, or the field and its file.
    made_by: String,
    /// Why what was chosen does not count.
    problem: Option<String>,
}

/// On what a network runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Placement {
    pub provider: Provider,
    /// Why it is not what the person chose, and the remedy.
    pub remark: Option<String>,
}

impl Choice {
    /// By the environment, else by the preferences; the processor, where neither says anything.
    pub fn read() -> Self {
        Self::of(std::env::var_os(VARIABLE), Preferences::file().as_deref())
    }

    fn of(variable: Option<OsString>, preferences: Option<&Path>) -> Self {
        let (made_by, provider) = match (variable.filter(|text| !text.is_empty()), preferences) {
            (Some(text), _) => {
                let parsed = text.to_string_lossy().parse();
                (VARIABLE.into(), parsed.map_err(|error| format!("{VARIABLE}: {error}. Correct or unset it")))
            }
            (None, Some(file)) => (
                format!("field `provider` of {}", file.display()),
                Preferences::read(file).map(|preferences| preferences.provider),
            ),
            (None, None) => return Self::default(),
        };
        match provider {
            Ok(provider) => Self { provider, made_by, problem: None },
            Err(problem) => Self { provider: Provider::Cpu, made_by, problem: Some(problem) },
        }
    }

    /// What `make` makes on the provider that was chosen, else on the processor.
    ///
    /// # Errors
    /// Those of `make` on the processor.
    pub fn place<T>(&self, make: impl Fn(Provider) -> Result<T, String>) -> Result<(T, Placement), String> {
        let Self { provider: chosen, made_by, problem } = self;
        let reason = match chosen {
            Provider::Cpu => problem.clone(),
            _ => match make(*chosen) {
                Ok(made) => return Ok((made, Placement { provider: *chosen, remark: None })),
                Err(error) => Some(format!(
                    "{made_by} asks for {chosen}, but {error}. Set ORT_DYLIB_PATH to an ONNX Runtime that has it, or choose cpu"
                )),
            },
        };
        let remark = reason.map(|reason| format!("{reason}. Until then the separator runs on the CPU"));
        Ok((make(Provider::Cpu)?, Placement { provider: Provider::Cpu, remark }))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use super::*;

    /// Preferences with this text, removed when the test ends.
    struct File(PathBuf);

    impl File {
        fn new(name: &str, text: &str) -> Self {
            let path = std::env::temp_dir().join(format!("sift-provider-{name}-{}.toml", std::process::id()));
            fs::write(&path, text).unwrap();
            Self(path)
        }

        fn choice(&self, variable: Option<&str>) -> Choice {
            Choice::of(variable.map(OsString::from), Some(&self.0))
        }
    }

    impl Drop for File {
        fn drop(&mut self) {
            let _ = fs::remove_file(&self.0);
        }
    }

    /// Where a network comes to run that runs everywhere but on `missing`.
    fn placement(choice: &Choice, missing: Option<Provider>) -> Placement {
        let make = |provider| match missing {
            Some(missing) if missing == provider => Err(format!("there is no {missing}")),
            _ => Ok(provider),
        };
        let (made, placement) = choice.place(make).unwrap();
        assert_eq!(made, placement.provider);
        placement
    }

    #[test]
    fn nothing_chosen_is_the_processor_without_a_word() {
        for choice in [Choice::of(None, None), Choice::of(None, Some(Path::new("/nowhere/preferences.toml")))]
        {
            assert_eq!(placement(&choice, None), Placement::default());
        }
    }

    #[test]
    fn a_provider_is_named_in_any_case() {
        for (text, provider) in [
            ("cpu", Provider::Cpu),
            ("CUDA", Provider::Cuda),
            ("CoreML", Provider::CoreMl),
            ("directml", Provider::DirectMl),
        ] {
            assert_eq!(text.parse(), Ok(provider));
            let file = File::new(text, &format!("provider = {text:?}"));
            assert_eq!(placement(&file.choice(None), None), Placement { provider, remark: None });
        }
    }

    #[test]
    fn the_environment_comes_before_the_preferences() {
        let file = File::new("precedence", "provider = \"coreml\"");
        assert_eq!(placement(&file.choice(Some("cuda")), None).provider, Provider::Cuda);
        assert_eq!(placement(&file.choice(Some("")), None).provider, Provider::CoreMl);
        let broken = File::new("unread", "provider = \"gpu\"");
        assert_eq!(placement(&broken.choice(Some("cpu")), None), Placement::default());
    }

    #[test]
    fn an_unknown_name_is_told_with_its_place_and_what_is_allowed_and_is_the_processor() {
        let file = File::new("unknown", "provider = \"gpu\"");
        let place = file.0.display().to_string();
        for (choice, place) in [
            (file.choice(None), [place.as_str(), "provider = \"gpu\"", "Correct or remove"]),
            (Choice::of(Some("gpu".into()), None), ["SIFT_PROVIDER", "\"gpu\"", "Correct or unset"]),
        ] {
            let Placement { provider, remark } = placement(&choice, None);
            let remark = remark.unwrap();
            assert_eq!(provider, Provider::Cpu);
            assert!(place.iter().all(|part| remark.contains(part)), "{remark}");
            assert!(remark.contains("allowed are cpu, cuda, coreml, directml"), "{remark}");
            assert!(remark.ends_with("runs on the CPU"), "{remark}");
        }
    }

    #[test]
    fn a_provider_that_does_not_work_falls_back_to_the_processor_and_says_who_asked_for_it() {
        let file = File::new("missing", "provider = \"cuda\"");
        let field = format!("field `provider` of {}", file.0.display());
        for (choice, asks) in
            [(file.choice(None), field.as_str()), (file.choice(Some("cuda")), "SIFT_PROVIDER")]
        {
            let Placement { provider, remark } = placement(&choice, Some(Provider::Cuda));
            assert_eq!(provider, Provider::Cpu);
            let remark = remark.unwrap();
            assert!(remark.starts_with(&format!("{asks} asks for CUDA, but there is no CUDA")), "{remark}");
        }
    }

    #[test]
    fn what_works_nowhere_is_told_as_on_the_processor() {
        let choice = Choice::of(Some("cuda".into()), None);
        let failed = choice.place(|provider| Err::<(), _>(format!("broken on {provider}")));
        assert_eq!(failed, Err("broken on CPU".into()));
    }
}
