//! What the server does to protect itself and those who call it.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::num::NonZeroU32;
use std::time::Duration;

use futures_util::future::join_all;
use reqwest::{Method, RequestBuilder, StatusCode};
use sandbox::Faults;
use server::config::Config;
use web::{ApiKeys, Guarded};

use crate::harness::{Reply, TestServer, position, reply};
use crate::process::{Process, run, serve};
use crate::telemetry::figures::Figures;

const KEY: &str = "globeco_4c8f";
/// Those that a refusal must carry no less than an answer.
const HEADERS: [&str; 7] = [
    "x-correlation-id",
    "x-content-type-options",
    "x-frame-options",
    "x-xss-protection",
    "strict-transport-security",
    "referrer-policy",
    "content-security-policy",
];

fn with_key(config: &mut Config) {
    config.protection.api_keys = ApiKeys::entry(&"portal".parse().unwrap(), KEY).parse().unwrap();
}

fn models(server: &TestServer) -> RequestBuilder {
    server.client.get(format!("{}/api/v1/models", server.url)).header("origin", "https://portal.example.com")
}

/// A refusal as whole as any answer is, readable by pages.
#[track_caller]
fn expect_refusal(refused: Reply, status: u16, code: &str) {
    for name in HEADERS {
        assert!(refused.headers.contains_key(name), "{name}");
    }
    assert_eq!(refused.headers["access-control-allow-origin"], "*");
    refused.expect_problem(status, code);
}

#[tokio::test]
async fn with_api_keys_nobody_calls_the_api_without_one() {
    let server = TestServer::start_with(with_key).await;

    for (name, value) in [("authorization", format!("Bearer {KEY}")), ("x-api-key", KEY.to_owned())] {
        reply(models(&server).header(name, value)).await.expect(200);
    }
    for (request, code) in [
        (models(&server), "api-key-required"),
        (models(&server).basic_auth("portal", Some(KEY)), "api-key-required"),
        (models(&server).header("x-api-key", "globeco_4c8e"), "api-key-unknown"),
        (models(&server).bearer_auth("portal"), "api-key-unknown"),
        (server.client.get(format!("{}/%61pi/v1/models", server.url)), "api-key-required"),
        (server.client.get(format!("{}/no/such/route", server.url)), "api-key-required"),
        (server.client.request(Method::OPTIONS, format!("{}/api/v1/models", server.url)), "api-key-required"),
    ] {
        let refused = reply(request.header("origin", "https://portal.example.com")).await;
        assert_eq!(refused.headers["www-authenticate"], "Bearer realm=\"globeco\"");
        assert!(!format!("{refused:?}").contains(KEY));
        expect_refusal(refused, 401, code);
    }
    let figures = Figures::of(&server).await;
    assert_eq!([turned_away(&figures, "api-key-required"), turned_away(&figures, "api-key-unknown")], [5, 2]);
}

fn turned_away(figures: &Figures, reason: &str) -> u64 {
    let series = format!("requests_turned_away_total{{reason=\"{reason}\"}}");
    assert!(figures.series.contains_key(&series), "{series}");
    figures.count(&series)
}

#[tokio::test]
async fn health_and_preflights_never_need_a_key_and_descriptions_only_where_that_is_set() {
    let mut server = TestServer::start_with(with_key).await;
    let preflight = models(&server).header("access-control-request-method", "POST").build().unwrap();
    let mut preflight = RequestBuilder::from_parts(server.client.clone(), preflight).build().unwrap();
    *preflight.method_mut() = Method::OPTIONS;
    assert_eq!(server.client.execute(preflight).await.unwrap().status(), StatusCode::OK);

    for path in ["/health/live", "/health/ready", "/health", "/metrics", "/openapi.json", "/docs/"] {
        server.get(path).await.expect(200);
    }
    server
        .restart_with(|config| {
            with_key(config);
            config.protection.api_keys_guard = Guarded::AllButHealth;
        })
        .await;
    server.get("/health/live").await.expect(200);
    for path in ["/metrics", "/openapi.json", "/docs/"] {
        server.get(path).await.expect_problem(401, "api-key-required");
    }
}

