//! The streaming kind of network: one hop at a time, its state passed from run to run; of one stream, or of several at
//! once, which is cheaper than one after another.

use std::sync::Arc;

use ort::environment::Environment;
use ort::value::{DynValue, Outlet, Tensor};
use realfft::num_complex::Complex32;

use crate::inference::batching_pool::STOPPED;
use crate::inference::cancel::Stop;
use crate::inference::provider::{Choice, Placement};
use crate::inference::session::Session;
use crate::package::PackageError;
use crate::separator::Separator;
use crate::separator::network::{self, Frame, LoadedModel, Network, Sessions, matches_shape, tensor};

/// Values that all the states of a network may have together.
const STATE_LIMIT: usize = 1 << 24;

/// Streams of which one run takes a frame each. More gain next to nothing, and keep the first ones waiting.
const MOST_STREAMS: usize = 16;

/// One `state_*` input, fed from the `next_state_*` output of the run before.
struct State {
    input: String,
    output: String,
    /// Of one stream.
    shape: Vec<usize>,
    /// The dimension that is left open for any number of streams.
    streams: Option<usize>,
}

/// A package's streaming network.
pub struct StreamingSeparator {
    network: Network,
    states: Arc<[State]>,
    /// Whether one run takes frames of several streams.
    takes_streams: bool,
    /// Away only while it is run with others.
    frame: Option<Box<Frame>>,
}

impl StreamingSeparator {
    /// Loads the network of `model`, checks its inputs and outputs against the contract, and
    /// runs it once; where `choice` says, if it can be, and until it is stopped.
    pub fn new(
        environment: &Environment,
        model: &LoadedModel,
        choice: &Choice,
        stop: &Stop,
    ) -> Result<(Self, Placement), PackageError> {
        network::open(environment, model, choice, stop, |sessions| {
            let separator = Self::checked(sessions, model.package.manifest.audio.bins())?;
            let embedding = separator.embedding_size();
            Ok((separator, embedding))
        })
    }

    /// Values of the embedding that [`run`](Separator::run) takes.
    pub fn embedding_size(&self) -> usize {
        self.network.layout.embedding
    }

    fn checked(sessions: Sessions, bins: usize) -> Result<Self, String> {
        let network = Network::checked(sessions, 1, bins, |name| name.starts_with("state_"))?;
        let session = network.sessions.lend()?;
        let mut states = Vec::new();
        let mut values = 0;
        for input in session.inputs().iter().map(Outlet::name).filter(|name| name.starts_with("state_")) {
            let output = format!("next_{input}");
            let shape = tensor(session.inputs(), "input", input)?;
            let next = tensor(session.outputs(), "output", &output)?;
            let streams = match network.layout.takes_streams {
                true => shape.iter().position(|&length| length == -1),
                false => None,
            };
            let shape = fixed(input, &shape, streams)?;
            matches_shape(&output, &next, &shape)?;
            values += shape.iter().product::<usize>();
            if values > STATE_LIMIT {
                return Err(format!("`{input}` makes the state larger than {STATE_LIMIT} values"));
            }
            let streams = streams.filter(|&dimension| next[dimension] == -1);
            states.push(State { input: input.to_owned(), output, shape, streams });
        }
        drop(session);
        let frame = Box::new(Frame {
            magnitude: Vec::new(),
            embedding: Vec::new(),
            states: states.iter().map(|state| zeros(&state.shape)).collect::<Result<_, _>>()?,
            mask: vec![Complex32::ZERO; bins],
            outcome: Ok(None),
            runs: network.runs.clone(),
        });
        let takes_streams =
            network.layout.takes_streams && states.iter().all(|state| state.streams.is_some());
        Ok(Self { network, states: states.into(), takes_streams, frame: Some(frame) })
    }

    /// Has `infer` run the frame of these, and takes out what it became.
    fn with_frame(
        &mut self,
        (magnitude, embedding): (&[f32], &[f32]),
        mask: &mut [Complex32],
        infer: impl FnOnce(&Self, Box<Frame>) -> Result<Box<Frame>, String>,
    ) -> Result<Option<f32>, String> {
        self.network.layout.check_embedding(embedding)?;
        let mut frame = self.frame.take().ok_or(STOPPED)?;
        for (own, given) in [(&mut frame.magnitude, magnitude), (&mut frame.embedding, embedding)] {
            own.clear();
            own.extend_from_slice(given);
        }
        let mut frame = infer(self, frame)?;
        mask.copy_from_slice(&frame.mask);
        let outcome = std::mem::replace(&mut frame.outcome, Ok(None));
        self.frame = Some(frame);
        outcome
    }

    /// Runs every frame, all at once if there are several and that works.
    fn infer(&self, session: &mut Session, frames: &mut [Box<Frame>]) {
        if frames.len() > 1 && self.infer_together(session, frames).is_ok() {
            return;
        }
        // What was wrong with all of them may be wrong with one, which may be stopped: each has its own outcome.
        for frame in frames {
            frame.outcome = self.infer_alone(session, frame).map_err(|error| error.to_string());
        }
    }

