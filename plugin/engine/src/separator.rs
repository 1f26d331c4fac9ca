//! What makes masks: the trait, its thread, and the network behind it.

pub(crate) mod multi_part;
pub mod network;
pub mod streaming;
pub mod window;

use realfft::num_complex::Complex32;

/// Makes one mask a hop. Implemented by the network, and by fakes in tests.
///
/// A separator lives on a thread of its own and may take its time; what is late is concealed by
/// the engine.
pub trait Separator {
    /// Forgets everything heard so far: the next frame begins a new stream.
    fn reset(&mut self);

    /// Another one by the same network, for the same thread, that has heard all that this one has.
    fn fork(&self) -> Result<Box<dyn Separator>, String>;

    /// Takes the newest frame and fills in the mask of the frame that lies so far before it as the package
    /// says ([`SeparatorSection::mask_lag`](crate::package::SeparatorSection::mask_lag)).
    ///
    /// `magnitude` is linear, on the model's grid, `F` bins; `embedding` is what the query became;
    /// `mask` is the complex gain of each of the `F` bins. On an error the mask is not used.
    ///
    /// Returns the probability that the described sound is there, where the separator tells.
    fn run(
        &mut self,
        magnitude: &[f32],
        embedding: &[f32],
        mask: &mut [Complex32],
    ) -> Result<Option<f32>, String>;

    /// As [`run`](Self::run), at once with the frames of other streams where some wait and the network takes several.
    /// Their number may change the last bits of the mask.
    fn run_batched(
        &mut self,
        magnitude: &[f32],
        embedding: &[f32],
        mask: &mut [Complex32],
    ) -> Result<Option<f32>, String> {
        self.run(magnitude, embedding, mask)
    }
}
