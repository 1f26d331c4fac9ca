//! Query encoder: from a text to embeddings and concepts, by a package's tokenizer, query network and names.
//!
//! It runs on the package's thread of the [model service](crate::model_service). The network only gets names of sounds: what
//! a text asks to do with them is [parsed](super::request) before.

use std::collections::HashMap;
use std::sync::Arc;

use ort::environment::Environment;
use ort::session::RunOptions;
use ort::value::Tensor;

use crate::inference::cancel::{CancelToken, with_timeout};
use crate::inference::provider::Provider;
use crate::inference::session::{LoadTurn, Session};
use crate::listener::concepts::ListenerConcepts;
use crate::package::{CONCEPTS_FILE, NAMES_FILE, Package, PackageError};
use crate::query::concepts::{ConceptMatch, Concepts, MIN_CLOSENESS, UNDERSTOOD};
use crate::query::dictionary::Dictionary;
use crate::query::names::{NamedSounds, SoundRequest, Sounds, kind_words};
use crate::query::parts::{MAX_PARTS, PartRole, QueryPart};
use crate::query::request::{self, Request};
use crate::query::text::{DEFAULT_QUERIES, QueryText};
use crate::query::tokenizer::QueryTokenizer;
use crate::query::understanding::{Understanding, UnderstoodSound, UnknownSound};

/// Most names in the cache, with some thousand numbers each. A full cache is cleared; users type far fewer names.
const MAX_CACHED_NAMES: usize = 1024;

/// Result of encoding a text.
#[derive(Clone, Debug)]
pub struct EncodedQuery {
    /// Sounds that the text names or may mean; empty if everything passes.
    pub parts: Arc<[QueryPart]>,
    pub understanding: Arc<Understanding>,
    /// For each concept of the package's listener, whether it can be the rest of its own accord.
    ///
    /// Empty if the package has no listener, or if the text is not understood or leaves a sound out.
    pub rest_candidates: Arc<[bool]>,
}

impl EncodedQuery {
    /// Creates the encoding of one sound to keep, without concepts.
    pub fn single(embedding: Arc<[f32]>) -> Self {
        Self {
            parts: Arc::from([QueryPart { embedding, role: PartRole::Include }]),
            understanding: Arc::default(),
            rest_candidates: Arc::default(),
        }
    }

    /// Creates the encoding of a text that has no effect, for this reason.
    fn without_effect(problem: &str) -> Self {
        let understanding = Understanding { problem: Some(problem.into()), ..Understanding::default() };
        Self { parts: Arc::default(), understanding: understanding.into(), rest_candidates: Arc::default() }
    }
}

/// Outputs of the query network for the name of one sound.
#[derive(Clone, Default)]
struct EncodedSound {
    embedding: Arc<[f32]>,
    /// Nearest concepts, nearest first; empty if the package has none, or if the name is of a sound that it does not know.
    nearest: Vec<ConceptMatch>,
    /// Names of all concepts that the name can mean.
    close: Vec<String>,
}

impl EncodedSound {
    fn closeness(&self) -> f32 {
        self.nearest.first().map_or(0.0, |nearest| nearest.closeness)
    }

    fn is_understood(&self) -> bool {
        self.closeness() >= UNDERSTOOD
    }
}

/// A name of a text, as it was understood.
enum NameResult {
    /// Embeddings of the sounds that the name means or may mean, at least one. The first of them must be separated; the
    /// others, if there is a place for them.
    Known {
        sound: UnderstoodSound,
        embeddings: Vec<Arc<[f32]>>,
        close: Vec<String>,
    },
    Unknown(UnknownSound),
}

impl NameResult {
    fn unknown(name: &str) -> Self {
        NameResult::Unknown(UnknownSound { name: name.into(), nearest: Vec::new() })
    }
}

/// Sounds, of which each may be meant.
struct Meanings {
    /// Empty if the package has no concepts.
    matches: Vec<ConceptMatch>,
    embeddings: Vec<Arc<[f32]>>,
    close: Vec<String>,
}

impl Meanings {
    fn is_same(&self, other: &Self) -> bool {
        let names =
            |meanings: &Self| meanings.matches.iter().map(|concept| concept.name.clone()).collect::<Vec<_>>();
        names(self) == names(other)
    }

