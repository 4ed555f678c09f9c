//! Models over HTTP.

use serde_json::json;

use crate::harness::{TestServer, position};

const STOCK: &str = "STOCK1234567890123456789";
const PORTFOLIO: &str = "683b6d88a29ee10e8b499643";

#[tokio::test]
async fn a_created_model_is_served_with_its_decimals_as_written() {
    let server = TestServer::start().await;
    let body = json!({
        "name": " Growth ", "positions": [position(STOCK, "0.600", "0.03", "0.05")], "portfolios": [PORTFOLIO],
    });

    let created = server.post("/api/v1/models", &body).await.expect(201);

    assert_eq!(created["name"], "Growth");
    assert_eq!(created["version"], 1);
    assert_eq!(created["last_rebalance_date"], json!(null));
    assert_eq!(created["positions"], json!([position(STOCK, "0.600", "0.03", "0.05")]));
    let path = format!("/api/v1/model/{}", created["model_id"].as_str().unwrap());
    assert_eq!(server.get(&path).await.expect(200), created);
}
