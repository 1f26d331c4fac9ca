//! `sift models`: what packages there are.

use std::io::Write;

use anyhow::Result;
use sift_engine::Grid;
use sift_engine::package::speed_records::{Speed, Speeds};
use sift_engine::package::{Kind, Listing, Origin, PackageError, search};

/// The set-up that latencies are given for: hertz, and samples a block.
const RATE: f64 = 48_000.0;
const BLOCK: usize = 512;

/// Writes a paragraph on every package.
pub fn run(out: &mut impl Write) -> Result<()> {
    let speeds = Speeds::file().map_or(Ok(Speeds::default()), |file| Speeds::read(&file));
    let speeds = speeds.unwrap_or_else(|problem| {
        eprintln!("warning: {}", crate::one_line(&problem));
        Speeds::default()
    });
    for found in search::installed() {
        match found {
            Ok(listing) => write!(out, "{}", describe(&listing, &speeds))?,
            Err(error) => write!(out, "{}", describe_broken(&error))?,
        }
    }
    Ok(())
}

fn describe(listing: &Listing, speeds: &Speeds) -> String {
    let manifest = &listing.manifest;
    let latency = Grid::new(&manifest.audio, RATE).latency(manifest.separator.delay_hops(), BLOCK);
    let separator = &manifest.separator;
    let kind = match separator.kind {
        Kind::Streaming => "streaming".into(),
        Kind::Window => {
            format!("window of {} frames, run every {}", separator.context(), separator.advance())
        }
    };
    let work = separator.multiply_accumulates.map_or("not told".into(), |count| {
        format!("{:.2} billion multiply-accumulates a second of audio", count / 1e9)
    });
    let mut advice: Vec<_> = speeds.of(listing).map(Speed::advice).collect();
    if advice.is_empty() {
        advice.push(match &listing.origin {
            Origin::BuiltIn => "not measured yet: `sift doctor` does".into(),
            Origin::Folder(folder) => {
                format!("not measured yet: `sift doctor --model {}` does", folder.display())
            }
        });
    }
    let speed = advice.join("\n           ");
    format!(
        "{} {}\n  licence  {}\n  rate     {} Hz\n  kind     {kind}\n  latency  {:.1} ms at 48 kHz in blocks of {BLOCK} ({latency} samples)\n  work     {work}\n  speed    {speed}\n  origin   {}\n",
        manifest.name,
        manifest.version,
        manifest.licence,
        manifest.audio.sample_rate,
        1_000.0 * latency as f64 / RATE,
        listing.origin,
    )
}

fn describe_broken(error: &PackageError) -> String {
    format!("(broken)\n  {}\n", crate::one_line(&error.to_string()))
}

#[cfg(test)]
mod tests {
    use sift_engine::package;

    use super::*;

    #[test]
    fn the_built_in_package_is_described_whole() {
        let text = describe(&Listing::built_in(), &Speeds::default());
        assert!(text.starts_with(package::DEFAULT), "{text}");
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
    fn a_broken_package_is_described_by_what_is_wrong() {
        let folder = crate::wav::tests::Folder::new();
        std::fs::write(folder.path("package.toml"), "name = \"mine\"\n").unwrap();
        let text = describe_broken(&Listing::read(folder.root()).unwrap_err());
        assert!(
            text.contains("package.toml") && text.contains("version") && text.lines().count() == 2,
            "{text}"
        );
    }
}
