//! The parameter *Listen to the rest* of the bundled CLAP: off in older states, automatable, without a click.
//!
//! The package `listener` hears the bands *low*, *middle* and *high*. A text of one band lets some of its neighbour pass,
//! and less of it with the neighbour as the rest.

use std::f64::consts::TAU;

use sift_tests::audio::Audio;
use sift_tests::clap_host::{Blocks, Instance, Mode, Output};
use sift_tests::state::State;
use sift_tests::subprocess::TestEnvironment;
use sift_tests::{fixtures, host_test};

const RATE: f64 = 48_000.0;
const FRAMES: usize = 144_000;
const REST: &str = "Listen to the rest";

fn plugin() -> Instance {
    Instance::create(&fixtures::clap_bundle()).unwrap()
}

/// A tone in the band *low*, one at its upper edge, and one in the band *middle*.
fn tones() -> Audio {
    Audio::from_fn(2, FRAMES, |_, frame| {
        let sine = |frequency: f64| (TAU * frequency * frame as f64 / RATE).sin() as f32;
        0.2 * (sine(400.0) + sine(1_000.0) + sine(2_000.0))
    })
}

/// The state of a new instance with a text of the band *low* in its active slot.
fn state() -> State {
    State::from_clap(&plugin().save_state().unwrap()).unwrap().with_query(1, "low")
}

/// The output of a new instance with `state`, for `tones` in blocks of 512.
fn render(state: &State) -> Output {
    let mut plugin = plugin();
    plugin.load_state(&state.to_clap()).unwrap();
    plugin.activate(RATE, 512, Mode::Offline).unwrap();
    plugin.render(&tones(), Blocks::of(512), &[]).unwrap()
}

fn rest(is_on: bool) -> serde_json::Value {
    serde_json::json!({ "bool": is_on })
}

host_test!(older_state_gives_the_bits_of_a_rest_that_is_off, TestEnvironment::with_package("listener"), {
    let older = render(&state().without_parameter("rest"));
    let off = render(&state().with_parameter("rest", rest(false)));
    let on = render(&state().with_parameter("rest", rest(true)));
    assert_eq!(older.main.first_difference(&off.main), None);
    assert!(off.main.largest_difference(&on.main) > 0.01, "the rest changes nothing");
});

host_test!(older_state_switches_the_rest_off_while_audio_plays, TestEnvironment::with_package("listener"), {
    let mut plugin = plugin();
    plugin.activate(RATE, 512, Mode::Offline).unwrap();
    plugin.render(&tones(), Blocks::of(512), &[]).unwrap();
    assert_eq!(plugin.parameter_text(REST).unwrap(), "On");
    plugin.load_state(&state().without_parameter("rest").to_clap()).unwrap();
    assert_eq!(plugin.parameter_text(REST).unwrap(), "Off");
    let saved = State::from_clap(&plugin.save_state().unwrap()).unwrap();
    assert_eq!(saved, saved.clone().with_parameter("rest", rest(false)));
});

host_test!(
    automated_rest_takes_effect_and_goes_without_a_click,
    TestEnvironment::with_package("listener"),
    {
        assert!(plugin().parameter(REST).unwrap().is_automatable);
        let off = render(&state().with_parameter("rest", rest(false))).main;
        let on = render(&state().with_parameter("rest", rest(true))).main;
        let mut plugin = plugin();
        plugin.load_state(&state().with_parameter("rest", rest(false)).to_clap()).unwrap();
        plugin.activate(RATE, 512, Mode::Offline).unwrap();
        let latency = plugin.latency().unwrap();
        let events = [plugin.event(48_123, REST, "On").unwrap(), plugin.event(96_456, REST, "Off").unwrap()];
        let output = plugin.render(&tones(), Blocks::of(512), &events).unwrap().main;
        let part = |audio: &Audio, begin: usize| audio.slice(begin..begin + 24_000);
        // Half a second is left for each change, of which the listener takes a part.
        for (begin, expected) in [(24_000, &off), (72_000, &on), (120_000, &off)] {
            let difference = part(&output, begin).largest_difference(&part(expected, begin));
            assert!(difference < 1e-3, "from frame {begin}: differs by {difference}");
        }
        let jump = output.slice(2 * latency..FRAMES).largest_jump();
        let bound = off.slice(2 * latency..FRAMES).largest_jump();
        assert!(jump < 1.01 * bound, "the largest jump is {jump}; without changes {bound}");
    }
);
