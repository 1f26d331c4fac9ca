//! Messages for the terminal.

/// Joins the lines of `message`: errors of parsers span several.
pub fn one_line(message: &str) -> String {
    message.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_joins_the_lines_of_a_message() {
        assert_eq!(
            one_line("TOML parse error\n  |\n1 | x\n\nmissing field\n"),
            "TOML parse error | 1 | x missing field"
        );
    }
}
