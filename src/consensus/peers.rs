//! What other nodes ask of this one: entries, heartbeats, votes, snapshots, a hand-over.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use openraft::async_runtime::WatchReceiver;
use openraft::raft::{AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse};

use super::Consensus;
use super::codec::{self, SnapshotChunk};
use super::founding;
use super::raft_types::{SnapshotMeta, TypeConfig, Vote};
use super::snapshots::{Received, SnapshotFile};
use crate::peer::{BoxFuture, Handler, Message, Refusal, RefusalReason, Rpc};
use crate::telemetry::TraceContext;
use crate::telemetry::metrics::{AppendResult, Label, VoteKind, VoteResult};
use crate::types::{Index, RaftId};

/// How new this follower's state is, from what the leader's messages said.
///
/// A message tells the leader's commit index, and how long ago a majority answered that leader.
/// Once this node has applied that much, its state was the newest at that time. How long the
/// message was under way is not known and not in the figure: clocks of two nodes are never
/// compared.
#[derive(Default)]
pub(super) struct Freshness(Mutex<Seen>);

#[derive(Default)]
struct Seen {
    /// The newest message: what was committed, and as of when.
    told: Option<(Option<Index>, Duration)>,
    /// The newest moment whose commits are known to be applied here.
    fresh: Option<Duration>,
}

impl Freshness {
    fn told(&self, committed: Option<Index>, applied: Option<Index>, as_of: Duration) {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.settle(applied);
        seen.told = Some((committed, as_of));
    }

    /// Time since the newest moment whose commits are all in `applied`.
    pub(super) fn staleness(&self, applied: Option<Index>, now: Duration) -> Option<Duration> {
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.settle(applied);
        seen.fresh.map(|fresh| now.saturating_sub(fresh))
    }
}

impl Seen {
    fn settle(&mut self, applied: Option<Index>) {
        if let Some((committed, as_of)) = self.told
            && applied >= committed
        {
            self.fresh = self.fresh.max(Some(as_of));
        }
    }
}

fn malformed(why: impl std::fmt::Display) -> Refusal {
    Refusal::new(RefusalReason::Malformed, why)
}

fn stopped(why: impl std::fmt::Display) -> Refusal {
    Refusal::new(RefusalReason::NotReady, why)
}

/// As what a node sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    Leader,
    Candidate,
}

/// A node speaks for itself only: openraft would believe a vote that names another node.
fn check_sender(from: RaftId, vote: &Vote, standing: Standing) -> Result<(), Refusal> {
    if vote.leader_id.voted_for != from.get() {
        return Err(malformed(format_args!("the vote is not that of its sender, node {from}")));
    }
    if vote.committed != (standing == Standing::Leader) {
        return Err(malformed(format_args!("a {standing:?} does not send such a vote")));
    }
    Ok(())
}

impl Handler for Consensus {
    fn handle(&self, from: RaftId, message: Message) -> BoxFuture<Result<Bytes, Refusal>> {
        let Message { rpc, body, trace } = message;
        let this = self.clone();
        Box::pin(async move {
            match rpc {
                Rpc::Replicate => this.entries(from, body, trace).await,
                Rpc::Heartbeat => this.heartbeat(from, body).await,
                Rpc::Vote | Rpc::PreVote => this.vote(from, rpc, body).await,
                Rpc::Snapshot => this.snapshot(from, body).await,
                Rpc::TransferLeader => this.take_over(from, body).await,
                Rpc::Found => Err(malformed("a founding has no envelope")),
            }
        })
    }

    fn found(&self, body: Bytes) -> BoxFuture<Result<Bytes, Refusal>> {
        // The log itself: the status is empty until openraft's first report.
        let bounds = self.inner.wal.bounds();
        let begun = bounds.last.or(bounds.purged).is_some();
        let answer = founding::answer(&self.inner.identity, begun, &body);
        Box::pin(std::future::ready(answer))
    }
}

