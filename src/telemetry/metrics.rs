//! The one table of metrics: name, kind, labels, buckets, help; and every value a label may have.
//!
//! Used by `handles`, which turns rows into typed handles, and by the tests that hold
//! `docs/metrics.md` and the dashboards to it.
//!
//! # Invariants
//! - T1 Every name begins with `bitacora_`; counters, and only they, end in `_total`; units last.
//! - T2 Histograms have buckets; there is no summary. Every alert's threshold is a bucket bound.
//! - T3 Label values are closed enums, never keys, ids or texts of errors. Only `peer`, whose
//!   values are the members, and `version` are not.
//!
//! # Not here
//! The library behind it (`recorder`), where a metric is counted.

use std::fmt::Write as _;

/// What a metric is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricKind {
    /// Only grows while the process lives.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts by upper bounds.
    Histogram(Buckets),
}

/// Upper bounds of a histogram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Buckets {
    /// Seconds, for what a disk does.
    Disk,
    /// Seconds, for what a network or a whole request does.
    Net,
    /// Counts of things.
    Size,
}

impl Buckets {
    /// The upper bounds, ascending, without infinity.
    pub const fn bounds(self) -> &'static [f64] {
        match self {
            Self::Disk => &[
                0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05,
                0.1, 0.25, 0.5, 1.0, 2.5, 5.0,
            ],
            Self::Net => &[
                0.000_05, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.15,
                0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
            ],
            Self::Size => &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0],
        }
    }
}

/// One metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// Its full name.
    pub name: &'static str,
    /// What it is.
    pub kind: MetricKind,
    /// Names of its labels.
    pub labels: &'static [&'static str],
    /// What it counts, in one sentence.
    pub help: &'static str,
}

/// A label whose values are known when the program is written.
pub trait Label: Copy + Send + Sync + 'static {
    /// The label's name.
    const NAME: &'static str;
    /// Every value, in the order of [`Label::ordinal`].
    const ALL: &'static [Self];
    /// The value as it is written.
    fn as_str(self) -> &'static str;
    /// Its place in [`Label::ALL`].
    fn ordinal(self) -> usize;
}

macro_rules! label {
    ($(#[$doc:meta])* $label:literal $name:ident { $($variant:ident = $text:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name {
            $(#[doc = concat!("`", $text, "`")] $variant,)+
        }

        impl Label for $name {
            const NAME: &'static str = $label;
            const ALL: &'static [Self] = &[$(Self::$variant,)+];

            fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }

            fn ordinal(self) -> usize {
                self as usize
            }
        }
    };
}

label! { /// What a write asked for.
"op" WriteOp { Write = "write", Put = "put", Delete = "delete", } }
label! { /// How a write ended.
"result" WriteResult {
    Ok = "ok", Rejected = "rejected", Invalid = "invalid", NotLeader = "not_leader",
    NoLeader = "no_leader", NoQuorum = "no_quorum", Overloaded = "overloaded",
    Timeout = "timeout", Unknown = "unknown", Internal = "internal",
} }
label! { /// How a follower answered a replication.
"result" AckResult {
    Success = "success", Conflict = "conflict", HigherVote = "higher_vote", Timeout = "timeout",
    Error = "error",
} }
label! { /// Why a heartbeat had no good answer.
"reason" MissReason {
    Timeout = "timeout", Connect = "connect", Http = "http", HigherVote = "higher_vote",
} }
label! { /// What was done with a snapshot.
"op" SnapshotOp { Create = "create", Send = "send", Install = "install", } }
label! { /// How something ended that either works or does not.
"result" OkOrError { Ok = "ok", Error = "error", } }
label! { /// What a read asked for.
"consistency" ReadConsistency { Linearizable = "linearizable", Stale = "stale", } }
label! { /// How a read ended.
"result" ReadResult { Ok = "ok", NotFound = "not_found", Error = "error", } }
label! { /// Why a peer's message was refused.
"reason" RefusedReason {
    WrongCluster = "wrong_cluster", WrongNode = "wrong_node", Malformed = "malformed",
} }

impl OkOrError {
    /// How this one ended.
    pub fn of<T, E>(result: &Result<T, E>) -> Self {
        if result.is_ok() { Self::Ok } else { Self::Error }
    }
}

macro_rules! table {
    ($($constant:ident = $name:literal $kind:ident $(($buckets:ident))? [$($label:literal),*]
        $help:literal;)+) => {
        $(#[doc = $help]
        pub const $constant: Row = Row {
            name: concat!("bitacora_", $name),
            kind: MetricKind::$kind $((Buckets::$buckets))?,
            labels: &[$($label),*],
            help: $help,
        };)+

        /// Every metric.
        pub const METRICS: &[Row] = &[$($constant),+];
    };
}

