//! Model packages: a folder with a manifest, two networks and a tokenizer. Read, checked, and
//! explained when something is wrong.

mod error;
mod files;
mod manifest;
pub mod search;
pub mod speed_records;

use std::borrow::Cow;
use std::fmt;
use std::path::{Path, PathBuf};

use crate::package::files::{
    MAX_CARD_BYTES, MAX_CONCEPTS_BYTES, MAX_MANIFEST_BYTES, MAX_TOKENIZER_BYTES, read_limited, read_network,
    read_text, sha256,
};
use crate::package::manifest::claimed_name;

pub use error::PackageError;
pub use manifest::{Manifest, QuerySection, SeparatorKind, SeparatorSection};

/// The name of the package that is compiled into the binary.
pub const DEFAULT_PACKAGE: &str = "Sift default";

const MANIFEST_FILE: &str = "package.toml";

/// What the query's concept is compared with; a package need not have it.
pub(crate) const CONCEPTS_FILE: &str = "concepts.json";

const CARD_FILE: &str = "MODEL_CARD.md";

/// Where a package comes from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    BuiltIn,
    Folder(PathBuf),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::BuiltIn => f.write_str("built in"),
            Origin::Folder(folder) => folder.display().fmt(f),
        }
    }
}

/// A package whose manifest was read; nothing else was.
#[derive(Clone, Debug)]
pub struct PackageInfo {
    pub manifest: Manifest,
    pub origin: Origin,
}

/// A package in memory, its files' hashes checked. The networks were not run yet.
pub struct Package {
    pub manifest: Manifest,
    pub origin: Origin,
    /// ONNX.
    pub separator: Cow<'static, [u8]>,
    /// ONNX.
    pub query: Cow<'static, [u8]>,
    /// JSON.
    pub tokenizer: Cow<'static, [u8]>,
    /// JSON, where the package has concepts.
    pub concepts: Option<Cow<'static, [u8]>>,
}

impl PackageInfo {
    /// The package compiled into the binary.
    pub fn built_in() -> Self {
        let manifest = Manifest::parse(embedded::MANIFEST, Path::new("built-in package.toml"))
            .expect("the built-in manifest is checked by a test");
        Self { manifest, origin: Origin::BuiltIn }
    }

    /// Reads the manifest of the package in `folder`.
    pub fn read(folder: &Path) -> Result<Self, PackageError> {
        Self::parse(&read_text(&folder.join(MANIFEST_FILE), MAX_MANIFEST_BYTES)?, folder)
    }

    /// The package in `folder` whose manifest says `text`.
    pub fn parse(text: &str, folder: &Path) -> Result<Self, PackageError> {
        let manifest = Manifest::parse(text, &folder.join(MANIFEST_FILE))
            .map_err(|error| error.of_package(claimed_name(text)))?;
        Ok(Self { manifest, origin: Origin::Folder(folder.to_owned()) })
    }

    /// The model card: what the model is, knows and cannot do, in Markdown.
    ///
    /// # Errors
    /// When there is none that could be read.
    pub fn model_card(&self) -> Result<Cow<'static, str>, PackageError> {
        let Origin::Folder(folder) = &self.origin else { return Ok(embedded::CARD.into()) };
        let place = folder.join(CARD_FILE);
        Ok(read_text(&place, MAX_CARD_BYTES)?.into())
    }

    /// Tells this package from every other and from what it was before a change: the SHA-256 of what its
    /// manifest says, the networks' hashes among it.
    pub fn fingerprint(&self) -> String {
        sha256(&serde_json::to_vec(&self.manifest).expect("a manifest is plain data"))
    }

    /// Reads the package's files and checks their hashes.
    pub fn load(&self) -> Result<Package, PackageError> {
        let Manifest { separator, query, .. } = &self.manifest;
        let (separator, query, tokenizer, concepts) = match &self.origin {
            // Compiled in from checked files: a test holds the hashes against them.
            Origin::BuiltIn => (
                Cow::Borrowed(embedded::SEPARATOR),
                Cow::Borrowed(embedded::QUERY),
                Cow::Borrowed(embedded::TOKENIZER),
                Some(Cow::Borrowed(embedded::CONCEPTS)),
            ),
            Origin::Folder(folder) => (
                read_network(&folder.join(&separator.file), "separator.sha256", &separator.sha256)?.into(),
                read_network(&folder.join(&query.file), "query.sha256", &query.sha256)?.into(),
                read_limited(&folder.join(&query.tokenizer), MAX_TOKENIZER_BYTES)?.into(),
                match folder.join(CONCEPTS_FILE) {
                    place if place.exists() => Some(read_limited(&place, MAX_CONCEPTS_BYTES)?.into()),
                    _ => None,
                },
            ),
        };
        Ok(Package {
            manifest: self.manifest.clone(),
            origin: self.origin.clone(),
            separator,
            query,
            tokenizer,
            concepts,
        })
    }
}

