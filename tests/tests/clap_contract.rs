//! The bundled CLAP against what hosts may do and users' sessions may hold: any rate, any block, any value of
//! a parameter at any time, any bytes for a state, any moment for its end.

use std::time::Duration;

use sift_tests::audio::{Audio, Random};
use sift_tests::clap_host::{Blocks, Event, Instance, Mode};
use sift_tests::isolation::Environment;
use sift_tests::state::State;
use sift_tests::vst3_host;
use sift_tests::{fixtures, host_test, priming};

const RATE: f64 = 48_000.0;
/// −100 dB.
const RECONSTRUCTION: f32 = 1e-5;

fn plugin() -> Instance {
    Instance::create(&fixtures::clap_bundle()).unwrap()
}

host_test!(every_rate_from_8_to_768_khz_is_processed, Environment::with_package("identity"), {
    let rates = [
        8_000.0, 11_025.0, 16_000.0, 22_050.0, 31_999.5, 44_099.99, 47_952.05, 88_200.0, 176_400.0,
        192_000.0, 352_800.0, 384_000.0, 768_000.0,
    ];
    let mut plugin = plugin();
    for rate in rates {
        for max_block in [64, 1024] {
            plugin.activate(rate, max_block, Mode::Offline).unwrap();
            let latency = plugin.latency().unwrap();
            assert_eq!(latency, fixtures::expected_latency(rate, max_block), "{rate} Hz");
            let frames = latency + 4 * fixtures::stft_frame_and_hop(rate).0;
            let noise = Audio::noise(2, frames, 0.5, 3);
            let output = plugin.render(&noise, Blocks::of(max_block), &[]).unwrap();
            let difference = output.main.largest_difference(&noise.delayed(latency));
            assert!(
                difference <= RECONSTRUCTION,
                "{rate} Hz, blocks of {max_block}: differs by {difference:e}"
            );
            plugin.deactivate();
        }
    }
});

host_test!(
    blocks_from_1_to_16384_constant_random_and_changing_give_the_same_bits,
    Environment::with_package("half"),
    {
        const LARGEST: usize = 16_384;
        let noise = Audio::noise(2, 3 * LARGEST + 77, 0.5, 4);
        let render = |blocks: Blocks| {
            let mut plugin = plugin();
            // The latency is that of the largest block announced, so it is announced to all.
            plugin.activate(RATE, LARGEST, Mode::Offline).unwrap();
            plugin.render(&noise, blocks, &[]).unwrap()
        };
        let expected = render(Blocks::of(512));
        let all = [1, 31, 4096, LARGEST].map(|frames| (format!("blocks of {frames}"), Blocks::of(frames)));
        let random =
            [3, 100, LARGEST].map(|largest| (format!("up to {largest}"), Blocks::random(largest, 9)));
        for (what, blocks) in all.into_iter().chain(random) {
            let output = render(blocks);
            for (port, actual, expected) in [
                ("Output", &output.main, &expected.main),
                ("Target", &output.target, &expected.target),
                ("Residual", &output.residual, &expected.residual),
            ] {
                assert_eq!(actual.first_difference(expected), None, "{what}, {port}");
            }
        }
    }
);

/// Changes of random parameters to random values, up to and beyond their ends, at random frames.
fn any_changes(plugin: &mut Instance, random: &mut Random, frames: usize, count: usize) -> Vec<Event> {
    let parameters: Vec<_> = plugin.parameters().iter().filter(|each| each.is_automatable).cloned().collect();
    (0..count)
        .map(|_| {
            let parameter = &parameters[random.between(0, parameters.len() - 1)];
            let (low, high) = (*parameter.range.start(), *parameter.range.end());
            let place = match random.between(0, 9) {
                0 => low,
                1 => high,
                _ => low + (high - low) * f64::from(random.bipolar().abs()),
            };
            parameter.change(random.between(0, frames - 1), place)
        })
        .collect()
}

