//! `sift render`: isolates or removes a sound in an audio file.

mod rest_report;

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Result, ensure};
use clap::ValueEnum;
use serde_json::json;
use sift_engine::Understanding;
use sift_plot::SpectrogramPlot;

use crate::atomic_file::{AtomicFile, OutputTarget};
use crate::audio_file::AudioFile;
use crate::audio_reader::AudioReader;
use crate::input::Input;
use crate::message::{remark, report, warn};
use crate::model_argument::ModelArgument;
use crate::offline_renderer::{OfflineRenderer, OutputBlock, RenderRequest, RestChoice};
use crate::output_paths::{OutputChoice, OutputTargets};
use crate::progress::progress_bar;
use crate::render::rest_report::{RestReport, RestShare};
use crate::understand::{parse_query_value, to_json};

/// Isolates or removes the described sound in audio files
///
/// The output has the input's sample rate, channels and length, without delay. A name that ends in .wav gives WAV of
/// 32-bit floats, beyond 4 GiB RF64; one that ends in .flac gives FLAC of 24 bits. Output files appear when they are
/// complete. Existing files are replaced with --overwrite only, and the input never.
#[derive(clap::Args)]
pub struct RenderArguments {
    /// Input files, mono or stereo: WAV, AIFF, CAF, AU, FLAC, MP3, AAC, ALAC, Ogg Vorbis, MP4, Matroska; others by ffmpeg,
    /// if it is installed; - reads standard input
    #[arg(required = true, value_name = "INPUT")]
    inputs: Vec<PathBuf>,
    /// Description of the sound, such as "a dog barking"
    #[arg(long, value_name = "TEXT", value_parser = parse_query_value, allow_hyphen_values = true)]
    query: String,
    /// Output file of a single input, .wav or .flac [default: INPUT-TEXT.wav or INPUT-without-TEXT.wav in the input's
    /// folder]
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Folder for outputs with the default names; created if it does not exist
    #[arg(long, value_name = "DIR", conflicts_with = "output")]
    output_dir: Option<PathBuf>,
    /// Also write the input without the described sound, to .wav or .flac
    #[arg(long, value_name = "FILE")]
    residual: Option<PathBuf>,
    /// Keep only the described sound, or remove it
    #[arg(long, value_enum, default_value_t = Mode::Isolate)]
    mode: Mode,
    /// What competes with the described sound: auto takes the surest other sound that the model hears, if it can listen, off
    /// takes none, and any other text names up to three sounds, such as "drums, bass"
    #[arg(
        long,
        value_name = "off|auto|TEXT",
        default_value = "auto",
        value_parser = parse_query_value,
        allow_hyphen_values = true
    )]
    rest: String,
    /// How much of the mask is applied: 0 leaves the input unchanged, 1 applies it fully
    #[arg(long, value_name = "0..1", default_value = "1", value_parser = parse_share)]
    strength: f32,
    /// How much it counts where in the stereo picture a sound stands, beside the mask: 0 applies the same mask to both channels
    #[arg(long, value_name = "0..1", default_value = "1", value_parser = parse_share)]
    stereo: f32,
    #[command(flatten)]
    model: ModelArgument,
    /// Also write a plot of the spectrograms of input, target and residual, as PNG
    #[arg(long, value_name = "FILE.png")]
    plot: Option<PathBuf>,
    /// Replace existing output files
    #[arg(long)]
    overwrite: bool,
    /// Write a line of JSON per input instead of the outputs' paths: outputs, what the texts were understood as, and what
    /// competed for how long
    #[arg(long)]
    json: bool,
}

