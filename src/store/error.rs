//! What a caller may conclude when it did not get what it asked for.
//!
//! A refused precondition is here too: the cluster decided it (an `Outcome`), and the API shows it
//! as an error. [`StoreError::outcome`] is the promise that this project is about.

use std::time::Duration;

use super::Receipt;
use crate::types::Index;

/// What became of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteOutcome {
    /// Proven: nothing happened and nothing will. Safe to send again as new.
    NotApplied,
    /// It may have happened or may happen yet.
    Unknown,
    /// It happened, but not all of what was asked beside it.
    Applied,
}

impl WriteOutcome {
    /// The word in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotApplied => "not_applied",
            Self::Unknown => "unknown",
            Self::Applied => "applied",
        }
    }
}

/// Machine-readable reasons. Closed: the API's contract lists every one (`docs/api.md`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorCode {
    /// `acks=` is below a majority or above the voters.
    BadAcks,
    /// The body is not JSON.
    BadJson,
    /// The key breaks its rules.
    BadKey,
    /// A query parameter or header has a value that means nothing.
    BadParameter,
    /// A message between nodes that is none.
    BadPeerMessage,
    /// The request cannot be read.
    BadRequest,
    /// The body did not come in time.
    BodyTimeout,
    /// The body is over the limit.
    BodyTooLarge,
    /// A bug or a failing disk.
    Internal,
    /// There is no such key.
    KeyNotFound,
    /// The key is over the limit.
    KeyTooLarge,
    /// The log does not have that index any more.
    LogTrimmed,
    /// The route exists, but not for this method.
    MethodNotAllowed,
    /// Nobody leads.
    NoLeader,
    /// The leader has lost its majority.
    NoQuorum,
    /// There is no such route.
    NoSuchRoute,
    /// The JSON is not an object.
    NotAnObject,
    /// Another node leads and the caller asked not to be forwarded.
    NotLeader,
    /// This node cannot serve yet.
    NotReady,
    /// Too much is in flight.
    Overloaded,
    /// The key's last change is another one.
    PreconditionFailed,
    /// The node is going down.
    ShuttingDown,
    /// No answer in time.
    Timeout,
    /// The value is over the limit.
    ValueTooLarge,
    /// A message for another cluster.
    WrongCluster,
    /// A message for another node.
    WrongNode,
}

impl ErrorCode {
    /// The word in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BadAcks => "bad_acks",
            Self::BadJson => "bad_json",
            Self::BadKey => "bad_key",
            Self::BadParameter => "bad_parameter",
            Self::BadPeerMessage => "bad_peer_message",
            Self::BadRequest => "bad_request",
            Self::BodyTimeout => "body_timeout",
            Self::BodyTooLarge => "body_too_large",
            Self::Internal => "internal",
            Self::KeyNotFound => "key_not_found",
            Self::KeyTooLarge => "key_too_large",
            Self::LogTrimmed => "log_trimmed",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::NoLeader => "no_leader",
            Self::NoQuorum => "no_quorum",
            Self::NoSuchRoute => "no_such_route",
            Self::NotAnObject => "not_an_object",
            Self::NotLeader => "not_leader",
            Self::NotReady => "not_ready",
            Self::Overloaded => "overloaded",
            Self::PreconditionFailed => "precondition_failed",
            Self::ShuttingDown => "shutting_down",
            Self::Timeout => "timeout",
            Self::ValueTooLarge => "value_too_large",
            Self::WrongCluster => "wrong_cluster",
            Self::WrongNode => "wrong_node",
        }
    }
}

