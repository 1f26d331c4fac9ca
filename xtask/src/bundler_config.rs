//! `bundler.toml`: names, identifiers, documents of the bundles, and the pinned ONNX Runtime.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use serde::de::Error;
use serde::{Deserialize, Deserializer};

use crate::paths;
use crate::platform::Platform;
use crate::portability::GlibcVersion;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BundlerConfig {
    pub plugin: Plugin,
    pub programs: Programs,
    pub linux: Linux,
    /// Path in the bundle's licence folder → path in the repository.
    pub licences: BTreeMap<String, PathBuf>,
    pub onnxruntime: OnnxRuntime,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plugin {
    pub name: String,
    pub package: String,
    pub library: String,
    pub identifier: String,
    pub copyright: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Programs {
    pub names: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Linux {
    /// The oldest glibc that release bundles run with.
    #[serde(deserialize_with = "glibc_version")]
    pub glibc: GlibcVersion,
}

fn glibc_version<'de, D: Deserializer<'de>>(deserializer: D) -> Result<GlibcVersion, D::Error> {
    String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
}

/// The pinned release of ONNX Runtime.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OnnxRuntime {
    pub version: String,
    /// The CPython version in the wheels' names.
    pub python: String,
    /// Wheels by [`Platform::key`].
    pub wheels: BTreeMap<String, Wheel>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wheel {
    /// The wheel's platform tag.
    pub platform: String,
    /// The shared library's path in the wheel.
    pub library: String,
    /// SHA-256 of the wheel, in lower-case hexadecimal digits.
    pub sha256: String,
}

impl BundlerConfig {
    pub fn read() -> Result<Self> {
        let path = paths::root().join("bundler.toml");
        let text =
            std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        toml::from_str(&text).with_context(|| path.display().to_string())
    }
}

impl OnnxRuntime {
    pub fn wheel(&self, platform: &Platform) -> Result<&Wheel> {
        let key = platform.key();
        let Some(wheel) = self.wheels.get(&key) else {
            if key == "macos-x86_64" {
                bail!(
                    "ONNX Runtime {}: not published for Intel Macs; expected Apple silicon. `cargo build --release --package \
                     sift` builds the command line, which uses the ONNX Runtime that ORT_DYLIB_PATH names.",
                    self.version
                );
            }
            let known: Vec<_> = self.wheels.keys().map(String::as_str).collect();
            bail!(
                "bundler.toml: no wheel of ONNX Runtime {} for {key}; expected one of {}. \
                 Add [onnxruntime.wheels.{key}].",
                self.version,
                known.join(", ")
            );
        };
        Ok(wheel)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::platform::System;

    #[test]
    fn bundler_toml_names_existing_files_and_full_hashes() {
        let config = BundlerConfig::read().unwrap();
        assert!(!config.plugin.name.is_empty());
        for (name, path) in &config.licences {
            let path = paths::root().join(path);
            assert!(path.is_file(), "[licences] {name}: no file {}", path.display());
        }
        for (key, wheel) in &config.onnxruntime.wheels {
            let is_hexadecimal = |c: char| matches!(c, '0'..='9' | 'a'..='f');
            assert!(
                wheel.sha256.len() == 64 && wheel.sha256.chars().all(is_hexadecimal),
                "{key}: {}",
                wheel.sha256
            );
        }
    }

    #[test]
    fn bundled_markdown_links_only_to_bundled_files() {
        let licences = BundlerConfig::read().unwrap().licences;
        for (name, path) in licences.iter().filter(|(name, _)| name.ends_with(".md")) {
            let text = std::fs::read_to_string(paths::root().join(path)).unwrap();
            let folder = Path::new(name).parent().unwrap();
            for link in text.split("](").skip(1).filter_map(|rest| rest.split_once(')')) {
                let target = link.0;
                let is_elsewhere = target.contains("://") || target.starts_with('#');
                let bundled = folder.join(target).to_string_lossy().replace('\\', "/");
                assert!(is_elsewhere || licences.contains_key(&bundled), "{name} links to {target}");
            }
        }
    }

    #[test]
    fn unknown_platform_is_named_in_the_error() {
        let platform = Platform { system: System::Linux, arch: "riscv64" };
        let config = BundlerConfig::read().unwrap();
        let error = config.onnxruntime.wheel(&platform).unwrap_err();
        assert!(error.to_string().contains("linux-riscv64"), "{error}");
    }

    #[test]
    fn intel_mac_is_told_what_can_be_built() {
        let platform = Platform { system: System::MacOs, arch: "x86_64" };
        let error = BundlerConfig::read().unwrap().onnxruntime.wheel(&platform).unwrap_err().to_string();
        assert!(error.contains("Intel Macs") && error.contains("ORT_DYLIB_PATH"), "{error}");
    }

    #[test]
    fn misspelt_field_is_an_error() {
        let error = toml::from_str::<Programs>("name = []").unwrap_err();
        assert!(error.to_string().contains("name"), "{error}");
    }
}
