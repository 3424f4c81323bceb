//! Typed handles, by what they tell about: consensus, the leader as a follower sees it, the log on
//! disk, state and snapshots, disk and process.
//!
//! # Not here
//! What belongs to one peer (`peers`), to HTTP and to requests (`handles`).

use super::metrics::{
    self as rows, AppendResult, ElectionResult, MemberRole, OkOrError, RaftState, SnapshotOp,
    StorageComponent, VoteKind, VoteResult,
};
use super::recorder::{
    Counter, CounterBy, CounterBy2, Gauge, GaugeBy, Histogram, HistogramBy, Recorder,
    SecondsCounter,
};
use crate::config::TimingConfig;

/// The consensus algorithm's place in the world.
#[derive(Clone)]
pub struct RaftMetrics {
    /// Whether this node leads.
    pub is_leader: Gauge,
    /// Whether this node leads or hears from a leader.
    pub has_leader: Gauge,
    /// What this node does.
    pub state: GaugeBy<RaftState>,
    /// The term that this node is in.
    pub term: Gauge,
    /// Times that this node saw another leader.
    pub leader_changes: Counter,
    /// How this node's candidacies ended.
    pub elections: CounterBy<ElectionResult>,
    /// What this node answered to candidates.
    pub votes: CounterBy2<VoteKind, VoteResult>,
    /// Times that this node led and then did not.
    pub stepdowns: Counter,
    /// Leadership handed to another.
    pub transfers: CounterBy<OkOrError>,
    /// Time since the last sign of a leader that is lost.
    pub leaderless: Gauge,
    /// From the last sign of one leader to the first of the next.
    pub election_duration: Histogram,
    /// When this node began to lead.
    pub leader_start: Gauge,
    /// The last index that a majority has.
    pub commit_index: Gauge,
    /// The last index applied.
    pub applied_index: Gauge,
    /// The first index in the log.
    pub first_log_index: Gauge,
    /// The last index in the log.
    pub last_log_index: Gauge,
    /// The last index in the newest snapshot.
    pub snapshot_index: Gauge,
    /// Members by role.
    pub members: GaugeBy<MemberRole>,
    /// How many voters are a majority.
    pub quorum_size: Gauge,
    /// From the leader's log to a majority's disks.
    pub quorum_duration: Histogram,
    /// Heartbeats that went out late.
    pub heartbeat_send_delays: Counter,
}

impl RaftMetrics {
    pub(super) fn new(recorder: &Recorder) -> Self {
        Self {
            is_leader: recorder.gauge(&rows::IS_LEADER, &[]),
            has_leader: recorder.gauge(&rows::HAS_LEADER, &[]),
            state: recorder.gauges(&rows::RAFT_STATE),
            term: recorder.gauge(&rows::TERM, &[]),
            leader_changes: recorder.counter(&rows::LEADER_CHANGES, &[]),
            elections: recorder.counters(&rows::ELECTIONS, &[]),
            votes: recorder.counters2(&rows::VOTES),
            stepdowns: recorder.counter(&rows::STEPDOWNS, &[]),
            transfers: recorder.counters(&rows::LEADERSHIP_TRANSFERS, &[]),
            leaderless: recorder.gauge(&rows::LEADERLESS, &[]),
            election_duration: recorder.histogram(&rows::ELECTION_DURATION, &[]),
            leader_start: recorder.gauge(&rows::LEADER_START, &[]),
            commit_index: recorder.gauge(&rows::COMMIT_INDEX, &[]),
            applied_index: recorder.gauge(&rows::APPLIED_INDEX, &[]),
            first_log_index: recorder.gauge(&rows::FIRST_LOG_INDEX, &[]),
            last_log_index: recorder.gauge(&rows::LAST_LOG_INDEX, &[]),
            snapshot_index: recorder.gauge(&rows::SNAPSHOT_INDEX, &[]),
            members: recorder.gauges(&rows::CLUSTER_MEMBERS),
            quorum_size: recorder.gauge(&rows::CLUSTER_QUORUM_SIZE, &[]),
            quorum_duration: recorder.histogram(&rows::REPLICATION_QUORUM_DURATION, &[]),
            heartbeat_send_delays: recorder.counter(&rows::HEARTBEAT_SEND_DELAYS, &[]),
        }
    }
}

