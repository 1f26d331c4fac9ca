//! Sift on the command line: renders files, lists models, examines the installation.
//!
//! A library, so that other programs of this workspace can read and draw sound as it does.

pub mod decode;
mod doctor;
mod draft;
mod models;
pub mod plot;
mod render;
mod separation;
pub mod spectrogram;
mod wav;

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use sift_engine::package::{self, Listing, PackageError, search};

/// Keeps, or takes out, the sound that you describe in words.
#[derive(Parser)]
#[command(name = "sift", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Render(render::Arguments),
    /// Lists the model packages there are, best first, and what is wrong with the broken ones.
    Models,
    Doctor(doctor::Arguments),
}

/// The package in `folder`, else the default one.
fn listing(folder: Option<&Path>) -> Result<Listing, PackageError> {
    folder.map_or_else(|| search::find(package::DEFAULT), Listing::read)
}

/// The argument `--model`, the same for every command.
#[derive(clap::Args)]
struct Model {
    /// Folder of the model package [default: the installed "Sift default", else the built-in one]
    #[arg(long, value_name = "DIR")]
    model: Option<PathBuf>,
}

/// Does what the arguments of this process say.
pub fn main() -> ExitCode {
    let mut out = io::stdout().lock();
    let outcome = match Arguments::parse().command {
        Command::Render(arguments) => render::run(&arguments, &mut out),
        Command::Models => models::run(&mut out),
        Command::Doctor(arguments) => doctor::run(&arguments, &mut out),
    };
    match outcome.and_then(|()| Ok(out.flush()?)) {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever read the output has seen enough.
        Err(error) if is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            // A message that cannot be written leaves the exit status to tell.
            let _ = writeln!(io::stderr(), "error: {}", one_line(&format!("{error:#}")));
            ExitCode::FAILURE
        }
    }
}

fn is_closed_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// A message on one line: parsers draw theirs over several.
fn one_line(message: &str) -> String {
    message.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_arguments_are_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn a_message_over_several_lines_is_written_on_one() {
        assert_eq!(
            one_line("TOML parse error\n  |\n1 | x\n\nmissing field\n"),
            "TOML parse error | 1 | x missing field"
        );
    }
}
