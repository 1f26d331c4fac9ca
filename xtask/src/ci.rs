//! The steps of CI. A failed step does not stop the following ones; the last line has the counts of all.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::bundle::{self, Bundles, Programs};
use crate::bundler_config::BundlerConfig;
use crate::demo;
use crate::paths::{self, Profile};
use crate::platform::Platform;
use crate::process::ToolCommand;
use crate::setup::{onnxruntime, python, rust, system_packages};
use crate::test_counts::{TestCounts, TestReport};

/// Test programs with a shorter run time are not in the summary.
const MIN_SHOWN_SECONDS: f64 = 5.0;

/// Runs all steps, with `full` also the tests that are too long for CI. Returns whether all passed.
pub fn run(full: bool) -> bool {
    let mut steps = Steps::default();

    steps.check("set-up: packages to build", || system_packages::ensure(system_packages::BUILD));
    steps.check("set-up: Ardour", || system_packages::ensure(system_packages::WORKSTATION));
    steps.check("set-up: virtual display", || system_packages::ensure(system_packages::DESKTOP));
    steps.check("set-up: screen reader", || system_packages::ensure(system_packages::SCREEN_READER));
    steps.check("set-up: strace", || system_packages::ensure(system_packages::TRACING));
    steps.check("set-up: ffmpeg", || system_packages::ensure(system_packages::AUDIO_FILES));
    steps.check("set-up: Python", python::ensure_environments);
    steps.check("set-up: rustfmt and clippy", rust::ensure_lints);
    steps.check("set-up: cargo-deny", rust::ensure_deny);

    steps.check("format", || ToolCommand::cargo().args(["fmt", "--all", "--check"]).run());
    steps.check("format and lints of Python", || {
        ruff(&["check"])?;
        ruff(&["format", "--check"])
    });
    steps.check("dependencies", || {
        // Not `advisories`: their database can only be had from its git repository.
        ToolCommand::cargo().args(["deny", "--locked", "check", "bans", "licenses", "sources"]).run()
    });
    // Dev builds, because debug assertions end the host at an allocation on the audio thread.
    let bundles = steps.check("dev bundles", || bundle::bundle(Profile::Dev, Programs::AllWithTests));
    steps.check("lints", || clippy(&["--workspace", "--all-targets"]));
    steps
        .check("lints of the demo", || clippy(&[&demo::SELECTION[..], &["--lib", "--bin", "demo"]].concat()));
    steps.tests("tests of xtask", |report| cargo_test(report, &["--package", "xtask"], None));
    steps.tests("tests in Rust", |report| {
        cargo_test(report, &["--workspace", "--exclude", "xtask"], bundles.as_ref())
    });
    if grants_realtime_priority() {
        steps.tests("tests with real-time priority", |report| {
            // The same packages as above: with others, dependencies would be rebuilt with other features.
            let selection =
                ["--workspace", "--exclude", "xtask", "--lib", "--", "--ignored", "with_realtime_priority"];
            cargo_test(report, &selection, None)
        });
    } else {
        println!("\nThe system refuses real-time priority, so the tests that need it are skipped.");
    }
    if full {
        steps.tests("long tests in Rust", |report| {
            // The same packages as above: with others, dependencies would be rebuilt with other features.
            cargo_test(report, &["--workspace", "--exclude", "xtask", "--", "--ignored"], bundles.as_ref())
        });
    }
    steps.tests("tests in hosts, by Python", |report| {
        let bundles = bundles.as_ref().context("no bundles, because that step failed")?;
        test_in_hosts(report, bundles, &paths::output(Profile::Dev))
    });
    if full {
        // Not in each run, as an optimised build takes ten minutes. `bundle` checks what it needs of a system.
        let released =
            steps.check("release bundles", || bundle::bundle(Profile::Release, Programs::Distributed));
        steps.tests("tests of the release in hosts", |report| {
            let bundles = released.as_ref().context("no bundles, because that step failed")?;
            test_in_hosts(report, bundles, &bundles.folder)
        });
    }
    steps.check("set-up: Python packages of training", || {
        ToolCommand::new("models/train/python").args(["-c", ""]).run()
    });
    // Each uses one core, and no test of theirs depends on time.
    let models = [("tests of training", "models/train"), ("tests of export", "models/export")];
    steps.concurrent_tests(models.map(|(name, folder)| {
        let pytest = pytest(format!("{folder}/python"), folder);
        (name, pytest.env("SIFT_CLI", paths::program(Profile::Dev, "sift")))
    }));

    steps.finish()
}

