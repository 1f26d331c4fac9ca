//! Sift on the command line: renders, splits and listens to files, understands texts, lists models, checks the
//! installation.
//!
//! Also a library, so that other programs of this workspace can use its audio reader.

mod atomic_file;
mod audio_file;
pub mod audio_reader;
mod doctor;
mod flac;
mod input;
mod interruption;
mod listen;
mod message;
mod model_argument;
mod models;
mod offline_renderer;
mod output_paths;
mod progress;
mod render;
mod split;
#[cfg(test)]
mod test_files;
mod understand;
mod wav;

use std::ffi::OsString;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use clap::error::{ContextKind, ContextValue};
use clap::{Parser, Subcommand};

use crate::message::{StandardOutput, report};

/// Isolates or removes the sound that you describe in words.
#[derive(Parser)]
#[command(name = "sift", version)]
struct CliArguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Render(render::RenderArguments),
    Listen(listen::ListenArguments),
    Split(split::SplitArguments),
    Understand(understand::UnderstandArguments),
    /// Lists the installed model packages in order of precedence, and the problems of invalid ones.
    Models,
    Doctor(doctor::DoctorArguments),
}

/// Runs the command in this process's arguments.
pub fn main() -> ExitCode {
    let arguments = CliArguments::try_parse_from(understand::mark_minus(std::env::args_os()))
        .unwrap_or_else(|error| with_hint_to_dashes(error, std::env::args_os()).exit());
    let mut out = StandardOutput::lock();
    let handle_signals =
        || interruption::delete_unfinished_on_signals().context("signals: cannot be handled");
    let outcome = match arguments.command {
        Command::Render(arguments) => handle_signals().and_then(|()| render::run(&arguments, &mut out)),
        Command::Listen(arguments) => handle_signals().and_then(|()| listen::run(&arguments, &mut out)),
        Command::Split(arguments) => handle_signals().and_then(|()| split::run(&arguments, &mut out)),
        Command::Understand(arguments) => understand::run(&arguments, &mut out),
        Command::Models => models::run(&mut out),
        Command::Doctor(arguments) => doctor::run(&arguments, &mut out),
    };
    match outcome.and_then(|()| Ok(out.flush()?)) {
        Ok(()) => ExitCode::SUCCESS,
        // The reader of the output, such as `head`, has closed it.
        Err(error) if is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            // If the message cannot be written, the exit status still reports the failure.
            report(&error);
            ExitCode::FAILURE
        }
    }
}

/// Adds a hint to the error if an argument is the name of a file that looks like an option.
fn with_hint_to_dashes(mut error: clap::Error, arguments: impl Iterator<Item = OsString>) -> clap::Error {
    let is_audio_name =
        |name: &str| Path::new(name).is_file() || audio_file::AudioFormat::of(Path::new(name)).is_some();
    let mut names = arguments.filter_map(|argument| argument.into_string().ok());
    if let Some(name) = names.find(|name| name.starts_with('-') && is_audio_name(name)) {
        let hint = format!("to use the file '{name}', write './{name}'");
        error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![hint.into()]));
    }
    error
}

fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn arguments_are_consistent() {
        CliArguments::command().debug_assert();
    }

    #[test]
    fn name_that_begins_with_a_dash_has_a_hint() {
        for line in
            ["-dash.wav --query rain", "in.wav --query rain --output -dash.wav", "a.wav -dash.FLAC --query b"]
        {
            let line = || ["sift", "render"].into_iter().chain(line.split(' '));
            let error = CliArguments::try_parse_from(line()).err().unwrap();
            let message = with_hint_to_dashes(error, line().map(OsString::from)).to_string();
            assert!(message.contains("write './-dash."), "{message}");
            assert!(!message.contains("use '-- -d'"), "{message}");
        }
    }

    #[test]
    fn unknown_option_has_no_hint_to_files() {
        let line = || ["sift", "render", "in.wav", "-q", "rain"].into_iter();
        let error = CliArguments::try_parse_from(line()).err().unwrap();
        let message = with_hint_to_dashes(error, line().map(OsString::from)).to_string();
        assert!(message.contains("'-q'") && !message.contains("./-q"), "{message}");
    }
}