table! {
    HTTP_REQUESTS = "http_requests_total" Counter ["method", "route", "code"]
        "Requests answered, by route template and status code.";
    HTTP_REQUEST_DURATION = "http_request_duration_seconds" Histogram(Net) ["method", "route"]
        "Time from a request's head to its answer's head.";
    HTTP_IN_FLIGHT = "http_requests_in_flight" Gauge []
        "Requests being answered now.";
    HTTP_CONNECTIONS = "http_connections" Gauge []
        "Open connections from clients and peers.";
    WRITES = "writes_total" Counter ["op", "result"]
        "Writes by what they asked for and how they ended, on the node that led them.";
    WRITE_DURATION = "write_duration_seconds" Histogram(Net) ["op"]
        "Time from a write's admission to its outcome.";
    PROPOSALS_PENDING = "proposals_pending" Gauge []
        "Writes proposed and not yet decided.";
    REPLICATION_ACKS = "replication_acks_total" Counter ["peer", "result"]
        "Answers of a follower to this leader's entries.";
    REPLICATION_ACK_DURATION = "replication_ack_duration_seconds" Histogram(Net) ["peer"]
        "Time from sending entries to a follower's durable acknowledgement.";
    REPLICATION_MATCH_INDEX = "replication_match_index" Gauge ["peer"]
        "The last index that a follower is known to have on disk.";
    REPLICATION_LAG = "replication_lag_entries" Gauge ["peer"]
        "Entries of this leader that a follower is not known to have.";
    HEARTBEATS_SENT = "heartbeats_sent_total" Counter ["peer"]
        "Heartbeats sent to a follower.";
    HEARTBEAT_MISSES = "heartbeat_misses_total" Counter ["peer", "reason"]
        "Heartbeats without a good answer from a follower.";
    HEARTBEAT_RTT = "heartbeat_rtt_seconds" Histogram(Net) ["peer"]
        "Time from a heartbeat to a follower's answer.";
    LEADER_HEARTBEATS = "leader_heartbeats_received_total" Counter []
        "Heartbeats received from the leader.";
    IS_LEADER = "raft_is_leader" Gauge []
        "1 while this node leads, else 0.";
    HAS_LEADER = "raft_has_leader" Gauge []
        "1 while this node knows a leader, else 0.";
    TERM = "raft_term" Gauge []
        "The term that this node is in.";
    LEADER_CHANGES = "raft_leader_changes_total" Counter []
        "Times that this node saw another leader than before.";
    COMMIT_INDEX = "raft_commit_index" Gauge []
        "The last index that a majority has.";
    APPLIED_INDEX = "raft_applied_index" Gauge []
        "The last index applied to the state.";
    LAST_LOG_INDEX = "raft_last_log_index" Gauge []
        "The last index in this node's log.";
    SNAPSHOT_INDEX = "raft_snapshot_index" Gauge []
        "The last index in this node's newest snapshot.";
    WAL_FSYNC_DURATION = "wal_fsync_duration_seconds" Histogram(Disk) []
        "Time of one fdatasync of the log.";
    WAL_BATCH_ENTRIES = "wal_batch_entries" Histogram(Size) []
        "Entries made durable by one fdatasync.";
    WAL_APPEND_BYTES = "wal_append_bytes_total" Counter []
        "Bytes written to the log.";
    WAL_SEGMENTS_ROLLED = "wal_segments_rolled_total" Counter []
        "Log files filled and followed by a new one.";
    WAL_ERRORS = "wal_errors_total" Counter []
        "Writes and syncs of the log that failed; the first one stops the node.";
    SNAPSHOTS = "snapshots_total" Counter ["op", "result"]
        "Snapshots made, sent and installed.";
    READS = "reads_total" Counter ["consistency", "result"]
        "Reads by what they asked for and how they ended.";
    READ_DURATION = "read_duration_seconds" Histogram(Net) ["consistency"]
        "Time from a read's admission to its result.";
    KEYS = "keys" Gauge []
        "Keys in the state.";
    PEER_MESSAGES_REFUSED = "peer_messages_refused_total" Counter ["reason"]
        "Messages between nodes that were not for this node or not understood.";
    LOG_LINES_DROPPED = "log_lines_dropped_total" Counter []
        "Diagnostic lines lost because their reader was too slow.";
    TRACE_SPANS_EXPORTED = "trace_spans_exported_total" Counter []
        "Spans that a collector of traces has taken.";
    TRACE_SPANS_DROPPED = "trace_spans_dropped_total" Counter []
        "Spans lost because the queue was full or the collector did not take them.";
    BUILD_INFO = "build_info" Gauge ["version"]
        "Always 1; the version of the program.";
}

/// An endpoint of the HTTP server: a method with a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Endpoint {
    /// Method in capitals.
    pub method: &'static str,
    /// Route template as the router has it.
    pub route: &'static str,
    /// Status codes whose series exist from the start; others come with their first answer.
    pub codes: &'static [u16],
}

