//! Which files are the repository's: those git keeps or would keep.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};

use super::File;

/// What a tree without git has beside the repository's files, at its root.
const NOT_OURS: &[&str] = &[".git", "data", "target"];

pub(super) fn list(root: &Path) -> Result<Vec<File>> {
    let paths = match listed_by_git(root) {
        Some(paths) => paths,
        None => walked(root)?,
    };
    let mut files = Vec::new();
    for path in paths {
        let full = root.join(&path);
        // Git also lists what was removed and not yet committed.
        if !full.is_file() {
            continue;
        }
        let bytes = fs::read(&full).with_context(|| format!("cannot read `{path}`"))?;
        if let Some(text) = text(bytes) {
            files.push(File { path, text });
        }
    }
    Ok(files)
}

/// `None` where there is no git or no repository, as in an unpacked archive.
fn listed_by_git(root: &Path) -> Option<BTreeSet<String>> {
    let output = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others"])
        .arg("--exclude-standard")
        .current_dir(root)
        .output()
        .ok()?;
    let names = String::from_utf8(output.stdout).ok()?;
    let paths: BTreeSet<String> = names.split_terminator('\0').map(ToOwned::to_owned).collect();
    (output.status.success() && !paths.is_empty()).then_some(paths)
}

fn walked(root: &Path) -> Result<BTreeSet<String>> {
    let mut paths = BTreeSet::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        let entries = fs::read_dir(&folder).with_context(|| format!("cannot list `{}`", folder.display()))?;
        for entry in entries {
            let entry = entry?;
            let path = relative(&entry.path(), root)?;
            if NOT_OURS.contains(&path.as_str()) {
                continue;
            }
            if entry.file_type()?.is_dir() {
                folders.push(entry.path());
            } else {
                paths.insert(path);
            }
        }
    }
    Ok(paths)
}

/// The path from the root, written with `/` on every system.
pub(super) fn relative(path: &Path, root: &Path) -> Result<String> {
    let inside = path
        .strip_prefix(root)
        .with_context(|| format!("`{}` lies outside the workspace", path.display()))?;
    let parts: Vec<_> = inside.iter().map(|part| part.to_string_lossy()).collect();
    Ok(parts.join("/"))
}

fn text(bytes: Vec<u8>) -> Option<String> {
    String::from_utf8(bytes).ok().filter(|text| !text.contains('\0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_git_the_tree_is_walked_past_what_is_built() {
        let paths = walked(&crate::root()).unwrap();

        assert!(paths.contains("xtask/src/tidy/files.rs"));
        assert!(paths.iter().all(|path| !path.starts_with("target/")));
    }

    #[test]
    fn what_is_no_text_is_left_out() {
        assert_eq!(text(b"a\n".to_vec()).as_deref(), Some("a\n"));
        assert_eq!(text(b"a\0".to_vec()), None);
        assert_eq!(text(vec![0xff, 0xfe]), None);
    }
}
