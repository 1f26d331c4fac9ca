//! Query encoder: from a text to embeddings and concepts, by a package's tokenizer and query network.
//!
//! It runs on the package's thread of the [model service](crate::model_service).

use std::collections::HashMap;
use std::sync::Arc;

use ort::environment::Environment;
use ort::session::RunOptions;
use ort::value::Tensor;

use crate::inference::cancel::{CancelToken, with_timeout};
use crate::inference::provider::Provider;
use crate::inference::session::{LoadTurn, Session};
use crate::listener::concepts::ListenerConcepts;
use crate::package::{CONCEPTS_FILE, Package, PackageError};
use crate::query::concepts::{ConceptMatch, Concepts, UNDERSTOOD};
use crate::query::parts::{self, MAX_PARTS, PartRole, QueryPart};
use crate::query::text::normalise;
use crate::query::tokenizer::QueryTokenizer;

/// Most texts in the cache, with some thousand numbers each. A full cache is cleared; users type far fewer texts.
const MAX_CACHED_QUERIES: usize = 1024;

/// Outputs of a query network, in the order in which they are read.
const OUTPUTS: [&str; 3] = ["embedding", "concept", "negation"];

/// Returns for each of [`OUTPUTS`] whether a package with these concepts needs it.
fn needed_outputs(concepts: Option<&Concepts>) -> [bool; OUTPUTS.len()] {
    [true, concepts.is_some(), concepts.is_some_and(Concepts::needs_negation)]
}

/// Result of encoding a text.
#[derive(Clone, Debug)]
pub struct EncodedQuery {
    /// Sounds that the text names or may mean, at least one.
    pub parts: Arc<[QueryPart]>,
    /// Nearest concepts, nearest first; empty if the package has no concepts.
    ///
    /// For a text of several sounds, one match has the names of all ("drums + piano without speech") and the lowest
    /// closeness of them.
    pub matches: Arc<[ConceptMatch]>,
    /// For each concept of the package's listener, whether it can be the rest of its own accord.
    ///
    /// Empty if the package has no listener, or if the text is not understood or names what it excludes.
    pub rest_candidates: Arc<[bool]>,
}

impl EncodedQuery {
    /// Creates the encoding of one sound without concepts.
    pub fn single(embedding: Arc<[f32]>) -> Self {
        Self {
            parts: Arc::from([QueryPart { embedding, role: PartRole::Include }]),
            matches: Arc::default(),
            rest_candidates: Arc::default(),
        }
    }
}

/// Outputs of the query network for the text of one sound.
struct EncodedSound {
    embedding: Arc<[f32]>,
    /// Nearest concepts, nearest first; empty if the package has none.
    nearest: Vec<ConceptMatch>,
    /// Whether the text means everything but the sound; false if the package does not need the output `negation`.
    is_negated: bool,
    /// Names of all concepts that the text can mean.
    close: Vec<String>,
}

/// Query network of one package, with a cache of its results.
pub struct QueryEncoder {
    tokenizer: QueryTokenizer,
    session: Session,
    cancel_token: CancelToken,
    concepts: Option<Concepts>,
    /// `None` if the package has no listener, or a broken one.
    heard_concepts: Option<ListenerConcepts>,
    cache: HashMap<String, EncodedQuery>,
}

