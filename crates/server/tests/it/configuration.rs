//! How the binary is configured, and what it says when it cannot be.

use std::net::TcpListener;
use std::path::Path;

use serde_json::Value;

use crate::harness::reply;
use crate::process::{Process, refusal, serve};

/// Writes a configuration file and returns its path.
fn file(folder: &Path, name: &str, text: &str) -> String {
    let path = folder.join(name);
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

async fn get(process: &Process, path: &str) -> Value {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    reply(client.get(format!("{}{path}", process.url))).await.expect(200)
}

#[tokio::test]
async fn a_wrong_variable_fails_the_start_with_its_name_and_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let directory = folder.path().to_str().unwrap();
    let beneath_a_file = file(folder.path(), "plain.txt", "no folder");
    let foreign = file(folder.path(), "foreign.db", &"this is no database ".repeat(500));

    for (name, value, reasons) in [
        ("PORT", "abc", vec!["http.port", "abc"]),
        ("PORT", "70000", vec!["http.port", "70000"]),
        ("PORT", "-1", vec!["http.port", "-1"]),
        ("PORT", "", vec!["http.port"]),
        ("HOST", "not a host", vec!["http.host", "not a host"]),
        ("HTTP_WORKERS", "many", vec!["http.workers", "many"]),
        ("MAX_BODY_BYTES", "2MB", vec!["http.max_body_bytes", "2MB"]),
        ("CORS_ORIGINS", "portal.example.com", vec!["http.cors_origins", "portal.example.com"]),
        (
            "CORS_ORIGINS",
            "*, https://portal.example.com/",
            vec!["http.cors_origins", "https://portal.example.com/"],
        ),
        (
            "CORS_ALLOW_CREDENTIALS",
            "true",
            vec!["http.cors_allow_credentials", "CORS_ORIGINS", "http.cors_origins"],
        ),
        ("CORS_ALLOW_METHODS", "GET, a b", vec!["http.cors_allow_methods", "a b"]),
        ("CORS_ALLOW_HEADERS", "a:b", vec!["http.cors_allow_headers", "a:b"]),
        ("API_KEYS", "portal:secret", vec!["protection.api_keys", "entry 1", "api-key"]),
        ("API_KEYS_FILE", "/nowhere/keys", vec!["protection.api_keys_file", "/nowhere/keys"]),
        ("API_KEYS_FILE", "/dev/null", vec!["protection.api_keys_file", "no key"]),
        ("API_KEYS_GUARD", "none", vec!["protection.api_keys_guard", "none", "api", "all"]),
        ("MAX_REQUESTS_IN_FLIGHT", "-1", vec!["protection.max_requests_in_flight", "-1"]),
        ("RATE_LIMIT_PER_SECOND", "0.5", vec!["protection.rate_limit_per_second", "0.5"]),
        ("RATE_LIMIT_BURST", "0", vec!["protection.rate_limit_burst"]),
        ("CLIENT_REQUEST_TIMEOUT_MS", "0", vec!["protection.client_request_timeout_milliseconds"]),
        ("BODY_TIMEOUT_MS", "0", vec!["protection.body_timeout_milliseconds"]),
        ("KEEP_ALIVE_SECONDS", "long", vec!["protection.keep_alive_seconds", "long"]),
        ("X_FRAME_OPTIONS", "ALLOW", vec!["protection.x_frame_options", "ALLOW", "SAMEORIGIN"]),
        ("TRUSTED_PROXIES", "10.0.0.1", vec!["http.trusted_proxies", "10.0.0.1"]),
        ("SHUTDOWN_TIMEOUT", "25s", vec!["http.shutdown_timeout_seconds", "25s"]),
        ("LOG_LEVEL", "verbose", vec!["log.level", "verbose"]),
        ("LOG_LEVEL", "info,loud", vec!["log.level", "info,loud"]),
        ("LOG_LEVEL", "sqlx=loud", vec!["log.level", "sqlx=loud"]),
        ("LOG_LEVEL", "", vec!["log.level"]),
        ("DATABASE_URL", "postgres://user:secret@x/y", vec!["store.url", "postgres", "mongodb://HOST"]),
        ("DATABASE_URL", "mongodb://user:secret@x:port/y", vec!["store.url", "malformed"]),
        ("DATABASE_URL", "secret", vec!["store.url", "scheme"]),
        ("DATABASE_URL", "sqlite:", vec!["store.url", "path"]),
        ("DATABASE_URL", &format!("sqlite:{directory}"), vec!["store.url", directory, "directory"]),
        ("DATABASE_URL", &format!("sqlite:{beneath_a_file}/store.db"), vec!["store.url", "plain.txt"]),
        ("DATABASE_URL", &format!("sqlite:{foreign}"), vec!["store.url", "foreign.db", "not a database"]),
        ("DATABASE_NAME", "../outside", vec!["store.name", "../outside"]),
        ("DATABASE_NAME", "", vec!["store.name"]),
        ("DATABASE_MAX_CONNECTIONS", "0", vec!["store.max_connections"]),
        ("DATABASE_TIMEOUT_MS", "5.5", vec!["store.timeout_milliseconds", "5.5"]),
        ("MAX_PARALLEL_REBALANCES", "0", vec!["rebalance.max_parallel"]),
        ("REBALANCING_MAX_WORKERS", "0", vec!["rebalance.max_parallel"]),
        ("BAND_POLICY", "loose", vec!["rebalance.band_policy", "loose", "strict", "nearest"]),
        ("OPTIMIZER", "fastest", vec!["rebalance.optimizer", "fastest", "auto", "exact", "cbc"]),
        ("OPTIMIZATION_TIMEOUT", "soon", vec!["rebalance.optimization_timeout_seconds", "soon"]),
        ("PRICING_SERVICE_URL", "ftp://user:secret@x", vec!["neighbours.pricing_url", "ftp", "http"]),
        ("SECURITY_SERVICE_URL", "globeco-security-service:8000", vec!["neighbours.security_url", "http"]),
        ("PORTFOLIO_SERVICE_URL", "", vec!["neighbours.portfolio_url"]),
        ("PORTFOLIO_ACCOUNTING_SERVICE_URL", "//secret", vec!["neighbours.portfolio_accounting_url"]),
        ("EXTERNAL_SERVICE_RETRIES", "0", vec!["neighbours.attempts"]),
        ("EXTERNAL_SERVICE_MAX_CONCURRENT", "0", vec!["neighbours.max_concurrent"]),
        ("TICKER_CACHE_TTL", "-1", vec!["neighbours.ticker_ttl_seconds", "-1"]),
    ] {
        // What is not the matter of the row must not get in its way.
        let defaults = [("HOST", "127.0.0.1"), ("PORT", "0"), (name, value)];
        let said = refusal(serve(folder.path(), &[], &defaults)).await;

        assert_eq!(said.trim_end().lines().count(), 1, "{name}={value}: {said}");
        assert!(said.starts_with("Error: ") && said.contains(name), "{name}={value}: {said}");
        assert!(reasons.iter().all(|reason| said.contains(reason)), "{name}={value}: {said}");
        for secret in ["secret", ".rs"] {
            assert!(!said.contains(secret), "{name}={value}: {said}");
        }
    }
}

