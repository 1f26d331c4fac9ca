//! What X11 asks of a window beside what the toolkit does: the keyboard handed back, and a first frame that comes.

use nice_plug_egui::baseview::WindowContext;
use raw_window_handle::{HasWindowHandle, RawWindowHandle};
use x11rb::errors::ReplyError;
use x11rb::protocol::present::ConnectionExt as _;
use x11rb::protocol::xproto::{AtomEnum, ClientMessageEvent, ConnectionExt, EventMask, InputFocus, Window};
use x11rb::rust_connection::RustConnection;

/// Display frames over which the first one is asked for again and again, and between two such.
const ASKING: u64 = 480;
const ASKING_STEP: u64 = 12;
/// The number that baseview 0.4.2 gives its first request.
const FIRST: u32 = 0;

/// Has the X server tell the window that is being built, five times a second for eight seconds, that its first
/// frame is due.
///
/// baseview draws a frame when the server answers its request, and makes no other until then. One that it makes
/// before the window is shown is answered before it listens, and the window stayed empty.
pub fn ask_for_first_frame(window: &WindowContext) {
    if let Some(window) = number(window)
        && let Some(server) = Server::connect()
    {
        // Without the extension the toolkit keeps time by itself.
        let _ = server.announce_frames(window);
    }
}

fn number(window: &WindowContext) -> Option<Window> {
    match window.window_handle().ok()?.as_raw() {
        RawWindowHandle::Xlib(handle) => Some(handle.window as Window),
        _ => None,
    }
}

/// The display, once it is needed.
#[derive(Default)]
pub enum Display {
    #[default]
    Unused,
    Connected(Box<Server>),
    /// There is no way to it: the window keeps the keyboard.
    OutOfReach,
}

impl Display {
    /// Gives the keyboard to the window of the host's that ours lies in.
    pub fn give_to_host(&mut self, window: &WindowContext) {
        let Some(window) = number(window) else { return };
        if let Self::Unused = self {
            *self = Server::connect().map_or(Self::OutOfReach, |server| Self::Connected(Box::new(server)));
        }
        // A window that is just being closed has nothing around it any more.
        if let Self::Connected(server) = self
            && let Ok(Some(host)) = server.host_of(window)
        {
            let _ = server.focus(host);
        }
    }
}

x11rb::atom_manager! {
    /// What clients and window managers tell one another by (Inter-Client Communication Conventions Manual, 4.1).
    Names: NamesCookie {
        // A window manager keeps this property on every window that it manages.
        WM_STATE,
        WM_PROTOCOLS,
        WM_TAKE_FOCUS,
    }
}

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

    /// The nearest window around `window` that a window manager manages; none around one of our own.
    fn host_of(&self, mut window: Window) -> Result<Option<Window>, ReplyError> {
        loop {
            let around = self.connection.query_tree(window)?.reply()?;
            if self.is_managed(window)? || around.parent == around.root || around.parent == x11rb::NONE {
                return Ok(None);
            }
            window = around.parent;
            if self.is_managed(window)? {
                return Ok(Some(window));
            }
        }
    }

    fn is_managed(&self, window: Window) -> Result<bool, ReplyError> {
        let state = self.connection.get_property(false, window, self.names.WM_STATE, AtomEnum::ANY, 0, 0)?;
        Ok(state.reply()?.type_ != x11rb::NONE)
    }

    fn announce_frames(&self, window: Window) -> Result<(), ReplyError> {
        let times = (0..ASKING).step_by(ASKING_STEP as usize);
        let ask = |after| self.connection.present_notify_msc(window, FIRST, 0, ASKING, after);
        // Sent together: the server is waited for once.
        let asked = times.map(ask).collect::<Result<Vec<_>, _>>()?;
        asked.into_iter().try_for_each(|cookie| cookie.check())
    }

    /// As a window manager does it: the host says itself which of its windows keys go to. While that is the one
    /// around ours, X11 goes on sending them to ours when the pointer is on it.
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
