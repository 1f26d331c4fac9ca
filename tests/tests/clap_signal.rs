//! Latency, gain, mixing and robustness of the bundled CLAP's signal path.
//!
//! The packages of `tests/packages` replace the trained model, so that every output is known.

use sift_tests::audio::Audio;
use sift_tests::clap_host::{Blocks, Instance, Mode, Output};
use sift_tests::subprocess::TestEnvironment;
use sift_tests::{fixtures, host_test};

const RATE: f64 = 48_000.0;
const RATES: [f64; 4] = [44_100.0, 48_000.0, 96_000.0, 50_317.0];

/// Largest error of reconstruction: −100 dB.
const RECONSTRUCTION: f32 = 1e-5;

fn plugin() -> Instance {
    Instance::create(&fixtures::clap_bundle()).unwrap()
}

/// A stereo instance with `settings`, active for offline rendering at 48 kHz in blocks of up to 512.
fn active(settings: &[(&str, &str)]) -> Instance {
    let mut plugin = plugin();
    for (name, text) in settings {
        plugin.set(name, text).unwrap();
    }
    plugin.activate(RATE, 512, Mode::Offline).unwrap();
    plugin
}

/// The output of a fresh instance with `settings`, and its latency.
fn render(settings: &[(&str, &str)], input: &Audio) -> (Output, usize) {
    let mut plugin = active(settings);
    let output = plugin.render(input, Blocks::of(512), &[]).unwrap();
    let latency = plugin.latency().unwrap();
    (output, latency)
}

#[track_caller]
fn assert_same_bits(actual: &Audio, expected: &Audio, what: &str) {
    if let Some(difference) = actual.first_difference(expected) {
        panic!("{what}: {difference}");
    }
}

#[track_caller]
fn assert_close(actual: &Audio, expected: &Audio, tolerance: f32, what: &str) {
    let difference = actual.largest_difference(expected);
    assert!(difference <= tolerance, "{what}: differs by {difference:e}, more than {tolerance:e}");
}

/// Asserts that every output port is equal in every bit.
#[track_caller]
fn assert_same_outputs(actual: &Output, expected: &Output, what: &str) {
    for (port, actual, expected) in [
        ("Output", &actual.main, &expected.main),
        ("Target", &actual.target, &expected.target),
        ("Residual", &actual.residual, &expected.residual),
    ] {
        assert_same_bits(actual, expected, &format!("{what}, {port}"));
    }
}

/// The partitions into blocks that hosts are known for: a description, the largest block, and the blocks.
fn partitions() -> Vec<(String, usize, Blocks)> {
    let mut partitions: Vec<_> = [1, 64, 480, 512, 2048]
        .into_iter()
        .map(|size| (format!("blocks of {size}"), size, Blocks::of(size)))
        .collect();
    partitions.push(("random blocks".into(), 2048, Blocks::random(2048, 7)));
    partitions.push(("blocks of 300 where 512 are announced".into(), 512, Blocks::of(300)));
    partitions.push(("blocks in place".into(), 512, Blocks::of(512).in_place()));
    partitions
}

host_test!(impulse_comes_out_at_the_reported_latency, TestEnvironment::with_package("identity"), {
    const POSITION: usize = 100;
    let mut plugin = plugin();
    for rate in RATES {
        for (partition, max_block, blocks) in partitions() {
            plugin.activate(rate, max_block, Mode::Offline).unwrap();
            let latency = plugin.latency().unwrap();
            let frames = latency + POSITION + 2 * fixtures::stft_frame_and_hop(rate).0;
            let output = plugin.render(&Audio::impulse(2, frames, POSITION), blocks, &[]).unwrap();
            let expected = Audio::impulse(2, frames, POSITION + latency);
            let what = format!("{rate} Hz, {partition}");
            assert_close(&output.main, &expected, RECONSTRUCTION, &what);
            assert_close(&output.target, &expected, RECONSTRUCTION, &what);
            assert_close(&output.residual, &Audio::silence(2, frames), RECONSTRUCTION, &what);
            plugin.deactivate();
        }
    }
});

