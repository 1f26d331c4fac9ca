//! Switching the bundled CLAP to another model while sound plays, without a new activation and without a click.
//!
//! Three packages are installed: "Whole" keeps all of the sound, "Half" half of it, and "Later" is "Half" with a
//! lookahead of two frames.

use std::time::Duration;

use sift_tests::audio::Audio;
use sift_tests::clap_host::{Blocks, Instance, Mode};
use sift_tests::fixtures::{clap_bundle, expected_latency, package, stft_frame_and_hop};
use sift_tests::host_test;
use sift_tests::process::eventually;
use sift_tests::state::State;
use sift_tests::subprocess::TestEnvironment;

const RATE: f64 = 48_000.0;

/// Longest wait for a model to load and take over.
const SWITCH_TIMEOUT: Duration = Duration::from_secs(5);

/// An environment with the three packages.
fn three_models() -> TestEnvironment {
    let folder = tempfile::tempdir().unwrap();
    for (from, name, lookahead) in [("identity", "Whole", 0), ("half", "Half", 0), ("half", "Later", 2)] {
        let to = folder.path().join(name);
        std::fs::create_dir(&to).unwrap();
        for entry in std::fs::read_dir(package(from)).unwrap() {
            let file = entry.unwrap();
            std::fs::copy(file.path(), to.join(file.file_name())).unwrap();
        }
        let manifest = to.join("package.toml");
        let text = std::fs::read_to_string(&manifest).unwrap();
        let text = text.replace("\"Sift default\"", &format!("{name:?}"));
        std::fs::write(&manifest, text.replace("lookahead = 0", &format!("lookahead = {lookahead}")))
            .unwrap();
    }
    TestEnvironment::with_packages_in(folder)
}

/// The plugin's state with `model` selected.
fn state(plugin: &mut Instance, model: &str) -> Vec<u8> {
    State::from_clap(&plugin.save_state().unwrap()).unwrap().with_model(model).to_clap()
}

/// An active instance with `model` selected.
fn active(model: &str, mode: Mode) -> Instance {
    let mut plugin = Instance::create(&clap_bundle()).unwrap();
    let state = state(&mut plugin, model);
    plugin.load_state(&state).unwrap();
    plugin.activate(RATE, 512, mode).unwrap();
    plugin
}

/// Gain of the plugin.
fn gain(plugin: &mut Instance) -> f32 {
    let noise = Audio::noise(2, 24_000, 0.5, 1);
    let output = plugin.render(&noise, Blocks::of(512), &[]).unwrap();
    let at = 12_000..24_000;
    let input = noise.delayed(plugin.latency().unwrap()).slice(at.clone());
    output.main.slice(at).to_mono()[0] / input.to_mono()[0]
}

host_test!(model_selected_while_active_takes_over, three_models(), {
    let mut plugin = active("Whole", Mode::Offline);
    assert!((gain(&mut plugin) - 1.0).abs() < 1e-3);
    // A model that is not installed passes everything; the next one takes over all the same.
    for (model, expected) in [("Half", 0.5), ("Whole", 1.0), ("Half", 0.5), ("nowhere", 1.0), ("Half", 0.5)] {
        let state = state(&mut plugin, model);
        plugin.load_state(&state).unwrap();
        let took_over = eventually(SWITCH_TIMEOUT, || (gain(&mut plugin) - expected).abs() < 1e-3);
        assert!(took_over, "model {model}: the gain is {}; expected {expected}", gain(&mut plugin));
    }
});

