//! Loading of the separator of a package.

use ort::environment::Environment;

use crate::inference::cancel::CancelToken;
use crate::inference::provider::{ActiveProvider, ProviderChoice};
use crate::package::{PackageError, SeparatorKind};
use crate::separator::Separator;
use crate::separator::network::LoadedModel;
use crate::separator::streaming::StreamingSeparator;
use crate::separator::window::WindowSeparator;

/// Loads the separator of `model` and returns it with the provider that it runs on.
///
/// # Errors
/// Fails if the network cannot be loaded, has other inputs or outputs than its kind, or is cancelled by `token`.
pub fn load(
    environment: &Environment,
    model: &LoadedModel,
    choice: &ProviderChoice,
    token: &CancelToken,
) -> Result<(Box<dyn Separator>, ActiveProvider), PackageError> {
    match model.package.manifest.separator.kind {
        SeparatorKind::Streaming => StreamingSeparator::new(environment, model, choice, token).map(boxed),
        SeparatorKind::Window => WindowSeparator::new(environment, model, choice, token).map(boxed),
    }
}

fn boxed<S: Separator + 'static>(
    (separator, provider): (S, ActiveProvider),
) -> (Box<dyn Separator>, ActiveProvider) {
    (Box::new(separator), provider)
}