host_test!(reported_latency_is_the_documented_one, TestEnvironment::as_delivered(), {
    let mut plugin = plugin();
    for rate in RATES {
        for max_block in [1, 64, 480, 512, 2048] {
            plugin.activate(rate, max_block, Mode::Realtime).unwrap();
            assert_eq!(
                plugin.latency().unwrap(),
                fixtures::expected_latency(rate, max_block),
                "{rate} Hz, blocks of up to {max_block}"
            );
            plugin.deactivate();
        }
    }
});

host_test!(latency_stays_when_parameters_change, TestEnvironment::with_package("identity"), {
    let mut plugin = active(&[]);
    let latency = plugin.latency().unwrap();
    // Activation itself may report a latency.
    plugin.take_restart_request();
    let changes = [("Mode", "Remove"), ("Bypass", "On"), ("Active query", "5"), ("Mask strength", "10 %")];
    for (frame, (name, text)) in changes.into_iter().enumerate() {
        let event = plugin.event(frame, name, text).unwrap();
        plugin.render(&Audio::silence(2, 1024), Blocks::of(512), &[event]).unwrap();
        assert_eq!(plugin.latency().unwrap(), latency, "{name} = {text}");
        assert!(!plugin.take_restart_request(), "{name} = {text} requests a restart");
    }
});

host_test!(strength_0_gives_the_delayed_input_bit_for_bit, TestEnvironment::with_package("half"), {
    let noise = Audio::noise(2, 24_000, 1.0, 1);
    let mut plugin = plugin();
    plugin.set("Mask strength", "0 %").unwrap();
    for mode in ["Isolate", "Remove"] {
        plugin.set("Mode", mode).unwrap();
        for rate in RATES {
            for (partition, max_block, blocks) in partitions() {
                plugin.activate(rate, max_block, Mode::Offline).unwrap();
                let output = plugin.render(&noise, blocks, &[]).unwrap();
                let expected = noise.delayed(plugin.latency().unwrap());
                assert_same_bits(&output.main, &expected, &format!("{mode}, {rate} Hz, {partition}"));
                plugin.deactivate();
            }
        }
    }
});

host_test!(identity_reconstructs_to_100_db_from_8_to_768_khz, TestEnvironment::with_package("identity"), {
    let rates = [
        8_000.0, 11_025.0, 16_000.0, 22_050.0, 31_999.5, 44_099.99, 44_100.0, 47_952.05, 48_000.0, 50_317.0,
        88_200.0, 96_000.0, 176_400.0, 192_000.0, 352_800.0, 384_000.0, 768_000.0,
    ];
    let mut plugin = plugin();
    for rate in rates {
        for max_block in [64, 1024] {
            plugin.activate(rate, max_block, Mode::Offline).unwrap();
            let latency = plugin.latency().unwrap();
            assert_eq!(latency, fixtures::expected_latency(rate, max_block), "{rate} Hz");
            let frames = latency + 4 * fixtures::stft_frame_and_hop(rate).0;
            let noise = Audio::noise(2, frames, 1.0, 3);
            let output = plugin.render(&noise, Blocks::of(max_block), &[]).unwrap();
            let what = format!("{rate} Hz, blocks of {max_block}");
            assert_close(&output.main, &noise.delayed(latency), RECONSTRUCTION, &what);
            plugin.deactivate();
        }
    }
});

