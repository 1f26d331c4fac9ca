//! Names, types and shapes of the tensors of a network.

use ort::session::SessionOutputs;
use ort::value::{DynValue, Outlet, Shape, Tensor, TensorElementType, ValueType};

use crate::inference::session::Session;

/// Most values of all state tensors of a network.
pub const MAX_STATE_VALUES: usize = 1 << 24;

/// Inputs and outputs of a network, with their types.
pub struct Signature {
    pub inputs: Vec<(String, ValueType)>,
    pub outputs: Vec<(String, ValueType)>,
}

impl Signature {
    pub fn new(session: &Session) -> Self {
        let types = |outlets: &[Outlet]| {
            outlets.iter().map(|outlet| (outlet.name().to_owned(), outlet.dtype().clone())).collect()
        };
        Self { inputs: types(session.inputs()), outputs: types(session.outputs()) }
    }
}

/// Returns the shape of the float tensor `name`; −1 means a dynamic axis.
///
/// `side` is "input" or "output", for messages.
///
/// # Errors
/// Fails if there is no such tensor, or it is not of 32-bit floats.
pub fn tensor_shape(tensors: &[(String, ValueType)], side: &str, name: &str) -> Result<Vec<i64>, String> {
    let (_, found) =
        tensors.iter().find(|(found, _)| found == name).ok_or_else(|| format!("has no {side} `{name}`"))?;
    match found {
        ValueType::Tensor { ty: TensorElementType::Float32, shape, .. } => {
            Ok(shape.iter().copied().collect())
        }
        other => Err(format!("{side} `{name}` is {other}; expected a tensor of 32-bit floats")),
    }
}

/// Checks a shape; dynamic axes match every length.
///
/// # Errors
/// Fails if the shapes differ, or an expected length is 0.
pub fn check_shape(name: &str, shape: &[i64], expected: &[usize]) -> Result<(), String> {
    let matches =
        |(&actual, &expected): (&i64, &usize)| actual == -1 || usize::try_from(actual) == Ok(expected);
    if shape.len() == expected.len() && shape.iter().zip(expected).all(matches) && !expected.contains(&0) {
        return Ok(());
    }
    Err(format!("`{name}` has shape {shape:?}; expected {expected:?}"))
}

/// Checks the shape of an output of a run.
///
/// # Errors
/// Fails if it is not `expected`.
pub fn check_output(outputs: &SessionOutputs<'_>, name: &str, expected: &[usize]) -> ort::Result<()> {
    let (shape, _) = outputs[name].try_extract_tensor::<f32>()?;
    match has_shape(shape, expected) {
        true => Ok(()),
        false => Err(ort::Error::new(format!(
            "a run gave `{name}` of shape {:?}; expected {expected:?}",
            &**shape
        ))),
    }
}

fn has_shape(shape: &Shape, expected: &[usize]) -> bool {
    shape.len() == expected.len()
        && shape.iter().zip(expected).all(|(&length, &expected)| usize::try_from(length) == Ok(expected))
}

/// Returns the shape of a state for one stream: length 1 on the batch axis; all other axes must be fixed.
pub fn single_stream_shape(
    name: &str,
    shape: &[i64],
    batch_axis: Option<usize>,
) -> Result<Vec<usize>, String> {
    shape
        .iter()
        .enumerate()
        .map(|(axis, &length)| match usize::try_from(length) {
            _ if batch_axis == Some(axis) => Ok(1),
            Ok(length) if (1..=MAX_STATE_VALUES).contains(&length) => Ok(length),
            _ => Err(format!(
                "`{name}` has shape {shape:?}; expected a fixed shape of at most {MAX_STATE_VALUES} values"
            )),
        })
        .collect()
}

/// Returns the state at the start of a stream: zeros.
///
/// # Errors
/// If the tensor cannot be created.
pub fn zero_state(shape: &[usize]) -> Result<DynValue, String> {
    let values = vec![0.0_f32; shape.iter().product()];
    Tensor::from_array((shape.to_vec(), values))
        .map(ort::value::Value::into_dyn)
        .map_err(|error| error.to_string())
}
