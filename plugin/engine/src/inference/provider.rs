//! On what separator networks run: what the person chose, and what came of it.
//!
//! The choice belongs to the machine and not to a project: it is made by `SIFT_PROVIDER`, else in the
//! [`Preferences`], and the plugin and the command line read it here. Query networks run on the
//! processor whatever is chosen: once a text.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

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
pub struct ProviderChoice {
    provider: Provider,
    /// The variable, or the field and its file.
    source: String,
    /// Why what was chosen does not count.
    problem: Option<String>,
}

/// On what a network runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ActiveProvider {
    pub provider: Provider,
    /// Why it is not what the person chose, and the remedy.
    pub fallback_reason: Option<String>,
}

impl ProviderChoice {
    /// `provider`, chosen in the place that `source` names; else the processor, for the reason why it cannot be read.
    pub fn new(source: String, provider: Result<Provider, String>) -> Self {
        match provider {
            Ok(provider) => Self { provider, source, problem: None },
            Err(problem) => Self { provider: Provider::Cpu, source, problem: Some(problem) },
        }
    }

    /// What `make` makes on the provider that was chosen, else on the processor.
    ///
    /// # Errors
    /// Those of `make` on the processor.
    pub fn with_fallback<T>(
        &self,
        make: impl Fn(Provider) -> Result<T, String>,
    ) -> Result<(T, ActiveProvider), String> {
        let Self { provider: chosen, source, problem } = self;
        let reason = match chosen {
            Provider::Cpu => problem.clone(),
            _ => match make(*chosen) {
                Ok(made) => return Ok((made, ActiveProvider { provider: *chosen, fallback_reason: None })),
                Err(error) => Some(format!(
                    "{source} asks for {chosen}, but {error}. Set ORT_DYLIB_PATH to an ONNX Runtime that has it, or choose cpu"
                )),
            },
        };
        let fallback_reason =
            reason.map(|reason| format!("{reason}. Until then the separator runs on the CPU"));
        Ok((make(Provider::Cpu)?, ActiveProvider { provider: Provider::Cpu, fallback_reason }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(provider: Provider) -> ProviderChoice {
        ProviderChoice::new("SIFT_PROVIDER".into(), Ok(provider))
    }

    /// Where a network comes to run that runs everywhere but on `missing`.
    fn active(choice: &ProviderChoice, missing: Option<Provider>) -> ActiveProvider {
        let make = |provider| match missing {
            Some(missing) if missing == provider => Err(format!("there is no {missing}")),
            _ => Ok(provider),
        };
        let (made, active) = choice.with_fallback(make).unwrap();
        assert_eq!(made, active.provider);
        active
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
            assert_eq!(active(&chosen(provider), None), ActiveProvider { provider, fallback_reason: None });
        }
    }

    #[test]
    fn nothing_chosen_is_the_processor_without_a_word() {
        assert_eq!(active(&ProviderChoice::default(), None), ActiveProvider::default());
    }

    #[test]
    fn a_choice_that_cannot_be_read_is_the_processor_and_says_why() {
        let problem = "gpu".parse::<Provider>().unwrap_err();
        let ActiveProvider { provider, fallback_reason } =
            active(&ProviderChoice::new("SIFT_PROVIDER".into(), Err(problem)), None);
        let fallback_reason = fallback_reason.unwrap();
        assert_eq!(provider, Provider::Cpu);
        assert!(fallback_reason.contains("allowed are cpu, cuda, coreml, directml"), "{fallback_reason}");
        assert!(fallback_reason.ends_with("runs on the CPU"), "{fallback_reason}");
    }

    #[test]
    fn a_provider_that_does_not_work_falls_back_to_the_processor_and_says_who_asked_for_it() {
        let ActiveProvider { provider, fallback_reason } =
            active(&chosen(Provider::Cuda), Some(Provider::Cuda));
        assert_eq!(provider, Provider::Cpu);
        let fallback_reason = fallback_reason.unwrap();
        assert!(
            fallback_reason.starts_with("SIFT_PROVIDER asks for CUDA, but there is no CUDA"),
            "{fallback_reason}"
        );
    }

    #[test]
    fn what_works_nowhere_is_told_as_on_the_processor() {
        let failed =
            chosen(Provider::Cuda).with_fallback(|provider| Err::<(), _>(format!("broken on {provider}")));
        assert_eq!(failed, Err("broken on CPU".into()));
    }
}
