//! The formats of a timeline.

use std::io::{self, Write};
use std::path::Path;

use anyhow::Result;
use serde_json::json;
use sift_engine::offline::timeline::{Segment, Timeline};

/// Format of a timeline.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Format {
    /// Aligned columns, to read.
    Table,
    Json,
    /// Comma-separated values.
    Csv,
    /// Label track of Audacity: lines of start, end and text, between tabs.
    Labels,
}

/// Writes `timeline`, of the input `file`, to `out`.
///
/// # Errors
/// If `out` cannot be written to.
pub fn write(timeline: &Timeline, format: Format, file: &Path, out: &mut impl Write) -> Result<()> {
    match format {
        Format::Table => Ok(write_table(timeline, out)?),
        Format::Json => write_json(timeline, file, out),
        Format::Csv => write_csv(timeline, out),
        Format::Labels => Ok(write_labels(timeline, out)?),
    }
}

/// All segments with the names of their sounds, in the order in which they begin.
fn rows(timeline: &Timeline) -> Vec<(&str, &Segment)> {
    let sounds = timeline.sounds.iter();
    let mut rows: Vec<_> =
        sounds.flat_map(|sound| sound.segments.iter().map(|segment| (&*sound.name, segment))).collect();
    rows.sort_by(|(_, a), (_, b)| a.start.total_cmp(&b.start));
    rows
}

fn write_table(timeline: &Timeline, out: &mut impl Write) -> io::Result<()> {
    let rows = rows(timeline);
    if rows.is_empty() {
        return Ok(());
    }
    let width = rows.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0).max(5);
    writeln!(out, "{:width$}  {:>9}  {:>9}  probability", "sound", "from", "to")?;
    for (name, Segment { start, end, probability }) in rows {
        let (start, end) = (clock(*start), clock(*end));
        writeln!(out, "{name:width$}  {start:>9}  {end:>9}  {probability:.2}")?;
    }
    Ok(())
}

/// A time as minutes and seconds, "1:02.5", with hours if there are any.
fn clock(seconds: f64) -> String {
    let tenths = (10.0 * seconds).round() as u64;
    let (hours, minutes) = (tenths / 36_000, tenths / 600 % 60);
    let rest = format!("{:02}.{}", tenths / 10 % 60, tenths % 10);
    match hours {
        0 => format!("{minutes}:{rest}"),
        _ => format!("{hours}:{minutes:02}:{rest}"),
    }
}

/// Rounded to `decimals`, for output.
fn rounded(value: f64, decimals: i32) -> f64 {
    let scale = 10_f64.powi(decimals);
    (value * scale).round() / scale
}

fn write_json(timeline: &Timeline, file: &Path, out: &mut impl Write) -> Result<()> {
    let segment = |segment: &Segment| {
        json!({
            "start": rounded(segment.start, 3),
            "end": rounded(segment.end, 3),
            "probability": rounded(segment.probability.into(), 3),
        })
    };
    let sounds: Vec<_> = timeline
        .sounds
        .iter()
        .map(|sound| {
            json!({
                "name": sound.name,
                "probability": rounded(sound.probability().into(), 3),
                "seconds": rounded(sound.seconds(), 3),
                "segments": sound.segments.iter().map(segment).collect::<Vec<_>>(),
            })
        })
        .collect();
    let all = json!({
        "file": file.to_string_lossy(),
        "seconds": rounded(timeline.seconds, 3),
        "sounds": sounds,
    });
    writeln!(out, "{all:#}")?;
    Ok(())
}

fn write_csv(timeline: &Timeline, out: &mut impl Write) -> Result<()> {
    let mut writer = csv::Writer::from_writer(out);
    writer.write_record(["sound", "start", "end", "probability"])?;
    for (name, Segment { start, end, probability }) in rows(timeline) {
        let [start, end] = [start, end].map(|seconds| format!("{seconds:.3}"));
        writer.write_record([name, &start, &end, &format!("{probability:.3}")])?;
    }
    writer.flush()?;
    Ok(())
}

fn write_labels(timeline: &Timeline, out: &mut impl Write) -> io::Result<()> {
    for (name, Segment { start, end, probability }) in rows(timeline) {
        writeln!(out, "{start:.6}\t{end:.6}\t{name} {probability:.2}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use sift_engine::offline::timeline::TimelineSound;

    use super::*;

    fn timeline() -> Timeline {
        let segment = |start, end, probability| Segment { start, end, probability };
        let sound = |concept, name: &str, segments| TimelineSound { concept, name: name.into(), segments };
        Timeline {
            seconds: 70.0,
            sounds: vec![
                sound(1, "rain, heavy", vec![segment(0.0, 5.0, 0.75), segment(61.25, 70.0, 0.5)]),
                sound(0, "drums", vec![segment(2.0, 3.5, 0.987)]),
            ],
        }
    }

    fn written(timeline: &Timeline, format: Format) -> String {
        let mut out = Vec::new();
        write(timeline, format, Path::new("in.wav"), &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn table_has_aligned_columns_in_the_order_of_time() {
        let expected = "\
sound             from         to  probability
rain, heavy     0:00.0     0:05.0  0.75
drums           0:02.0     0:03.5  0.99
rain, heavy     1:01.3     1:10.0  0.50
";
        assert_eq!(written(&timeline(), Format::Table), expected);
        let empty = Timeline { seconds: 1.0, sounds: Vec::new() };
        assert_eq!(written(&empty, Format::Table), "");
        assert_eq!(clock(3_600.0 + 59.96), "1:01:00.0");
    }

    #[test]
    fn json_has_the_sounds_with_their_segments() {
        let json: serde_json::Value = serde_json::from_str(&written(&timeline(), Format::Json)).unwrap();
        assert_eq!((&json["file"], &json["seconds"]), (&"in.wav".into(), &70.0.into()));
        assert_eq!(json["sounds"][0]["name"], "rain, heavy");
        assert_eq!(json["sounds"][0]["seconds"], 13.75);
        assert_eq!(json["sounds"][1]["segments"][0]["probability"], 0.987);
    }

    #[test]
    fn csv_quotes_names_with_commas() {
        let expected = "\
sound,start,end,probability
\"rain, heavy\",0.000,5.000,0.750
drums,2.000,3.500,0.987
\"rain, heavy\",61.250,70.000,0.500
";
        assert_eq!(written(&timeline(), Format::Csv), expected);
    }

    #[test]
    fn labels_are_start_end_and_text_between_tabs() {
        let labels = written(&timeline(), Format::Labels);
        assert_eq!(labels.lines().nth(1).unwrap(), "2.000000\t3.500000\tdrums 0.99");
    }
}
