//! openraft's network over `peer::Transport`: makes bodies, reads answers, keeps the acks.
//!
//! openraft asks for three clients a follower (log, heartbeats, snapshots); the kind of message
//! decides the connection. What followers answer is reported to `acks` and counted.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use openraft::errors::{NetworkError, RPCError, ReplicationClosed, StreamingError, Unreachable};
use openraft::network::{RPCOption, RaftNetworkFactory, RaftNetworkV2};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest,
    VoteRequest, VoteResponse,
};
use openraft::{AnyError, OptionalSend};

use super::acks::Acks;
use super::codec::{self, CodecError, SnapshotChunk};
use super::pulse::OwnBeat;
use super::raft_types::{MemberNode, TypeConfig, Vote};
use super::snapshots::SnapshotFile;
use super::spans::Spans;
use crate::os::clock::Clock;
use crate::peer::envelope::{self, Address};
use crate::peer::{Message, PeerError, Rpc, Transport};
use crate::tasks::Tasks;
use crate::telemetry::handles::PeerMetrics;
use crate::telemetry::metrics::{AckResult, Label, MissReason, OkOrError, SnapshotOp};
use crate::telemetry::{Metrics, Span};
use crate::types::{Index, NodeName, NodeUrl, Position, RaftId, Term};

/// How much of a snapshot travels in one message.
const SNAPSHOT_CHUNK_BYTES: u64 = 512 << 10;

type Snapshot = openraft::alias::SnapshotOf<TypeConfig, SnapshotFile>;
type TransferResponse = openraft::raft::TransferLeaderResponse<TypeConfig>;

/// What every client of a peer needs.
#[derive(Clone)]
pub(super) struct Shared {
    /// The wire.
    pub transport: Arc<dyn Transport>,
    /// This node.
    pub me: Address,
    /// Where acknowledgements are reported.
    pub acks: Arc<Acks>,
    /// The clock of all times in `acks`.
    pub clock: Arc<dyn Clock>,
    /// Where answers are counted.
    pub metrics: Arc<Metrics>,
    pub spans: Spans,
    /// Whether heartbeats go out in time.
    pub own_beat: Arc<OwnBeat>,
    /// For reading snapshots off the runtime.
    pub tasks: Tasks,
    /// How long a follower may take for entries and its fdatasync of them.
    pub append_timeout: Duration,
}

/// Makes clients.
pub(super) struct Network(pub Shared);

impl RaftNetworkFactory<TypeConfig> for Network {
    type Network = PeerClient;

    async fn new_client(&mut self, target: u64, node: &MemberNode) -> PeerClient {
        self.client(target, node, Purpose::Log)
    }

    async fn new_heartbeat_client(&mut self, target: u64, node: &MemberNode) -> PeerClient {
        self.client(target, node, Purpose::Heartbeat)
    }
}

impl Network {
    fn client(&self, target: u64, node: &MemberNode, purpose: Purpose) -> PeerClient {
        // Only openraft's test suite makes members without a name.
        let metrics = node.name.as_ref().map(|name| self.0.metrics.peer(name));
        PeerClient {
            shared: self.0.clone(),
            target: RaftId::new(target),
            url: node.url.clone(),
            purpose,
            metrics,
            name: node.name.clone(),
        }
    }
}

/// What a client's appends are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Log,
    Heartbeat,
}

/// One node's way to another.
pub(super) struct PeerClient {
    shared: Shared,
    target: RaftId,
    url: Option<NodeUrl>,
    purpose: Purpose,
    metrics: Option<Arc<PeerMetrics>>,
    name: Option<NodeName>,
}

impl PeerClient {
    fn count(&self, count: impl FnOnce(&PeerMetrics)) {
        if let Some(metrics) = &self.metrics {
            count(metrics);
        }
    }

    async fn call(&self, rpc: Rpc, body: &[u8], timeout: Duration) -> Result<Bytes, PeerError> {
        self.call_within(&Span::none(), rpc, body, timeout).await
    }

    async fn call_within(
        &self,
        span: &Span,
        rpc: Rpc,
        body: &[u8],
        timeout: Duration,
    ) -> Result<Bytes, PeerError> {
        let Some(url) = &self.url else {
            return Err(PeerError::Unreachable("the membership has no URL for it".to_owned()));
        };
        let body = envelope::seal(self.shared.me, self.target, body);
        let sealed = Message { rpc, body, trace: span.context() };
        self.shared.transport.call(url, sealed, timeout).await
    }

    fn encode(&self, request: &AppendEntriesRequest<TypeConfig>, now: Duration) -> Bytes {
        let term = Term::new(request.vote.leader_id.term);
        // Until an entry of its own term is committed a leader does not know all that is committed,
        // and its message must not make a follower look up to date.
        let commit = request.leader_commit.filter(|id| id.leader_id.term == term.get());
        let age = commit.and_then(|_| self.shared.acks.quorum_age(term, now));
        codec::encode_append(request, age)
    }

