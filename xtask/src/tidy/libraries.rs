//! Which crate may use which library: an infrastructure belongs to the adapter that speaks to it.
//!
//! Tests are free; `deny.toml` watches the whole graph.

use super::Fault;
use super::workspace::Crate;

/// These crates use no library but the ones listed.
const USES_ONLY: &[Row] = &[("domain", &["chrono", "ethnum", "rust_decimal", "thiserror"])];

/// These libraries are used by no crate but the ones listed.
const USED_ONLY_BY: &[Row] = &[
    // `bench`: to compare our server, clients and stores with their bare libraries.
    ("actix-web", &["bench", "sandbox", "web"]),
    ("bson", &["store-mongodb"]),
    ("cbc-src", &["optimizer-cbc"]),
    ("clap", &["server"]),
    ("coin_cbc", &["optimizer-cbc"]),
    ("figment", &["server"]),
    ("mongodb", &["bench", "store-mongodb"]),
    ("opentelemetry", &["server"]),
    ("opentelemetry-appender-tracing", &["server"]),
    ("opentelemetry-otlp", &["server"]),
    ("opentelemetry-prometheus", &["server"]),
    ("opentelemetry_sdk", &["server"]),
    ("prometheus", &["server"]),
    ("reqwest", &["bench", "server", "upstream-http"]),
    ("sqlx", &["bench", "store-sqlite"]),
    ("tracing-opentelemetry", &["server"]),
];

/// These libraries are kept out of the crates listed.
const KEPT_OUT_OF: &[Row] = &[
    // A type that serializes is a promise to strangers: whoever crosses a boundary owns the format.
    ("serde", &["application", "domain"]),
    ("serde_json", &["application", "domain"]),
    ("tokio", &["domain"]),
];

type Row = (&'static str, &'static [&'static str]);

pub(super) fn faults(crates: &[Crate]) -> Vec<Fault> {
    let mut faults = Vec::new();
    for given in crates {
        let user = given.name.as_str();
        for library in given.normal() {
            if !crates.iter().any(|it| it.name == library) && !may_use(user, library) {
                faults.push(given.fault(library, format!("`{user}` must not use `{library}`")));
            }
        }
    }
    faults
}

fn may_use(user: &str, library: &str) -> bool {
    row(USES_ONLY, user).is_none_or(|libraries| libraries.contains(&library))
        && row(USED_ONLY_BY, library).is_none_or(|users| users.contains(&user))
        && row(KEPT_OUT_OF, library).is_none_or(|users| !users.contains(&user))
}

fn row(table: &[Row], name: &str) -> Option<&'static [&'static str]> {
    table.iter().find(|(row, _)| *row == name).map(|(_, names)| *names)
}

#[cfg(test)]
mod tests {
    use super::super::tests::sentences;
    use super::super::workspace::tests::given;
    use super::*;

    #[test]
    fn each_table_allows_and_forbids() {
        for (user, library, allowed) in [
            ("domain", "chrono", true),
            ("domain", "rand", false),
            ("domain", "serde", false),
            ("domain", "tokio", false),
            ("application", "tokio", true),
            ("application", "serde", false),
            ("web", "serde", true),
            ("web", "actix-web", true),
            ("server", "actix-web", false),
            ("web", "sqlx", false),
            ("server", "mongodb", false),
            ("sandbox", "reqwest", false),
            ("upstream-http", "figment", false),
            ("server", "opentelemetry", true),
            ("web", "opentelemetry", false),
        ] {
            assert_eq!(may_use(user, library), allowed, "{user} {library}");
        }
    }

    #[test]
    fn only_what_is_shipped_counts_and_workspace_crates_are_no_libraries() {
        let crates = [given("contracts", &[], &[]), given("domain", &["contracts", "rand"], &["proptest"])];

        assert_eq!(sentences(&faults(&crates)), ["crates/domain/Cargo.toml:2: `domain` must not use `rand`"]);
    }
}
