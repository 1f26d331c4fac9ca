//! Words → embedding, and concepts: a package's tokenizer and query network. Lives on the librarian's
//! thread.

use std::collections::HashMap;
use std::sync::Arc;

use ort::environment::Environment;
use ort::value::Tensor;

use crate::inference::cancel::{CancelToken, with_timeout};
use crate::inference::provider::Provider;
use crate::inference::session::Session;
use crate::package::{CONCEPTS_FILE, Package, PackageError};
use crate::query::concepts::{ConceptMatch, Concepts, UNDERSTOOD};
use crate::query::parts::{self, MAX_PARTS, PartRole, QueryPart};
use crate::query::text::normalise;
use crate::query::tokenizer::QueryTokenizer;

/// Texts whose embeddings, of some thousand numbers each, are kept. Beyond it the cache starts anew: a person types far
/// fewer.
const MAX_CACHED_QUERIES: usize = 1024;

/// Outputs of a query network, and the order of what is read of them.
const OUTPUTS: [&str; 3] = ["embedding", "concept", "negation"];

/// Which of the outputs a package with these concepts needs.
fn needed(concepts: Option<&Concepts>) -> [bool; OUTPUTS.len()] {
    [true, concepts.is_some(), concepts.is_some_and(Concepts::needs_negation)]
}

/// What a query became.
#[derive(Clone, Debug)]
pub struct EncodedQuery {
    /// The sounds that the text names or may mean, one at least.
    pub parts: Arc<[QueryPart]>,
    /// Of one sound, the nearest concepts, nearest first; none where the package names none. Of several, one that
    /// names them all, as close as the one that is least so.
    pub matches: Arc<[ConceptMatch]>,
}

impl EncodedQuery {
    /// Of one sound, of which nothing more is known.
    pub fn single(embedding: Arc<[f32]>) -> Self {
        Self { parts: Arc::from([QueryPart { embedding, role: PartRole::Include }]), matches: Arc::default() }
    }
}

/// What the query network makes of the words for one sound.
struct EncodedSound {
    embedding: Arc<[f32]>,
    /// Nearest first; none where the package names none.
    nearest: Vec<ConceptMatch>,
    /// Whether all but the sound is selected; unknown, and false, where the package does not need to know.
    negated: bool,
}

/// One package's query network with every encoding it has made.
pub struct QueryEncoder {
    tokenizer: QueryTokenizer,
    session: Session,
    token: CancelToken,
    concepts: Option<Concepts>,
    cache: HashMap<String, EncodedQuery>,
}

impl QueryEncoder {
    /// Loads the tokenizer and the network of `package` and encodes one query to see them work, until it is stopped.
    pub fn new(
        environment: &Environment,
        package: &Package,
        token: CancelToken,
    ) -> Result<Self, PackageError> {
        let manifest = &package.manifest.query;
        let fault = |file: &str, fault: &dyn std::fmt::Display| {
            PackageError::new(package.file_label(file), fault, "Install the package again")
        };
        let tokenizer = QueryTokenizer::new(&package.tokenizer, manifest.max_tokens, &manifest.prefix)
            .map_err(|error| fault(&manifest.tokenizer, &error))?;
        let load =
            || Session::new(environment, &package.query, package.is_untrusted(), Provider::Cpu, &token);
        let session = with_timeout(&token, load)
            .and_then(|loaded| loaded.map_err(|error| error.to_string()))
            .map_err(|error| fault(&manifest.file, &error))?;
        for name in ["input_ids", "attention_mask"] {
            if !session.inputs().iter().any(|input| input.name() == name) {
                return Err(fault(&manifest.file, &format_args!("has no input `{name}`")));
            }
        }
        let concepts = package.concepts.as_deref().map(Concepts::parse).transpose();
        let concepts = concepts.map_err(|error| fault(CONCEPTS_FILE, &error))?;
        let for_concepts = format!("{CONCEPTS_FILE} is for");
        let for_negation = format!("the fields `conjunctions` and `doubt` of {CONCEPTS_FILE} are for");
        let purposes = ["the separator takes", &for_concepts, &for_negation];
        for ((name, needed), purpose) in OUTPUTS.iter().zip(needed(concepts.as_ref())).zip(purposes) {
            if needed && !session.outputs().iter().any(|output| output.name() == *name) {
                return Err(fault(&manifest.file, &format_args!("has no output `{name}`, which {purpose}")));
            }
        }
        let mut encoder = Self { tokenizer, session, token, concepts, cache: HashMap::new() };
        encoder.encode("sound").map_err(|error| fault(&manifest.file, &error))?;
        Ok(encoder)
    }

    /// The names of the concepts that texts are compared with; none where the package has none.
    pub fn concept_names(&self) -> Arc<[String]> {
        self.concepts.as_ref().map(Concepts::names).unwrap_or_default()
    }

    /// What `text` becomes. A text that was encoded once is not encoded again.
    pub fn encode(&mut self, text: &str) -> Result<EncodedQuery, String> {
        let text = normalise(text);
        if let Some(encoding) = self.cache.get(&text) {
            return Ok(encoding.clone());
        }
        let encoding = match self.encode_parts(&text)? {
            Some(encoding) => encoding,
            None => self.encode_single(&text)?,
        };
        if self.cache.len() >= MAX_CACHED_QUERIES {
            self.cache.clear();
        }
        self.cache.insert(text, encoding.clone());
        Ok(encoding)
    }

