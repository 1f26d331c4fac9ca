//! Separator network: its sessions, tensor layout and checks, common to streaming and window models.

use std::sync::{Arc, OnceLock};

use ort::environment::Environment;
use ort::session::{RunOptions, SessionInputValue, SessionOutputs};
use ort::value::{DynValue, TensorRef};
use realfft::num_complex::Complex32;

use crate::inference::batching_pool::{BatchingPool, PoolHandle};
use crate::inference::cancel::{CancelToken, with_timeout};
use crate::inference::provider::{ActiveProvider, Provider, ProviderChoice};
use crate::inference::session::{LoadTurn, Session};
use crate::inference::tensors::{Signature, check_output, check_shape, tensor_shape};
use crate::listener::network::ListenerPool;
use crate::package::{Package, PackageError};
use crate::separator::Separator;

/// Sessions of a network, with the frames of streams that wait for one.
pub type SessionPool = BatchingPool<Session, Box<StreamJob>>;

/// Handle of one stream to the pool of sessions.
pub type SessionHandle = PoolHandle<Session, Box<StreamJob>>;

/// A package in memory with its pools of sessions, shared by all instances.
pub struct LoadedModel {
    pub package: Package,
    pub listener_sessions: Arc<ListenerPool>,
    sessions: [ProviderSessions; Provider::ALL.len()],
}

/// Sessions of a network on one provider.
#[derive(Default)]
struct ProviderSessions {
    pool: Arc<SessionPool>,
    /// Signature of the network, known with the first session.
    signature: OnceLock<Signature>,
}

/// Separator of which each run uses a session of a pool.
pub trait NetworkSeparator: Separator {
    fn network(&self) -> &Network;

    /// Does the same as [`run`](Separator::run), on `session`.
    ///
    /// # Errors
    /// Fails if the run fails or is cancelled; the mask is then invalid.
    fn run_on(
        &mut self,
        session: &mut Session,
        magnitude: &[f32],
        embedding: &[f32],
        mask: &mut [Complex32],
    ) -> Result<Option<f32>, String>;
}

impl LoadedModel {
    /// Creates the model without sessions; they are made when a separator and a listener are loaded.
    pub fn new(package: Package) -> Self {
        Self { package, listener_sessions: Arc::default(), sessions: Default::default() }
    }

    fn sessions(&self, provider: Provider) -> &ProviderSessions {
        &self.sessions[provider as usize]
    }
}

/// Inputs and outputs of the run on one frame of one or more streams.
pub struct StreamJob {
    /// One stream after another, as `embedding` and `mask`.
    pub magnitude: Vec<f32>,
    pub embedding: Vec<f32>,
    /// State tensors in the order of the network's inputs: input of the run, then its output for the next frame.
    pub states: Vec<DynValue>,
    pub mask: Vec<Complex32>,
    /// Presence of each stream, if the network has this output.
    pub presence: Vec<Option<f32>>,
    pub result: Result<(), String>,
    /// Options of a run that is not batched; they can cancel it.
    pub run_options: Arc<RunOptions>,
}

impl StreamJob {
    /// Number of streams.
    pub fn streams(&self) -> usize {
        self.presence.len()
    }
}

/// Separator network of a package; clones share its sessions.
#[derive(Clone)]
pub struct Network {
    pub sessions: SessionHandle,
    /// Options of runs; they can cancel them.
    pub run_options: Arc<RunOptions>,
    pub layout: TensorLayout,
}

/// Shapes of the tensors of a run.
#[derive(Clone, Copy)]
pub struct TensorLayout {
    /// Frames per run.
    frames: usize,
    pub bins: usize,
    pub embedding_size: usize,
    /// 1: gain; 2: real and imaginary part of a complex gain.
    mask_channels: usize,
    has_presence: bool,
    /// Whether the first axis of all tensors is dynamic, so that one run can take several streams.
    pub has_batch_axis: bool,
}

