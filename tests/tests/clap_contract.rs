//! The bundled CLAP with arbitrary parameter changes, arbitrary bytes as a state, and hosts that call it unusually.

use std::time::Duration;

use clap_sys::process::CLAP_PROCESS_ERROR;
use sift_tests::audio::{Audio, Random};
use sift_tests::clap_host::{AuxPorts, Blocks, Event, Instance, Mode};
use sift_tests::process::{eventually, thread_id};
use sift_tests::state::State;
use sift_tests::subprocess::TestEnvironment;
use sift_tests::vst3_host;
use sift_tests::{fixtures, host_test};

const RATE: f64 = 48_000.0;

fn plugin() -> Instance {
    Instance::create(&fixtures::clap_bundle()).unwrap()
}

/// `count` changes of random parameters to random values, the ends of their ranges included, at random frames.
fn random_changes(plugin: &mut Instance, random: &mut Random, frames: usize, count: usize) -> Vec<Event> {
    let parameters: Vec<_> = plugin.parameters().iter().filter(|each| each.is_automatable).cloned().collect();
    (0..count)
        .map(|_| {
            let parameter = &parameters[random.between(0, parameters.len() - 1)];
            let (low, high) = (*parameter.range.start(), *parameter.range.end());
            let value = match random.between(0, 9) {
                0 => low,
                1 => high,
                _ => low + (high - low) * f64::from(random.bipolar().abs()),
            };
            parameter.change(random.between(0, frames - 1), value)
        })
        .collect()
}

host_test!(random_parameter_changes_keep_the_output_finite, TestEnvironment::with_package("half"), {
    let mut random = Random::new(5);
    let mut plugin = plugin();
    for round in 0..40 {
        let max_block = random.between(1, 3000);
        plugin.activate(RATE, max_block, Mode::Offline).unwrap();
        let noise = Audio::noise(2, 24_000, 0.5, round);
        let changes = random_changes(&mut plugin, &mut random, noise.frames(), 400);
        let output = plugin.render(&noise, Blocks::random(max_block, round), &changes).unwrap();
        // The output gain is at most 12 dB, and the transform may raise a peak slightly.
        let peak = output.main.samples().fold(0.0_f32, |peak, sample| peak.max(sample.abs()));
        assert!(
            output.main.is_finite() && peak < 4.0,
            "round {round}: the peak is {peak}; expected less than 4"
        );
        assert!(output.target.is_finite() && output.residual.is_finite(), "round {round}");
        plugin.deactivate();
    }
});

