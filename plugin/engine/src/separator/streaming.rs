//! The streaming kind of network: one hop at a time, its state passed from run to run; of one stream, or of several at
//! once, which is cheaper than one after another.

use std::sync::Arc;

use ort::environment::Environment;
use ort::value::{DynValue, Outlet, Tensor};
use realfft::num_complex::Complex32;

use crate::inference::batching_pool::CANCELLED;
use crate::inference::cancel::CancelToken;
use crate::inference::provider::{ActiveProvider, ProviderChoice};
use crate::inference::session::Session;
use crate::package::PackageError;
use crate::separator::Separator;
use crate::separator::network::{
    self, LoadedModel, Network, SessionHandle, StreamJob, check_shape, tensor_shape,
};

/// Values that all the states of a network may have together.
const MAX_STATE_VALUES: usize = 1 << 24;

/// Streams of which one run takes a job each. More gain next to nothing, and keep the first ones waiting.
const MAX_BATCH: usize = 16;

/// One `state_*` input, fed from the `next_state_*` output of the run before.
struct StateTensor {
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
    states: Arc<[StateTensor]>,
    /// Whether one run takes jobs of several streams.
    has_batch_axis: bool,
    /// Away only while it is run with others.
    job: Option<Box<StreamJob>>,
}

impl StreamingSeparator {
    /// Loads the network of `model`, checks its inputs and outputs against the contract, and
    /// run_options it once; where `choice` says, if it can be, and until it is stopped.
    pub fn new(
        environment: &Environment,
        model: &LoadedModel,
        choice: &ProviderChoice,
        token: &CancelToken,
    ) -> Result<(Self, ActiveProvider), PackageError> {
        network::load_separator(environment, model, choice, token, |sessions| {
            let separator = Self::checked(sessions, model.package.manifest.audio.bins())?;
            let embedding = separator.embedding_size();
            Ok((separator, embedding))
        })
    }

    /// Values of the embedding that [`run`](Separator::run) takes.
    pub fn embedding_size(&self) -> usize {
        self.network.layout.embedding
    }

    fn checked(sessions: SessionHandle, bins: usize) -> Result<Self, String> {
        let network = Network::new(sessions, 1, bins, |name| name.starts_with("state_"))?;
        let session = network.sessions.acquire()?;
        let mut states = Vec::new();
        let mut values = 0;
        for input in session.inputs().iter().map(Outlet::name).filter(|name| name.starts_with("state_")) {
            let output = format!("next_{input}");
            let shape = tensor_shape(session.inputs(), "input", input)?;
            let next = tensor_shape(session.outputs(), "output", &output)?;
            let streams = match network.layout.has_batch_axis {
                true => shape.iter().position(|&length| length == -1),
                false => None,
            };
            let shape = fixed_shape(input, &shape, streams)?;
            check_shape(&output, &next, &shape)?;
            values += shape.iter().product::<usize>();
            if values > MAX_STATE_VALUES {
                return Err(format!("`{input}` makes the state larger than {MAX_STATE_VALUES} values"));
            }
            let streams = streams.filter(|&dimension| next[dimension] == -1);
            states.push(StateTensor { input: input.to_owned(), output, shape, streams });
        }
        drop(session);
        let job = Box::new(StreamJob {
            magnitude: Vec::new(),
            embedding: Vec::new(),
            states: states.iter().map(|state| zero_state(&state.shape)).collect::<Result<_, _>>()?,
            mask: vec![Complex32::ZERO; bins],
            result: Ok(None),
            run_options: network.run_options.clone(),
        });
        let has_batch_axis =
            network.layout.has_batch_axis && states.iter().all(|state| state.streams.is_some());
        Ok(Self { network, states: states.into(), has_batch_axis, job: Some(job) })
    }

    /// Has `infer` run the job of these, and takes out what it became.
    fn with_job(
        &mut self,
        (magnitude, embedding): (&[f32], &[f32]),
        mask: &mut [Complex32],
        infer: impl FnOnce(&Self, Box<StreamJob>) -> Result<Box<StreamJob>, String>,
    ) -> Result<Option<f32>, String> {
        self.network.layout.check_embedding(embedding)?;
        let mut job = self.job.take().ok_or(CANCELLED)?;
        for (own, given) in [(&mut job.magnitude, magnitude), (&mut job.embedding, embedding)] {
            own.clear();
            own.extend_from_slice(given);
        }
        let mut job = infer(self, job)?;
        mask.copy_from_slice(&job.mask);
        let result = std::mem::replace(&mut job.result, Ok(None));
        self.job = Some(job);
        result
    }

