//! What was typed, in the bundled CLAP: it is saved, it is loaded, and it acts without a window.
//!
//! The package `by-query` keeps all of the sound if the query holds one certain word, else nothing, so
//! the sound tells which text is in force.

use sift_tests::audio::Audio;
use sift_tests::clap_host::{Blocks, Instance, Mode};
use sift_tests::fixtures::{KEPT_WORD, clap_bundle, stft_frame_and_hop};
use sift_tests::host_test;
use sift_tests::isolation::Environment;
use sift_tests::state::State;

const RATE: f64 = 48_000.0;

fn plugin() -> Instance {
    Instance::create(&clap_bundle()).unwrap()
}

fn saved(plugin: &mut Instance) -> State {
    State::from_clap(&plugin.save_state().unwrap()).unwrap()
}

/// What part of a sound comes through: 1 if the query in force holds the word, 0 if it does not.
fn gain(plugin: &mut Instance) -> f32 {
    let noise = Audio::noise(2, 24_000, 0.5, 1);
    let output = plugin.render(&noise, Blocks::of(512), &[]).unwrap();
    let settled = 12_000..24_000;
    let input = noise.delayed(plugin.latency().unwrap()).slice(settled.clone());
    output.main.slice(settled).to_mono()[0] / input.to_mono()[0]
}

#[track_caller]
fn assert_gain(plugin: &mut Instance, expected: f32, what: &str) {
    let gain = gain(plugin);
    assert!((gain - expected).abs() < 1e-3, "{what}: the gain is {gain}, not {expected}");
}

host_test!(a_fresh_instance_has_its_slots_filled, Environment::as_delivered(), {
    let state = saved(&mut plugin());
    assert_eq!(
        state.queries().unwrap(),
        ["a person speaking", "drums", "piano", "guitar", "rain", "wind", "a dog barking", "crowd chatter"]
    );
    assert_eq!(state.field("model").unwrap(), "Sift default");
});

host_test!(texts_in_any_script_survive_save_and_load, Environment::with_package("by-query"), {
    let texts = [
        "기타 소리",
        "🎹 and 🥁",
        "e\u{301}cole — “quoted” \\ \"plain\"",
        "\u{200f}كلب ينبح",
        "",
        " leading and trailing ",
        "👩‍👩‍👧‍👦",
        &"길".repeat(256),
    ];
    let mut state = saved(&mut plugin());
    for (slot, text) in (1..).zip(texts) {
        state = state.with_query(slot, text);
    }
    let mut plugin = plugin();
    plugin.load_state(&state.to_clap()).unwrap();
    assert_eq!(saved(&mut plugin).queries().unwrap(), texts);
});

host_test!(
    a_state_that_is_loaded_and_saved_again_is_the_same_to_the_byte,
    Environment::with_package("by-query"),
    {
        let mut first = plugin();
        first.set("Mask strength", "33 %").unwrap();
        first.set("Mode", "Remove").unwrap();
        first.set("Active query", "3").unwrap();
        first.set("Floor", "-20 dB").unwrap();
        let edited = saved(&mut first).with_query(3, "기타 소리 🎸").to_clap();
        first.load_state(&edited).unwrap();
        let bytes = first.save_state().unwrap();

        let mut second = plugin();
        second.load_state(&bytes).unwrap();
        assert_eq!(String::from_utf8_lossy(&second.save_state().unwrap()), String::from_utf8_lossy(&bytes));
        for name in ["Mask strength", "Mode", "Active query", "Floor"] {
            assert_eq!(second.text(name).unwrap(), first.text(name).unwrap(), "{name}");
        }
    }
);

host_test!(a_text_loaded_before_activation_is_in_force, Environment::with_package("by-query"), {
    let mut plugin = plugin();
    let state = saved(&mut plugin).with_query(1, &format!("한국어 {KEPT_WORD} 🎙"));
    plugin.load_state(&state.to_clap()).unwrap();
    plugin.activate(RATE, 512, Mode::Offline).unwrap();
    assert_gain(&mut plugin, 1.0, "the text with the word");
});

