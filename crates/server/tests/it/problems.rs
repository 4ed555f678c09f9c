//! Requests that cannot be served, and what every reply carries, whatever became of the request.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use futures_util::future::join_all;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::harness::{Reply, TestServer, position, reply};

const STOCK: &str = "STOCK1234567890123456789";
const UNKNOWN: &str = "507f1f77bcf86cd799439011";

/// Every resource with the methods it has, in the order in which it names them.
pub(crate) const RESOURCES: &[(&str, &str)] = &[
    ("/api/v1/models", "GET, POST"),
    ("/api/v1/model/{model_id}", "GET, PUT, DELETE"),
    ("/api/v1/model/{model_id}/position", "POST, PUT, DELETE"),
    ("/api/v1/model/{model_id}/portfolio", "POST, DELETE"),
    ("/api/v1/model/{model_id}/rebalance", "POST"),
    ("/api/v1/portfolio/{portfolio_id}/rebalance", "POST"),
    ("/api/v1/rebalances", "GET"),
    ("/api/v1/rebalances/portfolios", "POST"),
    ("/api/v1/rebalance/{rebalance_id}", "GET, DELETE"),
    ("/api/v1/rebalance/{rebalance_id}/events", "GET"),
    ("/api/v1/rebalance/{rebalance_id}/portfolios", "GET"),
    ("/api/v1/rebalance/{rebalance_id}/portfolio/{portfolio_id}/positions", "GET"),
    ("/health/live", "GET"),
    ("/health/ready", "GET"),
    ("/health/detailed", "GET"),
    ("/health/health", "GET"),
    ("/health", "GET"),
    ("/metrics", "GET"),
    ("/openapi.json", "GET"),
];

/// The routes that read a body.
const WRITES: &[(Method, &str)] = &[
    (Method::POST, "/api/v1/models"),
    (Method::PUT, "/api/v1/model/{model_id}"),
    (Method::POST, "/api/v1/model/{model_id}/position"),
    (Method::PUT, "/api/v1/model/{model_id}/position"),
    (Method::DELETE, "/api/v1/model/{model_id}/position"),
    (Method::POST, "/api/v1/model/{model_id}/portfolio"),
    (Method::DELETE, "/api/v1/model/{model_id}/portfolio"),
    (Method::POST, "/api/v1/rebalances/portfolios"),
];

const IDS: [&str; 3] = ["{model_id}", "{rebalance_id}", "{portfolio_id}"];

/// The path with the same text in the place of every id.
fn with_ids(path: &str, text: &str) -> String {
    IDS.iter().fold(path.to_owned(), |path, id| path.replace(id, text))
}

fn methods(allowed: &str) -> impl Iterator<Item = Method> {
    allowed.split(", ").map(|method| method.parse().unwrap())
}

/// A server with one model, as it is served.
async fn server_with_model() -> (TestServer, Value) {
    let server = TestServer::start().await;
    let id = server.create_model("Balanced", &[position(STOCK, "0.6", "0.03", "0.05")], &["p1", "p2"]).await;
    let model = server.get(&format!("/api/v1/model/{id}")).await.expect(200);
    (server, model)
}

async fn send_text(
    server: &TestServer,
    method: &Method,
    path: &str,
    media_type: &'static str,
    body: impl Into<reqwest::Body>,
) -> Reply {
    let request = server.client.request(method.clone(), format!("{}{path}", server.url));
    reply(request.header("content-type", media_type).body(body)).await
}

/// Sends these bytes as they are, and reads until the service closes the connection.
async fn send_raw(server: &TestServer, request: impl Into<Vec<u8>>) -> Reply {
    let (address, request) = (server.url.replace("http://", ""), request.into());
    let exchange = move || {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        // A service that has read enough may close before all is sent.
        let _ = stream.write_all(&request);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    };
    let answer = tokio::task::spawn_blocking(exchange).await.unwrap();

    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {answer:?}"));
    let (status, fields) = head.split_once("\r\n").unwrap();
    let field = |line: &str| {
        let (name, value) = line.split_once(": ").unwrap();
        (name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(value).unwrap())
    };
    Reply {
        status: status.split(' ').nth(1).unwrap().parse::<StatusCode>().unwrap(),
        headers: fields.split("\r\n").map(field).collect::<HeaderMap>(),
        body: serde_json::from_str(body).unwrap_or(Value::Null),
    }
}

