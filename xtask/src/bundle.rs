//! The plugin's bundles: laid out in a scratch folder, then renamed into place whole, so that a host
//! never loads half a file.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::manifest::{Manifest, Plugin};
use crate::notices;
use crate::platform::{Platform, System};
use crate::process::Run;
use crate::project;
use crate::setup::{onnxruntime, packages};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    Dev,
    Release,
}

impl Profile {
    /// Cargo's folder for it, within the target folder.
    pub fn folder(self) -> &'static str {
        match self {
            Self::Dev => "debug",
            Self::Release => "release",
        }
    }
}

/// The finished bundles.
pub struct Bundles {
    pub folder: PathBuf,
    /// `Sift.vst3`, always a folder.
    pub vst3: PathBuf,
    /// `Sift.clap`: a folder on macOS, elsewhere a file with what it needs beside it.
    pub clap: PathBuf,
    /// What has to go along with `clap` wherever it is copied; nothing on macOS.
    pub beside_clap: Vec<PathBuf>,
}

/// What bundles are made of.
struct Parts {
    plugin: Plugin,
    platform: Platform,
    version: String,
    /// The cdylib as cargo built it.
    binary: PathBuf,
    onnxruntime: PathBuf,
    /// File name in the bundle, and the file.
    licences: Vec<(String, PathBuf)>,
}

/// Sets up, builds the workspace, and bundles.
pub fn bundle(profile: Profile) -> Result<Bundles> {
    packages::ensure(packages::BUILD)?;
    let manifest = Manifest::read()?;
    let platform = Platform::current()?;
    let runtime = onnxruntime::ensure(&manifest.onnxruntime, &platform)?;
    build(profile)?;

    let output = project::target().join(profile.folder());
    for name in &manifest.programs.names {
        let program = project::program(profile, name);
        if !program.is_file() {
            bail!("cargo built no {}, which bundler.toml names in [programs]", program.display());
        }
    }
    replace(&output.join(platform.onnxruntime()), |to| copy(&runtime.library, to))?;

    let mut licences: Vec<(String, PathBuf)> =
        manifest.licences.iter().map(|(name, path)| (name.clone(), project::root().join(path))).collect();
    for path in runtime.licences {
        let name = path.file_name().expect("a licence is a file").to_string_lossy();
        licences.push((format!("onnxruntime-{name}"), path));
    }
    let notices = output.join("rust-packages.txt");
    notices::write(&manifest.plugin.package, &platform, &notices)?;
    licences.push(("rust-packages.txt".to_owned(), notices));
    let parts = Parts {
        binary: output.join(platform.cdylib(&manifest.plugin.library)),
        plugin: manifest.plugin,
        platform,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        onnxruntime: runtime.library,
        licences,
    };
    let bundles = assemble(&parts, &project::target().join("bundled"))?;
    println!("bundled {} and {}", bundles.vst3.display(), bundles.clap.display());
    Ok(bundles)
}

/// Builds all libraries and programs but this one, which is running. Always the same selection, so
/// that cargo chooses the same features and builds every dependency once.
fn build(profile: Profile) -> Result<()> {
    let command = Run::cargo().args(["build", "--workspace", "--exclude", "xtask"]);
    match profile {
        Profile::Dev => command,
        Profile::Release => command.arg("--release"),
    }
    .run()
}

/// Puts the bundles of both formats into `folder`, in place of those that are there.
fn assemble(parts: &Parts, folder: &Path) -> Result<Bundles> {
    let (name, platform) = (&parts.plugin.name, &parts.platform);
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;

    let vst3 = folder.join(format!("{name}.vst3"));
    replace(&vst3, |root| write_bundle(parts, root, &platform.vst3_binary(name), "vst3"))?;

    let clap = folder.join(format!("{name}.clap"));
    let mut beside_clap = Vec::new();
    if platform.system == System::MacOs {
        let binary = Path::new("Contents/MacOS").join(name);
        replace(&clap, |root| write_bundle(parts, root, &binary, "clap"))?;
    } else {
        let library = folder.join(platform.onnxruntime());
        let licences = folder.join(format!("{name}-licences"));
        replace(&library, |to| copy(&parts.onnxruntime, to))?;
        replace(&licences, |to| copy_licences(parts, to))?;
        replace(&clap, |to| copy(&parts.binary, to))?;
        beside_clap = vec![library, licences];
    }
    Ok(Bundles { folder: folder.to_owned(), vst3, clap, beside_clap })
}

