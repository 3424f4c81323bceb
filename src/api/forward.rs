//! Brings a request to the one who can serve it: here, or on the leader, one hop away.
//!
//! A request that meets no leader waits for one until its deadline. It is sent again only when that
//! is safe: nobody has seen it, or the one who saw it says that nothing happened.

use std::borrow::Cow;
use std::time::Duration;

use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, percent_encode};
use tokio::time::Instant;

use super::App;
use super::error::ApiError;
use super::kv::PREFIX;
use crate::peer::PeerError;
use crate::peer::proxy::{Answer, Forwarded};
use crate::store::{ErrorCode, Route, StoreError, WriteOutcome};
use crate::telemetry::TraceContext;
use crate::telemetry::metrics::OkOrError;
use crate::telemetry::traces::{Kind, TRACEPARENT};
use crate::types::NodeUrl;

/// Set on a forwarded request: the second hop refuses a third.
pub(super) const HOP: HeaderName = HeaderName::from_static("bitacora-forwarded");
/// Set on every problem, so that a forwarder need not read the body.
pub(super) const CODE: HeaderName = HeaderName::from_static("bitacora-error-code");
/// Pause before a leader is asked again that could not be reached.
pub(super) const RETRY: Duration = Duration::from_millis(20);
/// What the leader leaves for the way back of its answer.
const WAY_BACK: Duration = Duration::from_millis(10);

/// Headers of a client's request that the leader needs.
const PASSED_ON: [HeaderName; 5] = [
    header::ACCEPT,
    header::CONTENT_TYPE,
    header::IF_MATCH,
    header::IF_NONE_MATCH,
    HeaderName::from_static("prefer"),
];

/// A request that may have to go to the leader.
pub(super) struct Request<'a> {
    /// Its method.
    pub method: &'a Method,
    /// Its path and query.
    pub uri: &'a Uri,
    /// Its headers.
    pub headers: &'a HeaderMap,
    /// Its whole body.
    pub body: Bytes,
    /// Its place in a trace.
    pub trace: Option<TraceContext>,
    /// When the client stops waiting.
    pub until: Instant,
    /// `forward=`.
    pub may_forward: bool,
}

/// Where a request ended up.
pub(super) enum Routed {
    /// To be served by this node.
    Here,
    /// Served by the leader.
    Answered(Response),
}

/// Finds out who serves the request, and lets the leader serve it if that is another node.
pub(super) async fn route(app: &App, request: &Request<'_>) -> Result<Routed, ApiError> {
    loop {
        let leader = match app.store.route(request.until).await? {
            Route::Here => return Ok(Routed::Here),
            Route::There(leader) => leader,
        };
        if !request.may_forward {
            return Err(elsewhere(&leader, request.uri));
        }
        if request.headers.contains_key(HOP) {
            // The forwarder believed that this node leads. It may look again: nothing happened.
            return Err(StoreError::NoLeader.into());
        }
        let sent = send(app, &leader, request).await;
        let is_served = sent.as_ref().is_ok_and(|answer| !try_again(answer));
        let result = if is_served { OkOrError::Ok } else { OkOrError::Error };
        app.metrics.forwarded.increment(result);
        match sent {
            Ok(answer) if !try_again(&answer) => return Ok(Routed::Answered(respond(answer))),
            Ok(_) | Err(PeerError::Unreachable(_)) => {
                if Instant::now() + RETRY >= request.until {
                    return Err(StoreError::NoLeader.into());
                }
                tokio::time::sleep(RETRY).await;
            }
            Err(
                error @ (PeerError::Timeout(_) | PeerError::Broken(_) | PeerError::Refused { .. }),
            ) => {
                return Err(lost(request.method, &leader, &error));
            }
        }
    }
}

fn elsewhere(leader: &NodeUrl, uri: &Uri) -> ApiError {
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let location = format!("{leader}{path}");
    let detail = format!("the leader is at {leader}; send the request there");
    ApiError::new(ErrorCode::NotLeader, detail).header(header::LOCATION, &location)
}

/// The connection broke after the request went out.
fn lost(method: &Method, leader: &NodeUrl, error: &PeerError) -> ApiError {
    let detail = format!("the leader at {leader} was asked, but its answer was lost: {error}");
    if method == Method::GET {
        return ApiError::new(ErrorCode::Timeout, format!("{detail}; reading again is safe"));
    }
    let detail = format!(
        "{detail}. Read the key to see whether the write took effect before you send it again"
    );
    ApiError::new(ErrorCode::Timeout, detail).outcome(WriteOutcome::Unknown)
}

