//! What the command line draws of a separation, for other programs of this workspace.

pub mod plot;
pub mod spectrogram;
