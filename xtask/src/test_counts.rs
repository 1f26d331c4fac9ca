//! Counts and times of tests, from the output of cargo and pytest.

use std::ops::AddAssign;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TestCounts {
    pub passed: usize,
    pub failed: usize,
    pub skipped: usize,
}

impl TestCounts {
    /// The counts in a line of output: cargo's `test result: …` or pytest's last line. Zero for other lines.
    fn of_line(line: &str) -> Self {
        let counts = if let Some(counts) = line.strip_prefix("test result: ") {
            counts.split_once(". ").map_or("", |(_, counts)| counts)
        } else {
            pytest_counts(line).unwrap_or_default()
        };
        let mut found = Self::default();
        for (number, what) in counts.split([',', ';']).filter_map(number_and_word) {
            match what {
                "passed" | "xpassed" => found.passed += number,
                "failed" | "error" | "errors" => found.failed += number,
                "ignored" | "skipped" | "deselected" | "xfailed" => found.skipped += number,
                _ => {}
            }
        }
        found
    }
}

impl AddAssign for TestCounts {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

/// The results of one or more test programs.
#[derive(Debug, Default)]
pub struct TestReport {
    pub counts: TestCounts,
    /// Test programs that cargo ran, with their run times in seconds.
    pub seconds: Vec<(String, f64)>,
    running: Option<String>,
}

impl TestReport {
    /// Adds what a line of output reports.
    pub fn read_line(&mut self, line: &str) {
        self.counts += TestCounts::of_line(line);
        if let Some(program) = started_program(line) {
            self.running = Some(program);
        } else if let Some(seconds) = cargo_seconds(line)
            && let Some(program) = self.running.take()
        {
            self.seconds.push((program, seconds));
        }
    }
}

/// `clap_soak` in `     Running tests/clap_soak.rs (target/debug/deps/clap_soak-0123456789abcdef)`.
fn started_program(line: &str) -> Option<String> {
    let (_, path) = line.trim_start().strip_prefix("Running ")?.strip_suffix(')')?.rsplit_once('(')?;
    let name = path.rsplit(['/', '\\']).next()?;
    Some(name.rsplit_once('-')?.0.to_owned())
}

/// `0.05` in `test result: ok. 12 passed; …; finished in 0.05s`.
fn cargo_seconds(line: &str) -> Option<f64> {
    let (_, seconds) = line.strip_prefix("test result: ")?.rsplit_once("finished in ")?;
    seconds.strip_suffix('s')?.parse().ok()
}

/// The counts in `==== 3 passed, 1 failed in 0.12s ====`, with or without the bars.
///
/// An indented line is not pytest's own: another test quotes it.
fn pytest_counts(line: &str) -> Option<&str> {
    if line.starts_with(' ') {
        return None;
    }
    let (counts, time) = line.trim_matches(['=', ' ']).rsplit_once(" in ")?;
    let seconds = time.split_whitespace().next()?.strip_suffix('s')?;
    seconds.parse::<f64>().ok()?;
    Some(counts)
}

/// `12` and `passed` in ` 12 passed`.
fn number_and_word(text: &str) -> Option<(usize, &str)> {
    let (number, word) = text.trim().split_once(' ')?;
    Some((number.parse().ok()?, word))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(line: &str) -> (usize, usize, usize) {
        let found = TestCounts::of_line(line);
        (found.passed, found.failed, found.skipped)
    }

    #[test]
    fn cargo_results_are_counted() {
        let ok =
            "test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 3 filtered out; finished in 0.05s";
        assert_eq!(counts(ok), (12, 0, 1));
        let failed = "test result: FAILED. 4 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.00s";
        assert_eq!(counts(failed), (4, 2, 0));
    }

    #[test]
    fn pytest_results_are_counted() {
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

    #[test]
    fn each_test_program_has_its_run_time() {
        let mut report = TestReport::default();
        for line in [
            "     Running unittests src/lib.rs (target/debug/deps/sift_engine-0123456789abcdef)",
            "test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.50s",
            "     Running tests/clap_soak.rs (/elsewhere/debug/deps/clap_soak-0123456789abcdef)",
            "test result: ok. 0 passed; 0 failed; 3 ignored; 0 measured; 0 filtered out; finished in 0.00s",
            "   Doc-tests sift_engine",
            "test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 2.00s",
        ] {
            report.read_line(line);
        }
        assert_eq!(report.counts, TestCounts { passed: 3, failed: 0, skipped: 3 });
        assert_eq!(report.seconds, [("sift_engine".to_owned(), 1.5), ("clap_soak".to_owned(), 0.0)]);
    }
}
