//! Plays the demonstration's recording through the bundled CLAP, and says what it heard.
//!
//! `cargo xtask demo` runs it. It fails if what comes out is silent, not finite, or no clearer than
//! what went in.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use sift_cli::plot::Panels;
use sift_tests::audio::Audio;
use sift_tests::clap_host::{Blocks, Instance, Mode, Output};
use sift_tests::fixtures::{self, Inputs};
use sift_tests::{metrics, priming};

/// As many frames a block as DAWs do by default.
const BLOCK: usize = 512;
/// What a model may take to load on a slow computer.
const PATIENCE: Duration = Duration::from_secs(60);
/// Below this level in dBFS a sound counts as silent.
const SILENT: f64 = -60.0;

/// Plays the demonstration's recording through the bundled CLAP, in real time and offline.
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
    let (mixture, rate) = Audio::read_wav(&assets.join("mixture.wav"))?;
    let (speech, _) = Audio::read_wav(&assets.join("speech.wav"))?;

    let mut plugin = Instance::create(plugin)?;
    let played = play(&mut plugin, &mixture, rate, Mode::Realtime)?;
    let rendered = play(&mut plugin, &mixture, rate, Mode::Offline)?;
    let (target, residual) = (&rendered.target, &rendered.residual);
    ensure!(target.is_finite() && residual.is_finite(), "the output is not finite");

    std::fs::create_dir_all(&arguments.output)
        .with_context(|| format!("cannot make the folder {}", arguments.output.display()))?;
    for (name, audio) in [("mixture", &mixture), ("target", target), ("residual", residual)] {
        audio.write_wav(&arguments.output.join(name).with_extension("wav"), rate)?;
    }
    let mut panels = Panels::new(rate, mixture.width());
    panels.mixture.push(mixture.channels());
    panels.target.push(target.channels());
    panels.residual.push(residual.channels());
    let picture = arguments.output.join("spectrogram.png");
    panels.draw().save(&picture).with_context(|| format!("cannot write {}", picture.display()))?;

    let (mixture_mono, target_mono, residual_mono) =
        (mixture.to_mono(), target.to_mono(), residual.to_mono());
    let speech = speech.to_mono();
    let before = metrics::si_sdr(&mixture_mono, &speech);
    let after = metrics::si_sdr(&target_mono, &speech);
    let hops = metrics::late_hops(&played.target, &rendered.target, f64::from(rate));
    let (late, hops) = (hops.iter().filter(|late| **late).count(), hops.len());
    println!(
        "Sift heard a person speaking: mixture {:.1} dBFS, target {:.1} dBFS, residual {:.1} dBFS; SI-SDR of the speech \
         {before:.1} dB in the mixture, {after:.1} dB in the target ({:+.1} dB); in real time {late} of {hops} hops \
         differed from offline. See {}",
        metrics::level_dbfs(&mixture_mono),
        metrics::level_dbfs(&target_mono),
        metrics::level_dbfs(&residual_mono),
        after - before,
        arguments.output.display(),
    );
    ensure!(metrics::level_dbfs(&target_mono) > SILENT, "the target is silent");
    ensure!(after > before, "the speech is no clearer than it was in the mixture");
    Ok(())
}

/// Plays the whole of `mixture` and returns what came out, the latency taken off.
fn play(plugin: &mut Instance, mixture: &Audio, rate: u32, mode: Mode) -> Result<Output> {
    plugin.activate(f64::from(rate), BLOCK, mode)?;
    let mut blocks = Blocks::of(BLOCK);
    if mode == Mode::Realtime {
        priming::until_separated(plugin, mixture, BLOCK, PATIENCE)?;
        blocks = blocks.paced();
    }
    let latency = plugin.latency()?;
    let padded = mixture.then(&Audio::silence(mixture.width(), latency));
    let output = plugin.render(&padded, blocks, &[])?;
    plugin.deactivate();
    let aligned = |audio: &Audio| audio.slice(latency..latency + mixture.frames());
    Ok(Output {
        main: aligned(&output.main),
        target: aligned(&output.target),
        residual: aligned(&output.residual),
    })
}