impl Network {
    /// Creates the network after checking the tensors that streaming and window models have in common.
    ///
    /// `is_kind_input` returns whether this kind of network takes a further input of that name.
    ///
    /// # Errors
    /// Fails if a tensor is missing, unknown, or has the wrong type or shape.
    pub fn new(
        signature: &Signature,
        sessions: SessionHandle,
        frames: usize,
        bins: usize,
        is_kind_input: impl Fn(&str) -> bool,
    ) -> Result<Self, String> {
        let Signature { inputs, outputs } = signature;
        let magnitude = tensor_shape(inputs, "input", "magnitude")?;
        check_shape("magnitude", &magnitude, &[1, frames, bins])?;
        let embedding = tensor_shape(inputs, "input", "embedding")?;
        let &[_, embedding_size] = embedding.as_slice() else {
            return Err(format!("`embedding` has shape {embedding:?}; expected [1, E]"));
        };
        check_shape("embedding", &embedding, &[1, usize::try_from(embedding_size).unwrap_or(0)])?;
        let mask = tensor_shape(outputs, "output", "mask")?;
        let mask_channels = match mask.get(1) {
            Some(2) => 2,
            _ => 1,
        };
        check_shape("mask", &mask, &[1, mask_channels, frames, bins])?;

        let has_presence = outputs.iter().any(|(name, _)| name == "presence");
        let mut has_batch_axis = [&magnitude, &embedding, &mask].iter().all(|shape| shape[0] == -1);
        if has_presence {
            let presence = tensor_shape(outputs, "output", "presence")?;
            check_shape("presence", &presence, &[1, frames])?;
            has_batch_axis &= presence[0] == -1;
        }
        let is_known = |name: &str| name == "magnitude" || name == "embedding" || is_kind_input(name);
        if let Some((name, _)) = inputs.iter().find(|(name, _)| !is_known(name)) {
            return Err(format!(
                "has an unknown input `{name}`; expected `magnitude`, `embedding` and, of a streaming model, `state_*`"
            ));
        }
        let layout = TensorLayout {
            frames,
            bins,
            embedding_size: embedding_size as usize,
            mask_channels,
            has_presence,
            has_batch_axis,
        };
        let run_options = sessions.token().run_options().map_err(|error| error.to_string())?;
        Ok(Self { sessions, run_options, layout })
    }
}

impl TensorLayout {
    /// Checks the length of a query's embedding.
    ///
    /// # Errors
    /// Fails if the network takes another length.
    pub fn check_embedding(self, embedding: &[f32]) -> Result<(), String> {
        if embedding.len() == self.embedding_size {
            return Ok(());
        }
        Err(format!(
            "`embedding` of the query network has {} values; expected {}, as the separator takes",
            embedding.len(),
            self.embedding_size
        ))
    }

