//! Pictures of the standalone program's window while the demo mixture plays, taken without a screen.

use anyhow::Result;

use crate::bundle::{self, Profile};
use crate::process::Run;
use crate::project;
use crate::setup::{packages, python};

pub fn screenshot() -> Result<()> {
    packages::ensure(packages::DESKTOP)?;
    bundle::bundle(Profile::Release)?;
    Run::new(python::environment("python-tests", "tests/requirements.txt")?)
        .arg("tests/hosts/screenshot.py")
        .arg("--program")
        .arg(project::program(Profile::Release, "sift-standalone"))
        .arg("--output")
        .arg(project::root().join("assets/screenshots"))
        .run()
}
