//! The door to the metrics libraries: registers rows, renders them, hands out plain handles.
//!
//! Used by `handles`. A recorder is a value, never the process's global one.
//!
//! # Not here
//! Which metrics exist (`metrics`).

use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use metrics::{Key, Level, Metadata, Recorder as _};
use metrics_exporter_prometheus::{
    Matcher, PrometheusBuilder, PrometheusHandle, PrometheusRecorder,
};

use super::exemplars::{Book, Exemplar, Exemplars};
use super::metrics::{Label, METRICS, MetricKind, Row};

const METADATA: Metadata<'static> = Metadata::new("bitacora", Level::INFO, None);

pub(super) struct Recorder {
    inner: PrometheusRecorder,
    handle: PrometheusHandle,
    exemplars: Book,
}

impl Recorder {
    /// Knows every row's help and buckets, and has no series yet.
    pub(super) fn new() -> Self {
        let mut builder = PrometheusBuilder::new();
        for row in METRICS {
            if let MetricKind::Histogram(buckets) = row.kind {
                let name = Matcher::Full(row.name.to_owned());
                // Refused only for an empty list of bounds, and then it gives nothing back.
                builder = builder
                    .set_buckets_for_metric(name, buckets.bounds())
                    .unwrap_or_else(|_| PrometheusBuilder::new());
            }
        }
        let recorder = builder.build_recorder();
        for row in METRICS {
            let (name, help) = (row.name.into(), row.help.into());
            match row.kind {
                MetricKind::Counter if row.is_in_seconds() => {
                    recorder.describe_gauge(name, None, help);
                }
                MetricKind::Counter => recorder.describe_counter(name, None, help),
                MetricKind::Gauge => recorder.describe_gauge(name, None, help),
                MetricKind::Histogram(_) => {
                    recorder.describe_histogram(name, None, help);
                }
            }
        }
        Self { handle: recorder.handle(), inner: recorder, exemplars: Book::default() }
    }

    pub(super) fn render(&self) -> String {
        let mut text = self.handle.render();
        // The library's counters are whole numbers: one of seconds is a gauge to it.
        for row in METRICS.iter().filter(|row| row.is_in_seconds()) {
            let kind = |kind: &str| format!("# TYPE {} {kind}\n", row.name);
            text = text.replace(&kind("gauge"), &kind("counter"));
        }
        text
    }

    /// What was rendered, as OpenMetrics with exemplars.
    pub(super) fn open_metrics(&self, rendered: &str) -> String {
        self.exemplars.open_metrics(rendered)
    }

    pub(super) fn upkeep(&self) {
        self.handle.run_upkeep();
    }

