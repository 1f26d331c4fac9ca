//! `sift doctor`: what is found where, and whether it works.

use std::fmt::Display;
use std::io::{self, Write};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use sift_engine::inference::provider::{Placement, Provider};
use sift_engine::inference::{library, session};
use sift_engine::package::speed_records::{Speed, Speeds};
use sift_engine::package::{Listing, search};
use sift_engine::{FACTORY, Mode};

use crate::separation::{Request, Separation};

/// Examines the installation: what is found where, and how fast a second of audio is separated
///
/// The exit status is 0 only when everything works.
#[derive(clap::Args)]
pub struct Arguments {
    #[command(flatten)]
    model: crate::Model,
}

/// The audio that is timed: a second of stereo at 48 kHz.
const RATE: u32 = 48_000;
const CHANNELS: usize = 2;

/// Runs every examination that can be run and writes a line on each.
pub fn run(arguments: &Arguments, out: &mut impl Write) -> Result<()> {
    let mut report = Report { out, failed: 0 };
    report.note(
        "Sift",
        format_args!("{} for {}-{}", env!("CARGO_PKG_VERSION"), std::env::consts::ARCH, std::env::consts::OS),
    )?;
    let runtime = examine_runtime(&mut report)?;
    for folder in search::search_folders() {
        let there = if folder.is_dir() { "" } else { " (not there)" };
        report.note("models in", format_args!("{}{there}", folder.display()))?;
    }
    for found in search::installed() {
        report.outcome("package", found.as_ref().map(name))?;
    }
    match crate::listing(arguments.model.model.as_deref()) {
        Ok(listing) if runtime => examine_model(listing, &mut report)?,
        Ok(listing) => {
            report.note("model", format_args!("{}: not tried without ONNX Runtime", name(&listing)))?
        }
        Err(error) => report.failure("model", &error)?,
    }
    let failed = report.failed;
    ensure!(failed == 0, "{failed} of these do not work");
    Ok(())
}

fn name(listing: &Listing) -> String {
    format!("{} {}, {}", listing.manifest.name, listing.manifest.version, listing.origin)
}

/// Whether ONNX Runtime works.
fn examine_runtime(report: &mut Report<'_, impl Write>) -> io::Result<bool> {
    let version = library::library_path().and_then(|path| Ok((path, library::version()?)));
    let works = version.is_ok();
    report
        .outcome("ONNX Runtime", version.map(|(path, version)| format!("{}: {version}", path.display())))?;
    if let Ok(environment) = library::environment() {
        let offered = Provider::ALL.into_iter().filter(|&provider| session::offers(environment, provider));
        report
            .note("it offers", offered.map(|provider| provider.to_string()).collect::<Vec<_>>().join(", "))?;
    }
    Ok(works)
}

fn examine_model(listing: Listing, report: &mut Report<'_, impl Write>) -> io::Result<()> {
    let called = name(&listing);
    let timing = match Timing::measure(listing.clone()) {
        Ok(timing) => timing,
        Err(error) => return report.failure("model", format_args!("{called}: {error:#}")),
    };
    report.outcome(
        "model",
        Ok::<_, String>(format!("{called}, loaded in {:.2} s", timing.loading.as_secs_f64())),
    )?;
    let Placement { provider, remark } = &timing.placement;
    report.outcome("provider", remark.as_ref().map_or(Ok(provider), Err))?;
    let speed = Speed::new(&listing, *provider, timing.factor());
    report.outcome("speed", timing.judge(&speed))?;
    match Speeds::file().map(|file| Speeds::keep(&file, &speed)) {
        Some(Err(problem)) => report.failure("figures", problem),
        Some(Ok(())) | None => Ok(()),
    }
}

/// How long things take.
struct Timing {
    loading: Duration,
    /// A second of audio.
    second: Duration,
    /// A hop in the separator.
    hop: Duration,
    /// Seconds of audio that a hop covers.
    hop_seconds: f64,
    placement: Placement,
}

impl Timing {
    fn measure(listing: Listing) -> Result<Self> {
        let start = Instant::now();
        let request = Request { query: FACTORY[0], mode: Mode::Isolate, strength: 1.0 };
        let mut separation = Separation::open(listing, RATE, CHANNELS, &request)?;
        let loading = start.elapsed();

        let start = Instant::now();
        separation.push(&noise(), |_| Ok(()))?;
        separation.finish(|_| Ok(()))?;
        separation.check()?;
        let (second, hop) = (start.elapsed(), separation.status().hop_time());
        let placement = separation.status().placement();
        Ok(Self { loading, second, hop, hop_seconds: separation.hop_seconds(), placement })
    }

    /// Real-time factor of the separator.
    fn factor(&self) -> f64 {
        self.hop.as_secs_f64() / self.hop_seconds
    }

    /// The figures with the advice; as an error, where this machine is too slow to separate live.
    fn judge(&self, speed: &Speed) -> Result<String, String> {
        let text = format!(
            "1 s of stereo at 48 kHz in {:.3} s; separator {:.2} ms of the {:.2} ms a hop has: {}",
            self.second.as_secs_f64(),
            1_000.0 * self.hop.as_secs_f64(),
            1_000.0 * self.hop_seconds,
            speed.advice(),
        );
        if speed.factor < 1.0 { Ok(text) } else { Err(text) }
    }
}

/// A second of noise, the same every time.
fn noise() -> Vec<Vec<f32>> {
    let mut state = 1_u32;
    let mut sample = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        0.25 * (state >> 8) as f32 / (1 << 23) as f32 - 0.25
    };
    (0..CHANNELS).map(|_| (0..RATE).map(|_| sample()).collect()).collect()
}

/// The lines written so far.
struct Report<'a, W> {
    out: &'a mut W,
    failed: usize,
}

impl<W: Write> Report<'_, W> {
    fn note(&mut self, what: &str, text: impl Display) -> io::Result<()> {
        self.line("    ", what, text)
    }

    fn failure(&mut self, what: &str, problem: impl Display) -> io::Result<()> {
        self.failed += 1;
        self.line("FAIL", what, problem)
    }

    fn outcome<T: Display, E: Display>(&mut self, what: &str, outcome: Result<T, E>) -> io::Result<()> {
        match outcome {
            Ok(text) => self.line("ok  ", what, text),
            Err(problem) => self.failure(what, problem),
        }
    }

    /// Written at once: the next examination may take its time.
    fn line(&mut self, mark: &str, what: &str, text: impl Display) -> io::Result<()> {
        writeln!(self.out, "{mark}  {what:<12}  {}", crate::one_line(&text.to_string()))?;
        self.out.flush()
    }
}
