//! Exemplars: for each bucket of a histogram, the trace of the last recorded request in it; and the
//! OpenMetrics text that carries them.
//!
//! The metrics library knows no exemplars and no OpenMetrics. Its Prometheus text differs from that
//! format in three points only (names of counters, blank lines, the end), so it is rewritten line
//! by line, and a bucket's line gets its exemplar.
//!
//! Format: <https://prometheus.io/docs/specs/om/open_metrics_spec/>.
//!
//! # Invariants
//! - E1 An observation without a trace costs nothing; a histogram that never had one has no slots.
//! - E2 An exemplar lies in its bucket: above the bound before, not above the bucket's own.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use super::traces::TraceId;

/// A recorded request, as a histogram remembers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exemplar {
    /// Its trace.
    pub trace: TraceId,
    /// When it was observed, since 1970.
    pub unix: Duration,
}

/// The last exemplar of each bucket of one histogram.
pub(super) struct Exemplars {
    bounds: &'static [f64],
    slots: OnceLock<Box<[Slot]>>,
}

/// The value and the trace of the last recorded observation in a bucket.
type Slot = Mutex<Option<(f64, Exemplar)>>;

impl Exemplars {
    pub(super) const fn new(bounds: &'static [f64]) -> Self {
        Self { bounds, slots: OnceLock::new() }
    }

    pub(super) fn keep(&self, value: f64, exemplar: Exemplar) {
        let slots = self.slots.get_or_init(|| {
            let buckets = 0..=self.bounds.len();
            buckets.map(|_| Mutex::default()).collect()
        });
        let bucket = self.bounds.partition_point(|bound| *bound < value);
        if let Some(slot) = slots.get(bucket) {
            *lock(slot) = Some((value, exemplar));
        }
    }

    /// Of the bucket whose upper bound is written so.
    fn of(&self, bound: &str) -> Option<(f64, Exemplar)> {
        let slots = self.slots.get()?;
        let bucket = match bound.parse::<f64>().ok()? {
            bound if bound.is_infinite() => self.bounds.len(),
            bound => self.bounds.partition_point(|known| *known < bound),
        };
        *lock(slots.get(bucket)?)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The exemplars of all histograms, by what stands before `le` in the lines of their buckets.
#[derive(Default)]
pub(super) struct Book(Mutex<BTreeMap<String, Arc<Exemplars>>>);

impl Book {
    pub(super) fn add(
        &self,
        name: &str,
        labels: &[(&'static str, &str)],
        bounds: &'static [f64],
    ) -> Arc<Exemplars> {
        let mut before = format!("{name}_bucket{{");
        for (label, value) in labels {
            // Writing to a String does not fail.
            let _ = write!(before, "{label}=\"{value}\",");
        }
        let mut book = lock(&self.0);
        book.entry(before).or_insert_with(|| Exemplars::new(bounds).into()).clone()
    }

    /// The library's text as OpenMetrics.
    pub(super) fn open_metrics(&self, text: &str) -> String {
        let book = lock(&self.0);
        let mut out = String::with_capacity(text.len().saturating_add(64));
        let mut is_counter = false;
        // HELP comes before TYPE, and both name a counter without its suffix.
        for line in text.lines().filter(|line| !line.is_empty()) {
            if let Some((before, kind)) =
                line.strip_prefix("# TYPE ").and_then(|l| l.split_once(' '))
            {
                is_counter = kind == "counter";
                let _ = writeln!(out, "# TYPE {} {kind}", family(before, is_counter));
            } else if let Some((name, help)) =
                line.strip_prefix("# HELP ").and_then(|l| l.split_once(' '))
            {
                let _ = writeln!(out, "# HELP {} {help}", family(name, name.ends_with("_total")));
            } else {
                out.push_str(line);
                if let Some((value, exemplar)) = exemplar_of(&book, line).filter(|_| !is_counter) {
                    let Exemplar { trace, unix } = exemplar;
                    let seconds = unix.as_secs_f64();
                    let _ = write!(out, " # {{trace_id=\"{trace}\"}} {value} {seconds:.3}");
                }
                out.push('\n');
            }
        }
        out.push_str("# EOF\n");
        out
    }
}

fn family(name: &str, is_counter: bool) -> &str {
    if is_counter { name.strip_suffix("_total").unwrap_or(name) } else { name }
}

fn exemplar_of(book: &BTreeMap<String, Arc<Exemplars>>, line: &str) -> Option<(f64, Exemplar)> {
    let (before, bound) = line.split_once("le=\"")?;
    book.get(before)?.of(bound.split('"').next()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: &[f64] = &[0.001, 0.01, 0.1];

    fn exemplar(trace: u128) -> Exemplar {
        Exemplar { trace: TraceId(trace), unix: Duration::from_millis(1_700_000_000_125) }
    }

    #[test]
    fn an_exemplar_lies_in_its_bucket_e2() {
        let exemplars = Exemplars::new(BOUNDS);
        assert_eq!(exemplars.of("0.01"), None, "no slots yet");
        for (trace, value) in [(1, 0.0005), (2, 0.01), (3, 0.010_000_1), (4, 7.0)] {
            exemplars.keep(value, exemplar(trace));
        }
        let of = |bound: &str| exemplars.of(bound).map(|(_, exemplar)| exemplar.trace.0);
        assert_eq!(
            [of("0.001"), of("0.01"), of("0.1"), of("+Inf")].map(Option::unwrap),
            [1, 2, 3, 4]
        );
        exemplars.keep(0.002, exemplar(5));
        assert_eq!(of("0.01"), Some(5), "the last one stays");
    }

    #[test]
    fn the_text_becomes_open_metrics_with_exemplars() {
        let book = Book::default();
        let histogram = book.add("t_seconds", &[("op", "put")], BOUNDS);
        book.add("u_seconds", &[], BOUNDS).keep(0.5, exemplar(2));
        histogram.keep(0.004, exemplar(0xab));
        let text = "# HELP n_total Some.\n# TYPE n_total counter\nn_total{a=\"le=\"} 3\n\n\
                    # HELP t_seconds Time.\n# TYPE t_seconds histogram\n\
                    t_seconds_bucket{op=\"put\",le=\"0.001\"} 0\n\
                    t_seconds_bucket{op=\"put\",le=\"0.01\"} 1\n\
                    t_seconds_bucket{op=\"get\",le=\"0.01\"} 1\n\
                    t_seconds_sum{op=\"put\"} 0.004\nt_seconds_count{op=\"put\"} 1\n\n\
                    # TYPE u_seconds histogram\nu_seconds_bucket{le=\"+Inf\"} 1\n\n";
        let expected = "# HELP n Some.\n# TYPE n counter\nn_total{a=\"le=\"} 3\n\
                    # HELP t_seconds Time.\n# TYPE t_seconds histogram\n\
                    t_seconds_bucket{op=\"put\",le=\"0.001\"} 0\n\
                    t_seconds_bucket{op=\"put\",le=\"0.01\"} 1 # {trace_id=\"\
                    000000000000000000000000000000ab\"} 0.004 1700000000.125\n\
                    t_seconds_bucket{op=\"get\",le=\"0.01\"} 1\n\
                    t_seconds_sum{op=\"put\"} 0.004\nt_seconds_count{op=\"put\"} 1\n\
                    # TYPE u_seconds histogram\nu_seconds_bucket{le=\"+Inf\"} 1 # {trace_id=\"\
                    00000000000000000000000000000002\"} 0.5 1700000000.125\n# EOF\n";
        assert_eq!(book.open_metrics(text), expected);
    }
}
