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

/// Separator that can fork: its masks are a function of the frames so far, counted from 0, and the embedding.
#[derive(Clone)]
pub struct ForkingSeparator<F> {
    frames: usize,
    function: F,
}

impl<F> ForkingSeparator<F> {
    /// Creates a separator at the start of a stream. The `function` fills in the mask and returns the presence.
    pub fn new(function: F) -> Self {
        Self { frames: 0, function }
    }
}

impl<F: Fn(usize, &[f32], &mut [Complex32]) -> Option<f32> + Clone + 'static> Separator
    for ForkingSeparator<F>
{
    fn as_any(&mut self) -> &mut dyn Any {
        self
    }

    fn reset(&mut self) {
        self.frames = 0;
    }

    fn fork(&self) -> Result<Box<dyn Separator>, String> {
        Ok(Box::new(self.clone()))
    }

    fn run(&mut self, _: &[f32], embedding: &[f32], mask: &mut [Complex32]) -> Result<Option<f32>, String> {
        let presence = (self.function)(self.frames, embedding, mask);
        self.frames += 1;
        Ok(presence)
    }
}
