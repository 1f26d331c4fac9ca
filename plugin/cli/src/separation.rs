//! A whole recording through the engine: offline, at the input's rate, latency removed.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use sift_engine::package::Listing;
use sift_engine::{
    Aux, Config, Controls, Engine, Mode, Queries, Readiness, SLOTS, Shape, Stage, Status, Understood,
};

/// Samples the engine is given at once.
pub const BLOCK: usize = 512;

/// How long a model may take to load and to encode the query.
const LOADING: Duration = Duration::from_secs(120);

/// What is asked of a separation.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The sound in words.
    pub query: &'a str,
    pub mode: Mode,
    /// 0 to 1.
    pub strength: f32,
}

/// An engine, and the bookkeeping that removes its latency.
pub struct Separation {
    engine: Engine,
    understood: Arc<[Understood]>,
    mode: Mode,
    strength: [f32; BLOCK],
    gain: [f32; BLOCK],
    /// Samples to come that belong to before the input.
    lead: usize,
    // One vector a channel.
    main: Vec<Vec<f32>>,
    target: Vec<Vec<f32>>,
    residual: Vec<Vec<f32>>,
}

/// A block of what came out, one slice a channel.
pub struct Separated<'a> {
    pub main: Vec<&'a [f32]>,
    /// The described sound.
    pub target: Vec<&'a [f32]>,
    /// Everything else.
    pub residual: Vec<&'a [f32]>,
}

