//! Consensus: one order of proposals on all nodes. The only folder that knows openraft.
//!
//! Joins `wal` (the log), `state` (what entries do), `peer` (other nodes) to openraft; offers
//! `store` proposals, read barriers, status, the log's entries and receipts.
//!
//! # Invariants
//! - C1 A proposal is acknowledged only after a majority has it on disk and it is applied here.
//! - C2 No error of a proposal claims that nothing happened (`error`).
//! - C3 A fatal error of the log or of openraft ends the node ([`Consensus::failed`]).
//!
//! # Not here
//! HTTP, what commands mean, who may ask.

mod acks;
mod appended;
mod codec;
pub mod error;
pub mod founding;
pub mod identity;
mod log_reader;
mod log_storage;
mod network;
mod peers;
mod phases;
mod pulse;
mod raft_types;
mod snapshots;
pub mod spans;
mod start;
mod state_machine;
pub mod status;
pub mod verify;
mod watcher;

#[cfg(test)]
mod suite;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use openraft::ReadPolicy;
use openraft::async_runtime::WatchReceiver;
use tokio::sync::watch;
use tokio::time::Instant;

pub use self::log_reader::{EntryKind, LogEntry};
pub use self::phases::Phases;
pub use self::snapshots::{FOLDER as SNAPSHOTS_FOLDER, SUFFIX as SNAPSHOTS_SUFFIX};
pub use self::start::Parts;
pub use self::status::{Member, Members, Role, Status};

use self::acks::Acks;
use self::error::{BarrierError, ProposeError};
use self::identity::Identity;
use self::peers::Freshness;
use self::pulse::Pulse;
use self::raft_types::{Payload, Raft};
use self::spans::Spans;
use self::state_machine::{StateMachine, position};
use self::status::MembersCache;
use crate::command::{self, Outcome, Proposal};
use crate::config::TimingConfig;
use crate::os::Os;
use crate::state::StateView;
use crate::tasks::Tasks;
use crate::telemetry::metrics::OkOrError;
use crate::telemetry::{Metrics, TraceContext};
use crate::types::{Index, Position, RaftId};
use crate::wal;

/// How often a waiter looks again at what announces no change.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// A node's part in the consensus. Clones are the same part.
#[derive(Clone)]
pub struct Consensus {
    inner: Arc<Inner>,
}

struct Inner {
    raft: Raft,
    machine: StateMachine,
    wal: wal::Handle,
    acks: Arc<Acks>,
    freshness: Freshness,
    spans: Spans,
    pulse: Pulse,
    members: MembersCache,
    incoming: Arc<Mutex<snapshots::Incoming>>,
    identity: Identity,
    timing: TimingConfig,
    os: Os,
    tasks: Tasks,
    metrics: Arc<Metrics>,
}

/// A proposal that was applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// Its place in the log.
    pub position: Position,
    /// What it did.
    pub outcome: Outcome,
    /// Where its time went, on the clock of [`Ack::after`].
    pub phases: Phases,
}

/// A node's acknowledgement of an entry, as the leader saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ack {
    /// Which member.
    pub member: Arc<Member>,
    /// Whether that is the leader, who writes the receipt.
    pub is_leader: bool,
    /// How long after the proposal the entry was on its disk; `None` while it is not known to be.
    pub after: Option<Duration>,
}

impl Consensus {
    /// Puts a proposal into the log and waits until it is applied here. `trace` is the span that
    /// waits for it, if that is recorded.
    ///
    /// # Errors
    /// Every error but [`ProposeError::TooLarge`] leaves it open whether the proposal takes effect.
    /// So does dropping the future.
    pub async fn propose(
        &self,
        proposal: &Proposal,
        trace: Option<TraceContext>,
    ) -> Result<Committed, ProposeError> {
        let bytes = command::encode_proposal(proposal);
        let payload = Payload { bytes, trace: trace.map(Box::new) };
        let (bytes, limit) = (codec::entry_bytes(&payload), self.inner.wal.entry_limit());
        if bytes > limit {
            return Err(ProposeError::TooLarge { bytes, limit });
        }
        let proposed_at = self.inner.os.clock.monotonic();
        let written = self.inner.raft.client_write(payload).await?;
        let position = position(written.log_id);
        let phases = Phases::of(&self.inner, position, proposed_at);
        phases.observe(&self.inner.metrics);
        Ok(Committed { position, outcome: written.data, phases })
    }

