//! What callers see of the log: reads, bounds, and the requests they make.
//!
//! Used by `consensus` through [`Handle`], from any thread. A change shows here as soon as it is
//! asked for; the writer brings news of what is durable later. Nothing here waits for the disk but
//! [`Handle::read`] of entries that are no longer in memory.
//!
//! # Invariants
//! - W7 An entry leaves memory only when it is durable and the map knows where it stands.
//! - W8 Requests are queued in the order in which they show: both happen under one lock.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::content::Content;
use super::error::{Damage, WalError};
use super::format::{Kind, RECORD_HEADER_BYTES, decode_record, record_length};
use super::request::{Completion, Done, Queue, Refused, Request, Slot, Stamp, Work};
use super::segment::{Change, Map, Segment};
use crate::os::disk::{DiskFile, read_exact_at};
use crate::types::Index;

/// Longest vote, committed hint or purge note: each is repeated in every segment.
pub const SLOT_MAX_BYTES: usize = 512;

/// Where the log begins and ends.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Bounds {
    /// Last index that was purged.
    pub purged: Option<Index>,
    /// First entry.
    pub first: Option<Index>,
    /// Last entry.
    pub last: Option<Index>,
}

/// State shared by the handles and the writer.
pub(crate) struct View {
    inner: Mutex<Inner>,
    cache_bytes: u64,
    entry_limit: u64,
}

struct Inner {
    content: Content,
    generation: u64,
    synced: Option<Index>,
    /// The newest entries, without a gap up to the last.
    cache: VecDeque<Bytes>,
    cached_bytes: u64,
    map: Map,
    failed: Option<WalError>,
}

impl Inner {
    /// First index from which on all entries are in memory.
    fn cache_begin(&self) -> Index {
        let next = self.content.expected().unwrap_or_default();
        Index::new(next.get().saturating_sub(self.cache.len() as u64))
    }

    fn drop_oldest_cached(&mut self) {
        if let Some(payload) = self.cache.pop_front() {
            self.cached_bytes = self.cached_bytes.saturating_sub(payload.len() as u64);
        }
    }

    fn evict(&mut self, limit: u64) {
        while self.cached_bytes > limit && self.synced.is_some_and(|at| at >= self.cache_begin()) {
            self.drop_oldest_cached();
        }
    }

    fn show(&mut self, work: &Work) {
        let begin = self.cache_begin();
        let last_before = self.content.last_or_purged();
        self.content.apply(work);
        match work {
            Work::Append { payloads, .. } => {
                for payload in payloads {
                    self.cached_bytes = self.cached_bytes.saturating_add(payload.len() as u64);
                    self.cache.push_back(payload.clone());
                }
            }
            Work::TruncateFrom(_) => {
                let kept = self
                    .content
                    .range
                    .map_or(0, |(_, last)| last.next().get().saturating_sub(begin.get()));
                while (self.cache.len() as u64) > kept {
                    let gone = self.cache.pop_back().map_or(0, |payload| payload.len());
                    self.cached_bytes = self.cached_bytes.saturating_sub(gone as u64);
                }
                self.take_back();
            }
            Work::Purge { .. } => {
                let first = self.content.range.map(|(first, _)| first);
                let mut at = begin;
                while !self.cache.is_empty() && first.is_none_or(|first| at < first) {
                    self.drop_oldest_cached();
                    at = at.next();
                }
                if self.content.last_or_purged() != last_before {
                    self.take_back();
                }
            }
            Work::Save(..) => {}
        }
    }

    /// Entries were taken back: what older requests say about durability no longer counts.
    fn take_back(&mut self) {
        self.generation = self.generation.saturating_add(1);
        self.synced = self.synced.min(self.content.last_or_purged());
    }
}

/// A piece of a read, planned under the lock and done without it.
enum Piece {
    Nothing,
    Cached(Vec<Bytes>),
    Stored { segment: u64, file: Arc<dyn DiskFile>, first: Index, offsets: Vec<u32> },
}

