//! Sift's built bundles, tried in real hosts.
//!
//! Nothing here knows the engine: the bundles are loaded as a host would load them, and judged by
//! what comes out of them. The library holds what those trials share:
//!
//! | module | what it is |
//! |---|---|
//! | [`clap_host`] | a small CLAP host: load, activate, process, automate, save, load |
//! | [`vst3_host`] | a small VST3 host, for auxiliary outputs |
//! | [`audio`] | sound in memory and in WAV files |
//! | [`metrics`] | SI-SDR, SDR, levels, clicks |
//! | [`state`] | the plugin's saved state, read and edited |
//! | [`fixtures`] | where the bundles, packages and recordings lie; the latency to expect |
//! | [`isolation`] | a process of its own for every trial: [`host_test!`] |
//! | [`display`] | an X11 display without a screen, and a host's window on it |
//! | [`priming`] | waiting for a model to be ready, as a listener would notice it |
//! | [`process`] | memory and threads of this process |
//!
//! The trials themselves: `tests/*.rs` (CLAP; VST3's buses), `python/` (VST3 in a JUCE host, `sift render`) and
//! `hosts/` (Ardour). The programs `demo` and `bench` are behind `cargo xtask demo` and
//! `cargo xtask bench`.

pub mod audio;
pub mod clap_host;
pub mod display;
pub mod fixtures;
pub mod isolation;
pub mod metrics;
pub mod priming;
pub mod process;
pub mod state;
pub mod vst3_host;
