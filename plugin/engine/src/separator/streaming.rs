//! Streaming network: one frame per run, with state tensors passed from run to run.
//!
//! One run can take a batch of several streams, which is cheaper than a run per stream.

use std::any::Any;
use std::sync::Arc;

use ort::environment::Environment;
use ort::session::SessionOutputs;
use ort::value::DynValue;
use parking_lot::Mutex;
use realfft::num_complex::Complex32;

use crate::inference::cancel::{CANCELLED, CancelToken};
use crate::inference::provider::{ActiveProvider, ProviderChoice};
use crate::inference::session::Session;
use crate::inference::state_history::StateHistory;
use crate::inference::tensors::{
    MAX_STATE_VALUES, Signature, check_output, check_shape, single_stream_shape, tensor_shape, zero_state,
};
use crate::package::PackageError;
use crate::separator::Separator;
use crate::separator::network::{self, LoadedModel, Network, NetworkSeparator, SessionHandle, StreamJob};
use crate::separator::streaming::states::StateTensor;

pub mod group;
mod states;

/// Most jobs per batch. Larger batches save hardly any time and delay the first streams.
const MAX_BATCH: usize = 16;

/// Separator of a streaming model.
pub struct StreamingSeparator {
    network: Network,
    states: Arc<[StateTensor]>,
    /// Whether one run can take jobs of several streams.
    has_batch_axis: bool,
    stream: Stream,
    /// States after the last frames of silence.
    silent_states: StateHistory,
}

/// Where the state of a stream is.
enum Stream {
    /// In its own job.
    Alone(Box<StreamJob>),
    /// In the job of a group that runs together, at this place.
    Grouped(Arc<Group>, usize),
    /// Nowhere: it is in a batch, or its run was cancelled.
    Lost,
}

/// The job of streams that run together; `None` after a cancelled run.
type Group = Mutex<Option<Box<StreamJob>>>;

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
        let zeros = states.iter().map(|state| zero_state(&state.shape)).collect::<Result<_, _>>()?;
        let stream = Stream::Alone(new_job(&network, zeros, 1));
        let has_batch_axis =
            network.layout.has_batch_axis && states.iter().all(|state| state.batch_axis.is_some());
        Ok(Self {
            network,
            states: states.into(),
            has_batch_axis,
            stream,
            silent_states: StateHistory::default(),
        })
    }

    /// Fills the job of this stream alone, runs it by `infer`, and returns its outputs.
    fn with_job(
        &mut self,
        (magnitude, embedding): (&[f32], &[f32]),
        mask: &mut [Complex32],
        infer: impl FnOnce(&Self, Box<StreamJob>) -> Result<Box<StreamJob>, String>,
    ) -> Result<Option<f32>, String> {
        self.network.layout.check_embedding(embedding)?;
        let mut job = self.take_job()?;
        for (input, values) in [(&mut job.magnitude, magnitude), (&mut job.embedding, embedding)] {
            input.clear();
            input.extend_from_slice(values);
        }
        let mut job = infer(self, job)?;
        mask.copy_from_slice(&job.mask);
        let result = std::mem::replace(&mut job.result, Ok(()));
        let presence = job.presence[0];
        self.stream = Stream::Alone(job);
        result.map(|()| presence)
    }

    /// Takes the job of this stream alone, out of its group if it is in one.
    ///
    /// # Errors
    /// [`CANCELLED`] if a run was cancelled.
    fn take_job(&mut self) -> Result<Box<StreamJob>, String> {
        match std::mem::replace(&mut self.stream, Stream::Lost) {
            Stream::Alone(job) => Ok(job),
            Stream::Grouped(group, at) => {
                let group = group.lock();
                let job = group.as_ref().ok_or(CANCELLED)?;
                let states = states::copy_stream(&self.states, job, at).map_err(|error| error.to_string())?;
                Ok(new_job(&self.network, states, 1))
            }
            Stream::Lost => Err(CANCELLED.into()),
        }
    }

    /// Copies the state of this stream to the history.
    fn push_silent_state(&mut self) -> ort::Result<()> {
        match &self.stream {
            Stream::Alone(job) => self.silent_states.push(&job.states),
            Stream::Grouped(group, at) => match &*group.lock() {
                Some(job) => self.silent_states.push(&states::copy_stream(&self.states, job, *at)?),
                None => Ok(()),
            },
            Stream::Lost => Ok(()),
        }
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

    /// Runs one job.
    fn infer_one(&self, session: &mut Session, job: &mut StreamJob) -> ort::Result<()> {
        let layout = self.network.layout;
        let streams = job.streams();
        let mut inputs = layout.inputs(&job.magnitude, &job.embedding)?;
        let states = self.states.iter().zip(&job.states);
        inputs.extend(states.map(|(state, value)| (state.input.as_str(), value.into())));
        let run_options = job.run_options.clone();
        let mut outputs = session.run(inputs, &run_options)?;
        // All shapes before any state is replaced: after an error the job still has the state before the run.
        layout.check_outputs(&outputs, streams)?;
        for state in &*self.states {
            check_output(&outputs, &state.output, &state.batch_shape(streams))?;
        }
        self.read_outputs(&outputs, 0, job)?;
        for (state, value) in self.states.iter().zip(&mut job.states) {
            *value = outputs.remove(&state.output).expect("checked when the network was loaded");
        }
        Ok(())
    }

    /// Runs all jobs in one batch.
    fn infer_batch(&self, session: &mut Session, jobs: &mut [Box<StreamJob>]) -> ort::Result<()> {
        let layout = self.network.layout;
        let streams = jobs.iter().map(|job| job.streams()).sum();
        let magnitudes = jobs.iter().flat_map(|job| &job.magnitude).copied().collect::<Vec<f32>>();
        let embeddings = jobs.iter().flat_map(|job| &job.embedding).copied().collect::<Vec<f32>>();
        let mut inputs = layout.inputs(&magnitudes, &embeddings)?;
        for (number, state) in self.states.iter().enumerate() {
            inputs.push((state.input.as_str(), state.gather(jobs, number)?.into()));
        }
        let outputs = session.run(inputs, &self.network.run_options)?;
        layout.check_outputs(&outputs, streams)?;
        for state in &*self.states {
            check_output(&outputs, &state.output, &state.batch_shape(streams))?;
        }
        for (number, state) in self.states.iter().enumerate() {
            state.scatter(outputs[state.output.as_str()].try_extract_tensor()?.1, jobs, number)?;
        }
        let mut first = 0;
        for job in jobs {
            self.read_outputs(&outputs, first, job)?;
            first += job.streams();
        }
        Ok(())
    }

    /// Reads masks and presences of the streams of `job`, which begin at stream `first` of the outputs.
    fn read_outputs(
        &self,
        outputs: &SessionOutputs<'_>,
        first: usize,
        job: &mut StreamJob,
    ) -> ort::Result<()> {
        let layout = self.network.layout;
        for (stream, mask) in job.mask.chunks_exact_mut(layout.bins).enumerate() {
            layout.read_mask(outputs, first + stream, 0, mask)?;
            job.presence[stream] = layout.read_presence(outputs, first + stream, 0)?;
        }
        job.result = Ok(());
        Ok(())
    }
}

