//! Node to node: which messages there are, in what envelope they travel, and the door to the wire.
//!
//! `consensus` makes and reads the bodies; here they are opaque. [`Transport`] is the seam: real
//! nodes use HTTP ([`client`]; `api::peers` receives), a simulation its own network.
//!
//! # Invariants
//! - P1 A message for another cluster or another node is refused before anyone reads its body.
//! - P2 Every call has a deadline.
//!
//! # Not here
//! Raft, entries, votes.

pub mod client;
pub mod envelope;
pub mod inbox;
pub mod proxy;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;

use crate::telemetry::TraceContext;
use crate::types::{NodeUrl, RaftId};

/// A future that may move between threads.
pub type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// A kind of message between nodes; each has a path of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rpc {
    /// Entries for the receiver's log.
    Replicate,
    /// The leader lives; also a probe before a linearizable read.
    Heartbeat,
    /// A candidate asks for a vote.
    Vote,
    /// A node asks whether it would be voted for, before it disturbs anyone.
    PreVote,
    /// A part of a snapshot.
    Snapshot,
    /// The leader asks the receiver to take over.
    TransferLeader,
    /// The founding of a cluster: the only message without an envelope.
    Found,
}

impl Rpc {
    /// Every kind.
    pub const ALL: [Self; 7] = [
        Self::Replicate,
        Self::Heartbeat,
        Self::Vote,
        Self::PreVote,
        Self::Snapshot,
        Self::TransferLeader,
        Self::Found,
    ];

    /// Where it is posted.
    pub const fn path(self) -> &'static str {
        match self {
            Self::Replicate => "/replicate",
            Self::Heartbeat => "/heartbeat",
            Self::Vote => "/vote",
            Self::PreVote => "/pre-vote",
            Self::Snapshot => "/snapshot",
            Self::TransferLeader => "/transfer-leader",
            Self::Found => "/found",
        }
    }

    /// Which connection carries it: a heartbeat never waits behind entries or a snapshot.
    pub const fn lane(self) -> Lane {
        match self {
            Self::Replicate => Lane::Log,
            Self::Heartbeat | Self::Vote | Self::PreVote | Self::TransferLeader | Self::Found => {
                Lane::Control
            }
            Self::Snapshot => Lane::Snapshot,
        }
    }
}

/// A connection to a peer that is not shared with other kinds of messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lane {
    /// Entries.
    Log,
    /// Heartbeats, votes.
    Control,
    /// Snapshots.
    Snapshot,
}

/// A message to a node or from one.
#[derive(Debug, Clone)]
pub struct Message {
    /// Its kind.
    pub rpc: Rpc,
    /// What it says.
    pub body: Bytes,
    /// The span that it is part of, if that is recorded.
    pub trace: Option<TraceContext>,
}

impl Message {
    /// One that is part of no trace.
    pub const fn new(rpc: Rpc, body: Bytes) -> Self {
        Self { rpc, body, trace: None }
    }
}

/// Carries a message to a node and its answer back.
pub trait Transport: Send + Sync + 'static {
    /// Sends a message and waits for the answer, at most `timeout`.
    ///
    /// After an error the receiver may or may not have acted, unless it is
    /// [`PeerError::Unreachable`] or [`PeerError::Refused`].
    fn call(
        &self,
        to: &NodeUrl,
        message: Message,
        timeout: Duration,
    ) -> BoxFuture<Result<Bytes, PeerError>>;
}

/// Answers messages from peers. Built into the server by `node`.
pub trait Handler: Send + Sync + 'static {
    /// Answers one message whose envelope was right, with who says to have sent it. Its body is
    /// what was inside.
    fn handle(&self, from: RaftId, message: Message) -> BoxFuture<Result<Bytes, Refusal>>;

    /// What [`Rpc::Found`] does here.
    fn found(&self, body: Bytes) -> BoxFuture<Result<Bytes, Refusal>>;
}

/// Answers for a node that belongs to a cluster and is still reading its log.
pub struct NotReadyYet;

impl NotReadyYet {
    fn refuse() -> BoxFuture<Result<Bytes, Refusal>> {
        let refusal = Refusal::new(RefusalReason::NotReady, "this node is still starting");
        Box::pin(std::future::ready(Err(refusal)))
    }
}

impl Handler for NotReadyYet {
    fn handle(&self, _: RaftId, _: Message) -> BoxFuture<Result<Bytes, Refusal>> {
        Self::refuse()
    }

    fn found(&self, _: Bytes) -> BoxFuture<Result<Bytes, Refusal>> {
        Self::refuse()
    }
}

/// Why a message was not answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// What kind of reason.
    pub reason: RefusalReason,
    /// For the one who reads the sender's log.
    pub detail: String,
}

impl Refusal {
    /// A refusal with its explanation.
    pub fn new(reason: RefusalReason, detail: impl fmt::Display) -> Self {
        Self { reason, detail: detail.to_string() }
    }
}

/// The kinds of refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusalReason {
    /// Not a message of ours, or cut off.
    Malformed,
    /// From or for another cluster.
    WrongCluster,
    /// For another node.
    WrongNode,
    /// This node cannot answer now.
    NotReady,
}

/// Why a call to a peer failed. The caller knows whom it called.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PeerError {
    /// No connection: the peer has seen nothing.
    #[error("cannot connect: {0}")]
    Unreachable(String),
    /// The peer answered that it will not act; `code` as in the API's errors.
    #[error("refused with {status} {code}: {detail}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// The machine-readable reason.
        code: String,
        /// The explanation.
        detail: String,
    },
    /// No answer in time.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// The connection broke, or the answer makes no sense.
    #[error("the exchange broke off: {0}")]
    Broken(String),
}
