//! The plugin without a window, for builds without the feature `editor`.

use std::sync::Arc;

use sift_engine::Instance;

use crate::host_link::HostLink;
use crate::params::SiftParams;

/// An editor that is never created.
pub type SiftEditor = ();

/// Stands for the threads of editors; there are none.
#[derive(Clone, Default)]
pub struct EditorThreads(());

impl EditorThreads {
    /// Returns at once.
    pub fn wait_until_ended(&self) {}
}

/// Returns `None`: the host offers no window.
pub fn create(
    _: Arc<SiftParams>,
    _: Arc<Instance>,
    _: EditorThreads,
    _: Arc<HostLink>,
) -> Option<SiftEditor> {
    None
}
