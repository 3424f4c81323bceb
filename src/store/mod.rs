//! The use cases: write, read, list, read the log, look at the cluster. No HTTP in here.
//!
//! # Invariants
//! - T1 Everything that is refused before [`Consensus::propose`] is `not_applied`; everything after
//!   it is `unknown` unless consensus gave an outcome.
//! - T2 No call outlives its deadline.
//! - T3 A linearizable read returns what a barrier, taken after the request came, covers.
//!
//! # Not here
//! HTTP, files, peers' messages.

mod admission;
pub mod error;
mod read;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

pub use self::error::{ErrorCode, StoreError, WriteOutcome};
pub use self::read::{Consistency, ListPage, ListQuery, LogPage, Read};
pub use crate::consensus::{Ack, EntryKind, LogEntry, Member, Members, Role, Status};

pub use crate::state::Entry;

use self::admission::Admission;
pub use self::admission::Admitted;
use crate::command::{Command, Outcome, Proposal, Rejection};
use crate::config::LimitsConfig;
use crate::consensus::error::ProposeError;
use crate::consensus::identity::Identity;
use crate::consensus::{Committed, Consensus};
use crate::os::Os;
use crate::telemetry::metrics::WritePhase;
use crate::telemetry::traces::{Kind, TraceId};
use crate::telemetry::{Metrics, Span, TraceContext, Traces};
use crate::types::{Index, NodeName, NodeUrl, Position, RaftId};

/// Entries that may wait for this node's disk before no more writes are let in: half of what the
/// log's queue takes.
const DISK_BACKLOG_MAX: u64 = 8192;

/// What this node offers to clients. Clones are the same store.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    consensus: Consensus,
    admission: Admission,
    os: Os,
    metrics: Arc<Metrics>,
    traces: Traces,
    me: NodeName,
}

/// How many voters must have a write on disk before it is answered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Acks {
    /// A majority.
    #[default]
    Quorum,
    /// Every voter.
    All,
    /// This many.
    Exactly(u64),
    /// This many followers and the leader, but never less than a majority (the seed's rule).
    Followers(u64),
}

/// How a write is to be done.
#[derive(Debug, Clone, Copy)]
pub struct How {
    /// Who must have it on disk.
    pub acks: Acks,
    /// The request's place in a trace.
    pub trace: Option<TraceContext>,
    /// When nobody waits any more.
    pub until: Instant,
}

/// A write that is applied, with who has it on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// Its place in the log.
    pub position: Position,
    /// What it did.
    pub outcome: Outcome,
    /// Who has it, voters by name.
    pub acks: Vec<Ack>,
    /// How many voters are a majority.
    pub quorum: usize,
    /// The trace that it is part of.
    pub trace: Option<TraceId>,
}

/// Who should do what only a leader can.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    /// This node.
    Here,
    /// That node.
    There(NodeUrl),
}

impl Store {
    /// Over a running consensus.
    pub fn new(
        consensus: Consensus,
        os: Os,
        limits: &LimitsConfig,
        metrics: Arc<Metrics>,
        traces: Traces,
    ) -> Self {
        let me = consensus.identity().name.clone();
        let admission = Admission::new(limits);
        Self { inner: Arc::new(Inner { consensus, admission, os, metrics, traces, me }) }
    }

    /// Waits until someone leads, and a majority answers if that is this node.
    ///
    /// # Errors
    /// [`StoreError::NoLeader`] or [`StoreError::NoQuorum`] at the deadline.
    pub async fn route(&self, until: Instant) -> Result<Route, StoreError> {
        let me = self.inner.consensus.identity().node;
        let lease = self.inner.consensus.lease();
        let leads = |status: &Status| status.role == Role::Leader;
        let has_quorum = |status: &Status| {
            status.voters() == 1 || status.quorum_age.is_some_and(|age| age < lease)
        };
        let elsewhere = |status: &Status| !leads(status) && status.leader.is_some_and(|l| l != me);
        let decided = |status: &Status| elsewhere(status) || (leads(status) && has_quorum(status));
        let status = self.inner.consensus.wait_for(until, decided).await;
        if leads(&status) {
            return if has_quorum(&status) { Ok(Route::Here) } else { Err(StoreError::NoQuorum) };
        }
        match status.leader() {
            Some(leader) if leader.node != me => Ok(Route::There(leader.url.clone())),
            _ => Err(StoreError::NoLeader),
        }
    }

    /// Lets a write of about `bytes` in, here or on its way to the leader; it is in until the guard
    /// is dropped.
    ///
    /// # Errors
    /// [`StoreError::Overloaded`], [`StoreError::ShuttingDown`].
    pub fn admit(&self, bytes: usize) -> Result<Admitted, StoreError> {
        if self.inner.consensus.disk_backlog() >= DISK_BACKLOG_MAX {
            return Err(StoreError::Overloaded { what: "this node's disk is behind" });
        }
        self.inner.admission.admit(bytes)
    }

    /// Puts a command into the log and waits until it is applied and as many voters as asked have
    /// it on disk. To be called where [`Store::route`] said [`Route::Here`].
    ///
    /// # Errors
    /// Each says by [`StoreError::outcome`] what became of the write.
    pub async fn write(
        &self,
        _admitted: &Admitted,
        command: Command,
        how: How,
    ) -> Result<Receipt, StoreError> {
        let mut span = self.inner.traces.follow(how.trace, Kind::Internal);
        span.name("kv.write");
        let written = self.write_within(&mut span, command, how).await;
        if let Err(error) = &written {
            span.fail(error.code().as_str());
        }
        written
    }