/// The leader and its log, as a follower sees them.
#[derive(Clone)]
pub struct FollowerMetrics {
    /// Answers to messages with entries.
    pub append_requests: CounterBy<AppendResult>,
    /// Time from such a message to its answer.
    pub append_duration: Histogram,
    /// Ends of the log that were given up.
    pub truncations: Counter,
    /// Heartbeats that came.
    pub heartbeats: Counter,
    /// Heartbeats that did not come.
    pub heartbeat_misses: Counter,
    /// Time from one to the next.
    pub heartbeat_gap: Histogram,
    /// When the last one came.
    pub last_heartbeat: Gauge,
    heartbeat_interval: Gauge,
    election_timeout_min: Gauge,
    election_timeout_max: Gauge,
}

impl FollowerMetrics {
    pub(super) fn new(recorder: &Recorder) -> Self {
        Self {
            append_requests: recorder.counters(&rows::APPEND_REQUESTS, &[]),
            append_duration: recorder.histogram(&rows::APPEND_HANDLER_DURATION, &[]),
            truncations: recorder.counter(&rows::LOG_TRUNCATIONS, &[]),
            heartbeats: recorder.counter(&rows::LEADER_HEARTBEATS, &[]),
            heartbeat_misses: recorder.counter(&rows::LEADER_HEARTBEAT_MISSES, &[]),
            heartbeat_gap: recorder.histogram(&rows::LEADER_HEARTBEAT_GAP, &[]),
            last_heartbeat: recorder.gauge(&rows::LEADER_LAST_HEARTBEAT, &[]),
            heartbeat_interval: recorder.gauge(&rows::CONFIG_HEARTBEAT_INTERVAL, &[]),
            election_timeout_min: recorder.gauge(&rows::CONFIG_ELECTION_TIMEOUT_MIN, &[]),
            election_timeout_max: recorder.gauge(&rows::CONFIG_ELECTION_TIMEOUT_MAX, &[]),
        }
    }

    /// Shows the options beside which heartbeats are judged.
    pub fn show_timing(&self, timing: &TimingConfig) {
        self.heartbeat_interval.set_duration(timing.heartbeat_interval);
        self.election_timeout_min.set_duration(timing.election_timeout_min);
        self.election_timeout_max.set_duration(timing.election_timeout_max);
    }
}

/// The write-ahead log.
#[derive(Clone)]
pub struct WalMetrics {
    /// Time of one fdatasync.
    pub fsync_duration: Histogram,
    /// Time of the write before it.
    pub append_duration: Histogram,
    /// Entries made durable by one fdatasync.
    pub batch_entries: Histogram,
    /// Bytes written.
    pub append_bytes: Counter,
    /// Entries made durable.
    pub append_entries: Counter,
    /// Writes and syncs that failed.
    pub errors: Counter,
    /// Files that hold entries.
    pub segments: Gauge,
    /// Files filled.
    pub segments_rolled: Counter,
    /// Files given up.
    pub segments_retired: Counter,
    /// How long the last start read.
    pub recovery_duration: Gauge,
    /// What it found.
    pub recovered_entries: Gauge,
    /// Whether it cut a torn write.
    pub torn_tail: Gauge,
}

impl WalMetrics {
    pub(super) fn new(recorder: &Recorder) -> Self {
        Self {
            fsync_duration: recorder.histogram(&rows::WAL_FSYNC_DURATION, &[]),
            append_duration: recorder.histogram(&rows::WAL_APPEND_DURATION, &[]),
            batch_entries: recorder.histogram(&rows::WAL_BATCH_ENTRIES, &[]),
            append_bytes: recorder.counter(&rows::WAL_APPEND_BYTES, &[]),
            append_entries: recorder.counter(&rows::WAL_APPEND_ENTRIES, &[]),
            errors: recorder.counter(&rows::WAL_ERRORS, &[]),
            segments: recorder.gauge(&rows::WAL_SEGMENTS, &[]),
            segments_rolled: recorder.counter(&rows::WAL_SEGMENTS_ROLLED, &[]),
            segments_retired: recorder.counter(&rows::WAL_SEGMENTS_RETIRED, &[]),
            recovery_duration: recorder.gauge(&rows::WAL_RECOVERY_DURATION, &[]),
            recovered_entries: recorder.gauge(&rows::WAL_RECOVERED_ENTRIES, &[]),
            torn_tail: recorder.gauge(&rows::WAL_TORN_TAIL, &[]),
        }
    }
}

