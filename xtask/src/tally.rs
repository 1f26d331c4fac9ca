//! How many tests passed and failed, by what test programs say of themselves.

use std::ops::AddAssign;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub passed: usize,
    pub failed: usize,
    pub skipped: usize,
}

impl Tally {
    /// What a line of output adds: cargo's `test result: ...` or pytest's closing line. Of other
    /// lines, nothing.
    pub fn of_line(line: &str) -> Self {
        let counts = if let Some(counts) = line.strip_prefix("test result: ") {
            counts.split_once(". ").map_or("", |(_, counts)| counts)
        } else {
            pytest_counts(line).unwrap_or_default()
        };
        let mut tally = Self::default();
        for (number, what) in counts.split([',', ';']).filter_map(number_and_word) {
            match what {
                "passed" | "xpassed" => tally.passed += number,
                "failed" | "error" | "errors" => tally.failed += number,
                "ignored" | "skipped" | "deselected" | "xfailed" => tally.skipped += number,
                _ => {}
            }
        }
        tally
    }
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

/// The counts in `==== 3 passed, 1 failed in 0.12s ====`, or the same without the bars. What is indented is quoted by
/// another test.
fn pytest_counts(line: &str) -> Option<&str> {
    if line.starts_with(' ') {
        return None;
    }
    let (counts, time) = line.trim_matches(['=', ' ']).rsplit_once(" in ")?;
    let seconds = time.split_whitespace().next()?.strip_suffix('s')?;
    seconds.parse::<f64>().ok()?;
    Some(counts)
}

/// `12` and `passed` of ` 12 passed`.
fn number_and_word(text: &str) -> Option<(usize, &str)> {
    let (number, word) = text.trim().split_once(' ')?;
    Some((number.parse().ok()?, word))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(line: &str) -> (usize, usize, usize) {
        let tally = Tally::of_line(line);
        (tally.passed, tally.failed, tally.skipped)
    }

    #[test]
    fn cargo_s_results_are_read() {
        let ok =
            "test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 3 filtered out; finished in 0.05s";
        assert_eq!(counts(ok), (12, 0, 1));
        let failed = "test result: FAILED. 4 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.00s";
        assert_eq!(counts(failed), (4, 2, 0));
    }

    #[test]
    fn pytest_s_closing_lines_are_read() {
        assert_eq!(counts("===== 3 passed, 1 failed, 2 errors in 0.12s ====="), (3, 3, 0));
        assert_eq!(counts("7 passed, 2 skipped, 1 warning in 75.31s (0:01:15)"), (7, 0, 2));
    }

    #[test]
    fn other_lines_count_nothing() {
        let quoted = "    test result: FAILED. 0 passed; 1 failed; 0 ignored; 0 measured; finished in 0.05s";
        for line in
            ["", "running 12 tests", "3 passed through in May", "test foo ... ok", "12 passed", quoted]
        {
            assert_eq!(counts(line), (0, 0, 0), "{line}");
        }
    }
}
