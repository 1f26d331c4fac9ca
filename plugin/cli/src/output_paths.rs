//! The paths of output files: default names, and checks before any work.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, is_separator};

use anyhow::{Result, anyhow, ensure};
use sift_engine::Mode;

use crate::atomic_file::{OutputTarget, resolve};
use crate::audio_file::AudioFormat;
use crate::input::Input;

/// Longest part of a default name that tells the query, in bytes. File systems allow 255 for a name.
const MAX_QUERY_BYTES: usize = 100;

/// The arguments that select the outputs.
pub struct OutputChoice<'a> {
    pub output: Option<&'a Path>,
    pub folder: Option<&'a Path>,
    pub residual: Option<&'a Path>,
    pub plot: Option<&'a Path>,
    pub overwrite: bool,
    pub query: &'a str,
    pub mode: Mode,
}

/// The output files for one input.
#[derive(Debug)]
pub struct OutputTargets {
    pub main: OutputTarget,
    pub residual: Option<OutputTarget>,
    pub plot: Option<OutputTarget>,
}

impl OutputTargets {
    /// Returns the outputs for each input.
    ///
    /// # Errors
    /// If an output is an input or another output, has the wrong extension, or exists and must not be replaced.
    pub fn for_inputs(inputs: &[Input], choice: &OutputChoice<'_>) -> Result<Vec<Self>> {
        if inputs.len() > 1 {
            for (option, path) in
                [("--output", choice.output), ("--residual", choice.residual), ("--plot", choice.plot)]
            {
                ensure!(
                    path.is_none(),
                    "{option}: one file for {} inputs. Give one input, or use --output-dir instead",
                    inputs.len()
                );
            }
        }
        let all: Vec<_> = inputs.iter().map(|input| Self::new(input, choice)).collect();
        check_distinct(inputs, all.iter().flat_map(Self::all))?;
        for targets in &all {
            targets.audio().try_for_each(ensure_audio_name)?;
            targets.plot.iter().try_for_each(ensure_png_name)?;
        }
        choice.folder.map_or(Ok(()), create_folder)?;
        all.iter().flat_map(Self::all).try_for_each(|target| target.check().map(drop))?;
        Ok(all)
    }

    fn new(input: &Input, choice: &OutputChoice<'_>) -> Self {
        let target = |path, options| OutputTarget { path, options, overwrite: choice.overwrite };
        let given = |path: Option<&Path>, option| Some(target(path?.to_owned(), option));
        let default = || {
            let folder = choice.folder.unwrap_or(input.folder());
            target(folder.join(default_name(input, choice)), "--output or --output-dir")
        };
        Self {
            main: given(choice.output, "--output").unwrap_or_else(default),
            residual: given(choice.residual, "--residual"),
            plot: given(choice.plot, "--plot"),
        }
    }

    fn audio(&self) -> impl Iterator<Item = &OutputTarget> {
        [&self.main].into_iter().chain(&self.residual)
    }

    pub fn all(&self) -> impl Iterator<Item = &OutputTarget> {
        self.audio().chain(&self.plot)
    }
}

/// Checks that no output is an input or another output.
///
/// # Errors
/// If one is.
fn check_distinct<'a>(inputs: &[Input], targets: impl Iterator<Item = &'a OutputTarget>) -> Result<()> {
    let input_paths: Vec<_> = inputs.iter().filter_map(Input::path).map(resolve).collect();
    let mut taken = Vec::new();
    for target in targets {
        let (name, path) = (target.path.display(), resolve(&target.path));
        ensure!(
            !input_paths.contains(&path),
            "{name}: is the input, which is never replaced. Choose another output with {}",
            target.options
        );
        ensure!(
            !taken.contains(&path),
            "{name}: given for two outputs. Choose another output with {}",
            target.options
        );
        taken.push(path);
    }
    Ok(())
}

fn create_folder(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).map_err(|error| {
        anyhow!("{}: cannot be created: {error}. Choose another with --output-dir", folder.display())
    })
}

/// Returns the output for the plot of `input` at `path`.
///
/// # Errors
/// If it is the input, has the wrong extension, or exists and must not be replaced.
pub fn plot_target(input: &Input, path: &Path, overwrite: bool) -> Result<OutputTarget> {
    let target = OutputTarget { path: path.to_owned(), options: "--plot", overwrite };
    check_distinct(std::slice::from_ref(input), [&target].into_iter())?;
    ensure_png_name(&target)?;
    target.check()?;
    Ok(target)
}

/// The arguments that name the outputs of `sift split`.
pub struct StemNames<'a> {
    pub input: &'a Input,
    pub folder: Option<&'a Path>,
    pub format: AudioFormat,
    pub overwrite: bool,
}

