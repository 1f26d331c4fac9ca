//! Waiting for a model to be ready, as a listener would notice it.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::audio::Audio;
use crate::clap_host::{Blocks, Instance, Output};

/// What is well above rounding and well below hearing: −80 dB.
const DIFFERENT: f32 = 1e-4;

/// Plays `sound` over and over in real time through the active `plugin` until something of it is
/// taken away, and returns how long that took; forgets what was played.
///
/// A plugin without a model passes sound on as it came.
///
/// # Errors
/// If `limit` passes first, or the plugin fails.
pub fn until_separated(
    plugin: &mut Instance,
    sound: &Audio,
    block: usize,
    limit: Duration,
) -> Result<Duration> {
    let begin = Instant::now();
    let duration = Duration::from_secs_f64(block as f64 / plugin.rate());
    let mut due = begin;
    for start in (0..sound.frames() - block).step_by(block).cycle() {
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        due += duration;
        let output = plugin.render(&sound.slice(start..start + block), Blocks::of(block), &[])?;
        if is_separated(&output) {
            let elapsed = begin.elapsed();
            plugin.reset()?;
            return Ok(elapsed);
        }
        if begin.elapsed() > limit {
            break;
        }
    }
    bail!(
        "in {limit:?} nothing was taken away from the sound: is the model or ONNX Runtime missing? `sift doctor` tells"
    )
}

/// Whether the output is anything but the delayed input, which Target and Residual add up to.
pub fn is_separated(output: &Output) -> bool {
    output.main.largest_difference(&output.target.plus(&output.residual)) > DIFFERENT
}
