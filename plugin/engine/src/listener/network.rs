//! Listener network: from the newest frames to the probability of each concept, with state tensors passed from run to run.

use std::sync::Arc;

use ort::environment::Environment;
use ort::session::RunOptions;
use ort::value::{DynValue, TensorRef};

use crate::inference::batching_pool::{BatchingPool, PoolHandle};
use crate::inference::cancel::{CANCELLED, CancelToken, with_timeout};
use crate::inference::provider::Provider;
use crate::inference::session::{LoadTurn, Session};
use crate::inference::state_history::StateHistory;
use crate::inference::tensors::{
    MAX_STATE_VALUES, Signature, check_output, check_shape, single_stream_shape, tensor_shape, zero_state,
};

/// Recognises sounds in the frames of one stream; implemented by a network and by test fakes.
pub trait Listener {
    /// Resets the state: the next frame begins a new stream.
    fn reset(&mut self);

    /// Takes the newest frame and returns the probability that each concept sounded in the last second.
    ///
    /// `magnitude` has `F` linear values on the model's grid. The result has a value from 0 to 1 per concept, of the newest
    /// run of the network; zeros before the first run of a stream.
    ///
    /// # Errors
    /// Fails if a run fails or is cancelled.
    fn hear(&mut self, magnitude: &[f32]) -> Result<&[f32], String>;

    /// Takes `frames` frames of silence, which may be many: the state is that after them, exactly or nearly.
    ///
    /// # Errors
    /// Fails if a run fails or is cancelled.
    fn skip_silence(&mut self, frames: usize) -> Result<(), String>;
}

/// Runs on silence before the states after many more are extrapolated.
const SILENT_RUNS: usize = 4;

/// Sessions of a listener network, shared by all instances.
pub type ListenerPool = BatchingPool<Session>;

/// A `state_*` input, fed from the `next_state_*` output of the previous run.
struct StateTensor {
    input: String,
    output: String,
    shape: Vec<usize>,
}

/// Listener that runs a network every few frames.
pub struct NetworkListener {
    sessions: PoolHandle<Session>,
    run_options: Arc<RunOptions>,
    states: Vec<StateTensor>,
    values: Vec<DynValue>,
    /// Frames per run.
    frames: usize,
    bins: usize,
    /// Magnitudes since the last run, one frame after another.
    pending: Vec<f32>,
    heard: Vec<f32>,
}

/// The network of a listener, and the shapes that its package states.
pub struct ListenerSource<'a> {
    /// ONNX.
    pub network: &'a [u8],
    /// Whether limits apply to the network.
    pub is_untrusted: bool,
    /// Frames per run.
    pub frames: usize,
    /// Values per frame.
    pub bins: usize,
    /// Number of concepts.
    pub concepts: usize,
}

impl NetworkListener {
    /// Loads the network, checks its tensors and runs it once on silence. `token` cancels the loading and all runs.
    ///
    /// # Errors
    /// If the network is invalid, gives other values than probabilities, or the loading is cancelled or does not end in
    /// time.
    pub fn load(
        environment: &Environment,
        source: &ListenerSource<'_>,
        pool: &Arc<ListenerPool>,
        token: &CancelToken,
    ) -> Result<Self, String> {
        let open = |turn, attempt: &CancelToken| {
            Session::new(environment, source.network, turn, Provider::Cpu, attempt)
                .map_err(|error| error.to_string())
        };
        let sessions = pool.attach(token, || {
            let turn = LoadTurn::wait(source.is_untrusted, token)?;
            with_timeout(token, |attempt| open(turn, attempt)).flatten()
        })?;
        let signature = Signature::new(&*sessions.acquire()?);
        let mut listener = Self::create(&signature, sessions, source)?;
        with_timeout(token, |_| listener.test_on_silence()).flatten()?;
        Ok(listener)
    }

    fn create(
        signature: &Signature,
        sessions: PoolHandle<Session>,
        source: &ListenerSource<'_>,
    ) -> Result<Self, String> {
        let &ListenerSource { frames, bins, concepts, .. } = source;
        let Signature { inputs, outputs } = signature;
        check_shape("magnitude", &tensor_shape(inputs, "input", "magnitude")?, &[1, frames, bins])?;
        check_shape("heard", &tensor_shape(outputs, "output", "heard")?, &[1, concepts])?;
        let mut states = Vec::new();
        for (input, _) in inputs.iter().filter(|(name, _)| name != "magnitude") {
            if !input.starts_with("state_") {
                return Err(format!("has an unknown input `{input}`; expected `magnitude` and `state_*`"));
            }
            let output = format!("next_{input}");
            let shape = tensor_shape(inputs, "input", input)?;
            let batch_axis = shape.iter().position(|&length| length == -1);
            let shape = single_stream_shape(input, &shape, batch_axis)?;
            check_shape(&output, &tensor_shape(outputs, "output", &output)?, &shape)?;
            states.push(StateTensor { input: input.clone(), output, shape });
        }
        let values: usize = states.iter().map(|state| state.shape.iter().product::<usize>()).sum();
        if values > MAX_STATE_VALUES {
            return Err(format!("its states have {values} values; expected at most {MAX_STATE_VALUES}"));
        }
        let run_options = sessions.token().run_options().map_err(|error| error.to_string())?;
        Ok(Self {
            sessions,
            run_options,
            values: states.iter().map(|state| zero_state(&state.shape)).collect::<Result<_, _>>()?,
            states,
            frames,
            bins,
            pending: Vec::with_capacity(frames * bins),
            heard: vec![0.0; concepts],
        })
    }