impl StemNames<'_> {
    /// Returns an output for each of `titles`, such as `song-drums.wav`.
    ///
    /// # Errors
    /// If an output is the input or another output, or exists and must not be replaced.
    pub fn targets(&self, titles: &[&str]) -> Result<Vec<OutputTarget>> {
        let folder = self.folder.unwrap_or(self.input.folder());
        let target = |title: &&str| {
            let mut name = self.input.stem().to_owned();
            name.push(format!("-{}.{}", file_name_part(title), self.format.extension()));
            OutputTarget { path: folder.join(name), options: "--output-dir", overwrite: self.overwrite }
        };
        let targets: Vec<_> = titles.iter().map(target).collect();
        check_distinct(std::slice::from_ref(self.input), targets.iter())?;
        self.folder.map_or(Ok(()), create_folder)?;
        targets.iter().try_for_each(|target| target.check().map(drop))?;
        Ok(targets)
    }
}

/// The input's name, then what was done: `song-drums.wav` or `song-without-drums.wav`.
fn default_name(input: &Input, choice: &OutputChoice<'_>) -> OsString {
    let mut name = input.stem().to_owned();
    name.push(match choice.mode {
        Mode::Isolate => "-",
        Mode::Remove => "-without-",
    });
    name.push(file_name_part(choice.query));
    name.push(".wav");
    name
}

/// The text as a part of file names on every system: with hyphens for spaces and for what some systems do not allow.
fn file_name_part(text: &str) -> String {
    let is_allowed =
        |letter: char| !letter.is_whitespace() && !letter.is_control() && !r#"/\:*?"<>|"#.contains(letter);
    let mut name = String::new();
    for word in text.split(|letter| !is_allowed(letter)).filter(|word| !word.is_empty()) {
        let separator = if name.is_empty() { "" } else { "-" };
        name.extend([separator, word]);
    }
    name.truncate(name.floor_char_boundary(MAX_QUERY_BYTES));
    match name.trim_matches(['-', '.']) {
        "" => "sound".into(),
        name => name.into(),
    }
}

fn ensure_audio_name(target: &OutputTarget) -> Result<()> {
    let (path, options) = (&target.path, target.options);
    let name = path.display();
    ensure!(
        path.as_os_str() != "-",
        "-: audio cannot be written to standard output. Choose a file with {options}"
    );
    ensure!(
        !path.is_dir() && !path.to_string_lossy().ends_with(is_separator),
        "{name}: is a folder; expected the name of a file. Choose a file with {options}, or a folder with --output-dir"
    );
    ensure!(
        AudioFormat::of(path).is_some(),
        "{name}: wrong extension for audio; expected .wav or .flac. Choose another output with {options}"
    );
    Ok(())
}

