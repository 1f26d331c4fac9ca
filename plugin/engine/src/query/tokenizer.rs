//! Words → the numbers of the tokens that a query network takes.

use tokenizers::{Tokenizer, TruncationParams};

/// A package's tokenizer.
pub struct QueryTokenizer {
    tokenizer: Tokenizer,
    prefix: String,
}

impl QueryTokenizer {
    /// The tokenizer that `json` describes. It puts `prefix` before every text, and cuts what becomes of
    /// it to `max_tokens` tokens.
    ///
    /// # Errors
    /// What is wrong with `json`.
    pub fn new(json: &[u8], max_tokens: usize, prefix: &str) -> Result<Self, String> {
        let mut tokenizer = Tokenizer::from_bytes(json).map_err(|error| error.to_string())?;
        let truncation = TruncationParams { max_length: max_tokens, ..Default::default() };
        tokenizer.with_truncation(Some(truncation)).map_err(|error| error.to_string())?;
        tokenizer.with_padding(None);
        Ok(Self { tokenizer, prefix: prefix.to_owned() })
    }

    /// The numbers of the tokens of `text`, one at least.
    ///
    /// # Errors
    /// When there is none.
    pub fn encode(&self, text: &str) -> Result<Vec<i64>, String> {
        let tokens = self
            .tokenizer
            .encode(format!("{}{text}", self.prefix), true)
            .map_err(|error| format!("could not be split into tokens: {error}"))?;
        if tokens.is_empty() {
            return Err(format!("the query {text:?} has no token that the model knows"));
        }
        Ok(tokens.get_ids().iter().copied().map(i64::from).collect())
    }

    /// How many tokens there are.
    pub fn vocabulary_size(&self) -> usize {
        self.tokenizer.get_vocab_size(true)
    }
}
