//! Probes and metrics.

use std::time::Duration;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};

use super::error::ApiError;
use super::{App, params};
use crate::store::ErrorCode;
use crate::telemetry::Metrics;

const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

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

/// `GET /metrics`: Prometheus text, or OpenMetrics with exemplars for those who ask for it.
pub(super) async fn metrics(State(app): State<App>, headers: HeaderMap) -> Response {
    app.metrics.proposals_pending.set(app.store.pending() as u64);
    app.metrics.proposals_pending_bytes.set(app.store.pending_bytes() as u64);
    let metrics = app.metrics.clone();
    // A thousand lines take a millisecond or two, which the runtime's thread has better use for.
    let (media, render): (_, fn(&Metrics) -> String) =
        if params::accepts(&headers, "application/openmetrics-text") {
            (OPEN_METRICS, Metrics::render_open_metrics)
        } else {
            (PROMETHEUS, Metrics::render)
        };
    let rendered = app.tasks.spawn_blocking("metrics-render", move || render(&metrics)).await;
    let rendered = rendered.unwrap_or_else(|_| render(&app.metrics));
    let media = HeaderValue::from_static(media);
    ([(header::CONTENT_TYPE, media)], rendered).into_response()
}
