//! Paths of bundles, packages and recordings; the hops and the latency to expect of the plugin.

use std::ops::Range;
use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::audio::Audio;
use crate::metrics;

/// The root of the repository.
pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lies in the repository")
}

/// The options of the programs `demo` and `bench`.
#[derive(clap::Args)]
pub struct Inputs {
    /// The CLAP to load
    #[arg(long, default_value_os_t = repository().join("target/bundled/release/Sift.clap"))]
    pub plugin: PathBuf,
    /// Folder of mixture.wav and speech.wav
    #[arg(long, default_value_os_t = demo(""))]
    pub assets: PathBuf,
}

/// The bundled CLAP: in the folder `SIFT_BUNDLES`, else in `target/bundled/debug`.
///
/// # Panics
/// If it is missing; the message has the remedy.
pub fn clap_bundle() -> PathBuf {
    bundled("Sift.clap".as_ref())
}

/// The library in the bundled VST3, from the same folder.
///
/// # Panics
/// If it is missing; the message has the remedy.
pub fn vst3_module() -> PathBuf {
    bundled(
        &Path::new("Sift.vst3/Contents").join(format!("{}-linux", std::env::consts::ARCH)).join("Sift.so"),
    )
}

fn bundled(file: &Path) -> PathBuf {
    let folder = std::env::var_os("SIFT_BUNDLES")
        .map_or_else(|| repository().join("target/bundled/debug"), PathBuf::from);
    let path = folder.join(file);
    assert!(
        path.exists(),
        "{} is missing. Build it with `cargo xtask bundle`, or set SIFT_BUNDLES to the folder that holds it",
        path.display()
    );
    path
}

/// The folder of a small test package of `tests/packages`, which replaces the default package in a test.
///
/// # Panics
/// If there is no package of that name.
pub fn package(name: &str) -> PathBuf {
    let path = repository().join("tests/packages").join(name);
    assert!(path.join("package.toml").exists(), "no package in {}", path.display());
    path
}

/// The path of a file in `assets/demo`.
pub fn demo(file: &str) -> PathBuf {
    repository().join("assets/demo").join(file)
}

/// The demo mixture, and the speech in it.
pub struct DemoRecording {
    pub mixture: Audio,
    speech: Audio,
    /// In Hz.
    pub rate: f64,
}

impl DemoRecording {
    /// Reads `mixture.wav` and `speech.wav` of `folder`.
    ///
    /// # Errors
    /// If a file cannot be read.
    pub fn read(folder: &Path) -> Result<Self> {
        let (mixture, rate) = Audio::read_wav(&folder.join("mixture.wav"))?;
        let (speech, _) = Audio::read_wav(&folder.join("speech.wav"))?;
        Ok(Self { mixture, speech, rate: rate.into() })
    }

    /// The first `seconds` of the recording in `assets/demo`.
    ///
    /// # Panics
    /// If it is missing or shorter.
    pub fn first_seconds(seconds: usize) -> Self {
        let Self { mixture, speech, rate } = Self::read(&demo("")).expect("assets/demo holds the recording");
        let frames = 0..seconds * rate as usize;
        Self { mixture: mixture.slice(frames.clone()), speech: speech.slice(frames), rate }
    }

    /// SI-SDR of the speech in the mixture, and in `target`, which is aligned with it: in dB.
    pub fn si_sdr_before_and_after(&self, target: &Audio) -> (f64, f64) {
        let speech = self.speech.to_mono();
        let si_sdr = |sound: &Audio| metrics::si_sdr(&sound.to_mono(), &speech);
        (si_sdr(&self.mixture), si_sdr(target))
    }
}

/// The word that makes the mask of the package `by-query` 1; without it the mask is 0.
pub const KEPT_WORD: &str = "말소리";

/// Frame and hop of the STFT in samples at the host's rate, for a model with `n_fft` 1,024 and `hop` 512 at 32 kHz.
///
/// The STFT is taken at the host's rate, with frame and hop of the same duration as at the model's.
pub fn stft_frame_and_hop(rate: f64) -> (usize, usize) {
    let ratio = rate / 32_000.0;
    let frame = 2 * (1024.0 * ratio / 2.0).round() as usize;
    (frame, (512.0 * ratio).round() as usize)
}

/// Energy of the difference of a late hop, over that of a mean hop: −30 dB.
///
/// The separator skips frames whose masks would come too late. In its state, a skipped frame leaves differences that stay
/// below −30 dB after a tenth of a second, but do not become zero.
const LATE_DIFFERENCE: f64 = 1e-3;

/// For every hop of `rendered`, whether `played` differs from it audibly, because a mask was late or the rest paused.
///
/// Both are the plugin's Target at the host's `rate` in Hz, with the latency removed.
pub fn late_hops(played: &Audio, rendered: &Audio, rate: f64) -> Vec<bool> {
    let (_, hop) = stft_frame_and_hop(rate);
    let hops = rendered.frames() / hop;
    let energy = |range: Range<usize>, value: &dyn Fn(usize, usize) -> f32| -> f64 {
        let channels = 0..rendered.width();
        channels
            .flat_map(|channel| range.clone().map(move |frame| (channel, frame)))
            .map(|(channel, frame)| f64::from(value(channel, frame)).powi(2))
            .sum()
    };
    let own = |channel: usize, frame: usize| rendered.channel(channel)[frame];
    let difference = |channel: usize, frame: usize| played.channel(channel)[frame] - own(channel, frame);
    let limit = LATE_DIFFERENCE * energy(0..hops * hop, &own) / hops as f64;
    (0..hops).map(|index| energy(index * hop..(index + 1) * hop, &difference) > limit).collect()
}

/// Latency of the default model in samples: one frame, and the hops in which a block and the 4 ms for the separator fit.
pub fn expected_latency(rate: f64, max_block: usize) -> usize {
    let (frame, hop) = stft_frame_and_hop(rate);
    let separator_budget = 0.004 * rate;
    frame + ((max_block as f64 + separator_budget) / hop as f64).ceil() as usize * hop
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hop_is_late_where_it_differs_audibly() {
        let rendered = Audio::noise(2, 20 * 768, 0.5, 3);
        let played = Audio::from_fn(2, rendered.frames(), |channel, frame| {
            let gain = match frame / 768 {
                3 => 0.0,
                5 => 0.9,
                7 => 0.99,
                _ => 1.0,
            };
            gain * rendered.channel(channel)[frame]
        });
        let late: Vec<_> = late_hops(&played, &rendered, 48_000.0)
            .iter()
            .enumerate()
            .filter(|(_, late)| **late)
            .map(|(hop, _)| hop)
            .collect();
        assert_eq!(late, [3, 5]);
        assert!(!late_hops(&rendered, &rendered, 48_000.0).contains(&true));
    }

    #[test]
    fn expected_latency_of_usual_blocks_is_as_documented() {
        assert_eq!(expected_latency(48_000.0, 512), 2304);
        assert_eq!(expected_latency(48_000.0, 1), 2304);
        assert_eq!(expected_latency(48_000.0, 2048), 3840);
        assert_eq!(expected_latency(32_000.0, 512), 2048);
    }
}
