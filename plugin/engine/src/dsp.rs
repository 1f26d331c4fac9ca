//! Signal processing on the audio thread: from samples to spectra and back.
//!
//! Nothing here knows a network or a thread.

pub mod analyzer;
pub(crate) mod delay_line;
pub mod grid;
pub mod mask_processor;
pub mod mixer;
pub mod stft;
