//! Waiting until the plugin separates, which shows in its output alone.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use crate::audio::Audio;
use crate::clap_host::{Blocks, Instance, Output};

/// Smallest difference that counts: −80 dB, far above rounding errors.
const MIN_DIFFERENCE: f32 = 1e-4;

/// Plays `sound` repeatedly in real time until the output differs from the delayed input, then resets the plugin.
///
/// Returns the time that this took. A plugin without a model passes sound through unchanged.
///
/// # Errors
/// If `timeout` passes first, or the plugin fails.
pub fn until_separated(
    plugin: &mut Instance,
    sound: &Audio,
    block: usize,
    timeout: Duration,
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
        if begin.elapsed() > timeout {
            break;
        }
    }
    bail!(
        "the plugin passed the sound through unchanged for {timeout:?}; expected it to separate. Run `sift doctor`: \
         the model or ONNX Runtime may be missing"
    )
}

/// Whether the output differs from the delayed input, which is the sum of Target and Residual.
pub fn is_separated(output: &Output) -> bool {
    output.main.largest_difference(&output.target.plus(&output.residual)) > MIN_DIFFERENCE
}
