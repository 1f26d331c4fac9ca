//! The bundled VST3's auxiliary outputs, Target and Residual: right where the host takes them, no matter
//! where it does not.

use sift_tests::audio::Audio;
use sift_tests::isolation::Environment;
use sift_tests::vst3_host::{EMPTY, Instance, MONO, Manner, Output, STEREO};
use sift_tests::{fixtures, host_test};

const RATE: f64 = 48_000.0;

fn plugin() -> Instance {
    Instance::create(&fixtures::vst3_module()).unwrap()
}

/// The output of a fresh instance whose host takes Target, Residual, both or neither; and its latency.
fn render(input: &Audio, taken: [bool; 2]) -> (Output, usize) {
    let mut plugin = plugin();
    plugin.activate(RATE, 512, taken).unwrap();
    let latency = plugin.latency();
    (plugin.render(input, 480).unwrap(), latency)
}

#[track_caller]
fn assert_same_bits(actual: &Audio, expected: &Audio, what: &str) {
    if let Some(difference) = actual.first_difference(expected) {
        panic!("{what}: {difference}");
    }
}

host_test!(target_and_residual_are_outputs_that_the_user_may_add, Environment::with_package("half"), {
    let outputs = plugin().outputs();
    let described: Vec<_> =
        outputs.iter().map(|bus| (bus.name.as_str(), bus.channels, bus.is_active_by_default)).collect();
    assert_eq!(described, [("Output", 2, true), ("Target", 2, false), ("Residual", 2, false)]);
});

host_test!(target_and_residual_add_up_to_the_delayed_input, Environment::with_package("half"), {
    let noise = Audio::noise(2, 48_000, 0.5, 3);
    let (output, latency) = render(&noise, [true, true]);
    let (target, residual) = (output.target.unwrap(), output.residual.unwrap());
    let difference = target.plus(&residual).largest_difference(&noise.delayed(latency));
    assert!(difference <= 1e-6, "differs by {difference:e}");
    // The package keeps half of everything.
    let difference = target.largest_difference(&residual);
    assert!(difference < 1e-4, "target and residual differ by {difference:e}");
});

host_test!(
    an_output_that_the_host_leaves_alone_changes_nothing_of_the_others,
    Environment::with_package("half"),
    {
        let noise = Audio::noise(2, 24_000, 0.5, 4);
        let (all, latency) = render(&noise, [true, true]);
        let delayed = noise.delayed(latency);
        let halved =
            Audio::from_fn(2, noise.frames(), |channel, frame| 0.5 * delayed.channel(channel)[frame]);
        let difference = all.main.largest_difference(&halved);
        assert!(difference < 1e-4, "differs from half the input by {difference:e}");
        for taken in [[false, false], [true, false], [false, true]] {
            let (some, _) = render(&noise, taken);
            assert_same_bits(&some.main, &all.main, &format!("main with {taken:?}"));
            for (name, some, all) in
                [("target", &some.target, &all.target), ("residual", &some.residual, &all.residual)]
            {
                if let (Some(some), Some(all)) = (some, all) {
                    assert_same_bits(some, all, &format!("{name} with {taken:?}"));
                }
            }
        }
    }
);

host_test!(
    however_a_host_hands_over_the_buses_the_main_output_is_the_same,
    Environment::with_package("half"),
    {
        let noise = Audio::noise(2, 12_000, 0.5, 6);
        let (usual, _) = render(&noise, [false, false]);
        let manners = [
            Manner { outputs: 1, ..Manner::default() },
            Manner { outputs: 2, ..Manner::default() },
            Manner { outputs: 5, ..Manner::default() },
            Manner { null_buffers: true, ..Manner::default() },
            Manner { in_place: true, ..Manner::default() },
        ];
        for manner in manners {
            let mut plugin = plugin();
            plugin.manner = manner;
            plugin.activate(RATE, 512, [false, false]).unwrap();
            let output = plugin.render(&noise, 480).unwrap();
            assert_same_bits(&output.main, &usual.main, &format!("{manner:?}"));
        }
        let mut plugin = plugin();
        plugin.manner = Manner { one_sink: true, ..Manner::default() };
        plugin.activate(RATE, 512, [true, true]).unwrap();
        let output = plugin.render(&noise, 480).unwrap();
        assert_same_bits(&output.main, &usual.main, "one sink for all that is not heard");
    }
);

host_test!(a_block_without_audio_moves_nothing, Environment::with_package("half"), {
    let noise = Audio::noise(2, 9_600, 0.5, 7);
    let (whole, _) = render(&noise, [false, false]);
    let mut plugin = plugin();
    plugin.activate(RATE, 512, [false, false]).unwrap();
    let first = plugin.render(&noise.slice(0..4_800), 480).unwrap().main;
    plugin.flush().unwrap();
    let second = plugin.render(&noise.slice(4_800..9_600), 480).unwrap().main;
    assert_same_bits(&first.then(&second), &whole.main, "with a flush in the middle");
});

host_test!(a_block_larger_than_announced_is_refused, Environment::with_package("half"), {
    let mut plugin = plugin();
    plugin.activate(RATE, 512, [true, true]).unwrap();
    assert!(plugin.render(&Audio::noise(2, 1024, 0.5, 8), 1024).is_err());
});

host_test!(a_mono_track_has_mono_outputs, Environment::with_package("half"), {
    let noise = Audio::noise(1, 24_000, 0.5, 5);
    let mut plugin = plugin();
    assert!(plugin.arrange(MONO, &[MONO, EMPTY, EMPTY]));
    plugin.activate(RATE, 512, [true, true]).unwrap();
    let output = plugin.render(&noise, 512).unwrap();
    let sum = output.target.unwrap().plus(&output.residual.unwrap());
    assert!(sum.largest_difference(&noise.delayed(plugin.latency())) <= 1e-6);
});

host_test!(a_wider_output_has_mono_on_both_sides, Environment::with_package("half"), {
    let noise = Audio::noise(1, 24_000, 0.5, 5);
    let mut plugin = plugin();
    assert!(plugin.arrange(MONO, &[MONO, STEREO, STEREO]));
    let widths: Vec<_> = plugin.outputs().iter().map(|bus| bus.channels).collect();
    assert_eq!(widths, [1, 2, 2]);
    plugin.activate(RATE, 512, [true, true]).unwrap();
    let output = plugin.render(&noise, 512).unwrap();
    let (target, residual) = (output.target.unwrap(), output.residual.unwrap());
    assert!(target.channel(0) == target.channel(1), "the two sides differ");
    let sum = Audio::new(vec![target.plus(&residual).channel(1).to_vec()]);
    assert!(sum.largest_difference(&noise.delayed(plugin.latency())) <= 1e-6);
});

host_test!(a_refused_arrangement_changes_nothing, Environment::with_package("half"), {
    let mut plugin = plugin();
    for (input, outputs) in [(MONO, vec![STEREO, EMPTY, EMPTY]), (STEREO, vec![MONO]), (0b111, vec![0b111])] {
        assert!(!plugin.arrange(input, &outputs), "{input:b} {outputs:?}");
        let widths: Vec<_> = plugin.outputs().iter().map(|bus| bus.channels).collect();
        assert_eq!(widths, [2, 2, 2]);
    }
    assert!(plugin.arrange(STEREO, &[STEREO]));
});
