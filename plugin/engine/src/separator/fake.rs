//! A separator for tests.

use std::any::Any;

use realfft::num_complex::Complex32;

use crate::separator::Separator;

/// Separator whose mask is a function of magnitude and embedding. It supports one part only.
pub struct FakeSeparator<F>(pub F);

impl<F: FnMut(&[f32], &[f32], &mut [Complex32]) + 'static> Separator for FakeSeparator<F> {
    fn as_any(&mut self) -> &mut dyn Any {
        self
    }

    fn reset(&mut self) {}

    fn fork(&self) -> Result<Box<dyn Separator>, String> {
        Err("fake separator: fork is unsupported".into())
    }

    fn run(
        &mut self,
        magnitude: &[f32],
        embedding: &[f32],
        mask: &mut [Complex32],
    ) -> Result<Option<f32>, String> {
        (self.0)(magnitude, embedding, mask);
        Ok(None)
    }
}