    async fn write_within(
        &self,
        span: &mut Span,
        command: Command,
        How { acks, trace, until }: How,
    ) -> Result<Receipt, StoreError> {
        let wanted = self.wanted_acks(acks)?;
        let proposal = Proposal {
            wall_unix_ms: self.inner.os.clock.wall_unix_ms(),
            origin: self.inner.me.clone(),
            command,
        };
        let proposed = self.inner.consensus.propose(&proposal, span.context());
        let committed = match tokio::time::timeout_at(until, proposed).await {
            Ok(Ok(committed)) => committed,
            Ok(Err(ProposeError::TooLarge { bytes, limit })) => {
                return Err(StoreError::TooLarge { bytes, limit });
            }
            Ok(Err(ProposeError::Unknown(why) | ProposeError::Stopped(why))) => {
                return Err(StoreError::Unknown { why });
            }
            Err(_) => {
                let why = "a majority did not answer within the timeout".to_owned();
                return Err(StoreError::Unknown { why });
            }
        };
        let applied_at = committed.phases.applied_at;
        if let Outcome::Rejected(Rejection::PreconditionFailed { actual }) = committed.outcome {
            self.describe(span, &committed);
            self.observe_respond(applied_at);
            return Err(StoreError::PreconditionFailed { actual });
        }
        let enough = self.inner.consensus.wait_for_acks(&committed, wanted, until).await;
        self.describe(span, &committed);
        let receipt = self.receipt(committed, trace.map(|trace| trace.trace));
        self.observe_respond(applied_at);
        if enough {
            return Ok(receipt);
        }
        Err(StoreError::AcksMissing { receipt: Box::new(receipt) })
    }

    /// Where the write stands in the log, and when each node had it on disk.
    fn describe(&self, span: &mut Span, committed: &Committed) {
        if !span.is_recorded() {
            return;
        }
        span.set("bitacora.raft.index", committed.position.index.get());
        span.set("bitacora.raft.term", committed.position.term.get());
        span.link(self.inner.consensus.batch_span(committed));
        let phases = &committed.phases;
        span.event("proposed", phases.proposed_at);
        span.event("in the leader's log", phases.appended_at);
        for ack in self.inner.consensus.acks(committed) {
            if let Some(after) = ack.after {
                let durable = format!("durable on {}", ack.member.name);
                span.event(durable, phases.proposed_at.saturating_add(after));
            }
        }
        span.event("committed", phases.replicated_at);
        span.event("applied", phases.applied_at);
    }

    fn observe_respond(&self, applied_at: Duration) {
        let took = self.inner.os.clock.monotonic().saturating_sub(applied_at);
        self.inner.metrics.write_phases.observe(WritePhase::Respond, took);
    }

    fn wanted_acks(&self, acks: Acks) -> Result<usize, StoreError> {
        // What commits is on a majority's disks: there is nothing more to wait for.
        if acks == Acks::Quorum {
            return Ok(0);
        }
        let status = self.inner.consensus.status();
        let (quorum, voters) = (status.quorum(), status.voters());
        let wanted = match acks {
            Acks::Quorum => quorum as u64,
            Acks::All => return Ok(voters),
            Acks::Exactly(wanted) => wanted,
            Acks::Followers(followers) => followers.saturating_add(1).max(quorum as u64),
        };
        match usize::try_from(wanted) {
            Ok(wanted) if (quorum..=voters).contains(&wanted) => Ok(wanted),
            _ => Err(StoreError::BadAcks { wanted, quorum, voters }),
        }
    }

    fn receipt(&self, committed: Committed, trace: Option<TraceId>) -> Receipt {
        let acks = self.inner.consensus.acks(&committed);
        let quorum = acks.len() / 2 + 1;
        let Committed { position, outcome, .. } = committed;
        Receipt { position, outcome, acks, quorum, trace }
    }

    /// How this node stands.
    pub fn status(&self) -> Status {
        self.inner.consensus.status()
    }

    /// This node's place in the cluster.
    pub fn identity(&self) -> &Identity {
        self.inner.consensus.identity()
    }

    /// On the leader: the last index known to be in each member's log.
    pub fn matched(&self) -> BTreeMap<RaftId, Index> {
        self.inner.consensus.matched()
    }

    /// When `member` last answered this leader, as time passed since.
    pub fn last_answer(&self, member: &Member) -> Option<Duration> {
        self.inner.consensus.last_answer(member.node)
    }

    /// How long a silent member still counts as reachable.
    pub fn lease(&self) -> Duration {
        self.inner.consensus.lease()
    }

    /// Whether this node can serve: it knows a leader with a majority and has what is committed.
    pub fn readiness(&self) -> Result<(), String> {
        let status = self.status();
        let lease = self.lease();
        if status.leader.is_none() {
            return Err("no leader is known".to_owned());
        }
        if status.role == Role::Leader {
            let fresh = status.voters() == 1 || status.quorum_age.is_some_and(|age| age < lease);
            return if fresh { Ok(()) } else { Err("no majority answers this leader".to_owned()) };
        }
        match self.inner.consensus.staleness() {
            None => Err("this node has not caught up with its leader yet".to_owned()),
            Some(staleness) if staleness > lease.saturating_mul(2) => {
                Err(format!("this node is {} ms behind its leader", staleness.as_millis()))
            }
            Some(_) => Ok(()),
        }
    }

    /// Writes in flight.
    pub fn pending(&self) -> usize {
        self.inner.admission.pending()
    }

    /// Bytes of them.
    pub fn pending_bytes(&self) -> usize {
        self.inner.admission.pending_bytes()
    }

    /// Metrics of this node.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.inner.metrics
    }

    /// Lets no more writes in: the node is going down.
    pub fn close(&self) {
        self.inner.admission.close();
    }
}