    /// Adds the sounds of `other` that are not there yet.
    fn join(mut self, other: Self) -> Self {
        let has_concepts = !other.matches.is_empty();
        self.close.extend(other.close);
        for (at, embedding) in other.embeddings.into_iter().enumerate() {
            let concept = other.matches.get(at);
            if !has_concepts
                || !self.matches.iter().any(|known| Some(&known.name) == concept.map(|concept| &concept.name))
            {
                self.matches.extend(concept.cloned());
                self.embeddings.push(embedding);
            }
        }
        self
    }

    fn into_result(self, name: &str) -> NameResult {
        let Self { matches, embeddings, close } = self;
        let is_kind = is_untold_kind(name, &matches);
        NameResult::Known {
            sound: UnderstoodSound { name: name.into(), slip: None, matches, is_kind },
            embeddings,
            close,
        }
    }
}

/// A sound of a text that is separated.
struct KnownSound {
    role: PartRole,
    /// As in [`NameResult::Known`].
    embeddings: Vec<Arc<[f32]>>,
    close: Vec<String>,
}

/// Query network of one package, with a cache of its results.
pub struct QueryEncoder {
    tokenizer: QueryTokenizer,
    session: Session,
    cancel_token: CancelToken,
    concepts: Option<(Concepts, Dictionary)>,
    /// `None` if the package has no listener, or a broken one.
    heard_concepts: Option<ListenerConcepts>,
    /// By the name, and the text that is encoded.
    cache: HashMap<(String, String), EncodedSound>,
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
        let outputs = [
            ("embedding", Some("the separator takes it")),
            ("concept", concepts.as_ref().map(|_| &*for_concepts)),
        ];
        for (name, reason) in outputs {
            if let Some(reason) = reason
                && !session.outputs().iter().any(|output| output.name() == name)
            {
                let problem = format!("has no output `{name}`; expected because {reason}");
                return Err(error_in(&manifest.file, &problem));
            }
        }
        let with_dictionary = |concepts: Concepts| {
            let dictionary = Dictionary::new(package.names.as_deref(), &concepts.names());
            dictionary.map(|dictionary| (concepts, dictionary))
        };
        let concepts = concepts.map(with_dictionary).transpose();
        let concepts = concepts.map_err(|error| error_in(NAMES_FILE, &error))?;
        let listener = package.listener.as_ref().and_then(|listener| listener.as_ref().ok());
        // The separator thread reports what is wrong with the file.
        let heard_concepts = listener.and_then(|files| ListenerConcepts::parse(&files.concepts).ok());
        let mut encoder =
            Self { tokenizer, session, cancel_token, concepts, heard_concepts, cache: HashMap::new() };
        encoder.encode(&"sound".into()).map_err(|error| error_in(&manifest.file, &error))?;
        encoder.check_largest_token().map_err(|error| error_in(&manifest.tokenizer, &error))?;
        Ok(encoder)
    }

    /// Runs the network on the token of the largest id, which the network's table may lack.
    fn check_largest_token(&mut self) -> Result<(), String> {
        let Some(id) = self.tokenizer.largest_id() else { return Ok(()) };
        let token = self.cancel_token.clone();
        let run = |attempt: &CancelToken| {
            let run_options = attempt.run_options().map_err(|error| error.to_string())?;
            self.run_tokens(vec![id], &run_options).map_err(|error| {
                format!("the network does not take the token of id {id}; expected one for each id: {error}")
            })
        };
        with_timeout(&token, run).flatten().map(drop)
    }

    /// Returns the names of the package's concepts.
    pub fn concept_names(&self) -> Arc<[String]> {
        self.concepts.as_ref().map(|(concepts, _)| concepts.names()).unwrap_or_default()
    }

    /// Encodes `query`.
    ///
    /// # Errors
    /// Fails if a name has no tokens, or the network fails or does not end in time. The next text has its own time.
    pub fn encode(&mut self, query: &QueryText) -> Result<EncodedQuery, String> {
        let request = match request::parse(&query.text) {
            Ok(request) => request,
            Err(problem) => return Ok(EncodedQuery::without_effect(&format!("the text {problem}"))),
        };
        let token = self.cancel_token.clone();
        let encode = |attempt: &CancelToken| {
            let run_options = attempt.run_options().map_err(|error| error.to_string())?;
            self.encode_request(query, &request, &run_options)
        };
        with_timeout(&token, encode).flatten()
    }

    fn encode_request(
        &mut self,
        query: &QueryText,
        request: &Request,
        run_options: &RunOptions,
    ) -> Result<EncodedQuery, String> {
        let mut sounds = SoundRequest::new(request, &query.others);
        if request.is_list && self.names_one_sound(query, &sounds, request.has_with, run_options)? {
            sounds.keep = vec![NamedSounds { name: query.text.to_lowercase(), sounds: Sounds::Itself }];
        }
        let SoundRequest { keep, leave_out } = sounds;
        if keep.is_empty() && leave_out.is_empty() {
            let asks_for_rest = !(request.keep.is_empty() && request.leave_out.is_empty());
            return Ok(EncodedQuery::without_effect(match asks_for_rest {
                true => "no other slot names a sound",
                false => "the text names no sound",
            }));
        }
        let subjects = self.subjects(query, keep.iter().chain(&leave_out), run_options)?;
        let mut understanding = Understanding::default();
        let mut known = Vec::new();
        for (role, named) in [(PartRole::Include, keep), (PartRole::Exclude, leave_out)] {
            for named in named {
                // The network knows a text that is only a name as it stands.
                let is_text = request.is_list && request.keep == [named.name.as_str()];
                let text = if is_text { &query.text } else { &named.name };
                for result in self.understand(&named, text, &subjects, run_options)? {
                    let understood = match role {
                        PartRole::Include => &mut understanding.keep,
                        PartRole::Exclude => &mut understanding.leave_out,
                    };
                    match result {
                        NameResult::Known { sound, embeddings, close } => {
                            if !understood.iter().any(|other| other.means_same_as(&sound)) {
                                understood.push(sound);
                                known.push(KnownSound { role, embeddings, close });
                            }
                        }
                        NameResult::Unknown(sound) => understanding.unknown.push(sound),
                    }
                }
            }
        }
        keep_what_cannot_be_told_apart(&mut understanding, &mut known);
        if known.len() > MAX_PARTS {
            let problem = format!("the text means {} sounds; expected at most {MAX_PARTS}", known.len());
            return Ok(EncodedQuery::without_effect(&problem));
        }
        let rest_candidates =
            self.rest_candidates(&understanding, known.iter().flat_map(|sound| &sound.close));
        Ok(EncodedQuery { parts: parts_of(&known), understanding: understanding.into(), rest_candidates })
    }

    /// Whether a list of names is one name: it is understood as a whole, and none of its names is known but not each is
    /// understood.
    ///
    /// With `has_with`, a list is one name if it is understood better as a whole: "a guitar with distortion".
    fn names_one_sound(
        &mut self,
        query: &QueryText,
        sounds: &SoundRequest,
        has_with: bool,
        run_options: &RunOptions,
    ) -> Result<bool, String> {
        let are_names = sounds.keep.iter().all(|named| named.sounds == Sounds::Itself);
        if self.concepts.is_none() || sounds.keep.len() < 2 || !are_names {
            return Ok(false);
        }
        let mut lowest = 1.0_f32;
        let mut is_any_known = false;
        for named in &sounds.keep {
            let name = self.correct(&named.name).unwrap_or_else(|| named.name.clone());
            lowest = lowest.min(self.encode_name(&name, &name, run_options)?.closeness());
            let (_, dictionary) = self.concepts.as_ref().expect("the package has concepts");
            is_any_known |= dictionary.concepts(&name).is_some();
        }
        let text = query.text.to_lowercase();
        let whole = self.encode_name(&text, &query.text, run_options)?;
        let is_one = if has_with { whole.closeness() > lowest } else { !is_any_known && lowest < UNDERSTOOD };
        Ok(whole.is_understood() && is_one)
    }

    /// Returns the subjects of the sounds beside a name with several meanings: of the other names and the other slots.
    ///
    /// Texts of a new instance say nothing of what the user does.
    fn subjects<'a>(
        &mut self,
        query: &QueryText,
        named: impl Iterator<Item = &'a NamedSounds> + Clone,
        run_options: &RunOptions,
    ) -> Result<Vec<String>, String> {
        if !named.clone().any(|named| matches!(named.sounds, Sounds::OneOf(_))) {
            return Ok(Vec::new());
        }
        let typed = query.others.iter().filter(|text| !DEFAULT_QUERIES.contains(&text.as_str()));
        let others = typed.filter_map(|text| request::parse(text).ok());
        let others = others.flat_map(|request| request.keep.into_iter().chain(request.leave_out));
        let names: Vec<_> = named
            .filter(|named| named.sounds == Sounds::Itself)
            .map(|named| named.name.clone())
            .chain(others)
            .collect();
        let mut subjects = Vec::new();
        for name in names {
            let sound = self.encode_name(&name, &name, run_options)?;
            if sound.is_understood() {
                subjects.extend(self.subjects_of(&sound.nearest));
            }
        }
        Ok(subjects)
    }

    /// Returns the subjects of the selected concepts.
    fn subjects_of(&self, matches: &[ConceptMatch]) -> Vec<String> {
        let Some((concepts, dictionary)) = &self.concepts else { return Vec::new() };
        let selected = matches.iter().filter(|concept| concept.selected);
        let indices = selected.filter_map(|concept| concepts.index(&concept.name));
        indices.flat_map(|index| dictionary.groups(index)).cloned().collect()
    }

    /// Finds what a name means, by `text` where it is that of one sound.
    fn understand(
        &mut self,
        named: &NamedSounds,
        text: &str,
        subjects: &[String],
        run_options: &RunOptions,
    ) -> Result<Vec<NameResult>, String> {
        Ok(match &named.sounds {
            Sounds::Itself => vec![self.understand_name(&named.name, text, run_options)?],
            Sounds::AllOf(sounds) => self.understand_set(&named.name, sounds, run_options)?,
            Sounds::OneOf(sounds) => {
                vec![self.understand_meanings(&named.name, sounds, subjects, run_options)?]
            }
        })
    }

    /// Finds what the name of one sound means, and corrects slips.
    ///
    /// An ambiguous name stands for each selected concept, by the concept's name, which the model knows best: what of them
    /// is absent passes hardly anything. The name itself is one more if even the nearest concept may be wrong.
    fn understand_name(
        &mut self,
        name: &str,
        text: &str,
        run_options: &RunOptions,
    ) -> Result<NameResult, String> {
        if self.concepts.as_ref().is_some_and(|(_, dictionary)| dictionary.is_sentence(name)) {
            return Ok(NameResult::unknown(name));
        }
        let corrected = self.correct(name);
        let sound = match &corrected {
            Some(corrected) => self.encode_name(corrected, corrected, run_options)?,
            None => self.encode_name(name, text, run_options)?,
        };
        if self.concepts.is_some() && sound.closeness() < MIN_CLOSENESS {
            return Ok(NameResult::Unknown(UnknownSound { name: name.into(), nearest: sound.nearest }));
        }
        let mut embeddings = Vec::new();
        let selected: Vec<_> = sound.nearest.iter().filter(|concept| concept.selected).collect();
        if selected.len() < 2 || !sound.is_understood() {
            embeddings.push(sound.embedding.clone());
        }
        if selected.len() > 1 {
            for concept in &selected {
                embeddings.push(self.run(&concept.name, run_options)?.0);
            }
        }
        let (name, slip) = match corrected {
            Some(corrected) => (corrected, Some(name.to_owned())),
            None => (name.to_owned(), None),
        };
        let is_kind = is_untold_kind(&name, &sound.nearest);
        let EncodedSound { nearest, close, .. } = sound;
        Ok(NameResult::Known {
            sound: UnderstoodSound { name, slip, matches: nearest, is_kind },
            embeddings,
            close,
        })
    }

    /// Finds the sounds of a set. Those that the model does not know are left away, if it knows others.
    fn understand_set(
        &mut self,
        name: &str,
        sounds: &[String],
        run_options: &RunOptions,
    ) -> Result<Vec<NameResult>, String> {
        let mut known: Vec<Meanings> = Vec::new();
        for sound in sounds {
            let Some(meanings) = self.meanings(sound, run_options)? else { continue };
            let is_new = meanings.matches.is_empty() || !known.iter().any(|other| other.is_same(&meanings));
            if is_new {
                known.push(meanings);
            }
        }
        Ok(match known.is_empty() {
            true => vec![NameResult::unknown(name)],
            false => known.into_iter().map(|meanings| meanings.into_result(name)).collect(),
        })
    }

    /// Finds the sounds that a word with several meanings may stand for.
    ///
    /// Those that belong to `subjects` are meant, or all that the model knows where this decides nothing.
    fn understand_meanings(
        &mut self,
        name: &str,
        sounds: &[String],
        subjects: &[String],
        run_options: &RunOptions,
    ) -> Result<NameResult, String> {
        let mut known = Vec::new();
        for sound in sounds {
            known.extend(self.meanings(sound, run_options)?);
        }
        let belongs = |meanings: &Meanings| {
            self.subjects_of(&meanings.matches).iter().any(|subject| subjects.contains(subject))
        };
        if known.iter().any(belongs) {
            known.retain(belongs);
        }
        let all = known.into_iter().reduce(Meanings::join);
        Ok(all.map_or_else(|| NameResult::unknown(name), |meanings| meanings.into_result(name)))
    }

    /// Returns what an English name of a set or of a word's meanings can mean; `None` if the model does not know it.
    fn meanings(&mut self, name: &str, run_options: &RunOptions) -> Result<Option<Meanings>, String> {
        let EncodedSound { embedding, mut nearest, close } = self.encode_name(name, name, run_options)?;
        if let Some((_, dictionary)) = &self.concepts
            && (dictionary.lacks(name)
                || nearest.first().is_none_or(|nearest| nearest.closeness < UNDERSTOOD))
        {
            return Ok(None);
        }
        nearest.retain(|concept| concept.selected);
        let mut embeddings = vec![embedding];
        if nearest.len() > 1 {
            embeddings.clear();
            for concept in &nearest {
                embeddings.push(self.run(&concept.name, run_options)?.0);
            }
        }
        Ok(Some(Meanings { matches: nearest, embeddings, close }))
    }

    /// Corrects slips of a name, if the package has names to compare it with.
    fn correct(&self, name: &str) -> Option<String> {
        let (_, dictionary) = self.concepts.as_ref()?;
        dictionary.correct(name, |word| self.tokenizer.is_word(word))
    }

    /// Encodes the name of one sound by `text`, or returns the cached result.
    ///
    /// Where the dictionary has the name in lower case and the network takes it for something else, the name of the concept
    /// is encoded instead.
    fn encode_name(
        &mut self,
        name: &str,
        text: &str,
        run_options: &RunOptions,
    ) -> Result<EncodedSound, String> {
        let key = (name.to_owned(), text.to_owned());
        if let Some(sound) = self.cache.get(&key) {
            return Ok(sound.clone());
        }
        let (embedding, concept) = self.run(text, run_options)?;
        let mut sound = EncodedSound { embedding, ..EncodedSound::default() };
        if let Some((concepts, dictionary)) = &self.concepts {
            sound.nearest = concepts.nearest(text, &concept)?;
            sound.close = concepts.close_names(&concept).map(str::to_owned).collect();
            if let Some(indices) = dictionary.concepts(name) {
                let certain = concepts.certain(indices);
                let nearest = sound.nearest.first().map(|nearest| nearest.name.clone());
                sound.close.extend(certain.iter().map(|concept| concept.name.clone()));
                if let [only] = &certain[..]
                    && nearest.as_ref() != Some(&only.name)
                {
                    sound.embedding = self.run(&only.name.clone(), run_options)?.0;
                }
                sound.nearest = certain;
            }
        }
        if self.cache.len() >= MAX_CACHED_NAMES {
            self.cache.clear();
        }
        self.cache.insert(key, sound.clone());
        Ok(sound)
    }

    /// Returns for each concept of the listener whether it can be the rest of its own accord, of a text that was understood as
    /// this and can also mean the concepts `close`.
    fn rest_candidates<'a>(
        &self,
        understanding: &Understanding,
        close: impl Iterator<Item = &'a String> + Clone,
    ) -> Arc<[bool]> {
        self.heard_concepts
            .as_ref()
            .map_or_else(Arc::default, |heard| rest_candidates(heard, understanding, close))
    }

    /// Runs the network and returns its embedding, and its output `concept`, empty if the package has no concepts.
    fn run(&mut self, text: &str, run_options: &RunOptions) -> Result<(Arc<[f32]>, Vec<f32>), String> {
        let ids = self.tokenizer.encode(text)?;
        let (embedding, concept) = self.run_tokens(ids, run_options)?;
        for (name, values) in [("embedding", &embedding), ("concept", &concept)] {
            if !values.iter().all(|value| value.is_finite()) {
                return Err(format!(
                    "output `{name}` for the query {text:?} is not finite; expected finite values"
                ));
            }
        }
        Ok((embedding.into(), concept))
    }

    /// Runs the network on the tokens of these ids and returns its outputs, as [`run`](Self::run) does.
    fn run_tokens(
        &mut self,
        ids: Vec<i64>,
        run_options: &RunOptions,
    ) -> Result<(Vec<f32>, Vec<f32>), String> {
        let needs_concept = self.concepts.is_some();
        let infer = || -> ort::Result<_> {
            let shape = [1, ids.len()];
            let attention = vec![1_i64; ids.len()];
            let inputs = ort::inputs! {
                "input_ids" => Tensor::from_array((shape, ids))?,
                "attention_mask" => Tensor::from_array((shape, attention))?,
            };
            let outputs = self.session.run(inputs, run_options)?;
            let values = |name: &str| -> ort::Result<Vec<f32>> {
                Ok(outputs[name].try_extract_tensor::<f32>()?.1.to_vec())
            };
            let concept = if needs_concept { values("concept")? } else { Vec::new() };
            Ok((values("embedding")?, concept))
        };
        infer().map_err(|error| error.to_string())
    }
}

