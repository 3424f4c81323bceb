//! The writer: a batch of requests in, one write and one sync, then the answers.
//!
//! Synchronous; [`super::thread`] drives it in production, a task in simulation. It alone writes to
//! the segments.
//!
//! # Invariants
//! - W3 The first failed write or sync is final. Nothing is written after it.
//! - W4 Callbacks run with `Ok` only after `sync_data` has returned `Ok` for their bytes.
//! - W9 The purge frontier is durable before a segment file goes; files go oldest first, each
//!   durably gone before the next.
//!
//! # Not here
//! Queues and threads; who may ask for what ([`super::view`] has checked it).

use std::path::PathBuf;
use std::sync::Arc;

use super::content::Content;
use super::error::WalError;
use super::format::{
    BATCH_HEADER_BYTES, BatchBuilder, HEADER_BYTES, Header, Kind, Link, NOTE_BATCH_BYTES, Place,
    record_bytes,
};
use super::request::{Completion, Request, Slot, Stamp, Work};
use super::scan::Scan;
use super::segment::{Change, Segment, Spares, segment_name};
use super::view::{SLOT_MAX_BYTES, View};
use super::{Observer, Options, Synced};
use crate::os::clock::Clock;
use crate::os::disk::DiskFile;
use crate::types::Index;

/// A batch is written when it has this many bytes, even if more requests wait.
const BATCH_MAX_BYTES: usize = 4 << 20;
/// Kept free at the end of a segment: room for a marker and for the seal.
const TAIL_BYTES: u64 = NOTE_BATCH_BYTES * 2;
/// What the first batch of a segment may need to repeat: vote, committed, purge frontier.
const STATE_BYTES: usize = record_bytes(SLOT_MAX_BYTES) * 3;

/// Longest entry that fits a segment of this size, whatever else its first batch must hold.
pub(crate) fn entry_limit(size: u64) -> u64 {
    let batch = BATCH_HEADER_BYTES.saturating_add(STATE_BYTES).saturating_add(record_bytes(0));
    size.saturating_sub(HEADER_BYTES)
        .saturating_sub(TAIL_BYTES)
        .saturating_sub(batch.next_multiple_of(8) as u64)
        .saturating_sub(8)
}

/// The segment that is being written.
pub(crate) struct Active {
    file: Arc<dyn DiskFile>,
    place: Place,
    size: u64,
    /// Where the next batch goes.
    end: u64,
    /// What the next batch continues.
    chain: u32,
    /// End of what is durable.
    synced_to: u64,
    ends_with_marker: bool,
}

impl Active {
    /// A segment without batches.
    pub(crate) fn begin(file: Arc<dyn DiskFile>, header: &Header, header_crc: u32) -> Self {
        Self {
            file,
            place: Place { salt: header.salt, segment: header.segment },
            size: header.size,
            end: HEADER_BYTES,
            chain: header_crc,
            synced_to: HEADER_BYTES,
            ends_with_marker: false,
        }
    }

    /// Goes on where recovery found the end; it has made everything before that durable.
    pub(crate) fn resume(&mut self, scan: &Scan) {
        self.end = scan.end;
        self.chain = scan.chain;
        self.synced_to = scan.end;
        self.ends_with_marker = scan.ends_with_marker;
    }

    fn is_blank(&self) -> bool {
        self.end == HEADER_BYTES
    }

    fn has_room(&self, bytes: usize, tail: u64) -> bool {
        let bytes = bytes.next_multiple_of(8) as u64;
        self.end.saturating_add(bytes).saturating_add(tail) <= self.size
    }
}

/// What has been taken up since the last write.
struct Round {
    builder: BatchBuilder,
    changes: Vec<Change>,
    answers: Vec<Completion>,
    stamp: Option<Stamp>,
    entries: usize,
    /// Bytes written and not yet told to the observer: hints are written without a sync.
    bytes: u64,
    needs_sync: bool,
}

/// Writes the log. Owned by whoever drives it.
pub struct Writer {
    view: Arc<View>,
    spares: Arc<Spares>,
    clock: Arc<dyn Clock>,
    observer: Arc<dyn Observer>,
    dir: PathBuf,
    options: Options,
    active: Active,
    /// What the file holds, the current round included.
    content: Content,
    /// Last index known durable.
    synced: Option<Index>,
    round: Round,
    retire_due: bool,
    failed: Option<WalError>,
}

impl Writer {
    pub(crate) fn new(
        (view, spares): (Arc<View>, Arc<Spares>),
        (clock, observer): (Arc<dyn Clock>, Arc<dyn Observer>),
        (dir, options): (PathBuf, Options),
        (active, content): (Active, Content),
    ) -> Self {
        let round = Round {
            builder: BatchBuilder::new(),
            changes: Vec::new(),
            answers: Vec::new(),
            stamp: None,
            entries: 0,
            bytes: 0,
            needs_sync: false,
        };
        let synced = content.last_or_purged();
        let failed = None;
        // A crash may have come between a purge's record and its files.
        let retire_due = content.purged.is_some();
        Self {
            view,
            spares,
            clock,
            observer,
            dir,
            options,
            active,
            content,
            synced,
            round,
            retire_due,
            failed,
        }
    }

