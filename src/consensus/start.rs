//! Starting: log, snapshot, openraft.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use openraft::SnapshotPolicy;

use super::acks::Acks;
use super::error::StartError;
use super::identity::Identity;
use super::log_storage::{LogStorage, Receipts};
use super::network::{Network, Shared};
use super::peers::Freshness;
use super::pulse::{OwnBeat, Pulse};
use super::raft_types::{MemberNode, Raft};
use super::snapshots::{Incoming, Snapshots};
use super::spans::Spans;
use super::state_machine::StateMachine;
use super::status::MembersCache;
use super::{Consensus, Inner, founding};
use crate::config::{Config, LogConfig, TimingConfig};
use crate::os::Os;
use crate::peer::Transport;
use crate::peer::envelope::Address;
use crate::tasks::Tasks;
use crate::telemetry::Metrics;
use crate::wal;

/// A follower's fdatasync may take this long before its leader tries again.
const APPEND_TIMEOUT_MIN: Duration = Duration::from_secs(1);
/// A part of a snapshot, and the installation after the last one, may take this long.
const SNAPSHOT_TIMEOUT_MS: u64 = 30_000;

/// What consensus is made of.
pub struct Parts {
    /// All options.
    pub config: Config,
    /// The machine.
    pub os: Os,
    /// This node's place in the cluster.
    pub identity: Identity,
    /// The open log.
    pub wal: wal::Handle,
    /// The way to other nodes.
    pub transport: Arc<dyn Transport>,
    /// Tasks.
    pub tasks: Tasks,
    /// Metrics.
    pub metrics: Arc<Metrics>,
    /// The spans of replication.
    pub spans: Spans,
}

impl Consensus {
    /// Reads the newest snapshot and the log, and begins to take part.
    pub async fn start(parts: Parts) -> Result<Self, StartError> {
        let Parts { config, os, identity, wal, transport, tasks, metrics, spans } = parts;
        let acks = Arc::new(Acks::default());
        let (snapshots, restored) = Snapshots::open(os.disk.clone(), &config.node.data_dir)?;
        let machine = StateMachine::new(
            (snapshots.clone(), restored),
            tasks.clone(),
            metrics.clone(),
            (spans.clone(), os.clock.clone()),
        );
        let receipts = Receipts {
            me: identity.node,
            acks: acks.clone(),
            clock: os.clock.clone(),
            truncations: metrics.follower.truncations.clone(),
        };
        let log = LogStorage::new(wal.clone(), tasks.clone(), receipts, spans.clone());
        let timing = config.timing.clone();
        let network = Network(Shared {
            transport: transport.clone(),
            me: Address { cluster: identity.cluster, node: identity.node },
            acks: acks.clone(),
            clock: os.clock.clone(),
            metrics: metrics.clone(),
            spans: spans.clone(),
            own_beat: Arc::new(OwnBeat::new(timing.heartbeat_interval)),
            tasks: tasks.clone(),
            append_timeout: APPEND_TIMEOUT_MIN.max(timing.election_timeout_max.saturating_mul(4)),
        });
        let raft_config = Arc::new(raft_config(&identity, &timing, &config.log)?);
        let id = identity.node.get();
        let raft = Raft::new(id, raft_config, network, log, machine.clone()).await;
        let raft = raft.map_err(|fatal| StartError::Raft(fatal.to_string()))?;
        let incoming = Arc::new(Mutex::new(Incoming::new(snapshots)));
        let freshness = Freshness::default();
        let consensus = Self {
            inner: Arc::new(Inner {
                raft,
                machine,
                wal,
                acks,
                freshness,
                spans,
                pulse: Pulse::default(),
                members: MembersCache::default(),
                incoming,
                identity,
                timing,
                os,
                tasks,
                metrics,
            }),
        };
        consensus.keep_watch(config.log.snapshot_log_bytes);
        Ok(consensus)
    }

    /// Ends a founding: hands every member its identity, then begins. Does nothing on a node that
    /// did not found its cluster, or whose cluster has begun.
    pub async fn begin(&self, transport: &dyn Transport) -> Result<(), StartError> {
        let raft = |error: &dyn std::fmt::Display| StartError::Raft(error.to_string());
        let begun = self.inner.raft.is_initialized().await.map_err(|error| raft(&error))?;
        if begun || !self.inner.identity.founder {
            return Ok(());
        }
        founding::hand_out(&self.inner.identity, transport).await;
        let members = self.inner.identity.members.iter().map(|member| {
            let node =
                MemberNode { name: Some(member.name.clone()), url: Some(member.url.clone()) };
            (member.node.get(), node)
        });
        let members: BTreeMap<u64, MemberNode> = members.collect();
        self.inner.raft.initialize(members).await.map_err(|error| raft(&error))
    }
}

fn raft_config(
    identity: &Identity,
    timing: &TimingConfig,
    log: &LogConfig,
) -> Result<openraft::Config, StartError> {
    let ms = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let election_max = ms(timing.election_timeout_max);
    let config = openraft::Config {
        cluster_name: identity.cluster.to_string(),
        heartbeat_interval: ms(timing.heartbeat_interval),
        election_timeout_min: ms(timing.election_timeout_min),
        election_timeout_max: election_max,
        install_snapshot_timeout: SNAPSHOT_TIMEOUT_MS,
        max_payload_entries: 1024,
        // A follower is helped by entries as long as the log has them.
        replication_lag_threshold: u64::MAX,
        snapshot_policy: SnapshotPolicy::LogsSinceLast(log.snapshot_entries),
        max_in_snapshot_log_to_keep: log.keep_entries,
        purge_batch_size: 1,
        broadcast_submitted_on_append: Some(true),
        enable_pre_vote: Some(true),
        quorum_loss_probe_interval: Some(election_max.saturating_mul(2)),
        backoff: "50ms 100ms 200ms ..500ms".to_owned(),
        ..openraft::Config::default()
    };
    config.validate().map_err(|error| StartError::Config(error.to_string()))
}
