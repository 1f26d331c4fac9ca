//! The argument `--model`, which several commands share.

use std::ffi::OsString;
use std::path::Path;

use anyhow::{Result, bail};
use sift_engine::ModelChoice;
use sift_engine::package::{Origin, PackageError, PackageInfo, search};

/// The argument `--model`.
#[derive(clap::Args)]
pub struct ModelArgument {
    /// Folder of a model package, or the name of an installed one, as `sift models` lists it [default: the installed "Sift
    /// default", otherwise the built-in one]
    #[arg(long, value_name = "DIR|NAME")]
    model: Option<OsString>,
}

impl ModelArgument {
    /// The package in the given folder, the installed one of the given name, or the default one.
    ///
    /// # Errors
    /// If there is neither a folder nor an installed package of that name.
    pub fn choice(&self) -> Result<ModelChoice> {
        match &self.model {
            None => Ok(ModelChoice::default()),
            Some(folder) if Path::new(folder).is_dir() => Ok(ModelChoice::Folder(folder.into())),
            Some(name) => find_installed(&name.to_string_lossy(), &search::list_installed()),
        }
    }
}

/// The first of the `installed` packages that is called `name`, with or without its version.
fn find_installed(name: &str, installed: &[Result<PackageInfo, PackageError>]) -> Result<ModelChoice> {
    let valid = || installed.iter().flatten();
    let is_called = |package: &Result<PackageInfo, PackageError>| match package {
        Ok(package) => package.manifest.name == name,
        Err(error) => error.package() == Some(name),
    };
    if installed.iter().any(is_called) {
        return Ok(ModelChoice::Installed(name.into()));
    }
    let full_name = |package: &PackageInfo| format!("{} {}", package.manifest.name, package.manifest.version);
    if let Some(package) = valid().find(|package| full_name(package) == name) {
        return Ok(match &package.origin {
            Origin::BuiltIn => ModelChoice::BuiltIn,
            Origin::Folder(folder) => ModelChoice::Folder(folder.clone()),
        });
    }
    let mut names: Vec<_> = valid().map(|package| format!("{:?}", package.manifest.name)).collect();
    names.sort();
    names.dedup();
    bail!(
        "model {name:?}: neither a folder nor an installed model; installed are {}. Choose one of them, or the folder of a package",
        names.join(", ")
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The built-in package under another name and version, as if it were in the folder `name`.
    fn installed(name: &str, version: &str) -> Result<PackageInfo, PackageError> {
        let mut package = PackageInfo::built_in();
        package.manifest.name = name.into();
        package.manifest.version = version.into();
        package.origin = Origin::Folder(format!("{name}-{version}").into());
        Ok(package)
    }

    #[test]
    fn installed_model_is_found_by_name_and_by_version() {
        let packages = [installed("Wide", "1.0"), installed("Wide", "2.0"), Ok(PackageInfo::built_in())];
        let found = |name| find_installed(name, &packages).unwrap();
        assert_eq!(found("Wide"), ModelChoice::Installed("Wide".into()));
        assert_eq!(found("Wide 2.0"), ModelChoice::Folder("Wide-2.0".into()));
        let built_in = PackageInfo::built_in().manifest;
        assert_eq!(found(&format!("{} {}", built_in.name, built_in.version)), ModelChoice::BuiltIn);
    }

    #[test]
    fn error_of_an_unknown_name_lists_the_installed_models() {
        let packages = [installed("Wide", "1.0"), installed("Wide", "2.0"), Ok(PackageInfo::built_in())];
        let message = find_installed("Broad", &packages).unwrap_err().to_string();
        assert!(
            message.contains("model \"Broad\"")
                && message.contains("installed are \"Sift default\", \"Wide\"."),
            "{message}"
        );
    }

    #[test]
    fn folder_comes_before_an_installed_model() {
        let folder = tempfile::tempdir().unwrap();
        let argument = ModelArgument { model: Some(folder.path().into()) };
        assert_eq!(argument.choice().unwrap(), ModelChoice::Folder(folder.path().into()));
    }
}
