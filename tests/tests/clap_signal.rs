//! The bundled CLAP as a piece of wiring: what goes in comes out when, where and how it was promised.
//!
//! The packages of `tests/packages` stand in for the trained model, so that every output is known.

use sift_tests::audio::Audio;
use sift_tests::clap_host::{Blocks, Instance, Mode, Output};
use sift_tests::isolation::Environment;
use sift_tests::{fixtures, host_test};

const RATE: f64 = 48_000.0;
const RATES: [f64; 4] = [44_100.0, 48_000.0, 96_000.0, 50_317.0];

/// −100 dB.
const RECONSTRUCTION: f32 = 1e-5;

fn plugin() -> Instance {
    Instance::create(&fixtures::clap_bundle()).unwrap()
}

/// An active instance with some parameters set, in stereo, rendering offline at 48 kHz in blocks of up to 512.
fn active(settings: &[(&str, &str)]) -> Instance {
    let mut plugin = plugin();
    for (name, text) in settings {
        plugin.set(name, text).unwrap();
    }
    plugin.activate(RATE, 512, Mode::Offline).unwrap();
    plugin
}

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

/// Every way of cutting an impulse response into blocks that hosts are known for, by largest block.
fn partitions() -> Vec<(String, usize, Blocks)> {
    let mut partitions: Vec<_> = [1, 64, 480, 512, 2048]
        .into_iter()
        .map(|size| (format!("blocks of {size}"), size, Blocks::of(size)))
        .collect();
    partitions.push(("random blocks".into(), 2048, Blocks::random(2048, 7)));
    partitions.push(("blocks of 300 where 512 were announced".into(), 512, Blocks::of(300)));
    partitions.push(("blocks in place".into(), 512, Blocks::of(512).in_place()));
    partitions
}

/// Sends an impulse through at every rate and in every partition; gives the output, the impulse at the
/// reported latency, and a description to `check`.
fn impulses(strength: &str, check: impl Fn(&Output, &Audio, &str)) {
    let mut plugin = plugin();
    plugin.set("Mask strength", strength).unwrap();
    for rate in RATES {
        for (partition, max_block, blocks) in partitions() {
            plugin.activate(rate, max_block, Mode::Offline).unwrap();
            let latency = plugin.latency().unwrap();
            let position = 100;
            let frames = latency + position + 2 * fixtures::stft_frame_and_hop(rate).0;
            let output = plugin.render(&Audio::impulse(2, frames, position), blocks, &[]).unwrap();
            let expected = Audio::impulse(2, frames, position + latency);
            check(&output, &expected, &format!("{rate} Hz, {partition}"));
            plugin.deactivate();
        }
    }
}

host_test!(
    an_impulse_comes_out_at_exactly_the_reported_latency_with_strength_0,
    Environment::with_package("half"),
    {
        impulses("0 %", |output, expected, what| assert_same_bits(&output.main, expected, what));
    }
);

host_test!(
    an_impulse_comes_out_at_exactly_the_reported_latency_through_the_separator,
    Environment::with_package("identity"),
    {
        impulses("100 %", |output, expected, what| {
            assert_close(&output.main, expected, RECONSTRUCTION, what);
            assert_close(&output.target, expected, RECONSTRUCTION, what);
            assert_close(&output.residual, &Audio::silence(2, expected.frames()), RECONSTRUCTION, what);
        });
    }
);

