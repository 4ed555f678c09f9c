//! Large JSON, written while it is read.

use actix_web::HttpResponse;
use actix_web::http::header::ContentType;
use actix_web::web::Bytes;
use application::chain::Chain;
use application::repository;
use futures_util::stream::{self, Stream, StreamExt, TryStreamExt};
use tracing::Span;

use crate::problem::Problem;

/// A chunk ends with the item that fills it.
const CHUNK_BYTES: usize = 64 * 1024;

/// Replies with `before`, then the items, which are JSON, separated by commas, then `after`.
///
/// A failure within the first chunk is a problem like any other. Later the status is out: the failure is
/// logged and the connection breaks, so that no client takes a part for the whole.
pub(crate) async fn list(
    before: String,
    items: impl Stream<Item = Result<String, repository::Error>> + 'static,
    after: String,
) -> Result<HttpResponse, Problem> {
    let mut chunks = chunks(before, items, after).boxed_local();
    let first = chunks.try_next().await?;

    let request = Span::current();
    let rest = chunks.inspect_err(move |error| {
        request.in_scope(|| tracing::error!(error = %Chain(error), "reply broken off"));
    });
    let body = stream::iter(first.map(Ok)).chain(rest);
    Ok(HttpResponse::Ok().content_type(ContentType::json()).streaming(body))
}

fn chunks(
    before: String,
    items: impl Stream<Item = Result<String, repository::Error>> + 'static,
    after: String,
) -> impl Stream<Item = Result<Bytes, repository::Error>> {
    let separators = stream::iter([""]).chain(stream::repeat(","));
    let items = items.zip(separators).map(|(item, separator)| Ok(format!("{separator}{}", item?)));
    let parts = stream::iter([Ok(before)]).chain(items).chain(stream::iter([Ok(after)]));

    stream::try_unfold(parts.boxed_local(), |mut parts| async move {
        let mut chunk = String::new();
        while chunk.len() < CHUNK_BYTES {
            match parts.try_next().await? {
                Some(part) => chunk.push_str(&part),
                None => break,
            }
        }
        Ok((!chunk.is_empty()).then(|| (chunk.into(), parts)))
    })
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{SocketAddr, TcpStream};

    use actix_web::http::StatusCode;
    use actix_web::middleware::Compress;
    use actix_web::{App, HttpServer, ResponseError, web};

    use super::*;

    fn items(
        n: usize,
        bytes: usize,
    ) -> impl Iterator<Item = Result<String, repository::Error>> + Clone + 'static {
        std::iter::repeat_n("1".repeat(bytes), n).map(Ok)
    }

    fn broken() -> Result<String, repository::Error> {
        Err(repository::Error::Corrupt { entity: "rebalance", source: "torn".into() })
    }

    async fn written(
        items: impl Iterator<Item = Result<String, repository::Error>> + 'static,
    ) -> Vec<Result<Bytes, repository::Error>> {
        chunks("[".to_owned(), stream::iter(items), "]".to_owned()).collect().await
    }

    #[actix_web::test]
    async fn chunks_are_bounded_and_make_up_the_list() {
        for (n, bytes, n_chunks) in [
            (0, 0, 1),
            (1, 1, 1),
            (3, CHUNK_BYTES, 4),
            (3, CHUNK_BYTES - 2, 2),
            (1000, CHUNK_BYTES / 100, 11),
        ] {
            let chunks: Vec<Bytes> = written(items(n, bytes)).await.into_iter().map(Result::unwrap).collect();

            assert_eq!(chunks.len(), n_chunks, "{n} of {bytes} bytes");
            assert!(chunks.iter().all(|chunk| chunk.len() <= CHUNK_BYTES + bytes + 1));
            let list: Vec<String> = items(n, bytes).map(Result::unwrap).collect();
            assert_eq!(chunks.concat(), format!("[{}]", list.join(",")).as_bytes());
        }
    }

    #[actix_web::test]
    async fn nothing_follows_a_failure() {
        let written = written(items(2, CHUNK_BYTES).chain([broken()]).chain(items(2, CHUNK_BYTES))).await;

        assert_eq!(written.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, true, false]);
    }

    #[actix_web::test]
    async fn a_failure_in_the_first_chunk_is_a_problem() {
        let items = stream::iter(items(9, 9).chain([broken()]));

        let problem = list("[".to_owned(), items, "]".to_owned()).await.unwrap_err();

        assert_eq!(problem.status_code(), StatusCode::INTERNAL_SERVER_ERROR);
    }

    /// All that a server sends before it closes the connection.
    fn received(address: SocketAddr, path: &str, encoding: &str) -> Vec<u8> {
        let mut stream = TcpStream::connect(address).unwrap();
        let request = format!(
            "GET {path} HTTP/1.1\r\nhost: here\r\nconnection: close\r\naccept-encoding: {encoding}\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut reply = Vec::new();
        // A reset is as much a break as an early end.
        let _ = stream.read_to_end(&mut reply);
        reply
    }

    #[actix_web::test]
    async fn a_later_failure_breaks_the_connection_before_the_end_of_the_body() {
        const END_OF_BODY: &[u8] = b"\r\n0\r\n\r\n";

        let reply = |last: fn() -> Result<String, repository::Error>| {
            web::to(move || {
                let items = stream::iter(items(40, CHUNK_BYTES).chain([last()]));
                list("[".to_owned(), items, "]".to_owned())
            })
        };
        let build = move || {
            App::new()
                .wrap(Compress::default())
                .route("/whole", reply(|| Ok("2".to_owned())))
                .route("/part", reply(broken))
        };
        let server = HttpServer::new(build).workers(1).disable_signals().bind("127.0.0.1:0").unwrap();
        let address = server.addrs()[0];
        let server = server.run();
        let handle = server.handle();

        let check = async {
            for encoding in ["identity", "gzip"] {
                for (path, is_whole) in [("/whole", true), ("/part", false)] {
                    let reply = web::block(move || received(address, path, encoding)).await.unwrap();

                    assert!(reply.starts_with(b"HTTP/1.1 200"), "{path} {encoding}");
                    assert_eq!(reply.ends_with(END_OF_BODY), is_whole, "{path} {encoding}");
                }
            }
            handle.stop(false).await;
        };
        let (served, ()) = tokio::join!(server, check);
        served.unwrap();
    }
}