impl View {
    pub(crate) fn new(content: Content, map: Map, cache_bytes: u64, entry_limit: u64) -> Self {
        let synced = content.last_or_purged();
        let inner = Inner {
            content,
            generation: 0,
            synced,
            cache: VecDeque::new(),
            cached_bytes: 0,
            map,
            failed: None,
        };
        Self { inner: Mutex::new(inner), cache_bytes, entry_limit }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// News from the writer: these entries are durable and stand there; `stamp` is of the last
    /// request that is complete.
    pub(crate) fn publish(&self, changes: &mut Vec<Change>, stamp: Option<Stamp>) {
        let mut inner = self.lock();
        changes.drain(..).for_each(|change| inner.map.change(change));
        if let Some(stamp) = stamp.filter(|stamp| stamp.generation == inner.generation) {
            inner.synced = stamp.last;
        }
        inner.evict(self.cache_bytes);
    }

    pub(crate) fn push_segment(&self, segment: Segment) {
        self.lock().map.push_segment(segment);
    }

    pub(crate) fn pop_purged(&self, purged: Index) -> Option<Segment> {
        self.lock().map.pop_purged(purged)
    }

    pub(crate) fn poison(&self, first: &WalError) {
        let mut inner = self.lock();
        inner.failed.get_or_insert_with(|| first.clone());
    }

    fn plan(&self, from: Index, to: Index, max_bytes: u64) -> Result<(Piece, u64), WalError> {
        let inner = self.lock();
        if let Some(upto) = inner.content.purged_upto().filter(|upto| from <= *upto) {
            return Err(WalError::Purged { upto });
        }
        let within = inner.content.range.filter(|(first, last)| *first <= from && from <= *last);
        let Some((_, last)) = within.filter(|_| from < to) else {
            return Ok((Piece::Nothing, inner.generation));
        };
        let count = to.get().min(last.next().get()).saturating_sub(from.get());
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        if let Some(skip) = from.get().checked_sub(inner.cache_begin().get()) {
            let skip = usize::try_from(skip).unwrap_or(usize::MAX);
            let mut sum = 0_u64;
            let fits = |payload: &&Bytes| {
                let is_first = sum == 0;
                sum = sum.saturating_add(payload.len() as u64).max(1);
                is_first || sum <= max_bytes
            };
            let found = inner.cache.iter().skip(skip).take(count).take_while(fits);
            return Ok((Piece::Cached(found.cloned().collect()), inner.generation));
        }
        // From the cache on the map may still have entries that have been taken back.
        let stored = inner.cache_begin().get().saturating_sub(from.get());
        let count = count.min(usize::try_from(stored).unwrap_or(usize::MAX));
        let Some(segment) = inner.map.find(from) else {
            return Err(corrupt(0, 0, from, Damage::EntryAbsent));
        };
        let offsets = segment.offsets_from(from);
        let begin = u64::from(offsets.first().copied().unwrap_or_default());
        let near = |at: &&u32| u64::from(**at).saturating_sub(begin) < max_bytes.max(1);
        let offsets: Vec<u32> = offsets.iter().take(count).take_while(near).copied().collect();
        let (id, file) = (segment.id, segment.file.clone());
        Ok((Piece::Stored { segment: id, file, first: from, offsets }, inner.generation))
    }
}

fn corrupt(segment: u64, offset: u64, index: Index, damage: Damage) -> WalError {
    WalError::Corrupt { segment, offset, index: Some(index), damage }
}

/// Reads a run of entries of one segment in one go and verifies each.
fn read_stored(
    file: &dyn DiskFile,
    segment: u64,
    first: Index,
    offsets: &[u32],
) -> Result<Vec<Bytes>, WalError> {
    let path = std::path::PathBuf::from(super::segment::segment_name(segment));
    let failed = |error| WalError::io("read", &path, error);
    let (Some(begin), Some(end)) = (offsets.first(), offsets.last()) else {
        return Ok(Vec::new());
    };
    let bad = |offset: u32, index| corrupt(segment, u64::from(offset), index, Damage::Entry);
    let begin_at = u64::from(*begin);
    let size = file.len().map_err(failed)?;
    let head = read_exact_at(file, u64::from(*end), RECORD_HEADER_BYTES).map_err(failed)?;
    let length = record_length(&head).unwrap_or(usize::MAX) as u64;
    let room = size.saturating_sub(u64::from(*end));
    if length > room {
        return Err(bad(*end, first));
    }
    let wanted = u64::from(*end).saturating_add(length).saturating_sub(begin_at);
    let wanted = usize::try_from(wanted).unwrap_or(usize::MAX);
    let run = Bytes::from(read_exact_at(file, begin_at, wanted).map_err(failed)?);
    let mut found = Vec::with_capacity(offsets.len());
    let mut index = first;
    for offset in offsets {
        let at = usize::try_from(offset.saturating_sub(*begin)).unwrap_or(usize::MAX);
        let record = run.get(at..).and_then(decode_record);
        let record = record.filter(|it| it.kind == Kind::Entry && it.index == index);
        let payload = record.ok_or_else(|| bad(*offset, index))?.payload;
        found.push(run.slice_ref(payload));
        index = index.next();
    }
    Ok(found)
}

/// A log that has been opened; makes handles.
#[derive(Clone)]
pub struct Log(pub(crate) Arc<View>);

impl Log {
    /// A handle whose requests go to the writer through `queue`.
    pub fn handle(&self, queue: Arc<dyn Queue>) -> Handle {
        Handle { view: self.0.clone(), queue }
    }
}

/// A caller's end of the log. Clones share it.
#[derive(Clone)]
pub struct Handle {
    view: Arc<View>,
    queue: Arc<dyn Queue>,
}

impl Handle {
    /// Adds entries from `first` on. They can be read when this returns and are durable when `done`
    /// says so.
    ///
    /// # Errors
    /// `Gap`, `TooLarge`, `Full`, `Closed`, `Poisoned`: nothing was added; `done` gets the same.
    pub fn append(&self, first: Index, payloads: Vec<Bytes>, done: Done) -> Result<(), WalError> {
        self.submit(&Work::Append { first, payloads }, done)
    }

