//! Creation and destruction of the bundled CLAP: both are quick, and neither leaves threads or memory behind.

use std::time::{Duration, Instant};

use sift_tests::audio::Audio;
use sift_tests::clap_host::{Blocks, Instance, Mode};
use sift_tests::fixtures::{DemoRecording, clap_bundle};
use sift_tests::metrics::median;
use sift_tests::process::{eventually, load_factor, private_memory, resident_memory, threads};
use sift_tests::state::State;
use sift_tests::subprocess::TestEnvironment;
use sift_tests::{host_test, warm_up};

const RATE: f64 = 48_000.0;
const MEBIBYTE: u64 = 1 << 20;
const ROUNDS: usize = 100;
/// Bounds on an idle machine.
const MAX_SCAN_TIME: Duration = Duration::from_millis(100);
const MAX_DEACTIVATION_TIME: Duration = Duration::from_millis(2);

host_test!(scan_takes_less_than_100_ms_and_loads_no_model, TestEnvironment::as_delivered(), {
    let bundle = clap_bundle();
    let (memory_before, threads_before) = (resident_memory().unwrap(), threads());
    let mut times: Vec<Duration> = (0..11)
        .map(|_| {
            let begin = Instant::now();
            let plugin = Instance::create(&bundle).unwrap();
            assert!(!plugin.parameters().is_empty());
            // A thread of ours could load a model after the scan.
            let ours: Vec<_> = threads().into_iter().filter(|name| name.starts_with("sift")).collect();
            assert!(ours.is_empty(), "the scan starts {ours:?}, where there were {threads_before:?}");
            drop(plugin);
            begin.elapsed()
        })
        .collect();
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    assert!(!maps.contains("onnxruntime"), "the scan loads ONNX Runtime");
    let grown = resident_memory().unwrap().saturating_sub(memory_before);
    println!("measured: scanning grows memory by {:.1} MiB", grown as f64 / MEBIBYTE as f64);
    assert!(grown < 20 * MEBIBYTE, "memory grew by {} MiB", grown / MEBIBYTE);
    println!("measured: first scan {:?}", times[0]);
    let (scan, limit) = (median(&mut times), MAX_SCAN_TIME.mul_f64(load_factor()));
    println!("measured: median scan {scan:?}");
    assert!(scan < limit, "the median scan took {scan:?}; expected less than {limit:?}: {times:?}");
});

host_test!(deactivation_waits_for_neither_threads_nor_the_model, TestEnvironment::as_delivered(), {
    // Ardour deactivates plugins on its audio thread.
    let noise = Audio::noise(2, 4 * 512, 0.5, 3);
    let mut plugin = Instance::create(&clap_bundle()).unwrap();
    let mut times: Vec<Duration> = (0..11)
        .map(|_| {
            plugin.activate(RATE, 512, Mode::Realtime).unwrap();
            warm_up::until_separated(&mut plugin, &noise, 512, Duration::from_secs(60)).unwrap();
            let begin = Instant::now();
            plugin.deactivate();
            begin.elapsed()
        })
        .collect();
    let (time, limit) = (median(&mut times), MAX_DEACTIVATION_TIME.mul_f64(load_factor()));
    println!("measured: deactivation takes {time:?} in the median, {:?} at most", times[10]);
    assert!(time < limit, "the median deactivation took {time:?}; expected less than {limit:?}: {times:?}");
});

/// Creates, activates, plays, deactivates and destroys an instance.
fn round(mode: Mode, blocks: usize) {
    let mut plugin = Instance::create(&clap_bundle()).unwrap();
    plugin.activate(RATE, 512, mode).unwrap();
    plugin.render(&Audio::noise(2, blocks * 512, 0.5, 1), Blocks::of(512), &[]).unwrap();
    plugin.deactivate();
}

/// Asserts that [`ROUNDS`] rounds, after ten for warm-up, leave threads and memory where they were.
fn assert_rounds_leave_nothing(mode: Mode, blocks: usize) {
    let memory = || private_memory() / MEBIBYTE;
    for _ in 0..10 {
        round(mode, blocks);
    }
    let threads_before = threads();
    let mut readings = vec![memory()];
    for _ in 0..10 {
        (0..ROUNDS / 10).for_each(|_| round(mode, blocks));
        readings.push(memory());
    }
    assert!(
        eventually(Duration::from_secs(5), || threads().len() <= threads_before.len()),
        "threads after {ROUNDS} rounds: {:?}; expected {threads_before:?}",
        threads()
    );
    let grown = readings[10].saturating_sub(readings[0]);
    println!("measured: {ROUNDS} rounds ({mode:?}) grow memory by {grown} MiB");
    assert!(grown < 8, "memory grew by {grown} MiB; every {} rounds it was {readings:?} MiB", ROUNDS / 10);
}

host_test!(
    hundred_instances_offline_leave_no_thread_and_no_memory,
    TestEnvironment::with_package("identity"),
    {
        assert_rounds_leave_nothing(Mode::Offline, 4);
    }
);

