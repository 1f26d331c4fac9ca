//! Runs the command `sift` with models whose masks are known.
//!
//! Needs ONNX Runtime: `cargo xtask test` sets `ORT_DYLIB_PATH`.

use std::fs;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use hound::{SampleFormat, WavReader, WavSpec, WavWriter};
use tempfile::TempDir;

const SAMPLE_RATE: u32 = 44_100;

/// A temporary folder with a recording, in which the command runs.
struct CliFixture {
    folder: TempDir,
    cache: TempDir,
}

impl CliFixture {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        write(&folder.path().join("in.wav"), &recording());
        Self { folder, cache: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The names in the folder, sorted.
    fn names(&self) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(&self.folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    /// Runs the command in the folder, which is also that of the user's models and preferences.
    fn sift(&self, arguments: &[&str]) -> Output {
        assert!(
            std::env::var_os("ORT_DYLIB_PATH").is_some(),
            "ORT_DYLIB_PATH is not set: run `cargo xtask test`, or set it to the full path of ONNX Runtime",
        );
        self.sift_with(&[], arguments)
    }

    /// Runs the command like [`sift`](Self::sift), with further environment variables.
    fn sift_with(&self, variables: &[(&str, &str)], arguments: &[&str]) -> Output {
        self.command(env!("CARGO_BIN_EXE_sift"))
            .args(arguments)
            .envs(variables.iter().copied())
            .output()
            .unwrap()
    }

    /// A program that runs in the folder.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.current_dir(&self.folder).env_remove("SIFT_MODELS").env_remove("SIFT_PROVIDER");
        for folder in ["XDG_DATA_HOME", "XDG_CONFIG_HOME"] {
            command.env(folder, self.folder.path());
        }
        // A separate folder, because ONNX Runtime writes to it as well.
        command.env("XDG_CACHE_HOME", self.cache.path());
        command
    }

    /// Starts a render in the shell, after `before`, with `after` behind its arguments.
    #[cfg(unix)]
    fn shell(&self, before: &str, after: &str) -> Command {
        let mut command = self.command("sh");
        let render = format!("{before} exec \"$0\" render --query rain --model \"$1\" {after}");
        command.args(["-c", &render, env!("CARGO_BIN_EXE_sift"), &package("half")]).stdout(Stdio::null());
        command
    }

    /// Renders `in.wav` with a test model, and asserts that it succeeds without messages.
    fn render(&self, model: &str, arguments: &[&str]) {
        let model = package(model);
        let all: Vec<_> =
            ["render", "in.wav", "--model", &model].into_iter().chain(arguments.iter().copied()).collect();
        let output = self.sift(&all);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// Asserts that the command fails without leaving files. Returns its message.
    fn failure(&self, arguments: &[&str]) -> String {
        let before = self.names();
        let output = self.sift(arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        assert_eq!(self.names(), before);
        let message = String::from_utf8(output.stderr).unwrap();
        assert!(message.starts_with("error: ") && message.lines().count() == 1, "{message}");
        message
    }
}

/// The path of a package in `tests/packages`.
fn package(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/packages").join(name);
    path.canonicalize().unwrap_or_else(|error| panic!("{}: {error}", path.display())).display().to_string()
}

/// 0.7 s of interleaved stereo: a tone on the left, noise on the right.
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
    let spec = WavSpec {
        channels: 2,
        sample_rate: SAMPLE_RATE,
        bits_per_sample: 32,
        sample_format: SampleFormat::Float,
    };
    let mut writer = WavWriter::create(path, spec).unwrap();
    samples.iter().for_each(|&sample| writer.write_sample(sample).unwrap());
    writer.finalize().unwrap();
}

fn read(path: &Path) -> Vec<f32> {
    let mut reader = WavReader::open(path).unwrap();
    assert_eq!((reader.spec().sample_rate, reader.spec().channels), (SAMPLE_RATE, 2));
    assert_eq!(reader.spec().sample_format, SampleFormat::Float);
    reader.samples().map(Result::unwrap).collect()
}

/// The path in the folder of a recording of `tones` that the package `listener` knows: frequency in hertz, start and end in
/// seconds of six. It is mono, at 48 kHz.
fn write_tones(fixture: &CliFixture, tones: &[(f32, f32, f32)]) -> String {
    let sample = |n: usize| {
        let time = n as f32 / 48_000.0;
        let tone = |&(frequency, start, end): &(f32, f32, f32)| {
            let fade = ((time - start).min(end - time) / 0.02).clamp(0.0, 1.0);
            0.3 * fade * (std::f32::consts::TAU * frequency * time).sin()
        };
        tones.iter().map(tone).sum::<f32>()
    };
    let spec =
        WavSpec { channels: 1, sample_rate: 48_000, bits_per_sample: 32, sample_format: SampleFormat::Float };
    let mut writer = WavWriter::create(fixture.path("tones.wav"), spec).unwrap();
    (0..288_000).for_each(|n| writer.write_sample(sample(n)).unwrap());
    writer.finalize().unwrap();
    "tones.wav".into()
}

/// Samples of a file of floats.
fn floats(path: &Path) -> Vec<f32> {
    WavReader::open(path).unwrap().into_samples().map(Result::unwrap).collect()
}

/// Energy of the difference of `found` to a tone, divided by the energy of the tone.
fn tone_error(found: &[f32], tone: &[f32]) -> f32 {
    let energy = |samples: &mut dyn Iterator<Item = f32>| samples.map(|sample| sample * sample).sum::<f32>();
    assert_eq!(found.len(), tone.len());
    energy(&mut found.iter().zip(tone).map(|(a, b)| a - b)) / energy(&mut tone.iter().copied())
}

/// Asserts that `path` contains the recording times `gain`, sample by sample and of the same length.
fn assert_is_scaled(path: &Path, gain: f32) {
    let (found, expected) = (read(path), recording());
    assert_eq!(found.len(), expected.len());
    let worst =
        found.iter().zip(&expected).map(|(found, input)| (found - gain * input).abs()).fold(0.0, f32::max);
    assert!(worst < 1e-5, "{}: error of {worst}", path.display());
}

#[test]
fn isolated_sound_has_no_delay() {
    let fixture = CliFixture::new();
    fixture.render("half", &["--query", "rain"]);
    assert_is_scaled(&fixture.path("in-rain.wav"), 0.5);
    assert_eq!(fixture.names(), ["in-rain.wav", "in.wav"]);
}

#[test]
fn remove_mode_outputs_the_rest() {
    let fixture = CliFixture::new();
    fixture.render("identity", &["--query", "rain", "--mode", "remove"]);
    assert_is_scaled(&fixture.path("in-without-rain.wav"), 0.0);
}

#[test]
fn target_plus_residual_is_the_input() {
    let fixture = CliFixture::new();
    fixture.render("half", &["--query", "rain", "--output", "target.wav", "--residual", "rest.wav"]);
    let sum: Vec<f32> = read(&fixture.path("target.wav"))
        .iter()
        .zip(read(&fixture.path("rest.wav")))
        .map(|(a, b)| a + b)
        .collect();
    assert!(sum.iter().zip(recording()).all(|(sum, input)| (sum - input).abs() < 1e-6));
}

#[test]
fn strength_zero_is_the_input_bit_for_bit() {
    let fixture = CliFixture::new();
    for mode in ["isolate", "remove"] {
        let output = format!("{mode}.wav");
        fixture.render("half", &["--query", "rain", "--mode", mode, "--strength", "0", "--output", &output]);
        assert!(
            read(&fixture.path(&output)).iter().zip(recording()).all(|(a, b)| a.to_bits() == b.to_bits())
        );
    }
}

#[test]
fn strength_mixes_input_and_target() {
    let fixture = CliFixture::new();
    fixture.render("half", &["--query", "rain", "--strength", "0.5", "--output", "out.wav"]);
    assert_is_scaled(&fixture.path("out.wav"), 0.75);
}

#[test]
fn query_selects_the_target() {
    let fixture = CliFixture::new();
    fixture.render("by-query", &["--query", "말소리", "--output", "kept.wav"]);
    assert_is_scaled(&fixture.path("kept.wav"), 1.0);
    fixture.render("by-query", &["--query", "drums", "--output", "lost.wav"]);
    // The mask's floor is −80 dB.
    assert_is_scaled(&fixture.path("lost.wav"), 1e-4);
}

#[test]
fn output_is_reproducible() {
    let fixture = CliFixture::new();
    for name in ["a.wav", "b.wav"] {
        fixture.render("half", &["--query", "rain", "--output", name]);
    }
    assert_eq!(fs::read(fixture.path("a.wav")).unwrap(), fs::read(fixture.path("b.wav")).unwrap());
}

#[test]
fn plot_is_a_png() {
    let fixture = CliFixture::new();
    fixture.render("half", &["--query", "rain", "--plot", "plot.png"]);
    let plot = BufReader::new(fs::File::open(fixture.path("plot.png")).unwrap());
    let (width, height) = png::Decoder::new(plot).read_info().unwrap().info().size();
    assert!(width > 800 && height > 600);
}

#[test]
fn built_in_model_raises_si_sdr_of_speech_by_3_db() {
    let fixture = CliFixture::new();
    fs::copy(demo("mixture.wav"), fixture.path("mixture.wav")).unwrap();
    let output = fixture.sift(&["render", "mixture.wav", "--query", "a person speaking"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8(output.stdout).unwrap().trim(), "mixture-a-person-speaking.wav");

    let target = floats(&fixture.path("mixture-a-person-speaking.wav"));
    let speech = integers("speech.wav");
    let (before, after) = (si_sdr(&integers("mixture.wav"), &speech), si_sdr(&target, &speech));
    assert!(after > before + 3.0, "SI-SDR of the speech: {before:.1} dB before, {after:.1} dB after");
}

#[test]
fn listen_writes_a_timeline_in_each_format() {
    let fixture = CliFixture::new();
    let file = write_tones(&fixture, &[(300.0, 0.0, 2.0), (9_000.0, 1.0, 6.0)]);
    let model = package("listener");
    let listen = |arguments: &[&str]| {
        let output = fixture.sift(&[&["listen", &file, "--model", &model], arguments].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert!(output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let table = listen(&[]);
    let rows: Vec<_> = table.lines().map(|line| line.split_whitespace().next().unwrap()).collect();
    assert_eq!(rows, ["sound", "low", "high"], "{table}");
    assert!(table.contains("0:00.0") && table.contains("0.9"), "{table}");

    let json: serde_json::Value = serde_json::from_str(&listen(&["--json"])).unwrap();
    assert_eq!((&json["file"], &json["seconds"]), (&"tones.wav".into(), &6.0.into()));
    let segment = &json["sounds"][1]["segments"][0];
    assert_eq!(json["sounds"][1]["name"], "high");
    let [start, end] = ["start", "end"].map(|key| segment[key].as_f64().unwrap());
    assert!((start - 1.0).abs() < 0.15 && (end - 6.0).abs() < 0.15, "{json}");

    assert!(listen(&["--csv"]).starts_with("sound,start,end,probability\nlow,0.000,"));
    let labels = listen(&["--labels"]);
    let fields: Vec<_> = labels.lines().next().unwrap().split('\t').collect();
    assert!(fields[0] == "0.000000" && fields[2].starts_with("low 0."), "{labels}");
    assert_eq!(fixture.names(), ["in.wav", "tones.wav"]);
}

#[test]
fn listen_writes_a_plot_and_replaces_none() {
    let fixture = CliFixture::new();
    let file = write_tones(&fixture, &[(300.0, 0.0, 2.0)]);
    let model = package("listener");
    let line = ["listen", &file, "--model", &model, "--plot", "plot.png"];
    assert!(fixture.sift(&line).status.success());
    let plot = BufReader::new(fs::File::open(fixture.path("plot.png")).unwrap());
    let (width, height) = png::Decoder::new(plot).read_info().unwrap().info().size();
    assert!(width > 800 && height > 300);
    assert!(fixture.failure(&line).contains("plot.png: exists already"));
    assert!(fixture.sift(&[&line[..], &["--overwrite"]].concat()).status.success());
    let message = fixture.failure(&["listen", &file, "--model", &model, "--plot", "plot.jpg"]);
    assert!(message.contains("--plot"), "{message}");
}

#[test]
fn silence_is_a_remark_and_nothing_to_split() {
    let fixture = CliFixture::new();
    let file = write_tones(&fixture, &[]);
    let model = package("listener");
    let output = fixture.sift(&["listen", &file, "--model", &model]);
    assert!(output.status.success() && output.stdout.is_empty());
    assert!(String::from_utf8(output.stderr).unwrap().contains("no sound that the model knows is heard"));

    let output = fixture.sift(&["split", &file, "--model", &model]);
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(message.contains("error: tones.wav: no sound is surely there"), "{message}");
    assert_eq!(fixture.names(), ["in.wav", "tones.wav"]);
}

#[test]
fn split_writes_each_sound_and_the_rest() {
    let fixture = CliFixture::new();
    let (low, high) = ((300.0, 0.5, 6.0), (9_000.0, 0.5, 4.0));
    let tones = [low, high, (2_000.0, 0.5, 2.5)].map(|tone| {
        write_tones(&fixture, &[tone]);
        floats(&fixture.path("tones.wav"))
    });
    let file = write_tones(&fixture, &[low, high, (2_000.0, 0.5, 2.5)]);
    let model = package("listener");
    let split = |arguments: &[&str]| {
        let output = fixture.sift(&[&["split", &file, "--model", &model], arguments].concat());
        let message = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{message}");
        assert!(message.starts_with("tones.wav: heard "), "{message}");
        String::from_utf8(output.stdout).unwrap()
    };
    let written = split(&["--sounds", "2", "--output-dir", "new/out"]);
    let names = ["tones-low.wav", "tones-high.wav", "tones-everything-else.wav"];
    let paths = names.map(|name| format!("new/out/{name}"));
    assert_eq!(written.lines().collect::<Vec<_>>(), paths);
    let stems = paths.map(|path| floats(&fixture.path(&path)));
    let input = floats(&fixture.path(&file));
    for (n, sample) in input.iter().enumerate() {
        assert!((stems.iter().map(|stem| stem[n]).sum::<f32>() - sample).abs() < 1e-6);
    }
    for (stem, tone) in stems.iter().zip(&tones) {
        assert!(tone_error(stem, tone) < 0.1, "{}", tone_error(stem, tone));
    }

    let all = split(&["--format", "flac"]);
    assert_eq!(all.lines().count(), 4, "{all}");
    assert_eq!(&fs::read(fixture.path("tones-middle.flac")).unwrap()[..4], b"fLaC");
}

#[test]
fn split_replaces_only_with_overwrite() {
    let fixture = CliFixture::new();
    let file = write_tones(&fixture, &[(300.0, 0.0, 6.0), (9_000.0, 0.0, 6.0)]);
    let model = package("listener");
    for existing in ["tones-everything-else.wav", "tones-high.wav"] {
        fs::write(fixture.path(existing), "old").unwrap();
        let output = fixture.sift(&["split", &file, "--model", &model]);
        let message = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{message}");
        assert!(message.contains(&format!("{existing}: exists already")), "{message}");
        assert_eq!(fixture.names(), ["in.wav", existing, "tones.wav"]);
        fs::remove_file(fixture.path(existing)).unwrap();
    }
    fs::write(fixture.path("tones-low.wav"), "old").unwrap();
    assert!(fixture.sift(&["split", &file, "--model", &model, "--overwrite"]).status.success());
    assert_eq!(floats(&fixture.path("tones-low.wav")).len(), 288_000);
}

#[test]
fn listen_and_split_read_standard_input() {
    let fixture = CliFixture::new();
    let file = write_tones(&fixture, &[(300.0, 0.0, 6.0)]);
    let model = package("listener");
    for (command, part) in [("listen", "low"), ("split", "stdin-low.wav")] {
        // A pipe cannot be read twice.
        let mut cat = Command::new("cat").arg(fixture.path(&file)).stdout(Stdio::piped()).spawn().unwrap();
        let mut sift = fixture.command(env!("CARGO_BIN_EXE_sift"));
        let output =
            sift.args([command, "-", "--model", &model]).stdin(cat.stdout.take().unwrap()).output().unwrap();
        cat.wait().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert!(String::from_utf8(output.stdout).unwrap().contains(part));
    }
}

#[test]
fn model_that_cannot_listen_is_named() {
    let fixture = CliFixture::new();
    for command in ["listen", "split"] {
        let message = fixture.failure(&[command, "in.wav", "--model", &package("half")]);
        assert!(message.contains("package.toml: the model cannot listen"), "{message}");
    }
}

#[test]
fn broken_listener_is_named_and_the_sound_is_rendered() {
    let fixture = CliFixture::new();
    let folder = install(&fixture, "listener");
    fs::write(folder.join("listener.onnx"), "damaged").unwrap();
    let folder = folder.display().to_string();
    let message = fixture.failure(&["listen", "in.wav", "--model", &folder]);
    assert!(message.contains("listener.onnx") && message.contains("listener.sha256"), "{message}");

    let render = |rest: &str| {
        let line = ["render", "in.wav", "--query", "low", "--model", &folder, "--overwrite", "--rest", rest];
        let output = fixture.sift(&line);
        let message = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{message}");
        (message, read(&fixture.path("in-low.wav")))
    };
    let (message, auto) = render("auto");
    assert!(message.contains("warning: in.wav: rendered without listening"), "{message}");
    assert!(message.contains("listener.onnx"), "{message}");
    let (message, off) = render("off");
    assert!(!message.contains("warning"), "{message}");
    assert!(auto == off);
}

#[test]
fn rest_is_selected_said_or_off() {
    let fixture = CliFixture::new();
    // At 1 kHz, both sounds have a gain of 0.9, and at 800 Hz the lower one has more.
    let file = write_tones(&fixture, &[(800.0, 0.0, 6.0), (2_000.0, 0.0, 6.0)]);
    let model = package("listener");
    let render = |rest: &[&str]| {
        let line = ["render", &file, "--query", "low", "--model", &model, "--overwrite", "--json"];
        let output = fixture.sift(&[&line, rest].concat());
        let message = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{message}");
        let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(json["outputs"][0], "tones-low.wav");
        assert_eq!(json["query"]["understood"]["keep"][0]["concepts"][0]["name"], "low");
        (json["rest"].clone(), message, floats(&fixture.path("tones-low.wav")))
    };
    let (json, _, off) = render(&["--rest", "off"]);
    assert_eq!((&json["text"], &json["competed"]), (&"off".into(), &serde_json::json!([])));
    let (json, _, auto) = render(&[]);
    assert_eq!((&json["text"], &json["competed"][0]["name"]), (&"auto".into(), &"middle".into()));
    assert!(json["competed"][0]["share"].as_f64().unwrap() > 0.8, "{json}");
    let (json, message, said) = render(&["--rest", "middle, high"]);
    assert!(message.contains("rest \"middle, high\": keeping middle + high"), "{message}");
    assert_eq!(json["competed"][0]["name"], "middle, high");
    let (_, message, _) = render(&["--rest", "cheese"]);
    assert!(message.contains("warning: rest \"cheese\": everything passes"), "{message}");

    // The rest takes what it shares with the sound.
    let energy = |samples: &[f32]| samples[96_000..].iter().map(|sample| sample * sample).sum::<f32>();
    assert!(energy(&auto) < 0.95 * energy(&off), "{} of {}", energy(&auto), energy(&off));
    assert!(energy(&said) < 0.95 * energy(&auto), "{} of {}", energy(&said), energy(&auto));
}

#[test]
fn rest_that_is_heard_is_told() {
    let fixture = CliFixture::new();
    let file = write_tones(&fixture, &[(300.0, 0.0, 6.0), (9_000.0, 0.0, 6.0)]);
    let output = fixture.sift(&["render", &file, "--query", "low", "--model", &package("listener")]);
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{message}");
    assert!(message.contains("tones.wav: the rest, with its part of the time: high 9"), "{message}");
}

#[test]
fn surest_four_sounds_of_the_demo_are_the_speech_and_the_band() {
    let fixture = CliFixture::new();
    fs::copy(demo("mixture.wav"), fixture.path("mixture.wav")).unwrap();
    let output = fixture.sift(&["listen", "mixture.wav", "--json"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let probability = |sound: &serde_json::Value| sound["probability"].as_f64().unwrap();
    let mut sounds: Vec<_> = json["sounds"].as_array().unwrap().iter().collect();
    sounds.sort_by(|a, b| probability(b).total_cmp(&probability(a)));
    let mut surest: Vec<_> = sounds.iter().take(4).map(|sound| sound["name"].as_str().unwrap()).collect();
    surest.sort_unstable();
    assert_eq!(surest, ["bass guitar", "drums", "piano", "speech"]);
}

#[test]
fn split_of_the_demo_raises_si_sdr_of_speech_by_5_db() {
    let fixture = CliFixture::new();
    fs::copy(demo("mixture.wav"), fixture.path("mixture.wav")).unwrap();
    let output = fixture.sift(&["split", "mixture.wav", "--output-dir", "out"]);
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{message}");
    let stems: Vec<_> =
        String::from_utf8(output.stdout).unwrap().lines().map(|path| floats(&fixture.path(path))).collect();
    let mixture = integers("mixture.wav");
    for (n, sample) in mixture.iter().enumerate() {
        assert!((stems.iter().map(|stem| stem[n]).sum::<f32>() - sample).abs() < 1e-6);
    }
    let speech = integers("speech.wav");
    let stem = floats(&fixture.path("out/mixture-speech.wav"));
    let (before, after) = (si_sdr(&mixture, &speech), si_sdr(&stem, &speech));
    assert!(
        after > before + 5.0,
        "SI-SDR of the speech: {before:.1} dB before, {after:.1} dB after. {message}"
    );
}

/// Samples of a file of the demo recording.
fn integers(name: &str) -> Vec<f32> {
    let samples = WavReader::open(demo(name)).unwrap().into_samples::<i16>();
    samples.map(|sample| f32::from(sample.unwrap()) / 32_768.0).collect()
}

/// A file of the demo recording: 16-bit integers.
fn demo(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../assets/demo").join(name)
}

/// Scale-invariant signal-to-distortion ratio in dB.
fn si_sdr(estimate: &[f32], reference: &[f32]) -> f64 {
    assert_eq!(estimate.len(), reference.len());
    let dot =
        |a: &[f32], b: &[f32]| -> f64 { a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum() };
    let scale = dot(estimate, reference) / dot(reference, reference);
    let target = scale * scale * dot(reference, reference);
    let distortion: f64 = estimate
        .iter()
        .zip(reference)
        .map(|(&estimate, &reference)| (f64::from(estimate) - scale * f64::from(reference)).powi(2))
        .sum();
    10.0 * (target / distortion).log10()
}

#[test]
fn existing_output_is_replaced_only_with_overwrite() {
    let fixture = CliFixture::new();
    let model = package("half");
    for (option, name) in
        [("--output", "out.wav"), ("--residual", "rest.wav"), ("--plot", "plot.png"), ("--output-dir", ".")]
    {
        let existing = if option == "--output-dir" { "in-rain.wav" } else { name };
        fs::write(fixture.path(existing), "old").unwrap();
        let line = ["render", "in.wav", "--query", "rain", "--model", &model, option, name];
        let message = fixture.failure(&line);
        assert!(message.contains(&format!("{existing}: exists already")), "{message}");
        assert!(message.contains("--overwrite") && message.contains(option), "{message}");
        assert_eq!(fs::read(fixture.path(existing)).unwrap(), b"old");

        fixture.render("half", &["--query", "rain", "--overwrite", option, name]);
        assert_ne!(fs::read(fixture.path(existing)).unwrap(), b"old");
        fs::remove_file(fixture.path("in-rain.wav")).unwrap_or_default();
    }
}

#[test]
fn existing_output_is_replaced_only_on_success() {
    let fixture = CliFixture::new();
    fs::write(fixture.path("out.wav"), "old").unwrap();
    let cut = fs::read(fixture.path("in.wav")).unwrap();
    fs::write(fixture.path("cut.wav"), &cut[..cut.len() / 2]).unwrap();
    let (model, out) = (package("half"), ["--overwrite", "--output", "out.wav"]);
    let line = ["render", "cut.wav", "--query", "rain", "--model", &model];
    let message = fixture.failure(&[&line[..], &out].concat());
    assert!(message.contains("cut.wav"), "{message}");
    assert_eq!(fs::read(fixture.path("out.wav")).unwrap(), b"old");
    fixture.render("half", &[&["--query", "rain"], &out[..]].concat());
    assert_is_scaled(&fixture.path("out.wav"), 0.5);
}

#[test]
fn flac_output_has_24_bits() {
    let fixture = CliFixture::new();
    fixture.render("half", &["--query", "rain", "--output", "out.flac", "--residual", "rest.FLAC"]);
    for name in ["out.flac", "rest.FLAC"] {
        assert_eq!(&fs::read(fixture.path(name)).unwrap()[..4], b"fLaC");
    }
    // Its checksum and length are verified when it is read.
    let model = package("identity");
    let line = ["render", "out.flac", "--query", "rain", "--model", &model, "--output", "again.wav"];
    let output = fixture.sift(&line);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_is_scaled(&fixture.path("again.wav"), 0.5);
}

#[test]
fn several_inputs_are_rendered() {
    let fixture = CliFixture::new();
    fs::create_dir(fixture.path("b")).unwrap();
    for name in ["two.wav", "b/three.wav"] {
        fs::copy(fixture.path("in.wav"), fixture.path(name)).unwrap();
    }
    let model = package("half");
    let inputs = ["in.wav", "two.wav", "b/three.wav"];
    let render = |arguments: &[&str]| {
        let line = [&["render", "--query", "rain", "--model", &model][..], &inputs, arguments].concat();
        let output = fixture.sift(&line);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let written = render(&["--output-dir", "new/out"]);
    assert_eq!(written.lines().count(), 3, "{written}");
    for name in ["new/out/in-rain.wav", "new/out/two-rain.wav", "new/out/three-rain.wav"] {
        assert!(written.contains(name), "{written}");
        assert_is_scaled(&fixture.path(name), 0.5);
    }
    render(&[]);
    for name in ["in-rain.wav", "two-rain.wav", "b/three-rain.wav"] {
        assert_is_scaled(&fixture.path(name), 0.5);
    }
}

#[test]
fn unreadable_input_does_not_hold_up_the_others() {
    let fixture = CliFixture::new();
    fs::write(fixture.path("text.wav"), "not audio").unwrap();
    let model = package("half");
    let output = fixture.sift(&["render", "text.wav", "in.wav", "--query", "rain", "--model", &model]);
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{message}");
    assert!(message.starts_with("error: text.wav") && message.contains("1 of 2 inputs"), "{message}");
    assert_eq!(String::from_utf8(output.stdout).unwrap().trim(), "in-rain.wav");
    assert_is_scaled(&fixture.path("in-rain.wav"), 0.5);
}

#[test]
fn standard_input_is_read() {
    let fixture = CliFixture::new();
    let model = package("half");
    for from_pipe in [false, true] {
        let mut command = fixture.command(env!("CARGO_BIN_EXE_sift"));
        command.args(["render", "-", "--query", "rain", "--model", &model]);
        let mut cat = None;
        if from_pipe {
            let mut child =
                Command::new("cat").arg(fixture.path("in.wav")).stdout(Stdio::piped()).spawn().unwrap();
            command.stdin(child.stdout.take().unwrap());
            cat = Some(child);
        } else {
            command.stdin(fs::File::open(fixture.path("in.wav")).unwrap());
        }
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        cat.map(|mut child| child.wait().unwrap());
        assert_eq!(String::from_utf8(output.stdout).unwrap().trim(), "stdin-rain.wav");
        assert_is_scaled(&fixture.path("stdin-rain.wav"), 0.5);
        fs::remove_file(fixture.path("stdin-rain.wav")).unwrap();
    }
}

#[test]
fn too_long_default_name_is_refused_before_the_work() {
    let fixture = CliFixture::new();
    let name = "n".repeat(247) + ".wav";
    fs::copy(fixture.path("in.wav"), fixture.path(&name)).unwrap();
    // The model is not even looked for.
    let message = fixture.failure(&["render", &name, "--query", "rain", "--model", "none"]);
    assert!(message.contains("-rain.wav: cannot be written") && message.contains("--output"), "{message}");
}

#[cfg(target_os = "linux")]
#[test]
fn full_standard_error_does_not_end_a_render() {
    let fixture = CliFixture::new();
    let full = || fs::File::options().write(true).open("/dev/full").unwrap();
    let status = fixture
        .shell("", "in.wav --output out.wav")
        .env("SIFT_PROVIDER", "gpu")
        .stderr(full())
        .status()
        .unwrap();
    assert!(status.success());
    assert_is_scaled(&fixture.path("out.wav"), 0.5);

    let status = fixture.shell("", "missing.wav").stderr(full()).status().unwrap();
    assert_eq!(status.code(), Some(1));
}

#[cfg(target_os = "linux")]
#[test]
fn full_standard_output_is_named_in_the_error() {
    let fixture = CliFixture::new();
    let full = fs::File::options().write(true).open("/dev/full").unwrap();
    let output = fixture
        .shell("", "in.wav --output out.wav")
        .stdout(full)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
        .wait_with_output()
        .unwrap();
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(message.starts_with("error: standard output: cannot be written"), "{message}");
    assert_is_scaled(&fixture.path("out.wav"), 0.5);
}

#[cfg(unix)]
mod signals {
    use std::os::unix::process::{CommandExt, ExitStatusExt};
    use std::process::Child;
    use std::time::{Duration, Instant};

    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(60);

    /// Waits until the outputs' part files exist, which is before the model is loaded.
    fn await_part_files(fixture: &CliFixture, child: &mut Child, count: usize) {
        let start = Instant::now();
        while fixture.names().iter().filter(|name| name.ends_with(".part")).count() < count {
            assert!(child.try_wait().unwrap().is_none(), "ended before the signal");
            assert!(start.elapsed() < TIMEOUT, "no part files");
        }
    }

    fn send(signal: &str, child: &Child) {
        let sent = Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    /// Gives the signals their usual effect in `command`, whatever this process was started with.
    fn reset_signals(command: &mut Command) -> &mut Command {
        let reset = || {
            for signal in [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGTERM] {
                // SAFETY: a default action runs no code.
                unsafe { libc::signal(signal, libc::SIG_DFL) };
            }
            Ok(())
        };
        // SAFETY: `signal` may be called between fork and exec.
        unsafe { command.pre_exec(reset) }
    }

    /// A fixture whose recording takes more than a second to render.
    fn long_recording() -> CliFixture {
        let fixture = CliFixture::new();
        write(&fixture.path("in.wav"), &vec![0.0; 2 * 300 * SAMPLE_RATE as usize]);
        fixture
    }

    #[test]
    fn signal_leaves_no_part_files() {
        let fixture = long_recording();
        for (signal, number) in [("-HUP", 1), ("-INT", 2), ("-QUIT", 3), ("-TERM", 15)] {
            // No core dump.
            let after = "in.wav --output out.wav --residual rest.flac --plot plot.png";
            let mut child = reset_signals(&mut fixture.shell("ulimit -c 0;", after)).spawn().unwrap();
            await_part_files(&fixture, &mut child, 3);
            send(signal, &child);
            assert_eq!(child.wait().unwrap().signal(), Some(number));
            assert_eq!(fixture.names(), ["in.wav"]);
        }
    }

    #[test]
    fn ignored_signal_stays_ignored() {
        let fixture = CliFixture::new();
        let mut child = fixture.shell("trap '' HUP INT QUIT;", "in.wav --output out.wav").spawn().unwrap();
        await_part_files(&fixture, &mut child, 1);
        ["-HUP", "-INT", "-QUIT"].iter().for_each(|signal| send(signal, &child));
        assert!(child.wait().unwrap().success());
        assert_is_scaled(&fixture.path("out.wav"), 0.5);
    }

    #[test]
    fn limit_for_file_sizes_is_an_error_that_names_it() {
        let fixture = CliFixture::new();
        for name in ["out.wav", "out.flac"] {
            // In blocks of 512 or 1024 bytes.
            let output = fixture.shell("ulimit -f 20;", &format!("in.wav --output {name}")).output().unwrap();
            let message = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(1), "{message}");
            assert!(message.contains(name) && message.contains("ulimit -f"), "{message}");
            assert_eq!(fixture.names(), ["in.wav"]);
        }
    }
}

#[test]
fn error_is_one_line_that_names_the_file() {
    let fixture = CliFixture::new();
    let model = package("half");
    for (arguments, parts) in [
        (vec!["missing.wav"], vec!["missing.wav", "cannot be opened"]),
        (vec!["in.wav", "--output", "none/out.wav"], vec!["none", "Create it"]),
        (vec!["in.wav", "--output", "in.wav"], vec!["in.wav", "never replaced"]),
        (vec!["in.wav", "--output", "out.ogg"], vec!["out.ogg", ".wav"]),
    ] {
        let all: Vec<_> =
            ["render", "--query", "rain", "--model", &model].into_iter().chain(arguments).collect();
        let message = fixture.failure(&all);
        assert!(parts.iter().all(|part| message.contains(part)), "{message}");
    }
}

#[test]
fn error_names_a_missing_or_damaged_model() {
    let fixture = CliFixture::new();
    let message = fixture.failure(&["render", "in.wav", "--query", "rain", "--model", "no-model"]);
    assert!(message.contains("\"no-model\"") && message.contains("\"Sift default\""), "{message}");

    let folder = install(&fixture, "half");
    fs::write(folder.join("separator.onnx"), "damaged").unwrap();
    let folder = folder.display().to_string();
    let message = fixture.failure(&["render", "in.wav", "--query", "rain", "--model", &folder]);
    assert!(message.contains("separator.onnx") && message.contains("separator.sha256"), "{message}");
}

#[test]
fn model_is_chosen_by_the_name_that_the_list_shows() {
    let fixture = CliFixture::new();
    let folder = install(&fixture, "half");
    let manifest = fs::read_to_string(folder.join("package.toml")).unwrap();
    let renamed = manifest.replacen("name = \"Sift default\"", "name = \"Half of it\"", 1);
    fs::write(folder.join("package.toml"), renamed).unwrap();
    let list = String::from_utf8(fixture.sift(&["models"]).stdout).unwrap();
    let listed = list.lines().find(|line| line.starts_with("Half of it")).unwrap();
    for name in ["Half of it", listed] {
        let line = ["render", "in.wav", "--query", "-rain", "--output", "out.wav", "--overwrite"];
        let output = fixture.sift(&[&line[..], &["--model", name]].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert_is_scaled(&fixture.path("out.wav"), 0.5);
    }
}

#[test]
fn model_with_invalid_masks_is_an_error() {
    let fixture = CliFixture::new();
    let message = fixture.failure(&["render", "in.wav", "--query", "rain", "--model", &package("nan")]);
    assert!(message.contains("invalid masks"), "{message}");
}

#[test]
fn error_names_a_missing_onnx_runtime() {
    let fixture = CliFixture::new();
    let runtime = fixture.path("libonnxruntime.so").display().to_string();
    let missing = [("ORT_DYLIB_PATH", runtime.as_str())];
    let output = fixture.sift_with(&missing, &["render", "in.wav", "--query", "rain"]);
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && message.contains("libonnxruntime.so"), "{message}");
    assert!(message.contains("ORT_DYLIB_PATH"), "{message}");
    assert_eq!(fixture.names(), ["in.wav"]);

    let output = fixture.sift_with(&missing, &["doctor"]);
    let report = String::from_utf8(output.stdout).unwrap();
    assert!(!output.status.success() && report.contains("FAIL  ONNX Runtime"), "{report}");
    assert!(report.contains("not tested"), "{report}");
}

#[cfg(unix)]
#[test]
fn files_beside_an_entry_sift_of_the_folder_are_not_used() {
    use std::os::unix::process::CommandExt;

    let fixture = CliFixture::new();
    let library = if cfg!(target_os = "macos") { "libonnxruntime.dylib" } else { "libonnxruntime.so" };
    for planted in ["sift", library] {
        fs::write(fixture.path(planted), "planted").unwrap();
    }
    fs::create_dir_all(fixture.path("models/planted")).unwrap();
    fs::copy(Path::new(&package("half")).join("package.toml"), fixture.path("models/planted/package.toml"))
        .unwrap();
    // As if the shell had found the program through PATH.
    let mut command = fixture.command(env!("CARGO_BIN_EXE_sift"));
    let output = command.arg0("sift").arg("doctor").env_remove("ORT_DYLIB_PATH").output().unwrap();
    let report = String::from_utf8(output.stdout).unwrap();
    let folder = fixture.path("").canonicalize().unwrap();
    let searched: Vec<_> =
        report.lines().filter(|line| line.contains("ONNX Runtime") || line.contains("package")).collect();
    assert!(searched.len() >= 2, "{report}");
    assert!(searched.iter().all(|line| !line.contains(&*folder.to_string_lossy())), "{report}");
}

/// With a limit of real-time processor time in microseconds, as desktop services set it.
#[cfg(target_os = "linux")]
#[test]
fn limit_of_realtime_processor_time_ends_no_render() {
    use std::os::unix::process::{CommandExt, ExitStatusExt};

    for (soft, hard) in [(200_000, 200_000), (16_000, 200_000)] {
        let fixture = CliFixture::new();
        let mut command = fixture.command(env!("CARGO_BIN_EXE_sift"));
        // The package computes longer than the limits for each hop.
        command.args(["render", "in.wav", "--query", "x3584", "--model", &package("heavy")]);
        // SAFETY: setrlimit is allowed between fork and exec.
        unsafe {
            command.pre_exec(move || {
                let limit = libc::rlimit { rlim_cur: soft, rlim_max: hard };
                let result = libc::setrlimit(libc::RLIMIT_RTTIME, &limit);
                if result == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
            });
        }
        let output = command.output().unwrap();
        let message = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{soft}, {hard}: signal {:?}: {message}", output.status.signal());
    }
}

/// A tokenizer of a package may make its library panic; this one is refused.
#[test]
fn tokenizer_with_an_empty_token_is_refused_with_one_message() {
    let fixture = CliFixture::new();
    let folder = install(&fixture, "half");
    let tokenizer = fs::read_to_string(folder.join("tokenizer.json")).unwrap();
    let broken = tokenizer
        .replace(
            "\"normalizer\": null",
            "\"normalizer\": {\"type\": \"BertNormalizer\", \"clean_text\": true, \
            \"handle_chinese_chars\": true, \"strip_accents\": null, \"lowercase\": true}",
        )
        .replace(
            "\"added_tokens\": []",
            "\"added_tokens\": [{\"id\": 1, \"content\": \"\u{200d}\", \
            \"single_word\": false, \"lstrip\": false, \"rstrip\": false, \"normalized\": true, \
            \"special\": false}]",
        );
    assert_ne!(broken, tokenizer);
    fs::write(folder.join("tokenizer.json"), broken).unwrap();
    let folder = folder.display().to_string();
    for command in [
        ["render", "in.wav", "--query", "한국어", "--model", &folder].as_slice(),
        ["understand", "한국어", "--model", &folder].as_slice(),
    ] {
        let message = fixture.failure(command);
        assert!(
            message.contains("tokenizer.json") && message.contains("empty after normalisation"),
            "{message}"
        );
    }
}

#[test]
fn doctor_reports_all_parts_and_the_speed() {
    let fixture = CliFixture::new();
    let output = fixture.sift(&["doctor", "--model", &package("half")]);
    let report = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{report}");
    for part in [
        "ok    ONNX Runtime",
        "providers     CPU",
        "model folder",
        "ok    package",
        "ok    model",
        "ok    provider      CPU",
        "ok    speed",
        "it plays live",
        "real time",
        #[cfg(target_os = "linux")]
        "window",
        #[cfg(target_os = "linux")]
        "screen reader",
        "ok    same bits     5 renders are the same",
    ] {
        assert!(report.contains(part), "{part} is missing in\n{report}");
    }
}

#[test]
fn invalid_package_is_listed_and_fails_the_doctor() {
    let fixture = CliFixture::new();
    let folder = fixture.path("sift/models/mine");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("package.toml"), "name = \"mine\"\n").unwrap();
    let list = fixture.sift(&["models"]);
    assert!(list.status.success());
    let list = String::from_utf8(list.stdout).unwrap();
    assert!(list.contains("(invalid)") && list.contains("mine") && list.contains("Sift default"), "{list}");
    let doctor = fixture.sift(&["doctor", "--model", &package("half")]);
    assert_eq!(doctor.status.code(), Some(1));
    assert!(String::from_utf8(doctor.stdout).unwrap().contains("FAIL  package"));
    assert!(String::from_utf8(doctor.stderr).unwrap().contains("failed checks: 1"));
}

/// Copies a test model to the user's models. Returns its folder.
fn install(fixture: &CliFixture, name: &str) -> PathBuf {
    let folder = fixture.path("sift/models").join(name);
    fs::create_dir_all(&folder).unwrap();
    for file in fs::read_dir(package(name)).unwrap() {
        let file = file.unwrap();
        fs::copy(file.path(), folder.join(file.file_name())).unwrap();
    }
    folder
}

#[test]
fn measured_speed_is_listed_until_the_package_changes() {
    let fixture = CliFixture::new();
    let folder = install(&fixture, "window");
    let measured = || {
        let list = String::from_utf8(fixture.sift(&["models"]).stdout).unwrap();
        // The user's packages come before the built-in one.
        let speed = list.lines().find(|line| line.starts_with("  speed")).unwrap().to_owned();
        assert!(list.matches("  speed").count() == 2 && list.contains("not measured yet; run `sift doctor`"));
        speed
    };
    let shown = folder.display().to_string();
    assert!(measured().contains(&format!("`sift doctor --model {shown}`")), "{}", measured());
    let output = fixture.sift(&["doctor", "--model", &shown]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    assert!(measured().ends_with("times faster than real time here: it plays live"), "{}", measured());

    let manifest = fs::read_to_string(folder.join("package.toml")).unwrap();
    let changed = manifest.replace("advance = 4", "advance = 1");
    assert_ne!(changed, manifest);
    fs::write(folder.join("package.toml"), changed).unwrap();
    assert!(measured().contains("not measured yet"), "{}", measured());
}

#[test]
fn unreadable_speed_records_are_a_warning() {
    let fixture = CliFixture::new();
    fs::create_dir_all(fixture.cache.path().join("sift")).unwrap();
    fs::write(fixture.cache.path().join("sift/speeds.toml"), "speed = 1").unwrap();
    let list = fixture.sift(&["models"]);
    assert!(list.status.success() && String::from_utf8(list.stdout).unwrap().contains("Sift default"));
    let message = String::from_utf8(list.stderr).unwrap();
    assert!(message.contains("speeds.toml") && message.contains("Correct or remove"), "{message}");
}

/// Renders with the model `half`, and returns its warnings.
fn warning(fixture: &CliFixture, variables: &[(&str, &str)]) -> String {
    let model = package("half");
    let output = fixture.sift_with(variables, &["render", "in.wav", "--query", "rain", "--model", &model]);
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{message}");
    assert_is_scaled(&fixture.path("in-rain.wav"), 0.5);
    fs::remove_file(fixture.path("in-rain.wav")).unwrap();
    message
}

#[test]
fn missing_provider_falls_back_to_the_cpu_with_a_warning() {
    let fixture = CliFixture::new();
    let cuda = [("SIFT_PROVIDER", "cuda")];
    let message = warning(&fixture, &cuda);
    assert!(message.starts_with("warning: SIFT_PROVIDER selects CUDA") && message.lines().count() == 1);
    assert!(message.contains("does not offer CUDA") && message.contains("runs on the CPU"), "{message}");

    let doctor = fixture.sift_with(&cuda, &["doctor", "--model", &package("half")]);
    let report = String::from_utf8(doctor.stdout).unwrap();
    assert_eq!(doctor.status.code(), Some(1), "{report}");
    assert!(report.contains("FAIL  provider      SIFT_PROVIDER selects CUDA"), "{report}");
    assert!(report.contains("ok    speed"), "{report}");
}

#[test]
fn provider_in_preferences_applies_without_the_variable() {
    let fixture = CliFixture::new();
    fs::create_dir_all(fixture.path("sift")).unwrap();
    fs::write(fixture.path("sift/preferences.toml"), "theme = \"light\"\nprovider = \"cuda\"").unwrap();
    let message = warning(&fixture, &[]);
    assert!(message.contains("field `provider` of") && message.contains("preferences.toml"), "{message}");
    assert_eq!(warning(&fixture, &[("SIFT_PROVIDER", "cpu")]), "");
}

#[test]
fn unknown_provider_is_a_warning_with_the_allowed_ones() {
    let fixture = CliFixture::new();
    let message = warning(&fixture, &[("SIFT_PROVIDER", "gpu")]);
    for part in ["SIFT_PROVIDER", "\"gpu\"", "cpu, cuda, coreml or directml", "runs on the CPU"] {
        assert!(message.contains(part), "{message}");
    }
}

#[test]
fn repaired_input_is_rendered_whole_with_a_warning() {
    let fixture = CliFixture::new();
    // The size of the data that a program writes to a pipe.
    let mut bytes = fs::read(fixture.path("in.wav")).unwrap();
    let at = bytes.windows(4).position(|id| id == b"data").unwrap() + 4;
    bytes[at..at + 4].fill(0xFF);
    fs::write(fixture.path("in.wav"), bytes).unwrap();
    let message = warning(&fixture, &[]);
    assert!(message.starts_with("warning: in.wav: ") && message.lines().count() == 1, "{message}");
    assert!(message.contains("read to the end of the file"), "{message}");
}

#[test]
fn input_for_ffmpeg_names_it_where_it_is_missing() {
    let fixture = CliFixture::new();
    let opus = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/awkward/o_opus_preskip.opus");
    fs::copy(opus, fixture.path("in.opus")).unwrap();
    let model = package("half");
    let line = ["render", "in.opus", "--query", "rain", "--model", &model];
    // A program in the current folder is not run.
    fs::write(fixture.path("ffmpeg"), "").unwrap();
    let output = fixture.sift_with(&[("PATH", ".")], &line);
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{message}");
    assert!(message.starts_with("error: in.opus: Opus") && message.contains("Install ffmpeg"), "{message}");
}

#[test]
fn texts_are_understood_without_audio() {
    let fixture = CliFixture::new();
    let output =
        fixture.sift(&["understand", "speech without music", "말소리 빼고", "gutar", "best quality"]);
    let lines = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines: Vec<_> = lines.lines().collect();
    assert_eq!(lines[0], "speech without music: keeping speech · leaving out music");
    assert_eq!(lines[1], "말소리 빼고: everything but speech");
    assert!(lines[2].contains("“gutar” taken for “guitar”"), "{}", lines[2]);
    assert!(lines[3].starts_with("best quality: everything passes"), "{}", lines[3]);
    assert_eq!(lines.len(), 4);
}

#[test]
fn texts_are_understood_as_json() {
    let fixture = CliFixture::new();
    let output = fixture.sift(&["understand", "--json", "karaoke", "no drums"]);
    let lines = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<serde_json::Value> =
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines[0]["text"], "karaoke");
    assert_eq!(lines[0]["understood"]["leave_out"][0]["concepts"][0]["name"], "speech");
    assert_eq!(lines[1]["understood"]["description"], "everything but drums");
    assert_eq!(lines[1]["understood"]["keep"], serde_json::json!([]));
}

#[test]
fn text_to_understand_must_not_be_empty() {
    let output = CliFixture::new().sift(&["understand", " "]);
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && message.contains("the text is empty"), "{message}");
}
