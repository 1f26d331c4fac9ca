//! Plays the demo recording through the CLAP and prints how well it separates.
//!
//! `cargo xtask demo` runs it. It fails if the output is silent, not finite, or no clearer than the input.

use std::fs::File;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use sift_plot::SpectrogramPlot;
use sift_tests::audio::Audio;
use sift_tests::clap_host::{Blocks, Instance, Mode, Output};
use sift_tests::fixtures::{self, DemoRecording, Inputs};
use sift_tests::{metrics, warm_up};

/// Frames per block: the default of most DAWs.
const BLOCK: usize = 512;
/// Longest time for a model to load on a slow computer.
const LOAD_TIMEOUT: Duration = Duration::from_secs(60);
/// Level in dBFS below which a sound counts as silent.
const SILENT: f64 = -60.0;

/// Plays the demo recording through the CLAP, in real time and offline.
#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    inputs: Inputs,
    /// Folder for mixture.wav, target.wav, residual.wav and spectrogram.png
    #[arg(long, default_value_os_t = fixtures::repository().join("target/demo"))]
    output: PathBuf,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let Inputs { plugin, assets } = &arguments.inputs;
    let demo = DemoRecording::read(assets)?;
    let (mixture, rate) = (&demo.mixture, demo.rate as u32);

    let mut plugin = Instance::create(plugin)?;
    let played = process(&mut plugin, mixture, rate, Mode::Realtime)?;
    let rendered = process(&mut plugin, mixture, rate, Mode::Offline)?;
    let (target, residual) = (&rendered.target, &rendered.residual);
    ensure!(target.is_finite() && residual.is_finite(), "the output is not finite");

    std::fs::create_dir_all(&arguments.output)
        .with_context(|| format!("cannot create the folder {}", arguments.output.display()))?;
    for (name, audio) in [("mixture", mixture), ("target", target), ("residual", residual)] {
        audio.write_wav(&arguments.output.join(name).with_extension("wav"), rate)?;
    }
    let mut plot = SpectrogramPlot::new(rate, mixture.width());
    plot.mixture.push(mixture.channels());
    plot.target.push(target.channels());
    plot.residual.push(residual.channels());
    let picture = arguments.output.join("spectrogram.png");
    File::create(&picture)
        .and_then(|file| plot.draw().write_png(file))
        .with_context(|| format!("cannot write {}", picture.display()))?;

    let level = |audio: &Audio| metrics::level_dbfs(&audio.to_mono());
    let (before, after) = demo.si_sdr_before_and_after(target);
    let hops = fixtures::late_hops(&played.target, &rendered.target, demo.rate);
    let (late, hops) = (hops.iter().filter(|late| **late).count(), hops.len());
    println!(
        "Query \"a person speaking\": mixture {:.1} dBFS, target {:.1} dBFS, residual {:.1} dBFS; SI-SDR of the speech \
         {before:.1} dB in the mixture, {after:.1} dB in the target ({:+.1} dB); {late} of {hops} hops in real time \
         differ audibly from offline. Files are in {}",
        level(mixture),
        level(target),
        level(residual),
        after - before,
        arguments.output.display(),
    );
    ensure!(level(target) > SILENT, "the target is silent");
    ensure!(after > before, "the speech is no clearer than in the mixture");
    Ok(())
}

/// Processes the whole `mixture`; the output is aligned with it.
fn process(plugin: &mut Instance, mixture: &Audio, rate: u32, mode: Mode) -> Result<Output> {
    plugin.activate(f64::from(rate), BLOCK, mode)?;
    let mut blocks = Blocks::of(BLOCK);
    if mode == Mode::Realtime {
        warm_up::until_separated(plugin, mixture, BLOCK, LOAD_TIMEOUT)?;
        blocks = blocks.in_real_time();
    }
    let output = plugin.render_aligned(mixture, blocks)?;
    plugin.deactivate();
    Ok(output)
}
