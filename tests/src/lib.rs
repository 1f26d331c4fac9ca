//! Tests of Sift's built bundles in real hosts.
//!
//! The bundles are loaded as a host loads them and judged by their output. This library does not use the engine
//! (the program `bench` does). It holds what the tests share:
//!
//! | module | contents |
//! |---|---|
//! | [`clap_host`] | a small CLAP host: load, activate, process, automate, save, load |
//! | [`vst3_host`] | a small VST3 host, for auxiliary outputs |
//! | [`audio`] | sound in memory and in WAV files |
//! | [`metrics`] | SI-SDR, levels, clicks, late hops |
//! | [`state`] | the plugin's saved state, read and edited |
//! | [`fixtures`] | paths of bundles, packages and recordings; the expected latency |
//! | [`subprocess`] | one process per test: [`host_test!`] |
//! | [`display`] | an X11 display without a screen, and a host's window on it |
//! | [`warm_up`] | waiting until the plugin separates |
//! | [`tail`] | the cost of a sound that decays into silence |
//! | [`process`] | memory, threads and processor time of this process |
//!
//! The tests are in `tests/*.rs` (CLAP, VST3 buses), `python/` (VST3 in a JUCE host, `sift render`) and `hosts/`
//! (Ardour, the standalone program). `cargo xtask demo` and `cargo xtask bench` run the programs `demo` and `bench`.

pub mod audio;
pub mod clap_host;
#[cfg(feature = "x11")]
pub mod display;
pub mod fixtures;
pub mod metrics;
pub mod process;
pub mod state;
#[cfg(feature = "x11")]
pub mod subprocess;
pub mod tail;
#[cfg(feature = "vst3")]
pub mod vst3_host;
pub mod warm_up;