host_test!(
    a_text_loaded_during_processing_takes_effect_without_a_window,
    Environment::with_package("by-query"),
    {
        let mut plugin = plugin();
        let without = saved(&mut plugin).with_query(1, "something else");
        let with = without.clone().with_query(1, KEPT_WORD);
        plugin.load_state(&without.to_clap()).unwrap();
        plugin.activate(RATE, 512, Mode::Offline).unwrap();
        assert_gain(&mut plugin, 0.0, "the text without the word");
        for (state, expected) in [(&with, 1.0), (&without, 0.0), (&with, 1.0)] {
            plugin.load_state(&state.to_clap()).unwrap();
            // A new text is encoded off the audio thread; until then the old one stays in force.
            let taken = sift_tests::process::eventually(std::time::Duration::from_secs(5), || {
                (gain(&mut plugin) - expected).abs() < 1e-3
            });
            assert!(taken, "after loading, the gain stays {} instead of {expected}", gain(&mut plugin));
        }
    }
);

host_test!(loading_a_state_restores_all_parameters, Environment::with_package("by-query"), {
    let mut plugin = plugin();
    let state = saved(&mut plugin).with_query(1, KEPT_WORD).with_query(2, "drums");
    plugin.load_state(&state.to_clap()).unwrap();
    plugin.set("Active query", "2").unwrap();
    let second_slot = plugin.save_state().unwrap();
    plugin.set("Active query", "1").unwrap();
    plugin.activate(RATE, 512, Mode::Offline).unwrap();
    assert_gain(&mut plugin, 1.0, "slot 1");
    plugin.load_state(&second_slot).unwrap();
    assert_gain(&mut plugin, 0.0, "slot 2, by the state");
});

host_test!(automation_selects_the_slot_at_the_hop, Environment::with_package("by-query"), {
    let (frame, hop) = stft_frame_and_hop(RATE);
    // At the start of a block, in its middle, at its end; at the start of a hop and within.
    for change in [24_576, 24_576 + 200, 24_576 + 511, 31 * hop, 31 * hop + 1] {
        let mut plugin = plugin();
        let state = saved(&mut plugin).with_query(1, KEPT_WORD).with_query(7, "drums");
        plugin.load_state(&state.to_clap()).unwrap();
        plugin.activate(RATE, 512, Mode::Offline).unwrap();
        let noise = Audio::noise(2, 48_000, 0.5, 2);
        let event = plugin.event(change, "Active query", "7").unwrap();
        let output = plugin.render(&noise, Blocks::of(512), &[event]).unwrap();
        let latency = plugin.latency().unwrap();
        let delayed = noise.delayed(latency);

        // The hops that were complete before the change are under the old query: their frames reach
        // back from it. The first one that is completed after it is under the new one.
        let before = 0..latency + change - frame;
        let after = latency + change + hop..48_000;
        let kept = output.main.slice(before.clone()).largest_difference(&delayed.slice(before));
        assert!(kept < 1e-5, "change at {change}: {kept} off before it");
        let left = output.main.slice(after.clone()).largest_difference(&Audio::silence(2, after.len()));
        // A mask of 0 is one of −80 dB: the floor.
        assert!(left < 1e-4, "change at {change}: {left} is left after it");
    }
});

host_test!(every_slot_can_be_selected, Environment::with_package("by-query"), {
    let mut plugin = plugin();
    for slot in 1..=8 {
        let mut state = saved(&mut plugin);
        for other in 1..=8 {
            state = state.with_query(other, if other == slot { KEPT_WORD } else { "drums" });
        }
        plugin.load_state(&state.to_clap()).unwrap();
        for selected in [slot, slot % 8 + 1] {
            plugin.set("Active query", &selected.to_string()).unwrap();
            plugin.activate(RATE, 512, Mode::Offline).unwrap();
            let expected = if selected == slot { 1.0 } else { 0.0 };
            assert_gain(&mut plugin, expected, &format!("the word in slot {slot}, slot {selected} selected"));
            plugin.deactivate();
        }
    }
});
