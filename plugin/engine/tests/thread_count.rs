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
    let start_and_drop = || {
        let (_processor, instance) = start(&package("identity"));
        instance.wait_until_ready(LOAD_TIMEOUT).unwrap();
    };
    // The first instance starts the thread that all instances of the process share.
    start_and_drop();
    let before = threads();
    (0..100).for_each(|_| start_and_drop());
    // Linux lists a thread for a moment after it has been joined.
    let deadline = Instant::now() + Duration::from_secs(5);
    while threads() > before && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(threads() <= before, "{} threads run; expected {before}", threads());
}
