//! Tokenizer of query texts.

use tokenizers::{Tokenizer, TruncationParams};

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
    /// Fails if `json` is not a valid tokenizer.
    pub fn new(json: &[u8], max_tokens: usize, prefix: &str) -> Result<Self, String> {
        let mut tokenizer = Tokenizer::from_bytes(json).map_err(|error| error.to_string())?;
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
        let tokens = self
            .tokenizer
            .encode(format!("{}{text}", self.prefix), true)
            .map_err(|error| format!("query {text:?} cannot be tokenized: {error}"))?;
        if tokens.is_empty() {
            return Err(format!("query {text:?} has no tokens; expected at least one"));
        }
        Ok(tokens.get_ids().iter().copied().map(i64::from).collect())
    }

    /// Whether `word` in lower case is one token of the vocabulary, as common words are.
    pub fn is_word(&self, word: &str) -> bool {
        self.tokenizer.encode_fast(word, false).is_ok_and(|tokens| tokens.len() == 1)
    }

    /// Returns the number of tokens in the vocabulary.
    pub fn vocabulary_size(&self) -> usize {
        self.tokenizer.get_vocab_size(true)
    }
}
