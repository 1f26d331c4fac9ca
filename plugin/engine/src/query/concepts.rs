//! Concepts of a model package, and the concepts nearest to a query.

use std::sync::Arc;

use serde::Deserialize;

use crate::query::parts::{Conjunctions, MAX_PARTS};

/// Most concepts matched to one query. An ambiguous query may have a part for each of them and one for its own text.
const MAX_MATCHES: usize = MAX_PARTS - 1;

/// Closeness from which a query counts as understood.
pub const UNDERSTOOD: f32 = 0.5;

/// Most conjunctions, and most exceptions to them, of a package.
const MAX_CONJUNCTIONS: usize = 256;

/// A concept near to a query.
#[derive(Clone, Debug, PartialEq)]
pub struct ConceptMatch {
    pub name: String,
    /// Probability that the query means this concept, as calibrated by the package.
    pub closeness: f32,
    /// Whether the query is taken to mean this concept: the nearest one, or one within `doubt` of it.
    pub selected: bool,
}

impl ConceptMatch {
    /// Lists matches with their closeness: "electric guitar 0.62 or acoustic guitar 0.55, harp 0.20".
    ///
    /// `separator` (here ", ") precedes matches that are not selected.
    pub fn describe<'a>(matches: impl IntoIterator<Item = &'a ConceptMatch>, separator: &str) -> String {
        let mut description = String::new();
        for ConceptMatch { name, closeness, selected } in matches {
            let joint = if description.is_empty() {
                ""
            } else if *selected {
                " or "
            } else {
                separator
            };
            description += &format!("{joint}{name} {closeness:.2}");
        }
        description
    }
}

/// Contents of `concepts.json`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ConceptsFile {
    closeness: Closeness,
    concepts: Vec<Concept>,
    /// A text means every concept whose cosine is less than this much below that of the nearest concept.
    #[serde(default)]
    doubt: f32,
    /// Words between the names of two sounds, in lower case, with their spaces: " and ".
    #[serde(default)]
    conjunctions: Vec<String>,
    /// Words that contain a conjunction but do not separate sounds.
    #[serde(default)]
    no_conjunctions: Vec<String>,
    /// Words before a sound to exclude, in lower case, with their spaces: " without ".
    #[serde(default)]
    exclusions: Vec<String>,
}

/// Calibration from a cosine to a probability: 1 / (1 + exp(−(slope·cosine + offset))).
#[derive(Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
struct Closeness {
    slope: f32,
    offset: f32,
}

impl Closeness {
    fn of_cosine(self, cosine: f32) -> f32 {
        1.0 / (1.0 + (-(self.slope * cosine + self.offset)).exp())
    }
}

