//! The concepts that a listener recognises, their relations, and the rule by which one of them becomes the rest.

use half::f16;
use half::slice::HalfFloatSliceExt;
use serde::Deserialize;

/// Content of `listener.json`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ConceptsFile {
    concepts: Vec<HeardConcept>,
    rest: RestRule,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HeardConcept {
    name: String,
    /// Names of concepts that are kinds or parts of this one.
    members: Vec<String>,
    /// Names of concepts that cannot be told from this one, or may contain it.
    overlaps: Vec<String>,
}

/// How the rest is selected and how strongly it competes, chosen by the package's author.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RestRule {
    /// Probability of a concept from which it can become the rest.
    pub from: f32,
    /// Probability from which it competes with full `strength`; above `from`.
    pub full: f32,
    /// Weight of a rest that is surely there, 0 to 1.
    pub strength: f32,
    /// Time in seconds in which the weight can change by `strength`.
    pub fade: f32,
    /// Time in seconds for which another concept must be more probable before it becomes the rest.
    pub switch: f32,
    /// Difference of the probabilities from which another concept is more probable.
    pub margin: f32,
}

/// The concepts of a listener in the order of its output `heard`.
pub struct ListenerConcepts {
    names: Vec<String>,
    /// `members[a][b]`: whether b is a kind or part of a.
    members: Vec<Vec<bool>>,
    /// `related[a][b]`: whether b cannot be the rest of a.
    related: Vec<Vec<bool>>,
    rule: RestRule,
}

impl ListenerConcepts {
    /// Parses `listener.json`.
    ///
    /// # Errors
    /// If the JSON is invalid, a name is missing or there twice, or a value of the rule is out of range.
    pub fn parse(json: &[u8]) -> Result<Self, String> {
        let ConceptsFile { concepts, rest } =
            serde_json::from_slice(json).map_err(|error| error.to_string())?;
        check_rule(&rest)?;
        if concepts.is_empty() {
            return Err("field `concepts` is empty; expected at least one concept".into());
        }
        let names: Vec<String> = concepts.iter().map(|concept| concept.name.clone()).collect();
        if let Some(name) =
            names.iter().enumerate().find_map(|(at, name)| names[..at].contains(name).then_some(name))
        {
            return Err(format!("field `concepts` has {name:?} twice; expected it once"));
        }
        let row = |others: &[String], field: &str, name: &str| {
            let mut row = vec![false; names.len()];
            for other in others {
                let at = names.iter().position(|known| known == other).ok_or_else(|| {
                    format!("field `{field}` of {name:?} has {other:?}; expected the name of a concept")
                })?;
                row[at] = true;
            }
            Ok::<_, String>(row)
        };
        let mut members = Vec::with_capacity(names.len());
        let mut overlaps = Vec::with_capacity(names.len());
        for concept in &concepts {
            members.push(row(&concept.members, "members", &concept.name)?);
            overlaps.push(row(&concept.overlaps, "overlaps", &concept.name)?);
        }
        let is_related =
            |a: usize, b: usize| a == b || members[a][b] || members[b][a] || overlaps[a][b] || overlaps[b][a];
        let related =
            (0..names.len()).map(|a| (0..names.len()).map(|b| is_related(a, b)).collect()).collect();
        Ok(Self { names, members, related, rule: rest })
    }

    /// Names of the concepts.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// How the rest is selected.
    pub fn rule(&self) -> &RestRule {
        &self.rule
    }

    /// Whether concept `member` is a kind or part of concept `umbrella`.
    pub fn is_member(&self, member: usize, umbrella: usize) -> bool {
        self.members[umbrella][member]
    }

    /// Whether both concepts can be told from each other, so that one can be the rest of the other.
    pub fn is_distinct(&self, a: usize, b: usize) -> bool {
        !self.related[a][b]
    }

    /// Returns for each concept whether it can be the rest of a text that means the concepts `wanted`.
    ///
    /// Excludes what is related to a wanted concept, and what `is_close` to the text. Names that the listener lacks exclude
    /// nothing.
    pub fn candidates<'a>(
        &self,
        wanted: impl IntoIterator<Item = &'a str>,
        is_close: impl Fn(&str) -> bool,
    ) -> Box<[bool]> {
        let mut candidates: Box<[bool]> = self.names.iter().map(|name| !is_close(name)).collect();
        for name in wanted {
            let Some(at) = self.names.iter().position(|known| known == name) else { continue };
            candidates
                .iter_mut()
                .zip(&self.related[at])
                .for_each(|(is_candidate, is_related)| *is_candidate &= !is_related);
        }
        candidates
    }
}

fn check_rule(rule: &RestRule) -> Result<(), String> {
    let RestRule { from, full, strength, fade, switch, margin } = *rule;
    let fields = [
        ("from", from, 0.0..=1.0),
        ("full", full, 0.0..=1.0),
        ("strength", strength, 0.0..=1.0),
        ("fade", fade, 0.0..=10.0),
        ("switch", switch, 0.0..=60.0),
        ("margin", margin, 0.0..=1.0),
    ];
    for (field, value, range) in fields {
        if !range.contains(&value) {
            let (low, high) = range.into_inner();
            return Err(format!("field `rest.{field}` is {value}; expected {low} to {high}"));
        }
    }
    match from < full {
        true => Ok(()),
        false => Err(format!("field `rest.full` is {full}; expected more than `from` ({from})")),
    }
}

