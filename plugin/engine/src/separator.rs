//! Separators: from magnitude frames to masks.

#[cfg(test)]
pub(crate) mod fake;
pub(crate) mod load;
pub(crate) mod multi_part;
pub mod network;
pub mod streaming;
pub mod window;

use std::any::Any;

use realfft::num_complex::Complex32;

/// Makes one mask per hop; implemented by networks and by test fakes.
///
/// It runs on the separator thread and may block. The engine conceals late masks.
pub trait Separator {
    /// This separator as its own type, for runs of several streams at once.
    fn as_any(&mut self) -> &mut dyn Any;

    /// Resets the state: the next frame begins a new stream.
    fn reset(&mut self);

    /// Creates a separator of the same network and thread, with a copy of this one's state.
    ///
    /// # Errors
    /// Fails if the state cannot be copied.
    fn fork(&self) -> Result<Box<dyn Separator>, String>;

    /// Takes the newest frame and fills in the mask of an earlier one.
    ///
    /// The earlier frame lies [`mask_lag`](crate::package::SeparatorSection::mask_lag) frames back. `magnitude` has `F`
    /// linear values on the model's grid, `mask` the complex gains of these bins; `embedding` is that of the query.
    ///
    /// Returns the probability that the described sound is present, if the separator estimates it.
    ///
    /// # Errors
    /// Fails if the run fails or is cancelled; the mask is then invalid.
    fn run(
        &mut self,
        magnitude: &[f32],
        embedding: &[f32],
        mask: &mut [Complex32],
    ) -> Result<Option<f32>, String>;

    /// Takes note that the last run was on a frame of silence, for [`skip_silence`](Self::skip_silence).
    fn note_silence(&mut self) {}

    /// Changes the state to what it would be after `hops` more frames of silence, exactly or nearly, without a run.
    ///
    /// The last frames were silent, and noted as such.
    fn skip_silence(&mut self, _hops: u32) {}

    /// Does the same as [`run`](Self::run), in one batch with waiting frames of other streams if the network can.
    ///
    /// The size of the batch may change the last bits of the mask.
    fn run_batched(
        &mut self,
        magnitude: &[f32],
        embedding: &[f32],
        mask: &mut [Complex32],
    ) -> Result<Option<f32>, String> {
        self.run(magnitude, embedding, mask)
    }
}
