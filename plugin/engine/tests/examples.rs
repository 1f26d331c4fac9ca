//! The examples, run as programs. `cargo test` builds them.

use std::path::PathBuf;
use std::process::Command;

/// Runs an example and returns its output.
fn run(name: &str, arguments: &[&str]) -> String {
    // This test is in `deps`, and the examples are in the folder next to it.
    let test = std::env::current_exe().unwrap();
    let program: PathBuf = test.parent().unwrap().with_file_name("examples").join(name);
    let output = Command::new(&program).args(arguments).output().unwrap_or_else(|error| {
        panic!("{}: {error}. Run `cargo test` without --test, which builds the examples", program.display())
    });
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn render_buffer_suppresses_a_sine_that_is_not_speech() {
    let output = run("render_buffer", &["a person speaking"]);
    let level = output.split(": ").nth(1).and_then(|rest| rest.split(' ').next()).unwrap();
    assert!(level.parse::<f32>().unwrap() < -6.0, "{output}");
}

#[test]
fn minimal_package_loads_and_runs() {
    let folder = tempfile::tempdir().unwrap();
    let output = run("minimal_package", &[folder.path().to_str().unwrap()]);
    assert!(output.contains("works, with a latency of"), "{output}");
}
