//! `sift render`: isolates or removes a sound in an audio file.

use std::ffi::OsStr;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use sift_engine::{ConceptMatch, MAX_CHARACTERS, UNDERSTOOD};

use crate::atomic_file::AtomicFile;
use crate::audio_reader::AudioReader;
use crate::message::one_line;
use crate::model_argument::ModelArgument;
use crate::offline_renderer::{OfflineRenderer, OutputBlock, RenderRequest};
use crate::plot::SpectrogramPlot;
use crate::wav::WavFile;

/// Isolates or removes the described sound in an audio file
///
/// The output has the input's sample rate, channels and length, without delay. Output files appear when they are
/// complete and replace existing files, but never the input.
#[derive(clap::Args)]
pub struct RenderArguments {
    /// Input file: WAV, FLAC, MP3 or Ogg Vorbis, mono or stereo
    input: PathBuf,
    /// Description of the sound, such as "a dog barking"
    #[arg(long, value_name = "TEXT", value_parser = parse_query)]
    query: String,
    /// Output file, WAV of 32-bit floats [default: INPUT-isolated.wav or INPUT-removed.wav in the input's folder]
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Also write the input without the described sound, as WAV
    #[arg(long, value_name = "FILE")]
    residual: Option<PathBuf>,
    /// Keep only the described sound, or remove it
    #[arg(long, value_enum, default_value_t = Mode::Isolate)]
    mode: Mode,
    /// How much of the mask is applied: 0 leaves the input unchanged, 1 applies it fully
    #[arg(long, value_name = "0..1", default_value = "1", value_parser = parse_strength)]
    strength: f32,
    #[command(flatten)]
    model: ModelArgument,
    /// Also write a plot of the spectrograms of input, target and residual, as PNG
    #[arg(long, value_name = "FILE.png")]
    plot: Option<PathBuf>,
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

fn parse_query(text: &str) -> Result<String, String> {
    if text.trim().is_empty() {
        return Err("the text is empty. Describe a sound, such as \"a dog barking\"".into());
    }
    let characters = text.chars().count();
    if characters > MAX_CHARACTERS {
        return Err(format!(
            "{characters} characters; expected at most {MAX_CHARACTERS}. Describe the sound more briefly"
        ));
    }
    Ok(text.to_owned())
}

fn parse_strength(text: &str) -> Result<f32, String> {
    match text.parse() {
        Ok(strength) if (0.0..=1.0).contains(&strength) => Ok(strength),
        _ => Err("expected a number from 0 to 1".into()),
    }
}

/// Runs the command, and writes the paths of the output files to `out`.
///
/// # Errors
/// If the input, the model or the query is invalid, or an output cannot be written.
pub fn run(arguments: &RenderArguments, out: &mut impl Write) -> Result<()> {
    let paths = OutputPaths::new(arguments)?;
    let mut reader = AudioReader::open(&arguments.input)?;
    let (rate, channels) = (reader.sample_rate(), reader.channels());
    let mut outputs = OutputFiles::create(&paths, rate, channels)?;

    let request =
        RenderRequest { query: &arguments.query, mode: arguments.mode.into(), strength: arguments.strength };
    let mut renderer = OfflineRenderer::open(arguments.model.choice(), rate, channels, &request)?;

    if let Some(understanding) = describe_understanding(&arguments.query, &renderer.concept_matches()) {
        eprintln!("{understanding}");
    }
    if let Some(remark) = renderer.snapshot().active_provider.fallback_reason {
        eprintln!("warning: {}", one_line(&remark));
    }
    let progress = progress_bar(reader.length());
    while let Some(block) = reader.next_block()? {
        outputs.add_input(block);
        renderer.push(block, |rendered| outputs.write(rendered))?;
        renderer.check()?;
        progress.inc(block[0].len() as u64);
    }
    renderer.finish(|rendered| outputs.write(rendered))?;
    renderer.check()?;
    outputs.commit()?;
    progress.finish_and_clear();

    for path in paths.all() {
        writeln!(out, "{}", path.display())?;
    }
    Ok(())
}

/// Describes how the model understood the query; `None` if the model has no concepts.
fn describe_understanding(query: &str, matches: &[ConceptMatch]) -> Option<String> {
    let nearest = matches.first()?;
    let names = ConceptMatch::describe(matches, ", ");
    Some(match nearest.closeness < UNDERSTOOD {
        true => format!("The model does not know {query:?} well; nearest known sounds: {names}"),
        false => format!("{query:?} was understood as: {names}"),
    })
}

/// The paths of the output files.
struct OutputPaths {
    main: PathBuf,
    residual: Option<PathBuf>,
    plot: Option<PathBuf>,
}

impl OutputPaths {
    /// Collects the paths from the arguments.
    ///
    /// # Errors
    /// If an output is the input or another output, or has the wrong extension.
    fn new(arguments: &RenderArguments) -> Result<Self> {
        let RenderArguments { input, output, residual, plot, mode, .. } = arguments;
        let paths = Self {
            main: output.clone().unwrap_or_else(|| default_output(input, *mode)),
            residual: residual.clone(),
            plot: plot.clone(),
        };
        let mut taken = vec![resolved(input)];
        for path in paths.all() {
            let resolved_path = resolved(path);
            ensure!(
                resolved_path != taken[0],
                "{}: is the input, which is never replaced. Choose another output",
                path.display()
            );
            ensure!(
                !taken.contains(&resolved_path),
                "{}: given for two outputs. Choose another output",
                path.display()
            );
            taken.push(resolved_path);
        }
        for path in [&paths.main].into_iter().chain(&paths.residual) {
            ensure_extension(path, "wav")?;
        }
        paths.plot.iter().try_for_each(|path| ensure_extension(path, "png"))?;
        Ok(paths)
    }