/// Leaves no sound out that is kept, too: "lead guitar without rhythm guitar" means all guitars to a model that knows one.
fn keep_what_cannot_be_told_apart(understanding: &mut Understanding, known: &mut Vec<KnownSound>) {
    let Understanding { keep, leave_out, .. } = understanding;
    let first_left_out = keep.len();
    for at in (0..leave_out.len()).rev() {
        if let Some(sound) = keep.iter_mut().find(|sound| sound.means_same_as(&leave_out[at])) {
            sound.is_kind = true;
            leave_out.remove(at);
            known.remove(first_left_out + at);
        }
    }
}

/// Whether the name is that of one of several sources, and none of the selected concepts is.
fn is_untold_kind(name: &str, matches: &[ConceptMatch]) -> bool {
    let is_told = |words: &[String]| {
        let selected = matches.iter().filter(|concept| concept.selected);
        selected.flat_map(|concept| concept.name.split(' ')).any(|word| words.iter().any(|kind| kind == word))
    };
    !matches.is_empty() && kind_words(name).is_some_and(|words| !is_told(words))
}

/// Makes parts of the embeddings of all sounds, at most [`MAX_PARTS`]: the first of each, then as many others as there
/// are places.
fn parts_of(sounds: &[KnownSound]) -> Arc<[QueryPart]> {
    let mut spare = MAX_PARTS - sounds.len();
    let mut parts = Vec::new();
    for KnownSound { role, embeddings, .. } in sounds {
        let count = 1 + spare.min(embeddings.len() - 1);
        spare -= count - 1;
        parts.extend(
            embeddings[..count]
                .iter()
                .map(|embedding| QueryPart { embedding: embedding.clone(), role: *role }),
        );
    }
    parts.into()
}

