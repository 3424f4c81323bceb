//! Diagnostic lines: what `tracing` events become. JSON or text, on standard error.
//!
//! Used by `cli` once per process. Whoever logs never waits for whoever reads: lines go through a
//! bounded queue to a thread of their own, and when it is full they are dropped and counted.
//!
//! # Invariants
//! - G1 An event costs its formatting and a short lock, never a write.
//! - G2 At most [`QUEUE_LINES`] lines wait; every one that is lost is counted.
//! - G3 Dropping the guard waits until all lines are written, but not longer than the deadline.
//!
//! # Not here
//! What is logged. Values and tokens never are.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::{EnvFilter, Layer};

use super::handles::{Counter, CounterBy, Metrics};
use super::metrics::EventLevel;
use crate::config::{LogFormat, TelemetryConfig};
use crate::types::NodeName;

/// Lines that may wait for the writer.
pub const QUEUE_LINES: usize = 8192;
/// How long the guard waits for the last lines.
pub const FLUSH_DEADLINE: Duration = Duration::from_secs(2);

/// Why diagnostics could not start.
#[derive(Debug, thiserror::Error)]
pub enum DiagnosticsError {
    /// The filter is not one.
    #[error("expected a log level or filter, found {found:?}")]
    Filter {
        /// The text of `log_level`.
        found: String,
        /// What is wrong with it.
        #[source]
        source: tracing_subscriber::filter::ParseError,
    },
    /// The operating system gave no thread.
    #[error("the thread for diagnostics could not start")]
    Thread(#[source] io::Error),
    /// This process has a subscriber already.
    #[error("diagnostics of this process were started before")]
    AlreadyStarted(#[source] tracing::subscriber::SetGlobalDefaultError),
}

/// Starts the process's diagnostics on standard error. `node` stands in every line; `None` when
/// several nodes live in this process. Keep the guard until the end.
pub fn start(
    config: &TelemetryConfig,
    node: Option<&NodeName>,
    metrics: &Metrics,
) -> Result<Guard, DiagnosticsError> {
    let (lines, guard) = Lines::start(io::stderr(), metrics.log_lines_dropped.clone())?;
    let subscriber = subscriber(config, node, lines)?;
    let subscriber = subscriber.with(Counted(metrics.log_events.clone()));
    tracing::subscriber::set_global_default(subscriber)
        .map_err(DiagnosticsError::AlreadyStarted)?;
    Ok(guard)
}

/// Counts the events that pass the filter.
struct Counted(CounterBy<EventLevel>);

impl<S: Subscriber> Layer<S> for Counted {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let level = *event.metadata().level();
        if level == Level::ERROR {
            self.0.increment(EventLevel::Error);
        } else if level == Level::WARN {
            self.0.increment(EventLevel::Warn);
        } else if level == Level::INFO {
            self.0.increment(EventLevel::Info);
        }
    }
}

/// A subscriber that formats events as configured and puts them into the queue.
fn subscriber(
    config: &TelemetryConfig,
    node: Option<&NodeName>,
    lines: Lines,
) -> Result<Box<dyn Subscriber + Send + Sync>, DiagnosticsError> {
    // openraft tells every message and every retry; what a person needs to know we tell ourselves.
    // A filter that names openraft wins over this.
    let filter = format!("openraft=error,{}", config.log_level);
    let filter = EnvFilter::try_new(filter)
        .map_err(|source| DiagnosticsError::Filter { found: config.log_level.clone(), source })?;
    let opening = match (config.log_format, node) {
        (_, None) => String::new(),
        // The first member of the object; a node's name needs no escaping.
        (LogFormat::Json, Some(node)) => format!("{{\"node\":\"{node}\","),
        (LogFormat::Text, Some(node)) => format!("{node} "),
    };
    let writer = LineWriter { lines, opening: opening.into() };
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer);
    Ok(match config.log_format {
        LogFormat::Json => Box::new(builder.json().flatten_event(true).finish()),
        LogFormat::Text => Box::new(builder.with_ansi(false).finish()),
    })
}

/// Waits for the last lines when it is dropped (G3).
#[must_use = "lines that still wait are lost with it"]
pub struct Guard(Arc<Queue>);

impl Drop for Guard {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.closing = true;
        self.0.changed.notify_all();
        // A timeout is the deadline of G3: what is still there is lost.
        let _ = self.0.changed.wait_timeout_while(state, FLUSH_DEADLINE, |state| !state.closed);
    }
}

/// The queue's end for those who log.
#[derive(Clone)]
struct Lines {
    queue: Arc<Queue>,
    dropped: Counter,
}

struct Queue {
    state: Mutex<QueueState>,
    changed: Condvar,
}

#[derive(Default)]
struct QueueState {
    lines: VecDeque<Vec<u8>>,
    closing: bool,
    closed: bool,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, QueueState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Everything that waits; `None` when there is nothing more to come.
    fn take(&self) -> Option<VecDeque<Vec<u8>>> {
        let idle = |state: &mut QueueState| state.lines.is_empty() && !state.closing;
        let waited = self.changed.wait_while(self.lock(), idle);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner);
        if state.lines.is_empty() {
            return None;
        }
        Some(std::mem::take(&mut state.lines))
    }
}

