//! What both kinds of network share: sessions whose inputs and outputs keep the package contract.

use std::sync::Arc;

use ort::environment::Environment;
use ort::session::{RunOptions, SessionInputValue, SessionOutputs};
use ort::value::{DynValue, Outlet, TensorElementType, TensorRef, ValueType};
use realfft::num_complex::Complex32;

use crate::inference::batching_pool::{BatchingPool, PoolHandle};
use crate::inference::cancel::{CancelToken, with_timeout};
use crate::inference::provider::{ActiveProvider, Provider, ProviderChoice};
use crate::inference::session::Session;
use crate::package::{Package, PackageError};
use crate::separator::Separator;

/// The sessions of a network, and the frames of streams that wait for one.
pub type SessionPool = BatchingPool<Session, Box<StreamJob>>;

/// A share of them.
pub type SessionHandle = PoolHandle<Session, Box<StreamJob>>;

/// A package in memory, with the separator's sessions that all instances share.
pub struct LoadedModel {
    pub package: Package,
    /// One pool per provider.
    sessions: [Arc<SessionPool>; Provider::ALL.len()],
}

impl LoadedModel {
    pub fn new(package: Package) -> Self {
        Self { package, sessions: Default::default() }
    }

    fn sessions(&self, provider: Provider) -> &Arc<SessionPool> {
        &self.sessions[provider as usize]
    }
}

/// A stream's newest frame, and all that its run takes and gives.
pub struct StreamJob {
    pub magnitude: Vec<f32>,
    pub embedding: Vec<f32>,
    /// Of the frame before, and after the run those for the next one, in the order of the network's inputs.
    pub states: Vec<DynValue>,
    pub mask: Vec<Complex32>,
    /// The presence, where the network tells it.
    pub result: Result<Option<f32>, String>,
    /// What it is run with alone.
    pub run_options: Arc<RunOptions>,
}

/// A package's separator network. A clone is the same one.
#[derive(Clone)]
pub struct Network {
    pub sessions: SessionHandle,
    pub run_options: Arc<RunOptions>,
    pub layout: TensorLayout,
}

/// What goes into a run and comes out of it.
#[derive(Clone, Copy)]
pub struct TensorLayout {
    /// That the network sees at once.
    frames: usize,
    pub bins: usize,
    pub embedding: usize,
    /// 1: gain; 2: real and imaginary part of a complex gain.
    mask_channels: usize,
    has_presence: bool,
    /// Whether the first dimension of all of them is left open, for any number of streams.
    pub has_batch_axis: bool,
}

impl Network {
    /// Checks the inputs and outputs that every network has. `is_further` tells of the name of another
    /// input whether the kind of network takes it.
    pub fn new(
        sessions: SessionHandle,
        frames: usize,
        bins: usize,
        is_further: impl Fn(&str) -> bool,
    ) -> Result<Self, String> {
        let session = sessions.acquire()?;
        let magnitude = tensor_shape(session.inputs(), "input", "magnitude")?;
        check_shape("magnitude", &magnitude, &[1, frames, bins])?;
        let embedding = tensor_shape(session.inputs(), "input", "embedding")?;
        let &[_, width] = embedding.as_slice() else {
            return Err(format!("`embedding` has the shape {embedding:?}, not [1, E]"));
        };
        check_shape("embedding", &embedding, &[1, usize::try_from(width).unwrap_or(0)])?;
        let mask = tensor_shape(session.outputs(), "output", "mask")?;
        let mask_channels = match mask.get(1) {
            Some(2) => 2,
            _ => 1,
        };
        check_shape("mask", &mask, &[1, mask_channels, frames, bins])?;

        let has_presence = session.outputs().iter().any(|output| output.name() == "presence");
        let mut has_batch_axis = [&magnitude, &embedding, &mask].iter().all(|shape| shape[0] == -1);
        if has_presence {
            let presence = tensor_shape(session.outputs(), "output", "presence")?;
            check_shape("presence", &presence, &[1, frames])?;
            has_batch_axis &= presence[0] == -1;
        }
        let known = |name: &str| name == "magnitude" || name == "embedding" || is_further(name);
        if let Some(input) = session.inputs().iter().find(|input| !known(input.name())) {
            return Err(format!("has an input `{}` that this kind of separator does not take", input.name()));
        }
        let layout = TensorLayout {
            frames,
            bins,
            embedding: width as usize,
            mask_channels,
            has_presence,
            has_batch_axis,
        };
        drop(session);
        let run_options = sessions.token().run_options().map_err(|error| error.to_string())?;
        Ok(Self { sessions, run_options, layout })
    }
}

