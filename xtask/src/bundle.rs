//! The plugin's bundles, in a folder per profile. Each is assembled beside its destination and renamed, so that a
//! host never loads an incomplete one.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::bundler_config::{BundlerConfig, Plugin};
use crate::files::{copy, replace, write};
use crate::notices;
use crate::paths::{self, Profile};
use crate::platform::{Platform, System};
use crate::portability;
use crate::process::ToolCommand;
use crate::setup::onnxruntime::{self, OnnxRuntimeFiles};
use crate::setup::system_packages;
use crate::setup::zig::Zig;

/// The finished bundles.
pub struct Bundles {
    pub folder: PathBuf,
    /// `Sift.vst3`, a folder on all systems.
    pub vst3: PathBuf,
    /// `Sift.clap`: a folder on macOS, a file on other systems.
    pub clap: PathBuf,
    /// Files and folders that must be installed beside `clap`. Empty on macOS.
    pub beside_clap: Vec<PathBuf>,
}

/// The programs that are built together with the plugin.
#[derive(Clone, Copy)]
pub enum Programs<'a> {
    /// The programs in `[programs]` of `bundler.toml`, which are put beside the bundles.
    Distributed,
    /// Programs of the crates `sift-plugin`, `sift` and `sift-tests`, by name.
    Named(&'a [&'a str]),
    /// All programs and all tests. Cargo then builds dependencies with the features that `cargo test` uses;
    /// without the tests it would build egui, symphonia, tokenizers and others twice.
    AllWithTests,
}

/// Everything that is copied into the bundles.
struct BundleInputs {
    plugin: Plugin,
    platform: Platform,
    version: String,
    /// The cdylib that cargo built.
    binary: PathBuf,
    onnxruntime: PathBuf,
    /// Programs to put beside the bundles.
    programs: Vec<PathBuf>,
    /// Path in the bundle's licence folder, and the file to copy there.
    licences: Vec<(String, PathBuf)>,
}

/// Installs what is missing, builds the plugin and `programs`, and assembles the bundles.
pub fn bundle(profile: Profile, programs: Programs) -> Result<Bundles> {
    system_packages::ensure(system_packages::BUILD)?;
    let config = BundlerConfig::read()?;
    let platform = Platform::current()?;
    let runtime = onnxruntime::ensure(&config.onnxruntime, &platform)?;
    let zig = if profile.is_portable() { Some(Zig::ensure()?) } else { None };
    build(profile, programs, &config, zig.as_ref())?;
    copy_beside_programs(&runtime, &platform, profile)?;
    let output = paths::output(profile);

    let mut licences: Vec<(String, PathBuf)> =
        config.licences.iter().map(|(name, path)| (name.clone(), paths::root().join(path))).collect();
    licences.extend(zig.map(|zig| ("zig-LICENSE".to_owned(), zig.licence)));
    for path in runtime.licences {
        let name = path.file_name().expect("a licence is a file").to_string_lossy();
        licences.push((format!("onnxruntime-{name}"), path));
    }
    let notices = output.join("rust-packages.txt");
    notices::write(&config.plugin.package, &platform, &notices)?;
    licences.push(("rust-packages.txt".to_owned(), notices));
    let binary = output.join(platform.cdylib(&config.plugin.library));
    let programs = match programs {
        Programs::Distributed => {
            config.programs.names.iter().map(|name| paths::program(profile, name)).collect()
        }
        Programs::Named(_) | Programs::AllWithTests => Vec::new(),
    };
    if platform.system == System::Linux {
        let glibc = profile.is_portable().then_some(config.linux.glibc);
        for path in [&binary, &runtime.library].into_iter().chain(&programs) {
            portability::check(path, glibc)?;
        }
    }
    let inputs = BundleInputs {
        binary,
        plugin: config.plugin,
        platform,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        onnxruntime: runtime.library,
        programs,
        licences,
    };
    let bundles = assemble(&inputs, &paths::target().join("bundled"), profile)?;
    println!("bundled {} and {}", bundles.vst3.display(), bundles.clap.display());
    Ok(bundles)
}

/// Copies ONNX Runtime to the folder of what cargo built: programs and plugin look for it in their own folder.
pub fn copy_beside_programs(runtime: &OnnxRuntimeFiles, platform: &Platform, profile: Profile) -> Result<()> {
    let library = paths::output(profile).join(platform.onnxruntime());
    replace(&library, |to| copy(&runtime.library, to))
}

