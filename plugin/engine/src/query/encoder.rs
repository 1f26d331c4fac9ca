//! Words → embedding, and concepts: a package's tokenizer and query network. Lives on the librarian's
//! thread.

use std::collections::HashMap;
use std::sync::Arc;

use ort::environment::Environment;
use ort::value::Tensor;

use crate::package::{CONCEPTS, Package, PackageError};
use crate::provider::Provider;
use crate::query::concepts::{Concepts, Understood};
use crate::query::normalise;
use crate::query::tokens::Tokens;
use crate::runtime::Session;
use crate::stop::{Stop, within_limit};

/// Texts whose embeddings, of some thousand numbers each, are kept. Beyond it the cache starts anew: a person types far
/// fewer.
const CACHE_LIMIT: usize = 1024;

/// What a query became.
#[derive(Clone, Debug)]
pub struct Encoding {
    /// What the separator is conditioned on.
    pub embedding: Arc<[f32]>,
    /// The nearest concepts, nearest first; none where the package names none.
    pub understood: Arc<[Understood]>,
}

/// One package's query network with every encoding it has made.
pub struct QueryEncoder {
    tokens: Tokens,
    session: Session,
    stop: Stop,
    concepts: Option<Concepts>,
    cache: HashMap<String, Encoding>,
}

impl QueryEncoder {
    /// Loads the tokenizer and the network of `package` and encodes one query to see them work, until it is stopped.
    pub fn new(environment: &Environment, package: &Package, stop: Stop) -> Result<Self, PackageError> {
        let manifest = &package.manifest.query;
        let fault = |file: &str, fault: &dyn std::fmt::Display| {
            PackageError::new(package.place(file), fault, "Install the package again")
        };
        let tokens = Tokens::new(&package.tokenizer, manifest.max_tokens, &manifest.prefix)
            .map_err(|error| fault(&manifest.tokenizer, &error))?;
        let load = || Session::new(environment, &package.query, package.is_foreign(), Provider::Cpu, &stop);
        let session = within_limit(&stop, load)
            .and_then(|loaded| loaded.map_err(|error| error.to_string()))
            .map_err(|error| fault(&manifest.file, &error))?;
        for name in ["input_ids", "attention_mask"] {
            if !session.inputs().iter().any(|input| input.name() == name) {
                return Err(fault(&manifest.file, &format_args!("has no input `{name}`")));
            }
        }
        let concepts = package.concepts.as_deref().map(Concepts::parse).transpose();
        let concepts = concepts.map_err(|error| fault(CONCEPTS, &error))?;
        if concepts.is_some() && !session.outputs().iter().any(|output| output.name() == "concept") {
            return Err(fault(
                &manifest.file,
                &format_args!("has no output `concept`, which {CONCEPTS} is for"),
            ));
        }
        let mut encoder = Self { tokens, session, stop, concepts, cache: HashMap::new() };
        encoder.encode("sound").map_err(|error| fault(&manifest.file, &error))?;
        Ok(encoder)
    }

    /// The names of the concepts that texts are compared with; none where the package has none.
    pub fn known(&self) -> Arc<[String]> {
        self.concepts.as_ref().map(Concepts::names).unwrap_or_default()
    }

    /// What `text` becomes. A text that was encoded once is not encoded again.
    pub fn encode(&mut self, text: &str) -> Result<Encoding, String> {
        let text = normalise(text);
        if let Some(encoding) = self.cache.get(&text) {
            return Ok(encoding.clone());
        }
        let stop = self.stop.clone();
        let (embedding, concept) = within_limit(&stop, || self.run(&text)).flatten()?;
        let understood = match &self.concepts {
            Some(concepts) => concepts.nearest(&concept)?,
            None => Vec::new(),
        };
        let encoding = Encoding { embedding: embedding.into(), understood: understood.into() };
        if self.cache.len() >= CACHE_LIMIT {
            self.cache.clear();
        }
        self.cache.insert(text, encoding.clone());
        Ok(encoding)
    }

    /// The embedding, and the concept where the package has concepts.
    fn run(&mut self, text: &str) -> Result<(Vec<f32>, Vec<f32>), String> {
        let ids = self.tokens.of(text)?;
        let infer = || -> ort::Result<(Vec<f32>, Vec<f32>)> {
            let shape = [1, ids.len()];
            let attention = vec![1_i64; ids.len()];
            let inputs = ort::inputs! {
                "input_ids" => Tensor::from_array((shape, ids))?,
                "attention_mask" => Tensor::from_array((shape, attention))?,
            };
            let runs = self.stop.runs()?;
            let outputs = self.session.run(inputs, &runs)?;
            let values = |name: &str| -> ort::Result<Vec<f32>> {
                let output =
                    outputs.get(name).ok_or_else(|| ort::Error::new(format!("has no output `{name}`")))?;
                Ok(output.try_extract_tensor::<f32>()?.1.to_vec())
            };
            let concept = if self.concepts.is_some() { values("concept")? } else { Vec::new() };
            Ok((values("embedding")?, concept))
        };
        let (embedding, concept) = infer().map_err(|error| error.to_string())?;
        for (name, values) in [("embedding", &embedding), ("concept", &concept)] {
            if !values.iter().all(|value| value.is_finite()) {
                return Err(format!("the {name} of {text:?} is not finite"));
            }
        }
        Ok((embedding, concept))
    }
}
