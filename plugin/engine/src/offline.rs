//! Whole recordings: listening to them, and splitting them into all their sounds.
//!
//! Everything runs on the calling thread, at the recording's sample rate, and blocks it.

mod frame_analysis;
pub mod listen;
pub mod split;
pub mod timeline;

use std::sync::Arc;

use crate::dsp::grid::SpectrogramFormat;
use crate::inference::cancel::CancelToken;
use crate::inference::library;
use crate::inference::provider::ActiveProvider;
use crate::listener;
use crate::listener::concepts::ListenerConcepts;
use crate::listener::load::LoadedListener;
use crate::offline::listen::OfflineListener;
use crate::offline::split::OfflineSplitter;
use crate::package::search::ModelChoice;
use crate::package::{Package, PackageError};
use crate::separator::load::LoadedSeparator;
use crate::separator::network::LoadedModel;
use crate::separator::{self, Separator};
use crate::user::preferences::provider_choice;

/// A package with a listener, loaded to listen to recordings and to split them.
pub struct OfflineModel {
    audio: SpectrogramFormat,
    /// Frames from a mask of the separator to the newest frame.
    mask_lag: usize,
    /// Frames per run of the listener.
    listener_frames: usize,
    /// In the state of the start of a stream.
    separator: Box<dyn Separator>,
    listener: LoadedListener,
    provider: ActiveProvider,
    /// Cancels the runs of both networks.
    token: CancelToken,
}

impl OfflineModel {
    /// Finds the package, reads it, and loads its separator and its listener.
    ///
    /// # Errors
    /// Fails if ONNX Runtime or the package cannot be loaded, or the package has no listener.
    pub fn open(choice: &ModelChoice) -> Result<Self, String> {
        let environment = library::environment().map_err(|error| error.to_string())?;
        let load = || {
            let info = choice.find()?;
            let package = info.load()?;
            let (audio, mask_lag) = (package.manifest.audio, package.manifest.separator.mask_lag());
            let Some(section) = package.manifest.listener.clone() else { return Err(no_listener(&package)) };
            let model = LoadedModel::new(package);
            let token = CancelToken::default();
            let LoadedSeparator { separator, embedding_size, provider } =
                separator::load::load(environment, &model, &provider_choice(), &token)?;
            let sessions = &model.listener_sessions;
            let listener =
                listener::load::load(environment, &model.package, sessions, embedding_size, &token)
                    .unwrap_or_else(|| Err(no_listener(&model.package)))?;
            let listener_frames = section.frames;
            Ok(Self { audio, mask_lag, listener_frames, separator, listener, provider, token })
        };
        load().map_err(|error: PackageError| error.to_string())
    }

    /// The concepts that the listener recognises.
    pub fn concepts(&self) -> &Arc<ListenerConcepts> {
        &self.listener.concepts
    }

    /// The provider that the separator runs on.
    pub fn active_provider(&self) -> &ActiveProvider {
        &self.provider
    }

    /// Begins to listen to a recording of `channels` channels at `sample_rate` hertz.
    pub fn listen(&mut self, sample_rate: u32, channels: usize) -> OfflineListener<'_> {
        let Self { listener, audio, listener_frames, token, .. } = self;
        OfflineListener::new(listener, token.clone(), audio, *listener_frames, (sample_rate, channels))
    }

    /// Begins to split a recording of `channels` channels at `sample_rate` hertz into the sounds `concepts` and a rest.
    ///
    /// The numbers are those of [`concepts`](Self::concepts).
    ///
    /// # Errors
    /// Fails if the state of the separator cannot be copied.
    pub fn split(
        &self,
        concepts: &[usize],
        sample_rate: u32,
        channels: usize,
    ) -> Result<OfflineSplitter, String> {
        let streams = concepts
            .iter()
            .map(|&concept| Ok((self.separator.fork()?, self.listener.embeddings.row(concept))))
            .collect::<Result<_, String>>()?;
        let format = (sample_rate, channels);
        Ok(OfflineSplitter::new(streams, self.token.clone(), &self.audio, self.mask_lag, format))
    }
}

fn no_listener(package: &Package) -> PackageError {
    PackageError::new(
        package.file_label("package.toml"),
        "the model cannot listen: the table `listener` is missing",
        "Choose a model with a listener",
    )
}
