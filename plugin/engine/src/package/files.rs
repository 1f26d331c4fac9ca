//! Reading of a package's files, with limits of their size and a check of their hashes.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::inference::cancel::{CANCELLED, CancelToken};
use crate::inference::onnx_check;
use crate::package::error::PackageError;

/// Largest sizes of the files of a package, in bytes.
pub const MAX_MANIFEST_BYTES: u64 = 64 << 10;
pub const MAX_CARD_BYTES: u64 = 1 << 20;
pub const MAX_NETWORK_BYTES: u64 = 4 << 30;
pub const MAX_TOKENIZER_BYTES: u64 = 64 << 20;
pub const MAX_CONCEPTS_BYTES: u64 = 64 << 20;
pub const MAX_EMBEDDINGS_BYTES: u64 = 256 << 20;

/// Bytes that are read or hashed between two checks of the cancel token.
const CHUNK_BYTES: usize = 1 << 20;

/// Reads a file of at most `limit` bytes that lies in the folder of `path`.
///
/// # Errors
/// If it is missing, too large, not a file, or a link out of the folder, or `token` is cancelled.
pub fn read_limited(path: &Path, limit: u64, token: &CancelToken) -> Result<Vec<u8>, PackageError> {
    let fault =
        |fault: &dyn fmt::Display| PackageError::new(path.display(), fault, "Install the package again");
    let unreadable = |error: io::Error| fault(&error);
    let real = path.canonicalize().map_err(unreadable)?;
    let folder = path.parent().unwrap_or(Path::new("")).canonicalize().map_err(unreadable)?;
    if !real.starts_with(folder) {
        return Err(fault(&"is a link out of the package's folder"));
    }
    // Reading a pipe or a device may never end.
    let meta = real.metadata().map_err(unreadable)?;
    if !meta.is_file() {
        return Err(fault(&"is not a file"));
    }
    if meta.len() > limit {
        return Err(fault(&format_args!("has {} bytes; expected at most {limit}", meta.len())));
    }
    let mut bytes = Vec::with_capacity(meta.len() as usize);
    let mut file = File::open(real).map_err(unreadable)?.take(limit);
    while file.by_ref().take(CHUNK_BYTES as u64).read_to_end(&mut bytes).map_err(unreadable)? > 0 {
        if token.is_cancelled() {
            return Err(fault(&CANCELLED));
        }
    }
    Ok(bytes)
}

/// Reads a text file, as [`read_limited`].
pub fn read_text(path: &Path, limit: u64) -> Result<String, PackageError> {
    String::from_utf8(read_limited(path, limit, &CancelToken::default())?)
        .map_err(|_| PackageError::new(path.display(), "is not UTF-8 text", "Install the package again"))
}

/// Reads a network and checks its hash against `expected`, the value of the manifest's `field`, and its content.
///
/// # Errors
/// Those of [`read_limited`], or if the hash or the content is not as expected.
pub fn read_network(
    path: &Path,
    field: &str,
    expected: &str,
    token: &CancelToken,
) -> Result<Vec<u8>, PackageError> {
    let bytes = read_limited(path, MAX_NETWORK_BYTES, token)?;
    let mut hasher = Sha256::new();
    for chunk in bytes.chunks(CHUNK_BYTES) {
        if token.is_cancelled() {
            return Err(PackageError::new(path.display(), CANCELLED, "Choose the model again"));
        }
        hasher.update(chunk);
    }
    let actual = hexadecimal(&hasher.finalize());
    if !actual.eq_ignore_ascii_case(expected) {
        return Err(PackageError::new(
            path.display(),
            format_args!("has the SHA-256 {actual}; expected {expected}, as in `{field}`"),
            "The file is damaged or was changed. Install the package again",
        ));
    }
    onnx_check::check(&bytes).map_err(|fault| {
        PackageError::new(path.display(), fault, "Install the package again, or export it without that")
    })?;
    Ok(bytes)
}

/// SHA-256 in hexadecimal.
pub fn sha256(bytes: &[u8]) -> String {
    hexadecimal(&Sha256::digest(bytes))
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
