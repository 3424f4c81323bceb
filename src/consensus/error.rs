//! What `consensus` could not do, and what that proves.
//!
//! Nothing that openraft returns from `client_write` proves that a proposal was not proposed, not
//! even that this node does not lead: the entry may be in the log and be committed later. So every
//! such error is [`ProposeError::Unknown`]. Refusals before the call belong to `store`.

use std::io;

use openraft::errors::{ClientWriteError, LinearizableReadError, RaftError};

use super::codec::CodecError;
use super::identity::IdentityError;
use super::raft_types::TypeConfig;
pub use crate::wal::WalError;

/// Why consensus could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The log is damaged, foreign, or the disk failed.
    #[error(transparent)]
    Wal(#[from] WalError),
    /// The identity is damaged, or the disk failed.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The disk failed elsewhere.
    #[error("the disk failed: {0}")]
    Io(#[from] io::Error),
    /// A snapshot is damaged.
    #[error("the snapshot {file} is damaged: {why}")]
    Snapshot {
        /// The file.
        file: String,
        /// What is wrong with it.
        why: String,
    },
    /// The timing options do not fit together.
    #[error("the timing options do not fit together: {0}")]
    Config(String),
    /// openraft would not start.
    #[error("consensus could not start: {0}")]
    Raft(String),
}

/// What is known of a proposal that got no outcome.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// It may be in the log and may be applied later.
    #[error("the proposal's fate is not known: {0}")]
    Unknown(String),
    /// It does not fit into the log. It was not handed to openraft: nothing happened.
    #[error("an entry of {bytes} bytes does not fit into the log, which takes {limit}")]
    TooLarge {
        /// Its length.
        bytes: u64,
        /// The longest allowed.
        limit: u64,
    },
    /// Consensus has stopped; the node is about to end.
    #[error("consensus has stopped: {0}")]
    Stopped(String),
}

impl From<RaftError<TypeConfig, ClientWriteError<TypeConfig>>> for ProposeError {
    fn from(error: RaftError<TypeConfig, ClientWriteError<TypeConfig>>) -> Self {
        match error {
            RaftError::Fatal(fatal) => Self::Stopped(fatal.to_string()),
            RaftError::APIError(
                error @ (ClientWriteError::ForwardToLeader(_)
                | ClientWriteError::LogEntryDiscarded(_)
                | ClientWriteError::ChangeMembershipError(_)
                | ClientWriteError::PreconditionFailed(_)),
            ) => Self::Unknown(error.to_string()),
        }
    }
}

/// Why a read could not be made linearizable. Reads change nothing, so trying again is safe.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BarrierError {
    /// This node does not lead.
    #[error("this node does not lead")]
    NotLeader,
    /// A majority did not confirm this node's leadership.
    #[error("no majority confirmed the leadership: {0}")]
    NoQuorum(String),
    /// Consensus has stopped; the node is about to end.
    #[error("consensus has stopped: {0}")]
    Stopped(String),
}

impl From<RaftError<TypeConfig, LinearizableReadError<TypeConfig>>> for BarrierError {
    fn from(error: RaftError<TypeConfig, LinearizableReadError<TypeConfig>>) -> Self {
        match error {
            RaftError::Fatal(fatal) => Self::Stopped(fatal.to_string()),
            RaftError::APIError(LinearizableReadError::ForwardToLeader(_)) => Self::NotLeader,
            RaftError::APIError(LinearizableReadError::QuorumNotEnough(error)) => {
                Self::NoQuorum(error.to_string())
            }
        }
    }
}

/// Why entries cannot be read from the log.
#[derive(Debug, thiserror::Error)]
pub enum ReadLogError {
    /// They were trimmed; the log begins later.
    #[error("the log begins at index {first}")]
    Trimmed {
        /// The first index that is left.
        first: crate::types::Index,
    },
    /// The log is damaged or the disk failed.
    #[error(transparent)]
    Wal(#[from] WalError),
    /// An entry is not what it should be.
    #[error("an entry cannot be decoded: {0}")]
    Codec(#[from] CodecError),
    /// A proposal is not what it should be.
    #[error("a proposal cannot be decoded: {0}")]
    Proposal(#[from] crate::command::DecodeError),
    /// The node is stopping.
    #[error("the node is stopping")]
    Stopping,
}