    /// Waits until everything that was acknowledged anywhere before this call is applied here.
    pub async fn read_barrier(&self) -> Result<(), BarrierError> {
        let barrier = self.inner.raft.get_read_linearizer(ReadPolicy::ReadIndex).await?;
        let ready = barrier.await_ready(&self.inner.raft).await;
        ready.map(|_| ()).map_err(|fatal| BarrierError::Stopped(fatal.to_string()))
    }

    /// The span of the batch that wrote an entry, if it is not in the entry's own trace.
    pub fn batch_span(&self, committed: &Committed) -> Option<TraceContext> {
        self.inner.spans.batch_of(committed.position.index)
    }

    /// Who has the entry of `committed` on disk by now, voters in the order of their names.
    pub fn acks(&self, committed: &Committed) -> Vec<Ack> {
        let me = self.inner.identity.node;
        let members = self.members();
        let voters = members.iter().filter(|member| member.is_voter);
        let ack = |member: &Arc<Member>| {
            let at = self.inner.acks.reached(member.node, committed.position);
            Ack {
                is_leader: member.node == me,
                after: at.map(|at| at.saturating_sub(committed.phases.proposed_at)),
                member: member.clone(),
            }
        };
        voters.map(ack).collect()
    }

    /// Waits until `wanted` voters have the entry on disk, or `until`. True when they have.
    pub async fn wait_for_acks(
        &self,
        committed: &Committed,
        wanted: usize,
        until: Instant,
    ) -> bool {
        if wanted == 0 {
            return true;
        }
        let mut changes = self.inner.acks.changes();
        loop {
            changes.mark_unchanged();
            let durable = self.acks(committed).iter().filter(|ack| ack.after.is_some()).count();
            if durable >= wanted {
                return true;
            }
            // A deposed leader hears no more acknowledgements: waiting longer is in vain.
            if self.status().term != committed.position.term {
                return false;
            }
            let wait = tokio::time::timeout_at(until, changes.changed());
            if !matches!(wait.await, Ok(Ok(()))) {
                return false;
            }
        }
    }

    /// The state as this node has it.
    pub fn view(&self) -> StateView {
        self.inner.machine.view()
    }

    /// The last applied index, now and whenever it grows.
    pub fn applied(&self) -> watch::Receiver<Option<Index>> {
        self.inner.machine.applied()
    }

    /// How this node stands.
    pub fn status(&self) -> Status {
        let metrics = self.inner.raft.metrics();
        let metrics = metrics.borrow_watched();
        let members = self.inner.members.of(&metrics.membership_config);
        Status::of(&metrics, members)
    }

    /// Entries that wait for this node's disk. openraft commits with the followers' disks alone, so
    /// a leader whose disk hangs would otherwise take in more and more.
    pub fn disk_backlog(&self) -> u64 {
        let last = self.inner.wal.bounds().last.map_or(0, |last| last.next().get());
        let synced = self.inner.wal.synced().map_or(0, |synced| synced.next().get());
        last.saturating_sub(synced)
    }

    /// The members, as this node knows them.
    pub fn members(&self) -> Members {
        let metrics = self.inner.raft.metrics();
        let metrics = metrics.borrow_watched();
        self.inner.members.of(&metrics.membership_config)
    }

