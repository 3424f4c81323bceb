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
//! - S1 Memory is bounded: the last 4096 recorded writes.
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

/// Links of one span; the standard's default for `OTEL_SPAN_LINK_COUNT_LIMIT`.
const LINKS_MAX: usize = 128;
/// A message that carries an older write again is not part of that write's trace.
const SENT_AGAIN_MAX: Duration = Duration::from_secs(2);

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

    /// A message of the leader's that belongs to a trace. Its envelope was right: a stranger's has
    /// none.
    pub(super) fn received(&self, trace: Option<TraceContext>) -> Span {
        let mut span = self.traces.follow(trace, Kind::Server);
        span.name("POST /replicate");
        span
    }

    /// Remembers for whom the entry at `index` is written, and that this was at `at`.
    pub(super) fn mark(&self, index: Index, context: TraceContext, at: Duration) {
        if !context.is_sampled || !self.traces.are_on() {
            return;
        }
        let mark = Mark { index, context, at, batch: None };
        let mut ring = self.marks.lock();
        let place = ring.partition_point(|known| known.index < index);
        match ring.get_mut(place) {
            Some(known) if known.index == index => *known = mark,
            // A message that was sent again may bring what is older than what has come meanwhile.
            _ => ring.insert(place, mark),
        }
        if ring.len() > KEPT {
            ring.pop_front();
        }
        self.marks.set_end(&ring);
    }

    /// The entry at `index` was not taken.
    pub(super) fn unmark(&self, index: Index, context: TraceContext) {
        let mut ring = self.marks.lock();
        ring.retain(|mark| mark.index != index || mark.context != context);
        self.marks.set_end(&ring);
    }

    /// Entries from `first` on are gone.
    pub(super) fn forget_from(&self, first: Index) {
        if self.marks.end.load(Ordering::Relaxed) > first.get() {
            let mut ring = self.marks.lock();
            ring.retain(|mark| mark.index < first);
            self.marks.set_end(&ring);
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

    /// Entries of this range are about to be sent to a follower. One that is gone is tried again
    /// and again: that belongs to no write any more.
    pub(super) fn sending(
        &self,
        range: (Index, Index),
        peer: Option<&NodeName>,
        now: Duration,
    ) -> Span {
        let mut marks = self.marks.within(range.0, range.1);
        marks.retain(|mark| now.saturating_sub(mark.at) <= SENT_AGAIN_MAX);
        let mut span = self.batch(&marks, "POST /replicate", Kind::Client, range);
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
        span.link(marks.iter().take(LINKS_MAX).map(|mark| mark.context));
        span.set("bitacora.raft.first_index", first.get());
        span.set("bitacora.raft.entries", last.next().get().saturating_sub(first.get()));
        span
    }
}

impl Marks {
    fn lock(&self) -> MutexGuard<'_, VecDeque<Mark>> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_end(&self, ring: &VecDeque<Mark>) {
        let end = ring.back().map_or(0, |mark| mark.index.next().get());
        self.end.store(end, Ordering::Relaxed);
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
        drop(sending(&spans, 8, 9));
        assert!(kept.take().is_empty());
    }

    fn sending(spans: &Spans, first: u64, last: u64) -> Span {
        spans.sending((Index::new(first), Index::new(last)), None, ms(2))
    }

    #[test]
    fn what_is_sent_again_long_after_belongs_to_no_write() {
        let (traces, kept) = collecting(Sampler::default());
        let spans = Spans::new(traces);
        spans.mark(Index::new(5), write(1), ms(0));
        for at in [ms(10), ms(1500), ms(2500), ms(60_000)] {
            drop(spans.sending((Index::new(5), Index::new(5)), None, at));
        }
        assert_eq!(kept.take().len(), 2);
    }

    #[test]
    fn a_refused_message_leaves_no_mark_and_harms_no_other() {
        let (traces, kept) = collecting(Sampler::default());
        let spans = Spans::new(traces);
        spans.mark(Index::new(9), write(9), ms(1));
        spans.mark(Index::new(7), write(7), ms(1));
        spans.unmark(Index::new(7), write(70));
        drop(sending(&spans, 7, 9));
        assert_eq!(kept.take()[0].links, vec![write(7), write(9)]);
        spans.unmark(Index::new(7), write(7));
        spans.mark(Index::new(9), write(90), ms(1));
        drop(sending(&spans, 7, 9));
        assert_eq!(kept.take()[0].links, vec![write(90)]);
    }

    #[test]
    fn what_was_truncated_is_nobodys_any_more() {
        let (traces, kept) = collecting(Sampler::default());
        let spans = Spans::new(traces);
        for index in 5..=9 {
            spans.mark(Index::new(index), write(u128::from(index)), ms(1));
        }
        spans.forget_from(Index::new(8));
        drop(sending(&spans, 8, 9));
        assert!(kept.take().is_empty());
        spans.forget_from(Index::new(6));
        spans.mark(Index::new(6), write(66), ms(1));
        drop(sending(&spans, 6, 9));
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
