//! The files of a log: names, creation, spares, and where in them each entry stands.
//!
//! # Invariants
//! - W5 A segment's name appears only after its header is durable, and its length never changes.
//! - W6 Indexes inside a segment are consecutive: one `u32` per entry is all it costs in memory.
//!
//! # Not here
//! What is in a batch ([`super::format`]), when to go to the next segment ([`super::writer`]).

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::error::WalError;
use super::format::Header;
use crate::os::disk::{Disk, DiskFile, Open};
use crate::types::Index;

/// Spares kept; more purged segments than this are removed.
const SPARES_MAX: usize = 2;
/// Zeros are written in pieces of this many bytes.
const ZERO_PIECE_BYTES: u64 = 1 << 20;

/// What a name in the log's directory stands for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Name {
    Segment(u64),
    Spare(u64),
    Temporary,
}

impl Name {
    pub(crate) fn parse(name: &str) -> Option<Self> {
        if let Some(digits) = name.strip_suffix(".wal") {
            let id = digits.parse().ok()?;
            return (segment_name(id) == name).then_some(Self::Segment(id));
        }
        if let Some(rest) = name.strip_suffix(".tmp") {
            return Self::parse(rest).map(|_| Self::Temporary);
        }
        let number = name.strip_prefix("spare.")?.parse().ok()?;
        (spare_name(number) == name).then_some(Self::Spare(number))
    }
}

/// A segment's file name.
pub(crate) fn segment_name(id: u64) -> String {
    format!("{id:020}.wal")
}

fn spare_name(number: u64) -> String {
    format!("spare.{number}")
}

/// Makes a file of `size` zeros. Durable are its bytes, not yet its name.
pub(crate) fn create_zeroed(
    disk: &dyn Disk,
    path: &Path,
    size: u64,
) -> Result<Arc<dyn DiskFile>, WalError> {
    let file = disk.open(path, Open::CreateNew).map_err(|e| WalError::io("create", path, e))?;
    let write = || -> io::Result<()> {
        let piece = vec![0; usize::try_from(ZERO_PIECE_BYTES.min(size)).unwrap_or(1)];
        let mut at = 0_u64;
        while at < size {
            let wanted = usize::try_from(size.saturating_sub(at)).unwrap_or(usize::MAX);
            let part = piece.get(..wanted.min(piece.len())).unwrap_or(&piece);
            file.write_all_at(part, at)?;
            at = at.saturating_add(part.len() as u64);
        }
        file.sync_data()
    };
    write().map_err(|e| WalError::io("fill with zeros", path, e))?;
    Ok(file)
}

/// Files that are ready to become the next segment. Shared by the writer and the thread that
/// prepares spares, so that filling with zeros does not hold up a commit.
pub(crate) struct Spares {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    size: u64,
    ready: Mutex<VecDeque<PathBuf>>,
    next_number: AtomicU64,
}

impl Spares {
    /// Takes over the spares found in the directory.
    pub(crate) fn new(disk: Arc<dyn Disk>, dir: &Path, size: u64, numbers: &[u64]) -> Self {
        let ready = numbers.iter().map(|number| dir.join(spare_name(*number))).collect();
        let next = numbers.iter().max().map_or(0, |number| number.saturating_add(1));
        let next_number = AtomicU64::new(next);
        Self { disk, dir: dir.to_owned(), size, ready: Mutex::new(ready), next_number }
    }

    fn ready(&self) -> MutexGuard<'_, VecDeque<PathBuf>> {
        self.ready.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next_path(&self) -> PathBuf {
        self.dir.join(spare_name(self.next_number.fetch_add(1, Ordering::Relaxed)))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.ready().is_empty()
    }

    /// Makes one spare, unless there is one. Its name need not be durable: it may be made again.
    pub(crate) fn prepare(&self) -> Result<(), WalError> {
        if !self.is_empty() {
            return Ok(());
        }
        let path = self.next_path();
        let mut temporary = path.clone().into_os_string();
        temporary.push(".tmp");
        let temporary = PathBuf::from(temporary);
        create_zeroed(&*self.disk, &temporary, self.size)?;
        let renamed = self.disk.rename(&temporary, &path);
        renamed.map_err(|e| WalError::io("rename", &temporary, e))?;
        self.ready().push_back(path);
        Ok(())
    }

    /// A spare's path, made now if none is ready.
    pub(crate) fn take(&self) -> Result<PathBuf, WalError> {
        loop {
            if let Some(path) = self.ready().pop_front() {
                return Ok(path);
            }
            self.prepare()?;
        }
    }

    /// Keeps a purged segment's file as a spare, or removes it. Its name is durably gone before it
    /// can be written to: the directory is synced first.
    pub(crate) fn retire(&self, segment: &Segment) -> Result<(), WalError> {
        let path = self.dir.join(segment_name(segment.id));
        let length = segment.file.len().map_err(|e| WalError::io("look at", &path, e))?;
        let wanted = length == self.size && self.ready().len() < SPARES_MAX;
        let kept = wanted.then(|| self.next_path());
        let result = match &kept {
            Some(spare) => self.disk.rename(&path, spare),
            None => self.disk.remove(&path),
        };
        result.map_err(|e| WalError::io("retire", &path, e))?;
        self.disk.sync_dir(&self.dir).map_err(|e| WalError::io("sync", &self.dir, e))?;
        if let Some(spare) = kept {
            self.ready().push_back(spare);
        }
        Ok(())
    }