    /// What becomes of a text that names two sounds or more, each of which is matches by itself. A piece that is not
    /// is taken together with what follows, as in "rock and roll drums and rain".
    fn encode_parts(&mut self, text: &str) -> Result<Option<EncodedQuery>, String> {
        let Some(concepts) = &self.concepts else { return Ok(None) };
        let pieces = parts::split_at_conjunctions(text, concepts.conjunctions());
        if !(2..=MAX_PARTS).contains(&pieces.len()) {
            return Ok(None);
        }
        let mut sounds: Vec<(EncodedSound, ConceptMatch)> = Vec::new();
        let mut begin = pieces[0].start;
        for (at, piece) in pieces.iter().enumerate() {
            let sound = self.encode_sound(text[begin..piece.end].trim())?;
            let Some(nearest) =
                sound.nearest.first().filter(|nearest| nearest.closeness >= UNDERSTOOD).cloned()
            else {
                continue;
            };
            begin = pieces.get(at + 1).map_or(text.len(), |next| next.start);
            let same = |(other, known): &(EncodedSound, ConceptMatch)| {
                known.name == nearest.name && other.negated == sound.negated
            };
            if !sounds.iter().any(same) {
                sounds.push((sound, nearest));
            }
        }
        if begin < text.len() || sounds.len() < 2 {
            return Ok(None);
        }
        let negated: Vec<_> = sounds.iter().map(|(sound, _)| sound.negated).collect();
        let names: Vec<_> = sounds.iter().map(|(_, known)| known.name.as_str()).collect();
        let closeness = sounds.iter().map(|(_, known)| known.closeness).fold(1.0, f32::min);
        let matches = ConceptMatch { name: names.join(" + "), closeness, selected: true };
        let parts = PartRole::assign(text, &negated)
            .into_iter()
            .zip(sounds)
            .map(|(role, (sound, _))| QueryPart { embedding: sound.embedding, role })
            .collect();
        Ok(Some(EncodedQuery { parts, matches: Arc::from([matches]) }))
    }

    /// What becomes of a text for one sound. Where it is in doubt which is selected, all that it may be are separated at once,
    /// by their names, which the model knows best: what of them is not there lets hardly anything through. By its own
    /// words, too, where even the nearest may be wrong, or where only these tell that it negates.
    fn encode_single(&mut self, text: &str) -> Result<EncodedQuery, String> {
        let EncodedSound { embedding, nearest, negated } = self.encode_sound(text)?;
        let selected: Vec<_> = nearest.iter().filter(|near| near.selected).collect();
        if selected.len() < 2 {
            return Ok(EncodedQuery { matches: nearest.into(), ..EncodedQuery::single(embedding) });
        }
        let (own, named) = if negated {
            (PartRole::ExcludeNegated, PartRole::ExcludeInverted)
        } else {
            (PartRole::Include, PartRole::Include)
        };
        let mut parts = Vec::with_capacity(MAX_PARTS);
        if selected[0].closeness < UNDERSTOOD || negated {
            parts.push(QueryPart { embedding, role: own });
        }
        for concept in selected {
            parts.push(QueryPart { embedding: self.encode_sound(&concept.name)?.embedding, role: named });
        }
        Ok(EncodedQuery { parts: parts.into(), matches: nearest.into() })
    }

    /// What the words for one sound become.
    fn encode_sound(&mut self, text: &str) -> Result<EncodedSound, String> {
        let token = self.token.clone();
        let [embedding, concept, negation] = with_timeout(&token, || self.run(text)).flatten()?;
        let nearest = match &self.concepts {
            Some(concepts) => concepts.nearest(text, &concept)?,
            None => Vec::new(),
        };
        let negated = negation.first().is_some_and(|&negation| negation >= 0.5);
        Ok(EncodedSound { embedding: embedding.into(), nearest, negated })
    }

    /// The values of [`OUTPUTS`], none of those that the package does not need.
    fn run(&mut self, text: &str) -> Result<[Vec<f32>; OUTPUTS.len()], String> {
        let ids = self.tokenizer.encode(text)?;
        let needed = needed(self.concepts.as_ref());
        let infer = || -> ort::Result<_> {
            let shape = [1, ids.len()];
            let attention = vec![1_i64; ids.len()];
            let inputs = ort::inputs! {
                "input_ids" => Tensor::from_array((shape, ids))?,
                "attention_mask" => Tensor::from_array((shape, attention))?,
            };
            let run_options = self.token.run_options()?;
            let outputs = self.session.run(inputs, &run_options)?;
            let mut all = [const { Vec::new() }; OUTPUTS.len()];
            for ((name, needed), values) in OUTPUTS.iter().zip(needed).zip(&mut all) {
                if needed {
                    *values = outputs[*name].try_extract_tensor::<f32>()?.1.to_vec();
                }
            }
            Ok(all)
        };
        let all = infer().map_err(|error| error.to_string())?;
        for (name, values) in OUTPUTS.iter().zip(&all) {
            if !values.iter().all(|value| value.is_finite()) {
                return Err(format!("the {name} of {text:?} is not finite"));
            }
        }
        Ok(all)
    }
}
