//! What a bench counted, and how it is reported.
//!
//! # Not here
//! Time: whoever counts says how long it took.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::json;

use crate::cli::output;

use super::histogram::Histogram;

/// The quantiles of a report: name, and how many of a million.
const QUANTILES: [(&str, u32); 4] =
    [("p50", 500_000), ("p90", 900_000), ("p99", 990_000), ("p99.9", 999_000)];

/// What was counted.
#[derive(Default)]
pub struct Tally {
    /// Latencies of the requests that succeeded while it was measured.
    latencies: Histogram,
    /// The same since the last progress line, warm-up included.
    since_line: Histogram,
    /// Answers that were no success, by status and code, while it was measured.
    errors: BTreeMap<String, u64>,
    errors_since_line: u64,
    /// Connections that ended under a request, at any time.
    connections_lost: u64,
    /// Connections that could not be made, at any time.
    connects_failed: u64,
    last_error: Option<String>,
}

impl Tally {
    /// Counts a success.
    pub fn success(&mut self, latency: Duration, is_measured: bool) {
        self.since_line.record(latency);
        if is_measured {
            self.latencies.record(latency);
        }
    }

    /// Counts an answer that was no success, or its absence.
    pub fn error(&mut self, what: &str, is_measured: bool) {
        self.errors_since_line += 1;
        if is_measured {
            match self.errors.get_mut(what) {
                Some(count) => *count += 1,
                None => drop(self.errors.insert(what.to_owned(), 1)),
            }
        }
    }

    /// Counts a connection that ended under a request.
    pub fn connection_lost(&mut self, why: String) {
        self.connections_lost += 1;
        self.last_error = Some(why);
    }

    /// Counts a connection that could not be made.
    pub fn connect_failed(&mut self, why: String) {
        self.connects_failed += 1;
        self.last_error = Some(why);
    }

    /// A line about what happened since the last one.
    pub fn progress(&mut self, elapsed: Duration, span: Duration) -> String {
        let line = format!(
            "{:>4} s  {:>8.0} ops/s  p50 {}  p99 {}  max {}  errors {}",
            elapsed.as_secs_f64().round(),
            rate(self.since_line.total(), span),
            milliseconds(self.since_line.quantile(500_000)),
            milliseconds(self.since_line.quantile(990_000)),
            milliseconds(self.since_line.max()),
            self.errors_since_line,
        );
        self.since_line.clear();
        self.errors_since_line = 0;
        line
    }

    /// Whether anything succeeded.
    pub const fn any_success(&self) -> bool {
        self.latencies.total() > 0
    }

    /// The report for people.
    pub fn text(&self, title: &str, measured: Duration) -> String {
        let mut rows = vec![
            vec!["ops/s".to_owned(), format!("{:.0}", rate(self.latencies.total(), measured))],
            vec!["ops".to_owned(), self.latencies.total().to_string()],
        ];
        for (name, per_million) in QUANTILES {
            rows.push(vec![name.to_owned(), milliseconds(self.latencies.quantile(per_million))]);
        }
        rows.push(vec!["max".to_owned(), milliseconds(self.latencies.max())]);
        rows.push(vec!["errors".to_owned(), self.errors.values().sum::<u64>().to_string()]);
        for (what, count) in &self.errors {
            rows.push(vec![format!("  {what}"), count.to_string()]);
        }
        let lost = self.connections_lost.to_string();
        rows.push(vec!["connections lost".to_owned(), lost]);
        rows.push(vec!["connects failed".to_owned(), self.connects_failed.to_string()]);
        if let Some(why) = &self.last_error {
            rows.push(vec!["  the last".to_owned(), why.clone()]);
        }
        output::table(&[title, ""], &rows)
    }

    /// The report for programs.
    pub fn json(&self, parameters: &serde_json::Value, measured: Duration) -> serde_json::Value {
        let latency_ms: serde_json::Map<String, serde_json::Value> = QUANTILES
            .iter()
            .map(|(name, per_million)| {
                ((*name).to_owned(), json!(as_ms(self.latencies.quantile(*per_million))))
            })
            .chain([("max".to_owned(), json!(as_ms(self.latencies.max())))])
            .collect();
        json!({
            "parameters": parameters,
            "measured_s": measured.as_secs_f64(),
            "ops": self.latencies.total(),
            "ops_per_second": rate(self.latencies.total(), measured),
            "latency_ms": latency_ms,
            "errors": self.errors,
            "connections_lost": self.connections_lost,
            "connects_failed": self.connects_failed,
            "last_connection_error": self.last_error,
        })
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts here are far below 2^52")]
fn rate(count: u64, span: Duration) -> f64 {
    if span.is_zero() { 0.0 } else { count as f64 / span.as_secs_f64() }
}

fn as_ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1_000.0
}

fn milliseconds(duration: Duration) -> String {
    format!("{:.3} ms", as_ms(duration))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);
    const SECOND: Duration = Duration::from_secs(1);

    fn tally() -> Tally {
        let mut tally = Tally::default();
        tally.success(MS, false);
        tally.success(MS, true);
        tally.error("503 no_leader", true);
        tally.error("503 no_leader", true);
        tally.connection_lost("reset".into());
        tally
    }

    #[test]
    fn warming_up_shows_in_the_progress_but_not_in_the_report() {
        let mut tally = tally();
        let report = tally.json(&json!({"clients": 1}), 2 * SECOND);
        assert_eq!(report["ops"], 1);
        assert_eq!(report["ops_per_second"], 0.5);
        assert_eq!(report["latency_ms"]["max"], 1.0);
        let line = tally.progress(3 * SECOND, SECOND);
        assert!(line.starts_with("   3 s         2 ops/s  p50 1.000 ms"), "{line}");
        assert!(line.ends_with("errors 2"));
        assert!(tally.progress(4 * SECOND, SECOND).contains(" 0 ops/s"));
    }

    #[test]
    fn errors_are_reported_by_status_and_code() {
        let report = tally().json(&json!(null), SECOND);
        assert_eq!(report["errors"], json!({"503 no_leader": 2}));
        assert_eq!(report["connections_lost"], 1);
        assert!(tally().text("put", SECOND).contains("\n  503 no_leader   2\n"));
    }
}
