//! The form of a query's text.

/// Characters a query text may have.
pub const MAX_CHARACTERS: usize = 256;

/// The first [`MAX_CHARACTERS`] of `text`.
pub fn truncate(text: &str) -> String {
    text.chars().take(MAX_CHARACTERS).collect()
}

/// The text in the form that is encoded and cached: without needless white space, at most
/// [`MAX_CHARACTERS`] long.
pub fn normalise(text: &str) -> String {
    truncate(&text.split_whitespace().collect::<Vec<_>>().join(" ")).trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_compared_without_needless_white_space_and_cut_by_characters() {
        assert_eq!(normalise("  기타   소리\n🎸 "), "기타 소리 🎸");
        assert_eq!(normalise(&"소".repeat(300)).chars().count(), MAX_CHARACTERS);
        let cut_at_a_space = format!("{} b", "a".repeat(MAX_CHARACTERS - 1));
        assert_eq!(normalise(&cut_at_a_space), "a".repeat(MAX_CHARACTERS - 1));
    }
}
