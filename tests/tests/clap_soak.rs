//! The bundled CLAP over a long session. Each test takes minutes, so only `cargo xtask test --full` runs them.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use sift_tests::audio::Audio;
use sift_tests::clap_host::{Blocks, Instance, Mode};
use sift_tests::fixtures::{clap_bundle, demo};
use sift_tests::process::private_memory;
use sift_tests::subprocess::TestEnvironment;
use sift_tests::{host_test, metrics, warm_up};

const RATE: f64 = 48_000.0;
const BLOCK: usize = 512;
const MEBIBYTE: f64 = (1 << 20) as f64;

/// One minute of the demo mixture, repeated from its start.
fn minute() -> Audio {
    let (mixture, _) = Audio::read_wav(&demo("mixture.wav")).unwrap();
    Audio::from_fn(mixture.width(), 60 * RATE as usize, |channel, frame| {
        mixture.channel(channel)[frame % mixture.frames()]
    })
}

/// Private memory in MiB.
fn memory() -> f64 {
    private_memory() as f64 / MEBIBYTE
}

host_test!(
    #[ignore = "takes minutes: cargo xtask test --full"]
    hour_offline_keeps_level_and_memory,
    TestEnvironment::as_delivered(),
    {
        const MINUTES: usize = 60;
        let minute = minute();
        let mut plugin = Instance::create(&clap_bundle()).unwrap();
        plugin.activate(RATE, BLOCK, Mode::Offline).unwrap();
        let (mut levels, mut memories) = (Vec::new(), Vec::new());
        for _ in 0..MINUTES {
            let output = plugin.render(&minute, Blocks::of(BLOCK), &[]).unwrap();
            levels.push([&output.target, &output.residual].map(|part| metrics::level_dbfs(&part.to_mono())));
            drop(output);
            memories.push(memory());
        }
        println!(
            "measured: dBFS of target and residual in the second minute {:?}, in the last {:?}",
            levels[1],
            levels[MINUTES - 1]
        );
        println!(
            "measured: MiB after 10 minutes {:.1}, after {MINUTES} {:.1}",
            memories[9],
            memories[MINUTES - 1]
        );
        for (second, last) in levels[1].iter().zip(levels[MINUTES - 1]) {
            assert!((second - last).abs() < 0.1, "the level of target or residual drifts: {levels:?}");
        }
        let grown = memories[MINUTES - 1] - memories[9];
        assert!(grown < 1.0, "memory grew by {grown:.2} MiB in 50 minutes: {memories:?}");
    }
);

host_test!(
    #[ignore = "takes minutes: cargo xtask test --full"]
    ten_minutes_in_real_time_keep_memory,
    TestEnvironment::as_delivered(),
    {
        const MINUTES: usize = 10;
        let minute = minute();
        let mut plugin = Instance::create(&clap_bundle()).unwrap();
        plugin.activate(RATE, BLOCK, Mode::Realtime).unwrap();
        warm_up::until_separated(&mut plugin, &minute, BLOCK, Duration::from_secs(60)).unwrap();
        let times = Arc::new(Mutex::new(Vec::with_capacity(MINUTES * minute.frames() / BLOCK + MINUTES)));
        let mut memories = Vec::new();
        for _ in 0..MINUTES {
            let times = Arc::clone(&times);
            let blocks = Blocks::of(BLOCK)
                .in_real_time()
                .timed(move |timing| times.lock().unwrap().push(timing.processing));
            drop(plugin.render(&minute, blocks, &[]).unwrap());
            memories.push(memory());
        }
        let mut times = times.lock().unwrap();
        times.sort();
        let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
        println!(
            "measured: audio thread per block, median {:?}, 99.9 % {:?}, worst {:?}",
            at(0.5),
            at(0.999),
            at(1.0)
        );
        println!(
            "measured: MiB after the first minute {:.1}, after the last {:.1}",
            memories[0],
            memories[MINUTES - 1]
        );
        let grown = memories[MINUTES - 1] - memories[0];
        assert!(grown < 1.0, "memory grew by {grown:.2} MiB: {memories:?}");
    }
);
