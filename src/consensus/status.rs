//! How a node stands in the consensus, in this program's words.

use std::sync::{Arc, Mutex, PoisonError};

use openraft::{Instant, RaftMetrics, ServerState};

use super::raft_types::{LogId, MemberNode, StoredMembership, TypeConfig};
use crate::types::{Index, NodeName, NodeUrl, RaftId, Term};

/// What a node does at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Orders the proposals.
    Leader,
    /// Follows a leader, or waits for one.
    Follower,
    /// Asks for votes.
    Candidate,
    /// Receives the log but does not vote.
    Learner,
}

impl Role {
    /// The role's name in the API and in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Leader => "leader",
            Self::Follower => "follower",
            Self::Candidate => "candidate",
            Self::Learner => "learner",
        }
    }
}

/// A member of the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its id.
    pub node: RaftId,
    /// Its name.
    pub name: NodeName,
    /// Where it is reached.
    pub url: NodeUrl,
    /// Whether it votes.
    pub is_voter: bool,
}

/// The members of one membership, ordered by name. Shared: a status is made for every request.
pub type Members = Arc<[Arc<Member>]>;

/// How a node stands.
#[derive(Debug, Clone)]
pub struct Status {
    /// Its term.
    pub term: Term,
    /// What it does.
    pub role: Role,
    /// Who leads, as far as it knows.
    pub leader: Option<RaftId>,
    /// The last index in its log.
    pub last: Option<Index>,
    /// The last index known to be committed here.
    pub committed: Option<Index>,
    /// The last index committed by a majority, as the leader last told.
    pub cluster_committed: Option<Index>,
    /// The last index applied here.
    pub applied: Option<Index>,
    /// The last index in its newest snapshot.
    pub snapshot: Option<Index>,
    /// On a leader: how long ago a majority last answered.
    pub quorum_age: Option<std::time::Duration>,
    /// The members.
    pub members: Members,
}

impl Status {
    pub(super) fn of(metrics: &RaftMetrics<TypeConfig>, members: Members) -> Self {
        let role = match metrics.state {
            ServerState::Leader => Role::Leader,
            ServerState::Candidate => Role::Candidate,
            ServerState::Learner => Role::Learner,
            ServerState::Follower | ServerState::Shutdown => Role::Follower,
        };
        let index = |id: &Option<LogId>| id.map(|id| Index::new(id.index));
        Self {
            term: Term::new(metrics.current_term),
            role,
            leader: metrics.current_leader.map(RaftId::new),
            last: metrics.last_log_index.map(Index::new),
            committed: index(&metrics.local_committed),
            cluster_committed: index(&metrics.cluster_committed),
            applied: index(&metrics.last_applied),
            snapshot: index(&metrics.snapshot),
            quorum_age: metrics.last_quorum_acked.map(|at| at.elapsed()),
            members,
        }
    }

    /// The member with this id.
    pub fn member(&self, node: RaftId) -> Option<&Arc<Member>> {
        self.members.iter().find(|member| member.node == node)
    }

    /// The leader, if it is known.
    pub fn leader(&self) -> Option<&Arc<Member>> {
        self.member(self.leader?)
    }

    /// Number of voters.
    pub fn voters(&self) -> usize {
        self.members.iter().filter(|member| member.is_voter).count()
    }

    /// How many voters are a majority.
    pub fn quorum(&self) -> usize {
        self.voters() / 2 + 1
    }
}

/// The members of the newest membership that was asked for.
#[derive(Default)]
pub(super) struct MembersCache(Mutex<Option<(Arc<StoredMembership>, Members)>>);

impl MembersCache {
    /// The members of `membership`; made anew only when it is another one.
    pub(super) fn of(&self, membership: &Arc<StoredMembership>) -> Members {
        let mut cache = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &*cache {
            Some((known, members)) if Arc::ptr_eq(known, membership) => members.clone(),
            _ => {
                let members = members(membership);
                *cache = Some((membership.clone(), members.clone()));
                members
            }
        }
    }
}

fn members(membership: &StoredMembership) -> Members {
    let voters: Vec<u64> = membership.voter_ids().collect();
    let member = |(id, node): (&u64, &MemberNode)| {
        Some(Arc::new(Member {
            node: RaftId::new(*id),
            name: node.name.clone()?,
            url: node.url.clone()?,
            is_voter: voters.contains(id),
        }))
    };
    let mut members: Vec<_> = membership.nodes().filter_map(member).collect();
    members.sort_by(|a, b| a.name.cmp(&b.name));
    members.into()
}
