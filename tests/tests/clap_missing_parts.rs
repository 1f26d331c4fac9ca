//! The bundled CLAP with a missing or broken part: it loads, and passes the sound through dry at its usual latency.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};
use sift_tests::audio::Audio;
use sift_tests::clap_host::{Blocks, Instance, Mode};
use sift_tests::fixtures::{DemoRecording, clap_bundle, expected_latency, package, repository};
use sift_tests::host_test;
use sift_tests::process::load_factor;
use sift_tests::state::State;
use sift_tests::subprocess::TestEnvironment;

const RATE: f64 = 48_000.0;
/// Longest deactivation on an idle machine: the plugin waits a second for a network that does not end.
const DEACTIVATION_TIMEOUT: Duration = Duration::from_millis(1_500);

/// An environment with a copy of the package `half` that `change` has broken.
fn broken(change: impl FnOnce(&Path)) -> TestEnvironment {
    let folder = tempfile::tempdir().unwrap();
    copy_folder(&package("half"), folder.path(), &|_| true);
    change(folder.path());
    TestEnvironment::with_packages_in(folder)
}

/// Replaces `from` by `to` in the package's manifest.
fn edit_manifest(folder: &Path, from: &str, to: &str) {
    let path = folder.join("package.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains(from), "no `{from}` in {}", path.display());
    std::fs::write(path, text.replace(from, to)).unwrap();
}

/// The SHA-256 in the manifest's table `[table]`.
fn manifest_sha256(folder: &Path, table: &str) -> String {
    let text = std::fs::read_to_string(folder.join("package.toml")).unwrap();
    let parsed: toml::Table = toml::from_str(&text).unwrap();
    parsed[table]["sha256"].as_str().unwrap().to_owned()
}

/// Replaces the separator by `content`, with the right hash in the manifest.
fn replace_separator(folder: &Path, content: &[u8]) {
    let hash: String = Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect();
    std::fs::write(folder.join("separator.onnx"), content).unwrap();
    edit_manifest(folder, &manifest_sha256(folder, "separator"), &hash);
}

/// Asserts that `bundle`, with its state edited, passes noise through dry, offline and in real time.
fn assert_passes_dry(bundle: &Path, edit_state: impl Fn(State) -> State) {
    let mut plugin = Instance::create(bundle).unwrap();
    let state = edit_state(State::from_clap(&plugin.save_state().unwrap()).unwrap());
    plugin.load_state(&state.to_clap()).unwrap();
    let noise = Audio::noise(2, 96_000, 1.0, 1);
    for mode in [Mode::Offline, Mode::Realtime] {
        plugin.activate(RATE, 512, mode).unwrap();
        let latency = plugin.latency().unwrap();
        assert_eq!(latency, expected_latency(RATE, 512), "{mode:?}");
        let output = plugin.render(&noise, Blocks::of(512), &[]).unwrap();
        if let Some(difference) = output.main.first_difference(&noise.delayed(latency)) {
            panic!("{mode:?}: the output is not the delayed input: {difference}");
        }
        plugin.deactivate();
    }
}

fn assert_bundle_passes_dry() {
    assert_passes_dry(&clap_bundle(), |state| state);
}

host_test!(
    package_without_separator_file_passes_dry,
    broken(|folder| std::fs::remove_file(folder.join("separator.onnx")).unwrap()),
    {
        assert_bundle_passes_dry();
    }
);

host_test!(
    package_without_query_file_passes_dry,
    broken(|folder| std::fs::remove_file(folder.join("query.onnx")).unwrap()),
    {
        assert_bundle_passes_dry();
    }
);

host_test!(
    package_without_tokenizer_passes_dry,
    broken(|folder| std::fs::remove_file(folder.join("tokenizer.json")).unwrap()),
    {
        assert_bundle_passes_dry();
    }
);

host_test!(
    package_with_a_wrong_hash_passes_dry,
    broken(|folder| edit_manifest(folder, &manifest_sha256(folder, "separator"), &"0".repeat(64))),
    {
        assert_bundle_passes_dry();
    }
);

host_test!(
    package_whose_separator_is_not_onnx_passes_dry,
    broken(|folder| replace_separator(folder, b"this is not a network")),
    {
        assert_bundle_passes_dry();
    }
);

host_test!(
    package_whose_shapes_do_not_fit_n_fft_passes_dry,
    broken(|folder| edit_manifest(folder, "n_fft = 1024", "n_fft = 2048")),
    {
        // The latency may be that of this manifest or of the default one; the sound must match what is reported.
        let mut plugin = Instance::create(&clap_bundle()).unwrap();
        plugin.activate(RATE, 512, Mode::Offline).unwrap();
        let noise = Audio::noise(2, 48_000, 1.0, 3);
        let output = plugin.render(&noise, Blocks::of(512), &[]).unwrap();
        let delayed = noise.delayed(plugin.latency().unwrap());
        assert_eq!(output.main.first_difference(&delayed), None, "the output is not the delayed input");
    }
);

host_test!(
    package_whose_separator_never_ends_passes_dry_and_stops,
    broken(|folder| {
        let endless = repository().join("tests/packages/hostile/endless-when-heard.onnx");
        replace_separator(folder, &std::fs::read(endless).unwrap());
    }),
    {
        let mut plugin = Instance::create(&clap_bundle()).unwrap();
        plugin.activate(RATE, 512, Mode::Realtime).unwrap();
        // The network loops at a loud bin: a tone has one, noise of any level has none.
        let tone = Audio::sine(2, 144_000, RATE, 1_000.0, 1.0);
        let output = plugin.render(&tone, Blocks::of(512).in_real_time(), &[]).unwrap();
        let dry = tone.delayed(plugin.latency().unwrap());
        assert_eq!(output.main.largest_difference(&dry), 0.0);
        let begin = Instant::now();
        plugin.deactivate();
        let time = begin.elapsed();
        let timeout = DEACTIVATION_TIMEOUT.mul_f64(load_factor());
        assert!(time < timeout, "deactivation took {time:?}; expected less than {timeout:?}");
    }
);

host_test!(
    package_whose_manifest_is_not_toml_passes_dry,
    broken(|folder| {
        std::fs::write(folder.join("package.toml"), "name = \"Sift default\n[audio").unwrap();
    }),
    {
        // It has the selected name, so no other package may replace it silently.
        assert_bundle_passes_dry();
    }
);

host_test!(
    package_whose_manifest_has_no_name_leaves_default_model,
    broken(|folder| std::fs::write(folder.join("package.toml"), "[audio").unwrap()),
    {
        let demo = DemoRecording::first_seconds(6);
        let mut plugin = Instance::create(&clap_bundle()).unwrap();
        plugin.activate(demo.rate, 512, Mode::Offline).unwrap();
        assert_eq!(plugin.latency().unwrap(), expected_latency(demo.rate, 512));
        let output = plugin.render_aligned(&demo.mixture, Blocks::of(512)).unwrap();
        let (before, after) = demo.si_sdr_before_and_after(&output.main);
        assert!(after > before + 3.0, "SI-SDR of the speech: {before:.1} dB before, {after:.1} dB after");
    }
);

host_test!(state_with_a_model_that_is_not_installed_passes_dry, TestEnvironment::as_delivered(), {
    assert_passes_dry(&clap_bundle(), |state| state.with_model("A package of another computer"));
});

host_test!(bundle_without_onnx_runtime_passes_dry, TestEnvironment::as_delivered(), {
    let folder = tempfile::tempdir().unwrap();
    assert_passes_dry(&bundle_without_runtime(folder.path()), |state| state);
});

/// A copy of the bundle in `folder`, without the ONNX Runtime next to it.
fn bundle_without_runtime(folder: &Path) -> PathBuf {
    let bundle = clap_bundle();
    let copy = folder.join("Sift.clap");
    if bundle.is_file() {
        std::fs::copy(&bundle, &copy).unwrap();
        return copy;
    }
    // macOS: a bundle is a folder.
    std::fs::create_dir(&copy).unwrap();
    copy_folder(&bundle, &copy, &|file| !file.file_name().unwrap().to_string_lossy().contains("onnxruntime"));
    copy
}

/// Copies the content of the folder `from` into the folder `to`, of files those that are `wanted`.
fn copy_folder(from: &Path, to: &Path, wanted: &dyn Fn(&Path) -> bool) {
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let copy = to.join(path.file_name().unwrap());
        if path.is_dir() {
            std::fs::create_dir(&copy).unwrap();
            copy_folder(&path, &copy, wanted);
        } else if wanted(&path) {
            std::fs::copy(&path, &copy).unwrap();
        }
    }
}