impl Lines {
    fn start(
        mut to: impl Write + Send + 'static,
        dropped: Counter,
    ) -> Result<(Self, Guard), DiagnosticsError> {
        let queue = Arc::new(Queue { state: Mutex::default(), changed: Condvar::new() });
        let writers = Arc::clone(&queue);
        let write = move || {
            while let Some(lines) = writers.take() {
                // Nobody is left to tell when standard error is closed.
                let _ = lines.iter().try_for_each(|line| to.write_all(line));
                let _ = to.flush();
            }
            writers.lock().closed = true;
            writers.changed.notify_all();
        };
        let thread = std::thread::Builder::new().name("diagnostics".to_owned()).spawn(write);
        thread.map_err(DiagnosticsError::Thread)?;
        Ok((Self { queue: Arc::clone(&queue), dropped }, Guard(queue)))
    }

    fn push(&self, line: Vec<u8>) {
        let mut state = self.queue.lock();
        if state.lines.len() >= QUEUE_LINES || state.closing {
            self.dropped.increment();
            return;
        }
        state.lines.push_back(line);
        drop(state);
        self.queue.changed.notify_all();
    }
}

/// Makes one line of each event; the subscriber writes an event with one call.
struct LineWriter {
    lines: Lines,
    opening: Box<str>,
}

impl<'a> MakeWriter<'a> for LineWriter {
    type Writer = &'a LineWriter;

    fn make_writer(&'a self) -> Self::Writer {
        self
    }
}

impl Write for &LineWriter {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let mut line = Vec::with_capacity(self.opening.len() + event.len());
        line.extend_from_slice(self.opening.as_bytes());
        // In JSON the opening brace is in the opening already.
        let doubled = self.opening.starts_with('{') && event.starts_with(b"{");
        line.extend_from_slice(event.get(usize::from(doubled)..).unwrap_or_default());
        self.lines.push(line);
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::Metrics;

    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn printed(format: LogFormat, level: &str, log: impl FnOnce()) -> String {
        let out = Shared::default();
        let config = TelemetryConfig { log_level: level.to_owned(), log_format: format };
        let (lines, guard) =
            Lines::start(out.clone(), Metrics::new().log_lines_dropped.clone()).unwrap();
        let node = "node1".parse().unwrap();
        let subscriber = subscriber(&config, Some(&node), lines).unwrap();
        tracing::subscriber::with_default(subscriber, log);
        drop(guard);
        String::from_utf8(out.0.lock().unwrap().clone()).unwrap()
    }

    #[test]
    fn a_json_line_has_the_node_the_time_and_the_events_fields() {
        let text = printed(LogFormat::Json, "info", || {
            tracing::info!(term = 3, "this node leads");
            tracing::debug!("not asked for");
        });
        let line: serde_json::Value = serde_json::from_str(text.trim_end()).unwrap();
        assert_eq!(line["node"], "node1");
        assert_eq!(line["level"], "INFO");
        assert_eq!(line["message"], "this node leads");
        assert_eq!(line["term"], 3);
        assert!(line["timestamp"].as_str().unwrap().ends_with('Z'), "{text}");
        assert!(line["target"].as_str().unwrap().starts_with("bitacora::"), "{text}");
    }

    #[test]
    fn a_text_line_begins_with_the_node() {
        let text = printed(LogFormat::Text, "info,bitacora=warn", || {
            tracing::info!("filtered by module");
            tracing::warn!(peer = "node2", "no heartbeat");
        });
        assert!(text.starts_with("node1 20"), "{text}");
        assert!(text.contains("WARN") && text.contains("no heartbeat peer=\"node2\""), "{text}");
        assert_eq!(text.lines().count(), 1, "{text}");
    }

    /// A reader that takes nothing until it is let go.
    struct Stuck(std::sync::mpsc::Receiver<()>);

    impl Write for Stuck {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let _ = self.0.recv();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_for_a_stuck_reader_are_dropped_and_counted_and_nobody_waits_g2() {
        let metrics = Metrics::new();
        let (let_go, stuck) = std::sync::mpsc::channel();
        let (lines, guard) = Lines::start(Stuck(stuck), metrics.log_lines_dropped.clone()).unwrap();
        for _ in 0..3 * QUEUE_LINES {
            lines.push(b"x\n".to_vec());
        }
        let text = metrics.render();
        let dropped =
            text.lines().find(|line| line.starts_with("bitacora_log_lines_dropped_total"));
        let dropped: usize = dropped.unwrap().rsplit(' ').next().unwrap().parse().unwrap();
        assert!((QUEUE_LINES..=2 * QUEUE_LINES).contains(&dropped), "{dropped}");
        drop(let_go);
        drop(guard);
    }

    #[test]
    fn events_are_counted_by_level_if_they_pass_the_filter() {
        let (metrics, config) = (
            Metrics::new(),
            TelemetryConfig { log_level: "warn".to_owned(), log_format: LogFormat::Json },
        );
        let (lines, guard) = Lines::start(io::sink(), metrics.log_lines_dropped.clone()).unwrap();
        let subscriber = subscriber(&config, None, lines).unwrap();
        let subscriber = subscriber.with(Counted(metrics.log_events.clone()));
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!("not asked for");
            tracing::warn!("one");
            tracing::error!("two");
            tracing::warn!("three");
        });
        drop(guard);
        let text = metrics.render();
        for (level, count) in [("info", 0), ("warn", 2), ("error", 1)] {
            let line = format!("bitacora_log_events_total{{level=\"{level}\"}} {count}\n");
            assert!(text.contains(&line), "{text}");
        }
    }

    #[test]
    fn a_filter_that_is_none_is_refused() {
        let config = TelemetryConfig { log_level: "a=b=c".to_owned(), log_format: LogFormat::Json };
        let (lines, _guard) =
            Lines::start(io::sink(), Metrics::new().log_lines_dropped.clone()).unwrap();
        let refused = subscriber(&config, None, lines).err().unwrap();
        assert!(matches!(refused, DiagnosticsError::Filter { .. }));
    }
}
