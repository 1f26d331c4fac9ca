//! What reads bytes that anybody may have written, and what must hold whatever they are.
//!
//! | module | what the bytes are | what must hold |
//! |---|---|---|
//! | [`manifest`] | `package.toml` | it is refused with place and remedy, or an engine can be made by it |
//! | [`state`] | the plugin's saved state | it is refused and nothing changes, or it is saved and loaded again the same |
//! | [`query`] | a query's text | it becomes tokens that the network knows, not too many |
//! | [`decoding`] | an audio file | it is refused by name, or read to its end in mono or stereo |
//! | [`partition`] | a session at play | however it is cut into blocks, the sound is the same bit for bit |
//!
//! Each module's `check` panics where it does not. `cargo xtask fuzz` has libFuzzer look for such bytes;
//! `tests/corpus.rs` tries those that are kept in `corpus`, a folder for each.

pub mod decoding;
pub mod manifest;
pub mod partition;
pub mod query;
pub mod state;