impl Package {
    /// Whether anybody may have made it: its networks are held to limits.
    pub(crate) fn is_untrusted(&self) -> bool {
        self.origin != Origin::BuiltIn
    }

    /// The file of this package that `field` names, for messages.
    pub(crate) fn file_label(&self, file: &str) -> String {
        match &self.origin {
            Origin::BuiltIn => format!("built-in model, {file}"),
            Origin::Folder(folder) => folder.join(file).display().to_string(),
        }
    }
}

mod embedded {
    pub const MANIFEST: &str = include_str!("../../../models/default/package.toml");
    pub const CARD: &str = include_str!("../../../models/default/MODEL_CARD.md");
    pub const SEPARATOR: &[u8] = include_bytes!("../../../models/default/separator.onnx");
    pub const QUERY: &[u8] = include_bytes!("../../../models/default/query.onnx");
    pub const TOKENIZER: &[u8] = include_bytes!("../../../models/default/tokenizer.json");
    pub const CONCEPTS: &[u8] = include_bytes!("../../../models/default/concepts.json");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inference::onnx_check;

    const VALID: &str = include_str!("../../../tests/packages/identity/package.toml");

    #[test]
    fn the_built_in_package_is_whole() {
        let info = PackageInfo::built_in();
        let package = info.load().unwrap();
        assert_eq!(info.manifest.name, DEFAULT_PACKAGE);
        assert_eq!(sha256(&package.separator), info.manifest.separator.sha256);
        assert_eq!(sha256(&package.query), info.manifest.query.sha256);
    }

    #[test]
    fn the_card_is_read_from_the_package_and_missed_by_name() {
        assert!(PackageInfo::built_in().model_card().unwrap().contains("# Sift default"));
        let folder = std::env::temp_dir().join(format!("sift-card-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(MANIFEST_FILE), VALID).unwrap();
        let info = PackageInfo::read(&folder).unwrap();
        assert!(info.model_card().unwrap_err().to_string().contains("MODEL_CARD.md"));
        std::fs::write(folder.join(CARD_FILE), "# Mine").unwrap();
        assert_eq!(info.model_card().unwrap(), "# Mine");
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn the_networks_of_the_default_package_may_be_loaded() {
        let package = PackageInfo::built_in().load().unwrap();
        for network in [&package.separator, &package.query] {
            assert!(onnx_check::check(network).unwrap() > 50);
        }
    }

    #[test]
    fn a_changed_file_is_refused_by_its_hash() {
        let folder = std::env::temp_dir().join(format!("sift-package-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(MANIFEST_FILE), VALID).unwrap();
        std::fs::write(folder.join("separator.onnx"), b"not it").unwrap();
        let message = PackageInfo::read(&folder).unwrap().load().err().unwrap().to_string();
        assert!(message.contains("separator.onnx") && message.contains("separator.sha256"), "{message}");
        std::fs::remove_file(folder.join("separator.onnx")).unwrap();
        let message = PackageInfo::read(&folder).unwrap().load().err().unwrap().to_string();
        assert!(message.contains("separator.onnx") && message.contains("Install"), "{message}");
        std::fs::remove_dir_all(folder).unwrap();
    }
}