impl RenderArguments {
    fn rest(&self) -> RestChoice<'_> {
        match &*self.rest {
            "off" => RestChoice::Off,
            "auto" => RestChoice::Auto,
            text => RestChoice::Said(text),
        }
    }

    /// The text of the rest; empty if none was said.
    fn said(&self) -> &str {
        match self.rest() {
            RestChoice::Said(text) => text,
            RestChoice::Off | RestChoice::Auto => "",
        }
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Mode {
    Isolate,
    Remove,
}

impl From<Mode> for sift_engine::Mode {
    fn from(mode: Mode) -> Self {
        match mode {
            Mode::Isolate => Self::Isolate,
            Mode::Remove => Self::Remove,
        }
    }
}

fn parse_share(text: &str) -> Result<f32, String> {
    match text.parse() {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        _ => Err("expected a number from 0 to 1".into()),
    }
}

/// Runs the command, and writes the paths of the output files to `out`.
///
/// An input that cannot be rendered is reported, and the others are rendered.
///
/// # Errors
/// If an input, the model or the query is invalid, or an output cannot be written.
pub fn run(arguments: &RenderArguments, out: &mut impl Write) -> Result<()> {
    let inputs: Vec<_> = arguments.inputs.iter().map(|argument| Input::from(&**argument)).collect();
    inputs.iter().try_for_each(Input::check)?;
    let choice = OutputChoice {
        output: arguments.output.as_deref(),
        folder: arguments.output_dir.as_deref(),
        residual: arguments.residual.as_deref(),
        plot: arguments.plot.as_deref(),
        overwrite: arguments.overwrite,
        query: &arguments.query,
        mode: arguments.mode.into(),
    };
    let targets = OutputTargets::for_inputs(&inputs, &choice)?;
    let request = RenderRequest {
        query: &arguments.query,
        mode: arguments.mode.into(),
        strength: arguments.strength,
        stereo: arguments.stereo,
        rest: arguments.rest(),
    };
    let mut has_remarked = false;
    let mut failed = 0;
    for (input, targets) in inputs.iter().zip(&targets) {
        let outcome = match FileRendering::open(input, targets) {
            Ok(rendering) => {
                let (rate, channels) = (rendering.reader.sample_rate(), rendering.reader.channels());
                // Without model or query, no input can be rendered.
                let renderer = OfflineRenderer::open(arguments.model.choice()?, rate, channels, &request)?;
                if !std::mem::replace(&mut has_remarked, true) {
                    describe(arguments, &renderer);
                }
                rendering.run(renderer)
            }
            Err(error) => Err(error),
        };
        match outcome {
            Ok(rendered) if arguments.json => {
                rendered.warn(arguments, input);
                writeln!(out, "{}", rendered.json(arguments, input, targets))?;
            }
            Ok(rendered) => {
                rendered.warn(arguments, input);
                rendered.describe(arguments, input);
                for target in targets.all() {
                    writeln!(out, "{}", target.path.display())?;
                }
            }
            Err(error) if inputs.len() == 1 => return Err(error),
            Err(error) => {
                report(&error);
                failed += 1;
            }
        }
    }
    ensure!(failed == 0, "{failed} of {} inputs were not rendered. See the errors above", inputs.len());
    Ok(())
}

/// Tells how the texts were understood, and why the selected provider or the listener is not used.
fn describe(arguments: &RenderArguments, renderer: &OfflineRenderer) {
    let texts = [
        ("query", &*arguments.query, renderer.understanding()),
        ("rest", arguments.said(), renderer.rest_understanding()),
    ];
    for (argument, text, understanding) in texts {
        if text.is_empty() || understanding.is_verbatim() {
            continue;
        }
        let line = format!("{argument} {text:?}: {}", understanding.describe());
        match understanding.is_sure() {
            true => remark(line),
            false => warn(line),
        }
    }
    if let Some(reason) = renderer.snapshot().active_provider.fallback_reason {
        warn(reason);
    }
}

/// What is known after the rendering of an input.
struct Rendered {
    query: Arc<Understanding>,
    said: Arc<Understanding>,
    rest: RestReport,
}

impl Rendered {
    /// Warns if the listener is broken.
    fn warn(&self, arguments: &RenderArguments, input: &Input) {
        let name = input.name().display();
        if let Some(problem) = self.rest.problem().filter(|_| arguments.rest() != RestChoice::Off) {
            warn(format_args!("{name}: rendered without listening: {problem}"));
        }
    }

    /// Tells what competed of its own accord.
    fn describe(&self, arguments: &RenderArguments, input: &Input) {
        let name = input.name().display();
        let competed = rest_report::describe(&self.rest.shares(arguments.said()));
        if let Some(sounds) = competed.filter(|_| arguments.rest() == RestChoice::Auto) {
            remark(format_args!("{name}: the rest, with its part of the time: {sounds}"));
        }
    }

    fn json(&self, arguments: &RenderArguments, input: &Input, targets: &OutputTargets) -> serde_json::Value {
        let two_decimals = |value: f64| (100.0 * value).round() / 100.0;
        let share = |rest: &RestShare| {
            json!({
                "name": rest.name,
                "share": two_decimals(rest.share),
                "weight": two_decimals(rest.weight),
            })
        };
        let shares: Vec<_> = self.rest.shares(arguments.said()).iter().map(share).collect();
        let outputs: Vec<_> = targets.all().map(|target| target.path.to_string_lossy()).collect();
        json!({
            "input": input.name().to_string_lossy(),
            "outputs": outputs,
            "query": {"text": arguments.query, "understood": to_json(&self.query)},
            "rest": {
                "text": arguments.rest,
                "understood": to_json(&self.said),
                "competed": shares,
                "problem": self.rest.problem(),
            },
        })
    }
}

/// An opened input and its outputs.
struct FileRendering {
    reader: AudioReader,
    outputs: OutputFiles,
}

impl FileRendering {
    fn open(input: &Input, targets: &OutputTargets) -> Result<Self> {
        let reader = input.open()?;
        let outputs = OutputFiles::create(targets, reader.sample_rate(), reader.channels())?;
        Ok(Self { reader, outputs })
    }

    /// Renders the whole input. Only then do the outputs appear.
    fn run(self, mut renderer: OfflineRenderer) -> Result<Rendered> {
        let Self { mut reader, mut outputs } = self;
        let mut rest = RestReport::default();
        reader.take_warnings().iter().for_each(warn);
        let progress = progress_bar(reader.length());
        while let Some(block) = reader.next_block()? {
            outputs.add_input(block);
            renderer.push(block, |rendered| outputs.write(rendered))?;
            renderer.check()?;
            rest.add(renderer.snapshot().hearing);
            progress.inc(block[0].len() as u64);
        }
        reader.take_warnings().iter().for_each(warn);
        renderer.finish(|rendered| outputs.write(rendered))?;
        renderer.check()?;
        outputs.commit()?;
        progress.finish_and_clear();
        let (query, said) = (renderer.understanding(), renderer.rest_understanding());
        Ok(Rendered { query, said, rest })
    }
}

/// The output files while they are written.
struct OutputFiles {
    main: AudioFile,
    residual: Option<AudioFile>,
    plot: Option<(AtomicFile, SpectrogramPlot)>,
}

impl OutputFiles {
    fn create(targets: &OutputTargets, rate: u32, channels: usize) -> Result<Self> {
        let audio = |target: &OutputTarget| AudioFile::create(target, rate, channels);
        let plot = |target: &OutputTarget| -> Result<_> {
            Ok((AtomicFile::create(target)?, SpectrogramPlot::new(rate, channels)))
        };
        Ok(Self {
            main: audio(&targets.main)?,
            residual: targets.residual.as_ref().map(audio).transpose()?,
            plot: targets.plot.as_ref().map(plot).transpose()?,
        })
    }

    fn add_input(&mut self, block: &[Vec<f32>]) {
        if let Some((_, plot)) = &mut self.plot {
            plot.mixture.push(block);
        }
    }

    fn write(&mut self, block: &OutputBlock<'_>) -> Result<()> {
        self.main.write(&block.main)?;
        if let Some(residual) = &mut self.residual {
            residual.write(&block.residual)?;
        }
        if let Some((_, plot)) = &mut self.plot {
            plot.target.push(&block.target);
            plot.residual.push(&block.residual);
        }
        Ok(())
    }

    /// Completes all files, then moves them to their paths.
    fn commit(self) -> Result<()> {
        let mut files = vec![self.main.finish()?];
        if let Some(residual) = self.residual {
            files.push(residual.finish()?);
        }
        if let Some((file, plot)) = self.plot {
            file.write_png(&plot.draw())?;
            files.push(file);
        }
        files.into_iter().try_for_each(AtomicFile::commit)
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct TestCommand {
        #[command(flatten)]
        arguments: RenderArguments,
    }

    fn parse(line: &[&str]) -> Result<RenderArguments, String> {
        let line = ["render"].iter().chain(line);
        TestCommand::try_parse_from(line).map(|command| command.arguments).map_err(|error| error.to_string())
    }

    #[test]
    fn strength_is_a_number_from_0_to_1() {
        for (text, value) in [("0", 0.0), ("1", 1.0), ("0.25", 0.25)] {
            assert_eq!(parse(&["in.wav", "--query", "rain", "--strength", text]).unwrap().strength, value);
        }
        for text in ["-0.1", "1.1", "50", "NaN", "inf", "loud", ""] {
            let message = parse(&["in.wav", "--query", "rain", &format!("--strength={text}")]).err().unwrap();
            assert!(message.contains("--strength") && message.contains("from 0 to 1"), "{message}");
        }
    }

    #[test]
    fn query_is_required_and_checked() {
        assert!(parse(&["in.wav", "--query", " "]).err().unwrap().contains("is empty"));
        assert_eq!(parse(&["in.wav", "--query", "기타 소리 🎸"]).unwrap().query, "기타 소리 🎸");
        assert!(parse(&["in.wav"]).is_err());
    }

    #[test]
    fn output_and_output_dir_exclude_each_other() {
        let message = parse(&["in.wav", "--query", "rain", "--output", "a.wav", "--output-dir", "b"]);
        assert!(message.err().unwrap().contains("cannot be used with"));
    }

    #[test]
    fn rest_is_auto_off_or_a_text() {
        for (line, rest) in [
            (&[][..], RestChoice::Auto),
            (&["--rest", "auto"], RestChoice::Auto),
            (&["--rest", "off"], RestChoice::Off),
            (&["--rest", "drums, bass"], RestChoice::Said("drums, bass")),
        ] {
            let arguments = parse(&[&["in.wav", "--query", "rain"], line].concat()).unwrap();
            assert_eq!(arguments.rest(), rest);
        }
        assert!(parse(&["in.wav", "--query", "rain", "--rest", ""]).err().unwrap().contains("--rest"));
    }

    #[test]
    fn texts_may_begin_with_a_minus_sign() {
        let arguments = parse(&["in.wav", "--query", "-drums", "--rest", "- the bass", "--json"]).unwrap();
        assert_eq!((&*arguments.query, arguments.said()), ("-drums", "- the bass"));
        assert!(arguments.json);
    }

    #[test]
    fn option_in_place_of_a_text_is_refused() {
        for (option, line) in [
            ("--query", &["--query", "--output", "a.wav"][..]),
            ("--rest", &["--query", "rain", "--rest", "--json"]),
        ] {
            let message = parse(&[&["in.wav"], line].concat()).err().unwrap();
            assert!(message.contains("begins with two dashes") && message.contains(option), "{message}");
        }
    }
}
