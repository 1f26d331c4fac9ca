//! Recognition of sounds: which of the concepts that a package knows are in the input.

pub mod concepts;
#[cfg(test)]
pub(crate) mod fake;
pub mod load;
pub mod network;
pub mod rest_selector;
pub mod suggestions;
