//! The command as a person runs it, on models whose masks are known in advance.
//!
//! ONNX Runtime is needed: `cargo xtask test` sets `ORT_DYLIB_PATH` to it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicU32, Ordering};

use hound::{SampleFormat, WavReader, WavSpec, WavWriter};

const RATE: u32 = 44_100;

/// A folder that a test has to itself, with a recording in it.
struct Bench(PathBuf);

impl Bench {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("sift-command-{}-{number}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        write(&folder.join("in.wav"), &recording());
        Self(folder)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn cache(&self) -> PathBuf {
        self.0.with_extension("cache")
    }

    fn names(&self) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(&self.0)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    /// The command, run in this folder, with no models and no preferences but its own.
    fn sift(&self, arguments: &[&str]) -> Output {
        assert!(
            std::env::var_os("ORT_DYLIB_PATH").is_some(),
            "ORT_DYLIB_PATH is not set: run `cargo xtask test`, or set it to the full path of ONNX Runtime",
        );
        self.sift_with(&[], arguments)
    }

    /// The same with further variables.
    fn sift_with(&self, variables: &[(&str, &str)], arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sift"));
        command.args(arguments).current_dir(&self.0).env_remove("SIFT_MODELS").env_remove("SIFT_PROVIDER");
        for folder in ["XDG_DATA_HOME", "XDG_CONFIG_HOME"] {
            command.env(folder, &self.0);
        }
        // ONNX Runtime leaves a folder of its own there, too.
        command.env("XDG_CACHE_HOME", self.cache());
        command.envs(variables.iter().copied()).output().unwrap()
    }

    /// Renders `in.wav` on one of the test models, which must go well.
    fn render(&self, model: &str, arguments: &[&str]) {
        let model = package(model);
        let all: Vec<_> =
            ["render", "in.wav", "--model", &model].into_iter().chain(arguments.iter().copied()).collect();
        let output = self.sift(&all);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// What the command says on failing, which it must, with nothing left behind.
    fn refusal(&self, arguments: &[&str]) -> String {
        let before = self.names();
        let output = self.sift(arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        assert_eq!(self.names(), before);
        let message = String::from_utf8(output.stderr).unwrap();
        assert!(message.starts_with("error: ") && message.lines().count() == 1, "{message}");
        message
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
        let _ = fs::remove_dir_all(self.cache());
    }
}

/// One of the packages in `tests/packages`.
fn package(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/packages").join(name);
    path.canonicalize().unwrap_or_else(|error| panic!("{}: {error}", path.display())).display().to_string()
}

/// Interleaved stereo, 0.7 s: a tone on the left, noise on the right.
fn recording() -> Vec<f32> {
    let mut state = 1_u32;
    (0..30_870)
        .flat_map(|n| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            [0.5 * (n as f32 * 0.05).sin(), (state >> 8) as f32 / (1 << 25) as f32 - 0.25]
        })
        .collect()
}

fn write(path: &Path, samples: &[f32]) {
    let spec =
        WavSpec { channels: 2, sample_rate: RATE, bits_per_sample: 32, sample_format: SampleFormat::Float };
    let mut writer = WavWriter::create(path, spec).unwrap();
    samples.iter().for_each(|&sample| writer.write_sample(sample).unwrap());
    writer.finalize().unwrap();
}

fn read(path: &Path) -> Vec<f32> {
    let mut reader = WavReader::open(path).unwrap();
    assert_eq!((reader.spec().sample_rate, reader.spec().channels), (RATE, 2));
    assert_eq!(reader.spec().sample_format, SampleFormat::Float);
    reader.samples().map(Result::unwrap).collect()
}

/// Asserts that `path` holds the recording times `gain`, sample for sample and as long.
fn assert_is_scaled(path: &Path, gain: f32) {
    let (found, expected) = (read(path), recording());
    assert_eq!(found.len(), expected.len());
    let worst =
        found.iter().zip(&expected).map(|(found, input)| (found - gain * input).abs()).fold(0.0, f32::max);
    assert!(worst < 1e-5, "{}: off by {worst}", path.display());
}

#[test]
fn what_is_isolated_lies_where_it_was_in_the_input() {
    let bench = Bench::new();
    bench.render("half", &["--query", "rain"]);
    assert_is_scaled(&bench.path("in-isolated.wav"), 0.5);
    assert_eq!(bench.names(), ["in-isolated.wav", "in.wav"]);
}

#[test]
fn removing_gives_the_rest() {
    let bench = Bench::new();
    bench.render("identity", &["--query", "rain", "--mode", "remove"]);
    assert_is_scaled(&bench.path("in-removed.wav"), 0.0);
}

#[test]
fn target_and_residual_are_the_input() {
    let bench = Bench::new();
    bench.render("half", &["--query", "rain", "--output", "target.wav", "--residual", "rest.wav"]);
    let sum: Vec<f32> = read(&bench.path("target.wav"))
        .iter()
        .zip(read(&bench.path("rest.wav")))
        .map(|(a, b)| a + b)
        .collect();
    assert!(sum.iter().zip(recording()).all(|(sum, input)| (sum - input).abs() < 1e-6));
}

#[test]
fn strength_zero_is_the_input_bit_for_bit() {
    let bench = Bench::new();
    for mode in ["isolate", "remove"] {
        bench.render("half", &["--query", "rain", "--mode", mode, "--strength", "0", "--output", "out.wav"]);
        assert!(
            read(&bench.path("out.wav")).iter().zip(recording()).all(|(a, b)| a.to_bits() == b.to_bits())
        );
    }
}

#[test]
fn strength_lies_between_the_input_and_the_target() {
    let bench = Bench::new();
    bench.render("half", &["--query", "rain", "--strength", "0.5", "--output", "out.wav"]);
    assert_is_scaled(&bench.path("out.wav"), 0.75);
}

#[test]
fn the_words_decide() {
    let bench = Bench::new();
    bench.render("by-query", &["--query", "말소리", "--output", "kept.wav"]);
    assert_is_scaled(&bench.path("kept.wav"), 1.0);
    bench.render("by-query", &["--query", "drums", "--output", "lost.wav"]);
    // The mask's floor is −80 dB.
    assert_is_scaled(&bench.path("lost.wav"), 1e-4);
}

#[test]
fn the_same_command_gives_the_same_bytes() {
    let bench = Bench::new();
    for name in ["a.wav", "b.wav"] {
        bench.render("half", &["--query", "rain", "--output", name]);
    }
    assert_eq!(fs::read(bench.path("a.wav")).unwrap(), fs::read(bench.path("b.wav")).unwrap());
}

#[test]
fn the_plot_is_a_png() {
    let bench = Bench::new();
    bench.render("half", &["--query", "rain", "--plot", "plot.png"]);
    let plot = image::open(bench.path("plot.png")).unwrap();
    assert!(plot.width() > 800 && plot.height() > 600);
}

#[test]
fn the_built_in_model_separates() {
    let bench = Bench::new();
    let output = bench.sift(&["render", "in.wav", "--query", "a person speaking"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8(output.stdout).unwrap().trim(), "in-isolated.wav");
    assert!(read(&bench.path("in-isolated.wav")).iter().all(|sample| sample.is_finite()));
}

#[test]
fn an_earlier_result_is_replaced_only_by_a_whole_one() {
    let bench = Bench::new();
    fs::write(bench.path("out.wav"), "old").unwrap();
    let cut = fs::read(bench.path("in.wav")).unwrap();
    fs::write(bench.path("cut.wav"), &cut[..cut.len() / 2]).unwrap();
    let (model, out) = (package("half"), ["--output", "out.wav"]);
    let message = bench.refusal(&["render", "cut.wav", "--query", "rain", "--model", &model, out[0], out[1]]);
    assert!(message.contains("cut.wav"), "{message}");
    assert_eq!(fs::read(bench.path("out.wav")).unwrap(), b"old");
    bench.render("half", &["--query", "rain", out[0], out[1]]);
    assert_is_scaled(&bench.path("out.wav"), 0.5);
}

#[test]
fn what_cannot_be_done_is_said_in_a_line_that_names_it() {
    let bench = Bench::new();
    let model = package("half");
    for (arguments, parts) in [
        (vec!["missing.wav"], vec!["missing.wav", "cannot be opened"]),
        (vec!["in.wav", "--output", "none/out.wav"], vec!["none", "Create it"]),
        (vec!["in.wav", "--output", "in.wav"], vec!["in.wav", "never replaced"]),
        (vec!["in.wav", "--output", "out.ogg"], vec!["out.ogg", ".wav"]),
    ] {
        let all: Vec<_> =
            ["render", "--query", "rain", "--model", &model].into_iter().chain(arguments).collect();
        let message = bench.refusal(&all);
        assert!(parts.iter().all(|part| message.contains(part)), "{message}");
    }
}

#[test]
fn a_model_that_is_not_there_or_broken_is_named() {
    let bench = Bench::new();
    let message = bench.refusal(&["render", "in.wav", "--query", "rain", "--model", "no-model"]);
    assert!(message.contains("no-model") && message.contains("package.toml"), "{message}");

    let folder = install(&bench, "half");
    fs::write(folder.join("separator.onnx"), "damaged").unwrap();
    let folder = folder.display().to_string();
    let message = bench.refusal(&["render", "in.wav", "--query", "rain", "--model", &folder]);
    assert!(message.contains("separator.onnx") && message.contains("separator.sha256"), "{message}");
}

#[test]
fn a_model_that_fails_on_the_way_is_an_error() {
    let bench = Bench::new();
    let message = bench.refusal(&["render", "in.wav", "--query", "rain", "--model", &package("nan")]);
    assert!(message.contains("no usable mask"), "{message}");
}

#[test]
fn a_missing_onnx_runtime_is_named_with_the_remedy() {
    let bench = Bench::new();
    let runtime = bench.path("libonnxruntime.so").display().to_string();
    let nowhere = [("ORT_DYLIB_PATH", runtime.as_str())];
    let output = bench.sift_with(&nowhere, &["render", "in.wav", "--query", "rain"]);
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && message.contains("libonnxruntime.so"), "{message}");
    assert!(message.contains("ORT_DYLIB_PATH"), "{message}");
    assert_eq!(bench.names(), ["in.wav"]);

    let output = bench.sift_with(&nowhere, &["doctor"]);
    let report = String::from_utf8(output.stdout).unwrap();
    assert!(!output.status.success() && report.contains("FAIL  ONNX Runtime"), "{report}");
    assert!(report.contains("not tried"), "{report}");
}

#[test]
fn the_doctor_finds_the_parts_and_times_the_model() {
    let bench = Bench::new();
    let output = bench.sift(&["doctor", "--model", &package("half")]);
    let report = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{report}");
    for part in [
        "ok    ONNX Runtime",
        "it offers     CPU",
        "models in",
        "ok    package",
        "ok    model",
        "ok    provider      CPU",
        "ok    speed",
        "it plays live",
    ] {
        assert!(report.contains(part), "{part} is missing in\n{report}");
    }
}

#[test]
fn a_broken_package_is_listed_and_makes_the_doctor_fail() {
    let bench = Bench::new();
    let folder = bench.path("sift/models/mine");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("package.toml"), "name = \"mine\"\n").unwrap();
    let list = bench.sift(&["models"]);
    assert!(list.status.success());
    let list = String::from_utf8(list.stdout).unwrap();
    assert!(list.contains("(broken)") && list.contains("mine") && list.contains("Sift default"), "{list}");
    let doctor = bench.sift(&["doctor", "--model", &package("half")]);
    assert_eq!(doctor.status.code(), Some(1));
    assert!(String::from_utf8(doctor.stdout).unwrap().contains("FAIL  package"));
    assert!(String::from_utf8(doctor.stderr).unwrap().contains("1 of these do not work"));
}

/// Puts a copy of a test model where a person puts theirs, and returns its folder.
fn install(bench: &Bench, name: &str) -> PathBuf {
    let folder = bench.path("sift/models").join(name);
    fs::create_dir_all(&folder).unwrap();
    for file in fs::read_dir(package(name)).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), folder.join(file.file_name())).unwrap();
    }
    folder
}

