//! Streaming network: one frame per run, with state tensors passed from run to run.
//!
//! One run can take a batch of several streams, which is cheaper than a run per stream.

use std::any::Any;
use std::sync::Arc;

use ort::environment::Environment;
use ort::value::{DynValue, Tensor};
use realfft::num_complex::Complex32;

use crate::inference::cancel::{CANCELLED, CancelToken};
use crate::inference::provider::{ActiveProvider, ProviderChoice};
use crate::inference::session::Session;
use crate::inference::tensors::{
    MAX_STATE_VALUES, Signature, check_output, check_shape, single_stream_shape, tensor_shape, zero_state,
};
use crate::package::PackageError;
use crate::separator::Separator;
use crate::separator::network::{self, LoadedModel, Network, NetworkSeparator, SessionHandle, StreamJob};

/// Most streams per batch. Larger batches save hardly any time and delay the first streams.
const MAX_BATCH: usize = 16;

/// A `state_*` input, fed from the `next_state_*` output of the previous run.
struct StateTensor {
    input: String,
    output: String,
    /// Shape for one stream.
    shape: Vec<usize>,
    /// Dynamic axis of the streams, if there is one.
    batch_axis: Option<usize>,
}

/// Separator of a streaming model.
pub struct StreamingSeparator {
    network: Network,
    states: Arc<[StateTensor]>,
    /// Whether one run can take jobs of several streams.
    has_batch_axis: bool,
    /// `None` while it is in a batch, and after a cancelled run.
    job: Option<Box<StreamJob>>,
}

impl StreamingSeparator {
    /// Loads the network of `model`, checks its tensors and runs it once on silence.
    ///
    /// It runs on the provider of `choice`, or on the CPU if this fails. `token` cancels the loading and all runs.
    ///
    /// # Errors
    /// Fails if the network is invalid, or the loading is cancelled or does not end in time.
    pub fn new(
        environment: &Environment,
        model: &LoadedModel,
        choice: &ProviderChoice,
        token: &CancelToken,
    ) -> Result<(Self, ActiveProvider), PackageError> {
        let bins = model.package.manifest.audio.bins();
        network::load_separator(environment, model, choice, token, |signature, sessions| {
            Self::create(signature, sessions, bins)
        })
    }

    /// Returns the length of the embedding that [`run`](Separator::run) takes.
    pub fn embedding_size(&self) -> usize {
        self.network.layout.embedding_size
    }

    /// Creates the separator after checking the state tensors.
    fn create(signature: &Signature, sessions: SessionHandle, bins: usize) -> Result<Self, String> {
        let network = Network::new(signature, sessions, 1, bins, |name| name.starts_with("state_"))?;
        let mut states = Vec::new();
        let mut values = 0;
        for (input, _) in signature.inputs.iter().filter(|(name, _)| name.starts_with("state_")) {
            let output = format!("next_{input}");
            let shape = tensor_shape(&signature.inputs, "input", input)?;
            let next_shape = tensor_shape(&signature.outputs, "output", &output)?;
            let batch_axis = match network.layout.has_batch_axis {
                true => shape.iter().position(|&length| length == -1),
                false => None,
            };
            let shape = single_stream_shape(input, &shape, batch_axis)?;
            check_shape(&output, &next_shape, &shape)?;
            values += shape.iter().product::<usize>();
            if values > MAX_STATE_VALUES {
                return Err(format!(
                    "the states up to `{input}` have {values} values; expected at most {MAX_STATE_VALUES}"
                ));
            }
            let batch_axis = batch_axis.filter(|&axis| next_shape[axis] == -1);
            states.push(StateTensor { input: input.to_owned(), output, shape, batch_axis });
        }
        let job = Box::new(StreamJob {
            magnitude: Vec::new(),
            embedding: Vec::new(),
            states: states.iter().map(|state| zero_state(&state.shape)).collect::<Result<_, _>>()?,
            mask: vec![Complex32::ZERO; bins],
            result: Ok(None),
            run_options: network.run_options.clone(),
        });
        let has_batch_axis =
            network.layout.has_batch_axis && states.iter().all(|state| state.batch_axis.is_some());
        Ok(Self { network, states: states.into(), has_batch_axis, job: Some(job) })
    }