host_test!(mask_of_one_half_gives_half_the_sound, TestEnvironment::with_package("half"), {
    let noise = Audio::noise(2, 48_000, 1.0, 3);
    let half = Audio::from_fn(2, noise.frames(), |channel, frame| 0.5 * noise.channel(channel)[frame]);
    let (output, latency) = render(&[], &noise);
    assert_close(&output.main, &half.delayed(latency), RECONSTRUCTION, "strength 100 %");
    assert_close(&output.target, &half.delayed(latency), RECONSTRUCTION, "target");

    let (output, _) = render(&[("Mask strength", "50 %")], &noise);
    let three_quarters = noise.plus(&half).channels().to_vec();
    let three_quarters = Audio::new(three_quarters).delayed(latency);
    let halved =
        Audio::from_fn(2, noise.frames(), |channel, frame| 0.5 * three_quarters.channel(channel)[frame]);
    assert_close(&output.main, &halved, RECONSTRUCTION, "strength 50 %");
});

host_test!(target_and_residual_add_up_to_the_delayed_input, TestEnvironment::with_package("half"), {
    let noise = Audio::noise(2, 48_000, 1.0, 4);
    for settings in [&[("Mode", "Isolate")][..], &[("Mode", "Remove")], &[("Mask strength", "30 %")]] {
        let (output, latency) = render(settings, &noise);
        let sum = output.target.plus(&output.residual);
        assert_close(&sum, &noise.delayed(latency), 1e-6, &format!("{settings:?}"));
    }
});

host_test!(isolate_and_remove_add_up_to_the_delayed_input, TestEnvironment::with_package("half"), {
    let noise = Audio::noise(2, 48_000, 1.0, 5);
    let (isolated, latency) = render(&[("Mode", "Isolate")], &noise);
    let (removed, _) = render(&[("Mode", "Remove")], &noise);
    assert_close(&isolated.main.plus(&removed.main), &noise.delayed(latency), 1e-6, "isolate + remove");
});

host_test!(listen_to_what_was_taken_away_gives_input_minus_output, TestEnvironment::with_package("half"), {
    let noise = Audio::noise(2, 48_000, 1.0, 6);
    for mode in ["Isolate", "Remove"] {
        let (output, latency) = render(&[("Mode", mode), ("Mask strength", "80 %")], &noise);
        let (taken, _) = render(
            &[("Mode", mode), ("Mask strength", "80 %"), ("Listen to", "What was taken away")],
            &noise,
        );
        assert_close(&output.main.plus(&taken.main), &noise.delayed(latency), 1e-6, mode);
    }
});

host_test!(output_gain_of_6_db_multiplies_the_output_by_2, TestEnvironment::with_package("identity"), {
    let noise = Audio::noise(2, 24_000, 0.2, 7);
    let (output, latency) = render(&[("Output gain", "6 dB"), ("Mask strength", "0 %")], &noise);
    let gain = 10_f32.powf(6.0 / 20.0);
    let louder = Audio::from_fn(2, noise.frames(), |channel, frame| gain * noise.channel(channel)[frame]);
    assert_close(&output.main, &louder.delayed(latency), 1e-5, "6 dB");
});

host_test!(bypass_gives_the_delayed_input_bit_for_bit, TestEnvironment::with_package("half"), {
    let noise = Audio::noise(2, 48_000, 1.0, 8);
    let (output, latency) = render(&[("Bypass", "On"), ("Output gain", "6 dB")], &noise);
    assert_same_bits(&output.main, &noise.delayed(latency), "bypass");
    assert!(
        active(&[]).parameter("Bypass").unwrap().is_bypass,
        "the parameter Bypass is not flagged as the bypass"
    );
});

host_test!(bypass_toggled_in_a_tone_makes_no_click, TestEnvironment::with_package("half"), {
    let mut plugin = active(&[]);
    let sine = Audio::sine(2, 96_000, RATE, 100.0, 0.5);
    // At different phases of the sine, where a hard switch would jump by up to 0.25.
    let events: Vec<_> = (1..16)
        .map(|toggle| {
            plugin.event(toggle * 5555, "Bypass", if toggle % 2 == 1 { "On" } else { "Off" }).unwrap()
        })
        .collect();
    let output = plugin.render(&sine, Blocks::of(512), &events).unwrap();
    let latency = plugin.latency().unwrap();
    let jump = output.main.slice(2 * latency..sine.frames()).largest_jump();
    assert!(jump < 2.0 * sine.largest_jump(), "the largest jump is {jump}");
});

