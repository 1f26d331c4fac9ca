//! Model packages: a folder with a manifest, two networks and a tokenizer; reading and checking of their files.

mod error;
mod files;
mod manifest;
pub mod search;
pub mod speed_records;

use std::borrow::Cow;
use std::fmt;
use std::path::{Path, PathBuf};

use crate::inference::cancel::CancelToken;
use crate::package::files::{
    MAX_CARD_BYTES, MAX_CONCEPTS_BYTES, MAX_EMBEDDINGS_BYTES, MAX_MANIFEST_BYTES, MAX_TOKENIZER_BYTES,
    read_limited, read_network, read_text, sha256,
};
use crate::package::manifest::claimed_name;

pub use error::PackageError;
pub use manifest::{ListenerSection, Manifest, QuerySection, SeparatorKind, SeparatorSection};

/// The name of the package that is compiled into the binary.
pub const DEFAULT_PACKAGE: &str = "Sift default";

const MANIFEST_FILE: &str = "package.toml";

/// The concepts that a query is compared with; optional.
pub(crate) const CONCEPTS_FILE: &str = "concepts.json";

/// Names of the concepts and of other sounds; optional.
pub(crate) const NAMES_FILE: &str = "names.json";

const CARD_FILE: &str = "MODEL_CARD.md";

/// Origin of a package.
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

/// An installed package, of which only the manifest has been read.
#[derive(Clone, Debug)]
pub struct PackageInfo {
    pub manifest: Manifest,
    pub origin: Origin,
}

/// The files of a package in memory, with checked hashes. The networks have not been run.
pub struct Package {
    pub manifest: Manifest,
    pub origin: Origin,
    /// ONNX.
    pub separator: Cow<'static, [u8]>,
    /// ONNX.
    pub query: Cow<'static, [u8]>,
    /// JSON.
    pub tokenizer: Cow<'static, [u8]>,
    /// JSON; `None` if the package has no concepts.
    pub concepts: Option<Cow<'static, [u8]>>,
    /// JSON; `None` if the package has no names beside those of its concepts.
    pub names: Option<Cow<'static, [u8]>>,
    /// `None` if the package has no listener. An error here does not concern the rest of the package.
    pub listener: Option<Result<ListenerFiles, PackageError>>,
}

/// The files of a listener in memory, with checked hash. The network has not been run.
pub struct ListenerFiles {
    /// ONNX.
    pub network: Cow<'static, [u8]>,
    /// JSON.
    pub concepts: Cow<'static, [u8]>,
    /// Little-endian 16-bit floats, one row per concept.
    pub embeddings: Cow<'static, [u8]>,
}

impl ListenerFiles {
    fn read(folder: &Path, section: &ListenerSection, token: &CancelToken) -> Result<Self, PackageError> {
        let ListenerSection { file, sha256, concepts, embeddings, .. } = section;
        Ok(Self {
            network: read_network(&folder.join(file), "listener.sha256", sha256, token)?.into(),
            concepts: read_limited(&folder.join(concepts), MAX_CONCEPTS_BYTES, token)?.into(),
            embeddings: read_limited(&folder.join(embeddings), MAX_EMBEDDINGS_BYTES, token)?.into(),
        })
    }
}

/// Reads a file with names of sounds, if it exists.
fn read_optional(place: &Path, token: &CancelToken) -> Result<Option<Cow<'static, [u8]>>, PackageError> {
    match place.exists() {
        true => Ok(Some(read_limited(place, MAX_CONCEPTS_BYTES, token)?.into())),
        false => Ok(None),
    }
}

impl PackageInfo {
    /// The package compiled into the binary.
    pub fn built_in() -> Self {
        let manifest = Manifest::parse(embedded::MANIFEST, Path::new("built-in package.toml"))
            .expect("the built-in manifest is checked by a test");
        Self { manifest, origin: Origin::BuiltIn }
    }

    /// Reads the manifest of the package in `folder`.
    ///
    /// # Errors
    /// If it is missing or has errors.
    pub fn read(folder: &Path) -> Result<Self, PackageError> {
        Self::parse(&read_text(&folder.join(MANIFEST_FILE), MAX_MANIFEST_BYTES)?, folder)
    }

    /// The package in `folder`, with `text` as its manifest.
    ///
    /// # Errors
    /// If the manifest has errors.
    pub fn parse(text: &str, folder: &Path) -> Result<Self, PackageError> {
        let manifest = Manifest::parse(text, &folder.join(MANIFEST_FILE))
            .map_err(|error| error.of_package(claimed_name(text)))?;
        Ok(Self { manifest, origin: Origin::Folder(folder.to_owned()) })
    }

