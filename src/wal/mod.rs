//! Segmented write-ahead log: bytes in, bytes out, in order, durable when a callback says so.
//!
//! Used by `consensus` through [`Handle`]; uses [`crate::os`]. Blocking and single-threaded at
//! heart: [`Writer`] turns a batch of requests into one write and one sync. In production
//! [`thread`] drives it; a simulation drives the same code with a task.
//!
//! ```text
//! Handle ── Request ──► Queue ──► Writer ── one write, one sync ──► segment file
//!   │  shows at once                 │ callbacks, then news of what is durable
//!   └────────────► View ◄────────────┘
//! ```
//!
//! # Invariants
//! - W1 `purged < first <= last`, and the purge frontier never goes back.
//! - W2 Indexes are consecutive: no gap, no overwriting except after `truncate_after`.
//! - W3 After one failed write or sync, nothing is written again and every request fails with the
//!   same cause: the kernel may have dropped the pages that it could not write.
//! - W4 Each request is answered exactly once, and with `Ok` only after its bytes are durable.
//! - W5 A segment's name appears only after its header is durable; its length never changes.
//! - W6 Indexes inside a segment are consecutive.
//! - W7 An entry leaves memory only when it is durable and the map knows where it stands.
//! - W8 Requests are queued in the order in which they show.
//! - W9 The purge frontier is durable before a segment file goes, and files go oldest first.
//! - W10 Before `open` returns, all that it found is durable: after a kill the bytes may only be in
//!   the page cache, and from now on they count as acknowledged.
//!
//! # Crash behaviour
//! The first bad batch of the last segment is a *torn tail* and cut, unless a later batch declares
//! it durable; then it is *corruption*, and the log refuses to open. What remains ambiguous, as in
//! any log: rot of exactly the last durable batch before anything was written after it, followed
//! by a crash. The marker that the writer adds 50 ms after the last batch ends that window, and a
//! clean stop always leaves one.
//!
//! # Not here
//! Terms, what votes mean, what payloads mean, who waits for durability.

#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects, clippy::indexing_slicing))]

mod content;
mod error;
mod format;
mod inspect;
mod recovery;
mod request;
mod scan;
mod segment;
pub mod thread;
mod view;
mod writer;

pub use error::{Damage, WalError};
pub use inspect::{Report, SegmentReport, Verdict, inspect};
pub use recovery::{Opened, Recovered, Torn, open};
pub use request::{Done, Queue, Refused, Request, Slot};
pub use view::{Bounds, Handle, Log, SLOT_MAX_BYTES};
pub use writer::Writer;

use std::time::Duration;

use crate::types::{ClusterId, Index, RaftId};

/// Smallest segment, for tests.
pub const SEGMENT_MIN_BYTES: u64 = 8 * 1024;
/// Largest segment: offsets fit 32 bits with room to spare.
pub const SEGMENT_MAX_BYTES: u64 = 1 << 30;

/// How a log is opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Length of new segment files in bytes; a multiple of 4096. Files of another length that are
    /// there stay in use.
    pub segment_size_bytes: u64,
    /// Newest payload bytes kept in memory. Entries that are not durable are kept in any case.
    pub cache_bytes: u64,
    /// Whose log it is.
    pub cluster: ClusterId,
    /// Which node's.
    pub node: RaftId,
    /// Random number from which the segments' salts are made.
    pub salt_seed: u64,
    /// Whether the log may be absent.
    pub presence: Presence,
}

/// Whether a log may be founded when none is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// A new node: an empty directory becomes an empty log.
    MayBeNew,
    /// A node that has run before: an empty directory means that its votes are lost.
    MustExist,
}

impl Options {
    fn check(&self) -> Result<(), WalError> {
        let size = self.segment_size_bytes;
        if !(SEGMENT_MIN_BYTES..=SEGMENT_MAX_BYTES).contains(&size) {
            return Err(WalError::Options("a segment has 8 KiB to 1 GiB"));
        }
        if !size.is_multiple_of(4096) {
            return Err(WalError::Options("the length of a segment is a multiple of 4096"));
        }
        Ok(())
    }

    /// The salt of a segment: different for each, and unknown to whoever fills the log.
    fn salt(&self, segment: u64) -> u64 {
        let mut mixed = self.salt_seed ^ segment.wrapping_mul(0x9E37_79B9_7F4A_7C15);
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }
}

/// One write and sync, for the metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Synced {
    /// When the write began, on the clock that the log was opened with.
    pub began: Duration,
    /// How long the write took, before the sync.
    pub write: Duration,
    /// How long the sync took.
    pub sync: Duration,
    /// The last index that is durable now.
    pub upto: Option<Index>,
    /// Bytes written.
    pub bytes: u64,
    /// Requests answered by it.
    pub requests: usize,
    /// Entries in it.
    pub entries: usize,
}

/// Hears what the writer does. Called on its thread; must be quick.
pub trait Observer: Send + Sync + 'static {
    /// A batch is durable.
    fn synced(&self, _synced: Synced) {}
    /// The log goes on in this segment.
    fn rolled(&self, _segment: u64) {}
    /// This segment was given up after a purge.
    fn retired(&self, _segment: u64) {}
    /// No spare segment could be prepared ahead of time; the writer will make its own.
    fn spare_failed(&self, _error: &WalError) {}
    /// The log has stopped for good.
    fn failed(&self, _first: &WalError) {}
}

/// Hears nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoObserver;

impl Observer for NoObserver {}
