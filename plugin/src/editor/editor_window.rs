//! The editor's window as the host holds it: drawn by the toolkit, or a message where that cannot draw.

use std::cell::RefCell;
use std::error::Error;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use nice_plug::editor::HostCallbacks;
use nice_plug::editor::dpi::{NativeSize, Size};
use nice_plug_egui::baseview::Window;

#[cfg(all(unix, not(target_os = "macos")))]
use super::x11::message_window::MessageWindow;

/// A request of the window that failed.
#[derive(Debug)]
pub struct WindowError(String);

impl WindowError {
    pub fn new(error: impl fmt::Display) -> Self {
        Self(error.to_string())
    }
}

impl fmt::Display for WindowError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl Error for WindowError {}

/// The window.
pub struct EditorWindow {
    /// `None` only while it is dropped.
    kind: Option<WindowKind>,
    callbacks: Option<SharedCallbacks>,
}

pub enum WindowKind {
    Toolkit(Window),
    #[cfg(all(unix, not(target_os = "macos")))]
    Message(MessageWindow),
}

impl EditorWindow {
    pub fn new(kind: WindowKind, callbacks: Option<SharedCallbacks>) -> Self {
        Self { kind: Some(kind), callbacks }
    }

    pub fn kind(&self) -> &WindowKind {
        self.kind.as_ref().expect("the window is not dropped")
    }

    /// The toolkit's window, if that can draw.
    pub fn toolkit(&self) -> Option<&Window> {
        match self.kind() {
            WindowKind::Toolkit(window) => Some(window),
            #[cfg(all(unix, not(target_os = "macos")))]
            WindowKind::Message(_) => None,
        }
    }

    /// Asks the host for room for `size`, at `scale`.
    pub fn request_host_size(&self, size: NativeSize<u32>, scale: f64) {
        if let Some(mut callbacks) = self.callbacks.clone() {
            // A host that refuses keeps the size that it has, and shows as much of the window.
            let _ = callbacks.request_resize(size.into(), scale);
        }
    }

    /// Shows the window until it is closed.
    pub fn run_until_closed(mut self) -> Result<(), WindowError> {
        match self.kind.take() {
            Some(WindowKind::Toolkit(window)) => window.run_until_closed().map_err(WindowError::new),
            #[cfg(all(unix, not(target_os = "macos")))]
            Some(WindowKind::Message(window)) => window.run_until_closed().map_err(WindowError::new),
            None => Ok(()),
        }
    }
}

impl Drop for EditorWindow {
    /// Closes the window. An internal error of its thread, such as a lost OpenGL, must not end the host: baseview 0.4.2
    /// panics with it here.
    fn drop(&mut self) {
        let kind = self.kind.take();
        let _ = catch_unwind(AssertUnwindSafe(|| drop(kind)));
    }
}

/// The host's callbacks, for the toolkit's window and the editor. Only for the host's main thread.
#[derive(Clone)]
pub struct SharedCallbacks(Rc<RefCell<Box<dyn HostCallbacks>>>);

impl SharedCallbacks {
    pub fn new(callbacks: Box<dyn HostCallbacks>) -> Self {
        Self(Rc::new(RefCell::new(callbacks)))
    }
}

impl HostCallbacks for SharedCallbacks {
    fn request_resize(&mut self, size: Size, scale: f64) -> Result<(), Box<dyn Error>> {
        // A host may call the editor from within the request, which then makes another one.
        self.0.try_borrow_mut()?.request_resize(size, scale)
    }

    fn destroyed(&mut self) {
        if let Ok(mut callbacks) = self.0.try_borrow_mut() {
            callbacks.destroyed();
        }
    }
}
