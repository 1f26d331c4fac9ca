//! The licence texts that must be distributed with the plugin: those of all Rust packages linked into it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

use crate::paths;
use crate::platform::Platform;
use crate::process::ToolCommand;

/// Beginnings of the names of files with licence texts, in upper case.
const TEXT_NAMES: [&str; 6] = ["LICENSE", "LICENCE", "COPYING", "COPYRIGHT", "NOTICE", "UNLICENSE"];
/// Folders of a package that are not part of its library.
const SKIPPED_FOLDERS: [&str; 4] = ["tests", "benches", "examples", "target"];
/// The place of the copyright holders' names in a standard text.
const HOLDERS: &str = "<copyright holders>";

/// The output of `cargo metadata`, as far as it is used here.
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
    /// `None` for a package of this workspace.
    source: Option<String>,
    license: Option<String>,
    #[serde(default)]
    authors: Vec<String>,
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
    /// `None` for a normal dependency, else `build` or `dev`.
    kind: Option<String>,
}

/// Writes the licence texts of all packages that are linked into the package `name` to the file `to`.
///
/// # Errors
/// A package has no licence text, and there is no standard text for its licence.
pub fn write(name: &str, platform: &Platform, to: &Path) -> Result<()> {
    let metadata = metadata(platform)?;
    let text = notices(&linked(&metadata, name)?, &paths::root().join("assets/licences"))?;
    fs::write(to, text).with_context(|| format!("cannot write {}", to.display()))
}

fn metadata(platform: &Platform) -> Result<Metadata> {
    let json = ToolCommand::cargo()
        .args(["metadata", "--format-version", "1", "--filter-platform", &platform.target()])
        .read()?;
    serde_json::from_str(&json).context("cannot parse the output of `cargo metadata`")
}

/// The package `name` and its dependencies except build and dev dependencies, sorted by name.
fn linked<'a>(metadata: &'a Metadata, name: &str) -> Result<Vec<&'a Package>> {
    let packages: HashMap<&str, &Package> = metadata.packages.iter().map(|p| (p.id.as_str(), p)).collect();
    let nodes: HashMap<&str, &Node> = metadata.resolve.nodes.iter().map(|n| (n.id.as_str(), n)).collect();
    let root = metadata
        .packages
        .iter()
        .find(|package| package.name == name)
        .with_context(|| format!("bundler.toml: the workspace has no package {name}"))?;

    let mut found = BTreeSet::new();
    let mut pending = vec![root.id.as_str()];
    while let Some(id) = pending.pop() {
        if found.insert(id) {
            let linked =
                nodes[id].deps.iter().filter(|dep| dep.dep_kinds.iter().any(|kind| kind.kind.is_none()));
            pending.extend(linked.map(|dep| dep.pkg.as_str()));
        }
    }
    let mut linked: Vec<&Package> = found.into_iter().map(|id| packages[id]).collect();
    linked.sort_by_key(|package| (&package.name, &package.version));
    Ok(linked)
}

/// A list of the packages, followed by each different text with the names of its packages.
fn notices(packages: &[&Package], standard_texts: &Path) -> Result<String> {
    let mut list = String::from("Rust packages in this program: licence and source\n\n");
    let mut texts: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for package in packages {
        let name = format!("{} {}", package.name, package.version);
        let licence = package.license.as_deref().unwrap_or("see below");
        let source = package.repository.as_deref().unwrap_or("");
        writeln!(list, "{}", format!("{name}: {licence} {source}").trim_end())?;
        // The workspace's own licence texts are in the bundle as files.
        if package.source.is_some() {
            for text in texts_of(package, standard_texts)? {
                texts.entry(text).or_default().push(name.clone());
            }
        }
    }
    for (text, names) in texts {
        write!(list, "\n{}\n{}\n\n{}\n", "=".repeat(80), names.join(", "), text.trim_end())?;
    }
    Ok(list)
}

