//! Messages between nodes, as they come in over HTTP.

use std::time::Duration;

use axum::extract::Request;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use tokio::time::Instant;

use super::body;
use super::error::ApiError;
use super::trace_of;
use crate::peer::inbox::Inbox;
use crate::peer::{Message, Refusal, RefusalReason, Rpc};
use crate::telemetry::Metrics;
use crate::telemetry::metrics::RefusedReason;

/// A message that does not come in this time is of no use any more.
const MESSAGE_TIMEOUT: Duration = Duration::from_secs(10);

/// Where messages come in.
#[derive(Clone, Copy)]
pub(super) struct Door<'a> {
    /// Who answers them.
    pub(super) inbox: &'a Inbox,
    /// Where refusals are counted.
    pub(super) metrics: &'a Metrics,
    /// The largest message.
    pub(super) max_bytes: u64,
}

/// Answers a message for this node, or says why not. Nothing changes when it is refused.
pub(super) async fn receive(door: Door<'_>, rpc: Rpc, request: Request) -> Response {
    match answer(door, rpc, request).await {
        Ok(response) => response,
        Err(error) => error.into_response(),
    }
}

/// As [`receive`], with the error still to be put into words.
pub(super) async fn answer(
    door: Door<'_>,
    rpc: Rpc,
    request: Request,
) -> Result<Response, ApiError> {
    let (parts, incoming) = request.into_parts();
    let until = Instant::now() + MESSAGE_TIMEOUT;
    let sealed = body::read_up_to(incoming, &parts.headers, door.max_bytes, until).await?;
    let body = door.inbox.receive(Message { rpc, body: sealed, trace: trace_of(&parts) }).await;
    let body = body.map_err(|refusal| refused(door.metrics, refusal))?;
    let mut response = body.into_response();
    let binary = HeaderValue::from_static("application/octet-stream");
    response.headers_mut().insert(header::CONTENT_TYPE, binary);
    Ok(response)
}

fn refused(metrics: &Metrics, refusal: Refusal) -> ApiError {
    let reason = match refusal.reason {
        RefusalReason::Malformed => Some(RefusedReason::Malformed),
        RefusalReason::WrongCluster => Some(RefusedReason::WrongCluster),
        RefusalReason::WrongNode => Some(RefusedReason::WrongNode),
        RefusalReason::NotReady => None,
    };
    if let Some(reason) = reason {
        metrics.peer_messages_refused.increment(reason);
    }
    refusal.into()
}