/// Writes a bundle that is a folder: `binary` (a path in it), ONNX Runtime beside that, licences.
fn write_bundle(parts: &Parts, root: &Path, binary: &Path, format: &str) -> Result<()> {
    let binary = root.join(binary);
    let folder = binary.parent().expect("a bundle's binary lies in a folder of it");
    copy(&parts.binary, &binary)?;
    copy(&parts.onnxruntime, &folder.join(parts.platform.onnxruntime()))?;
    copy_licences(parts, &root.join("Contents/Resources"))?;
    if parts.platform.system == System::MacOs {
        write(&root.join("Contents/Info.plist"), &info_plist(parts, format))?;
        write(&root.join("Contents/PkgInfo"), "BNDL????")?;
        // Hosts on Apple silicon refuse code without at least an ad-hoc signature.
        if cfg!(target_os = "macos") {
            Run::new("codesign").args(["--force", "--deep", "--sign", "-"]).arg(root).run()?;
        }
    }
    Ok(())
}

fn info_plist(parts: &Parts, format: &str) -> String {
    let Plugin { name, identifier, copyright, .. } = &parts.plugin;
    let version = &parts.version;
    format!(
        r#"<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<plist version="1.0">
<dict>
  <key>CFBundleDevelopmentRegion</key><string>English</string>
  <key>CFBundleExecutable</key><string>{name}</string>
  <key>CFBundleIdentifier</key><string>{identifier}.{format}</string>
  <key>CFBundleInfoDictionaryVersion</key><string>6.0</string>
  <key>CFBundleName</key><string>{name}</string>
  <key>CFBundlePackageType</key><string>BNDL</string>
  <key>CFBundleShortVersionString</key><string>{version}</string>
  <key>CFBundleSignature</key><string>????</string>
  <key>CFBundleVersion</key><string>{version}</string>
  <key>NSHighResolutionCapable</key><true/>
  <key>NSHumanReadableCopyright</key><string>{copyright}</string>
</dict>
</plist>
"#
    )
}

fn copy_licences(parts: &Parts, folder: &Path) -> Result<()> {
    for (name, path) in &parts.licences {
        copy(path, &folder.join(name))?;
    }
    Ok(())
}

/// Has `make` write a file or folder under a temporary name beside `to`, then renames it to `to`.
///
/// What was at `to` is removed, never written to: a host may be running it.
pub fn replace(to: &Path, make: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let new = beside(to, "new");
    let old = beside(to, "old");
    for left_over in [&new, &old] {
        remove(left_over)?;
    }
    make(&new)?;
    // Of files, a rename replaces the old by the new at once; a folder has to make room first.
    if to.is_dir() {
        fs::rename(to, &old).with_context(|| format!("cannot move {} away", to.display()))?;
    }
    fs::rename(&new, to).with_context(|| format!("cannot put {} in place", to.display()))?;
    remove(&old)
}

/// Copies a file or folder, making the folders above it.
pub fn copy(from: &Path, to: &Path) -> Result<()> {
    if from.is_dir() {
        for entry in fs::read_dir(from)? {
            let entry = entry?;
            copy(&entry.path(), &to.join(entry.file_name()))?;
        }
        return Ok(());
    }
    make_parent(to)?;
    fs::copy(from, to).with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))?;
    Ok(())
}

fn write(to: &Path, text: &str) -> Result<()> {
    make_parent(to)?;
    fs::write(to, text).with_context(|| format!("cannot write {}", to.display()))
}

fn make_parent(path: &Path) -> Result<()> {
    let parent = path.parent().expect("a file lies in a folder");
    fs::create_dir_all(parent).with_context(|| format!("cannot make {}", parent.display()))
}

/// A hidden name in the same folder, which no host takes for a plugin.
fn beside(path: &Path, word: &str) -> PathBuf {
    let name = path.file_name().expect("a bundle has a name").to_string_lossy();
    path.with_file_name(format!(".{name}.{word}"))
}

