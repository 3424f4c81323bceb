//! The one table of metrics: name, kind, labels, buckets, help; and the reference page made of it.
//!
//! Used by `handles`, which turns rows into typed handles, and by the tests that hold
//! `docs/metrics.md` and the dashboards to it.
//!
//! # Invariants
//! - T1 Every name begins with `bitacora_`, those of the process itself, which every program has,
//!   with `process_`; counters, and only they, end in `_total`; units last.
//! - T2 Histograms have buckets; there is no summary. Every alert's threshold is a bucket bound.
//! - T3 Label values are closed enums (`labels`). Only `peer`, whose values are the members, and
//!   those of the two `_info` are not.
//!
//! # Not here
//! The values of labels (`labels`), the library behind it (`recorder`), where a metric is counted.

use std::fmt::Write as _;

pub use super::endpoints::{ENDPOINTS, Endpoint};
pub use super::labels::*;

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
    /// Seconds, for what takes its time.
    Long,
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
            Self::Long => &[0.001, 0.01, 0.05, 0.1, 0.25, 1.0, 2.5, 10.0, 60.0],
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

impl Row {
    /// Whether this is a counter of seconds and not of things.
    pub fn is_in_seconds(&self) -> bool {
        self.kind == MetricKind::Counter && self.name.ends_with("_seconds_total")
    }
}

macro_rules! table {
    ($($prefix:literal { $($constant:ident = $name:literal $kind:ident $(($buckets:ident))?
        [$($label:literal),*] $help:literal;)+ })+) => {
        $($(#[doc = $help]
        pub const $constant: Row = Row {
            name: concat!($prefix, $name),
            kind: MetricKind::$kind $((Buckets::$buckets))?,
            labels: &[$($label),*],
            help: $help,
        };)+)+

        /// Every metric.
        pub const METRICS: &[Row] = &[$($($constant),+),+];
    };
}

