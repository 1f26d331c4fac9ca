//! The streaming kind of network: one hop at a time, its state passed from run to run.

use ort::environment::Environment;
use ort::value::{DynValue, Outlet, Tensor};
use realfft::num_complex::Complex32;

use crate::package::{Package, PackageError};
use crate::pool::Share;
use crate::provider::{Choice, Placement};
use crate::runtime::Session;
use crate::separator::Separator;
use crate::separator::network::{self, Network, matches_shape, tensor};
use crate::stop::Stop;

/// Values that all the states of a network may have together.
const STATE_LIMIT: usize = 1 << 24;

/// One `state_*` input, fed from the `next_state_*` output of the run before.
struct State {
    input: String,
    output: String,
    shape: Vec<usize>,
    value: DynValue,
}

/// A package's streaming network.
pub struct StreamingSeparator {
    network: Network,
    states: Vec<State>,
}

impl StreamingSeparator {
    /// Loads the network of `package`, checks its inputs and outputs against the contract, and
    /// runs it once; where `choice` says, if it can be, and until it is stopped.
    pub fn new(
        environment: &Environment,
        package: &Package,
        choice: &Choice,
        stop: &Stop,
    ) -> Result<(Self, Placement), PackageError> {
        network::open(environment, package, choice, stop, |sessions| {
            let separator = Self::checked(sessions, package.manifest.audio.bins())?;
            let embedding = separator.embedding_size();
            Ok((separator, embedding))
        })
    }

    /// Values of the embedding that [`run`](Separator::run) takes.
    pub fn embedding_size(&self) -> usize {
        self.network.layout.embedding
    }

    fn checked(sessions: Share<Session>, bins: usize) -> Result<Self, String> {
        let network = Network::checked(sessions, 1, bins, |name| name.starts_with("state_"))?;
        let session = network.sessions.lend()?;
        let mut states = Vec::new();
        let mut values = 0;
        for input in session.inputs().iter().map(Outlet::name).filter(|name| name.starts_with("state_")) {
            let output = format!("next_{input}");
            let shape = fixed(input, &tensor(session.inputs(), "input", input)?)?;
            matches_shape(&output, &tensor(session.outputs(), "output", &output)?, &shape)?;
            values += shape.iter().product::<usize>();
            if values > STATE_LIMIT {
                return Err(format!("`{input}` makes the state larger than {STATE_LIMIT} values"));
            }
            states.push(State { input: input.to_owned(), output, value: zeros(&shape)?, shape });
        }
        drop(session);
        Ok(Self { network, states })
    }

    /// One run. Split from the trait's method so that every fault takes one path.
    fn infer(
        &mut self,
        magnitude: &[f32],
        embedding: &[f32],
        mask: &mut [Complex32],
    ) -> ort::Result<Option<f32>> {
        let layout = self.network.layout;
        let mut inputs = layout.inputs(magnitude, embedding)?;
        inputs.extend(self.states.iter().map(|state| (state.input.as_str(), (&state.value).into())));
        let mut session = self.network.sessions.lend().map_err(ort::Error::new)?;
        let mut outputs = session.run(inputs, &self.network.runs)?;
        layout.mask(&outputs, 0, mask)?;
        let presence = layout.presence(&outputs, 0)?;
        for state in &mut self.states {
            state.value = outputs.remove(&state.output).expect("checked when the network was loaded");
        }
        Ok(presence)
    }
}

impl Separator for StreamingSeparator {
    fn reset(&mut self) {
        for state in &mut self.states {
            if let Ok(value) = zeros(&state.shape) {
                state.value = value;
            }
        }
    }

    fn run(
        &mut self,
        magnitude: &[f32],
        embedding: &[f32],
        mask: &mut [Complex32],
    ) -> Result<Option<f32>, String> {
        self.network.layout.check_embedding(embedding)?;
        self.infer(magnitude, embedding, mask).map_err(|error| error.to_string())
    }
}

fn zeros(shape: &[usize]) -> Result<DynValue, String> {
    let values = vec![0.0_f32; shape.iter().product()];
    Tensor::from_array((shape.to_vec(), values))
        .map(|tensor| tensor.into_dyn())
        .map_err(|error| error.to_string())
}

fn fixed(name: &str, shape: &[i64]) -> Result<Vec<usize>, String> {
    shape
        .iter()
        .map(|&length| match usize::try_from(length) {
            Ok(length) if (1..=STATE_LIMIT).contains(&length) => Ok(length),
            _ => Err(format!(
                "`{name}` has the shape {shape:?}, and a state's must be fixed, of at most {STATE_LIMIT} values"
            )),
        })
        .collect()
}
