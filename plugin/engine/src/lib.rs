//! Sift's engine: language-queried source separation in real time, from samples to samples.
//!
//! A sound is described in words; a query network turns them into an embedding, a separator
//! network turns each frame of the input's magnitude spectrogram and the embedding into a mask,
//! and the masked spectrogram, with the input's phase, is the target (Liu et al., "Separate What
//! You Describe", Interspeech 2022).
//!
//! ```text
//! audio thread                                   separator thread
//! samples → STFT → fill hop.magnitude ──send──▶ network(magnitude, embedding[query]) → hop.mask
//! output ← overlap-add ← mask × spectrum ◀─receive─ the same box comes home
//! ```
//!
//! [`Engine`] is the audio thread's face. [`Queries`] holds the words; the
//! [librarian](librarian::ModelService) encodes them on a thread of its own. A network comes as a
//! [package](package), and ONNX Runtime is [loaded by absolute path](runtime), on the [provider](provider) that
//! the person [prefers](preferences). The engine knows no plugin framework and no window.
//!
//! Rendering a buffer:
//!
//! ```no_run
//! use std::sync::Arc;
//! use std::time::Duration;
//! use sift_engine::{AuxOutputs, Config, Controls, Engine, Mode, Queries, MaskShaping, package};
//!
//! let queries = Arc::new(Queries::default());
//! queries.set_text(0, "a dog barking");
//! let config = Config { sample_rate: 48_000.0, max_block: 512, channels: 1, offline: true };
//! let mut engine = Engine::open(package::DEFAULT, config, queries);
//! engine.wait_until_ready(Duration::from_secs(30))?;
//!
//! let mut block = [0.0; 512]; // input in, output out, `engine.latency()` samples later
//! let controls = Controls {
//!     strength: &[1.0; 512],
//!     gain: &[1.0; 512],
//!     mode: Mode::Isolate,
//!     query: 0,
//!     shape: MaskShaping::default(),
//!     listen_removed: false,
//!     bypass: false,
//! };
//! engine.process(&mut [&mut block], &mut AuxOutputs::default(), &controls);
//! # Ok::<(), String>(())
//! ```

pub mod dsp;
mod engine;
pub mod inference;
mod model_service;
pub mod package;
mod query;
mod realtime;
pub mod separator;
pub mod user;

pub use dsp::grid::Grid;
pub use dsp::mask_processor::{MaskProcessor, MaskShaping};
pub use dsp::mixer::Mode;
pub use dsp::stft::{AnalysisBuffer, OverlapAdd, Stft, WindowFunction};
pub use engine::{AuxOutputs, Config, Controls, Engine};
pub use inference::cancel::CancelToken;
pub use query::concepts::{ConceptMatch, UNDERSTOOD};
pub use query::encoder::{EncodedQuery, QueryEncoder};
pub use query::parts::{PartRole, QueryPart};
pub use query::slots::{DEFAULT_QUERIES, Queries, SLOTS, SlotState};
pub use query::text::{MAX_CHARACTERS, normalise};
pub use query::tokenizer::QueryTokenizer;
pub use realtime::status::{Readiness, Status};
