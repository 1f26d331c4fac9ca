//! The separator's thread, the queue between it and the audio thread, and what they report.

pub(crate) mod mask_queue;
pub(crate) mod offline_detector;
pub(crate) mod priority;
pub(crate) mod separator_thread;
pub mod status;