fn ensure_png_name(target: &OutputTarget) -> Result<()> {
    ensure!(
        target.path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("png")),
        "{}: wrong extension for a PNG file; expected .png. Choose another output with {}",
        target.path.display(),
        target.options
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_files::{file_names, write_wav};

    const CHOICE: OutputChoice<'_> = OutputChoice {
        output: None,
        folder: None,
        residual: None,
        plot: None,
        overwrite: false,
        query: "rain",
        mode: Mode::Isolate,
    };

    fn input(path: impl AsRef<Path>) -> Input {
        Input::from(path.as_ref())
    }

    fn refusal(inputs: &[Input], choice: &OutputChoice<'_>) -> String {
        format!("{:#}", OutputTargets::for_inputs(inputs, choice).unwrap_err())
    }

    #[test]
    fn default_output_is_in_the_input_folder() {
        let path =
            |mode, input: &Input| OutputTargets::new(input, &OutputChoice { mode, ..CHOICE }).main.path;
        let song = input(Path::new("a").join("song.live.flac"));
        assert_eq!(path(Mode::Isolate, &song), Path::new("a").join("song.live-rain.wav"));
        assert_eq!(path(Mode::Remove, &song), Path::new("a").join("song.live-without-rain.wav"));
        assert_eq!(path(Mode::Isolate, &input("-")), Path::new("stdin-rain.wav"));
    }

    #[test]
    fn default_output_is_in_the_given_folder() {
        let choice = OutputChoice { folder: Some(Path::new("out")), ..CHOICE };
        let path = OutputTargets::new(&input(Path::new("a").join("song.mp3")), &choice).main.path;
        assert_eq!(path, Path::new("out").join("song-rain.wav"));
    }

    #[test]
    fn query_is_a_part_of_names_on_every_system() {
        for (query, part) in [
            ("a dog  barking", "a-dog-barking"),
            (" AC/DC: \"live\"? <1|2>*\\\n", "AC-DC-live-1-2"),
            ("기타 소리 🎸", "기타-소리-🎸"),
            ("../..", "sound"),
            ("???", "sound"),
            ("rain...", "rain"),
            ("don't stop", "don't-stop"),
        ] {
            assert_eq!(file_name_part(query), part);
        }
    }

    #[test]
    fn long_query_is_cut_between_letters() {
        assert_eq!(file_name_part(&"말".repeat(256)), "말".repeat(33));
        assert_eq!(file_name_part(&"x".repeat(256)), "x".repeat(100));
    }

    #[test]
    fn output_that_is_the_input_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("in.wav");
        write_wav(&path, 48_000, &[vec![0.0; 10]]);
        let other = Some(&*folder.path().join(".").join("in.wav"));
        for choice in [
            OutputChoice { output: other, overwrite: true, ..CHOICE },
            OutputChoice { residual: other, overwrite: true, ..CHOICE },
        ] {
            assert!(refusal(&[input(&path)], &choice).contains("is the input"));
        }
    }

    #[test]
    fn two_outputs_with_one_path_are_refused() {
        let (output, residual) = (Some(Path::new("a.wav")), Some(Path::new("./a.wav")));
        let message = refusal(&[input("in.wav")], &OutputChoice { output, residual, ..CHOICE });
        assert!(message.contains("two outputs"), "{message}");
        let choice = OutputChoice { folder: Some(Path::new("out")), ..CHOICE };
        let message = refusal(&[input("a/in.wav"), input("b/in.flac")], &choice);
        assert!(message.contains("in-rain.wav: given for two outputs"), "{message}");
    }

    #[test]
    fn single_file_for_several_inputs_is_refused() {
        let path = Some(Path::new("a.wav"));
        for (choice, option) in [
            (OutputChoice { output: path, ..CHOICE }, "--output"),
            (OutputChoice { residual: path, ..CHOICE }, "--residual"),
            (OutputChoice { plot: path, ..CHOICE }, "--plot"),
        ] {
            let message = refusal(&[input("a.flac"), input("b.flac")], &choice);
            assert!(message.starts_with(option) && message.contains("--output-dir"), "{message}");
        }
    }

    #[test]
    fn output_that_is_no_audio_file_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let existing = folder.path().display().to_string();
        for (output, part) in [
            ("a.mp3", "expected .wav or .flac"),
            ("a", "expected .wav or .flac"),
            ("-", "standard output"),
            ("none/", "is a folder"),
            (&existing, "--output-dir"),
        ] {
            let choice = OutputChoice { output: Some(Path::new(output)), ..CHOICE };
            let message = refusal(&[input("in.wav")], &choice);
            assert!(message.contains(part), "{message}");
        }
        let message = refusal(&[input("in.wav")], &OutputChoice { plot: Some(Path::new("a.jpg")), ..CHOICE });
        assert!(message.contains(".png"), "{message}");
        for output in ["a.WAV", "a.Flac"] {
            let choice = OutputChoice { output: Some(Path::new(output)), ..CHOICE };
            OutputTargets::for_inputs(&[input("in.wav")], &choice).unwrap();
        }
    }

    #[test]
    fn existing_output_of_any_input_is_refused_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("new").join("out");
        let choice = OutputChoice { folder: Some(&out), ..CHOICE };
        let inputs = [input("a.wav"), input("b.wav")];
        OutputTargets::for_inputs(&inputs, &choice).unwrap();
        fs::write(out.join("b-rain.wav"), "").unwrap();
        assert!(refusal(&inputs, &choice).contains("b-rain.wav: exists already"));
        OutputTargets::for_inputs(&inputs, &OutputChoice { overwrite: true, ..choice }).unwrap();
        assert_eq!(file_names(&out), ["b-rain.wav"]);
    }

    #[test]
    fn stems_are_called_after_their_sounds() {
        let folder = tempfile::tempdir().unwrap();
        let (song, out) = (input(Path::new("a").join("song.mp3")), folder.path().join("out"));
        let names =
            StemNames { input: &song, folder: Some(&out), format: AudioFormat::Flac, overwrite: false };
        let targets = names.targets(&["bass guitar", "everything else"]).unwrap();
        let paths: Vec<_> = targets.iter().map(|target| target.path.clone()).collect();
        assert_eq!(paths, [out.join("song-bass-guitar.flac"), out.join("song-everything-else.flac")]);

        fs::write(out.join("song-rain.flac"), "").unwrap();
        let message = names.targets(&["rain"]).unwrap_err().to_string();
        assert!(message.contains("song-rain.flac: exists already"), "{message}");
        let message = names.targets(&["a/b", "a b"]).unwrap_err().to_string();
        assert!(message.contains("two outputs"), "{message}");
    }

    #[test]
    fn plot_that_is_the_input_is_refused() {
        let message = plot_target(&input("in.png"), Path::new("in.png"), true).unwrap_err().to_string();
        assert!(message.contains("is the input") && message.contains("--plot"), "{message}");
    }
}
