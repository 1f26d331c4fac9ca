//! Cost of a sound that decays through all denormal numbers into silence, as a reverberation does.

use std::path::Path;

use anyhow::Result;

use crate::audio::Audio;
use crate::clap_host::{Blocks, Instance, Mode};
use crate::process::seconds_by_thread;

const RATE: f64 = 48_000.0;
const BLOCK: usize = 512;
/// Length of the tail and of the noise, in samples.
const FRAMES: usize = 4 * RATE as usize;
const TRIALS: usize = 3;

/// Processor time of all threads of the process for a tail, over that for as much noise; the least of three trials each.
///
/// # Errors
/// If the plugin fails.
pub fn cost_over_noise(plugin: &Path) -> Result<f64> {
    let noise = Audio::noise(2, FRAMES, 0.5, 1);
    // From −120 dBFS on through all denormal numbers, to zero.
    let tail = Audio::from_fn(2, FRAMES, |channel, frame| {
        let decay = 10.0_f64.powf(-6.0 - 40.0 * frame as f64 / FRAMES as f64);
        noise.channel(channel)[frame] * decay as f32
    });
    // A host that renders gets every mask.
    let mut instance = Instance::create(plugin)?;
    instance.activate(RATE, BLOCK, Mode::Offline)?;
    instance.render(&noise, Blocks::of(BLOCK), &[])?;
    let mut least = [f64::INFINITY; 2];
    // In turn, so that other work of the machine concerns both.
    for _ in 0..TRIALS {
        for (least, sound) in least.iter_mut().zip([&noise, &tail]) {
            let before = processor_seconds();
            instance.render(sound, Blocks::of(BLOCK), &[])?;
            *least = least.min(processor_seconds() - before);
        }
    }
    let [of_noise, of_tail] = least;
    Ok(of_tail / of_noise)
}

fn processor_seconds() -> f64 {
    seconds_by_thread().into_values().sum()
}