    async fn append(
        &self,
        request: AppendEntriesRequest<TypeConfig>,
    ) -> Result<AppendEntriesResponse<TypeConfig>, RPCError<TypeConfig>> {
        let sent = self.shared.clock.monotonic();
        let body = self.encode(&request, sent);
        let mut span = self.span(&request, sent);
        let inflight = self.metrics.as_ref().map(|metrics| metrics.inflight.hold());
        let timeout = self.shared.append_timeout;
        let answer = self.call_within(&span, Rpc::Replicate, &body, timeout).await;
        drop(inflight);
        let now = self.shared.clock.monotonic();
        if !matches!(answer, Err(PeerError::Unreachable(_))) {
            self.count(|metrics| metrics.entries.add(request.entries.len() as u64));
            self.count(|metrics| metrics.bytes.add(body.len() as u64));
        }
        let read = read(answer, codec::decode_append_response);
        let result = read.as_ref().map_or_else(ack_result, ack_of);
        // An append without entries only tells the commit index, and is answered without the disk.
        if !request.entries.is_empty() {
            self.count(|metrics| metrics.acks.increment(result));
        }
        span.set("bitacora.replication.result", result.as_str());
        let response = read.map_err(|error| {
            span.fail(error.to_string());
            rpc_error(&error)
        })?;
        if let Some(took) = self.report_durable(&request, &response, (sent, now)) {
            let exemplar = self.shared.spans.exemplar(&span);
            self.count(|metrics| metrics.ack_duration.observe_in(took, exemplar));
        }
        Ok(response)
    }

    fn span(&self, request: &AppendEntriesRequest<TypeConfig>, now: Duration) -> Span {
        let (Some(first), Some(last)) = (request.entries.first(), request.entries.last()) else {
            return Span::none();
        };
        let range = (Index::new(first.log_id.index), Index::new(last.log_id.index));
        self.shared.spans.sending(range, self.name.as_ref(), now)
    }

    /// Only an answer to entries speaks of the disk: an empty append is answered without one.
    /// Returns how long the follower took for it.
    fn report_durable(
        &self,
        request: &AppendEntriesRequest<TypeConfig>,
        response: &AppendEntriesResponse<TypeConfig>,
        (sent, now): (Duration, Duration),
    ) -> Option<Duration> {
        let last = request.entries.last()?;
        let durable = match response {
            AppendEntriesResponse::Success => Some(last.log_id),
            AppendEntriesResponse::PartialSuccess(upto) => *upto,
            AppendEntriesResponse::Conflict | AppendEntriesResponse::HigherVote(_) => None,
        };
        let durable = durable?;
        // The term is this leadership's: see `Acks::durable`.
        let term = Term::new(request.vote.leader_id.term);
        let upto = Position { term, index: Index::new(durable.index) };
        self.shared.acks.durable(self.target, upto, sent, now);
        let wall = self.shared.clock.wall_unix_ms();
        self.count(|metrics| metrics.last_ack.set_unix_ms(wall));
        Some(now.saturating_sub(sent))
    }

    async fn heartbeat(
        &self,
        request: AppendEntriesRequest<TypeConfig>,
        timeout: Duration,
    ) -> Result<AppendEntriesResponse<TypeConfig>, RPCError<TypeConfig>> {
        let sent = self.shared.clock.monotonic();
        self.count(|metrics| metrics.heartbeats_sent.increment());
        if self.shared.own_beat.is_late(Term::new(request.vote.leader_id.term), sent) {
            self.shared.metrics.raft.heartbeat_send_delays.increment();
        }
        let answer = self.call(Rpc::Heartbeat, &self.encode(&request, sent), timeout).await;
        let now = self.shared.clock.monotonic();
        let response = match read(answer, codec::decode_append_response) {
            Ok(response) => response,
            Err(error) => {
                self.count(|metrics| metrics.heartbeat_misses.increment(heartbeat_miss(&error)));
                return Err(rpc_error(&error));
            }
        };
        self.count(|metrics| metrics.heartbeat_rtt.observe(now.saturating_sub(sent)));
        if matches!(response, AppendEntriesResponse::HigherVote(_)) {
            self.count(|metrics| metrics.heartbeat_misses.increment(MissReason::HigherVote));
        } else {
            let term = Term::new(request.vote.leader_id.term);
            self.shared.acks.alive(self.target, term, sent);
        }
        Ok(response)
    }

    async fn ask_vote(
        &self,
        rpc: Rpc,
        request: &VoteRequest<TypeConfig>,
        timeout: Duration,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        let answer = self.call(rpc, &codec::encode_vote_request(request), timeout).await;
        read(answer, codec::decode_vote_response).map_err(|error| rpc_error(&error))
    }