fn raw(method: &str, target: &str, fields: &str) -> String {
    format!("{method} {target} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n{fields}\r\n")
}

/// A problem of whatever kind, well formed.
#[track_caller]
fn problem(reply: Reply) -> Value {
    let (status, code) = (reply.status.as_u16(), reply.body["code"].as_str().map(str::to_owned));
    reply.expect_problem(status, &code.unwrap_or_default())
}

#[track_caller]
fn pointers(problem: &Value) -> Vec<&str> {
    problem["errors"].as_array().unwrap().iter().map(|error| error["pointer"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_body_that_cannot_be_read_is_malformed() {
    let (server, model) = server_with_model().await;
    let id = model["model_id"].as_str().unwrap();
    let deep = "[".repeat(100_000);
    let deep_objects = r#"{"name":"#.repeat(50_000);

    for (method, path) in WRITES {
        let path = with_ids(path, id);
        for body in [
            "",
            " ",
            "\n\n",
            "invalid json content",
            "{",
            r#"{"name": "m","#,
            r#"{"name": "m",}"#,
            "{'name': 'm'}",
            r#"{"name": "m"} {}"#,
            r#"{"name": NaN}"#,
            r#"{"name": "\ud800"}"#,
            "{\"name\": \"a\nb\"}",
            "\u{feff}{}",
            "<model/>",
            "name=m&portfolios=p",
            &deep,
            &deep_objects,
        ] {
            let reply = send_text(&server, method, &path, "application/json", body.to_owned()).await;
            reply.expect_problem(400, "malformed-json");
        }
        let not_unicode =
            send_text(&server, method, &path, "application/json", b"{\"name\":\"\xff\"}".to_vec());
        not_unicode.await.expect_problem(400, "malformed-json");
    }
    assert_eq!(server.get("/api/v1/models").await.expect(200), json!([model]));
}

#[tokio::test]
async fn a_body_that_is_no_object_breaks_a_rule() {
    let (server, model) = server_with_model().await;
    let id = model["model_id"].as_str().unwrap();

    for (method, path) in WRITES {
        for body in ["null", "true", "12", "1e999", r#""text""#, "[]", "[{}]"] {
            let reply = send_text(&server, method, &with_ids(path, id), "application/json", body).await;
            let problem = reply.expect_problem(422, "invalid-body");
            assert_eq!(problem["errors"], json!([{ "pointer": "", "detail": "must be an object" }]));
            assert_eq!(problem["detail"], "must be an object");
        }
    }
    assert_eq!(server.get("/api/v1/models").await.expect(200), json!([model]));
}

#[tokio::test]
async fn only_json_is_read_and_a_body_without_a_type_is_taken_for_it() {
    let (server, model) = server_with_model().await;
    let id = model["model_id"].as_str().unwrap();
    let body = json!({ "name": "m", "portfolios": ["p"] }).to_string();

    for (method, path) in WRITES {
        for media_type in [
            "text/plain",
            "application/xml",
            "application/x-www-form-urlencoded",
            "multipart/form-data",
            "json",
            "",
        ] {
            let reply = send_text(&server, method, &with_ids(path, id), media_type, body.clone()).await;
            reply.expect_problem(415, "not-json");
        }
    }
    assert_eq!(server.get("/api/v1/models").await.expect(200), json!([model]));

    for (idx, media_type) in
        ["application/json", "APPLICATION/JSON; charset=utf-8", "application/vnd.globeco+json"]
            .iter()
            .enumerate()
    {
        let body = json!({ "name": idx.to_string(), "portfolios": ["p"] }).to_string();
        send_text(&server, &Method::POST, "/api/v1/models", media_type, body).await.expect(201);
    }
    let untyped = raw("POST", "/api/v1/models", &format!("Content-Length: {}\r\n", body.len()));
    send_raw(&server, untyped + &body).await.expect(201);
}

#[tokio::test]
async fn a_body_over_the_limit_is_too_large_however_it_is_sent() {
    let (server, model) = server_with_model().await;
    let id = model["model_id"].as_str().unwrap();
    let padded = |len: usize| format!(r#"{{"name":"padded","portfolios":["p"],"x":"{}"}}"#, "x".repeat(len));
    let chunk = format!("10000\r\n{}\r\n", "x".repeat(0x10000));

    for (method, path) in WRITES {
        let path = with_ids(path, id);
        let sized = send_text(&server, method, &path, "application/json", padded(10 << 20)).await;
        sized.expect_problem(413, "body-too-large");

        let fields = "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n";
        let chunked = raw(method.as_str(), &path, fields) + &chunk.repeat(40) + "0\r\n\r\n";
        send_raw(&server, chunked).await.expect_problem(413, "body-too-large");
    }
    let announced = raw("POST", "/api/v1/models", "Content-Length: 99999999999\r\n");
    send_raw(&server, announced).await.expect_problem(413, "body-too-large");
    assert_eq!(server.get("/api/v1/models").await.expect(200), json!([model]));

    let under_the_limit =
        send_text(&server, &Method::POST, "/api/v1/models", "application/json", padded(2_000_000));
    under_the_limit.await.expect(201);
}

#[tokio::test]
async fn the_limit_holds_for_what_a_compressed_body_unfolds_to() {
    let server = TestServer::start_with(|config| config.http.max_body_bytes = 60_000).await;
    let compressed = async |path: &str| {
        let request = server.client.get(format!("{}{path}", server.url)).header("accept-encoding", "gzip");
        let response = request.send().await.unwrap();
        assert_eq!(response.headers()["content-encoding"], "gzip");
        response.bytes().await.unwrap()
    };
    let send = async |method: Method, path: &str, body| {
        let request = server.client.request(method, format!("{}{path}", server.url));
        reply(
            request.header("content-encoding", "gzip").header("content-type", "application/json").body(body),
        )
        .await
    };

    // The description is many times as long as its compressed form.
    let bomb = compressed("/openapi.json").await;
    assert!(bomb.len() < 60_000, "{}", bomb.len());
    send(Method::POST, "/api/v1/models", bomb).await.expect_problem(413, "body-too-large");

    let id = server.create_model("Balanced", &[], &["p"]).await;
    let path = format!("/api/v1/model/{id}");
    let as_served = compressed(&path).await;
    assert_eq!(send(Method::PUT, &path, as_served.clone()).await.expect(200)["version"], 1);
    let broken = as_served.slice(..as_served.len() / 2);
    assert_eq!(problem(send(Method::PUT, &path, broken).await)["status"], 400);
    send(Method::PUT, &path, "{}".into()).await.expect_problem(400, "unreadable-body");
}

#[tokio::test]
async fn everything_wrong_with_a_body_is_reported_at_once() {
    let server = TestServer::start().await;
    let id = server.create_model("Balanced", &[], &["p"]).await;
    let body = json!({
        "name": 5,
        "positions": [
            { "security_id": 7, "target": true, "low_drift": null, "high_drift": {} },
            { "security_id": "SHORT", "target": "0.123", "low_drift": "x", "high_drift": 2 },
            { "securityId": STOCK, "target": 0.5, "lowDrift": 0.3, "highDrift": 0.2 },
            { "target": 0.1 },
            [],
        ],
        "portfolios": [null, "a b", "p", ["p"]],
        "version": 0,
        "lastRebalanceDate": "soon",
    });

    let problem = server.put(&format!("/api/v1/model/{id}"), &body).await.expect_problem(422, "invalid-body");

    let expected = [
        "/name",
        "/positions/0/security_id",
        "/positions/0/target",
        "/positions/0/low_drift",
        "/positions/0/high_drift",
        "/positions/1/security_id",
        "/positions/1/target",
        "/positions/1/low_drift",
        "/positions/1/high_drift",
        "/positions/2/lowDrift",
        "/positions/3/security_id",
        "/positions/3/low_drift",
        "/positions/3/high_drift",
        "/positions/4",
        "/portfolios/0",
        "/portfolios/1",
        "/portfolios/3",
        "/version",
        "/lastRebalanceDate",
    ];
    assert_eq!(pointers(&problem), expected);
    let detail = problem["detail"].as_str().unwrap();
    for error in problem["errors"].as_array().unwrap() {
        let (pointer, text) = (error["pointer"].as_str().unwrap(), error["detail"].as_str().unwrap());
        assert!(detail.contains(&format!("{pointer}: {text}")), "{detail}");
    }
}

#[tokio::test]
async fn the_rules_of_a_set_are_checked_once_its_elements_are_sound() {
    let server = TestServer::start().await;
    let twice =
        |security: &str| json!({ "securityId": security, "target": 0.5, "lowDrift": 0, "highDrift": 0 });
    let body =
        json!({ "name": "", "positions": [twice(STOCK), twice(STOCK)], "portfolios": ["p", "q", "p", "q"] });

    let problem = server.post("/api/v1/models", &body).await.expect_problem(422, "invalid-body");

    assert_eq!(pointers(&problem), ["/name", "/positions/1", "/positions", "/portfolios/2", "/portfolios/3"]);
}

#[tokio::test]
async fn a_member_under_both_its_names_is_refused() {
    let server = TestServer::start().await;
    let body = json!({
        "name": "m", "portfolios": ["p"],
        "positions": [{
            "security_id": STOCK, "securityId": STOCK, "target": 0.5,
            "low_drift": 0, "lowDrift": 0, "high_drift": 0,
        }],
    });

    let problem = server.post("/api/v1/models", &body).await.expect_problem(422, "invalid-body");

    assert_eq!(pointers(&problem), ["/positions/0/security_id", "/positions/0/low_drift"]);
    assert_eq!(server.get("/api/v1/models").await.expect(200), json!([]));
}

#[tokio::test]
async fn an_id_that_is_none_is_malformed_in_every_place_of_every_path() {
    let (server, model) = server_with_model().await;
    let long = "a".repeat(1000);
    let hexadecimal = [
        "invalid_id",
        "123",
        "507f1f77bcf86cd79943901",
        "507f1f77bcf86cd7994390111",
        "507f1f77bcf86cd79943901g",
        "507f1f77%20cf86cd79943901",
        "%E2%91%A07f1f77bcf86cd799439",
        "'%20OR%20'1'='1",
        "'%3B%20DROP%20TABLE%20models%3B%20--",
        "%3Cscript%3Ealert(1)%3C%2Fscript%3E",
        "%2e%2e%2f",
        "..%252f..%252fetc%252fpasswd",
        "..%5C..%5C",
        "..",
        "%00",
        "%zz",
        "%ff%fe",
        "%",
        &long,
    ];
    let portfolios = ["%20", "a%20b", "%09", "%00", "%C2%A0", &long];

    for (path, allowed) in RESOURCES {
        let ids: &[&str] = if path.contains("{portfolio_id}") { &portfolios } else { &hexadecimal };
        for id in ids.iter().filter(|_| path.contains('{')) {
            let path = path.replace("{rebalance_id}/portfolio/", &format!("{UNKNOWN}/portfolio/"));
            for method in methods(allowed) {
                let target = with_ids(&path, id) + "?version=1";
                let body = json!({
                    "name": "m", "version": 1, "portfolios": ["p"],
                    "security_id": STOCK, "target": 0.1, "low_drift": 0, "high_drift": 0,
                });
                let fields = format!("Content-Length: {}\r\n", body.to_string().len());
                let request = raw(method.as_str(), &target, &fields) + &body.to_string();
                let refused = send_raw(&server, request).await;
                assert_eq!(refused.status, 400, "{method} {target}: {}", refused.body);
                problem(refused);
            }
        }
    }
    assert_eq!(server.get("/api/v1/models").await.expect(200), json!([model]));
}

#[tokio::test]
async fn a_path_that_leads_nowhere_is_not_found() {
    let server = TestServer::start().await;

    for target in [
        "/",
        "//",
        "/api",
        "/api/v1",
        "/api/v1/model",
        "/api/v1/model/",
        "/api/v2/models",
        "/api/v1/Models",
        "/api/v1//models",
        "/api/v1/models//",
        "/api/v1/models/507f1f77bcf86cd799439011",
        "/api/v1/rebalance/../../../etc/passwd",
        "/api/v1/rebalance/%3Cscript%3E/x/%3C/script%3E",
        "/api/v1/model/%2e%2e/%2e%2e/etc/passwd",
        "/..%2f..%2fetc/passwd",
        "/health/nothing",
        "/docs/nothing.js",
        "/docs/../Cargo.toml",
        "/docs/%2e%2e/%2e%2e/Cargo.toml",
        "/docs//etc/passwd",
        "/openapi.yaml",
        "/favicon.ico",
        "/.env",
    ] {
        for method in ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"] {
            let reply = send_raw(&server, raw(method, target, "Content-Length: 0\r\n")).await;
            let status = reply.status.as_u16();
            assert!(
                status == 404 || (status == 405 && target.starts_with("/docs/")),
                "{method} {target}: {status}"
            );
            problem(reply);
        }
    }
}

#[tokio::test]
async fn every_resource_names_its_methods_when_asked_for_another() {
    let server = TestServer::start().await;
    let pages = [("/docs", "GET"), ("/docs/", "GET"), ("/docs/index.html", "GET")];

    for (path, allowed) in RESOURCES.iter().chain(&pages) {
        for method in ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND"] {
            if methods(allowed).any(|served| served == method) {
                continue;
            }
            let refused =
                send_raw(&server, raw(method, &with_ids(path, UNKNOWN), "Content-Length: 0\r\n")).await;
            assert_eq!(refused.headers["allow"], *allowed, "{method} {path}");
            refused.expect_problem(405, "method-not-allowed");
        }
        let head = reply(server.client.head(format!("{}{}", server.url, with_ids(path, UNKNOWN)))).await;
        assert_eq!((head.status.as_u16(), &head.body), (405, &Value::Null), "HEAD {path}");
        assert_eq!(head.headers["allow"], *allowed);
    }
}

#[tokio::test]
async fn a_trailing_slash_leads_to_the_same_resource() {
    let (server, model) = server_with_model().await;
    let id = model["model_id"].as_str().unwrap();

    let list = server.get("/api/v1/models/").await.expect(200);
    let found = server.get(&format!("/api/v1/model/{id}/")).await.expect(200);
    let position = position("BOND1111111111111111111A", "0.1", "0", "0");
    let added = server.post(&format!("/api/v1/model/{id}/position/"), &position).await.expect(200);
    let added_portfolio = json!({ "portfolios": ["p3"] });
    let followed = server.post(&format!("/api/v1/model/{id}/portfolio/"), &added_portfolio).await.expect(200);

    assert_eq!(list, json!([model]));
    assert_eq!(found, model);
    assert_eq!(added["version"], 2);
    assert_eq!(followed["version"], 3);
    for path in ["/api/v1/rebalances/", "/health/live/", "/health/ready/", "/health/", "/openapi.json/"] {
        server.get(path).await.expect(200);
    }
}

#[tokio::test]
async fn no_request_however_nasty_is_answered_with_anything_but_a_problem() {
    let (server, model) = server_with_model().await;
    let id = model["model_id"].as_str().unwrap();
    let long = "x".repeat(8000);
    let queries = [
        "",
        "?",
        "?&&&=&",
        "?version",
        "?version=",
        "?version=0",
        "?version=-1",
        "?version=1e9",
        "?version=9223372036854775808",
        "?version=1%00",
        "?version[]=1&version=2",
        "?offset=-1",
        "?offset=%zz",
        "?offset=%ff",
        "?limit=-9223372036854775809",
        "?limit=18446744073709551616",
        "?limit=1;DROP TABLE models",
        "?limit=NaN",
        "?sort_by='",
        "?sort_by=%00",
        "?sort_by=(SELECT%201)",
        "?model_id=",
        "?model_id=x",
        "?include_external=maybe",
        "?include_optimization=%F0%9F%98%80",
        &format!("?x={long}"),
    ];
    let bodies = [
        "",
        "null",
        "0",
        "{}",
        "[]",
        "\"\"",
        "{\"",
        r#"{"name":{}}"#,
        r#"{"":""}"#,
        r#"{"portfolios":[[]]}"#,
        r#"{"portfolios":{"0":"p"}}"#,
        r#"{"portfolios":["\u0000"]}"#,
        r#"{"portfolios":["\ud83d"]}"#,
        r#"{"portfolios":["p","p"]}"#,
        r#"{"name":"\u0000","portfolios":[""]}"#,
        r#"{"name":"m","portfolios":[],"positions":[{}]}"#,
        r#"{"name":"m","portfolios":["p",""],"positions":"[]"}"#,
        r#"{"name":"m","portfolios":[],"version":1}"#,
        r#"{"name":"","portfolios":["p",""],"version":99999999999999999999}"#,
        r#"{"name":"","portfolios":["p",""],"version":1e999999999}"#,
        r#"{"name":"","portfolios":["p",""],"version":1e-999999999}"#,
        r#"{"name":"","portfolios":["p",""],"version":-0}"#,
        r#"{"name":"","last_rebalance_date":"+262143-12-31T23:59:59Z"}"#,
        r#"{"security_id":"STOCK1234567890123456789","target":1e-400}"#,
        r#"{"security_id":"STOCK1234567890123456789","target":"1e2147483648"}"#,
        r#"{"security_id":"STOCK1234567890123456789","target":"1e-2147483648","low_drift":"1e2147483647","high_drift":"9e-2147483647"}"#,
        r#"{"security_id":"STOCK1234567890123456789","target":79228162514264337593543950335}"#,
        r#"{"security_id":"STOCK1234567890123456789","target":-79228162514264337593543950336}"#,
        r#"{"security_id":"STOCK1234567890123456789","target":"٠.٥","low_drift":0,"high_drift":0}"#,
        r#"{"security_id":"STOCK1234567890123456789\u0000","target":0,"low_drift":0,"high_drift":0}"#,
        r#"{"security_id":"ѕтоск1234567","target":0,"low_drift":0,"high_drift":0}"#,
        r#"{"$serde_json::private::Number":"x"}"#,
        r#"{"target":{"$serde_json::private::Number":"NaN"}}"#,
        r#"{"__proto__":{"name":"m"},"constructor":1}"#,
    ];
    assert!(60 <= queries.len() + bodies.len());

    let mut answers = 0;
    for (path, allowed) in RESOURCES {
        // Nothing that a rebalance would be made of: a body does not keep it from being made.
        let id = if path.ends_with("/rebalance") { UNKNOWN } else { id };
        let path = with_ids(path, id);
        for method in methods(allowed) {
            let requests = queries
                .iter()
                .map(|query| (format!("{path}{}", query.replace(' ', "%20")), "{}"))
                .chain(bodies.iter().map(|body| (path.clone(), *body)));
            for (target, body) in requests {
                let media_type = "application/json";
                let reply = send_text(&server, &method, &target, media_type, body).await;
                let status = reply.status.as_u16();
                assert!(status < 500, "{method} {target} {body}: {}", reply.body);
                if 400 <= status {
                    problem(reply);
                } else {
                    let is_read = method == Method::GET || path == "/api/v1/rebalances/portfolios";
                    assert!(is_read, "{method} {target} {body} is accepted");
                }
                answers += 1;
            }
        }
    }

    assert!(1000 < answers);
    assert_eq!(server.get("/api/v1/models").await.expect(200), json!([model]));
    assert_eq!(server.get("/api/v1/rebalances").await.expect(200), json!([]));
}

#[tokio::test]
async fn a_request_that_is_no_http_is_refused_and_the_next_is_served() {
    let server = TestServer::start().await;

    for request in [
        "nonsense\r\n\r\n".to_owned(),
        raw("GET", "/api/v1/rebalance/<script>alert(1)</script>", ""),
        raw("GET", "/api/v1/models?sort_by=\u{1}", ""),
        raw("GET", "/health/live", "Content-Length: -5\r\n"),
        raw("GET", "/health/live", "Content-Length: 5\r\nContent-Length: 6\r\n"),
        raw("GET", "/health/live", "Bad Name: x\r\n"),
        raw("GET", "/health/live", &format!("X-Long: {}\r\n", "x".repeat(200_000))),
    ] {
        let status = send_raw(&server, request).await.status.as_u16();
        assert!((400..500).contains(&status), "{status}");
    }

    server.get("/health/live").await.expect(200);
}

#[tokio::test]
async fn every_reply_carries_the_security_headers_and_a_correlation_id() {
    let (server, _) = server_with_model().await;
    let url = |path: &str| format!("{}{path}", server.url);
    let client = &server.client;

    for (request, status) in [
        (client.get(url("/api/v1/models")), 200),
        (client.post(url("/api/v1/models")).json(&json!({ "name": "m", "portfolios": ["p"] })), 201),
        (client.get(url("/api/v1/model/x")), 400),
        (client.get(url("/nowhere")), 404),
        (client.patch(url("/api/v1/models")), 405),
        (client.head(url("/api/v1/models")), 405),
        (client.post(url("/api/v1/models")).json(&json!({ "name": "Balanced", "portfolios": ["p"] })), 409),
        (client.post(url("/api/v1/models")).body("x".repeat(3 << 20)), 413),
        (client.post(url("/api/v1/models")).header("content-type", "text/plain").body("x"), 415),
        (client.post(url("/api/v1/models")).json(&json!({})), 422),
        (client.get(url("/api/v1/models")).header("accept-encoding", "identity;q=0, *;q=0"), 406),
        (client.get(url("/health/live")), 200),
        (client.get(url("/openapi.json")), 200),
    ] {
        let reply = reply(request).await;
        assert_eq!(reply.status.as_u16(), status, "{}", reply.body);
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("x-xss-protection", "1; mode=block"),
            ("strict-transport-security", "max-age=31536000; includeSubDomains"),
            ("referrer-policy", "strict-origin-when-cross-origin"),
            ("content-security-policy", "default-src 'self'"),
        ] {
            assert_eq!(reply.headers[name], value, "{status}");
        }
        let id = reply.headers["x-correlation-id"].to_str().unwrap();
        assert_eq!((id.len(), id.split('-').count()), (36, 5), "{id}");
        if 400 <= status && !reply.body.is_null() {
            problem(reply);
        }
    }
}

#[tokio::test]
async fn a_correlation_id_is_echoed_unless_it_could_do_harm() {
    let server = TestServer::start().await;
    let longest = "x".repeat(128);
    let echoed = async |given: &[u8]| {
        let given = HeaderValue::from_bytes(given).unwrap();
        let request =
            server.client.get(format!("{}/health/live", server.url)).header("x-correlation-id", given);
        let reply = reply(request).await;
        assert_eq!(reply.body["correlation_id"], reply.headers["x-correlation-id"].to_str().unwrap());
        reply.headers["x-correlation-id"].to_str().unwrap().to_owned()
    };

    for legal in ["1", "f47ac10b-58cc-4372-a567-0e02b2c3d479", "order/7#a=b", &longest] {
        assert_eq!(echoed(legal.as_bytes()).await, legal);
    }
    for illegal in [
        &b""[..],
        b" ",
        b"a b",
        b"a\tb",
        "é".as_bytes(),
        b"\xff",
        &[b'x'; 129],
        &[b'x'; 5000],
        "成長".as_bytes(),
    ] {
        let fresh = echoed(illegal).await;
        assert_eq!((fresh.len(), fresh.split('-').count()), (36, 5), "{fresh}");
    }
    assert_ne!(echoed(b"").await, echoed(b"").await);
}

#[tokio::test]
async fn requests_at_the_same_time_keep_their_own_correlation_ids() {
    let server = TestServer::start().await;

    let replies = join_all((0..5).map(|idx| {
        let request = server.client.get(format!("{}/api/v1/model/{UNKNOWN}", server.url));
        reply(request.header("x-correlation-id", format!("request-{idx}")))
    }));

    for (idx, reply) in replies.await.into_iter().enumerate() {
        assert_eq!(reply.headers["x-correlation-id"], format!("request-{idx}"));
        reply.expect_problem(404, "model-not-found");
    }
}

#[tokio::test]
async fn any_page_may_call_but_without_its_users_cookies() {
    let server = TestServer::start().await;
    let url = format!("{}/api/v1/models", server.url);

    let simple = reply(server.client.get(&url).header("origin", "https://example.com")).await;
    let refused = reply(server.client.patch(&url).header("origin", "https://example.com")).await;
    for reply in [simple, refused] {
        assert_eq!(reply.headers["access-control-allow-origin"], "*");
        assert!(!reply.headers.contains_key("access-control-allow-credentials"));
        let exposed = reply.headers["access-control-expose-headers"].to_str().unwrap();
        for name in ["x-correlation-id", "location", "retry-after", "allow"] {
            assert!(exposed.split(", ").any(|exposed| exposed == name), "{exposed}");
        }
    }
    let not_from_a_page = reply(server.client.get(&url)).await;
    assert!(!not_from_a_page.headers.contains_key("access-control-allow-origin"));

    for method in ["GET", "POST", "PUT", "DELETE", "OPTIONS"] {
        let preflight = server
            .client
            .request(Method::OPTIONS, &url)
            .header("origin", "https://example.com")
            .header("access-control-request-method", method)
            .header("access-control-request-headers", "content-type, x-correlation-id");
        let preflight = reply(preflight).await;

        assert_eq!(preflight.status, 200);
        assert_eq!(preflight.headers["access-control-allow-origin"], "*");
        assert_eq!(preflight.headers["access-control-max-age"], "600");
        assert_eq!(preflight.headers["access-control-allow-headers"], "content-type, x-correlation-id");
        let methods = preflight.headers["access-control-allow-methods"].to_str().unwrap();
        assert!(methods.split(", ").any(|allowed| allowed == method), "{methods}");
        assert_eq!(preflight.headers["x-frame-options"], "DENY");
    }
}

#[tokio::test]
async fn with_origins_set_only_their_pages_may_call() {
    let origins = ["https://portal.example.com", "http://localhost:3000"];
    let server = TestServer::start_with(|config| {
        config.http.cors_origins = origins.map(str::to_owned).into();
    })
    .await;
    let url = format!("{}/api/v1/models", server.url);
    let simple = |origin: &str| reply(server.client.get(&url).header("origin", origin));
    let preflight = |origin: &str| {
        let request = server.client.request(Method::OPTIONS, &url).header("origin", origin);
        reply(request.header("access-control-request-method", "POST"))
    };

    for origin in origins {
        assert_eq!(simple(origin).await.headers["access-control-allow-origin"], origin);
        let allowed = preflight(origin).await;
        assert_eq!(
            (allowed.status.as_u16(), &allowed.headers["access-control-allow-origin"]),
            (200, &HeaderValue::from_str(origin).unwrap())
        );
    }
    for origin in ["https://evil.example.com", "https://portal.example.com.evil.com", "null"] {
        assert!(!simple(origin).await.headers.contains_key("access-control-allow-origin"));
        let refused = preflight(origin).await;
        assert!(!refused.headers.contains_key("access-control-allow-origin"));
        refused.expect_problem(400, "turned-away");
    }
    server.get("/api/v1/models").await.expect(200);
}
