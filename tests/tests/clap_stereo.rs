//! The parameter *Stereo* of the bundled CLAP: 0 in older states, automatable, without a click.
//!
//! The text is a band that the package `listener` keeps.

use std::f64::consts::TAU;

use sift_tests::audio::Audio;
use sift_tests::clap_host::{Blocks, Instance, Mode};
use sift_tests::state::State;
use sift_tests::subprocess::TestEnvironment;
use sift_tests::{fixtures, host_test};

const RATE: f64 = 48_000.0;
const FRAMES: usize = 144_000;
const STEREO: &str = "Stereo";

fn plugin() -> Instance {
    Instance::create(&fixtures::clap_bundle()).unwrap()
}

/// A tone at the edge of the band on the left, and one beyond it on the right.
fn tones() -> Audio {
    Audio::from_fn(2, FRAMES, |channel, frame| {
        let frequency = if channel == 0 { 900.0 } else { 1_200.0 };
        0.4 * (TAU * frequency * frame as f64 / RATE).sin() as f32
    })
}

/// The state of a new instance with a text of the band *low* in its active slot, and without a rest.
fn state() -> State {
    let state = State::from_clap(&plugin().save_state().unwrap()).unwrap().with_query(1, "low");
    state.with_parameter("rest", serde_json::json!({ "bool": false }))
}

fn with_stereo(amount: f32) -> State {
    state().with_parameter("stereo", serde_json::json!({ "f32": amount }))
}

/// The output of a new instance with `state`, for `input` in blocks of 512.
fn render(state: &State, input: &Audio) -> Audio {
    let mut plugin = plugin();
    plugin.load_state(&state.to_clap()).unwrap();
    plugin.activate(RATE, 512, Mode::Offline).unwrap();
    plugin.render(input, Blocks::of(512), &[]).unwrap().main
}

host_test!(older_state_gives_the_bits_of_the_mask_alone, TestEnvironment::with_package("listener"), {
    let older = render(&state().without_parameter("stereo"), &tones());
    let off = render(&with_stereo(0.0), &tones());
    let on = render(&with_stereo(1.0), &tones());
    assert_eq!(older.first_difference(&off), None);
    assert!(off.largest_difference(&on) > 0.01, "places change nothing");
});

host_test!(new_instance_has_all_of_it_and_an_older_state_none, TestEnvironment::with_package("listener"), {
    let mut plugin = plugin();
    assert_eq!(plugin.parameter_text(STEREO).unwrap(), "100.0 %");
    plugin.load_state(&state().without_parameter("stereo").to_clap()).unwrap();
    assert_eq!(plugin.parameter_text(STEREO).unwrap(), "0.0 %");
    let saved = State::from_clap(&plugin.save_state().unwrap()).unwrap();
    assert_eq!(saved, saved.clone().with_parameter("stereo", serde_json::json!({ "f32": 0.0 })));
});

host_test!(equal_channels_keep_the_bits_of_the_mask_alone, TestEnvironment::with_package("listener"), {
    let left = tones().channel(0).to_vec();
    let equal = Audio::new(vec![left.clone(), left]);
    let (off, on) = (render(&with_stereo(0.0), &equal), render(&with_stereo(1.0), &equal));
    assert_eq!(off.first_difference(&on), None);
});

host_test!(automated_amount_takes_effect_without_a_click, TestEnvironment::with_package("listener"), {
    assert!(plugin().parameter(STEREO).unwrap().is_automatable);
    let (off, on) = (render(&with_stereo(0.0), &tones()), render(&with_stereo(1.0), &tones()));
    let mut plugin = plugin();
    plugin.load_state(&with_stereo(0.0).to_clap()).unwrap();
    plugin.activate(RATE, 512, Mode::Offline).unwrap();
    let latency = plugin.latency().unwrap();
    let events =
        [plugin.event(30_123, STEREO, "100 %").unwrap(), plugin.event(110_456, STEREO, "0 %").unwrap()];
    let output = plugin.render(&tones(), Blocks::of(512), &events).unwrap().main;
    let part = |audio: &Audio, begin: usize| audio.slice(begin..begin + 10_000);
    for (begin, expected) in [(10_000, &off), (95_000, &on), (125_000, &off)] {
        let difference = part(&output, begin).largest_difference(&part(expected, begin));
        assert!(difference < 1e-3, "from frame {begin}: differs by {difference}");
    }
    let jump = output.slice(2 * latency..FRAMES).largest_jump();
    let bound = off.slice(2 * latency..FRAMES).largest_jump();
    assert!(jump < 1.01 * bound, "the largest jump is {jump}; without changes {bound}");
});
