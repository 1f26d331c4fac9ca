//! Limits of processor time at real-time priority, which desktop services set: they do not end the process.
//!
//! ONNX Runtime is found by `ORT_DYLIB_PATH`; `cargo xtask test` sets it. Without the right to real-time priority, the limits
//! have no effect.
#![cfg(target_os = "linux")]

#[allow(dead_code)]
mod common;

use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::Command;
use std::thread;
use std::time::Duration;

use common::{LOAD_TIMEOUT, OFFLINE, faults, package, play, sine};
use sift_engine::{Config, Instance, Mode, ModelChoice};

/// Text for which the package `heavy` computes for longer than any limit here in one run.
const HEAVIEST_WORD: &str = "x3584";

/// Runs `test`, the body of the test `name`, in a subprocess with each limit.
fn run_with_limits(name: &str, test: impl FnOnce()) {
    const SUBPROCESS: &str = "SIFT_TEST_SUBPROCESS";
    if std::env::var_os(SUBPROCESS).is_some() {
        return test();
    }
    for (soft, hard) in [(200_000, 200_000), (16_000, 200_000)] {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args([name, "--exact", "--nocapture"]).env(SUBPROCESS, name);
        // SAFETY: setrlimit is allowed between fork and exec.
        unsafe {
            command.pre_exec(move || {
                let limit = libc::rlimit { rlim_cur: soft, rlim_max: hard };
                let result = libc::setrlimit(libc::RLIMIT_RTTIME, &limit);
                if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
            });
        }
        let status = command.status().unwrap();
        assert!(status.success(), "limits {soft} and {hard}: signal {:?}, {status}", status.signal());
    }
}

#[test]
fn limit_does_not_end_a_host_whose_network_is_too_slow() {
    run_with_limits("limit_does_not_end_a_host_whose_network_is_too_slow", || {
        let instance = Instance::new(ModelChoice::Folder(package("heavy")));
        instance.queries().set_text(0, HEAVIEST_WORD);
        let mut processor = instance.start(Config { offline: false, ..OFFLINE });
        instance.wait_until_ready(LOAD_TIMEOUT).unwrap();
        for block in sine(72_000).chunks(512) {
            // In real time, because the processor may wait for masks in a faster host.
            thread::sleep(Duration::from_micros(10_700));
            play(&mut processor, block, Mode::Isolate, 0);
        }
        assert!(faults(&instance).missing() > 10, "{:?}", faults(&instance));
    });
}
