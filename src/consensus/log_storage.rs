//! openraft's log over our write-ahead log.
//!
//! # Invariants
//! - L1 `append` returns when the entries can be read; its callback runs after their fdatasync.
//! - L2 `save_vote`, `truncate_after` and `purge` return after their own fdatasync, in one stream
//!   with the entries, so that nothing overtakes a vote.
//! - L3 A reader gets at most [`READ_MAX_BYTES`] at a time where openraft allows it.

use std::fmt::Debug;
use std::io;
use std::ops::{Bound, Range, RangeBounds};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use futures_util::{Stream, StreamExt, TryStreamExt, stream};
use openraft::storage::{IOFlushed, LogState, RaftLogReader, RaftLogStorage};
use openraft::{EntryPayload, OptionalSend};
use tokio::sync::oneshot;

use super::acks::Acks;
use super::codec;
use super::error::ReadLogError;
use super::raft_types::{Entry, LogId, Payload, TypeConfig, Vote};
use super::spans::Spans;
use crate::os::clock::Clock;
use crate::tasks::Tasks;
use crate::telemetry::handles::Counter;
use crate::types::{Index, Position, RaftId, Term};
use crate::wal::{self, Slot, WalError};

/// How much a reader takes in one go: what a message to a follower carries.
pub(super) const READ_MAX_BYTES: u64 = 1 << 20;

/// The raft log of one node.
#[derive(Clone)]
pub(super) struct LogStorage {
    wal: wal::Handle,
    tasks: Tasks,
    receipts: Receipts,
    spans: Spans,
    /// A commit hint waits for the log's thread. One at a time: a slow disk must not fill the queue
    /// with hints.
    hint_waits: Arc<AtomicBool>,
}

/// Where the leader's own fdatasyncs are reported for receipts.
#[derive(Clone)]
pub(super) struct Receipts {
    /// This node.
    pub me: RaftId,
    /// The board.
    pub acks: Arc<Acks>,
    /// The clock of all times on it.
    pub clock: Arc<dyn Clock>,
    /// Counts ends of the log that were given up.
    pub truncations: Counter,
}

impl LogStorage {
    /// Over an open log.
    pub(super) fn new(wal: wal::Handle, tasks: Tasks, receipts: Receipts, spans: Spans) -> Self {
        Self { wal, tasks, receipts, spans, hint_waits: Arc::default() }
    }

    async fn read(&self, from: u64, end: u64, max_bytes: u64) -> io::Result<Vec<Bytes>> {
        let range = Index::new(from)..Index::new(end);
        read_encoded(&self.wal, &self.tasks, range, max_bytes).await.map_err(io::Error::other)
    }

    /// The part of a range that the log has, as `from..end`.
    fn clamp(&self, range: &impl RangeBounds<u64>) -> (u64, u64) {
        let bounds = self.wal.bounds();
        let first = bounds.first.map_or(0, Index::get);
        let after_last = bounds.last.map_or(0, |last| last.next().get());
        let from = match range.start_bound() {
            Bound::Included(start) => *start,
            Bound::Excluded(start) => start.saturating_add(1),
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(end) => end.saturating_add(1),
            Bound::Excluded(end) => *end,
            Bound::Unbounded => u64::MAX,
        };
        (from.max(first), end.min(after_last))
    }

    fn last_purged(&self) -> io::Result<Option<LogId>> {
        let decode =
            |(_, note): (Index, Bytes)| codec::decode_log_id(note).map_err(io::Error::from);
        self.wal.purged().map(decode).transpose()
    }
}

/// Encoded entries of a range, at least one if there is one, then up to `max_bytes`. What is not in
/// memory is read on another thread.
pub(super) async fn read_encoded(
    wal: &wal::Handle,
    tasks: &Tasks,
    range: Range<Index>,
    max_bytes: u64,
) -> Result<Vec<Bytes>, ReadLogError> {
    if wal.is_cached(range.start) {
        return Ok(wal.read(range.start, range.end, max_bytes)?);
    }
    let wal = wal.clone();
    let read = move || wal.read(range.start, range.end, max_bytes);
    let read = tasks.spawn_blocking("log-read", read).await;
    Ok(read.map_err(|_| ReadLogError::Stopping)??)
}

fn to_io(error: WalError) -> io::Error {
    io::Error::other(error)
}

/// A callback that wakes the one who waits for it.
fn signal() -> (wal::Done, impl Future<Output = io::Result<()>>) {
    let (sender, receiver) = oneshot::channel();
    // The receiver may be gone: then nobody waits any more.
    let done: wal::Done = Box::new(move |result| drop(sender.send(result)));
    let wait = async move {
        match receiver.await {
            Ok(result) => result.map_err(to_io),
            Err(_) => Err(io::Error::other("the log's thread is gone")),
        }
    };
    (done, wait)
}