host_test!(automated_strength_reaches_its_value_without_a_click, TestEnvironment::with_package("half"), {
    let mut plugin = active(&[]);
    let sine = Audio::sine(2, 96_000, RATE, 100.0, 0.5);
    let latency = plugin.latency().unwrap();
    let events = [
        plugin.event(30_123, "Mask strength", "0 %").unwrap(),
        plugin.event(60_456, "Mask strength", "100 %").unwrap(),
    ];
    let output = plugin.render(&sine, Blocks::of(512), &events).unwrap();
    let jump = output.main.slice(2 * latency..sine.frames()).largest_jump();
    assert!(jump < 2.0 * sine.largest_jump(), "the largest jump is {jump}");

    let delayed = sine.delayed(latency);
    let halved = Audio::from_fn(2, sine.frames(), |channel, frame| 0.5 * delayed.channel(channel)[frame]);
    // A tenth of a second is left for each change.
    for (settled, expected) in
        [(10_000..30_000, &halved), (35_000..60_000, &delayed), (65_500..96_000, &halved)]
    {
        assert_close(
            &output.main.slice(settled.clone()),
            &expected.slice(settled.clone()),
            1e-4,
            &format!("frames {settled:?}"),
        );
    }
});

host_test!(any_partition_into_blocks_gives_the_same_bits, TestEnvironment::with_package("recurrent"), {
    const LARGEST: usize = 16_384;
    let noise = Audio::noise(2, 3 * LARGEST + 77, 0.5, 9);
    let partitions = [
        ("blocks of 512", Blocks::of(512)),
        ("blocks of 1", Blocks::of(1)),
        ("blocks of 31", Blocks::of(31)),
        ("blocks of 480", Blocks::of(480)),
        ("blocks of 4096", Blocks::of(4096)),
        ("blocks of 16384", Blocks::of(LARGEST)),
        ("random blocks of up to 3", Blocks::random(3, 9)),
        ("random blocks of up to 100", Blocks::random(100, 10)),
        ("random blocks of up to 16384", Blocks::random(LARGEST, 11)),
        ("random blocks in place", Blocks::random(2048, 12).in_place()),
    ];
    let mut expected: Option<Output> = None;
    for (partition, blocks) in partitions {
        let mut plugin = plugin();
        // The latency depends on the largest announced block, so all announce the same one.
        plugin.activate(RATE, LARGEST, Mode::Offline).unwrap();
        let events = [
            plugin.event(10_000, "Mask strength", "20 %").unwrap(),
            plugin.event(20_001, "Mode", "Remove").unwrap(),
            plugin.event(30_002, "Mask strength", "90 %").unwrap(),
        ];
        let output = plugin.render(&noise, blocks, &events).unwrap();
        let expected = expected.get_or_insert_with(|| output.clone());
        assert_same_outputs(&output, expected, partition);
    }
});

/// Asserts that the samples `bad` in the input leave every output finite, and that the sound after them is clean.
fn assert_harmless(bad: &[f32]) {
    let clean = Audio::noise(2, 96_000, 0.5, 10);
    let mut input = clean.clone();
    for (&value, frame) in bad.iter().zip((20_000..).step_by(500)) {
        input.channels_mut()[0][frame] = value;
    }
    let (output, latency) = render(&[], &input);
    for (port, audio) in
        [("output", &output.main), ("target", &output.target), ("residual", &output.residual)]
    {
        assert!(audio.is_finite(), "{port} is not finite");
    }
    let after = 40_000..96_000;
    assert_close(
        &output.main.slice(after.clone()),
        &clean.delayed(latency).slice(after),
        RECONSTRUCTION,
        "after the bad samples",
    );
}

host_test!(
    input_with_nan_and_infinity_leaves_the_output_finite,
    TestEnvironment::with_package("identity"),
    {
        assert_harmless(&[f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -f32::NAN]);
    }
);