    fn test_on_silence(&mut self) -> Result<(), String> {
        self.pending.resize(self.frames * self.bins, 0.0);
        self.infer()?;
        self.reset();
        Ok(())
    }

    /// Runs the network on the pending frames.
    fn infer(&mut self) -> Result<(), String> {
        let Self { sessions, run_options, states, values, heard, .. } = self;
        let run = || -> ort::Result<()> {
            let mut session = sessions.acquire().map_err(ort::Error::new)?;
            let magnitude = TensorRef::from_array_view(([1, self.frames, self.bins], &*self.pending))?;
            let mut inputs = ort::inputs!["magnitude" => magnitude];
            inputs.extend(
                states.iter().zip(&*values).map(|(state, value)| (state.input.as_str().into(), value.into())),
            );
            let mut outputs = session.run(inputs, run_options)?;
            check_output(&outputs, "heard", &[1, heard.len()])?;
            for state in &*states {
                check_output(&outputs, &state.output, &state.shape)?;
            }
            heard.copy_from_slice(outputs["heard"].try_extract_tensor::<f32>()?.1);
            for (state, value) in states.iter().zip(values) {
                *value = outputs.remove(&state.output).expect("checked when the network was loaded");
            }
            Ok(())
        };
        run().map_err(|error| error.to_string())?;
        self.pending.clear();
        match self.heard.iter().all(|probability| (0.0..=1.0).contains(probability)) {
            true => Ok(()),
            false => Err("`heard` has values outside of 0 to 1; expected probabilities".into()),
        }
    }
}

impl Listener for NetworkListener {
    fn reset(&mut self) {
        self.pending.clear();
        self.heard.fill(0.0);
        for (state, value) in self.states.iter().zip(&mut self.values) {
            if let Ok(zeros) = zero_state(&state.shape) {
                *value = zeros;
            }
        }
    }

    fn hear(&mut self, magnitude: &[f32]) -> Result<&[f32], String> {
        if self.sessions.token().is_cancelled() {
            return Err(CANCELLED.into());
        }
        self.pending.extend_from_slice(magnitude);
        if self.pending.len() >= self.frames * self.bins {
            self.infer()?;
        }
        Ok(&self.heard)
    }

    fn skip_silence(&mut self, frames: usize) -> Result<(), String> {
        let pending = self.pending.len() / self.bins + frames;
        let runs = pending / self.frames;
        let mut states = StateHistory::default();
        for _ in 0..runs.min(SILENT_RUNS) {
            self.pending.resize(self.frames * self.bins, 0.0);
            self.infer()?;
            states.push(&self.values).map_err(|error| error.to_string())?;
        }
        if runs > SILENT_RUNS {
            let more = (runs - SILENT_RUNS) as f32;
            states.extrapolate(&mut self.values, more).map_err(|error| error.to_string())?;
        }
        self.pending.resize(pending % self.frames * self.bins, 0.0);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inference::library;
    use crate::listener::concepts::ListenerConcepts;
    use crate::package::PackageInfo;

    /// Probabilities of the default model's listener after a second of sound, `silence`, and half a second of sound.
    fn heard_after(silence: impl FnOnce(&mut NetworkListener)) -> Vec<f32> {
        let package = PackageInfo::built_in().load().unwrap();
        let section = package.manifest.listener.as_ref().unwrap();
        let files = package.listener.as_ref().unwrap().as_ref().unwrap();
        let bins = package.manifest.audio.bins();
        let source = ListenerSource {
            network: &files.network,
            is_untrusted: false,
            frames: section.frames,
            bins,
            concepts: ListenerConcepts::parse(&files.concepts).unwrap().names().len(),
        };
        let (environment, token) = (library::environment().unwrap(), CancelToken::default());
        let mut listener = NetworkListener::load(environment, &source, &Arc::default(), &token).unwrap();
        let frame = |hop: usize| {
            (0..bins).map(move |bin| 1.0 + ((bin + 3 * hop) as f32 * 0.1).sin()).collect::<Vec<_>>()
        };
        for hop in 0..60 {
            listener.hear(&frame(hop)).unwrap();
        }
        silence(&mut listener);
        for hop in 0..32 {
            listener.hear(&frame(hop)).unwrap();
        }
        listener.heard
    }

    fn hear_silence(listener: &mut NetworkListener, frames: usize) {
        let silence = vec![0.0; listener.bins];
        for _ in 0..frames {
            listener.hear(&silence).unwrap();
        }
    }

    fn assert_near(a: &[f32], b: &[f32], tolerance: f32) {
        let difference = a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(difference <= tolerance, "{difference}");
    }

    #[test]
    fn skipped_short_silence_leaves_the_state_of_a_heard_one() {
        for frames in [1, 4, 25] {
            let skipped = heard_after(|listener| listener.skip_silence(frames).unwrap());
            assert_near(&skipped, &heard_after(|listener| hear_silence(listener, frames)), 0.0);
        }
    }

    #[test]
    fn mostly_skipped_long_silence_leaves_nearly_the_same_state() {
        let skipped = heard_after(|listener| {
            // As the audio thread does it: two seconds in full, and then eight frames after each eighth.
            hear_silence(listener, 125);
            let mut frames = 125;
            while frames < 2_000 {
                listener.skip_silence((frames / 8).min(1_992 - frames)).unwrap();
                hear_silence(listener, 8);
                frames = (frames + frames / 8).min(1_992) + 8;
            }
        });
        assert_near(&skipped, &heard_after(|listener| hear_silence(listener, 2_000)), 1e-3);
    }
}
