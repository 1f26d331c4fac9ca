//! Normal form of a query's text.

/// Most characters of a query text.
pub const MAX_CHARACTERS: usize = 256;

/// Returns the first [`MAX_CHARACTERS`] characters of `text`.
pub fn truncate(text: &str) -> String {
    text.chars().take(MAX_CHARACTERS).collect()
}

/// Returns the text in the form that is encoded and cached.
///
/// White space is trimmed and runs of it become one space. The result has at most [`MAX_CHARACTERS`] characters.
pub fn normalise(text: &str) -> String {
    truncate(&text.split_whitespace().collect::<Vec<_>>().join(" ")).trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normalise_joins_white_space_and_truncates_by_characters() {
        assert_eq!(normalise("  기타   소리\n🎸 "), "기타 소리 🎸");
        assert_eq!(normalise(&"소".repeat(300)).chars().count(), MAX_CHARACTERS);
        let truncated_at_a_space = format!("{} b", "a".repeat(MAX_CHARACTERS - 1));
        assert_eq!(normalise(&truncated_at_a_space), "a".repeat(MAX_CHARACTERS - 1));
    }
}
