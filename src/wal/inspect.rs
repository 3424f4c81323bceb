//! A look at a stopped node's log for `bitacora check`. Reads only; repairs nothing.
//!
//! Goes by the identity in the files' own headers, and judges with the code of [`super::open`].

use std::path::Path;

use super::error::{Damage, WalError};
use super::scan::{Listing, Loaded, Scan, Walk, remains};
use super::segment::Map;
use super::segment::Segment;
use crate::os::disk::{Disk, Open};
use crate::types::{ClusterId, Index, RaftId};

/// What stands in a log.
#[derive(Debug, Clone)]
pub struct Report {
    /// Whose log it is, by its oldest segment.
    pub owner: Option<(ClusterId, RaftId)>,
    /// The segments that could be read, oldest first.
    pub segments: Vec<SegmentReport>,
    /// The whole log's verdict.
    pub verdict: Verdict,
    /// Last purged index.
    pub purged: Option<Index>,
    /// First entry.
    pub first: Option<Index>,
    /// Last entry.
    pub last: Option<Index>,
    /// Whether a vote was saved.
    pub has_vote: bool,
    /// Whether a committed hint was saved.
    pub has_committed: bool,
    /// Spare files.
    pub spares: usize,
    /// Left-over temporary files; they are removed at the next start.
    pub temporary: Vec<String>,
}

/// One segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentReport {
    /// Segment number.
    pub id: u64,
    /// Lowest entry first written here; it may have been truncated or purged since.
    pub first: Option<Index>,
    /// Entry last written here.
    pub last: Option<Index>,
    /// Valid batches, without the seal.
    pub batches: u64,
    /// Bytes up to the end of the last valid batch.
    pub used_bytes: u64,
    /// Length of the file.
    pub size_bytes: u64,
    /// Whether the next segment continues it.
    pub sealed: bool,
}

/// What opening the log would say.
#[derive(Debug, Clone)]
pub enum Verdict {
    /// It opens and nothing is cut.
    Clean,
    /// It opens after a torn write is cut, which nobody was told was durable.
    TornTail {
        /// Segment number.
        segment: u64,
        /// Where the torn write begins.
        offset: u64,
        /// Bytes given up, as far as can be told.
        bytes: u64,
    },
    /// It does not open.
    Refused(WalError),
}

/// Reads the whole log of a stopped node.
///
/// # Errors
/// The directory cannot be listed, or has a file that is not ours. Damage is in the report.
pub fn inspect(disk: &dyn Disk, dir: &Path) -> Result<Report, WalError> {
    let listing = Listing::read(disk, dir)?;
    let mut report = Report {
        owner: None,
        segments: Vec::new(),
        verdict: Verdict::Clean,
        purged: None,
        first: None,
        last: None,
        has_vote: false,
        has_committed: false,
        spares: listing.spares.len(),
        temporary: listing.temporary.clone(),
    };
    match read_all(disk, dir, &listing, &mut report) {
        Ok(verdict) => report.verdict = verdict,
        Err(error) => report.verdict = Verdict::Refused(error),
    }
    Ok(report)
}

fn read_all(
    disk: &dyn Disk,
    dir: &Path,
    listing: &Listing,
    report: &mut Report,
) -> Result<Verdict, WalError> {
    let mut walk: Option<Walk> = None;
    let mut map = Map::default();
    let mut verdict = Verdict::Clean;
    for id in &listing.segments {
        let loaded = Loaded::read(disk, dir, *id, Open::Read)?;
        let owner = (loaded.header.cluster, loaded.header.node);
        report.owner.get_or_insert(owner);
        let walk = walk.get_or_insert_with(|| Walk::new(owner.0, owner.1));
        let is_last = Some(id) == listing.segments.last();
        let stepped = walk.step(&loaded, is_last);
        report.purged = walk.content.purged_upto();
        report.first = walk.content.range.map(|(first, _)| first);
        report.last = walk.content.range.map(|(_, last)| last);
        report.has_vote = walk.content.vote.is_some();
        report.has_committed = walk.content.committed.is_some();
        let scan = stepped?;
        map.push_segment(Segment::new(*id, loaded.file.clone()));
        walk.changes.drain(..).for_each(|change| map.change(change));
        report.segments.push(describe(&scan, loaded.header.size));
        let remains = remains(&loaded, scan.end);
        if is_last && !remains.places.is_empty() {
            verdict = Verdict::TornTail { segment: *id, offset: scan.end, bytes: remains.bytes };
        }
    }
    match walk {
        Some(walk) => walk.check_complete(map.first_absent(walk.content.range))?,
        None if listing.spares.is_empty() => {}
        None => {
            let damage = Damage::Absent;
            return Err(WalError::Corrupt { segment: 1, offset: 0, index: None, damage });
        }
    }
    Ok(verdict)
}

fn describe(scan: &Scan, size_bytes: u64) -> SegmentReport {
    SegmentReport {
        id: scan.id,
        first: scan.first,
        last: scan.last,
        batches: scan.batches,
        used_bytes: scan.end,
        size_bytes,
        sealed: scan.sealed,
    }
}
