//! Language-queried source separation in real time.
//!
//! A query network turns a text into an embedding. A separator network turns each frame of the
//! input's magnitude spectrogram and the embedding into a mask. The masked spectrogram, with the
//! input's phase, is the target (Liu et al., "Separate What You Describe", Interspeech 2022).
//!
//! ```text
//! audio thread                                       separator thread
//! samples → STFT → fill request.magnitude ──send──▶ separator(magnitude, embedding[query]) → request.mask
//! output ← overlap-add ← mask × spectrum ◀─receive─ reply with the same box
//! ```
//!
//! # Tour
//!
//! 1. [`Engine::open`] takes the name of a model [package], a [`Config`] and the [`Queries`]. It
//!    returns at once; the model loads in the background.
//! 2. The model service, one background thread per process, loads the package and encodes the texts
//!    of [`Queries`].
//! 3. The separator thread, one per engine, runs the network on ONNX Runtime, with the
//!    [provider](inference::provider) that the [user's preferences](user::preferences) name.
//! 4. The host's audio thread calls [`Engine::process`] for each block. It is real-time safe.
//! 5. [`Status`] counts late masks and holds the error message of a failed model; the
//!    [`Analyzer`](dsp::analyzer::Analyzer) holds the spectrum and the peak levels for the editor.
//!
//! The engine depends on no plugin framework and opens no window.
//!
//! # Modules
//!
//! Each module imports only modules of the rows above it and its own submodules.
//!
//! | module | contents |
//! |---|---|
//! | [`dsp`] | signal processing: STFT, time-frequency grid, mask shaping, mixer, delay line, analyzer |
//! | [`inference`] | ONNX Runtime: library, sessions, providers, cancellation, the pool that batches the runs of several instances |
//! | [`user`] | per-user files: folders, TOML files, preferences |
//! | [`package`] | model packages: manifest, search, limits and hashes of files, records of a model's speed |
//! | `query` | from texts to embeddings: normalisation, parts, concepts, tokenizer, encoder, slots |
//! | [`separator`] | from magnitudes to masks: networks, streaming and window models, several parts |
//! | `realtime` | the separator thread, its queue and priority, offline detection, status |
//! | `model_service` | the thread that loads packages and encodes queries |
//! | `engine` | [`Engine`]: the audio thread's part, and how an engine is built from a package |
//!
//! # Example
//!
//! Separates one block:
//!
//! ```no_run
//! use std::sync::Arc;
//! use std::time::Duration;
//! use sift_engine::{AuxOutputs, Config, Controls, Engine, MaskShaping, Mode, Queries, package};
//!
//! let queries = Arc::new(Queries::default());
//! queries.set_text(0, "a dog barking");
//! let config = Config { sample_rate: 48_000.0, max_block: 512, channels: 1, offline: true };
//! let mut engine = Engine::open(package::DEFAULT_PACKAGE, config, queries);
//! engine.wait_until_ready(Duration::from_secs(30))?;
//!
//! let mut block = [0.0; 512]; // in: the input; out: the output, `engine.latency()` samples later
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