/// Builds the plugin and `programs`; by `zig`, for the oldest glibc that `config` names.
fn build(profile: Profile, programs: Programs, config: &BundlerConfig, zig: Option<&Zig>) -> Result<()> {
    let command = match zig {
        Some(zig) => zig.cargo_build(&format!("{}.{}", paths::LINUX_TARGET, config.linux.glibc))?,
        None => ToolCommand::cargo().arg("build"),
    };
    let mut command = command.args(profile.arguments());
    let distributed: Vec<&str> = config.programs.names.iter().map(String::as_str).collect();
    let names = match programs {
        Programs::AllWithTests => {
            // Without xtask, which is running.
            let selection = ["--workspace", "--exclude", "xtask"];
            return command.args(selection).args(["--lib", "--bins", "--tests", "--examples"]).run();
        }
        Programs::Distributed => &distributed[..],
        Programs::Named(names) => names,
    };
    // The same packages whatever the programs: the features of dependencies follow from the packages, and so
    // no dependency is built twice.
    for package in [&config.plugin.package, "sift", "sift-tests"] {
        command = command.args(["--package", package]);
    }
    command = command.arg("--lib");
    for name in names {
        command = command.args(["--bin", name]);
    }
    command.run()
}

/// Makes or replaces the bundles of both formats, and the programs beside them, in the folder of `profile` in `bundled`.
fn assemble(inputs: &BundleInputs, bundled: &Path, profile: Profile) -> Result<Bundles> {
    let (name, platform) = (&inputs.plugin.name, &inputs.platform);
    let folder = bundled.join(profile.folder());
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;

    let vst3 = folder.join(format!("{name}.vst3"));
    replace(&vst3, |root| write_bundle(inputs, root, &platform.vst3_binary(name), "vst3"))?;

    let clap = folder.join(format!("{name}.clap"));
    let library = folder.join(platform.onnxruntime());
    let mut beside_clap = Vec::new();
    if platform.system != System::MacOs || !inputs.programs.is_empty() {
        replace(&library, |to| copy(&inputs.onnxruntime, to))?;
    }
    for program in &inputs.programs {
        let to = folder.join(program.file_name().expect("a program is a file"));
        replace(&to, |to| copy(program, to))?;
    }
    if platform.system == System::MacOs {
        let binary = Path::new("Contents/MacOS").join(name);
        replace(&clap, |root| write_bundle(inputs, root, &binary, "clap"))?;
    } else {
        let licences = folder.join(format!("{name}-licences"));
        replace(&licences, |to| copy_licences(inputs, to))?;
        replace(&clap, |to| copy(&inputs.binary, to))?;
        beside_clap = vec![library, licences];
    }
    Ok(Bundles { folder, vst3, clap, beside_clap })
}

/// Writes a bundle that is a folder: the plugin at the path `binary`, ONNX Runtime beside it, and licences.
fn write_bundle(inputs: &BundleInputs, root: &Path, binary: &Path, format: &str) -> Result<()> {
    let binary = root.join(binary);
    let folder = binary.parent().expect("`binary` names a folder and a file");
    copy(&inputs.binary, &binary)?;
    copy(&inputs.onnxruntime, &folder.join(inputs.platform.onnxruntime()))?;
    copy_licences(inputs, &root.join("Contents/Resources"))?;
    if inputs.platform.system == System::MacOs {
        write(&root.join("Contents/Info.plist"), &info_plist(inputs, format))?;
        write(&root.join("Contents/PkgInfo"), "BNDL????")?;
        // Hosts on Apple silicon refuse unsigned code; an ad-hoc signature is enough. The signature of a bundle covers
        // those of the libraries in it, so they come first.
        if cfg!(target_os = "macos") {
            for code in [&folder.join(inputs.platform.onnxruntime()), root] {
                ToolCommand::new("codesign").args(["--force", "--sign", "-"]).arg(code).run()?;
            }
        }
    }
    Ok(())
}

