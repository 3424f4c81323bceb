//! A span: one part of a trace, with a beginning and an end.
//!
//! # Not here
//! Whether there is one ([`super::Traces`]).

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use super::Tracer;
use super::context::TraceContext;

/// What a span is to those at its other end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Answers a request.
    Server,
    /// Asks somebody.
    Client,
    /// Happens inside this node.
    Internal,
}

/// The value of an attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// A text.
    Text(Cow<'static, str>),
    /// A number.
    Number(i64),
    /// True or false.
    Flag(bool),
}

impl From<&'static str> for Value {
    fn from(text: &'static str) -> Self {
        Self::Text(text.into())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text.into())
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Self::Number(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

impl From<bool> for Value {
    fn from(flag: bool) -> Self {
        Self::Flag(flag)
    }
}

/// What a span was. Times are the node's monotonic clock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finished {
    /// What was done; the same text for all of a kind.
    pub name: Cow<'static, str>,
    /// Which end of an exchange it is.
    pub kind: Kind,
    /// Its place in the trace.
    pub context: TraceContext,
    /// What caused it.
    pub parent: Option<TraceContext>,
    /// Whether that was in another process.
    pub is_remote: bool,
    /// When it began.
    pub began: Duration,
    /// When it ended.
    pub ended: Duration,
    /// What is known of it.
    pub attributes: Vec<(&'static str, Value)>,
    /// What happened meanwhile.
    pub events: Vec<(Cow<'static, str>, Duration)>,
    /// Spans of this or other traces that it also works for.
    pub links: Vec<TraceContext>,
    /// What went wrong.
    pub error: Option<Cow<'static, str>>,
}

/// A span that is under way, or none. It ends when it is dropped.
#[must_use = "a span ends when it is dropped"]
pub struct Span(Option<Box<Open>>);

struct Open {
    tracer: Arc<Tracer>,
    span: Finished,
    has_ended: bool,
}

impl Span {
    /// Records nothing.
    pub const fn none() -> Self {
        Self(None)
    }

    pub(super) fn open(tracer: Arc<Tracer>, context: TraceContext, kind: Kind) -> Self {
        let now = tracer.clock.monotonic();
        let span = Finished {
            name: Cow::Borrowed(""),
            kind,
            context,
            parent: None,
            is_remote: false,
            began: now,
            ended: now,
            attributes: Vec::new(),
            events: Vec::new(),
            links: Vec::new(),
            error: None,
        };
        Self(Some(Box::new(Open { tracer, span, has_ended: false })))
    }

    pub(super) fn set_parent(&mut self, parent: Option<TraceContext>, is_remote: bool) {
        self.with(|span| (span.parent, span.is_remote) = (parent, parent.is_some() && is_remote));
    }

    fn with(&mut self, change: impl FnOnce(&mut Finished)) {
        if let Some(open) = &mut self.0 {
            change(&mut open.span);
        }
    }

    /// Whether it is recorded; what is expensive to find out need only be set then.
    pub fn is_recorded(&self) -> bool {
        self.0.is_some()
    }

    /// Its place in the trace; `None` if it is not recorded.
    pub fn context(&self) -> Option<TraceContext> {
        self.0.as_ref().map(|open| open.span.context)
    }

    /// Says what is done.
    pub fn name(&mut self, name: impl Into<Cow<'static, str>>) {
        self.with(|span| span.name = name.into());
    }

    /// Something that this one caused; none if this one is not recorded.
    pub fn child(&self, name: &'static str, kind: Kind) -> Self {
        let Some(open) = &self.0 else { return Self::none() };
        let mut child = open.tracer.open(open.span.context.trace, kind);
        child.set_parent(Some(open.span.context), false);
        child.name(name);
        child
    }

    /// Adds what is known of it.
    pub fn set(&mut self, name: &'static str, value: impl Into<Value>) {
        self.with(|span| span.attributes.push((name, value.into())));
    }

    /// Something happened at `at`.
    pub fn event(&mut self, name: impl Into<Cow<'static, str>>, at: Duration) {
        self.with(|span| span.events.push((name.into(), at)));
    }

    /// It also works for these.
    pub fn link(&mut self, others: impl IntoIterator<Item = TraceContext>) {
        self.with(|span| span.links.extend(others));
    }

    /// Something went wrong.
    pub fn fail(&mut self, why: impl Into<Cow<'static, str>>) {
        self.with(|span| span.error = Some(why.into()));
    }

    /// It began at another time than now.
    pub fn began_at(&mut self, at: Duration) {
        self.with(|span| span.began = at);
    }

    /// It ended at another time than when it is dropped.
    pub fn end_at(mut self, at: Duration) {
        if let Some(open) = &mut self.0 {
            open.span.ended = at;
            open.has_ended = true;
        }
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        let Some(mut open) = self.0.take() else { return };
        if !open.has_ended {
            open.span.ended = open.tracer.clock.monotonic();
        }
        open.tracer.finish(open.span);
    }
}