impl QueryEncoder {
    /// Loads the tokenizer and the query network of `package`, checks them, and encodes one text as a test.
    ///
    /// `cancel_token` stops the loading and every later run. Its timeout limits the loading and each text, one by one.
    ///
    /// # Errors
    /// Fails if a file is invalid, the network lacks a tensor, or the test fails or does not end in time.
    pub fn new(
        environment: &Environment,
        package: &Package,
        cancel_token: CancelToken,
    ) -> Result<Self, PackageError> {
        let manifest = &package.manifest.query;
        let error_in = |file: &str, fault: &dyn std::fmt::Display| {
            PackageError::new(package.file_label(file), fault, "Install the package again")
        };
        let tokenizer = QueryTokenizer::new(&package.tokenizer, manifest.max_tokens, &manifest.prefix)
            .map_err(|error| error_in(&manifest.tokenizer, &error))?;
        let load = |turn| {
            with_timeout(&cancel_token, |attempt| {
                Session::new(environment, &package.query, turn, Provider::Cpu, attempt)
                    .map_err(|error| error.to_string())
            })
            .flatten()
        };
        let session = LoadTurn::wait(package.is_untrusted(), &cancel_token)
            .and_then(load)
            .map_err(|error| error_in(&manifest.file, &error))?;
        for name in ["input_ids", "attention_mask"] {
            if !session.inputs().iter().any(|input| input.name() == name) {
                return Err(error_in(&manifest.file, &format_args!("has no input `{name}`")));
            }
        }
        let concepts = package.concepts.as_deref().map(Concepts::parse).transpose();
        let concepts = concepts.map_err(|error| error_in(CONCEPTS_FILE, &error))?;
        let for_concepts = format!("the package has {CONCEPTS_FILE}");
        let for_negation = format!("{CONCEPTS_FILE} has the field `conjunctions`, `exclusions` or `doubt`");
        let reasons = ["the separator takes it", &for_concepts, &for_negation];
        for ((name, is_needed), reason) in OUTPUTS.iter().zip(needed_outputs(concepts.as_ref())).zip(reasons)
        {
            if is_needed && !session.outputs().iter().any(|output| output.name() == *name) {
                let problem = format!("has no output `{name}`; expected because {reason}");
                return Err(error_in(&manifest.file, &problem));
            }
        }
        let listener = package.listener.as_ref().and_then(|listener| listener.as_ref().ok());
        // The separator thread reports what is wrong with the file.
        let heard_concepts = listener.and_then(|files| ListenerConcepts::parse(&files.concepts).ok());
        let mut encoder =
            Self { tokenizer, session, cancel_token, concepts, heard_concepts, cache: HashMap::new() };
        encoder.encode("sound").map_err(|error| error_in(&manifest.file, &error))?;
        Ok(encoder)
    }

    /// Returns the names of the package's concepts.
    pub fn concept_names(&self) -> Arc<[String]> {
        self.concepts.as_ref().map(Concepts::names).unwrap_or_default()
    }

    /// Encodes `text`, or returns the cached result.
    ///
    /// # Errors
    /// Fails if the text has no tokens, or the network fails or does not end in time. The next text has its own time.
    pub fn encode(&mut self, text: &str) -> Result<EncodedQuery, String> {
        let text = normalise(text);
        if let Some(encoded) = self.cache.get(&text) {
            return Ok(encoded.clone());
        }
        let token = self.cancel_token.clone();
        let encode = |attempt: &CancelToken| {
            let run_options = attempt.run_options().map_err(|error| error.to_string())?;
            match self.encode_parts(&text, &run_options)? {
                Some(encoded) => Ok(encoded),
                None => self.encode_single(&text, &run_options),
            }
        };
        let encoded = with_timeout(&token, encode).flatten()?;
        if self.cache.len() >= MAX_CACHED_QUERIES {
            self.cache.clear();
        }
        self.cache.insert(text, encoded.clone());
        Ok(encoded)
    }

    /// Encodes a text that names two or more sounds, if each is understood by itself; otherwise returns `None`.
    ///
    /// A piece that is not understood is joined with the next one, as in "rock and roll drums and rain".
    fn encode_parts(&mut self, text: &str, run_options: &RunOptions) -> Result<Option<EncodedQuery>, String> {
        let Some(concepts) = &self.concepts else { return Ok(None) };
        let pieces = parts::split_at_conjunctions(text, concepts.conjunctions());
        if !(2..=MAX_PARTS).contains(&pieces.len()) {
            return Ok(None);
        }
        let mut sounds: Vec<(EncodedSound, ConceptMatch)> = Vec::new();
        let mut start = pieces[0].start;
        for (number, piece) in pieces.iter().enumerate() {
            let sound = self.encode_sound(text[start..piece.end].trim(), run_options)?;
            let Some(nearest) =
                sound.nearest.first().filter(|nearest| nearest.closeness >= UNDERSTOOD).cloned()
            else {
                continue;
            };
            start = pieces.get(number + 1).map_or(text.len(), |next| next.start);
            let is_same = |(other, concept): &(EncodedSound, ConceptMatch)| {
                concept.name == nearest.name && other.is_negated == sound.is_negated
            };
            if !sounds.iter().any(is_same) {
                sounds.push((sound, nearest));
            }
        }
        if start < text.len() || sounds.len() < 2 {
            return Ok(None);
        }
        let negated: Vec<_> = sounds.iter().map(|(sound, _)| sound.is_negated).collect();
        let rest_candidates =
            self.rest_candidates(&sounds.iter().map(|(sound, _)| sound).collect::<Vec<_>>());
        let roles = PartRole::assign(text, &negated);
        let closeness = sounds.iter().map(|(_, concept)| concept.closeness).fold(1.0, f32::min);
        let named = sounds.iter().zip(&roles).map(|((_, concept), role)| (concept.name.as_str(), *role));
        let all = ConceptMatch { name: join_names(named), closeness, selected: true };
        let parts = roles
            .into_iter()
            .zip(sounds)
            .map(|(role, (sound, _))| QueryPart { embedding: sound.embedding, role })
            .collect();
        Ok(Some(EncodedQuery { parts, matches: Arc::from([all]), rest_candidates }))
    }

