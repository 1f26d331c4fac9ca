//! The bundled VST3's buses: the auxiliary outputs Target and Residual, active or not, and their arrangements.

use sift_tests::audio::Audio;
use sift_tests::subprocess::TestEnvironment;
use sift_tests::vst3_host::{BusLayout, EMPTY, Instance, MONO, Output, STEREO};
use sift_tests::{fixtures, host_test};

const RATE: f64 = 48_000.0;

fn plugin() -> Instance {
    Instance::create(&fixtures::vst3_module()).unwrap()
}

/// The output of a fresh instance with Target and Residual `active` or not, and its latency.
fn render(input: &Audio, active: [bool; 2]) -> (Output, usize) {
    let mut plugin = plugin();
    plugin.activate(RATE, 512, active).unwrap();
    let latency = plugin.latency();
    (plugin.render(input, 480).unwrap(), latency)
}

#[track_caller]
fn assert_same_bits(actual: &Audio, expected: &Audio, what: &str) {
    if let Some(difference) = actual.first_difference(expected) {
        panic!("{what}: {difference}");
    }
}

host_test!(target_and_residual_are_inactive_outputs_by_default, TestEnvironment::with_package("half"), {
    let outputs = plugin().outputs();
    let described: Vec<_> =
        outputs.iter().map(|bus| (bus.name.as_str(), bus.channels, bus.is_active_by_default)).collect();
    assert_eq!(described, [("Output", 2, true), ("Target", 2, false), ("Residual", 2, false)]);
});

host_test!(target_and_residual_add_up_to_the_delayed_input, TestEnvironment::with_package("half"), {
    let noise = Audio::noise(2, 48_000, 0.5, 3);
    let (output, latency) = render(&noise, [true, true]);
    let (target, residual) = (output.target.unwrap(), output.residual.unwrap());
    let difference = target.plus(&residual).largest_difference(&noise.delayed(latency));
    assert!(difference <= 1e-6, "differs by {difference:e}");
    // The mask of the package `half` is 0.5.
    let difference = target.largest_difference(&residual);
    assert!(difference < 1e-4, "target and residual differ by {difference:e}");
});

host_test!(inactive_output_leaves_the_other_outputs_as_they_are, TestEnvironment::with_package("half"), {
    let noise = Audio::noise(2, 24_000, 0.5, 4);
    let (all, latency) = render(&noise, [true, true]);
    let delayed = noise.delayed(latency);
    let halved = Audio::from_fn(2, noise.frames(), |channel, frame| 0.5 * delayed.channel(channel)[frame]);
    let difference = all.main.largest_difference(&halved);
    assert!(difference < 1e-4, "differs from half the input by {difference:e}");
    for active in [[false, false], [true, false], [false, true]] {
        let (some, _) = render(&noise, active);
        assert_same_bits(&some.main, &all.main, &format!("main with active {active:?}"));
        for (name, some, all) in
            [("target", &some.target, &all.target), ("residual", &some.residual, &all.residual)]
        {
            if let (Some(some), Some(all)) = (some, all) {
                assert_same_bits(some, all, &format!("{name} with active {active:?}"));
            }
        }
    }
});

host_test!(main_output_is_the_same_in_every_bus_layout, TestEnvironment::with_package("half"), {
    let noise = Audio::noise(2, 12_000, 0.5, 6);
    let (usual, _) = render(&noise, [false, false]);
    let bus_layouts = [
        BusLayout { outputs: 1, ..BusLayout::default() },
        BusLayout { outputs: 2, ..BusLayout::default() },
        BusLayout { outputs: 5, ..BusLayout::default() },
        BusLayout { null_buffers: true, ..BusLayout::default() },
        BusLayout { in_place: true, ..BusLayout::default() },
    ];
    for bus_layout in bus_layouts {
        let mut plugin = plugin();
        plugin.bus_layout = bus_layout;
        plugin.activate(RATE, 512, [false, false]).unwrap();
        let output = plugin.render(&noise, 480).unwrap();
        assert_same_bits(&output.main, &usual.main, &format!("{bus_layout:?}"));
    }
    let mut plugin = plugin();
    plugin.bus_layout = BusLayout { shared_buffer: true, ..BusLayout::default() };
    plugin.activate(RATE, 512, [true, true]).unwrap();
    let output = plugin.render(&noise, 480).unwrap();
    assert_same_bits(&output.main, &usual.main, "one buffer shared by all auxiliary channels");
});

host_test!(block_without_audio_does_not_advance_the_stream, TestEnvironment::with_package("half"), {
    let noise = Audio::noise(2, 9_600, 0.5, 7);
    let (whole, _) = render(&noise, [false, false]);
    let mut plugin = plugin();
    plugin.activate(RATE, 512, [false, false]).unwrap();
    let first = plugin.render(&noise.slice(0..4_800), 480).unwrap().main;
    plugin.flush().unwrap();
    let second = plugin.render(&noise.slice(4_800..9_600), 480).unwrap().main;
    assert_same_bits(&first.then(&second), &whole.main, "with a flush in the middle");
});

