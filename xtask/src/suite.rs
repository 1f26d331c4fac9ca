//! Everything that CI runs. Every step runs whatever became of the others; the last line counts.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::bundle::{self, Bundles, Profile};
use crate::manifest::Manifest;
use crate::platform::Platform;
use crate::process::Run;
use crate::project;
use crate::setup::{onnxruntime, packages, python, rust};
use crate::tally::Tally;

/// Runs all steps, and in `full` those tests, too, that take longer than CI may. Whether all passed.
pub fn run(full: bool) -> bool {
    let mut steps = Steps::default();

    steps.check("set-up: packages to build", || packages::ensure(packages::BUILD));
    steps.check("set-up: Ardour", || packages::ensure(packages::WORKSTATION));
    steps.check("set-up: a desktop without a screen", || packages::ensure(packages::DESKTOP));
    steps.check("set-up: strace", || packages::ensure(packages::TRACING));
    steps.check("set-up: Python", python::ensure_environments);
    steps.check("set-up: rustfmt and clippy", rust::ensure_lints);

    steps.check("format", || Run::cargo().args(["fmt", "--all", "--check"]).run());
    // Debug assertions are on in the bundles, so allocation on the audio thread is caught in hosts too.
    let bundles = steps.check("debug bundles", || bundle::bundle(Profile::Dev));
    steps.check("lints", || {
        Run::cargo().args(["clippy", "--workspace", "--all-targets", "--", "--deny", "warnings"]).run()
    });
    steps.tests("tests of the tools", |tally| cargo_test(tally, &["--package", "xtask"], None));
    steps.tests("tests in Rust", |tally| {
        cargo_test(tally, &["--workspace", "--exclude", "xtask"], bundles.as_ref())
    });
    if full {
        steps.tests("long tests in Rust", |tally| {
            // Of the workspace, as above: for one package alone, all would be built anew with its features.
            cargo_test(tally, &["--workspace", "--exclude", "xtask", "--", "--ignored"], bundles.as_ref())
        });
    }
    steps.tests("tests in hosts, by Python", |tally| {
        let bundles = bundles.as_ref().context("there are no bundles to test")?;
        let python = python::environment("python-tests", "tests/requirements.txt")?;
        // The bundles must find ONNX Runtime beside themselves.
        let pytest = Run::new(python)
            .args(["-m", "pytest", "tests"])
            .env("SIFT_BUNDLES", &bundles.folder)
            .env("SIFT_CLI", project::program(Profile::Dev, "sift"))
            .env("SIFT_STANDALONE", project::program(Profile::Dev, "sift-standalone"))
            .without_env("ORT_DYLIB_PATH");
        run_counting(pytest, tally)
    });
    for (what, folder) in
        [("tests of the training", "models/train"), ("tests of the export", "models/export")]
    {
        steps.tests(what, |tally| {
            let pytest = Run::new(format!("{folder}/python")).args(["-m", "pytest", folder]);
            run_counting(pytest.env("SIFT_CLI", project::program(Profile::Dev, "sift")), tally)
        });
    }

    steps.finish()
}

/// `cargo test` of the packages that `selection` names, with the host tests' and the engine's
/// environment variables.
fn cargo_test(tally: &mut Tally, selection: &[&str], bundles: Option<&Bundles>) -> Result<()> {
    let pinned = Manifest::read()?.onnxruntime;
    let runtime = onnxruntime::ensure(&pinned, &Platform::current()?)?;
    let mut command =
        Run::cargo().args(["test", "--no-fail-fast"]).args(selection).env("ORT_DYLIB_PATH", &runtime.library);
    if let Some(bundles) = bundles {
        command = command.env("SIFT_BUNDLES", &bundles.folder);
    }
    run_counting(command, tally)
}

fn run_counting(command: Run, tally: &mut Tally) -> Result<()> {
    command.run_reading(|line| *tally += Tally::of_line(line))
}

/// The steps so far.
#[derive(Default)]
struct Steps {
    done: Vec<Step>,
}

struct Step {
    name: &'static str,
    tally: Tally,
    time: Duration,
}

impl Steps {
    /// Runs a step that passes or fails as one. Gives what it made, if it passed.
    fn check<T>(&mut self, name: &'static str, step: impl FnOnce() -> Result<T>) -> Option<T> {
        let mut made = None;
        self.tests(name, |tally| {
            made = Some(step()?);
            tally.passed = 1;
            Ok(())
        });
        made
    }

    /// Runs a step that counts its tests. A step that fails without a failed test counts as one.
    fn tests(&mut self, name: &'static str, step: impl FnOnce(&mut Tally) -> Result<()>) {
        println!("\n== {name}");
        let start = Instant::now();
        let mut tally = Tally::default();
        if let Err(error) = step(&mut tally) {
            println!("failed: {error:#}");
            tally.failed = tally.failed.max(1);
        }
        self.done.push(Step { name, tally, time: start.elapsed() });
    }

    /// Prints the summary. Whether all passed.
    fn finish(self) -> bool {
        let mut total = Tally::default();
        println!("\n== summary");
        for Step { name, tally, time } in self.done {
            println!(
                "{:6} {name:30} {:5} passed {:3} failed {:3} skipped {:7.1} s",
                if tally.failed == 0 { "ok" } else { "FAILED" },
                tally.passed,
                tally.failed,
                tally.skipped,
                time.as_secs_f64(),
            );
            total += tally;
        }
        println!("\n{} passed, {} failed", total.passed, total.failed);
        total.failed == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::bail;

    #[test]
    fn a_failed_step_stops_none_after_it_and_fails_the_whole() {
        let mut steps = Steps::default();
        assert_eq!(steps.check("first", || bail!("broken") as Result<i32>), None);
        assert_eq!(steps.check("second", || Ok(2)), Some(2));
        let tallies: Vec<_> = steps.done.iter().map(|step| (step.tally.passed, step.tally.failed)).collect();
        assert_eq!(tallies, [(0, 1), (1, 0)]);
        assert!(!steps.finish());
    }

    #[test]
    fn tests_are_counted_even_where_their_program_fails() {
        let mut steps = Steps::default();
        steps.tests("tests", |tally| {
            tally.passed = 5;
            tally.failed = 2;
            bail!("exit status 1")
        });
        assert_eq!((steps.done[0].tally.passed, steps.done[0].tally.failed), (5, 2));
    }

    #[test]
    fn all_passed_is_a_success() {
        let mut steps = Steps::default();
        steps.check("only", || Ok(()));
        assert!(steps.finish());
    }
}
