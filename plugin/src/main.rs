//! Sift without a host: the same plugin on a sound card, or without audio.

fn main() {
    nice_plug::prelude::nice_export_standalone::<sift_plugin::Sift>();
}
