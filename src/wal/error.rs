//! What can go wrong with the log, in words for whoever runs the node.
//!
//! Used by all of `wal` and by its callers. Every error can be cloned, because the first failure of
//! the disk is handed to each request that waits.
//!
//! # Not here
//! What the process does about it: `consensus` stops, the binary exits with code 74.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::types::Index;

/// Why a log operation failed or was refused.
#[derive(Debug, Clone, thiserror::Error)]
pub enum WalError {
    /// The disk refused. For a write or a sync this is final (W3).
    #[error("cannot {doing} {path}: {source}")]
    Io {
        /// What was tried, as a verb.
        doing: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The disk's own words.
        #[source]
        source: Arc<io::Error>,
    },
    /// An earlier write or sync failed, so nothing more is taken.
    #[error("the log stopped at its first disk failure: {first}")]
    Poisoned {
        /// The failure that stopped it.
        #[source]
        first: Arc<WalError>,
    },
    /// The log has been closed, or its writer is gone.
    #[error("the log is closed")]
    Closed,
    /// Too many requests wait for the disk. Nothing was queued.
    #[error("the log's queue is full")]
    Full,
    /// Entries must follow each other. Nothing was queued.
    #[error("expected the entry at index {expected}, found index {found}")]
    Gap {
        /// The index that comes next.
        expected: Index,
        /// The index that was given.
        found: Index,
    },
    /// The payload does not fit. Nothing was queued.
    #[error("a record of this log may have {limit} bytes, this one has {bytes}")]
    TooLarge {
        /// Length of the payload.
        bytes: u64,
        /// Longest allowed.
        limit: u64,
    },
    /// The entries asked for were given up.
    #[error("entries up to index {upto} are purged")]
    Purged {
        /// Last index that is gone.
        upto: Index,
    },
    /// The options make no sense.
    #[error("invalid log options: {0}")]
    Options(&'static str),
    /// Bytes that were acknowledged are damaged or gone.
    #[error(
        "the log is damaged in segment {segment} at byte {offset}{}: {damage}. This node's copy \
         cannot be trusted; the other nodes have the data. Do not delete or edit the log: stop \
         this node and replace it by a new one with an empty data directory",
        at_index(*index)
    )]
    Corrupt {
        /// Segment number, as in the file's name.
        segment: u64,
        /// Where in the file.
        offset: u64,
        /// The first entry that cannot be trusted, where known.
        index: Option<Index>,
        /// What is wrong.
        damage: Damage,
    },
    /// The file belongs to another node or cluster.
    #[error(
        "{file} belongs to {found}, this is {expected}: the data directories of two nodes have \
         been mixed up"
    )]
    Foreign {
        /// File name.
        file: String,
        /// Whose it is.
        found: String,
        /// Who we are.
        expected: String,
    },
    /// The file was written by a newer release.
    #[error("{file} has format version {found}, this release knows up to {known}")]
    Version {
        /// File name.
        file: String,
        /// Its version.
        found: u16,
        /// The newest we know.
        known: u16,
    },
    /// Something in the directory is not ours.
    #[error("unknown file {0:?} in the log's directory: move it elsewhere")]
    UnknownFile(String),
    /// A node that has run before has no log.
    #[error(
        "no log in {0}, though this node has run before: it has lost its memory of votes and must \
         be replaced by a new node"
    )]
    Missing(PathBuf),
}

impl WalError {
    /// Whether the files are not what they should be, so that opening them again will not help.
    pub fn is_damage(&self) -> bool {
        match self {
            Self::Corrupt { .. }
            | Self::Foreign { .. }
            | Self::Version { .. }
            | Self::UnknownFile(_)
            | Self::Missing(_) => true,
            Self::Io { .. }
            | Self::Poisoned { .. }
            | Self::Closed
            | Self::Full
            | Self::Gap { .. }
            | Self::TooLarge { .. }
            | Self::Purged { .. }
            | Self::Options(_) => false,
        }
    }

    pub(crate) fn io(doing: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io { doing, path: path.to_owned(), source: Arc::new(source) }
    }

    /// What requests get that come after the failure.
    pub(crate) fn poisoned(first: &Self) -> Self {
        match first {
            Self::Poisoned { .. } | Self::Closed => first.clone(),
            first => Self::Poisoned { first: Arc::new(first.clone()) },
        }
    }
}

fn at_index(index: Option<Index>) -> String {
    index.map_or(String::new(), |index| format!(" (entries from index {index} on)"))
}

/// What is wrong with a segment.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Damage {
    /// The first block does not validate.
    #[error("the file's header is unreadable")]
    Header,
    /// Files never change their length.
    #[error("the file has {found} bytes, expected {expected}")]
    Length {
        /// As the header says.
        expected: u64,
        /// As it is.
        found: u64,
    },
    /// The file was renamed or copied.
    #[error("the file's header says it is segment {0}")]
    Name(u64),
    /// Segment numbers are consecutive.
    #[error("the file of this segment is missing")]
    Absent,
    /// The files do not follow each other.
    #[error("it does not continue the segment before it")]
    Chain,
    /// Each batch validates but one was lost between them.
    #[error("a batch does not continue the one before it")]
    BatchChain,
    /// A bad batch that a later one declares durable.
    #[error("a bad batch is followed by one at byte {later} that was written after it was durable")]
    Rot {
        /// Where the later batch stands.
        later: u64,
    },
    /// Segments are closed by a seal before the next is used.
    #[error("it ends without a seal though the next segment has been written to")]
    Unsealed,
    /// Older segments are only dropped once this one repeats their state.
    #[error("the oldest segment has no valid batch")]
    NoState,
    /// The batch validates but its records make no sense.
    #[error("{0}")]
    Records(&'static str),
    /// A record does not validate on reading.
    #[error("the entry's checksum is wrong")]
    Entry,
    /// No file has this entry.
    #[error("the entry is in none of the files")]
    EntryAbsent,
}
