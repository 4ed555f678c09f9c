//! `globeco health`, as a container runtime calls it.

use std::net::TcpListener;
use std::path::Path;

use crate::process::{Process, refusal, run, serve};

fn port(url: &str) -> &str {
    url.rsplit_once(':').unwrap().1
}

#[tokio::test]
async fn a_live_service_is_found_where_it_is_said_to_be() {
    let folder = tempfile::tempdir().unwrap();
    let service = Process::start(serve(folder.path(), &["--host", "127.0.0.1", "--port", "0"], &[]));

    let asked = run(&["health", &service.url], folder.path(), &[]).status().unwrap();
    let by_the_settings = run(&["health"], folder.path(), &[("PORT", port(&service.url))]).status().unwrap();

    assert!(asked.success());
    assert!(by_the_settings.success());
}

#[tokio::test]
async fn nobody_and_somebody_else_are_not_alive() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let health = |url: &str| run(&["health", url], Path::new("."), &[]);

    let said = refusal(health(&format!("http://{silent}"))).await;

    assert!(said.contains("cannot be reached"), "{said}");
    // The sandbox's Security Service answers health elsewhere.
    let sandbox = sandbox::Sandbox::start(sandbox::Config::default()).await.unwrap();
    let said = refusal(health(&sandbox.security.url())).await;
    assert!(said.contains("/health/live answered 404"), "{said}");
}
