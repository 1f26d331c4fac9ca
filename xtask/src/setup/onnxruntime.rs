//! ONNX Runtime, from the wheel that `bundler.toml` pins.

use std::fs::{self, File};
use std::io::{self, Read, Seek};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use zip::ZipArchive;

use super::python;
use crate::bundler_config::{OnnxRuntime, Wheel};
use crate::platform::{self, Platform};
use crate::process::ToolCommand;

/// Files with licence texts in the wheel's folder `onnxruntime`.
const LICENCES: [&str; 2] = ["LICENSE", "ThirdPartyNotices.txt"];

/// ONNX Runtime's files in the cache folder.
pub struct OnnxRuntimeFiles {
    /// The shared library, with the file name that the engine looks for.
    pub library: PathBuf,
    pub licences: Vec<PathBuf>,
}

/// Downloads the pinned ONNX Runtime to the cache folder unless it is there.
pub fn ensure(pinned: &OnnxRuntime, platform: &Platform) -> Result<OnnxRuntimeFiles> {
    let wheel = pinned.wheel(platform)?;
    let cache = platform::cache()?;
    let folder = cache.join(format!("onnxruntime-{}", pinned.version));
    let files = OnnxRuntimeFiles {
        library: folder.join(platform.onnxruntime()),
        licences: LICENCES.iter().map(|name| folder.join(name)).collect(),
    };
    if files.library.is_file() {
        return Ok(files);
    }

    super::announce(
        &format!("ONNX Runtime {} in {}", pinned.version, folder.display()),
        "it runs the networks",
    );
    let scratch = super::partial(&folder);
    let result = download(pinned, wheel, &scratch)
        .and_then(|file| {
            verify(&file, &wheel.sha256)?;
            let complete = scratch.join("unpacked");
            unpack(&file, wheel, platform.onnxruntime(), &complete)?;
            super::move_into_place(&complete, &folder)
        })
        .map(|()| files);
    let _ = fs::remove_dir_all(&scratch);
    result
}

/// Downloads the wheel into `folder` by pip. Works for any platform and with any version of Python.
fn download(pinned: &OnnxRuntime, wheel: &Wheel, folder: &Path) -> Result<PathBuf> {
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let python = python::with_pip(&folder.join("python"))?;
    ToolCommand::new(python)
        .args(["-m", "pip", "download", "--quiet", "--disable-pip-version-check"])
        .args(["--no-deps", "--only-binary=:all:", "--implementation", "cp"])
        .args(["--python-version", &pinned.python])
        .args(["--platform", &wheel.platform])
        .arg("--dest")
        .arg(folder)
        .arg(format!("onnxruntime=={}", pinned.version))
        .run()?;
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "whl") {
            return Ok(path);
        }
    }
    bail!("{}: no wheel after `pip download`", folder.display())
}

/// Checks that `file` has the SHA-256 `expected`.
fn verify(file: &Path, expected: &str) -> Result<()> {
    let reader = File::open(file).with_context(|| format!("cannot open {}", file.display()))?;
    let found = super::sha256(reader)?;
    if found != expected {
        bail!(
            "{}: SHA-256 is {found}; expected {expected}, which bundler.toml names. The file is not used.",
            file.display()
        );
    }
    Ok(())
}

/// Extracts the shared library, as `library`, and the licences from the wheel into `folder`.
fn unpack(file: &Path, wheel: &Wheel, library: &str, folder: &Path) -> Result<()> {
    let mut archive =
        ZipArchive::new(File::open(file)?).with_context(|| format!("cannot read {}", file.display()))?;
    fs::create_dir_all(folder)?;
    extract(&mut archive, &wheel.library, &folder.join(library))?;
    for name in LICENCES {
        extract(&mut archive, &format!("onnxruntime/{name}"), &folder.join(name))?;
    }
    Ok(())
}

fn extract(archive: &mut ZipArchive<impl Read + Seek>, name: &str, to: &Path) -> Result<()> {
    let mut entry = archive.by_name(name).with_context(|| format!("{name}: not in the wheel"))?;
    let mut output = File::create(to).with_context(|| format!("cannot write {}", to.display()))?;
    io::copy(&mut entry, &mut output).with_context(|| format!("cannot extract {name}"))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use zip::write::{SimpleFileOptions, ZipWriter};

    fn wheel(library: &str) -> Wheel {
        Wheel { platform: String::new(), library: library.to_owned(), sha256: String::new() }
    }

    fn write_wheel(path: &Path, entries: &[&str]) {
        let mut writer = ZipWriter::new(File::create(path).unwrap());
        for entry in entries {
            writer.start_file(*entry, SimpleFileOptions::default()).unwrap();
            writer.write_all(entry.as_bytes()).unwrap();
        }
        writer.finish().unwrap();
    }

    #[test]
    fn file_with_another_hash_is_an_error() {
        let scratch = tempfile::tempdir().unwrap();
        let file = scratch.path().join("abc");
        fs::write(&file, "abc").unwrap();
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        verify(&file, abc).unwrap();

        fs::write(&file, "abd").unwrap();
        let error = verify(&file, abc).unwrap_err().to_string();
        assert!(error.contains(abc) && error.contains("abc:"), "{error}");
    }

    #[test]
    fn unpacking_extracts_the_library_and_the_licences() {
        let scratch = tempfile::tempdir().unwrap();
        let file = scratch.path().join("a.whl");
        let library = "onnxruntime/capi/libonnxruntime.so.1";
        let entries =
            [library, "onnxruntime/LICENSE", "onnxruntime/ThirdPartyNotices.txt", "onnxruntime/other.py"];
        write_wheel(&file, &entries);

        let folder = scratch.path().join("unpacked");
        unpack(&file, &wheel(library), "libonnxruntime.so", &folder).unwrap();
        assert_eq!(fs::read_to_string(folder.join("libonnxruntime.so")).unwrap(), library);
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 3);
    }

    #[test]
    fn missing_library_in_the_wheel_is_an_error() {
        let scratch = tempfile::tempdir().unwrap();
        let file = scratch.path().join("a.whl");
        write_wheel(&file, &["onnxruntime/LICENSE"]);
        let folder = scratch.path().join("unpacked");
        let error = unpack(&file, &wheel("onnxruntime/lib.so"), "lib.so", &folder).unwrap_err();
        assert!(error.to_string().contains("onnxruntime/lib.so"), "{error}");
    }
}
