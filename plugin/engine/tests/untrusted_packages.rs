//! Model packages that would take the machine's memory or never end: refused or stopped in time, and with
//! little memory. Each is opened in a process of its own, whose memory is looked at.
//!
//! ONNX Runtime is found by `ORT_DYLIB_PATH`; `cargo xtask test` sets it.

#[allow(dead_code)]
mod common;

use std::fs;
use std::process::Command;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use common::{LOAD_TIMEOUT, OFFLINE, PackageCopy, open, package, play, sine, wait_until_encoded};
use sift_engine::package::PackageInfo;
use sift_engine::{Config, Engine, Mode, Queries, SlotState};

/// The word that the package `query-endless-when-asked` never ends with.
const KEPT_WORD: &str = "말소리";

/// What a process may have at most, in bytes: the 4 GiB of a network, and all the rest.
const PEAK: u64 = 5 << 30;

/// What refusing a file may take that was not run.
const SOON: Duration = Duration::from_secs(5);

/// What refusing a network may take that does not end: the 30 s that it has, and all the rest.
const AFTER_ITS_TIME: Duration = Duration::from_secs(40);

/// What closing an engine may take.
const CLOSING: Duration = Duration::from_millis(1_500);

/// Runs `trial` in a process of its own, of the test `name`.
///
/// # Panics
/// If the trial does, if it does not end, or if it takes more memory than [`PEAK`].
fn alone(name: &str, trial: impl FnOnce()) {
    const CHILD: &str = "SIFT_HOSTILE_CHILD";
    if std::env::var_os(CHILD).is_some() {
        trial();
        let peak = peak_memory();
        println!("measured: {name}: {} MiB at most", peak >> 20);
        return assert!(peak < PEAK, "{peak} bytes");
    }
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([name, "--exact", "--nocapture"])
        .env(CHILD, name)
        .spawn()
        .unwrap();
    let begin = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if begin.elapsed() > 2 * LOAD_TIMEOUT {
            child.kill().unwrap();
        }
        thread::sleep(Duration::from_millis(10));
    }
    assert!(child.wait().unwrap().success(), "{name} failed in its process, or did not end");
}

macro_rules! test_alone {
    ($name:ident, $trial:block) => {
        #[test]
        fn $name() {
            alone(stringify!($name), || $trial);
        }
    };
}

/// The most memory that this process had, in bytes; 0 where the system does not say (not Linux).
fn peak_memory() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.map_or(0, |kibibytes| kibibytes.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10)
}

/// A package whose separator or query network is the hostile `kind`.
fn hostile(kind: &str) -> PackageCopy {
    let copy = PackageCopy::new(&format!("hostile-{kind}"));
    let file = if kind.starts_with("query") { "query.onnx" } else { "separator.onnx" };
    copy.replace(file, &fs::read(package("hostile").join(format!("{kind}.onnx"))).unwrap());
    copy
}

/// Asserts that the package is refused within `time`, with a message that says all of `said`.
fn assert_refused(kind: &str, time: Duration, said: &[&str]) {
    let copy = hostile(kind);
    let begin = Instant::now();
    let problem = copy.problem();
    assert!(begin.elapsed() < time, "{:?}", begin.elapsed());
    assert!(said.iter().all(|part| problem.contains(part)), "{problem}");
    assert!(problem.contains("Install the package again"), "{problem}");
}

/// Asserts that `engine` goes at once, whatever its network is at.
fn assert_closes(engine: Engine) {
    let begin = Instant::now();
    drop(engine);
    assert!(begin.elapsed() < CLOSING, "{:?}", begin.elapsed());
}

test_alone!(a_separator_that_takes_more_memory_than_it_may_is_refused, {
    assert_refused("hog", SOON, &["separator.onnx", "4 GiB"]);
});

test_alone!(a_query_network_that_takes_more_memory_than_it_may_is_refused, {
    assert_refused("query-hog", SOON, &["query.onnx", "4 GiB"]);
});

test_alone!(what_follows_from_a_networks_constants_does_not_pile_up_while_it_is_loaded, {
    let copy = hostile("constants");
    let (engine, _) = open(&copy.0);
    engine.wait_until_ready(LOAD_TIMEOUT).unwrap();
    let peak = peak_memory();
    assert!(peak < 1 << 30, "{peak} bytes, of 2 GiB that its constants make");
});

test_alone!(a_network_that_grows_while_it_is_read_is_refused, {
    assert_refused("sparse", SOON, &["separator.onnx", "sparse tensors"]);
    assert_refused("functions", SOON, &["separator.onnx", "functions"]);
});

test_alone!(a_separator_that_does_not_end_is_refused, {
    assert_refused("endless", AFTER_ITS_TIME, &["separator.onnx", "did not end within 30 s"]);
});

test_alone!(a_query_network_that_does_not_end_is_refused, {
    assert_refused("query-endless", AFTER_ITS_TIME, &["query.onnx", "did not end within 30 s"]);
});

test_alone!(an_engine_closes_while_its_network_does_not_end_loading, {
    for kind in ["endless", "query-endless"] {
        let copy = hostile(kind);
        let (engine, _) = open(&copy.0);
        thread::sleep(Duration::from_secs(1));
        assert_closes(engine);
    }
});

test_alone!(an_engine_closes_while_a_run_does_not_end, {
    let copy = hostile("endless-when-heard");
    let live = Config { offline: false, ..OFFLINE };
    let queries = Arc::new(Queries::default());
    let mut engine = Engine::with_package(PackageInfo::read(&copy.0), live, queries.clone());
    engine.wait_until_ready(LOAD_TIMEOUT).unwrap();
    assert_eq!(wait_until_encoded(&queries, 0), SlotState::Ready);
    for block in sine(24_000).chunks(512) {
        // No faster than it sounds: a host that is ahead is one that may be kept waiting.
        thread::sleep(Duration::from_micros(10_700));
        play(&mut engine, block, Mode::Isolate, 0);
    }
    assert!(engine.status().late_masks() > 10, "{}", engine.status().late_masks());
    assert_closes(engine);
});

test_alone!(a_text_whose_encoding_does_not_end_fails_and_the_next_ones_do_at_once, {
    let copy = hostile("query-endless-when-asked");
    let (engine, queries) = open(&copy.0);
    engine.wait_until_ready(LOAD_TIMEOUT).unwrap();
    assert_eq!(wait_until_encoded(&queries, 1), SlotState::Ready);
    queries.set_text(1, KEPT_WORD);
    let begin = Instant::now();
    while queries.slot_state(1) == SlotState::Encoding && begin.elapsed() < AFTER_ITS_TIME {
        thread::sleep(Duration::from_millis(10));
    }
    queries.set_text(2, &format!("{KEPT_WORD} speech"));
    for slot in [1, 2] {
        assert_eq!(wait_until_encoded(&queries, slot), SlotState::Failed);
    }
    assert!(begin.elapsed() < AFTER_ITS_TIME, "{:?}", begin.elapsed());
    assert!(queries.problem().unwrap().contains("did not end within 30 s"), "{:?}", queries.problem());
    assert_closes(engine);
});

test_alone!(an_engine_closes_while_the_encoding_of_a_text_does_not_end, {
    let copy = hostile("query-endless-when-asked");
    let (engine, queries) = open(&copy.0);
    engine.wait_until_ready(LOAD_TIMEOUT).unwrap();
    assert_eq!(wait_until_encoded(&queries, 1), SlotState::Ready);
    queries.set_text(1, KEPT_WORD);
    thread::sleep(Duration::from_secs(1));
    assert_closes(engine);
});