/// The cosine of two unit vectors.
fn cosine(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Concept {
    name: String,
    /// Unit vector, shape [S].
    direction: Box<[f32]>,
}

/// The concepts of a package, with their calibration and its conjunctions.
pub struct Concepts {
    closeness: Closeness,
    concepts: Vec<Concept>,
    doubt: f32,
    conjunctions: Conjunctions,
}

impl Concepts {
    /// Parses `concepts.json`.
    ///
    /// # Errors
    /// Fails if the JSON is invalid, directions differ in length, a value is not finite, `doubt` is negative, or there
    /// are empty or too many conjunctions.
    pub fn parse(json: &[u8]) -> Result<Self, String> {
        let ConceptsFile { closeness, concepts, doubt, conjunctions, no_conjunctions, exclusions } =
            serde_json::from_slice(json).map_err(|error| error.to_string())?;
        if !(closeness.slope.is_finite() && closeness.offset.is_finite()) {
            return Err("field `closeness` is not finite; expected finite numbers".into());
        }
        if !(doubt.is_finite() && doubt >= 0.0) {
            return Err(format!("field `doubt` is {doubt}; expected a finite number of at least 0"));
        }
        let size = concepts.first().map_or(0, |concept| concept.direction.len());
        for Concept { name, direction } in &concepts {
            if direction.len() != size || size == 0 {
                return Err(format!(
                    "field `direction` of {name:?} has {} numbers; expected {}",
                    direction.len(),
                    size.max(1)
                ));
            }
            if !direction.iter().all(|value| value.is_finite()) {
                return Err(format!("field `direction` of {name:?} is not finite; expected finite numbers"));
            }
        }
        for (field, words) in [
            ("conjunctions", &conjunctions),
            ("no_conjunctions", &no_conjunctions),
            ("exclusions", &exclusions),
        ] {
            if words.len() > MAX_CONJUNCTIONS || words.iter().any(String::is_empty) {
                return Err(format!(
                    "field `{field}` is invalid; expected at most {MAX_CONJUNCTIONS} strings, none of them empty"
                ));
            }
        }
        let conjunctions = Conjunctions { words: conjunctions, exceptions: no_conjunctions, exclusions };
        Ok(Self { closeness, concepts, doubt, conjunctions })
    }

    /// Returns whether the query network must have the output `negation`.
    ///
    /// It must where a text can mean several sounds.
    pub fn needs_negation(&self) -> bool {
        let Conjunctions { words, exclusions, .. } = &self.conjunctions;
        self.doubt > 0.0 || !words.is_empty() || !exclusions.is_empty()
    }

    /// Returns the words that separate the names of sounds.
    ///
    /// Without words, every text names one sound.
    pub fn conjunctions(&self) -> &Conjunctions {
        &self.conjunctions
    }

    /// Returns the names of the concepts, in the package's order.
    pub fn names(&self) -> Arc<[String]> {
        self.concepts.iter().map(|concept| concept.name.clone()).collect()
    }

    /// Returns the names of all concepts that the query with the output `concept` can mean: with a closeness of at least
    /// [`UNDERSTOOD`].
    pub fn close_names<'a>(&'a self, concept: &[f32]) -> impl Iterator<Item = &'a str> {
        let is_close =
            |known: &&Concept| self.closeness.of_cosine(cosine(&known.direction, concept)) >= UNDERSTOOD;
        self.concepts.iter().filter(is_close).map(|known| known.name.as_str())
    }

    /// Returns the concepts nearest to the output `concept` of the query `text`, nearest first, at any distance.
    ///
    /// If the text contains the name of the nearest concept, only this one is selected: "an electric guitar" does not mean
    /// an acoustic one.
    ///
    /// # Errors
    /// Fails if `concept` and the directions differ in length.
    pub fn nearest(&self, text: &str, concept: &[f32]) -> Result<Vec<ConceptMatch>, String> {
        let mut cosines = Vec::with_capacity(self.concepts.len());
        for Concept { name, direction } in &self.concepts {
            if direction.len() != concept.len() {
                return Err(format!(
                    "output `concept` has {} values; expected {}, as in concepts.json",
                    concept.len(),
                    direction.len()
                ));
            }
            cosines.push((cosine(direction, concept), name));
        }
        cosines.sort_by(|(a, _), (b, _)| b.total_cmp(a));
        cosines.truncate(MAX_MATCHES);
        let text = text.to_ascii_lowercase();
        let is_named = cosines.first().is_some_and(|(_, name)| text.contains(&name.to_ascii_lowercase()));
        let doubt = if is_named { 0.0 } else { self.doubt };
        let highest = cosines.first().map_or(0.0, |(cosine, _)| *cosine);
        let matches = cosines.iter().enumerate().map(|(rank, (cosine, name))| ConceptMatch {
            name: name.to_string(),
            closeness: self.closeness.of_cosine(*cosine),
            selected: rank == 0 || *cosine > highest - doubt,
        });
        Ok(matches.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONCEPTS: &str = r#"{
        "closeness": {"slope": 10.0, "offset": -5.0},
        "concepts": [
            {"name": "rain", "direction": [1.0, 0.0]},
            {"name": "wind", "direction": [0.8, 0.6]},
            {"name": "drums", "direction": [0.0, 1.0]}
        ]
    }"#;

    #[test]
    fn nearest_sorts_concepts_by_closeness() {
        let near = Concepts::parse(CONCEPTS.as_bytes()).unwrap().nearest("weather", &[1.0, 0.0]).unwrap();
        let names: Vec<_> = near.iter().map(|concept| concept.name.as_str()).collect();
        assert_eq!(names, ["rain", "wind", "drums"]);
        assert!((near[0].closeness - 0.9933).abs() < 1e-4);
        assert!((near[1].closeness - 0.9526).abs() < 1e-4);
        assert!((near[2].closeness - 0.0067).abs() < 1e-4);
    }

    #[test]
    fn close_names_are_those_that_the_query_can_mean() {
        let concepts = Concepts::parse(CONCEPTS.as_bytes()).unwrap();
        assert_eq!(concepts.close_names(&[1.0, 0.0]).collect::<Vec<_>>(), ["rain", "wind"]);
        assert_eq!(concepts.close_names(&[-0.7, -0.7]).count(), 0);
    }

    #[test]
    fn nearest_selects_concepts_within_the_doubt() {
        let selected = |doubt: f32, text: &str, concept: &[f32]| -> Vec<String> {
            let json = CONCEPTS.replace("\"concepts\"", &format!("\"doubt\": {doubt}, \"concepts\""));
            let near = Concepts::parse(json.as_bytes()).unwrap().nearest(text, concept).unwrap();
            near.into_iter().filter(|concept| concept.selected).map(|concept| concept.name).collect()
        };
        assert_eq!(selected(0.15, "weather", &[1.0, 0.0]), ["rain"]);
        assert_eq!(selected(0.25, "weather", &[1.0, 0.0]), ["rain", "wind"]);
        assert_eq!(selected(0.25, "weather", &[0.6, 0.8]), ["wind", "drums"]);
        assert_eq!(selected(0.0, "weather", &[0.0, 0.0]), ["rain"], "without doubt, only the nearest");
        assert_eq!(selected(2.0, "weather", &[1.0, 0.0]), ["rain", "wind", "drums"]);
        assert_eq!(
            selected(0.25, "Some Rain", &[1.0, 0.0]),
            ["rain"],
            "the text contains the name of the nearest"
        );
        assert_eq!(
            selected(0.25, "wind", &[1.0, 0.0]),
            ["rain", "wind"],
            "the text contains only the name of another"
        );
    }

    #[test]
    fn doubt_conjunctions_or_exclusions_need_negation() {
        let needs = |fields: &str| {
            let json = CONCEPTS.replace("\"concepts\"", &format!("{fields} \"concepts\""));
            Concepts::parse(json.as_bytes()).unwrap().needs_negation()
        };
        assert!(!needs("") && !needs("\"doubt\": 0.0,"));
        assert!(needs("\"doubt\": 0.1,") && needs("\"conjunctions\": [\" and \"],"));
        assert!(needs("\"exclusions\": [\" without \"],"));
    }

    #[test]
    fn closeness_is_low_far_from_all_concepts() {
        let near = Concepts::parse(CONCEPTS.as_bytes()).unwrap().nearest("weather", &[-0.7, -0.7]).unwrap();
        assert!(near.iter().all(|concept| concept.closeness < 0.01));
    }

    #[test]
    fn parse_error_names_the_field() {
        for (from, to, field) in [
            ("[0.8, 0.6]", "[0.8]", "`direction` of \"wind\""),
            ("[1.0, 0.0]", "[]", "`direction` of \"rain\""),
            ("\"name\": \"wind\"", "\"title\": \"wind\"", "title"),
            ("\"slope\": 10.0,", "", "slope"),
            ("0.8, 0.6", "1e99, 0.6", "`direction` of \"wind\""),
            ("\"concepts\"", "\"conjunctions\": [\" and \", \"\"], \"concepts\"", "conjunctions"),
            ("\"concepts\"", "\"doubt\": -0.1, \"concepts\"", "doubt"),
        ] {
            let problem = Concepts::parse(CONCEPTS.replace(from, to).as_bytes()).err().unwrap();
            assert!(problem.contains(field), "{problem}");
        }
        let problem = Concepts::parse(CONCEPTS.as_bytes()).unwrap().nearest("weather", &[1.0]).err().unwrap();
        assert!(problem.contains("`concept` has 1 values"), "{problem}");
    }
}