    /// Turns the file at `from` into the segment that `header` describes: header, sync, name, sync
    /// of the directory (W5). Returns the file and the check that the first batch continues.
    pub(crate) fn install(
        &self,
        from: &Path,
        header: &Header,
    ) -> Result<(Arc<dyn DiskFile>, u32), WalError> {
        let to = self.dir.join(segment_name(header.segment));
        let (block, crc) = header.encode();
        let open = self.disk.open(from, Open::Write);
        let file = open.map_err(|e| WalError::io("open", from, e))?;
        file.write_all_at(&block, 0).map_err(|e| WalError::io("write", from, e))?;
        file.sync_data().map_err(|e| WalError::io("sync", from, e))?;
        self.disk.rename(from, &to).map_err(|e| WalError::io("rename", from, e))?;
        self.disk.sync_dir(&self.dir).map_err(|e| WalError::io("sync", &self.dir, e))?;
        Ok((file, crc))
    }
}

/// One segment as readers need it.
pub(crate) struct Segment {
    pub(crate) id: u64,
    pub(crate) file: Arc<dyn DiskFile>,
    first: Index,
    offsets: Vec<u32>,
}

impl Segment {
    pub(crate) fn new(id: u64, file: Arc<dyn DiskFile>) -> Self {
        Self { id, file, first: Index::default(), offsets: Vec::new() }
    }

    /// First and last index that stands here.
    pub(crate) fn range(&self) -> Option<(Index, Index)> {
        let more = u64::try_from(self.offsets.len()).ok()?.checked_sub(1)?;
        Some((self.first, Index::new(self.first.get().saturating_add(more))))
    }

    /// Offsets of the entries from `from` on.
    pub(crate) fn offsets_from(&self, from: Index) -> &[u32] {
        let skip = from.get().checked_sub(self.first.get());
        let skip = skip.and_then(|skip| usize::try_from(skip).ok());
        skip.and_then(|skip| self.offsets.get(skip..)).unwrap_or_default()
    }

    fn truncate_from(&mut self, from: Index) {
        let keep = from.get().saturating_sub(self.first.get());
        self.offsets.truncate(usize::try_from(keep).unwrap_or(usize::MAX));
    }

    fn push(&mut self, index: Index, offset: u32) {
        if self.offsets.is_empty() {
            self.first = index;
        }
        self.offsets.push(offset);
    }
}

/// A change to what stands where.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Change {
    /// The entry at this index begins at this offset of the newest segment.
    Entry(Index, u32),
    /// Entries from here on are gone.
    TruncateFrom(Index),
    /// All entries are gone.
    Clear,
}

/// Where each durable entry stands.
#[derive(Default)]
pub(crate) struct Map {
    segments: VecDeque<Segment>,
}

impl Map {
    pub(crate) fn push_segment(&mut self, segment: Segment) {
        self.segments.push_back(segment);
    }

    pub(crate) fn change(&mut self, change: Change) {
        match change {
            Change::Entry(index, offset) => {
                if let Some(newest) = self.segments.back_mut() {
                    newest.push(index, offset);
                }
            }
            Change::TruncateFrom(from) => {
                self.segments.iter_mut().for_each(|segment| segment.truncate_from(from));
            }
            Change::Clear => {
                self.segments.iter_mut().for_each(|segment| segment.offsets.clear());
            }
        }
    }

    /// The segment that has the entry.
    pub(crate) fn find(&self, index: Index) -> Option<&Segment> {
        let has = |segment: &&Segment| {
            segment.range().is_some_and(|(first, last)| first <= index && index <= last)
        };
        self.segments.iter().rev().find(has)
    }

    /// Takes out the oldest segment if it is not the newest and has nothing after `purged`.
    pub(crate) fn pop_purged(&mut self, purged: Index) -> Option<Segment> {
        let oldest = self.segments.front()?;
        let needed = oldest.range().is_some_and(|(_, last)| last > purged);
        if needed || self.segments.len() < 2 {
            return None;
        }
        self.segments.pop_front()
    }

    /// The first index of the range that no segment has.
    pub(crate) fn first_absent(&self, range: Option<(Index, Index)>) -> Option<Index> {
        let (mut wanted, last) = range?;
        for segment in &self.segments {
            let Some((first, end)) = segment.range() else {
                continue;
            };
            if first <= wanted && wanted <= end {
                wanted = end.next();
            }
        }
        (wanted <= last).then_some(wanted)
    }

    pub(crate) fn len(&self) -> usize {
        self.segments.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_we_write_are_ours() {
        assert_eq!(Name::parse(&segment_name(7)), Some(Name::Segment(7)));
        assert_eq!(Name::parse("spare.3"), Some(Name::Spare(3)));
        assert_eq!(Name::parse("spare.3.tmp"), Some(Name::Temporary));
        assert_eq!(Name::parse("00000000000000000001.wal.tmp"), Some(Name::Temporary));
        for other in ["1.wal", "spare.03", "spare.x", "notes", "+0000000000000000001.wal", ".tmp"] {
            assert_eq!(Name::parse(other), None, "{other}");
        }
    }
}