host_test!(state_of_any_bytes_loads_whole_or_changes_nothing, TestEnvironment::with_package("half"), {
    let mut random = Random::new(6);
    let mut plugin = plugin();
    plugin.set("Mask strength", "33 %").unwrap();
    let good = State::from_clap(&plugin.save_state().unwrap()).unwrap().with_query(3, "기타 소리");
    plugin.load_state(&good.to_clap()).unwrap();
    let good = plugin.save_state().unwrap();

    let mut bytes: Vec<(String, Vec<u8>)> = vec![
        ("no bytes".into(), Vec::new()),
        ("one byte".into(), vec![0]),
        ("only a length".into(), u64::MAX.to_le_bytes().to_vec()),
        ("a megabyte of random bytes".into(), (0..1 << 20).map(|_| random.bits() as u8).collect()),
        ("another program's JSON".into(), with_length(br#"{"presets":[1,2,3]}"#)),
        ("a list".into(), with_length(b"[]")),
        ("numbers in place of texts".into(), {
            let mut state = State::from_clap(&good).unwrap();
            state.set_field("queries", &serde_json::json!([1, 2, 3]));
            state.to_clap()
        }),
    ];
    for cut in [4, 8, 9, good.len() / 2, good.len() - 1] {
        bytes.push((format!("the first {cut} bytes"), good[..cut].to_vec()));
    }
    for round in 0..200 {
        let mut changed = good.clone();
        for _ in 0..=random.between(0, 4) {
            let at = random.between(8, changed.len() - 1);
            changed[at] = random.bits() as u8;
        }
        bytes.push((format!("random change {round}"), changed));
    }
    let noise = Audio::noise(2, 4096, 0.5, 7);
    for (what, bytes) in bytes {
        plugin.load_state(&good).unwrap();
        if plugin.load_state(&bytes).is_err() {
            assert_eq!(plugin.save_state().unwrap(), good, "{what}: the refused state changed something");
        }
        // Whatever was loaded, the plugin plays, saves, and loads what it saved.
        plugin.activate(RATE, 512, Mode::Offline).unwrap();
        assert!(plugin.render(&noise, Blocks::of(512), &[]).unwrap().main.is_finite(), "{what}");
        plugin.deactivate();
        let saved = plugin.save_state().unwrap();
        plugin.load_state(&saved).unwrap();
        assert_eq!(plugin.save_state().unwrap(), saved, "{what}");
    }
});

/// `json` after its length, as a CLAP state.
fn with_length(json: &[u8]) -> Vec<u8> {
    [&(json.len() as u64).to_le_bytes(), json].concat()
}

host_test!(state_of_a_newer_version_loads_its_known_fields, TestEnvironment::with_package("half"), {
    let mut plugin = plugin();
    let mut state = State::from_clap(&plugin.save_state().unwrap()).unwrap();
    state.set_field("reverberation", &serde_json::json!({ "seconds": 3 }));
    let state = state.with_query(2, "a violin").with_parameter("warmth", serde_json::json!({ "f32": 0.5 }));
    plugin.load_state(&state.to_clap()).unwrap();
    let saved = State::from_clap(&plugin.save_state().unwrap()).unwrap();
    assert_eq!(saved.queries().unwrap()[1], "a violin");
});

host_test!(state_saved_by_version_0_1_loads, TestEnvironment::with_package("half"), {
    let golden = fixtures::repository().join("tests/states/0.1.clap-state");
    let mut plugin = plugin();
    assert_eq!(plugin.parameter_text("Listen to the rest").unwrap(), "On", "of a new instance");
    plugin.load_state(&std::fs::read(&golden).unwrap()).unwrap();
    let expected = [
        ("Mask strength", "42.0 %"),
        ("Mode", "Remove"),
        ("Active query", "3: 기타 소리 🎸"),
        ("Sharpness", "2.00"),
        ("Floor", "-20.0 dB"),
        ("Smoothing", "50.0 ms"),
        ("Output gain", "-3.0 dB"),
        ("Listen to", "What was taken away"),
        ("Bypass", "On"),
        ("Listen to the rest", "Off"),
    ];
    for (name, text) in expected {
        assert_eq!(plugin.parameter_text(name).unwrap(), text, "{name}");
    }
    let state = State::from_clap(&plugin.save_state().unwrap()).unwrap();
    assert_eq!(state.queries().unwrap()[2], "기타 소리 🎸");
    assert_eq!(state.field("model").unwrap(), "Sift default");
});

host_test!(clap_and_vst3_in_one_process_give_equal_bits, TestEnvironment::with_package("half"), {
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

/// The output gain's factor of each frame that is rendered at strength 0 from a signal of ones, of which the first
/// ones are late by the latency.
fn gains(plugin: &mut Instance, blocks: Blocks, frames: usize, events: &[Event]) -> Vec<f32> {
    let ones = Audio::from_fn(2, frames, |_, _| 1.0);
    plugin.render(&ones, blocks, events).unwrap().main.channel(0).to_vec()
}

/// An active instance at strength 0 that has played ones for longer than its latency.
fn settled(max_block: usize) -> Instance {
    let mut plugin = plugin();
    plugin.set("Mask strength", "0 %").unwrap();
    plugin.activate(RATE, max_block, Mode::Offline).unwrap();
    let settled = gains(&mut plugin, Blocks::of(max_block), 24_000, &[]);
    assert_eq!(settled.last(), Some(&1.0));
    plugin
}

host_test!(event_beyond_the_block_takes_effect_in_it, TestEnvironment::with_package("half"), {
    // Beyond the end by as much as Ardour was seen to send, by one, at the end, and very far.
    for beyond in [88, 1, 0, 1 << 20] {
        let mut plugin = settled(512);
        let event = plugin.event(0, "Output gain", "-6 dB").unwrap();
        // The host's buffers have guards behind the block, which `render` checks.
        let block = gains(&mut plugin, Blocks::of(256).with_late_events(256 + beyond), 256, &[event]);
        assert!(block[..255].iter().all(|gain| *gain == 1.0), "{beyond}: the event takes effect too early");
        assert_eq!(
            plugin.parameter_text("Output gain").unwrap(),
            "-6.0 dB",
            "{beyond} frames beyond the end"
        );
        let later = gains(&mut plugin, Blocks::of(256), 24_000, &[]);
        assert!((later[23_999] - 0.501).abs() < 1e-3, "{beyond}: the gain is {}", later[23_999]);
    }
});

host_test!(event_of_an_empty_block_takes_effect, TestEnvironment::with_package("half"), {
    let mut plugin = settled(512);
    let event = plugin.event(7, "Output gain", "-6 dB").unwrap();
    plugin.process_empty(&[event]).unwrap();
    assert_eq!(plugin.parameter_text("Output gain").unwrap(), "-6.0 dB");
});

host_test!(events_out_of_order_take_effect, TestEnvironment::with_package("half"), {
    let mut plugin = settled(512);
    let strength = plugin.event(200, "Output gain", "-6 dB").unwrap();
    let mode = plugin.event(100, "Mode", "Remove").unwrap();
    gains(&mut plugin, Blocks::of(512).with_unsorted_events(), 512, &[strength, mode]);
    assert_eq!(plugin.parameter_text("Output gain").unwrap(), "-6.0 dB");
    assert_eq!(plugin.parameter_text("Mode").unwrap(), "Remove");
});

host_test!(process_is_refused_while_inactive, TestEnvironment::with_package("half"), {
    let mut plugin = plugin();
    assert_eq!(plugin.process_in_any_state(), CLAP_PROCESS_ERROR, "before the first activation");
    plugin.activate(RATE, 512, Mode::Offline).unwrap();
    assert_ne!(plugin.process_in_any_state(), CLAP_PROCESS_ERROR, "while it is active");
    plugin.deactivate();
    assert_eq!(plugin.process_in_any_state(), CLAP_PROCESS_ERROR, "after it was active");
});

host_test!(start_and_stop_around_each_block_change_no_bit, TestEnvironment::with_package("recurrent"), {
    let noise = Audio::noise(2, 24_000, 0.5, 3);
    let render = |blocks: Blocks| {
        let mut plugin = plugin();
        plugin.activate(RATE, 512, Mode::Offline).unwrap();
        plugin.render(&noise, blocks, &[]).unwrap()
    };
    let (once, each) = (render(Blocks::of(512)), render(Blocks::of(512).restarted()));
    assert_eq!(each.main.first_difference(&once.main), None);
    assert_eq!(each.target.first_difference(&once.target), None);
});

host_test!(activation_calls_neither_restart_nor_latency, TestEnvironment::with_package("half"), {
    let mut plugin = plugin();
    for _ in 0..3 {
        plugin.activate(RATE, 512, Mode::Realtime).unwrap();
        assert_eq!(plugin.take_calls_in_activation(), Vec::<&str>::new());
        assert_eq!(plugin.latency().unwrap(), fixtures::expected_latency(RATE, 512));
        plugin.deactivate();
    }
    // The specification allows another latency during an activation only, and wants it reported there.
    plugin.activate(RATE, 2048, Mode::Realtime).unwrap();
    assert_eq!(plugin.take_calls_in_activation(), ["latency.changed"]);
    assert_eq!(plugin.latency().unwrap(), fixtures::expected_latency(RATE, 2048));
    assert!(!plugin.take_restart_request());
});

host_test!(opening_a_project_builds_one_engine, TestEnvironment::with_package("half"), {
    let noise = Audio::noise(2, 24_000, 0.5, 4);
    let state = plugin().save_state().unwrap();
    let mut plugin = plugin();
    plugin.load_state(&state).unwrap();
    plugin.activate(RATE, 512, Mode::Realtime).unwrap();
    assert!(eventually(Duration::from_secs(5), || thread_id("sift separator").is_some()));
    let first = thread_id("sift separator");
    for _ in 0..10 {
        plugin.render(&noise.slice(0..2048), Blocks::of(512).in_real_time(), &[]).unwrap();
        if plugin.take_restart_request() {
            plugin.deactivate();
            plugin.activate(RATE, 512, Mode::Realtime).unwrap();
        }
    }
    assert!(eventually(Duration::from_secs(5), || thread_id("sift separator").is_some()));
    assert_eq!(thread_id("sift separator"), first, "the engine was built again");
});

host_test!(missing_auxiliary_buffers_leave_the_main_output, TestEnvironment::with_package("half"), {
    let noise = Audio::noise(2, 24_000, 0.5, 5);
    let render = |blocks: Blocks| {
        let mut plugin = plugin();
        plugin.activate(RATE, 512, Mode::Offline).unwrap();
        let mode = plugin.event(9_001, "Mode", "Remove").unwrap();
        plugin.render(&noise, blocks, &[mode]).unwrap().main
    };
    let expected = render(Blocks::of(480));
    for aux in [
        AuxPorts::Absent,
        AuxPorts::NullArray,
        AuxPorts::NullChannels,
        AuxPorts::NoChannels,
        AuxPorts::OneBuffer,
    ] {
        for blocks in [Blocks::of(480), Blocks::of(480).in_place()] {
            let main = render(blocks.with_aux(aux));
            assert_eq!(main.first_difference(&expected), None, "{aux:?}");
        }
    }
});

host_test!(largest_block_of_the_preferences_sets_the_latency, TestEnvironment::with_package("half"), {
    const ANNOUNCED: usize = 8_192;
    let folder = std::path::PathBuf::from(std::env::var_os("XDG_CONFIG_HOME").unwrap()).join("sift");
    std::fs::create_dir_all(&folder).unwrap();
    let latency_and_difference = |block: usize| {
        let mut plugin = plugin();
        plugin.activate(RATE, ANNOUNCED, Mode::Realtime).unwrap();
        let latency = plugin.latency().unwrap();
        let noise = Audio::noise(2, 24_000, 0.5, 3);
        let output = plugin.render(&noise, Blocks::of(block).in_real_time(), &[]).unwrap();
        let sum = output.target.plus(&output.residual);
        (latency, sum.largest_difference(&noise.delayed(latency)))
    };
    let (large, _) = latency_and_difference(64);
    assert_eq!(large, fixtures::expected_latency(RATE, ANNOUNCED));
    std::fs::write(folder.join("preferences.toml"), "largest_block = 256\n").unwrap();
    for block in [64, ANNOUNCED] {
        let (latency, difference) = latency_and_difference(block);
        assert_eq!(latency, fixtures::expected_latency(RATE, 256));
        assert!(
            difference < 1e-5,
            "blocks of {block}: target and residual differ by {difference} from the input"
        );
    }
});