    /// Does all requests, in order, and empties `batch`. Each has been answered on return.
    pub fn process(&mut self, batch: &mut Vec<Request>) {
        for request in batch.drain(..) {
            let staged = match &self.failed {
                Some(first) => Err(WalError::poisoned(first)),
                None => self.stage(&request),
            };
            match staged {
                Ok(()) => {
                    // Also for a request that changes nothing: `Ok` covers all that came before.
                    if !request.is_hint() {
                        self.round.stamp = Some(request.stamp);
                        self.round.needs_sync = true;
                    }
                    self.round.answers.push(request.completion);
                }
                Err(error) => {
                    self.fail(&error);
                    request.completion.finish(Err(error));
                }
            }
        }
        if self.failed.is_none()
            && let Err(error) = self.flush().and_then(|()| self.retire())
        {
            self.fail(&error);
        }
    }

    /// Called when nothing has come for a while: leaves a marker that says that all before it was
    /// durable, so that later rot of the last batch is not taken for a torn write. Needs no sync.
    pub fn idle(&mut self) {
        if self.failed.is_none()
            && let Err(error) = self.mark()
        {
            self.fail(&error);
        }
    }

    /// Ends the log cleanly: marker and sync.
    ///
    /// # Errors
    /// The first failure of the disk, also if it came earlier.
    pub fn close(mut self) -> Result<(), WalError> {
        if let Some(first) = &self.failed {
            return Err(WalError::poisoned(first));
        }
        let closed = self.mark().and_then(|()| self.sync_all()).map(|_| ());
        if let Err(error) = &closed {
            self.fail(error);
        } else {
            self.view.poison(&WalError::Closed);
        }
        closed
    }

    /// Whether no spare segment is ready; the next roll will make one itself unless it is prepared.
    pub fn wants_spare(&self) -> bool {
        self.failed.is_none() && self.spares.is_empty()
    }

    /// Prepares a spare segment when called; may run on another thread than the writer.
    pub(crate) fn spare_maker(&self) -> Arc<Spares> {
        self.spares.clone()
    }

    pub(crate) fn observer(&self) -> Arc<dyn Observer> {
        self.observer.clone()
    }

    fn stage(&mut self, request: &Request) -> Result<(), WalError> {
        match &request.work {
            Work::Append { first, payloads } => {
                let mut index = *first;
                for payload in payloads {
                    let offset = self.put(Kind::Entry, index, payload)?;
                    self.content.append(index);
                    self.round.changes.push(Change::Entry(index, offset));
                    self.round.entries = self.round.entries.saturating_add(1);
                    index = index.next();
                }
            }
            Work::TruncateFrom(from) => {
                self.put(Kind::Truncate, *from, b"")?;
                self.content.truncate_from(*from);
                self.round.changes.push(Change::TruncateFrom(*from));
            }
            Work::Save(slot, bytes) => {
                let kind = match slot {
                    Slot::Vote => Kind::Vote,
                    Slot::Committed => Kind::Committed,
                };
                self.put(kind, Index::default(), bytes)?;
                self.content.save(*slot, bytes.clone());
            }
            Work::Purge { upto, note } => {
                if self.content.purged_upto().is_some_and(|known| known >= *upto) {
                    return Ok(());
                }
                self.put(Kind::Purge, *upto, note)?;
                self.content.purge(*upto, note.clone());
                if self.content.range.is_none() {
                    self.round.changes.push(Change::Clear);
                }
                self.retire_due = true;
            }
        }
        Ok(())
    }

    /// Puts a record into the current batch, after writing it out or going to the next segment if
    /// it is full. Returns the record's offset in the file.
    fn put(&mut self, kind: Kind, index: Index, payload: &[u8]) -> Result<u32, WalError> {
        if self.round.builder.len() >= BATCH_MAX_BYTES || !self.fits(payload.len()) {
            self.flush()?;
        }
        if !self.fits(payload.len()) {
            self.roll()?;
        }
        if self.round.builder.is_empty() && self.active.is_blank() {
            self.repeat_state();
        }
        // Hints wait for whatever is synced next; everything else asks for it.
        self.round.needs_sync |= kind != Kind::Committed;
        let begin = self.round.builder.push(kind, index, payload) as u64;
        Ok(u32::try_from(self.active.end.saturating_add(begin)).unwrap_or(u32::MAX))
    }

    fn fits(&self, payload: usize) -> bool {
        let is_first = self.round.builder.is_empty() && self.active.is_blank();
        let state = if is_first { STATE_BYTES } else { 0 };
        let bytes = self.round.builder.len().saturating_add(state);
        self.active.has_room(bytes.saturating_add(record_bytes(payload)), TAIL_BYTES)
    }

    /// So that older segments can go: the first batch of each holds all that is not an entry.
    fn repeat_state(&mut self) {
        let builder = &mut self.round.builder;
        if let Some(vote) = &self.content.vote {
            builder.push(Kind::Vote, Index::default(), vote);
        }
        if let Some(committed) = &self.content.committed {
            builder.push(Kind::Committed, Index::default(), committed);
        }
        if let Some(frontier) = &self.content.purged {
            builder.push(Kind::Purge, frontier.upto, &frontier.note);
        }
    }