    fn all(&self) -> impl Iterator<Item = &Path> {
        [&self.main].into_iter().chain(&self.residual).chain(&self.plot).map(PathBuf::as_path)
    }
}

/// The default output: in the input's folder, with its name, and a suffix for the mode.
fn default_output(input: &Path, mode: Mode) -> PathBuf {
    let mut name = input.file_stem().unwrap_or(OsStr::new("output")).to_owned();
    name.push(match mode {
        Mode::Isolate => "-isolated.wav",
        Mode::Remove => "-removed.wav",
    });
    input.with_file_name(name)
}

fn ensure_extension(path: &Path, extension: &str) -> Result<()> {
    let given = path.extension().and_then(OsStr::to_str).unwrap_or_default();
    let kind = extension.to_uppercase();
    ensure!(
        given.eq_ignore_ascii_case(extension),
        "{}: wrong extension for a {kind} file; expected .{extension}. Choose another output",
        path.display()
    );
    Ok(())
}

/// The path that identifies a file, whether it exists or not.
fn resolved(path: &Path) -> PathBuf {
    let in_folder = || {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        Some(folder.canonicalize().ok()?.join(path.file_name()?))
    };
    path.canonicalize().ok().or_else(in_folder).unwrap_or_else(|| path.to_owned())
}

/// The output files while they are written.
struct OutputFiles {
    main: WavFile,
    residual: Option<WavFile>,
    plot: Option<(AtomicFile, SpectrogramPlot)>,
}

impl OutputFiles {
    fn create(paths: &OutputPaths, rate: u32, channels: usize) -> Result<Self> {
        let wav = |path: &PathBuf| WavFile::create(path, rate, channels);
        let plot = |path: &PathBuf| -> Result<_> {
            Ok((AtomicFile::create(path)?, SpectrogramPlot::new(rate, channels)))
        };
        Ok(Self {
            main: wav(&paths.main)?,
            residual: paths.residual.as_ref().map(wav).transpose()?,
            plot: paths.plot.as_ref().map(plot).transpose()?,
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

/// A progress bar on standard error, if that is a terminal.
fn progress_bar(length: Option<u64>) -> ProgressBar {
    let (bar, template) = match length {
        Some(length) => (ProgressBar::new(length), "{bar:40} {percent:>3} %  {eta} left"),
        None => (ProgressBar::no_length(), "{spinner} {elapsed}"),
    };
    bar.set_draw_target(ProgressDrawTarget::stderr());
    bar.with_style(ProgressStyle::with_template(template).expect("the template is valid"))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::test_files::write_wav;

    #[derive(Parser)]
    struct TestCommand {
        #[command(flatten)]
        arguments: RenderArguments,
    }

    fn parse(line: &[&str]) -> Result<RenderArguments, String> {
        let line = ["render"].iter().chain(line);
        TestCommand::try_parse_from(line).map(|command| command.arguments).map_err(|error| error.to_string())
    }

    fn refusal(line: &[&str]) -> String {
        format!("{:#}", OutputPaths::new(&parse(line).unwrap()).err().unwrap())
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
    fn query_has_1_to_256_characters() {
        for text in ["", " \t"] {
            assert!(parse(&["in.wav", "--query", text]).err().unwrap().contains("is empty"));
        }
        assert!(parse(&["in.wav", "--query", &"말".repeat(257)]).err().unwrap().contains("257 characters"));
        assert_eq!(parse(&["in.wav", "--query", "기타 소리 🎸"]).unwrap().query, "기타 소리 🎸");
        assert!(parse(&["in.wav"]).is_err());
    }

    #[test]
    fn understanding_of_the_query_is_described() {
        let near = |closeness| [ConceptMatch { name: "dog barking".into(), closeness, selected: true }];
        assert_eq!(
            describe_understanding("my dog", &near(0.83)).unwrap(),
            "\"my dog\" was understood as: dog barking 0.83"
        );
        assert!(
            describe_understanding("cheese", &near(0.02)).unwrap().contains("does not know \"cheese\" well")
        );
        assert!(describe_understanding("cheese", &[]).is_none(), "models may have no concepts");
    }

    #[test]
    fn default_output_is_in_the_input_folder() {
        let input = Path::new("a").join("song.live.flac");
        assert_eq!(default_output(&input, Mode::Isolate), Path::new("a").join("song.live-isolated.wav"));
        assert_eq!(default_output(&input, Mode::Remove), Path::new("a").join("song.live-removed.wav"));
    }

    #[test]
    fn output_that_is_the_input_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        write_wav(&folder.path().join("in.wav"), 48_000, &[vec![0.0; 10]]);
        let input = folder.path().join("in.wav").display().to_string();
        let other = folder.path().join(".").join("in.wav").display().to_string();
        assert!(refusal(&[&input, "--query", "rain", "--output", &other]).contains("is the input"));
        assert!(refusal(&[&input, "--query", "rain", "--residual", &other]).contains("is the input"));
    }

    #[test]
    fn two_outputs_with_one_path_are_refused() {
        let message = refusal(&["in.wav", "--query", "rain", "--output", "a.wav", "--residual", "./a.wav"]);
        assert!(message.contains("two outputs"), "{message}");
    }

    #[test]
    fn output_with_a_wrong_extension_is_refused() {
        assert!(refusal(&["in.wav", "--query", "rain", "--output", "a.mp3"]).contains(".wav"));
        assert!(refusal(&["in.wav", "--query", "rain", "--plot", "a.jpg"]).contains(".png"));
        assert!(
            OutputPaths::new(&parse(&["in.wav", "--query", "rain", "--output", "a.WAV"]).unwrap()).is_ok()
        );
    }
}
