//! `sift doctor`: checks the installation and measures the model's speed.

#[cfg(target_os = "linux")]
mod desktop;

use std::fmt::Display;
use std::io::{self, Write};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use sift_engine::inference::provider::{ActiveProvider, Provider};
use sift_engine::inference::{library, session};
use sift_engine::package::speed_records::{SpeedRecord, SpeedRecords};
use sift_engine::package::{PackageInfo, search};
use sift_engine::{DEFAULT_QUERIES, GrantedPriority, Mode, ModelChoice, Snapshot};

use crate::message::one_line;
use crate::model_argument::ModelArgument;
use crate::offline_renderer::{OfflineRenderer, OutputBlock, RenderRequest, RestChoice};

/// Checks the installation and measures how fast one second of audio is separated
///
/// The exit status is 0 only if everything works.
#[derive(clap::Args)]
pub struct DoctorArguments {
    #[command(flatten)]
    model: ModelArgument,
}

/// Sample rate of the measured audio, in hertz; its length is one second.
const SAMPLE_RATE: u32 = 48_000;
const CHANNELS: usize = 2;

/// Settings of all renders.
const REQUEST: RenderRequest<'_> = RenderRequest {
    query: DEFAULT_QUERIES[0],
    mode: Mode::Isolate,
    strength: 1.0,
    stereo: 0.0,
    rest: RestChoice::Off,
};

/// Runs all checks and writes one line about each.
///
/// # Errors
/// If a check fails, or `out` cannot be written to.
pub fn run(arguments: &DoctorArguments, out: &mut impl Write) -> Result<()> {
    let mut report = DoctorReport { out, failed: 0 };
    report.note(
        "Sift",
        format_args!("{} for {}-{}", env!("CARGO_PKG_VERSION"), std::env::consts::ARCH, std::env::consts::OS),
    )?;
    let has_runtime = check_runtime(&mut report)?;
    report.note("real time", describe_priority(GrantedPriority::find()))?;
    #[cfg(target_os = "linux")]
    {
        report.note("window", desktop::describe_window())?;
        report.note("screen reader", desktop::describe_screen_readers())?;
    }
    for folder in search::search_folders() {
        let remark = if folder.is_dir() { "" } else { " (does not exist)" };
        report.note("model folder", format_args!("{}{remark}", folder.display()))?;
    }
    for found in search::list_installed() {
        report.outcome("package", found.as_ref().map(describe))?;
    }
    match arguments.model.choice().and_then(|model| Ok((model.find()?, model))) {
        Ok((package, model)) if has_runtime => check_model(model, &package, &mut report)?,
        Ok((package, _)) => {
            report.note("model", format_args!("{}: not tested without ONNX Runtime", describe(&package)))?;
        }
        Err(error) => report.failure("model", &error)?,
    }
    let failed = report.failed;
    ensure!(failed == 0, "failed checks: {failed}");
    Ok(())
}

/// What the system grants to the thread that separates while a host plays live.
fn describe_priority(granted: GrantedPriority) -> String {
    match granted {
        GrantedPriority::Granted { limit: None } => "granted to the separator of live hosts".into(),
        GrantedPriority::Granted { limit: Some(limit) } => format!(
            "granted to the separator of live hosts; the system ends programs that compute longer than {} ms at once, \
             which Sift avoids",
            limit.as_millis()
        ),
        GrantedPriority::Refused => {
            "refused by the system: on a busy machine, masks of live hosts may come late. On \
                                     Linux, allow it by `rtprio` in /etc/security/limits.conf"
                .into()
        }
    }
}

/// Name, version and origin of a package.
fn describe(package: &PackageInfo) -> String {
    format!("{} {}, {}", package.manifest.name, package.manifest.version, package.origin)
}

/// Reports ONNX Runtime's version and providers. Returns whether it works.
fn check_runtime(report: &mut DoctorReport<'_, impl Write>) -> io::Result<bool> {
    let version = library::library_path().and_then(|path| Ok((path, library::version()?)));
    let is_working = version.is_ok();
    report.outcome(
        "ONNX Runtime",
        version.map(|(path, version)| format!("{}: {}", path.display(), describe_version(&version))),
    )?;
    if let Ok(environment) = library::environment() {
        let offered = Provider::ALL.into_iter().filter(|&provider| session::offers(environment, provider));
        report
            .note("providers", offered.map(|provider| provider.to_string()).collect::<Vec<_>>().join(", "))?;
    }
    Ok(is_working)
}

/// The version of ONNX Runtime, and whether Sift is delivered with it.
fn describe_version(version: &str) -> String {
    if version == library::BUNDLED_VERSION {
        version.to_owned()
    } else {
        format!("{version}, which is not the {} that Sift is tested with", library::BUNDLED_VERSION)
    }
}

fn check_model(
    model: ModelChoice,
    package: &PackageInfo,
    report: &mut DoctorReport<'_, impl Write>,
) -> io::Result<()> {
    let name = describe(package);
    let choice = model.clone();
    let timing = match ModelTiming::measure(model) {
        Ok(timing) => timing,
        Err(error) => return report.failure("model", format_args!("{name}: {error:#}")),
    };
    report.outcome(
        "model",
        Ok::<_, String>(format!("{name}, loaded in {:.2} s", timing.loading.as_secs_f64())),
    )?;
    let ActiveProvider { provider, fallback_reason } = &timing.snapshot.active_provider;
    report.outcome("provider", fallback_reason.as_ref().map_or(Ok(provider), Err))?;
    let speed = SpeedRecord::new(package, *provider, f64::from(timing.snapshot.load()));
    report.outcome("speed", timing.describe(&speed))?;
    report.outcome("same bits", check_same_bits(&choice))?;
    match SpeedRecords::file().map(|file| SpeedRecords::add(&file, &speed)) {
        Some(Err(problem)) => report.failure("speed record", problem),
        Some(Ok(())) | None => Ok(()),
    }
}