const READS_CODES: &[u16] = &[200, 400, 500, 503, 504];
const WRITES_CODES: &[u16] = &[200, 400, 412, 413, 500, 503, 504];
const PEERS_CODES: &[u16] = &[200, 400, 421, 500];

/// Every endpoint; what matches none of them is counted under the last one.
pub const ENDPOINTS: &[Endpoint] = &[
    Endpoint { method: "GET", route: "/", codes: &[200] },
    Endpoint { method: "POST", route: "/write", codes: WRITES_CODES },
    Endpoint { method: "POST", route: "/escribir", codes: &[200, 403, 500] },
    Endpoint { method: "GET", route: "/v1/kv/{key}", codes: &[200, 404, 500, 503, 504] },
    Endpoint { method: "PUT", route: "/v1/kv/{key}", codes: WRITES_CODES },
    Endpoint { method: "DELETE", route: "/v1/kv/{key}", codes: WRITES_CODES },
    Endpoint { method: "GET", route: "/v1/kv", codes: READS_CODES },
    Endpoint { method: "GET", route: "/v1/log", codes: &[200, 400, 410] },
    Endpoint { method: "GET", route: "/v1/cluster", codes: &[200, 500] },
    Endpoint { method: "GET", route: "/heartbeat", codes: &[200] },
    Endpoint { method: "GET", route: "/livez", codes: &[200] },
    Endpoint { method: "GET", route: "/readyz", codes: &[200, 503] },
    Endpoint { method: "GET", route: "/metrics", codes: &[200] },
    Endpoint { method: "POST", route: "/replicate", codes: PEERS_CODES },
    Endpoint { method: "POST", route: "/replicar", codes: PEERS_CODES },
    Endpoint { method: "POST", route: "/heartbeat", codes: PEERS_CODES },
    Endpoint { method: "POST", route: "/vote", codes: PEERS_CODES },
    Endpoint { method: "POST", route: "/pre-vote", codes: PEERS_CODES },
    Endpoint { method: "POST", route: "/snapshot", codes: PEERS_CODES },
    Endpoint { method: "POST", route: "/transfer-leader", codes: PEERS_CODES },
    Endpoint { method: "POST", route: "/found", codes: PEERS_CODES },
    Endpoint { method: "other", route: "other", codes: &[404, 405] },
];

/// The content of `docs/metrics.md`.
pub fn reference() -> String {
    let mut out = String::from(
        "# Metrics\n\n\
         <!-- Made from src/telemetry/metrics.rs by:\n\
         UPDATE_GENERATED=1 cargo test --test telemetry -->\n\n\
         `GET /metrics` answers in the Prometheus text format. Every series of a closed label\n\
         exists from the start with 0, but for rare values of `code`; `peer` series come and go\n\
         with the members.\n\n\
         | metric | kind | labels | meaning |\n|---|---|---|---|\n",
    );
    for row in METRICS {
        let kind = match row.kind {
            MetricKind::Counter => "counter".to_owned(),
            MetricKind::Gauge => "gauge".to_owned(),
            MetricKind::Histogram(buckets) => format!("histogram ({buckets:?})"),
        };
        let labels: Vec<_> = row.labels.iter().map(|label| format!("`{label}`")).collect();
        let (name, labels, help) = (row.name, labels.join(", "), row.help);
        // Writing to a String does not fail.
        let _ = writeln!(out, "| `{name}` | {kind} | {labels} | {help} |");
    }
    out.push_str("\n## Buckets\n\n");
    for buckets in [Buckets::Disk, Buckets::Net, Buckets::Size] {
        let bounds: Vec<_> = buckets.bounds().iter().map(f64::to_string).collect();
        let _ = writeln!(out, "- {buckets:?}: {}", bounds.join(", "));
    }
    out.push_str("\n## Label values\n\n");
    values::<WriteOp>(&mut out, &WRITES);
    values::<WriteResult>(&mut out, &WRITES);
    values::<AckResult>(&mut out, &REPLICATION_ACKS);
    values::<MissReason>(&mut out, &HEARTBEAT_MISSES);
    values::<SnapshotOp>(&mut out, &SNAPSHOTS);
    values::<OkOrError>(&mut out, &SNAPSHOTS);
    values::<ReadConsistency>(&mut out, &READS);
    values::<ReadResult>(&mut out, &READS);
    values::<RefusedReason>(&mut out, &PEER_MESSAGES_REFUSED);
    out
}

fn values<L: Label>(out: &mut String, row: &Row) {
    let values: Vec<_> = L::ALL.iter().map(|value| format!("`{}`", value.as_str())).collect();
    let _ = writeln!(out, "- `{}` `{}`: {}", row.name, L::NAME, values.join(", "));
}