    /// Fills the job with the inputs, runs it by `infer`, and returns its outputs.
    fn with_job(
        &mut self,
        (magnitude, embedding): (&[f32], &[f32]),
        mask: &mut [Complex32],
        infer: impl FnOnce(&Self, Box<StreamJob>) -> Result<Box<StreamJob>, String>,
    ) -> Result<Option<f32>, String> {
        let job = self.begin(magnitude, embedding)?;
        let job = infer(self, job)?;
        self.end(job, mask)
    }

    /// Fills the job with the inputs of a run.
    fn begin(&mut self, magnitude: &[f32], embedding: &[f32]) -> Result<Box<StreamJob>, String> {
        self.network.layout.check_embedding(embedding)?;
        let mut job = self.job.take().ok_or(CANCELLED)?;
        for (input, values) in [(&mut job.magnitude, magnitude), (&mut job.embedding, embedding)] {
            input.clear();
            input.extend_from_slice(values);
        }
        Ok(job)
    }

    /// Takes the outputs of a run.
    fn end(&mut self, mut job: Box<StreamJob>, mask: &mut [Complex32]) -> Result<Option<f32>, String> {
        mask.copy_from_slice(&job.mask);
        let result = std::mem::replace(&mut job.result, Ok(None));
        self.job = Some(job);
        result
    }

    /// Runs all jobs in one batch, or each by itself if there is only one or the batch fails.
    fn infer(&self, session: &mut Session, jobs: &mut [Box<StreamJob>]) {
        if jobs.len() > 1 && self.infer_batch(session, jobs).is_ok() {
            return;
        }
        // One job can make a batch fail, and each job can be cancelled by itself.
        for job in jobs {
            job.result = self.infer_one(session, job).map_err(|error| error.to_string());
        }
    }

    /// Runs one job and returns the presence.
    fn infer_one(&self, session: &mut Session, job: &mut StreamJob) -> ort::Result<Option<f32>> {
        let layout = self.network.layout;
        let mut inputs = layout.inputs(&job.magnitude, &job.embedding)?;
        let states = self.states.iter().zip(&job.states);
        inputs.extend(states.map(|(state, value)| (state.input.as_str(), value.into())));
        let mut outputs = session.run(inputs, &job.run_options)?;
        // All shapes before any state is replaced: after an error the job still has the state before the run.
        layout.check_outputs(&outputs, 1)?;
        for state in &*self.states {
            check_output(&outputs, &state.output, &state.shape)?;
        }
        layout.read_mask(&outputs, 0, 0, &mut job.mask)?;
        let presence = layout.read_presence(&outputs, 0, 0)?;
        for (state, value) in self.states.iter().zip(&mut job.states) {
            *value = outputs.remove(&state.output).expect("checked when the network was loaded");
        }
        Ok(presence)
    }

