//! The spans of replication: which recorded writes an entry, a batch, a message, a sync works for.
//!
//! Between a write and what it causes stand queues that batch: openraft's, the log's, each
//! follower's. So a recorded write is remembered by its index, and whoever has handled a range of
//! indexes asks here for whom that was.
//!
//! A batch is a child of the first recorded write that it carries, so that one sampled write shows
//! all it caused as one tree, and links all of them; each further write links the batch
//! (docs/adr/0010-traces.md).
//!
//! # Invariants
//! - S1 Memory is bounded: the last [`KEPT`] recorded writes.
//! - S2 While nothing is recorded, asking costs one atomic load.
//!
//! # Not here
//! Sampling, sending (`telemetry::traces`).

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::telemetry::exemplars::Exemplar;
use crate::telemetry::traces::Kind;
use crate::telemetry::{Span, TraceContext, Traces};
use crate::types::{Index, NodeName};
use crate::wal::Synced;

/// Recorded writes that are remembered.
const KEPT: usize = 4096;

/// Makes the spans of replication. Clones are the same.
#[derive(Clone)]
pub struct Spans {
    traces: Traces,
    marks: Arc<Marks>,
}

#[derive(Default)]
struct Marks {
    /// The newest marked index and one more; 0 while there is none.
    end: AtomicU64,
    /// Ascending by index.
    ring: Mutex<VecDeque<Mark>>,
}

/// A recorded write, or the last entry of a recorded message from the leader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Mark {
    index: Index,
    context: TraceContext,
    /// When it came into this node's log.
    at: Duration,
    /// The batch that wrote it, if that is another's child.
    batch: Option<TraceContext>,
}

impl Spans {
    /// Into these traces.
    pub fn new(traces: Traces) -> Self {
        Self { traces, marks: Arc::default() }
    }

    /// As [`Traces::exemplar`].
    pub(super) fn exemplar(&self, span: &Span) -> Option<Exemplar> {
        self.traces.exemplar(span.context())
    }

    /// Remembers for whom the entry at `index` is written, and that this was at `at`.
    pub(super) fn mark(&self, index: Index, context: TraceContext, at: Duration) {
        if !context.is_sampled || !self.traces.are_on() {
            return;
        }
        let mut ring = self.marks.lock();
        // What a new leader overwrites is nobody's any more.
        while ring.back().is_some_and(|mark| mark.index >= index) {
            ring.pop_back();
        }
        if ring.len() >= KEPT {
            ring.pop_front();
        }
        ring.push_back(Mark { index, context, at, batch: None });
        self.marks.end.store(index.next().get(), Ordering::Relaxed);
    }

    /// Entries from `first` on are gone.
    pub(super) fn forget_from(&self, first: Index) {
        if self.marks.end.load(Ordering::Relaxed) > first.get() {
            let mut ring = self.marks.lock();
            ring.retain(|mark| mark.index < first);
            let end = ring.back().map_or(0, |mark| mark.index.next().get());
            self.marks.end.store(end, Ordering::Relaxed);
        }
    }

    /// The log has made a batch durable.
    pub fn logged(&self, synced: &Synced) {
        let Some(upto) = synced.upto else { return };
        let Some(ahead) = (synced.entries as u64).checked_sub(1) else { return };
        let first = Index::new(upto.get().saturating_sub(ahead));
        let marks = self.marks.within(first, upto);
        let mut span = self.batch(&marks, "raft.append", Kind::Internal, (first, upto));
        let Some(context) = span.context() else { return };
        self.marks.set_batch(&marks, context);
        span.set("bitacora.wal.bytes", synced.bytes);
        let written = synced.began.saturating_add(synced.write);
        let ended = written.saturating_add(synced.sync);
        let queued = marks.iter().map(|mark| mark.at).min().unwrap_or(synced.began);
        span.began_at(queued.min(synced.began));
        for (name, began, ended) in
            [("wal.append", synced.began, written), ("wal.fsync", written, ended)]
        {
            let mut part = span.child(name, Kind::Internal);
            part.began_at(began);
            part.end_at(ended);
        }
        span.end_at(ended);
    }

    /// Entries of this range are about to be sent to a follower.
    pub(super) fn sending(&self, first: Index, last: Index, peer: Option<&NodeName>) -> Span {
        let marks = self.marks.within(first, last);
        let mut span = self.batch(&marks, "POST /replicate", Kind::Client, (first, last));
        if let (true, Some(peer)) = (span.is_recorded(), peer) {
            span.set("bitacora.peer", peer.to_string());
        }
        span
    }

    /// Entries of this range were applied since `began`.
    pub(super) fn applied(&self, first: Index, last: Index, began: Duration) {
        let marks = self.marks.within(first, last);
        self.batch(&marks, "raft.apply", Kind::Internal, (first, last)).began_at(began);
    }

    /// The batch that wrote the entry, if that is in another write's tree.
    pub(super) fn batch_of(&self, index: Index) -> Option<TraceContext> {
        self.marks.within(index, index).first()?.batch
    }