    /// Returns the inputs `magnitude`, shape [streams, frames, bins], and `embedding`, shape [streams, E].
    ///
    /// The slices hold one stream after another.
    pub fn inputs<'a>(
        self,
        magnitude: &'a [f32],
        embedding: &'a [f32],
    ) -> ort::Result<Vec<(&'static str, SessionInputValue<'a>)>> {
        let streams = embedding.len() / self.embedding_size;
        Ok(vec![
            ("magnitude", TensorRef::from_array_view(([streams, self.frames, self.bins], magnitude))?.into()),
            ("embedding", TensorRef::from_array_view(([streams, self.embedding_size], embedding))?.into()),
        ])
    }

    /// Checks the shapes of mask and presence of a run on `streams` streams.
    ///
    /// A dynamic axis may have any length there.
    ///
    /// # Errors
    /// Fails if a shape is not the expected one.
    pub fn check_outputs(self, outputs: &SessionOutputs<'_>, streams: usize) -> ort::Result<()> {
        check_output(outputs, "mask", &[streams, self.mask_channels, self.frames, self.bins])?;
        if self.has_presence {
            check_output(outputs, "presence", &[streams, self.frames])?;
        }
        Ok(())
    }

    /// Reads the mask of one frame of one stream, after [`check_outputs`](Self::check_outputs).
    pub fn read_mask(
        self,
        outputs: &SessionOutputs<'_>,
        stream: usize,
        frame: usize,
        mask: &mut [Complex32],
    ) -> ort::Result<()> {
        let (_, values) = outputs["mask"].try_extract_tensor::<f32>()?;
        let mut maps = values.chunks_exact(self.frames * self.bins).skip(stream * self.mask_channels);
        let mut next_channel = || maps.next().map_or(&[][..], |map| &map[frame * self.bins..][..self.bins]);
        let real = next_channel();
        match self.mask_channels {
            1 => mask.iter_mut().zip(real).for_each(|(gain, &value)| *gain = Complex32::new(value, 0.0)),
            _ => {
                for ((gain, &re), &im) in mask.iter_mut().zip(real).zip(next_channel()) {
                    *gain = Complex32::new(re, im);
                }
            }
        }
        Ok(())
    }

    /// Reads the presence of one frame of one stream, if the network has this output.
    pub fn read_presence(
        self,
        outputs: &SessionOutputs<'_>,
        stream: usize,
        frame: usize,
    ) -> ort::Result<Option<f32>> {
        if !self.has_presence {
            return Ok(None);
        }
        let (_, values) = outputs["presence"].try_extract_tensor::<f32>()?;
        Ok(values.get(stream * self.frames + frame).copied())
    }
}

/// Loads the network of `model` and returns the separator that `create` makes of it, after a run on silence.
///
/// The network runs on the provider of `choice`, or on the CPU if this fails. Each attempt has its own time, which begins
/// when it no longer waits for the loads of others. A session is tested before the pool has it, so that no instance with
/// a higher priority waits for the test.
///
/// # Errors
/// Fails if the network is invalid, its mask is not finite, or the loading is cancelled or does not end in time.
pub fn load_separator<S: NetworkSeparator>(
    environment: &Environment,
    model: &LoadedModel,
    choice: &ProviderChoice,
    token: &CancelToken,
    create: impl Fn(&Signature, SessionHandle) -> Result<S, String>,
) -> Result<(S, ActiveProvider), PackageError> {
    let package = &model.package;
    let open = |provider| {
        let ProviderSessions { pool, signature } = model.sessions(provider);
        let make_session = |turn, attempt: &CancelToken| {
            let mut session = Session::new(environment, &package.separator, turn, provider, attempt)
                .map_err(|error| error.to_string())?;
            let found = Signature::new(&session);
            test_on_silence(create(&found, pool.handle(attempt))?, &mut session, package)?;
            signature.get_or_init(|| found);
            Ok(session)
        };
        let make_in_time = || {
            let turn = LoadTurn::wait(package.is_untrusted(), token)?;
            with_timeout(token, |attempt| make_session(turn, attempt)).flatten()
        };
        let handle = pool.attach(token, make_in_time)?;
        create(signature.get().expect("the pool has a session"), handle)
    };
    choice.with_fallback(open).map_err(|fault| {
        let label = package.file_label(&package.manifest.separator.file);
        PackageError::new(label, fault, "Install the package again, or export it again")
    })
}

/// Runs `separator` on silence until its first mask.
///
/// # Errors
/// Fails if a run fails, or the mask is not finite.
fn test_on_silence(
    mut separator: impl NetworkSeparator,
    session: &mut Session,
    package: &Package,
) -> Result<(), String> {
    let bins = package.manifest.audio.bins();
    let (silence, embedding) = (vec![0.0; bins], vec![0.0; separator.network().layout.embedding_size]);
    let mut mask = vec![Complex32::ZERO; bins];
    // A window model outputs its first mask after `advance` hops.
    for _ in 0..package.manifest.separator.advance() {
        separator.run_on(session, &silence, &embedding, &mut mask)?;
    }
    match mask.iter().all(|gain| gain.is_finite()) {
        true => Ok(()),
        false => Err("`mask` is not finite for silence; expected finite values".into()),
    }
}
