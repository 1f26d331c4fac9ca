//! Where packages are found.

use std::path::{Path, PathBuf};

use crate::inference::library;
use crate::package::error::PackageError;
use crate::package::{MANIFEST_FILE, PackageInfo};
use crate::user::folders;

/// Every package there is, best first: those in `SIFT_MODELS`, the user's data folder, the
/// plugin's own resources, and the built-in one. A folder that holds a broken manifest is listed
/// with what is wrong.
pub fn list_installed() -> Vec<Result<PackageInfo, PackageError>> {
    let mut found: Vec<_> = search_folders()
        .iter()
        .flat_map(|folder| package_folders(folder))
        .map(|folder| PackageInfo::read(&folder))
        .collect();
    found.push(Ok(PackageInfo::built_in()));
    found
}

/// The first installed package called `name`.
///
/// # Errors
/// When there is none, or when that first one's manifest is broken: a package further down the
/// list never stands in for it silently.
pub fn find(name: &str) -> Result<PackageInfo, PackageError> {
    let called = |info: &Result<PackageInfo, PackageError>| match info {
        Ok(info) => info.manifest.name == name,
        Err(error) => error.package() == Some(name),
    };
    list_installed().into_iter().find(called).unwrap_or_else(|| {
        let folder = user_folder()
            .map_or("a folder named in SIFT_MODELS".into(), |folder| folder.display().to_string());
        Err(PackageError::new(
            format_args!("model {name:?}"),
            "is not installed",
            format_args!("Put its package into {folder}"),
        ))
    })
}

/// The folders in which packages are looked for, in this order.
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

/// Where a person puts packages of their own.
pub fn user_folder() -> Option<PathBuf> {
    Some(folders::data()?.join("models"))
}

/// `folder` itself when it is a package, else the packages directly inside it, by name.
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
