//! Reading a log's files back in order: what is valid, where it ends, and whether the end is torn
//! or damaged. Changes nothing; [`super::recovery`] repairs, [`super::inspect`] reports.
//!
//! # Torn or damaged
//! Batches are synced in order, so a crash can only harm what was written after the last sync. Each
//! batch says how far its file was durable when it was written. A bad batch is damage if any later
//! header in the file declares it durable, or if the next segment continues from beyond it.
//! Otherwise nobody was ever told that it was safe, and it is cut.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

use super::content::Content;
use super::error::{Damage, WalError};
use super::format::{
    ALIGNMENT, BatchHeader, HEADER_BYTES, Header, HeaderFault, Kind, Place, Record, VERSION,
    records,
};
use super::request::Slot;
use super::segment::{Change, Name, segment_name};
use crate::os::disk::{Disk, DiskFile, Open, read_exact_at};
use crate::types::{ClusterId, Index, RaftId};

/// What stands in a log's directory.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    pub(crate) segments: Vec<u64>,
    pub(crate) spares: Vec<u64>,
    pub(crate) temporary: Vec<String>,
}

impl Listing {
    pub(crate) fn read(disk: &dyn Disk, dir: &Path) -> Result<Self, WalError> {
        let names = disk.list(dir).map_err(|e| WalError::io("list", dir, e))?;
        let mut listing = Self::default();
        for name in names {
            match Name::parse(&name) {
                Some(Name::Segment(id)) => listing.segments.push(id),
                Some(Name::Spare(number)) => listing.spares.push(number),
                Some(Name::Temporary) => listing.temporary.push(name),
                None => return Err(WalError::UnknownFile(name)),
            }
        }
        listing.segments.sort_unstable();
        listing.spares.sort_unstable();
        Ok(listing)
    }
}

/// A segment file in memory, its header verified.
pub(crate) struct Loaded {
    pub(crate) file: Arc<dyn DiskFile>,
    pub(crate) bytes: Vec<u8>,
    pub(crate) header: Header,
    pub(crate) header_crc: u32,
}

impl Loaded {
    pub(crate) fn read(disk: &dyn Disk, dir: &Path, id: u64, how: Open) -> Result<Self, WalError> {
        let name = segment_name(id);
        let path = dir.join(&name);
        let file = disk.open(&path, how).map_err(|e| WalError::io("open", &path, e))?;
        let read = || {
            let length = usize::try_from(file.len()?).unwrap_or(usize::MAX);
            read_exact_at(&*file, 0, length)
        };
        let bytes = read().map_err(|e| WalError::io("read", &path, e))?;
        let damaged = |damage| WalError::Corrupt { segment: id, offset: 0, index: None, damage };
        let (header, header_crc) = match Header::decode(&bytes) {
            Ok(decoded) => decoded,
            Err(HeaderFault::Unreadable) => return Err(damaged(Damage::Header)),
            Err(HeaderFault::Version(found)) => {
                return Err(WalError::Version { file: name, found, known: VERSION });
            }
        };
        if header.segment != id {
            return Err(damaged(Damage::Name(header.segment)));
        }
        let found = bytes.len() as u64;
        if header.size != found {
            return Err(damaged(Damage::Length { expected: header.size, found }));
        }
        Ok(Self { file, bytes, header, header_crc })
    }

    pub(crate) fn place(&self) -> Place {
        Place { salt: self.header.salt, segment: self.header.segment }
    }

    /// Headers from `from` on that were written for the place where they stand.
    pub(crate) fn headers_from(&self, from: u64) -> impl Iterator<Item = (u64, BatchHeader)> {
        let step = usize::try_from(ALIGNMENT).unwrap_or(usize::MAX);
        let place = self.place();
        (from..self.bytes.len() as u64)
            .step_by(step)
            .filter_map(move |at| Some((at, BatchHeader::decode(&self.bytes, at, place)?)))
    }
}

/// How far a segment is valid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Scan {
    pub(crate) id: u64,
    /// End of the last valid batch, a seal not counted.
    pub(crate) end: u64,
    /// Check of the last valid batch, a seal not counted.
    pub(crate) chain: u32,
    pub(crate) sealed: bool,
    pub(crate) batches: u64,
    pub(crate) ends_with_marker: bool,
    pub(crate) first: Option<Index>,
    pub(crate) last: Option<Index>,
}

