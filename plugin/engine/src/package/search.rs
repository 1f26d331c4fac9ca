//! Search for installed packages.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::inference::library;
use crate::package::error::PackageError;
use crate::package::{DEFAULT_PACKAGE, MANIFEST_FILE, PackageInfo};
use crate::user::folders;

/// Selection of a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ModelChoice {
    /// The first installed package with this name.
    Installed(String),
    /// The package in this folder.
    Folder(PathBuf),
    /// The package that is compiled into the binary, whatever is installed.
    BuiltIn,
}

impl Default for ModelChoice {
    fn default() -> Self {
        Self::Installed(DEFAULT_PACKAGE.to_owned())
    }
}

impl fmt::Display for ModelChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Installed(name) => f.write_str(name),
            Self::Folder(folder) => folder.display().fmt(f),
            Self::BuiltIn => f.write_str(DEFAULT_PACKAGE),
        }
    }
}

impl ModelChoice {
    /// Searches for the package and reads its manifest.
    ///
    /// # Errors
    /// If there is no such package, or its manifest is broken.
    pub fn find(&self) -> Result<PackageInfo, PackageError> {
        match self {
            Self::Installed(name) => find(name),
            Self::Folder(folder) => PackageInfo::read(folder),
            Self::BuiltIn => Ok(PackageInfo::built_in()),
        }
    }
}

/// All installed packages, in the order of the search: `SIFT_MODELS`, the user's data folder, the resources of the plugin,
/// the built-in package. A package with a broken manifest is listed as its error.
pub fn list_installed() -> Vec<Result<PackageInfo, PackageError>> {
    let mut found: Vec<_> = search_folders()
        .iter()
        .flat_map(|folder| package_folders(folder))
        .map(|folder| PackageInfo::read(&folder))
        .collect();
    found.push(Ok(PackageInfo::built_in()));
    found
}

/// The first installed package with this name.
///
/// # Errors
/// If there is none, or if the manifest of the first one is broken. Another package of that name never replaces a broken one
/// silently.
fn find(name: &str) -> Result<PackageInfo, PackageError> {
    let called = |info: &Result<PackageInfo, PackageError>| match info {
        Ok(info) => info.manifest.name == name,
        Err(error) => error.package() == Some(name),
    };
    list_installed().into_iter().find(called).unwrap_or_else(|| {
        let folder =
            user_folder().map_or("a folder in SIFT_MODELS".into(), |folder| folder.display().to_string());
        Err(PackageError::new(
            format_args!("model {name:?}"),
            "is not installed",
            format_args!("Put its package into {folder}"),
        ))
    })
}

/// The folders to search, in order.
pub fn search_folders() -> Vec<PathBuf> {
    let from_environment = std::env::var_os("SIFT_MODELS").unwrap_or_default();
    std::env::split_paths(&from_environment)
        .filter(|folder| !folder.as_os_str().is_empty())
        .chain(user_folder())
        .chain(
            library::own_folder()
                .into_iter()
                .flat_map(|folder| [folder.join("models"), folder.join("../Resources/models")]),
        )
        .collect()
}

/// The folder for the user's own packages.
pub fn user_folder() -> Option<PathBuf> {
    Some(folders::data()?.join("models"))
}

/// `folder` if it is a package, else the packages directly in it, sorted by name.
fn package_folders(folder: &Path) -> Vec<PathBuf> {
    let is_package = |folder: &Path| folder.join(MANIFEST_FILE).is_file();
    if is_package(folder) {
        return vec![folder.to_owned()];
    }
    let mut inside: Vec<_> = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|folder| is_package(folder))
        .collect();
    inside.sort();
    inside
}
