//! Measures the bundled CLAP and prints the figures as one table.
//!
//! `cargo xtask bench` runs it on a release build. A figure that cannot be had says so.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use clap::Parser;
use realfft::num_complex::Complex;
use realfft::{ComplexToReal, RealFftPlanner, RealToComplex};
use sift_engine::{Aux, Config, Controls, Engine, Queries, Shape, package};
use sift_tests::audio::Audio;
use sift_tests::clap_host::{Blocks, Instance, Mode};
use sift_tests::fixtures::{self, Inputs};
use sift_tests::priming;
use sift_tests::process::resident_memory;

const RATE: f64 = 48_000.0;
const BLOCK: usize = 512;
const RATES: [f64; 6] = [44_100.0, 48_000.0, 88_200.0, 96_000.0, 176_400.0, 192_000.0];
const FURTHER_INSTANCES: usize = 4;
const PATIENCE: Duration = Duration::from_secs(60);
const MEBIBYTE: f64 = (1 << 20) as f64;

/// Measures the bundled CLAP and prints the figures as one table.
#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    inputs: Inputs,
    /// Folder of the default model package
    #[arg(long, default_value_os_t = fixtures::repository().join("models/default"))]
    model: PathBuf,
    /// For how long to play in real time, in seconds
    #[arg(long, default_value_t = 60)]
    seconds: usize,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let (mixture, rate) = Audio::read_wav(&arguments.inputs.assets.join("mixture.wav"))?;
    anyhow::ensure!(f64::from(rate) == RATE, "mixture.wav is at {rate} Hz instead of {RATE}");

    let mut table = Table::default();
    // First, while this process holds nothing else.
    memory_and_start(&arguments.inputs.plugin, &mixture, &mut table)?;
    real_time(&arguments.inputs.plugin, &mixture, arguments.seconds, &mut table)?;
    separator(&mixture, &mut table)?;
    offline(&arguments.inputs.plugin, &mixture, &mut table)?;
    latency(&arguments.inputs.plugin, &mut table)?;
    sizes(&arguments.inputs.plugin, &mut table)?;
    model(&arguments.model, &mut table)?;
    print!("{table}");
    Ok(())
}

/// An instance that plays in real time and separates, and the time from its creation to then.
fn started(plugin: &Path, mixture: &Audio) -> Result<(Instance, Duration)> {
    let begin = Instant::now();
    let mut instance = Instance::create(plugin)?;
    instance.activate(RATE, BLOCK, Mode::Realtime)?;
    priming::until_separated(&mut instance, mixture, BLOCK, PATIENCE)?;
    Ok((instance, begin.elapsed()))
}

fn memory_and_start(plugin: &Path, mixture: &Audio, table: &mut Table) -> Result<()> {
    let before = resident_memory();
    let (first, first_time) = started(plugin, mixture)?;
    let with_one = resident_memory();
    let mut further = Vec::new();
    let mut further_time = Duration::MAX;
    for _ in 0..FURTHER_INSTANCES {
        let (instance, time) = started(plugin, mixture)?;
        further.push(instance);
        further_time = further_time.min(time);
    }
    let with_all = resident_memory();
    drop((first, further));

    table.row(
        "Time to the first separated sound",
        milliseconds(first_time),
        "from the insertion of the first instance, playing; model and ONNX Runtime are loaded in it",
    );
    table.row("The same, of a further instance", milliseconds(further_time), "its latency of 48 ms included");
    let (Some(before), Some(with_one), Some(with_all)) = (before, with_one, with_all) else {
        table.row("Memory", "unknown".into(), "this system does not tell");
        return Ok(());
    };
    table.row(
        "Memory of the first instance",
        mebibytes(with_one.saturating_sub(before)),
        "resident, with plugin, model and ONNX Runtime",
    );
    table.row(
        "Memory of each further instance",
        mebibytes(with_all.saturating_sub(with_one) / FURTHER_INSTANCES as u64),
        "resident, in the same process",
    );
    Ok(())
}

