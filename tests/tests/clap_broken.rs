//! The bundled CLAP where something is missing or broken: it loads, and passes sound on as it came, at
//! the latency it always has.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};
use sift_tests::audio::Audio;
use sift_tests::clap_host::{Blocks, Instance, Mode};
use sift_tests::fixtures::{clap_bundle, expected_latency, package, repository};
use sift_tests::host_test;
use sift_tests::isolation::{Environment, scratch_folder};
use sift_tests::state::State;

const RATE: f64 = 48_000.0;

/// A copy of the package `half`, spoilt by `spoil`.
fn broken(name: &str, spoil: impl FnOnce(&Path)) -> Environment {
    let folder = scratch_folder(Path::new(env!("CARGO_TARGET_TMPDIR")), name);
    for entry in std::fs::read_dir(package("half")).unwrap() {
        let file = entry.unwrap();
        std::fs::copy(file.path(), folder.join(file.file_name())).unwrap();
    }
    spoil(&folder);
    Environment::with_package_at(folder)
}

/// Replaces `from` by `to` in the package's description.
fn edit(folder: &Path, from: &str, to: &str) {
    let path = folder.join("package.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.contains(from), "no `{from}` in {}", path.display());
    std::fs::write(path, text.replace(from, to)).unwrap();
}

/// The SHA-256 that the package's description gives in its table `[table]`.
fn sha256(folder: &Path, table: &str) -> String {
    let text = std::fs::read_to_string(folder.join("package.toml")).unwrap();
    let parsed: toml::Table = toml::from_str(&text).unwrap();
    parsed[table]["sha256"].as_str().unwrap().to_owned()
}

/// Puts `content` in the separator's place, with the right hash.
fn replace_separator(folder: &Path, content: &[u8]) {
    let hash: String = Sha256::digest(content).iter().map(|byte| format!("{byte:02x}")).collect();
    std::fs::write(folder.join("separator.onnx"), content).unwrap();
    edit(folder, &sha256(folder, "separator"), &hash);
}

/// Loads `bundle` and asserts that it passes noise on, delayed, offline and in real time.
fn assert_passes_dry(bundle: &Path, state: impl Fn(State) -> State) {
    let mut plugin = Instance::create(bundle).unwrap();
    let edited = state(State::from_clap(&plugin.save_state().unwrap()).unwrap());
    plugin.load_state(&edited.to_clap()).unwrap();
    let noise = Audio::noise(2, 96_000, 1.0, 1);
    for mode in [Mode::Offline, Mode::Realtime] {
        plugin.activate(RATE, 512, mode).unwrap();
        let latency = plugin.latency().unwrap();
        assert_eq!(latency, expected_latency(RATE, 512), "{mode:?}");
        let output = plugin.render(&noise, Blocks::of(512), &[]).unwrap();
        if let Some(difference) = output.main.first_difference(&noise.delayed(latency)) {
            panic!("{mode:?}: not the delayed input: {difference}");
        }
        plugin.deactivate();
    }
}

fn assert_bundle_passes_dry() {
    assert_passes_dry(&clap_bundle(), |state| state);
}

host_test!(
    without_the_separator_file_it_passes_dry,
    broken("no-separator", |folder| {
        std::fs::remove_file(folder.join("separator.onnx")).unwrap();
    }),
    { assert_bundle_passes_dry() }
);

host_test!(
    without_the_query_file_it_passes_dry,
    broken("no-query", |folder| {
        std::fs::remove_file(folder.join("query.onnx")).unwrap();
    }),
    { assert_bundle_passes_dry() }
);

host_test!(
    without_the_tokenizer_it_passes_dry,
    broken("no-tokenizer", |folder| {
        std::fs::remove_file(folder.join("tokenizer.json")).unwrap();
    }),
    { assert_bundle_passes_dry() }
);

host_test!(
    with_a_file_of_another_hash_it_passes_dry,
    broken("wrong-hash", |folder| {
        let hash = sha256(folder, "separator");
        edit(folder, &hash, &"0".repeat(64));
    }),
    { assert_bundle_passes_dry() }
);

host_test!(
    with_a_file_that_is_no_network_it_passes_dry,
    broken("not-onnx", |folder| {
        replace_separator(folder, b"this is not a network");
    }),
    { assert_bundle_passes_dry() }
);

host_test!(
    with_the_shapes_of_another_transform_it_passes_dry,
    broken("wrong-shape", |folder| edit(folder, "n_fft = 1024", "n_fft = 2048")),
    { assert_passes_dry_at_its_own_latency() }
);

host_test!(
    with_a_network_that_does_not_end_it_passes_dry_and_is_deactivated_at_once,
    broken("endless", |folder| {
        let hostile = repository().join("tests/packages/hostile/endless-when-heard.onnx");
        replace_separator(folder, &std::fs::read(hostile).unwrap());
    }),
    {
        let mut plugin = Instance::create(&clap_bundle()).unwrap();
        plugin.activate(RATE, 512, Mode::Realtime).unwrap();
        // A tone has the loud bin that the network waits for; noise as loud as can be has none.
        let tone = Audio::sine(2, 144_000, RATE, 1_000.0, 1.0);
        let output = plugin.render(&tone, Blocks::of(512).paced(), &[]).unwrap();
        let dry = tone.delayed(plugin.latency().unwrap());
        assert_eq!(output.main.largest_difference(&dry), 0.0);
        let begin = Instant::now();
        plugin.deactivate();
        assert!(begin.elapsed() < Duration::from_millis(1_500), "{:?}", begin.elapsed());
    }
);

host_test!(
    with_a_description_that_is_not_toml_it_still_works,
    broken("bad-toml", |folder| {
        std::fs::write(folder.join("package.toml"), "name = \"Sift default\n[audio").unwrap();
    }),
    {
        // Nobody can tell whose description it was meant to be: the built-in package is not replaced.
        let mut plugin = Instance::create(&clap_bundle()).unwrap();
        plugin.activate(RATE, 512, Mode::Offline).unwrap();
        assert_eq!(plugin.latency().unwrap(), expected_latency(RATE, 512));
        let noise = Audio::noise(2, 48_000, 1.0, 2);
        let output = plugin.render(&noise, Blocks::of(512), &[]).unwrap();
        assert!(output.main.is_finite());
        let sum = output.target.plus(&output.residual);
        assert!(sum.largest_difference(&noise.delayed(expected_latency(RATE, 512))) < 1e-6);
    }
);

host_test!(with_a_package_chosen_that_is_not_there_it_passes_dry, Environment::as_delivered(), {
    assert_passes_dry(&clap_bundle(), |state| state.with_model("A package of another computer"))
});

host_test!(without_onnx_runtime_it_passes_dry, Environment::as_delivered(), {
    assert_passes_dry(&bundle_without_runtime(), |state| state)
});

/// A copy of the bundle that has no ONNX Runtime beside it.
fn bundle_without_runtime() -> PathBuf {
    let bundle = clap_bundle();
    let copy = scratch_folder(Path::new(env!("CARGO_TARGET_TMPDIR")), "no-runtime").join("Sift.clap");
    if bundle.is_file() {
        std::fs::copy(&bundle, &copy).unwrap();
        return copy;
    }
    // macOS: a bundle is a folder.
    copy_folder(&bundle, &copy, &|file| !file.file_name().unwrap().to_string_lossy().contains("onnxruntime"));
    copy
}

fn copy_folder(from: &Path, to: &Path, wanted: &dyn Fn(&Path) -> bool) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let copy = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy_folder(&path, &copy, wanted);
        } else if wanted(&path) {
            std::fs::copy(&path, &copy).unwrap();
        }
    }
}

/// Like [`assert_bundle_passes_dry`], where the description asks for another transform: its latency is
/// that of the description or the default one, and the sound keeps to what is reported.
fn assert_passes_dry_at_its_own_latency() {
    let mut plugin = Instance::create(&clap_bundle()).unwrap();
    plugin.activate(RATE, 512, Mode::Offline).unwrap();
    let noise = Audio::noise(2, 48_000, 1.0, 3);
    let output = plugin.render(&noise, Blocks::of(512), &[]).unwrap();
    let delayed = noise.delayed(plugin.latency().unwrap());
    if let Some(difference) = output.main.first_difference(&delayed) {
        panic!("not the delayed input: {difference}");
    }
}