/// Whether the system lets this user raise a thread to real-time priority. `chrt` is a part of Linux distributions.
fn grants_realtime_priority() -> bool {
    std::process::Command::new("chrt").args(["-f", "1", "true"]).status().is_ok_and(|status| status.success())
}

fn clippy(selection: &[&str]) -> Result<()> {
    ToolCommand::cargo().arg("clippy").args(selection).args(["--", "--deny", "warnings"]).run()
}

fn ruff(arguments: &[&str]) -> Result<()> {
    ToolCommand::new(python::test_environment()?).args(["-m", "ruff"]).args(arguments).run()
}

/// Runs `cargo test` for the packages in `selection`, with the environment variables that tests of the engine
/// and of the bundles need.
fn cargo_test(report: &mut TestReport, selection: &[&str], bundles: Option<&Bundles>) -> Result<()> {
    let pinned = BundlerConfig::read()?.onnxruntime;
    let runtime = onnxruntime::ensure(&pinned, &Platform::current()?)?;
    let mut command = ToolCommand::cargo()
        .args(["test", "--no-fail-fast"])
        .args(selection)
        .env("ORT_DYLIB_PATH", &runtime.library);
    if let Some(bundles) = bundles {
        command = command.env("SIFT_BUNDLES", &bundles.folder);
    }
    run_counting(command, report)
}

/// Runs the tests in Python with `bundles`, and the programs in the folder `programs`.
fn test_in_hosts(report: &mut TestReport, bundles: &Bundles, programs: &Path) -> Result<()> {
    let program = |name: &str| programs.join(format!("{name}{}", std::env::consts::EXE_SUFFIX));
    // Without ORT_DYLIB_PATH: the bundles must find ONNX Runtime in their own folder.
    let pytest = pytest(python::test_environment()?, "tests")
        .env("SIFT_BUNDLES", &bundles.folder)
        .env("SIFT_CLI", program("sift"))
        .env("SIFT_STANDALONE", program("sift-standalone"))
        .without_env("ORT_DYLIB_PATH");
    run_counting(pytest, report)
}

/// pytest for the tests in `folder`. Lists the slowest ones at the end.
fn pytest(python: impl AsRef<std::ffi::OsStr>, folder: &str) -> ToolCommand {
    ToolCommand::new(python).args(["-m", "pytest", "--durations=10", folder])
}

fn run_counting(command: ToolCommand, report: &mut TestReport) -> Result<()> {
    command.run_reading(|line| report.read_line(line))
}

/// The finished steps.
#[derive(Default)]
struct Steps {
    done: Vec<Step>,
}

struct Step {
    name: &'static str,
    report: TestReport,
    time: Duration,
}

impl Step {
    /// The record of a step that has ended with `result`.
    fn new(name: &'static str, mut report: TestReport, result: Result<()>, start: Instant) -> Self {
        if let Err(error) = result {
            println!("failed: {error:#}");
            report.counts.failed = report.counts.failed.max(1);
        }
        Self { name, report, time: start.elapsed() }
    }
}

impl Steps {
    /// Runs a step that counts as one test. Returns the step's value if it passed.
    fn check<T>(&mut self, name: &'static str, step: impl FnOnce() -> Result<T>) -> Option<T> {
        let mut value = None;
        self.tests(name, |report| {
            value = Some(step()?);
            report.counts.passed = 1;
            Ok(())
        });
        value
    }

