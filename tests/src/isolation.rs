//! A process of its own for every trial.
//!
//! Which model packages and which ONNX Runtime the plugin finds is decided by the environment, once a
//! process; its threads and its memory are those of the process. So a trial runs in a child process
//! that was started with the environment it needs, one at a time, because a host is a matter of time.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use crate::display::Display;

/// Names the trial that the child process is to run.
const CHILD: &str = "SIFT_TEST_CHILD";

/// The environment of a trial.
///
/// Whatever is set outside, the plugin finds the ONNX Runtime of its own bundle and none of the
/// user's packages and preferences.
pub struct Environment {
    models: Option<PathBuf>,
    display: Option<Display>,
}

impl Environment {
    /// The plugin as delivered, with its built-in model.
    pub fn as_delivered() -> Self {
        Self { models: None, display: None }
    }

    /// With the package `name` of `tests/packages` in the default one's place.
    pub fn with_package(name: &str) -> Self {
        Self::with_package_at(crate::fixtures::package(name))
    }

    /// With the package in the folder `path` in the default one's place.
    pub fn with_package_at(path: impl Into<PathBuf>) -> Self {
        Self { models: Some(path.into()), display: None }
    }

    /// With a display to open windows on.
    pub fn on_a_display(self) -> Self {
        Self { display: Some(Display::start()), ..self }
    }

    fn apply(&self, command: &mut Command) {
        let nowhere = crate::fixtures::repository().join("tests/no-such-folder");
        command
            .env_remove("ORT_DYLIB_PATH")
            .env_remove("SIFT_MODELS")
            .env_remove("SIFT_PROVIDER")
            .env("XDG_DATA_HOME", &nowhere)
            .env("XDG_CONFIG_HOME", &nowhere);
        if let Some(models) = &self.models {
            command.env("SIFT_MODELS", models);
        }
        if let Some(display) = &self.display {
            // One arena: glibc otherwise keeps what threads that have ended had freed.
            command.env("DISPLAY", display.name()).env("MALLOC_ARENA_MAX", "1");
        }
    }
}

/// Runs `trial` in a process of its own; [`host_test!`](crate::host_test) is the way to call it.
///
/// In the parent this starts the test program anew for the one test `name`; in that child it runs
/// `trial`.
///
/// # Panics
/// If the trial does.
pub fn run(name: &str, environment: impl FnOnce() -> Environment, trial: impl FnOnce()) {
    if std::env::var_os(CHILD).is_some_and(|child| child == name) {
        return trial();
    }
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let mut command = Command::new(std::env::current_exe().expect("the test program knows its path"));
    command.args([name, "--exact", "--include-ignored", "--nocapture"]).env(CHILD, name);
    let environment = environment();
    environment.apply(&mut command);
    let output = command.output().expect("the test program starts");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{name} failed in its process ({}):\n{}\n{}",
        output.status,
        last_lines(&output.stdout),
        last_lines(&output.stderr)
    );
    for line in said.lines().filter(|line| line.starts_with("measured:")) {
        println!("{line}");
    }
}

/// The last lines, where a panic's message is, indented: the result of a child's test is none of the parent's.
fn last_lines(output: &[u8]) -> String {
    const MOST: usize = 40;
    let output = String::from_utf8_lossy(output);
    let lines: Vec<_> = output.lines().map(|line| format!("    {line}")).collect();
    lines[lines.len().saturating_sub(MOST)..].join("\n")
}

/// A test whose body runs in a process of its own, in the given [`Environment`].
///
/// ```ignore
/// host_test!(strength_zero_is_the_delayed_input, Environment::with_package("half"), {
///     // load the plugin, try it, assert
/// });
/// ```
#[macro_export]
macro_rules! host_test {
    ($(#[$attribute:meta])* $name:ident, $environment:expr, $body:block) => {
        $(#[$attribute])*
        #[test]
        fn $name() {
            $crate::isolation::run(stringify!($name), || $environment, || $body);
        }
    };
}

/// An empty folder of the test `name` below Cargo's folder for such files.
///
/// # Panics
/// If it cannot be made.
pub fn scratch_folder(parent: &Path, name: &str) -> PathBuf {
    let folder = parent.join(name);
    if folder.exists() {
        std::fs::remove_dir_all(&folder).expect("the last run's folder can be removed");
    }
    std::fs::create_dir_all(&folder).expect("the folder for the test's files can be made");
    folder
}
