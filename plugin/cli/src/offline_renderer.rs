//! Renders a recording with the engine: offline, at the input's sample rate, with the latency removed.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use sift_engine::{
    AuxOutputs, Config, Controls, Instance, Mode, ModelChoice, Processor, Readiness, SLOTS, SlotState,
    Snapshot, Understanding,
};

/// Number of samples that the engine processes at once.
pub const BLOCK_SIZE: usize = 512;

/// Longest time for loading the model and encoding the query.
const LOAD_TIMEOUT: Duration = Duration::from_secs(120);

/// The settings of a rendering.
#[derive(Clone, Copy, Debug)]
pub struct RenderRequest<'a> {
    /// Description of the sound.
    pub query: &'a str,
    pub mode: Mode,
    /// Mask strength, 0 to 1.
    pub strength: f32,
    /// How much the places of sounds between the channels count, 0 to 1.
    pub stereo: f32,
    pub rest: RestChoice<'a>,
}

/// What competes with the described sound.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum RestChoice<'a> {
    /// Nothing: the mask is that of the query alone.
    Off,
    /// The surest of the other sounds that the model hears, if it listens.
    Auto,
    /// The sounds that a text names.
    Said(&'a str),
}

/// An instance that renders, and whose latency is removed from the output.
pub struct OfflineRenderer {
    // Dropped before the instance, which then waits for no background thread.
    processor: Processor,
    instance: Instance,
    mode: Mode,
    with_rest: bool,
    stereo: f32,
    strength: [f32; BLOCK_SIZE],
    gain: [f32; BLOCK_SIZE],
    /// Output samples still to skip, which precede the input.
    skip: usize,
    // One vector per channel.
    main: Vec<Vec<f32>>,
    target: Vec<Vec<f32>>,
    residual: Vec<Vec<f32>>,
}

/// A block of rendered audio, one slice per channel.
pub struct OutputBlock<'a> {
    /// The input with the sound isolated or removed.
    pub main: Vec<&'a [f32]>,
    /// The described sound.
    pub target: Vec<&'a [f32]>,
    /// The input without the described sound.
    pub residual: Vec<&'a [f32]>,
}

impl OfflineRenderer {
    /// Loads the model and encodes the query.
    ///
    /// # Errors
    /// If the model or ONNX Runtime cannot be loaded, or the query cannot be encoded.
    pub fn open(
        model: ModelChoice,
        sample_rate: u32,
        channels: usize,
        request: &RenderRequest<'_>,
    ) -> Result<Self> {
        let renderer = Self::start(model, sample_rate, channels, request);
        let instance = &renderer.instance;
        instance.wait_until_ready(LOAD_TIMEOUT).map_err(anyhow::Error::msg)?;
        let queries = instance.queries();
        let not_encoded = |what: &str, text: &str| {
            let problem = queries.problem().unwrap_or_default();
            anyhow!("{what} {text:?}: cannot be encoded: {problem}. Describe the sound in other words")
        };
        match queries.slot_state(0) {
            SlotState::Empty => bail!("query: no text. Describe a sound, such as \"a dog barking\""),
            SlotState::Failed => return Err(not_encoded("query", request.query)),
            SlotState::Encoding | SlotState::Ready => {}
        }
        match (request.rest, queries.rest_state()) {
            (RestChoice::Said(text), SlotState::Failed) => Err(not_encoded("rest", text)),
            _ => Ok(renderer),
        }
    }

    fn start(model: ModelChoice, sample_rate: u32, channels: usize, request: &RenderRequest<'_>) -> Self {
        let instance = Instance::new(model);
        let text = |slot| if slot == 0 { request.query } else { "" }.to_owned();
        instance.queries().set_texts(&std::array::from_fn::<_, SLOTS, _>(text));
        if let RestChoice::Said(text) = request.rest {
            instance.queries().set_rest(text);
        }
        let processor = instance.start(Config {
            sample_rate: sample_rate.into(),
            max_block: BLOCK_SIZE,
            channels,
            offline: true,
        });
        let channel_buffers = || vec![Vec::with_capacity(BLOCK_SIZE); channels];
        Self {
            mode: request.mode,
            with_rest: request.rest != RestChoice::Off,
            stereo: request.stereo,
            strength: [request.strength; BLOCK_SIZE],
            gain: [1.0; BLOCK_SIZE],
            skip: processor.latency(),
            main: channel_buffers(),
            target: channel_buffers(),
            residual: channel_buffers(),
            processor,
            instance,
        }
    }

    /// What the query was understood as.
    pub fn understanding(&self) -> Arc<Understanding> {
        self.instance.queries().understanding(0)
    }

    /// What the text of the rest was understood as.
    pub fn rest_understanding(&self) -> Arc<Understanding> {
        self.instance.queries().rest_understanding()
    }

    /// State of the engine.
    pub fn snapshot(&self) -> Snapshot {
        self.instance.snapshot().expect("the instance runs as long as the renderer has a processor")
    }

