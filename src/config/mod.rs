//! Every option of a node: what it means, its unit, its default.
//!
//! An option has one name in three spellings: file key `election_timeout_max_ms`, environment
//! `BITACORA_ELECTION_TIMEOUT_MAX_MS`, flag `--election-timeout-max-ms`. Later ones win: defaults,
//! file, environment, flags ([`load`]). [`validate`] reports every violation at once.
//!
//! Used by `cli` to start a node; every other module gets the section that it needs. The names,
//! limits and words of all options are one table ([`options`]), from which the file's keys, the
//! variables, the flags, the example file and the reference page are made.
//!
//! # Not here
//! Who uses an option.

pub mod load;
pub mod options;
pub mod seed;
pub mod validate;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use crate::types::{NodeName, NodeUrl};

/// All options of one node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Who this node is and who the others are.
    pub node: NodeConfig,
    /// Heartbeats and elections.
    pub timing: TimingConfig,
    /// The write-ahead log and its snapshots.
    pub log: LogConfig,
    /// What is refused so that the rest is served.
    pub limits: LimitsConfig,
    /// What the process prints.
    pub telemetry: TelemetryConfig,
    /// The seed's `MIN_CONFIRMACIONES_REQUERIDAS`: followers that must have a write of `/escribir`
    /// on disk before its answer, the leader not counted; never less than a majority needs.
    pub seed_confirmations: Option<u32>,
}

impl Config {
    /// A configuration with the default of every option that is not about who the node is.
    pub fn new(node: NodeConfig) -> Self {
        Self {
            node,
            timing: TimingConfig::default(),
            log: LogConfig::default(),
            limits: LimitsConfig::default(),
            telemetry: TelemetryConfig::default(),
            seed_confirmations: None,
        }
    }
}

/// Who this node is and who the others are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeConfig {
    /// `node_id`: this node's name, unique in the cluster.
    pub name: NodeName,
    /// `listen`: where the HTTP server listens.
    pub listen: SocketAddr,
    /// `advertise`: where other nodes and clients reach this node; by default made from `listen`.
    pub advertise: NodeUrl,
    /// `data_dir`: everything this node keeps.
    pub data_dir: PathBuf,
    /// `peers`: the founding members, the same list on every node.
    pub founding: Founding,
}

/// How a node with an empty disk comes to its cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Founding {
    /// `peers` is empty: this node is a cluster of its own.
    Alone,
    /// `peers`: every founding member by name, this node among them; the same on every node.
    Static(Vec<Member>),
    /// The seed's leader (`ES_LIDER=1`): founds with the nodes at these URLs, whoever they are.
    Leader(Vec<NodeUrl>),
    /// The seed's follower (`URL_LIDER`): waits to be founded by the node at this URL.
    Follower(NodeUrl),
}

/// A founding member.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Member {
    /// Its name.
    pub name: NodeName,
    /// Where it is reached.
    pub url: NodeUrl,
}

/// Heartbeats and elections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimingConfig {
    /// `heartbeat_interval_ms`: how often a leader tells its followers that it lives.
    pub heartbeat_interval: Duration,
    /// `election_timeout_min_ms`: the shortest random wait before a candidacy.
    pub election_timeout_min: Duration,
    /// `election_timeout_max_ms`: the longest; also how long a follower trusts a silent leader.
    pub election_timeout_max: Duration,
}

/// The write-ahead log and its snapshots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogConfig {
    /// `segment_size_bytes`: size of one preallocated log file.
    pub segment_size_bytes: u64,
    /// `log_cache_bytes`: newest entries kept in memory for followers and readers.
    pub cache_bytes: u64,
    /// `snapshot_entries`: a snapshot is made after this many entries since the last one.
    pub snapshot_entries: u64,
    /// `snapshot_log_bytes`: or after this many bytes of log since the last one.
    pub snapshot_log_bytes: u64,
    /// `log_keep_entries`: entries kept before a snapshot, for readers and slow followers.
    pub keep_entries: u64,
}

/// What is refused so that the rest is served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LimitsConfig {
    /// `body_max_bytes`: the largest body of a client's request.
    pub body_max_bytes: u64,
    /// `connections_max`: open connections; at the limit the longest idle one makes room.
    pub connections_max: u64,
    /// `proposals_max`: writes in flight on this node.
    pub proposals_max: u64,
    /// `proposals_max_bytes`: bytes of writes in flight on this node.
    pub proposals_max_bytes: u64,
    /// `header_timeout_ms`: how long a client may take to send a request's head.
    pub header_timeout: Duration,
    /// `request_timeout_ms`: how long a request may take that does not say `timeout=`.
    pub request_timeout: Duration,
    /// `drain_timeout_ms`: how long running requests may finish after SIGTERM.
    pub drain_timeout: Duration,
}

/// What the process prints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TelemetryConfig {
    /// `log_level`: `error`, `warn`, `info`, `debug` or `trace`, or a filter like
    /// `info,bitacora::consensus=debug`.
    pub log_level: String,
    /// `log_format`.
    pub log_format: LogFormat,
}

/// How diagnostics are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}

impl Default for TimingConfig {
    fn default() -> Self {
        Self {
            heartbeat_interval: Duration::from_millis(50),
            election_timeout_min: Duration::from_millis(150),
            election_timeout_max: Duration::from_millis(300),
        }
    }
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            segment_size_bytes: 32 << 20,
            cache_bytes: 16 << 20,
            snapshot_entries: 100_000,
            snapshot_log_bytes: 256 << 20,
            keep_entries: 100_000,
        }
    }
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self {
            body_max_bytes: 1 << 20,
            connections_max: 1024,
            proposals_max: 4096,
            proposals_max_bytes: 64 << 20,
            header_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(5),
            drain_timeout: Duration::from_secs(10),
        }
    }
}

impl LimitsConfig {
    /// The largest message between nodes: a batch of entries that was almost full when the largest
    /// entry joined it. An entry has at most 4/3 of its body (small pairs grow most) and its head.
    pub const fn message_max_bytes(&self) -> u64 {
        (4 << 20) + self.body_max_bytes.saturating_mul(2)
    }
}

impl Default for TelemetryConfig {
    fn default() -> Self {
        Self { log_level: "info".to_owned(), log_format: LogFormat::Json }
    }
}

/// Where a node listens if nobody says otherwise: the seed's port, on this machine only.
pub const DEFAULT_LISTEN: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 5000);

/// Where a node keeps its data if nobody says otherwise.
pub const DEFAULT_DATA_DIR: &str = "bitacora-data";

/// What a node of its own is called if nobody says otherwise.
pub const DEFAULT_NODE_NAME: &str = "node1";
