//! Time to drop an instance while its model loads. Alone in its process, because other tests would slow it.
//!
//! ONNX Runtime is found by `ORT_DYLIB_PATH`; `cargo xtask test` sets it.

#[allow(dead_code)]
mod common;

use std::thread;
use std::time::{Duration, Instant};

use common::OFFLINE;
use sift_engine::Instance;

/// Longest median of the times to drop an instance, on a busy machine too.
const DROP_TIMEOUT: Duration = Duration::from_millis(150);

/// Instances per delay.
const INSTANCES: usize = 10;

#[test]
fn drop_while_the_model_loads_does_not_hold_the_caller() {
    // The load is at another stage after each delay, in milliseconds.
    for delay in [0, 20, 60, 120] {
        let drop_time = || {
            let instance = Instance::default();
            let processor = instance.start(OFFLINE);
            thread::sleep(Duration::from_millis(delay));
            let start = Instant::now();
            drop(processor);
            drop(instance);
            start.elapsed()
        };
        let mut times = [(); INSTANCES].map(|()| drop_time());
        times.sort();
        let (median, longest) = (times[INSTANCES / 2], times[INSTANCES - 1]);
        println!("measured: drop {delay} ms after the start: median {median:?}, longest {longest:?}");
        assert!(median < DROP_TIMEOUT, "{delay} ms after the start: {times:?}");
    }
}
