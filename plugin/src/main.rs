//! Sift without a host: the same plugin on the sound card, or on none.

fn main() {
    nice_plug::prelude::nice_export_standalone::<sift_plugin::Sift>();
}