host_test!(model_switch_makes_no_click_and_requests_no_restart, three_models(), {
    let sine = Audio::sine(2, 96_000, RATE, 440.0, 0.5);
    // "Whole" sounds like a plugin without a model: only after "Half" does its gain show that it has taken over.
    let mut plugin = active("Half", Mode::Realtime);
    assert!(eventually(SWITCH_TIMEOUT, || (gain(&mut plugin) - 0.5).abs() < 1e-3), "\"Half\" does not load");
    let whole = state(&mut plugin, "Whole");
    plugin.load_state(&whole).unwrap();
    assert!(eventually(SWITCH_TIMEOUT, || (gain(&mut plugin) - 1.0).abs() < 1e-3), "\"Whole\" does not load");
    plugin.render(&sine, Blocks::of(512).in_real_time(), &[]).unwrap();
    plugin.take_restart_request();
    let state = state(&mut plugin, "Half");
    plugin.load_state(&state).unwrap();
    let output = plugin.render(&sine, Blocks::of(512).in_real_time(), &[]).unwrap().main;
    assert!(
        output.largest_jump() < 1.3 * sine.largest_jump(),
        "the largest jump is {}",
        output.largest_jump()
    );
    let end = output.slice(90_000..96_000);
    let peak = end.samples().fold(0.0_f32, |peak, sample| peak.max(sample.abs()));
    assert!((peak - 0.25).abs() < 0.01, "the peak is {peak}; expected 0.25, half of the input's");
    assert!(!plugin.take_restart_request(), "the plugin requests a restart for the same latency");
});

host_test!(model_of_another_latency_requests_a_restart, three_models(), {
    let sine = Audio::sine(2, 96_000, RATE, 440.0, 0.5);
    let mut plugin = active("Whole", Mode::Realtime);
    plugin.render(&sine, Blocks::of(512).in_real_time(), &[]).unwrap();
    plugin.take_restart_request();
    let state = state(&mut plugin, "Later");
    plugin.load_state(&state).unwrap();
    let output = plugin.render(&sine, Blocks::of(512).in_real_time(), &[]).unwrap().main;
    assert!(
        output.largest_jump() < 1.3 * sine.largest_jump(),
        "the largest jump is {}",
        output.largest_jump()
    );
    assert!(plugin.take_restart_request(), "the plugin does not report its new latency");
    plugin.deactivate();
    plugin.activate(RATE, 512, Mode::Offline).unwrap();
    let (_, hop) = stft_frame_and_hop(RATE);
    assert_eq!(plugin.latency().unwrap(), expected_latency(RATE, 512) + 2 * hop);
    assert!((gain(&mut plugin) - 0.5).abs() < 1e-3);
});

host_test!(model_that_loads_before_the_last_took_over_waits, three_models(), {
    let noise = Audio::noise(2, 48_000, 0.5, 1);
    let too_few = noise.slice(0..16);
    let mut plugin = active("Whole", Mode::Realtime);
    plugin.render(&noise, Blocks::of(512).in_real_time(), &[]).unwrap();
    for model in ["Half", "Whole", "Half"] {
        let state = state(&mut plugin, model);
        plugin.load_state(&state).unwrap();
        // Nothing outside the plugin shows that a model has arrived and waits.
        plugin.wait(Duration::from_millis(500));
        // Too few frames to fade to the next model. In a debug build, dropping an engine here would abort.
        plugin.render(&too_few, Blocks::of(16), &[]).unwrap();
    }
    let took_over = eventually(SWITCH_TIMEOUT, || (gain(&mut plugin) - 0.5).abs() < 1e-3);
    assert!(took_over, "the gain is {}; expected 0.5 of the model selected last", gain(&mut plugin));
});

host_test!(model_switched_during_a_switch_takes_over_in_the_end, three_models(), {
    let noise = Audio::noise(2, 2_048, 0.5, 1);
    let mut plugin = active("Whole", Mode::Realtime);
    for round in 0..20 {
        let state = state(&mut plugin, ["Half", "Whole", "nowhere"][round % 3]);
        plugin.load_state(&state).unwrap();
        assert!(plugin.render(&noise, Blocks::of(512).in_real_time(), &[]).unwrap().main.is_finite());
        if round % 7 == 6 {
            plugin.deactivate();
            plugin.activate(RATE, 512, Mode::Realtime).unwrap();
        }
    }
    let state = state(&mut plugin, "Half");
    plugin.load_state(&state).unwrap();
    let took_over = eventually(SWITCH_TIMEOUT, || (gain(&mut plugin) - 0.5).abs() < 1e-3);
    assert!(took_over, "the gain is {}; expected 0.5 of the model selected last", gain(&mut plugin));
});
