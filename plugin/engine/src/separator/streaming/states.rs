//! States of a streaming network: how those of several streams are joined in one tensor.

use ort::value::{DynValue, Tensor};

use crate::separator::network::StreamJob;

/// A `state_*` input, fed from the `next_state_*` output of the previous run.
pub struct StateTensor {
    pub input: String,
    pub output: String,
    /// Shape for one stream.
    pub shape: Vec<usize>,
    /// Dynamic axis of the streams, if there is one.
    pub batch_axis: Option<usize>,
}

impl StateTensor {
    /// Returns the number of contiguous values of one stream: the product of the axes after the batch axis.
    fn chunk_length(&self) -> usize {
        self.shape[self.batch_axis.map_or(0, |axis| axis + 1)..].iter().product()
    }

    /// Returns the shape for a batch of `streams`.
    pub fn batch_shape(&self, streams: usize) -> Vec<usize> {
        let mut shape = self.shape.clone();
        if let Some(axis) = self.batch_axis {
            shape[axis] = streams;
        }
        shape
    }

    /// Returns this state, state `number`, of the streams of all jobs as one tensor.
    pub fn gather(&self, jobs: &[Box<StreamJob>], number: usize) -> ort::Result<DynValue> {
        let (length, size) = (self.chunk_length(), self.shape.iter().product::<usize>());
        let streams = jobs.iter().map(|job| job.streams()).sum();
        let parts = jobs
            .iter()
            .map(|job| Ok((job.states[number].try_extract_tensor::<f32>()?.1, job.streams() * length)))
            .collect::<ort::Result<Vec<_>>>()?;
        let mut all = Vec::with_capacity(streams * size);
        for outer in 0..size / length {
            for (values, length) in &parts {
                all.extend_from_slice(&values[outer * length..][..*length]);
            }
        }
        Ok(Tensor::from_array((self.batch_shape(streams), all))?.into_dyn())
    }

    /// Copies this state, state `number`, of a batch back to its jobs.
    pub fn scatter(&self, all: &[f32], jobs: &mut [Box<StreamJob>], number: usize) -> ort::Result<()> {
        let streams: usize = jobs.iter().map(|job| job.streams()).sum();
        let (length, mut first) = (self.chunk_length(), 0);
        for job in jobs {
            let (start, own) = (first * length, job.streams() * length);
            let (_, values) = job.states[number].try_extract_tensor_mut::<f32>()?;
            for (target, outer) in values.chunks_exact_mut(own).zip(all.chunks_exact(streams * length)) {
                target.copy_from_slice(&outer[start..][..own]);
            }
            first += job.streams();
        }
        Ok(())
    }
}

/// Returns a copy of the states of the stream at place `at` of `job`.
pub fn copy_stream(states: &[StateTensor], job: &StreamJob, at: usize) -> ort::Result<Vec<DynValue>> {
    let copy = |(state, value): (&StateTensor, &DynValue)| {
        let (_, values) = value.try_extract_tensor::<f32>()?;
        let length = state.chunk_length();
        let chunks = values.chunks_exact(length).skip(at).step_by(job.streams());
        let own: Vec<f32> = chunks.flatten().copied().collect();
        Ok(Tensor::from_array((state.shape.clone(), own))?.into_dyn())
    };
    states.iter().zip(&job.states).map(copy).collect()
}
