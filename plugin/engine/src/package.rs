//! Model packages: a folder with a manifest, two networks and a tokenizer. Read, checked, and
//! explained when something is wrong.

use std::borrow::Cow;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::stft::Window;
use crate::{folders, onnx, runtime};

/// The name of the package that is compiled into the binary.
pub const DEFAULT: &str = "Sift default";

const MANIFEST: &str = "package.toml";

/// What the query's concept is compared with; a package need not have it.
pub(crate) const CONCEPTS: &str = "concepts.json";

const CARD: &str = "MODEL_CARD.md";

/// Largest manifest, card, network, tokenizer and list of concepts that is read, in bytes.
const MANIFEST_LIMIT: u64 = 64 << 10;
const CARD_LIMIT: u64 = 1 << 20;
const FILE_LIMIT: u64 = 4 << 30;
const TOKENIZER_LIMIT: u64 = 64 << 20;
const CONCEPTS_LIMIT: u64 = 64 << 20;

/// Most frames that a streaming model may look ahead, and that a window model may see.
const LOOKAHEAD_LIMIT: usize = 64;
const CONTEXT_LIMIT: usize = 8192;

/// Values of a window model's window, shortest hop in hops a frame, longest frame and longest latency of a
/// model in seconds: what an engine holds at a time, and computes in a block, grows with them.
const WINDOW_LIMIT: usize = 1 << 23;
const OVERLAP_LIMIT: usize = 16;
const FRAME_LIMIT: usize = 1;
const LATENCY_LIMIT: usize = 5;

/// What is wrong with a package: where, what, and what to do.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{place}: {fault}. {remedy}")]
pub struct PackageError {
    /// The package's name, as far as its manifest tells.
    name: Option<String>,
    place: String,
    fault: String,
    remedy: String,
}

impl PackageError {
    pub(crate) fn new(place: impl fmt::Display, fault: impl fmt::Display, remedy: impl fmt::Display) -> Self {
        Self { name: None, place: place.to_string(), fault: fault.to_string(), remedy: remedy.to_string() }
    }
}

/// `package.toml`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    pub name: String,
    pub version: String,
    pub licence: String,
    pub audio: Audio,
    pub separator: SeparatorSection,
    pub query: QuerySection,
}

/// The spectrogram the model was trained on.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Audio {
    /// Hertz.
    pub sample_rate: u32,
    /// Samples a frame, even.
    pub n_fft: usize,
    /// Samples between frames.
    pub hop: usize,
    pub window: Window,
}

impl Audio {
    /// Bins of a frame.
    pub fn bins(&self) -> usize {
        self.n_fft / 2 + 1
    }
}

/// How the separator's network is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// One hop at a time, with its state passed from run to run.
    Streaming,
    /// On a window of past frames, every few frames.
    Window,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SeparatorSection {
    pub file: String,
    pub sha256: String,
    pub kind: Kind,
    /// Frames that a run's last mask lies behind its newest frame.
    #[serde(default)]
    pub lookahead: usize,
    /// Frames a window model sees at once; given for such a model alone.
    pub context: Option<usize>,
    /// Frames between two runs of a window model, likewise.
    pub advance: Option<usize>,
    /// What the network computes for a second of audio, as its maker says.
    pub multiply_accumulates: Option<f64>,
}

impl SeparatorSection {
    /// Frames that the network sees in a run.
    pub fn context(&self) -> usize {
        self.context.unwrap_or(1)
    }

    /// Frames from a run to the next.
    pub fn advance(&self) -> usize {
        self.advance.unwrap_or(1)
    }

    /// Frames that a mask lies behind the newest one when it is there: a window model's first frames wait
    /// for the last ones of their run.
    pub fn behind(&self) -> usize {
        self.lookahead + self.advance() - 1
    }

    /// Frames that a run may take beyond the time that any has: a window model has until the next one.
    pub fn budget(&self) -> usize {
        match self.kind {
            Kind::Streaming => 0,
            Kind::Window => self.advance(),
        }
    }

