//! The argument `--model`, which several commands share.

use std::path::PathBuf;

use sift_engine::ModelChoice;

/// The argument `--model`.
#[derive(clap::Args)]
pub struct ModelArgument {
    /// Folder of the model package [default: the installed "Sift default", otherwise the built-in one]
    #[arg(long, value_name = "DIR")]
    model: Option<PathBuf>,
}

impl ModelArgument {
    /// The package in the given folder, or the default one.
    pub fn choice(&self) -> ModelChoice {
        self.model.clone().map_or_else(ModelChoice::default, ModelChoice::Folder)
    }
}
