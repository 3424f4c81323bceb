//! Typed handles to every metric, made once and passed down.
//!
//! Used by every module that counts something. Counting is an atomic addition: no text is built and
//! nothing is looked up by name on the way of a request.
//!
//! # Invariants
//! - T4 Every series of closed labels exists from the start, with 0.
//! - T5 The series of a peer are shown while it is known and not after [`Metrics::forget_peer`].
//!
//! # Not here
//! Names, labels and help (`metrics`).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use super::metrics::{
    self as rows, AckResult, ENDPOINTS, Endpoint, MissReason, OkOrError, ReadConsistency,
    ReadResult, RefusedReason, SnapshotOp, WriteOp, WriteResult,
};
use super::recorder::Recorder;
pub use super::recorder::{Counter, CounterBy, CounterBy2, Gauge, Held, Histogram, HistogramBy};
use crate::types::NodeName;

/// All metrics of one node. Share it in an `Arc`.
pub struct Metrics {
    /// Requests being answered now.
    pub http_in_flight: Gauge,
    /// Open connections.
    pub http_connections: Gauge,
    /// Writes by what they asked for and how they ended.
    pub writes: CounterBy2<WriteOp, WriteResult>,
    /// Time from a write's admission to its outcome.
    pub write_duration: HistogramBy<WriteOp>,
    /// Writes proposed and not yet decided.
    pub proposals_pending: Gauge,
    /// Heartbeats received from the leader.
    pub leader_heartbeats: Counter,
    /// The consensus algorithm's place in the world.
    pub raft: RaftMetrics,
    /// The write-ahead log.
    pub wal: WalMetrics,
    /// Snapshots made, sent and installed.
    pub snapshots: CounterBy2<SnapshotOp, OkOrError>,
    /// Reads by what they asked for and how they ended.
    pub reads: CounterBy2<ReadConsistency, ReadResult>,
    /// Time from a read's admission to its result.
    pub read_duration: HistogramBy<ReadConsistency>,
    /// Keys in the state.
    pub keys: Gauge,
    /// Refused messages between nodes.
    pub peer_messages_refused: CounterBy<RefusedReason>,
    /// Lost diagnostic lines.
    pub log_lines_dropped: Counter,
    /// Sent spans.
    pub trace_spans_exported: Counter,
    /// Lost spans.
    pub trace_spans_dropped: Counter,
    endpoints: Vec<EndpointMetrics>,
    peers: Mutex<BTreeMap<NodeName, Peer>>,
    recorder: Recorder,
}

/// The consensus algorithm's place in the world.
#[derive(Clone)]
pub struct RaftMetrics {
    /// Whether this node leads.
    pub is_leader: Gauge,
    /// Whether this node knows a leader.
    pub has_leader: Gauge,
    /// The term that this node is in.
    pub term: Gauge,
    /// Times that this node saw another leader.
    pub leader_changes: Counter,
    /// The last index that a majority has.
    pub commit_index: Gauge,
    /// The last index applied.
    pub applied_index: Gauge,
    /// The last index in the log.
    pub last_log_index: Gauge,
    /// The last index in the newest snapshot.
    pub snapshot_index: Gauge,
}

/// The write-ahead log.
#[derive(Clone)]
pub struct WalMetrics {
    /// Time of one fdatasync.
    pub fsync_duration: Histogram,
    /// Entries made durable by one fdatasync.
    pub batch_entries: Histogram,
    /// Bytes written.
    pub append_bytes: Counter,
    /// Files filled.
    pub segments_rolled: Counter,
    /// Writes and syncs that failed.
    pub errors: Counter,
}

/// What this node knows of one other node.
pub struct PeerMetrics {
    /// Its answers to entries.
    pub acks: CounterBy<AckResult>,
    /// Time to its durable acknowledgement.
    pub ack_duration: Histogram,
    /// The last index that it is known to have.
    pub match_index: Gauge,
    /// Entries that it is not known to have.
    pub lag_entries: Gauge,
    /// Heartbeats sent to it.
    pub heartbeats_sent: Counter,
    /// Heartbeats without a good answer.
    pub heartbeat_misses: CounterBy<MissReason>,
    /// Time of a heartbeat and its answer.
    pub heartbeat_rtt: Histogram,
}