    fn infer_alone(&self, session: &mut Session, frame: &mut Frame) -> ort::Result<Option<f32>> {
        let layout = self.network.layout;
        let mut inputs = layout.inputs(&frame.magnitude, &frame.embedding)?;
        let states = self.states.iter().zip(&frame.states);
        inputs.extend(states.map(|(state, value)| (state.input.as_str(), value.into())));
        let mut outputs = session.run(inputs, &frame.runs)?;
        layout.mask(&outputs, 0, 0, &mut frame.mask)?;
        let presence = layout.presence(&outputs, 0, 0)?;
        for (state, value) in self.states.iter().zip(&mut frame.states) {
            *value = outputs.remove(&state.output).expect("checked when the network was loaded");
        }
        Ok(presence)
    }

    /// One run of the frames of several streams.
    fn infer_together(&self, session: &mut Session, frames: &mut [Box<Frame>]) -> ort::Result<()> {
        let layout = self.network.layout;
        let magnitudes = frames.iter().flat_map(|frame| &frame.magnitude).copied().collect::<Vec<f32>>();
        let embeddings = frames.iter().flat_map(|frame| &frame.embedding).copied().collect::<Vec<f32>>();
        let mut inputs = layout.inputs(&magnitudes, &embeddings)?;
        for (number, state) in self.states.iter().enumerate() {
            inputs.push((state.input.as_str(), state.gather(frames, number)?.into()));
        }
        let outputs = session.run(inputs, &self.network.runs)?;
        for (number, state) in self.states.iter().enumerate() {
            state.scatter(outputs[state.output.as_str()].try_extract_tensor()?.1, frames, number)?;
        }
        for (stream, frame) in frames.iter_mut().enumerate() {
            layout.mask(&outputs, stream, 0, &mut frame.mask)?;
            frame.outcome = Ok(layout.presence(&outputs, stream, 0)?);
        }
        Ok(())
    }
}

impl State {
    /// Values of a stream that lie together, of what lies along the dimensions after that of the streams.
    fn run_length(&self) -> usize {
        self.shape[self.streams.map_or(0, |dimension| dimension + 1)..].iter().product()
    }

    /// The values that the streams have of this state, its `number`th, as one tensor.
    fn gather(&self, frames: &[Box<Frame>], number: usize) -> ort::Result<DynValue> {
        let values = frames
            .iter()
            .map(|frame| Ok(frame.states[number].try_extract_tensor::<f32>()?.1))
            .collect::<ort::Result<Vec<_>>>()?;
        let (length, size) = (self.run_length(), self.shape.iter().product::<usize>());
        let mut all = Vec::with_capacity(frames.len() * size);
        for at in (0..size).step_by(length) {
            for values in &values {
                all.extend_from_slice(&values[at..at + length]);
            }
        }
        let mut shape = self.shape.clone();
        if let Some(dimension) = self.streams {
            shape[dimension] = frames.len();
        }
        Ok(Tensor::from_array((shape, all))?.into_dyn())
    }

    /// Hands the values of such a tensor back to their streams.
    fn scatter(&self, all: &[f32], frames: &mut [Box<Frame>], number: usize) -> ort::Result<()> {
        let (length, streams) = (self.run_length(), frames.len());
        for (stream, frame) in frames.iter_mut().enumerate() {
            let (_, values) = frame.states[number].try_extract_tensor_mut::<f32>()?;
            let runs = all.chunks_exact(length).skip(stream).step_by(streams);
            for (own, run) in values.chunks_exact_mut(length).zip(runs) {
                own.copy_from_slice(run);
            }
        }
        Ok(())
    }
}

impl Separator for StreamingSeparator {
    fn reset(&mut self) {
        let Some(frame) = &mut self.frame else { return };
        for (state, value) in self.states.iter().zip(&mut frame.states) {
            if let Ok(silence) = zeros(&state.shape) {
                *value = silence;
            }
        }
    }

    fn fork(&self) -> Result<Box<dyn Separator>, String> {
        let frame = self.frame.as_ref().ok_or(STOPPED)?;
        let copies = self.states.iter().zip(&frame.states).map(|(state, value)| {
            let (_, values) = value.try_extract_tensor::<f32>()?;
            Ok(Tensor::from_array((state.shape.clone(), values.to_vec()))?.into_dyn())
        });
        let states = copies.collect::<ort::Result<_>>().map_err(|error| error.to_string())?;
        let frame = Frame {
            magnitude: Vec::new(),
            embedding: Vec::new(),
            states,
            mask: frame.mask.clone(),
            outcome: Ok(None),
            runs: frame.runs.clone(),
        };
        Ok(Box::new(Self {
            network: self.network.clone(),
            states: self.states.clone(),
            takes_streams: self.takes_streams,
            frame: Some(Box::new(frame)),
        }))
    }

    fn run(
        &mut self,
        magnitude: &[f32],
        embedding: &[f32],
        mask: &mut [Complex32],
    ) -> Result<Option<f32>, String> {
        self.with_frame((magnitude, embedding), mask, |own, frame| {
            let mut frames = [frame];
            own.infer(&mut *own.network.sessions.lend()?, &mut frames);
            let [frame] = frames;
            Ok(frame)
        })
    }