fn real_time(plugin: &Path, mixture: &Audio, seconds: usize, table: &mut Table) -> Result<()> {
    let (mut instance, _) = started(plugin, mixture)?;
    let times = Arc::new(Mutex::new(Vec::new()));
    let frames = seconds * RATE as usize;
    let sound = Audio::from_fn(mixture.width(), frames, |channel, frame| {
        mixture.channel(channel)[frame % mixture.frames()]
    });
    let observed = Arc::clone(&times);
    let mut bare = BareTransforms::new(mixture.width());
    let blocks =
        Blocks::of(BLOCK).paced().timed(move |time| observed.lock().unwrap().push((time, bare.time())));
    instance.play(&sound, blocks, |_| ())?;

    let (mut plugin, mut floor): (Vec<_>, Vec<_>) =
        std::mem::take(&mut *times.lock().unwrap()).into_iter().unzip();
    plugin.sort();
    floor.sort();
    let block = Duration::from_secs_f64(BLOCK as f64 / RATE);
    let mut row = |name: &str, of: fn(&[Duration]) -> Duration| {
        let (time, floor) = (of(&plugin), of(&floor));
        let share = 100.0 * time.as_secs_f64() / block.as_secs_f64();
        table.row(
            name,
            format!("{} µs, {share:.2} %; floor {} µs", time.as_micros(), floor.as_micros()),
            &format!(
                "of the {block:.2?} that a block of {BLOCK} at 48 kHz lasts, stereo, {seconds} s in real time; \
                 floor: bare transforms on the same thread, after each block"
            ),
        );
    };
    row("Audio thread a block, median", |times| times[times.len() / 2]);
    row("Audio thread a block, 99.9th percentile", |times| times[times.len() * 999 / 1000]);
    row("Audio thread a block, worst", |times| times[times.len() - 1]);
    Ok(())
}

/// The least that a block can cost, and what the machine does to a thread meanwhile: a frame's real
/// transform and its inverse for every channel, and nothing else.
struct BareTransforms {
    forward: Arc<dyn RealToComplex<f32>>,
    inverse: Arc<dyn ComplexToReal<f32>>,
    frames: Vec<Vec<f32>>,
    spectrum: Vec<Complex<f32>>,
    scratch: Vec<Complex<f32>>,
}

impl BareTransforms {
    fn new(channels: usize) -> Self {
        let size = fixtures::stft_frame_and_hop(RATE).0;
        let mut planner = RealFftPlanner::new();
        let (forward, inverse) = (planner.plan_fft_forward(size), planner.plan_fft_inverse(size));
        let scratch = forward.get_scratch_len().max(inverse.get_scratch_len());
        Self {
            frames: vec![vec![0.0; size]; channels],
            spectrum: forward.make_output_vec(),
            scratch: vec![Complex::default(); scratch],
            forward,
            inverse,
        }
    }

    fn time(&mut self) -> Duration {
        let begin = Instant::now();
        for frame in &mut self.frames {
            let transformed = self.forward.process_with_scratch(frame, &mut self.spectrum, &mut self.scratch);
            let back = self.inverse.process_with_scratch(&mut self.spectrum, frame, &mut self.scratch);
            transformed.and(back).expect("the sizes are the plan's");
        }
        begin.elapsed()
    }
}

/// The separator's thread by itself, as the engine measures it.
fn separator(mixture: &Audio, table: &mut Table) -> Result<()> {
    let config = Config { sample_rate: RATE, max_block: BLOCK, channels: mixture.width(), offline: true };
    let mut engine = Engine::open(package::DEFAULT, config, Arc::new(Queries::default()));
    engine.wait_until_ready(PATIENCE).map_err(anyhow::Error::msg)?;
    let ones = [1.0; BLOCK];
    let controls = Controls {
        strength: &ones,
        gain: &ones,
        mode: sift_engine::Mode::Isolate,
        query: 0,
        shape: Shape::default(),
        listen_removed: false,
        bypass: false,
    };
    let mut times = Vec::new();
    for start in (0..mixture.frames() - BLOCK).step_by(BLOCK) {
        let mut block: Vec<Vec<f32>> = (0..mixture.width())
            .map(|channel| mixture.channel(channel)[start..start + BLOCK].to_vec())
            .collect();
        let mut channels: Vec<&mut [f32]> = block.iter_mut().map(Vec::as_mut_slice).collect();
        engine.process(&mut channels, &mut Aux::default(), &controls);
        times.push(engine.status().hop_time());
    }
    times.sort();
    let hop = Duration::from_secs_f64(engine.grid().hop_seconds());
    let time = times[times.len() / 2];
    table.row(
        "Separator a hop",
        format!("{:.2} ms, {:.1} %", 1e3 * time.as_secs_f64(), 100.0 * time.div_duration_f64(hop)),
        &format!(
            "of the {:.1} ms that a hop lasts; running mean of 32 hops, median of it over the demo",
            1e3 * hop.as_secs_f64()
        ),
    );
    Ok(())
}