    /// Hops that the model delays its masks by.
    pub fn delay_hops(&self) -> usize {
        self.behind() + self.budget()
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QuerySection {
    pub file: String,
    pub sha256: String,
    pub tokenizer: String,
    /// Tokens a query is cut to.
    pub max_tokens: usize,
    /// Put before every query.
    #[serde(default)]
    pub prefix: String,
}

impl Manifest {
    fn parse(text: &str, place: &Path) -> Result<Self, PackageError> {
        let manifest: Self = toml::from_str(text).map_err(|error| {
            PackageError::new(
                place.display(),
                error.to_string().trim_end(),
                "Correct the field or install the package again",
            )
        })?;
        manifest.check(place)?;
        Ok(manifest)
    }

    fn check(&self, place: &Path) -> Result<(), PackageError> {
        let fault = |field: &str, fault: String| {
            Err(PackageError::new(
                place.display(),
                format_args!("field `{field}` {fault}"),
                "Correct the field or install the package again",
            ))
        };
        let Audio { sample_rate, n_fft, hop, .. } = self.audio;
        if !(8_000..=192_000).contains(&sample_rate) {
            return fault("audio.sample_rate", format!("is {sample_rate}, not within 8000 to 192000 Hz"));
        }
        if !(64..=16_384).contains(&n_fft) || n_fft % 2 != 0 {
            return fault("audio.n_fft", format!("is {n_fft}, not an even number within 64 to 16384"));
        }
        if n_fft > FRAME_LIMIT * sample_rate as usize {
            return fault("audio.n_fft", format!("is {n_fft}, longer than {FRAME_LIMIT} s"));
        }
        let hops = n_fft.div_ceil(OVERLAP_LIMIT)..=n_fft / 2;
        if !hops.contains(&hop) {
            let (least, most) = hops.into_inner();
            return fault(
                "audio.hop",
                format!("is {hop}, not within n_fft / {OVERLAP_LIMIT} to n_fft / 2 ({least} to {most})"),
            );
        }
        let SeparatorSection { kind, lookahead, context, advance, .. } = self.separator;
        match (kind, context, advance) {
            (Kind::Streaming, None, None) => {
                if lookahead > LOOKAHEAD_LIMIT {
                    return fault(
                        "separator.lookahead",
                        format!("is {lookahead}, more than {LOOKAHEAD_LIMIT} frames"),
                    );
                }
            }
            (Kind::Streaming, Some(_), _) => {
                return fault("separator.context", "is given for a streaming model".into());
            }
            (Kind::Streaming, None, Some(_)) => {
                return fault("separator.advance", "is given for a streaming model".into());
            }
            (Kind::Window, None, _) => {
                return fault("separator.context", "is missing for a window model".into());
            }
            (Kind::Window, _, None) => {
                return fault("separator.advance", "is missing for a window model".into());
            }
            (Kind::Window, Some(context), Some(advance)) => {
                if !(1..=CONTEXT_LIMIT).contains(&context) {
                    return fault(
                        "separator.context",
                        format!("is {context}, not within 1 to {CONTEXT_LIMIT} frames"),
                    );
                }
                if context * self.audio.bins() > WINDOW_LIMIT {
                    return fault(
                        "separator.context",
                        format!("is {context}, which with n_fft makes more than {WINDOW_LIMIT} values"),
                    );
                }
                if !(1..=context).contains(&advance) {
                    return fault(
                        "separator.advance",
                        format!("is {advance}, not within 1 to the context ({context})"),
                    );
                }
                if lookahead > context - advance {
                    return fault(
                        "separator.lookahead",
                        format!("is {lookahead}, more than context less advance ({})", context - advance),
                    );
                }
            }
        }
        let latency = self.separator.delay_hops() * hop;
        if latency > LATENCY_LIMIT * sample_rate as usize {
            let field = if kind == Kind::Window { "separator.advance" } else { "separator.lookahead" };
            return fault(field, format!("makes the sound later by more than {LATENCY_LIMIT} s"));
        }
        if !(3..=512).contains(&self.query.max_tokens) {
            return fault("query.max_tokens", format!("is {}, not within 3 to 512", self.query.max_tokens));
        }
        for (field, file) in [
            ("separator.file", &self.separator.file),
            ("query.file", &self.query.file),
            ("query.tokenizer", &self.query.tokenizer),
        ] {
            let mut parts = Path::new(file).components();
            if !matches!((parts.next(), parts.next()), (Some(Component::Normal(_)), None)) {
                return fault(field, format!("is {file:?}, not the name of a file in the package's folder"));
            }
        }
        Ok(())
    }
}

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
pub struct Listing {
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

impl Listing {
    /// The package compiled into the binary.
    pub fn built_in() -> Self {
        let manifest = Manifest::parse(embedded::MANIFEST, Path::new("built-in package.toml"))
            .expect("the built-in manifest is checked by a test");
        Self { manifest, origin: Origin::BuiltIn }
    }

    /// Reads the manifest of the package in `folder`.
    pub fn read(folder: &Path) -> Result<Self, PackageError> {
        Self::parse(&read_text(&folder.join(MANIFEST), MANIFEST_LIMIT)?, folder)
    }

    /// The package in `folder` whose manifest says `text`.
    pub fn parse(text: &str, folder: &Path) -> Result<Self, PackageError> {
        let manifest = Manifest::parse(text, &folder.join(MANIFEST))
            .map_err(|error| PackageError { name: claimed_name(text), ..error })?;
        Ok(Self { manifest, origin: Origin::Folder(folder.to_owned()) })
    }

    /// The model card: what the model is, knows and cannot do, in Markdown.
    ///
    /// # Errors
    /// When there is none that could be read.
    pub fn card(&self) -> Result<Cow<'static, str>, PackageError> {
        let Origin::Folder(folder) = &self.origin else { return Ok(embedded::CARD.into()) };
        let place = folder.join(CARD);
        Ok(read_text(&place, CARD_LIMIT)?.into())
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
                read_limited(&folder.join(&query.tokenizer), TOKENIZER_LIMIT)?.into(),
                match folder.join(CONCEPTS) {
                    place if place.exists() => Some(read_limited(&place, CONCEPTS_LIMIT)?.into()),
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
    pub(crate) fn is_foreign(&self) -> bool {
        self.origin != Origin::BuiltIn
    }

    /// The file of this package that `field` names, for messages.
    pub(crate) fn place(&self, file: &str) -> String {
        match &self.origin {
            Origin::BuiltIn => format!("built-in model, {file}"),
            Origin::Folder(folder) => folder.join(file).display().to_string(),
        }
    }
}

/// Every package there is, best first: those in `SIFT_MODELS`, the user's data folder, the
/// plugin's own resources, and the built-in one. A folder that holds a broken manifest is listed
/// with what is wrong.
pub fn installed() -> Vec<Result<Listing, PackageError>> {
    let mut found: Vec<_> = search_folders()
        .iter()
        .flat_map(|folder| package_folders(folder))
        .map(|folder| Listing::read(&folder))
        .collect();
    found.push(Ok(Listing::built_in()));
    found
}

/// The first installed package called `name`.
///
/// # Errors
/// When there is none, or when that first one's manifest is broken: a package further down the
/// list never stands in for it silently.
pub fn find(name: &str) -> Result<Listing, PackageError> {
    let called = |listing: &Result<Listing, PackageError>| match listing {
        Ok(listing) => listing.manifest.name == name,
        Err(error) => error.name.as_deref() == Some(name),
    };
    installed().into_iter().find(called).unwrap_or_else(|| {
        let folder = user_folder()
            .map_or("a folder named in SIFT_MODELS".into(), |folder| folder.display().to_string());
        Err(PackageError::new(
            format_args!("model {name:?}"),
            "is not installed",
            format_args!("Put its package into {folder}"),
        ))
    })
}

/// The folders in which packages are looked for, in this order.
pub fn search_folders() -> Vec<PathBuf> {
    let from_environment = std::env::var_os("SIFT_MODELS").unwrap_or_default();
    std::env::split_paths(&from_environment)
        .filter(|folder| !folder.as_os_str().is_empty())
        .chain(user_folder())
        .chain(
            runtime::own_folder()
                .into_iter()
                .flat_map(|folder| [folder.join("models"), folder.join("../Resources/models")]),
        )
        .collect()
}

/// Where a person puts packages of their own.
pub fn user_folder() -> Option<PathBuf> {
    Some(folders::data()?.join("models"))
}

/// `folder` itself when it is a package, else the packages directly inside it, by name.
fn package_folders(folder: &Path) -> Vec<PathBuf> {
    let is_package = |folder: &Path| folder.join(MANIFEST).is_file();
    if is_package(folder) {
        return vec![folder.to_owned()];
    }
    let mut inside: Vec<_> = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|folder| is_package(folder))
        .collect();
    inside.sort();
    inside
}

/// The name that a manifest gives, read without understanding the rest of it.
fn claimed_name(manifest: &str) -> Option<String> {
    let (_, value) =
        manifest.lines().filter_map(|line| line.split_once('=')).find(|(key, _)| key.trim() == "name")?;
    Some(value.trim().trim_matches(['"', '\'']).to_owned())
}

/// The content of a file of the package whose folder it is in.
fn read_limited(path: &Path, limit: u64) -> Result<Vec<u8>, PackageError> {
    let fault =
        |fault: &dyn fmt::Display| PackageError::new(path.display(), fault, "Install the package again");
    let unreadable = |error: io::Error| fault(&error);
    let real = path.canonicalize().map_err(unreadable)?;
    let folder = path.parent().unwrap_or(Path::new("")).canonicalize().map_err(unreadable)?;
    if !real.starts_with(folder) {
        return Err(fault(&"is a link that leads out of the package's folder"));
    }
    // A pipe or a device would never end.
    let meta = real.metadata().map_err(unreadable)?;
    if !meta.is_file() {
        return Err(fault(&"is not a file"));
    }
    if meta.len() > limit {
        return Err(fault(&format_args!("has {} bytes, more than the {limit} allowed", meta.len())));
    }
    let mut bytes = Vec::with_capacity(meta.len() as usize);
    File::open(real).and_then(|file| file.take(limit).read_to_end(&mut bytes)).map_err(unreadable)?;
    Ok(bytes)
}

fn read_text(path: &Path, limit: u64) -> Result<String, PackageError> {
    String::from_utf8(read_limited(path, limit)?)
        .map_err(|_| PackageError::new(path.display(), "is not UTF-8 text", "Install the package again"))
}

fn read_network(path: &Path, field: &str, expected: &str) -> Result<Vec<u8>, PackageError> {
    let bytes = read_limited(path, FILE_LIMIT)?;
    let actual = sha256(&bytes);
    if !actual.eq_ignore_ascii_case(expected) {
        return Err(PackageError::new(
            path.display(),
            format_args!("has the SHA-256 {actual}, but `{field}` says {expected}"),
            "The file is damaged or was changed: install the package again",
        ));
    }
    onnx::check(&bytes).map_err(|fault| {
        PackageError::new(path.display(), fault, "Install the package again, or export it anew without that")
    })?;
    Ok(bytes)
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
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
impl SeparatorSection {
    /// Of a streaming model that has no file.
    pub(crate) fn streaming(lookahead: usize) -> Self {
        let (file, sha256) = Default::default();
        Self {
            file,
            sha256,
            kind: Kind::Streaming,
            lookahead,
            context: None,
            advance: None,
            multiply_accumulates: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALID: &str = r#"
        name = "test"
        version = "1"
        licence = "MIT"
        [audio]
        sample_rate = 32000
        n_fft = 1024
        hop = 512
        window = "sqrt_hann"
        [separator]
        file = "separator.onnx"
        sha256 = "00"
        kind = "streaming"
        [query]
        file = "query.onnx"
        sha256 = "00"
        tokenizer = "tokenizer.json"
        max_tokens = 64
    "#;

    #[test]
    fn the_manifest_in_the_documentation_is_one() {
        let page = include_str!("../../../models/README.md");
        let example = page.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
        Manifest::parse(example, Path::new("models/README.md")).unwrap();
    }

    #[test]
    fn delay_of_a_window_model_is_its_lookahead_and_two_runs() {
        let window = |advance, lookahead| SeparatorSection {
            kind: Kind::Window,
            context: Some(64),
            advance: Some(advance),
            ..SeparatorSection::streaming(lookahead)
        };
        assert_eq!(SeparatorSection::streaming(3).delay_hops(), 3);
        for (advance, lookahead, hops) in [(1, 0, 1), (1, 5, 6), (16, 0, 31), (16, 4, 35)] {
            assert_eq!(window(advance, lookahead).delay_hops(), hops);
        }
    }

    fn refusal(manifest: &str) -> String {
        Manifest::parse(manifest, Path::new("models/x/package.toml")).unwrap_err().to_string()
    }

    #[test]
    fn the_built_in_package_is_whole() {
        let listing = Listing::built_in();
        let package = listing.load().unwrap();
        assert_eq!(listing.manifest.name, DEFAULT);
        assert_eq!(sha256(&package.separator), listing.manifest.separator.sha256);
        assert_eq!(sha256(&package.query), listing.manifest.query.sha256);
    }

    #[test]
    fn a_fault_names_the_file_the_field_and_the_remedy() {
        for (from, to, field) in [
            ("n_fft = 1024", "n_fft = 1023", "audio.n_fft"),
            ("n_fft = 1024", "n_fft = 9999999", "audio.n_fft"),
            ("hop = 512", "hop = 0", "audio.hop"),
            ("sample_rate = 32000", "sample_rate = 1", "audio.sample_rate"),
            ("max_tokens = 64", "max_tokens = 0", "query.max_tokens"),
            ("file = \"query.onnx\"", "file = \"../query.onnx\"", "query.file"),
            ("file = \"separator.onnx\"", "file = \"/etc/passwd\"", "separator.file"),
            ("kind = \"streaming\"", "kind = \"window\"", "separator.context"),
            ("kind = \"streaming\"", "kind = \"window\"\ncontext = 8", "separator.advance"),
            ("kind = \"streaming\"", "kind = \"window\"\ncontext = 0\nadvance = 1", "separator.context"),
            ("kind = \"streaming\"", "kind = \"window\"\ncontext = 8\nadvance = 9", "separator.advance"),
            (
                "kind = \"streaming\"",
                "kind = \"window\"\ncontext = 8\nadvance = 4\nlookahead = 5",
                "separator.lookahead",
            ),
            ("kind = \"streaming\"", "kind = \"streaming\"\nlookahead = 65", "separator.lookahead"),
            ("kind = \"streaming\"", "kind = \"streaming\"\ncontext = 8", "separator.context"),
            ("kind = \"streaming\"", "kind = \"streaming\"\nadvance = 2", "separator.advance"),
            ("hop = 512", "hop = \"many\"", "hop"),
            ("hop = 512", "hop = 63", "audio.hop"),
            ("n_fft = 1024", "n_fft = 16384", "audio.hop"),
            (
                "sample_rate = 32000\n        n_fft = 1024",
                "sample_rate = 8000\n        n_fft = 8002",
                "audio.n_fft",
            ),
            ("kind = \"streaming\"", "kind = \"window\"\ncontext = 8192\nadvance = 160", "separator.advance"),
            ("licence = \"MIT\"", "", "licence"),
        ] {
            let message = refusal(&VALID.replace(from, to));
            assert!(message.contains("models/x/package.toml"), "{message}");
            assert!(message.contains(field), "{message}");
            assert!(message.contains("Correct the field"), "{message}");
        }
    }

    #[test]
    fn the_card_is_read_from_the_package_and_missed_by_name() {
        assert!(Listing::built_in().card().unwrap().contains("# Sift default"));
        let folder = std::env::temp_dir().join(format!("sift-card-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(MANIFEST), VALID).unwrap();
        let listing = Listing::read(&folder).unwrap();
        assert!(listing.card().unwrap_err().to_string().contains("MODEL_CARD.md"));
        std::fs::write(folder.join(CARD), "# Mine").unwrap();
        assert_eq!(listing.card().unwrap(), "# Mine");
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_changed_file_is_refused_by_its_hash() {
        let folder = std::env::temp_dir().join(format!("sift-package-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(MANIFEST), VALID).unwrap();
        std::fs::write(folder.join("separator.onnx"), b"not it").unwrap();
        let message = Listing::read(&folder).unwrap().load().err().unwrap().to_string();
        assert!(message.contains("separator.onnx") && message.contains("separator.sha256"), "{message}");
        std::fs::remove_file(folder.join("separator.onnx")).unwrap();
        let message = Listing::read(&folder).unwrap().load().err().unwrap().to_string();
        assert!(message.contains("separator.onnx") && message.contains("Install"), "{message}");
        std::fs::remove_dir_all(folder).unwrap();
    }
}
