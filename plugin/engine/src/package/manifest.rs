//! The manifest of a package, `package.toml`, and the limits of its values.

use std::path::{Component, Path};

use serde::{Deserialize, Serialize};

use crate::dsp::grid::SpectrogramFormat;
use crate::package::error::PackageError;

/// The newest `format` that this version reads.
const MAX_FORMAT: u32 = 1;

/// Largest lookahead of a streaming model, in frames.
const MAX_LOOKAHEAD: usize = 64;
/// Largest context of a window model, in frames.
const MAX_CONTEXT: usize = 8192;

/// Most frames per run of a listener.
const MAX_LISTENER_FRAMES: usize = 64;

// The memory of an engine, and its work per block, grow with these.
/// Largest number of values in the context of a window model.
const MAX_WINDOW_VALUES: usize = 1 << 23;
/// Largest number of hops per frame.
const MAX_HOPS_PER_FRAME: usize = 16;
/// Longest frame, in seconds.
const MAX_FRAME_SECONDS: usize = 1;
/// Largest delay by a model, in seconds.
const MAX_DELAY_SECONDS: usize = 5;

/// Content of `package.toml`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Version of the package format; 1 if it is missing.
    // Not serialized: the fingerprint of a package must not change with a field that older packages lack.
    #[serde(default = "first_format", skip_serializing)]
    pub format: u32,
    pub name: String,
    pub version: String,
    pub licence: String,
    pub audio: SpectrogramFormat,
    pub separator: SeparatorSection,
    pub query: QuerySection,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listener: Option<ListenerSection>,
}

fn first_format() -> u32 {
    1
}

/// How the network of the separator is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SeparatorKind {
    /// One frame per run, with a state that is passed from run to run.
    Streaming,
    /// A window of past frames per run, every few frames.
    Window,
}

/// Table `[separator]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SeparatorSection {
    pub file: String,
    pub sha256: String,
    pub kind: SeparatorKind,
    /// Frames from the last mask of a run to its newest frame.
    #[serde(default)]
    pub lookahead: usize,
    /// Frames per run of a window model; only for that kind.
    pub context: Option<usize>,
    /// Frames between two runs of a window model; only for that kind.
    pub advance: Option<usize>,
    /// Multiply-accumulates per second of audio, as stated by the author of the package.
    pub multiply_accumulates: Option<f64>,
}

impl SeparatorSection {
    /// Frames per run.
    pub fn context(&self) -> usize {
        self.context.unwrap_or(1)
    }

    /// Frames from one run to the next.
    pub fn advance(&self) -> usize {
        self.advance.unwrap_or(1)
    }

    /// Frames from a mask to the newest frame when the mask is ready. The first frames of a window model's run wait for the
    /// last ones.
    pub fn mask_lag(&self) -> usize {
        self.lookahead + self.advance() - 1
    }

    /// Additional time for a run, in hops: a window model has until the next run.
    pub fn budget_hops(&self) -> usize {
        match self.kind {
            SeparatorKind::Streaming => 0,
            SeparatorKind::Window => self.advance(),
        }
    }

    /// Delay of the masks by the model, in hops.
    pub fn delay_hops(&self) -> usize {
        self.mask_lag() + self.budget_hops()
    }
}

/// Table `[query]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QuerySection {
    pub file: String,
    pub sha256: String,
    pub tokenizer: String,
    /// Largest number of tokens; longer queries are truncated.
    pub max_tokens: usize,
    /// Text put before every query.
    #[serde(default)]
    pub prefix: String,
}

/// Table `[listener]`: the network that recognises sounds; optional.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListenerSection {
    pub file: String,
    pub sha256: String,
    /// Frames per run.
    pub frames: usize,
    /// Names and relations of the concepts, and the rule by which the rest competes, as JSON.
    pub concepts: String,
    /// Embeddings of the concepts, as 16-bit floats.
    pub embeddings: String,
}

/// The field of a manifest that every format has.
#[derive(Deserialize)]
struct FormatOnly {
    #[serde(default = "first_format")]
    format: u32,
}