    /// On the leader: the last index known to be in each member's log.
    pub fn matched(&self) -> BTreeMap<RaftId, Index> {
        let metrics = self.inner.raft.metrics();
        let metrics = metrics.borrow_watched();
        let known = metrics.replication.iter().flatten();
        let known = known.filter_map(|(node, upto)| Some((*node, (*upto)?)));
        known.map(|(node, upto)| (RaftId::new(node), Index::new(upto.index))).collect()
    }

    /// How long ago this node's state was the newest, as far as it knows; `None` if it never was.
    pub fn staleness(&self) -> Option<Duration> {
        let status = self.status();
        // A new leader has all that was acknowledged in its log, but not yet in its state: only
        // once an entry of its own term is applied.
        let applied = self.view().applied();
        if status.role == Role::Leader && applied.is_some_and(|at| at.term == status.term) {
            return self.inner.acks.quorum_age(status.term, self.inner.os.clock.monotonic());
        }
        self.inner.freshness.staleness(status.applied, self.inner.os.clock.monotonic())
    }

    /// When `member` last answered this leader, as time passed since.
    pub fn last_answer(&self, member: RaftId) -> Option<Duration> {
        let at = self.inner.acks.last_answer(member, self.status().term)?;
        Some(self.inner.os.clock.monotonic().saturating_sub(at))
    }

    /// Waits until `wanted` is true of the status, or `until`; returns the last status seen.
    pub async fn wait_for(&self, until: Instant, wanted: impl Fn(&Status) -> bool) -> Status {
        let status = self.status();
        if wanted(&status) {
            return status;
        }
        let mut changes = self.inner.raft.server_metrics();
        loop {
            let status = self.status();
            if wanted(&status) || Instant::now() >= until {
                return status;
            }
            // Not every change is announced there (a quorum's answers are not): look again soon.
            let soon = until.min(Instant::now() + LOOK_AGAIN);
            let _ = tokio::time::timeout_at(soon, changes.changed()).await;
        }
    }

    /// This node's place in the cluster.
    pub fn identity(&self) -> &Identity {
        &self.inner.identity
    }

    /// How long a leader may go without a majority's answer and still take proposals.
    pub fn lease(&self) -> Duration {
        self.inner.timing.election_timeout_max
    }

    /// Waits until consensus has failed for good, and says why.
    pub async fn failed(&self) -> String {
        let mut metrics = self.inner.raft.metrics();
        loop {
            if let Err(fatal) = &metrics.borrow_watched().running_state {
                return fatal.to_string();
            }
            if metrics.changed().await.is_err() {
                return "consensus has ended".to_owned();
            }
            // The metrics change with every entry; one look in a while is enough.
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// Hands leadership to the follower that has the most, and waits for it, at most until `until`.
    /// True when this node does not lead any more.
    pub async fn hand_over(&self, until: Instant) -> bool {
        if self.status().role != Role::Leader {
            return true;
        }
        let is_done = self.try_hand_over(until).await;
        let result = if is_done { OkOrError::Ok } else { OkOrError::Error };
        self.inner.metrics.raft.transfers.increment(result);
        is_done
    }

    async fn try_hand_over(&self, until: Instant) -> bool {
        let status = self.status();
        let others = status.members.iter().filter(|m| m.is_voter && Some(m.node) != status.leader);
        let answers = |member: &&Arc<Member>| {
            self.last_answer(member.node).is_some_and(|silence| silence < self.lease())
        };
        let best = others.filter(answers);
        let matched = self.matched();
        let best = best.max_by_key(|member| matched.get(&member.node));
        let Some(best) = best else { return false };
        tracing::info!(event = "hand_over", to = %best.name, "handing leadership over");
        if self.inner.raft.trigger().transfer_leader(best.node.get()).await.is_err() {
            return false;
        }
        self.wait_for(until, |status| status.role != Role::Leader).await.role != Role::Leader
    }

    /// Stops taking part. The log is closed by its owner afterwards.
    pub async fn shutdown(&self) {
        if let Err(error) = self.inner.raft.shutdown().await {
            tracing::warn!(event = "shutdown", %error, "consensus did not stop cleanly");
        }
    }
}
