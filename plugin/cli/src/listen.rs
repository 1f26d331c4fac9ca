//! `sift listen`: which sounds are in an audio file, and when.

mod formats;

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Error, Result};
use sift_engine::offline::OfflineModel;
use sift_engine::offline::timeline::Timeline;
use sift_plot::timeline::TimelinePlot;

use self::formats::Format;
use crate::atomic_file::AtomicFile;
use crate::audio_reader::AudioReader;
use crate::input::Input;
use crate::message::{remark, warn};
use crate::model_argument::ModelArgument;
use crate::output_paths::plot_target;
use crate::progress::progress_bar;

/// Lists the sounds in an audio file: from when to when they are heard, and how surely
///
/// The model must have a listener, as the default one has. It knows only the sounds that it was trained on. A sound is listed
/// from a probability of 0.5 on; a kind of sounds, such as music, only where none of its members is.
#[derive(clap::Args)]
pub struct ListenArguments {
    /// Input file, as of `sift render`; - reads standard input
    #[arg(value_name = "INPUT")]
    input: PathBuf,
    #[command(flatten)]
    format: FormatArguments,
    /// Also write a plot of the sounds over time, above the spectrogram, as PNG
    #[arg(long, value_name = "FILE.png")]
    plot: Option<PathBuf>,
    /// Replace an existing plot
    #[arg(long)]
    overwrite: bool,
    #[command(flatten)]
    model: ModelArgument,
}

/// The format of the list; a table by default.
#[derive(clap::Args)]
#[group(multiple = false)]
struct FormatArguments {
    /// Write JSON, with times in seconds
    #[arg(long)]
    json: bool,
    /// Write comma-separated values: sound, start and end in seconds, probability
    #[arg(long)]
    csv: bool,
    /// Write a label track for Audacity
    #[arg(long)]
    labels: bool,
}

impl FormatArguments {
    fn format(&self) -> Format {
        match self {
            Self { json: true, .. } => Format::Json,
            Self { csv: true, .. } => Format::Csv,
            Self { labels: true, .. } => Format::Labels,
            _ => Format::Table,
        }
    }
}

/// Runs the command, and writes the list to `out`.
///
/// # Errors
/// If the input is invalid, the model cannot listen, or an output cannot be written.
pub fn run(arguments: &ListenArguments, out: &mut impl Write) -> Result<()> {
    let input = Input::from(&*arguments.input);
    input.check()?;
    let target = arguments.plot.as_deref().map(|path| plot_target(&input, path, arguments.overwrite));
    let target = target.transpose()?;
    let mut reader = input.open()?;
    let plot = target.as_ref().map(|target| -> Result<_> {
        Ok((AtomicFile::create(target)?, TimelinePlot::new(reader.sample_rate(), reader.channels())))
    });
    let mut plot = plot.transpose()?;
    let mut model = open_model(&arguments.model)?;
    let timeline = listen(&mut model, &mut reader, |block| {
        if let Some((_, plot)) = &mut plot {
            plot.spectrogram.push(block);
        }
    })?;
    if timeline.sounds.is_empty() {
        remark(format_args!("{}: no sound that the model knows is heard", input.name().display()));
    }
    formats::write(&timeline, arguments.format.format(), input.name(), out)?;
    if let Some((file, plot)) = plot {
        file.write_png(&plot.draw(&timeline))?;
        file.commit()?;
    }
    Ok(())
}

/// Opens a model with a listener. Warns if the selected provider is not used.
///
/// # Errors
/// If the model cannot be loaded, or cannot listen.
pub fn open_model(argument: &ModelArgument) -> Result<OfflineModel> {
    let model = OfflineModel::open(&argument.choice()?).map_err(Error::msg)?;
    if let Some(reason) = &model.active_provider().fallback_reason {
        warn(reason);
    }
    Ok(model)
}

/// Listens to the whole input. `tap` gets each block, too: one vector per channel.
///
/// # Errors
/// If the input cannot be decoded, or the listener fails.
pub fn listen(
    model: &mut OfflineModel,
    reader: &mut AudioReader,
    mut tap: impl FnMut(&[Vec<f32>]),
) -> Result<Timeline> {
    reader.take_warnings().iter().for_each(warn);
    let progress = progress_bar(reader.length());
    let mut listener = model.listen(reader.sample_rate(), reader.channels());
    while let Some(block) = reader.next_block()? {
        tap(block);
        listener.push(block).map_err(Error::msg)?;
        progress.inc(block[0].len() as u64);
    }
    reader.take_warnings().iter().for_each(warn);
    progress.finish_and_clear();
    listener.finish().map_err(Error::msg)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct TestCommand {
        #[command(flatten)]
        arguments: ListenArguments,
    }

    fn parse(line: &[&str]) -> Result<ListenArguments, String> {
        let line = ["listen", "in.wav"].iter().chain(line);
        TestCommand::try_parse_from(line).map(|command| command.arguments).map_err(|error| error.to_string())
    }

    #[test]
    fn one_format_is_selected() {
        for (line, format) in [
            (&[][..], Format::Table),
            (&["--json"], Format::Json),
            (&["--csv"], Format::Csv),
            (&["--labels"], Format::Labels),
        ] {
            assert_eq!(parse(line).unwrap().format.format(), format);
        }
        assert!(parse(&["--json", "--csv"]).err().unwrap().contains("cannot be used with"));
    }
}
