//! Going over to another model while sound plays, in the bundled CLAP: nobody activates it anew, and
//! nothing clicks.
//!
//! Of the packages beside the built-in one, "Whole" keeps all of the sound, "Half" half of it, and
//! "Later" does what "Half" does two frames later.

use std::path::Path;
use std::time::Duration;

use sift_tests::audio::Audio;
use sift_tests::clap_host::{Blocks, Instance, Mode};
use sift_tests::fixtures::{clap_bundle, expected_latency, package, stft_frame_and_hop};
use sift_tests::host_test;
use sift_tests::isolation::{Environment, scratch_folder};
use sift_tests::process::eventually;
use sift_tests::state::State;

const RATE: f64 = 48_000.0;

/// The packages, in a folder of the test `name`.
fn models(name: &str) -> Environment {
    let folder = scratch_folder(Path::new(env!("CARGO_TARGET_TMPDIR")), name);
    for (from, called, lookahead) in [("identity", "Whole", 0), ("half", "Half", 0), ("half", "Later", 2)] {
        let to = folder.join(called);
        std::fs::create_dir(&to).unwrap();
        for entry in std::fs::read_dir(package(from)).unwrap() {
            let file = entry.unwrap();
            std::fs::copy(file.path(), to.join(file.file_name())).unwrap();
        }
        let manifest = to.join("package.toml");
        let text = std::fs::read_to_string(&manifest).unwrap();
        let text = text.replace("\"Sift default\"", &format!("{called:?}"));
        std::fs::write(&manifest, text.replace("lookahead = 0", &format!("lookahead = {lookahead}")))
            .unwrap();
    }
    Environment::with_package_at(folder)
}

/// A state that names this model.
fn state(plugin: &mut Instance, model: &str) -> Vec<u8> {
    State::from_clap(&plugin.save_state().unwrap()).unwrap().with_model(model).to_clap()
}

fn playing(model: &str, mode: Mode) -> Instance {
    let mut plugin = Instance::create(&clap_bundle()).unwrap();
    let state = state(&mut plugin, model);
    plugin.load_state(&state).unwrap();
    plugin.activate(RATE, 512, mode).unwrap();
    plugin
}

/// What part of a sound comes through.
fn gain(plugin: &mut Instance) -> f32 {
    let noise = Audio::noise(2, 24_000, 0.5, 1);
    let output = plugin.render(&noise, Blocks::of(512), &[]).unwrap();
    let at = 12_000..24_000;
    let input = noise.delayed(plugin.latency().unwrap()).slice(at.clone());
    output.main.slice(at).to_mono()[0] / input.to_mono()[0]
}

host_test!(a_model_loaded_during_processing_takes_over, models("clap_models_takes_over"), {
    let mut plugin = playing("Whole", Mode::Offline);
    assert!((gain(&mut plugin) - 1.0).abs() < 1e-3);
    // One that is not there lets everything pass, and is no end.
    for (model, expected) in [("Half", 0.5), ("Whole", 1.0), ("Half", 0.5), ("nowhere", 1.0), ("Half", 0.5)] {
        let state = state(&mut plugin, model);
        plugin.load_state(&state).unwrap();
        let taken = eventually(Duration::from_secs(5), || (gain(&mut plugin) - expected).abs() < 1e-3);
        assert!(taken, "with the model {model} the gain stays {} instead of {expected}", gain(&mut plugin));
    }
});

host_test!(going_over_to_another_model_makes_no_click, models("clap_models_no_click"), {
    let sine = Audio::sine(2, 96_000, RATE, 440.0, 0.5);
    let mut plugin = playing("Whole", Mode::Realtime);
    // A second for the first one to be ready.
    plugin.render(&sine.slice(0..48_000), Blocks::of(512).paced(), &[]).unwrap();
    plugin.render(&sine, Blocks::of(512).paced(), &[]).unwrap();
    plugin.take_restart_request();
    let state = state(&mut plugin, "Half");
    plugin.load_state(&state).unwrap();
    let heard = plugin.render(&sine, Blocks::of(512).paced(), &[]).unwrap().main;
    assert!(heard.largest_jump() < 1.3 * sine.largest_jump(), "{}", heard.largest_jump());
    let end = heard.slice(90_000..96_000);
    let loudest = end.samples().fold(0.0_f32, |most, sample| most.max(sample.abs()));
    assert!((loudest - 0.25).abs() < 0.01, "half of it is left: {loudest}");
    assert!(!plugin.take_restart_request(), "the latency is the same: the host has nothing to do");
});

host_test!(a_model_of_another_latency_has_the_host_told, models("clap_models_latency"), {
    let sine = Audio::sine(2, 96_000, RATE, 440.0, 0.5);
    let mut plugin = playing("Whole", Mode::Realtime);
    plugin.render(&sine, Blocks::of(512).paced(), &[]).unwrap();
    plugin.take_restart_request();
    let state = state(&mut plugin, "Later");
    plugin.load_state(&state).unwrap();
    let heard = plugin.render(&sine, Blocks::of(512).paced(), &[]).unwrap().main;
    assert!(heard.largest_jump() < 1.3 * sine.largest_jump(), "{}", heard.largest_jump());
    assert!(plugin.take_restart_request());
    plugin.deactivate();
    plugin.activate(RATE, 512, Mode::Offline).unwrap();
    let (_, hop) = stft_frame_and_hop(RATE);
    assert_eq!(plugin.latency().unwrap(), expected_latency(RATE, 512) + 2 * hop);
    assert!((gain(&mut plugin) - 0.5).abs() < 1e-3);
});

host_test!(a_model_that_arrives_before_the_last_one_took_over_waits, models("clap_models_queue"), {
    let noise = Audio::noise(2, 48_000, 0.5, 1);
    let few = noise.slice(0..16);
    let mut plugin = playing("Whole", Mode::Realtime);
    std::thread::sleep(Duration::from_millis(500));
    plugin.render(&noise, Blocks::of(512).paced(), &[]).unwrap();
    for model in ["Half", "Whole", "Half"] {
        let state = state(&mut plugin, model);
        plugin.load_state(&state).unwrap();
        std::thread::sleep(Duration::from_millis(500));
        // Too few to fade to the next one; an engine that was dropped here would end a debug build.
        plugin.render(&few, Blocks::of(16), &[]).unwrap();
    }
    let taken = eventually(Duration::from_secs(5), || (gain(&mut plugin) - 0.5).abs() < 1e-3);
    assert!(taken, "the last one that was asked for runs in the end");
});

host_test!(models_can_change_while_the_last_change_is_under_way, models("clap_models_at_once"), {
    let noise = Audio::noise(2, 2_048, 0.5, 1);
    let mut plugin = playing("Whole", Mode::Realtime);
    for round in 0..20 {
        let state = state(&mut plugin, ["Half", "Whole", "nowhere"][round % 3]);
        plugin.load_state(&state).unwrap();
        assert!(plugin.render(&noise, Blocks::of(512).paced(), &[]).unwrap().main.is_finite());
        if round % 7 == 6 {
            plugin.deactivate();
            plugin.activate(RATE, 512, Mode::Realtime).unwrap();
        }
    }
    let state = state(&mut plugin, "Half");
    plugin.load_state(&state).unwrap();
    let taken = eventually(Duration::from_secs(5), || (gain(&mut plugin) - 0.5).abs() < 1e-3);
    assert!(taken, "the last one that was asked for runs in the end");
});
