//! The bundled CLAP with its trained model, on the demonstration recording.

use sift_tests::audio::Audio;
use sift_tests::clap_host::{Blocks, Instance, Mode, Output};
use sift_tests::fixtures::{clap_bundle, demo};
use sift_tests::host_test;
use sift_tests::isolation::Environment;
use sift_tests::metrics;

/// The first `seconds` of the demonstration's mixture and its rate.
fn mixture(seconds: usize) -> (Audio, f64) {
    let (audio, rate) = Audio::read_wav(&demo("mixture.wav")).unwrap();
    let frames = audio.frames().min(seconds * rate as usize);
    (audio.slice(0..frames), f64::from(rate))
}

fn render(plugin: &mut Instance, input: &Audio, rate: f64, mode: Mode, blocks: Blocks) -> Output {
    plugin.activate(rate, 2048, mode).unwrap();
    let output = plugin.render(input, blocks, &[]).unwrap();
    plugin.deactivate();
    output
}

host_test!(any_partition_into_blocks_gives_the_same_bits, Environment::as_delivered(), {
    let (mixture, rate) = mixture(4);
    let mut plugin = Instance::create(&clap_bundle()).unwrap();
    let reference = render(&mut plugin, &mixture, rate, Mode::Offline, Blocks::of(2048));
    for (partition, blocks) in [
        ("blocks of 64", Blocks::of(64)),
        ("blocks of 480", Blocks::of(480)),
        ("random blocks", Blocks::random(2048, 1)),
        ("other random blocks", Blocks::random(700, 2)),
    ] {
        let output = render(&mut plugin, &mixture, rate, Mode::Offline, blocks);
        for (port, actual, expected) in
            [("output", &output.main, &reference.main), ("target", &output.target, &reference.target)]
        {
            assert_eq!(actual.first_difference(expected), None, "{partition}, {port}");
        }
    }
});

host_test!(a_host_that_renders_without_saying_so_loses_no_parcel, Environment::as_delivered(), {
    // Some hosts and wrappers report the offline mode late or never: the plugin must see by the
    // clock that there is time to wait.
    let (mixture, rate) = mixture(4);
    let silence = Audio::silence(2, rate as usize);
    let mut plugin = Instance::create(&clap_bundle()).unwrap();
    let offline = render(&mut plugin, &mixture, rate, Mode::Offline, Blocks::of(512));

    plugin.activate(rate, 2048, Mode::Realtime).unwrap();
    plugin.render(&silence, Blocks::of(512).paced(), &[]).unwrap();
    plugin.reset().unwrap();
    let unsaid = plugin.render(&mixture, Blocks::of(512), &[]).unwrap();
    assert_eq!(unsaid.target.first_difference(&offline.target), None);
});

host_test!(the_person_speaking_comes_out_clearer, Environment::as_delivered(), {
    let (mixture, rate) = mixture(12);
    let (speech, _) = Audio::read_wav(&demo("speech.wav")).unwrap();
    let mut plugin = Instance::create(&clap_bundle()).unwrap();
    plugin.activate(rate, 512, Mode::Offline).unwrap();
    let latency = plugin.latency().unwrap();
    let padded = mixture.then(&Audio::silence(2, latency));
    let output = plugin.render(&padded, Blocks::of(512), &[]).unwrap();

    let target = output.main.slice(latency..latency + mixture.frames()).to_mono();
    let speech = speech.slice(0..mixture.frames()).to_mono();
    let before = metrics::si_sdr(&mixture.to_mono(), &speech);
    let after = metrics::si_sdr(&target, &speech);
    println!("measured: SI-SDR of the speech {before:.1} dB in the mixture, {after:.1} dB in the target");
    assert!(after > before + 3.0, "SI-SDR {before:.1} dB before, {after:.1} dB after");
});

host_test!(nothing_of_the_old_stream_is_heard_after_a_reset, Environment::as_delivered(), {
    // The network has a memory of its own: it, too, must begin anew.
    let (mixture, rate) = mixture(4);
    let half = mixture.frames() / 2;
    let (first, second) = (mixture.slice(0..half), mixture.slice(half..2 * half));
    let mut plugin = Instance::create(&clap_bundle()).unwrap();
    let fresh = render(&mut plugin, &second, rate, Mode::Offline, Blocks::of(512));

    plugin.activate(rate, 2048, Mode::Offline).unwrap();
    plugin.render(&first, Blocks::of(512), &[]).unwrap();
    plugin.reset().unwrap();
    let after = plugin.render(&second, Blocks::of(512), &[]).unwrap();
    assert_eq!(after.main.first_difference(&fresh.main), None);
});
