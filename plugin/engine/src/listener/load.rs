//! Loading of the listener of a package.

use std::sync::Arc;

use ort::environment::Environment;

use crate::inference::cancel::CancelToken;
use crate::listener::concepts::{ConceptEmbeddings, ListenerConcepts};
use crate::listener::network::{Listener, ListenerPool, ListenerSource, NetworkListener};
use crate::package::{ListenerFiles, ListenerSection, Package, PackageError};

/// A loaded listener with what the package says about its concepts.
pub struct LoadedListener {
    pub listener: Box<dyn Listener>,
    pub concepts: Arc<ListenerConcepts>,
    pub embeddings: Arc<ConceptEmbeddings>,
}

/// Loads the listener of `package`; returns `None` if it has none.
///
/// `embedding_size`: values of an embedding that the separator takes. `pool` has the sessions of all instances.
///
/// # Errors
/// If a file is missing or invalid, the files do not fit each other, or `token` is cancelled.
pub fn load(
    environment: &Environment,
    package: &Package,
    pool: &Arc<ListenerPool>,
    embedding_size: usize,
    token: &CancelToken,
) -> Option<Result<LoadedListener, PackageError>> {
    let (section, files) = (package.manifest.listener.as_ref()?, package.listener.as_ref()?);
    Some(match files {
        Ok(files) => load_files(environment, package, (section, files), pool, embedding_size, token),
        Err(error) => Err(error.clone()),
    })
}

fn load_files(
    environment: &Environment,
    package: &Package,
    (section, files): (&ListenerSection, &ListenerFiles),
    pool: &Arc<ListenerPool>,
    embedding_size: usize,
    token: &CancelToken,
) -> Result<LoadedListener, PackageError> {
    let in_file = |file: &str| {
        let label = package.file_label(file);
        move |fault: String| {
            PackageError::new(label, fault, "Install the package again. Sounds are separated without it")
        }
    };
    let concepts = ListenerConcepts::parse(&files.concepts).map_err(in_file(&section.concepts))?;
    let count = concepts.names().len();
    let embeddings = ConceptEmbeddings::parse(&files.embeddings, count, embedding_size)
        .map_err(in_file(&section.embeddings))?;
    let source = ListenerSource {
        network: &files.network,
        is_untrusted: package.is_untrusted(),
        frames: section.frames,
        bins: package.manifest.audio.bins(),
        concepts: count,
    };
    let listener =
        NetworkListener::load(environment, &source, pool, token).map_err(in_file(&section.file))?;
    Ok(LoadedListener {
        listener: Box::new(listener),
        concepts: Arc::new(concepts),
        embeddings: Arc::new(embeddings),
    })
}
