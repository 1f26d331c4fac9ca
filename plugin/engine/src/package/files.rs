//! The files of a package: limits and hashes.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::inference::onnx_check;
use crate::package::error::PackageError;

/// Largest manifest, card, network, tokenizer and list of concepts that is read, in bytes.
pub const MAX_MANIFEST_BYTES: u64 = 64 << 10;
pub const MAX_CARD_BYTES: u64 = 1 << 20;
pub const MAX_NETWORK_BYTES: u64 = 4 << 30;
pub const MAX_TOKENIZER_BYTES: u64 = 64 << 20;
pub const MAX_CONCEPTS_BYTES: u64 = 64 << 20;

/// The content of a file of the package whose folder it is in.
pub fn read_limited(path: &Path, limit: u64) -> Result<Vec<u8>, PackageError> {
    let fault =
        |fault: &dyn fmt::Display| PackageError::new(path.display(), fault, "Install the package again");
    let unreadable = |error: io::Error| fault(&error);
    let real = path.canonicalize().map_err(unreadable)?;
    let folder = path.parent().unwrap_or(Path::new("")).canonicalize().map_err(unreadable)?;
    if !real.starts_with(folder) {
        return Err(fault(&"is a link that leads out of the package's folder"));
    }
    // A pipe or a device would never end.
    let meta = real.metadata().map_err(unreadable)?;
    if !meta.is_file() {
        return Err(fault(&"is not a file"));
    }
    if meta.len() > limit {
        return Err(fault(&format_args!("has {} bytes, more than the {limit} allowed", meta.len())));
    }
    let mut bytes = Vec::with_capacity(meta.len() as usize);
    File::open(real).and_then(|file| file.take(limit).read_to_end(&mut bytes)).map_err(unreadable)?;
    Ok(bytes)
}

pub fn read_text(path: &Path, limit: u64) -> Result<String, PackageError> {
    String::from_utf8(read_limited(path, limit)?)
        .map_err(|_| PackageError::new(path.display(), "is not UTF-8 text", "Install the package again"))
}

pub fn read_network(path: &Path, field: &str, expected: &str) -> Result<Vec<u8>, PackageError> {
    let bytes = read_limited(path, MAX_NETWORK_BYTES)?;
    let actual = sha256(&bytes);
    if !actual.eq_ignore_ascii_case(expected) {
        return Err(PackageError::new(
            path.display(),
            format_args!("has the SHA-256 {actual}, but `{field}` says {expected}"),
            "The file is damaged or was changed: install the package again",
        ));
    }
    onnx_check::check(&bytes).map_err(|fault| {
        PackageError::new(path.display(), fault, "Install the package again, or export it anew without that")
    })?;
    Ok(bytes)
}

pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}
