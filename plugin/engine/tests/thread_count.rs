//! Threads of dropped instances. Alone in its process, because other tests start threads too.

#![cfg(target_os = "linux")]

#[allow(dead_code)]
mod common;

use std::fs;
use std::time::{Duration, Instant};

use common::{LOAD_TIMEOUT, package, start};

#[test]
fn hundred_instances_leave_no_thread() {
    let threads = || fs::read_dir("/proc/self/task").expect("Linux lists the threads").count();
    let start_and_drop = |number| {
        let (_processor, instance) = start(&package("identity"));
        // Every other one is dropped while its model loads.
        if number % 2 == 0 {
            instance.wait_until_ready(LOAD_TIMEOUT).unwrap();
        }
    };
    // The first instance loads ONNX Runtime, which may start threads of its own.
    start_and_drop(0);
    let before = threads();
    (0..100).for_each(start_and_drop);
    // Linux lists a thread for a moment after it has been joined.
    let deadline = Instant::now() + Duration::from_secs(5);
    while threads() > before && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(threads() <= before, "{} threads run; expected {before}", threads());
}