fn remove(path: &Path) -> Result<()> {
    let result = if path.is_dir() {
        fs::remove_dir_all(path)
    } else if path.exists() {
        fs::remove_file(path)
    } else {
        Ok(())
    };
    result.with_context(|| format!("cannot remove {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;

    /// Parts made of one-line files.
    struct Workshop {
        scratch: Scratch,
        parts: Parts,
    }

    impl Workshop {
        fn new(test: &str, system: System) -> Self {
            let scratch = Scratch::new(test);
            let file = |name: &str| scratch.file(&format!("parts/{name}"), name);
            let parts = Parts {
                plugin: Plugin {
                    name: "Sift".into(),
                    package: "sift-plugin".into(),
                    library: "sift_plugin".into(),
                    identifier: "org.example".into(),
                    copyright: "us".into(),
                },
                platform: Platform { system, arch: "x86_64" },
                version: "1.2.3".into(),
                binary: file("binary"),
                onnxruntime: file("onnxruntime"),
                licences: vec![("LICENSE.txt".into(), file("licence"))],
            };
            Self { scratch, parts }
        }

        fn assemble(&self) -> Bundles {
            assemble(&self.parts, &self.scratch.path().join("bundled")).unwrap()
        }

        /// Every file in the folder of bundles, sorted.
        fn files(&self) -> Vec<String> {
            fn visit(folder: &Path, root: &Path, files: &mut Vec<String>) {
                for entry in fs::read_dir(folder).unwrap() {
                    let path = entry.unwrap().path();
                    if path.is_dir() {
                        visit(&path, root, files);
                    } else {
                        let path = path.strip_prefix(root).unwrap();
                        files.push(path.to_string_lossy().replace('\\', "/"));
                    }
                }
            }
            let root = self.scratch.path().join("bundled");
            let mut files = Vec::new();
            visit(&root, &root, &mut files);
            files.sort();
            files
        }
    }

    #[test]
    fn linux_has_a_vst3_folder_and_a_clap_file() {
        let workshop = Workshop::new("linux", System::Linux);
        let bundles = workshop.assemble();
        assert_eq!(
            workshop.files(),
            [
                "Sift-licences/LICENSE.txt",
                "Sift.clap",
                "Sift.vst3/Contents/Resources/LICENSE.txt",
                "Sift.vst3/Contents/x86_64-linux/Sift.so",
                "Sift.vst3/Contents/x86_64-linux/libonnxruntime.so",
                "libonnxruntime.so",
            ]
        );
        assert_eq!(bundles.beside_clap.len(), 2);
    }

    #[test]
    fn macos_has_two_folders_that_need_nothing_beside_them() {
        let workshop = Workshop::new("macos", System::MacOs);
        let bundles = workshop.assemble();
        let of = |format: &str| {
            ["Info.plist", "MacOS/Sift", "MacOS/libonnxruntime.dylib", "PkgInfo", "Resources/LICENSE.txt"]
                .map(|file| format!("Sift.{format}/Contents/{file}"))
        };
        assert_eq!(workshop.files(), [of("clap"), of("vst3")].concat());
        assert!(bundles.beside_clap.is_empty());

        let plist = fs::read_to_string(bundles.vst3.join("Contents/Info.plist")).unwrap();
        for fact in ["org.example.vst3", "1.2.3", "<string>Sift</string>"] {
            assert!(plist.contains(fact), "{plist}");
        }
    }

    #[test]
    fn bundling_again_leaves_what_a_host_has_open_as_it_was() {
        let workshop = Workshop::new("again", System::Linux);
        let bundles = workshop.assemble();
        let once = workshop.files();
        let open = fs::File::open(&bundles.clap).unwrap();

        fs::write(&workshop.parts.binary, "a new and longer binary").unwrap();
        workshop.assemble();
        assert_eq!(workshop.files(), once);
        assert_eq!(fs::read_to_string(&bundles.clap).unwrap(), "a new and longer binary");
        assert_eq!(open.metadata().unwrap().len(), "binary".len() as u64);
    }

    #[test]
    fn a_bundle_that_cannot_be_made_leaves_the_old_one() {
        let workshop = Workshop::new("broken", System::Linux);
        let bundles = workshop.assemble();
        fs::remove_file(&workshop.parts.onnxruntime).unwrap();
        let error = assemble(&workshop.parts, &bundles.folder).err().unwrap();
        assert!(format!("{error:#}").contains("onnxruntime"), "{error:#}");
        assert!(bundles.vst3.join("Contents/x86_64-linux/Sift.so").is_file());
    }
}