    /// Takes back the entries after `after`; `None`: all of them.
    pub fn truncate_after(&self, after: Option<Index>, done: Done) -> Result<(), WalError> {
        self.submit(&Work::TruncateFrom(after.map_or(Index::default(), Index::next)), done)
    }

    /// Puts bytes in a slot, in order with everything else.
    pub fn save(&self, slot: Slot, bytes: Bytes, done: Done) -> Result<(), WalError> {
        self.submit(&Work::Save(slot, bytes), done)
    }

    /// Gives up the entries up to `upto`, which may lie after the last one: then the log is empty
    /// and goes on at `upto` + 1. `note` is kept beside the frontier. A frontier at or before the
    /// current one changes nothing.
    pub fn purge(&self, upto: Index, note: Bytes, done: Done) -> Result<(), WalError> {
        self.submit(&Work::Purge { upto, note }, done)
    }

    /// What was last put in a slot.
    pub fn saved(&self, slot: Slot) -> Option<Bytes> {
        self.view.lock().content.saved(slot).cloned()
    }

    /// The purge frontier and its note.
    pub fn purged(&self) -> Option<(Index, Bytes)> {
        let inner = self.view.lock();
        inner.content.purged.as_ref().map(|frontier| (frontier.upto, frontier.note.clone()))
    }

    /// Where the log begins and ends.
    pub fn bounds(&self) -> Bounds {
        let inner = self.view.lock();
        let range = inner.content.range;
        Bounds {
            purged: inner.content.purged_upto(),
            first: range.map(|(first, _)| first),
            last: range.map(|(_, last)| last),
        }
    }

    /// Last index known durable: an entry, or the purge frontier when none follows it.
    pub fn synced(&self) -> Option<Index> {
        self.view.lock().synced
    }

    /// Longest payload of an entry, in bytes.
    pub fn entry_limit(&self) -> u64 {
        self.view.entry_limit
    }

    /// Whether a read from here on needs no disk.
    pub fn is_cached(&self, from: Index) -> bool {
        from >= self.view.lock().cache_begin()
    }