struct Peer {
    metrics: Arc<PeerMetrics>,
    shown: bool,
}

/// The metrics of one method and route.
pub struct EndpointMetrics {
    endpoint: &'static Endpoint,
    duration: Histogram,
    /// By status code from 100 on; a rare one is registered with its first answer.
    codes: Vec<OnceLock<Counter>>,
}

const CODE_MIN: u16 = 100;
const CODES: usize = 500;

impl Metrics {
    /// Metrics of a new node, all at zero.
    pub fn new() -> Self {
        let recorder = Recorder::new();
        let endpoints = ENDPOINTS.iter().map(|one| EndpointMetrics::new(&recorder, one)).collect();
        let build_info = [("version", env!("CARGO_PKG_VERSION"))];
        recorder.gauge(&rows::BUILD_INFO, &build_info).set(1);
        Self {
            http_in_flight: recorder.gauge(&rows::HTTP_IN_FLIGHT, &[]),
            http_connections: recorder.gauge(&rows::HTTP_CONNECTIONS, &[]),
            writes: recorder.counters2(&rows::WRITES),
            write_duration: recorder.histograms(&rows::WRITE_DURATION),
            proposals_pending: recorder.gauge(&rows::PROPOSALS_PENDING, &[]),
            leader_heartbeats: recorder.counter(&rows::LEADER_HEARTBEATS, &[]),
            raft: RaftMetrics::new(&recorder),
            wal: WalMetrics::new(&recorder),
            snapshots: recorder.counters2(&rows::SNAPSHOTS),
            reads: recorder.counters2(&rows::READS),
            read_duration: recorder.histograms(&rows::READ_DURATION),
            keys: recorder.gauge(&rows::KEYS, &[]),
            peer_messages_refused: recorder.counters(&rows::PEER_MESSAGES_REFUSED, &[]),
            log_lines_dropped: recorder.counter(&rows::LOG_LINES_DROPPED, &[]),
            trace_spans_exported: recorder.counter(&rows::TRACE_SPANS_EXPORTED, &[]),
            trace_spans_dropped: recorder.counter(&rows::TRACE_SPANS_DROPPED, &[]),
            endpoints,
            peers: Mutex::default(),
            recorder,
        }
    }

    /// The metrics of an endpoint: `route` is the router's template. Anything unknown is `other`.
    pub fn endpoint(&self, method: &str, route: &str) -> Option<&EndpointMetrics> {
        let matches =
            |one: &&EndpointMetrics| one.endpoint.route == route && one.endpoint.method == method;
        self.endpoints.iter().find(matches).or(self.endpoints.last())
    }

    /// Counts one answered request.
    pub fn answered(&self, method: &str, route: &str, code: u16, took: Duration) {
        let Some(endpoint) = self.endpoint(method, route) else {
            return;
        };
        endpoint.duration.observe(took);
        let Some(slot) = endpoint.codes.get(usize::from(code.saturating_sub(CODE_MIN))) else {
            return;
        };
        slot.get_or_init(|| endpoint.endpoint.counter(&self.recorder, code)).increment();
    }

    /// The metrics of a peer; its series are there from now on. Keep the handle.
    pub fn peer(&self, name: &NodeName) -> Arc<PeerMetrics> {
        let mut peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        let peer = peers.entry(name.clone()).or_insert_with(|| Peer {
            metrics: Arc::new(PeerMetrics::new(&self.recorder, name.as_str())),
            shown: true,
        });
        peer.shown = true;
        Arc::clone(&peer.metrics)
    }

    /// Takes a peer's series away: it is no member any more, or this node leads no more. What was
    /// counted comes back with [`Metrics::peer`]; counters never go back while the process lives.
    pub fn forget_peer(&self, name: &NodeName) {
        let mut peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(peer) = peers.get_mut(name) {
            peer.shown = false;
            peer.metrics.match_index.set(0);
            peer.metrics.lag_entries.set(0);
        }
    }

