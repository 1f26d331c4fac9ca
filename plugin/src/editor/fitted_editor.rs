//! An editor that opens no larger than its screen.

use std::error::Error;
use std::sync::Arc;

use egui::Vec2;
use nice_plug::context::gui::GuiContext;
use nice_plug::editor::dpi::{LogicalSize, NativeSize};
use nice_plug::editor::{Editor, HostMethods, ParentWindowHandle, ResizeHint, SpawnedEditor};
use nice_plug::plugin::TrackInfo;
use nice_plug_egui::baseview::WindowSize;
use nice_plug_egui::{EguiEditor, EguiEditorHandle, EguiEditorState, NiceEguiApp};
use parking_lot::Mutex;

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
}

impl<A: NiceEguiApp> Editor for FittedEditor<A> {
    type Handle = EguiEditorHandle;

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
        Ok(spawned)
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
