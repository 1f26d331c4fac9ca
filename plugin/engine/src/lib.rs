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
//! # Render a buffer
//!
//! An [`Instance`] is the control side: it holds the texts and the model. A [`Processor`] is the audio
//! side. Here the host renders offline, so `process` waits for the network.
//!
//! ```no_run
//! use std::time::Duration;
//! use sift_engine::{AuxOutputs, Config, Controls, Instance};
//!
//! let instance = Instance::default();
//! instance.queries().set_text(0, "a dog barking");
//! let mut processor =
//!     instance.start(Config { sample_rate: 48_000.0, max_block: 512, channels: 1, offline: true });
//! instance.wait_until_ready(Duration::from_secs(60))?; // or the error message of the model
//!
//! let mut block = [0.0; 512]; // in: the input; out: the output, `processor.latency()` samples later
//! processor.process(&mut [&mut block], &mut AuxOutputs::default(), &Controls::new(&[1.0; 512], &[1.0; 512]));
//! # Ok::<(), String>(())
//! ```
//!
//! # Go live
//!
//! With `offline: false`, [`Processor::process`] is real-time safe: it neither allocates nor locks nor
//! runs a network. Audio passes dry while the model loads and where a mask is late. The processor moves
//! to the audio thread; the instance stays with the other threads.
//!
//! ```no_run
//! # use sift_engine::{AuxOutputs, Config, Controls, Instance};
//! # let instance = Instance::default();
//! # let config = Config { sample_rate: 48_000.0, max_block: 512, channels: 1, offline: false };
//! let mut processor = instance.start(config);
//! let audio_thread = std::thread::spawn(move || {
//!     let mut block = [0.0; 512];
//!     processor.process(&mut [&mut block], &mut AuxOutputs::default(), &Controls::new(&[1.0; 512], &[1.0; 512]));
//!     processor
//! });
//! instance.queries().set_text(0, "the singer"); // takes effect at a later hop
//! // Drops the engine on a background thread, for hosts that deactivate on their audio thread.
//! instance.stop(audio_thread.join().unwrap());
//! ```
//!
//! # Switch models
//!
//! [`Instance::set_model`] loads another model while audio plays. The processor continues with it when it
//! is loaded: inaudibly if both have the same latency, with a fade otherwise.
//!
//! ```no_run
//! # use sift_engine::{Instance, ModelChoice};
//! # let instance = Instance::default();
//! instance.set_model(ModelChoice::Installed("Sift default".into()))?;
//! instance.set_model(ModelChoice::Folder("models/mine".into()))?;
//! # Ok::<(), std::io::Error>(())
//! ```
//!
//! # Read what was understood
//!
//! [`Queries`] has the state of each text and what it was understood as. [`Instance::snapshot`] has the
//! state of the model, and counts of masks that came late. [`Instance::analyzer`] has the spectrum and
//! the levels.
//!
//! ```no_run
//! # use sift_engine::{Instance, SlotState};
//! # let instance = Instance::default();
//! if instance.queries().slot_state(0) == SlotState::Ready {
//!     println!("{}", instance.queries().understanding(0).describe()); // keeping speech 0.93
//! }
//! if let Some(snapshot) = instance.snapshot() {
//!     println!("{}: {:?}, {} late masks", snapshot.model, snapshot.readiness, snapshot.faults.late);
//! }
//! ```
//!
//! # Take a recording apart
//!
//! [`OfflineModel`](offline::OfflineModel) takes no text. It [listens](offline::OfflineModel::listen) to a recording, and
//! [splits](offline::OfflineModel::split) it into the sounds that it heard and a rest. Together they are the input again.
//!
//! ```no_run
//! use sift_engine::{ModelChoice, offline::OfflineModel};
//!
//! let mut model = OfflineModel::open(&ModelChoice::default())?;
//! let recording = [vec![0.0; 480_000]]; // a vector per channel
//! let mut listener = model.listen(48_000, 1);
//! listener.push(&recording)?; // of any length, as often as there is audio
//! let timeline = listener.finish()?;
//!
//! let sounds: Vec<_> = timeline.sure(model.concepts(), 4).iter().map(|sound| sound.concept).collect();
//! let mut splitter = model.split(&sounds, 48_000, 1)?;
//! let stems = splitter.push(&recording)?; // a stem per sound, then the rest; each a vector per channel
//! # Ok::<(), String>(())
//! ```
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
//! | [`listener`] | which sounds are in the input: network, concepts, selection of the rest, suggestions |
//! | `query` | from texts to embeddings: requests, names, concepts, tokenizer, encoder, slots |
//! | [`separator`] | from magnitudes to masks: networks, streaming and window models, several parts |
//! | `realtime` | the separator thread, its queue and priority, offline detection, status |
//! | [`offline`] | whole recordings: a timeline of the sounds that are heard, and a stem per sound |
//! | `model_service` | the threads that load packages and encode queries, one per package |
//! | `engine` | the audio path with one model: `process`, and how an engine is built |
//! | `instance` | [`Instance`], [`Processor`], [`Snapshot`]: texts and model, switching of models |

pub mod dsp;
mod engine;
pub mod inference;
mod instance;
pub mod listener;
mod model_service;
pub mod offline;
pub mod package;
mod query;
mod realtime;
pub mod separator;
pub mod user;

pub use dsp::grid::Grid;
pub use dsp::mask_processor::{MaskProcessor, MaskShaping};
pub use dsp::mixer::Mode;
pub use dsp::stft::{AnalysisBuffer, OverlapAdd, Stft, WindowFunction};
pub use engine::block::{AuxOutputs, Config, Controls};
pub use inference::cancel::CancelToken;
pub use instance::Instance;
pub use instance::processor::Processor;
pub use instance::snapshot::Snapshot;
pub use listener::suggestions::HeardSound;
pub use package::search::ModelChoice;
pub use query::concepts::{ConceptMatch, UNDERSTOOD};
pub use query::encoder::{EncodedQuery, QueryEncoder};
pub use query::parts::{PartRole, QueryPart};
pub use query::slots::{Queries, SlotState};
pub use query::text::{DEFAULT_QUERIES, MAX_CHARACTERS, QueryText, SLOTS, normalise};
pub use query::tokenizer::QueryTokenizer;
pub use query::understanding::{Choice, Understanding, UnderstoodSound, UnknownSound};
pub use realtime::priority::GrantedPriority;
pub use realtime::status::{HearingState, MaskFaults, Readiness, RestSound};