    /// Runs the jobs of several streams in one batch.
    fn infer_batch(&self, session: &mut Session, jobs: &mut [Box<StreamJob>]) -> ort::Result<()> {
        let layout = self.network.layout;
        let magnitudes = jobs.iter().flat_map(|job| &job.magnitude).copied().collect::<Vec<f32>>();
        let embeddings = jobs.iter().flat_map(|job| &job.embedding).copied().collect::<Vec<f32>>();
        let mut inputs = layout.inputs(&magnitudes, &embeddings)?;
        for (number, state) in self.states.iter().enumerate() {
            inputs.push((state.input.as_str(), state.gather(jobs, number)?.into()));
        }
        let outputs = session.run(inputs, &self.network.run_options)?;
        layout.check_outputs(&outputs, jobs.len())?;
        for state in &*self.states {
            check_output(&outputs, &state.output, &state.batch_shape(jobs.len()))?;
        }
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
    /// Returns the number of contiguous values of one stream: the product of the axes after the batch axis.
    fn chunk_length(&self) -> usize {
        self.shape[self.batch_axis.map_or(0, |axis| axis + 1)..].iter().product()
    }

    /// Returns the shape for a batch of `streams`.
    fn batch_shape(&self, streams: usize) -> Vec<usize> {
        let mut shape = self.shape.clone();
        if let Some(axis) = self.batch_axis {
            shape[axis] = streams;
        }
        shape
    }

    /// Returns this state, state `number`, of all streams as one tensor.
    fn gather(&self, jobs: &[Box<StreamJob>], number: usize) -> ort::Result<DynValue> {
        let values = jobs
            .iter()
            .map(|job| Ok(job.states[number].try_extract_tensor::<f32>()?.1))
            .collect::<ort::Result<Vec<_>>>()?;
        let (length, size) = (self.chunk_length(), self.shape.iter().product::<usize>());
        let mut all = Vec::with_capacity(jobs.len() * size);
        for start in (0..size).step_by(length) {
            for values in &values {
                all.extend_from_slice(&values[start..start + length]);
            }
        }
        Ok(Tensor::from_array((self.batch_shape(jobs.len()), all))?.into_dyn())
    }

    /// Copies this state, state `number`, of a batch back to its streams.
    fn scatter(&self, all: &[f32], jobs: &mut [Box<StreamJob>], number: usize) -> ort::Result<()> {
        let (length, streams) = (self.chunk_length(), jobs.len());
        for (stream, job) in jobs.iter_mut().enumerate() {
            let (_, values) = job.states[number].try_extract_tensor_mut::<f32>()?;
            let chunks = all.chunks_exact(length).skip(stream).step_by(streams);
            for (target, chunk) in values.chunks_exact_mut(length).zip(chunks) {
                target.copy_from_slice(chunk);
            }
        }
        Ok(())
    }
}

/// A stream to run on a frame: its separator, its embedding, and the mask to fill in.
pub struct StreamRun<'a> {
    pub separator: &'a mut dyn Separator,
    pub embedding: &'a [f32],
    pub mask: &'a mut [Complex32],
    /// Result of the run: the presence, if the separator estimates it.
    pub presence: Option<f32>,
}

/// Runs all `streams` on the frame `magnitude`: in one batch if they are streams of one network that can, else one by one.
///
/// `is_batched` lets waiting frames of other instances into the batch, as [`Separator::run_batched`] does. Without it, the
/// results depend on nothing else.
///
/// # Errors
/// Fails if a run fails or is cancelled; the masks are then invalid.
pub fn run_together(
    magnitude: &[f32],
    streams: &mut [StreamRun<'_>],
    is_batched: bool,
) -> Result<(), String> {
    let can_batch = |stream: &mut StreamRun<'_>| {
        let separator = stream.separator.as_any().downcast_ref::<StreamingSeparator>();
        separator.is_some_and(|separator| separator.has_batch_axis)
    };
    if streams.len() < 2 || !streams.iter_mut().all(can_batch) {
        for StreamRun { separator, embedding, mask, presence } in streams {
            *presence = match is_batched {
                true => separator.run_batched(magnitude, embedding, mask)?,
                false => separator.run(magnitude, embedding, mask)?,
            };
        }
        return Ok(());
    }
    let mut jobs = Vec::with_capacity(streams.len());
    for stream in &mut *streams {
        jobs.push(downcast(stream.separator).begin(magnitude, stream.embedding)?);
    }
    let first = downcast(streams[0].separator);
    if is_batched {
        jobs = first.network.sessions.submit(jobs, MAX_BATCH, |session, jobs| first.infer(session, jobs))?;
    } else {
        first.infer(&mut *first.network.sessions.acquire()?, &mut jobs);
    }
    for (stream, job) in streams.iter_mut().zip(jobs) {
        let StreamRun { separator, mask, presence, .. } = stream;
        *presence = downcast(*separator).end(job, mask)?;
    }
    Ok(())
}

fn downcast(separator: &mut dyn Separator) -> &mut StreamingSeparator {
    separator.as_any().downcast_mut().expect("checked before the streams run together")
}

impl Separator for StreamingSeparator {
    fn as_any(&mut self) -> &mut dyn Any {
        self
    }

