//! The audit trail.

use std::time::Duration;

use serde_json::{Value, json};

use super::desk::{Desk, PORTFOLIOS, sent};
use crate::harness::position;

fn audit(lines: &[Value]) -> Vec<&Value> {
    lines.iter().filter(|line| line["target"] == "audit").collect()
}

/// Of each line, the values of these fields.
fn fields(audit: &[&Value], names: &[&str]) -> Vec<Value> {
    audit.iter().map(|line| names.iter().map(|name| line[name].clone()).collect()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_change_of_a_model_is_told_with_its_versions() {
    let mut desk = Desk::open(&[]).await;
    let model = desk.create_model().await;
    let path = format!("/api/v1/model/{model}");
    let security = desk.sandbox.security.id_of("A").unwrap();
    let new = position("0123456789abcdef01234567", "0.05", "0", "0");
    sent(desk.post(&format!("{path}/position"), &new), 200).await;
    let problem = sent(desk.post(&format!("{path}/position"), &new), 409).await;
    assert_eq!(problem["code"], "security-already-in-model");
    let followed = json!({ "portfolios": [PORTFOLIOS[0]] });
    sent(desk.post(&format!("{path}/portfolio"), &followed), 200).await;
    let changed = position(&security, "0.44", "0.05", "0.05");
    sent(desk.put(&format!("{path}/position"), &changed), 200).await;
    let stale = sent(desk.delete(&format!("{path}?version=1")), 409).await;
    assert_eq!(stale["code"], "model-modified");
    desk.delete(&format!("{path}?version=3")).send().await.unwrap().error_for_status().unwrap();
    sent(desk.delete(&format!("{path}?version=3")), 404).await;

    let lines = desk.stop().await;

    let audit = audit(&lines);
    assert_eq!(
        fields(&audit, &["action", "version_before", "version_after", "outcome", "reason"]),
        [
            json!(["create-model", null, 1, "done", null]),
            json!(["add-position", 1, 2, "done", null]),
            json!(["add-position", null, null, "refused", "security-already-in-model"]),
            json!(["add-portfolios", 2, 2, "unchanged", null]),
            json!(["replace-position", 2, 3, "done", null]),
            json!(["delete-model", null, null, "refused", "model-modified"]),
            json!(["delete-model", 3, null, "done", null]),
            json!(["delete-model", null, null, "refused", "model-not-found"]),
        ]
    );
    for line in audit {
        assert_eq!(line["model_id"], model.as_str());
        assert!(line["correlation_id"].is_string(), "{line:#}");
        assert_eq!(line["caller"], "address:127.0.0.1");
        let text = line.to_string();
        assert!(!text.contains("0.44") && !text.contains(&security), "{line:#}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_rebalance_is_told_with_what_it_came_to() {
    let mut desk = Desk::open(&[("LOG_LEVEL", "error,server::service=info")]).await;
    let model = desk.create_model().await;
    let path = format!("/api/v1/model/{model}/rebalance");
    let replies = sent(desk.post(&path, &json!({})), 200).await;
    let id = replies[0]["rebalance_id"].as_str().unwrap();
    let single = format!("/api/v1/portfolio/{}/rebalance", PORTFOLIOS[0]);
    sent(desk.post(&single, &json!({})), 200).await;
    desk.sandbox.accounting.inject(sandbox::Faults::outage());
    let problem = sent(desk.post(&path, &json!({})), 503).await;
    assert_eq!(problem["code"], "external-service-unavailable");
    sent(desk.delete(&format!("/api/v1/rebalance/{id}?version=1")), 200).await;

    let lines = desk.stop().await;

    // Whatever the level of the log, there is an audit trail.
    let audit = audit(&lines);
    let rebalances: Vec<_> = audit.into_iter().filter(|line| line["message"] == "rebalance").collect();
    assert_eq!(
        fields(&rebalances, &["action", "outcome", "model_version", "rebalanced", "failed", "reason"]),
        [
            json!(["rebalance-model", "done", 1, 2, 0, null]),
            json!(["rebalance-portfolio", "done", 1, 1, 0, null]),
            json!(["rebalance-model", "unavailable", null, 0, 0, "external-service-unavailable"]),
            json!(["delete-rebalance", "done", null, null, null, null]),
        ]
    );
    assert_eq!(rebalances[0]["rebalance_id"], id);
    assert_eq!(rebalances[3]["rebalance_id"], id);
    assert!(rebalances[..3].iter().all(|line| line["model_id"] == model.as_str()), "{rebalances:#?}");
    assert_eq!(rebalances[1]["portfolio_id"], PORTFOLIOS[0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebalance_that_nobody_waits_for_is_told_when_it_begins_and_when_it_ends() {
    let mut desk = Desk::open(&[("LOG_LEVEL", "error,server::service=info")]).await;
    let model = desk.create_model().await;
    let path = format!("/api/v1/model/{model}/rebalance");
    let start = || desk.post(&path, &json!({})).header("prefer", "respond-async");
    let first = desk.followed(sent(start(), 202).await).await;
    assert_eq!(first["status"], "COMPLETED");
    desk.sandbox.accounting.inject(sandbox::Faults::outage());
    let second = desk.followed(sent(start().header("x-correlation-id", "desk-2"), 202).await).await;
    assert_eq!(second["status"], "FAILED");
    let nowhere = "/api/v1/model/0123456789abcdef01234567/rebalance";
    sent(desk.post(nowhere, &json!({})).header("prefer", "respond-async"), 404).await;

    let lines = desk.stop().await;

    let audit = audit(&lines);
    let rebalances: Vec<_> = audit.into_iter().filter(|line| line["message"] == "rebalance").collect();
    let told = ["action", "outcome", "portfolios", "model_version", "rebalanced", "failed", "reason"];
    assert_eq!(
        fields(&rebalances, &told),
        [
            json!(["rebalance-model", "begun", 2, 1, null, null, null]),
            json!(["rebalance-model", "done", null, 1, 2, 0, null]),
            json!(["rebalance-model", "begun", 2, 1, null, null, null]),
            json!(["rebalance-model", "unavailable", null, 1, 0, 0, "external-service-unavailable"]),
            json!(["rebalance-model", "refused", null, null, 0, 0, "model-not-found"]),
        ]
    );
    for (line, record) in rebalances.iter().zip([&first, &first, &second, &second]) {
        assert_eq!((&line["rebalance_id"], &line["model_id"]), (&record["rebalance_id"], &json!(model)));
    }
    for line in &rebalances {
        assert_eq!(line["caller"], "address:127.0.0.1", "{line:#}");
    }
    assert!(rebalances[2..4].iter().all(|line| line["correlation_id"] == "desk-2"), "{rebalances:#?}");
    // Why it failed is told once.
    let errors: Vec<_> = lines.iter().filter(|line| line["level"] == "ERROR").collect();
    assert_eq!((errors.len(), &errors[0]["correlation_id"]), (1, &json!("desk-2")), "{errors:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_rebalance_is_told_to_its_end_though_its_caller_has_gone() {
    let mut desk = Desk::open(&[]).await;
    let security = desk.sandbox.security.id_of("A").unwrap();
    let portfolios: Vec<String> = (0..300).map(|n| format!("p{n:05}")).collect();
    let positions = [position(&security, "0.45", "0.05", "0.05")];
    let body = json!({ "name": "Large", "positions": positions, "portfolios": portfolios });
    let model = sent(desk.post("/api/v1/models", &body), 201).await;
    desk.sandbox.accounting.inject(sandbox::Faults::latency(Duration::from_secs(1)));
    let path = format!("/api/v1/model/{}/rebalance", model["model_id"].as_str().unwrap());
    let impatient = desk.post(&path, &json!({})).timeout(Duration::from_millis(500)).send().await;
    assert!(impatient.unwrap_err().is_timeout());
    while sent(desk.get("/api/v1/rebalances"), 200).await != json!([]) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }

    let lines = desk.stop().await;

    let audit = audit(&lines);
    let rebalances: Vec<_> = audit.into_iter().filter(|line| line["message"] == "rebalance").collect();
    assert_eq!(
        fields(&rebalances, &["outcome", "portfolios", "rebalanced", "reason"]),
        [json!(["begun", 300, null, null]), json!(["unavailable", null, 0, "interrupted"])]
    );
    assert!(rebalances.iter().all(|line| line["caller"] == "address:127.0.0.1"), "{rebalances:#?}");
}