impl Manifest {
    /// Reads and checks a manifest. `place`: its path, for errors.
    pub(super) fn parse(text: &str, place: &Path) -> Result<Self, PackageError> {
        // First, because a newer format may have fields that are unknown here.
        let format = toml::from_str::<FormatOnly>(text).map_or(MAX_FORMAT, |manifest| manifest.format);
        if format > MAX_FORMAT {
            return Err(PackageError::new(
                place.display(),
                format_args!("field `format` is {format}; expected at most {MAX_FORMAT}"),
                "The package needs a newer version of Sift",
            ));
        }
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
        let SpectrogramFormat { sample_rate, n_fft, hop, .. } = self.audio;
        if self.format == 0 {
            return fault("format", "is 0; expected 1 or more".into());
        }
        if !(8_000..=192_000).contains(&sample_rate) {
            return fault("audio.sample_rate", format!("is {sample_rate}; expected 8000 to 192000 Hz"));
        }
        if !(64..=16_384).contains(&n_fft) || n_fft % 2 != 0 {
            return fault("audio.n_fft", format!("is {n_fft}; expected an even number from 64 to 16384"));
        }
        if n_fft > MAX_FRAME_SECONDS * sample_rate as usize {
            return fault(
                "audio.n_fft",
                format!("is {n_fft}; expected at most {MAX_FRAME_SECONDS} s of samples"),
            );
        }
        let hops = n_fft.div_ceil(MAX_HOPS_PER_FRAME)..=n_fft / 2;
        if !hops.contains(&hop) {
            let (smallest, largest) = hops.into_inner();
            return fault(
                "audio.hop",
                format!(
                    "is {hop}; expected n_fft / {MAX_HOPS_PER_FRAME} to n_fft / 2 ({smallest} to {largest})"
                ),
            );
        }
        let SeparatorSection { kind, lookahead, context, advance, .. } = self.separator;
        match (kind, context, advance) {
            (SeparatorKind::Streaming, None, None) => {
                if lookahead > MAX_LOOKAHEAD {
                    return fault(
                        "separator.lookahead",
                        format!("is {lookahead}; expected at most {MAX_LOOKAHEAD} frames"),
                    );
                }
            }
            (SeparatorKind::Streaming, Some(_), _) => {
                return fault("separator.context", "is set; expected only for window models".into());
            }
            (SeparatorKind::Streaming, None, Some(_)) => {
                return fault("separator.advance", "is set; expected only for window models".into());
            }
            (SeparatorKind::Window, None, _) => {
                return fault("separator.context", "is missing; expected for window models".into());
            }
            (SeparatorKind::Window, _, None) => {
                return fault("separator.advance", "is missing; expected for window models".into());
            }
            (SeparatorKind::Window, Some(context), Some(advance)) => {
                if !(1..=MAX_CONTEXT).contains(&context) {
                    return fault(
                        "separator.context",
                        format!("is {context}; expected 1 to {MAX_CONTEXT} frames"),
                    );
                }
                if context * self.audio.bins() > MAX_WINDOW_VALUES {
                    return fault(
                        "separator.context",
                        format!("is {context}; with n_fft, expected at most {MAX_WINDOW_VALUES} values"),
                    );
                }
                if !(1..=context).contains(&advance) {
                    return fault(
                        "separator.advance",
                        format!("is {advance}; expected 1 to `context` ({context})"),
                    );
                }
                if lookahead > context - advance {
                    return fault(
                        "separator.lookahead",
                        format!(
                            "is {lookahead}; expected at most `context` less `advance` ({})",
                            context - advance
                        ),
                    );
                }
            }
        }
        let latency = self.separator.delay_hops() * hop;
        if latency > MAX_DELAY_SECONDS * sample_rate as usize {
            let field =
                if kind == SeparatorKind::Window { "separator.advance" } else { "separator.lookahead" };
            return fault(field, format!("adds more than {MAX_DELAY_SECONDS} s of latency"));
        }
        if !(3..=512).contains(&self.query.max_tokens) {
            return fault("query.max_tokens", format!("is {}; expected 3 to 512", self.query.max_tokens));
        }
        let mut files = vec![
            ("separator.file", &self.separator.file),
            ("query.file", &self.query.file),
            ("query.tokenizer", &self.query.tokenizer),
        ];
        if let Some(ListenerSection { file, frames, concepts, embeddings, .. }) = &self.listener {
            if !(1..=MAX_LISTENER_FRAMES).contains(frames) {
                return fault(
                    "listener.frames",
                    format!("is {frames}; expected 1 to {MAX_LISTENER_FRAMES} frames"),
                );
            }
            files.extend([
                ("listener.file", file),
                ("listener.concepts", concepts),
                ("listener.embeddings", embeddings),
            ]);
        }
        for (field, file) in files {
            let mut parts = Path::new(file).components();
            if !matches!((parts.next(), parts.next()), (Some(Component::Normal(_)), None)) {
                return fault(
                    field,
                    format!("is {file:?}; expected the name of a file in the package's folder"),
                );
            }
        }
        Ok(())
    }
}