    fn io(&self, doing: &'static str) -> impl Fn(std::io::Error) -> WalError + use<> {
        let path = self.dir.join(segment_name(self.active.place.segment));
        move |error| WalError::io(doing, &path, error)
    }

    /// Writes the current batch behind the last one. Returns its length.
    fn write_batch(&mut self) -> Result<u64, WalError> {
        let active = &mut self.active;
        let synced_offset = u32::try_from(active.synced_to).unwrap_or(u32::MAX);
        let link = Link { previous: active.chain, synced_offset, synced: self.synced };
        let (bytes, check) = self.round.builder.finish(active.place, active.end, link);
        let length = bytes.len() as u64;
        // Zeros behind the batch end the log even if the file has had another life.
        if active.end.saturating_add(length).saturating_add(8) <= active.size {
            bytes.extend_from_slice(&[0; 8]);
        }
        let written = active.file.write_all_at(bytes, active.end);
        self.round.builder.clear();
        written.map_err(self.io("write"))?;
        self.active.end = self.active.end.saturating_add(length);
        self.active.chain = check;
        self.active.ends_with_marker = false;
        Ok(length)
    }

    /// Makes all that is written durable. Returns whether that took a sync.
    fn sync_all(&mut self) -> Result<bool, WalError> {
        if self.active.synced_to == self.active.end {
            return Ok(false);
        }
        self.active.file.sync_data().map_err(self.io("sync"))?;
        self.active.synced_to = self.active.end;
        self.synced = self.content.last_or_purged();
        Ok(true)
    }

    /// One write, one sync, then the answers.
    fn flush(&mut self) -> Result<(), WalError> {
        let began = self.clock.monotonic();
        if !self.round.builder.is_empty() {
            let bytes = self.write_batch()?;
            self.round.bytes = self.round.bytes.saturating_add(bytes);
        }
        let written = self.clock.monotonic();
        if std::mem::take(&mut self.round.needs_sync) && self.sync_all()? {
            let sync = self.clock.monotonic().saturating_sub(written);
            let write = written.saturating_sub(began);
            let (requests, entries) = (self.round.answers.len(), self.round.entries);
            let bytes = std::mem::take(&mut self.round.bytes);
            let upto = self.synced;
            self.observer.synced(Synced { began, write, sync, upto, bytes, requests, entries });
            self.round.entries = 0;
        }
        self.view.publish(&mut self.round.changes, self.round.stamp.take());
        self.round.answers.drain(..).for_each(|answer| answer.finish(Ok(())));
        Ok(())
    }

    /// Goes on in the next segment. Order: all batches here durable; next header durable; its name
    /// durable; seal here durable; only then is anything written there.
    fn roll(&mut self) -> Result<(), WalError> {
        self.sync_all()?;
        let id = self.active.place.segment.saturating_add(1);
        let header = Header {
            cluster: self.options.cluster,
            node: self.options.node,
            segment: id,
            first_index: self.content.range.map(|(first, _)| first),
            next_index: self.content.expected(),
            salt: self.options.salt(id),
            size: self.options.segment_size_bytes,
            chain: self.active.chain,
        };
        let spare = self.spares.take()?;
        let (file, crc) = self.spares.install(&spare, &header)?;
        self.round.builder.push(Kind::Seal, Index::default(), b"");
        self.write_batch()?;
        self.sync_all()?;
        self.active = Active::begin(file.clone(), &header, crc);
        self.view.push_segment(Segment::new(id, file));
        self.retire_due = self.content.purged.is_some();
        self.observer.rolled(id);
        Ok(())
    }

    fn mark(&mut self) -> Result<(), WalError> {
        let room = self.active.has_room(0, TAIL_BYTES);
        let blank = self.active.is_blank() || self.active.synced_to == HEADER_BYTES;
        if blank || self.active.ends_with_marker || !room {
            return Ok(());
        }
        self.round.builder.push(Kind::Marker, Index::default(), b"");
        self.write_batch()?;
        self.active.ends_with_marker = true;
        Ok(())
    }

    /// Gives up segments that a durable purge frontier has passed (W9).
    fn retire(&mut self) -> Result<(), WalError> {
        let Some(upto) = self.content.purged_upto().filter(|_| self.retire_due) else {
            return Ok(());
        };
        // Until its first batch is durable the active segment does not repeat what older ones say.
        if self.active.synced_to == HEADER_BYTES {
            return Ok(());
        }
        while let Some(segment) = self.view.pop_purged(upto) {
            self.spares.retire(&segment)?;
            self.observer.retired(segment.id);
        }
        self.retire_due = false;
        Ok(())
    }

    /// Stops for good: everyone who waits gets the first cause.
    fn fail(&mut self, error: &WalError) {
        if self.failed.is_some() {
            return;
        }
        self.failed = Some(error.clone());
        self.view.poison(error);
        self.observer.failed(error);
        self.round.answers.drain(..).for_each(|answer| answer.finish(Err(error.clone())));
    }
}
