//! `sift split`: separates every sound that is heard in an audio file, and the rest.

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Error, Result, ensure};
use clap::ValueEnum;
use sift_engine::offline::split::OfflineSplitter;
use sift_engine::offline::timeline::{Timeline, TimelineSound};

use crate::atomic_file::{AtomicFile, OutputTarget};
use crate::audio_file::{AudioFile, AudioFormat};
use crate::audio_reader::AudioReader;
use crate::input::Input;
use crate::listen::{listen, open_model};
use crate::message::remark;
use crate::model_argument::ModelArgument;
use crate::output_paths::StemNames;
use crate::progress::progress_bar;

/// Most sounds without `--sounds`.
const DEFAULT_SOUNDS: usize = 4;

/// Most sounds with it. Each is a further stream of the network.
const MAX_SOUNDS: u64 = 16;

/// Name of what is none of the sounds.
const REST: &str = "everything else";

/// Takes an audio file apart: writes a file for each sound that is heard, and one for everything else
///
/// All files together add up to the input. Each is as long as the input and has its sample rate and channels. They are called
/// INPUT-SOUND.wav and appear when all are complete. The model must have a listener, as the default one has.
#[derive(clap::Args)]
pub struct SplitArguments {
    /// Input file, as of `sift render`; - reads standard input
    #[arg(value_name = "INPUT")]
    input: PathBuf,
    /// Separate the N surest sounds, however sure [default: those that are surely there, at most 4]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=MAX_SOUNDS))]
    sounds: Option<u64>,
    /// Folder for the outputs; created if it does not exist [default: the input's folder]
    #[arg(long, value_name = "DIR")]
    output_dir: Option<PathBuf>,
    /// Format of the outputs: WAV of 32-bit floats, or FLAC of 24 bits
    #[arg(long, value_enum, default_value_t = StemFormat::Wav)]
    format: StemFormat,
    /// Replace existing output files
    #[arg(long)]
    overwrite: bool,
    #[command(flatten)]
    model: ModelArgument,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum StemFormat {
    Wav,
    Flac,
}

impl From<StemFormat> for AudioFormat {
    fn from(format: StemFormat) -> Self {
        match format {
            StemFormat::Wav => Self::Wav,
            StemFormat::Flac => Self::Flac,
        }
    }
}

/// Runs the command, and writes the paths of the output files to `out`.
///
/// # Errors
/// If the input is invalid, the model cannot listen, no sound is heard, or an output cannot be written.
pub fn run(arguments: &SplitArguments, out: &mut impl Write) -> Result<()> {
    let input = Input::from(&*arguments.input);
    input.check()?;
    let names = StemNames {
        input: &input,
        folder: arguments.output_dir.as_deref(),
        format: arguments.format.into(),
        overwrite: arguments.overwrite,
    };
    // The other names are known when the sounds are.
    names.targets(&[REST])?;
    let mut reader = input.open()?;
    let mut model = open_model(&arguments.model)?;
    let timeline = listen(&mut model, &mut reader, |_| {})?;
    let sounds = match arguments.sounds {
        Some(count) => timeline.surest(model.concepts(), count as usize),
        None => timeline.sure(model.concepts(), DEFAULT_SOUNDS),
    };
    let name = input.name().display();
    remark(format_args!("{name}: heard {}", describe(&timeline)));
    ensure!(
        !sounds.is_empty(),
        "{name}: no sound is surely there. Give --sounds to split by unsure ones, or describe a sound to `sift render`"
    );

    let titles: Vec<_> = sounds.iter().map(|sound| &*sound.name).chain([REST]).collect();
    let targets = names.targets(&titles)?;
    let reader = reader.reopen()?;
    let files = StemFiles::create(&targets, &reader)?;
    let concepts: Vec<_> = sounds.iter().map(|sound| sound.concept).collect();
    let splitter = model.split(&concepts, reader.sample_rate(), reader.channels()).map_err(Error::msg)?;
    files.write_all(splitter, reader)?;
    for target in targets {
        writeln!(out, "{}", target.path.display())?;
    }
    Ok(())
}

/// The sounds of `timeline`, the surest first: "speech 0.97 (12.0 s), drums 0.91 (8.5 s)".
fn describe(timeline: &Timeline) -> String {
    let mut sounds: Vec<&TimelineSound> = timeline.sounds.iter().collect();
    sounds.sort_by(|a, b| b.probability().total_cmp(&a.probability()));
    let sound = |sound: &&TimelineSound| {
        format!("{} {:.2} ({:.1} s)", sound.name, sound.probability(), sound.seconds())
    };
    match sounds.is_empty() {
        true => "nothing that the model knows".into(),
        false => sounds.iter().map(sound).collect::<Vec<_>>().join(", "),
    }
}

/// The output files while they are written: a file per stem.
struct StemFiles(Vec<AudioFile>);

impl StemFiles {
    fn create(targets: &[OutputTarget], reader: &AudioReader) -> Result<Self> {
        let create =
            |target: &OutputTarget| AudioFile::create(target, reader.sample_rate(), reader.channels());
        Ok(Self(targets.iter().map(create).collect::<Result<_>>()?))
    }

    /// Splits the whole input. Only then do the files appear.
    fn write_all(mut self, mut splitter: OfflineSplitter, mut reader: AudioReader) -> Result<()> {
        let progress = progress_bar(reader.length());
        while let Some(block) = reader.next_block()? {
            self.write(splitter.push(block).map_err(Error::msg)?)?;
            progress.inc(block[0].len() as u64);
        }
        self.write(splitter.finish().map_err(Error::msg)?)?;
        let files = self.0.into_iter().map(AudioFile::finish).collect::<Result<Vec<_>>>()?;
        files.into_iter().try_for_each(AtomicFile::commit)?;
        progress.finish_and_clear();
        Ok(())
    }

    /// Appends a block of each stem: one vector per channel.
    fn write(&mut self, stems: &[Vec<Vec<f32>>]) -> Result<()> {
        self.0
            .iter_mut()
            .zip(stems)
            .try_for_each(|(file, stem)| file.write(&stem.iter().map(Vec::as_slice).collect::<Vec<_>>()))
    }
}

#[cfg(test)]
mod tests {
    use sift_engine::offline::timeline::Segment;

    use super::*;

    #[test]
    fn heard_sounds_are_described_the_surest_first() {
        let sound = |name: &str, probability| TimelineSound {
            concept: 0,
            name: name.into(),
            segments: vec![Segment { start: 1.0, end: 3.5, probability }],
        };
        let sounds = vec![sound("rain", 0.6), sound("drums", 0.9)];
        assert_eq!(describe(&Timeline { seconds: 9.0, sounds }), "drums 0.90 (2.5 s), rain 0.60 (2.5 s)");
        assert_eq!(describe(&Timeline { seconds: 9.0, sounds: Vec::new() }), "nothing that the model knows");
    }
}