#[test]
fn what_the_doctor_measured_is_listed_with_that_very_package() {
    let bench = Bench::new();
    let folder = install(&bench, "window");
    let measured = || {
        let list = String::from_utf8(bench.sift(&["models"]).stdout).unwrap();
        // The person's packages come before the built-in one.
        let speed = list.lines().find(|line| line.starts_with("  speed")).unwrap().to_owned();
        assert!(
            list.matches("  speed").count() == 2 && list.contains("not measured yet: `sift doctor` does")
        );
        speed
    };
    let shown = folder.display().to_string();
    assert!(measured().contains(&format!("`sift doctor --model {shown}`")), "{}", measured());
    let output = bench.sift(&["doctor", "--model", &shown]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    assert!(measured().ends_with("times faster than real time here: it plays live"), "{}", measured());

    let manifest = fs::read_to_string(folder.join("package.toml")).unwrap();
    let changed = manifest.replace("advance = 4", "advance = 1");
    assert_ne!(changed, manifest);
    fs::write(folder.join("package.toml"), changed).unwrap();
    assert!(measured().contains("not measured yet"), "{}", measured());
}

#[test]
fn figures_that_cannot_be_read_are_named_and_hide_no_package() {
    let bench = Bench::new();
    fs::create_dir_all(bench.cache().join("sift")).unwrap();
    fs::write(bench.cache().join("sift/speeds.toml"), "speed = 1").unwrap();
    let list = bench.sift(&["models"]);
    assert!(list.status.success() && String::from_utf8(list.stdout).unwrap().contains("Sift default"));
    let message = String::from_utf8(list.stderr).unwrap();
    assert!(message.contains("speeds.toml") && message.contains("Correct or remove"), "{message}");
}

/// Renders with the model that halves and returns what was warned of.
fn warning(bench: &Bench, variables: &[(&str, &str)]) -> String {
    let model = package("half");
    let output = bench.sift_with(variables, &["render", "in.wav", "--query", "rain", "--model", &model]);
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{message}");
    assert_is_scaled(&bench.path("in-isolated.wav"), 0.5);
    message
}

#[test]
fn a_provider_that_onnx_runtime_does_not_offer_falls_back_to_the_processor_and_is_told() {
    let bench = Bench::new();
    let cuda = [("SIFT_PROVIDER", "cuda")];
    let message = warning(&bench, &cuda);
    assert!(message.starts_with("warning: SIFT_PROVIDER asks for CUDA") && message.lines().count() == 1);
    assert!(message.contains("does not offer CUDA") && message.contains("runs on the CPU"), "{message}");

    let doctor = bench.sift_with(&cuda, &["doctor", "--model", &package("half")]);
    let report = String::from_utf8(doctor.stdout).unwrap();
    assert_eq!(doctor.status.code(), Some(1), "{report}");
    assert!(report.contains("FAIL  provider      SIFT_PROVIDER asks for CUDA"), "{report}");
    assert!(report.contains("ok    speed"), "{report}");
}

#[test]
fn the_provider_of_the_preferences_counts_where_the_environment_names_none() {
    let bench = Bench::new();
    fs::create_dir_all(bench.path("sift")).unwrap();
    fs::write(bench.path("sift/preferences.toml"), "theme = \"light\"\nprovider = \"cuda\"").unwrap();
    let message = warning(&bench, &[]);
    assert!(message.contains("field `provider` of") && message.contains("preferences.toml"), "{message}");
    assert_eq!(warning(&bench, &[("SIFT_PROVIDER", "cpu")]), "");
}

#[test]
fn a_provider_that_there_is_not_is_told_with_what_is_allowed() {
    let bench = Bench::new();
    let message = warning(&bench, &[("SIFT_PROVIDER", "gpu")]);
    for part in ["SIFT_PROVIDER", "\"gpu\"", "cpu, cuda, coreml, directml", "runs on the CPU"] {
        assert!(message.contains(part), "{message}");
    }
}
