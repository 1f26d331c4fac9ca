//! A listener for tests.

use crate::listener::network::Listener;

/// Listener whose probabilities are a function of the magnitude.
pub struct FakeListener<F> {
    function: F,
    heard: Vec<f32>,
}

impl<F: FnMut(&[f32], &mut [f32])> FakeListener<F> {
    /// Creates a listener of `concepts` concepts.
    pub fn new(concepts: usize, function: F) -> Self {
        Self { function, heard: vec![0.0; concepts] }
    }
}

impl<F: FnMut(&[f32], &mut [f32])> Listener for FakeListener<F> {
    fn reset(&mut self) {
        self.heard.fill(0.0);
    }

    fn hear(&mut self, magnitude: &[f32]) -> Result<&[f32], String> {
        (self.function)(magnitude, &mut self.heard);
        Ok(&self.heard)
    }

    fn skip_silence(&mut self, _frames: usize) -> Result<(), String> {
        Ok(())
    }
}
