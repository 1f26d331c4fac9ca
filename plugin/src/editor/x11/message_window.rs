//! A window with a message, drawn by the X server alone: where there is no OpenGL, the toolkit cannot draw.

use std::error::Error;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use x11rb::connection::Connection as _;
use x11rb::protocol::Event;
use x11rb::protocol::xproto::{
    AtomEnum, ClientMessageEvent, ConfigureWindowAux, ConnectionExt as _, CreateGCAux, CreateWindowAux,
    EventMask, Gcontext, PropMode, Window, WindowClass,
};
use x11rb::rust_connection::RustConnection;
use x11rb::wrapper::ConnectionExt as _;

use crate::editor::threads::EditorThreads;

/// A font that every X server has (X Window System, Xserver(1): the built-in fonts).
const FONT: &[u8] = b"fixed";
/// Height of a line, and the space around the text, in pixels.
const LINE_HEIGHT: i16 = 18;
const MARGIN: i16 = 20;
/// Colours with an alpha, which windows of 32 bits per pixel have.
const BACKGROUND: u32 = 0xff20_2024;
const TEXT: u32 = 0xffe6_e6e6;

x11rb::atom_manager! {
    Atoms: AtomsCookie {
        WM_PROTOCOLS,
        WM_DELETE_WINDOW,
    }
}

/// The window. Its thread ends with it.
pub struct MessageWindow {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    connection: RustConnection,
    window: Window,
    atoms: Atoms,
}

impl MessageWindow {
    /// Creates the window, of `width` by `height` pixels, in `parent` or on its own. It is not shown yet.
    ///
    /// `lines` are ASCII: the font has no other characters.
    pub fn create(
        parent: Option<Window>,
        (width, height): (u16, u16),
        lines: Vec<String>,
        threads: EditorThreads,
    ) -> Result<Self, Box<dyn Error>> {
        let (connection, screen) = x11rb::connect(None)?;
        let atoms = Atoms::new(&connection)?.reply()?;
        let screen = &connection.setup().roots[screen];
        let parent = parent.unwrap_or(screen.root);
        let (window, font, context) =
            (connection.generate_id()?, connection.generate_id()?, connection.generate_id()?);
        let events = EventMask::EXPOSURE | EventMask::STRUCTURE_NOTIFY;
        let events =
            CreateWindowAux::new().background_pixel(BACKGROUND).border_pixel(BACKGROUND).event_mask(events);
        let (class, copy) = (WindowClass::INPUT_OUTPUT, x11rb::COPY_FROM_PARENT);
        connection.create_window(0, window, parent, 0, 0, width, height, 0, class, copy, &events)?.check()?;
        let (name, kind) = (AtomEnum::WM_NAME, AtomEnum::STRING);
        connection.change_property8(PropMode::REPLACE, window, name, kind, b"Sift")?;
        let closing = [atoms.WM_DELETE_WINDOW];
        connection.change_property32(
            PropMode::REPLACE,
            window,
            atoms.WM_PROTOCOLS,
            AtomEnum::ATOM,
            &closing,
        )?;
        connection.open_font(font, FONT)?.check()?;
        let style = CreateGCAux::new().foreground(TEXT).background(BACKGROUND).font(font);
        connection.create_gc(context, window, &style)?.check()?;
        let shared = Arc::new(Shared { connection, window, atoms });
        let drawn = shared.clone();
        let thread = thread::Builder::new().spawn(move || {
            threads.enter();
            // The window's connection is lost with the display, and the window with it.
            let _ = drawn.run(context, &lines);
        })?;
        Ok(Self { shared, thread: Some(thread) })
    }

    pub fn set_parent(&self, parent: Window) -> Result<(), Box<dyn Error>> {
        Ok(self.shared.connection.reparent_window(self.shared.window, parent, 0, 0)?.check()?)
    }

    pub fn show(&self) -> Result<(), Box<dyn Error>> {
        Ok(self.shared.connection.map_window(self.shared.window)?.check()?)
    }

    pub fn hide(&self) -> Result<(), Box<dyn Error>> {
        Ok(self.shared.connection.unmap_window(self.shared.window)?.check()?)
    }

    pub fn set_size(&self, width: u32, height: u32) -> Result<(), Box<dyn Error>> {
        let size = ConfigureWindowAux::new().width(width).height(height);
        Ok(self.shared.connection.configure_window(self.shared.window, &size)?.check()?)
    }

    /// Shows the window until the user closes it.
    pub fn run_until_closed(mut self) -> Result<(), Box<dyn Error>> {
        self.show()?;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        Ok(())
    }
}

impl Drop for MessageWindow {
    fn drop(&mut self) {
        if let Some(thread) = self.thread.take() {
            // Without a connection, the thread has ended.
            let _ = self.shared.request_end();
            let _ = thread.join();
        }
    }
}

impl Shared {
    /// Draws the text whenever the server asks for it, until the window is closed.
    fn run(&self, context: Gcontext, lines: &[String]) -> Result<(), Box<dyn Error>> {
        loop {
            match self.connection.wait_for_event()? {
                Event::Expose(_) => {
                    for (line, index) in lines.iter().zip(1..) {
                        let text = &line.as_bytes()[..line.len().min(usize::from(u8::MAX))];
                        let y = MARGIN + index * LINE_HEIGHT;
                        self.connection.image_text8(self.window, context, MARGIN, y, text)?;
                    }
                    self.connection.flush()?;
                }
                Event::ClientMessage(message)
                    if message.data.as_data32()[0] == self.atoms.WM_DELETE_WINDOW =>
                {
                    self.connection.destroy_window(self.window)?;
                    self.connection.flush()?;
                }
                // By the message above, or with the host's window.
                Event::DestroyNotify(_) => return Ok(()),
                _ => {}
            }
        }
    }

    /// Sends the message by which window managers close windows.
    fn request_end(&self) -> Result<(), Box<dyn Error>> {
        let Atoms { WM_PROTOCOLS, WM_DELETE_WINDOW } = self.atoms;
        let data = [WM_DELETE_WINDOW, x11rb::CURRENT_TIME, 0, 0, 0];
        let message = ClientMessageEvent::new(32, self.window, WM_PROTOCOLS, data);
        self.connection.send_event(false, self.window, EventMask::NO_EVENT, message)?;
        Ok(self.connection.flush()?)
    }
}