host_test!(inactive_plugin_refuses_to_process_and_recovers, TestEnvironment::with_package("half"), {
    let noise = Audio::noise(2, 4800, 0.5, 10);
    let mut plugin = plugin();
    assert!(plugin.render(&noise, 480).is_err(), "process is refused before setActive");
    plugin.activate(RATE, 480, [false, false]).unwrap();
    let expected = plugin.render(&noise, 480).unwrap();
    plugin.deactivate();
    assert!(plugin.render(&noise, 480).is_err(), "process is refused after setActive(0)");
    plugin.activate(RATE, 480, [false, false]).unwrap();
    let again = plugin.render(&noise, 480).unwrap();
    assert_same_bits(&again.main, &expected.main, "activated again");
});

host_test!(block_larger_than_announced_is_refused, TestEnvironment::with_package("half"), {
    let mut plugin = plugin();
    plugin.activate(RATE, 512, [true, true]).unwrap();
    assert!(plugin.render(&Audio::noise(2, 1024, 0.5, 8), 1024).is_err());
});

host_test!(mono_arrangement_gives_mono_outputs, TestEnvironment::with_package("half"), {
    let noise = Audio::noise(1, 24_000, 0.5, 5);
    let mut plugin = plugin();
    assert!(plugin.request_arrangement(MONO, &[MONO, EMPTY, EMPTY]));
    plugin.activate(RATE, 512, [true, true]).unwrap();
    let output = plugin.render(&noise, 512).unwrap();
    let sum = output.target.unwrap().plus(&output.residual.unwrap());
    assert!(sum.largest_difference(&noise.delayed(plugin.latency())) <= 1e-6);
});

host_test!(stereo_auxiliary_outputs_of_mono_have_equal_channels, TestEnvironment::with_package("half"), {
    let noise = Audio::noise(1, 24_000, 0.5, 5);
    let mut plugin = plugin();
    assert!(plugin.request_arrangement(MONO, &[MONO, STEREO, STEREO]));
    let widths: Vec<_> = plugin.outputs().iter().map(|bus| bus.channels).collect();
    assert_eq!(widths, [1, 2, 2]);
    plugin.activate(RATE, 512, [true, true]).unwrap();
    let output = plugin.render(&noise, 512).unwrap();
    let (target, residual) = (output.target.unwrap(), output.residual.unwrap());
    assert!(target.channel(0) == target.channel(1), "the two channels differ");
    let sum = Audio::new(vec![target.plus(&residual).channel(1).to_vec()]);
    assert!(sum.largest_difference(&noise.delayed(plugin.latency())) <= 1e-6);
});

host_test!(refused_arrangement_keeps_the_present_one, TestEnvironment::with_package("half"), {
    let mut plugin = plugin();
    for (input, outputs) in [(MONO, vec![STEREO, EMPTY, EMPTY]), (STEREO, vec![MONO]), (0b111, vec![0b111])] {
        assert!(!plugin.request_arrangement(input, &outputs), "{input:b} {outputs:?}");
        let widths: Vec<_> = plugin.outputs().iter().map(|bus| bus.channels).collect();
        assert_eq!(widths, [2, 2, 2]);
    }
    assert!(plugin.request_arrangement(STEREO, &[STEREO]));
});

host_test!(activation_requests_no_restart, TestEnvironment::with_package("half"), {
    let mut plugin = plugin();
    for max_block in [512, 512, 2048] {
        plugin.activate(RATE, max_block, [false; 2]).unwrap();
        let expected = fixtures::expected_latency(RATE, max_block);
        assert_eq!(plugin.latency(), expected);
        assert_eq!(plugin.latency_before_activation(), expected, "as hosts by JUCE read it");
        plugin.render(&Audio::noise(2, 4096, 0.5, 1), max_block).unwrap();
        plugin.deactivate();
    }
    assert_eq!(plugin.restart_requests(), (0, 0), "restarts in activations, and at other times");
});

host_test!(set_processing_around_each_block_changes_no_bit, TestEnvironment::with_package("recurrent"), {
    let noise = Audio::noise(2, 24_000, 0.5, 3);
    let render = |is_restarted_per_block| {
        let mut plugin = plugin();
        plugin.is_restarted_per_block = is_restarted_per_block;
        plugin.activate(RATE, 512, [false; 2]).unwrap();
        plugin.render(&noise, 512).unwrap().main
    };
    assert_same_bits(&render(true), &render(false), "with setProcessing around each block");
});
