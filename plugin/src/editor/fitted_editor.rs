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
use nice_plug_egui::baseview::{self, Window, WindowSize};
use nice_plug_egui::{EguiEditor, EguiEditorHandle, EguiEditorState, NiceEguiApp};
use parking_lot::Mutex;

use crate::editor::editor_window::{EditorWindow, SharedCallbacks, WindowError, WindowKind};
use crate::editor::key_input::HostKeys;
use crate::editor::size::{Screen, fit, saved_size};
use crate::editor::threads::EditorThreads;
#[cfg(all(unix, not(target_os = "macos")))]
use crate::editor::x11::message_window::MessageWindow;
use crate::host_link::HostLink;
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
    fn load(&self) -> NativeSize<u32> {
        *self.0.lock()
    }

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
    pub(super) link: Arc<HostLink>,
    pub(super) threads: EditorThreads,
}

/// An open editor, which takes the host's keys. nice-plug-egui 0.6 takes none.
pub struct FittedEditorHandle {
    /// `None` if the window is a message.
    inner: Option<EguiEditorHandle>,
    window_size: SharedWindowSize,
    host_keys: Arc<HostKeys>,
}

impl FittedEditorHandle {
    /// Calls `request` for the toolkit's window, if that can draw.
    fn with_toolkit(
        &self,
        window: &EditorWindow,
        request: impl FnOnce(&EguiEditorHandle, &Window) -> Result<(), baseview::Error>,
    ) -> Result<(), WindowError> {
        match self.inner.as_ref().zip(window.toolkit()) {
            Some((handle, window)) => request(handle, window).map_err(WindowError::new),
            None => Ok(()),
        }
    }
}

impl EditorHandle for FittedEditorHandle {
    type Window = EditorWindow;
    type Error = WindowError;

    fn run_until_closed(window: EditorWindow) -> Result<(), WindowError> {
        window.run_until_closed()
    }

    fn set_parent(&self, parent: ParentWindowHandle, window: &EditorWindow) -> Result<(), WindowError> {
        #[cfg(all(unix, not(target_os = "macos")))]
        if let (WindowKind::Message(window), Some(parent)) = (window.kind(), window_id(&parent)) {
            return window.set_parent(parent).map_err(WindowError::new);
        }
        self.with_toolkit(window, |handle, window| handle.set_parent(parent, window))
    }

    fn show(&self, window: &EditorWindow) -> Result<(), WindowError> {
        #[cfg(all(unix, not(target_os = "macos")))]
        if let WindowKind::Message(window) = window.kind() {
            return window.show().map_err(WindowError::new);
        }
        self.with_toolkit(window, EguiEditorHandle::show)
    }

    fn hide(&self, window: &EditorWindow) -> Result<(), WindowError> {
        #[cfg(all(unix, not(target_os = "macos")))]
        if let WindowKind::Message(window) = window.kind() {
            return window.hide().map_err(WindowError::new);
        }
        self.with_toolkit(window, EguiEditorHandle::hide)
    }

    fn set_size(&self, size: NativeSize<u32>, window: &EditorWindow) -> Result<(), WindowError> {
        #[cfg(all(unix, not(target_os = "macos")))]
        if let WindowKind::Message(window) = window.kind() {
            return window.set_size(size.width, size.height).map_err(WindowError::new);
        }
        self.with_toolkit(window, |handle, window| handle.set_size(size, window))
    }

    fn host_main_thread_callback(&self, window: &EditorWindow) {
        if let Some((handle, window)) = self.inner.as_ref().zip(window.toolkit()) {
            handle.host_main_thread_callback(window);
        }
    }

    fn adjust_size(&self, size: NativeSize<u32>, window: &EditorWindow) -> Option<NativeSize<u32>> {
        match self.inner.as_ref().zip(window.toolkit()) {
            Some((handle, window)) => handle.adjust_size(size, window),
            None => Some(size),
        }
    }

    /// Scales the window, and asks the host for the room that it then needs: baseview 0.4.2 does not.
    fn set_fallback_scale_factor(&self, scale: f64, window: &EditorWindow) -> Result<(), WindowError> {
        let before = self.window_size.load();
        self.with_toolkit(window, |handle, window| handle.set_fallback_scale_factor(scale, window))?;
        let size = self.window_size.load();
        if size != before {
            window.request_host_size(size, scale);
        }
        Ok(())
    }

    fn on_virtual_key_from_host(&self, key: VirtualKeyCode, is_down: bool, modifiers: Modifiers) -> bool {
        let is_taken = self.host_keys.take(key, is_down, modifiers);
        if is_taken {
            // Requests a frame, in which the key arrives.
            self.state_changed();
        }
        is_taken
    }

    fn state_changed(&self) {
        if let Some(inner) = &self.inner {
            inner.state_changed();
        }
    }

    fn param_value_changed(&self, id: &str, normalized: f32) {
        if let Some(inner) = &self.inner {
            inner.param_value_changed(id, normalized);
        }
    }