impl TensorLayout {
    /// Refuses what a query became if it is not for this network.
    pub fn check_embedding(self, embedding: &[f32]) -> Result<(), String> {
        if embedding.len() == self.embedding {
            return Ok(());
        }
        Err(format!(
            "the query network's `embedding` has {} values, the separator takes {}",
            embedding.len(),
            self.embedding
        ))
    }

    /// The inputs that every network takes: `magnitude`, `frames` of `bins` values each, and the embedding; of one stream
    /// after another.
    pub fn inputs<'a>(
        self,
        magnitude: &'a [f32],
        embedding: &'a [f32],
    ) -> ort::Result<Vec<(&'static str, SessionInputValue<'a>)>> {
        let streams = embedding.len() / self.embedding;
        Ok(vec![
            ("magnitude", TensorRef::from_array_view(([streams, self.frames, self.bins], magnitude))?.into()),
            ("embedding", TensorRef::from_array_view(([streams, self.embedding], embedding))?.into()),
        ])
    }

    /// Fills in the mask of a stream's `frame`.
    pub fn read_mask(
        self,
        outputs: &SessionOutputs<'_>,
        stream: usize,
        frame: usize,
        mask: &mut [Complex32],
    ) -> ort::Result<()> {
        let (_, values) = outputs["mask"].try_extract_tensor::<f32>()?;
        let mut maps = values.chunks_exact(self.frames * self.bins).skip(stream * self.mask_channels);
        let mut of_frame = || maps.next().map_or(&[][..], |map| &map[frame * self.bins..][..self.bins]);
        let real = of_frame();
        match self.mask_channels {
            1 => mask.iter_mut().zip(real).for_each(|(gain, &value)| *gain = Complex32::new(value, 0.0)),
            _ => {
                for ((gain, &re), &im) in mask.iter_mut().zip(real).zip(of_frame()) {
                    *gain = Complex32::new(re, im);
                }
            }
        }
        Ok(())
    }

    /// Of a stream's `frame`, where the network tells it.
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

/// The separator that `check` makes of the network of `model`, after one run on silence, on the provider
/// of `choice` or else on the processor.
///
/// # Errors
/// What is wrong with the network, by the name of its file.
pub fn load_separator<S: Separator>(
    environment: &Environment,
    model: &LoadedModel,
    choice: &ProviderChoice,
    token: &CancelToken,
    check: impl Fn(SessionHandle) -> Result<(S, usize), String>,
) -> Result<(S, ActiveProvider), PackageError> {
    let package = &model.package;
    let bins = package.manifest.audio.bins();
    let open = |provider| {
        let make = || {
            Session::new(environment, &package.separator, package.is_untrusted(), provider, token)
                .map_err(|error| error.to_string())
        };
        let (mut separator, embedding) = check(model.sessions(provider).attach(token, make)?)?;
        let mut mask = vec![Complex32::ZERO; bins];
        // As many hops as it may take until a mask of the network comes out.
        for _ in 0..package.manifest.separator.advance() {
            separator.run(&vec![0.0; bins], &vec![0.0; embedding], &mut mask)?;
        }
        separator.reset();
        match mask.iter().all(|gain| gain.is_finite()) {
            true => Ok(separator),
            false => Err("`mask` is not finite for silence".into()),
        }
    };
    with_timeout(token, || choice.with_fallback(open)).flatten().map_err(|fault| {
        let label = package.file_label(&package.manifest.separator.file);
        PackageError::new(label, fault, "Install the package again, or export it anew")
    })
}

/// The shape of the float tensor called `name`; −1 stands for a dimension left open.
pub fn tensor_shape(outlets: &[Outlet], side: &str, name: &str) -> Result<Vec<i64>, String> {
    let outlet = outlets
        .iter()
        .find(|outlet| outlet.name() == name)
        .ok_or_else(|| format!("has no {side} `{name}`"))?;
    match outlet.dtype() {
        ValueType::Tensor { ty: TensorElementType::Float32, shape, .. } => {
            Ok(shape.iter().copied().collect())
        }
        other => Err(format!("{side} `{name}` is {other}, not a tensor of 32-bit floats")),
    }
}

pub fn check_shape(name: &str, shape: &[i64], expected: &[usize]) -> Result<(), String> {
    let fits = |(&actual, &expected): (&i64, &usize)| actual == -1 || usize::try_from(actual) == Ok(expected);
    if shape.len() == expected.len() && shape.iter().zip(expected).all(fits) && !expected.contains(&0) {
        return Ok(());
    }
    Err(format!("`{name}` has the shape {shape:?}, not {expected:?}"))
}