table! {
    "bitacora_" {
        HTTP_REQUESTS = "http_requests_total" Counter ["method", "route", "code"]
            "Requests answered, by route template and status code.";
        HTTP_REQUEST_DURATION = "http_request_duration_seconds" Histogram(Net) ["method", "route"]
            "Time from a request's head to its answer's head; the lesser routes count as `other`.";
        HTTP_IN_FLIGHT = "http_requests_in_flight" Gauge []
            "Requests being answered now.";
        HTTP_CONNECTIONS = "http_connections" Gauge []
            "Open connections from clients and peers.";
        HTTP_RECEIVED_BYTES = "http_received_bytes_total" Counter []
            "Bytes that came in over connections that others opened.";
        HTTP_SENT_BYTES = "http_sent_bytes_total" Counter []
            "Bytes that went out over connections that others opened.";
        WRITES = "writes_total" Counter ["op", "result"]
            "Writes by what they asked for and how they ended, on the node that led them.";
        WRITE_DURATION = "write_duration_seconds" Histogram(Net) ["op"]
            "Time from a write's request to its outcome, on the node that led it.";
        WRITE_PHASE_DURATION = "write_phase_duration_seconds" Histogram(Disk) ["phase"]
            "Consecutive parts of a write that was decided: in sum, all but its parsing.";
        WRITE_BYTES = "write_bytes_total" Counter []
            "Bodies of acknowledged writes, on the node that led them.";
        PROPOSALS_PENDING = "proposals_pending" Gauge []
            "Writes let in and not yet decided, those on their way to the leader included.";
        PROPOSALS_PENDING_BYTES = "proposals_pending_bytes" Gauge []
            "Bodies of the writes let in and not yet decided.";
        FORWARDED_REQUESTS = "forwarded_requests_total" Counter ["result"]
            "Requests passed on to the leader; `error`: it did not answer or did not lead.";
        IS_LEADER = "raft_is_leader" Gauge []
            "1 while this node leads, else 0.";
        HAS_LEADER = "raft_has_leader" Gauge []
            "1 while this node hears from a leader, or a majority from it as the leader, else 0.";
        RAFT_STATE = "raft_state" Gauge ["state"]
            "1 for what this node does in its cluster, 0 for the rest.";
        TERM = "raft_term" Gauge []
            "The term that this node is in.";
        LEADER_CHANGES = "raft_leader_changes_total" Counter []
            "Times that this node saw another leader than before; the first it sees is none.";
        ELECTIONS = "raft_elections_total" Counter ["result"]
            "Candidacies of this node that have ended.";
        VOTES = "raft_votes_total" Counter ["kind", "result"]
            "Answers of this node to candidates.";
        STEPDOWNS = "raft_stepdowns_total" Counter []
            "Times that this node led and then did not.";
        LEADERSHIP_TRANSFERS = "raft_leadership_transfers_total" Counter ["result"]
            "Times that this node tried to hand its leadership to another.";
        LEADERLESS = "raft_leaderless_seconds" Gauge []
            "Time since the last sign of a leader that is lost, 0 while there is one.";
        ELECTION_DURATION = "raft_election_duration_seconds" Histogram(Net) []
            "Time from the last sign of a leader that was lost to the next sign of one.";
        LEADER_START = "raft_leader_start_timestamp_seconds" Gauge []
            "When this node began to lead; 0 while it does not.";
        COMMIT_INDEX = "raft_commit_index" Gauge []
            "The last index that a majority has.";
        APPLIED_INDEX = "raft_applied_index" Gauge []
            "The last index applied to the state.";
        FIRST_LOG_INDEX = "raft_first_log_index" Gauge []
            "The first index in this node's log.";
        LAST_LOG_INDEX = "raft_last_log_index" Gauge []
            "The last index in this node's log.";
        SNAPSHOT_INDEX = "raft_snapshot_index" Gauge []
            "The last index in this node's newest snapshot.";
        REPLICATION_ACKS = "replication_acks_total" Counter ["peer", "result"]
            "Answers of a follower to this leader's entries.";
        REPLICATION_ACK_DURATION = "replication_ack_duration_seconds" Histogram(Net) ["peer"]
            "Time from sending entries to a follower's durable acknowledgement.";
        REPLICATION_ENTRIES = "replication_entries_total" Counter ["peer"]
            "Entries that reached a follower's door, those sent again included.";
        REPLICATION_BYTES = "replication_bytes_total" Counter ["peer"]
            "Bytes of the messages that carried entries to a follower.";
        REPLICATION_INFLIGHT = "replication_inflight_requests" Gauge ["peer"]
            "Messages with entries that a follower has not answered yet.";
        REPLICATION_MATCH_INDEX = "replication_match_index" Gauge ["peer"]
            "The last index that a follower is known to have on disk.";
        REPLICATION_LAG = "replication_lag_entries" Gauge ["peer"]
            "Entries that a follower is not known to have; before its first answer, the newest.";
        REPLICATION_LAG_BYTES = "replication_lag_bytes" Gauge ["peer"]
            "Bytes of those entries, as far as they were appended since this process began.";
        REPLICATION_LAG_SECONDS = "replication_lag_seconds" Gauge ["peer"]
            "Age of the oldest entry that a follower is not known to have, as above.";
        REPLICATION_LAST_ACK = "replication_last_ack_timestamp_seconds" Gauge ["peer"]
            "When a follower last acknowledged entries; 0: not since this node leads.";
        REPLICATION_QUORUM_DURATION = "replication_quorum_duration_seconds" Histogram(Net) []
            "Time of a write from the leader's log to the disks of a majority.";
        HEARTBEATS_SENT = "heartbeats_sent_total" Counter ["peer"]
            "Heartbeats sent to a follower.";
        HEARTBEAT_MISSES = "heartbeat_misses_total" Counter ["peer", "reason"]
            "Heartbeats without a good answer from a follower.";
        HEARTBEAT_RTT = "heartbeat_rtt_seconds" Histogram(Net) ["peer"]
            "Time from a heartbeat to a follower's answer.";
        HEARTBEAT_SEND_DELAYS = "heartbeat_send_delays_total" Counter []
            "Times that this leader sent no heartbeat to anybody for more than two intervals.";
        APPEND_REQUESTS = "append_requests_total" Counter ["result"]
            "Messages with entries that this node answered.";
        APPEND_HANDLER_DURATION = "append_handler_duration_seconds" Histogram(Disk) []
            "Time from such a message to its answer, the fdatasync included.";
        LOG_TRUNCATIONS = "log_truncations_total" Counter []
            "Times that entries at the end of the log were given up for those of a new leader.";
        LEADER_HEARTBEATS = "leader_heartbeats_received_total" Counter []
            "Heartbeats received from the leader.";
        LEADER_HEARTBEAT_MISSES = "leader_heartbeat_misses_total" Counter []
            "Heartbeats that did not come when they were due, while this node does not lead.";
        LEADER_HEARTBEAT_GAP = "leader_heartbeat_gap_seconds" Histogram(Net) []
            "Time from one heartbeat of the leader to the next.";
        LEADER_LAST_HEARTBEAT = "leader_last_heartbeat_timestamp_seconds" Gauge []
            "When the last heartbeat of a leader came; 0: none yet.";
        CONFIG_HEARTBEAT_INTERVAL = "config_heartbeat_interval_seconds" Gauge []
            "The option `heartbeat_interval_ms`.";
        CONFIG_ELECTION_TIMEOUT_MIN = "config_election_timeout_min_seconds" Gauge []
            "The option `election_timeout_min_ms`.";
        CONFIG_ELECTION_TIMEOUT_MAX = "config_election_timeout_max_seconds" Gauge []
            "The option `election_timeout_max_ms`.";
        WAL_FSYNC_DURATION = "wal_fsync_duration_seconds" Histogram(Disk) []
            "Time of one fdatasync of the log.";
        WAL_APPEND_DURATION = "wal_append_duration_seconds" Histogram(Disk) []
            "Time of the write before it.";
        WAL_BATCH_ENTRIES = "wal_batch_entries" Histogram(Size) []
            "Entries made durable by one fdatasync.";
        WAL_APPEND_BYTES = "wal_append_bytes_total" Counter []
            "Bytes written to the log.";
        WAL_APPEND_ENTRIES = "wal_append_entries_total" Counter []
            "Entries made durable.";
        WAL_ERRORS = "wal_errors_total" Counter []
            "Writes and syncs of the log that failed; the first one stops the node.";
        WAL_SEGMENTS = "wal_segments" Gauge []
            "Log files that hold entries.";
        WAL_SEGMENTS_ROLLED = "wal_segments_rolled_total" Counter []
            "Log files filled and followed by a new one.";
        WAL_SEGMENTS_RETIRED = "wal_segments_retired_total" Counter []
            "Log files given up after a purge.";
        WAL_RECOVERY_DURATION = "wal_recovery_duration_seconds" Gauge []
            "How long the last start took to read the log back.";
        WAL_RECOVERED_ENTRIES = "wal_recovered_entries" Gauge []
            "Entries that the last start read from the log.";
        WAL_TORN_TAIL = "wal_torn_tail" Gauge []
            "1 if the last start cut a write that a crash had torn, else 0.";
        APPLY_DURATION = "apply_duration_seconds" Histogram(Disk) []
            "Time to apply one batch of committed entries, their reading included.";
        APPLIED_ENTRIES = "applied_entries_total" Counter []
            "Entries applied.";
        KEYS = "keys" Gauge []
            "Keys in the state.";
        KEY_VALUE_BYTES = "key_value_bytes" Gauge []
            "Bytes of all keys and values in the state.";
        SNAPSHOTS = "snapshots_total" Counter ["op", "result"]
            "Snapshots made, sent and installed.";
        SNAPSHOT_DURATION = "snapshot_duration_seconds" Histogram(Long) ["op"]
            "Time to make, send or install one, however it ended.";
        SNAPSHOT_SIZE = "snapshot_size_bytes" Gauge []
            "Size of the newest snapshot.";
        SNAPSHOT_TIMESTAMP = "snapshot_timestamp_seconds" Gauge []
            "When the newest snapshot was written on this node; 0: there is none.";
        SNAPSHOT_SENT_BYTES = "snapshot_sent_bytes_total" Counter []
            "Bytes of snapshots that followers took.";
        READS = "reads_total" Counter ["consistency", "result"]
            "Reads by what they asked for and how they ended, on the node that served them.";
        READ_DURATION = "read_duration_seconds" Histogram(Net) ["consistency"]
            "Time from a read's request to its result.";
        READ_BARRIER_DURATION = "read_barrier_duration_seconds" Histogram(Net) []
            "Time of a linearizable read until a majority confirmed the leader.";
        READ_STALENESS = "read_staleness_seconds" Histogram(Net) []
            "How old the state of a stale read may have been.";
        LOG_TAILS = "log_tails" Gauge []
            "Clients that follow the log now.";
        LOG_ENTRIES_SERVED = "log_entries_served_total" Counter []
            "Entries handed to readers of the log.";
        CLUSTER_MEMBERS = "cluster_members" Gauge ["role"]
            "Members of the cluster, as this node knows them.";
        CLUSTER_QUORUM_SIZE = "cluster_quorum_size" Gauge []
            "How many voters are a majority.";
        CLUSTER_INFO = "cluster_info" Gauge ["cluster_id", "node_id"]
            "Always 1, once this node belongs to a cluster: which one, and the node's name in it.";
        PEER_MESSAGES_REFUSED = "peer_messages_refused_total" Counter ["reason"]
            "Messages between nodes that were not for this node or not understood.";
        DISK_FREE = "disk_free_bytes" Gauge []
            "Bytes that this process may still use on the file system of its data directory.";
        DISK_SIZE = "disk_size_bytes" Gauge []
            "Size of that file system.";
        STORAGE_SIZE = "storage_size_bytes" Gauge ["component"]
            "Length of the node's files; the log's files that are ready for use included.";
        LOOP_LAG = "runtime_loop_lag_seconds" Histogram(Disk) []
            "How late a 10 ms timer fires on the runtime's thread; up to 1 ms is the timer's own.";
        ALIVE_TASKS = "runtime_alive_tasks" Gauge []
            "Tasks on the runtime's thread.";
        LOG_EVENTS = "log_events_total" Counter ["level"]
            "Diagnostic events by level, those below the configured level not counted.";
        LOG_LINES_DROPPED = "log_lines_dropped_total" Counter []
            "Diagnostic lines lost because their reader was too slow.";
        TRACE_SPANS_EXPORTED = "trace_spans_exported_total" Counter []
            "Spans handed to the collector of traces.";
        TRACE_SPANS_DROPPED = "trace_spans_dropped_total" Counter []
            "Spans lost because the queue was full or the collector did not take them.";
        BUILD_INFO = "build_info" Gauge ["version", "revision", "rustc", "profile"]
            "Always 1: which program this is.";
    }
    "process_" {
        PROCESS_CPU = "cpu_seconds_total" Counter []
            "CPU time that the process has used.";
        PROCESS_OPEN_FDS = "open_fds" Gauge []
            "Open file descriptors.";
        PROCESS_MAX_FDS = "max_fds" Gauge []
            "Most file descriptors that the process may have open.";
        PROCESS_RESIDENT = "resident_memory_bytes" Gauge []
            "Memory of the process that is in RAM.";
        PROCESS_VIRTUAL = "virtual_memory_bytes" Gauge []
            "Address space of the process.";
        PROCESS_START = "start_time_seconds" Gauge []
            "When the process began.";
        PROCESS_THREADS = "threads" Gauge []
            "Threads of the process.";
    }
}

