//! An X11 display without a screen, and a window on it for a plugin to open its own in.

use std::collections::HashSet;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result};
use x11rb::connection::Connection;
use x11rb::protocol::xproto::{ConnectionExt, CreateWindowAux, ImageFormat, WindowClass};
use x11rb::rust_connection::RustConnection;

/// A display by Debian's `xvfb`, which ends with it.
pub struct Display {
    server: Child,
    name: String,
}

impl Display {
    /// # Panics
    /// If there is no Xvfb, or it opens no display.
    pub fn start() -> Self {
        let mut server = Command::new("Xvfb")
            .args(["-displayfd", "1", "-screen", "0", "1600x1200x24", "-nolisten", "tcp"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("Xvfb starts: `cargo xtask test` installs it");
        let mut number = String::new();
        let output = server.stdout.as_mut().expect("its output is a pipe");
        BufReader::new(output).read_line(&mut number).expect("Xvfb tells its display");
        assert!(!number.trim().is_empty(), "Xvfb opened no display");
        Self { server, name: format!(":{}", number.trim()) }
    }

    /// As `DISPLAY` has it.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl Drop for Display {
    fn drop(&mut self) {
        // It has ended already, or ends now.
        drop(self.server.kill());
        drop(self.server.wait());
    }
}

/// A host's window on the display of this process.
pub struct HostWindow {
    // Closes the window when it goes.
    connection: RustConnection,
    id: u32,
    size: (u16, u16),
}

impl HostWindow {
    /// # Errors
    /// If there is no display.
    pub fn open(width: u16, height: u16) -> Result<Self> {
        let (connection, screen) = x11rb::connect(None).context("there is no display")?;
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

    /// Whether a plugin has drawn its own on it: that has many more colours than an empty window.
    ///
    /// # Errors
    /// If the display does not tell.
    pub fn is_drawn(&self) -> Result<bool> {
        const COLOURS: usize = 50;
        Ok(self.pixels()?.iter().collect::<HashSet<_>>().len() >= COLOURS)
    }

    /// Whether it or what lies in it has a spot of `colour`, red, green and blue, give or take what dithering does.
    ///
    /// # Errors
    /// If the display does not tell.
    pub fn shows(&self, colour: [u8; 3]) -> Result<bool> {
        let is_near = |pixel: &[u8; 3]| (0..3).all(|part| pixel[part].abs_diff(colour[part]) <= 2);
        Ok(self.pixels()?.iter().any(is_near))
    }

    /// Red, green and blue of each.
    fn pixels(&self) -> Result<Vec<[u8; 3]>> {
        let (width, height) = self.size;
        let picture = self.connection.get_image(ImageFormat::Z_PIXMAP, self.id, 0, 0, width, height, !0)?;
        Ok(picture.reply()?.data.chunks_exact(4).map(|pixel| [pixel[2], pixel[1], pixel[0]]).collect())
    }

    /// The number by which X11 knows it.
    pub fn id(&self) -> u32 {
        self.id
    }
}
