//! The argument `--model`, which several commands share.

use std::path::PathBuf;

use sift_engine::package::{self, PackageError, PackageInfo, search};

/// The argument `--model`.
#[derive(clap::Args)]
pub struct ModelArgument {
    /// Folder of the model package [default: the installed "Sift default", otherwise the built-in one]
    #[arg(long, value_name = "DIR")]
    model: Option<PathBuf>,
}

impl ModelArgument {
    /// Reads the package in the given folder, or finds the default one.
    ///
    /// # Errors
    /// If the package is missing or invalid.
    pub fn package(&self) -> Result<PackageInfo, PackageError> {
        self.model.as_deref().map_or_else(|| search::find(package::DEFAULT_PACKAGE), PackageInfo::read)
    }
}