    fn reset(&mut self) {
        let Some(job) = &mut self.job else { return };
        for (state, value) in self.states.iter().zip(&mut job.states) {
            if let Ok(zeros) = zero_state(&state.shape) {
                *value = zeros;
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
        let sessions = self.network.sessions.clone();
        self.run_on(&mut *sessions.acquire()?, magnitude, embedding, mask)
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
        self.with_job((magnitude, embedding), mask, |this, job| {
            let run = |session: &mut Session, jobs: &mut [Box<StreamJob>]| this.infer(session, jobs);
            let mut jobs = this.network.sessions.submit([job], MAX_BATCH, run)?;
            jobs.pop().ok_or_else(|| CANCELLED.into())
        })
    }
}

impl NetworkSeparator for StreamingSeparator {
    fn network(&self) -> &Network {
        &self.network
    }

    fn run_on(
        &mut self,
        session: &mut Session,
        magnitude: &[f32],
        embedding: &[f32],
        mask: &mut [Complex32],
    ) -> Result<Option<f32>, String> {
        self.with_job((magnitude, embedding), mask, |this, job| {
            let mut jobs = [job];
            this.infer(session, &mut jobs);
            let [job] = jobs;
            Ok(job)
        })
    }
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};
    use std::time::Duration;
    use std::{fs, thread};

    use super::*;
    use crate::inference::library;
    use crate::inference::session::LoadTurn;
    use crate::package::{Package, PackageInfo};
    use crate::query::encoder::QueryEncoder;

    const HOPS: usize = 20;

    /// Returns a magnitude, different for every stream and hop, and an embedding, different for every stream.
    fn inputs(separator: &StreamingSeparator, stream: usize, hop: usize) -> (Vec<f32>, Vec<f32>) {
        let wave = |at: usize, step: f32| 1.0 + ((at + 7 * stream + 3 * hop) as f32 * step).sin();
        let bins = separator.network.layout.bins;
        let magnitude = (0..bins).map(|bin| 10.0 * wave(bin, 0.1)).collect();
        let embedding = (0..separator.embedding_size()).map(|at| wave(at + 7 * stream, 0.3)).collect();
        (magnitude, embedding)
    }

    #[test]
    fn batched_streams_get_the_masks_of_single_runs() {
        let environment = library::environment().unwrap();
        let model = LoadedModel::new(PackageInfo::built_in().load().unwrap());
        let new = || {
            StreamingSeparator::new(environment, &model, &ProviderChoice::default(), &CancelToken::default())
                .unwrap()
                .0
        };
        let mut single: Vec<_> = (0..3).map(|_| new()).collect();
        let mut batched: Vec<_> = (0..3).map(|_| new()).collect();
        assert!(batched.iter().all(|separator| separator.has_batch_axis));
        let mut mask = vec![Complex32::ZERO; model.package.manifest.audio.bins()];
        for hop in 0..HOPS {
            let mut jobs = Vec::new();
            for (stream, separator) in batched.iter_mut().enumerate() {
                let mut job = separator.job.take().unwrap();
                (job.magnitude, job.embedding) = inputs(separator, stream, hop);
                jobs.push(job);
            }
            {
                let mut session = batched[1].network.sessions.acquire().unwrap();
                batched[1].infer_batch(&mut session, &mut jobs).unwrap();
            }
            for (stream, job) in jobs.into_iter().enumerate() {
                let (magnitude, embedding) = inputs(&single[stream], stream, hop);
                let presence = single[stream].run(&magnitude, &embedding, &mut mask).unwrap().unwrap();
                let difference = |(a, b): (&Complex32, &Complex32)| (a - b).norm();
                let largest = mask.iter().zip(&job.mask).map(difference).fold(0.0, f32::max);
                assert!(largest < 1e-4, "stream {stream}, hop {hop}: masks differ by {largest}");
                let other = job.result.clone().unwrap().unwrap();
                assert!((presence - other).abs() < 1e-4, "{presence} and {other}");
                batched[stream].job = Some(job);
            }
        }
    }

    #[test]
    fn fork_copies_the_state_and_then_is_independent() {
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
            // With another query the fork's state differs after the first hop.
            let fork_embedding = if hop == HOPS { &embedding } else { &other };
            origin.run(&magnitude, &embedding, &mut masks[0]).unwrap();
            fork.run(&magnitude, fork_embedding, &mut masks[1]).unwrap();
            assert_eq!(masks[0] == masks[1], hop == HOPS, "hop {hop}");
        }
    }

