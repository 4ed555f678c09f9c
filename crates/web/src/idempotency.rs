//! `Idempotency-Key`: what a request that is sent twice is answered.

use std::future::{Future, Ready, pending, ready};
use std::io::{self, Read, Write};
use std::time::Duration;

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::Payload;
use actix_web::http::StatusCode;
use actix_web::http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, LOCATION};
use actix_web::web::{self, Bytes, Data};
use actix_web::{FromRequest, HttpRequest, HttpResponse};
use application::caller::{self, Caller};
use application::chain::Chain;
use application::idempotency::{
    Answer, Claim, Claimed, Fingerprint, Idempotency, InvalidKey, Key, LEASE, OperationId,
};
use application::repository;
use flate2::Compression;
use flate2::read::ZlibDecoder;
use flate2::write::ZlibEncoder;
use sha2::{Digest, Sha256};
use utoipa::IntoParams;

use crate::problem::Problem;

const KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// Says that a request was sent before, and that nothing was done this time.
pub(crate) const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

/// Says that `Prefer` was followed (RFC 7240).
pub(crate) const PREFERENCE_APPLIED: HeaderName = HeaderName::from_static("preference-applied");

/// What a repetition is told besides status and body.
const KEPT_HEADERS: [HeaderName; 3] = [CONTENT_TYPE, LOCATION, PREFERENCE_APPLIED];

/// How long a reply waits for its key to be settled. Should that fail, it is made up for when the lease
/// has ended.
const SETTLING: Duration = Duration::from_secs(2);

/// Larger bodies are not compressed between the requests of others.
const LARGE: usize = 64 << 10;

#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "describes the header to clients; `Once` reads it")]
pub(crate) struct IdempotencyKeyHeader {
    /// Makes the request safe to repeat: 1 to 255 visible ASCII characters, such as a UUID, plain or as a
    /// quoted string. For 24 hours the same request with the same key is done once and given the same
    /// answer, then with `Idempotent-Replayed: true`. Only successes are kept: after a refusal or an
    /// outage the request may be sent again with the same key.
    #[param(
        rename = "Idempotency-Key",
        format = "idempotency-key",
        example = "8c5b6e0e-5c1f-4b8e-9d7a-3f1a2b4c5d6e"
    )]
    key: Option<String>,
}

/// What is done once for each key.
pub(crate) trait Operation {
    /// The id that it will use, unless it was begun before under another.
    fn propose(&self) -> OperationId;

    /// `None` if something is kept under that id already.
    async fn perform(&self, id: OperationId) -> Result<Option<HttpResponse>, Problem>;

    /// What [`perform`](Self::perform) answers, made of what is kept under that id; `None` if nothing is.
    async fn kept(&self, id: OperationId) -> Result<Option<HttpResponse>, Problem>;
}

/// Does operations once, if the request has a key.
pub(crate) struct Once {
    idempotency: Data<Idempotency>,
    key: Option<Key>,
    /// Method and path.
    route: String,
}

impl Once {
    /// `asked` is all that the request asks for besides its method and path: by that is it known again.
    pub(crate) async fn answer(
        &self,
        asked: &[&[u8]],
        operation: impl Operation,
    ) -> Result<HttpResponse, Problem> {
        let id = operation.propose();
        let Some(key) = &self.key else {
            return operation.perform(id).await?.ok_or_else(Problem::id_taken);
        };
        let claim = Claim {
            fingerprint: self.fingerprint(asked),
            proposed: id,
            lease: LEASE,
            kept_for: self.idempotency.kept_for,
        };
        match self.idempotency.keys.claim(key, &claim).await? {
            Claimed::Fresh => {
                let done = self.holding(key, id, perform(&operation, id)).await;
                self.settle(Held { key, holder: id, is_fresh: true }, done).await
            }
            Claimed::Resumed(first) => {
                let done = async {
                    match operation.kept(first).await? {
                        Some(kept) => Ok(replayed(kept)),
                        None => perform(&operation, first).await,
                    }
                };
                let done = self.holding(key, id, done).await;
                self.settle(Held { key, holder: id, is_fresh: false }, done).await
            }
            Claimed::InFlight => Err(Problem::request_in_flight()),
            Claimed::Answered(first, answer) => match again(&answer)? {
                Some(answered) => Ok(replayed(answered)),
                None => kept(&operation, first).await,
            },
            Claimed::Reused => Err(Problem::idempotency_key_reused()),
        }
    }

    /// Parts are told apart by their lengths.
    fn fingerprint(&self, asked: &[&[u8]]) -> Fingerprint {
        let mut digest = Sha256::new();
        for part in [self.route.as_bytes()].iter().chain(asked) {
            digest.update((part.len() as u64).to_be_bytes());
            digest.update(part);
        }
        Fingerprint(digest.finalize().into())
    }

    /// Renews the lease as long as `work` takes.
    async fn holding<T>(&self, key: &Key, holder: OperationId, work: impl Future<Output = T>) -> T {
        let renewing = async {
            loop {
                tokio::time::sleep(LEASE / 3).await;
                match self.idempotency.keys.renew(key, holder, LEASE).await {
                    Ok(true) => {}
                    // Whoever resumed it works under the same id.
                    Ok(false) => pending().await,
                    Err(error) => tracing::warn!(error = %Chain(&error), "a lease is not renewed"),
                }
            }
        };
        tokio::select! {
            biased;
            done = work => done,
            () = renewing => unreachable!("it is renewed until the work is done"),
        }
    }

