//! The rules of this repository that no compiler checks; each module here holds one kind.
//!
//! A failure is a sentence with its file and line, and all of them are listed.

mod architecture;
mod contexts;
mod files;
mod libraries;
mod line;
mod manifests;
mod names;
mod rust;
mod text;
mod workspace;

use std::fmt;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;

use crate::say;

pub(crate) fn run() -> Result<ExitCode> {
    let faults = faults(&crate::root())?;
    for fault in &faults {
        say(&format!("{fault}\n"));
    }
    match faults.len() {
        0 => Ok(ExitCode::SUCCESS),
        n_faults => {
            say(&format!("tidy: {n_faults} to mend\n"));
            Ok(ExitCode::FAILURE)
        }
    }
}

pub(crate) fn faults(root: &Path) -> Result<Vec<Fault>> {
    let crates = workspace::read(root)?;
    let mut faults = architecture::faults(&crates);
    faults.extend(libraries::faults(&crates));
    for file in files::list(root)? {
        faults.extend(contexts::faults(&file));
        faults.extend(manifests::faults(&file));
        faults.extend(names::faults(&file));
        faults.extend(rust::faults(&file));
        faults.extend(text::faults(&file));
    }
    faults.sort();
    Ok(faults)
}

/// A text file; its path is relative to the workspace's root and written with `/`.
struct File {
    path: String,
    text: String,
}

impl File {
    fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        (1..).zip(self.text.lines())
    }

    fn has_extension(&self, extensions: &[&str]) -> bool {
        let extension = Path::new(&self.path).extension().and_then(|it| it.to_str());
        extension.is_some_and(|extension| extensions.contains(&extension))
    }

    fn fault(&self, line: usize, sentence: impl Into<String>) -> Fault {
        Fault { path: self.path.clone(), line, sentence: sentence.into() }
    }
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Fault {
    path: String,
    line: usize,
    sentence: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}: {}", self.path, self.line, self.sentence)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn file(path: &str, text: &str) -> File {
        File { path: path.to_owned(), text: text.to_owned() }
    }

    pub(super) fn sentences(faults: &[Fault]) -> Vec<String> {
        faults.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn workspace_is_tidy() {
        let faults = sentences(&faults(&crate::root()).unwrap());

        assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
    }
}