/// Why a use case did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// No leader was known until the deadline.
    #[error("no leader was found in time; a majority of the nodes must be up and reach each other")]
    NoLeader,
    /// This node leads but no majority answers it.
    #[error("the leader cannot reach a majority of the nodes; bring the others back")]
    NoQuorum,
    /// Another node leads.
    #[error("this node does not lead")]
    NotLeader,
    /// Too many writes, or bytes of writes, are in flight.
    #[error("too many writes are in flight on this node ({what}); slow down and try again")]
    Overloaded {
        /// Which limit.
        what: &'static str,
    },
    /// The node is going down.
    #[error("this node is shutting down; ask another one")]
    ShuttingDown,
    /// `acks=` is below a majority or above the voters.
    #[error(
        "acks={wanted} is not possible: with {voters} voters it is at least {quorum} (a \
         majority) and at most {voters}"
    )]
    BadAcks {
        /// What was asked.
        wanted: u64,
        /// A majority.
        quorum: usize,
        /// All.
        voters: usize,
    },
    /// The entry does not fit into the log; nothing was proposed.
    #[error("the write has {bytes} bytes in the log, which takes at most {limit}; split it")]
    TooLarge {
        /// Its length.
        bytes: u64,
        /// The longest allowed.
        limit: u64,
    },
    /// The proposal was handed to consensus and its fate is not known.
    #[error(
        "the write was proposed and no outcome came in time: {why}. Read the key to see whether \
         it took effect before you send it again"
    )]
    Unknown {
        /// What is known.
        why: String,
    },
    /// The write is applied, but fewer nodes than asked have it on disk.
    #[error(
        "the write is applied and on the disks of a majority, but not yet on as many as acks= \
         asked for; there is no need to send it again"
    )]
    AcksMissing {
        /// Who has it so far.
        receipt: Box<Receipt>,
    },
    /// A read could not be confirmed in time. Reads change nothing.
    #[error(
        "the read could not be confirmed in time: {why}; try again, or ask with consistency=stale"
    )]
    ReadTimeout {
        /// What is known.
        why: String,
    },
    /// The key's last change is another one.
    #[error(
        "the key's last change is {}, which is not what the precondition says",
        show(.actual.as_ref())
    )]
    PreconditionFailed {
        /// The last change; `None` when the key is not there.
        actual: Option<Index>,
    },
    /// There is no such key.
    #[error("there is no such key")]
    KeyNotFound,
    /// The log does not have that index any more.
    #[error(
        "the log of this node begins at index {first}; read the present state with GET /v1/kv, \
         then follow the log from there"
    )]
    LogTrimmed {
        /// The first index that is left.
        first: Index,
    },
    /// A bug or a failing disk.
    #[error("something inside is broken: {why}")]
    Internal {
        /// What is known.
        why: String,
    },
}

fn show(index: Option<&Index>) -> String {
    index.map_or_else(|| "none (it is not there)".to_owned(), |i| format!("index {i}"))
}

impl StoreError {
    /// The machine-readable reason.
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::NoLeader => ErrorCode::NoLeader,
            Self::NoQuorum => ErrorCode::NoQuorum,
            Self::NotLeader => ErrorCode::NotLeader,
            Self::Overloaded { .. } => ErrorCode::Overloaded,
            Self::ShuttingDown => ErrorCode::ShuttingDown,
            Self::BadAcks { .. } => ErrorCode::BadAcks,
            Self::TooLarge { .. } => ErrorCode::BodyTooLarge,
            Self::Unknown { .. } | Self::AcksMissing { .. } | Self::ReadTimeout { .. } => {
                ErrorCode::Timeout
            }
            Self::PreconditionFailed { .. } => ErrorCode::PreconditionFailed,
            Self::KeyNotFound => ErrorCode::KeyNotFound,
            Self::LogTrimmed { .. } => ErrorCode::LogTrimmed,
            Self::Internal { .. } => ErrorCode::Internal,
        }
    }

    /// What became of the write, if it was one.
    pub const fn outcome(&self) -> WriteOutcome {
        match self {
            Self::NoLeader
            | Self::NoQuorum
            | Self::NotLeader
            | Self::Overloaded { .. }
            | Self::ShuttingDown
            | Self::BadAcks { .. }
            | Self::TooLarge { .. }
            | Self::PreconditionFailed { .. }
            | Self::KeyNotFound
            | Self::LogTrimmed { .. }
            | Self::ReadTimeout { .. } => WriteOutcome::NotApplied,
            Self::Unknown { .. } | Self::Internal { .. } => WriteOutcome::Unknown,
            Self::AcksMissing { .. } => WriteOutcome::Applied,
        }
    }

    /// When it makes sense to try again.
    pub const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::NoLeader | Self::NoQuorum | Self::NotLeader | Self::ShuttingDown => {
                Some(Duration::from_secs(1))
            }
            Self::Overloaded { .. } => Some(Duration::from_millis(100)),
            _ => None,
        }
    }
}