    async fn settle(
        &self,
        held: Held<'_>,
        done: Result<HttpResponse, Problem>,
    ) -> Result<HttpResponse, Problem> {
        let (keys, Held { key, holder, is_fresh }) = (&self.idempotency.keys, held);
        match done {
            Ok(response) => {
                let (answer, response) = kept_and_sent(response).await;
                settled("answer", keys.answer(key, holder, &answer)).await;
                Ok(response)
            }
            // Nothing was done, and nobody else can be at it.
            Err(problem) if is_fresh && problem.is_refusal() => {
                settled("release", keys.release(key, holder)).await;
                Err(problem)
            }
            // What an outage left undone nobody knows.
            Err(problem) => {
                settled("suspend", keys.suspend(key, holder)).await;
                Err(problem)
            }
        }
    }
}

/// A key that a claim got.
struct Held<'a> {
    key: &'a Key,
    holder: OperationId,
    /// Nobody held it before.
    is_fresh: bool,
}

impl FromRequest for Once {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let idempotency = request.app_data::<Data<Idempotency>>().expect("the server has it").clone();
        let path = request.path().trim_end_matches('/');
        let route = format!("{} {path}", request.method());
        ready(key(request.headers(), &route).map(|key| Self { idempotency, key, route }))
    }
}

fn key(headers: &HeaderMap, route: &str) -> Result<Option<Key>, Problem> {
    let mut given = headers.get_all(KEY);
    let Some(first) = given.next() else { return Ok(None) };
    let key = match given.next() {
        None => first.to_str().ok().and_then(unquoted),
        Some(_) => None,
    };
    let scope = match caller::current() {
        Some(caller @ Caller::ApiKey(_)) => format!("{caller} {route}"),
        // Whoever repeats a request may come from another address.
        Some(Caller::Address(_)) | None => route.to_owned(),
    };
    match key.map(|text| Key::new(&scope, &text)) {
        Some(Ok(key)) => Ok(Some(key)),
        Some(Err(InvalidKey)) | None => Err(Problem::invalid_idempotency_key()),
    }
}

/// As it is, or what a quoted string of RFC 8941 holds; `None` if it begins as one and is none.
fn unquoted(value: &str) -> Option<String> {
    let Some(quoted) = value.trim().strip_prefix('"') else { return Some(value.trim().to_owned()) };
    let mut text = String::new();
    let mut rest = quoted.strip_suffix('"')?.chars();
    while let Some(next) = rest.next() {
        match next {
            '\\' => text.push(rest.next().filter(|escaped| matches!(escaped, '"' | '\\'))?),
            '"' => return None,
            plain => text.push(plain),
        }
    }
    Some(text)
}

async fn perform(operation: &impl Operation, id: OperationId) -> Result<HttpResponse, Problem> {
    match operation.perform(id).await? {
        Some(performed) => Ok(performed),
        None => kept(operation, id).await,
    }
}

async fn kept(operation: &impl Operation, id: OperationId) -> Result<HttpResponse, Problem> {
    operation.kept(id).await?.map(replayed).ok_or_else(Problem::result_gone)
}

fn replayed(mut response: HttpResponse) -> HttpResponse {
    response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    response
}

/// What is kept of a response, and the response. A body that is made while it is sent is not kept: no more
/// is one that is too large.
async fn kept_and_sent(response: HttpResponse) -> (Answer, HttpResponse) {
    let header = |name: &HeaderName| {
        let value = response.headers().get(name)?.to_str().ok()?;
        Some((name.as_str().to_owned(), value.to_owned()))
    };
    let status = response.status().as_u16();
    let headers = KEPT_HEADERS.iter().filter_map(header).collect();
    let (head, body) = response.into_parts();
    let (kept, sent) = match body.try_into_bytes() {
        Ok(bytes) => (compressed(bytes.clone()).await, BoxBody::new(bytes)),
        Err(streamed) => (None, streamed),
    };
    let body = kept.filter(|body| body.len() <= Answer::MAX_BODY_BYTES);
    (Answer { status, headers, body }, head.set_body(sent))
}

/// `None` if the answer was kept without its body.
fn again(answer: &Answer) -> Result<Option<HttpResponse>, Problem> {
    let Some(body) = &answer.body else { return Ok(None) };
    let read = || -> Result<HttpResponse, repository::Source> {
        let mut response = HttpResponse::build(StatusCode::from_u16(answer.status)?);
        for (name, value) in &answer.headers {
            response.insert_header((name.as_str(), value.as_str()));
        }
        let mut bytes = Vec::new();
        ZlibDecoder::new(body.as_slice()).read_to_end(&mut bytes)?;
        Ok(response.body(bytes))
    };
    let corrupt = |source| repository::Error::Corrupt { entity: "answer to an idempotency key", source };
    Ok(Some(read().map_err(corrupt)?))
}

/// `None` where it cannot be: then it is made again.
async fn compressed(body: Bytes) -> Option<Vec<u8>> {
    let is_large = LARGE < body.len();
    let compress = move || -> io::Result<Vec<u8>> {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(&body)?;
        encoder.finish()
    };
    if is_large { web::block(compress).await.ok()?.ok() } else { compress().ok() }
}

async fn settled<T>(what: &'static str, call: impl Future<Output = Result<T, repository::Error>>) {
    match tokio::time::timeout(SETTLING, call).await {
        Ok(Ok(_)) => {}
        Ok(Err(error)) => tracing::warn!(what, error = %Chain(&error), "an idempotency key is not settled"),
        Err(_) => tracing::warn!(what, "an idempotency key is not settled in time"),
    }
}