    fn param_modulation_changed(&self, id: &str, offset: f32) {
        if let Some(inner) = &self.inner {
            inner.param_modulation_changed(id, offset);
        }
    }
}

/// The X11 identifier of a host's window.
#[cfg(all(unix, not(target_os = "macos")))]
fn window_id(parent: &ParentWindowHandle) -> Option<u32> {
    match parent {
        ParentWindowHandle::XlibWindow(id) => u32::try_from(*id).ok(),
        ParentWindowHandle::XcbWindow(id) => Some((*id).into()),
        _ => None,
    }
}

/// Text of the window where the toolkit cannot draw, because of `problem`.
#[cfg(all(unix, not(target_os = "macos")))]
fn message(problem: &dyn Error) -> Vec<String> {
    let problem: String =
        problem.to_string().chars().map(|shown| if shown.is_ascii_graphic() { shown } else { ' ' }).collect();
    [
        "Sift processes audio, but cannot draw its window: it needs OpenGL.",
        &problem,
        "",
        "Install the driver of your graphics card, or Mesa's, which needs no card",
        "(packages libgl1 and libgl1-mesa-dri on Debian and Ubuntu), and open the window again.",
        "Until then, set the parameters in the host.",
    ]
    .map(str::to_owned)
    .into()
}

impl<A: NiceEguiApp> FittedEditor<A> {
    /// Opens a window that says why the toolkit cannot draw one; `problem` where that is impossible, too.
    #[cfg(all(unix, not(target_os = "macos")))]
    fn spawn_message(
        &self,
        parent: Option<&ParentWindowHandle>,
        problem: Box<dyn Error>,
    ) -> Result<SpawnedEditor<FittedEditorHandle>, Box<dyn Error>> {
        let size = self.size();
        let pixels = |length: u32| u16::try_from(length).unwrap_or(u16::MAX).max(1);
        let (size, lines) = ((pixels(size.width), pixels(size.height)), message(&*problem));
        let parent = parent.and_then(window_id);
        let Ok(window) = MessageWindow::create(parent, size, lines, self.threads.clone()) else {
            return Err(problem);
        };
        let handle = FittedEditorHandle {
            inner: None,
            window_size: self.window_size.clone(),
            host_keys: self.host_keys.clone(),
        };
        Ok(SpawnedEditor { handle, window: EditorWindow::new(WindowKind::Message(window), None) })
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
        // nice-plug 0.4 forgets the scale that a VST3 host tells before the window is open.
        let scale = fallback_scale_factor.or_else(|| self.link.window_scale());
        let mut callbacks = None;
        let host = host.map(|host| {
            let shared = SharedCallbacks::new(host.callbacks);
            callbacks = Some(shared.clone());
            HostMethods { callbacks: Box::new(shared), ..host }
        });
        let spawned = match self.inner.spawn(parent, wait_for_parent, scale, gui_context, host) {
            Ok(spawned) => spawned,
            #[cfg(all(unix, not(target_os = "macos")))]
            Err(problem) => return self.spawn_message(parent.as_ref(), problem),
            #[cfg(not(all(unix, not(target_os = "macos"))))]
            Err(problem) => return Err(problem),
        };
        // Only the window knows its scale. It is not shown yet, and the host asks for its size later.
        let size = fitted_size(&self.params, spawned.window.size().scale_factor);
        spawned.window.resize(LogicalSize::new(size.x, size.y))?;
        let handle = FittedEditorHandle {
            inner: Some(spawned.handle),
            window_size: self.window_size.clone(),
            host_keys: self.host_keys.clone(),
        };
        Ok(SpawnedEditor {
            handle,
            window: EditorWindow::new(WindowKind::Toolkit(spawned.window), callbacks),
        })
    }

    fn size(&self) -> NativeSize<u32> {
        if self.state.is_open() {
            return self.window_size.load();
        }
        let scale_of_host = self.link.window_scale();
        let (size, scale) = match next_screen() {
            Some(screen) => {
                let scale = screen.scale.or(scale_of_host).unwrap_or(1.0);
                (fit(saved_size(&self.params), screen.work_area, scale), scale)
            }
            None => match scale_of_host {
                Some(scale) => (saved_size(&self.params), scale),
                None => return self.inner.size(),
            },
        };
        NativeSize::from_size(LogicalSize::new(size.x, size.y).into(), scale)
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
#[cfg(all(unix, not(target_os = "macos")))]
mod tests {
    use super::*;

    #[test]
    fn message_names_the_problem_and_the_remedy_in_ascii() {
        let lines = message(&WindowError::new("kein Gerät\nfür OpenGL"));
        assert_eq!(lines[1], "kein Ger t f r OpenGL");
        assert!(lines.iter().all(|line| line.is_ascii() && line.len() < usize::from(u8::MAX)));
        assert!(lines.iter().any(|line| line.contains("libgl1-mesa-dri")));
    }
}
