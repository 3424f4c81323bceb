//! A request's place in a trace, and its line in the diagnostics when it fails.
//!
//! Which requests are recorded: those of clients that read or write, if the sampler says so, and
//! messages that carry entries, if their sender records. Heartbeats, votes, probes and scrapes
//! never are: they are many, and their metrics say more.
//!
//! # Not here
//! What happens inside ([`crate::store`], [`crate::consensus::spans`]), how spans are sent.

use std::time::Duration;

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, request::Parts};
use axum::response::Response;

use super::forward;
use crate::telemetry::exemplars::Exemplar;
use crate::telemetry::traces::{Kind, TRACEPARENT, TraceId};
use crate::telemetry::{Span, TraceContext, Traces};

const TRACE_ID: HeaderName = HeaderName::from_static("trace-id");

/// What a request is to a trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Interest {
    /// A trace may begin here.
    Begins,
    /// Whether it is recorded was decided where it came in.
    Follows,
    /// A message between nodes: recorded where its envelope has been opened.
    Passes,
    /// Never recorded.
    Nothing,
}

fn interest(method: &Method, route: &str, headers: &HeaderMap) -> Interest {
    match route {
        "/replicate" | "/replicar" if method == Method::POST => Interest::Passes,
        "/write" | "/escribir" | "/v1/log" | "/v1/kv" | "/v1/kv/{key}" => {
            if headers.contains_key(forward::HOP) { Interest::Follows } else { Interest::Begins }
        }
        _ => Interest::Nothing,
    }
}

/// A request that is being answered.
pub(super) struct Traced {
    span: Span,
    context: Option<TraceContext>,
    is_answered: bool,
}

/// The place in a trace that was given to a request.
pub(super) fn trace_of(head: &Parts) -> Option<TraceContext> {
    head.extensions.get().copied()
}

fn incoming(headers: &HeaderMap) -> Option<TraceContext> {
    TraceContext::parse(headers.get(TRACEPARENT)?.to_str().ok()?)
}

/// A method that is none of HTTP's has one name for all, as OpenTelemetry's conventions say.
fn known(method: &Method) -> &'static str {
    const KNOWN: [&str; 9] =
        ["GET", "PUT", "POST", "DELETE", "HEAD", "OPTIONS", "PATCH", "CONNECT", "TRACE"];
    KNOWN.into_iter().find(|known| *known == method.as_str()).unwrap_or("_OTHER")
}

impl Traced {
    /// Gives the request its place in a trace.
    pub(super) fn begin(
        traces: &Traces,
        (method, route): (&Method, &str),
        request: &mut Request,
    ) -> Self {
        let incoming = incoming(request.headers());
        let interest = interest(method, route, request.headers());
        let mut span = match interest {
            Interest::Begins => traces.accept(incoming, Kind::Server),
            Interest::Follows => traces.follow(incoming, Kind::Server),
            Interest::Passes | Interest::Nothing => Span::none(),
        };
        if span.is_recorded() {
            span.name(format!("{} {route}", known(method)));
            span.set("http.request.method", known(method));
            span.set("http.route", route.to_owned());
        }
        // A client's own trace goes on to the leader, recorded here or not.
        let is_ours = traces.are_on() && interest != Interest::Passes;
        let passed =
            incoming.map(|it| TraceContext { is_sampled: it.is_sampled && !is_ours, ..it });
        let context = span.context().or(passed);
        if let Some(context) = context {
            request.extensions_mut().insert(context);
        }
        Self { span, context, is_answered: false }
    }

    /// As [`Traces::exemplar`].
    pub(super) fn exemplar(&self, traces: &Traces) -> Option<Exemplar> {
        traces.exemplar(self.span.context())
    }

    /// Ends it with its answer. Returns the trace, if the request has one.
    pub(super) fn end(
        mut self,
        method: &Method,
        route: &str,
        response: &mut Response,
        took: Duration,
    ) -> Option<TraceId> {
        self.is_answered = true;
        let trace = self.context.map(|context| context.trace);
        let status = response.status();
        let code = response.headers().get(forward::CODE).and_then(|code| code.to_str().ok());
        if self.span.is_recorded() {
            self.span.set("http.response.status_code", u64::from(status.as_u16()));
            if let Some(code) = code {
                self.span.set("error.type", code.to_owned());
            }
            if status.is_server_error() {
                self.span.fail("");
            }
        }
        if status.is_server_error() {
            tell(method, route, code.unwrap_or_default(), trace, took);
        }
        if let Some(trace) = trace
            && let Ok(text) = HeaderValue::from_str(&trace.to_string())
        {
            response.headers_mut().entry(TRACE_ID).or_insert(text);
        }
        trace
    }
}

impl Drop for Traced {
    fn drop(&mut self) {
        if !self.is_answered {
            self.span.fail("the client went away");
        }
    }
}

/// One line for a request that the service, not the client, failed. At `debug`: an outage has one
/// for every request, and what it means for the cluster is told elsewhere.
fn tell(method: &Method, route: &str, code: &str, trace: Option<TraceId>, took: Duration) {
    let duration_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    tracing::debug!(
        event = "request_failed",
        %method,
        route,
        code,
        duration_ms,
        trace_id = trace.map(tracing::field::display),
        "a request was not served"
    );
}
