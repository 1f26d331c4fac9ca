//! `package.toml`, and the limits on what it may say.

use std::path::{Component, Path};

use serde::{Deserialize, Serialize};

use crate::dsp::grid::SpectrogramFormat;
use crate::package::error::PackageError;

/// Most frames that a streaming model may look ahead, and that a window model may see.
const MAX_LOOKAHEAD: usize = 64;
const MAX_CONTEXT: usize = 8192;

/// Values of a window model's window, shortest hop in hops a frame, longest frame and longest latency of a
/// model in seconds: what an engine holds at a time, and computes in a block, grows with them.
const MAX_WINDOW_VALUES: usize = 1 << 23;
const MAX_HOPS_PER_FRAME: usize = 16;
const MAX_FRAME_SECONDS: usize = 1;
const MAX_DELAY_SECONDS: usize = 5;

/// `package.toml`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    pub name: String,
    pub version: String,
    pub licence: String,
    pub audio: SpectrogramFormat,
    pub separator: SeparatorSection,
    pub query: QuerySection,
}

/// How the separator's network is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SeparatorKind {
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
    pub kind: SeparatorKind,
    /// FrameWindow that a run's last mask lies behind its newest frame.
    #[serde(default)]
    pub lookahead: usize,
    /// FrameWindow a window model sees at once; given for such a model alone.
    pub context: Option<usize>,
    /// FrameWindow between two runs of a window model, likewise.
    pub advance: Option<usize>,
    /// What the network computes for a second of audio, as its maker says.
    pub multiply_accumulates: Option<f64>,
}

impl SeparatorSection {
    /// FrameWindow that the network sees in a run.
    pub fn context(&self) -> usize {
        self.context.unwrap_or(1)
    }

    /// FrameWindow from a run to the next.
    pub fn advance(&self) -> usize {
        self.advance.unwrap_or(1)
    }

    /// FrameWindow that a mask lies behind the newest one when it is there: a window model's first frames wait
    /// for the last ones of their run.
    pub fn mask_lag(&self) -> usize {
        self.lookahead + self.advance() - 1
    }

    /// FrameWindow that a run may take beyond the time that any has: a window model has until the next one.
    pub fn budget_hops(&self) -> usize {
        match self.kind {
            SeparatorKind::Streaming => 0,
            SeparatorKind::Window => self.advance(),
        }
    }

    /// Hops that the model delays its masks by.
    pub fn delay_hops(&self) -> usize {
        self.mask_lag() + self.budget_hops()
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QuerySection {
    pub file: String,
    pub sha256: String,
    pub tokenizer: String,
    /// QueryTokenizer a query is cut to.
    pub max_tokens: usize,
    /// Put before every query.
    #[serde(default)]
    pub prefix: String,
}

impl Manifest {
    pub(super) fn parse(text: &str, place: &Path) -> Result<Self, PackageError> {
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
        if !(8_000..=192_000).contains(&sample_rate) {
            return fault("audio.sample_rate", format!("is {sample_rate}, not within 8000 to 192000 Hz"));
        }
        if !(64..=16_384).contains(&n_fft) || n_fft % 2 != 0 {
            return fault("audio.n_fft", format!("is {n_fft}, not an even number within 64 to 16384"));
        }
        if n_fft > MAX_FRAME_SECONDS * sample_rate as usize {
            return fault("audio.n_fft", format!("is {n_fft}, longer than {MAX_FRAME_SECONDS} s"));
        }
        let hops = n_fft.div_ceil(MAX_HOPS_PER_FRAME)..=n_fft / 2;
        if !hops.contains(&hop) {
            let (least, most) = hops.into_inner();
            return fault(
                "audio.hop",
                format!("is {hop}, not within n_fft / {MAX_HOPS_PER_FRAME} to n_fft / 2 ({least} to {most})"),
            );
        }
        let SeparatorSection { kind, lookahead, context, advance, .. } = self.separator;
        match (kind, context, advance) {
            (SeparatorKind::Streaming, None, None) => {
                if lookahead > MAX_LOOKAHEAD {
                    return fault(
                        "separator.lookahead",
                        format!("is {lookahead}, more than {MAX_LOOKAHEAD} frames"),
                    );
                }
            }
            (SeparatorKind::Streaming, Some(_), _) => {
                return fault("separator.context", "is given for a streaming model".into());
            }
            (SeparatorKind::Streaming, None, Some(_)) => {
                return fault("separator.advance", "is given for a streaming model".into());
            }
            (SeparatorKind::Window, None, _) => {
                return fault("separator.context", "is missing for a window model".into());
            }
            (SeparatorKind::Window, _, None) => {
                return fault("separator.advance", "is missing for a window model".into());
            }
            (SeparatorKind::Window, Some(context), Some(advance)) => {
                if !(1..=MAX_CONTEXT).contains(&context) {
                    return fault(
                        "separator.context",
                        format!("is {context}, not within 1 to {MAX_CONTEXT} frames"),
                    );
                }
                if context * self.audio.bins() > MAX_WINDOW_VALUES {
                    return fault(
                        "separator.context",
                        format!("is {context}, which with n_fft makes more than {MAX_WINDOW_VALUES} values"),
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
        if latency > MAX_DELAY_SECONDS * sample_rate as usize {
            let field =
                if kind == SeparatorKind::Window { "separator.advance" } else { "separator.lookahead" };
            return fault(field, format!("makes the sound later by more than {MAX_DELAY_SECONDS} s"));
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

/// The name that a manifest gives, read without understanding the rest of it.
pub(super) fn claimed_name(manifest: &str) -> Option<String> {
    let (_, value) =
        manifest.lines().filter_map(|line| line.split_once('=')).find(|(key, _)| key.trim() == "name")?;
    Some(value.trim().trim_matches(['"', '\'']).to_owned())
}

#[cfg(test)]
impl SeparatorSection {
    /// Of a streaming model that has no file.
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
    fn the_manifest_in_the_documentation_is_one() {
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

    fn refusal(manifest: &str) -> String {
        Manifest::parse(manifest, Path::new("models/x/package.toml")).unwrap_err().to_string()
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
}