/// Follows a log from its oldest segment to its newest.
pub(crate) struct Walk {
    identity: (ClusterId, RaftId),
    pub(crate) content: Content,
    pub(crate) changes: Vec<Change>,
    pub(crate) entries: u64,
    oldest: Option<u64>,
    previous: Option<Scan>,
    /// The segment before the last, when a crash came before its seal was durable.
    pub(crate) unsealed: Option<Scan>,
}

impl Walk {
    pub(crate) fn new(cluster: ClusterId, node: RaftId) -> Self {
        Self {
            identity: (cluster, node),
            content: Content::default(),
            changes: Vec::new(),
            entries: 0,
            oldest: None,
            previous: None,
            unsealed: None,
        }
    }

    fn corrupt(&self, segment: u64, offset: u64, damage: Damage) -> WalError {
        WalError::Corrupt { segment, offset, index: self.content.expected(), damage }
    }

    /// Reads one more segment; `is_last` says that none follows.
    pub(crate) fn step(&mut self, loaded: &Loaded, is_last: bool) -> Result<Scan, WalError> {
        let header = &loaded.header;
        if (header.cluster, header.node) != self.identity {
            let owner = |cluster, node| format!("node {node} of cluster {cluster}");
            return Err(WalError::Foreign {
                file: segment_name(header.segment),
                found: owner(header.cluster, header.node),
                expected: owner(self.identity.0, self.identity.1),
            });
        }
        self.oldest.get_or_insert(header.segment);
        let previous = self.previous.take();
        match &previous {
            None => self.begin(header),
            Some(previous) => self.join(previous, loaded, is_last)?,
        }
        let scan = self.scan(loaded)?;
        if previous.is_none() && header.segment > 1 && scan.batches == 0 {
            return Err(self.corrupt(header.segment, scan.end, Damage::NoState));
        }
        if is_last {
            self.check_tail(loaded, &scan)?;
        }
        self.previous = Some(scan.clone());
        Ok(scan)
    }

    /// The oldest file that is left: what came before it is purged or repeated in its first batch.
    fn begin(&mut self, header: &Header) {
        let last = header.next_index.and_then(Index::previous);
        self.content.range = header.first_index.zip(last);
    }

    fn join(&mut self, previous: &Scan, loaded: &Loaded, is_last: bool) -> Result<(), WalError> {
        let id = loaded.header.segment;
        let wanted = previous.id.saturating_add(1);
        if id != wanted {
            return Err(self.corrupt(wanted, 0, Damage::Absent));
        }
        let continues = loaded.header.chain == previous.chain
            && loaded.header.first_index == self.content.range.map(|(first, _)| first)
            && loaded.header.next_index == self.content.expected();
        if previous.sealed {
            let damage = Damage::Chain;
            return if continues { Ok(()) } else { Err(self.corrupt(id, 0, damage)) };
        }
        // The seal is durable before the next segment gets its first batch.
        if !is_last || loaded.headers_from(HEADER_BYTES).next().is_some() {
            return Err(self.corrupt(previous.id, previous.end, Damage::Unsealed));
        }
        // The next segment's header was made when all batches here were durable.
        if !continues {
            return Err(self.corrupt(previous.id, previous.end, Damage::Chain));
        }
        self.unsealed = Some(previous.clone());
        Ok(())
    }

    fn scan(&mut self, loaded: &Loaded) -> Result<Scan, WalError> {
        let id = loaded.header.segment;
        let mut scan = Scan {
            id,
            end: HEADER_BYTES,
            chain: loaded.header_crc,
            sealed: false,
            batches: 0,
            ends_with_marker: false,
            first: None,
            last: None,
        };
        while !scan.sealed {
            let Some(header) = BatchHeader::decode(&loaded.bytes, scan.end, loaded.place()) else {
                break;
            };
            let Some(body) = header.body(&loaded.bytes, scan.end) else {
                break;
            };
            if header.link.previous != scan.chain {
                return Err(self.corrupt(id, scan.end, Damage::BatchChain));
            }
            let replayed = self.replay(body, header.records, &mut scan);
            replayed.map_err(|why| self.corrupt(id, scan.end, Damage::Records(why)))?;
            if !scan.sealed {
                scan.end = scan.end.saturating_add(header.total() as u64);
                scan.chain = header.check;
                scan.batches = scan.batches.saturating_add(1);
            }
        }
        Ok(scan)
    }