#[tokio::test]
async fn a_wrong_file_fails_the_start_with_its_name_and_the_reason() {
    let folder = tempfile::tempdir().unwrap();
    let directory = folder.path().to_str().unwrap().to_owned();

    for (name, text, reasons) in [
        ("key.toml", "[http]\nprot = 1\n", vec!["prot", "key.toml"]),
        ("section.toml", "[htpp]\nport = 1\n", vec!["htpp", "section.toml"]),
        ("kind.toml", "[http]\nport = \"one\"\n", vec!["PORT", "http.port", "one", "kind.toml"]),
        ("range.toml", "[http]\nport = 70000\n", vec!["PORT", "http.port", "70000", "range.toml"]),
        (
            "policy.toml",
            "[rebalance]\nband_policy = \"loose\"\n",
            vec!["BAND_POLICY", "loose", "policy.toml"],
        ),
        ("broken.toml", "[http\nport = 1\n", vec!["broken.toml"]),
    ] {
        let path = file(folder.path(), name, text);
        let said = refusal(serve(folder.path(), &["--config", &path], &[])).await;
        assert!(said.starts_with("Error: "), "{name}: {said}");
        assert!(reasons.iter().all(|reason| said.contains(reason)), "{name}: {said}");
    }
    for missing in ["/nowhere/globeco.toml", &directory] {
        let said = refusal(serve(folder.path(), &["--config", missing], &[])).await;
        assert!(said.contains(missing) && said.lines().count() == 1, "{said}");
    }
}

