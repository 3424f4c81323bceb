//! openraft's type parameters, chosen once.
//!
//! `LeaderId` is the standard one: at most one leader in a term, and an entry carries its term.

use std::fmt;

use bytes::Bytes;

use crate::command::Outcome;
use crate::telemetry::TraceContext;
use crate::types::{NodeName, NodeUrl};

openraft::declare_raft_types!(
    /// The types that our raft works with.
    pub TypeConfig:
        D = Payload,
        R = Outcome,
        Node = MemberNode,
        LeaderId = openraft::impls::leader_id_std::LeaderId<Self::Term, Self::NodeId>,
);

pub(super) type Entry = openraft::alias::EntryOf<TypeConfig>;
pub(super) type LogId = openraft::alias::LogIdOf<TypeConfig>;
pub(super) type Vote = openraft::alias::VoteOf<TypeConfig>;
pub(super) type LeaderId = openraft::alias::LeaderIdOf<TypeConfig>;
pub(super) type CommittedLeaderId = openraft::alias::CommittedLeaderIdOf<TypeConfig>;
pub(super) type Membership = openraft::Membership<u64, MemberNode>;
pub(super) type StoredMembership = openraft::alias::StoredMembershipOf<TypeConfig>;
pub(super) type SnapshotMeta = openraft::alias::SnapshotMetaOf<TypeConfig>;
pub(super) type Raft = openraft::Raft<TypeConfig, super::state_machine::StateMachine>;

pub(super) fn log_id(term: u64, index: u64) -> LogId {
    LogId { leader_id: CommittedLeaderId::new(term), index }
}

/// An encoded proposal, as it stands in the log.
#[derive(Clone, PartialEq, Eq)]
pub struct Payload {
    /// What stands in the log. Only `state_machine` looks inside.
    pub bytes: Bytes,
    /// On the node that proposed it, if it is recorded: neither stored nor sent.
    pub trace: Option<Box<TraceContext>>,
}

impl From<Bytes> for Payload {
    fn from(bytes: Bytes) -> Self {
        Self { bytes, trace: None }
    }
}

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Payload({} bytes)", self.bytes.len())
    }
}

impl fmt::Display for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.bytes.len())
    }
}

/// What the membership says of a node.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MemberNode {
    /// Its name; `None` only in openraft's own test suite.
    pub name: Option<NodeName>,
    /// Where it is reached.
    pub url: Option<NodeUrl>,
}
