//! Cost of one instance on the audio thread in real time.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Result;
use sift_tests::audio::Audio;
use sift_tests::clap_host::{AUDIO_THREAD, Blocks, Instance, Mode};
use sift_tests::metrics::median;
use sift_tests::process::seconds_by_thread;
use sift_tests::{fixtures, warm_up};

use crate::baseline::Baseline;
use crate::separator::HopTime;
use crate::table::Table;
use crate::{BLOCK, LOAD_TIMEOUT, RATE, repeated, separating_instance};

/// Rates at which the cost is measured, in Hz, and seconds of sound at each.
const COST_RATES: [f64; 4] = [44_100.0, 48_000.0, 96_000.0, 192_000.0];
const COST_SECONDS: usize = 3;

/// Turns of each instance that [`places`] compares.
const PLACES_TURNS: usize = 5;

/// Adds the rows of one stereo instance at 48 kHz: all of its threads, and blocks of the audio thread.
pub fn real_time(
    plugin: &Path,
    mixture: &Audio,
    seconds: usize,
    hop: HopTime,
    table: &mut Table,
) -> Result<()> {
    let (mut instance, _) = separating_instance(plugin, mixture)?;
    let before = processor_seconds();
    let mut times = play(&mut instance, mixture, seconds)?;
    let share = (processor_seconds() - before) / seconds as f64;
    drop(instance);
    let floor = hop.floor_share();
    table.row_over(
        "One instance in all",
        format!("{:.1} % of a core", 100.0 * share),
        share / floor,
        &format!(
            "its audio and separator threads, {seconds} s in real time; floor: the separator's, {:.1} %",
            100.0 * floor
        ),
    );

    let Baseline { mut transforms, mut wake_ups } = Baseline::measure(mixture.width(), RATE, seconds);
    times.sort();
    transforms.sort();
    wake_ups.sort();
    let block = Duration::from_secs_f64(BLOCK as f64 / RATE);
    let mut row = |name: &str, of: fn(&[Duration]) -> Duration| {
        let (time, transforms, wake_up) = (of(&times), of(&transforms), of(&wake_ups));
        let share = 100.0 * time.as_secs_f64() / block.as_secs_f64();
        table.row_over(
            name,
            format!("{} µs, {share:.2} %", time.as_micros()),
            time.div_duration_f64(transforms),
            &format!(
                "of the {block:.2?} that a block of {BLOCK} at 48 kHz lasts, stereo, {seconds} s in real time; floor: \
                 bare transforms at the same intervals, {} µs; waking a thread took {} µs there",
                transforms.as_micros(),
                wake_up.as_micros()
            ),
        );
    };
    row("Audio thread per block, median", |times| times[times.len() / 2]);
    row("Audio thread per block, 99.9th percentile", |times| times[times.len() * 999 / 1000]);
    row("Audio thread per block, worst", |times| times[times.len() - 1]);
    Ok(())
}

/// Plays `mixture` repeatedly in real time; returns the time of each block.
fn play(instance: &mut Instance, mixture: &Audio, seconds: usize) -> Result<Vec<Duration>> {
    let sound = repeated(mixture, (seconds as f64 * instance.rate()) as usize);
    let times = Arc::new(Mutex::new(Vec::new()));
    let observed = Arc::clone(&times);
    let blocks = Blocks::of(BLOCK)
        .in_real_time()
        .timed(move |timing| observed.lock().unwrap().push(timing.processing));
    instance.play(&sound, blocks, |_| ())?;
    Ok(std::mem::take(&mut *times.lock().unwrap()))
}

/// Processor time that the audio and separator threads of this process have taken so far, in seconds.
fn processor_seconds() -> f64 {
    let ours = [AUDIO_THREAD, "sift separator"];
    seconds_by_thread().iter().filter(|(name, _)| ours.contains(&name.as_str())).map(|(_, time)| time).sum()
}

/// Adds the audio thread's rows at every rate of [`COST_RATES`], in mono and in stereo.
pub fn rates_and_channels(plugin: &Path, mixture: &Audio, table: &mut Table) -> Result<()> {
    for rate in COST_RATES {
        for channels in [1, 2] {
            let sound = Audio::new(mixture.channels()[..channels].to_vec());
            let mut instance = Instance::create(plugin)?;
            instance.set_channels(channels)?;
            instance.activate(rate, BLOCK, Mode::Realtime)?;
            warm_up::until_separated(&mut instance, &sound, BLOCK, LOAD_TIMEOUT)?;
            let mut times = play(&mut instance, &sound, COST_SECONDS)?;
            let floor = median(&mut Baseline::measure(channels, rate, COST_SECONDS).transforms);
            // Most blocks complete no hop and cost almost nothing, so the sum is what counts.
            let sum: Duration = times.iter().sum();
            let hops = COST_SECONDS as f64 * rate / fixtures::stft_frame_and_hop(rate).1 as f64;
            table.row_over(
                &format!(
                    "Audio thread at {} kHz, {}",
                    rate / 1e3,
                    if channels == 1 { "mono" } else { "stereo" }
                ),
                format!(
                    "{} µs per block, {:.2} % of the time",
                    median(&mut times).as_micros(),
                    100.0 * sum.as_secs_f64() / COST_SECONDS as f64,
                ),
                sum.div_duration_f64(floor.mul_f64(hops)),
                &format!(
                    "median of blocks of {BLOCK}, and all blocks of {COST_SECONDS} s; floor: one bare transform and \
                     inverse per hop and channel, {} µs per hop",
                    floor.as_micros()
                ),
            );
        }
    }
    Ok(())
}

/// Adds the row of the parameter *Stereo*: two instances in turn, one of them with the mask alone.
pub fn places(plugin: &Path, mixture: &Audio, table: &mut Table) -> Result<()> {
    let mut instances = Vec::new();
    for stereo in ["0 %", "100 %"] {
        let (mut instance, _) = separating_instance(plugin, mixture)?;
        let event = instance.event(0, "Stereo", stereo)?;
        instance.process_empty(&[event])?;
        instances.push((instance, Vec::new()));
    }
    for _ in 0..PLACES_TURNS {
        for (instance, times) in &mut instances {
            times.push(play(instance, mixture, COST_SECONDS)?.iter().sum());
        }
    }
    let [alone, filtered]: [Duration; 2] = std::array::from_fn(|at| median(&mut instances[at].1));
    table.row_over(
        "Audio thread with Stereo",
        format!("{:.2} % of the time", 100.0 * filtered.as_secs_f64() / COST_SECONDS as f64),
        filtered.div_duration_f64(alone),
        &format!(
            "medians of {PLACES_TURNS} turns of {COST_SECONDS} s at 48 kHz, stereo; floor: with the mask alone, {:.2} %",
            100.0 * alone.as_secs_f64() / COST_SECONDS as f64
        ),
    );
    Ok(())
}
