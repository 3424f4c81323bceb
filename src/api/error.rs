//! Errors as clients see them: RFC 9457 problem documents.
//!
//! [`status`] is the one place that says which code means which HTTP status.

use std::time::Duration;

use axum::Json;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

use crate::peer::{Refusal, RefusalReason};
use crate::store::{ErrorCode, StoreError, WriteOutcome};
use crate::telemetry::traces::TraceId;
use crate::types::Invalid;

/// A request that did not get what it asked for.
#[derive(Debug)]
pub struct ApiError(Box<Problem>);

#[derive(Debug)]
struct Problem {
    code: ErrorCode,
    detail: String,
    outcome: Option<WriteOutcome>,
    retry_after: Option<Duration>,
    /// Members beside the standard ones.
    more: Map<String, Value>,
    headers: HeaderMap,
}

/// Which HTTP status a code has.
pub const fn status(code: ErrorCode) -> StatusCode {
    match code {
        ErrorCode::NotLeader => StatusCode::TEMPORARY_REDIRECT,
        ErrorCode::BadAcks
        | ErrorCode::BadJson
        | ErrorCode::BadKey
        | ErrorCode::BadParameter
        | ErrorCode::BadPeerMessage
        | ErrorCode::BadRequest
        | ErrorCode::NotAnObject => StatusCode::BAD_REQUEST,
        ErrorCode::KeyNotFound | ErrorCode::NoSuchRoute => StatusCode::NOT_FOUND,
        ErrorCode::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
        ErrorCode::BodyTimeout => StatusCode::REQUEST_TIMEOUT,
        ErrorCode::LogTrimmed => StatusCode::GONE,
        ErrorCode::PreconditionFailed => StatusCode::PRECONDITION_FAILED,
        ErrorCode::BodyTooLarge | ErrorCode::KeyTooLarge | ErrorCode::ValueTooLarge => {
            StatusCode::PAYLOAD_TOO_LARGE
        }
        ErrorCode::WrongCluster | ErrorCode::WrongNode => StatusCode::MISDIRECTED_REQUEST,
        ErrorCode::NoLeader
        | ErrorCode::NoQuorum
        | ErrorCode::NotReady
        | ErrorCode::Overloaded
        | ErrorCode::ShuttingDown => StatusCode::SERVICE_UNAVAILABLE,
        ErrorCode::Timeout => StatusCode::GATEWAY_TIMEOUT,
        ErrorCode::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// A short text for a code, the same for all its occurrences.
const fn title(code: ErrorCode) -> &'static str {
    match code {
        ErrorCode::BadAcks => "acks= is not possible here",
        ErrorCode::BadJson => "The body is not JSON",
        ErrorCode::BadKey => "The key is not valid",
        ErrorCode::BadParameter => "A parameter is not valid",
        ErrorCode::BadPeerMessage => "Not a message between nodes",
        ErrorCode::BadRequest => "The request cannot be read",
        ErrorCode::BodyTimeout => "The body did not come in time",
        ErrorCode::BodyTooLarge => "The body is too large",
        ErrorCode::Internal => "Something inside is broken",
        ErrorCode::KeyNotFound => "There is no such key",
        ErrorCode::KeyTooLarge => "The key is too large",
        ErrorCode::LogTrimmed => "The log does not go back that far",
        ErrorCode::MethodNotAllowed => "This route has no such method",
        ErrorCode::NoLeader => "No leader",
        ErrorCode::NoQuorum => "No majority",
        ErrorCode::NoSuchRoute => "There is no such route",
        ErrorCode::NotAnObject => "The body is not a JSON object",
        ErrorCode::NotLeader => "Another node leads",
        ErrorCode::NotReady => "This node cannot serve yet",
        ErrorCode::Overloaded => "Too much is in flight",
        ErrorCode::PreconditionFailed => "The precondition does not hold",
        ErrorCode::ShuttingDown => "This node is shutting down",
        ErrorCode::Timeout => "No answer in time",
        ErrorCode::ValueTooLarge => "The value is too large",
        ErrorCode::WrongCluster => "A message for another cluster",
        ErrorCode::WrongNode => "A message for another node",
    }
}

impl ApiError {
    /// An error with its explanation, which says what to do next.
    pub fn new(code: ErrorCode, detail: impl Into<String>) -> Self {
        Self(Box::new(Problem {
            code,
            detail: detail.into(),
            outcome: None,
            retry_after: None,
            more: Map::new(),
            headers: HeaderMap::new(),
        }))
    }

    /// Adds what became of a write.
    #[must_use]
    pub fn outcome(mut self, outcome: WriteOutcome) -> Self {
        self.0.outcome = Some(outcome);
        self
    }

    /// For errors of a request that would have written: nothing happened, unless said otherwise
    /// or something inside is broken.
    #[must_use]
    pub fn of_write(mut self) -> Self {
        let otherwise = match self.0.code {
            ErrorCode::Internal => WriteOutcome::Unknown,
            _ => WriteOutcome::NotApplied,
        };
        self.0.outcome.get_or_insert(otherwise);
        self
    }

    /// Adds when to try again.
    #[must_use]
    pub fn retry_after(mut self, after: Duration) -> Self {
        self.0.retry_after = Some(after);
        self
    }

    /// Adds a member to the problem document.
    #[must_use]
    pub fn with(mut self, name: &str, value: Value) -> Self {
        self.0.more.insert(name.to_owned(), value);
        self
    }

    /// Adds a response header.
    #[must_use]
    pub fn header(mut self, name: header::HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.0.headers.insert(name, value);
        }
        self
    }

    /// The machine-readable reason.
    pub fn code(&self) -> ErrorCode {
        self.0.code
    }

    /// The explanation.
    pub fn detail(&self) -> &str {
        &self.0.detail
    }

    /// What became of the write, if the request was one.
    pub fn write_outcome(&self) -> Option<WriteOutcome> {
        self.0.outcome
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        let mut api = Self::new(error.code(), error.to_string());
        api.0.retry_after = error.retry_after();
        match &error {
            StoreError::PreconditionFailed { actual } => {
                let actual = actual.map(crate::types::Index::get);
                api.with("actual", json!(actual)).outcome(error.outcome())
            }
            StoreError::LogTrimmed { first } => api.with("first_index", json!(first.get())),
            StoreError::AcksMissing { receipt } => {
                let receipt = super::receipt::Document::from(&**receipt);
                api.with("receipt", json!(receipt)).outcome(error.outcome())
            }
            StoreError::Unknown { .. } => api.outcome(error.outcome()),
            StoreError::NoLeader
            | StoreError::NoQuorum
            | StoreError::NotLeader
            | StoreError::Overloaded { .. }
            | StoreError::ShuttingDown
            | StoreError::BadAcks { .. }
            | StoreError::TooLarge { .. }
            | StoreError::ReadTimeout { .. }
            | StoreError::KeyNotFound
            | StoreError::Internal { .. } => api,
        }
    }
}

