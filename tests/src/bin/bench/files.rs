//! Offline rendering, the reported latency, sizes of files, and the model card's figures.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result};
use sift_engine::inference::library;
use sift_tests::audio::Audio;
use sift_tests::clap_host::{Blocks, Instance, Mode};
use sift_tests::fixtures;

use crate::separator::{HopTime, TEXTS};
use crate::table::{Table, mebibytes};
use crate::{BLOCK, RATE, repeated};

/// Seconds of the file for `sift render`.
const FILE_SECONDS: usize = 60;
const LATENCY_RATES: [f64; 6] = [44_100.0, 48_000.0, 88_200.0, 96_000.0, 176_400.0, 192_000.0];

/// Adds the row of `sift render`, from the start of the program to its end.
pub fn render(program: Option<&Path>, mixture: &Audio, hop: HopTime, table: &mut Table) -> Result<()> {
    let Some(program) = program else {
        table.row("`sift render`", "unknown".into(), "no --program was given");
        return Ok(());
    };
    let folder = tempfile::tempdir()?;
    let (input, output) = (folder.path().join("in.wav"), folder.path().join("out.wav"));
    repeated(mixture, FILE_SECONDS * RATE as usize).write_wav(&input, RATE as u32)?;
    let begin = Instant::now();
    let ended = Command::new(program)
        .arg("render")
        .arg(&input)
        .args(["--query", TEXTS[0], "--output"])
        .arg(&output)
        .output();
    let elapsed = begin.elapsed();
    let ended = ended.with_context(|| format!("{} cannot be started", program.display()))?;
    anyhow::ensure!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    let speed = FILE_SECONDS as f64 / elapsed.as_secs_f64();
    table.row_over(
        "`sift render`",
        format!("{speed:.1} × real time"),
        speed / hop.speed(),
        &format!(
            "a stereo file of {FILE_SECONDS} s, the start of the program included; ceiling: the separator alone, {:.1} ×",
            hop.speed()
        ),
    );
    Ok(())
}

/// Adds the row of one instance that renders offline.
pub fn offline(plugin: &Path, mixture: &Audio, hop: HopTime, table: &mut Table) -> Result<()> {
    let mut instance = Instance::create(plugin)?;
    instance.activate(RATE, BLOCK, Mode::Offline)?;
    // The first pass loads the model.
    instance.render(mixture, Blocks::of(BLOCK), &[])?;
    let begin = Instant::now();
    instance.render(mixture, Blocks::of(BLOCK), &[])?;
    let elapsed = begin.elapsed();
    let speed = mixture.frames() as f64 / RATE / elapsed.as_secs_f64();
    table.row_over(
        "Offline, by one instance",
        format!("{speed:.1} × real time"),
        speed / hop.speed(),
        &format!(
            "separator and audio thread one after the other; ceiling: the separator alone, {:.1} ×",
            hop.speed()
        ),
    );
    Ok(())
}

/// Adds the rows of the latency that the plugin reports to the host.
pub fn latency(plugin: &Path, table: &mut Table) -> Result<()> {
    let mut instance = Instance::create(plugin)?;
    for rate in LATENCY_RATES {
        instance.activate(rate, BLOCK, Mode::Realtime)?;
        let latency = instance.latency()?;
        instance.deactivate();
        let frame = fixtures::stft_frame_and_hop(rate).0;
        table.row_over(
            &format!("Latency at {} kHz", rate / 1e3),
            format!("{latency} samples, {:.1} ms", 1e3 * latency as f64 / rate),
            latency as f64 / frame as f64,
            &format!("reported to the host, blocks of up to {BLOCK}; floor: a frame, {frame} samples"),
        );
    }
    Ok(())
}

/// Adds the rows of the sizes of the bundles and of ONNX Runtime.
pub fn sizes(plugin: &Path, table: &mut Table) -> Result<()> {
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
    let runtime = folder.join(library::LIBRARY);
    if runtime.exists() {
        table.row("Size of ONNX Runtime", mebibytes(size(&runtime)?), "in the folder of the CLAP");
    }
    Ok(())
}

/// Bytes of a file, or of all files of a folder.
pub fn size(path: &Path) -> Result<u64> {
    let metadata = std::fs::metadata(path).with_context(|| format!("cannot read {}", path.display()))?;
    if metadata.is_file() {
        return Ok(metadata.len());
    }
    std::fs::read_dir(path)?.map(|entry| size(&entry?.path())).sum()
}

/// Adds parameters and multiply-accumulates as the model card gives them below its mark `cost`.
pub fn model(folder: &Path, table: &mut Table) -> Result<()> {
    let path = folder.join("MODEL_CARD.md");
    let card = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let costs: Vec<_> = card
        .lines()
        .skip_while(|line| !line.contains("<!-- cost -->"))
        .take_while(|line| !line.starts_with("## "))
        .filter(|line| line.contains(|character: char| character.is_ascii_digit()))
        .filter_map(name_and_value)
        .collect();
    if costs.is_empty() {
        table.row("Model", "unknown".into(), "its card has no figures below the mark `cost`");
    }
    for (name, value) in costs {
        table.row(&format!("Model, {name}"), value.into(), "by its card");
    }
    Ok(())
}

/// Name and value of a line `| name | value |` or `name   value`.
fn name_and_value(line: &str) -> Option<(&str, &str)> {
    let line = line.trim().trim_matches('|').trim();
    let (name, value) = line.split_once('|').or_else(|| line.split_once("  "))?;
    Some((name.trim(), value.trim()))
}
