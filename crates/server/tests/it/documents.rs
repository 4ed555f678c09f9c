//! The documents that are made from the code.

use std::path::Path;

use crate::process::run;

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

        let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path);
        let is_up_to_date = std::fs::read(kept).ok() == Some(printed.stdout);
        assert!(
            is_up_to_date,
            "{path} is out of date: run `cargo xtask docs`, read what changed, and commit it"
        );
    }
}