    /// Encodes a text that names one sound.
    ///
    /// An ambiguous text gets a part per selected concept, encoded by the concept's name, which the model knows best:
    /// parts whose sound is absent pass hardly anything. The text itself is a further part if even the nearest concept
    /// may be wrong, or if the text negates, because the names do not.
    fn encode_single(&mut self, text: &str, run_options: &RunOptions) -> Result<EncodedQuery, String> {
        let sound = self.encode_sound(text, run_options)?;
        let rest_candidates = self.rest_candidates(&[&sound]);
        let EncodedSound { embedding, nearest, is_negated, .. } = sound;
        let selected: Vec<_> = nearest.iter().filter(|concept| concept.selected).collect();
        if selected.len() < 2 {
            let single = EncodedQuery::single(embedding);
            return Ok(EncodedQuery { matches: nearest.into(), rest_candidates, ..single });
        }
        let (text_role, name_role) = if is_negated {
            (PartRole::ExcludeNegated, PartRole::ExcludeInverted)
        } else {
            (PartRole::Include, PartRole::Include)
        };
        let mut parts = Vec::with_capacity(MAX_PARTS);
        if selected[0].closeness < UNDERSTOOD || is_negated {
            parts.push(QueryPart { embedding, role: text_role });
        }
        for concept in selected {
            let EncodedSound { embedding, .. } = self.encode_sound(&concept.name, run_options)?;
            parts.push(QueryPart { embedding, role: name_role });
        }
        Ok(EncodedQuery { parts: parts.into(), matches: nearest.into(), rest_candidates })
    }

    /// Encodes the text of one sound.
    fn encode_sound(&mut self, text: &str, run_options: &RunOptions) -> Result<EncodedSound, String> {
        let [embedding, concept, negation] = self.run(text, run_options)?;
        let nearest = match &self.concepts {
            Some(concepts) => concepts.nearest(text, &concept)?,
            None => Vec::new(),
        };
        let is_negated = negation.first().is_some_and(|&probability| probability >= 0.5);
        let close = self.concepts.iter().flat_map(|concepts| concepts.close_names(&concept));
        let close = close.map(str::to_owned).collect();
        Ok(EncodedSound { embedding: embedding.into(), nearest, is_negated, close })
    }

    /// As [`EncodedQuery::rest_candidates`], for a text of these sounds.
    fn rest_candidates(&self, sounds: &[&EncodedSound]) -> Arc<[bool]> {
        self.heard_concepts.as_ref().map_or_else(Arc::default, |heard| rest_candidates(heard, sounds))
    }

    /// Runs the network and returns the values of [`OUTPUTS`], empty for those that the package does not need.
    fn run(&mut self, text: &str, run_options: &RunOptions) -> Result<[Vec<f32>; OUTPUTS.len()], String> {
        let ids = self.tokenizer.encode(text)?;
        let needed = needed_outputs(self.concepts.as_ref());
        let infer = || -> ort::Result<_> {
            let shape = [1, ids.len()];
            let attention = vec![1_i64; ids.len()];
            let inputs = ort::inputs! {
                "input_ids" => Tensor::from_array((shape, ids))?,
                "attention_mask" => Tensor::from_array((shape, attention))?,
            };
            let outputs = self.session.run(inputs, run_options)?;
            let mut all = [const { Vec::new() }; OUTPUTS.len()];
            for ((name, is_needed), values) in OUTPUTS.iter().zip(needed).zip(&mut all) {
                if is_needed {
                    *values = outputs[*name].try_extract_tensor::<f32>()?.1.to_vec();
                }
            }
            Ok(all)
        };
        let all = infer().map_err(|error| error.to_string())?;
        for (name, values) in OUTPUTS.iter().zip(&all) {
            if !values.iter().all(|value| value.is_finite()) {
                return Err(format!(
                    "output `{name}` for the query {text:?} is not finite; expected finite values"
                ));
            }
        }
        Ok(all)
    }
}

