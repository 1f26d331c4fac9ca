//! Sift on the command line: renders files, lists models, checks the installation.
//!
//! Also a library, so that other programs of this workspace can use its audio reader and plots.

mod atomic_file;
pub mod audio_reader;
mod doctor;
mod message;
mod model_argument;
mod models;
mod offline_renderer;
pub mod plot;
mod render;
pub mod spectrogram;
#[cfg(test)]
mod test_files;
mod wav;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::message::one_line;

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
    /// Lists the installed model packages in order of precedence, and the problems of invalid ones.
    Models,
    Doctor(doctor::DoctorArguments),
}

/// Runs the command in this process's arguments.
pub fn main() -> ExitCode {
    let mut out = io::stdout().lock();
    let outcome = match CliArguments::parse().command {
        Command::Render(arguments) => render::run(&arguments, &mut out),
        Command::Models => models::run(&mut out),
        Command::Doctor(arguments) => doctor::run(&arguments, &mut out),
    };
    match outcome.and_then(|()| Ok(out.flush()?)) {
        Ok(()) => ExitCode::SUCCESS,
        // The reader of the output, such as `head`, has closed it.
        Err(error) if is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            // If the message cannot be written, the exit status still reports the failure.
            let _ = writeln!(io::stderr(), "error: {}", one_line(&format!("{error:#}")));
            ExitCode::FAILURE
        }
    }
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
}
