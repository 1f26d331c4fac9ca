//! The separator thread, the queue between it and the audio thread, and the status of both.

pub(crate) mod denormals;
pub(crate) mod mask_queue;
pub(crate) mod offline_detector;
pub(crate) mod playback_detector;
pub(crate) mod priority;
#[cfg(target_os = "linux")]
mod processor_time;
pub(crate) mod rest_budget;
pub(crate) mod rest_control;
pub(crate) mod separator_thread;
pub mod status;
pub(crate) mod thread_time;
