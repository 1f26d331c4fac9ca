//! Separates a second of sound in memory, offline, and prints the level of the result.
//!
//!     ORT_DYLIB_PATH=… cargo run -p sift-engine --example render_buffer -- "a person speaking"

use std::time::Duration;

use sift_engine::{AuxOutputs, Config, Controls, Instance};

const SAMPLE_RATE: usize = 48_000;
const BLOCK: usize = 512;

fn main() -> Result<(), String> {
    let text = std::env::args().nth(1).unwrap_or("a person speaking".into());
    let config = Config { sample_rate: SAMPLE_RATE as f64, max_block: BLOCK, channels: 1, offline: true };

    let instance = Instance::default();
    instance.queries().set_text(0, &text);
    let mut processor = instance.start(config);
    instance.wait_until_ready(Duration::from_secs(60))?;

    // The output is late by the latency, so the input gets as much silence at its end.
    let input: Vec<f32> = (0..SAMPLE_RATE).map(|n| 0.3 * (n as f32 * 0.05).sin()).collect();
    let latency = processor.latency();
    let mut buffer = input.clone();
    buffer.resize(input.len() + latency, 0.0);
    for block in buffer.chunks_mut(BLOCK) {
        let ones = [1.0; BLOCK];
        let controls = Controls::new(&ones[..block.len()], &ones[..block.len()]);
        processor.process(&mut [block], &mut AuxOutputs::default(), &controls);
    }
    let output = &buffer[latency..];

    let level = |samples: &[f32]| 10.0 * samples.iter().map(|sample| sample * sample).sum::<f32>().log10();
    println!("{text}: {:.1} dB of the input", level(output) - level(&input));
    Ok(())
}
