//! openraft's state machine over our deterministic state.
//!
//! The state lives in memory; a snapshot and the log bring it back. Applying happens on the
//! runtime's thread, so a reader that was told of an index finds it applied.
//!
//! # Invariants
//! - M1 Every entry with a responder is answered (else its client would wait for ever).
//! - M2 A proposal that cannot be decoded stops the node: it is from a later program, and skipping
//!   it would make this node differ from the others.
//! - M3 A snapshot's cut is taken at once (`StateView` is an O(1) clone); encoding happens
//!   elsewhere.
//! - M4 An entry that does not follow the one before it stops the node: something was left out.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use futures_util::{Stream, TryStreamExt};
use openraft::storage::{EntryResponder, RaftSnapshotBuilder, RaftStateMachine};
use openraft::{EntryPayload, OptionalSend};
use tokio::sync::watch;
use tokio::time::Instant;

use super::raft_types::{Entry, LogId, SnapshotMeta, StoredMembership, TypeConfig};
use super::snapshots::{SnapshotFile, Snapshots};
use super::spans::Spans;
use crate::command::{self, Outcome};
use crate::os::clock::Clock;
use crate::state::{State, StateView};
use crate::tasks::Tasks;
use crate::telemetry::Metrics;
use crate::telemetry::metrics::{OkOrError, SnapshotOp};
use crate::types::{Index, Position, Term};

/// Entries applied before other tasks get their turn.
const APPLY_BURST: u32 = 256;

type Snapshot = openraft::alias::SnapshotOf<TypeConfig, SnapshotFile>;

/// The replicated state of one node, shared between openraft, readers and the snapshot maker.
#[derive(Clone)]
pub(super) struct StateMachine {
    shared: Arc<Shared>,
}

struct Shared {
    state: RwLock<State>,
    last: Mutex<Applied>,
    applied: watch::Sender<Option<Index>>,
    snapshots: Snapshots,
    /// Bytes of proposals applied since the last snapshot.
    bytes_since_snapshot: AtomicU64,
    gaps: Gaps,
    tasks: Tasks,
    metrics: Arc<Metrics>,
    spans: Spans,
    clock: Arc<dyn Clock>,
}

/// What an entry means that does not follow the one before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Gaps {
    /// Something was left out (M4).
    Refused,
    /// openraft's test suite applies made-up entries with gaps between them.
    #[cfg(test)]
    Tolerated,
}

impl Shared {
    fn count_snapshot(&self, op: SnapshotOp, result: OkOrError, began: Instant) {
        self.metrics.state.snapshots.increment(op, result);
        self.metrics.state.snapshot_duration.observe(op, began.elapsed());
    }
}

/// What openraft asks for at the start.
#[derive(Default, Clone)]
struct Applied {
    log_id: Option<LogId>,
    membership: StoredMembership,
}

/// A log id in the words of the rest of the program.
pub(super) fn position(id: LogId) -> Position {
    Position { term: Term::new(id.leader_id.term), index: Index::new(id.index) }
}

impl StateMachine {
    /// Begins with what the newest snapshot holds.
    pub(super) fn new(
        (snapshots, restored): (Snapshots, Option<(SnapshotMeta, State)>),
        tasks: Tasks,
        metrics: Arc<Metrics>,
        (spans, clock): (Spans, Arc<dyn Clock>),
    ) -> Self {
        let (last, state) = match restored {
            Some((meta, state)) => {
                let last = Applied { log_id: meta.last_log_id, membership: meta.last_membership };
                (last, state)
            }
            None => (Applied::default(), State::default()),
        };
        let applied = watch::Sender::new(last.log_id.map(|id| Index::new(id.index)));
        let shared = Shared {
            state: RwLock::new(state),
            last: Mutex::new(last),
            applied,
            snapshots,
            bytes_since_snapshot: AtomicU64::new(0),
            gaps: Gaps::Refused,
            tasks,
            metrics,
            spans,
            clock,
        };
        Self { shared: Arc::new(shared) }
    }

    /// For openraft's test suite: M4 does not hold.
    #[cfg(test)]
    pub(super) fn tolerating_gaps(mut self) -> Self {
        if let Some(shared) = Arc::get_mut(&mut self.shared) {
            shared.gaps = Gaps::Tolerated;
        }
        self
    }

    /// The state as it is now; later changes do not show in it.
    pub(super) fn view(&self) -> StateView {
        self.shared.state.read().unwrap_or_else(PoisonError::into_inner).view()
    }

    /// The last applied index, now and whenever it grows.
    pub(super) fn applied(&self) -> watch::Receiver<Option<Index>> {
        self.shared.applied.subscribe()
    }

    /// Bytes of proposals applied since the last snapshot.
    pub(super) fn bytes_since_snapshot(&self) -> u64 {
        self.shared.bytes_since_snapshot.load(Ordering::Relaxed)
    }

