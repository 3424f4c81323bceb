//! What a node serves before it belongs to a cluster: that it lives, and what it waits for.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde_json::json;
use tokio::sync::watch;

use super::cluster::Me;
use super::error::ApiError;
use super::peers::Door;
use super::{health, peers};
use crate::peer::Rpc;
use crate::peer::inbox::Inbox;
use crate::store::{ErrorCode, WriteOutcome};
use crate::telemetry::Metrics;

/// More than a founder ever asks.
const QUESTION_MAX_BYTES: u64 = 1 << 20;

/// What these few handlers work with.
#[derive(Clone)]
pub struct Waiting {
    /// Answers the founder.
    pub inbox: Inbox,
    /// What is waited for.
    pub progress: watch::Receiver<String>,
    /// This node.
    pub me: Me,
    /// Metrics.
    pub metrics: Arc<Metrics>,
}

/// The routes of a node without a cluster.
pub fn router(waiting: Waiting) -> Router {
    let found = |State(waiting): State<Waiting>, request: Request| async move {
        let (inbox, metrics) = (&waiting.inbox, &*waiting.metrics);
        let door = Door { inbox, metrics, max_bytes: QUESTION_MAX_BYTES };
        peers::receive(door, Rpc::Found, request).await
    };
    Router::new()
        .route("/livez", get(health::livez))
        .route("/heartbeat", get(heartbeat))
        .route("/metrics", get(|State(w): State<Waiting>| async move { w.metrics.render() }))
        .route(Rpc::Found.path(), post(found))
        .method_not_allowed_fallback(not_ready)
        .fallback(not_ready)
        .with_state(waiting)
}

async fn heartbeat(State(waiting): State<Waiting>) -> Response {
    axum::Json(json!({
        "cluster_id": null,
        "node": waiting.me.name.as_str(),
        "role": "learner",
        "term": 0,
        "leader": null,
        "commit_index": null,
        "applied_index": null,
        "state_hash": null,
        "pid": waiting.me.pid,
        "uptime_ms": waiting.me.uptime_ms(),
        "version": env!("CARGO_PKG_VERSION"),
        "waiting_for": waiting.progress.borrow().as_str(),
    }))
    .into_response()
}

async fn not_ready(State(waiting): State<Waiting>) -> ApiError {
    let detail = waiting.progress.borrow().clone();
    ApiError::new(ErrorCode::NotReady, detail)
        .outcome(WriteOutcome::NotApplied)
        .retry_after(Duration::from_secs(1))
}
