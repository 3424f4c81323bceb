//! Sends a client's request on to the leader, as it is, and brings the answer back.

use std::time::Duration;

use bytes::Bytes;
use reqwest::Method;
use reqwest::header::HeaderMap;

use super::PeerError;
use super::client::{self, ClientError};
use crate::types::NodeUrl;

/// The largest answer that is passed on: a page of values with its frame.
const ANSWER_MAX_BYTES: u64 = 16 << 20;

/// A client's request on its way to the leader.
#[derive(Debug, Clone)]
pub struct Forwarded {
    /// As the client said.
    pub method: Method,
    /// As the client said, with what is left of its timeout.
    pub path_and_query: String,
    /// Those that the leader needs.
    pub headers: HeaderMap,
    /// As the client said.
    pub body: Bytes,
}

/// The leader's answer.
#[derive(Debug, Clone)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// All headers.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
}

/// Forwards to leaders over connections of its own, apart from the log's and the heartbeats'.
#[derive(Clone)]
pub struct Proxy(reqwest::Client);

impl Proxy {
    /// With a connection pool of its own.
    pub fn new() -> Result<Self, ClientError> {
        Ok(Self(client::client()?))
    }

    /// Sends the request and waits for the whole answer, at most `timeout`.
    ///
    /// # Errors
    /// Only [`PeerError::Unreachable`] proves that the leader has seen nothing.
    pub async fn send(
        &self,
        leader: &NodeUrl,
        request: Forwarded,
        timeout: Duration,
    ) -> Result<Answer, PeerError> {
        let url = format!("{leader}{}", request.path_and_query);
        let sending = self.0.request(request.method, url).headers(request.headers);
        let exchange = exchange(sending.body(request.body));
        match tokio::time::timeout(timeout, exchange).await {
            Ok(answer) => answer,
            Err(_) => Err(PeerError::Timeout(timeout)),
        }
    }
}

async fn exchange(request: reqwest::RequestBuilder) -> Result<Answer, PeerError> {
    let response = request.send().await.map_err(|error| client::classify(&error))?;
    if response.content_length().is_some_and(|length| length > ANSWER_MAX_BYTES) {
        return Err(PeerError::Broken("the leader's answer is too large".to_owned()));
    }
    let status = response.status().as_u16();
    let headers = response.headers().clone();
    let body = response.bytes().await.map_err(|error| client::classify(&error))?;
    Ok(Answer { status, headers, body })
}
