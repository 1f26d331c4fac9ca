//! Texts of queries: the slots' first texts, the normal form, and the texts on which a meaning depends.

/// Most characters of a query text.
pub const MAX_CHARACTERS: usize = 256;

/// Query slots of an instance.
pub const SLOTS: usize = 8;

/// Texts of a new instance.
pub const DEFAULT_QUERIES: [&str; SLOTS] =
    ["a person speaking", "drums", "piano", "guitar", "rain", "wind", "a dog barking", "crowd chatter"];

/// A text with the texts on which its meaning depends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueryText {
    /// In the form of [`normalise`].
    pub text: String,
    /// Texts of the other slots; empty if the text means the same beside any others.
    pub others: Vec<String>,
}

impl From<&str> for QueryText {
    /// Creates a text beside which there are no others.
    fn from(text: &str) -> Self {
        Self { text: normalise(text), others: Vec::new() }
    }
}

/// Returns the first [`MAX_CHARACTERS`] characters of `text`.
pub fn truncate(text: &str) -> String {
    text.chars().take(MAX_CHARACTERS).collect()
}

/// Returns the text in the form that is parsed and encoded.
///
/// White space is trimmed and runs of it become one space, or one line break where they have one. The result has at most
/// [`MAX_CHARACTERS`] characters.
pub fn normalise(text: &str) -> String {
    let lines = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
    let lines: Vec<_> = lines.filter(|line| !line.is_empty()).collect();
    truncate(&lines.join("\n")).trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normalise_joins_white_space_and_truncates_by_characters() {
        assert_eq!(normalise("  기타   소리 \t🎸 "), "기타 소리 🎸");
        assert_eq!(normalise(" drums \r\n\n  bass\n"), "drums\nbass");
        assert_eq!(normalise(&"소".repeat(300)).chars().count(), MAX_CHARACTERS);
        let truncated_at_a_space = format!("{} b", "a".repeat(MAX_CHARACTERS - 1));
        assert_eq!(normalise(&truncated_at_a_space), "a".repeat(MAX_CHARACTERS - 1));
    }
}