/// Whether the other node said that it does not lead: then nothing happened there.
fn try_again(answer: &Answer) -> bool {
    let moved = [ErrorCode::NoLeader, ErrorCode::NotReady, ErrorCode::ShuttingDown];
    let moved = moved.map(ErrorCode::as_str);
    let code = answer.headers.get(CODE).and_then(|code| code.to_str().ok());
    code.is_some_and(|code| moved.contains(&code))
}

async fn send(app: &App, leader: &NodeUrl, request: &Request<'_>) -> Result<Answer, PeerError> {
    let left = request.until.saturating_duration_since(Instant::now());
    let mut headers = HeaderMap::new();
    for name in PASSED_ON {
        for value in request.headers.get_all(&name) {
            headers.append(name.clone(), value.clone());
        }
    }
    headers.insert(HOP, HeaderValue::from_static("1"));
    let mut span = app.traces.follow(request.trace, Kind::Client);
    span.name("forward");
    if span.is_recorded() {
        span.set("http.request.method", request.method.to_string());
        span.set("server.address", leader.to_string());
    }
    // What is not recorded here may still be recorded by the leader or the client.
    let trace = span.context().or(request.trace).map(TraceContext::header);
    if let Some(Ok(trace)) = trace.map(|trace| HeaderValue::from_str(&trace)) {
        headers.insert(TRACEPARENT, trace);
    }
    let forwarded = Forwarded {
        method: request.method.clone(),
        path_and_query: with_timeout(request.uri, left.saturating_sub(WAY_BACK)),
        headers,
        body: request.body.clone(),
    };
    let answer = app.proxy.send(leader, forwarded, left).await;
    match &answer {
        Ok(answer) => span.set("http.response.status_code", u64::from(answer.status)),
        Err(error) => span.fail(error.to_string()),
    }
    answer
}

/// The path and query with what is left of the timeout in place of the client's.
fn with_timeout(uri: &Uri, left: Duration) -> String {
    let rest = uri.query().unwrap_or_default().split('&');
    let is_timeout = |pair: &str| {
        let name = pair.split('=').next().unwrap_or_default();
        percent_decode_str(name).eq(*b"timeout")
    };
    let rest = rest.filter(|pair| !pair.is_empty() && !is_timeout(pair));
    let timeout = format!("timeout={}ms", left.as_millis().max(1));
    let query: Vec<&str> = rest.chain([timeout.as_str()]).collect();
    format!("{}?{}", literal(uri.path()), query.join("&"))
}

/// The path with its key encoded to the last byte: clients of HTTP fold `..` and `.` between
/// slashes, and a forwarded request must mean the very key that was asked for.
fn literal(path: &str) -> Cow<'_, str> {
    match path.strip_prefix(PREFIX) {
        Some(key) if !key.is_empty() => {
            let key: Vec<u8> = percent_decode_str(key).collect();
            format!("{PREFIX}{}", percent_encode(&key, NON_ALPHANUMERIC)).into()
        }
        _ => path.into(),
    }
}

fn respond(answer: Answer) -> Response {
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::BAD_GATEWAY);
    let mut response = (status, answer.body).into_response();
    for (name, value) in &answer.headers {
        let ours = name.as_str().starts_with("bitacora-")
            || [header::CONTENT_TYPE, header::ETAG, header::RETRY_AFTER].contains(name)
            || name.as_str() == "preference-applied";
        if ours {
            response.headers_mut().insert(name.clone(), value.clone());
        }
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forwarded_key_is_not_folded_as_a_path() {
        for (key, sent) in [("a/../b", "a%2F%2E%2E%2Fb"), ("x%5Cz", "x%5Cz"), ("%2e%2E", "%2E%2E")]
        {
            assert_eq!(literal(&format!("/v1/kv/{key}")), format!("/v1/kv/{sent}"));
        }
        assert_eq!(literal("/v1/kv"), "/v1/kv");
    }

    #[test]
    fn a_forwarded_request_carries_what_is_left_of_its_timeout() {
        let of = |uri: &str| with_timeout(&uri.parse().unwrap(), Duration::from_millis(150));
        assert_eq!(of("/write"), "/write?timeout=150ms");
        assert_eq!(of("/write?timeout=2s&acks=all"), "/write?acks=all&timeout=150ms");
        assert_eq!(of("/write?%74imeout=2s"), "/write?timeout=150ms");
        assert_eq!(with_timeout(&"/w".parse().unwrap(), Duration::ZERO), "/w?timeout=1ms");
    }
}
