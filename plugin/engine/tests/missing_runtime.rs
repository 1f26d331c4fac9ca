//! Without ONNX Runtime. Alone in its process, since the library is looked for once.

#[allow(dead_code)]
mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{OFFLINE, assert_same, delayed, play, sine};
use sift_engine::package::DEFAULT_PACKAGE;
use sift_engine::{Engine, Mode, Queries};

#[test]
fn a_missing_onnx_runtime_is_named_with_its_remedy_and_audio_passes_dry_at_the_same_latency() {
    // SAFETY: no other thread runs yet that reads the environment.
    unsafe { std::env::set_var("ORT_DYLIB_PATH", "/nowhere/libonnxruntime.so") };
    let mut engine = Engine::open(DEFAULT_PACKAGE, OFFLINE, Arc::new(Queries::default()));
    let problem = engine.wait_until_ready(Duration::from_secs(30)).unwrap_err();
    assert!(
        problem.contains("/nowhere/libonnxruntime.so") && problem.contains("Install Sift again"),
        "{problem}"
    );
    assert_eq!(engine.latency(), 2304);
    let input = sine(24_000);
    assert_same(&play(&mut engine, &input, Mode::Isolate, 0), &delayed(&input, 2304));
    assert_eq!(engine.status().late_masks(), 0);
}
