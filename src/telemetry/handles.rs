//! Typed handles to every metric, made once and passed down.
//!
//! Used by every module that counts something. Counting is an atomic addition: no text is built and
//! nothing is looked up by name on the way of a request.
//!
//! # Invariants
//! - T4 Every series of closed labels exists from the start, with 0.
//!
//! # Not here
//! Names, labels and help (`metrics`), handles of one part of the node (`groups`), of a peer
//! (`peers`), of an endpoint (`endpoints`).

use std::sync::Arc;
use std::time::Duration;

use super::endpoints::EndpointsMetrics;
use super::exemplars::Exemplar;
pub use super::groups::{FollowerMetrics, MachineMetrics, RaftMetrics, StateMetrics, WalMetrics};
use super::metrics::{
    self as rows, EventLevel, OkOrError, ReadConsistency, ReadResult, RefusedReason, WriteOp,
    WritePhase, WriteResult,
};
pub use super::peers::PeerMetrics;
use super::peers::Peers;
use super::recorder::Recorder;
pub use super::recorder::{
    Counter, CounterBy, CounterBy2, Gauge, GaugeBy, Held, Histogram, HistogramBy, SecondsCounter,
};
use crate::types::{ClusterId, NodeName};

/// All metrics of one node. Share it in an `Arc`.
pub struct Metrics {
    /// Requests being answered now.
    pub http_in_flight: Gauge,
    /// Open connections.
    pub http_connections: Gauge,
    /// Bytes that came in over them.
    pub http_received: Counter,
    /// Bytes that went out.
    pub http_sent: Counter,
    /// Writes by what they asked for and how they ended.
    pub writes: CounterBy2<WriteOp, WriteResult>,
    /// Time from a write's request to its outcome.
    pub write_duration: HistogramBy<WriteOp>,
    /// The parts of that time.
    pub write_phases: HistogramBy<WritePhase>,
    /// Bodies of acknowledged writes.
    pub write_bytes: Counter,
    /// Writes proposed and not yet decided.
    pub proposals_pending: Gauge,
    /// Their bodies.
    pub proposals_pending_bytes: Gauge,
    /// Requests passed on to the leader.
    pub forwarded: CounterBy<OkOrError>,
    /// The consensus algorithm's place in the world.
    pub raft: RaftMetrics,
    /// The leader and its log, as a follower sees them.
    pub follower: FollowerMetrics,
    /// The write-ahead log.
    pub wal: WalMetrics,
    /// The state and its snapshots.
    pub state: StateMetrics,
    /// Disk, runtime and process.
    pub machine: MachineMetrics,
    /// Reads by what they asked for and how they ended.
    pub reads: CounterBy2<ReadConsistency, ReadResult>,
    /// Time from a read's request to its result.
    pub read_duration: HistogramBy<ReadConsistency>,
    /// Time until a majority confirmed the leader.
    pub read_barrier_duration: Histogram,
    /// How old the state of a stale read may have been.
    pub read_staleness: Histogram,
    /// Clients that follow the log.
    pub log_tails: Gauge,
    /// Entries handed to readers of the log.
    pub log_entries_served: Counter,
    /// Refused messages between nodes.
    pub peer_messages_refused: CounterBy<RefusedReason>,
    /// Diagnostic events.
    pub log_events: CounterBy<EventLevel>,
    /// Lost diagnostic lines.
    pub log_lines_dropped: Counter,
    /// Spans handed to the collector of traces.
    pub trace_spans_exported: Counter,
    /// Spans lost on the way there.
    pub trace_spans_dropped: Counter,
    endpoints: EndpointsMetrics,
    peers: Peers,
    recorder: Recorder,
}