    /// Runs every job, all at once if there are several and that works.
    fn infer(&self, session: &mut Session, jobs: &mut [Box<StreamJob>]) {
        if jobs.len() > 1 && self.infer_batch(session, jobs).is_ok() {
            return;
        }
        // What was wrong with all of them may be wrong with one, which may be stopped: each has its own result.
        for job in jobs {
            job.result = self.infer_one(session, job).map_err(|error| error.to_string());
        }
    }

    fn infer_one(&self, session: &mut Session, job: &mut StreamJob) -> ort::Result<Option<f32>> {
        let layout = self.network.layout;
        let mut inputs = layout.inputs(&job.magnitude, &job.embedding)?;
        let states = self.states.iter().zip(&job.states);
        inputs.extend(states.map(|(state, value)| (state.input.as_str(), value.into())));
        let mut outputs = session.run(inputs, &job.run_options)?;
        layout.read_mask(&outputs, 0, 0, &mut job.mask)?;
        let presence = layout.read_presence(&outputs, 0, 0)?;
        for (state, value) in self.states.iter().zip(&mut job.states) {
            *value = outputs.remove(&state.output).expect("checked when the network was loaded");
        }
        Ok(presence)
    }

    /// One run of the jobs of several streams.
    fn infer_batch(&self, session: &mut Session, jobs: &mut [Box<StreamJob>]) -> ort::Result<()> {
        let layout = self.network.layout;
        let magnitudes = jobs.iter().flat_map(|job| &job.magnitude).copied().collect::<Vec<f32>>();
        let embeddings = jobs.iter().flat_map(|job| &job.embedding).copied().collect::<Vec<f32>>();
        let mut inputs = layout.inputs(&magnitudes, &embeddings)?;
        for (number, state) in self.states.iter().enumerate() {
            inputs.push((state.input.as_str(), state.gather(jobs, number)?.into()));
        }
        let outputs = session.run(inputs, &self.network.run_options)?;
        for (number, state) in self.states.iter().enumerate() {
            state.scatter(outputs[state.output.as_str()].try_extract_tensor()?.1, jobs, number)?;
        }
        for (stream, job) in jobs.iter_mut().enumerate() {
            layout.read_mask(&outputs, stream, 0, &mut job.mask)?;
            job.result = Ok(layout.read_presence(&outputs, stream, 0)?);
        }
        Ok(())
    }
}

impl StateTensor {
    /// Values of a stream that lie together, of what lies along the dimensions after that of the streams.
    fn run_length(&self) -> usize {
        self.shape[self.streams.map_or(0, |dimension| dimension + 1)..].iter().product()
    }

    /// The values that the streams have of this state, its `number`th, as one tensor.
    fn gather(&self, jobs: &[Box<StreamJob>], number: usize) -> ort::Result<DynValue> {
        let values = jobs
            .iter()
            .map(|job| Ok(job.states[number].try_extract_tensor::<f32>()?.1))
            .collect::<ort::Result<Vec<_>>>()?;
        let (length, size) = (self.run_length(), self.shape.iter().product::<usize>());
        let mut all = Vec::with_capacity(jobs.len() * size);
        for at in (0..size).step_by(length) {
            for values in &values {
                all.extend_from_slice(&values[at..at + length]);
            }
        }
        let mut shape = self.shape.clone();
        if let Some(dimension) = self.streams {
            shape[dimension] = jobs.len();
        }
        Ok(Tensor::from_array((shape, all))?.into_dyn())
    }

    /// Hands the values of such a tensor back to their streams.
    fn scatter(&self, all: &[f32], jobs: &mut [Box<StreamJob>], number: usize) -> ort::Result<()> {
        let (length, streams) = (self.run_length(), jobs.len());
        for (stream, job) in jobs.iter_mut().enumerate() {
            let (_, values) = job.states[number].try_extract_tensor_mut::<f32>()?;
            let run_options = all.chunks_exact(length).skip(stream).step_by(streams);
            for (own, run) in values.chunks_exact_mut(length).zip(run_options) {
                own.copy_from_slice(run);
            }
        }
        Ok(())
    }
}

impl Separator for StreamingSeparator {
    fn reset(&mut self) {
        let Some(job) = &mut self.job else { return };
        for (state, value) in self.states.iter().zip(&mut job.states) {
            if let Ok(silence) = zero_state(&state.shape) {
                *value = silence;
            }
        }
    }

