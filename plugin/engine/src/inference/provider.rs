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
    /// `provider`, chosen in the place that `made_by` names; else the processor, for the reason why it cannot be read.
    pub fn new(made_by: String, provider: Result<Provider, String>) -> Self {
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
    use super::*;

    fn chosen(provider: Provider) -> Choice {
        Choice::new("SIFT_PROVIDER".into(), Ok(provider))
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
    fn a_provider_is_named_in_any_case() {
        for (text, provider) in [
            ("cpu", Provider::Cpu),
            ("CUDA", Provider::Cuda),
            ("CoreML", Provider::CoreMl),
            ("directml", Provider::DirectMl),
        ] {
            assert_eq!(text.parse(), Ok(provider));
            assert_eq!(placement(&chosen(provider), None), Placement { provider, remark: None });
        }
    }

    #[test]
    fn nothing_chosen_is_the_processor_without_a_word() {
        assert_eq!(placement(&Choice::default(), None), Placement::default());
    }

    #[test]
    fn a_choice_that_cannot_be_read_is_the_processor_and_says_why() {
        let problem = "gpu".parse::<Provider>().unwrap_err();
        let Placement { provider, remark } =
            placement(&Choice::new("SIFT_PROVIDER".into(), Err(problem)), None);
        let remark = remark.unwrap();
        assert_eq!(provider, Provider::Cpu);
        assert!(remark.contains("allowed are cpu, cuda, coreml, directml"), "{remark}");
        assert!(remark.ends_with("runs on the CPU"), "{remark}");
    }

    #[test]
    fn a_provider_that_does_not_work_falls_back_to_the_processor_and_says_who_asked_for_it() {
        let Placement { provider, remark } = placement(&chosen(Provider::Cuda), Some(Provider::Cuda));
        assert_eq!(provider, Provider::Cpu);
        let remark = remark.unwrap();
        assert!(remark.starts_with("SIFT_PROVIDER asks for CUDA, but there is no CUDA"), "{remark}");
    }

    #[test]
    fn what_works_nowhere_is_told_as_on_the_processor() {
        let failed = chosen(Provider::Cuda).place(|provider| Err::<(), _>(format!("broken on {provider}")));
        assert_eq!(failed, Err("broken on CPU".into()));
    }
}
