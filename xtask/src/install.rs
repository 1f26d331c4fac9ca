//! Copies the bundles into the user's plugin folders.

use std::path::Path;

use anyhow::{Context, Result};

use crate::bundle::Bundles;
use crate::files::{copy, replace};
use crate::platform::{Platform, PluginFolders, home};

pub fn install(bundles: &Bundles) -> Result<()> {
    let folders = Platform::current()?.plugin_folders(&home()?);
    install_into(bundles, &folders)
}

fn install_into(bundles: &Bundles, folders: &PluginFolders) -> Result<()> {
    install_bundle(&bundles.vst3, &folders.vst3)?;
    if bundles.beside_clap.is_empty() {
        return install_bundle(&bundles.clap, &folders.clap);
    }

    // A folder of its own for the plugin and its ONNX Runtime: another plugin may bring another version.
    let name = bundles.clap.file_stem().expect("a bundle has a name");
    let to = folders.clap.join(name);
    make_folder(&folders.clap)?;
    replace(&to, |folder| {
        for path in bundles.beside_clap.iter().chain([&bundles.clap]) {
            copy(path, &folder.join(path.file_name().expect("a bundle has a name")))?;
        }
        Ok(())
    })?;
    println!("installed {}", to.display());
    Ok(())
}

/// Copies one bundle into `folder`.
fn install_bundle(bundle: &Path, folder: &Path) -> Result<()> {
    let to = folder.join(bundle.file_name().expect("a bundle has a name"));
    make_folder(folder)?;
    replace(&to, |new| copy(bundle, new))?;
    println!("installed {}", to.display());
    Ok(())
}

fn make_folder(folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::files::write;
    use std::fs;

    #[test]
    fn installing_twice_leaves_one_clap_with_its_library() {
        let scratch = tempfile::tempdir().unwrap();
        for file in ["Sift.vst3/Contents/Sift.so", "Sift.clap", "libonnxruntime.so"] {
            write(&scratch.path().join("bundled").join(file), "").unwrap();
        }
        let built = scratch.path().join("bundled");
        let bundles = Bundles {
            clap: built.join("Sift.clap"),
            beside_clap: vec![built.join("libonnxruntime.so")],
            vst3: built.join("Sift.vst3"),
            folder: built,
        };
        let folders = PluginFolders { vst3: scratch.path().join("vst3"), clap: scratch.path().join("clap") };

        for _ in 0..2 {
            install_into(&bundles, &folders).unwrap();
            assert!(folders.vst3.join("Sift.vst3/Contents/Sift.so").is_file());
            assert!(folders.clap.join("Sift/Sift.clap").is_file());
            assert!(folders.clap.join("Sift/libonnxruntime.so").is_file());
            assert_eq!(fs::read_dir(&folders.clap).unwrap().count(), 1);
        }
    }
}