    fn batch(
        &self,
        marks: &[Mark],
        name: &'static str,
        kind: Kind,
        (first, last): (Index, Index),
    ) -> Span {
        let Some(parent) = marks.first() else { return Span::none() };
        let mut span = self.traces.follow(Some(parent.context), kind);
        span.name(name);
        span.link(marks.iter().map(|mark| mark.context));
        span.set("bitacora.raft.first_index", first.get());
        span.set("bitacora.raft.entries", last.next().get().saturating_sub(first.get()));
        span
    }
}

impl Marks {
    fn lock(&self) -> MutexGuard<'_, VecDeque<Mark>> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn within(&self, first: Index, last: Index) -> Vec<Mark> {
        if self.end.load(Ordering::Relaxed) <= first.get() {
            return Vec::new();
        }
        let ring = self.lock();
        let from = ring.partition_point(|mark| mark.index < first);
        ring.range(from..).take_while(|mark| mark.index <= last).copied().collect()
    }

    fn set_batch(&self, marks: &[Mark], batch: TraceContext) {
        // The first of them is the batch's parent.
        let Some(second) = marks.get(1) else { return };
        let mut ring = self.lock();
        let from = ring.partition_point(|mark| mark.index < second.index);
        let others = ring.range_mut(from..).zip(marks.iter().skip(1));
        let same = others.filter(|(mark, known)| mark.index == known.index);
        same.for_each(|(mark, _)| mark.batch = Some(batch));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::traces::{Finished, Sampler, TraceId, collecting};

    fn write(trace: u128) -> TraceContext {
        TraceContext { trace: TraceId(trace), span: 1, is_sampled: true }
    }

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn synced(upto: u64, entries: usize) -> Synced {
        Synced {
            began: ms(20),
            write: ms(1),
            sync: ms(4),
            upto: Some(Index::new(upto)),
            bytes: 100,
            requests: 1,
            entries,
        }
    }

    fn named<'a>(spans: &'a [Finished], name: &str) -> &'a Finished {
        spans.iter().find(|span| span.name == name).unwrap()
    }

    #[test]
    fn a_batch_is_the_first_writes_child_and_links_all_that_it_carries() {
        let (traces, kept) = collecting(Sampler::default());
        let spans = Spans::new(traces);
        for (index, trace) in [(10, 1), (12, 2), (20, 3)] {
            spans.mark(Index::new(index), write(trace), ms(index));
        }
        spans.logged(&synced(15, 6));
        let made = kept.take();
        let batch = named(&made, "raft.append");
        assert_eq!(batch.parent, Some(write(1)));
        assert_eq!(batch.links, vec![write(1), write(2)]);
        assert_eq!((batch.began, batch.ended), (ms(10), ms(25)), "from the queue to the disk");
        let (append, fsync) = (named(&made, "wal.append"), named(&made, "wal.fsync"));
        assert_eq!((append.parent, fsync.parent), (Some(batch.context), Some(batch.context)));
        assert_eq!((fsync.began, fsync.ended), (ms(21), ms(25)));
        assert_eq!(spans.batch_of(Index::new(10)), None, "it is in this one's tree");
        assert_eq!(spans.batch_of(Index::new(12)), Some(batch.context));
        assert_eq!(spans.batch_of(Index::new(20)), None);
    }

    #[test]
    fn a_range_without_recorded_writes_makes_no_span_s2() {
        let (traces, kept) = collecting(Sampler::default());
        let spans = Spans::new(traces);
        spans.logged(&synced(5, 5));
        spans.mark(Index::new(7), write(1), ms(1));
        spans.mark(Index::new(8), TraceContext { is_sampled: false, ..write(2) }, ms(1));
        spans.logged(&synced(6, 6));
        spans.logged(&synced(9, 2));
        drop(spans.sending(Index::new(8), Index::new(9), None));
        assert!(kept.take().is_empty());
    }

    #[test]
    fn what_was_truncated_is_nobodys_any_more() {
        let (traces, kept) = collecting(Sampler::default());
        let spans = Spans::new(traces);
        for index in 5..=9 {
            spans.mark(Index::new(index), write(u128::from(index)), ms(1));
        }
        spans.forget_from(Index::new(8));
        drop(spans.sending(Index::new(8), Index::new(9), None));
        assert!(kept.take().is_empty());
        spans.mark(Index::new(6), write(66), ms(1));
        drop(spans.sending(Index::new(6), Index::new(9), None));
        let made = kept.take();
        assert_eq!(made[0].links, vec![write(66)], "an overwritten index counts once");
    }

    #[test]
    fn only_so_many_writes_are_remembered_s1() {
        let (traces, _kept) = collecting(Sampler::default());
        let spans = Spans::new(traces);
        for index in 1..=2 * KEPT as u64 {
            spans.mark(Index::new(index), write(1), ms(1));
        }
        assert_eq!(spans.marks.lock().len(), KEPT);
    }
}
