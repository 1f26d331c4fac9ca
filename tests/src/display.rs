//! An X11 display without a screen, and a host's window on it for a plugin's editor.

use std::collections::HashSet;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};
use x11rb::connection::Connection;
use x11rb::protocol::xproto::{AtomEnum, ConnectionExt, CreateWindowAux, ImageFormat, PropMode, WindowClass};
use x11rb::rust_connection::RustConnection;
use x11rb::wrapper::ConnectionExt as _;

/// A display by the program Xvfb (Debian's `xvfb`), which is stopped on drop.
pub struct Display {
    server: Child,
    name: String,
}

impl Display {
    /// Starts Xvfb on a free display number, with a screen of `width` by `height` pixels.
    ///
    /// # Panics
    /// If Xvfb is missing, or opens no display.
    pub fn start(width: u16, height: u16) -> Self {
        Self::start_with(width, height, &[])
    }

    /// Starts Xvfb without OpenGL.
    ///
    /// # Panics
    /// As [`Self::start`].
    pub fn start_without_opengl(width: u16, height: u16) -> Self {
        Self::start_with(width, height, &["-extension", "GLX"])
    }

    fn start_with(width: u16, height: u16, options: &[&str]) -> Self {
        let mut server = Command::new("Xvfb")
            .args(["-displayfd", "1", "-screen", "0", &format!("{width}x{height}x24"), "-nolisten", "tcp"])
            .args(options)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("Xvfb is installed: `cargo xtask test` installs it");
        let mut number = String::new();
        let output = server.stdout.as_mut().expect("its output is a pipe");
        BufReader::new(output).read_line(&mut number).expect("Xvfb prints the number of its display");
        assert!(!number.trim().is_empty(), "Xvfb opened no display");
        Self { server, name: format!(":{}", number.trim()) }
    }

    /// The display's name, as the variable `DISPLAY` holds it.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl Drop for Display {
    fn drop(&mut self) {
        // Both fail where it has ended already.
        drop(self.server.kill());
        drop(self.server.wait());
    }
}

/// A host's window on the display of this process.
pub struct HostWindow {
    // The server closes the window with its connection.
    connection: RustConnection,
    id: u32,
    size: (u16, u16),
}

impl HostWindow {
    /// Opens a window of `width` by `height` pixels.
    ///
    /// # Errors
    /// If there is no display.
    pub fn open(width: u16, height: u16) -> Result<Self> {
        let (connection, screen) =
            x11rb::connect(None).context("cannot connect to the display that DISPLAY names")?;
        let screen = &connection.setup().roots[screen];
        let id = connection.generate_id()?;
        connection
            .create_window(
                screen.root_depth,
                id,
                screen.root,
                0,
                0,
                width,
                height,
                0,
                WindowClass::INPUT_OUTPUT,
                screen.root_visual,
                &CreateWindowAux::new(),
            )?
            .check()?;
        connection.map_window(id)?.check()?;
        Ok(Self { connection, id, size: (width, height) })
    }

    /// Sets the scale of the windows on the display, as desktops do, until this window closes.
    ///
    /// # Errors
    /// If the display does not accept it.
    pub fn set_display_scale(&self, scale: f64) -> Result<()> {
        let root = self.connection.query_tree(self.id)?.reply()?.root;
        let resources = format!("Xft.dpi:\t{:.0}\n", 96.0 * scale);
        let (property, kind) = (AtomEnum::RESOURCE_MANAGER, AtomEnum::STRING);
        self.connection
            .change_property8(PropMode::REPLACE, root, property, kind, resources.as_bytes())?
            .check()?;
        Ok(())
    }

    /// Width and height in pixels of the plugin's window in this one; `None` if there is none.
    ///
    /// # Errors
    /// If the display does not tell it.
    pub fn editor_size(&self) -> Result<Option<(u32, u32)>> {
        let Some(&editor) = self.connection.query_tree(self.id)?.reply()?.children.first() else {
            return Ok(None);
        };
        let geometry = self.connection.get_geometry(editor)?.reply()?;
        Ok(Some((geometry.width.into(), geometry.height.into())))
    }

    /// Destroys the plugin's window in this one, as hosts do that close it before they tell the plugin.
    ///
    /// # Errors
    /// If there is none.
    pub fn destroy_editor(&self) -> Result<()> {
        let children = self.connection.query_tree(self.id)?.reply()?.children;
        let editor = *children.first().context("the plugin has no window")?;
        Ok(self.connection.destroy_window(editor)?.check()?)
    }

    /// Whether a plugin has drawn its editor in the window: it has many more colours than an empty window.
    ///
    /// # Errors
    /// If the display does not give its pixels.
    pub fn is_drawn(&self) -> Result<bool> {
        const MIN_COLOURS: usize = 50;
        Ok(self.pixels()?.iter().collect::<HashSet<_>>().len() >= MIN_COLOURS)
    }

    /// Whether a pixel of the window has `colour` (red, green, blue), within the tolerance of dithering.
    ///
    /// # Errors
    /// If the display does not give its pixels.
    pub fn shows(&self, colour: [u8; 3]) -> Result<bool> {
        const TOLERANCE: u8 = 2;
        let is_near = |pixel: &[u8; 3]| (0..3).all(|part| pixel[part].abs_diff(colour[part]) <= TOLERANCE);
        Ok(self.pixels()?.iter().any(is_near))
    }

    /// Red, green and blue of each pixel.
    fn pixels(&self) -> Result<Vec<[u8; 3]>> {
        let (width, height) = self.size;
        let picture = self.connection.get_image(ImageFormat::Z_PIXMAP, self.id, 0, 0, width, height, !0)?;
        Ok(picture.reply()?.data.chunks_exact(4).map(|pixel| [pixel[2], pixel[1], pixel[0]]).collect())
    }

    /// The window's X11 id.
    pub fn id(&self) -> u32 {
        self.id
    }
}
