//! Concepts of a model package, and the concepts nearest to a query.

use std::sync::Arc;

use serde::Deserialize;
use serde::de::IgnoredAny;

/// Most concepts matched to one name. An ambiguous name may have a part for each of them and one for its own text.
const MAX_MATCHES: usize = 3;

/// Closeness from which a query counts as understood.
pub const UNDERSTOOD: f32 = 0.5;

/// Closeness below which a name is not taken for the concept.
pub const MIN_CLOSENESS: f32 = 0.2;

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
    /// Returns the name, with the closeness unless that is certain: "electric guitar 0.62".
    pub fn describe(&self) -> String {
        match self.closeness < 1.0 {
            true => format!("{} {:.2}", self.name, self.closeness),
            false => self.name.clone(),
        }
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
    // Fields of packages from before the engine parsed requests; ignored.
    #[serde(default, rename = "conjunctions")]
    _conjunctions: IgnoredAny,
    #[serde(default, rename = "no_conjunctions")]
    _no_conjunctions: IgnoredAny,
    #[serde(default, rename = "exclusions")]
    _exclusions: IgnoredAny,
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

/// The concepts of a package, with their calibration.
pub struct Concepts {
    closeness: Closeness,
    concepts: Vec<Concept>,
    doubt: f32,
}

impl Concepts {
    /// Parses `concepts.json`.
    ///
    /// # Errors
    /// Fails if the JSON is invalid, directions differ in length, a value is not finite, or `doubt` is negative.
    pub fn parse(json: &[u8]) -> Result<Self, String> {
        let ConceptsFile { closeness, concepts, doubt, .. } =
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
        Ok(Self { closeness, concepts, doubt })
    }

    /// Returns the names of the concepts, in the package's order.
    pub fn names(&self) -> Arc<[String]> {
        self.concepts.iter().map(|concept| concept.name.clone()).collect()
    }

    /// Returns the concepts `indices`, of which each is surely meant, or one of them.
    pub fn certain(&self, indices: &[usize]) -> Vec<ConceptMatch> {
        let certain = |&index: &usize| ConceptMatch {
            name: self.concepts[index].name.clone(),
            closeness: 1.0,
            selected: true,
        };
        indices.iter().map(certain).collect()
    }

    /// Returns the index of the concept with this name.
    pub fn index(&self, name: &str) -> Option<usize> {
        self.concepts.iter().position(|known| known.name == name)
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
    fn fields_of_older_packages_are_ignored() {
        let fields =
            r#""conjunctions": [" and "], "no_conjunctions": [], "exclusions": [" without "], "concepts""#;
        assert!(Concepts::parse(CONCEPTS.replace("\"concepts\"", fields).as_bytes()).is_ok());
    }

    #[test]
    fn certain_concepts_are_all_selected() {
        let certain = Concepts::parse(CONCEPTS.as_bytes()).unwrap().certain(&[2, 0]);
        assert_eq!(certain.iter().map(ConceptMatch::describe).collect::<Vec<_>>(), ["drums", "rain"]);
        assert!(certain.iter().all(|concept| concept.selected));
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
            ("\"concepts\"", "\"doubt\": -0.1, \"concepts\"", "doubt"),
        ] {
            let problem = Concepts::parse(CONCEPTS.replace(from, to).as_bytes()).err().unwrap();
            assert!(problem.contains(field), "{problem}");
        }
        let problem = Concepts::parse(CONCEPTS.as_bytes()).unwrap().nearest("weather", &[1.0]).err().unwrap();
        assert!(problem.contains("`concept` has 1 values"), "{problem}");
    }
}
