//! Measures the bundled CLAP and prints the figures as one table.
//!
//! `cargo xtask bench` runs it on a release build. A figure that cannot be measured reads "unknown". Times of
//! different machines do not compare, so each has its ratio to a baseline that is measured in the same run.
//!
//! Unlike the library of this crate, it uses the engine: for the separator alone, and for many instances.

mod audio_thread;
mod baseline;
mod files;
mod idle;
mod instances;
mod memory;
mod separator;
mod table;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Result;
use clap::Parser;
use sift_tests::audio::Audio;
use sift_tests::clap_host::{Instance, Mode};
use sift_tests::fixtures::{self, Inputs};
use sift_tests::warm_up;

use crate::table::Table;

/// Sample rate of the demo mixture and of all rows that name no other, in Hz.
const RATE: f64 = 48_000.0;
const BLOCK: usize = 512;
/// Longest wait for a model to load or a text to be encoded.
const LOAD_TIMEOUT: Duration = Duration::from_secs(60);

/// Measures the bundled CLAP and prints the figures as one table.
#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    inputs: Inputs,
    /// Folder of the default model package
    #[arg(long, default_value_os_t = fixtures::repository().join("models/default"))]
    model: PathBuf,
    /// Minutes of real time: for one instance, and again for as many instances as hold
    #[arg(long, default_value_t = 1.0)]
    minutes: f64,
    /// The program `sift`
    #[arg(long)]
    program: Option<PathBuf>,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let (mixture, rate) = Audio::read_wav(&arguments.inputs.assets.join("mixture.wav"))?;
    anyhow::ensure!(f64::from(rate) == RATE, "mixture.wav: its rate is {rate} Hz; expected {RATE} Hz");

    let mut table = Table::default();
    let seconds = (60.0 * arguments.minutes) as usize;
    let plugin = &arguments.inputs.plugin;
    // First, while this process has loaded nothing else.
    memory::scan(plugin, &mut table)?;
    memory::memory_and_start(plugin, &mixture, &mut table)?;
    let hop = separator::separator(&mixture, &mut table)?;
    audio_thread::real_time(plugin, &mixture, seconds, hop, &mut table)?;
    audio_thread::rates_and_channels(plugin, &mixture, &mut table)?;
    audio_thread::places(plugin, &mixture, &mut table)?;
    separator::query_change(&mut table)?;
    instances::instances(&mixture, seconds, hop, &mut table)?;
    idle::idle(plugin, &mixture, seconds, hop, &mut table)?;
    files::offline(plugin, &mixture, hop, &mut table)?;
    files::render(arguments.program.as_deref(), &mixture, hop, &mut table)?;
    files::latency(plugin, &mut table)?;
    files::sizes(plugin, &mut table)?;
    files::model(&arguments.model, &mut table)?;
    print!("{table}");
    Ok(())
}

/// An instance that plays in real time and separates, and the time from its creation until it does.
fn separating_instance(plugin: &Path, mixture: &Audio) -> Result<(Instance, Duration)> {
    let begin = Instant::now();
    let mut instance = Instance::create(plugin)?;
    instance.activate(RATE, BLOCK, Mode::Realtime)?;
    warm_up::until_separated(&mut instance, mixture, BLOCK, LOAD_TIMEOUT)?;
    Ok((instance, begin.elapsed()))
}

/// `frames` frames of `sound`, repeated from its start.
fn repeated(sound: &Audio, frames: usize) -> Audio {
    Audio::from_fn(sound.width(), frames, |channel, frame| sound.channel(channel)[frame % sound.frames()])
}