/// The content of `docs/metrics.md`.
pub fn reference() -> String {
    let mut out = String::from(
        "# Metrics\n\n\
         <!-- Made from src/telemetry/metrics.rs by:\n\
         UPDATE_GENERATED=1 cargo test --test telemetry -->\n\n\
         `GET /metrics` answers in the Prometheus text format. Every series of a closed label\n\
         exists from the start with 0, but for rare values of `code`. `peer` series are the\n\
         leader's view of its followers: they are there while the node leads.\n\n\
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
    for buckets in [Buckets::Disk, Buckets::Net, Buckets::Size, Buckets::Long] {
        let bounds: Vec<_> = buckets.bounds().iter().map(f64::to_string).collect();
        let _ = writeln!(out, "- {buckets:?}: {}", bounds.join(", "));
    }
    out.push_str("\n## Label values\n\n");
    values::<WriteOp>(&mut out, &WRITES);
    values::<WriteResult>(&mut out, &WRITES);
    values::<WritePhase>(&mut out, &WRITE_PHASE_DURATION);
    values::<OkOrError>(&mut out, &FORWARDED_REQUESTS);
    values::<RaftState>(&mut out, &RAFT_STATE);
    values::<ElectionResult>(&mut out, &ELECTIONS);
    values::<VoteKind>(&mut out, &VOTES);
    values::<VoteResult>(&mut out, &VOTES);
    values::<OkOrError>(&mut out, &LEADERSHIP_TRANSFERS);
    values::<AckResult>(&mut out, &REPLICATION_ACKS);
    values::<MissReason>(&mut out, &HEARTBEAT_MISSES);
    values::<AppendResult>(&mut out, &APPEND_REQUESTS);
    values::<SnapshotOp>(&mut out, &SNAPSHOTS);
    values::<OkOrError>(&mut out, &SNAPSHOTS);
    values::<ReadConsistency>(&mut out, &READS);
    values::<ReadResult>(&mut out, &READS);
    values::<MemberRole>(&mut out, &CLUSTER_MEMBERS);
    values::<RefusedReason>(&mut out, &PEER_MESSAGES_REFUSED);
    values::<StorageComponent>(&mut out, &STORAGE_SIZE);
    values::<EventLevel>(&mut out, &LOG_EVENTS);
    out
}

fn values<L: Label>(out: &mut String, row: &Row) {
    let values: Vec<_> = L::ALL.iter().map(|value| format!("`{}`", value.as_str())).collect();
    let _ = writeln!(out, "- `{}` `{}`: {}", row.name, L::NAME, values.join(", "));
}
