//! Parts of a text: the sounds that it names or may mean, each with its embedding.
//!
//! Each part is separated by itself, because no single embedding represents two sounds well.

use std::sync::Arc;

/// Most parts of a text. Each costs one run of the network per hop.
pub const MAX_PARTS: usize = 8;

/// One of the sounds that a text names.
#[derive(Clone, Debug, PartialEq)]
pub struct QueryPart {
    /// Embedding that conditions the separator.
    pub embedding: Arc<[f32]>,
    pub role: PartRole,
}

/// Effect of a part's mask on the combined mask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartRole {
    /// The sound is kept: each bin gets the largest gain of such parts.
    Include,
    /// The sound is left out: one minus its gains are upper limits.
    Exclude,
}
