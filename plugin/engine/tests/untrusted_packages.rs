//! Model packages that use too much memory or never end: they are refused or stopped within limits.
//!
//! Each test runs in a subprocess, whose peak memory is checked.
//!
//! ONNX Runtime is found by `ORT_DYLIB_PATH`; `cargo xtask test` sets it.

#[allow(dead_code)]
mod common;

use std::fmt::Display;
use std::fs;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use common::{LOAD_TIMEOUT, OFFLINE, PackageCopy, faults, package, play, sine, start};
use sift_engine::inference::library;
use sift_engine::inference::provider::ProviderChoice;
use sift_engine::package::{PackageError, PackageInfo};
use sift_engine::separator::network::LoadedModel;
use sift_engine::separator::streaming::StreamingSeparator;
use sift_engine::{CancelToken, Config, Instance, Mode, ModelChoice, Processor, QueryEncoder, Readiness};

/// Text for which the query network `query-endless-when-asked` never ends.
const KEPT_WORD: &str = "말소리";

/// Most memory of a subprocess, in bytes: 4 GiB for a network, and the rest.
const MAX_PEAK_MEMORY: u64 = 5 << 30;

/// Longest time to refuse a network that does not run for long.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(5);

/// Limit of networks that never end, instead of the 30 s of an instance.
const NETWORK_TIMEOUT: Duration = Duration::from_millis(500);

/// Longest time to drop a processor.
const DROP_TIMEOUT: Duration = Duration::from_millis(500);

/// Variable that makes a test run its body in this process.
const SUBPROCESS: &str = "SIFT_TEST_SUBPROCESS";

/// Runs `test`, the body of the test `name`, in a subprocess.
///
/// # Panics
/// If the body panics, does not end, or uses more memory than [`MAX_PEAK_MEMORY`].
fn run_in_subprocess(name: &str, test: impl FnOnce()) {
    if std::env::var_os(SUBPROCESS).is_some() {
        test();
        if let Some(peak) = peak_memory() {
            println!("measured: {name}: peak memory {} MiB", peak >> 20);
            assert!(
                peak < MAX_PEAK_MEMORY,
                "peak memory is {peak} bytes; expected less than {MAX_PEAK_MEMORY}"
            );
        }
        return;
    }
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([name, "--exact", "--nocapture"])
        .env(SUBPROCESS, name)
        .spawn()
        .unwrap();
    let start = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if start.elapsed() > 2 * LOAD_TIMEOUT {
            child.kill().unwrap();
        }
        thread::sleep(Duration::from_millis(10));
    }
    assert!(child.wait().unwrap().success(), "the subprocess of {name} failed or did not end");
}

macro_rules! subprocess_test {
    ($name:ident, $test:block) => {
        #[test]
        fn $name() {
            run_in_subprocess(stringify!($name), || $test);
        }
    };
}

/// Returns the peak memory of this process in bytes, on Linux.
fn peak_memory() -> Option<u64> {
    if !cfg!(target_os = "linux") {
        return None;
    }
    let status = fs::read_to_string("/proc/self/status").expect("Linux has the status of the process");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kibibytes = line.expect("the status has the peak memory").trim().trim_end_matches(" kB");
    Some(kibibytes.parse::<u64>().expect("the peak memory is a number") << 10)
}

/// Returns a package whose separator or query network is `kind` of `tests/packages/hostile`.
fn hostile_package(kind: &str) -> PackageCopy {
    let copy = PackageCopy::new();
    let file = if kind.starts_with("query") { "query.onnx" } else { "separator.onnx" };
    copy.replace(file, &fs::read(package("hostile").join(format!("{kind}.onnx"))).unwrap());
    copy
}

/// Asserts that the package is refused within `timeout`, with a message that contains all of `expected`.
fn assert_refused(kind: &str, timeout: Duration, expected: &[&str]) {
    let copy = hostile_package(kind);
    let start = Instant::now();
    let problem = copy.problem();
    assert!(start.elapsed() < timeout, "{:?}", start.elapsed());
    assert!(expected.iter().all(|part| problem.contains(part)), "{problem}");
    assert!(problem.contains("Install the package again"), "{problem}");
}

/// Asserts that dropping `processor` does not wait for its network.
fn assert_drops_in_time(processor: Processor) {
    let start = Instant::now();
    drop(processor);
    assert!(start.elapsed() < DROP_TIMEOUT, "{:?}", start.elapsed());
}

subprocess_test!(separator_with_too_much_memory_is_refused, {
    assert_refused("hog", REFUSAL_TIMEOUT, &["separator.onnx", "4 GiB"]);
});

subprocess_test!(query_network_with_too_much_memory_is_refused, {
    assert_refused("query-hog", REFUSAL_TIMEOUT, &["query.onnx", "4 GiB"]);
});

subprocess_test!(loading_does_not_accumulate_constants, {
    let copy = hostile_package("constants");
    let (_processor, instance) = start(copy.path());
    instance.wait_until_ready(LOAD_TIMEOUT).unwrap();
    let Some(peak) = peak_memory() else { return };
    assert!(peak < 1 << 30, "peak memory is {peak} bytes; expected less than 1 GiB of the constants' 2 GiB");
});

