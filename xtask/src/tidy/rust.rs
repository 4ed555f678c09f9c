//! What every Rust source keeps to beyond what the lints see.

use super::line::{code, is_word};
use super::{Fault, File};

/// No binary float may reach a price or a quantity here.
const WITHOUT_FLOATS: &[&str] = &["crates/application/src/", "crates/domain/src/"];

/// A contract is a test, though it stands in a crate's `src`.
const ALL_TESTS: &[&str] = &["crates/port-contracts/"];

// In two parts, lest this line break the rule itself.
const UNWRAP: &str = concat!(".unwrap", "()");

pub(super) fn faults(file: &File) -> Vec<Fault> {
    if !file.has_extension(&["rs"]) {
        return Vec::new();
    }
    let mut faults = floats(file);
    faults.extend(unwraps(file));
    if file.path.contains("/src/") && !opens_with_its_purpose(&file.text) {
        faults.push(file.fault(1, "the file does not open with `//!` and what lives here"));
    }
    faults
}

fn opens_with_its_purpose(text: &str) -> bool {
    text.lines()
        .find(|line| !line.is_empty() && !line.starts_with("#!"))
        .is_some_and(|line| line.starts_with("//!"))
}

fn floats(file: &File) -> Vec<Fault> {
    if !WITHOUT_FLOATS.iter().any(|it| file.path.starts_with(it)) {
        return Vec::new();
    }
    file.lines()
        .filter_map(|(number, line)| {
            let float = ["f32", "f64"].into_iter().find(|it| names_float(code(line), it))?;
            Some(file.fault(number, format!("`{float}`: what is counted here is exact")))
        })
        .collect()
}

/// Also as a suffix, as in `1.5f64` and `to_f64`.
fn names_float(code: &str, float: &str) -> bool {
    code.match_indices(float).any(|(at, _)| {
        let is_suffix = code[..at].ends_with(|it: char| it.is_ascii_digit() || !it.is_alphanumeric());
        (at == 0 || is_suffix) && !code[at + float.len()..].starts_with(is_word)
    })
}

fn unwraps(file: &File) -> Vec<Fault> {
    let is_test = ["/tests/", "/benches/", "/tests.rs"].iter().any(|part| file.path.contains(part));
    if is_test || ALL_TESTS.iter().any(|it| file.path.starts_with(it)) {
        return Vec::new();
    }
    outside_tests(file)
        .filter(|(_, line)| code(line).contains(UNWRAP))
        .map(|(number, _)| file.fault(number, format!("`{UNWRAP}`: say why it cannot fail")))
        .collect()
}

/// The lines above the test module, which clippy holds to the file's foot.
fn outside_tests(file: &File) -> impl Iterator<Item = (usize, &str)> {
    let mut after_cfg_test = false;
    file.lines().take_while(move |(_, line)| {
        let is_test_module = after_cfg_test && line.contains("mod ") && line.ends_with('{');
        after_cfg_test = line.starts_with("#[cfg(test)]") || after_cfg_test && line.starts_with("#[");
        !is_test_module
    })
}

#[cfg(test)]
mod tests {
    use super::super::tests::{file, sentences};
    use super::*;

    #[test]
    fn a_source_opens_with_what_lives_in_it() {
        for (text, opens) in [
            ("//! Prices.\n", true),
            ("#!/usr/bin/env run\n#![forbid(unsafe_code)]\n\n//! Prices.\n", true),
            ("use std::fmt;\n", false),
            ("// Prices.\n", false),
            ("/// Prices.\nstruct Prices;\n", false),
            ("", false),
        ] {
            let in_src = faults(&file("crates/web/src/a.rs", text));
            assert_eq!(in_src.is_empty(), opens, "{text}");
            assert_eq!(faults(&file("crates/web/tests/it/a.rs", text)), []);
        }
    }

    #[test]
    fn the_domain_names_no_float() {
        for (line, names) in [
            ("let a: f64 = b;", true),
            ("let a = 1.5f64;", true),
            ("let a = 1.5_f32;", true),
            ("a.to_f64()", true),
            ("f64::from(a)", true),
            ("let a = 1; // never f64", false),
            ("let elf64 = af64;", false),
            ("let f64_like = 1;", false),
        ] {
            let text = format!("//! Prices.\n{line}\n");
            let in_domain = faults(&file("crates/domain/src/a.rs", &text));
            assert_eq!(!in_domain.is_empty(), names, "{line}");
            assert_eq!(faults(&file("crates/sandbox/src/a.rs", &text)), []);
        }
    }

    #[test]
    fn only_a_test_takes_what_may_be_absent_for_granted() {
        let text = format!(
            "//! Prices.\n// a{UNWRAP}\na{UNWRAP}\n#[cfg(test)]\nuse b;\nb{UNWRAP}\n\
             #[cfg(test)]\n#[expect(c)]\nmod tests {{\n    c{UNWRAP}\n}}\n"
        );

        assert_eq!(
            sentences(&faults(&file("crates/web/src/a.rs", &text))),
            [3, 6].map(|line| format!("crates/web/src/a.rs:{line}: `{UNWRAP}`: say why it cannot fail"))
        );
        for path in
            ["crates/web/tests/it/a.rs", "crates/web/src/a/tests.rs", "crates/port-contracts/src/a.rs"]
        {
            assert_eq!(faults(&file(path, &text)), [], "{path}");
        }
    }
}
