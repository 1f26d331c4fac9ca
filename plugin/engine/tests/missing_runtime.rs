//! An instance without ONNX Runtime. Alone in its process, because a process searches for the library once.

#[allow(dead_code)]
mod common;

use std::time::Duration;

use common::{OFFLINE, assert_same, delayed, faults, play, sine};
use sift_engine::{Instance, MaskFaults, Mode};

#[test]
fn missing_onnx_runtime_passes_dry_and_names_the_remedy() {
    // SAFETY: no other thread that reads the environment runs yet.
    unsafe { std::env::set_var("ORT_DYLIB_PATH", "/nowhere/libonnxruntime.so") };
    let instance = Instance::default();
    let mut processor = instance.start(OFFLINE);
    let problem = instance.wait_until_ready(Duration::from_secs(30)).unwrap_err();
    assert!(
        problem.contains("/nowhere/libonnxruntime.so") && problem.contains("Install Sift again"),
        "{problem}"
    );
    assert_eq!(processor.latency(), 2304);
    let input = sine(24_000);
    assert_same(&play(&mut processor, &input, Mode::Isolate, 0), &delayed(&input, 2304));
    assert_eq!(faults(&instance), MaskFaults::default());
}