/// Returns the names of the sounds of a text: "drums + piano", or "drums + piano without speech".
fn join_names<'a>(sounds: impl Iterator<Item = (&'a str, PartRole)> + Clone) -> String {
    let of = |is_included: bool| {
        let found = sounds.clone().filter(|(_, role)| (*role == PartRole::Include) == is_included);
        found.map(|(name, _)| name).collect::<Vec<_>>().join(" + ")
    };
    match (of(true), of(false)) {
        (included, excluded) if included.is_empty() || excluded.is_empty() => included + &excluded,
        (included, excluded) => format!("{included} without {excluded}"),
    }
}

/// Returns for each concept of the listener whether it can be the rest of a text of `sounds` of its own accord.
///
/// Empty if none can: a text that is not understood may mean what is heard, and a negated one means everything else.
fn rest_candidates(heard: &ListenerConcepts, sounds: &[&EncodedSound]) -> Arc<[bool]> {
    let is_plain = |sound: &&EncodedSound| {
        !sound.is_negated && sound.nearest.first().is_some_and(|nearest| nearest.closeness >= UNDERSTOOD)
    };
    if !sounds.iter().all(is_plain) {
        return Arc::default();
    }
    let selected = sounds.iter().flat_map(|sound| sound.nearest.iter().filter(|concept| concept.selected));
    let is_close = |name: &str| sounds.iter().any(|sound| sound.close.iter().any(|close| close == name));
    heard.candidates(selected.map(|concept| concept.name.as_str()), is_close).into()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;

    use super::*;

    /// A case that the tests of the training share.
    #[derive(Deserialize)]
    struct Case {
        name: String,
        /// Selected concepts of each part.
        wanted: Vec<Vec<String>>,
        /// Closeness of all concepts for each part.
        closeness: Vec<BTreeMap<String, f32>>,
        #[serde(default)]
        negated: bool,
        expected: Vec<String>,
    }

    fn sound(wanted: &[String], closeness: &BTreeMap<String, f32>, is_negated: bool) -> EncodedSound {
        let mut nearest: Vec<_> = closeness
            .iter()
            .map(|(name, &closeness)| ConceptMatch {
                name: name.clone(),
                closeness,
                selected: wanted.contains(name),
            })
            .collect();
        nearest.sort_by(|a, b| b.closeness.total_cmp(&a.closeness));
        let close = nearest.iter().filter(|concept| concept.closeness >= UNDERSTOOD);
        let close = close.map(|concept| concept.name.clone()).collect();
        EncodedSound { embedding: Arc::default(), nearest, is_negated, close }
    }

    #[test]
    fn rest_candidates_are_those_of_the_shared_cases() {
        let json = include_str!("../../../../tests/cases/rest.json");
        let all: serde_json::Value = serde_json::from_str(json).unwrap();
        let table = &all["candidates"];
        let rule = serde_json::json!({
            "from": 0.5, "full": 0.9, "strength": 0.7, "fade": 0.1, "switch": 0.1, "margin": 0.1
        });
        let file = serde_json::json!({"concepts": table["concepts"], "rest": rule}).to_string();
        let heard = ListenerConcepts::parse(file.as_bytes()).unwrap();
        let cases: Vec<Case> = serde_json::from_value(table["cases"].clone()).unwrap();
        assert!(!cases.is_empty());
        for Case { name, wanted, closeness, negated, expected } in cases {
            let sounds: Vec<_> = wanted
                .iter()
                .zip(&closeness)
                .map(|(wanted, closeness)| sound(wanted, closeness, negated))
                .collect();
            let found = rest_candidates(&heard, &sounds.iter().collect::<Vec<_>>());
            let names = heard.names().iter().zip(&*found).filter(|(_, is_candidate)| **is_candidate);
            assert_eq!(names.map(|(name, _)| name.clone()).collect::<Vec<_>>(), expected, "{name}");
        }
    }
}
