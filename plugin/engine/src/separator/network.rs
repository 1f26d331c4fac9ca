//! What both kinds of network share: sessions whose inputs and outputs keep the package contract.

use std::sync::Arc;

use ort::environment::Environment;
use ort::session::{RunOptions, SessionInputValue, SessionOutputs};
use ort::value::{DynValue, Outlet, TensorElementType, TensorRef, ValueType};
use realfft::num_complex::Complex32;

use crate::inference::batching_pool::{Pool, Share};
use crate::inference::cancel::{Stop, within_limit};
use crate::inference::provider::{Choice, Placement, Provider};
use crate::inference::session::Session;
use crate::package::{Package, PackageError};
use crate::separator::Separator;

/// The sessions of a network, and the frames of streams that wait for one.
pub type SessionPool = Pool<Session, Box<Frame>>;

/// A share of them.
pub type Sessions = Share<Session, Box<Frame>>;

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
pub struct Frame {
    pub magnitude: Vec<f32>,
    pub embedding: Vec<f32>,
    /// Of the frame before, and after the run those for the next one, in the order of the network's inputs.
    pub states: Vec<DynValue>,
    pub mask: Vec<Complex32>,
    /// The presence, where the network tells it.
    pub outcome: Result<Option<f32>, String>,
    /// What it is run with alone.
    pub runs: Arc<RunOptions>,
}

/// A package's separator network. A clone is the same one.
#[derive(Clone)]
pub struct Network {
    pub sessions: Sessions,
    pub runs: Arc<RunOptions>,
    pub layout: Layout,
}

/// What goes into a run and comes out of it.
#[derive(Clone, Copy)]
pub struct Layout {
    /// That the network sees at once.
    frames: usize,
    pub bins: usize,
    pub embedding: usize,
    /// 1: gain; 2: real and imaginary part of a complex gain.
    mask_channels: usize,
    tells_presence: bool,
    /// Whether the first dimension of all of them is left open, for any number of streams.
    pub takes_streams: bool,
}

impl Network {
    /// Checks the inputs and outputs that every network has. `is_further` tells of the name of another
    /// input whether the kind of network takes it.
    pub fn checked(
        sessions: Sessions,
        frames: usize,
        bins: usize,
        is_further: impl Fn(&str) -> bool,
    ) -> Result<Self, String> {
        let session = sessions.lend()?;
        let magnitude = tensor(session.inputs(), "input", "magnitude")?;
        matches_shape("magnitude", &magnitude, &[1, frames, bins])?;
        let embedding = tensor(session.inputs(), "input", "embedding")?;
        let &[_, width] = embedding.as_slice() else {
            return Err(format!("`embedding` has the shape {embedding:?}, not [1, E]"));
        };
        matches_shape("embedding", &embedding, &[1, usize::try_from(width).unwrap_or(0)])?;
        let mask = tensor(session.outputs(), "output", "mask")?;
        let mask_channels = match mask.get(1) {
            Some(2) => 2,
            _ => 1,
        };
        matches_shape("mask", &mask, &[1, mask_channels, frames, bins])?;

        let tells_presence = session.outputs().iter().any(|output| output.name() == "presence");
        let mut takes_streams = [&magnitude, &embedding, &mask].iter().all(|shape| shape[0] == -1);
        if tells_presence {
            let presence = tensor(session.outputs(), "output", "presence")?;
            matches_shape("presence", &presence, &[1, frames])?;
            takes_streams &= presence[0] == -1;
        }
        let known = |name: &str| name == "magnitude" || name == "embedding" || is_further(name);
        if let Some(input) = session.inputs().iter().find(|input| !known(input.name())) {
            return Err(format!("has an input `{}` that this kind of separator does not take", input.name()));
        }
        let layout =
            Layout { frames, bins, embedding: width as usize, mask_channels, tells_presence, takes_streams };
        drop(session);
        let runs = sessions.stop().runs().map_err(|error| error.to_string())?;
        Ok(Self { sessions, runs, layout })
    }
}

impl Layout {
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
    pub fn mask(
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
    pub fn presence(
        self,
        outputs: &SessionOutputs<'_>,
        stream: usize,
        frame: usize,
    ) -> ort::Result<Option<f32>> {
        if !self.tells_presence {
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
pub fn open<S: Separator>(
    environment: &Environment,
    model: &LoadedModel,
    choice: &Choice,
    stop: &Stop,
    check: impl Fn(Sessions) -> Result<(S, usize), String>,
) -> Result<(S, Placement), PackageError> {
    let package = &model.package;
    let bins = package.manifest.audio.bins();
    let open = |provider| {
        let make = || {
            Session::new(environment, &package.separator, package.is_foreign(), provider, stop)
                .map_err(|error| error.to_string())
        };
        let (mut separator, embedding) = check(model.sessions(provider).join(stop, make)?)?;
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
    within_limit(stop, || choice.place(open)).flatten().map_err(|fault| {
        let place = package.place(&package.manifest.separator.file);
        PackageError::new(place, fault, "Install the package again, or export it anew")
    })
}

/// The shape of the float tensor called `name`; −1 stands for a dimension left open.
pub fn tensor(outlets: &[Outlet], side: &str, name: &str) -> Result<Vec<i64>, String> {
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

pub fn matches_shape(name: &str, shape: &[i64], expected: &[usize]) -> Result<(), String> {
    let fits = |(&actual, &expected): (&i64, &usize)| actual == -1 || usize::try_from(actual) == Ok(expected);
    if shape.len() == expected.len() && shape.iter().zip(expected).all(fits) && !expected.contains(&0) {
        return Ok(());
    }
    Err(format!("`{name}` has the shape {shape:?}, not {expected:?}"))
}