    /// All series in the Prometheus text format.
    pub fn render(&self) -> String {
        let text = self.recorder.render();
        let peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        let hidden: Vec<_> = peers
            .iter()
            .filter(|(_, peer)| !peer.shown)
            .map(|(name, _)| format!("peer=\"{name}\""))
            .collect();
        drop(peers);
        if hidden.is_empty() {
            return text;
        }
        // The exporter cannot unregister a series, so those of former peers are left out here.
        let shown = |line: &&str| {
            line.starts_with('#') || !hidden.iter().any(|label| line.contains(label.as_str()))
        };
        text.lines().filter(shown).flat_map(|line| [line, "\n"]).collect()
    }

    /// Sorts recorded durations into their buckets. To be called every few seconds: until then each
    /// recorded one takes memory, scraped or not.
    pub fn upkeep(&self) {
        self.recorder.upkeep();
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl RaftMetrics {
    fn new(recorder: &Recorder) -> Self {
        Self {
            is_leader: recorder.gauge(&rows::IS_LEADER, &[]),
            has_leader: recorder.gauge(&rows::HAS_LEADER, &[]),
            term: recorder.gauge(&rows::TERM, &[]),
            leader_changes: recorder.counter(&rows::LEADER_CHANGES, &[]),
            commit_index: recorder.gauge(&rows::COMMIT_INDEX, &[]),
            applied_index: recorder.gauge(&rows::APPLIED_INDEX, &[]),
            last_log_index: recorder.gauge(&rows::LAST_LOG_INDEX, &[]),
            snapshot_index: recorder.gauge(&rows::SNAPSHOT_INDEX, &[]),
        }
    }
}

impl WalMetrics {
    fn new(recorder: &Recorder) -> Self {
        Self {
            fsync_duration: recorder.histogram(&rows::WAL_FSYNC_DURATION, &[]),
            batch_entries: recorder.histogram(&rows::WAL_BATCH_ENTRIES, &[]),
            append_bytes: recorder.counter(&rows::WAL_APPEND_BYTES, &[]),
            segments_rolled: recorder.counter(&rows::WAL_SEGMENTS_ROLLED, &[]),
            errors: recorder.counter(&rows::WAL_ERRORS, &[]),
        }
    }
}

impl PeerMetrics {
    fn new(recorder: &Recorder, name: &str) -> Self {
        let peer = [("peer", name)];
        Self {
            acks: recorder.counters(&rows::REPLICATION_ACKS, &peer),
            ack_duration: recorder.histogram(&rows::REPLICATION_ACK_DURATION, &peer),
            match_index: recorder.gauge(&rows::REPLICATION_MATCH_INDEX, &peer),
            lag_entries: recorder.gauge(&rows::REPLICATION_LAG, &peer),
            heartbeats_sent: recorder.counter(&rows::HEARTBEATS_SENT, &peer),
            heartbeat_misses: recorder.counters(&rows::HEARTBEAT_MISSES, &peer),
            heartbeat_rtt: recorder.histogram(&rows::HEARTBEAT_RTT, &peer),
        }
    }
}

impl EndpointMetrics {
    fn new(recorder: &Recorder, endpoint: &'static Endpoint) -> Self {
        let labels = [("method", endpoint.method), ("route", endpoint.route)];
        let duration = recorder.histogram(&rows::HTTP_REQUEST_DURATION, &labels);
        let codes: Vec<OnceLock<Counter>> = (0..CODES).map(|_| OnceLock::new()).collect();
        for code in endpoint.codes {
            if let Some(slot) = codes.get(usize::from(code.saturating_sub(CODE_MIN))) {
                slot.get_or_init(|| endpoint.counter(recorder, *code));
            }
        }
        Self { endpoint, duration, codes }
    }
}

impl Endpoint {
    fn counter(&self, recorder: &Recorder, code: u16) -> Counter {
        let code = code.to_string();
        let labels = [("method", self.method), ("route", self.route), ("code", &code)];
        recorder.counter(&rows::HTTP_REQUESTS, &labels)
    }
}
