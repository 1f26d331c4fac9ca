//! What somebody types.

use std::sync::LazyLock;

use sift_engine::package::Listing;
use sift_engine::{MAX_CHARACTERS, Tokens, normalise};

struct Known {
    tokens: Tokens,
    count: i64,
    most: usize,
}

static KNOWN: LazyLock<Known> = LazyLock::new(|| {
    let package = Listing::built_in().load().expect("the default package is whole");
    let section = package.manifest.query;
    let tokens = Tokens::new(&package.tokenizer, section.max_tokens, &section.prefix)
        .expect("the default tokenizer is one");
    Known { count: tokens.count() as i64, tokens, most: section.max_tokens }
});

/// # Panics
/// If the text that is `bytes` becomes no tokens, too many, or such as the default model does not know.
pub fn check(bytes: &[u8]) {
    let text = normalise(&String::from_utf8_lossy(bytes));
    assert!(text.chars().count() <= MAX_CHARACTERS, "{text:?} is too long");
    assert_eq!(normalise(&text), text, "it is in its normal form");
    let Known { tokens, count, most } = &*KNOWN;
    let numbers = tokens.of(&text).expect("the default model makes something of everything");
    assert!((1..=*most).contains(&numbers.len()), "{} tokens", numbers.len());
    assert!(numbers.iter().all(|number| (0..*count).contains(number)), "{numbers:?} are not all known");
    assert_eq!(tokens.of(&text).as_ref(), Ok(&numbers), "it is the same each time");
}
