//! How every text of the repository is written.

use super::line::{after_word, is_word};
use super::{Fault, File};

const WRITTEN_BY_HAND: &[&str] = &["md", "rs", "sql", "toml"];

// Both in two parts, lest these lines break the rules themselves.
const OWED: &[&str] = &[concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X")];
const MACHINE_PATHS: &[&str] = &[concat!("/home", "/"), concat!("/root", "/"), concat!("/work", "/")];

pub(super) fn faults(file: &File) -> Vec<Fault> {
    let mut sentences = Vec::new();
    for (number, line) in (1..).zip(file.text.split('\n')) {
        sentences.extend(machine_path(line).map(|sentence| (number, sentence)));
        if file.has_extension(WRITTEN_BY_HAND) {
            sentences.extend(owed(line).map(|sentence| (number, sentence)));
            sentences.extend(blanks(line).map(|sentence| (number, sentence)));
        }
    }
    if file.has_extension(WRITTEN_BY_HAND) && !ends_in_one_newline(&file.text) {
        let sentence = "the file does not end in one newline".to_owned();
        sentences.push((file.text.lines().count().max(1), sentence));
    }
    sentences.into_iter().map(|(number, sentence)| file.fault(number, sentence)).collect()
}

fn machine_path(line: &str) -> Option<String> {
    MACHINE_PATHS
        .iter()
        .find(|path| line.match_indices(**path).any(|(at, _)| begins_a_path(&line[..at])))
        .map(|path| format!("`{path}` is a path of one machine"))
}

/// Whether a `/` after `before` is the root of the file system, not of `./a/`, `{root}/a/` or a host's.
fn begins_a_path(before: &str) -> bool {
    !before.ends_with(|it: char| is_word(it) || ".-~*)}".contains(it))
}

fn owed(line: &str) -> Option<String> {
    OWED.iter()
        .find(|word| after_word(line, word).any(|rest| !names_an_issue(rest)))
        .map(|word| format!("`{word}` without an issue: write `{word}(#12)`"))
}

fn names_an_issue(rest: &str) -> bool {
    rest.strip_prefix("(#").is_some_and(|number| number.starts_with(|it: char| it.is_ascii_digit()))
}

fn blanks(line: &str) -> Option<String> {
    if line.ends_with(char::is_whitespace) {
        Some("the line ends in a blank".to_owned())
    } else if line.contains('\t') {
        Some("the line has a tab".to_owned())
    } else {
        None
    }
}

fn ends_in_one_newline(text: &str) -> bool {
    text.is_empty() || text.ends_with('\n') && !text.ends_with("\n\n") && text != "\n"
}

#[cfg(test)]
mod tests {
    use super::super::tests::{file, sentences};
    use super::*;

    #[test]
    fn what_is_owed_names_its_issue() {
        for word in OWED {
            let text = format!("// {word}: later\n");
            assert_eq!(
                sentences(&faults(&file("a.rs", &text))),
                [format!("a.rs:1: `{word}` without an issue: write `{word}(#12)`")]
            );
            for text in [format!("// {word}(#12): later\n"), format!("a{word}S\n")] {
                assert_eq!(faults(&file("a.rs", &text)), [], "{text}");
            }
        }
    }

    #[test]
    fn blanks_at_the_end_and_tabs_are_faults() {
        assert_eq!(
            sentences(&faults(&file("a.md", "a\nb \nc\r\n\td\n"))),
            [
                "a.md:2: the line ends in a blank",
                "a.md:3: the line ends in a blank",
                "a.md:4: the line has a tab",
            ]
        );
        assert_eq!(faults(&file("Makefile", "a:\n\tb \n")), []);
    }

    #[test]
    fn a_file_ends_in_one_newline() {
        for (text, ends) in [("a\n", true), ("", true), ("a", false), ("a\n\n", false), ("\n", false)] {
            assert_eq!(faults(&file("a.sql", text)).is_empty(), ends, "{text:?}");
        }
    }

    #[test]
    fn a_path_of_one_machine_is_a_fault_in_any_text() {
        for path in MACHINE_PATHS {
            for text in [
                format!("cd {path}me"),
                format!("file://{path}me"),
                format!("\"{path}me\""),
                format!("A={path}me"),
            ] {
                assert_eq!(faults(&file("run", &text)).len(), 1, "{text}");
            }
            for text in [format!("https://host{path}me"), format!("$(pwd){path}me"), format!(".{path}me")] {
                assert_eq!(faults(&file("run", &text)), [], "{text}");
            }
        }
    }
}
