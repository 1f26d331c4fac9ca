//! What the integration tests of the engine share: the small packages of `tests/packages`, and a
//! way to play a signal through an engine.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use sift_engine::{Aux, Config, Controls, Engine, Mode, Queries, Shape, Stage};

pub const OFFLINE: Config = Config { sample_rate: 48_000.0, max_block: 512, channels: 1, offline: true };

/// The folder of one of the small packages.
pub fn package(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/packages").join(name)
}

/// Plays `input` with the query in `slot`, at full strength.
pub fn play(engine: &mut Engine, input: &[f32], mode: Mode, slot: usize) -> Vec<f32> {
    let mut output = input.to_vec();
    for block in output.chunks_mut(512) {
        let ones = vec![1.0; block.len()];
        let controls = Controls {
            strength: &ones,
            gain: &ones,
            mode,
            query: slot,
            shape: Shape::default(),
            listen_removed: false,
            bypass: false,
        };
        engine.process(&mut [block], &mut Aux::default(), &controls);
    }
    output
}

/// Waits until the text in `slot` was encoded, or could not be.
pub fn settled(queries: &Queries, slot: usize) -> Stage {
    let deadline = Instant::now() + Duration::from_secs(30);
    while queries.stage(slot) == Stage::Encoding && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(1));
    }
    queries.stage(slot)
}

pub fn sine(samples: usize) -> Vec<f32> {
    (0..samples).map(|i| 0.4 * (i as f32 * 0.05).sin()).collect()
}

pub fn delayed(input: &[f32], latency: usize) -> Vec<f32> {
    let mut delayed = vec![0.0; latency];
    delayed.extend_from_slice(&input[..input.len() - latency]);
    delayed
}

/// Fails with the first sample that differs, rather than with all of them.
#[track_caller]
pub fn assert_same(heard: &[f32], expected: &[f32]) {
    assert_eq!(heard.len(), expected.len());
    let first = heard.iter().zip(expected).position(|(a, b)| a.to_bits() != b.to_bits());
    assert!(first.is_none(), "sample {first:?} differs: {:?}", first.map(|at| (heard[at], expected[at])));
}
