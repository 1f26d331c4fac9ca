//! Per-user files.

pub mod folders;
pub mod preferences;
pub mod toml_file;