    fn last(&self) -> std::sync::MutexGuard<'_, Applied> {
        self.shared.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn apply_entry(&self, entry: Entry) -> io::Result<Outcome> {
        let at = position(entry.log_id);
        let proposal = match &entry.payload {
            EntryPayload::Normal(payload) => {
                let bytes = payload.bytes.len() as u64;
                self.shared.bytes_since_snapshot.fetch_add(bytes, Ordering::Relaxed);
                let invalid = |e| io::Error::new(io::ErrorKind::InvalidData, e);
                Some(command::decode_proposal(&payload.bytes).map_err(invalid)?)
            }
            EntryPayload::Blank | EntryPayload::Membership(_) => None,
        };
        let mut state = self.shared.state.write().unwrap_or_else(PoisonError::into_inner);
        if self.shared.gaps == Gaps::Refused
            && let Some(applied) = state.current().applied()
            && at.index != applied.index.next()
        {
            let why = format!("M4: entry {} was to be applied after {}", at.index, applied.index);
            return Err(io::Error::new(io::ErrorKind::InvalidData, why));
        }
        let outcome = state.apply(at, proposal.as_ref());
        drop(state);
        let mut last = self.last();
        last.log_id = Some(entry.log_id);
        if let EntryPayload::Membership(membership) = entry.payload {
            last.membership = StoredMembership::new(Some(entry.log_id), membership);
        }
        Ok(outcome)
    }

    fn publish(&self) {
        let index = self.last().log_id.map(|id| Index::new(id.index));
        self.shared.applied.send_replace(index);
    }
}

impl RaftStateMachine<TypeConfig> for StateMachine {
    type SnapshotData = SnapshotFile;
    type SnapshotBuilder = SnapshotBuilder;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), io::Error> {
        let last = self.last().clone();
        Ok((last.log_id, last.membership))
    }

    async fn apply<Strm>(&mut self, mut entries: Strm) -> Result<(), io::Error>
    where
        Strm: Stream<Item = Result<EntryResponder<TypeConfig>, io::Error>> + Unpin + OptionalSend,
    {
        let began = self.shared.clock.monotonic();
        let (mut first, mut last) = (None, Index::default());
        let mut applied = 0_u64;
        let mut burst = 0_u32;
        while let Some((entry, responder)) = entries.try_next().await? {
            last = Index::new(entry.log_id.index);
            first.get_or_insert(last);
            let outcome = self.apply_entry(entry)?;
            if let Some(responder) = responder {
                responder.send(outcome);
            }
            applied = applied.saturating_add(1);
            burst = burst.saturating_add(1);
            if burst == APPLY_BURST {
                burst = 0;
                self.publish();
                tokio::task::yield_now().await;
            }
        }
        self.publish();
        if let Some(first) = first {
            self.shared.spans.applied(first, last, began);
        }
        let took = self.shared.clock.monotonic().saturating_sub(began);
        self.shared.metrics.state.apply_duration.observe(took);
        self.shared.metrics.state.applied_entries.add(applied);
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> SnapshotBuilder {
        let view = self.view();
        let last = self.last().clone();
        let meta = SnapshotMeta { last_log_id: last.log_id, last_membership: last.membership };
        self.shared.bytes_since_snapshot.store(0, Ordering::Relaxed);
        SnapshotBuilder { shared: self.shared.clone(), view, meta }
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta,
        snapshot: SnapshotFile,
    ) -> Result<(), io::Error> {
        let began = Instant::now();
        let shared = self.shared.clone();
        let of_thread = (shared.clone(), meta.clone());
        let install = move || of_thread.0.snapshots.install(&of_thread.1, &snapshot);
        let installed = shared.tasks.spawn_blocking("snapshot-install", install).await;
        let installed = installed.map_err(io::Error::other).and_then(|result| result);
        shared.count_snapshot(SnapshotOp::Install, OkOrError::of(&installed), began);
        let state = installed?;
        *shared.state.write().unwrap_or_else(PoisonError::into_inner) = state;
        *self.last() =
            Applied { log_id: meta.last_log_id, membership: meta.last_membership.clone() };
        shared.bytes_since_snapshot.store(0, Ordering::Relaxed);
        self.publish();
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot>, io::Error> {
        let current = self.shared.snapshots.current();
        Ok(current.map(|(meta, snapshot)| Snapshot { meta, snapshot }))
    }
}

/// A consistent cut that waits to be written.
pub(super) struct SnapshotBuilder {
    shared: Arc<Shared>,
    view: StateView,
    meta: SnapshotMeta,
}

impl RaftSnapshotBuilder<TypeConfig> for SnapshotBuilder {
    type SnapshotData = SnapshotFile;

    async fn build_snapshot(&mut self) -> Result<Snapshot, io::Error> {
        let began = Instant::now();
        let (shared, view) = (self.shared.clone(), self.view.clone());
        let meta = self.meta.clone();
        let build = move || shared.snapshots.build(&view, &meta);
        let built = self.shared.tasks.spawn_blocking("snapshot-build", build).await;
        let built = built.map_err(io::Error::other).and_then(|result| result);
        self.shared.count_snapshot(SnapshotOp::Create, OkOrError::of(&built), began);
        let snapshot = built?;
        tracing::info!(
            event = "snapshot_created",
            index = self.meta.last_log_id.map(|id| id.index),
            size_bytes = snapshot.length(),
            "snapshot created"
        );
        Ok(Snapshot { meta: self.meta.clone(), snapshot })
    }
}
