//! Packages of the operating system. On Debian and its derivatives they are installed; on other Linux systems
//! the missing ones are listed. macOS and Windows need none.

use std::collections::HashSet;

use anyhow::{Result, bail};

use crate::process::{self, ToolCommand};

pub struct SystemPackage {
    /// Debian's name.
    name: &'static str,
    probe: Probe,
    purpose: &'static str,
}

/// How to find out whether a package's content is there, whatever installed it.
enum Probe {
    /// A program on the search path.
    Program(&'static str),
    /// A program with its version between these two parts of its name.
    NumberedProgram(&'static str, &'static str),
    /// A library with its headers, by pkg-config's name.
    Library(&'static str),
    /// A record of dpkg, because there is no program or header to look for. Not checked on other systems.
    Record,
}

const fn package(name: &'static str, probe: Probe, purpose: &'static str) -> SystemPackage {
    SystemPackage { name, probe, purpose }
}

const LINKER: SystemPackage = package("build-essential", Probe::Program("cc"), "links Rust programs");

/// Packages for compiling the demo.
pub const DEMO: &[SystemPackage] = &[LINKER];

/// Packages for compiling the workspace.
pub const BUILD: &[SystemPackage] = &[
    LINKER,
    package("pkg-config", Probe::Program("pkg-config"), "finds libraries"),
    package("libasound2-dev", Probe::Library("alsa"), "ALSA, for the standalone program"),
    package("libjack-jackd2-dev", Probe::Library("jack"), "JACK, for the standalone program"),
];

/// Packages for tests of the window: a virtual display, its window manager and JACK.
pub const DESKTOP: &[SystemPackage] = &[
    package("xvfb", Probe::Program("Xvfb"), "a virtual display"),
    package("openbox", Probe::Program("openbox"), "gives windows the keyboard focus"),
    package("xdotool", Probe::Program("xdotool"), "finds windows and types into them"),
    package("x11-xkb-utils", Probe::Program("setxkbmap"), "sets keyboard layouts"),
    package("libx11-data", Probe::Record, "sequences of dead keys"),
    package("imagemagick", Probe::Program("import"), "takes pictures of windows"),
    package("jackd2", Probe::Program("jackd"), "JACK server, without a sound card"),
    package("sndfile-tools", Probe::Program("sndfile-jackplay"), "plays files to a program"),
    package("libx11-xcb1", Probe::Record, "the window's connection to X11"),
    package("libxcursor1", Probe::Record, "the window's mouse pointer"),
    package("libxkbcommon-x11-0", Probe::Record, "the window's keyboard"),
    package("libgl1", Probe::Record, "OpenGL, which draws the window"),
    package("libgl1-mesa-dri", Probe::Record, "OpenGL without a graphics card"),
    package("libvulkan1", Probe::Record, "Vulkan, which draws the window in tests"),
    package("mesa-vulkan-drivers", Probe::Record, "Vulkan without a graphics card"),
];

/// Packages for the test by a screen reader's interface, AT-SPI.
pub const SCREEN_READER: &[SystemPackage] = &[
    package("dbus-daemon", Probe::Program("dbus-daemon"), "a session bus"),
    package("at-spi2-core", Probe::Record, "the bus of assistive technology"),
    package("python3-gi", Probe::Record, "bindings of the system's Python"),
    package("gir1.2-atspi-2.0", Probe::Record, "reads and operates windows as screen readers do"),
];

/// Packages for the test of the audio thread's system calls.
pub const TRACING: &[SystemPackage] =
    &[package("strace", Probe::Program("strace"), "lists the system calls of the audio thread")];

/// Packages for tests of audio files that the command line reads by other programs.
pub const AUDIO_FILES: &[SystemPackage] =
    &[package("ffmpeg", Probe::Program("ffmpeg"), "reads audio files in formats such as Opus")];

/// Packages for tests in a workstation. Debian 12 has Ardour 7, Debian 13 has Ardour 8.
pub const WORKSTATION: &[SystemPackage] = &[package(
    "ardour",
    Probe::NumberedProgram("ardour", "-lua"),
    "the workstation that the plugin is tested in",
)];

/// Packages for making Python environments; see [`super::python`].
pub const VENV: &[SystemPackage] = &[package("python3-venv", Probe::Record, "makes Python environments")];

/// Installs those of `packages` that are missing.
///
/// # Errors
/// They cannot be installed automatically. The error lists them and names the remedy.
pub fn ensure(packages: &[SystemPackage]) -> Result<()> {
    if !cfg!(target_os = "linux") {
        return Ok(());
    }
    let debian = process::is_on_path("apt-get") && process::is_on_path("dpkg-query");
    let recorded = if debian { recorded(packages) } else { HashSet::new() };
    let missing: Vec<&SystemPackage> = packages
        .iter()
        .filter(|package| match package.probe {
            Probe::Program(program) => !process::is_on_path(program),
            Probe::NumberedProgram(beginning, end) => !process::is_on_path_with_number(beginning, end),
            Probe::Library(library) => !has_library(library),
            Probe::Record => debian && !recorded.contains(package.name),
        })
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    if !debian {
        bail!("system packages are missing. Install them (the names are Debian's):\n{}", list(&missing));
    }
    install(&missing)
}

fn install(missing: &[&SystemPackage]) -> Result<()> {
    let names: Vec<&str> = missing.iter().map(|package| package.name).collect();
    let root = ToolCommand::new("id").arg("-u").output().is_some_and(|id| id.trim() == "0");
    if !root && !process::is_on_path("sudo") {
        bail!(
            "system packages are missing, and there is no sudo. As root, run:\n  apt-get update && apt-get install {}",
            names.join(" ")
        );
    }
    for package in missing {
        super::announce(package.name, package.purpose);
    }
    let apt_get = || {
        let command = if root { ToolCommand::new("env") } else { ToolCommand::new("sudo").arg("env") };
        command.args(["DEBIAN_FRONTEND=noninteractive", "apt-get", "--yes", "--quiet"])
    };
    apt_get().arg("update").run()?;
    apt_get().args(["install", "--no-install-recommends"]).args(names).run()
}

fn has_library(name: &str) -> bool {
    ToolCommand::new("pkg-config").args(["--exists", name]).succeeds()
}

/// The names of those of `packages` that dpkg has installed.
fn recorded(packages: &[SystemPackage]) -> HashSet<String> {
    let answer = ToolCommand::new("dpkg-query")
        .args(["--show", "--showformat", "${db:Status-Abbrev} ${Package}\n"])
        .args(packages.iter().map(|package| package.name))
        .output();
    installed(&answer.unwrap_or_default())
}

/// The installed packages in dpkg-query's `answer`: status `ii`, or `hi` for packages on hold.
fn installed(answer: &str) -> HashSet<String> {
    answer
        .lines()
        .filter_map(|line| line.split_once(' '))
        .filter(|(status, _)| status.as_bytes().get(1) == Some(&b'i'))
        .map(|(_, name)| name.trim().to_owned())
        .collect()
}

fn list(packages: &[&SystemPackage]) -> String {
    packages
        .iter()
        .map(|package| format!("  {}: {}", package.name, package.purpose))
        .collect::<Vec<_>>()
        .join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn removed_package_with_configuration_is_not_installed() {
        let answer = "ii  libgl1\nhi  xvfb\nrc  ardour\nun  xdotool\n";
        let expected = ["libgl1", "xvfb"].map(str::to_owned);
        assert_eq!(installed(answer), HashSet::from(expected));
    }

    #[test]
    fn missing_packages_are_listed_with_their_purpose() {
        let missing: Vec<&SystemPackage> = WORKSTATION.iter().collect();
        assert_eq!(list(&missing), "  ardour: the workstation that the plugin is tested in");
    }

    #[test]
    fn no_packages_need_no_set_up() {
        ensure(&[]).unwrap();
    }
}
