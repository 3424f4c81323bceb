//! Probes and metrics.

use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};

use super::App;
use super::error::ApiError;
use crate::store::ErrorCode;

/// `GET /livez`: the process runs its loop. Never looks at the majority: restarting a node does not
/// bring other nodes back.
pub(super) async fn livez() -> &'static str {
    "ok\n"
}

/// `GET /readyz`: this node can serve.
pub(super) async fn readyz(State(app): State<App>) -> Result<&'static str, ApiError> {
    if app.stop.is_requested() {
        return Err(ApiError::new(ErrorCode::ShuttingDown, "this node is shutting down"));
    }
    let not_ready =
        |why: String| ApiError::new(ErrorCode::NotReady, why).retry_after(Duration::from_secs(1));
    app.store.readiness().map(|()| "ok\n").map_err(not_ready)
}

/// `GET /metrics`: Prometheus text.
pub(super) async fn metrics(State(app): State<App>) -> Response {
    app.metrics.proposals_pending.set(app.store.pending() as u64);
    app.metrics.proposals_pending_bytes.set(app.store.pending_bytes() as u64);
    let metrics = app.metrics.clone();
    // A thousand lines take a millisecond or two, which the runtime's thread has better use for.
    let rendered = app.tasks.spawn_blocking("metrics-render", move || metrics.render()).await;
    let rendered = rendered.unwrap_or_else(|_| app.metrics.render());
    let text = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    ([(header::CONTENT_TYPE, text)], rendered).into_response()
}