/// Embeddings of concepts, one row per concept, as 16-bit floats.
pub struct ConceptEmbeddings {
    values: Vec<f16>,
    /// Values per row.
    size: usize,
}

impl ConceptEmbeddings {
    /// Reads the little-endian bytes of `concepts` rows of `size` values.
    ///
    /// # Errors
    /// If the number of bytes is another, or a value is not finite.
    pub fn parse(bytes: &[u8], concepts: usize, size: usize) -> Result<Self, String> {
        let expected = 2 * concepts * size;
        if bytes.len() != expected {
            return Err(format!(
                "has {} bytes; expected {expected}, for {concepts} concepts of {size} values",
                bytes.len()
            ));
        }
        let values: Vec<f16> =
            bytes.chunks_exact(2).map(|pair| f16::from_le_bytes([pair[0], pair[1]])).collect();
        match values.iter().all(|value| value.is_finite()) {
            true => Ok(Self { values, size }),
            false => Err("has values that are not finite; expected finite numbers".into()),
        }
    }

    /// Returns the embedding of a concept.
    pub fn row(&self, concept: usize) -> Vec<f32> {
        self.values[concept * self.size..][..self.size].to_f32_vec()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONCEPTS: &str = r#"{
        "concepts": [
            {"name": "music", "members": ["guitar", "drums"], "overlaps": []},
            {"name": "guitar", "members": [], "overlaps": ["harp"]},
            {"name": "harp", "members": [], "overlaps": []},
            {"name": "drums", "members": [], "overlaps": []},
            {"name": "speech", "members": [], "overlaps": []}
        ],
        "rest": {"from": 0.5, "full": 0.9, "strength": 0.7, "fade": 0.25, "switch": 1.0, "margin": 0.1}
    }"#;

    /// The candidates for a text that means `wanted`, by name.
    fn candidates(wanted: &[&str], close: &[&str]) -> Vec<String> {
        let concepts = ListenerConcepts::parse(CONCEPTS.as_bytes()).unwrap();
        let found = concepts.candidates(wanted.iter().copied(), |name| close.contains(&name));
        let names = concepts.names().iter().zip(found);
        names.filter(|(_, is_candidate)| *is_candidate).map(|(name, _)| name.clone()).collect()
    }

    #[test]
    fn kinds_parts_and_look_alikes_are_no_rest_in_either_direction() {
        assert_eq!(candidates(&["music"], &[]), ["harp", "speech"]);
        assert_eq!(candidates(&["guitar"], &[]), ["drums", "speech"]);
        assert_eq!(candidates(&["harp"], &[]), ["music", "drums", "speech"]);
        assert_eq!(candidates(&["guitar", "drums"], &[]), ["speech"]);
    }

    #[test]
    fn close_concepts_are_no_rest() {
        assert_eq!(candidates(&["harp"], &["drums", "music"]), ["speech"]);
        assert_eq!(candidates(&["unknown here"], &["drums"]), ["music", "guitar", "harp", "speech"]);
    }

    #[test]
    fn parse_error_names_the_field() {
        for (from, to, field) in [
            ("\"overlaps\": [\"harp\"]", "\"overlaps\": [\"lute\"]", "`overlaps` of \"guitar\" has \"lute\""),
            ("\"name\": \"harp\"", "\"name\": \"guitar\"", "`concepts` has \"guitar\" twice"),
            ("\"full\": 0.9", "\"full\": 0.5", "`rest.full`"),
            ("\"strength\": 0.7", "\"strength\": 1.5", "`rest.strength`"),
            ("\"fade\": 0.25", "\"fade\": -1", "`rest.fade`"),
            (", \"margin\": 0.1", "", "margin"),
        ] {
            let problem = ListenerConcepts::parse(CONCEPTS.replace(from, to).as_bytes()).err().unwrap();
            assert!(problem.contains(field), "{problem}");
        }
        let empty = r#"{"concepts": [], "rest": {"from": 0, "full": 1, "strength": 1, "fade": 0, "switch": 0, "margin": 0}}"#;
        assert!(ListenerConcepts::parse(empty.as_bytes()).err().unwrap().contains("`concepts` is empty"));
    }

    #[test]
    fn embeddings_are_rows_of_half_floats() {
        let bytes: Vec<u8> =
            [1.0, -2.0, 0.5, 0.25].iter().flat_map(|&value| f16::from_f32(value).to_le_bytes()).collect();
        let embeddings = ConceptEmbeddings::parse(&bytes, 2, 2).unwrap();
        assert_eq!(embeddings.row(0), [1.0, -2.0]);
        assert_eq!(embeddings.row(1), [0.5, 0.25]);
        let problem = ConceptEmbeddings::parse(&bytes, 3, 2).err().unwrap();
        assert!(problem.contains("has 8 bytes; expected 12"), "{problem}");
        let nan: Vec<u8> = f16::NAN.to_le_bytes().into();
        assert!(ConceptEmbeddings::parse(&nan, 1, 1).err().unwrap().contains("not finite"));
    }
}
