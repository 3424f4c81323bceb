//! A receipt as JSON: who has the write on disk, and how long each took.

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::command::Outcome;
use crate::store::{Ack, Receipt};

/// The receipt of a write.
#[derive(Debug, Serialize)]
pub(super) struct Document<'a> {
    index: u64,
    term: u64,
    acks: Vec<AckDocument<'a>>,
    quorum: usize,
    voters: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    created: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deleted: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace_id: Option<String>,
}

#[derive(Debug, Serialize)]
struct AckDocument<'a> {
    node: &'a str,
    role: &'static str,
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    ms: Option<f64>,
}

impl<'a> From<&'a Receipt> for Document<'a> {
    fn from(receipt: &'a Receipt) -> Self {
        let (created, deleted) = match receipt.outcome {
            Outcome::Put { previous } => (Some(previous.is_none()), None),
            Outcome::Deleted { previous } => (None, Some(previous.is_some())),
            Outcome::Written { .. } | Outcome::Rejected(_) | Outcome::Nothing => (None, None),
        };
        Self {
            index: receipt.position.index.get(),
            term: receipt.position.term.get(),
            acks: receipt.acks.iter().map(AckDocument::from).collect(),
            quorum: receipt.quorum,
            voters: receipt.acks.len(),
            created,
            deleted,
            trace_id: receipt.trace.map(|trace| trace.to_string()),
        }
    }
}

impl<'a> From<&'a Ack> for AckDocument<'a> {
    fn from(ack: &'a Ack) -> Self {
        Self {
            node: ack.member.name.as_str(),
            role: if ack.is_leader { "leader" } else { "follower" },
            state: if ack.after.is_some() { "durable" } else { "pending" },
            // Hundredths of a millisecond: finer than any disk, and short to read.
            ms: ack.after.map(|after| (after.as_secs_f64() * 100_000.0).round() / 100.0),
        }
    }
}

/// 200 with the receipt, or 204 with the headers only.
pub(super) fn response(receipt: &Receipt, minimal: bool) -> Response {
    let mut response = if minimal {
        StatusCode::NO_CONTENT.into_response()
    } else {
        axum::Json(Document::from(receipt)).into_response()
    };
    let index = receipt.position.index.get();
    let headers = response.headers_mut();
    headers.insert("bitacora-index", index.into());
    headers.insert("bitacora-term", receipt.position.term.get().into());
    if minimal {
        headers.insert("preference-applied", HeaderValue::from_static("return=minimal"));
    }
    if matches!(receipt.outcome, Outcome::Put { .. }) {
        etag(headers, index);
    }
    response
}

/// A key's last change as an `ETag`.
pub(super) fn etag(headers: &mut HeaderMap, index: u64) {
    if let Ok(tag) = HeaderValue::from_str(&format!("\"{index}\"")) {
        headers.insert(header::ETAG, tag);
    }
}
