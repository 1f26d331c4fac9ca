//! Pictures of the standalone program's window while the demo mixture plays, taken on a virtual display.

use anyhow::Result;

use crate::bundle::{self, Programs};
use crate::paths::{self, Profile};
use crate::process::ToolCommand;
use crate::setup::{python, system_packages};

pub fn screenshot() -> Result<()> {
    system_packages::ensure(system_packages::DESKTOP)?;
    bundle::bundle(Profile::Release, Programs::Named(&["sift-standalone"]))?;
    ToolCommand::new(python::test_environment()?)
        .arg("tests/hosts/screenshot.py")
        .arg("--program")
        .arg(paths::program(Profile::Release, "sift-standalone"))
        .arg("--output")
        .arg(paths::root().join("assets/screenshots"))
        .run()
}
