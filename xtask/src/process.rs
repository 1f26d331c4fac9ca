//! Runs other programs: prints the command line and passes the output on.

use std::ffi::OsStr;
use std::io::{self, BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::paths;

/// A command that runs in the repository's root folder.
pub struct ToolCommand {
    command: Command,
}

impl ToolCommand {
    pub fn new(program: impl AsRef<OsStr>) -> Self {
        let mut command = Command::new(program);
        command.current_dir(paths::root());
        Self { command }
    }

    /// The cargo that started this program.
    pub fn cargo() -> Self {
        Self::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
    }

    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> Self {
        self.command.arg(argument);
        self
    }

    pub fn args(mut self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Self {
        self.command.args(arguments);
        self
    }

    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    pub fn without_env(mut self, name: &str) -> Self {
        self.command.env_remove(name);
        self
    }

    /// Runs the command. An exit status other than 0 is an error.
    pub fn run(mut self) -> Result<()> {
        let line = self.announce();
        let status = self.command.status().with_context(|| format!("cannot start `{line}`"))?;
        if !status.success() {
            bail!("`{line}` failed with {status}");
        }
        Ok(())
    }

    /// Runs the command, prints its output, and calls `read` with each line of it.
    pub fn run_reading(self, mut read: impl FnMut(&str)) -> Result<()> {
        self.announce();
        self.read_lines(|line| {
            println!("{line}");
            read(line);
        })
    }

    /// Runs the command and calls `read` with each line of its output, which is not printed.
    ///
    /// Standard output and standard error share a pipe, so that their lines stay in order.
    pub fn read_lines(mut self, mut read: impl FnMut(&str)) -> Result<()> {
        let line = shown(&self.command);
        let (output, input) = io::pipe()?;
        self.command.stdout(input.try_clone()?).stderr(input);
        let mut child = self.command.spawn().with_context(|| format!("cannot start `{line}`"))?;
        // The command owns the pipe's writing end, without which reading would not end.
        drop(self.command);
        for bytes in BufReader::new(output).split(b'\n') {
            let bytes = bytes.with_context(|| format!("cannot read the output of `{line}`"))?;
            read(&String::from_utf8_lossy(&bytes));
        }
        let status = child.wait()?;
        if !status.success() {
            bail!("`{line}` failed with {status}");
        }
        Ok(())
    }

    /// Whether the command starts and exits with 0. Prints nothing.
    pub fn succeeds(mut self) -> bool {
        self.command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    }

    /// Runs the command and returns its standard output, which is not printed.
    pub fn read(mut self) -> Result<String> {
        let line = shown(&self.command);
        let output = self
            .command
            .stderr(Stdio::inherit())
            .output()
            .with_context(|| format!("cannot start `{line}`"))?;
        if !output.status.success() {
            bail!("`{line}` failed with {}", output.status);
        }
        String::from_utf8(output.stdout).with_context(|| format!("the output of `{line}` is not UTF-8"))
    }

    /// The standard output, whatever the exit status; `None` if the command cannot be started.
    pub fn output(mut self) -> Option<String> {
        let output = self.command.stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
        Some(String::from_utf8_lossy(&output.stdout).into_owned())
    }

    fn announce(&self) -> String {
        let line = shown(&self.command);
        println!("$ {line}");
        line
    }
}

/// Whether a program of this name is on the search path.
pub fn is_on_path(name: &str) -> bool {
    let Some(path) = std::env::var_os("PATH") else {
        return false;
    };
    let file = format!("{name}{}", std::env::consts::EXE_SUFFIX);
    std::env::split_paths(&path).any(|folder| folder.join(&file).is_file())
}

/// Whether a program `{beginning}{number}{end}` is on the search path, such as `ardour8-lua`.
pub fn is_on_path_with_number(beginning: &str, end: &str) -> bool {
    let Some(path) = std::env::var_os("PATH") else {
        return false;
    };
    let has_number = |name: &str| {
        name.strip_prefix(beginning)
            .and_then(|rest| rest.strip_suffix(end))
            .is_some_and(|number| !number.is_empty() && number.chars().all(|c| c.is_ascii_digit()))
    };
    std::env::split_paths(&path)
        .filter_map(|folder| folder.read_dir().ok())
        .flatten()
        .flatten()
        .any(|entry| entry.file_name().to_str().is_some_and(has_number))
}

/// The command line as typed in the root folder: paths in the repository are relative, other programs have
/// only their name, and words with spaces have quotes.
fn shown(command: &Command) -> String {
    let root = format!("{}{}", paths::root().display(), std::path::MAIN_SEPARATOR);
    let program = Path::new(command.get_program());
    let program = match program.strip_prefix(paths::root()) {
        Ok(inside) => inside.as_os_str(),
        Err(_) if program.is_absolute() => program.file_name().unwrap_or(program.as_os_str()),
        Err(_) => program.as_os_str(),
    };
    std::iter::once(program)
        .chain(command.get_args())
        .map(|word| {
            let word = word.to_string_lossy().replace(&root, "");
            if word.contains(char::is_whitespace) { format!("'{word}'") } else { word }
        })
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    #[test]
    fn command_line_is_shown_as_typed_in_the_root_folder() {
        let shown = |program: PathBuf| {
            let mut command = Command::new(program);
            command.arg(paths::root().join("target/demo")).arg("two words");
            shown(&command).replace('\\', "/")
        };
        assert_eq!(shown(paths::root().join("target/x")), "target/x target/demo 'two words'");
        assert_eq!(shown(std::env::temp_dir().join("cargo")), "cargo target/demo 'two words'");
        assert_eq!(shown("models/run".into()), "models/run target/demo 'two words'");
    }

    #[cfg(unix)]
    #[test]
    fn both_outputs_are_read_in_order_and_failure_is_an_error() {
        let mut lines = Vec::new();
        let script = "echo one; echo two >&2; printf three; exit 3";
        let result =
            ToolCommand::new("sh").args(["-c", script]).run_reading(|line| lines.push(line.to_owned()));
        assert_eq!(lines, ["one", "two", "three"]);
        assert!(result.unwrap_err().to_string().contains("3"));
    }

    #[test]
    fn missing_program_is_named_in_the_error() {
        let error = ToolCommand::new("no-such-program").run().unwrap_err();
        assert!(format!("{error:#}").contains("no-such-program"));
        assert!(!is_on_path("no-such-program"));
    }
}