#[tokio::test]
async fn a_wrong_flag_fails_the_start() {
    let folder = tempfile::tempdir().unwrap();
    for arguments in [["--port", "70000"], ["--port", "abc"], ["--colour", "red"], ["--log-level", "verbose"]]
    {
        let said = refusal(serve(folder.path(), &arguments, &[])).await;
        assert!(said.contains(arguments[1]) || said.contains(arguments[0]), "{said}");
    }
}

#[tokio::test]
async fn a_port_in_use_fails_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();

    let said = refusal(serve(folder.path(), &["--host", "127.0.0.1", "--port", &port], &[])).await;

    assert_eq!(said.lines().count(), 1, "{said}");
    for part in ["PORT", &format!("127.0.0.1:{port}"), "in use"] {
        assert!(said.contains(part), "{said}");
    }
}

#[tokio::test]
async fn defaults_give_way_to_files_those_to_the_environment_and_that_to_flags() {
    let folder = tempfile::tempdir().unwrap();
    // Addresses for documentation, where nobody can listen: the refusal says which one was tried.
    let first = file(folder.path(), "first.toml", "[http]\nhost = \"203.0.113.1\"\nport = 8081\n");
    let second = file(folder.path(), "second.toml", "[http]\nhost = \"203.0.113.2\"\n");
    let (first, second) = (["--config", &first], ["--config", &second]);

    for (arguments, variables, address) in [
        (vec![], vec![("HOST", "203.0.113.9")], "203.0.113.9:8080"),
        (first.to_vec(), vec![], "203.0.113.1:8081"),
        ([first, second].concat(), vec![], "203.0.113.2:8081"),
        ([second, first].concat(), vec![], "203.0.113.1:8081"),
        ([first, second].concat(), vec![("HOST", "203.0.113.3")], "203.0.113.3:8081"),
        (first.to_vec(), vec![("PORT", "8082")], "203.0.113.1:8082"),
        (
            [&first[..], &["--host", "203.0.113.4"]].concat(),
            vec![("HOST", "203.0.113.3")],
            "203.0.113.4:8081",
        ),
        ([&first[..], &["--port", "8083"]].concat(), vec![("PORT", "8082")], "203.0.113.1:8083"),
    ] {
        let said = refusal(serve(folder.path(), &arguments, &variables)).await;
        assert!(said.contains(address), "{arguments:?} {variables:?}: {said}");
    }
}

#[tokio::test]
async fn a_number_can_be_a_name_where_names_are_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let variables =
        [("DATABASE_NAME", "2024"), ("SERVICE_NAME", "007"), ("HOST", "127.0.0.1"), ("PORT", " 0 ")];

    let process = Process::start(serve(folder.path(), &[], &variables));

    assert!(folder.path().join("data/2024.db").is_file());
    assert_eq!(get(&process, "/health/live").await["service"], "007");
    assert_eq!(get(&process, "/openapi.json").await["info"]["title"], "007");
}

#[tokio::test]
async fn of_two_variables_for_one_setting_the_newer_name_wins() {
    let folder = tempfile::tempdir().unwrap();
    let variables = [("REBALANCING_MAX_WORKERS", "0"), ("MAX_PARALLEL_REBALANCES", "4")];

    let process = Process::start(serve(folder.path(), &["--host", "127.0.0.1", "--port", "0"], &variables));

    get(&process, "/health/live").await;
}

#[tokio::test]
async fn the_service_listens_where_the_first_line_of_its_log_says() {
    let folder = tempfile::tempdir().unwrap();
    let database = format!("sqlite://{}", folder.path().join("a new/folder/store.db").display());

    for level in ["trace", "INFO", "warn,server=info"] {
        let arguments =
            ["--host", "127.0.0.1", "--port", "0", "--database-url", &database, "--log-level", level];
        let process = Process::start(serve(folder.path(), &arguments, &[]));
        assert_eq!(get(&process, "/health/live").await["status"], "healthy");
    }

    assert!(folder.path().join("a new/folder/store.db").is_file());
}