/// Returns the job of as many streams, with these states.
fn new_job(network: &Network, states: Vec<DynValue>, streams: usize) -> Box<StreamJob> {
    Box::new(StreamJob {
        magnitude: Vec::new(),
        embedding: Vec::new(),
        states,
        mask: vec![Complex32::ZERO; streams * network.layout.bins],
        presence: vec![None; streams],
        result: Ok(()),
        run_options: network.run_options.clone(),
    })
}

impl Separator for StreamingSeparator {
    fn as_any(&mut self) -> &mut dyn Any {
        self
    }

    fn reset(&mut self) {
        self.silent_states.clear();
        if matches!(self.stream, Stream::Lost) {
            return;
        }
        let zeros = self.states.iter().map(|state| zero_state(&state.shape)).collect::<Result<_, _>>();
        if let Ok(zeros) = zeros {
            self.stream = Stream::Alone(new_job(&self.network, zeros, 1));
        }
    }

    fn fork(&self) -> Result<Box<dyn Separator>, String> {
        let copy = |job: &StreamJob, at: usize| {
            let states = states::copy_stream(&self.states, job, at).map_err(|error| error.to_string())?;
            Ok::<_, String>(Stream::Alone(new_job(&self.network, states, 1)))
        };
        let stream = match &self.stream {
            Stream::Alone(job) => copy(job, 0)?,
            Stream::Grouped(group, at) => copy(group.lock().as_ref().ok_or(CANCELLED)?, *at)?,
            Stream::Lost => return Err(CANCELLED.into()),
        };
        Ok(Box::new(Self {
            network: self.network.clone(),
            states: self.states.clone(),
            has_batch_axis: self.has_batch_axis,
            stream,
            silent_states: StateHistory::default(),
        }))
    }

    fn note_silence(&mut self) {
        if self.push_silent_state().is_err() {
            self.silent_states.clear();
        }
    }

    fn skip_silence(&mut self, hops: u32) {
        if let Ok(mut job) = self.take_job() {
            // An error leaves the state as it was before the skipped frames.
            let _ = self.silent_states.extrapolate(&mut job.states, hops as f32);
            self.stream = Stream::Alone(job);
        }
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
                let mut job = separator.take_job().unwrap();
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
                let other = job.presence[0].unwrap();
                assert!((presence - other).abs() < 1e-4, "{presence} and {other}");
                batched[stream].stream = Stream::Alone(job);
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

        let mut jobs: Vec<_> = streams.iter_mut().map(|stream| stream.take_job().unwrap()).collect();
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