    fn replay(&mut self, body: &[u8], count: u32, scan: &mut Scan) -> Result<(), &'static str> {
        let body_at = scan.end.saturating_add(super::format::BATCH_HEADER_BYTES as u64);
        let mut seen = 0_u32;
        for found in records(body) {
            let (begin, record) = found.ok_or("a record is not understood")?;
            seen = seen.saturating_add(1);
            scan.ends_with_marker = record.kind == Kind::Marker;
            let offset = u32::try_from(body_at.saturating_add(begin as u64));
            self.take(record, offset.unwrap_or(u32::MAX), scan)?;
        }
        if seen == count { Ok(()) } else { Err("the number of records is wrong") }
    }

    fn take(&mut self, it: Record<'_>, offset: u32, scan: &mut Scan) -> Result<(), &'static str> {
        let payload = || Bytes::copy_from_slice(it.payload);
        match it.kind {
            Kind::Entry => {
                if self.content.expected().is_some_and(|expected| expected != it.index) {
                    return Err("an entry does not follow the one before it");
                }
                self.content.append(it.index);
                self.changes.push(Change::Entry(it.index, offset));
                self.entries = self.entries.saturating_add(1);
                scan.first = scan.first.or(Some(it.index));
                scan.last = Some(it.index);
            }
            Kind::Truncate => {
                self.content.truncate_from(it.index);
                self.changes.push(Change::TruncateFrom(it.index));
            }
            Kind::Vote => self.content.save(Slot::Vote, payload()),
            Kind::Committed => self.content.save(Slot::Committed, payload()),
            Kind::Purge => {
                self.content.purge(it.index, payload());
                if self.content.range.is_none() {
                    self.changes.push(Change::Clear);
                }
            }
            Kind::Seal => scan.sealed = true,
            Kind::Marker => {}
        }
        Ok(())
    }

    /// The newest segment: nothing durable may lie beyond its valid part.
    fn check_tail(&self, loaded: &Loaded, scan: &Scan) -> Result<(), WalError> {
        if scan.sealed {
            return Err(self.corrupt(scan.id.saturating_add(1), 0, Damage::Absent));
        }
        let declares =
            |(_, header): &(u64, BatchHeader)| u64::from(header.link.synced_offset) > scan.end;
        match loaded.headers_from(scan.end).find(declares) {
            Some((later, _)) => Err(self.corrupt(scan.id, scan.end, Damage::Rot { later })),
            None => Ok(()),
        }
    }

    /// All files have been read: is every entry somewhere? What follows the oldest file is joined
    /// without a gap, so an absent entry stood in the file before it.
    pub(crate) fn check_complete(&self, absent: Option<Index>) -> Result<(), WalError> {
        let Some(index) = absent else { return Ok(()) };
        Err(WalError::Corrupt {
            segment: self.oldest.unwrap_or_default().saturating_sub(1),
            offset: 0,
            index: Some(index),
            damage: Damage::EntryAbsent,
        })
    }
}

/// What a crash left after the valid part of the newest segment.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Remains {
    /// Places whose bytes would validate, or look like the begin of a batch.
    pub(crate) places: Vec<u64>,
    /// How many bytes are given up, as far as can be told.
    pub(crate) bytes: u64,
}

/// Looks at what follows the valid part. Nothing if the place of the next batch is zero and no
/// header follows: bytes of the file's former life do not count.
pub(crate) fn remains(loaded: &Loaded, end: u64) -> Remains {
    let rest = usize::try_from(end).ok().and_then(|at| loaded.bytes.get(at..)).unwrap_or_default();
    let begins = rest.iter().take(8).any(|byte| *byte != 0);
    let mut remains = Remains::default();
    if begins {
        let ends = |piece: &[u8]| piece.iter().all(|byte| *byte == 0);
        let length = rest.chunks(8).position(ends).unwrap_or(rest.len().div_ceil(8));
        remains.bytes = (length as u64).saturating_mul(ALIGNMENT).min(rest.len() as u64);
        remains.places.push(end);
    }
    for (at, header) in loaded.headers_from(end) {
        let until = at.saturating_add(header.total() as u64).min(loaded.header.size);
        remains.bytes = remains.bytes.max(until.saturating_sub(end));
        if at != end {
            remains.places.push(at);
        }
    }
    remains
}
