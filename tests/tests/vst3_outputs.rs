//! The bundled VST3's auxiliary outputs, Target and Residual: right where the host takes them, no matter
//! where it does not.

use sift_tests::audio::Audio;
use sift_tests::isolation::Environment;
use sift_tests::vst3_host::{EMPTY, Instance, MONO, Output, STEREO};
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
        let (all, _) = render(&noise, [true, true]);
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

host_test!(a_mono_track_has_mono_outputs, Environment::with_package("half"), {
    let noise = Audio::noise(1, 24_000, 0.5, 5);
    let mut plugin = plugin();
    assert!(plugin.arrange(MONO, &[MONO, EMPTY, EMPTY]));
    plugin.activate(RATE, 512, [true, true]).unwrap();
    let output = plugin.render(&noise, 512).unwrap();
    let sum = output.target.unwrap().plus(&output.residual.unwrap());
    assert!(sum.largest_difference(&noise.delayed(plugin.latency())) <= 1e-6);
});

host_test!(outputs_of_another_width_than_the_track_are_declined, Environment::with_package("half"), {
    let mut plugin = plugin();
    assert!(plugin.arrange(STEREO, &[STEREO, STEREO, STEREO]));
    assert!(plugin.arrange(STEREO, &[STEREO]));
    assert!(!plugin.arrange(MONO, &[MONO, STEREO, STEREO]));
    let widths: Vec<_> = plugin.outputs().iter().map(|bus| bus.channels).collect();
    assert_eq!(widths, [1, 1, 1], "what the plugin offers instead");
    assert!(!plugin.arrange(MONO, &[STEREO, EMPTY, EMPTY]));
});