impl Consensus {
    /// A message with entries.
    async fn entries(
        &self,
        from: RaftId,
        body: Bytes,
        trace: Option<TraceContext>,
    ) -> Result<Bytes, Refusal> {
        let (clock, metrics) = (&self.inner.os.clock, &self.inner.metrics.follower);
        let received = clock.monotonic();
        let mut span = self.inner.spans.received(trace);
        let request = codec::decode_append(body).map_err(malformed);
        let last = request.as_ref().ok().and_then(|(request, _)| request.entries.last());
        let last = last.map(|last| Index::new(last.log_id.index));
        if let Some((last, context)) = last.zip(span.context()) {
            self.inner.spans.mark(last, context, received);
        }
        let answer = match request {
            Ok(request) => self.append(from, request).await,
            Err(refusal) => Err(refusal),
        };
        let result = match &answer {
            Ok(AppendEntriesResponse::Success | AppendEntriesResponse::PartialSuccess(_)) => {
                self.inner.pulse.sign(received);
                AppendResult::Success
            }
            Ok(AppendEntriesResponse::Conflict) => AppendResult::Conflict,
            Ok(AppendEntriesResponse::HigherVote(_)) => AppendResult::HigherVote,
            Err(_) => AppendResult::Error,
        };
        span.set("bitacora.replication.result", result.as_str());
        if let (Some((last, context)), true) =
            (last.zip(span.context()), result != AppendResult::Success)
        {
            self.inner.spans.unmark(last, context);
        }
        // What has no entries only tells the commit index, and does not touch the disk.
        if last.is_some() || answer.is_err() {
            metrics.append_requests.increment(result);
            metrics.append_duration.observe(clock.monotonic().saturating_sub(received));
        }
        Ok(codec::encode_append_response(&answer?))
    }

    /// A message without: the leader lives.
    async fn heartbeat(&self, from: RaftId, body: Bytes) -> Result<Bytes, Refusal> {
        let (clock, metrics) = (&self.inner.os.clock, &self.inner.metrics.follower);
        let received = clock.monotonic();
        let request = codec::decode_append(body).map_err(malformed)?;
        let answer = self.append(from, request).await?;
        // A deposed leader's heartbeat is none.
        if !matches!(answer, AppendEntriesResponse::HigherVote(_)) {
            metrics.heartbeats.increment();
            metrics.last_heartbeat.set_unix_ms(clock.wall_unix_ms());
            let interval = self.inner.timing.heartbeat_interval;
            let (gap, missed) = self.inner.pulse.heartbeat(received, interval);
            metrics.heartbeat_misses.add(missed);
            if let Some(gap) = gap {
                metrics.heartbeat_gap.observe(gap);
            }
        }
        Ok(codec::encode_append_response(&answer))
    }

    async fn append(
        &self,
        from: RaftId,
        (request, quorum_age): (AppendEntriesRequest<TypeConfig>, Option<Duration>),
    ) -> Result<AppendEntriesResponse<TypeConfig>, Refusal> {
        check_sender(from, &request.vote, Standing::Leader)?;
        let committed = request.leader_commit.map(|id| Index::new(id.index));
        let received = self.inner.os.clock.monotonic();
        let answer = self.inner.raft.append_entries(request).await.map_err(stopped)?;
        if let (Some(age), true) = (quorum_age, answer.is_success()) {
            let applied = self.status().applied;
            self.inner.freshness.told(committed, applied, received.saturating_sub(age));
        }
        Ok(answer)
    }

    async fn vote(&self, from: RaftId, rpc: Rpc, body: Bytes) -> Result<Bytes, Refusal> {
        let request = codec::decode_vote_request(body).map_err(malformed)?;
        check_sender(from, &request.vote, Standing::Candidate)?;
        let (kind, answer) = match rpc {
            Rpc::PreVote => (VoteKind::PreVote, self.inner.raft.pre_vote(request).await),
            _ => (VoteKind::Vote, self.inner.raft.vote(request).await),
        };
        let answer = answer.map_err(stopped)?;
        let result = if answer.vote_granted { VoteResult::Granted } else { VoteResult::Rejected };
        self.inner.metrics.raft.votes.increment(kind, result);
        Ok(codec::encode_vote_response(&answer))
    }

    async fn take_over(&self, from: RaftId, body: Bytes) -> Result<Bytes, Refusal> {
        let request = codec::decode_transfer(body).map_err(malformed)?;
        check_sender(from, request.from_leader(), Standing::Leader)?;
        match self.inner.raft.handle_transfer_leader(request).await.map_err(stopped)? {
            Ok(()) => Ok(Bytes::new()),
            Err(refused) => Err(Refusal::new(RefusalReason::NotReady, refused)),
        }
    }