    /// Runs a step that counts its tests. A step that fails without a failed test counts as one failed test.
    fn tests(&mut self, name: &'static str, step: impl FnOnce(&mut TestReport) -> Result<()>) {
        println!("\n== {name}");
        let start = Instant::now();
        let mut report = TestReport::default();
        let result = step(&mut report);
        self.done.push(Step::new(name, report, result, start));
    }

    /// Runs several test commands at the same time. Prints the output of each when it has finished.
    fn concurrent_tests<const N: usize>(&mut self, commands: [(&'static str, ToolCommand); N]) {
        println!("\n== {}, at the same time", commands.each_ref().map(|(name, _)| *name).join(" and "));
        let steps = std::thread::scope(|scope| {
            let running = commands.map(|(name, command)| {
                scope.spawn(move || {
                    let start = Instant::now();
                    let mut output = String::new();
                    let mut report = TestReport::default();
                    let result = command.read_lines(|line| {
                        output += line;
                        output.push('\n');
                        report.read_line(line);
                    });
                    println!("\n== {name}\n{output}");
                    Step::new(name, report, result, start)
                })
            });
            running.map(|step| step.join().expect("a step does not panic"))
        });
        self.done.extend(steps);
    }

    /// Prints the summary. Returns whether all steps passed.
    fn finish(self) -> bool {
        let mut total = TestCounts::default();
        println!("\n== summary");
        for Step { name, report: TestReport { counts, mut seconds, .. }, time } in self.done {
            println!(
                "{:6} {name:30} {:5} passed {:3} failed {:3} skipped {:7.1} s",
                if counts.failed == 0 { "ok" } else { "FAILED" },
                counts.passed,
                counts.failed,
                counts.skipped,
                time.as_secs_f64(),
            );
            seconds.retain(|(_, seconds)| *seconds >= MIN_SHOWN_SECONDS);
            seconds.sort_by(|(_, one), (_, other)| other.total_cmp(one));
            for (program, seconds) in seconds {
                println!("{:9}{program:66}{seconds:7.1} s", "");
            }
            total += counts;
        }
        println!("\n{} passed, {} failed, {} skipped", total.passed, total.failed, total.skipped);
        total.failed == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::bail;

    #[test]
    fn failed_step_fails_the_whole_and_stops_no_other() {
        let mut steps = Steps::default();
        assert_eq!(steps.check("first", || bail!("broken") as Result<i32>), None);
        assert_eq!(steps.check("second", || Ok(2)), Some(2));
        let counts: Vec<_> = steps
            .done
            .iter()
            .map(|Step { report, .. }| (report.counts.passed, report.counts.failed))
            .collect();
        assert_eq!(counts, [(0, 1), (1, 0)]);
        assert!(!steps.finish());
    }

    #[test]
    fn failing_test_program_keeps_its_counts() {
        let mut steps = Steps::default();
        steps.tests("tests", |report| {
            report.counts.passed = 5;
            report.counts.failed = 2;
            bail!("exit status 1")
        });
        let counts = steps.done[0].report.counts;
        assert_eq!((counts.passed, counts.failed), (5, 2));
    }

    #[cfg(unix)]
    #[test]
    fn concurrent_tests_are_counted_apart() {
        let mut steps = Steps::default();
        let command = |line: &str, code: &str| {
            ToolCommand::new("sh").args(["-c", &format!("echo '{line} in 0.1s'; exit {code}")])
        };
        steps.concurrent_tests([("first", command("3 passed", "0")), ("second", command("2 passed", "4"))]);
        let counts: Vec<_> = steps
            .done
            .iter()
            .map(|Step { name, report, .. }| (*name, report.counts.passed, report.counts.failed))
            .collect();
        assert_eq!(counts, [("first", 3, 0), ("second", 2, 1)]);
    }

    #[test]
    fn finish_succeeds_when_all_steps_passed() {
        let mut steps = Steps::default();
        steps.check("only", || Ok(()));
        assert!(steps.finish());
    }
}