/// All licence texts of a package. At least one.
fn texts_of(package: &Package, standard_texts: &Path) -> Result<BTreeSet<String>> {
    let folder = package.manifest_path.parent().context("a package's manifest has a folder")?;
    let files = text_files(folder)?;
    let mut texts = BTreeSet::new();
    for path in &files {
        let bytes = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        texts.insert(String::from_utf8_lossy(&bytes).into_owned());
    }
    // A text in any other subfolder is that of a part, such as a font.
    let is_for_package = |path: &PathBuf| {
        path.parent().is_some_and(|parent| parent == folder || parent == folder.join("LICENSES"))
    };
    if !files.iter().any(is_for_package) {
        texts.extend(standard_texts_of(package, standard_texts)?);
    }
    if texts.is_empty() {
        bail!(
            "{} {}: no licence text in the package, and none for {} in assets/licences; expected at least one. \
             Add the licence's standard text as assets/licences/SPDX-ID.txt.",
            package.name,
            package.version,
            package.license.as_deref().unwrap_or("an unnamed licence")
        );
    }
    Ok(texts)
}

/// The standard texts for a package's SPDX expression, with the authors as copyright holders.
///
/// Parts of the expression that have no standard text are left out.
fn standard_texts_of(package: &Package, standard_texts: &Path) -> Result<Vec<String>> {
    let holders = match &package.authors[..] {
        [] => format!("the authors of {}", package.name),
        authors => authors.join(", "),
    };
    let expression = package.license.as_deref().unwrap_or_default().replace(['(', ')'], "");
    let mut texts = Vec::new();
    for part in expression.split(" AND ") {
        // Older packages write `MIT/Apache-2.0` for `MIT OR Apache-2.0`.
        let mut choices = part.split(" OR ").flat_map(|choice| choice.split('/')).map(str::trim);
        let file = choices.find_map(|id| {
            let path = standard_texts.join(format!("{id}.txt"));
            path.is_file().then_some(path)
        });
        if let Some(path) = file {
            let text =
                fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
            texts.push(text.replace(HOLDERS, &holders));
        }
    }
    Ok(texts)
}

/// The files with licence texts in a package's folder and its subfolders.
fn text_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let cannot_read = || format!("cannot read {}", folder.display());
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).with_context(cannot_read)? {
        paths.push(entry.with_context(cannot_read)?.path());
    }
    let has_fonts = paths.iter().any(|path| has_extension(path, &["ttf", "otf"]));
    let mut texts = Vec::new();
    for path in paths {
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_uppercase();
        if path.is_dir() {
            if !SKIPPED_FOLDERS.iter().any(|skipped| name.eq_ignore_ascii_case(skipped)) {
                texts.extend(text_files(&path)?);
            }
        } else if is_text_name(&name)
            || folder.ends_with("LICENSES")
            // Licences of fonts are named after the font: Hack-Regular.txt, OFL.txt.
            || (has_fonts && has_extension(&path, &["txt"]))
        {
            texts.push(path);
        }
    }
    Ok(texts)
}

/// Whether a file with this name, in upper case, contains a licence text: `LICENSE-MIT` does, `LICENSE.RS` not.
fn is_text_name(name: &str) -> bool {
    const CODE: [&str; 6] = [".RS", ".PY", ".C", ".H", ".HTML", ".JSON"];
    TEXT_NAMES.iter().any(|beginning| name.starts_with(beginning))
        && !CODE.iter().any(|code| name.ends_with(code))
}

