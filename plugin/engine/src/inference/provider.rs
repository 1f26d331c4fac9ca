//! The execution provider of separator networks: the user's choice, and the provider in use.
//!
//! The choice is a setting of the machine, not of a project: `SIFT_PROVIDER`, or else the preferences
//! ([`provider_choice`](crate::user::preferences::provider_choice)). Query networks always run on the CPU, as they run once
//! per text only.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// An execution provider of ONNX Runtime.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", try_from = "String")]
pub enum Provider {
    /// The CPU, which is always available.
    #[default]
    Cpu,
    Cuda,
    CoreMl,
    DirectMl,
}

impl Provider {
    /// All providers, in the order of their discriminants.
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
        let has_name = |provider: &Self| provider.to_string().eq_ignore_ascii_case(text);
        Self::ALL.into_iter().find(has_name).ok_or_else(|| {
            let [first @ .., last] = Self::ALL.map(|provider| provider.to_string().to_lowercase());
            format!("unknown execution provider {text:?}; expected {} or {last}", first.join(", "))
        })
    }
}

impl TryFrom<String> for Provider {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

/// The provider that the user chose, and where.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProviderChoice {
    provider: Provider,
    /// Name of the environment variable, or the field and its file.
    source: String,
    /// The reason why the choice cannot be read.
    problem: Option<String>,
}

/// The provider that a network runs on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ActiveProvider {
    pub provider: Provider,
    /// The reason why it is not the chosen provider, and the remedy.
    pub fallback_reason: Option<String>,
}

impl ProviderChoice {
    /// Creates the choice read from `source`; the CPU if `provider` is an error.
    pub fn new(source: String, provider: Result<Provider, String>) -> Self {
        match provider {
            Ok(provider) => Self { provider, source, problem: None },
            Err(problem) => Self { provider: Provider::Cpu, source, problem: Some(problem) },
        }
    }

    /// Calls `create` with the chosen provider and, if that fails, with the CPU.
    ///
    /// # Errors
    /// If `create` fails for the CPU.
    pub fn with_fallback<T>(
        &self,
        create: impl Fn(Provider) -> Result<T, String>,
    ) -> Result<(T, ActiveProvider), String> {
        let Self { provider: chosen, source, problem } = self;
        let reason = match chosen {
            Provider::Cpu => problem.clone(),
            _ => match create(*chosen) {
                Ok(created) => {
                    return Ok((created, ActiveProvider { provider: *chosen, fallback_reason: None }));
                }
                Err(error) => Some(format!(
                    "{source} selects {chosen}, but {error}. Set ORT_DYLIB_PATH to an ONNX Runtime that has it, or select cpu"
                )),
            },
        };
        let fallback_reason =
            reason.map(|reason| format!("{reason}. Until then the separator runs on the CPU"));
        Ok((create(Provider::Cpu)?, ActiveProvider { provider: Provider::Cpu, fallback_reason }))
    }
}

#[cfg(test)]
mod tests {
    use std::thread;
    use std::time::Duration;

    use super::*;
    use crate::inference::cancel::{CancelToken, with_timeout};

    fn chosen(provider: Provider) -> ProviderChoice {
        ProviderChoice::new("SIFT_PROVIDER".into(), Ok(provider))
    }

    /// Returns the active provider of `choice` if all providers but `missing` work.
    fn active(choice: &ProviderChoice, missing: Option<Provider>) -> ActiveProvider {
        let create = |provider| match missing {
            Some(missing) if missing == provider => Err(format!("there is no {missing}")),
            _ => Ok(provider),
        };
        let (created, active) = choice.with_fallback(create).unwrap();
        assert_eq!(created, active.provider);
        active
    }

    #[test]
    fn provider_names_ignore_case() {
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
    fn default_choice_is_the_cpu_without_a_reason() {
        assert_eq!(active(&ProviderChoice::default(), None), ActiveProvider::default());
    }

    #[test]
    fn unreadable_choice_falls_back_to_the_cpu_with_a_reason() {
        let problem = "gpu".parse::<Provider>().unwrap_err();
        let ActiveProvider { provider, fallback_reason } =
            active(&ProviderChoice::new("SIFT_PROVIDER".into(), Err(problem)), None);
        let fallback_reason = fallback_reason.unwrap();
        assert_eq!(provider, Provider::Cpu);
        assert!(fallback_reason.contains("expected cpu, cuda, coreml or directml"), "{fallback_reason}");
        assert!(fallback_reason.ends_with("runs on the CPU"), "{fallback_reason}");
    }

    #[test]
    fn failing_provider_falls_back_to_the_cpu_with_its_source() {
        let ActiveProvider { provider, fallback_reason } =
            active(&chosen(Provider::Cuda), Some(Provider::Cuda));
        assert_eq!(provider, Provider::Cpu);
        let fallback_reason = fallback_reason.unwrap();
        assert!(
            fallback_reason.starts_with("SIFT_PROVIDER selects CUDA, but there is no CUDA"),
            "{fallback_reason}"
        );
    }

    #[test]
    fn provider_that_takes_too_long_leaves_the_time_of_the_cpu() {
        let token = CancelToken::new(Duration::from_millis(100));
        let create = |provider| {
            with_timeout(&token, |attempt| {
                while provider == Provider::Cuda && !attempt.is_cancelled() {
                    thread::sleep(Duration::from_millis(1));
                }
            })
        };
        let ((), active) = chosen(Provider::Cuda).with_fallback(create).unwrap();
        let reason = active.fallback_reason.unwrap();
        assert!(reason.contains("CUDA, but the network did not end within 0.1 s"), "{reason}");
    }

    #[test]
    fn failure_on_all_providers_is_the_error_of_the_cpu() {
        let failed =
            chosen(Provider::Cuda).with_fallback(|provider| Err::<(), _>(format!("broken on {provider}")));
        assert_eq!(failed, Err("broken on CPU".into()));
    }
}