    async fn send_snapshot(
        &self,
        vote: Vote,
        snapshot: Snapshot,
        timeout: Duration,
    ) -> Result<SnapshotResponse<TypeConfig>, PeerError> {
        let file = snapshot.snapshot;
        let total = file.length();
        let mut offset = 0;
        // Bounded: every chunk either goes on or begins anew, and beginning anew has its limit.
        let mut restarts = 0;
        loop {
            let of_thread = file.clone();
            let part = move || of_thread.read(offset, SNAPSHOT_CHUNK_BYTES);
            let read_part = self.shared.tasks.spawn_blocking("snapshot-read", part).await;
            let bytes = read_part.map_err(broken)?.map_err(broken)?;
            let end = offset.saturating_add(bytes.len() as u64);
            let meta = snapshot.meta.clone();
            let chunk = SnapshotChunk { vote, meta, offset, total, bytes };
            let answer = self.call(Rpc::Snapshot, &codec::encode_chunk(&chunk), timeout).await;
            let (response, next) = read(answer, codec::decode_chunk_response)?;
            let taken = next.min(end).saturating_sub(offset);
            self.shared.metrics.state.snapshot_sent_bytes.add(taken);
            if next >= total || response.vote > vote {
                return Ok(response);
            }
            if next != end {
                restarts += 1;
                if restarts > 8 {
                    return Err(broken("the receiver keeps beginning anew"));
                }
            }
            offset = next;
        }
    }
}

fn broken(why: impl std::fmt::Display) -> PeerError {
    PeerError::Broken(why.to_string())
}

fn read<T>(
    answer: Result<Bytes, PeerError>,
    decode: impl FnOnce(Bytes) -> Result<T, CodecError>,
) -> Result<T, PeerError> {
    let bytes = answer?;
    decode(bytes).map_err(|error| broken(format_args!("its answer cannot be read: {error}")))
}

/// Unreachable makes openraft wait before it tries again; the others are tried at once.
fn rpc_error(error: &PeerError) -> RPCError<TypeConfig> {
    match error {
        PeerError::Unreachable(_) | PeerError::Refused { .. } | PeerError::Timeout(_) => {
            RPCError::Unreachable(Unreachable::new(&AnyError::error(error.to_string())))
        }
        PeerError::Broken(_) => RPCError::Network(NetworkError::from_string(error)),
    }
}

fn ack_of(response: &AppendEntriesResponse<TypeConfig>) -> AckResult {
    match response {
        AppendEntriesResponse::Success | AppendEntriesResponse::PartialSuccess(_) => {
            AckResult::Success
        }
        AppendEntriesResponse::Conflict => AckResult::Conflict,
        AppendEntriesResponse::HigherVote(_) => AckResult::HigherVote,
    }
}

fn ack_result(error: &PeerError) -> AckResult {
    match error {
        PeerError::Timeout(_) => AckResult::Timeout,
        PeerError::Unreachable(_) | PeerError::Refused { .. } | PeerError::Broken(_) => {
            AckResult::Error
        }
    }
}

fn heartbeat_miss(error: &PeerError) -> MissReason {
    match error {
        PeerError::Timeout(_) => MissReason::Timeout,
        PeerError::Unreachable(_) => MissReason::Connect,
        PeerError::Refused { .. } | PeerError::Broken(_) => MissReason::Http,
    }
}

impl RaftNetworkV2<TypeConfig> for PeerClient {
    type SnapshotData = SnapshotFile;

    async fn append_entries(
        &mut self,
        request: AppendEntriesRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<AppendEntriesResponse<TypeConfig>, RPCError<TypeConfig>> {
        match self.purpose {
            Purpose::Log => self.append(request).await,
            Purpose::Heartbeat => self.heartbeat(request, option.hard_ttl()).await,
        }
    }

    async fn vote(
        &mut self,
        request: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        self.ask_vote(Rpc::Vote, &request, option.hard_ttl()).await
    }

    async fn pre_vote(
        &mut self,
        request: VoteRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<VoteResponse<TypeConfig>, RPCError<TypeConfig>> {
        self.ask_vote(Rpc::PreVote, &request, option.hard_ttl()).await
    }

    async fn full_snapshot(
        &mut self,
        vote: Vote,
        snapshot: Snapshot,
        cancel: impl Future<Output = ReplicationClosed> + OptionalSend + 'static,
        option: RPCOption,
    ) -> Result<SnapshotResponse<TypeConfig>, StreamingError<TypeConfig>> {
        let began = self.shared.clock.monotonic();
        let sending = self.send_snapshot(vote, snapshot, option.hard_ttl());
        // Dropping `sending` is safe: the receiver starts anew at the next offset 0.
        let sent = tokio::select! {
            sent = sending => sent,
            closed = cancel => return Err(StreamingError::Closed(closed)),
        };
        let result = OkOrError::of(&sent);
        let took = self.shared.clock.monotonic().saturating_sub(began);
        self.shared.metrics.state.snapshots.increment(SnapshotOp::Send, result);
        self.shared.metrics.state.snapshot_duration.observe(SnapshotOp::Send, took);
        sent.map_err(|error| {
            StreamingError::Unreachable(Unreachable::new(&AnyError::error(error.to_string())))
        })
    }

    async fn transfer_leader(
        &mut self,
        request: TransferLeaderRequest<TypeConfig>,
        option: RPCOption,
    ) -> Result<TransferResponse, RPCError<TypeConfig>> {
        let body = codec::encode_transfer(&request);
        match self.call(Rpc::TransferLeader, &body, option.hard_ttl()).await {
            Ok(_) => Ok(Ok(())),
            Err(error) => Err(rpc_error(&error)),
        }
    }
}
