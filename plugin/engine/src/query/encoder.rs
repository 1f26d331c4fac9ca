//! Words → embedding, and concepts: a package's tokenizer and query network. Lives on the librarian's
//! thread.

use std::collections::HashMap;
use std::sync::Arc;

use ort::environment::Environment;
use ort::value::Tensor;

use crate::inference::cancel::{Stop, within_limit};
use crate::inference::provider::Provider;
use crate::inference::session::Session;
use crate::package::{CONCEPTS, Package, PackageError};
use crate::query::concepts::{Concepts, SURE, Understood};
use crate::query::parts::{self, MOST_PARTS, Part, Role};
use crate::query::text::normalise;
use crate::query::tokenizer::Tokens;

/// Texts whose embeddings, of some thousand numbers each, are kept. Beyond it the cache starts anew: a person types far
/// fewer.
const CACHE_LIMIT: usize = 1024;

/// Outputs of a query network, and the order of what is read of them.
const OUTPUTS: [&str; 3] = ["embedding", "concept", "negation"];

/// Which of the outputs a package with these concepts needs.
fn needed(concepts: Option<&Concepts>) -> [bool; OUTPUTS.len()] {
    [true, concepts.is_some(), concepts.is_some_and(Concepts::need_negation)]
}

/// What a query became.
#[derive(Clone, Debug)]
pub struct Encoding {
    /// The sounds that the text names or may mean, one at least.
    pub parts: Arc<[Part]>,
    /// Of one sound, the nearest concepts, nearest first; none where the package names none. Of several, one that
    /// names them all, as close as the one that is least so.
    pub understood: Arc<[Understood]>,
}

impl Encoding {
    /// Of one sound, of which nothing more is known.
    pub fn of_one(embedding: Arc<[f32]>) -> Self {
        Self { parts: Arc::from([Part { embedding, role: Role::Kept }]), understood: Arc::default() }
    }
}

/// What the query network makes of the words for one sound.
struct Sound {
    embedding: Arc<[f32]>,
    /// Nearest first; none where the package names none.
    nearest: Vec<Understood>,
    /// Whether all but the sound is meant; unknown, and false, where the package does not need to know.
    negated: bool,
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
        let for_concepts = format!("{CONCEPTS} is for");
        let for_negation = format!("the fields `conjunctions` and `doubt` of {CONCEPTS} are for");
        let purposes = ["the separator takes", &for_concepts, &for_negation];
        for ((name, needed), purpose) in OUTPUTS.iter().zip(needed(concepts.as_ref())).zip(purposes) {
            if needed && !session.outputs().iter().any(|output| output.name() == *name) {
                return Err(fault(&manifest.file, &format_args!("has no output `{name}`, which {purpose}")));
            }
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
        let encoding = match self.compound(&text)? {
            Some(encoding) => encoding,
            None => self.single(&text)?,
        };
        if self.cache.len() >= CACHE_LIMIT {
            self.cache.clear();
        }
        self.cache.insert(text, encoding.clone());
        Ok(encoding)
    }

    /// What becomes of a text that names two sounds or more, each of which is understood by itself. A piece that is not
    /// is taken together with what follows, as in "rock and roll drums and rain".
    fn compound(&mut self, text: &str) -> Result<Option<Encoding>, String> {
        let Some(concepts) = &self.concepts else { return Ok(None) };
        let pieces = parts::pieces(text, concepts.conjunctions());
        if !(2..=MOST_PARTS).contains(&pieces.len()) {
            return Ok(None);
        }
        let mut sounds: Vec<(Sound, Understood)> = Vec::new();
        let mut begin = pieces[0].start;
        for (at, piece) in pieces.iter().enumerate() {
            let sound = self.sound(text[begin..piece.end].trim())?;
            let Some(nearest) = sound.nearest.first().filter(|nearest| nearest.closeness >= SURE).cloned()
            else {
                continue;
            };
            begin = pieces.get(at + 1).map_or(text.len(), |next| next.start);
            let same = |(other, known): &(Sound, Understood)| {
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
        let understood = Understood { name: names.join(" + "), closeness, meant: true };
        let parts = Role::of(text, &negated)
            .into_iter()
            .zip(sounds)
            .map(|(role, (sound, _))| Part { embedding: sound.embedding, role })
            .collect();
        Ok(Some(Encoding { parts, understood: Arc::from([understood]) }))
    }

    /// What becomes of a text for one sound. Where it is in doubt which is meant, all that it may be are separated at once,
    /// by their names, which the model knows best: what of them is not there lets hardly anything through. By its own
    /// words, too, where even the nearest may be wrong, or where only these tell that it negates.
    fn single(&mut self, text: &str) -> Result<Encoding, String> {
        let Sound { embedding, nearest, negated } = self.sound(text)?;
        let meant: Vec<_> = nearest.iter().filter(|near| near.meant).collect();
        if meant.len() < 2 {
            return Ok(Encoding { understood: nearest.into(), ..Encoding::of_one(embedding) });
        }
        let (own, named) = if negated { (Role::LeftOut, Role::Turned) } else { (Role::Kept, Role::Kept) };
        let mut parts = Vec::with_capacity(MOST_PARTS);
        if meant[0].closeness < SURE || negated {
            parts.push(Part { embedding, role: own });
        }
        for concept in meant {
            parts.push(Part { embedding: self.sound(&concept.name)?.embedding, role: named });
        }
        Ok(Encoding { parts: parts.into(), understood: nearest.into() })
    }

    /// What the words for one sound become.
    fn sound(&mut self, text: &str) -> Result<Sound, String> {
        let stop = self.stop.clone();
        let [embedding, concept, negation] = within_limit(&stop, || self.run(text)).flatten()?;
        let nearest = match &self.concepts {
            Some(concepts) => concepts.nearest(text, &concept)?,
            None => Vec::new(),
        };
        let negated = negation.first().is_some_and(|&negation| negation >= 0.5);
        Ok(Sound { embedding: embedding.into(), nearest, negated })
    }

    /// The values of [`OUTPUTS`], none of those that the package does not need.
    fn run(&mut self, text: &str) -> Result<[Vec<f32>; OUTPUTS.len()], String> {
        let ids = self.tokens.of(text)?;
        let needed = needed(self.concepts.as_ref());
        let infer = || -> ort::Result<_> {
            let shape = [1, ids.len()];
            let attention = vec![1_i64; ids.len()];
            let inputs = ort::inputs! {
                "input_ids" => Tensor::from_array((shape, ids))?,
                "attention_mask" => Tensor::from_array((shape, attention))?,
            };
            let runs = self.stop.runs()?;
            let outputs = self.session.run(inputs, &runs)?;
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
