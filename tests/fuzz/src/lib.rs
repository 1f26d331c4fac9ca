//! Checks of all code that reads untrusted bytes.
//!
//! | module | bytes | property |
//! |---|---|---|
//! | [`manifest`] | `package.toml` | an error with place and remedy, or a manifest that an engine can be made by |
//! | [`state`] | the plugin's saved state | an error that changes nothing, or a state that saves and loads the same |
//! | [`query`] | a query's text | at least one token, at most as many as the network takes, all in its vocabulary |
//! | [`decoding`] | an audio file | an error that names the file, or mono or stereo samples to its end |
//! | [`partition`] | a session of a host | the same bits for every partition into blocks |
//!
//! The function `check` of each module panics where its property does not hold. `cargo xtask fuzz` searches for such
//! bytes with libFuzzer; `tests/corpus.rs` checks the files in `corpus`, one folder per module.

pub mod decoding;
pub mod manifest;
pub mod partition;
pub mod query;
pub mod state;