impl From<Invalid> for ApiError {
    fn from(invalid: Invalid) -> Self {
        let code = match invalid {
            Invalid::KeyTooLong(_) => ErrorCode::KeyTooLarge,
            Invalid::ValueTooLong(_) => ErrorCode::ValueTooLarge,
            Invalid::KeyEmpty | Invalid::KeyNotUtf8 => ErrorCode::BadKey,
            _ => ErrorCode::BadParameter,
        };
        Self::new(code, invalid.to_string())
    }
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        let code = match refusal.reason {
            RefusalReason::Malformed => ErrorCode::BadPeerMessage,
            RefusalReason::WrongCluster => ErrorCode::WrongCluster,
            RefusalReason::WrongNode => ErrorCode::WrongNode,
            RefusalReason::NotReady => ErrorCode::NotReady,
        };
        Self::new(code, refusal.detail)
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let error = *self.0;
        let status = status(error.code);
        let mut problem = Map::new();
        let mut add = |name: &str, value: Value| problem.insert(name.to_owned(), value);
        add("type", json!(format!("urn:bitacora:error:{}", error.code.as_str())));
        add("title", json!(title(error.code)));
        add("status", json!(status.as_u16()));
        add("detail", json!(error.detail));
        add("code", json!(error.code.as_str()));
        if let Some(outcome) = error.outcome {
            add("outcome", json!(outcome.as_str()));
        }
        if let Some(after) = error.retry_after {
            add("retry_after_ms", json!(u64::try_from(after.as_millis()).unwrap_or(u64::MAX)));
        }
        for (name, value) in error.more {
            add(&name, value);
        }
        let mut response = problem_response(status, &problem);
        // `observe` adds who answered.
        response.extensions_mut().insert(ProblemDocument(problem));
        let headers = response.headers_mut();
        headers.extend(error.headers);
        headers.insert(super::forward::CODE, HeaderValue::from_static(error.code.as_str()));
        if let Some(after) = error.retry_after {
            // The header counts whole seconds; a client in a hurry reads `retry_after_ms`.
            headers.insert(header::RETRY_AFTER, after.as_secs().max(1).into());
        }
        response
    }
}

/// The document of a problem, so that what only the node knows can be added to it.
#[derive(Debug, Clone)]
pub(super) struct ProblemDocument(Map<String, Value>);

impl ProblemDocument {
    /// The response's body anew, with the names of the node and of the leader
    /// and the trace.
    pub(super) fn body(
        mut self,
        node: &str,
        leader: Option<&str>,
        trace: Option<TraceId>,
    ) -> Response {
        self.0.insert("node".to_owned(), json!(node));
        self.0.insert("leader".to_owned(), json!(leader));
        if let Some(trace) = trace {
            self.0.insert("trace_id".to_owned(), json!(trace.to_string()));
        }
        problem_response(StatusCode::OK, &self.0)
    }
}

fn problem_response(status: StatusCode, problem: &Map<String, Value>) -> Response {
    let mut response = (status, Json(problem)).into_response();
    let json = HeaderValue::from_static("application/problem+json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}
