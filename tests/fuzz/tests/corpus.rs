//! The corpus: first inputs for the search, and inputs that once failed.
//!
//! `ORT_DYLIB_PATH` must name ONNX Runtime; `cargo xtask test` sets it.

use std::fs;
use std::path::Path;

use sift_fuzz::{decoding, manifest, partition, query, state};

/// Calls `check` with every file of the folder `corpus/name`.
fn replay(name: &str, check: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
    let mut files: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty(), "{} is empty", folder.display());
    for file in files {
        // If `check` panics, the last name is that of the file.
        println!("{}", file.display());
        check(&fs::read(file).unwrap());
    }
}

#[test]
fn manifest_of_the_corpus_is_refused_with_remedy_or_usable() {
    replay("manifest", manifest::check);
}

#[test]
fn state_of_the_corpus_changes_nothing_or_loads_whole() {
    replay("state", state::check);
}

#[test]
fn text_of_the_corpus_gives_tokens_of_the_vocabulary() {
    replay("query", query::check);
}

#[test]
fn audio_file_of_the_corpus_is_named_or_read_to_its_end() {
    replay("decoding", decoding::check);
}

#[test]
fn session_of_the_corpus_gives_equal_bits_in_any_blocks() {
    replay("partition", partition::check);
}