    fn fork(&self) -> Result<Box<dyn Separator>, String> {
        let job = self.job.as_ref().ok_or(CANCELLED)?;
        let copies = self.states.iter().zip(&job.states).map(|(state, value)| {
            let (_, values) = value.try_extract_tensor::<f32>()?;
            Ok(Tensor::from_array((state.shape.clone(), values.to_vec()))?.into_dyn())
        });
        let states = copies.collect::<ort::Result<_>>().map_err(|error| error.to_string())?;
        let job = StreamJob {
            magnitude: Vec::new(),
            embedding: Vec::new(),
            states,
            mask: job.mask.clone(),
            result: Ok(None),
            run_options: job.run_options.clone(),
        };
        Ok(Box::new(Self {
            network: self.network.clone(),
            states: self.states.clone(),
            has_batch_axis: self.has_batch_axis,
            job: Some(Box::new(job)),
        }))
    }

    fn run(
        &mut self,
        magnitude: &[f32],
        embedding: &[f32],
        mask: &mut [Complex32],
    ) -> Result<Option<f32>, String> {
        self.with_job((magnitude, embedding), mask, |own, job| {
            let mut jobs = [job];
            own.infer(&mut *own.network.sessions.acquire()?, &mut jobs);
            let [job] = jobs;
            Ok(job)
        })
    }

    fn run_batched(
        &mut self,
        magnitude: &[f32],
        embedding: &[f32],
        mask: &mut [Complex32],
    ) -> Result<Option<f32>, String> {
        if !self.has_batch_axis {
            return self.run(magnitude, embedding, mask);
        }
        self.with_job((magnitude, embedding), mask, |own, job| {
            own.network.sessions.submit(job, MAX_BATCH, |session, jobs| own.infer(session, jobs))
        })
    }
}

fn zero_state(shape: &[usize]) -> Result<DynValue, String> {
    let values = vec![0.0_f32; shape.iter().product()];
    Tensor::from_array((shape.to_vec(), values))
        .map(|tensor| tensor.into_dyn())
        .map_err(|error| error.to_string())
}

/// The shape of one stream's state, whose dimension `streams` is left open.
fn fixed_shape(name: &str, shape: &[i64], streams: Option<usize>) -> Result<Vec<usize>, String> {
    shape
        .iter()
        .enumerate()
        .map(|(dimension, &length)| match usize::try_from(length) {
            _ if streams == Some(dimension) => Ok(1),
            Ok(length) if (1..=MAX_STATE_VALUES).contains(&length) => Ok(length),
            _ => Err(format!(
                "`{name}` has the shape {shape:?}, and a state's must be fixed, of at most {MAX_STATE_VALUES} values"
            )),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inference::library;
    use crate::package::PackageInfo;

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
        let model = LoadedModel::new(PackageInfo::built_in().load().unwrap());
        let new = || {
            StreamingSeparator::new(environment, &model, &ProviderChoice::default(), &CancelToken::default())
                .unwrap()
                .0
        };
        let mut alone: Vec<_> = (0..3).map(|_| new()).collect();
        let mut together: Vec<_> = (0..3).map(|_| new()).collect();
        assert!(together.iter().all(|separator| separator.has_batch_axis));
        let mut mask = vec![Complex32::ZERO; model.package.manifest.audio.bins()];
        for hop in 0..HOPS {
            let mut jobs = Vec::new();
            for (stream, separator) in together.iter_mut().enumerate() {
                let mut job = separator.job.take().unwrap();
                (job.magnitude, job.embedding) = inputs(separator, stream, hop);
                jobs.push(job);
            }
            {
                let mut session = together[1].network.sessions.acquire().unwrap();
                together[1].infer_batch(&mut session, &mut jobs).unwrap();
            }
            for (stream, job) in jobs.into_iter().enumerate() {
                let (magnitude, embedding) = inputs(&alone[stream], stream, hop);
                let presence = alone[stream].run(&magnitude, &embedding, &mut mask).unwrap().unwrap();
                let difference = |(a, b): (&Complex32, &Complex32)| (a - b).norm();
                let largest = mask.iter().zip(&job.mask).map(difference).fold(0.0, f32::max);
                assert!(largest < 1e-4, "stream {stream}, hop {hop}: masks differ by {largest}");
                let other = job.result.clone().unwrap().unwrap();
                assert!((presence - other).abs() < 1e-4, "{presence} and {other}");
                together[stream].job = Some(job);
            }
        }
    }

    #[test]
    fn a_fork_has_heard_what_its_origin_has_and_goes_its_own_way_from_there() {
        let environment = library::environment().unwrap();
        let model = LoadedModel::new(PackageInfo::built_in().load().unwrap());
        let (mut origin, _) =
            StreamingSeparator::new(environment, &model, &ProviderChoice::default(), &CancelToken::default())
                .unwrap();
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
