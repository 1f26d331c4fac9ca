//! Words → what was found: the concepts of a package that a query is closest to.

use std::sync::Arc;

use serde::Deserialize;

use crate::query::parts::{Conjunctions, MAX_PARTS};

/// Concepts that are told of one query, at most. One in doubt may mean all of them, and is separated by its own words, too.
const MAX_MATCHES: usize = MAX_PARTS - 1;

/// Closeness from which a query counts as found.
pub const UNDERSTOOD: f32 = 0.5;

/// Conjunctions that a package may have.
const MAX_CONJUNCTIONS: usize = 256;

/// A concept that a query is close to.
#[derive(Clone, Debug, PartialEq)]
pub struct ConceptMatch {
    pub name: String,
    /// Probability, as the package calibrated it, that this is what the words mean.
    pub closeness: f32,
    /// The words are taken for it: the nearest one, and those that are hardly farther.
    pub selected: bool,
}

impl ConceptMatch {
    /// In words, for example "electric guitar 0.62 or acoustic guitar 0.55, harp 0.20" with ", " before what is not selected.
    pub fn describe<'a>(near: impl IntoIterator<Item = &'a ConceptMatch>, between: &str) -> String {
        let mut words = String::new();
        for ConceptMatch { name, closeness, selected } in near {
            let joint = if words.is_empty() {
                ""
            } else if *selected {
                " or "
            } else {
                between
            };
            words += &format!("{joint}{name} {closeness:.2}");
        }
        words
    }
}

/// `concepts.json`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ConceptsFile {
    closeness: Closeness,
    concepts: Vec<Concept>,
    /// A text means every concept whose cosine is less than this below the nearest one's.
    #[serde(default)]
    doubt: f32,
    /// What stands between the names of two sounds, in lower case: " and ".
    #[serde(default)]
    conjunctions: Vec<String>,
    /// What looks like one and is none.
    #[serde(default)]
    no_conjunctions: Vec<String>,
}

/// From a cosine to a probability: 1 / (1 + exp(−(slope·cosine + offset))).
#[derive(Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
struct Closeness {
    slope: f32,
    offset: f32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Concept {
    name: String,
    /// [S], unit length.
    direction: Box<[f32]>,
}

/// What a package knows by name.
pub struct Concepts {
    closeness: Closeness,
    concepts: Vec<Concept>,
    doubt: f32,
    conjunctions: Conjunctions,
}

impl Concepts {
    /// Reads `concepts.json`.
    ///
    /// # Errors
    /// When it is not of that form, a direction is not as long as the others, a number is not finite, the doubt is
    /// negative, or a conjunction is empty or there are too many.
    pub fn parse(json: &[u8]) -> Result<Self, String> {
        let ConceptsFile { closeness, concepts, doubt, conjunctions, no_conjunctions } =
            serde_json::from_slice(json).map_err(|error| error.to_string())?;
        if !(closeness.slope.is_finite() && closeness.offset.is_finite()) {
            return Err("field `closeness` is not finite".into());
        }
        if !(doubt.is_finite() && doubt >= 0.0) {
            return Err("field `doubt` is negative or not finite".into());
        }
        let size = concepts.first().map_or(0, |concept| concept.direction.len());
        for Concept { name, direction } in &concepts {
            if direction.len() != size || size == 0 {
                return Err(format!(
                    "field `direction` of {name:?} has {} numbers, not {size}",
                    direction.len()
                ));
            }
            if !direction.iter().all(|value| value.is_finite()) {
                return Err(format!("field `direction` of {name:?} is not finite"));
            }
        }
        for (field, words) in [("conjunctions", &conjunctions), ("no_conjunctions", &no_conjunctions)] {
            if words.len() > MAX_CONJUNCTIONS || words.iter().any(String::is_empty) {
                return Err(format!("field `{field}` has an empty one, or more than {MAX_CONJUNCTIONS}"));
            }
        }
        let conjunctions = Conjunctions { words: conjunctions, exceptions: no_conjunctions };
        Ok(Self { closeness, concepts, doubt, conjunctions })
    }

    /// Whether a text may be taken for several sounds, so that it must be known which texts negate.
    pub fn needs_negation(&self) -> bool {
        self.doubt > 0.0 || !self.conjunctions.words.is_empty()
    }

    /// What stands between the names of two sounds; no words where the package takes every text for one.
    pub fn conjunctions(&self) -> &Conjunctions {
        &self.conjunctions
    }

    /// The names, in the package's order.
    pub fn names(&self) -> Arc<[String]> {
        self.concepts.iter().map(|concept| concept.name.clone()).collect()
    }

