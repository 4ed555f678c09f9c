//! Which crate may depend on which: the whole architecture as one table.

use super::workspace::Crate;
use super::{Fault, File};

/// Which workspace crates each crate may name in `[dependencies]`; a new edge is a reviewed line.
const MAY_DEPEND_ON: &[Row] = &[
    ("application", &["domain"]),
    (
        "bench",
        &[
            "application",
            "domain",
            "optimizer-cbc",
            "port-contracts",
            "sandbox",
            "store-mongodb",
            "store-sqlite",
            "upstream-http",
        ],
    ),
    ("domain", &[]),
    ("optimizer-cbc", &["application", "domain"]),
    ("optimizer-exact", &["application", "domain"]),
    ("port-contracts", &["application", "domain"]),
    // It imitates services that are not ours, and so shares no type with those that are.
    ("sandbox", &[]),
    (
        "server",
        &[
            "application",
            "domain",
            "optimizer-cbc",
            "optimizer-exact",
            "sandbox",
            "store-mongodb",
            "store-sqlite",
            "upstream-http",
            "web",
        ],
    ),
    ("store-mongodb", &["application", "domain"]),
    ("store-sqlite", &["application", "domain"]),
    ("upstream-http", &["application", "domain"]),
    ("web", &["application", "domain"]),
    ("xtask", &[]),
];

/// Tests may use any workspace crate but these.
const NEVER_A_DEV_DEPENDENCY: &[&str] = &["server"];

type Row = (&'static str, &'static [&'static str]);

pub(super) fn faults(crates: &[Crate]) -> Vec<Fault> {
    let mut faults = edges(crates, MAY_DEPEND_ON);
    faults.extend(stale_rows(crates, MAY_DEPEND_ON));
    faults.extend(dev_dependencies(crates));
    faults
}

fn edges(crates: &[Crate], table: &[Row]) -> Vec<Fault> {
    let mut faults = Vec::new();
    for given in crates {
        let name = &given.name;
        let Some((_, may)) = table.iter().find(|(row, _)| row == name) else {
            faults.push(given.fault("name", format!("`{name}` has no row in MAY_DEPEND_ON")));
            continue;
        };
        for other in given.normal() {
            if crates.iter().any(|it| it.name == other) && !may.contains(&other) {
                faults.push(given.fault(other, format!("`{name}` must not depend on `{other}`")));
            }
        }
    }
    faults
}

fn stale_rows(crates: &[Crate], table: &[Row]) -> Vec<Fault> {
    let here = File {
        path: "xtask/src/tidy/architecture.rs".to_owned(),
        text: include_str!("architecture.rs").to_owned(),
    };
    let unknown = |name: &&str| !crates.iter().any(|it| it.name == *name);
    table
        .iter()
        .flat_map(|(row, may)| std::iter::once(row).chain(*may))
        .filter(|name| unknown(name))
        .map(|name| {
            let quoted = format!("\"{name}\"");
            let line = here.lines().find(|(_, line)| line.contains(&quoted));
            here.fault(
                line.map_or(1, |(number, _)| number),
                format!("MAY_DEPEND_ON names `{name}`, which is no crate of the workspace"),
            )
        })
        .collect()
}

fn dev_dependencies(crates: &[Crate]) -> Vec<Fault> {
    let mut faults = Vec::new();
    for given in crates {
        for other in given.dev() {
            if NEVER_A_DEV_DEPENDENCY.contains(&other) {
                let name = &given.name;
                let sentence = format!("`{name}` must not depend on `{other}`, not even in tests");
                faults.push(given.fault(other, sentence));
            }
        }
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::super::tests::sentences;
    use super::super::workspace::tests::given;
    use super::*;

    const TABLE: &[Row] = &[("domain", &[]), ("store", &["domain"]), ("web", &["domain"])];

    #[test]
    fn an_edge_that_is_in_the_table_is_fine() {
        let crates = [
            given("domain", &["chrono"], &["store"]),
            given("store", &["domain"], &[]),
            given("web", &[], &[]),
        ];

        assert_eq!(edges(&crates, TABLE), []);
        assert_eq!(stale_rows(&crates, TABLE), []);
    }

    #[test]
    fn an_edge_that_is_not_in_the_table_is_named_at_its_line() {
        let crates =
            [given("domain", &[], &[]), given("store", &[], &[]), given("web", &["domain", "store"], &[])];

        assert_eq!(
            sentences(&edges(&crates, TABLE)),
            ["crates/web/Cargo.toml:2: `web` must not depend on `store`"]
        );
    }

    #[test]
    fn a_crate_without_a_row_and_a_row_without_a_crate_are_faults() {
        let crates = [given("domain", &[], &[]), given("store", &[], &[]), given("cache", &["domain"], &[])];

        assert_eq!(
            sentences(&edges(&crates, TABLE)),
            ["crates/cache/Cargo.toml:1: `cache` has no row in MAY_DEPEND_ON"]
        );
        let stale = sentences(&stale_rows(&crates, TABLE));
        assert_eq!(stale.len(), 1, "{stale:?}");
        assert!(stale[0].contains("`web`, which is no crate"), "{stale:?}");
    }

    #[test]
    fn nothing_depends_on_the_binary_not_even_a_test() {
        let crates = [given("web", &["chrono"], &["server"])];

        assert_eq!(
            sentences(&dev_dependencies(&crates)),
            ["crates/web/Cargo.toml:2: `web` must not depend on `server`, not even in tests"]
        );
    }
}
