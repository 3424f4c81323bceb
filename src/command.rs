//! The replicated language: what can be asked of the cluster and what can be answered.
//!
//! A [`Command`] travels inside a [`Proposal`] through the log to every node; `state` turns it into
//! an [`Outcome`]. A rejection is an outcome, decided alike on every node, not an error.
//!
//! # Not here
//! How it is stored, replicated or applied; HTTP.

mod codec;

pub use codec::{DecodeError, decode_proposal, encode_proposal};

use crate::types::{Index, Key, NodeName, Value};

/// A command with what its leader stamped on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proposal {
    /// The leader's wall clock in milliseconds since 1970: data to show, never to decide by.
    pub wall_unix_ms: u64,
    /// The node that put it into the log.
    pub origin: NodeName,
    /// What is asked.
    pub command: Command,
}

/// What can be asked of the cluster. Operations are never redefined, only added.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// `POST /write`: sets every pair, in order, as one.
    Write {
        /// Pairs in the order in which they were given; of equal keys the last one stays.
        pairs: Vec<(Key, Value)>,
    },
    /// Sets one key.
    Put {
        /// Which key.
        key: Key,
        /// Its new value.
        value: Value,
        /// Only if this holds.
        precondition: Precondition,
    },
    /// Removes one key.
    Delete {
        /// Which key.
        key: Key,
        /// Only if this holds.
        precondition: Precondition,
    },
}

/// What must be true of a key for a command to change it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Precondition {
    /// Nothing.
    #[default]
    None,
    /// The key is not there (`If-None-Match: *`).
    Absent,
    /// The key is there, with any value (`If-Match: *`).
    Present,
    /// The key was last changed at this index (`If-Match: "42"`).
    ModifiedAt(Index),
}

/// What a command did, the same on every node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// `Write` set this many pairs.
    Written {
        /// Number of pairs.
        pairs: u32,
    },
    /// `Put` set the key.
    Put {
        /// The index of the change before, if the key was there.
        previous: Option<Index>,
    },
    /// `Delete` removed the key, or found nothing to remove.
    Deleted {
        /// The index of the last change, if the key was there.
        previous: Option<Index>,
    },
    /// The precondition did not hold; nothing changed.
    Rejected(Rejection),
    /// The entry carried no command (a new leader's first entry, a membership).
    Nothing,
}

/// Why a command changed nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rejection {
    /// The key's last change is not the expected one.
    PreconditionFailed {
        /// The index of the key's last change, `None` if it is not there.
        actual: Option<Index>,
    },
}