    /// The nearest concepts to the `concept` of the query `text`, nearest first, however far they are. A text that has the
    /// nearest one's name in it means no other: "an electric guitar" is none that is acoustic.
    ///
    /// # Errors
    /// When `concept` is not as long as the directions.
    pub fn nearest(&self, text: &str, concept: &[f32]) -> Result<Vec<ConceptMatch>, String> {
        let mut cosines = Vec::with_capacity(self.concepts.len());
        for Concept { name, direction } in &self.concepts {
            if direction.len() != concept.len() {
                return Err(format!(
                    "the query network's `concept` has {} values, those of concepts.json have {}",
                    concept.len(),
                    direction.len()
                ));
            }
            cosines.push((direction.iter().zip(concept).map(|(a, b)| a * b).sum::<f32>(), name));
        }
        cosines.sort_by(|(a, _), (b, _)| b.total_cmp(a));
        cosines.truncate(MAX_MATCHES);
        let text = text.to_ascii_lowercase();
        let named = cosines.first().is_some_and(|(_, name)| text.contains(&name.to_ascii_lowercase()));
        let doubt = if named { 0.0 } else { self.doubt };
        let highest = cosines.first().map_or(0.0, |(cosine, _)| *cosine);
        let found = cosines.iter().enumerate().map(|(place, (cosine, name))| ConceptMatch {
            name: name.to_string(),
            closeness: 1.0 / (1.0 + (-(self.closeness.slope * cosine + self.closeness.offset)).exp()),
            selected: place == 0 || *cosine > highest - doubt,
        });
        Ok(found.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = r#"{
        "closeness": {"slope": 10.0, "offset": -5.0},
        "concepts": [
            {"name": "rain", "direction": [1.0, 0.0]},
            {"name": "wind", "direction": [0.8, 0.6]},
            {"name": "drums", "direction": [0.0, 1.0]}
        ]
    }"#;

    #[test]
    fn the_nearest_concept_comes_first_with_its_probability() {
        let near = Concepts::parse(TABLE.as_bytes()).unwrap().nearest("weather", &[1.0, 0.0]).unwrap();
        let names: Vec<_> = near.iter().map(|found| found.name.as_str()).collect();
        assert_eq!(names, ["rain", "wind", "drums"]);
        assert!((near[0].closeness - 0.9933).abs() < 1e-4);
        assert!((near[1].closeness - 0.9526).abs() < 1e-4);
        assert!((near[2].closeness - 0.0067).abs() < 1e-4);
    }

    #[test]
    fn words_mean_the_nearest_concept_and_those_that_are_hardly_farther() {
        let selected = |doubt: f32, text: &str, concept: &[f32]| -> Vec<String> {
            let table = TABLE.replace("\"concepts\"", &format!("\"doubt\": {doubt}, \"concepts\""));
            let near = Concepts::parse(table.as_bytes()).unwrap().nearest(text, concept).unwrap();
            near.into_iter().filter(|found| found.selected).map(|found| found.name).collect()
        };
        assert_eq!(selected(0.15, "weather", &[1.0, 0.0]), ["rain"]);
        assert_eq!(selected(0.25, "weather", &[1.0, 0.0]), ["rain", "wind"]);
        assert_eq!(selected(0.25, "weather", &[0.6, 0.8]), ["wind", "drums"]);
        assert_eq!(selected(0.0, "weather", &[0.0, 0.0]), ["rain"], "without doubt, one alone");
        assert_eq!(selected(2.0, "weather", &[1.0, 0.0]), ["rain", "wind", "drums"]);
        assert_eq!(selected(0.25, "Some Rain", &[1.0, 0.0]), ["rain"], "its name is in the text");
        assert_eq!(selected(0.25, "wind", &[1.0, 0.0]), ["rain", "wind"], "another's name says nothing");
    }

    #[test]
    fn who_may_mean_several_sounds_must_tell_which_texts_negate() {
        let needs = |fields: &str| {
            let table = TABLE.replace("\"concepts\"", &format!("{fields} \"concepts\""));
            Concepts::parse(table.as_bytes()).unwrap().needs_negation()
        };
        assert!(!needs("") && !needs("\"doubt\": 0.0,"));
        assert!(needs("\"doubt\": 0.1,") && needs("\"conjunctions\": [\" and \"],"));
    }

    #[test]
    fn words_that_are_near_to_nothing_are_close_to_nothing() {
        let near = Concepts::parse(TABLE.as_bytes()).unwrap().nearest("weather", &[-0.7, -0.7]).unwrap();
        assert!(near.iter().all(|found| found.closeness < 0.01));
    }

    #[test]
    fn a_fault_names_the_field() {
        for (from, to, field) in [
            ("[0.8, 0.6]", "[0.8]", "`direction` of \"wind\""),
            ("[1.0, 0.0]", "[]", "`direction` of \"rain\""),
            ("\"name\": \"wind\"", "\"title\": \"wind\"", "title"),
            ("\"slope\": 10.0,", "", "slope"),
            ("0.8, 0.6", "1e99, 0.6", "`direction` of \"wind\""),
            ("\"concepts\"", "\"conjunctions\": [\" and \", \"\"], \"concepts\"", "conjunctions"),
            ("\"concepts\"", "\"doubt\": -0.1, \"concepts\"", "doubt"),
        ] {
            let problem = Concepts::parse(TABLE.replace(from, to).as_bytes()).err().unwrap();
            assert!(problem.contains(field), "{problem}");
        }
        let short = Concepts::parse(TABLE.as_bytes()).unwrap().nearest("weather", &[1.0]).err().unwrap();
        assert!(short.contains("`concept` has 1 values"), "{short}");
    }
}
