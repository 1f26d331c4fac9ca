//! Tokenizer of query texts.

use std::panic::{self, AssertUnwindSafe};

use tokenizers::{NormalizedString, Normalizer, Tokenizer, TruncationParams};

/// Tokenizer of a model package.
pub struct QueryTokenizer {
    tokenizer: Tokenizer,
    prefix: String,
}

impl QueryTokenizer {
    /// Creates the tokenizer that `json`, a `tokenizer.json`, describes.
    ///
    /// It adds `prefix` before every text and truncates the result to `max_tokens` tokens.
    ///
    /// # Errors
    /// Fails if `json` is not a valid tokenizer, or if one of its added tokens matches texts of no letters.
    pub fn new(json: &[u8], max_tokens: usize, prefix: &str) -> Result<Self, String> {
        let parse = || Tokenizer::from_bytes(json).map_err(|error| error.to_string());
        let mut tokenizer = catch_panic(parse)?;
        check_added_tokens(&tokenizer)?;
        let truncation = TruncationParams { max_length: max_tokens, ..Default::default() };
        tokenizer.with_truncation(Some(truncation)).map_err(|error| error.to_string())?;
        tokenizer.with_padding(None);
        Ok(Self { tokenizer, prefix: prefix.to_owned() })
    }

    /// Returns the ids of the tokens of `text`, at least one.
    ///
    /// # Errors
    /// Fails if the text cannot be tokenized or has no token.
    pub fn encode(&self, text: &str) -> Result<Vec<i64>, String> {
        let prefixed = format!("{}{text}", self.prefix);
        let encode = || self.tokenizer.encode(prefixed, true).map_err(|error| error.to_string());
        let tokens = catch_panic(encode)
            .map_err(|problem| format!("query {text:?} cannot be tokenized: {problem}"))?;
        if tokens.is_empty() {
            return Err(format!("query {text:?} has no tokens; expected at least one"));
        }
        Ok(tokens.get_ids().iter().copied().map(i64::from).collect())
    }

    /// Whether `word` in lower case is one token of the vocabulary, as common words are.
    pub fn is_word(&self, word: &str) -> bool {
        let encode = || self.tokenizer.encode_fast(word, false).map_err(|error| error.to_string());
        catch_panic(encode).is_ok_and(|tokens| tokens.len() == 1)
    }

    /// Returns the largest id of a token, if there is any.
    pub fn largest_id(&self) -> Option<i64> {
        self.tokenizer.get_vocab(true).into_values().max().map(i64::from)
    }

    /// Returns the number of tokens in the vocabulary.
    pub fn vocabulary_size(&self) -> usize {
        self.tokenizer.get_vocab_size(true)
    }
}

/// Checks that each added token which is looked for in normalised texts is still there after its own normalisation.
///
/// The library would find an empty token between any two bytes, also within a character, and panic.
fn check_added_tokens(tokenizer: &Tokenizer) -> Result<(), String> {
    let Some(normalizer) = tokenizer.get_normalizer() else { return Ok(()) };
    for (id, token) in tokenizer.get_added_tokens_decoder() {
        let mut content = NormalizedString::from(token.content.as_str());
        let normalise = || normalizer.normalize(&mut content).map_err(|error| error.to_string());
        catch_panic(normalise)?;
        if token.normalized && content.is_empty() {
            return Err(format!(
                "added token {:?} of id {id} is empty after normalisation; expected at least one character",
                token.content
            ));
        }
    }
    Ok(())
}

/// Calls `work`, code of the library that panics for some tokenizers, and returns its result.
///
/// # Errors
/// The errors of `work`, or its panic.
fn catch_panic<T>(work: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    panic::catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|_| Err("the tokenizer stopped with an internal error".into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A tokenizer that knows "rain", lowers letters and removes characters without a width.
    ///
    /// `added` are its added tokens, in JSON.
    fn tokenizer(added: &str) -> Result<QueryTokenizer, String> {
        let json = format!(
            r#"{{"version": "1.0", "truncation": null, "padding": null, "added_tokens": [{added}],
            "normalizer": {{"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true,
            "strip_accents": true, "lowercase": true}},
            "pre_tokenizer": {{"type": "BertPreTokenizer"}}, "post_processor": null, "decoder": null,
            "model": {{"type": "WordLevel", "vocab": {{"[UNK]": 0, "rain": 1}}, "unk_token": "[UNK]"}}}}"#
        );
        QueryTokenizer::new(json.as_bytes(), 8, "")
    }

    fn added(content: &str, normalized: bool) -> String {
        format!(
            r#"{{"id": 2, "content": "{content}", "single_word": false, "lstrip": false, "rstrip": false,
            "normalized": {normalized}, "special": false}}"#
        )
    }

    #[test]
    fn added_token_that_is_empty_after_normalisation_is_refused() {
        for content in ["\u{200d}", "\u{200c}", "\u{301}"] {
            let problem = tokenizer(&added(content, true)).err().expect("the token is refused");
            assert!(problem.contains("of id 2 is empty after normalisation"), "{content:?}: {problem}");
        }
    }

    #[test]
    fn added_token_of_the_text_itself_is_accepted() {
        for (content, normalized) in [("\u{200d}", false), ("Snow", true), ("[MASK]", false)] {
            let tokenizer = tokenizer(&added(content, normalized)).unwrap();
            assert_eq!(tokenizer.encode("rain 한국어").unwrap()[0], 1, "{content:?}");
            assert_eq!(tokenizer.largest_id(), Some(2));
        }
    }

    #[test]
    fn panic_of_the_library_is_an_error() {
        let problem = catch_panic(|| -> Result<(), String> { panic!("bad split") }).unwrap_err();
        assert_eq!(problem, "the tokenizer stopped with an internal error");
    }
}