#[tokio::test]
async fn a_key_that_the_command_makes_opens_the_api_by_way_of_a_file_and_is_shown_nowhere_else() {
    let folder = tempfile::tempdir().unwrap();
    let printed = run(&["api-key", "portal"], folder.path(), &[]).output().unwrap();
    let printed = String::from_utf8(printed.stdout).unwrap();
    let word = |start: &str| {
        printed.split_whitespace().find(|word| word.starts_with(start)).unwrap_or_else(|| panic!("{printed}"))
    };
    let (key, entry) = (word("globeco_"), word("portal:"));
    let file = folder.path().join("keys");
    std::fs::write(&file, format!("{entry}\n")).unwrap();
    let variables = [("HOST", "127.0.0.1"), ("PORT", "0"), ("API_KEYS_FILE", file.to_str().unwrap())];

    let process = Process::start(serve(folder.path(), &["--log-level", "trace"], &variables));

    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let models = || client.get(format!("{}/api/v1/models", process.url));
    reply(models().bearer_auth(key)).await.expect(200);
    reply(models()).await.expect_problem(401, "api-key-required");
    let shown = run(&["config", "show", "order-generation"], folder.path(), &[("API_KEYS", entry)]);
    let shown = String::from_utf8({ shown }.output().unwrap().stdout).unwrap();
    let digest = entry.strip_prefix("portal:").unwrap();
    assert!(shown.contains("api_keys = \"***\"") && !shown.contains(digest), "{shown}");
}

#[tokio::test]
async fn more_requests_than_there_are_slots_are_shed_at_once_and_the_slots_become_free_again() {
    let server = TestServer::start_with(|config| {
        config.protection.max_requests_in_flight = 4;
        config.neighbours.attempts = NonZeroU32::MIN;
    })
    .await;
    let positions = [position(&server.security("AAPL"), "0.5", "0", "0")];
    let model = server.create_model("Balanced", &positions, &["p"]).await;
    server.sandbox.accounting.inject(Faults::latency(Duration::from_mins(10)));
    let url = format!("{}/api/v1/model/{model}/rebalance", server.url);

    for _ in 0..2 {
        let calls = (0..20).map(|_| {
            let request = server.client.post(&url).header("origin", "https://portal.example.com");
            reply(request)
        });
        let (shed, taken): (Vec<Reply>, Vec<Reply>) =
            join_all(calls).await.into_iter().partition(|reply| reply.body["code"] == "overloaded");

        assert_eq!((shed.len(), taken.len()), (16, 4), "{:?}", taken.first());
        for reply in shed {
            assert_eq!(reply.headers["retry-after"], "1");
            expect_refusal(reply, 503, "overloaded");
        }
        for reply in taken {
            reply.expect_problem(503, "external-service-unavailable");
        }
    }
    server.get("/api/v1/models").await.expect(200);
    assert_eq!(turned_away(&Figures::of(&server).await, "overloaded"), 2 * 16);
}

#[tokio::test]
async fn a_caller_who_asks_too_often_is_told_when_to_come_back() {
    let server = TestServer::start_with(|config| {
        with_key(config);
        config.protection.rate_limit_per_second = 1;
        config.protection.rate_limit_burst = NonZeroU32::MIN;
    })
    .await;
    let calls = (0..20).map(|_| reply(models(&server).bearer_auth(KEY)));
    let refused: Vec<Reply> =
        join_all(calls).await.into_iter().filter(|reply| reply.status.as_u16() != 200).collect();

    assert!(!refused.is_empty());
    assert_eq!(turned_away(&Figures::of(&server).await, "too-many-requests"), refused.len() as u64);
    for reply in refused {
        assert_eq!(reply.headers["retry-after"], "1");
        expect_refusal(reply, 429, "too-many-requests");
    }
    // Others have a rate of their own, and guesses at keys count.
    reply(models(&server).bearer_auth("guess")).await.expect_problem(401, "api-key-unknown");
    let guesses = join_all((0..20).map(|_| reply(models(&server).bearer_auth("guess")))).await;
    assert!(guesses.iter().any(|reply| reply.status.as_u16() == 429));
    for _ in 0..20 {
        server.get("/health/live").await.expect(200);
    }
}

#[tokio::test]
async fn pages_of_named_origins_may_be_given_leave_to_use_cookies_and_headers_follow_the_settings() {
    let server = TestServer::start_with(|config| {
        config.http.cors_origins = vec!["https://portal.example.com".to_owned()];
        config.http.cors_allow_methods = "GET, POST".parse().unwrap();
        config.http.cors_allow_headers = "content-type".parse().unwrap();
        config.http.cors_allow_credentials = true;
        config.protection.hsts_max_age = Duration::ZERO;
        config.protection.content_security_policy = false;
    })
    .await;

    let answer = reply(models(&server)).await;
    assert_eq!(answer.headers["access-control-allow-origin"], "https://portal.example.com");
    assert_eq!(answer.headers["access-control-allow-credentials"], "true");
    for name in ["strict-transport-security", "content-security-policy"] {
        assert!(!answer.headers.contains_key(name), "{name}");
    }
    for (method, header, status) in
        [("POST", "content-type", 200), ("DELETE", "content-type", 400), ("POST", "x-api-key", 400)]
    {
        let preflight = server.client.request(Method::OPTIONS, format!("{}/api/v1/models", server.url));
        let preflight = preflight
            .header("origin", "https://portal.example.com")
            .header("access-control-request-method", method)
            .header("access-control-request-headers", header);
        assert_eq!(reply(preflight).await.status.as_u16(), status, "{method} {header}");
    }
}