    /// Entries of `from..to` until they exceed `max_bytes`, at least one if there is one. Nothing
    /// if `from` is after the end. Blocks on the disk unless [`Handle::is_cached`].
    ///
    /// # Errors
    /// `Purged`; `Corrupt` if an entry does not validate; `Io`. None of them stops the log.
    pub fn read(&self, from: Index, to: Index, max_bytes: u64) -> Result<Vec<Bytes>, WalError> {
        let mut found: Vec<Bytes> = Vec::new();
        let mut sum = 0_u64;
        let mut first_generation = None;
        let mut at = from;
        while found.is_empty() || sum < max_bytes {
            let left = max_bytes.saturating_sub(sum);
            let planned = self.view.plan(at, to, left);
            if planned.is_err() && !found.is_empty() {
                break;
            }
            let (piece, generation) = planned?;
            // Entries of two generations do not belong together: the rest was rewritten meanwhile.
            if *first_generation.get_or_insert(generation) != generation {
                break;
            }
            let payloads = self.fetch(piece)?;
            if payloads.is_empty() {
                break;
            }
            for payload in payloads {
                sum = sum.saturating_add(payload.len() as u64);
                if !found.is_empty() && sum > max_bytes {
                    return Ok(found);
                }
                found.push(payload);
                at = at.next();
            }
        }
        Ok(found)
    }

    fn fetch(&self, piece: Piece) -> Result<Vec<Bytes>, WalError> {
        match piece {
            Piece::Nothing => Ok(Vec::new()),
            Piece::Cached(payloads) => Ok(payloads),
            Piece::Stored { segment, file, first, offsets } => {
                let read = read_stored(&*file, segment, first, &offsets);
                // A purge may have recycled the file under us; then the bytes prove nothing.
                let purged = self.bounds().purged.filter(|upto| first <= *upto);
                match (read, purged) {
                    (Err(_), Some(upto)) => Err(WalError::Purged { upto }),
                    (read, _) => read,
                }
            }
        }
    }

    fn submit(&self, work: &Work, done: Done) -> Result<(), WalError> {
        let completion = Completion::new(done);
        // Callbacks run outside the lock: they may look at the log.
        match self.try_submit(work, completion) {
            Ok(()) => Ok(()),
            Err((completion, error)) => {
                completion.finish(Err(error.clone()));
                Err(error)
            }
        }
    }

    fn try_submit(
        &self,
        work: &Work,
        completion: Completion,
    ) -> Result<(), (Completion, WalError)> {
        let mut inner = self.view.lock();
        if let Err(error) = self.check(&inner, work) {
            return Err((completion, error));
        }
        let mut after = inner.content.clone();
        after.apply(work);
        let takes_back = match work {
            Work::TruncateFrom(_) => true,
            Work::Purge { .. } => after.last_or_purged() != inner.content.last_or_purged(),
            Work::Append { .. } | Work::Save(..) => false,
        };
        let generation = inner.generation.saturating_add(u64::from(takes_back));
        let stamp = Stamp { generation, last: after.last_or_purged() };
        let request = Request { work: work.clone(), stamp, completion };
        match self.queue.submit(request) {
            Ok(()) => {
                inner.show(work);
                Ok(())
            }
            Err(Refused::Full(request)) => Err((request.completion, WalError::Full)),
            Err(Refused::Closed(request)) => Err((request.completion, WalError::Closed)),
        }
    }

    fn check(&self, inner: &Inner, work: &Work) -> Result<(), WalError> {
        if let Some(first) = &inner.failed {
            return Err(WalError::poisoned(first));
        }
        let too_large = |bytes: usize, limit: u64| {
            let bytes = bytes as u64;
            if bytes > limit { Err(WalError::TooLarge { bytes, limit }) } else { Ok(()) }
        };
        match work {
            Work::Append { first, payloads } => {
                if let Some(expected) = inner.content.expected().filter(|at| at != first) {
                    return Err(WalError::Gap { expected, found: *first });
                }
                let longest = payloads.iter().map(Bytes::len).max().unwrap_or_default();
                too_large(longest, self.view.entry_limit)
            }
            Work::Save(_, bytes) | Work::Purge { note: bytes, .. } => {
                too_large(bytes.len(), SLOT_MAX_BYTES as u64)
            }
            Work::TruncateFrom(_) => Ok(()),
        }
    }
}