host_test!(the_reported_latency_is_the_documented_one, Environment::as_delivered(), {
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

host_test!(no_parameter_changes_the_latency, Environment::with_package("identity"), {
    let mut plugin = active(&[]);
    let latency = plugin.latency().unwrap();
    // Activation itself may tell the host of a latency.
    plugin.take_restart_request();
    let changes = [("Mode", "Remove"), ("Bypass", "On"), ("Active query", "5"), ("Mask strength", "10 %")];
    for (frame, (name, text)) in changes.into_iter().enumerate() {
        let event = plugin.event(frame, name, text).unwrap();
        plugin.render(&Audio::silence(2, 1024), Blocks::of(512), &[event]).unwrap();
        assert_eq!(plugin.latency().unwrap(), latency, "{name} = {text}");
        assert!(!plugin.take_restart_request(), "{name} = {text} asks for a restart");
    }
});

host_test!(strength_0_is_the_delayed_input_bit_for_bit, Environment::with_package("half"), {
    let noise = Audio::noise(2, 48_000, 1.0, 1);
    for mode in ["Isolate", "Remove"] {
        let (output, latency) = render(&[("Mask strength", "0 %"), ("Mode", mode)], &noise);
        assert_same_bits(&output.main, &noise.delayed(latency), mode);
    }
});

host_test!(the_identity_reconstructs_to_100_decibels, Environment::with_package("identity"), {
    let noise = Audio::noise(2, 96_000, 1.0, 2);
    let mut plugin = plugin();
    for rate in RATES {
        plugin.activate(rate, 512, Mode::Offline).unwrap();
        let output = plugin.render(&noise, Blocks::of(512), &[]).unwrap();
        let expected = noise.delayed(plugin.latency().unwrap());
        assert_close(&output.main, &expected, RECONSTRUCTION, &format!("{rate} Hz"));
        plugin.deactivate();
    }
});

host_test!(half_a_mask_is_half_the_sound, Environment::with_package("half"), {
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

host_test!(target_and_residual_add_up_to_the_delayed_input, Environment::with_package("half"), {
    let noise = Audio::noise(2, 48_000, 1.0, 4);
    for settings in [&[("Mode", "Isolate")][..], &[("Mode", "Remove")], &[("Mask strength", "30 %")]] {
        let (output, latency) = render(settings, &noise);
        let sum = output.target.plus(&output.residual);
        assert_close(&sum, &noise.delayed(latency), 1e-6, &format!("{settings:?}"));
    }
});

host_test!(isolate_and_remove_add_up_to_the_delayed_input, Environment::with_package("half"), {
    let noise = Audio::noise(2, 48_000, 1.0, 5);
    let (isolated, latency) = render(&[("Mode", "Isolate")], &noise);
    let (removed, _) = render(&[("Mode", "Remove")], &noise);
    assert_close(&isolated.main.plus(&removed.main), &noise.delayed(latency), 1e-6, "isolate + remove");
});

host_test!(
    listening_to_what_was_taken_away_gives_the_rest_of_the_input,
    Environment::with_package("half"),
    {
        let noise = Audio::noise(2, 48_000, 1.0, 6);
        for mode in ["Isolate", "Remove"] {
            let (output, latency) = render(&[("Mode", mode), ("Mask strength", "80 %")], &noise);
            let (taken, _) = render(
                &[("Mode", mode), ("Mask strength", "80 %"), ("Listen to", "What was taken away")],
                &noise,
            );
            assert_close(&output.main.plus(&taken.main), &noise.delayed(latency), 1e-6, mode);
        }
    }
);

host_test!(the_output_gain_is_in_decibels, Environment::with_package("identity"), {
    let noise = Audio::noise(2, 24_000, 0.2, 7);
    let (output, latency) = render(&[("Output gain", "6 dB"), ("Mask strength", "0 %")], &noise);
    let gain = 10_f32.powf(6.0 / 20.0);
    let louder = Audio::from_fn(2, noise.frames(), |channel, frame| gain * noise.channel(channel)[frame]);
    assert_close(&output.main, &louder.delayed(latency), 1e-5, "6 dB");
});

host_test!(bypass_is_the_delayed_input, Environment::with_package("half"), {
    let noise = Audio::noise(2, 48_000, 1.0, 8);
    let (output, latency) = render(&[("Bypass", "On"), ("Output gain", "6 dB")], &noise);
    assert_same_bits(&output.main, &noise.delayed(latency), "bypass");
    assert!(
        active(&[]).parameter("Bypass").unwrap().is_bypass,
        "the host cannot tell which parameter is the bypass"
    );
});

host_test!(toggling_bypass_does_not_click, Environment::with_package("half"), {
    let mut plugin = active(&[]);
    let sine = Audio::sine(2, 96_000, RATE, 100.0, 0.5);
    // Wherever in the sine's period, up to where a hard switch would jump by 0.25.
    let events: Vec<_> = (1..16)
        .map(|toggle| {
            plugin.event(toggle * 5555, "Bypass", if toggle % 2 == 1 { "On" } else { "Off" }).unwrap()
        })
        .collect();
    let output = plugin.render(&sine, Blocks::of(512), &events).unwrap();
    let latency = plugin.latency().unwrap();
    let jump = output.main.slice(2 * latency..sine.frames()).largest_jump();
    assert!(jump < 2.0 * sine.largest_jump(), "a jump of {jump}");
});

host_test!(automated_strength_does_not_click_and_arrives, Environment::with_package("half"), {
    let mut plugin = active(&[]);
    let sine = Audio::sine(2, 96_000, RATE, 100.0, 0.5);
    let latency = plugin.latency().unwrap();
    let events = [
        plugin.event(30_123, "Mask strength", "0 %").unwrap(),
        plugin.event(60_456, "Mask strength", "100 %").unwrap(),
    ];
    let output = plugin.render(&sine, Blocks::of(512), &events).unwrap();
    let jump = output.main.slice(2 * latency..sine.frames()).largest_jump();
    assert!(jump < 2.0 * sine.largest_jump(), "a jump of {jump}");

    let delayed = sine.delayed(latency);
    let halved = Audio::from_fn(2, sine.frames(), |channel, frame| 0.5 * delayed.channel(channel)[frame]);
    // A tenth of a second is left for the way.
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

host_test!(any_partition_into_blocks_gives_the_same_bits, Environment::with_package("half"), {
    let noise = Audio::noise(2, 48_000, 1.0, 9);
    let mut plugin = plugin();
    let mut reference: Option<Output> = None;
    for (partition, blocks) in [
        ("2048", Blocks::of(2048)),
        ("1", Blocks::of(1)),
        ("64", Blocks::of(64)),
        ("480", Blocks::of(480)),
        ("random", Blocks::random(2048, 11)),
        ("in place", Blocks::random(2048, 12).in_place()),
    ] {
        plugin.activate(RATE, 2048, Mode::Offline).unwrap();
        let events = [
            plugin.event(10_000, "Mask strength", "20 %").unwrap(),
            plugin.event(20_001, "Mode", "Remove").unwrap(),
            plugin.event(30_002, "Mask strength", "90 %").unwrap(),
        ];
        let output = plugin.render(&noise, blocks, &events).unwrap();
        plugin.deactivate();
        // Back to where it began: parameters outlive an activation.
        plugin.set("Mask strength", "100 %").unwrap();
        plugin.set("Mode", "Isolate").unwrap();
        let reference = reference.get_or_insert_with(|| output.clone());
        for (port, actual, expected) in [
            ("output", &output.main, &reference.main),
            ("target", &output.target, &reference.target),
            ("residual", &output.residual, &reference.residual),
        ] {
            assert_same_bits(actual, expected, &format!("blocks of {partition}, {port}"));
        }
    }
});

/// Asserts that `spoilt` samples in the input leave every output finite, and nothing behind.
fn assert_harmless(spoilt: &[f32]) {
    let clean = Audio::noise(2, 96_000, 0.5, 10);
    let mut input = clean.clone();
    for (&value, frame) in spoilt.iter().zip((20_000..).step_by(500)) {
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
        "after it",
    );
}

host_test!(input_that_is_not_finite_does_no_harm, Environment::with_package("identity"), {
    assert_harmless(&[f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -f32::NAN]);
});

host_test!(input_of_absurd_level_does_no_harm, Environment::with_package("identity"), {
    // What memory that nobody initialised may hold.
    assert_harmless(&[f32::MAX, -1e38, f32::MIN_POSITIVE / 2.0, 1e30]);
});

host_test!(a_mask_that_is_not_finite_does_no_harm, Environment::with_package("nan"), {
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
        "after it",
    );
});

host_test!(nothing_of_the_old_stream_is_heard_after_a_reset, Environment::with_package("half"), {
    let mut plugin = active(&[]);
    let latency = plugin.latency().unwrap();
    // At whatever point of a hop or block the old stream ends.
    for (loud, silent) in [(48_000, 20_000), (5_000, 20_000), (777, 20_000), (6_144, 20_000)] {
        plugin.render(&Audio::noise(2, loud, 1.0, 13), Blocks::of(512), &[]).unwrap();
        plugin.reset().unwrap();
        let output = plugin.render(&Audio::silence(2, silent), Blocks::of(512), &[]).unwrap();
        for (port, audio) in
            [("output", &output.main), ("target", &output.target), ("residual", &output.residual)]
        {
            assert_same_bits(
                audio,
                &Audio::silence(2, silent),
                &format!("{port} after {loud} frames of noise"),
            );
        }
    }

    plugin.reset().unwrap();
    let noise = Audio::noise(2, 20_000, 1.0, 14);
    let output = plugin.render(&noise, Blocks::of(512), &[]).unwrap();
    let dry = output.target.plus(&output.residual);
    assert_close(&dry, &noise.delayed(latency), 1e-6, "the new stream is not aligned");
});

host_test!(the_ports_are_one_input_and_three_outputs_of_its_width, Environment::with_package("identity"), {
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
});

host_test!(
    mono_is_processed_like_a_channel_of_a_stereo_pair_of_the_same,
    Environment::with_package("half"),
    {
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
    }
);

host_test!(opposite_phases_do_not_cancel_in_the_separator, Environment::with_package("identity"), {
    let noise = Audio::noise(1, 48_000, 1.0, 16);
    let opposite = Audio::from_fn(2, noise.frames(), |channel, frame| {
        let sign = if channel == 0 { 1.0 } else { -1.0 };
        sign * noise.channel(0)[frame]
    });
    let (output, latency) = render(&[], &opposite);
    assert_close(&output.target, &opposite.delayed(latency), RECONSTRUCTION, "opposite phases");
});
