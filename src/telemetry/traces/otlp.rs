//! The way to the collector: OTLP over HTTP, from a queue and a thread of their own.
//!
//! OpenTelemetry's libraries batch, encode and send. Spans come to them finished: most parts of a
//! replicated write are known only after the fact and on another thread than the request's, so
//! there is no use for a current span, which the library's tracer is built around.
//!
//! # Not here
//! Sampling (`settings`), when a span begins and ends (`span`).

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use opentelemetry::trace::{
    Event, Link, SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceState,
};
use opentelemetry::{InstrumentationScope, Key, KeyValue, TraceId};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, SpanData, SpanEvents, SpanExporter, SpanLinks,
    SpanProcessor,
};

use super::Sink;
use super::context::TraceContext;
use super::settings::Settings;
use super::span::{Finished, Kind, Value};
use crate::telemetry::handles::Counter;
use crate::types::NodeName;

const NAME: &str = env!("CARGO_PKG_NAME");
const SERVICE: &str = "service.name";

/// The queue to the collector.
pub(super) struct Exporter {
    processor: BatchSpanProcessor,
    scope: InstrumentationScope,
    queue: Arc<Queue>,
    queue_spans: usize,
}

/// What waits, and what became of it.
#[derive(Clone)]
struct Counts {
    exported: Counter,
    dropped: Counter,
}

struct Queue {
    waiting: AtomicUsize,
    fails: AtomicBool,
    counts: Counts,
}

impl Exporter {
    /// Begins to send. The collector need not be there.
    pub(super) fn start(
        settings: &Settings,
        node: &NodeName,
        exported: Counter,
        dropped: Counter,
    ) -> Result<Self, String> {
        let otlp = opentelemetry_otlp::SpanExporter::builder().with_http().build();
        let inner = otlp.map_err(|error| error.to_string())?;
        let counts = Counts { exported, dropped };
        let queue = Queue { waiting: AtomicUsize::new(0), fails: AtomicBool::new(false), counts };
        let queue = Arc::new(queue);
        let config = BatchConfigBuilder::default()
            .with_max_queue_size(settings.queue_spans)
            .with_max_export_batch_size(settings.batch_spans)
            .with_scheduled_delay(settings.delay);
        let observed = Observed { inner, queue: queue.clone() };
        let mut processor = BatchSpanProcessor::new(observed, config.build());
        processor.set_resource(&resource(node));
        let scope = InstrumentationScope::builder(NAME).with_version(env!("CARGO_PKG_VERSION"));
        Ok(Self { processor, scope: scope.build(), queue, queue_spans: settings.queue_spans })
    }

    /// Sends what waits, at most for `deadline`. Blocks.
    pub(super) fn close(&self, deadline: Duration) {
        if let Err(error) = self.processor.shutdown_with_timeout(deadline) {
            let left = self.queue.waiting.load(Ordering::Relaxed);
            tracing::warn!(event = "traces_lost", %error, left, "the last spans were not sent");
        }
    }
}

impl Sink for Exporter {
    fn accept(&self, span: Finished, wall: Duration) {
        // The library drops without a word what does not fit, so the queue is counted here.
        if self.queue.waiting.fetch_add(1, Ordering::Relaxed) >= self.queue_spans {
            self.queue.waiting.fetch_sub(1, Ordering::Relaxed);
            self.queue.counts.dropped.increment();
            return;
        }
        self.processor.on_end(data(span, wall, self.scope.clone()));
    }
}

/// Who sends: what the standard variables say, and this node's own name and version.
fn resource(node: &NodeName) -> Resource {
    let told = Resource::builder().build();
    let service = told.get(&Key::from_static_str(SERVICE)).map(|name| name.to_string());
    let is_named = service.is_some_and(|name| !name.starts_with("unknown_service"));
    let mut all = Resource::builder()
        .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
        .with_attribute(KeyValue::new("service.instance.id", node.to_string()));
    if !is_named {
        all = all.with_service_name(NAME);
    }
    all.build()
}

fn data(span: Finished, wall: Duration, scope: InstrumentationScope) -> SpanData {
    let time = |at: Duration| SystemTime::UNIX_EPOCH + wall + at;
    let mut events = SpanEvents::default();
    let event = |(name, at)| Event::new(name, time(at), Vec::new(), 0);
    events.events = span.events.into_iter().map(event).collect();
    let mut links = SpanLinks::default();
    let link = |context| Link::with_context(place(context, true));
    links.links = span.links.into_iter().map(link).collect();
    let attribute = |(name, value)| KeyValue::new(name, attribute_value(value));
    SpanData {
        span_context: place(span.context, false),
        parent_span_id: span.parent.map_or(SpanId::INVALID, |it| span_id(it.span)),
        parent_span_is_remote: span.is_remote,
        span_kind: match span.kind {
            Kind::Server => SpanKind::Server,
            Kind::Client => SpanKind::Client,
            Kind::Internal => SpanKind::Internal,
        },
        name: span.name,
        start_time: time(span.began),
        end_time: time(span.ended),
        attributes: span.attributes.into_iter().map(attribute).collect(),
        dropped_attributes_count: 0,
        events,
        links,
        status: span.error.map_or(Status::Unset, Status::error),
        instrumentation_scope: scope,
    }
}

fn place(context: TraceContext, is_remote: bool) -> SpanContext {
    let trace = TraceId::from_bytes(context.trace.0.to_be_bytes());
    let flags = TraceFlags::default().with_sampled(context.is_sampled);
    SpanContext::new(trace, span_id(context.span), flags, is_remote, TraceState::NONE)
}

fn span_id(span: u64) -> SpanId {
    SpanId::from_bytes(span.to_be_bytes())
}

fn attribute_value(value: Value) -> opentelemetry::Value {
    match value {
        Value::Text(Cow::Borrowed(text)) => text.into(),
        Value::Text(Cow::Owned(text)) => text.into(),
        Value::Number(number) => number.into(),
        Value::Flag(flag) => flag.into(),
    }
}

/// The library's exporter, with its successes and failures counted and told.
struct Observed {
    inner: opentelemetry_otlp::SpanExporter,
    queue: Arc<Queue>,
}

impl fmt::Debug for Observed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Observed")
    }
}

impl fmt::Debug for Exporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Exporter")
    }
}

impl SpanExporter for Observed {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len();
        self.queue.waiting.fetch_sub(spans, Ordering::Relaxed);
        let exported = self.inner.export(batch).await;
        self.queue.tell(spans as u64, &exported);
        exported
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

impl Queue {
    /// One line when the collector is lost and one when it is back, however long that takes.
    fn tell(&self, spans: u64, exported: &OTelSdkResult) {
        let failed_before = self.fails.swap(exported.is_err(), Ordering::Relaxed);
        match exported {
            Ok(()) => {
                self.counts.exported.add(spans);
                if failed_before {
                    tracing::info!(event = "traces_sent", "traces reach the collector again");
                }
            }
            Err(error) => {
                self.counts.dropped.add(spans);
                if !failed_before {
                    tracing::warn!(
                        event = "traces_lost",
                        %error,
                        "the collector does not take traces; spans are dropped until it does"
                    );
                }
            }
        }
    }
}
