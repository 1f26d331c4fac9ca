//! An editor that opens no larger than its screen.

use std::error::Error;
use std::sync::Arc;

use egui::{Vec2, vec2};
use nice_plug::context::gui::GuiContext;
use nice_plug::editor::dpi::{LogicalSize, NativeSize, PhysicalSize};
use nice_plug::editor::{Editor, HostMethods, ParentWindowHandle, ResizeHint, SpawnedEditor};
use nice_plug::plugin::TrackInfo;
use nice_plug_egui::baseview::WindowSize;
use nice_plug_egui::{EguiEditor, EguiEditorHandle, EguiEditorState};
use parking_lot::Mutex;

use crate::editor::{EditorApp, saved_size};
use crate::params::SiftParams;

/// Height of the title bar around the editor, in logical pixels.
const TITLE_BAR_HEIGHT: f32 = 32.0;

/// The screen that a window is about to open on.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Screen {
    /// The part that is free for windows, in physical pixels.
    pub work_area: PhysicalSize<u32>,
    /// Physical pixels per logical pixel, unless the host suggests another.
    pub scale: f64,
}

impl Screen {
    /// The screen that the next window opens on; `None` where it is not known.
    ///
    /// baseview 0.4 does not tell it, so it is known by X11 only.
    fn next() -> Option<Self> {
        #[cfg(all(unix, not(target_os = "macos")))]
        return crate::editor::x11::screen();
        #[cfg(not(all(unix, not(target_os = "macos"))))]
        return None;
    }
}

/// `size` in logical pixels, or the part of it that `work_area` has room for at `scale`.
fn fit(size: Vec2, work_area: PhysicalSize<u32>, scale: f64) -> Vec2 {
    let area = vec2(work_area.width as f32, work_area.height as f32) / scale as f32;
    let room = area - vec2(0.0, TITLE_BAR_HEIGHT);
    size.min(room.floor()).max(Vec2::splat(1.0))
}

/// The editor's saved size in logical pixels, as far as the screen has room for it at `scale`.
pub fn fitted_size(params: &SiftParams, scale: f64) -> Vec2 {
    let saved = saved_size(params);
    Screen::next().map_or(saved, |screen| fit(saved, screen.work_area, scale))
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
pub struct FittedEditor {
    pub(super) inner: EguiEditor<EditorApp>,
    pub(super) state: Arc<EguiEditorState>,
    pub(super) params: Arc<SiftParams>,
    pub(super) window_size: SharedWindowSize,
}

impl Editor for FittedEditor {
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
        match Screen::next() {
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

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: PhysicalSize<u32> = PhysicalSize::new(1366, 768);

    #[test]
    fn editor_that_fits_keeps_its_size() {
        let size = vec2(720.0, 420.0);
        assert_eq!(fit(size, SMALL, 1.0), size);
        assert_eq!(fit(size, PhysicalSize::new(3840, 2160), 2.0), size);
    }

    #[test]
    fn editor_is_never_larger_than_the_screen() {
        for scale in [1.0, 1.25, 1.5, 1.75, 2.0, 3.0] {
            for size in [vec2(720.0, 420.0), vec2(4096.0, 4096.0), vec2(560.0, 4096.0)] {
                let fitted = fit(size, SMALL, scale);
                let physical = fitted * scale as f32;
                assert!(physical.x <= 1366.0, "{size:?} at {scale}: {physical:?}");
                assert!(
                    physical.y <= 768.0 - TITLE_BAR_HEIGHT * scale as f32,
                    "{size:?} at {scale}: {physical:?}"
                );
                assert!(fitted.x <= size.x && fitted.y <= size.y);
            }
        }
    }

    #[test]
    fn editor_on_a_tiny_screen_keeps_a_pixel() {
        assert_eq!(fit(vec2(720.0, 420.0), PhysicalSize::new(0, 0), 2.0), vec2(1.0, 1.0));
    }
}
