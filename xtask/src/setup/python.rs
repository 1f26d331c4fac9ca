//! Python, and environments in which the packages of a requirements file are installed.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::packages;
use crate::platform;
use crate::process::Run;
use crate::project;

/// The machine's own Python 3.
fn interpreter() -> Result<&'static str> {
    let version_3 = "import sys; sys.exit(sys.version_info < (3, 9))";
    ["python3", "python"]
        .into_iter()
        .find(|name| Run::new(name).args(["-c", version_3]).succeeds())
        .context("neither python3 nor python is Python 3.9 or newer: install Python")
}

/// A Python that has pip: the machine's own, or else one in a new environment at `folder`.
pub fn with_pip(folder: &Path) -> Result<PathBuf> {
    let python = interpreter()?;
    if Run::new(python).args(["-m", "pip", "--version"]).succeeds() {
        return Ok(python.into());
    }
    create(folder)
}

/// The Python of an environment with the packages that `requirements`, a file in the repository, asks
/// for. Made once for each content of that file, in a folder whose name begins with `name`.
pub fn environment(name: &str, requirements: &str) -> Result<PathBuf> {
    let path = project::root().join(requirements);
    let wanted = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let folder = platform::cache()?.join(format!("{name}-{}", &super::sha256(&wanted[..])?[..12]));
    let python = python_in(&folder);
    if Run::new(&python).args(["-c", ""]).succeeds() {
        return Ok(python);
    }

    super::announce(&format!("Python packages in {}", folder.display()), &format!("those of {requirements}"));
    let partial = super::partial(&folder);
    let result = create(&partial)
        .and_then(|python| {
            Run::new(python)
                .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"])
                .arg("--requirement")
                .arg(&path)
                .run()
        })
        .and_then(|()| {
            // One that is there does not run: the Python that it was made from is gone.
            let _ = fs::remove_dir_all(&folder);
            super::move_into_place(&partial, &folder)
        });
    let _ = fs::remove_dir_all(&partial);
    result.map(|()| python)
}

/// Makes sure that environments can be made: Debian leaves that out of its Python.
pub fn ensure_environments() -> Result<()> {
    let interpreter = interpreter()?;
    let can_create = || Run::new(interpreter).args(["-c", "import ensurepip, venv"]).succeeds();
    if !can_create() {
        packages::ensure(packages::VENV)?;
    }
    if !can_create() {
        bail!("{interpreter} lacks the modules ensurepip and venv: install them");
    }
    Ok(())
}

/// Makes an environment at `folder`, in place of one that is there.
fn create(folder: &Path) -> Result<PathBuf> {
    ensure_environments()?;
    Run::new(interpreter()?).args(["-m", "venv", "--clear"]).arg(folder).run()?;
    Ok(python_in(folder))
}

fn python_in(environment: &Path) -> PathBuf {
    if cfg!(windows) { environment.join("Scripts/python.exe") } else { environment.join("bin/python") }
}
