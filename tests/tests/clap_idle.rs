//! The bundled CLAP while there is nothing to separate: what it costs, and what it tells the host.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use sift_tests::audio::Audio;
use sift_tests::clap_host::{AuxPorts, Blocks, Instance, Mode};
use sift_tests::fixtures::{clap_bundle, demo};
use sift_tests::process::{load_factor, seconds_by_thread};
use sift_tests::subprocess::TestEnvironment;
use sift_tests::{host_test, tail, warm_up};

const RATE: f64 = 48_000.0;
const BLOCK: usize = 512;
const SECOND: usize = RATE as usize;

/// Largest difference after a rest to an instance that never rests, in dB of the input.
const MAX_DIFFERENCE: f64 = -60.0;

/// A live instance of the default model that separates, and the demo's mixture.
fn separating() -> (Instance, Audio) {
    let (mixture, _) = Audio::read_wav(&demo("mixture.wav")).unwrap();
    let mut plugin = Instance::create(&clap_bundle()).unwrap();
    plugin.activate(RATE, BLOCK, Mode::Realtime).unwrap();
    warm_up::until_separated(&mut plugin, &mixture, BLOCK, Duration::from_secs(60)).unwrap();
    (plugin, mixture)
}

/// Blocks of a live host that has not connected the auxiliary outputs.
fn live() -> Blocks {
    Blocks::of(BLOCK).in_real_time().with_aux(AuxPorts::Absent)
}

/// Processor time of the separator threads so far, in seconds.
fn separator_seconds() -> f64 {
    seconds_by_thread().get("sift separator").copied().unwrap_or_default()
}

fn energy(sound: &Audio) -> f64 {
    sound.samples().map(|sample| f64::from(sample).powi(2)).sum()
}

host_test!(sound_after_silence_is_that_of_an_instance_that_never_rests, TestEnvironment::as_delivered(), {
    let (mut plugin, mixture) = separating();
    let silence = Audio::silence(2, 8 * SECOND);
    let sound = mixture.slice(0..3 * SECOND).then(&silence).then(&mixture.slice(3 * SECOND..5 * SECOND));
    let (output, rested) = plugin
        .play(&sound, live(), |plugin| {
            plugin.wait(Duration::from_secs(7));
            let before = separator_seconds();
            plugin.wait(Duration::from_secs(3));
            separator_seconds() - before
        })
        .unwrap();
    drop(plugin);
    assert!(rested < 0.05 * 3.0, "the separator took {rested} s in 3 s of silence");

    let mut awake = Instance::create(&clap_bundle()).unwrap();
    awake.activate(RATE, BLOCK, Mode::Offline).unwrap();
    let expected = awake.render(&sound, Blocks::of(BLOCK), &[]).unwrap().main;
    let after = |sound: &Audio| sound.slice(11 * SECOND..13 * SECOND);
    let (output, expected) = (after(&output.main), after(&expected));
    let difference = Audio::from_fn(2, 2 * SECOND, |channel, frame| {
        output.channel(channel)[frame] - expected.channel(channel)[frame]
    });
    let decibels = 10.0 * (energy(&difference) / energy(&after(&sound))).log10();
    assert!(decibels < MAX_DIFFERENCE, "{decibels:.1} dB; the machine's load is {:.1}", load_factor());
});

host_test!(host_may_pause_after_silence_and_not_before, TestEnvironment::as_delivered(), {
    let (mut plugin, mixture) = separating();
    let sleeps = Arc::new(Mutex::new(Vec::new()));
    let observed = sleeps.clone();
    let sound = mixture.slice(0..SECOND).then(&Audio::silence(2, 6 * SECOND)).then(&mixture.slice(0..SECOND));
    let blocks = live().timed(move |timing| observed.lock().unwrap().push(timing.sleeps));
    plugin.play(&sound, blocks, |_| ()).unwrap();
    let sleeps = sleeps.lock().unwrap();
    let part = |from: usize, to: usize| &sleeps[from * SECOND / BLOCK..to * SECOND / BLOCK];
    assert!(part(0, 3).iter().all(|sleeps| !sleeps), "the network has not heard two seconds of silence");
    assert!(part(6, 7).iter().all(|sleeps| *sleeps), "it rests, and the outputs are zero");
    assert!(sleeps[7 * SECOND / BLOCK + 1..].iter().all(|sleeps| !sleeps), "there is sound");
});

host_test!(bypassed_instance_takes_no_separator_time, TestEnvironment::as_delivered(), {
    let (mut plugin, mixture) = separating();
    let bypass = plugin.event(0, "Bypass", "On").unwrap();
    plugin.render(&mixture.slice(0..BLOCK), Blocks::of(BLOCK), &[bypass]).unwrap();
    let (_, taken) = plugin
        .play(&mixture.slice(0..6 * SECOND), live(), |plugin| {
            plugin.wait(Duration::from_secs(3));
            let before = separator_seconds();
            plugin.wait(Duration::from_secs(2));
            separator_seconds() - before
        })
        .unwrap();
    assert!(taken <= 0.02, "{taken} s of 2 s");
});

host_test!(tail_into_silence_costs_no_more_than_noise, TestEnvironment::as_delivered(), {
    let ratio = tail::cost_over_noise(&clap_bundle()).unwrap();
    println!("measured: a tail costs {ratio:.2} times as much as noise");
    assert!(ratio < 1.2, "a tail costs {ratio:.2} times as much as noise");
});
