//! The bundled CLAP with random parameters, events, states, block sizes and samples.
//!
//! Each session prints its seed. `SIFT_FUZZ_SEED=… cargo test -p sift-tests --test clap_fuzz` runs it again. Debug bundles end
//! the host at an allocation in `process`, so that a session also tests that there is none.

use std::time::{Duration, Instant, SystemTime};

use serde_json::json;
use sift_tests::audio::{Audio, Random};
use sift_tests::clap_host::{AuxPorts, Blocks, Event, Instance, Mode, Output};
use sift_tests::fixtures::clap_bundle;
use sift_tests::host_test;
use sift_tests::state::State;
use sift_tests::subprocess::TestEnvironment;

const SHORT: Duration = Duration::from_secs(2);
const LONG: Duration = Duration::from_secs(120);

/// The largest output gain, 12 dB.
const MAX_GAIN: f32 = 3.982;
/// Samples of this size or more are 0 for the plugin.
const MAX_SAMPLE: f32 = 1e6;
/// By how much the peak of a sound can rise where the gains of bins differ, as those of sounds at different places do.
const PEAK_RISE: f32 = 2.0;
/// Largest block of a session.
const MAX_BLOCK: usize = 4_096;

const RATES: [f64; 7] = [8_000.0, 22_050.0, 44_100.0, 48_000.0, 50_317.0, 96_000.0, 192_000.0];
const AUX_PORTS: [AuxPorts; 6] = [
    AuxPorts::Connected,
    AuxPorts::Absent,
    AuxPorts::NullArray,
    AuxPorts::NullChannels,
    AuxPorts::NoChannels,
    AuxPorts::OneBuffer,
];
const TEXTS: [&str; 7] =
    ["", "speech", "everything but drums", "말소리 빼고", "🎹\u{200d}\u{301}", "\0\n\t\"\\", "((("];

fn pick<T: Copy>(random: &mut Random, of: &[T]) -> T {
    of[random.between(0, of.len() - 1)]
}

/// The seed in `SIFT_FUZZ_SEED`, or else one that differs in each run.
fn seed() -> u64 {
    let now = || SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("the clock is set");
    match std::env::var("SIFT_FUZZ_SEED") {
        Ok(seed) => seed.parse().unwrap_or_else(|_| panic!("SIFT_FUZZ_SEED: {seed}; expected a number")),
        Err(_) => now().as_nanos() as u64,
    }
}

/// Sound of one kind: full scale, noise, silence, subnormal, enormous, or with samples that are not finite.
fn sound(random: &mut Random, frames: usize) -> Audio {
    let kind = random.between(0, 6);
    let mut sample = |_: usize| {
        let value = random.bipolar();
        match kind {
            0 => value.signum(),
            1 => 0.5 * value,
            2 => 0.0,
            3 => value * f32::MIN_POSITIVE,
            4 => value * 2.0 * MAX_SAMPLE,
            5 => f32::from_bits(random.bits() as u32),
            _ => pick(random, &[value, f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX, 1e-40]),
        }
    };
    Audio::new((0..2).map(|_| (0..frames).map(&mut sample).collect()).collect())
}

/// Changes of random parameters to random values, now and then beyond their ranges, at random frames.
fn events(plugin: &Instance, random: &mut Random, frames: usize) -> Vec<Event> {
    let count = pick(random, &[0, 1, 20, 200]);
    (0..count)
        .map(|_| {
            let parameter = &plugin.parameters()[random.between(0, plugin.parameters().len() - 1)];
            let (low, high) = (*parameter.range.start(), *parameter.range.end());
            let value = match random.between(0, 29) {
                0 => pick(
                    random,
                    &[f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e300, -1e300, f64::MIN_POSITIVE],
                ),
                1..5 => pick(random, &[low, high]),
                _ => low + (high - low) * f64::from(random.bipolar().abs()),
            };
            parameter.change(random.between(0, frames - 1), value)
        })
        .collect()
}

fn blocks(random: &mut Random, max_block: usize) -> Blocks {
    let mut blocks = match random.between(0, 2) {
        0 => Blocks::of(max_block),
        1 => Blocks::of(random.between(1, max_block)),
        _ => Blocks::random(max_block, random.bits()),
    };
    blocks = blocks.with_aux(pick(random, &AUX_PORTS));
    for _ in 0..random.between(0, 2) {
        blocks = match random.between(0, 3) {
            0 => blocks.in_place(),
            1 => blocks.restarted(),
            2 => blocks.with_late_events(random.between(0, 10_000)),
            _ => blocks.with_unsorted_events(),
        };
    }
    blocks
}

