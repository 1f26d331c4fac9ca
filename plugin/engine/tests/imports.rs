//! Imports between the modules of the engine: they go one way, and ARCHITECTURE.md shows them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Paths of modules, such as `dsp::stft`, and the modules that each imports.
type Imports = BTreeMap<String, BTreeSet<String>>;

fn engine_folder() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// Reads the imports of all modules but tests.
fn imports() -> Imports {
    let source = engine_folder().join("src");
    let mut files = Vec::new();
    rust_files(&source, &mut files);
    let module = |file: &Path| {
        let path = file.strip_prefix(&source).unwrap().with_extension("");
        path.iter().map(|part| part.to_str().unwrap()).collect::<Vec<_>>().join("::")
    };
    files.retain(|file| {
        let path = file.strip_prefix(&source).unwrap();
        !path.iter().any(|part| part == "lib.rs" || part == "tests.rs" || part == "tests")
    });
    let modules: BTreeSet<_> = files.iter().map(|file| module(file)).collect();
    let mut imports = Imports::new();
    for file in &files {
        let text = fs::read_to_string(file).unwrap();
        let code = text.split("#[cfg(test)]\nmod tests").next().unwrap();
        let found = imports.entry(module(file)).or_default();
        for line in code.lines().filter(|line| !line.trim_start().starts_with("//")) {
            for path in line.split("crate::").skip(1) {
                assert!(!path.starts_with('{'), "{}: write one `use` per module: {line}", file.display());
                let mut path =
                    path.split(|c: char| !c.is_alphanumeric() && c != '_' && c != ':').next().unwrap();
                while !modules.contains(path) {
                    path = path.rsplit_once("::").unwrap_or_else(|| panic!("{}: {line}", file.display())).0;
                }
                found.insert(path.to_owned());
            }
        }
        found.remove(&module(file));
    }
    imports
}

/// Reads the layers from the table of modules in `lib.rs`. Each imports only those before it.
fn layers() -> Vec<String> {
    let text = fs::read_to_string(engine_folder().join("src/lib.rs")).unwrap();
    let rows = text.lines().filter_map(|line| line.strip_prefix("//! | "));
    let names = rows.filter_map(|row| row.split('`').nth(1).filter(|_| row.starts_with(['`', '['])));
    names.map(str::to_owned).collect()
}

fn layer(layers: &[String], module: &str) -> usize {
    let name = module.split("::").next().unwrap();
    layers
        .iter()
        .position(|layer| layer == name)
        .unwrap_or_else(|| panic!("add `{name}` to the table in lib.rs"))
}

#[test]
fn modules_import_only_layers_before_theirs() {
    let layers = layers();
    for (module, imported) in imports() {
        for other in imported {
            assert!(
                layer(&layers, &other) <= layer(&layers, &module),
                "`{module}` imports `{other}` of a later layer"
            );
        }
    }
}

#[test]
fn no_modules_import_each_other() {
    let mut rest = imports();
    while !rest.is_empty() {
        let left: BTreeSet<_> = rest.keys().cloned().collect();
        rest.retain(|_, imported| imported.iter().any(|other| left.contains(other)));
        assert!(rest.len() < left.len(), "modules import each other, among them: {rest:#?}");
    }
}

/// Draws the layers in Mermaid, without imports that follow from others.
fn draw(imports: &Imports) -> String {
    let layers = layers();
    let mut direct: BTreeMap<_, _> = layers.iter().map(|layer| (&**layer, BTreeSet::new())).collect();
    for (module, imported) in imports {
        let from = &*layers[layer(&layers, module)];
        let found = direct.get_mut(from).unwrap();
        found.extend(imported.iter().map(|other| &*layers[layer(&layers, other)]));
        found.remove(from);
    }
    let reaches = |from: &str, to: &str| {
        let (mut seen, mut open) = (BTreeSet::new(), vec![from]);
        while let Some(next) = open.pop() {
            open.extend(direct[next].iter().filter(|layer| seen.insert(**layer)));
        }
        seen.contains(to)
    };
    let mut drawing = String::from("```mermaid\nflowchart TD\n");
    for from in layers.iter().rev() {
        for to in &direct[&**from] {
            if !direct[&**from].iter().any(|other| reaches(other, to)) {
                drawing += &format!("    {from} --> {to}\n");
            }
        }
    }
    drawing + "```\n"
}

#[test]
fn architecture_shows_the_imports() {
    let file = engine_folder().join("../../ARCHITECTURE.md");
    let text = fs::read_to_string(&file).unwrap();
    let start = text.find("```mermaid").expect("ARCHITECTURE.md has a graph");
    let end = start + text[start..].find("```\n").unwrap() + 4;
    let drawing = draw(&imports());
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
        fs::write(&file, format!("{}{drawing}{}", &text[..start], &text[end..])).unwrap();
        return;
    }
    assert!(text[start..end] == drawing, "the graph is outdated; make it by the command below it");
}