    /// The model card, in Markdown.
    ///
    /// # Errors
    /// If it is missing or cannot be read.
    pub fn model_card(&self) -> Result<Cow<'static, str>, PackageError> {
        let Origin::Folder(folder) = &self.origin else { return Ok(embedded::CARD.into()) };
        let place = folder.join(CARD_FILE);
        Ok(read_text(&place, MAX_CARD_BYTES)?.into())
    }

    /// SHA-256 of the manifest, which includes the hashes of the networks. Changes with every change of these.
    pub fn fingerprint(&self) -> String {
        sha256(&serde_json::to_vec(&self.manifest).expect("a manifest is plain data"))
    }

    /// Reads the files of the package and checks their hashes.
    ///
    /// # Errors
    /// If a file is missing, too large, or has another hash than the manifest states.
    pub fn load(&self) -> Result<Package, PackageError> {
        self.load_until_cancelled(&CancelToken::default())
    }

    /// Does the same as [`load`](Self::load), until `token` is cancelled.
    ///
    /// # Errors
    /// Those of [`load`](Self::load), or if `token` is cancelled.
    pub fn load_until_cancelled(&self, token: &CancelToken) -> Result<Package, PackageError> {
        let Manifest { separator, query, listener, .. } = &self.manifest;
        let (separator, query, tokenizer, concepts, names, listener) = match &self.origin {
            // A test checks the hashes of the files that are compiled in.
            Origin::BuiltIn => (
                Cow::Borrowed(embedded::SEPARATOR),
                Cow::Borrowed(embedded::QUERY),
                Cow::Borrowed(embedded::TOKENIZER),
                Some(Cow::Borrowed(embedded::CONCEPTS)),
                Some(Cow::Borrowed(embedded::NAMES)),
                Some(Ok(embedded::LISTENER)),
            ),
            Origin::Folder(folder) => (
                read_network(&folder.join(&separator.file), "separator.sha256", &separator.sha256, token)?
                    .into(),
                read_network(&folder.join(&query.file), "query.sha256", &query.sha256, token)?.into(),
                read_limited(&folder.join(&query.tokenizer), MAX_TOKENIZER_BYTES, token)?.into(),
                read_optional(&folder.join(CONCEPTS_FILE), token)?,
                read_optional(&folder.join(NAMES_FILE), token)?,
                listener.as_ref().map(|section| ListenerFiles::read(folder, section, token)),
            ),
        };
        Ok(Package {
            manifest: self.manifest.clone(),
            origin: self.origin.clone(),
            separator,
            query,
            tokenizer,
            concepts,
            names,
            listener,
        })
    }
}

impl Package {
    /// Whether the package is not built in; then limits apply to its networks.
    pub(crate) fn is_untrusted(&self) -> bool {
        self.origin != Origin::BuiltIn
    }

    /// Name of the package's file `file` for messages.
    pub(crate) fn file_label(&self, file: &str) -> String {
        match &self.origin {
            Origin::BuiltIn => format!("built-in model, {file}"),
            Origin::Folder(folder) => folder.join(file).display().to_string(),
        }
    }
}

mod embedded {
    use std::borrow::Cow;

    use super::ListenerFiles;

    pub const MANIFEST: &str = include_str!("../../../models/default/package.toml");
    pub const CARD: &str = include_str!("../../../models/default/MODEL_CARD.md");
    pub static SEPARATOR: &[u8] = include_bytes!("../../../models/default/separator.onnx");
    pub static QUERY: &[u8] = include_bytes!("../../../models/default/query.onnx");
    pub static TOKENIZER: &[u8] = include_bytes!("../../../models/default/tokenizer.json");
    pub static CONCEPTS: &[u8] = include_bytes!("../../../models/default/concepts.json");
    pub static NAMES: &[u8] = include_bytes!("../../../models/default/names.json");
    pub const LISTENER: ListenerFiles = ListenerFiles {
        network: Cow::Borrowed(include_bytes!("../../../models/default/listener.onnx")),
        concepts: Cow::Borrowed(include_bytes!("../../../models/default/listener.json")),
        embeddings: Cow::Borrowed(include_bytes!("../../../models/default/listener.f16")),
    };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inference::onnx_check;

    const VALID: &str = include_str!("../../../tests/packages/identity/package.toml");

    #[test]
    fn built_in_package_has_the_hashes_of_its_manifest() {
        let info = PackageInfo::built_in();
        let package = info.load().unwrap();
        assert_eq!(info.manifest.name, DEFAULT_PACKAGE);
        assert_eq!(sha256(&package.separator), info.manifest.separator.sha256);
        assert_eq!(sha256(&package.query), info.manifest.query.sha256);
        let listener = package.listener.unwrap().unwrap();
        assert_eq!(sha256(&listener.network), info.manifest.listener.unwrap().sha256);
    }

    #[test]
    fn cancelled_load_ends_before_the_hash_is_known() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(MANIFEST_FILE), VALID).unwrap();
        std::fs::write(folder.path().join("separator.onnx"), b"not it").unwrap();
        let token = CancelToken::default();
        token.cancel();
        let info = PackageInfo::read(folder.path()).unwrap();
        let message = info.load_until_cancelled(&token).err().unwrap().to_string();
        assert!(message.contains("separator.onnx: the network was stopped"), "{message}");
    }

    #[test]
    fn card_is_read_and_a_missing_one_is_named() {
        assert!(PackageInfo::built_in().model_card().unwrap().contains("# Sift default"));
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        std::fs::write(folder.join(MANIFEST_FILE), VALID).unwrap();
        let info = PackageInfo::read(folder).unwrap();
        assert!(info.model_card().unwrap_err().to_string().contains("MODEL_CARD.md"));
        std::fs::write(folder.join(CARD_FILE), "# Mine").unwrap();
        assert_eq!(info.model_card().unwrap(), "# Mine");
    }

    #[test]
    fn networks_of_the_default_package_pass_the_check() {
        let package = PackageInfo::built_in().load().unwrap();
        for network in [&package.separator, &package.query] {
            assert!(onnx_check::check(network).unwrap() > 50);
        }
    }

    #[test]
    fn changed_file_is_refused_by_its_hash() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        std::fs::write(folder.join(MANIFEST_FILE), VALID).unwrap();
        std::fs::write(folder.join("separator.onnx"), b"not it").unwrap();
        let message = PackageInfo::read(folder).unwrap().load().err().unwrap().to_string();
        assert!(message.contains("separator.onnx") && message.contains("separator.sha256"), "{message}");
        std::fs::remove_file(folder.join("separator.onnx")).unwrap();
        let message = PackageInfo::read(folder).unwrap().load().err().unwrap().to_string();
        assert!(message.contains("separator.onnx") && message.contains("Install"), "{message}");
    }
}
