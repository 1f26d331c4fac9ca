//! Threads of dropped engines. Alone in its process, because other tests start threads too.

#![cfg(target_os = "linux")]

#[allow(dead_code)]
mod common;

use std::fs;
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::{LOAD_TIMEOUT, OFFLINE, package};
use sift_engine::package::PackageInfo;
use sift_engine::{Engine, Queries};

#[test]
fn hundred_engines_leave_no_thread() {
    let threads = || fs::read_dir("/proc/self/task").expect("Linux lists the threads").count();
    let start_and_drop = || {
        let info = PackageInfo::read(&package("identity"));
        let engine = Engine::with_package(info, OFFLINE, Arc::new(Queries::default()));
        engine.wait_until_ready(LOAD_TIMEOUT).unwrap();
    };
    // The first engine starts the thread that all engines of the process share.
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
