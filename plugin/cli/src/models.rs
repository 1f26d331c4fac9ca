//! `sift models`: lists the installed packages.

use std::io::Write;

use anyhow::Result;
use sift_engine::Grid;
use sift_engine::package::speed_records::{SpeedRecord, SpeedRecords};
use sift_engine::package::{Origin, PackageError, PackageInfo, SeparatorKind, search};

use crate::message::{one_line, warn};

/// Sample rate for which latencies are listed, in hertz.
const SAMPLE_RATE: f64 = 48_000.0;
/// Block size for which latencies are listed, in samples.
const BLOCK_SIZE: usize = 512;

/// Writes a paragraph about every package.
///
/// # Errors
/// If `out` cannot be written to.
pub fn run(out: &mut impl Write) -> Result<()> {
    let speeds = SpeedRecords::file().map_or(Ok(SpeedRecords::default()), |file| SpeedRecords::read(&file));
    let speeds = speeds.unwrap_or_else(|problem| {
        warn(problem);
        SpeedRecords::default()
    });
    for found in search::list_installed() {
        match found {
            Ok(package) => write!(out, "{}", describe(&package, &speeds))?,
            Err(error) => write!(out, "{}", describe_invalid(&error))?,
        }
    }
    Ok(())
}

fn describe(package: &PackageInfo, speeds: &SpeedRecords) -> String {
    let manifest = &package.manifest;
    let latency =
        Grid::new(&manifest.audio, SAMPLE_RATE).latency(manifest.separator.delay_hops(), BLOCK_SIZE);
    let separator = &manifest.separator;
    let kind = match separator.kind {
        SeparatorKind::Streaming => "streaming".into(),
        SeparatorKind::Window => {
            format!("window of {} frames, run every {}", separator.context(), separator.advance())
        }
    };
    let work = separator.multiply_accumulates.map_or("unknown".into(), |count| {
        format!("{:.2} billion multiply-accumulates per second of audio", count / 1e9)
    });
    let mut advice: Vec<_> = speeds.for_package(package).map(SpeedRecord::advice).collect();
    if advice.is_empty() {
        advice.push(match &package.origin {
            Origin::BuiltIn => "not measured yet; run `sift doctor`".into(),
            Origin::Folder(folder) => {
                format!("not measured yet; run `sift doctor --model {}`", folder.display())
            }
        });
    }
    let speed = advice.join("\n           ");
    format!(
        "{} {}\n  licence  {}\n  rate     {} Hz\n  kind     {kind}\n  latency  {:.1} ms at 48 kHz in blocks of {BLOCK_SIZE} ({latency} samples)\n  work     {work}\n  speed    {speed}\n  origin   {}\n",
        manifest.name,
        manifest.version,
        manifest.licence,
        manifest.audio.sample_rate,
        1_000.0 * latency as f64 / SAMPLE_RATE,
        package.origin,
    )
}

fn describe_invalid(error: &PackageError) -> String {
    format!("(invalid)\n  {}\n", one_line(&error.to_string()))
}

#[cfg(test)]
mod tests {
    use sift_engine::package;

    use super::*;

    #[test]
    fn description_of_the_built_in_package_is_complete() {
        let text = describe(&PackageInfo::built_in(), &SpeedRecords::default());
        assert!(text.starts_with(package::DEFAULT_PACKAGE), "{text}");
        for part in [
            "licence  ",
            "32000 Hz",
            "streaming",
            "48.0 ms",
            "2304 samples",
            "billion multiply-accumulates",
            "not measured yet",
            "built in",
        ] {
            assert!(text.contains(part), "{part} is missing in {text}");
        }
    }

    #[test]
    fn description_of_an_invalid_package_names_the_problem() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("package.toml"), "name = \"mine\"\n").unwrap();
        let text = describe_invalid(&PackageInfo::read(folder.path()).unwrap_err());
        assert!(
            text.contains("package.toml") && text.contains("version") && text.lines().count() == 2,
            "{text}"
        );
    }
}