    pub(super) fn counter(&self, row: &Row, labels: &[(&'static str, &str)]) -> Counter {
        Counter(self.inner.register_counter(&key(row, labels), &METADATA))
    }

    pub(super) fn gauge(&self, row: &Row, labels: &[(&'static str, &str)]) -> Gauge {
        Gauge(self.inner.register_gauge(&key(row, labels), &METADATA))
    }

    /// For a row that [`Row::is_in_seconds`].
    pub(super) fn seconds(&self, row: &Row) -> SecondsCounter {
        SecondsCounter(self.gauge(row, &[]))
    }

    pub(super) fn histogram(&self, row: &Row, labels: &[(&'static str, &str)]) -> Histogram {
        let bounds = match row.kind {
            MetricKind::Histogram(buckets) => buckets.bounds(),
            MetricKind::Counter | MetricKind::Gauge => &[],
        };
        Histogram {
            inner: self.inner.register_histogram(&key(row, labels), &METADATA),
            exemplars: self.exemplars.add(row.name, labels, bounds),
        }
    }

    /// Counters for every value of a label; `with` are further labels with fixed values.
    pub(super) fn counters<L: Label>(
        &self,
        row: &Row,
        with: &[(&'static str, &str)],
    ) -> CounterBy<L> {
        let one = |value: &L| self.counter(row, &and(with, *value));
        CounterBy(L::ALL.iter().map(one).collect(), PhantomData)
    }

    /// Counters for every pair of values of two labels.
    pub(super) fn counters2<A: Label, B: Label>(&self, row: &Row) -> CounterBy2<A, B> {
        let one = |a: &A| self.counters(row, &and(&[], *a));
        CounterBy2(A::ALL.iter().map(one).collect(), PhantomData)
    }

    /// Gauges for every value of a label.
    pub(super) fn gauges<L: Label>(&self, row: &Row) -> GaugeBy<L> {
        let one = |value: &L| self.gauge(row, &and(&[], *value));
        GaugeBy(L::ALL.iter().map(one).collect(), PhantomData)
    }

    /// Histograms for every value of a label.
    pub(super) fn histograms<L: Label>(&self, row: &Row) -> HistogramBy<L> {
        let one = |value: &L| self.histogram(row, &and(&[], *value));
        HistogramBy(L::ALL.iter().map(one).collect(), PhantomData)
    }
}

fn and<'a, L: Label>(with: &[(&'static str, &'a str)], value: L) -> Vec<(&'static str, &'a str)> {
    with.iter().copied().chain([(L::NAME, value.as_str())]).collect()
}

fn key(row: &Row, labels: &[(&'static str, &str)]) -> Key {
    let names: Vec<_> = labels.iter().map(|(name, _)| *name).collect();
    debug_assert_eq!(names, row.labels, "{}: labels are those of its row", row.name);
    let label =
        |(name, value): &(&'static str, &str)| metrics::Label::new(*name, (*value).to_owned());
    Key::from_parts(row.name, labels.iter().map(label).collect::<Vec<_>>())
}

/// A number that only grows.
#[derive(Clone)]
pub struct Counter(metrics::Counter);

impl Counter {
    /// One more.
    pub fn increment(&self) {
        self.0.increment(1);
    }

    /// So many more.
    pub fn add(&self, more: u64) {
        self.0.increment(more);
    }
}

/// A number that goes up and down.
#[derive(Clone)]
pub struct Gauge(metrics::Gauge);

impl Gauge {
    /// Sets it. Exact up to 2^53.
    #[expect(clippy::cast_precision_loss, reason = "a gauge is a float; 2^53 is out of reach")]
    pub fn set(&self, value: u64) {
        self.0.set(value as f64);
    }

    /// Sets it to a duration, in seconds.
    pub fn set_duration(&self, duration: Duration) {
        self.0.set(duration.as_secs_f64());
    }

    /// Sets it to a moment, given in milliseconds since 1970 and shown in seconds.
    pub fn set_unix_ms(&self, unix_ms: u64) {
        self.set_duration(Duration::from_millis(unix_ms));
    }

    /// Sets it to 1 or 0.
    pub fn set_bool(&self, value: bool) {
        self.set(u64::from(value));
    }

    /// One more; see [`Gauge::hold`].
    pub fn increment(&self) {
        self.0.increment(1.0);
    }

    /// One less.
    pub fn decrement(&self) {
        self.0.decrement(1.0);
    }

    /// One more until the guard is dropped, however the work ends.
    #[must_use]
    pub fn hold(&self) -> Held {
        self.increment();
        Held(self.clone())
    }
}

/// One more in a gauge while this lives.
pub struct Held(Gauge);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.decrement();
    }
}

/// A number of seconds that only grows. Whoever sets it sees to that.
#[derive(Clone)]
pub struct SecondsCounter(Gauge);

impl SecondsCounter {
    /// Sets it.
    pub fn set(&self, total: Duration) {
        self.0.set_duration(total);
    }
}

/// Durations or counts by upper bounds.
#[derive(Clone)]
pub struct Histogram {
    inner: metrics::Histogram,
    exemplars: Arc<Exemplars>,
}

impl Histogram {
    /// Records a duration, in seconds.
    pub fn observe(&self, duration: Duration) {
        self.inner.record(duration.as_secs_f64());
    }

    /// Records a duration, and the trace that it was observed in if there is one.
    pub fn observe_in(&self, duration: Duration, exemplar: Option<Exemplar>) {
        self.observe(duration);
        if let Some(exemplar) = exemplar {
            self.exemplars.keep(duration.as_secs_f64(), exemplar);
        }
    }

    /// Records a number of things.
    #[expect(clippy::cast_precision_loss, reason = "a bucket needs no 53rd bit")]
    pub fn observe_count(&self, count: u64) {
        self.inner.record(count as f64);
    }
}

/// A counter for every value of a label.
#[derive(Clone)]
pub struct CounterBy<L>(Vec<Counter>, PhantomData<L>);

impl<L: Label> CounterBy<L> {
    /// One more under this value.
    pub fn increment(&self, value: L) {
        if let Some(counter) = self.0.get(value.ordinal()) {
            counter.increment();
        }
    }
}

/// A gauge for every value of a label.
#[derive(Clone)]
pub struct GaugeBy<L>(Vec<Gauge>, PhantomData<L>);

impl<L: Label> GaugeBy<L> {
    /// Sets the one of this value.
    pub fn set(&self, of: L, value: u64) {
        if let Some(gauge) = self.0.get(of.ordinal()) {
            gauge.set(value);
        }
    }

    /// Sets the one of this value to 1 and the others to 0.
    pub fn set_only(&self, of: L) {
        for (place, gauge) in self.0.iter().enumerate() {
            gauge.set_bool(place == of.ordinal());
        }
    }
}

/// A counter for every pair of values of two labels.
#[derive(Clone)]
pub struct CounterBy2<A, B>(Vec<CounterBy<B>>, PhantomData<A>);

impl<A: Label, B: Label> CounterBy2<A, B> {
    /// One more under these values.
    pub fn increment(&self, a: A, b: B) {
        if let Some(counters) = self.0.get(a.ordinal()) {
            counters.increment(b);
        }
    }
}

/// A histogram for every value of a label.
#[derive(Clone)]
pub struct HistogramBy<L>(Vec<Histogram>, PhantomData<L>);

impl<L: Label> HistogramBy<L> {
    /// Records a duration under this value, in seconds.
    pub fn observe(&self, value: L, duration: Duration) {
        self.observe_in(value, duration, None);
    }

    /// As [`Histogram::observe_in`].
    pub fn observe_in(&self, value: L, duration: Duration, exemplar: Option<Exemplar>) {
        if let Some(histogram) = self.0.get(value.ordinal()) {
            histogram.observe_in(duration, exemplar);
        }
    }
}
