//! Who this node is, how it stands, and who the others are.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::Method;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde_json::{Value as Json, json};
use tokio::time::Instant;

use super::App;
use super::error::ApiError;
use super::forward::{self, Routed};
use super::params::Params;
use crate::store::{Member, Role, Status};
use crate::types::{Index, NodeName, RaftId};

/// How long a follower looks for a leader before it answers what it knows itself.
const LEADER_TIMEOUT: Duration = Duration::from_millis(500);

/// `GET /`: a signpost.
pub(super) async fn root(State(app): State<App>) -> Response {
    let status = app.store.status();
    axum::Json(json!({
        "name": "bitacora",
        "version": env!("CARGO_PKG_VERSION"),
        "node": app.me.name.as_str(),
        "role": status.role.as_str(),
        "leader": leader(&status),
        "links": {
            "write": "/write", "kv": "/v1/kv", "log": "/v1/log", "cluster": "/v1/cluster",
            "heartbeat": "/heartbeat", "ready": "/readyz", "live": "/livez", "metrics": "/metrics",
        },
    }))
    .into_response()
}

fn leader(status: &Status) -> Option<&str> {
    status.leader().map(|leader| leader.name.as_str())
}

/// `GET /heartbeat`: this node, for people and probes.
pub(super) async fn heartbeat(State(app): State<App>) -> Response {
    let status = app.store.status();
    let (applied, state_hash) = app.store.fingerprint();
    axum::Json(json!({
        "cluster_id": app.store.identity().cluster.to_string(),
        "node": app.me.name.as_str(),
        "role": status.role.as_str(),
        "term": status.term.get(),
        "leader": leader(&status),
        "commit_index": status.committed.map(Index::get),
        "applied_index": applied.map(Index::get),
        "state_hash": state_hash,
        "pid": app.me.pid,
        "uptime_ms": app.me.uptime_ms(),
        "version": env!("CARGO_PKG_VERSION"),
    }))
    .into_response()
}

/// `GET /v1/cluster`: all members, as the leader sees them if one can be asked.
pub(super) async fn cluster(
    State(app): State<App>,
    request: Request,
) -> Result<Response, ApiError> {
    let (head, _) = request.into_parts();
    let mut params = Params::parse(&head.uri)?;
    let timeout = params.timeout(LEADER_TIMEOUT)?;
    let may_forward = params.flag("forward", true)?;
    params.finish("timeout and forward")?;
    let routed = forward::Request {
        method: &Method::GET,
        uri: &head.uri,
        headers: &head.headers,
        body: Bytes::new(),
        trace: None,
        until: Instant::now() + timeout,
        may_forward,
    };
    if app.store.status().role != Role::Leader
        && let Ok(Routed::Answered(response)) = forward::route(&app, &routed).await
        && response.status().is_success()
    {
        return Ok(response);
    }
    Ok(axum::Json(own_view(&app)).into_response())
}

fn own_view(app: &App) -> Json {
    let status = app.store.status();
    let leads = status.role == Role::Leader;
    let matched = if leads { Some(app.store.matched()) } else { None };
    let member = |m: &Arc<Member>| member(app, &status, m, matched.as_ref());
    let members: Vec<_> = status.members.iter().map(member).collect();
    json!({
        "cluster_id": app.store.identity().cluster.to_string(),
        "leader": leader(&status),
        "term": status.term.get(),
        "members": members,
    })
}

fn member(
    app: &App,
    status: &Status,
    member: &Member,
    matched: Option<&BTreeMap<RaftId, Index>>,
) -> Json {
    let mut document = json!({
        "name": member.name.as_str(),
        "url": member.url.as_str(),
        "role": if member.is_voter { "voter" } else { "learner" },
        "reachable": null, "match_index": null, "lag_entries": null, "last_ack_ms": null,
    });
    let (Some(matched), Some(fields)) = (matched, document.as_object_mut()) else {
        return document;
    };
    let last = status.last.map_or(0, Index::get);
    let (matched, silence) = if member.name == app.me.name {
        (status.last, Some(Duration::ZERO))
    } else {
        (matched.get(&member.node).copied(), app.store.last_answer(member))
    };
    let reachable = silence.is_some_and(|silence| silence < app.store.lease());
    let lag = last.saturating_sub(matched.map_or(0, Index::get));
    let silence_ms = silence.map(|silence| u64::try_from(silence.as_millis()).unwrap_or(u64::MAX));
    fields.insert("reachable".to_owned(), json!(reachable));
    fields.insert("match_index".to_owned(), json!(matched.map(Index::get)));
    fields.insert("lag_entries".to_owned(), json!(lag));
    fields.insert("last_ack_ms".to_owned(), json!(silence_ms));
    document
}

/// What never changes while a node runs.
#[derive(Debug, Clone)]
pub struct Me {
    /// Its name.
    pub name: NodeName,
    /// Its process.
    pub pid: u32,
    /// When it started.
    pub started: Instant,
}

impl Me {
    /// Milliseconds since it started.
    pub fn uptime_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}
