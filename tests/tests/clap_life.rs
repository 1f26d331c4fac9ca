//! The bundled CLAP as a guest: it comes quickly, and leaves nothing behind.

use std::time::{Duration, Instant};

use sift_tests::audio::Audio;
use sift_tests::clap_host::{Blocks, Instance, Mode};
use sift_tests::fixtures::clap_bundle;
use sift_tests::host_test;
use sift_tests::isolation::Environment;
use sift_tests::priming;
use sift_tests::process::{eventually, private_memory, release_free_memory, resident_memory, threads};

const MEBIBYTE: u64 = 1 << 20;
const ROUNDS: usize = 100;

host_test!(a_scan_takes_less_than_100_ms_and_loads_no_model, Environment::as_delivered(), {
    let bundle = clap_bundle();
    let memory_before = resident_memory();
    let mut times: Vec<Duration> = (0..11)
        .map(|_| {
            let begin = Instant::now();
            let plugin = Instance::create(&bundle).unwrap();
            assert!(!plugin.parameters().is_empty());
            drop(plugin);
            begin.elapsed()
        })
        .collect();
    // A model that had begun to be loaded in the background would be in memory by then.
    std::thread::sleep(Duration::from_millis(500));
    if let (Some(before), Some(after)) = (memory_before, resident_memory()) {
        let grown = after.saturating_sub(before);
        println!("measured: scanning grows memory by {:.1} MiB", grown as f64 / MEBIBYTE as f64);
        assert!(grown < 20 * MEBIBYTE, "memory grew by {} MiB", grown / MEBIBYTE);
    }
    println!("measured: first scan {:?}", times[0]);
    times.sort();
    println!("measured: median scan {:?}", times[times.len() / 2]);
    assert!(times[times.len() / 2] < Duration::from_millis(100), "{times:?}");
});

host_test!(deactivation_waits_neither_for_threads_nor_for_the_model, Environment::as_delivered(), {
    // Ardour deactivates plugins on its audio thread.
    let mixture = Audio::noise(2, 4 * 512, 0.5, 3);
    let mut plugin = Instance::create(&clap_bundle()).unwrap();
    let mut times: Vec<Duration> = (0..11)
        .map(|_| {
            plugin.activate(48_000.0, 512, Mode::Realtime).unwrap();
            priming::until_separated(&mut plugin, &mixture, 512, Duration::from_secs(60)).unwrap();
            let begin = Instant::now();
            plugin.deactivate();
            begin.elapsed()
        })
        .collect();
    times.sort();
    println!("measured: deactivation takes {:?} in the median, {:?} at most", times[5], times[10]);
    assert!(times[5] < Duration::from_millis(2), "{times:?}");
});

/// Opens, activates, plays, deactivates and closes an instance.
fn round(mode: Mode, blocks: usize) {
    let mut plugin = Instance::create(&clap_bundle()).unwrap();
    plugin.activate(48_000.0, 512, mode).unwrap();
    plugin.render(&Audio::noise(2, blocks * 512, 0.5, 1), Blocks::of(512), &[]).unwrap();
    plugin.deactivate();
}

/// Memory in use, in MiB; 0 where the system does not tell.
fn memory() -> u64 {
    release_free_memory();
    private_memory().unwrap_or_default() / MEBIBYTE
}

/// Asserts that [`ROUNDS`] rounds, after some to warm up, leave threads and memory where they were.
fn assert_rounds_leave_nothing(mode: Mode, blocks: usize) {
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
        "{:?} run where there were {threads_before:?}",
        threads()
    );
    let grown = readings[10].saturating_sub(readings[0]);
    println!("measured: {ROUNDS} rounds ({mode:?}) grow memory by {grown} MiB");
    assert!(grown < 8, "memory grew by {grown} MiB; every {} rounds it was {readings:?} MiB", ROUNDS / 10);
}

host_test!(
    a_hundred_rounds_offline_leave_threads_and_memory_where_they_were,
    Environment::with_package("identity"),
    { assert_rounds_leave_nothing(Mode::Offline, 4) }
);

host_test!(
    a_hundred_rounds_closed_while_loading_leave_threads_and_memory_where_they_were,
    Environment::with_package("identity"),
    {
        // In real time nobody waits for the model: it is still being loaded when the instance goes.
        assert_rounds_leave_nothing(Mode::Realtime, 2)
    }
);

host_test!(several_instances_do_not_disturb_each_other, Environment::with_package("half"), {
    let noise = Audio::noise(2, 48_000, 0.5, 2);
    let mut alone = Instance::create(&clap_bundle()).unwrap();
    alone.activate(48_000.0, 512, Mode::Offline).unwrap();
    let expected = alone.render(&noise, Blocks::of(512), &[]).unwrap();
    alone.deactivate();

    let mut instances: Vec<Instance> = (0..4)
        .map(|_| {
            let mut instance = Instance::create(&clap_bundle()).unwrap();
            instance.activate(48_000.0, 512, Mode::Offline).unwrap();
            instance
        })
        .collect();
    for start in (0..noise.frames() - 4800).step_by(4800) {
        let piece = noise.slice(start..start + 4800);
        for instance in &mut instances {
            let output = instance.render(&piece, Blocks::of(512), &[]).unwrap();
            let difference = output.main.first_difference(&expected.main.slice(start..start + 4800));
            assert_eq!(difference, None, "from frame {start}");
        }
        // One leaves in the middle of it.
        if start == 4 * 4800 {
            instances.pop();
        }
    }
});
