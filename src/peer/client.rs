//! Calls peers over HTTP/1.1, one connection pool per [`Lane`].

use std::time::Duration;

use bytes::Bytes;

use super::{BoxFuture, Lane, Message, PeerError, Transport};
use crate::telemetry::traces::TRACEPARENT;
use crate::types::NodeUrl;

/// An idle connection is kept this long: above any heartbeat interval, and below the time after
/// which the other side closes it, so that no request meets a closing connection.
const IDLE_TIMEOUT: Duration = Duration::from_secs(5);
/// Time for a connection to come about.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(500);
/// An answer larger than this is not one of ours.
const ANSWER_MAX_BYTES: u64 = 1 << 20;

/// Peers over HTTP.
pub struct HttpTransport {
    log: reqwest::Client,
    control: reqwest::Client,
    snapshot: reqwest::Client,
}

/// The HTTP client could not be made; never seen without TLS.
#[derive(Debug, thiserror::Error)]
#[error("cannot make the HTTP client")]
pub struct ClientError(#[from] reqwest::Error);

impl HttpTransport {
    /// Three clients, so that the lanes share no connection.
    pub fn new() -> Result<Self, ClientError> {
        Ok(Self { log: client()?, control: client()?, snapshot: client()? })
    }

    fn lane(&self, lane: Lane) -> &reqwest::Client {
        match lane {
            Lane::Log => &self.log,
            Lane::Control => &self.control,
            Lane::Snapshot => &self.snapshot,
        }
    }
}

pub(super) fn client() -> Result<reqwest::Client, ClientError> {
    let builder = reqwest::Client::builder()
        .http1_only()
        .no_proxy()
        .tcp_nodelay(true)
        // A redirect between peers would send the log to a stranger.
        .redirect(reqwest::redirect::Policy::none())
        .pool_idle_timeout(IDLE_TIMEOUT)
        // A machine that is gone does not refuse: without this it would cost the whole deadline,
        // and nobody could say that nothing was sent.
        .connect_timeout(CONNECT_TIMEOUT);
    Ok(builder.build()?)
}

impl Transport for HttpTransport {
    fn call(
        &self,
        to: &NodeUrl,
        message: Message,
        timeout: Duration,
    ) -> BoxFuture<Result<Bytes, PeerError>> {
        let Message { rpc, body, trace } = message;
        let mut request = self.lane(rpc.lane()).post(format!("{to}{}", rpc.path())).body(body);
        if let Some(trace) = trace {
            request = request.header(TRACEPARENT, trace.header());
        }
        Box::pin(async move {
            match tokio::time::timeout(timeout, exchange(request)).await {
                Ok(answer) => answer,
                Err(_) => Err(PeerError::Timeout(timeout)),
            }
        })
    }
}

async fn exchange(request: reqwest::RequestBuilder) -> Result<Bytes, PeerError> {
    let response = request.send().await.map_err(|error| classify(&error))?;
    let status = response.status();
    if response.content_length().is_some_and(|length| length > ANSWER_MAX_BYTES) {
        return Err(PeerError::Broken("the answer is too large to be one of ours".to_owned()));
    }
    let body = response.bytes().await.map_err(|error| classify(&error))?;
    if status.is_success() {
        return Ok(body);
    }
    let problem: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
    let text = |name: &str| problem.get(name).and_then(|v| v.as_str()).unwrap_or("").to_owned();
    Err(PeerError::Refused { status: status.as_u16(), code: text("code"), detail: text("detail") })
}

pub(super) fn classify(error: &reqwest::Error) -> PeerError {
    if error.is_connect() {
        return PeerError::Unreachable(innermost(error));
    }
    PeerError::Broken(innermost(error))
}

/// The cause that says most: reqwest's own text only repeats the URL.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}
