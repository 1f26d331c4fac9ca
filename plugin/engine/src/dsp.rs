//! Signal processing: from samples to spectra and back.
//!
//! Independent of networks and threads. Constructors allocate; all other calls are real-time safe,
//! unless their documentation says otherwise.

pub mod analyzer;
pub(crate) mod competition;
pub(crate) mod delay_line;
pub mod grid;
pub mod mask_processor;
pub mod mixer;
pub mod stft;
