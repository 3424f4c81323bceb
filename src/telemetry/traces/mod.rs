//! Traces: what one request caused, on which node, and how long each part took.
//!
//! Used by `api` (requests), `store` (writes and reads) and `consensus` (batches, messages, disks).
//! Whether a trace is recorded is decided once, where a request comes in; what is not recorded has
//! no spans at all, so that a trace costs nothing to the requests that have none.
//!
//! # Invariants
//! - R1 A span that is not recorded allocates nothing.
//! - R2 Recording never waits: finished spans go into a bounded queue, and what does not fit is
//!   dropped and counted.
//! - R3 A span is recorded when it is dropped, so one whose request was given up is recorded too.
//!
//! # Not here
//! Which spans there are (where they are made), the way to the collector (`otlp`).

mod context;
mod otlp;
mod settings;
mod span;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

pub use self::context::{TRACEPARENT, TraceContext, TraceId};
pub use self::settings::{Sampler, Settings};
pub use self::span::{Finished, Kind, Span, Value};

use self::otlp::Exporter;
use super::exemplars::Exemplar;
use super::handles::Counter;
use crate::os::clock::Clock;
use crate::os::random::Random;
use crate::types::NodeName;

/// A wall clock that differs so much from what was known was set.
const WALL_STEP: Duration = Duration::from_millis(1);

/// Makes spans. Clones are the same; [`Traces::off`] makes none.
#[derive(Clone)]
pub struct Traces(Option<Arc<Tracer>>);

struct Tracer {
    clock: Arc<dyn Clock>,
    /// Nanoseconds from the monotonic clock to the wall clock.
    wall_ns: AtomicU64,
    random: Random,
    sampler: Sampler,
    sink: Arc<dyn Sink>,
}

/// Takes finished spans. Must be quick.
trait Sink: Send + Sync + 'static {
    /// `wall` added to a time of the span is the time since 1970.
    fn accept(&self, span: Finished, wall: Duration);
}

/// Why spans cannot be sent.
#[derive(Debug, thiserror::Error)]
#[error("cannot send traces: {0}")]
pub struct TracesError(String);

/// Sends what is left when it is closed.
#[derive(Default)]
pub struct Guard(Option<Arc<Exporter>>);

impl Guard {
    /// Sends what is left, at most for `deadline`. Blocks.
    pub fn close(self, deadline: Duration) {
        if let Some(exporter) = self.0 {
            exporter.close(deadline);
        }
    }
}

impl Traces {
    /// Records nothing.
    pub const fn off() -> Self {
        Self(None)
    }

    /// Sends spans as `settings` and the standard `OTEL_*` variables say, under this node's name.
    ///
    /// # Errors
    /// The address of the collector makes no sense.
    pub fn start(
        settings: &Settings,
        node: &NodeName,
        (clock, random): (Arc<dyn Clock>, Random),
        (exported, dropped): (Counter, Counter),
    ) -> Result<(Self, Guard), TracesError> {
        if !settings.is_on {
            return Ok((Self::off(), Guard(None)));
        }
        let exporter = Exporter::start(settings, node, exported, dropped);
        let exporter = Arc::new(exporter.map_err(TracesError)?);
        let traces = Self::into(exporter.clone(), settings.sampler, clock, random);
        Ok((traces, Guard(Some(exporter))))
    }

    fn into(sink: Arc<dyn Sink>, sampler: Sampler, clock: Arc<dyn Clock>, random: Random) -> Self {
        let wall_ns = AtomicU64::new(0);
        Self(Some(Arc::new(Tracer { clock, wall_ns, random, sampler, sink })))
    }

    /// Whether anything can be recorded.
    pub const fn are_on(&self) -> bool {
        self.0.is_some()
    }

    /// What a histogram remembers of an observation made now in this place of a trace; `None` if
    /// that is not recorded.
    pub fn exemplar(&self, context: Option<TraceContext>) -> Option<Exemplar> {
        let (tracer, context) = self.0.as_ref().zip(context)?;
        let unix = tracer.clock.monotonic().saturating_add(tracer.wall());
        context.is_sampled.then_some(Exemplar { trace: context.trace, unix })
    }

    /// The span of a request that has come in. `incoming` is what its sender said. Recorded if the
    /// sampler says so.
    pub fn accept(&self, incoming: Option<TraceContext>, kind: Kind) -> Span {
        let Some(tracer) = &self.0 else { return Span::none() };
        let trace = incoming.map_or_else(|| tracer.new_trace(), |it| it.trace);
        if !tracer.sampler.is_sampled(incoming, trace) {
            return Span::none();
        }
        let mut span = tracer.open(trace, kind);
        span.set_parent(incoming, true);
        span
    }

    /// A span in the trace of `parent`, which was received from another node or remembered; none if
    /// that is not recorded.
    pub fn follow(&self, parent: Option<TraceContext>, kind: Kind) -> Span {
        let Some((tracer, parent)) = self.0.as_ref().zip(parent) else { return Span::none() };
        if !parent.is_sampled {
            return Span::none();
        }
        let mut span = tracer.open(parent.trace, kind);
        span.set_parent(Some(parent), kind == Kind::Server);
        span
    }
}