/// Sends bytes as they are, and reads until the server closes; what a reset cuts off is not missed.
fn raw(server: &TestServer, bytes: &[u8], and_then: impl FnOnce(&TcpStream)) -> String {
    let mut stream = TcpStream::connect(server.url.strip_prefix("http://").unwrap()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    // The server may have had enough before the end.
    let _ = stream.write_all(bytes);
    and_then(&stream);
    let mut answer = Vec::new();
    if let Err(error) = stream.read_to_end(&mut answer) {
        assert_eq!(
            error.kind(),
            std::io::ErrorKind::ConnectionReset,
            "the server neither answers nor closes"
        );
    }
    String::from_utf8_lossy(&answer).into_owned()
}

fn post(headers: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("POST /api/v1/models HTTP/1.1\r\nhost: a\r\nconnection: close\r\n{headers}\r\n\r\n");
    [head.as_bytes(), body].concat()
}

fn get(path: &str, headers: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n{headers}\r\n").into_bytes()
}

/// What the client does when it has sent everything.
type Then = fn(&TcpStream);

fn sized(body: &[u8]) -> Vec<u8> {
    post(&format!("content-length: {}", body.len()), body)
}

#[tokio::test(flavor = "multi_thread")]
async fn nasty_requests_are_refused_or_cut_off_and_never_a_fault_of_ours() {
    let server = TestServer::start_with(|config| {
        config.protection.head_timeout = Duration::from_secs(2);
        config.protection.body_timeout = Duration::from_secs(2);
        config.http.workers = 2;
    })
    .await;
    let open = |_: &TcpStream| {};
    let half = |stream: &TcpStream| {
        let _ = stream.shutdown(Shutdown::Write);
    };
    let many = (0..1000).map(|n| format!("x-{n}: 1\r\n")).collect::<Vec<_>>().concat();
    let nested = "[".repeat(100_000);
    let nested_object = "{\"a\":".repeat(100_000);
    let bomb = {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        for _ in 0..64 {
            encoder.write_all(&vec![b' '; 1 << 20]).unwrap();
        }
        encoder.finish().unwrap()
    };
    let zipped = format!("content-encoding: gzip\r\ncontent-length: {}", bomb.len());
    let chunked = "transfer-encoding: chunked";
    let (open, half): (Then, Then) = (open, half);

    // The statuses that will do; 0 for a connection that is closed without a word.
    let cases: Vec<(&str, Vec<u8>, Then, &[u16])> = vec![
        (
            "100 KB of headers",
            get("/api/v1/models", &format!("x-a: {}\r\n", "a".repeat(100 << 10))),
            open,
            &[431],
        ),
        (
            "300 KB of headers",
            get("/api/v1/models", &format!("x-a: {}\r\n", "a".repeat(300 << 10))),
            open,
            &[431, 0],
        ),
        ("1,000 headers", get("/api/v1/models", &many), open, &[431, 0]),
        ("a URL of 60 KB", get(&format!("/api/v1/{}", "a".repeat(60 << 10)), ""), open, &[414]),
        ("a URL of 70 KB", get(&format!("/api/v1/{}", "a".repeat(70 << 10)), ""), open, &[400, 414, 0]),
        ("a head that never ends", b"GET /api/v1/models HTTP/1.1\r\nhost: a\r\nx-a: ".to_vec(), open, &[408]),
        ("a body that never ends", post("content-length: 100", b"{"), open, &[408]),
        ("a body shorter than it says", post("content-length: 100", b"{"), half, &[400, 0]),
        ("a body longer than it says", post("content-length: 2", b"{}{}{}"), open, &[422]),
        ("a length that is none", post("content-length: -1", b"{}"), open, &[400, 0]),
        ("two lengths", post("content-length: 2\r\ncontent-length: 3", b"{}"), open, &[400, 0]),
        (
            "a length and chunks",
            post(&format!("content-length: 2\r\n{chunked}"), b"0\r\n\r\n"),
            open,
            &[400, 0],
        ),
        ("rubbish for chunks", post(chunked, b"xyz\r\n{}\r\n0\r\n\r\n"), open, &[400, 0]),
        ("a chunk of endless size", post(chunked, b"ffffffffffffffffff\r\n{}"), open, &[400, 0]),
        ("lists 100,000 deep", sized(nested.as_bytes()), open, &[400]),
        ("objects 100,000 deep", sized(nested_object.as_bytes()), open, &[400]),
        ("a bomb of 64 MB", post(&zipped, &bomb), open, &[413]),
        ("no gzip at all", post("content-encoding: gzip\r\ncontent-length: 2", b"{}"), open, &[400]),
        ("too large a body", post("content-length: 3000000", b"{"), open, &[413]),
        ("no HTTP at all", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(), open, &[400, 0]),
        ("no version", b"GET /\r\n\r\n".to_vec(), open, &[400, 0]),
        ("a NUL in the path", b"GET /a\0b HTTP/1.1\r\nhost: a\r\n\r\n".to_vec(), open, &[400, 0]),
        ("nothing", Vec::new(), half, &[0]),
    ];
    for (name, bytes, then, statuses) in cases {
        let answer = tokio::task::block_in_place(|| raw(&server, &bytes, then));

        let status = answer.split(' ').nth(1).map_or(0, |status| status.parse().unwrap());
        assert!(statuses.contains(&status), "{name}: {}", &answer[..answer.len().min(600)]);
        let (_, body) = answer.split_once("\r\n\r\n").unwrap_or_default();
        assert!(body.is_empty() || answer.contains("application/problem+json"), "{name}: {answer}");
        server.get("/health/live").await.expect(200);
    }
}

/// A client that keeps its connection, and its chunked body open.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_never_ends_a_body_in_chunks_loses_the_connection_after_the_answer() {
    let server = TestServer::start_with(|config| {
        with_key(config);
        config.protection.body_timeout = Duration::from_secs(1);
        config.http.max_body_bytes = 1 << 16;
    })
    .await;
    let request = |path: &str, key: &str, method: &str| {
        let head = format!("{method} {path} HTTP/1.1\r\nhost: a\r\nx-api-key: {key}\r\n");
        format!("{head}transfer-encoding: chunked\r\n\r\n1\r\n{{\r\n").into_bytes()
    };
    let silence = |_: &TcpStream| {};
    let drip = |stream: &TcpStream| keep_sending(stream, b"1\r\n \r\n".to_vec(), Duration::from_millis(20));
    let flood = |stream: &TcpStream| keep_sending(stream, large_chunk(), Duration::ZERO);
    let (silence, drip, flood): (Then, Then, Then) = (silence, drip, flood);

    for (name, bytes, then, status) in [
        ("read, and then nothing", request("/api/v1/models", KEY, "POST"), silence, "408"),
        ("read, and then little", request("/api/v1/models", KEY, "POST"), drip, "408"),
        ("read, and then too much", request("/api/v1/models", KEY, "POST"), flood, "413"),
        ("not read", request("/api/v1/models", KEY, "GET"), silence, "200"),
        ("not read, and then little", request("/api/v1/models", KEY, "GET"), drip, "200"),
        ("refused", request("/api/v1/models", "guess", "POST"), silence, "401"),
        ("refused, and then too much", request("/api/v1/models", "guess", "POST"), flood, "401"),
    ] {
        let answer = tokio::task::block_in_place(|| raw(&server, &bytes, then));

        assert_eq!(answer.split(' ').nth(1), Some(status), "{name}: {answer}");
        assert!(answer.contains("\r\nconnection: close\r\n"), "{name}: {answer}");
    }

    // Whoever ends it keeps the connection.
    let bytes = request("/api/v1/models", KEY, "POST");
    let answers = tokio::task::block_in_place(|| {
        raw(&server, &bytes, |stream| {
            { stream }.write_all(b"1\r\n}\r\n0\r\n\r\n").unwrap();
            { stream }.write_all(&get("/health/live", "")).unwrap();
        })
    });
    assert!(answers.starts_with("HTTP/1.1 422 ") && answers.contains("HTTP/1.1 200 "), "{answers}");
}

/// A chunk of 4,096 blanks.
fn large_chunk() -> Vec<u8> {
    format!("1000\r\n{:4096}\r\n", "").into_bytes()
}

/// Until the other side has had enough.
fn keep_sending(stream: &TcpStream, bytes: Vec<u8>, pause: Duration) {
    let mut stream = stream.try_clone().unwrap();
    std::thread::spawn(move || {
        while stream.write_all(&bytes).is_ok() {
            std::thread::park_timeout(pause);
        }
    });
}
