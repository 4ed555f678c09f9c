//! How far a rebalance has come, as server-sent events.

use std::time::Duration;

use actix_web::HttpResponse;
use actix_web::http::header::{CACHE_CONTROL, ContentEncoding};
use actix_web::web::{Bytes, Data};
use application::chain::Chain;
use application::order_generation::{Error, OrderGeneration};
use domain::identifier::RebalanceId;
use domain::order_generation::progress::{Progress, RebalanceStatus};
use futures_util::stream;
use serde::Serialize;
use tokio::time::Instant;
use utoipa::ToSchema;

use super::rebalance::ReasonBody;
use super::rebalances::RebalanceStatusBody;
use crate::health::Lifetime;
use crate::openapi::RebalanceIdText;
use crate::parameters::Parameters;
use crate::problem::Problem;

/// Between two looks at the store, which holds nothing meanwhile.
const PAUSE: Duration = Duration::from_millis(500);

/// Proxies close a connection on which nothing comes.
const HEARTBEAT: Duration = Duration::from_secs(15);

const EXAMPLE: &str = "{\"rebalance_id\":\"6835a1b2c3d4e5f6a7b8c9d1\",\"status\":\"RUNNING\",\"portfolios_total\":1000,\
    \"number_of_portfolios\":512,\"portfolios_failed\":3,\"error\":null,\"version\":1}";

/// One event, as those who read it have it.
#[derive(ToSchema)]
#[schema(as = RebalanceEvent)]
#[expect(dead_code, reason = "describes the stream to clients; it is written as text")]
pub(crate) struct EventBody {
    event: EventName,
    /// A `RebalanceProgress` as JSON.
    #[schema(content_media_type = "application/json", example = json!(EXAMPLE))]
    data: String,
}

#[derive(ToSchema)]
#[schema(as = RebalanceEventName)]
#[schema(rename_all = "snake_case")]
#[expect(dead_code, reason = "describes the stream to clients; it is written as text")]
enum EventName {
    Progress,
    Completed,
    Failed,
    Cancelled,
}

/// The data of one event.
#[derive(Serialize, ToSchema)]
#[schema(as = RebalanceProgress)]
pub(crate) struct ProgressBody<'a> {
    #[schema(value_type = RebalanceIdText)]
    rebalance_id: String,
    status: RebalanceStatusBody,
    #[schema(format = "offset", example = 1000)]
    portfolios_total: usize,
    /// Rebalanced so far.
    #[schema(format = "offset", example = 512)]
    number_of_portfolios: usize,
    #[schema(format = "offset", example = 3)]
    portfolios_failed: usize,
    /// Why it FAILED as a whole.
    #[schema(required)]
    error: Option<ReasonBody<'a>>,
    /// What a delete needs, which cancels a rebalance that is RUNNING.
    #[schema(format = "version", example = 1)]
    version: i64,
}

struct Watch {
    app: Data<OrderGeneration>,
    lifetime: Data<Lifetime>,
    id: RebalanceId,
    told: Option<Progress>,
    last: Instant,
    is_over: bool,
}

/// Follows a rebalance that is under way, as server-sent events.
///
/// `progress` tells its numbers whenever they change; the last event is named by how it ended:
/// `completed`, `failed` or `cancelled`. Of one that has ended, only the last is sent.
#[utoipa::path(
    get, path = "/api/v1/rebalance/{rebalance_id}/events", tag = "rebalances", operation_id = "follow_rebalance",
    params(("rebalance_id" = RebalanceIdText, Path, description = "The rebalance")),
    responses(
        (
            status = 200, description = "Events, each with a `RebalanceProgress` as its data",
            content_type = "text/event-stream", body = EventBody,
            example = json!({ "event": "progress", "data": EXAMPLE }),
        ),
    ),
)]
pub(super) async fn events(
    app: Data<OrderGeneration>,
    lifetime: Data<Lifetime>,
    parameters: Parameters,
) -> Result<HttpResponse, Problem> {
    let id = parameters.rebalance_id()?;
    let mut watch = Watch { app, lifetime, id, told: None, last: Instant::now(), is_over: false };
    // One that is not there is a problem like any other.
    let first = watch.look().await?;
    let later = stream::unfold(watch, |mut watch| async move {
        let event = watch.next().await?;
        Some((Ok::<_, actix_web::Error>(Bytes::from(event)), watch))
    });
    let first = stream::iter(first.map(|event| Ok(Bytes::from(event))));
    Ok(HttpResponse::Ok()
        .content_type("text/event-stream")
        .insert_header((CACHE_CONTROL, "no-cache"))
        .insert_header(("x-accel-buffering", "no"))
        // A compressed event would wait for others.
        .insert_header(ContentEncoding::Identity)
        .streaming(futures_util::StreamExt::chain(first, later)))
}

impl Watch {
    /// `None` at the end: the rebalance's, this service's, or the store's. Clients come again by themselves.
    async fn next(&mut self) -> Option<String> {
        while !self.is_over && !self.lifetime.is_draining() {
            tokio::time::sleep(PAUSE).await;
            match self.look().await {
                Ok(Some(event)) => return Some(event),
                Ok(None) if HEARTBEAT <= self.last.elapsed() => {
                    self.last = Instant::now();
                    return Some(": still there\n\n".to_owned());
                }
                Ok(None) => {}
                Err(Error::UnknownRebalance(_)) => return None,
                Err(error) => {
                    tracing::warn!(error = %Chain(&error), "events broken off");
                    return None;
                }
            }
        }
        None
    }

    /// The event that there is to tell.
    async fn look(&mut self) -> Result<Option<String>, Error> {
        let open = self.app.rebalance(&self.id).await?;
        let progress = open.header.progress(open.number_of_portfolios());
        let status = &open.header.status;
        let name = match status {
            RebalanceStatus::Running(_) if self.told == Some(progress) => return Ok(None),
            RebalanceStatus::Running(_) => "progress",
            RebalanceStatus::Completed => "completed",
            RebalanceStatus::Failed { .. } => "failed",
            RebalanceStatus::Cancelled(_) => "cancelled",
        };
        self.is_over = !matches!(status, RebalanceStatus::Running(_));
        self.told = Some(progress);
        self.last = Instant::now();
        let data = ProgressBody {
            rebalance_id: self.id.to_string(),
            status: RebalanceStatusBody::from(status),
            portfolios_total: progress.total,
            number_of_portfolios: progress.rebalanced,
            portfolios_failed: progress.failed,
            error: ReasonBody::of(status),
            version: open.header.version.get(),
        };
        let data = serde_json::to_string(&data).expect("strings and numbers serialise");
        Ok(Some(format!("event: {name}\ndata: {data}\n\n")))
    }
}
