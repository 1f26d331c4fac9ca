//! Errors of packages.

use std::fmt;

/// Error of a package: place, fault and remedy.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{place}: {fault}. {remedy}")]
pub struct PackageError {
    /// Name of the package, if its manifest has one.
    name: Option<String>,
    place: String,
    fault: String,
    remedy: String,
}

impl PackageError {
    pub(crate) fn new(place: impl fmt::Display, fault: impl fmt::Display, remedy: impl fmt::Display) -> Self {
        Self { name: None, place: place.to_string(), fault: fault.to_string(), remedy: remedy.to_string() }
    }

    /// The error with the name of its package.
    pub(super) fn of_package(self, name: Option<String>) -> Self {
        Self { name, ..self }
    }

    /// Name of the package, if its manifest has one.
    pub fn package(&self) -> Option<&str> {
        self.name.as_deref()
    }
}
