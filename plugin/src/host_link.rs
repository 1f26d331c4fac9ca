//! State that the plugin shares with the shim that passes the host's calls to nice-plug.
//!
//! nice-plug 0.4 creates the plugin inside its wrapper and gives no access to it.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};

#[cfg(any(feature = "editor", feature = "vst3"))]
use parking_lot::Mutex;
use sift_engine::Instance;

thread_local! {
    /// The link of the plugin that is being created on this thread.
    static PENDING: Cell<Option<Arc<HostLink>>> = const { Cell::new(None) };
}

/// What the plugin tells its host about saved state that is no parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostNotice {
    /// The user has edited it. The project has changed, and maybe the texts that *Active query* shows.
    Edited,
    /// A loaded state has brought other texts.
    TextsLoaded,
}

/// Passes notices to the host, by what the plugin format has for them.
pub trait HostNotifier: Send + Sync {
    /// Whether [`HostNotice::Edited`] makes the host mark the project as changed. Any thread may call it.
    fn marks_edits(&self) -> bool;

    /// Passes `notice` to the host. The host's main thread calls it.
    fn notify(&self, notice: HostNotice);
}

/// Function that calls [`HostLink::deliver`] on the host's main thread, later or at once.
type Schedule = Box<dyn Fn(HostNotice) + Send + Sync>;

/// Connection of one plugin to its shim.
#[derive(Default)]
pub struct HostLink {
    instance: Arc<Instance>,
    /// Set by the shim.
    notifier: OnceLock<Box<dyn HostNotifier>>,
    /// Set by the plugin.
    schedule: OnceLock<Schedule>,
    /// Samples; 0 before the first activation.
    latency: AtomicU32,
    is_reset_announced: AtomicBool,
    /// Whether the host uses no auxiliary output in this block.
    is_aux_unused: AtomicBool,
    /// Whether all outputs of the block so far are zero, and stay so until the input is not.
    is_silent: AtomicBool,
    #[cfg(any(feature = "editor", feature = "vst3"))]
    window_scale: Mutex<Option<f64>>,
}

impl HostLink {
    /// Calls `create`, which creates one plugin on this thread. Returns its result and the plugin's link.
    pub fn connect<T>(create: impl FnOnce() -> T) -> (T, Arc<Self>) {
        let link = Arc::<Self>::default();
        PENDING.set(Some(link.clone()));
        let created = create();
        PENDING.take();
        (created, link)
    }

    /// Returns the link for a plugin that is being created; without a shim, a new one.
    pub fn of_new_plugin() -> Arc<Self> {
        PENDING.take().unwrap_or_default()
    }

    /// The plugin's instance.
    pub fn instance(&self) -> &Arc<Instance> {
        &self.instance
    }

    /// Sets what passes notices to the host. Only the first one counts.
    pub fn set_notifier(&self, notifier: impl HostNotifier + 'static) {
        let _ = self.notifier.set(Box::new(notifier));
    }

    /// Sets how notices reach the host's main thread. Only the first way counts.
    pub fn set_schedule(&self, schedule: impl Fn(HostNotice) + Send + Sync + 'static) {
        let _ = self.schedule.set(Box::new(schedule));
    }

    /// Passes `notice` to the host's main thread. Returns whether it makes the host mark the project as changed.
    ///
    /// Does nothing without a shim, and before the plugin is connected.
    pub fn post(&self, notice: HostNotice) -> bool {
        let Some((notifier, schedule)) = self.notifier.get().zip(self.schedule.get()) else { return false };
        schedule(notice);
        notice == HostNotice::Edited && notifier.marks_edits()
    }

    /// Passes `notice` to the host. Only for the host's main thread.
    pub fn deliver(&self, notice: HostNotice) {
        if let Some(notifier) = self.notifier.get() {
            notifier.notify(notice);
        }
    }

    /// Latency in samples since the last activation, or the last change of it while the plugin was active.
    pub fn latency(&self) -> u32 {
        self.latency.load(Ordering::Acquire)
    }

    /// Stores the latency in samples. Returns whether it differs from the stored one.
    pub fn set_latency(&self, samples: u32) -> bool {
        self.latency.swap(samples, Ordering::AcqRel) != samples
    }

    /// Physical pixels per logical pixel of the editor's window, if the host has told it.
    #[cfg(feature = "editor")]
    pub fn window_scale(&self) -> Option<f64> {
        *self.window_scale.lock()
    }

    /// Stores the scale of the editor's window. Returns false if it cannot be one.
    #[cfg(feature = "vst3")]
    pub fn set_window_scale(&self, scale: f64) -> bool {
        let is_scale = scale.is_finite() && scale > 0.0;
        if is_scale {
            *self.window_scale.lock() = Some(scale);
        }
        is_scale
    }

    /// Begins a block of the host, which nice-plug may pass on in parts.
    pub fn begin_block(&self, is_aux_used: bool) {
        self.is_aux_unused.store(!is_aux_used, Ordering::Relaxed);
        self.is_silent.store(true, Ordering::Relaxed);
    }

    /// Whether the host may use an auxiliary output in this block.
    pub fn is_aux_used(&self) -> bool {
        !self.is_aux_unused.load(Ordering::Relaxed)
    }

    /// Ends a part of the block. `is_silent`: all outputs are zero and stay so until the input is not.
    pub fn end_part(&self, is_silent: bool) {
        self.is_silent.fetch_and(is_silent, Ordering::Relaxed);
    }

    /// Whether all outputs of the block are zero, and stay so until the input is not.
    pub fn is_silent(&self) -> bool {
        self.is_silent.load(Ordering::Relaxed)
    }

    /// Announces that the plugin's next `reset` is one of the host's.
    pub fn announce_reset(&self) {
        self.is_reset_announced.store(true, Ordering::Release);
    }

    /// Returns whether a reset was announced, and forgets it.
    pub fn take_announced_reset(&self) -> bool {
        self.is_reset_announced.swap(false, Ordering::AcqRel)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn block_is_silent_if_all_of_its_parts_are() {
        let link = HostLink::default();
        for (parts, is_silent) in [([true, true], true), ([true, false], false), ([false, true], false)] {
            link.begin_block(false);
            parts.into_iter().for_each(|part| link.end_part(part));
            assert_eq!(link.is_silent(), is_silent);
        }
    }

    #[test]
    fn plugin_created_by_a_shim_shares_its_link() {
        let (of_plugin, of_shim) = HostLink::connect(HostLink::of_new_plugin);
        assert!(Arc::ptr_eq(&of_plugin, &of_shim));
        assert!(!Arc::ptr_eq(&HostLink::of_new_plugin(), &of_shim), "a later plugin has its own");
    }
}
