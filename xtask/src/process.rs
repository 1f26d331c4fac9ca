//! Other programs, run in the open: the command line is shown, the output streams through.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::project;

/// A command to be run from the repository's root.
pub struct Run {
    command: Command,
}

impl Run {
    pub fn new(program: impl AsRef<OsStr>) -> Self {
        let mut command = Command::new(program);
        command.current_dir(project::root());
        Self { command }
    }

    /// The cargo that runs this program.
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

    /// Runs to the end; an exit status other than 0 is an error.
    pub fn run(mut self) -> Result<()> {
        let line = self.announce();
        let status = self.command.status().with_context(|| format!("cannot start `{line}`"))?;
        if !status.success() {
            bail!("`{line}` ended with {status}");
        }
        Ok(())
    }

    /// As [`run`](Self::run), and hands every line of standard output to `read` after showing it.
    pub fn run_reading(mut self, mut read: impl FnMut(&str)) -> Result<()> {
        let line = self.announce();
        let mut child =
            self.command.stdout(Stdio::piped()).spawn().with_context(|| format!("cannot start `{line}`"))?;
        let output = child.stdout.take().expect("standard output is piped");
        for bytes in BufReader::new(output).split(b'\n') {
            let bytes = bytes.with_context(|| format!("cannot read what `{line}` says"))?;
            let text = String::from_utf8_lossy(&bytes);
            println!("{text}");
            read(&text);
        }
        let status = child.wait()?;
        if !status.success() {
            bail!("`{line}` ended with {status}");
        }
        Ok(())
    }

    /// Whether it can be started and ends with 0, without showing anything.
    pub fn succeeds(mut self) -> bool {
        self.command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    }

    /// Runs to the end; gives what it writes to standard output instead of showing it.
    pub fn read(mut self) -> Result<String> {
        let line = shown(&self.command);
        let output = self
            .command
            .stderr(Stdio::inherit())
            .output()
            .with_context(|| format!("cannot start `{line}`"))?;
        if !output.status.success() {
            bail!("`{line}` ended with {}", output.status);
        }
        String::from_utf8(output.stdout).with_context(|| format!("what `{line}` says is not UTF-8"))
    }

    /// What it writes to standard output, whatever its exit status; `None` if it cannot be started.
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
pub fn on_path(name: &str) -> bool {
    let Some(path) = std::env::var_os("PATH") else {
        return false;
    };
    let file = format!("{name}{}", std::env::consts::EXE_SUFFIX);
    std::env::split_paths(&path).any(|folder| folder.join(&file).is_file())
}

/// A command line as one would type it at the root: paths within the repository relative to it,
/// programs from elsewhere by name, words with spaces quoted.
fn shown(command: &Command) -> String {
    let root = format!("{}{}", project::root().display(), std::path::MAIN_SEPARATOR);
    let program = Path::new(command.get_program());
    let program = match program.strip_prefix(project::root()) {
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
    fn a_command_line_reads_as_typed_at_the_root() {
        let shown = |program: PathBuf| {
            let mut command = Command::new(program);
            command.arg(project::root().join("target/demo")).arg("two words");
            shown(&command).replace('\\', "/")
        };
        assert_eq!(shown(project::root().join("target/x")), "target/x target/demo 'two words'");
        assert_eq!(shown(std::env::temp_dir().join("cargo")), "cargo target/demo 'two words'");
        assert_eq!(shown("models/run".into()), "models/run target/demo 'two words'");
    }

    #[cfg(unix)]
    #[test]
    fn lines_are_read_and_a_failure_is_an_error() {
        let mut lines = Vec::new();
        let script = "printf 'one\\ntwo'; exit 3";
        let result = Run::new("sh").args(["-c", script]).run_reading(|line| lines.push(line.to_owned()));
        assert_eq!(lines, ["one", "two"]);
        assert!(result.unwrap_err().to_string().contains("3"));
    }

    #[test]
    fn a_program_that_does_not_exist_is_named() {
        let error = Run::new("no-such-program").run().unwrap_err();
        assert!(format!("{error:#}").contains("no-such-program"));
        assert!(!on_path("no-such-program"));
    }
}
