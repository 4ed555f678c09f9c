//! Every crate inherits its lints and its package facts from the workspace.

use super::{Fault, File};

const INHERITED: &[&str] = &["edition", "license", "publish", "rust-version", "version"];

pub(super) fn faults(file: &File) -> Vec<Fault> {
    // One with a workspace of its own, such as a fuzzer's, has nothing to inherit from.
    let is_root = file.lines().any(|(_, line)| line == "[workspace]");
    if !file.path.ends_with("/Cargo.toml") || is_root {
        return Vec::new();
    }
    let mut faults = Vec::new();
    if !inherits(file, "[lints]", "workspace=true") {
        faults.push(file.fault(1, "`[lints] workspace = true` is missing"));
    }
    for key in INHERITED {
        if !inherits(file, "[package]", &format!("{key}.workspace=true")) {
            let line = section(file, "[package]").find(|(_, line)| line.starts_with(key));
            let sentence = format!("`{key}` is not inherited: write `{key}.workspace = true`");
            faults.push(file.fault(line.map_or(1, |(number, _)| number), sentence));
        }
    }
    faults
}

fn inherits(file: &File, header: &str, setting: &str) -> bool {
    section(file, header).any(|(_, line)| line.replace(' ', "") == setting)
}

fn section<'a>(file: &'a File, header: &'a str) -> impl Iterator<Item = (usize, &'a str)> {
    file.lines()
        .skip_while(move |(_, line)| *line != header)
        .skip(1)
        .take_while(|(_, line)| !line.starts_with('['))
}

#[cfg(test)]
mod tests {
    use super::super::tests::{file, sentences};
    use super::*;

    const GOOD: &str = "\
[package]
name = \"a\"
version.workspace = true
edition.workspace = true
rust-version.workspace = true
license.workspace = true
publish.workspace = true

[dependencies]
serde.workspace = true

[lints]
workspace = true
";

    fn of_manifest(text: &str) -> Vec<String> {
        sentences(&faults(&file("crates/a/Cargo.toml", text)))
    }

    #[test]
    fn a_manifest_that_inherits_is_fine_and_the_roots_is_not_asked() {
        assert!(of_manifest(GOOD).is_empty());
        assert!(of_manifest("[package]\nname = \"fuzz\"\n\n[workspace]\n").is_empty());
        assert_eq!(faults(&file("Cargo.toml", "[workspace]\n")), []);
    }

    #[test]
    fn lints_that_are_not_inherited_are_a_fault() {
        let expected = ["crates/a/Cargo.toml:1: `[lints] workspace = true` is missing"];

        assert_eq!(of_manifest(&GOOD.replace("[lints]", "[features]")), expected);
        let commented = GOOD.replace("[lints]\n", "[lints]\n# ");
        assert_eq!(of_manifest(&commented), expected);
    }

    #[test]
    fn a_fact_that_is_stated_anew_or_missing_is_a_fault() {
        assert_eq!(
            of_manifest(&GOOD.replace("edition.workspace = true", "edition = \"2021\"")),
            ["crates/a/Cargo.toml:4: `edition` is not inherited: \
                 write `edition.workspace = true`"]
        );
        assert_eq!(
            of_manifest(&GOOD.replace("publish.workspace = true\n", "")),
            ["crates/a/Cargo.toml:1: `publish` is not inherited: \
                 write `publish.workspace = true`"]
        );
    }
}
