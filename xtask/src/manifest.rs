//! `bundler.toml`: names, identifiers, licence texts, and the pinned ONNX Runtime.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::platform::Platform;
use crate::project;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    pub plugin: Plugin,
    pub programs: Programs,
    /// File name in the bundle → path in the repository.
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
pub struct OnnxRuntime {
    pub version: String,
    /// The CPython version whose wheel is taken.
    pub python: String,
    /// By [`Platform::key`].
    pub wheels: BTreeMap<String, Wheel>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wheel {
    /// The wheel's platform tag.
    pub platform: String,
    /// The shared library's path within the wheel.
    pub library: String,
    /// Of the whole wheel, in lower-case hexadecimal digits.
    pub sha256: String,
}

impl Manifest {
    pub fn read() -> Result<Self> {
        let path = project::root().join("bundler.toml");
        let text =
            std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        toml::from_str(&text).with_context(|| path.display().to_string())
    }
}

impl OnnxRuntime {
    pub fn wheel(&self, platform: &Platform) -> Result<&Wheel> {
        let key = platform.key();
        let Some(wheel) = self.wheels.get(&key) else {
            let known: Vec<_> = self.wheels.keys().map(String::as_str).collect();
            bail!(
                "bundler.toml names no wheel of ONNX Runtime {} for {key}, only for {}; add [onnxruntime.wheels.{key}]",
                self.version,
                known.join(", ")
            );
        };
        Ok(wheel)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platform::System;

    #[test]
    fn the_repository_s_manifest_is_complete() {
        let manifest = Manifest::read().unwrap();
        assert!(!manifest.plugin.name.is_empty());
        for (name, path) in &manifest.licences {
            let path = project::root().join(path);
            assert!(path.is_file(), "licence {name}: no file {}", path.display());
        }
        for (key, wheel) in &manifest.onnxruntime.wheels {
            let hexadecimal = |c: char| matches!(c, '0'..='9' | 'a'..='f');
            assert!(
                wheel.sha256.len() == 64 && wheel.sha256.chars().all(hexadecimal),
                "{key}: {}",
                wheel.sha256
            );
        }
    }

    #[test]
    fn a_platform_without_a_wheel_is_named() {
        let platform = Platform { system: System::Linux, arch: "riscv64" };
        let manifest = Manifest::read().unwrap();
        let error = manifest.onnxruntime.wheel(&platform).unwrap_err();
        assert!(error.to_string().contains("linux-riscv64"), "{error}");
    }

    #[test]
    fn a_misspelt_field_is_an_error() {
        let error = toml::from_str::<Programs>("name = []").unwrap_err();
        assert!(error.to_string().contains("name"), "{error}");
    }
}
