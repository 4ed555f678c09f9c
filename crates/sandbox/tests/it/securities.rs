use sandbox::Draws;
use serde_json::json;

use crate::client::{fixed, json as get, start, text};

#[tokio::test]
async fn a_security_is_found_by_its_identifier_in_the_documented_key_order() {
    let sandbox = fixed().await;
    let id = sandbox.security.id_of("AAPL").unwrap();

    let (status, body) = text(format!("{}/api/v1/security/{id}", sandbox.security.url())).await;

    assert_eq!(status, 200);
    assert!(body.starts_with(r#"{"ticker":"AAPL","description":"Apple Inc.","securityTypeId":""#), "{body}");
    let end = format!(r#""version":1,"securityId":"{id}","securityType":{{"securityTypeId":""#);
    assert!(body.contains(&end), "{body}");
    assert!(body.ends_with(r#""abbreviation":"CS","description":"Common Stock"}}"#), "{body}");
}

#[tokio::test]
async fn an_unknown_identifier_is_404_and_a_malformed_one_500() {
    let sandbox = fixed().await;
    let url = sandbox.security.url();

    let (status, body) = text(format!("{url}/api/v1/security/ffffffffffffffffffffffff")).await;
    assert_eq!((status, body.as_str()), (404, r#"{"detail":"Security not found"}"#));

    let (status, body) = text(format!("{url}/api/v1/security/AAPL")).await;
    assert_eq!((status, body.as_str()), (500, r#"{"error": "Internal server error"}"#));
}

#[tokio::test]
async fn the_first_list_is_everything_in_its_own_order() {
    let sandbox = fixed().await;

    let (_, body) = get(format!("{}/api/v1/securities?limit=1", sandbox.security.url())).await;

    assert_eq!(body.as_array().unwrap().len(), sandbox.universe().securities().len());
    assert_eq!(body[0]["ticker"], "AAPL");
    assert_eq!(body[1]["ticker"], "MSFT");
}

#[tokio::test]
async fn the_search_pages_by_ticker_and_versions_the_nested_type() {
    let sandbox = fixed().await;
    let url = sandbox.security.url();

    let (status, body) = get(format!("{url}/api/v2/securities?limit=3&offset=3")).await;
    assert_eq!(status, 200);
    assert_eq!(
        body["pagination"],
        json!({
            "totalElements": 100, "totalPages": 34, "currentPage": 1, "pageSize": 3,
            "hasNext": true, "hasPrevious": true,
        })
    );
    let (_, exact) = get(format!("{url}/api/v2/securities?ticker=brk.b")).await;
    assert_eq!(exact["securities"][0]["ticker"], "BRK.B");
    assert_eq!(exact["securities"][0]["securityType"]["version"], 1);

    let (_, like) = get(format!("{url}/api/v2/securities?ticker_like=goo")).await;
    assert_eq!(like["pagination"]["totalElements"], 1);

    let (status, none) = get(format!("{url}/api/v2/securities?ticker=NOPE")).await;
    assert_eq!((status, &none["securities"]), (200, &json!([])));
}

#[tokio::test]
async fn bad_searches_are_told_apart() {
    let sandbox = fixed().await;
    let url = sandbox.security.url();

    for (query, expect) in [
        ("limit=0", 422),
        ("limit=1001", 422),
        ("limit=abc", 422),
        ("offset=-1", 422),
        ("limit=5.0", 200),
        ("ticker=", 400),
        ("ticker=A%20B", 400),
        ("ticker=A&ticker_like=B", 400),
    ] {
        let (status, body) = get(format!("{url}/api/v2/securities?{query}")).await;
        assert_eq!(status, expect, "{query}: {body}");
    }

    let (_, body) = get(format!("{url}/api/v2/securities?limit=0")).await;
    assert_eq!(
        body["detail"],
        json!([{
            "type": "greater_than_equal",
            "loc": ["query", "limit"],
            "msg": "Input should be greater than or equal to 1",
            "input": "0",
            "ctx": {"ge": 1},
        }])
    );
}

#[tokio::test]
async fn health_lives_below_health_alone() {
    let sandbox = fixed().await;
    let url = sandbox.security.url();

    for (path, expect) in [
        ("/health/liveness", json!({"status": "alive"})),
        ("/health/readiness", json!({"status": "ready"})),
        ("/health/startup", json!({"status": "started"})),
    ] {
        assert_eq!(get(format!("{url}{path}")).await, (200, expect));
    }
    for path in ["/health", "/"] {
        let expect = json!({"detail": "Not Found"});
        assert_eq!(get(format!("{url}{path}")).await, (404, expect));
    }
}

#[tokio::test]
async fn identifiers_follow_the_seed() {
    let (first, again, other) =
        (start(Draws::Fixed, 7).await, start(Draws::Fixed, 7).await, start(Draws::Fixed, 8).await);

    let id = first.security.id_of("MSFT").unwrap();

    assert_eq!(id.len(), 24);
    assert!(id.bytes().all(|byte| b"0123456789abcdef".contains(&byte)));
    assert_eq!(again.security.id_of("MSFT"), Some(id.clone()));
    assert_ne!(other.security.id_of("MSFT"), Some(id));
    assert_eq!(first.security.id_of("NOPE"), None);
}

#[tokio::test]
async fn there_is_one_security_type() {
    let sandbox = fixed().await;
    let url = sandbox.security.url();

    let (_, types) = get(format!("{url}/api/v1/securityTypes")).await;
    let id = types[0]["securityTypeId"].as_str().unwrap();
    let (status, found) = get(format!("{url}/api/v1/securityType/{id}")).await;

    assert_eq!(status, 200);
    assert_eq!(found, types[0]);
    assert_eq!(found["abbreviation"], "CS");
}