fn has_extension(path: &Path, extensions: &[&str]) -> bool {
    path.extension()
        .is_some_and(|found| extensions.iter().any(|extension| found.eq_ignore_ascii_case(extension)))
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;
    use crate::files;

    /// A folder with packages and standard texts.
    struct NoticesFixture {
        folder: TempDir,
    }

    impl NoticesFixture {
        fn new() -> Self {
            Self { folder: tempfile::tempdir().unwrap() }
        }

        fn standard_texts(&self) -> PathBuf {
            self.folder.path().join("licences")
        }

        fn write(&self, name: &str, text: &str) {
            files::write(&self.folder.path().join(name), text).unwrap();
        }

        /// A package with these files, each of which holds its own path.
        fn package(&self, name: &str, licence: &str, files: &[&str]) -> Package {
            let folder = self.folder.path().join(name);
            fs::create_dir_all(&folder).unwrap();
            for file in files {
                self.write(&format!("{name}/{file}"), &format!("text of {file}"));
            }
            Package {
                id: name.into(),
                name: name.into(),
                version: "1.0.0".into(),
                source: Some("registry".into()),
                license: Some(licence.into()),
                authors: vec!["Ada".into(), "Ben".into()],
                repository: None,
                manifest_path: folder.join("Cargo.toml"),
            }
        }

        fn texts_of(&self, package: &Package) -> Result<Vec<String>> {
            Ok(texts_of(package, &self.standard_texts())?.into_iter().collect())
        }
    }

    #[test]
    fn linked_packages_exclude_build_dependencies() {
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
    fn each_package_in_the_plugin_has_a_text() {
        let metadata = metadata(&Platform::current().unwrap()).unwrap();
        let packages = linked(&metadata, "sift-plugin").unwrap();
        assert!(packages.len() > 100, "{} packages", packages.len());
        let text = notices(&packages, &paths::root().join("assets/licences")).unwrap();
        for holder in ["Robbert van der Helm", "SIL OPEN FONT LICENSE", "UBUNTU FONT LICENCE"] {
            assert!(text.contains(holder), "{holder}");
        }
    }

    #[test]
    fn text_shared_by_two_packages_is_printed_once() {
        let fixture = NoticesFixture::new();
        let [one, two] =
            ["one", "two"].map(|name| fixture.package(name, "MIT", &["LICENSE-MIT", "README.md"]));
        let text = notices(&[&one, &two], &fixture.standard_texts()).unwrap();
        assert_eq!(text.matches("text of LICENSE-MIT").count(), 1);
        assert!(text.contains("\none 1.0.0, two 1.0.0\n"), "{text}");
        assert!(!text.contains("README.md"), "{text}");
    }

    #[test]
    fn texts_in_subfolders_are_found() {
        let fixture = NoticesFixture::new();
        let files = ["COPYING", "src/spin/LICENSE", "src/license.rs", "tests/fonts/LICENSE.txt"];
        let texts = fixture.texts_of(&fixture.package("one", "MIT", &files)).unwrap();
        assert_eq!(texts, ["text of COPYING", "text of src/spin/LICENSE"]);
    }

    #[test]
    fn texts_of_fonts_are_found_and_do_not_replace_the_package_text() {
        let fixture = NoticesFixture::new();
        fixture.write("licences/MIT.txt", "standard text");
        let files = ["fonts/Hack.ttf", "fonts/Hack.txt", "fonts/OFL.txt"];
        let package = fixture.package("one", "(MIT OR Apache-2.0) AND OFL-1.1", &files);
        let texts = fixture.texts_of(&package).unwrap();
        assert_eq!(texts, ["standard text", "text of fonts/Hack.txt", "text of fonts/OFL.txt"]);
    }

    #[test]
    fn package_without_text_gets_the_standard_text() {
        let fixture = NoticesFixture::new();
        fixture.write("licences/ISC.txt", "(c) <copyright holders>");
        for licence in ["ISC", "Zlib OR ISC", "Zlib/ISC"] {
            let texts = fixture.texts_of(&fixture.package("one", licence, &[])).unwrap();
            assert_eq!(texts, ["(c) Ada, Ben"], "{licence}");
        }
    }

    #[test]
    fn package_without_text_and_standard_text_is_an_error() {
        let fixture = NoticesFixture::new();
        let error = fixture.texts_of(&fixture.package("one", "Zlib", &["README.md"])).unwrap_err();
        assert!(error.to_string().starts_with("one 1.0.0: no licence text"), "{error}");
    }
}
