//! Notices to a CLAP host: changed state by the extension `state`, changed texts by `params`.

use std::ffi::CStr;

use clap_sys::ext::params::{CLAP_EXT_PARAMS, CLAP_PARAM_RESCAN_TEXT, clap_host_params};
use clap_sys::ext::state::{CLAP_EXT_STATE, clap_host_state};
use nice_plug::wrapper::clap::clap_host;

use crate::host_link::{HostNotice, HostNotifier};

/// The host of one plugin.
pub struct ClapNotifier(*const clap_host);

// SAFETY: CLAP allows `get_extension` on every thread; `notify` is called on the main thread.
unsafe impl Send for ClapNotifier {}
// SAFETY: as for `Send`.
unsafe impl Sync for ClapNotifier {}

impl ClapNotifier {
    /// # Safety
    /// `host` must be valid, and outlive the notifier.
    pub unsafe fn new(host: *const clap_host) -> Self {
        Self(host)
    }

    /// The host's extension `id`, whose type is `T`.
    unsafe fn extension<T>(&self, id: &CStr) -> Option<&T> {
        // SAFETY: the host is valid, and its extensions live as long as it does.
        unsafe { ((*self.0).get_extension?)(self.0, id.as_ptr()).cast::<T>().as_ref() }
    }

    fn mark_dirty(&self) -> Option<unsafe extern "C" fn(*const clap_host)> {
        // SAFETY: the id's type is `clap_host_state`.
        unsafe { self.extension::<clap_host_state>(CLAP_EXT_STATE) }?.mark_dirty
    }
}

impl HostNotifier for ClapNotifier {
    fn marks_edits(&self) -> bool {
        self.mark_dirty().is_some()
    }

    fn notify(&self, notice: HostNotice) {
        // SAFETY: the host is valid, this is its main thread, and the id's type is `clap_host_params`.
        unsafe {
            let params = self.extension::<clap_host_params>(CLAP_EXT_PARAMS);
            if let Some(rescan) = params.and_then(|params| params.rescan) {
                rescan(self.0, CLAP_PARAM_RESCAN_TEXT);
            }
            if notice == HostNotice::Edited
                && let Some(mark_dirty) = self.mark_dirty()
            {
                mark_dirty(self.0);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::{c_char, c_void};
    use std::ptr::{from_mut, from_ref, null, null_mut};

    use clap_sys::ext::params::clap_param_rescan_flags;

    use super::*;

    /// What a host with the extensions `params` and, if `has_state`, `state` was told.
    #[derive(Default)]
    struct FakeHost {
        has_state: bool,
        rescans: Vec<clap_param_rescan_flags>,
        dirty: usize,
    }

    unsafe fn fake<'a>(host: *const clap_host) -> &'a mut FakeHost {
        // SAFETY: `notifier` sets the pointer.
        unsafe { &mut *(*host).host_data.cast() }
    }

    unsafe extern "C" fn rescan(host: *const clap_host, flags: clap_param_rescan_flags) {
        // SAFETY: as in `fake`.
        unsafe { fake(host) }.rescans.push(flags);
    }

    unsafe extern "C" fn mark_dirty(host: *const clap_host) {
        // SAFETY: as in `fake`.
        unsafe { fake(host) }.dirty += 1;
    }

    static PARAMS: clap_host_params =
        clap_host_params { rescan: Some(rescan), clear: None, request_flush: None };
    static STATE: clap_host_state = clap_host_state { mark_dirty: Some(mark_dirty) };

    unsafe extern "C" fn get_extension(host: *const clap_host, id: *const c_char) -> *const c_void {
        // SAFETY: `id` is a string; for the rest as in `fake`.
        unsafe {
            match CStr::from_ptr(id) {
                id if id == CLAP_EXT_PARAMS => from_ref(&PARAMS).cast(),
                id if id == CLAP_EXT_STATE && fake(host).has_state => from_ref(&STATE).cast(),
                _ => null(),
            }
        }
    }

    fn clap_host_of(fake: &mut FakeHost) -> clap_host {
        clap_host {
            clap_version: nice_plug::wrapper::clap::CLAP_VERSION,
            host_data: from_mut(fake).cast(),
            name: null(),
            vendor: null(),
            url: null(),
            version: null(),
            get_extension: Some(get_extension),
            request_restart: None,
            request_process: None,
            request_callback: None,
        }
    }

    #[test]
    fn edit_rescans_the_texts_and_marks_the_state() {
        for (has_state, dirty) in [(true, 1), (false, 0)] {
            let mut fake = FakeHost { has_state, ..FakeHost::default() };
            let host = clap_host_of(&mut fake);
            // SAFETY: the host outlives the notifier.
            let notifier = unsafe { ClapNotifier::new(&host) };
            assert_eq!(notifier.marks_edits(), has_state);
            notifier.notify(HostNotice::Edited);
            assert_eq!((&*fake.rescans, fake.dirty), (&[CLAP_PARAM_RESCAN_TEXT][..], dirty));
        }
    }

    #[test]
    fn loaded_texts_are_rescanned_and_mark_nothing() {
        let mut fake = FakeHost { has_state: true, ..FakeHost::default() };
        let host = clap_host_of(&mut fake);
        // SAFETY: the host outlives the notifier.
        unsafe { ClapNotifier::new(&host) }.notify(HostNotice::TextsLoaded);
        assert_eq!((&*fake.rescans, fake.dirty), (&[CLAP_PARAM_RESCAN_TEXT][..], 0));
    }

    #[test]
    fn host_without_extensions_is_told_nothing() {
        let mut fake = FakeHost::default();
        let host = clap_host { get_extension: None, host_data: null_mut(), ..clap_host_of(&mut fake) };
        // SAFETY: the host outlives the notifier.
        let notifier = unsafe { ClapNotifier::new(&host) };
        notifier.notify(HostNotice::Edited);
        assert!(!notifier.marks_edits());
    }
}