impl Separation {
    /// Loads the model of `listing` and encodes the query.
    ///
    /// # Errors
    /// What is wrong with the model, ONNX Runtime or the query.
    pub fn open(listing: Listing, sample_rate: u32, channels: usize, request: &Request<'_>) -> Result<Self> {
        let texts =
            std::array::from_fn::<_, SLOTS, _>(|slot| if slot == 0 { request.query } else { "" }.to_owned());
        let queries = Arc::new(Queries::new(texts));
        let config = Config { sample_rate: sample_rate.into(), max_block: BLOCK, channels, offline: true };
        let engine = Engine::with_listing(Ok(listing), config, queries.clone());

        let deadline = Instant::now() + LOADING;
        engine.wait_until_ready(LOADING).map_err(anyhow::Error::msg)?;
        loop {
            match queries.stage(0) {
                Stage::Ready => return Ok(Self::new(engine, channels, request, queries.understood(0))),
                Stage::Encoding if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(1)),
                Stage::Encoding => {
                    bail!("the query was not encoded within {} s. Try again", LOADING.as_secs())
                }
                Stage::Empty => bail!("the query is empty. Describe a sound, such as \"a dog barking\""),
                Stage::Failed => {
                    let problem = queries.problem().unwrap_or_default();
                    bail!(
                        "the query {:?} cannot be encoded: {problem}. Describe the sound in other words",
                        request.query
                    )
                }
            }
        }
    }

    fn new(engine: Engine, channels: usize, request: &Request<'_>, understood: Arc<[Understood]>) -> Self {
        let planes = || vec![Vec::with_capacity(BLOCK); channels];
        Self {
            mode: request.mode,
            strength: [request.strength; BLOCK],
            gain: [1.0; BLOCK],
            lead: engine.latency(),
            main: planes(),
            target: planes(),
            residual: planes(),
            understood,
            engine,
        }
    }

    /// What the query was understood as, nearest first; nothing where the model does not tell.
    pub fn understood(&self) -> &[Understood] {
        &self.understood
    }

    pub fn status(&self) -> &Status {
        self.engine.status()
    }

    /// Seconds between two frames of the spectrogram.
    pub fn hop_seconds(&self) -> f64 {
        self.engine.grid().hop_seconds()
    }

    /// Separates the next samples of the input, one equally long slice a channel. `sink` is handed
    /// what is done, in order.
    pub fn push(
        &mut self,
        input: &[Vec<f32>],
        mut sink: impl FnMut(&Separated<'_>) -> Result<()>,
    ) -> Result<()> {
        let length = input.first().map_or(0, Vec::len);
        for start in (0..length).step_by(BLOCK) {
            let end = length.min(start + BLOCK);
            for (main, input) in self.main.iter_mut().zip(input) {
                main.clear();
                main.extend_from_slice(&input[start..end]);
            }
            self.process(end - start, &mut sink)?;
        }
        Ok(())
    }

    /// Hands `sink` the rest: as much came out then as was put in.
    pub fn finish(&mut self, mut sink: impl FnMut(&Separated<'_>) -> Result<()>) -> Result<()> {
        let latency = self.engine.latency();
        for start in (0..latency).step_by(BLOCK) {
            let length = BLOCK.min(latency - start);
            for main in &mut self.main {
                main.clear();
                main.resize(length, 0.0);
            }
            self.process(length, &mut sink)?;
        }
        Ok(())
    }

    /// Whether everything so far was separated.
    ///
    /// # Errors
    /// When the separator failed, or frames passed without it.
    pub fn check(&self) -> Result<()> {
        let status = self.status();
        if status.readiness() == Readiness::Failed {
            return Err(anyhow::Error::msg(status.problem().unwrap_or_default()))
                .context("the separator failed");
        }
        let missed = status.late() + status.dropped();
        ensure!(
            missed == 0,
            "the separator did not answer in time for {missed} frames. Try again when the machine is less busy"
        );
        let unusable = status.unusable();
        ensure!(
            unusable == 0,
            "the model gave no usable mask for {unusable} frames. Use another model, or install it again"
        );
        Ok(())
    }

    /// Processes the `length` samples that lie in `main`.
    fn process(&mut self, length: usize, sink: &mut impl FnMut(&Separated<'_>) -> Result<()>) -> Result<()> {
        for plane in self.target.iter_mut().chain(&mut self.residual) {
            plane.resize(length, 0.0);
        }
        let controls = Controls {
            strength: &self.strength[..length],
            gain: &self.gain[..length],
            mode: self.mode,
            query: 0,
            shape: Shape::default(),
            listen_removed: false,
            bypass: false,
        };
        let mut aux =
            Aux { target: &mut slices_mut(&mut self.target), residual: &mut slices_mut(&mut self.residual) };
        self.engine.process(&mut slices_mut(&mut self.main), &mut aux, &controls);

        let skip = self.lead.min(length);
        self.lead -= skip;
        if skip == length {
            return Ok(());
        }
        sink(&Separated {
            main: slices(&self.main, skip),
            target: slices(&self.target, skip),
            residual: slices(&self.residual, skip),
        })
    }
}

/// Every plane from sample `skip` on.
fn slices(planes: &[Vec<f32>], skip: usize) -> Vec<&[f32]> {
    planes.iter().map(|plane| &plane[skip..]).collect()
}

fn slices_mut(planes: &mut [Vec<f32>]) -> Vec<&mut [f32]> {
    planes.iter_mut().map(Vec::as_mut_slice).collect()
}

#[cfg(test)]
mod tests {
    use sift_engine::package::search;

    use super::*;

    /// A separation without a model: the engine gives the input back, `latency` samples later.
    fn dry(sample_rate: u32, channels: usize) -> Separation {
        let config = Config { sample_rate: sample_rate.into(), max_block: BLOCK, channels, offline: true };
        let queries = Arc::new(Queries::default());
        let engine = Engine::with_listing(search::find("no model is called this"), config, queries);
        let request = Request { query: "", mode: Mode::Isolate, strength: 1.0 };
        Separation::new(engine, channels, &request, Arc::default())
    }

    fn noise(channels: usize, length: usize) -> Vec<Vec<f32>> {
        let sample = |n: usize| ((n * 7_919) % 2_003) as f32 / 2_003.0 - 0.5;
        (0..channels).map(|channel| (0..length).map(|n| sample(n + 31 * channel)).collect()).collect()
    }

    #[test]
    fn what_comes_out_is_as_long_as_the_input_and_in_its_place() {
        for rate in [22_050, 44_100, 48_000, 96_000] {
            for (channels, length) in [(1, 0), (1, 1), (2, 511), (1, 512), (2, 513), (2, 10_007)] {
                let input = noise(channels, length);
                let mut separation = dry(rate, channels);
                let mut out = vec![Vec::new(); channels];
                let mut sink = |block: &Separated<'_>| {
                    assert_eq!((block.target.len(), block.residual.len()), (channels, channels));
                    assert_eq!(
                        (block.target[0].len(), block.residual[0].len()),
                        (block.main[0].len(), block.main[0].len())
                    );
                    out.iter_mut().zip(&block.main).for_each(|(out, block)| out.extend_from_slice(block));
                    Ok(())
                };
                separation.push(&input, &mut sink).unwrap();
                separation.finish(&mut sink).unwrap();
                assert_eq!(out, input, "{length} samples, {channels} channels, {rate} Hz");
            }
        }
    }

    #[test]
    fn the_partition_of_the_input_makes_no_difference() {
        let input = noise(1, 3_000);
        let mut separation = dry(48_000, 1);
        let mut out = Vec::new();
        let mut sink = |block: &Separated<'_>| {
            out.extend_from_slice(block.main[0]);
            Ok(())
        };
        for part in [0..1, 1..1_152, 1_152..1_153, 1_153..3_000] {
            separation.push(&[input[0][part].to_vec()], &mut sink).unwrap();
        }
        separation.finish(&mut sink).unwrap();
        assert_eq!(out, input[0]);
    }

    #[test]
    fn audio_that_passed_without_a_model_does_not_count_as_separated() {
        let separation = dry(48_000, 1);
        while separation.status().readiness() == Readiness::Loading {
            std::thread::yield_now();
        }
        let message = format!("{:#}", separation.check().unwrap_err());
        assert!(message.contains("is not installed"), "{message}");
    }
}