/// The state and its snapshots.
#[derive(Clone)]
pub struct StateMetrics {
    /// Time to apply one batch.
    pub apply_duration: Histogram,
    /// Entries applied.
    pub applied_entries: Counter,
    /// Keys.
    pub keys: Gauge,
    /// Bytes of keys and values.
    pub key_value_bytes: Gauge,
    /// Snapshots made, sent and installed.
    pub snapshots: CounterBy2<SnapshotOp, OkOrError>,
    /// How long that took.
    pub snapshot_duration: HistogramBy<SnapshotOp>,
    /// Size of the newest one.
    pub snapshot_size: Gauge,
    /// When it was written.
    pub snapshot_timestamp: Gauge,
    /// Bytes that followers took.
    pub snapshot_sent_bytes: Counter,
}

impl StateMetrics {
    pub(super) fn new(recorder: &Recorder) -> Self {
        Self {
            apply_duration: recorder.histogram(&rows::APPLY_DURATION, &[]),
            applied_entries: recorder.counter(&rows::APPLIED_ENTRIES, &[]),
            keys: recorder.gauge(&rows::KEYS, &[]),
            key_value_bytes: recorder.gauge(&rows::KEY_VALUE_BYTES, &[]),
            snapshots: recorder.counters2(&rows::SNAPSHOTS),
            snapshot_duration: recorder.histograms(&rows::SNAPSHOT_DURATION),
            snapshot_size: recorder.gauge(&rows::SNAPSHOT_SIZE, &[]),
            snapshot_timestamp: recorder.gauge(&rows::SNAPSHOT_TIMESTAMP, &[]),
            snapshot_sent_bytes: recorder.counter(&rows::SNAPSHOT_SENT_BYTES, &[]),
        }
    }
}

/// The machine, as this process finds it.
#[derive(Clone)]
pub struct MachineMetrics {
    /// What this process may still use of the file system.
    pub disk_free: Gauge,
    /// Size of the file system.
    pub disk_size: Gauge,
    /// Length of the node's files.
    pub storage: GaugeBy<StorageComponent>,
    /// How late a timer fires on the runtime's thread.
    pub loop_lag: Histogram,
    /// Tasks on it.
    pub alive_tasks: Gauge,
    /// CPU time used.
    pub cpu: SecondsCounter,
    /// Open file descriptors.
    pub open_fds: Gauge,
    /// Most that may be open.
    pub max_fds: Gauge,
    /// Memory in RAM.
    pub resident: Gauge,
    /// Address space.
    pub virtual_memory: Gauge,
    /// When the process began.
    pub started: Gauge,
    /// Threads.
    pub threads: Gauge,
}

impl MachineMetrics {
    pub(super) fn new(recorder: &Recorder) -> Self {
        Self {
            disk_free: recorder.gauge(&rows::DISK_FREE, &[]),
            disk_size: recorder.gauge(&rows::DISK_SIZE, &[]),
            storage: recorder.gauges(&rows::STORAGE_SIZE),
            loop_lag: recorder.histogram(&rows::LOOP_LAG, &[]),
            alive_tasks: recorder.gauge(&rows::ALIVE_TASKS, &[]),
            cpu: recorder.seconds(&rows::PROCESS_CPU),
            open_fds: recorder.gauge(&rows::PROCESS_OPEN_FDS, &[]),
            max_fds: recorder.gauge(&rows::PROCESS_MAX_FDS, &[]),
            resident: recorder.gauge(&rows::PROCESS_RESIDENT, &[]),
            virtual_memory: recorder.gauge(&rows::PROCESS_VIRTUAL, &[]),
            started: recorder.gauge(&rows::PROCESS_START, &[]),
            threads: recorder.gauge(&rows::PROCESS_THREADS, &[]),
        }
    }
}
