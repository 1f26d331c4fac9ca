//! Query texts in the bundled CLAP: saved, loaded, and in effect without an editor.
//!
//! The package `by-query` keeps all of the sound if the query holds [`KEPT_WORD`], else nothing, so the output
//! shows which text is in effect.

use std::time::Duration;

use sift_tests::audio::Audio;
use sift_tests::clap_host::{Blocks, Instance, Mode};
use sift_tests::fixtures::{KEPT_WORD, clap_bundle, stft_frame_and_hop};
use sift_tests::host_test;
use sift_tests::process::eventually;
use sift_tests::state::State;
use sift_tests::subprocess::TestEnvironment;

const RATE: f64 = 48_000.0;

fn plugin() -> Instance {
    Instance::create(&clap_bundle()).unwrap()
}

/// The state that the plugin saves now.
fn saved(plugin: &mut Instance) -> State {
    State::from_clap(&plugin.save_state().unwrap()).unwrap()
}

/// Gain of the plugin: 1 if the query in effect holds [`KEPT_WORD`], else 0.
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
    assert!((gain - expected).abs() < 1e-3, "{what}: the gain is {gain}; expected {expected}");
}

host_test!(new_instance_has_eight_texts_and_the_default_model, TestEnvironment::as_delivered(), {
    let state = saved(&mut plugin());
    assert_eq!(
        state.queries().unwrap(),
        ["a person speaking", "drums", "piano", "guitar", "rain", "wind", "a dog barking", "crowd chatter"]
    );
    assert_eq!(state.field("model").unwrap(), "Sift default");
});

host_test!(
    texts_in_any_script_are_the_same_after_save_and_load,
    TestEnvironment::with_package("by-query"),
    {
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
    }
);

host_test!(state_loaded_and_saved_again_is_the_same_bytes, TestEnvironment::with_package("by-query"), {
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
        assert_eq!(second.parameter_text(name).unwrap(), first.parameter_text(name).unwrap(), "{name}");
    }
});

host_test!(
    text_loaded_while_active_takes_effect_without_editor,
    TestEnvironment::with_package("by-query"),
    {
        let mut plugin = plugin();
        let without = saved(&mut plugin).with_query(1, "something else");
        let with = without.clone().with_query(1, KEPT_WORD);
        plugin.load_state(&without.to_clap()).unwrap();
        plugin.activate(RATE, 512, Mode::Offline).unwrap();
        assert_gain(&mut plugin, 0.0, "the text without the word");
        for (state, expected) in [(&with, 1.0), (&without, 0.0), (&with, 1.0)] {
            plugin.load_state(&state.to_clap()).unwrap();
            // Another thread encodes a new text; until then the old one stays in effect.
            let took_effect =
                eventually(Duration::from_secs(5), || (gain(&mut plugin) - expected).abs() < 1e-3);
            assert!(took_effect, "after loading, the gain is {}; expected {expected}", gain(&mut plugin));
        }
    }
);

host_test!(state_loaded_while_active_selects_its_slot, TestEnvironment::with_package("by-query"), {
    let mut plugin = plugin();
    let state = saved(&mut plugin).with_query(1, KEPT_WORD).with_query(2, "drums");
    plugin.load_state(&state.to_clap()).unwrap();
    plugin.set("Active query", "2").unwrap();
    let second_slot = plugin.save_state().unwrap();
    plugin.set("Active query", "1").unwrap();
    plugin.activate(RATE, 512, Mode::Offline).unwrap();
    assert_gain(&mut plugin, 1.0, "slot 1");
    plugin.load_state(&second_slot).unwrap();
    assert_gain(&mut plugin, 0.0, "slot 2, selected by the state");
});

host_test!(automated_slot_takes_effect_at_the_next_hop, TestEnvironment::with_package("by-query"), {
    let (frame, hop) = stft_frame_and_hop(RATE);
    // At the start of a block, in its middle, at its end; at the start of a hop, and within it.
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

        // Frames that are complete before the change have the old query, the first one after it the new query.
        let before = 0..latency + change - frame;
        let after = latency + change + hop..48_000;
        let kept = output.main.slice(before.clone()).largest_difference(&delayed.slice(before));
        assert!(kept < 1e-5, "change at {change}: the sound before it differs by {kept}");
        let left = output.main.slice(after.clone()).largest_difference(&Audio::silence(2, after.len()));
        // The parameter Floor limits a mask of 0 to −80 dB.
        assert!(left < 1e-4, "change at {change}: {left} of the sound is left after it");
    }
});

host_test!(
    each_of_eight_slots_has_its_text_in_effect_when_selected,
    TestEnvironment::with_package("by-query"),
    {
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
                assert_gain(
                    &mut plugin,
                    expected,
                    &format!("the word in slot {slot}, slot {selected} selected"),
                );
                plugin.deactivate();
            }
        }
    }
);
