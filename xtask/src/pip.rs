//! Pinned programs from the Python package registry, which many that are no Python lie in.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use anyhow::{Context as _, Result, bail};

/// Installs what `requirements` pins, each by its hash, into the folder `home`, unless it is there already.
///
/// `works` tries what was installed, before it counts as that.
pub(crate) fn install(
    requirements: &str,
    home: &Path,
    works: impl FnOnce(&Path) -> Result<()>,
) -> Result<()> {
    // What it was installed from, so that a new pin replaces it.
    let stamp = home.join("requirements.txt");
    if fs::read_to_string(&stamp).is_ok_and(|installed| installed == requirements) {
        return Ok(());
    }

    let fresh = home.with_extension(format!("installing-{}", std::process::id()));
    if let Err(error) = install_into(&fresh, requirements) {
        // Half an installation is of no use to anyone.
        let _ = fs::remove_dir_all(&fresh);
        return Err(error);
    }
    if home.exists() {
        fs::remove_dir_all(home).with_context(|| format!("cannot remove `{}`", home.display()))?;
    }
    fs::rename(&fresh, home).with_context(|| format!("cannot make `{}`", home.display()))?;
    works(home)?;
    fs::write(&stamp, requirements).with_context(|| format!("cannot write `{}`", stamp.display()))
}

fn install_into(fresh: &Path, requirements: &str) -> Result<()> {
    let python = |arguments: &[&OsStr]| said(Command::new("python3").arg("-m").arg("pip").args(arguments));
    python(&["--version".as_ref()]).context("it is installed by python3 with pip, which is not here")?;
    fs::create_dir_all(fresh).with_context(|| format!("cannot make `{}`", fresh.display()))?;
    let wanted = fresh.join("wanted.txt");
    fs::write(&wanted, requirements)?;
    let mut arguments: Vec<&OsStr> =
        ["install", "--quiet", "--disable-pip-version-check"].map(OsStr::new).into();
    arguments
        .extend(["--require-hashes", "--no-deps", "--no-compile", "--only-binary", ":all:"].map(OsStr::new));
    arguments.extend([OsStr::new("--root-user-action"), OsStr::new("ignore")]);
    arguments.extend([OsStr::new("--target"), fresh.as_os_str(), OsStr::new("-r"), wanted.as_os_str()]);
    python(&arguments).context("pip cannot install it")
}

/// Runs a command for its success; a failure quotes what it said.
pub(crate) fn said(command: &mut Command) -> Result<()> {
    let Output { status, stdout, stderr } =
        command.output().with_context(|| format!("cannot run `{}`", command.get_program().display()))?;
    if !status.success() {
        let words = [stdout, stderr].concat();
        bail!("{status}: {}", String::from_utf8_lossy(&words).trim());
    }
    Ok(())
}
