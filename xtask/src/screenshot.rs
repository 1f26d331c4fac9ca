//! A picture of the standalone program's window, taken without a screen.

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::bundle::{self, Profile};
use crate::manifest::Manifest;
use crate::process::Run;
use crate::project;
use crate::setup::packages;

/// How long a window may take to appear.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long the window has to load its model and draw itself.
const SETTLING: Duration = Duration::from_secs(6);

pub fn screenshot() -> Result<()> {
    packages::ensure(packages::WINDOW)?;
    packages::ensure(packages::PICTURE)?;
    bundle::bundle(Profile::Release)?;
    let title = Manifest::read()?.plugin.name;

    let display = Display::open()?;
    let mut standalone = Background::start(
        Run::new(project::program(Profile::Release, "sift-standalone"))
            .args(["--backend", "dummy"])
            .env("DISPLAY", &display.name),
    )?;
    let window = wait_for_window(&display, &title, &mut standalone)?;
    std::thread::sleep(SETTLING);

    let picture = project::root().join("assets/screenshots/window.png");
    std::fs::create_dir_all(picture.parent().expect("the picture lies in a folder"))?;
    Run::new("import").args(["-window", &window]).arg(&picture).env("DISPLAY", &display.name).run()?;
    println!("wrote {}", picture.display());
    Ok(())
}

/// The id of the window that `program` shows under `title`.
fn wait_for_window(display: &Display, title: &str, program: &mut Background) -> Result<String> {
    let start = Instant::now();
    while start.elapsed() < PATIENCE {
        let found = Run::new("xdotool")
            .args(["search", "--onlyvisible", "--name"])
            .arg(format!("^{title}"))
            .env("DISPLAY", &display.name)
            .output()
            .context("cannot start xdotool")?;
        if let Some(window) = found.lines().next() {
            return Ok(window.to_owned());
        }
        if let Some(status) = program.0.try_wait()? {
            bail!("the standalone program ended with {status} before it showed a window");
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    bail!("no window called {title} within {} s", PATIENCE.as_secs())
}

/// An X server without a screen, which ends with this value.
struct Display {
    name: String,
    _server: Background,
}

impl Display {
    fn open() -> Result<Self> {
        let mut command = Run::new("Xvfb")
            .args(["-displayfd", "1", "-screen", "0", "1600x1200x24", "-nolisten", "tcp"])
            .into_command();
        command.stdout(Stdio::piped()).stderr(Stdio::null());
        let mut server = Background(command.spawn().context("cannot start Xvfb")?);
        let output = server.0.stdout.take().expect("standard output is piped");
        let mut number = String::new();
        BufReader::new(output).read_line(&mut number)?;
        if number.trim().is_empty() {
            bail!("Xvfb opened no display");
        }
        Ok(Self { name: format!(":{}", number.trim()), _server: server })
    }
}

/// A program that ends with this value.
struct Background(Child);

impl Background {
    fn start(command: Run) -> Result<Self> {
        let mut command = command.into_command();
        let child =
            command.spawn().with_context(|| format!("cannot start {}", command.get_program().display()))?;
        Ok(Self(child))
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