fn offline(plugin: &Path, mixture: &Audio, table: &mut Table) -> Result<()> {
    let mut instance = Instance::create(plugin)?;
    instance.activate(RATE, BLOCK, Mode::Offline)?;
    // The model is loaded in the first pass.
    instance.render(mixture, Blocks::of(BLOCK), &[])?;
    let begin = Instant::now();
    instance.render(mixture, Blocks::of(BLOCK), &[])?;
    let elapsed = begin.elapsed();
    let (_, hop) = fixtures::stft_frame_and_hop(RATE);
    let hops = mixture.frames() / hop;
    table.row(
        "Separator and audio thread a hop",
        format!("{:.2} ms", 1e3 * elapsed.as_secs_f64() / hops as f64),
        &format!("offline, one after the other; a hop lasts {:.1} ms", 1e3 * hop as f64 / RATE),
    );
    table.row(
        "Offline speed",
        format!("{:.1} ×", mixture.frames() as f64 / RATE / elapsed.as_secs_f64()),
        "of real time, by one instance",
    );
    Ok(())
}

fn latency(plugin: &Path, table: &mut Table) -> Result<()> {
    let mut instance = Instance::create(plugin)?;
    for rate in RATES {
        instance.activate(rate, BLOCK, Mode::Realtime)?;
        let latency = instance.latency()?;
        instance.deactivate();
        table.row(
            &format!("Latency at {} kHz", rate / 1e3),
            format!("{latency} samples, {:.1} ms", 1e3 * latency as f64 / rate),
            &format!("reported to the host, blocks of up to {BLOCK}"),
        );
    }
    Ok(())
}

fn sizes(plugin: &Path, table: &mut Table) -> Result<()> {
    let folder = plugin.parent().context("the plugin lies in a folder")?;
    for (name, path) in [("CLAP", plugin.to_owned()), ("VST3", folder.join("Sift.vst3"))] {
        if path.exists() {
            let runtime = if path.is_file() { "without" } else { "with" };
            table.row(
                &format!("Size of the {name}"),
                mebibytes(size(&path)?),
                &format!("default model included, {runtime} ONNX Runtime"),
            );
        }
    }
    for name in ["libonnxruntime.so", "libonnxruntime.dylib", "onnxruntime.dll"] {
        let path = folder.join(name);
        if path.exists() {
            table.row("Size of ONNX Runtime", mebibytes(size(&path)?), "beside the CLAP");
        }
    }
    Ok(())
}

/// Bytes of a file, or of all files of a folder.
fn size(path: &Path) -> Result<u64> {
    let metadata = std::fs::metadata(path).with_context(|| format!("cannot read {}", path.display()))?;
    if metadata.is_file() {
        return Ok(metadata.len());
    }
    std::fs::read_dir(path)?.map(|entry| size(&entry?.path())).sum()
}

/// What the model card says below its mark `cost`: parameters and multiply-accumulates.
fn model(folder: &Path, table: &mut Table) -> Result<()> {
    let path = folder.join("MODEL_CARD.md");
    let card = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let costs: Vec<_> = card
        .lines()
        .skip_while(|line| !line.contains("<!-- cost -->"))
        .take_while(|line| !line.starts_with("## "))
        .filter(|line| line.contains(|character: char| character.is_ascii_digit()))
        .filter_map(cost)
        .collect();
    if costs.is_empty() {
        table.row("Model", "unknown".into(), "its card does not tell what it costs");
    }
    for (name, value) in costs {
        table.row(&format!("Model, {name}"), value.into(), "by its card");
    }
    Ok(())
}

/// Name and value of a line `| name | value |` or `name   value`.
fn cost(line: &str) -> Option<(&str, &str)> {
    let line = line.trim().trim_matches('|').trim();
    let (name, value) = line.split_once('|').or_else(|| line.split_once("  "))?;
    Some((name.trim(), value.trim()))
}

fn milliseconds(time: Duration) -> String {
    format!("{:.0} ms", 1e3 * time.as_secs_f64())
}

fn mebibytes(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / MEBIBYTE)
}

/// Rows of figure, value and meaning; printed as a Markdown table.
#[derive(Default)]
struct Table(Vec<[String; 3]>);

impl Table {
    fn row(&mut self, figure: &str, value: String, meaning: &str) {
        self.0.push([figure.to_owned(), value, meaning.to_owned()]);
    }
}

impl std::fmt::Display for Table {
    fn fmt(&self, formatter: &mut std::fmt::Formatter) -> std::fmt::Result {
        let header = ["Figure", "Value", "What it is"].map(str::to_owned);
        let width = |column: usize| {
            self.0.iter().chain([&header]).map(|row| row[column].chars().count()).max().unwrap_or(0)
        };
        let widths = [width(0), width(1), width(2)];
        let mut write = |row: &[String; 3], fill: char| {
            let cells = [0, 1, 2].map(|column| {
                let padding = widths[column] - row[column].chars().count();
                format!("{}{}", row[column], String::from(fill).repeat(padding))
            });
            writeln!(formatter, "| {} |", cells.join(" | "))
        };
        write(&header, ' ')?;
        write(&["", "", ""].map(str::to_owned), '-')?;
        self.0.iter().try_for_each(|row| write(row, ' '))
    }
}