    async fn snapshot(&self, from: RaftId, body: Bytes) -> Result<Bytes, Refusal> {
        let chunk = codec::decode_chunk(body).map_err(malformed)?;
        check_sender(from, &chunk.vote, Standing::Leader)?;
        let vote = self.inner.raft.metrics().borrow_watched().vote;
        if chunk.vote < vote {
            // The sender was deposed: it learns so and stops.
            return Ok(codec::encode_chunk_response(&SnapshotResponse { vote }, chunk.total));
        }
        self.check_plausible(&chunk)?;
        let (vote, meta, total) = (chunk.vote, chunk.meta.clone(), chunk.total);
        let snapshot = match self.take_chunk(chunk).await? {
            Received::GoOn(next) => {
                return Ok(codec::encode_chunk_response(&SnapshotResponse { vote }, next));
            }
            Received::Complete(received) => {
                let snapshot = self.decode_received(&meta, received).await?;
                openraft::Snapshot { meta, snapshot }
            }
        };
        let installed = self.inner.raft.install_full_snapshot(vote, snapshot).await;
        let response = installed.map_err(stopped)?;
        Ok(codec::encode_chunk_response(&response, total))
    }

    /// openraft panics on a snapshot that no well-behaved leader can send; a peer must not be able
    /// to end this node with one.
    fn check_plausible(&self, chunk: &SnapshotChunk) -> Result<(), Refusal> {
        let Some(last) = chunk.meta.last_log_id else {
            return Err(malformed("a snapshot of nothing"));
        };
        if last.leader_id.term > chunk.vote.leader_id.term {
            return Err(malformed("the snapshot is from a later term than its sender"));
        }
        let metrics = self.inner.raft.metrics();
        let committed = metrics.borrow_watched().local_committed;
        if committed.is_some_and(|committed| last > committed && last.index <= committed.index) {
            return Err(malformed("the snapshot contradicts what is committed here"));
        }
        Ok(())
    }

    /// Writes a part to disk, on another thread: the lock is held there and not across an `await`,
    /// so a sender that goes away in the middle leaves nothing locked or lost.
    async fn take_chunk(&self, chunk: SnapshotChunk) -> Result<Received, Refusal> {
        let incoming = self.inner.incoming.clone();
        let take = move || incoming.lock().unwrap_or_else(PoisonError::into_inner).take(&chunk);
        let taken = self.inner.tasks.spawn_blocking("snapshot-receive", take).await;
        taken.map_err(stopped)?.map_err(stopped)
    }

    /// openraft takes a snapshot that does not install for a failed disk and stops; what a peer
    /// sent is decoded before openraft hears of it.
    async fn decode_received(
        &self,
        meta: &SnapshotMeta,
        received: SnapshotFile,
    ) -> Result<SnapshotFile, Refusal> {
        let meta = meta.clone();
        let decode = move || received.decoded(&meta);
        let decoded = self.inner.tasks.spawn_blocking("snapshot-decode", decode).await;
        decoded.map_err(stopped)?.map_err(malformed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn a_follower_is_as_fresh_as_the_last_message_whose_commits_it_has_applied() {
        let at = |index| Some(Index::new(index));
        let freshness = Freshness::default();
        assert_eq!(freshness.staleness(at(5), ms(100)), None);
        freshness.told(at(5), at(5), ms(100));
        assert_eq!(freshness.staleness(at(5), ms(130)), Some(ms(30)));
        freshness.told(at(9), at(5), ms(150));
        assert_eq!(freshness.staleness(at(5), ms(200)), Some(ms(100)), "not yet applied");
        assert_eq!(freshness.staleness(at(9), ms(200)), Some(ms(50)));
    }

    #[test]
    fn an_older_view_never_makes_a_follower_look_fresher() {
        let at = |index| Some(Index::new(index));
        let freshness = Freshness::default();
        freshness.told(at(5), at(5), ms(100));
        freshness.told(at(5), at(5), ms(40));
        assert_eq!(freshness.staleness(at(5), ms(150)), Some(ms(50)));
    }
}
