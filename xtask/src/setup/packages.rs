//! Packages of the operating system. Debian and its relatives have them installed; elsewhere on
//! Linux, what is missing is listed. macOS and Windows need none.

use std::collections::HashSet;

use anyhow::{Result, bail};

use crate::process::{self, Run};

pub struct Package {
    /// Debian's name for it.
    name: &'static str,
    found_by: Probe,
    purpose: &'static str,
}

/// How to tell whether something is there, wherever it came from.
enum Probe {
    /// A program on the search path.
    Program(&'static str),
    /// A library with its headers, as pkg-config names it.
    Library(&'static str),
    /// Nothing but Debian's own records tell. Not looked for on other systems.
    Record,
}

const fn package(name: &'static str, found_by: Probe, purpose: &'static str) -> Package {
    Package { name, found_by, purpose }
}

/// To compile the workspace.
pub const BUILD: &[Package] = &[
    package("build-essential", Probe::Program("cc"), "links Rust programs"),
    package("pkg-config", Probe::Program("pkg-config"), "finds libraries"),
    package("libasound2-dev", Probe::Library("alsa"), "ALSA, for the standalone program"),
    package("libjack-jackd2-dev", Probe::Library("jack"), "JACK, for the standalone program"),
];

/// To show a window without a screen, type into it, take pictures of it, and play through it.
pub const DESKTOP: &[Package] = &[
    package("xvfb", Probe::Program("Xvfb"), "a display without a screen"),
    package("openbox", Probe::Program("openbox"), "gives windows the keyboard"),
    package("xdotool", Probe::Program("xdotool"), "finds windows and types into them"),
    package("imagemagick", Probe::Program("import"), "takes the picture"),
    package("jackd2", Probe::Program("jackd"), "sound without a sound card"),
    package("sndfile-tools", Probe::Program("sndfile-jackplay"), "plays into a program"),
    package("libx11-xcb1", Probe::Record, "the window's connection to X11"),
    package("libxcursor1", Probe::Record, "the window's mouse pointer"),
    package("libxkbcommon-x11-0", Probe::Record, "the window's keyboard"),
    package("libgl1", Probe::Record, "the window draws with OpenGL"),
    package("libgl1-mesa-dri", Probe::Record, "OpenGL without a graphics card"),
    package("libvulkan1", Probe::Record, "the pictures that tests of the window draw"),
    package("mesa-vulkan-drivers", Probe::Record, "Vulkan without a graphics card"),
];

/// To watch what the audio thread asks of the system.
pub const TRACING: &[Package] =
    &[package("strace", Probe::Program("strace"), "lists the system calls of the audio thread")];

/// To test the plugin in a real workstation's engine.
pub const WORKSTATION: &[Package] =
    &[package("ardour", Probe::Program("ardour7-lua"), "the workstation that the plugin is tested in")];

/// To make Python environments; see [`super::python`].
pub const VENV: &[Package] = &[package("python3-venv", Probe::Record, "makes Python environments")];

/// Installs those of `packages` that are missing.
///
/// # Errors
/// Where they cannot be installed from here: names them and what to do.
pub fn ensure(packages: &[Package]) -> Result<()> {
    if !cfg!(target_os = "linux") {
        return Ok(());
    }
    let debian = process::on_path("apt-get") && process::on_path("dpkg-query");
    let recorded = if debian { recorded(packages) } else { HashSet::new() };
    let missing: Vec<&Package> = packages
        .iter()
        .filter(|package| match package.found_by {
            Probe::Program(program) => !process::on_path(program),
            Probe::Library(library) => !has_library(library),
            Probe::Record => debian && !recorded.contains(package.name),
        })
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    if !debian {
        bail!(
            "missing, and to be installed by this system's own means (Debian's names):\n{}",
            list(&missing)
        );
    }
    install(&missing)
}

fn install(missing: &[&Package]) -> Result<()> {
    let names: Vec<&str> = missing.iter().map(|package| package.name).collect();
    let root = Run::new("id").arg("-u").output().is_some_and(|id| id.trim() == "0");
    if !root && !process::on_path("sudo") {
        bail!(
            "installing needs root, and there is no sudo. As root:\n  apt-get update && apt-get install {}",
            names.join(" ")
        );
    }
    for package in missing {
        super::announce(package.name, package.purpose);
    }
    let apt_get = || {
        let command = if root { Run::new("env") } else { Run::new("sudo").arg("env") };
        command.args(["DEBIAN_FRONTEND=noninteractive", "apt-get", "--yes", "--quiet"])
    };
    apt_get().arg("update").run()?;
    apt_get().args(["install", "--no-install-recommends"]).args(names).run()
}

fn has_library(name: &str) -> bool {
    Run::new("pkg-config").args(["--exists", name]).succeeds()
}

/// Those of `packages` that Debian has installed.
fn recorded(packages: &[Package]) -> HashSet<String> {
    let answer = Run::new("dpkg-query")
        .args(["--show", "--showformat", "${db:Status-Abbrev} ${Package}\n"])
        .args(packages.iter().map(|package| package.name))
        .output();
    installed(&answer.unwrap_or_default())
}

/// The packages that dpkg-query's `answer` says are installed: status `ii`, or `hi` for those held.
fn installed(answer: &str) -> HashSet<String> {
    answer
        .lines()
        .filter_map(|line| line.split_once(' '))
        .filter(|(status, _)| status.as_bytes().get(1) == Some(&b'i'))
        .map(|(_, name)| name.trim().to_owned())
        .collect()
}

fn list(packages: &[&Package]) -> String {
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
    fn only_packages_whose_files_are_there_count_as_installed() {
        let answer = "ii  libgl1\nhi  xvfb\nrc  ardour\nun  xdotool\n";
        let expected = ["libgl1", "xvfb"].map(str::to_owned);
        assert_eq!(installed(answer), HashSet::from(expected));
    }

    #[test]
    fn what_is_missing_is_listed_with_its_purpose() {
        let missing: Vec<&Package> = WORKSTATION.iter().collect();
        assert_eq!(list(&missing), "  ardour: the workstation that the plugin is tested in");
    }

    #[test]
    fn nothing_is_asked_of_a_machine_for_nothing() {
        ensure(&[]).unwrap();
    }
}