impl Tracer {
    fn new_trace(&self) -> TraceId {
        // Zero is no id; it comes once in 2^128.
        TraceId(u128::from_be_bytes(self.random.next_bytes16()).max(1))
    }

    fn open(self: &Arc<Self>, trace: TraceId, kind: Kind) -> Span {
        let span = self.random.next_u64().max(1);
        let context = TraceContext { trace, span, is_sampled: true };
        Span::open(self.clone(), context, kind)
    }

    fn finish(&self, span: Finished) {
        self.sink.accept(span, self.wall());
    }

    /// What added to the monotonic clock gives the wall clock. It stays the same until the wall
    /// clock is set: spans of one node must not overlap by the time between two looks.
    fn wall(&self) -> Duration {
        let known = Duration::from_nanos(self.wall_ns.load(Ordering::Relaxed));
        let before = self.clock.monotonic();
        let wall = self.clock.wall_unix().saturating_sub(before);
        // A thread that was stopped between the two has seen no step.
        let looked = self.clock.monotonic().saturating_sub(before);
        if wall.abs_diff(known) < WALL_STEP || (looked > WALL_STEP / 2 && !known.is_zero()) {
            return known;
        }
        let wall_ns = u64::try_from(wall.as_nanos()).unwrap_or(u64::MAX);
        self.wall_ns.store(wall_ns, Ordering::Relaxed);
        wall
    }
}

/// Keeps what is recorded, for tests of those who make spans.
#[cfg(test)]
#[derive(Default)]
pub(crate) struct Kept(std::sync::Mutex<Vec<Finished>>);

#[cfg(test)]
impl Kept {
    pub(crate) fn take(&self) -> Vec<Finished> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

#[cfg(test)]
impl Sink for Kept {
    fn accept(&self, span: Finished, _wall: Duration) {
        self.0.lock().unwrap().push(span);
    }
}

#[cfg(test)]
pub(crate) fn collecting(sampler: Sampler) -> (Traces, Arc<Kept>) {
    let (kept, clock) =
        (Arc::new(Kept::default()), Arc::new(crate::os::fake::ManualClock::default()));
    (Traces::into(kept.clone(), sampler, clock, Random::from_seed(7)), kept)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::fake::ManualClock;

    fn traces(sampler: Sampler) -> (Traces, Arc<Kept>, Arc<ManualClock>) {
        let (kept, clock) = (Arc::new(Kept::default()), Arc::new(ManualClock::default()));
        let traces = Traces::into(kept.clone(), sampler, clock.clone(), Random::from_seed(7));
        (traces, kept, clock)
    }

    fn incoming(is_sampled: bool) -> TraceContext {
        TraceContext { trace: TraceId(5), span: 9, is_sampled }
    }

    #[test]
    fn a_span_is_recorded_with_its_parent_when_it_is_dropped_r3() {
        let (traces, kept, clock) = traces(Sampler::default());
        let mut request = traces.accept(Some(incoming(true)), Kind::Server);
        request.name("PUT /v1/kv/{key}");
        clock.advance(Duration::from_millis(2));
        let mut write = request.child("kv.write", Kind::Internal);
        write.set("bitacora.raft.index", 7_u64);
        clock.advance(Duration::from_millis(3));
        drop(write);
        drop(request);
        let spans = kept.take();
        let [write, request] = &spans[..] else { panic!("{spans:?}") };
        assert_eq!((request.context.trace, request.parent), (TraceId(5), Some(incoming(true))));
        assert_eq!((write.parent, write.context.trace), (Some(request.context), TraceId(5)));
        assert_eq!(write.attributes, vec![("bitacora.raft.index", Value::Number(7))]);
        let took = |span: &Finished| span.ended.saturating_sub(span.began).as_millis();
        assert_eq!((took(request), took(write)), (5, 3));
        assert!(request.is_remote && !write.is_remote);
    }

    #[test]
    fn what_is_not_sampled_has_no_span_r1() {
        let (traces, kept, _) = traces(Sampler::default());
        let request = traces.accept(Some(incoming(false)), Kind::Server);
        assert_eq!(request.context(), None);
        drop(request.child("kv.write", Kind::Internal));
        drop(traces.follow(Some(incoming(false)), Kind::Client));
        drop(traces.follow(None, Kind::Client));
        drop(request);
        drop(Traces::off().accept(Some(incoming(true)), Kind::Server));
        assert!(kept.take().is_empty());
    }

    #[test]
    fn a_request_without_a_context_begins_a_trace_of_its_own() {
        let (traces, kept, _) = traces(Sampler::default());
        drop(traces.accept(None, Kind::Server));
        drop(traces.accept(None, Kind::Server));
        let spans = kept.take();
        assert_ne!(spans[0].context.trace, spans[1].context.trace);
        assert_eq!(spans[0].parent, None);
    }
}
