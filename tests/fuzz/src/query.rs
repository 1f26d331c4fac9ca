//! Normalisation and tokens of a typed text.

use std::sync::LazyLock;

use sift_engine::package::PackageInfo;
use sift_engine::{MAX_CHARACTERS, QueryTokenizer, normalise};

struct Vocabulary {
    tokenizer: QueryTokenizer,
    /// Number of tokens in the vocabulary.
    size: i64,
    /// Most tokens of a text.
    max_tokens: usize,
}

static VOCABULARY: LazyLock<Vocabulary> = LazyLock::new(|| {
    let package = PackageInfo::built_in().load().expect("the default package loads");
    let section = package.manifest.query;
    let tokenizer = QueryTokenizer::new(&package.tokenizer, section.max_tokens, &section.prefix)
        .expect("the default tokenizer is valid");
    Vocabulary { size: tokenizer.vocabulary_size() as i64, tokenizer, max_tokens: section.max_tokens }
});

/// Makes tokens of the text `bytes`.
///
/// # Panics
/// If there are none, too many, or some outside the default model's vocabulary.
pub fn check(bytes: &[u8]) {
    let text = normalise(&String::from_utf8_lossy(bytes));
    assert!(text.chars().count() <= MAX_CHARACTERS, "{text:?} is too long");
    assert_eq!(normalise(&text), text, "a normalised text changes when it is normalised again");
    let Vocabulary { tokenizer, size, max_tokens } = &*VOCABULARY;
    let numbers = tokenizer.encode(&text).expect("the default tokenizer accepts every text");
    assert!((1..=*max_tokens).contains(&numbers.len()), "{} tokens", numbers.len());
    assert!(
        numbers.iter().all(|number| (0..*size).contains(number)),
        "{numbers:?} are not all in the vocabulary"
    );
    assert_eq!(tokenizer.encode(&text).as_ref(), Ok(&numbers), "the tokens differ the second time");
}