/// Number of renders whose bits are compared.
const COMPARED_RENDERS: usize = 5;
/// Length of each of them, in samples.
const COMPARED_SAMPLES: usize = SAMPLE_RATE as usize / 4;

/// Renders the same noise several times and compares the outputs.
///
/// # Errors
/// If a render fails, an output is not finite, or two outputs differ.
fn check_same_bits(model: &ModelChoice) -> Result<String, String> {
    let mut input = noise();
    input.iter_mut().for_each(|channel| channel.truncate(COMPARED_SAMPLES));
    let mut first = Vec::new();
    for render in 1..=COMPARED_RENDERS {
        let output = rendered(model.clone(), &input).map_err(|error| format!("{error:#}"))?;
        if !output.iter().all(|sample| sample.is_finite()) {
            return Err(format!(
                "render {render} is not finite; expected finite samples. Install Sift again"
            ));
        }
        let bits: Vec<_> = output.into_iter().map(f32::to_bits).collect();
        if render == 1 {
            first = bits;
        } else if bits != first {
            return Err(format!(
                "render {render} differs from the first one; expected the same bits. Install Sift again, or set \
                 SIFT_PROVIDER to cpu"
            ));
        }
    }
    Ok(format!("{COMPARED_RENDERS} renders are the same"))
}

/// The samples of `input`, rendered by `model`.
fn rendered(model: ModelChoice, input: &[Vec<f32>]) -> Result<Vec<f32>> {
    let mut renderer = OfflineRenderer::open(model, SAMPLE_RATE, CHANNELS, &REQUEST)?;
    let mut output = Vec::new();
    let mut append = |block: &OutputBlock<'_>| {
        block.main.iter().for_each(|channel| output.extend_from_slice(channel));
        Ok(())
    };
    renderer.push(input, &mut append)?;
    renderer.finish(&mut append)?;
    renderer.check()?;
    Ok(output)
}

/// Measured times of a model.
struct ModelTiming {
    loading: Duration,
    /// Time for one second of audio.
    second: Duration,
    /// State of the engine after that second.
    snapshot: Snapshot,
}

impl ModelTiming {
    /// Loads the model and renders one second of noise.
    fn measure(model: ModelChoice) -> Result<Self> {
        let start = Instant::now();
        let mut renderer = OfflineRenderer::open(model, SAMPLE_RATE, CHANNELS, &REQUEST)?;
        let loading = start.elapsed();

        let start = Instant::now();
        renderer.push(&noise(), |_| Ok(()))?;
        renderer.finish(|_| Ok(()))?;
        renderer.check()?;
        Ok(Self { loading, second: start.elapsed(), snapshot: renderer.snapshot() })
    }

    /// Describes the times; as an error if this machine is too slow for live use.
    fn describe(&self, speed: &SpeedRecord) -> Result<String, String> {
        let text = format!(
            "1 s of stereo at 48 kHz in {:.3} s; separator {:.2} ms per hop of {:.2} ms: {}",
            self.second.as_secs_f64(),
            1_000.0 * self.snapshot.hop_time.as_secs_f64(),
            1_000.0 * self.snapshot.hop.as_secs_f64(),
            speed.advice(),
        );
        if speed.factor < 1.0 { Ok(text) } else { Err(text) }
    }
}

/// One second of noise, always the same.
fn noise() -> Vec<Vec<f32>> {
    let mut state = 1_u32;
    let mut sample = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        0.25 * (state >> 8) as f32 / (1 << 23) as f32 - 0.25
    };
    (0..CHANNELS).map(|_| (0..SAMPLE_RATE).map(|_| sample()).collect()).collect()
}

/// Writes the report and counts the failed checks.
struct DoctorReport<'a, W> {
    out: &'a mut W,
    failed: usize,
}

impl<W: Write> DoctorReport<'_, W> {
    fn note(&mut self, subject: &str, text: impl Display) -> io::Result<()> {
        self.line("    ", subject, text)
    }

    fn failure(&mut self, subject: &str, problem: impl Display) -> io::Result<()> {
        self.failed += 1;
        self.line("FAIL", subject, problem)
    }

    fn outcome<T: Display, E: Display>(&mut self, subject: &str, outcome: Result<T, E>) -> io::Result<()> {
        match outcome {
            Ok(text) => self.line("ok  ", subject, text),
            Err(problem) => self.failure(subject, problem),
        }
    }

    /// Writes a line and flushes it: the next check may take long.
    fn line(&mut self, mark: &str, subject: &str, text: impl Display) -> io::Result<()> {
        writeln!(self.out, "{mark}  {subject:<13} {}", one_line(&text.to_string()))?;
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn version_of_onnx_runtime_that_is_not_tested_is_told() {
        assert_eq!(describe_version(library::BUNDLED_VERSION), library::BUNDLED_VERSION);
        assert!(describe_version("1.24.4").starts_with("1.24.4, which is not the 1."));
    }

    #[test]
    fn granted_priority_is_told_with_its_limit_or_remedy() {
        let limited = GrantedPriority::Granted { limit: Some(Duration::from_millis(200)) };
        assert!(describe_priority(limited).contains("200 ms"));
        assert!(!describe_priority(GrantedPriority::Granted { limit: None }).contains("ms"));
        assert!(describe_priority(GrantedPriority::Refused).contains("rtprio"));
    }
}
