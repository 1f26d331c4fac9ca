//! Loading of the separator of a package.

use ort::environment::Environment;

use crate::inference::cancel::CancelToken;
use crate::inference::provider::{ActiveProvider, ProviderChoice};
use crate::package::{PackageError, SeparatorKind};
use crate::separator::Separator;
use crate::separator::network::{LoadedModel, NetworkSeparator};
use crate::separator::streaming::StreamingSeparator;
use crate::separator::window::WindowSeparator;

/// A loaded separator.
pub struct LoadedSeparator {
    pub separator: Box<dyn Separator>,
    /// Values of an embedding that it takes.
    pub embedding_size: usize,
    /// Provider that it runs on.
    pub provider: ActiveProvider,
}

/// Loads the separator of `model`.
///
/// # Errors
/// Fails if the network cannot be loaded, has other inputs or outputs than its kind, or is cancelled by `token`.
pub fn load(
    environment: &Environment,
    model: &LoadedModel,
    choice: &ProviderChoice,
    token: &CancelToken,
) -> Result<LoadedSeparator, PackageError> {
    match model.package.manifest.separator.kind {
        SeparatorKind::Streaming => StreamingSeparator::new(environment, model, choice, token).map(loaded),
        SeparatorKind::Window => WindowSeparator::new(environment, model, choice, token).map(loaded),
    }
}

fn loaded<S: NetworkSeparator + 'static>((separator, provider): (S, ActiveProvider)) -> LoadedSeparator {
    let embedding_size = separator.network().layout.embedding_size;
    LoadedSeparator { separator: Box::new(separator), embedding_size, provider }
}