    /// Renders the next samples of the input: one vector per channel, of equal length. `sink` receives the rendered
    /// blocks in order.
    pub fn push(
        &mut self,
        input: &[Vec<f32>],
        mut sink: impl FnMut(&OutputBlock<'_>) -> Result<()>,
    ) -> Result<()> {
        let length = input.first().map_or(0, Vec::len);
        for start in (0..length).step_by(BLOCK_SIZE) {
            let end = length.min(start + BLOCK_SIZE);
            for (main, input) in self.main.iter_mut().zip(input) {
                main.clear();
                main.extend_from_slice(&input[start..end]);
            }
            self.process(end - start, &mut sink)?;
        }
        Ok(())
    }

    /// Passes the rest to `sink`. The output is then as long as the input.
    pub fn finish(&mut self, mut sink: impl FnMut(&OutputBlock<'_>) -> Result<()>) -> Result<()> {
        let latency = self.processor.latency();
        for start in (0..latency).step_by(BLOCK_SIZE) {
            let length = BLOCK_SIZE.min(latency - start);
            for main in &mut self.main {
                main.clear();
                main.resize(length, 0.0);
            }
            self.process(length, &mut sink)?;
        }
        Ok(())
    }

    /// Checks that the model gave a mask for all audio so far.
    ///
    /// # Errors
    /// If the separator failed, or a mask was late or invalid.
    pub fn check(&self) -> Result<()> {
        let Snapshot { readiness, problem, faults, .. } = self.snapshot();
        if readiness == Readiness::Failed {
            return Err(anyhow::Error::msg(problem.unwrap_or_default())).context("separator: failed");
        }
        let missing = faults.missing();
        ensure!(
            missing == 0,
            "separator: no mask in time for {missing} frames. Try again when the machine is less busy"
        );
        let invalid = faults.invalid;
        ensure!(
            invalid == 0,
            "separator: invalid masks for {invalid} frames. Use another model, or install this one again"
        );
        Ok(())
    }

    /// Processes the `length` samples in `main`.
    fn process(
        &mut self,
        length: usize,
        sink: &mut impl FnMut(&OutputBlock<'_>) -> Result<()>,
    ) -> Result<()> {
        for channel in self.target.iter_mut().chain(&mut self.residual) {
            channel.resize(length, 0.0);
        }
        let controls = Controls {
            mode: self.mode,
            with_rest: self.with_rest,
            stereo: self.stereo,
            ..Controls::new(&self.strength[..length], &self.gain[..length])
        };
        let mut aux = AuxOutputs {
            target: &mut slices_mut(&mut self.target),
            residual: &mut slices_mut(&mut self.residual),
        };
        self.processor.process(&mut slices_mut(&mut self.main), &mut aux, &controls);

        let skip = self.skip.min(length);
        self.skip -= skip;
        if skip == length {
            return Ok(());
        }
        sink(&OutputBlock {
            main: slices(&self.main, skip),
            target: slices(&self.target, skip),
            residual: slices(&self.residual, skip),
        })
    }
}

/// All channels from sample `skip` on.
fn slices(channels: &[Vec<f32>], skip: usize) -> Vec<&[f32]> {
    channels.iter().map(|channel| &channel[skip..]).collect()
}

fn slices_mut(channels: &mut [Vec<f32>]) -> Vec<&mut [f32]> {
    channels.iter_mut().map(Vec::as_mut_slice).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A renderer without a model: the engine returns the input, delayed by its latency.
    fn dry(sample_rate: u32, channels: usize) -> OfflineRenderer {
        let request = RenderRequest {
            query: "",
            mode: Mode::Isolate,
            strength: 1.0,
            stereo: 0.0,
            rest: RestChoice::Off,
        };
        OfflineRenderer::start(
            ModelChoice::Installed("missing model".into()),
            sample_rate,
            channels,
            &request,
        )
    }

    fn noise(channels: usize, length: usize) -> Vec<Vec<f32>> {
        let sample = |n: usize| ((n * 7_919) % 2_003) as f32 / 2_003.0 - 0.5;
        (0..channels).map(|channel| (0..length).map(|n| sample(n + 31 * channel)).collect()).collect()
    }

    #[test]
    fn output_has_the_length_of_the_input_and_no_delay() {
        for rate in [22_050, 44_100, 48_000, 96_000] {
            for (channels, length) in [(1, 0), (1, 1), (2, 511), (1, 512), (2, 513), (2, 10_007)] {
                let input = noise(channels, length);
                let mut renderer = dry(rate, channels);
                let mut out = vec![Vec::new(); channels];
                let mut sink = |block: &OutputBlock<'_>| {
                    assert_eq!((block.target.len(), block.residual.len()), (channels, channels));
                    assert_eq!(
                        (block.target[0].len(), block.residual[0].len()),
                        (block.main[0].len(), block.main[0].len())
                    );
                    out.iter_mut().zip(&block.main).for_each(|(out, block)| out.extend_from_slice(block));
                    Ok(())
                };
                renderer.push(&input, &mut sink).unwrap();
                renderer.finish(&mut sink).unwrap();
                assert_eq!(out, input, "{length} samples, {channels} channels, {rate} Hz");
            }
        }
    }

    #[test]
    fn output_does_not_depend_on_the_input_blocks() {
        let input = noise(1, 3_000);
        let mut renderer = dry(48_000, 1);
        let mut out = Vec::new();
        let mut sink = |block: &OutputBlock<'_>| {
            out.extend_from_slice(block.main[0]);
            Ok(())
        };
        for part in [0..1, 1..1_152, 1_152..1_153, 1_153..3_000] {
            renderer.push(&[input[0][part].to_vec()], &mut sink).unwrap();
        }
        renderer.finish(&mut sink).unwrap();
        assert_eq!(out, input[0]);
    }

    #[test]
    fn check_fails_without_a_model() {
        let renderer = dry(48_000, 1);
        renderer.instance.wait_until_ready(LOAD_TIMEOUT).unwrap_err();
        let message = format!("{:#}", renderer.check().unwrap_err());
        assert!(message.contains("is not installed"), "{message}");
    }
}