host_test!(
    hundred_instances_closed_while_loading_leave_nothing,
    TestEnvironment::with_package("identity"),
    {
        // In real time nothing waits for the model, so it is still loading when the instance is destroyed.
        assert_rounds_leave_nothing(Mode::Realtime, 2);
    }
);

host_test!(instance_may_end_while_it_encodes_and_separates, TestEnvironment::as_delivered(), {
    let demo = DemoRecording::first_seconds(2).mixture;
    for round in 0..12 {
        let mut plugin = Instance::create(&clap_bundle()).unwrap();
        plugin.activate(RATE, 512, Mode::Realtime).unwrap();
        warm_up::until_separated(&mut plugin, &demo, 512, Duration::from_secs(60)).unwrap();
        let mut state = State::from_clap(&plugin.save_state().unwrap()).unwrap();
        for slot in 1..=8 {
            state = state.with_query(slot, &format!("a sound that nobody has typed before, {round} {slot}"));
        }
        plugin.load_state(&state.to_clap()).unwrap();
        plugin.render(&demo.slice(0..512 * round), Blocks::of(512).in_real_time(), &[]).unwrap();
        // Every other instance is destroyed while active.
        if round % 2 == 0 {
            plugin.deactivate();
        }
    }
});

host_test!(sixty_four_instances_give_equal_bits_as_some_end, TestEnvironment::with_package("half"), {
    const PIECE: usize = 960;
    let noise = Audio::noise(2, 5 * PIECE, 0.5, 9);
    let create = || {
        let mut plugin = Instance::create(&clap_bundle()).unwrap();
        plugin.activate(RATE, 480, Mode::Offline).unwrap();
        plugin
    };
    let expected = create().render(&noise, Blocks::of(480), &[]).unwrap().main;
    let mut instances: Vec<Instance> = (0..64).map(|_| create()).collect();
    for start in (0..noise.frames()).step_by(PIECE) {
        let piece = start..start + PIECE;
        for (number, instance) in instances.iter_mut().enumerate() {
            let output = instance.render(&noise.slice(piece.clone()), Blocks::of(480), &[]).unwrap();
            let difference = output.main.first_difference(&expected.slice(piece.clone()));
            assert_eq!(difference, None, "instance {number}, from frame {start}");
        }
        // Neither the first nor the last one ends.
        instances.remove(instances.len() / 2);
    }
});

/// Restarts 24 instances that play `text` at other rates: all of them at once, and one after another.
///
/// `prepare` is called with each instance before each restart.
fn assert_restart_waits_for_nothing(text: &str, mut prepare: impl FnMut(&mut Instance, &Audio)) {
    const INSTANCES: usize = 24;
    /// Bound on an idle machine of 24 deactivations, activations, or both in turn.
    const MAX_RESTART_TIME: Duration = Duration::from_millis(100);
    let noise = Audio::noise(2, 16 * 512, 0.5, 3);
    let bundle = clap_bundle();
    let mut instances: Vec<Instance> = (0..INSTANCES).map(|_| Instance::create(&bundle).unwrap()).collect();
    for instance in &mut instances {
        let state = State::from_clap(&instance.save_state().unwrap()).unwrap();
        instance.load_state(&state.with_query(1, text).to_clap()).unwrap();
        instance.activate(RATE, 512, Mode::Realtime).unwrap();
    }
    let mut play = |instances: &mut Vec<Instance>| {
        instances.iter_mut().for_each(|instance| prepare(instance, &noise));
        // Every instance has masks in flight, as in a session that plays.
        for instance in instances {
            instance.render(&noise, Blocks::of(512), &[]).unwrap();
        }
    };
    let mut times: [Vec<Duration>; 3] = Default::default();
    for rate in [48_000.0, 96_000.0, 44_100.0] {
        play(&mut instances);
        let begin = Instant::now();
        instances.iter_mut().for_each(Instance::deactivate);
        times[0].push(begin.elapsed());
        let begin = Instant::now();
        instances.iter_mut().for_each(|instance| instance.activate(rate, 512, Mode::Realtime).unwrap());
        times[1].push(begin.elapsed());
        play(&mut instances);
        let begin = Instant::now();
        for instance in &mut instances {
            instance.deactivate();
            instance.activate(rate, 512, Mode::Realtime).unwrap();
        }
        times[2].push(begin.elapsed());
    }
    let limit = MAX_RESTART_TIME.mul_f64(load_factor());
    for (what, times) in ["deactivate", "activate", "do both in turn"].into_iter().zip(&mut times) {
        let time = median(times);
        println!("measured: {INSTANCES} instances {what} in {time:?} in the median, {:?} at most", times[2]);
        assert!(time < limit, "{INSTANCES} instances {what} in {times:?}; expected less than {limit:?}");
    }
}

host_test!(restart_of_24_instances_takes_less_than_100_ms, TestEnvironment::as_delivered(), {
    assert_restart_waits_for_nothing("speech", |instance, noise| {
        warm_up::until_separated(instance, noise, 512, Duration::from_secs(60)).unwrap();
    });
});

host_test!(restart_of_24_loading_instances_takes_less_than_100_ms, TestEnvironment::as_delivered(), {
    assert_restart_waits_for_nothing("speech", |_, _| ());
});
