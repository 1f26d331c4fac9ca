//! An editor that opens no larger than its screen, and takes the keys that its host passes on.

use std::error::Error;
use std::sync::Arc;

use egui::Vec2;
use nice_plug::context::gui::GuiContext;
use nice_plug::editor::dpi::{LogicalSize, NativeSize};
use nice_plug::editor::{
    Editor, EditorHandle, HostMethods, Modifiers, ParentWindowHandle, ResizeHint, SpawnedEditor,
    VirtualKeyCode,
};
use nice_plug::plugin::TrackInfo;
use nice_plug_egui::baseview::WindowSize;
use nice_plug_egui::{EguiEditor, EguiEditorHandle, EguiEditorState, NiceEguiApp};
use parking_lot::Mutex;

use crate::editor::key_input::HostKeys;
use crate::editor::size::{Screen, fit, saved_size};
use crate::params::SiftParams;

/// The screen that the next window opens on; `None` where it is not known.
///
/// baseview 0.4 does not tell it, so it is known by X11 only.
fn next_screen() -> Option<Screen> {
    #[cfg(all(unix, not(target_os = "macos")))]
    return crate::editor::x11::screen();
    #[cfg(not(all(unix, not(target_os = "macos"))))]
    return None;
}

/// The editor's saved size in logical pixels, as far as the screen has room for it at `scale`.
pub fn fitted_size(params: &SiftParams, scale: f64) -> Vec2 {
    let saved = saved_size(params);
    next_screen().map_or(saved, |screen| fit(saved, screen.work_area, scale))
}

/// The size of the editor's window, as the host knows it.
#[derive(Clone)]
pub struct SharedWindowSize(Arc<Mutex<NativeSize<u32>>>);

impl Default for SharedWindowSize {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(NativeSize::new(0, 0))))
    }
}

impl SharedWindowSize {
    pub fn store(&self, size: WindowSize) {
        *self.0.lock() = NativeSize::from_logical_or_physical(size.logical, size.physical);
    }
}

/// The editor in its saved size, or as much of it as its screen has room for.
pub struct FittedEditor<A: NiceEguiApp> {
    pub(super) inner: EguiEditor<A>,
    pub(super) state: Arc<EguiEditorState>,
    pub(super) params: Arc<SiftParams>,
    pub(super) window_size: SharedWindowSize,
    pub(super) host_keys: Arc<HostKeys>,
}

/// An open editor, which takes the host's keys. nice-plug-egui 0.6 takes none.
pub struct FittedEditorHandle {
    inner: EguiEditorHandle,
    host_keys: Arc<HostKeys>,
}

impl EditorHandle for FittedEditorHandle {
    type Window = <EguiEditorHandle as EditorHandle>::Window;
    type Error = <EguiEditorHandle as EditorHandle>::Error;

    fn run_until_closed(window: Self::Window) -> Result<(), Self::Error> {
        EguiEditorHandle::run_until_closed(window)
    }

    fn set_parent(&self, parent: ParentWindowHandle, window: &Self::Window) -> Result<(), Self::Error> {
        self.inner.set_parent(parent, window)
    }

    fn show(&self, window: &Self::Window) -> Result<(), Self::Error> {
        self.inner.show(window)
    }

    fn hide(&self, window: &Self::Window) -> Result<(), Self::Error> {
        self.inner.hide(window)
    }

    fn set_size(&self, size: NativeSize<u32>, window: &Self::Window) -> Result<(), Self::Error> {
        self.inner.set_size(size, window)
    }

    fn host_main_thread_callback(&self, window: &Self::Window) {
        self.inner.host_main_thread_callback(window);
    }

    fn adjust_size(&self, size: NativeSize<u32>, window: &Self::Window) -> Option<NativeSize<u32>> {
        self.inner.adjust_size(size, window)
    }

    fn set_fallback_scale_factor(&self, scale: f64, window: &Self::Window) -> Result<(), Self::Error> {
        self.inner.set_fallback_scale_factor(scale, window)
    }

    fn on_virtual_key_from_host(&self, key: VirtualKeyCode, is_down: bool, modifiers: Modifiers) -> bool {
        let is_taken = self.host_keys.take(key, is_down, modifiers);
        if is_taken {
            // Requests a frame, in which the key arrives.
            self.inner.state_changed();
        }
        is_taken
    }

    fn state_changed(&self) {
        self.inner.state_changed();
    }

    fn param_value_changed(&self, id: &str, normalized: f32) {
        self.inner.param_value_changed(id, normalized);
    }

    fn param_modulation_changed(&self, id: &str, offset: f32) {
        self.inner.param_modulation_changed(id, offset);
    }
}

impl<A: NiceEguiApp> Editor for FittedEditor<A> {
    type Handle = FittedEditorHandle;

    fn spawn(
        &self,
        parent: Option<ParentWindowHandle>,
        wait_for_parent: bool,
        fallback_scale_factor: Option<f64>,
        gui_context: GuiContext,
        host: Option<HostMethods>,
    ) -> Result<SpawnedEditor<Self::Handle>, Box<dyn Error>> {
        let spawned = self.inner.spawn(parent, wait_for_parent, fallback_scale_factor, gui_context, host)?;
        // Only the window knows its scale. It is not shown yet, and the host asks for its size later.
        let size = fitted_size(&self.params, spawned.window.size().scale_factor);
        spawned.window.resize(LogicalSize::new(size.x, size.y))?;
        let handle = FittedEditorHandle { inner: spawned.handle, host_keys: self.host_keys.clone() };
        Ok(SpawnedEditor { handle, window: spawned.window })
    }

    fn size(&self) -> NativeSize<u32> {
        if self.state.is_open() {
            return *self.window_size.0.lock();
        }
        match next_screen() {
            Some(screen) => {
                let size = fit(saved_size(&self.params), screen.work_area, screen.scale);
                NativeSize::from_size(LogicalSize::new(size.x, size.y).into(), screen.scale)
            }
            None => self.inner.size(),
        }
    }

    fn resize_hint(&self) -> ResizeHint {
        self.inner.resize_hint()
    }

    fn track_info_updated(&self, info: TrackInfo) {
        self.inner.track_info_updated(info);
    }

    unsafe fn assume_standalone_in_process(&self) {
        // SAFETY: the caller's promise, passed on.
        unsafe { self.inner.assume_standalone_in_process() }
    }
}
