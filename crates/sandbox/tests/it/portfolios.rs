use reqwest::Method;
use sandbox::Sandbox;
use serde_json::{Value, json};

use crate::client::{fixed, json as get, send, text};

const ABSENT: &str = "507f1f77bcf86cd799439011";

async fn post(sandbox: &Sandbox, path: &str, body: Value) -> (u16, Value) {
    send(Method::POST, format!("{}{path}", sandbox.portfolio.url()), &body).await
}

#[tokio::test]
async fn an_added_portfolio_is_found_and_an_absent_one_is_not() {
    let sandbox = fixed().await;
    let url = sandbox.portfolio.url();
    sandbox.portfolio.add("0123456789abcdef01234567", "Growth");

    let (status, body) = text(format!("{url}/api/v1/portfolio/0123456789abcdef01234567")).await;
    assert_eq!(status, 200);
    let start = r#"{"portfolioId":"0123456789abcdef01234567","name":"Growth","dateCreated":""#;
    assert!(body.starts_with(start), "{body}");
    assert!(body.ends_with(r#"Z","version":1}"#), "{body}");

    for id in [ABSENT, "notanid"] {
        let (status, body) = text(format!("{url}/api/v1/portfolio/{id}")).await;
        assert_eq!((status, body.as_str()), (404, r#"{"detail":"Portfolio not found"}"#));
    }
}

#[tokio::test]
async fn a_portfolio_is_created_revised_and_removed_by_version() {
    let sandbox = fixed().await;
    let (status, created) = post(
        &sandbox,
        "/api/v1/portfolios",
        json!({"name": "First", "dateCreated": "2024-06-07T12:00:00.123456+02:00", "version": null}),
    )
    .await;
    assert_eq!(status, 201);
    assert_eq!(created["dateCreated"], "2024-06-07T10:00:00.123Z");
    assert_eq!(created["version"], 1);

    let id = created["portfolioId"].as_str().unwrap();
    let url = format!("{}/api/v1/portfolio/{id}", sandbox.portfolio.url());
    let revision = json!({"portfolioId": "whatever", "name": "Second", "version": 1});
    let (status, revised) = send(Method::PUT, url.clone(), &revision).await;
    assert_eq!((status, &revised["version"]), (200, &json!(2)));
    assert_eq!(revised["dateCreated"], created["dateCreated"]);

    let (status, conflict) = send(Method::PUT, url.clone(), &revision).await;
    assert_eq!((status, conflict), (409, json!({"detail": "Version conflict"})));

    for (query, expect) in
        [("version=1", 409), ("", 422), ("version=abc", 422), ("version=2", 204), ("version=2", 404)]
    {
        let (status, _) = send(Method::DELETE, format!("{url}?{query}"), &Value::Null).await;
        assert_eq!(status, expect, "{query}");
    }
}

#[tokio::test]
async fn bad_bodies_are_located() {
    let sandbox = fixed().await;

    for (body, kind, loc) in [
        (json!({}), "missing", json!(["body", "name"])),
        (json!({"name": 5}), "string_type", json!(["body", "name"])),
        (json!([1]), "model_attributes_type", json!(["body"])),
        (json!({"name": "a", "version": 4.5}), "int_from_float", json!(["body", "version"])),
        (
            json!({"name": "a", "dateCreated": "garbage"}),
            "datetime_from_date_parsing",
            json!(["body", "dateCreated"]),
        ),
    ] {
        let (status, answer) = post(&sandbox, "/api/v1/portfolios", body).await;
        assert_eq!(status, 422);
        assert_eq!(answer["detail"][0]["type"], kind);
        assert_eq!(answer["detail"][0]["loc"], loc);
    }

    let batch = json!([{"name": "ok"}, {"foo": 1}, {"name": null, "version": "x"}]);
    let (status, answer) = post(&sandbox, "/api/v2/portfolios", batch).await;
    assert_eq!((status, answer["detail"].as_array().unwrap().len()), (422, 3));
    let (_, stored) = get(format!("{}/api/v1/portfolios", sandbox.portfolio.url())).await;
    assert_eq!(stored, json!([]));
}

#[tokio::test]
async fn a_hundred_are_created_at_once_and_a_hundred_and_one_are_not() {
    let sandbox = fixed().await;
    let batch =
        |size: usize| -> Value { (0..size).map(|idx| json!({"name": format!("Portfolio {idx}")})).collect() };

    let (status, created) = post(&sandbox, "/api/v2/portfolios", batch(100)).await;
    assert_eq!(status, 201);
    assert_eq!(created[99]["name"], "Portfolio 99");

    for (body, text) in [
        (batch(101), "Request cannot contain more than 100 portfolios"),
        (batch(0), "Request must contain at least 1 portfolio"),
        (
            json!([{"name": "D1"}, {"name": " d1 "}, {"name": "D1"}, {"name": "D2"}, {"name": "D2"}]),
            "Duplicate portfolio names found in request:  d1 , D2",
        ),
    ] {
        let (status, answer) = post(&sandbox, "/api/v2/portfolios", body).await;
        assert_eq!((status, answer), (400, json!({"detail": text})));
    }
    assert_eq!(post(&sandbox, "/api/v2/portfolios", json!({})).await.0, 422);
}

async fn seeded_with(names: &[&str]) -> Sandbox {
    let sandbox = fixed().await;
    let batch = (names.iter().enumerate())
        .map(|(idx, name)| json!({"name": name, "dateCreated": format!("2024-01-{:02}", idx + 1)}))
        .collect();
    assert_eq!(post(&sandbox, "/api/v2/portfolios", batch).await.0, 201);
    sandbox
}

#[tokio::test]
async fn a_search_matches_names_whatever_their_case_newest_first() {
    let sandbox = seeded_with(&["TechGrowth", "Income", "FinTechFund", "TechDividend"]).await;
    let url = format!("{}/api/v2/portfolios", sandbox.portfolio.url());
    let names = |body: &Value| -> Vec<String> {
        (body["portfolios"].as_array().unwrap().iter())
            .map(|portfolio| portfolio["name"].as_str().unwrap().to_owned())
            .collect()
    };

    let (_, exact) = get(format!("{url}?name=techgrowth")).await;
    assert_eq!(names(&exact), ["TechGrowth"]);

    let (_, like) = get(format!("{url}?name_like=tech")).await;
    assert_eq!(names(&like), ["TechDividend", "FinTechFund", "TechGrowth"]);

    let (_, page) = get(format!("{url}?limit=3&offset=3")).await;
    assert_eq!(names(&page), ["TechGrowth"]);
    assert_eq!(
        page["pagination"],
        json!({
            "totalElements": 4, "totalPages": 2, "currentPage": 1, "pageSize": 3,
            "hasNext": false, "hasPrevious": true,
        })
    );
}

#[tokio::test]
async fn bad_searches_say_what_is_wrong() {
    let sandbox = fixed().await;

    let empty = "Search parameter cannot be empty";
    let both = "Only one search parameter allowed: name or name_like";
    let form = "Invalid portfolio name format. Name must be 1-200 characters, alphanumeric, spaces, hyphens, and underscores only";
    for (query, text) in [
        ("name=", empty),
        ("name_like=%20", empty),
        ("name=&name_like=b", empty),
        ("name=a&name_like=", empty),
        ("name=a&name_like=b", both),
        ("name=a.b", form),
        ("name_like=%C3%A9", form),
    ] {
        let url = format!("{}/api/v2/portfolios?{query}", sandbox.portfolio.url());
        assert_eq!(get(url).await, (400, json!({"detail": text})), "{query}");
    }
    let url = format!("{}/api/v2/portfolios?limit=0", sandbox.portfolio.url());
    assert_eq!(get(url).await.0, 422);
}

#[tokio::test]
async fn root_and_health_answer() {
    let sandbox = fixed().await;
    let url = sandbox.portfolio.url();

    assert_eq!(get(url.clone()).await.1["message"], "GlobeCo Portfolio Service");
    assert_eq!(text(format!("{url}/health")).await, (200, "OK".to_owned()));
    assert_eq!(get(format!("{url}/health/ready")).await.1["status"], "ready");
    assert_eq!(get(format!("{url}/nope")).await, (404, json!({"detail": "Not Found"})));
    let (status, body) = post(&sandbox, "/api/v1/portfolio/x", Value::Null).await;
    assert_eq!((status, body), (405, json!({"detail": "Method Not Allowed"})));
}
