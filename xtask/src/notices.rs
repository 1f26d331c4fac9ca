//! The notices that the licences of the Rust packages in the plugin ask to be passed on with it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::platform::Platform;
use crate::process::Run;

/// How file names that hold licence texts begin, in upper case.
const NOTICES: [&str; 5] = ["LICENSE", "LICENCE", "COPYING", "COPYRIGHT", "NOTICE"];

/// What `cargo metadata` says, as far as it matters here.
#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    resolve: Resolve,
}

#[derive(Deserialize)]
struct Package {
    id: String,
    name: String,
    version: String,
    license: Option<String>,
    repository: Option<String>,
    manifest_path: PathBuf,
}

#[derive(Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    id: String,
    deps: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    pkg: String,
    dep_kinds: Vec<DependencyKind>,
}

#[derive(Deserialize)]
struct DependencyKind {
    /// `None`: neither for building nor for testing only.
    kind: Option<String>,
}

/// Writes the notices of `package` (a member of the workspace) and of all that is linked into it to
/// the file `to`.
pub fn write(package: &str, platform: &Platform, to: &Path) -> Result<()> {
    let json = Run::cargo()
        .args(["metadata", "--format-version", "1", "--filter-platform", &platform.target()])
        .read()?;
    let metadata: Metadata = serde_json::from_str(&json).context("cannot read what `cargo metadata` says")?;
    let text = notices(&linked(&metadata, package)?)?;
    fs::write(to, text).with_context(|| format!("cannot write {}", to.display()))
}

/// `name` and the packages that it is built of, by name; without those that run at build time only.
fn linked<'a>(metadata: &'a Metadata, name: &str) -> Result<Vec<&'a Package>> {
    let packages: HashMap<&str, &Package> = metadata.packages.iter().map(|p| (p.id.as_str(), p)).collect();
    let nodes: HashMap<&str, &Node> = metadata.resolve.nodes.iter().map(|n| (n.id.as_str(), n)).collect();
    let root = metadata
        .packages
        .iter()
        .find(|package| package.name == name)
        .with_context(|| format!("bundler.toml: the workspace has no package {name}"))?;

    let mut found = BTreeSet::new();
    let mut waiting = vec![root.id.as_str()];
    while let Some(id) = waiting.pop() {
        if found.insert(id) {
            let linked =
                nodes[id].deps.iter().filter(|dep| dep.dep_kinds.iter().any(|kind| kind.kind.is_none()));
            waiting.extend(linked.map(|dep| dep.pkg.as_str()));
        }
    }
    let mut linked: Vec<&Package> = found.into_iter().map(|id| packages[id]).collect();
    linked.sort_by_key(|package| (&package.name, &package.version));
    Ok(linked)
}

/// A list of the packages, then every text once, under the names of those that it belongs to.
fn notices(packages: &[&Package]) -> Result<String> {
    let mut list = String::from("Rust packages in this program: licence and source\n\n");
    let mut texts: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for package in packages {
        let name = format!("{} {}", package.name, package.version);
        let licence = package.license.as_deref().unwrap_or("see below");
        let source = package.repository.as_deref().unwrap_or("");
        writeln!(list, "{name}: {licence} {source}")?;
        for text in texts_of(package)? {
            texts.entry(text).or_default().push(name.clone());
        }
    }
    for (text, names) in texts {
        write!(list, "\n{}\n{}\n\n{}\n", "=".repeat(80), names.join(", "), text.trim_end())?;
    }
    Ok(list)
}

/// The licence texts in a package's folder.
fn texts_of(package: &Package) -> Result<Vec<String>> {
    let folder = package.manifest_path.parent().context("a package's manifest lies in a folder")?;
    let mut texts = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().to_uppercase();
        if entry.path().is_file() && NOTICES.iter().any(|notice| name.starts_with(notice)) {
            texts.push(String::from_utf8_lossy(&fs::read(entry.path())?).into_owned());
        }
    }
    Ok(texts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scratch::Scratch;

    #[test]
    fn the_plugin_s_packages_are_those_linked_into_it() {
        let metadata = r#"{
            "packages": [
                {"id": "p", "name": "plugin", "version": "1.0.0", "manifest_path": "p/Cargo.toml"},
                {"id": "d", "name": "dsp", "version": "2.0.0", "manifest_path": "d/Cargo.toml"},
                {"id": "b", "name": "builder", "version": "3.0.0", "manifest_path": "b/Cargo.toml"},
                {"id": "x", "name": "elsewhere", "version": "4.0.0", "manifest_path": "x/Cargo.toml"}
            ],
            "resolve": {"nodes": [
                {"id": "p", "deps": [
                    {"pkg": "d", "dep_kinds": [{"kind": null}]},
                    {"pkg": "b", "dep_kinds": [{"kind": "build"}]}
                ]},
                {"id": "d", "deps": []},
                {"id": "b", "deps": []},
                {"id": "x", "deps": []}
            ]}
        }"#;
        let metadata: Metadata = serde_json::from_str(metadata).unwrap();
        let names: Vec<_> = linked(&metadata, "plugin").unwrap().iter().map(|p| p.name.as_str()).collect();
        assert_eq!(names, ["dsp", "plugin"]);
        assert!(linked(&metadata, "absent").is_err());
    }

    #[test]
    fn a_text_is_printed_once_for_all_that_share_it() {
        let scratch = Scratch::new("notices");
        let package = |name: &str| {
            scratch.file(&format!("{name}/LICENSE-MIT"), "the text");
            scratch.file(&format!("{name}/README.md"), "not a notice");
            Package {
                id: name.into(),
                name: name.into(),
                version: "1.0.0".into(),
                license: Some("MIT".into()),
                repository: None,
                manifest_path: scratch.path().join(name).join("Cargo.toml"),
            }
        };
        let (one, two) = (package("one"), package("two"));
        let text = notices(&[&one, &two]).unwrap();
        assert_eq!(text.matches("the text").count(), 1);
        assert!(text.contains("\none 1.0.0, two 1.0.0\n"), "{text}");
        assert!(!text.contains("not a notice"));
    }
}
