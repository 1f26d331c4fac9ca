//! X11 requests that the toolkit does not make: keyboard focus for the host, the first frame, and the screen's size.

pub mod keyboard;
pub mod message_window;

use nice_plug::editor::dpi::PhysicalSize;
use nice_plug_egui::baseview::WindowContext;
use raw_window_handle::{HasWindowHandle, RawWindowHandle};
use x11rb::connection::Connection as _;
use x11rb::cookie::VoidCookie;
use x11rb::errors::ReplyError;
use x11rb::protocol::present::ConnectionExt as _;
use x11rb::protocol::randr::ConnectionExt as _;
use x11rb::protocol::xproto::{AtomEnum, ClientMessageEvent, ConnectionExt, EventMask, InputFocus, Window};
use x11rb::resource_manager;
use x11rb::rust_connection::RustConnection;

use crate::editor::size::Screen;

/// Display frames during which the first frame is requested repeatedly.
const REQUEST_DURATION: u64 = 480;
/// Display frames between two requests.
const REQUEST_INTERVAL: u64 = 12;
/// Serial number of baseview 0.4.2's first request.
const FIRST_SERIAL: u32 = 0;
/// Dots per inch of a scale of 1.
const DPI_OF_SCALE_1: f64 = 96.0;

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

/// The screen that the next window opens on; `None` without an X server.
pub fn screen() -> Option<Screen> {
    Server::connect()?.screen().ok()
}

/// Whether an input method runs, as for Korean, which the window does not reach.
pub fn has_input_method() -> bool {
    Server::connect().is_some_and(|server| server.has_input_method().unwrap_or(false))
}

/// The window's X11 identifier.
pub fn window_id(window: &WindowContext) -> Option<Window> {
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
    fn server(&mut self) -> Option<&Server> {
        if let Self::Unused = self {
            *self = Server::connect().map_or(Self::Failed, |server| Self::Connected(Box::new(server)));
        }
        match self {
            Self::Connected(server) => Some(server),
            Self::Unused | Self::Failed => None,
        }
    }

    /// Gives the keyboard focus to the host's window around the editor.
    pub fn focus_host(&mut self, window: &WindowContext) {
        let Some(window) = window_id(window) else { return };
        // While the editor is being closed, its window has no host window any more.
        if let Some(server) = self.server()
            && let Ok(Some(host)) = server.find_host_window(window)
        {
            let _ = server.focus(host);
        }
    }

    /// Left, top, right and bottom edge of `window` on the screen, in pixels.
    pub fn bounds(&mut self, window: Window) -> Option<Edges> {
        self.server()?.bounds(window).ok()
    }
}

x11rb::atom_manager! {
    /// Atoms of the protocol with window managers (Inter-Client Communication Conventions Manual, 4.1).
    Names: NamesCookie {
        // Window managers set this property on every window that they manage.
        WM_STATE,
        WM_PROTOCOLS,
        WM_TAKE_FOCUS,
        // Window managers set this property on the root window (Extended Window Manager Hints, "Root Window Properties").
        _NET_WORKAREA,
        // Input methods set this property on the root window (The Input Method Protocol, "Preconnection").
        XIM_SERVERS,
    }
}

/// A rectangle: left, top, right, bottom.
pub type Edges = [i32; 4];

fn edges(x: impl Into<i32>, y: impl Into<i32>, width: impl Into<i32>, height: impl Into<i32>) -> Edges {
    let (x, y) = (x.into(), y.into());
    [x, y, x + width.into(), y + height.into()]
}

/// A connection to the X server.
pub struct Server {
    connection: RustConnection,
    root: Window,
    names: Names,
}

impl Server {
    fn connect() -> Option<Self> {
        let (connection, screen) = x11rb::connect(None).ok()?;
        let names = Names::new(&connection).ok()?.reply().ok()?;
        let root = connection.setup().roots.get(screen)?.root;
        Some(Self { connection, root, names })
    }

    /// The monitor with the pointer, because hosts open windows where the user has just clicked.
    fn screen(&self) -> Result<Screen, ReplyError> {
        let root = self.connection.get_geometry(self.root)?.reply()?;
        let mut area = edges(0, 0, root.width, root.height);
        let pointer = self.connection.query_pointer(self.root)?.reply()?;
        let (x, y) = (i32::from(pointer.root_x), i32::from(pointer.root_y));
        // Without the RandR extension, all monitors count as one.
        if let Ok(monitors) = self.connection.randr_get_monitors(self.root, true)?.reply() {
            let monitors = monitors.monitors.iter();
            let mut areas = monitors.map(|it| edges(it.x, it.y, it.width, it.height));
            let has_pointer = |&[left, top, right, bottom]: &Edges| {
                (left..right).contains(&x) && (top..bottom).contains(&y)
            };
            area = areas.find(has_pointer).unwrap_or(area);
        }
        // One rectangle per virtual desktop, of x, y, width and height. The window manager may be missing.
        let free = self.connection.get_property(
            false,
            self.root,
            self.names._NET_WORKAREA,
            AtomEnum::CARDINAL,
            0,
            4,
        )?;
        let free: Vec<i32> =
            free.reply()?.value32().into_iter().flatten().map(|value| value as i32).collect();
        if let [x, y, width, height] = free[..] {
            let [left, top, right, bottom] = edges(x, y, width, height);
            area = [area[0].max(left), area[1].max(top), area[2].min(right), area[3].min(bottom)];
        }
        let length = |from: i32, to: i32| to.saturating_sub(from).max(0) as u32;
        let work_area = PhysicalSize::new(length(area[0], area[2]), length(area[1], area[3]));
        // As baseview reads it.
        let dpi = resource_manager::new_from_default(&self.connection)
            .ok()
            .and_then(|resources| resources.get_value::<u32>("Xft.dpi", "").ok().flatten());
        Ok(Screen { work_area, scale: dpi.map(|dpi| f64::from(dpi) / DPI_OF_SCALE_1) })
    }

    /// Whether one of the input methods that have registered still runs.
    fn has_input_method(&self) -> Result<bool, ReplyError> {
        let servers =
            self.connection.get_property(false, self.root, self.names.XIM_SERVERS, AtomEnum::ATOM, 0, 32)?;
        for server in servers.reply()?.value32().into_iter().flatten() {
            if self.connection.get_selection_owner(server)?.reply()?.owner != x11rb::NONE {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn bounds(&self, window: Window) -> Result<Edges, ReplyError> {
        let position = self.connection.translate_coordinates(window, self.root, 0, 0)?;
        let size = self.connection.get_geometry(window)?.reply()?;
        let position = position.reply()?;
        Ok(edges(position.dst_x, position.dst_y, size.width, size.height))
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
