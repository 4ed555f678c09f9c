//! The workspace's crates and what they depend on, as `cargo metadata` tells it.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::{Fault, File};

pub(super) struct Crate {
    pub(super) name: String,
    pub(super) manifest: File,
    pub(super) dependencies: Vec<Dependency>,
}

pub(super) struct Dependency {
    pub(super) name: String,
    pub(super) kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Of the crate itself or of its build script.
    Normal,
    Dev,
}

impl Crate {
    pub(super) fn normal(&self) -> impl Iterator<Item = &str> {
        self.of_kind(Kind::Normal)
    }

    pub(super) fn dev(&self) -> impl Iterator<Item = &str> {
        self.of_kind(Kind::Dev)
    }

    fn of_kind(&self, kind: Kind) -> impl Iterator<Item = &str> {
        self.dependencies
            .iter()
            .filter(move |dependency| dependency.kind == kind)
            .map(|dependency| dependency.name.as_str())
    }

    /// At the line of the manifest that names the dependency.
    pub(super) fn fault(&self, dependency: &str, sentence: String) -> Fault {
        let line = self.manifest.lines().find(|(_, line)| {
            line.strip_prefix(dependency).is_some_and(|rest| rest.starts_with(['.', ' ', '=']))
        });
        self.manifest.fault(line.map_or(1, |(number, _)| number), sentence)
    }
}

pub(super) fn read(root: &Path) -> Result<Vec<Crate>> {
    let output = crate::cargo(&["metadata", "--no-deps", "--format-version", "1"])
        .output()
        .context("cannot run cargo metadata")?;
    ensure!(output.status.success(), "cargo metadata failed\n{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).context("cannot read cargo metadata")?;
    list(&metadata["packages"])?.iter().map(|package| described(package, root)).collect()
}

fn described(package: &Value, root: &Path) -> Result<Crate> {
    let path = Path::new(text(&package["manifest_path"])?);
    Ok(Crate {
        name: text(&package["name"])?.to_owned(),
        manifest: File {
            path: super::files::relative(path, root)?,
            text: fs::read_to_string(path).with_context(|| format!("cannot read `{}`", path.display()))?,
        },
        dependencies: list(&package["dependencies"])?.iter().map(dependency).collect::<Result<_>>()?,
    })
}

fn dependency(dependency: &Value) -> Result<Dependency> {
    Ok(Dependency {
        name: text(&dependency["name"])?.to_owned(),
        kind: match dependency["kind"].as_str() {
            Some("dev") => Kind::Dev,
            _ => Kind::Normal,
        },
    })
}

fn text(value: &Value) -> Result<&str> {
    value.as_str().with_context(|| format!("cargo metadata has {value} for a text"))
}

fn list(value: &Value) -> Result<&Vec<Value>> {
    value.as_array().with_context(|| format!("cargo metadata has {value} for a list"))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A crate whose manifest names one dependency a line, the normal ones first.
    pub(crate) fn given(name: &str, normal: &[&str], dev: &[&str]) -> Crate {
        let normal = normal.iter().map(|name| (*name, Kind::Normal));
        let all = normal.chain(dev.iter().map(|name| (*name, Kind::Dev)));
        let lines: Vec<String> = all.clone().map(|(name, _)| format!("{name}.workspace = true\n")).collect();
        Crate {
            name: name.to_owned(),
            manifest: File { path: format!("crates/{name}/Cargo.toml"), text: lines.concat() },
            dependencies: all.map(|(name, kind)| Dependency { name: name.to_owned(), kind }).collect(),
        }
    }

    #[test]
    fn kinds_are_told_apart() {
        let read = |json: &str| dependency(&serde_json::from_str(json).unwrap()).unwrap();

        assert!(read(r#"{"name":"a","kind":null}"#).kind == Kind::Normal);
        assert!(read(r#"{"name":"a","kind":"build"}"#).kind == Kind::Normal);
        assert!(read(r#"{"name":"a","kind":"dev"}"#).kind == Kind::Dev);
    }
}