host_test!(whatever_parameters_do_the_sound_stays_sound, Environment::with_package("half"), {
    let mut random = Random::new(5);
    let mut plugin = plugin();
    for round in 0..40 {
        let max_block = random.between(1, 3000);
        plugin.activate(RATE, max_block, Mode::Offline).unwrap();
        let noise = Audio::noise(2, 24_000, 0.5, round);
        let changes = any_changes(&mut plugin, &mut random, noise.frames(), 400);
        let output = plugin.render(&noise, Blocks::random(max_block, round), &changes).unwrap();
        // The output gain is at most 12 dB; the transform may lift a peak by a little.
        let peak = output.main.samples().fold(0.0_f32, |peak, sample| peak.max(sample.abs()));
        assert!(output.main.is_finite() && peak < 4.0, "round {round}: the peak is {peak}");
        assert!(output.target.is_finite() && output.residual.is_finite(), "round {round}");
        plugin.deactivate();
    }
});

host_test!(
    a_state_of_any_bytes_is_taken_or_refused_and_nothing_is_lost,
    Environment::with_package("half"),
    {
        let mut random = Random::new(6);
        let mut plugin = plugin();
        plugin.set("Mask strength", "33 %").unwrap();
        let good = State::from_clap(&plugin.save_state().unwrap()).unwrap().with_query(3, "기타 소리");
        plugin.load_state(&good.to_clap()).unwrap();
        let good = plugin.save_state().unwrap();

        let mut bytes: Vec<(String, Vec<u8>)> = vec![
            ("nothing".into(), Vec::new()),
            ("one byte".into(), vec![0]),
            ("a length alone".into(), u64::MAX.to_le_bytes().to_vec()),
            ("a megabyte of anything".into(), (0..1 << 20).map(|_| random.bits() as u8).collect()),
            ("another program's JSON".into(), with_length(br#"{"presets":[1,2,3]}"#)),
            ("a list".into(), with_length(b"[]")),
            ("numbers for texts".into(), {
                let mut state = State::from_clap(&good).unwrap();
                state.set_field("queries", &serde_json::json!([1, 2, 3]));
                state.to_clap()
            }),
        ];
        for cut in [4, 8, 9, good.len() / 2, good.len() - 1] {
            bytes.push((format!("the first {cut} bytes"), good[..cut].to_vec()));
        }
        for round in 0..200 {
            let mut spoilt = good.clone();
            for _ in 0..=random.between(0, 4) {
                let at = random.between(8, spoilt.len() - 1);
                spoilt[at] = random.bits() as u8;
            }
            bytes.push((format!("spoilt {round}"), spoilt));
        }
        let noise = Audio::noise(2, 4096, 0.5, 7);
        for (what, bytes) in bytes {
            plugin.load_state(&good).unwrap();
            if plugin.load_state(&bytes).is_err() {
                assert_eq!(plugin.save_state().unwrap(), good, "{what}: refused, and yet something changed");
            }
            // Whatever it took, it plays, and can be saved and loaded.
            plugin.activate(RATE, 512, Mode::Offline).unwrap();
            assert!(plugin.render(&noise, Blocks::of(512), &[]).unwrap().main.is_finite(), "{what}");
            plugin.deactivate();
            let saved = plugin.save_state().unwrap();
            plugin.load_state(&saved).unwrap();
            assert_eq!(plugin.save_state().unwrap(), saved, "{what}");
        }
    }
);

/// `json` as CLAP hosts see it.
fn with_length(json: &[u8]) -> Vec<u8> {
    [&(json.len() as u64).to_le_bytes(), json].concat()
}

host_test!(a_state_of_a_newer_version_keeps_what_this_one_knows, Environment::with_package("half"), {
    let mut plugin = plugin();
    let mut state = State::from_clap(&plugin.save_state().unwrap()).unwrap();
    state.set_field("reverberation", &serde_json::json!({ "seconds": 3 }));
    let state = state.with_query(2, "a violin").with_parameter("warmth", serde_json::json!({ "f32": 0.5 }));
    plugin.load_state(&state.to_clap()).unwrap();
    let saved = State::from_clap(&plugin.save_state().unwrap()).unwrap();
    assert_eq!(saved.queries().unwrap()[1], "a violin");
});

host_test!(the_state_that_version_0_1_saved_is_still_understood, Environment::with_package("half"), {
    let golden = fixtures::repository().join("tests/states/0.1.clap-state");
    let mut plugin = plugin();
    plugin.load_state(&std::fs::read(&golden).unwrap()).unwrap();
    let expected = [
        ("Mask strength", "42.0 %"),
        ("Mode", "Remove"),
        ("Active query", "3"),
        ("Sharpness", "2.00"),
        ("Floor", "-20.0 dB"),
        ("Smoothing", "50.0 ms"),
        ("Output gain", "-3.0 dB"),
        ("Listen to", "What was taken away"),
        ("Bypass", "On"),
    ];
    for (name, text) in expected {
        assert_eq!(plugin.text(name).unwrap(), text, "{name}");
    }
    let state = State::from_clap(&plugin.save_state().unwrap()).unwrap();
    assert_eq!(state.queries().unwrap()[2], "기타 소리 🎸");
    assert_eq!(state.field("model").unwrap(), "Sift default");
});

host_test!(it_may_go_while_texts_are_encoded_and_the_separator_runs, Environment::as_delivered(), {
    let (mixture, _) = Audio::read_wav(&fixtures::demo("mixture.wav")).unwrap();
    for round in 0..12 {
        let mut plugin = plugin();
        plugin.activate(RATE, 512, Mode::Realtime).unwrap();
        priming::until_separated(&mut plugin, &mixture, 512, Duration::from_secs(60)).unwrap();
        let mut state = State::from_clap(&plugin.save_state().unwrap()).unwrap();
        for slot in 1..=8 {
            state = state.with_query(slot, &format!("a sound that nobody has typed before, {round} {slot}"));
        }
        plugin.load_state(&state.to_clap()).unwrap();
        plugin.render(&mixture.slice(0..512 * round), Blocks::of(512).paced(), &[]).unwrap();
        // Some without being deactivated first.
        if round % 2 == 0 {
            plugin.deactivate();
        }
    }
});

host_test!(clap_and_vst3_live_in_one_process, Environment::with_package("half"), {
    let noise = Audio::noise(2, 24_000, 0.5, 8);
    let mut clap = plugin();
    let mut vst3 = vst3_host::Instance::create(&fixtures::vst3_module()).unwrap();
    for _ in 0..3 {
        clap.activate(RATE, 480, Mode::Offline).unwrap();
        vst3.activate(RATE, 480, [false, false]).unwrap();
        let one = clap.render(&noise, Blocks::of(480), &[]).unwrap();
        let other = vst3.render(&noise, 480).unwrap();
        assert_eq!(one.main.first_difference(&other.main), None);
        clap.deactivate();
        vst3.deactivate();
    }
    drop(clap);
    vst3.activate(RATE, 480, [false, false]).unwrap();
    assert!(vst3.render(&noise, 480).unwrap().main.is_finite());
});

host_test!(
    a_vst3_that_is_not_active_processes_nothing_and_takes_no_harm,
    Environment::with_package("half"),
    {
        let noise = Audio::noise(2, 4800, 0.5, 10);
        let mut plugin = vst3_host::Instance::create(&fixtures::vst3_module()).unwrap();
        assert!(plugin.render(&noise, 480).is_err(), "process before setActive is refused");
        plugin.activate(RATE, 480, [false, false]).unwrap();
        let expected = plugin.render(&noise, 480).unwrap();
        plugin.deactivate();
        assert!(plugin.render(&noise, 480).is_err(), "process after setActive(0) is refused");
        plugin.activate(RATE, 480, [false, false]).unwrap();
        let again = plugin.render(&noise, 480).unwrap();
        assert_eq!(again.main.first_difference(&expected.main), None);
    }
);

host_test!(sixty_four_instances_play_at_once, Environment::with_package("half"), {
    let noise = Audio::noise(2, 4800, 0.5, 9);
    let mut instances: Vec<Instance> = (0..64)
        .map(|_| {
            let mut plugin = plugin();
            plugin.activate(RATE, 480, Mode::Offline).unwrap();
            plugin
        })
        .collect();
    let outputs: Vec<_> = instances
        .iter_mut()
        .map(|plugin| plugin.render(&noise, Blocks::of(480), &[]).unwrap().main)
        .collect();
    for (number, output) in outputs.iter().enumerate() {
        assert_eq!(output.first_difference(&outputs[0]), None, "instance {number}");
    }
    // They go in another order than they came.
    instances.rotate_left(20);
});
