//! Python, and virtual environments with the packages of a requirements file.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::system_packages;
use crate::paths;
use crate::platform;
use crate::process::ToolCommand;

/// The name of the system's Python 3.
fn interpreter() -> Result<&'static str> {
    let version_3 = "import sys; sys.exit(sys.version_info < (3, 9))";
    ["python3", "python"]
        .into_iter()
        .find(|name| ToolCommand::new(name).args(["-c", version_3]).succeeds())
        .context("python3: missing or too old; expected Python 3.9 or newer. Install Python.")
}

/// A Python that has pip: the system's, or one in a new environment in `folder`.
pub fn with_pip(folder: &Path) -> Result<PathBuf> {
    let python = interpreter()?;
    if ToolCommand::new(python).args(["-m", "pip", "--version"]).succeeds() {
        return Ok(python.into());
    }
    create(folder)
}

/// The Python of the environment for the tests in hosts and for the checks of Python code.
pub fn test_environment() -> Result<PathBuf> {
    environment("python-tests", "tests/requirements.txt", "tests in hosts, and checks of Python code")
}

/// The Python of an environment with the packages in `requirements`, a file in the repository.
///
/// The environment is made once per content of that file, in a folder `name-HASH` of the cache.
pub fn environment(name: &str, requirements: &str, purpose: &str) -> Result<PathBuf> {
    let path = paths::root().join(requirements);
    let wanted = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let folder = platform::cache()?.join(format!("{name}-{}", &super::sha256(&wanted[..])?[..12]));
    let python = python_in(&folder);
    if ToolCommand::new(&python).args(["-c", ""]).succeeds() {
        return Ok(python);
    }

    super::announce(&format!("the packages of {requirements} in {}", folder.display()), purpose);
    let partial = super::partial(&folder);
    let result = create(&partial)
        .and_then(|python| {
            ToolCommand::new(python)
                .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"])
                .arg("--requirement")
                .arg(&path)
                .run()
        })
        .and_then(|()| {
            // An environment is there, but does not run: the Python that made it was removed.
            let _ = fs::remove_dir_all(&folder);
            super::move_into_place(&partial, &folder)
        });
    let _ = fs::remove_dir_all(&partial);
    result.map(|()| python)
}

/// Ensures that Python can make environments, which needs a package of its own on Debian.
pub fn ensure_environments() -> Result<()> {
    let interpreter = interpreter()?;
    let can_create = || ToolCommand::new(interpreter).args(["-c", "import ensurepip, venv"]).succeeds();
    if !can_create() {
        system_packages::ensure(system_packages::VENV)?;
    }
    if !can_create() {
        bail!("{interpreter}: the modules ensurepip and venv are missing. Install them.");
    }
    Ok(())
}

/// Makes or replaces the environment in `folder`.
fn create(folder: &Path) -> Result<PathBuf> {
    ensure_environments()?;
    ToolCommand::new(interpreter()?).args(["-m", "venv", "--clear"]).arg(folder).run()?;
    Ok(python_in(folder))
}

fn python_in(environment: &Path) -> PathBuf {
    if cfg!(windows) { environment.join("Scripts/python.exe") } else { environment.join("bin/python") }
}