/// `state` with some values replaced, most of them by invalid ones.
fn changed(mut state: State, random: &mut Random) -> State {
    let ids = state.parameter_ids();
    for _ in 0..random.between(0, 5) {
        let value = match random.between(0, 7) {
            0 => json!(null),
            1 => json!(random.bits() as i64),
            2 => json!(f64::from(random.bipolar()) * 10.0_f64.powi(random.between(0, 60) as i32 - 30)),
            3 => json!(random.between(0, 9)),
            4 => json!(random.bits().is_multiple_of(2)),
            5 => json!("isolate"),
            6 => json!([1, "two"]),
            _ => json!(1e308),
        };
        state = state.with_parameter(&ids[random.between(0, ids.len() - 1)], value);
    }
    if random.between(0, 1) == 0 {
        state.with_query(random.between(1, 8), pick(random, &TEXTS))
    } else {
        if random.between(0, 3) == 0 {
            state.set_field("queries", &pick(random, &[0, 1]).into());
        }
        state
    }
}

/// The output is finite and no louder than `peak`, the input's so far, allows.
fn check_output(output: &Output, peak: f32, is_connected: bool) {
    let limit = peak * PEAK_RISE;
    let mut outputs = vec![("output", &output.main, MAX_GAIN * limit)];
    if is_connected {
        outputs.extend([("target", &output.target, limit), ("residual", &output.residual, limit)]);
    }
    for (name, audio, limit) in outputs {
        for sample in audio.samples() {
            assert!(
                sample.is_finite() && !sample.is_subnormal() && sample.abs() <= limit,
                "a sample of the {name} is {sample:e}; expected at most {limit:e}"
            );
        }
    }
}

/// A state that the plugin has saved loads, and then saves the same.
fn check_state(plugin: &mut Instance) {
    let saved = plugin.save_state().unwrap();
    plugin.load_state(&saved).expect("a saved state loads");
    let again = plugin.save_state().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert_eq!(text(&again), text(&saved), "the state changes as it is saved and loaded");
}

/// Calls the plugin at random until `duration` has passed. Equal seeds make equal calls.
fn run(seed: u64, duration: Duration) {
    println!("measured: seed {seed}");
    let mut random = Random::new(seed);
    let random = &mut random;
    let begin = Instant::now();
    let (mut activations, mut frames_in_all) = (0_u32, 0);
    let mut plugin = Instance::create(&clap_bundle()).unwrap();
    while begin.elapsed() < duration {
        if random.between(0, 9) == 0 {
            plugin = Instance::create(&clap_bundle()).unwrap();
        }
        let max_block = random.between(1, MAX_BLOCK);
        let mode = pick(random, &[Mode::Offline, Mode::Realtime]);
        plugin.activate(pick(random, &RATES), max_block, mode).unwrap();
        activations += 1;
        let latency = plugin.latency().unwrap();
        let mut peak = 0.0_f32;
        for _ in 0..random.between(0, 4) {
            let frames = random.between(1, 3 * MAX_BLOCK);
            let sound = sound(random, frames);
            frames_in_all += frames;
            peak = sound.samples().map(f32::abs).filter(|size| *size < MAX_SAMPLE).fold(peak, f32::max);
            let events = events(&plugin, random, frames);
            let aux = random.bits().is_multiple_of(2);
            let blocks = match aux {
                true => blocks(random, max_block).with_aux(AuxPorts::Connected),
                false => blocks(random, max_block),
            };
            let output = plugin.render(&sound, blocks, &events).unwrap();
            check_output(&output, peak, aux);
            assert_eq!(plugin.latency().unwrap(), latency, "the latency changes while the plugin is active");
            match random.between(0, 5) {
                0 => plugin.reset().unwrap(),
                1 => check_state(&mut plugin),
                2 => {
                    let state = State::from_clap(&plugin.save_state().unwrap()).unwrap();
                    // Whether it is refused or repaired, the plugin goes on.
                    drop(plugin.load_state(&changed(state, random).to_clap()));
                    check_state(&mut plugin);
                }
                _ => (),
            }
        }
        plugin.deactivate();
    }
    println!("measured: {activations} activations and {frames_in_all} frames");
    assert!(activations > 0 && frames_in_all > 0);
}

host_test!(random_calls_keep_the_output_bounded, TestEnvironment::with_package("half"), {
    run(1, SHORT);
});

host_test!(random_calls_of_a_new_seed_keep_it_bounded, TestEnvironment::with_package("half"), {
    run(seed(), SHORT);
});

host_test!(
    #[ignore = "takes minutes: cargo xtask test --full"]
    minutes_of_random_calls_keep_the_output_bounded,
    TestEnvironment::with_package("half"),
    {
        run(seed(), LONG);
    }
);