impl RaftLogReader<TypeConfig> for LogStorage {
    async fn try_get_log_entries<RB>(&mut self, range: RB) -> Result<Vec<Entry>, io::Error>
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        self.entries_stream(range).await.try_collect().await
    }

    async fn entries_stream<RB>(
        &mut self,
        range: RB,
    ) -> impl Stream<Item = Result<Entry, io::Error>> + OptionalSend
    where
        RB: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let (from, end) = self.clamp(&range);
        let log = self.clone();
        let chunks = stream::try_unfold(from, move |next| {
            let log = log.clone();
            async move {
                if next >= end {
                    return Ok::<_, io::Error>(None);
                }
                let chunk = log.read(next, end, READ_MAX_BYTES).await?;
                if chunk.is_empty() {
                    let why = format!("the log has no entry {next}, wanted up to {end}");
                    return Err(io::Error::other(why));
                }
                let next = next.saturating_add(chunk.len() as u64);
                Ok(Some((chunk, next)))
            }
        });
        let decode = |bytes| codec::decode_entry(bytes).map_err(io::Error::from);
        chunks.map_ok(move |chunk| stream::iter(chunk).map(decode)).try_flatten().boxed()
    }

    async fn limited_get_log_entries(
        &mut self,
        start: u64,
        end: u64,
    ) -> Result<Vec<Entry>, io::Error> {
        let entries = self.read(start, end, READ_MAX_BYTES).await?;
        let decode = |bytes| codec::decode_entry(bytes).map_err(io::Error::from);
        entries.into_iter().map(decode).collect()
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, io::Error> {
        let decode = |bytes| codec::decode_vote(bytes).map_err(io::Error::from);
        self.wal.saved(Slot::Vote).map(decode).transpose()
    }
}

impl RaftLogStorage<TypeConfig> for LogStorage {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> Result<LogState<TypeConfig>, io::Error> {
        let last_purged_log_id = self.last_purged()?;
        let bounds = self.wal.bounds();
        let last_log_id = match (bounds.first, bounds.last) {
            (Some(_), Some(last)) => {
                let entries = self.read(last.get(), last.next().get(), 1).await?;
                let last = entries.into_iter().next();
                last.map(codec::decode_entry).transpose()?.map(|entry| entry.log_id)
            }
            _ => last_purged_log_id,
        };
        Ok(LogState { last_purged_log_id, last_log_id })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), io::Error> {
        let (done, saved) = signal();
        self.wal.save(Slot::Vote, codec::encode_vote(vote), done).map_err(to_io)?;
        saved.await
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), io::Error> {
        let Some(committed) = committed else { return Ok(()) };
        // Only a hint that shortens recovery: nobody waits for it, and it may be left out.
        if self.hint_waits.swap(true, Ordering::Relaxed) {
            return Ok(());
        }
        let waits = self.hint_waits.clone();
        let done: wal::Done = Box::new(move |_| waits.store(false, Ordering::Relaxed));
        match self.wal.save(Slot::Committed, codec::encode_log_id(committed), done) {
            Ok(()) | Err(WalError::Full) => Ok(()),
            Err(error) => Err(to_io(error)),
        }
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, io::Error> {
        let decode = |bytes| codec::decode_log_id(bytes).map_err(io::Error::from);
        self.wal.saved(Slot::Committed).map(decode).transpose()
    }

    async fn append<I>(
        &mut self,
        entries: I,
        callback: IOFlushed<TypeConfig>,
    ) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let mut first = None;
        let mut last = None;
        let mut payloads = Vec::new();
        for entry in entries {
            first.get_or_insert(entry.log_id);
            last = Some(entry.log_id);
            payloads.push(codec::encode_entry(&entry));
            if let EntryPayload::Normal(Payload { trace: Some(trace), .. }) = entry.payload {
                let now = self.receipts.clock.monotonic();
                self.spans.mark(Index::new(entry.log_id.index), *trace, now);
            }
        }
        let (Some(first), Some(last)) = (first, last) else {
            callback.io_completed(Ok(()));
            return Ok(());
        };
        let position =
            Position { term: Term::new(last.leader_id.term), index: Index::new(last.index) };
        let receipts = self.receipts.clone();
        let done: wal::Done = Box::new(move |result| {
            if result.is_ok() {
                let now = receipts.clock.monotonic();
                receipts.acks.durable(receipts.me, position, now, now);
            }
            callback.io_completed(result.map_err(to_io));
        });
        let (first, bytes) =
            (Index::new(first.index), payloads.iter().map(Bytes::len).sum::<usize>());
        let came = self.receipts.clock.monotonic();
        self.receipts.acks.appended.came((first, position.index), came, bytes as u64);
        self.wal.append(first, payloads, done).map_err(to_io)
    }

    async fn truncate_after(&mut self, last_log_id: Option<LogId>) -> Result<(), io::Error> {
        let (done, truncated) = signal();
        let after = last_log_id.map(|id| Index::new(id.index));
        self.spans.forget_from(after.map_or(Index::default(), Index::next));
        self.wal.truncate_after(after, done).map_err(to_io)?;
        self.receipts.truncations.increment();
        truncated.await
    }

    async fn purge(&mut self, log_id: LogId) -> Result<(), io::Error> {
        let (done, purged) = signal();
        let upto = Index::new(log_id.index);
        self.wal.purge(upto, codec::encode_log_id(log_id), done).map_err(to_io)?;
        purged.await
    }
}
