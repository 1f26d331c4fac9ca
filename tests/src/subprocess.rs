//! One process per test.
//!
//! The environment decides once per process which model packages and which ONNX Runtime the plugin finds, and
//! threads and memory are counted per process. So each test runs in a child process that starts with the
//! environment it needs. One child runs at a time, because the tests measure time.

use std::path::PathBuf;
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use tempfile::TempDir;

use crate::display::Display;

/// Variable that names the test for the child process to run.
const CHILD: &str = "SIFT_TEST_CHILD";

/// The environment of a test.
///
/// The plugin finds the ONNX Runtime of its own bundle, and none of the user's packages and preferences, whatever
/// the variables of the parent process are.
pub struct TestEnvironment {
    models: Option<PathBuf>,
    display: Option<Display>,
    has_opengl: bool,
    /// Settings, which the editor writes.
    settings: TempDir,
    /// Deletes the folder of `models` after the test.
    _folder: Option<TempDir>,
}

impl Default for TestEnvironment {
    fn default() -> Self {
        let settings = tempfile::tempdir().expect("the folder for temporary files can be written to");
        Self { models: None, display: None, has_opengl: true, settings, _folder: None }
    }
}

impl TestEnvironment {
    /// The plugin as delivered, with its built-in model.
    pub fn as_delivered() -> Self {
        Self::default()
    }

    /// With the package `name` of `tests/packages` in place of the default one.
    pub fn with_package(name: &str) -> Self {
        Self { models: Some(crate::fixtures::package(name)), ..Self::default() }
    }

    /// With the package or packages in `folder` in place of the default one.
    pub fn with_packages_in(folder: TempDir) -> Self {
        Self { models: Some(folder.path().to_owned()), _folder: Some(folder), ..Self::default() }
    }

    /// With a display to open windows on.
    pub fn with_display(self) -> Self {
        self.with_display_of(1600, 1200)
    }

    /// With a display of `width` by `height` pixels.
    pub fn with_display_of(self, width: u16, height: u16) -> Self {
        Self { display: Some(Display::start(width, height)), ..self }
    }

    /// With a display, and without OpenGL: neither the display nor the machine has it.
    pub fn with_display_without_opengl(self) -> Self {
        Self { display: Some(Display::start_without_opengl(1600, 1200)), has_opengl: false, ..self }
    }

    fn apply(&self, command: &mut Command) {
        let nowhere = crate::fixtures::repository().join("tests/no-such-folder");
        command
            .env_remove("ORT_DYLIB_PATH")
            .env_remove("SIFT_MODELS")
            .env_remove("SIFT_PROVIDER")
            .env("XDG_DATA_HOME", &nowhere)
            .env("XDG_CONFIG_HOME", self.settings.path());
        if let Some(models) = &self.models {
            command.env("SIFT_MODELS", models);
        }
        // The user's own screen reader reads no windows of tests.
        command.env("DBUS_SESSION_BUS_ADDRESS", "disabled:");
        if !self.has_opengl {
            // Mesa's drivers, and the list of EGL's (libglvnd, EGL ICD enumeration).
            command.env("LIBGL_DRIVERS_PATH", &nowhere).env("__EGL_VENDOR_LIBRARY_DIRS", &nowhere);
        }
        if let Some(display) = &self.display {
            // With more than one arena glibc keeps memory that ended threads have freed.
            command.env("DISPLAY", display.name()).env("MALLOC_ARENA_MAX", "1");
        }
    }
}

/// Runs `body` in a process of its own; [`host_test!`](crate::host_test) is the way to call it.
///
/// The parent starts the test program again for the one test `name`; that child runs `body`.
///
/// # Panics
/// If `body` panics.
pub fn run(name: &str, environment: impl FnOnce() -> TestEnvironment, body: impl FnOnce()) {
    if std::env::var_os(CHILD).is_some_and(|child| child == name) {
        return body();
    }
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _guard = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let mut command = Command::new(std::env::current_exe().expect("the test program knows its path"));
    command.args([name, "--exact", "--include-ignored", "--nocapture"]).env(CHILD, name);
    let environment = environment();
    environment.apply(&mut command);
    let output = command.output().expect("the test program starts");
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && printed.contains("1 passed"),
        "{name} failed in its process ({}):\n{}\n{}",
        output.status,
        last_lines(&output.stdout),
        last_lines(&output.stderr)
    );
    for line in printed.lines().filter(|line| line.starts_with("measured:")) {
        println!("{line}");
    }
}

/// The last lines, which hold the panic's message, indented so that nothing counts the child's result as a test.
fn last_lines(output: &[u8]) -> String {
    const MAX_LINES: usize = 40;
    let output = String::from_utf8_lossy(output);
    let lines: Vec<_> = output.lines().map(|line| format!("    {line}")).collect();
    lines[lines.len().saturating_sub(MAX_LINES)..].join("\n")
}

/// A test whose body runs in a process of its own, in the given [`TestEnvironment`].
///
/// ```text
/// host_test!(output_at_strength_0_is_the_delayed_input, TestEnvironment::with_package("half"), {
///     // load the plugin, process, assert
/// });
/// ```
#[macro_export]
macro_rules! host_test {
    ($(#[$attribute:meta])* $name:ident, $environment:expr, $body:block) => {
        $(#[$attribute])*
        #[test]
        fn $name() {
            $crate::subprocess::run(stringify!($name), || $environment, || $body);
        }
    };
}
