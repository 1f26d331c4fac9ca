//! What a user can do if ONNX Runtime is missing or cannot be loaded, which differs by system.

use std::env::consts::{ARCH, OS};
use std::path::{Path, PathBuf};

/// Files of Microsoft's Visual C++ runtime that `onnxruntime.dll` needs, and that a new Windows lacks.
const VISUAL_C_FILES: [&str; 4] =
    ["MSVCP140.dll", "MSVCP140_1.dll", "VCRUNTIME140.dll", "VCRUNTIME140_1.dll"];

/// Where Microsoft offers them.
const REDISTRIBUTABLE: &str = "https://learn.microsoft.com/cpp/windows/latest-supported-vc-redist";

/// The remedy if the file is missing.
pub fn of_missing_file() -> &'static str {
    missing_file_on(OS, ARCH)
}

/// The remedy if the library at `path` cannot be loaded.
pub fn of_unusable(path: &Path) -> String {
    let system_folder = std::env::var_os("SystemRoot").map(|root| PathBuf::from(root).join("System32"));
    let folders: Vec<_> = path.parent().map(Path::to_owned).into_iter().chain(system_folder).collect();
    unusable_on(OS, path, &folders)
}

fn missing_file_on(system: &str, processor: &str) -> &'static str {
    match (system, processor) {
        ("macos", "x86_64") => {
            "There is no ONNX Runtime 1.32 for Intel Macs. Set ORT_DYLIB_PATH to the full path of one that you have built"
        }
        ("windows", _) => {
            "If an antivirus program has taken the file away, restore it there. Otherwise install Sift again, or set ORT_DYLIB_PATH to the full path of ONNX Runtime"
        }
        _ => "Install Sift again, or set ORT_DYLIB_PATH to the full path of ONNX Runtime",
    }
}

/// `folders` are those in which Windows looks for the files that the library needs.
fn unusable_on(system: &str, path: &Path, folders: &[PathBuf]) -> String {
    let is_missing = |file: &&str| !folders.iter().any(|folder| folder.join(file).is_file());
    let missing: Vec<_> = VISUAL_C_FILES.into_iter().filter(is_missing).collect();
    match system {
        "windows" if !missing.is_empty() => format!(
            "{} of Microsoft's Visual C++ runtime are missing. Install \"Microsoft Visual C++ Redistributable\" from {REDISTRIBUTABLE}",
            missing.join(", ")
        ),
        "macos" => format!(
            "ONNX Runtime 1.32 needs macOS 14 or newer. If macOS refuses it as downloaded, run `xattr -d com.apple.quarantine '{}'`. Otherwise install Sift again, or set ORT_DYLIB_PATH to another ONNX Runtime",
            path.display()
        ),
        _ => "Install Sift again, or set ORT_DYLIB_PATH to another ONNX Runtime".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_file_is_explained_by_system() {
        let cases = [
            ("macos", "x86_64", "Intel Macs"),
            ("windows", "x86_64", "antivirus"),
            ("linux", "x86_64", "again"),
        ];
        for (system, processor, part) in cases {
            let remedy = missing_file_on(system, processor);
            assert!(remedy.contains(part) && remedy.contains("ORT_DYLIB_PATH"), "{remedy}");
        }
        assert!(!missing_file_on("macos", "aarch64").contains("Intel"));
    }

    #[test]
    fn missing_files_of_visual_c_are_named_on_windows() {
        let (own, system) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::fs::write(own.path().join("MSVCP140.dll"), "").unwrap();
        std::fs::write(system.path().join("VCRUNTIME140.dll"), "").unwrap();
        let path = own.path().join("onnxruntime.dll");
        let folders = [own.path().to_owned(), system.path().to_owned()];
        let remedy = unusable_on("windows", &path, &folders);
        assert!(remedy.starts_with("MSVCP140_1.dll, VCRUNTIME140_1.dll of"), "{remedy}");
        assert!(remedy.contains("https://learn.microsoft.com/"), "{remedy}");
        for file in ["MSVCP140_1.dll", "VCRUNTIME140_1.dll"] {
            std::fs::write(system.path().join(file), "").unwrap();
        }
        assert!(!unusable_on("windows", &path, &folders).contains("Visual C++"));
        assert!(!unusable_on("linux", &path, &[]).contains("Visual C++"));
    }

    #[test]
    fn refusal_of_macos_is_explained_by_its_version_or_quarantine() {
        let remedy = unusable_on("macos", Path::new("/there/libonnxruntime.dylib"), &[]);
        assert!(remedy.contains("com.apple.quarantine '/there/libonnxruntime.dylib'"), "{remedy}");
        assert!(remedy.contains("macOS 14"), "{remedy}");
    }
}