subprocess_test!(network_that_expands_while_it_is_loaded_is_refused, {
    assert_refused("sparse", REFUSAL_TIMEOUT, &["separator.onnx", "sparse tensors"]);
    assert_refused("functions", REFUSAL_TIMEOUT, &["separator.onnx", "functions"]);
});

/// Loads the separator of the package with [`NETWORK_TIMEOUT`].
fn load_separator(copy: &PackageCopy) -> Result<(), PackageError> {
    let environment = library::environment().unwrap();
    let model = LoadedModel::new(PackageInfo::read(copy.path())?.load()?);
    let token = CancelToken::new(NETWORK_TIMEOUT);
    StreamingSeparator::new(environment, &model, &ProviderChoice::default(), &token).map(drop)
}

/// Loads the query encoder of the package with [`NETWORK_TIMEOUT`].
fn load_encoder(copy: &PackageCopy) -> Result<QueryEncoder, PackageError> {
    let environment = library::environment().unwrap();
    let package = PackageInfo::read(copy.path())?.load()?;
    QueryEncoder::new(environment, &package, CancelToken::new(NETWORK_TIMEOUT))
}

/// Asserts that `work` fails because the network did not end, soon after [`NETWORK_TIMEOUT`].
fn assert_times_out<T, E: Display>(work: impl FnOnce() -> Result<T, E>) -> String {
    let start = Instant::now();
    let problem = work().err().expect("the network does not end").to_string();
    assert!(problem.contains("did not end within 0.5 s"), "{problem}");
    assert!((NETWORK_TIMEOUT..REFUSAL_TIMEOUT).contains(&start.elapsed()), "{:?}", start.elapsed());
    problem
}

subprocess_test!(endless_separator_is_refused, {
    let copy = hostile_package("endless");
    let problem = assert_times_out(|| load_separator(&copy));
    assert!(problem.contains("separator.onnx") && problem.contains("Install the package again"), "{problem}");
});

subprocess_test!(endless_query_network_is_refused, {
    let copy = hostile_package("query-endless");
    let problem = assert_times_out(|| load_encoder(&copy));
    assert!(problem.contains("query.onnx") && problem.contains("Install the package again"), "{problem}");
});

subprocess_test!(endless_encoding_fails_and_other_texts_are_encoded, {
    let mut encoder = load_encoder(&hostile_package("query-endless-when-asked")).unwrap();
    for _ in 0..2 {
        assert_times_out(|| encoder.encode(&KEPT_WORD.into()));
        assert!(encoder.encode(&"drums".into()).is_ok());
        assert_times_out(|| encoder.encode(&format!("{KEPT_WORD} speech").as_str().into()));
        assert!(encoder.encode(&"speech".into()).is_ok());
    }
});

subprocess_test!(endless_load_delays_no_text_of_another_package, {
    let (_processor, instance) = start(&package("identity"));
    instance.wait_until_ready(LOAD_TIMEOUT).unwrap();
    let copy = hostile_package("query-endless");
    let (_endless_processor, endless) = start(copy.path());
    instance.queries().set_text(0, "rain");
    instance.wait_until_ready(REFUSAL_TIMEOUT).unwrap();
    assert_eq!(endless.snapshot().unwrap().readiness, Readiness::Loading);
});

subprocess_test!(processor_drops_in_time_while_loading_never_ends, {
    for kind in ["endless", "query-endless"] {
        let copy = hostile_package(kind);
        let (processor, _instance) = start(copy.path());
        thread::sleep(Duration::from_secs(1));
        assert_drops_in_time(processor);
    }
});

subprocess_test!(processor_drops_in_time_while_a_run_never_ends, {
    let copy = hostile_package("endless-when-heard");
    let live = Config { offline: false, ..OFFLINE };
    let instance = Instance::new(ModelChoice::Folder(copy.path().to_owned()));
    let mut processor = instance.start(live);
    instance.wait_until_ready(LOAD_TIMEOUT).unwrap();
    for block in sine(24_000).chunks(512) {
        // In real time, because the processor may wait for masks in a faster host.
        thread::sleep(Duration::from_micros(10_700));
        play(&mut processor, block, Mode::Isolate, 0);
    }
    assert!(faults(&instance).late > 10, "{:?}", faults(&instance));
    assert_drops_in_time(processor);
});

#[test]
fn run_that_is_stopped_prints_nothing() {
    let name = "processor_drops_in_time_while_a_run_never_ends";
    let mut command = Command::new(std::env::current_exe().unwrap());
    let output = command.args([name, "--exact", "--nocapture"]).env(SUBPROCESS, name).output().unwrap();
    assert!(output.status.success());
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

subprocess_test!(processor_drops_in_time_while_an_encoding_never_ends, {
    let copy = hostile_package("query-endless-when-asked");
    let (processor, instance) = start(copy.path());
    instance.wait_until_ready(LOAD_TIMEOUT).unwrap();
    let queries = instance.queries();
    queries.set_text(1, KEPT_WORD);
    thread::sleep(Duration::from_secs(1));
    assert_drops_in_time(processor);
});
