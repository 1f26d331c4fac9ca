//! File names and folders that depend on the operating system.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum System {
    Linux,
    MacOs,
    Windows,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Platform {
    pub system: System,
    /// The architecture, as in [`std::env::consts::ARCH`].
    pub arch: &'static str,
}

impl Platform {
    /// The platform of the running program.
    pub fn current() -> Result<Self> {
        let system = match std::env::consts::OS {
            "linux" => System::Linux,
            "macos" => System::MacOs,
            "windows" => System::Windows,
            other => bail!("operating system {other}: not supported; expected Linux, macOS or Windows"),
        };
        Ok(Self { system, arch: std::env::consts::ARCH })
    }

    /// The platform's key in `bundler.toml`, such as `linux-x86_64`.
    pub fn key(&self) -> String {
        let system = match self.system {
            System::Linux => "linux",
            System::MacOs => "macos",
            System::Windows => "windows",
        };
        format!("{system}-{}", self.arch)
    }

    /// Rust's target triple.
    pub fn target(&self) -> String {
        let system = match self.system {
            System::Linux => "unknown-linux-gnu",
            System::MacOs => "apple-darwin",
            System::Windows => "pc-windows-msvc",
        };
        format!("{}-{system}", self.arch)
    }

    /// The file name of a cdylib.
    pub fn cdylib(&self, library: &str) -> String {
        match self.system {
            System::Linux => format!("lib{library}.so"),
            System::MacOs => format!("lib{library}.dylib"),
            System::Windows => format!("{library}.dll"),
        }
    }

    /// ONNX Runtime's file name. The engine looks for it beside its own binary.
    pub fn onnxruntime(&self) -> &'static str {
        match self.system {
            System::Linux => "libonnxruntime.so",
            System::MacOs => "libonnxruntime.dylib",
            System::Windows => "onnxruntime.dll",
        }
    }

    /// The plugin binary's path in `NAME.vst3`, as the VST3 SDK prescribes.
    pub fn vst3_binary(&self, name: &str) -> PathBuf {
        match self.system {
            System::Linux => format!("Contents/{}-linux/{name}.so", self.arch).into(),
            System::MacOs => format!("Contents/MacOS/{name}").into(),
            System::Windows => {
                let arch = match self.arch {
                    "aarch64" => "arm64",
                    other => other,
                };
                format!("Contents/{arch}-win/{name}.vst3").into()
            }
        }
    }

    /// The plugin folders of one user.
    ///
    /// `home` is the home folder; on Windows, the folder of local application data.
    pub fn plugin_folders(&self, home: &Path) -> PluginFolders {
        let (vst3, clap) = match self.system {
            System::Linux => (".vst3", ".clap"),
            System::MacOs => ("Library/Audio/Plug-Ins/VST3", "Library/Audio/Plug-Ins/CLAP"),
            System::Windows => ("Programs/Common/VST3", "Programs/Common/CLAP"),
        };
        PluginFolders { vst3: home.join(vst3), clap: home.join(clap) }
    }
}

#[derive(Debug, PartialEq, Eq)]
pub struct PluginFolders {
    pub vst3: PathBuf,
    pub clap: PathBuf,
}

/// The folder that contains the user's plugin folders; see [`Platform::plugin_folders`].
pub fn home() -> Result<PathBuf> {
    let variable = if cfg!(windows) { "LOCALAPPDATA" } else { "HOME" };
    std::env::var_os(variable)
        .map(PathBuf::from)
        .with_context(|| format!("environment variable {variable}: not set; expected a folder"))
}

/// The folder for downloads and Python environments, shared by all working copies.
pub fn cache() -> Result<PathBuf> {
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    if let Some(folder) = variable("SIFT_CACHE") {
        return Ok(std::path::absolute(folder)?);
    }
    if let Some(folder) = variable("XDG_CACHE_HOME") {
        return Ok(PathBuf::from(folder).join("sift"));
    }
    Ok(home()?.join(".cache/sift"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINUX: Platform = Platform { system: System::Linux, arch: "x86_64" };
    const WINDOWS_ON_ARM: Platform = Platform { system: System::Windows, arch: "aarch64" };

    #[test]
    fn vst3_binary_paths_follow_the_sdk() {
        let mac = Platform { system: System::MacOs, arch: "aarch64" };
        let binary = |platform: Platform| platform.vst3_binary("Sift");
        assert_eq!(binary(LINUX), Path::new("Contents/x86_64-linux/Sift.so"));
        assert_eq!(binary(mac), Path::new("Contents/MacOS/Sift"));
        assert_eq!(binary(WINDOWS_ON_ARM), Path::new("Contents/arm64-win/Sift.vst3"));
    }

    #[test]
    fn plugin_folders_are_in_the_home_folder() {
        let folders = LINUX.plugin_folders(Path::new("home"));
        assert_eq!(folders.vst3, Path::new("home/.vst3"));
        assert_eq!(folders.clap, Path::new("home/.clap"));
    }

    #[test]
    fn current_platform_key_ends_with_its_architecture() {
        let key = Platform::current().unwrap().key();
        assert!(key.ends_with(std::env::consts::ARCH), "{key}");
    }
}