impl Metrics {
    /// Metrics of a new node, all at zero.
    pub fn new() -> Self {
        let recorder = Recorder::new();
        show_build(&recorder);
        Self {
            http_in_flight: recorder.gauge(&rows::HTTP_IN_FLIGHT, &[]),
            http_connections: recorder.gauge(&rows::HTTP_CONNECTIONS, &[]),
            http_received: recorder.counter(&rows::HTTP_RECEIVED_BYTES, &[]),
            http_sent: recorder.counter(&rows::HTTP_SENT_BYTES, &[]),
            writes: recorder.counters2(&rows::WRITES),
            write_duration: recorder.histograms(&rows::WRITE_DURATION),
            write_phases: recorder.histograms(&rows::WRITE_PHASE_DURATION),
            write_bytes: recorder.counter(&rows::WRITE_BYTES, &[]),
            proposals_pending: recorder.gauge(&rows::PROPOSALS_PENDING, &[]),
            proposals_pending_bytes: recorder.gauge(&rows::PROPOSALS_PENDING_BYTES, &[]),
            forwarded: recorder.counters(&rows::FORWARDED_REQUESTS, &[]),
            raft: RaftMetrics::new(&recorder),
            follower: FollowerMetrics::new(&recorder),
            wal: WalMetrics::new(&recorder),
            state: StateMetrics::new(&recorder),
            machine: MachineMetrics::new(&recorder),
            reads: recorder.counters2(&rows::READS),
            read_duration: recorder.histograms(&rows::READ_DURATION),
            read_barrier_duration: recorder.histogram(&rows::READ_BARRIER_DURATION, &[]),
            read_staleness: recorder.histogram(&rows::READ_STALENESS, &[]),
            log_tails: recorder.gauge(&rows::LOG_TAILS, &[]),
            log_entries_served: recorder.counter(&rows::LOG_ENTRIES_SERVED, &[]),
            peer_messages_refused: recorder.counters(&rows::PEER_MESSAGES_REFUSED, &[]),
            log_events: recorder.counters(&rows::LOG_EVENTS, &[]),
            log_lines_dropped: recorder.counter(&rows::LOG_LINES_DROPPED, &[]),
            trace_spans_exported: recorder.counter(&rows::TRACE_SPANS_EXPORTED, &[]),
            trace_spans_dropped: recorder.counter(&rows::TRACE_SPANS_DROPPED, &[]),
            endpoints: EndpointsMetrics::new(&recorder),
            peers: Peers::default(),
            recorder,
        }
    }

    /// Counts one answered request: `route` is the router's template. Anything unknown is `other`.
    pub fn answered(
        &self,
        (method, route, code): (&str, &str, u16),
        took: Duration,
        exemplar: Option<Exemplar>,
    ) {
        self.endpoints.answered(&self.recorder, (method, route, code), took, exemplar);
    }

    /// The metrics of a peer. Keep the handle. Its series show with [`Metrics::show_peers`].
    pub fn peer(&self, name: &NodeName) -> Arc<PeerMetrics> {
        self.peers.get(&self.recorder, name)
    }

    /// Shows the series of these peers and of no others: a leader's followers, or nobody's.
    pub fn show_peers(&self, names: &[&NodeName]) {
        self.peers.show(names);
    }

    /// Says which cluster this node belongs to.
    pub fn show_cluster(&self, cluster: ClusterId, name: &NodeName) {
        let cluster = cluster.to_string();
        let labels = [("cluster_id", cluster.as_str()), ("node_id", name.as_str())];
        self.recorder.gauge(&rows::CLUSTER_INFO, &labels).set(1);
    }

    /// All series in the Prometheus text format.
    pub fn render(&self) -> String {
        self.peers.without_hidden(self.recorder.render())
    }

    /// The same as OpenMetrics, which links buckets to traces.
    pub fn render_open_metrics(&self) -> String {
        self.recorder.open_metrics(&self.render())
    }

    /// Sorts recorded durations into their buckets. To be called often: until then each recorded
    /// one takes memory, scraped or not, and they are sorted all at once.
    pub fn upkeep(&self) {
        self.recorder.upkeep();
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

fn show_build(recorder: &Recorder) {
    let build = [
        ("version", env!("CARGO_PKG_VERSION")),
        ("revision", option_env!("BITACORA_REVISION").unwrap_or("unknown")),
        ("rustc", env!("BITACORA_RUSTC")),
        ("profile", env!("BITACORA_PROFILE")),
    ];
    recorder.gauge(&rows::BUILD_INFO, &build).set(1);
}
