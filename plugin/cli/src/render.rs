//! `sift render`: one file in, what was asked of it out.

use std::ffi::OsStr;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use sift_engine::{MAX_CHARACTERS, SURE, Understood};

use crate::decode::Source;
use crate::draft::Draft;
use crate::plot::Panels;
use crate::separation::{Request, Separated, Separation};
use crate::wav::WavFile;

/// Separates an audio file by a description
///
/// The output has the input's sample rate, channels and length, with nothing delayed. Files appear
/// when they are whole; one that is there already is replaced, the input never.
#[derive(clap::Args)]
pub struct Arguments {
    /// WAV, FLAC, MP3 or Ogg Vorbis, mono or stereo, of any sample rate
    input: PathBuf,
    /// The sound in words, such as "a dog barking"
    #[arg(long, value_name = "TEXT", value_parser = query)]
    query: String,
    /// The result, a WAV file of 32-bit floats [default: beside the input, INPUT-isolated.wav or
    /// INPUT-removed.wav]
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Also write everything but the described sound, as WAV
    #[arg(long, value_name = "FILE")]
    residual: Option<PathBuf>,
    /// Keep the described sound, or take it out
    #[arg(long, value_enum, default_value_t = Mode::Isolate)]
    mode: Mode,
    /// How much of the separation is applied: 0 leaves the input as it is, 1 separates wholly
    #[arg(long, value_name = "0..1", default_value = "1", value_parser = strength)]
    strength: f32,
    #[command(flatten)]
    model: crate::Model,
    /// Also draw the spectrograms of mixture, target and residual, as PNG
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

fn query(text: &str) -> Result<String, String> {
    if text.trim().is_empty() {
        return Err("it is empty. Describe a sound, such as \"a dog barking\"".into());
    }
    let characters = text.chars().count();
    if characters > MAX_CHARACTERS {
        return Err(format!(
            "it has {characters} characters, more than {MAX_CHARACTERS}. Describe the sound more briefly"
        ));
    }
    Ok(text.to_owned())
}

fn strength(text: &str) -> Result<f32, String> {
    match text.parse() {
        Ok(strength) if (0.0..=1.0).contains(&strength) => Ok(strength),
        _ => Err("it is not a number from 0 to 1".into()),
    }
}

/// Runs the command; `out` is told which files there are now.
pub fn run(arguments: &Arguments, out: &mut impl Write) -> Result<()> {
    let targets = Targets::of(arguments)?;
    let mut source = Source::open(&arguments.input)?;
    let (rate, channels) = (source.sample_rate(), source.channels());
    let mut outputs = Outputs::create(&targets, rate, channels)?;

    let request =
        Request { query: &arguments.query, mode: arguments.mode.into(), strength: arguments.strength };
    let listing = crate::listing(arguments.model.model.as_deref())?;
    let mut separation = Separation::open(listing, rate, channels, &request)?;

    if let Some(remark) = remark(&arguments.query, separation.understood()) {
        eprintln!("{remark}");
    }
    if let Some(remark) = separation.status().placement().remark {
        eprintln!("warning: {}", crate::one_line(&remark));
    }
    let progress = progress(source.length());
    while let Some(block) = source.next_block()? {
        outputs.take_input(block);
        separation.push(block, |separated| outputs.take(separated))?;
        separation.check()?;
        progress.inc(block[0].len() as u64);
    }
    separation.finish(|separated| outputs.take(separated))?;
    separation.check()?;
    outputs.publish()?;
    progress.finish_and_clear();

    for path in targets.all() {
        writeln!(out, "{}", path.display())?;
    }
    Ok(())
}

/// What the query was understood as, in words.
fn remark(query: &str, understood: &[Understood]) -> Option<String> {
    let nearest = understood.first()?;
    let names = Understood::told(understood, ", ");
    Some(match nearest.closeness < SURE {
        true => format!("The model does not know {query:?} well; the nearest sounds that it knows: {names}"),
        false => format!("{query:?} was understood as: {names}"),
    })
}

/// Where the files go.
struct Targets {
    main: PathBuf,
    residual: Option<PathBuf>,
    plot: Option<PathBuf>,
}

impl Targets {
    /// # Errors
    /// When a target is the input or another target, or its name promises another format.
    fn of(arguments: &Arguments) -> Result<Self> {
        let Arguments { input, output, residual, plot, mode, .. } = arguments;
        let targets = Self {
            main: output.clone().unwrap_or_else(|| default_output(input, *mode)),
            residual: residual.clone(),
            plot: plot.clone(),
        };
        let mut taken = vec![resolved(input)];
        for path in targets.all() {
            let place = resolved(path);
            ensure!(
                place != taken[0],
                "{} is the input, which is never replaced. Name another output",
                path.display()
            );
            ensure!(!taken.contains(&place), "{} is named for two outputs. Name another", path.display());
            taken.push(place);
        }
        for path in [&targets.main].into_iter().chain(&targets.residual) {
            ensure_extension(path, "wav")?;
        }
        targets.plot.iter().try_for_each(|path| ensure_extension(path, "png"))?;
        Ok(targets)
    }

    fn all(&self) -> impl Iterator<Item = &Path> {
        [&self.main].into_iter().chain(&self.residual).chain(&self.plot).map(PathBuf::as_path)
    }
}

/// Beside the input: its name without the extension, and what was done to it.
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
        "{} is written as {kind}: give it a name that ends in .{extension}",
        path.display()
    );
    Ok(())
}