fn info_plist(inputs: &BundleInputs, format: &str) -> String {
    let Plugin { name, identifier, copyright, .. } = &inputs.plugin;
    let version = &inputs.version;
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

fn copy_licences(inputs: &BundleInputs, folder: &Path) -> Result<()> {
    for (name, path) in &inputs.licences {
        copy(path, &folder.join(name))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    /// Bundle inputs that are one-line files, and a folder for the bundles.
    struct BundleFixture {
        folder: TempDir,
        inputs: BundleInputs,
    }

    impl BundleFixture {
        fn new(system: System) -> Self {
            let folder = tempfile::tempdir().unwrap();
            let file = |name: &str| {
                let path = folder.path().join("inputs").join(name);
                write(&path, name).unwrap();
                path
            };
            let inputs = BundleInputs {
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
                programs: vec![file("sift")],
                licences: vec![("LICENSE.txt".into(), file("licence"))],
            };
            Self { folder, inputs }
        }

        fn assemble(&self) -> Bundles {
            self.assemble_for(Profile::Release).unwrap()
        }

        fn assemble_for(&self, profile: Profile) -> Result<Bundles> {
            assemble(&self.inputs, &self.folder.path().join("bundled"), profile)
        }

        /// The paths of all files in the folder of release bundles, sorted.
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
            let root = self.folder.path().join("bundled/release");
            let mut files = Vec::new();
            visit(&root, &root, &mut files);
            files.sort();
            files
        }
    }

    #[test]
    fn linux_bundles_are_a_vst3_folder_and_a_clap_file() {
        let fixture = BundleFixture::new(System::Linux);
        let bundles = fixture.assemble();
        assert_eq!(
            fixture.files(),
            [
                "Sift-licences/LICENSE.txt",
                "Sift.clap",
                "Sift.vst3/Contents/Resources/LICENSE.txt",
                "Sift.vst3/Contents/x86_64-linux/Sift.so",
                "Sift.vst3/Contents/x86_64-linux/libonnxruntime.so",
                "libonnxruntime.so",
                "sift",
            ]
        );
        assert_eq!(bundles.beside_clap.len(), 2);
    }

    #[test]
    fn macos_bundles_are_self_contained_folders() {
        let fixture = BundleFixture::new(System::MacOs);
        let bundles = fixture.assemble();
        let of = |format: &str| {
            ["Info.plist", "MacOS/Sift", "MacOS/libonnxruntime.dylib", "PkgInfo", "Resources/LICENSE.txt"]
                .map(|file| format!("Sift.{format}/Contents/{file}"))
        };
        let programs = ["libonnxruntime.dylib", "sift"].map(str::to_owned);
        assert_eq!(fixture.files(), [&of("clap")[..], &of("vst3"), &programs].concat());
        assert!(bundles.beside_clap.is_empty());

        let plist = fs::read_to_string(bundles.vst3.join("Contents/Info.plist")).unwrap();
        for fact in ["org.example.vst3", "1.2.3", "<string>Sift</string>"] {
            assert!(plist.contains(fact), "{plist}");
        }
    }

    #[test]
    fn bundling_again_does_not_change_a_file_that_a_host_has_open() {
        let fixture = BundleFixture::new(System::Linux);
        let bundles = fixture.assemble();
        let once = fixture.files();
        let open = fs::File::open(&bundles.clap).unwrap();

        fs::write(&fixture.inputs.binary, "a new and longer binary").unwrap();
        fixture.assemble();
        assert_eq!(fixture.files(), once);
        assert_eq!(fs::read_to_string(&bundles.clap).unwrap(), "a new and longer binary");
        assert_eq!(open.metadata().unwrap().len(), "binary".len() as u64);
    }

    #[test]
    fn debug_bundles_leave_the_release_bundles_as_they_are() {
        let fixture = BundleFixture::new(System::Linux);
        let release = fixture.assemble();
        fs::write(&fixture.inputs.binary, "with debug assertions").unwrap();
        let debug = fixture.assemble_for(Profile::Dev).unwrap();
        for (bundles, content) in [(release, "binary"), (debug, "with debug assertions")] {
            for binary in [bundles.clap, bundles.vst3.join("Contents/x86_64-linux/Sift.so")] {
                assert_eq!(fs::read_to_string(binary).unwrap(), content);
            }
        }
    }

    #[test]
    fn failed_bundling_keeps_the_old_bundle() {
        let fixture = BundleFixture::new(System::Linux);
        let bundles = fixture.assemble();
        fs::remove_file(&fixture.inputs.onnxruntime).unwrap();
        let error = fixture.assemble_for(Profile::Release).err().unwrap();
        assert!(format!("{error:#}").contains("onnxruntime"), "{error:#}");
        assert!(bundles.vst3.join("Contents/x86_64-linux/Sift.so").is_file());
    }
}
