//! The bytes that are kept: those to begin with, and those that once did harm.
//!
//! ONNX Runtime is found by `ORT_DYLIB_PATH`; `cargo xtask test` sets it.

use std::fs;
use std::path::Path;

use sift_fuzz::{decoding, manifest, partition, query, state};

/// Hands every file of the folder `name` of `corpus` to `check`.
fn replay(name: &str, check: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
    let mut files: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty(), "{} is empty", folder.display());
    for file in files {
        // The name of one that does harm is the last that is said.
        println!("{}", file.display());
        check(&fs::read(file).unwrap());
    }
}

#[test]
fn every_manifest_is_refused_with_a_remedy_or_makes_an_engine() {
    replay("manifest", manifest::check);
}

#[test]
fn every_state_is_refused_without_a_trace_or_saved_as_it_was_loaded() {
    replay("state", state::check);
}

#[test]
fn every_text_becomes_tokens_that_the_model_knows() {
    replay("query", query::check);
}

#[test]
fn every_audio_file_is_refused_by_name_or_read_to_its_end() {
    replay("decoding", decoding::check);
}

#[test]
fn every_session_sounds_the_same_in_any_blocks() {
    replay("partition", partition::check);
}