/// The path by which a file is told from others, whether it exists or not.
fn resolved(path: &Path) -> PathBuf {
    let in_folder = || {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        Some(folder.canonicalize().ok()?.join(path.file_name()?))
    };
    path.canonicalize().ok().or_else(in_folder).unwrap_or_else(|| path.to_owned())
}

/// The files being written.
struct Outputs {
    main: WavFile,
    residual: Option<WavFile>,
    plot: Option<(Draft, Panels)>,
}

impl Outputs {
    fn create(targets: &Targets, rate: u32, channels: usize) -> Result<Self> {
        let wav = |path: &PathBuf| WavFile::create(path, rate, channels);
        let plot = |path: &PathBuf| -> Result<_> { Ok((Draft::create(path)?, Panels::new(rate, channels))) };
        Ok(Self {
            main: wav(&targets.main)?,
            residual: targets.residual.as_ref().map(wav).transpose()?,
            plot: targets.plot.as_ref().map(plot).transpose()?,
        })
    }

    fn take_input(&mut self, block: &[Vec<f32>]) {
        if let Some((_, panels)) = &mut self.plot {
            panels.mixture.push(block);
        }
    }

    fn take(&mut self, block: &Separated<'_>) -> Result<()> {
        self.main.write(&block.main)?;
        if let Some(residual) = &mut self.residual {
            residual.write(&block.residual)?;
        }
        if let Some((_, panels)) = &mut self.plot {
            panels.target.push(&block.target);
            panels.residual.push(&block.residual);
        }
        Ok(())
    }

    /// Ends all files, then puts them in their places.
    fn publish(self) -> Result<()> {
        let mut drafts = vec![self.main.finish()?];
        if let Some(residual) = self.residual {
            drafts.push(residual.finish()?);
        }
        if let Some((draft, panels)) = self.plot {
            draft.write_png(&panels.draw())?;
            drafts.push(draft);
        }
        drafts.into_iter().try_for_each(Draft::publish)
    }
}

/// A bar on standard error, if that is a terminal.
fn progress(length: Option<u64>) -> ProgressBar {
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
    use crate::wav::tests::{Folder, write_wav};

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        arguments: Arguments,
    }

    fn parse(line: &[&str]) -> Result<Arguments, String> {
        let line = ["render"].iter().chain(line);
        Line::try_parse_from(line).map(|line| line.arguments).map_err(|error| error.to_string())
    }

    fn refusal(line: &[&str]) -> String {
        format!("{:#}", Targets::of(&parse(line).unwrap()).err().unwrap())
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
    fn the_query_is_not_empty_and_not_cut_silently() {
        for text in ["", " \t"] {
            assert!(parse(&["in.wav", "--query", text]).err().unwrap().contains("is empty"));
        }
        assert!(parse(&["in.wav", "--query", &"말".repeat(257)]).err().unwrap().contains("257 characters"));
        assert_eq!(parse(&["in.wav", "--query", "기타 소리 🎸"]).unwrap().query, "기타 소리 🎸");
        assert!(parse(&["in.wav"]).is_err());
    }

    #[test]
    fn a_query_that_the_model_does_not_know_is_remarked_on() {
        let near = |closeness| [Understood { name: "dog barking".into(), closeness, meant: true }];
        assert_eq!(remark("my dog", &near(0.83)).unwrap(), "\"my dog\" was understood as: dog barking 0.83");
        assert!(remark("cheese", &near(0.02)).unwrap().contains("does not know \"cheese\" well"));
        assert!(remark("cheese", &[]).is_none(), "a model need not tell");
    }

    #[test]
    fn the_default_output_lies_beside_the_input_and_says_what_was_done() {
        let at = Path::new("a").join("song.live.flac");
        assert_eq!(default_output(&at, Mode::Isolate), Path::new("a").join("song.live-isolated.wav"));
        assert_eq!(default_output(&at, Mode::Remove), Path::new("a").join("song.live-removed.wav"));
    }

    #[test]
    fn no_output_is_the_input_however_it_is_spelt() {
        let folder = Folder::new();
        write_wav(&folder.path("in.wav"), 48_000, &[vec![0.0; 10]]);
        let input = folder.path("in.wav").display().to_string();
        let other = folder.root().join(".").join("in.wav").display().to_string();
        assert!(refusal(&[&input, "--query", "rain", "--output", &other]).contains("is the input"));
        assert!(refusal(&[&input, "--query", "rain", "--residual", &other]).contains("is the input"));
    }

    #[test]
    fn two_outputs_are_two_files() {
        let message = refusal(&["in.wav", "--query", "rain", "--output", "a.wav", "--residual", "./a.wav"]);
        assert!(message.contains("two outputs"), "{message}");
    }

    #[test]
    fn a_name_that_promises_another_format_is_refused() {
        assert!(refusal(&["in.wav", "--query", "rain", "--output", "a.mp3"]).contains(".wav"));
        assert!(refusal(&["in.wav", "--query", "rain", "--plot", "a.jpg"]).contains(".png"));
        assert!(Targets::of(&parse(&["in.wav", "--query", "rain", "--output", "a.WAV"]).unwrap()).is_ok());
    }
}
