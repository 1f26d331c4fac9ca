//! ONNX Runtime: the library, its sessions, and how they are shared and cancelled.

pub(crate) mod batching_pool;
pub mod cancel;
pub mod library;
pub(crate) mod onnx_check;
pub mod provider;
mod remedies;
pub mod session;
pub(crate) mod state_history;
pub(crate) mod tensors;