host_test!(input_of_extreme_level_leaves_the_output_finite, TestEnvironment::with_package("identity"), {
    // Values of uninitialised memory.
    assert_harmless(&[f32::MAX, -1e38, f32::MIN_POSITIVE / 2.0, 1e30]);
});

host_test!(mask_with_nan_leaves_the_output_finite, TestEnvironment::with_package("nan"), {
    let quiet = Audio::noise(2, 48_000, 0.01, 11);
    let loud = Audio::sine(2, 48_000, RATE, 1000.0, 1.0);
    let input = quiet.then(&loud).then(&quiet);
    let (output, latency) = render(&[], &input);
    for (port, audio) in
        [("output", &output.main), ("target", &output.target), ("residual", &output.residual)]
    {
        assert!(audio.is_finite(), "{port} is not finite");
    }
    let after = 110_000..144_000;
    assert_close(
        &output.main.slice(after.clone()),
        &input.delayed(latency).slice(after),
        RECONSTRUCTION,
        "after the bad samples",
    );
});

host_test!(reset_leaves_nothing_of_the_old_stream, TestEnvironment::with_package("recurrent"), {
    let next = Audio::silence(2, 10_000).then(&Audio::noise(2, 10_000, 1.0, 14));
    let fresh = active(&[]).render(&next, Blocks::of(512), &[]).unwrap();
    let mut plugin = active(&[]);
    // The old stream ends at different points of a hop and a block.
    for frames in [48_000, 5_000, 777, 6_144] {
        plugin.render(&Audio::noise(2, frames, 1.0, 13), Blocks::of(512), &[]).unwrap();
        plugin.reset().unwrap();
        let output = plugin.render(&next, Blocks::of(512), &[]).unwrap();
        assert_same_outputs(&output, &fresh, &format!("after {frames} frames of noise"));
        plugin.reset().unwrap();
    }
});

host_test!(
    ports_are_one_input_and_three_outputs_of_equal_width,
    TestEnvironment::with_package("identity"),
    {
        let mut plugin = plugin();
        for width in [2, 1] {
            plugin.set_channels(width).unwrap();
            let names = |ports: Vec<sift_tests::clap_host::Port>| -> Vec<String> {
                assert!(ports.iter().all(|port| port.channels == width), "{ports:?}");
                ports.into_iter().map(|port| port.name).collect()
            };
            assert_eq!(names(plugin.input_ports().unwrap()), ["Input"]);
            assert_eq!(names(plugin.output_ports().unwrap()), ["Output", "Target", "Residual"]);
        }
    }
);

host_test!(mono_equals_a_channel_of_stereo_with_equal_channels, TestEnvironment::with_package("half"), {
    let noise = Audio::noise(1, 48_000, 1.0, 15);
    let mut plugin = plugin();
    plugin.set_channels(1).unwrap();
    plugin.activate(RATE, 512, Mode::Offline).unwrap();
    let mono = plugin.render(&noise, Blocks::of(512), &[]).unwrap();

    let twice = Audio::from_fn(2, noise.frames(), |_, frame| noise.channel(0)[frame]);
    let (stereo, latency) = render(&[], &twice);
    assert_eq!(latency, plugin.latency().unwrap());
    for channel in 0..2 {
        let one = Audio::new(vec![stereo.main.channel(channel).to_vec()]);
        assert_close(&mono.main, &one, 1e-6, &format!("channel {channel}"));
    }
});

host_test!(channels_of_opposite_phase_do_not_cancel, TestEnvironment::with_package("identity"), {
    let noise = Audio::noise(1, 48_000, 1.0, 16);
    let opposite = Audio::from_fn(2, noise.frames(), |channel, frame| {
        let sign = if channel == 0 { 1.0 } else { -1.0 };
        sign * noise.channel(0)[frame]
    });
    let (output, latency) = render(&[], &opposite);
    assert_close(&output.target, &opposite.delayed(latency), RECONSTRUCTION, "opposite phases");
});
