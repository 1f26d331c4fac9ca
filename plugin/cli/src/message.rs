//! Messages for the terminal.

use std::fmt::Display;
use std::io::{self, StdoutLock, Write};

/// Joins the lines of `message`: errors of parsers span several.
pub fn one_line(message: &str) -> String {
    message.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ")
}

/// Writes a line to standard error. The work goes on if that cannot be written.
pub fn remark(line: impl Display) {
    let _ = writeln!(io::stderr(), "{line}");
}

/// Writes a warning of one line to standard error, like [`remark`].
pub fn warn(problem: impl Display) {
    remark(format_args!("warning: {}", one_line(&problem.to_string())));
}

/// Writes an error of one line to standard error, like [`remark`].
pub fn report(error: &anyhow::Error) {
    remark(format_args!("error: {}", one_line(&format!("{error:#}"))));
}

/// Standard output, whose errors say that it is meant.
pub struct StandardOutput(StdoutLock<'static>);

impl StandardOutput {
    pub fn lock() -> Self {
        Self(io::stdout().lock())
    }
}

impl Write for StandardOutput {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes).map_err(output_error)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush().map_err(output_error)
    }
}

fn output_error(error: io::Error) -> io::Error {
    match error.kind() {
        // `write_all` tries again.
        io::ErrorKind::Interrupted => error,
        kind => io::Error::new(kind, format!("standard output: cannot be written: {error}. Redirect it")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_joins_the_lines_of_a_message() {
        assert_eq!(
            one_line("TOML parse error\n  |\n1 | x\n\nmissing field\n"),
            "TOML parse error | 1 | x missing field"
        );
    }
}
