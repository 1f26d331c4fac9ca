//! The bundled CLAP with its built-in model, on the demo recording.

use sift_tests::audio::Audio;
use sift_tests::clap_host::{Blocks, Instance, Mode};
use sift_tests::fixtures::{DemoRecording, clap_bundle};
use sift_tests::host_test;
use sift_tests::subprocess::TestEnvironment;

host_test!(built_in_model_raises_si_sdr_of_speech_by_3_db, TestEnvironment::as_delivered(), {
    let demo = DemoRecording::first_seconds(12);
    let mut plugin = Instance::create(&clap_bundle()).unwrap();
    plugin.activate(demo.rate, 512, Mode::Offline).unwrap();
    let output = plugin.render_aligned(&demo.mixture, Blocks::of(512)).unwrap();
    let (before, after) = demo.si_sdr_before_and_after(&output.main);
    println!("measured: SI-SDR of the speech {before:.1} dB in the mixture, {after:.1} dB in the target");
    assert!(after > before + 3.0, "SI-SDR of the speech: {before:.1} dB before, {after:.1} dB after");
});

host_test!(host_that_renders_in_realtime_mode_gets_offline_bits, TestEnvironment::as_delivered(), {
    // Some hosts report the offline mode late or never. The plugin must see by the clock that it may wait for masks.
    let demo = DemoRecording::first_seconds(4);
    let mut plugin = Instance::create(&clap_bundle()).unwrap();
    plugin.activate(demo.rate, 2048, Mode::Offline).unwrap();
    let offline = plugin.render(&demo.mixture, Blocks::of(512), &[]).unwrap();
    plugin.deactivate();

    plugin.activate(demo.rate, 2048, Mode::Realtime).unwrap();
    let silence = Audio::silence(2, demo.rate as usize);
    plugin.render(&silence, Blocks::of(512).in_real_time(), &[]).unwrap();
    plugin.reset().unwrap();
    let unreported = plugin.render(&demo.mixture, Blocks::of(512), &[]).unwrap();
    assert_eq!(unreported.target.first_difference(&offline.target), None);
});