    fn run_along(
        &mut self,
        magnitude: &[f32],
        embedding: &[f32],
        mask: &mut [Complex32],
    ) -> Result<Option<f32>, String> {
        if !self.takes_streams {
            return self.run(magnitude, embedding, mask);
        }
        self.with_frame((magnitude, embedding), mask, |own, frame| {
            own.network.sessions.together(frame, MOST_STREAMS, |session, frames| own.infer(session, frames))
        })
    }
}

fn zeros(shape: &[usize]) -> Result<DynValue, String> {
    let values = vec![0.0_f32; shape.iter().product()];
    Tensor::from_array((shape.to_vec(), values))
        .map(|tensor| tensor.into_dyn())
        .map_err(|error| error.to_string())
}

/// The shape of one stream's state, whose dimension `streams` is left open.
fn fixed(name: &str, shape: &[i64], streams: Option<usize>) -> Result<Vec<usize>, String> {
    shape
        .iter()
        .enumerate()
        .map(|(dimension, &length)| match usize::try_from(length) {
            _ if streams == Some(dimension) => Ok(1),
            Ok(length) if (1..=STATE_LIMIT).contains(&length) => Ok(length),
            _ => Err(format!(
                "`{name}` has the shape {shape:?}, and a state's must be fixed, of at most {STATE_LIMIT} values"
            )),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inference::library;
    use crate::package::Listing;

    const HOPS: usize = 20;

    /// A magnitude and an embedding, other ones for every stream and hop.
    fn inputs(separator: &StreamingSeparator, stream: usize, hop: usize) -> (Vec<f32>, Vec<f32>) {
        let wave = |at: usize, step: f32| 1.0 + ((at + 7 * stream + 3 * hop) as f32 * step).sin();
        let bins = separator.network.layout.bins;
        let magnitude = (0..bins).map(|bin| 10.0 * wave(bin, 0.1)).collect();
        // What is asked for stays.
        let embedding = (0..separator.embedding_size()).map(|at| wave(at + 7 * stream, 0.3)).collect();
        (magnitude, embedding)
    }

    #[test]
    fn streams_that_are_run_together_are_separated_as_each_is_alone() {
        let environment = library::environment().unwrap();
        let model = LoadedModel::new(Listing::built_in().load().unwrap());
        let new =
            || StreamingSeparator::new(environment, &model, &Choice::default(), &Stop::default()).unwrap().0;
        let mut alone: Vec<_> = (0..3).map(|_| new()).collect();
        let mut together: Vec<_> = (0..3).map(|_| new()).collect();
        assert!(together.iter().all(|separator| separator.takes_streams));
        let mut mask = vec![Complex32::ZERO; model.package.manifest.audio.bins()];
        for hop in 0..HOPS {
            let mut frames = Vec::new();
            for (stream, separator) in together.iter_mut().enumerate() {
                let mut frame = separator.frame.take().unwrap();
                (frame.magnitude, frame.embedding) = inputs(separator, stream, hop);
                frames.push(frame);
            }
            {
                let mut session = together[1].network.sessions.lend().unwrap();
                together[1].infer_together(&mut session, &mut frames).unwrap();
            }
            for (stream, frame) in frames.into_iter().enumerate() {
                let (magnitude, embedding) = inputs(&alone[stream], stream, hop);
                let presence = alone[stream].run(&magnitude, &embedding, &mut mask).unwrap().unwrap();
                let difference = |(a, b): (&Complex32, &Complex32)| (a - b).norm();
                let largest = mask.iter().zip(&frame.mask).map(difference).fold(0.0, f32::max);
                assert!(largest < 1e-4, "stream {stream}, hop {hop}: masks differ by {largest}");
                let other = frame.outcome.clone().unwrap().unwrap();
                assert!((presence - other).abs() < 1e-4, "{presence} and {other}");
                together[stream].frame = Some(frame);
            }
        }
    }

    #[test]
    fn a_fork_has_heard_what_its_origin_has_and_goes_its_own_way_from_there() {
        let environment = library::environment().unwrap();
        let model = LoadedModel::new(Listing::built_in().load().unwrap());
        let (mut origin, _) =
            StreamingSeparator::new(environment, &model, &Choice::default(), &Stop::default()).unwrap();
        let mut masks = [(); 2].map(|()| vec![Complex32::ZERO; model.package.manifest.audio.bins()]);
        for hop in 0..HOPS {
            let (magnitude, embedding) = inputs(&origin, 0, hop);
            origin.run(&magnitude, &embedding, &mut masks[0]).unwrap();
        }
        let mut fork = origin.fork().unwrap();
        let (_, other) = inputs(&origin, 1, HOPS);
        for hop in HOPS..2 * HOPS {
            let (magnitude, embedding) = inputs(&origin, 0, hop);
            // What is asked of the one is nothing to the other.
            let asked = if hop == HOPS { &embedding } else { &other };
            origin.run(&magnitude, &embedding, &mut masks[0]).unwrap();
            fork.run(&magnitude, asked, &mut masks[1]).unwrap();
            assert_eq!(masks[0] == masks[1], hop == HOPS, "hop {hop}");
        }
    }
}
