//! The documents that are made from the code.

use std::collections::BTreeSet;
use std::path::Path;

use crate::process::run;

/// A file of the repository.
fn text(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// What stands in a text between two marks and has the form of a code: words and hyphens.
fn codes(text: &str, mark: char) -> BTreeSet<String> {
    let is_code = |it: &&str| {
        it.contains('-')
            && it.split('-').all(|word| !word.is_empty() && word.bytes().all(|it| it.is_ascii_lowercase()))
    };
    text.split(mark).filter(is_code).map(str::to_owned).collect()
}

#[test]
fn every_code_of_a_problem_is_explained_and_no_other() {
    let sources = [
        "crates/web/src/problem.rs",
        "crates/web/src/body.rs",
        "crates/web/src/parameters.rs",
        "crates/web/src/paging.rs",
        "crates/domain/src/order_generation/problem.rs",
    ];
    let given: BTreeSet<String> = sources.iter().flat_map(|path| codes(&text(path), '"')).collect();
    let explained = codes(&text("docs/http-status-codes.md"), '`');

    let unexplained: Vec<_> = given.difference(&explained).collect();
    let unknown: Vec<_> = explained.difference(&given).collect();
    assert!(
        unexplained.is_empty(),
        "docs/http-status-codes.md does not say when {unexplained:?} is answered"
    );
    assert!(unknown.is_empty(), "docs/http-status-codes.md explains {unknown:?}, which nobody is answered");
    assert!(30 < given.len(), "{given:?}");
}

#[test]
fn operators_are_told_only_of_settings_that_there_are() {
    let settings = text("docs/configuration.md");
    for path in ["docs/operations.md", "docs/logging.md", "deploy/k8s/order-generation/README.md"] {
        let text = text(path);
        // A variable of a shell begins with its sign.
        let words = text.split(|it: char| !it.is_ascii_uppercase() && !matches!(it, '_' | '$'));
        let named: BTreeSet<&str> =
            words.filter(|word| word.contains('_') && !word.starts_with(['$', '_'])).collect();
        let unknown: Vec<_> = named.iter().filter(|name| !settings.contains(**name)).collect();
        assert!(unknown.is_empty(), "{path}: {unknown:?}");
    }
}

#[test]
fn the_documents_that_are_made_from_the_code_are_up_to_date() {
    let folder = tempfile::tempdir().unwrap();
    // As `cargo xtask docs` writes them.
    for (path, arguments) in [
        ("docs/openapi/order-generation.json", &["openapi"][..]),
        ("docs/configuration.md", &["config", "reference"]),
    ] {
        let printed = run(arguments, folder.path(), &[]).output().unwrap();
        assert!(printed.status.success(), "{printed:?}");

        let is_up_to_date = text(path).into_bytes() == printed.stdout;
        assert!(
            is_up_to_date,
            "{path} is out of date: run `cargo xtask docs`, read what changed, and commit it"
        );
    }
}