/// The name in a manifest that may have errors elsewhere.
pub(super) fn claimed_name(manifest: &str) -> Option<String> {
    let (_, value) =
        manifest.lines().filter_map(|line| line.split_once('=')).find(|(key, _)| key.trim() == "name")?;
    Some(value.trim().trim_matches(['"', '\'']).to_owned())
}

#[cfg(test)]
impl SeparatorSection {
    /// The section of a streaming model without a file.
    pub(crate) fn streaming(lookahead: usize) -> Self {
        let (file, sha256) = Default::default();
        Self {
            file,
            sha256,
            kind: SeparatorKind::Streaming,
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
    fn manifest_in_the_documentation_is_valid() {
        let page = include_str!("../../../../models/README.md");
        let example = page.split("```toml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
        Manifest::parse(example, Path::new("models/README.md")).unwrap();
    }

    #[test]
    fn delay_of_a_window_model_is_its_lookahead_and_two_runs() {
        let window = |advance, lookahead| SeparatorSection {
            kind: SeparatorKind::Window,
            context: Some(64),
            advance: Some(advance),
            ..SeparatorSection::streaming(lookahead)
        };
        assert_eq!(SeparatorSection::streaming(3).delay_hops(), 3);
        for (advance, lookahead, hops) in [(1, 0, 1), (1, 5, 6), (16, 0, 31), (16, 4, 35)] {
            assert_eq!(window(advance, lookahead).delay_hops(), hops);
        }
    }

    /// The last line of the manifest and a table of a listener with `fields`.
    fn listener(fields: &str) -> String {
        let rest = match fields.contains("embeddings") {
            true => "",
            false => "embeddings = \"listener.f16\"",
        };
        format!(
            "max_tokens = 64\n[listener]\nfile = \"listener.onnx\"\nsha256 = \"00\"\nconcepts = \"listener.json\"\n{fields}\n{rest}"
        )
    }

    fn refusal(manifest: &str) -> String {
        Manifest::parse(manifest, Path::new("models/x/package.toml")).unwrap_err().to_string()
    }

    #[test]
    fn manifest_error_names_file_field_and_remedy() {
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
            ("max_tokens = 64", &listener("frames = 0"), "listener.frames"),
            ("max_tokens = 64", &listener("frames = 65"), "listener.frames"),
            ("max_tokens = 64", &listener("frames = 8\nembeddings = \"../x\""), "listener.embeddings"),
            ("licence = \"MIT\"", "", "licence"),
            ("name = \"test\"", "format = 0\nname = \"test\"", "format"),
        ] {
            let message = refusal(&VALID.replace(from, to));
            assert!(message.contains("models/x/package.toml"), "{message}");
            assert!(message.contains(field), "{message}");
            assert!(message.contains("Correct the field"), "{message}");
        }
    }

    #[test]
    fn missing_format_reads_as_the_first() {
        assert_eq!(Manifest::parse(VALID, Path::new("package.toml")).unwrap().format, 1);
        let numbered = format!("format = 1\n{VALID}");
        assert_eq!(Manifest::parse(&numbered, Path::new("package.toml")).unwrap().format, 1);
    }

    #[test]
    fn newer_format_is_refused_whatever_else_the_manifest_has() {
        let message = refusal(&format!("format = 2\nunknown = true\n{VALID}"));
        assert!(message.contains("models/x/package.toml") && message.contains("`format` is 2"), "{message}");
        assert!(message.contains("newer version of Sift"), "{message}");
    }

    #[test]
    fn format_number_does_not_change_the_serialized_manifest() {
        let serialized =
            |text: &str| toml::to_string(&Manifest::parse(text, Path::new("package.toml")).unwrap());
        assert_eq!(serialized(&format!("format = 1\n{VALID}")).unwrap(), serialized(VALID).unwrap());
    }
}
