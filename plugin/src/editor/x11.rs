//! X11 requests that the toolkit does not make: keyboard focus for the host, and the first frame.

use nice_plug_egui::baseview::WindowContext;
use raw_window_handle::{HasWindowHandle, RawWindowHandle};
use x11rb::cookie::VoidCookie;
use x11rb::errors::ReplyError;
use x11rb::protocol::present::ConnectionExt as _;
use x11rb::protocol::xproto::{AtomEnum, ClientMessageEvent, ConnectionExt, EventMask, InputFocus, Window};
use x11rb::rust_connection::RustConnection;

/// Display frames during which the first frame is requested repeatedly.
const REQUEST_DURATION: u64 = 480;
/// Display frames between two requests.
const REQUEST_INTERVAL: u64 = 12;
/// Serial number of baseview 0.4.2's first request.
const FIRST_SERIAL: u32 = 0;

/// Makes the X server report to `window` that its first frame is due, five times per second for eight seconds.
///
/// baseview draws a frame when the server answers its request, and sends no other request until then. It misses the
/// answer to a request from before the window is shown, and the editor would stay empty.
pub fn request_first_frame(window: &WindowContext) {
    if let Some(window) = window_id(window)
        && let Some(server) = Server::connect()
    {
        // Without the Present extension, the toolkit uses its own timer.
        let _ = server.schedule_frames(window);
    }
}

/// The window's X11 identifier.
fn window_id(window: &WindowContext) -> Option<Window> {
    match window.window_handle().ok()?.as_raw() {
        RawWindowHandle::Xlib(handle) => Some(handle.window as Window),
        _ => None,
    }
}

/// The connection to the X server, opened when it is first needed.
#[derive(Default)]
pub enum X11Connection {
    #[default]
    Unused,
    Connected(Box<Server>),
    /// The connection failed: the editor keeps the focus.
    Failed,
}

impl X11Connection {
    /// Gives the keyboard focus to the host's window around the editor.
    pub fn focus_host(&mut self, window: &WindowContext) {
        let Some(window) = window_id(window) else { return };
        if let Self::Unused = self {
            *self = Server::connect().map_or(Self::Failed, |server| Self::Connected(Box::new(server)));
        }
        // While the editor is being closed, its window has no host window any more.
        if let Self::Connected(server) = self
            && let Ok(Some(host)) = server.find_host_window(window)
        {
            let _ = server.focus(host);
        }
    }
}

x11rb::atom_manager! {
    /// Atoms of the protocol with window managers (Inter-Client Communication Conventions Manual, 4.1).
    Names: NamesCookie {
        // Window managers set this property on every window that they manage.
        WM_STATE,
        WM_PROTOCOLS,
        WM_TAKE_FOCUS,
    }
}

/// A connection to the X server.
pub struct Server {
    connection: RustConnection,
    names: Names,
}

impl Server {
    fn connect() -> Option<Self> {
        let (connection, _) = x11rb::connect(None).ok()?;
        let names = Names::new(&connection).ok()?.reply().ok()?;
        Some(Self { connection, names })
    }

    /// The nearest managed window that contains `window`; `None` if `window` itself is managed.
    fn find_host_window(&self, mut window: Window) -> Result<Option<Window>, ReplyError> {
        loop {
            let tree = self.connection.query_tree(window)?.reply()?;
            if self.is_managed(window)? || tree.parent == tree.root || tree.parent == x11rb::NONE {
                return Ok(None);
            }
            window = tree.parent;
            if self.is_managed(window)? {
                return Ok(Some(window));
            }
        }
    }

    fn is_managed(&self, window: Window) -> Result<bool, ReplyError> {
        let state = self.connection.get_property(false, window, self.names.WM_STATE, AtomEnum::ANY, 0, 0)?;
        Ok(state.reply()?.type_ != x11rb::NONE)
    }

    fn schedule_frames(&self, window: Window) -> Result<(), ReplyError> {
        let times = (0..REQUEST_DURATION).step_by(REQUEST_INTERVAL as usize);
        let request =
            |after| self.connection.present_notify_msc(window, FIRST_SERIAL, 0, REQUEST_DURATION, after);
        // All requests are sent before the first reply is awaited: one round trip.
        let cookies = times.map(request).collect::<Result<Vec<_>, _>>()?;
        cookies.into_iter().try_for_each(VoidCookie::check)
    }

    /// Focuses `window` as a window manager does, so that the host can choose among its windows. If it focuses the
    /// parent of the editor's window, X11 still sends keys to the editor while the pointer is on it.
    fn focus(&self, window: Window) -> Result<(), ReplyError> {
        let Names { WM_PROTOCOLS, WM_TAKE_FOCUS, .. } = self.names;
        let atoms =
            self.connection.get_property(false, window, WM_PROTOCOLS, AtomEnum::ATOM, 0, 32)?.reply()?;
        self.connection.set_input_focus(InputFocus::PARENT, window, x11rb::CURRENT_TIME)?.check()?;
        if atoms.value32().is_some_and(|mut atoms| atoms.any(|atom| atom == WM_TAKE_FOCUS)) {
            let data = [WM_TAKE_FOCUS, x11rb::CURRENT_TIME, 0, 0, 0];
            let message = ClientMessageEvent::new(32, window, WM_PROTOCOLS, data);
            self.connection.send_event(false, window, EventMask::NO_EVENT, message)?.check()?;
        }
        Ok(())
    }
}
