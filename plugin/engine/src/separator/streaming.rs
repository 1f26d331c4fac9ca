//! The streaming kind of network: one hop at a time, its state passed from run to run.

use ort::environment::Environment;
use ort::session::{Session, SessionInputValue};
use ort::value::{DynValue, Outlet, Tensor, TensorElementType, TensorRef, ValueType};
use realfft::num_complex::Complex32;

use crate::package::{Package, PackageError};
use crate::runtime;
use crate::separator::Separator;

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
    session: Session,
    states: Vec<State>,
    bins: usize,
    embedding: usize,
    /// 1: gain; 2: real and imaginary part of a complex gain.
    mask_channels: usize,
    tells_presence: bool,
}

impl StreamingSeparator {
    /// Loads the network of `package`, checks its inputs and outputs against the contract, and
    /// runs it once.
    pub fn new(environment: &Environment, package: &Package) -> Result<Self, PackageError> {
        let fault = |fault: &dyn std::fmt::Display| {
            let place = package.place(&package.manifest.separator.file);
            PackageError::new(place, fault, "Install the package again, or export it anew")
        };
        let session = runtime::session(environment, &package.separator).map_err(|error| fault(&error))?;
        let mut separator =
            Self::checked(session, package.manifest.audio.bins()).map_err(|error| fault(&error))?;
        separator.warm_up().map_err(|error| fault(&error))?;
        Ok(separator)
    }

    fn checked(session: Session, bins: usize) -> Result<Self, String> {
        let magnitude = tensor(session.inputs(), "input", "magnitude")?;
        matches_shape("magnitude", &magnitude, &[1, 1, bins])?;
        let embedding = tensor(session.inputs(), "input", "embedding")?;
        let &[_, width] = embedding.as_slice() else {
            return Err(format!("`embedding` has the shape {embedding:?}, not [1, E]"));
        };
        matches_shape("embedding", &embedding, &[1, usize::try_from(width).unwrap_or(0)])?;
        let mask = tensor(session.outputs(), "output", "mask")?;
        let mask_channels = match mask.get(1) {
            Some(2) => 2,
            _ => 1,
        };
        matches_shape("mask", &mask, &[1, mask_channels, 1, bins])?;

        let tells_presence = session.outputs().iter().any(|output| output.name() == "presence");
        if tells_presence {
            matches_shape("presence", &tensor(session.outputs(), "output", "presence")?, &[1, 1])?;
        }

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
        let known = |name: &str| name == "magnitude" || name == "embedding" || name.starts_with("state_");
        if let Some(input) = session.inputs().iter().find(|input| !known(input.name())) {
            return Err(format!("has an input `{}` that a streaming separator does not take", input.name()));
        }
        Ok(Self { session, states, bins, embedding: width as usize, mask_channels, tells_presence })
    }

    fn warm_up(&mut self) -> Result<(), String> {
        let mut mask = vec![Complex32::ZERO; self.bins];
        self.run(&vec![0.0; self.bins], &vec![0.0; self.embedding], &mut mask)?;
        self.reset();
        match mask.iter().all(|gain| gain.is_finite()) {
            true => Ok(()),
            false => Err("`mask` is not finite for silence".into()),
        }
    }

    /// One run. Split from the trait's method so that every fault takes one path.
    fn infer(
        &mut self,
        magnitude: &[f32],
        embedding: &[f32],
        mask: &mut [Complex32],
    ) -> ort::Result<Option<f32>> {
        let mut inputs: Vec<(&str, SessionInputValue<'_>)> = vec![
            ("magnitude", TensorRef::from_array_view(([1, 1, self.bins], magnitude))?.into()),
            ("embedding", TensorRef::from_array_view(([1, self.embedding], embedding))?.into()),
        ];
        inputs.extend(self.states.iter().map(|state| (state.input.as_str(), (&state.value).into())));
        let mut outputs = self.session.run(inputs)?;
        let (_, values) = outputs["mask"].try_extract_tensor::<f32>()?;
        match self.mask_channels {
            1 => mask.iter_mut().zip(values).for_each(|(gain, &value)| *gain = Complex32::new(value, 0.0)),
            _ => {
                let (real, imaginary) = values.split_at(self.bins);
                for ((gain, &re), &im) in mask.iter_mut().zip(real).zip(imaginary) {
                    *gain = Complex32::new(re, im);
                }
            }
        }
        let presence = match self.tells_presence {
            true => outputs["presence"].try_extract_tensor::<f32>()?.1.first().copied(),
            false => None,
        };
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
        if embedding.len() != self.embedding {
            return Err(format!(
                "the query network's `embedding` has {} values, the separator takes {}",
                embedding.len(),
                self.embedding
            ));
        }
        self.infer(magnitude, embedding, mask).map_err(|error| error.to_string())
    }
}

fn zeros(shape: &[usize]) -> Result<DynValue, String> {
    let values = vec![0.0_f32; shape.iter().product()];
    Tensor::from_array((shape.to_vec(), values))
        .map(|tensor| tensor.into_dyn())
        .map_err(|error| error.to_string())
}

/// The shape of the float tensor called `name`; −1 stands for a dimension left open.
fn tensor(outlets: &[Outlet], side: &str, name: &str) -> Result<Vec<i64>, String> {
    let outlet = outlets
        .iter()
        .find(|outlet| outlet.name() == name)
        .ok_or_else(|| format!("has no {side} `{name}`"))?;
    match outlet.dtype() {
        ValueType::Tensor { ty: TensorElementType::Float32, shape, .. } => {
            Ok(shape.iter().copied().collect())
        }
        other => Err(format!("{side} `{name}` is {other}, not a tensor of 32-bit floats")),
    }
}

fn matches_shape(name: &str, shape: &[i64], expected: &[usize]) -> Result<(), String> {
    let fits = |(&actual, &expected): (&i64, &usize)| actual == -1 || usize::try_from(actual) == Ok(expected);
    if shape.len() == expected.len() && shape.iter().zip(expected).all(fits) && !expected.contains(&0) {
        return Ok(());
    }
    Err(format!("`{name}` has the shape {shape:?}, not {expected:?}"))
}

fn fixed(name: &str, shape: &[i64]) -> Result<Vec<usize>, String> {
    shape
        .iter()
        .map(|&length| match usize::try_from(length) {
            Ok(length) if (1..=STATE_LIMIT).contains(&length) => Ok(length),
            _ => Err(format!("`{name}` has the shape {shape:?}, and a state's must be fixed")),
        })
        .collect()
}
