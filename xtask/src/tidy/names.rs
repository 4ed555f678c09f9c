//! No module or crate has a name that says nothing of what is in it, and none is a `mod.rs`.

use super::line::{after_word, code};
use super::{Fault, File};

const SAY_NOTHING: &[&str] = &[
    "common",
    "dto",
    "entities",
    "helpers",
    "interfaces",
    "mappers",
    "misc",
    "prelude",
    "services",
    "shared",
    "types",
    "util",
    "utils",
];

pub(super) fn faults(file: &File) -> Vec<Fault> {
    if file.path.ends_with("Cargo.toml") {
        named(file, crate_name)
    } else if file.has_extension(&["rs"]) {
        let mut faults = path_faults(file);
        faults.extend(named(file, inline_module));
        faults
    } else {
        Vec::new()
    }
}

fn path_faults(file: &File) -> Vec<Fault> {
    let parts = file.path.trim_end_matches(".rs").split('/');
    let mut faults: Vec<Fault> = parts
        .filter(|part| SAY_NOTHING.contains(part))
        .map(|part| file.fault(1, says_nothing(part)))
        .collect();
    if file.path.ends_with("/mod.rs") {
        faults.push(file.fault(1, "a module is `foo.rs`, not `foo/mod.rs`"));
    }
    faults
}

fn named(file: &File, name_in: fn(&str) -> Option<&str>) -> Vec<Fault> {
    file.lines()
        .filter_map(|(number, line)| Some((number, name_in(line)?)))
        .filter(|(_, name)| SAY_NOTHING.contains(name))
        .map(|(number, name)| file.fault(number, says_nothing(name)))
        .collect()
}

fn crate_name(line: &str) -> Option<&str> {
    line.strip_prefix("name = \"")?.strip_suffix('"')
}

fn inline_module(line: &str) -> Option<&str> {
    let rest = after_word(code(line), "mod").next()?;
    Some(rest.trim_end().strip_suffix('{')?.trim())
}

fn says_nothing(name: &str) -> String {
    format!("`{name}` says nothing: name the thing, or put it where its one user is")
}

#[cfg(test)]
mod tests {
    use super::super::tests::{file, sentences};
    use super::*;

    #[test]
    fn a_name_that_says_nothing_is_a_fault_wherever_it_stands() {
        for (path, text, line) in [
            ("crates/web/src/utils.rs", "", 1),
            ("crates/web/src/dto/model.rs", "", 1),
            ("crates/server/tests/it/helpers.rs", "", 1),
            ("crates/web/src/lib.rs", "\npub mod types {\n", 2),
            ("crates/shared/Cargo.toml", "[package]\nname = \"shared\"\n", 2),
        ] {
            let faults = faults(&file(path, text));
            assert_eq!(faults.len(), 1, "{path}");
            assert!(faults[0].to_string().starts_with(&format!("{path}:{line}: ")));
        }
    }

    #[test]
    fn a_name_that_says_something_is_fine() {
        for (path, text) in [
            ("crates/web/src/paging.rs", "mod tests {\n// mod utils {\n"),
            ("crates/web/Cargo.toml", "name = \"web\"\n"),
            ("docs/services/util.md", ""),
        ] {
            assert_eq!(faults(&file(path, text)), [], "{path}");
        }
    }

    #[test]
    fn a_mod_rs_is_a_fault() {
        assert_eq!(
            sentences(&faults(&file("crates/web/src/paging/mod.rs", ""))),
            ["crates/web/src/paging/mod.rs:1: a module is `foo.rs`, not `foo/mod.rs`"]
        );
    }
}
