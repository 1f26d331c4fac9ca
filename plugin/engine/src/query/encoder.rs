//! Words → embedding: a package's tokenizer and query network. Lives on the librarian's thread.

use std::collections::HashMap;
use std::sync::Arc;

use ort::environment::Environment;
use ort::session::Session;
use ort::value::Tensor;
use tokenizers::{Tokenizer, TruncationParams};

use crate::package::{Package, PackageError};
use crate::query::normalise;
use crate::runtime;

/// Texts whose embeddings are kept. Beyond it the cache starts anew: a person types far fewer.
const CACHE_LIMIT: usize = 4096;

/// One package's query network with every embedding it has made.
pub struct QueryEncoder {
    tokenizer: Tokenizer,
    session: Session,
    prefix: String,
    cache: HashMap<String, Arc<[f32]>>,
}

impl QueryEncoder {
    /// Loads the tokenizer and the network of `package` and encodes one query to see them work.
    pub fn new(environment: &Environment, package: &Package) -> Result<Self, PackageError> {
        let manifest = &package.manifest.query;
        let fault = |file: &str, fault: &dyn std::fmt::Display| {
            PackageError::new(package.place(file), fault, "Install the package again")
        };
        let mut tokenizer =
            Tokenizer::from_bytes(&package.tokenizer).map_err(|error| fault(&manifest.tokenizer, &error))?;
        let truncation = TruncationParams { max_length: manifest.max_tokens, ..Default::default() };
        tokenizer.with_truncation(Some(truncation)).map_err(|error| fault(&manifest.tokenizer, &error))?;
        tokenizer.with_padding(None);
        let session =
            runtime::session(environment, &package.query).map_err(|error| fault(&manifest.file, &error))?;
        for name in ["input_ids", "attention_mask"] {
            if !session.inputs().iter().any(|input| input.name() == name) {
                return Err(fault(&manifest.file, &format_args!("has no input `{name}`")));
            }
        }
        let mut encoder = Self { tokenizer, session, prefix: manifest.prefix.clone(), cache: HashMap::new() };
        encoder.encode("sound").map_err(|error| fault(&manifest.file, &error))?;
        Ok(encoder)
    }

    /// The embedding of `text`. A text that was encoded once is not encoded again.
    pub fn encode(&mut self, text: &str) -> Result<Arc<[f32]>, String> {
        let text = normalise(text);
        if let Some(embedding) = self.cache.get(&text) {
            return Ok(embedding.clone());
        }
        let embedding = self.run(&text)?;
        if self.cache.len() >= CACHE_LIMIT {
            self.cache.clear();
        }
        self.cache.insert(text, embedding.clone());
        Ok(embedding)
    }

    fn run(&mut self, text: &str) -> Result<Arc<[f32]>, String> {
        let tokens = self
            .tokenizer
            .encode(format!("{}{text}", self.prefix), true)
            .map_err(|error| format!("could not be split into tokens: {error}"))?;
        let ids: Vec<i64> = tokens.get_ids().iter().copied().map(i64::from).collect();
        if ids.is_empty() {
            return Err(format!("the query {text:?} has no token that the model knows"));
        }
        let infer = || -> ort::Result<Arc<[f32]>> {
            let shape = [1, ids.len()];
            let attention = vec![1_i64; ids.len()];
            let outputs = self.session.run(ort::inputs! {
                "input_ids" => Tensor::from_array((shape, ids))?,
                "attention_mask" => Tensor::from_array((shape, attention))?,
            })?;
            let embedding = outputs
                .get("embedding")
                .ok_or_else(|| ort::Error::new("has no output `embedding`"))?
                .try_extract_tensor::<f32>()?;
            Ok(Arc::from(embedding.1))
        };
        let embedding = infer().map_err(|error| error.to_string())?;
        if !embedding.iter().all(|value| value.is_finite()) {
            return Err(format!("the embedding of {text:?} is not finite"));
        }
        Ok(embedding)
    }
}
