//! Starting: log, snapshot, openraft, and the tasks that keep watch over them.

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
use super::raft_types::{MemberNode, Raft};
use super::snapshots::{Incoming, Snapshots};
use super::spans::Spans;
use super::state_machine::StateMachine;
use super::status::{MembersCache, Role, Status};
use super::{Consensus, Inner, founding};
use crate::config::{Config, LogConfig, TimingConfig};
use crate::os::Os;
use crate::peer::Transport;
use crate::peer::envelope::Address;
use crate::tasks::{OnError, Tasks};
use crate::telemetry::Metrics;
use crate::wal;

/// How often status gauges and the size of the log are looked at.
const WATCH_INTERVAL: Duration = Duration::from_millis(50);
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
        let receipts = Receipts { me: identity.node, acks: acks.clone(), clock: os.clock.clone() };
        let log = LogStorage::new(wal.clone(), tasks.clone(), receipts, spans.clone());
        let timing = config.timing.clone();
        let network = Network(Shared {
            transport: transport.clone(),
            me: Address { cluster: identity.cluster, node: identity.node },
            acks: acks.clone(),
            clock: os.clock.clone(),
            metrics: metrics.clone(),
            spans: spans.clone(),
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

    fn keep_watch(&self, snapshot_log_bytes: u64) {
        let this = self.clone();
        let mut stop = self.inner.tasks.stop();
        let watch = async move {
            let mut known = Known::default();
            while !stop.is_requested() {
                let status = this.status();
                this.inner.acks.set_other_voters(
                    status
                        .members
                        .iter()
                        .filter(|member| member.is_voter && member.node != this.inner.identity.node)
                        .map(|member| member.node)
                        .collect(),
                );
                this.show(&status);
                known.narrate(&status, &this.inner);
                if this.inner.machine.bytes_since_snapshot() >= snapshot_log_bytes {
                    // An error means that consensus has ended, which `failed` reports.
                    let _ = this.inner.raft.trigger().snapshot().await;
                }
                // Elapsed means that it is time for the next look; an end shows in the condition.
                let _ = tokio::time::timeout(WATCH_INTERVAL, stop.requested()).await;
            }
            Ok::<(), StartError>(())
        };
        self.inner.tasks.spawn("consensus-watch", OnError::StopNode, watch);
    }

    fn show(&self, status: &Status) {
        let metrics = &self.inner.metrics;
        let index = |index: Option<crate::types::Index>| index.map_or(0, crate::types::Index::get);
        metrics.raft.is_leader.set_bool(status.role == Role::Leader);
        metrics.raft.has_leader.set_bool(status.leader.is_some());
        metrics.raft.term.set(status.term.get());
        metrics.raft.commit_index.set(index(status.committed));
        metrics.raft.applied_index.set(index(status.applied));
        metrics.raft.last_log_index.set(index(status.last));
        metrics.raft.snapshot_index.set(index(status.snapshot));
        metrics.keys.set(self.inner.machine.view().len() as u64);
        let matched = self.matched();
        for member in status.members.iter().filter(|m| m.node != self.inner.identity.node) {
            if status.role == Role::Leader {
                let has = index(matched.get(&member.node).copied());
                let lag = index(status.last).saturating_sub(has);
                metrics.peer(&member.name).lag_entries.set(lag);
            } else {
                // Followers' series on a deposed leader would go on telling the past.
                metrics.forget_peer(&member.name);
            }
        }
    }
}

/// What was last told about the leadership.
#[derive(Default)]
struct Known {
    leader: Option<(crate::types::Term, crate::types::RaftId)>,
    leaderless: bool,
}

impl Known {
    /// One line for each change that a person cares about.
    fn narrate(&mut self, status: &Status, inner: &Inner) {
        let leader = status.leader.map(|leader| (status.term, leader));
        match leader {
            Some(leader) if self.leader != Some(leader) => {
                let name = status.leader().map(|member| member.name.to_string());
                let is_me = leader.1 == inner.identity.node;
                inner.metrics.raft.leader_changes.increment();
                tracing::info!(
                    event = "leader_elected",
                    leader = name,
                    term = status.term.get(),
                    is_me,
                    "a leader is known"
                );
                self.leader = Some(leader);
                self.leaderless = false;
            }
            None if self.leader.is_some() && !self.leaderless => {
                tracing::warn!(
                    event = "leader_lost",
                    term = status.term.get(),
                    "no leader is known"
                );
                self.leaderless = true;
            }
            _ => {}
        }
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