/// Returns for each concept of the listener whether it can be the rest of a text of its own accord.
///
/// Empty if none can: a text that is not understood may mean what is heard, and one that leaves sounds out names its rest.
fn rest_candidates<'a>(
    heard: &ListenerConcepts,
    understanding: &Understanding,
    close: impl Iterator<Item = &'a String> + Clone,
) -> Arc<[bool]> {
    let Understanding { keep, leave_out, .. } = understanding;
    let is_understood = |sound: &UnderstoodSound| {
        sound.matches.first().is_some_and(|nearest| nearest.closeness >= UNDERSTOOD)
    };
    if !leave_out.is_empty() || keep.is_empty() || !keep.iter().all(is_understood) {
        return Arc::default();
    }
    let selected = keep.iter().flat_map(UnderstoodSound::selected).map(|concept| concept.name.as_str());
    heard.candidates(selected, |name| close.clone().any(|close| close == name)).into()
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
        expected: Vec<String>,
    }

    fn sound(wanted: &[String], closeness: &BTreeMap<String, f32>) -> UnderstoodSound {
        let mut nearest: Vec<_> = closeness
            .iter()
            .map(|(name, &closeness)| ConceptMatch {
                name: name.clone(),
                closeness,
                selected: wanted.contains(name),
            })
            .collect();
        nearest.sort_by(|a, b| b.closeness.total_cmp(&a.closeness));
        UnderstoodSound { matches: nearest, ..UnderstoodSound::default() }
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
        for Case { name, wanted, closeness, expected } in cases {
            let sounds =
                wanted.iter().zip(&closeness).map(|(wanted, closeness)| sound(wanted, closeness)).collect();
            let close = closeness.iter().flatten().filter(|(_, closeness)| **closeness >= UNDERSTOOD);
            let understanding = Understanding { keep: sounds, ..Understanding::default() };
            let found = rest_candidates(&heard, &understanding, close.map(|(name, _)| name));
            let names = heard.names().iter().zip(&*found).filter(|(_, is_candidate)| **is_candidate);
            assert_eq!(names.map(|(name, _)| name.clone()).collect::<Vec<_>>(), expected, "{name}");
        }
    }
}