    fn packages() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/packages")
    }

    fn identity() -> Package {
        PackageInfo::read(&packages().join("identity")).unwrap().load().unwrap()
    }

    /// Returns the model of the package `identity` with the separator of a hostile one.
    fn hostile_model(kind: &str) -> LoadedModel {
        let network = packages().join("hostile").join(kind).with_extension("onnx");
        LoadedModel::new(Package { separator: fs::read(network).unwrap().into(), ..identity() })
    }

    fn load(model: &LoadedModel, token: &CancelToken) -> Result<StreamingSeparator, PackageError> {
        let environment = library::environment().unwrap();
        StreamingSeparator::new(environment, model, &ProviderChoice::default(), token)
            .map(|(loaded, _)| loaded)
    }

    #[test]
    fn output_of_another_shape_fails_its_stream_only() {
        let model = hostile_model("short-state");
        let mut streams = [(); 2].map(|()| load(&model, &CancelToken::default()).unwrap());
        assert!(streams.iter().all(|separator| separator.has_batch_axis));
        let bins = model.package.manifest.audio.bins();
        // The state is empty after a loud frame.
        let (quiet, loud) = (vec![1.0; bins], vec![100.0; bins]);
        let embedding = vec![0.0; streams[0].embedding_size()];
        let mut mask = vec![Complex32::ZERO; bins];
        let error = streams[0].run(&loud, &embedding, &mut mask).unwrap_err();
        assert!(error.contains("`next_state_0` of shape [1, 0]; expected [1, 2]"), "{error}");
        assert_eq!(streams[0].run(&quiet, &embedding, &mut mask), Ok(None), "the state before is kept");

        let mut jobs: Vec<_> = streams.iter_mut().map(|stream| stream.job.take().unwrap()).collect();
        for (job, magnitude) in jobs.iter_mut().zip([&quiet, &loud]) {
            (job.magnitude, job.embedding) = (magnitude.clone(), embedding.clone());
        }
        let mut session = streams[0].network.sessions.acquire().unwrap();
        for _ in 0..2 {
            streams[0].infer(&mut session, &mut jobs);
            assert!(jobs[0].result.is_ok() && jobs[1].result.is_err());
        }
    }

    #[test]
    fn loads_of_other_packages_use_up_no_time() {
        const TIMEOUT: Duration = Duration::from_millis(500);
        let token = CancelToken::new(TIMEOUT);
        let other_load = LoadTurn::wait(true, &token).unwrap();
        thread::scope(|scope| {
            let separator = scope.spawn(|| load(&LoadedModel::new(identity()), &token).map(drop));
            let environment = library::environment().unwrap();
            let encoder =
                scope.spawn(|| QueryEncoder::new(environment, &identity(), token.clone()).map(drop));
            thread::sleep(2 * TIMEOUT);
            drop(other_load);
            separator.join().unwrap().unwrap();
            encoder.join().unwrap().unwrap();
        });
    }

    #[test]
    fn loading_does_not_wait_for_a_session_in_use() {
        let model = LoadedModel::new(PackageInfo::built_in().load().unwrap());
        let token = CancelToken::default();
        let first = load(&model, &token).unwrap();
        // Until the pool makes no further session.
        let cores = thread::available_parallelism().unwrap().get();
        let others: Vec<_> = (1..cores).map(|_| load(&model, &token).unwrap()).collect();
        let in_use: Vec<_> = (0..cores).map(|_| first.network.sessions.acquire().unwrap()).collect();
        let hasty = CancelToken::new(Duration::from_secs(10));
        assert!(load(&model, &hasty).is_ok());
        drop((in_use, others));
    }
}
