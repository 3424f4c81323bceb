//! When this node's log got its newest entries, and how large they were.
//!
//! What a write spent where and how far a follower is behind is told from it, beside the
//! acknowledgements (`acks`). All times are the node's monotonic clock.
//!
//! # Invariants
//! - P1 Memory is bounded: [`KEPT`] batches. When it is full the older half keeps only what is
//!   needed to tell an age within a [`GRAIN`]th of it: a follower's lag is told from the oldest
//!   entry it lacks, however many came after it.
//!
//! # Not here
//! Who has which entry (`acks`), the entries themselves (`wal`).

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::types::Index;

/// Batches kept: at one an `append`, some seconds of full load without a gap.
const KEPT: usize = 8192;
/// The part of an age by which it may be told too short.
const GRAIN: u32 = 64;

/// The newest batches of this node's log, since the process began.
#[derive(Default)]
pub(super) struct Appended(Mutex<Batches>);

#[derive(Default)]
struct Batches {
    batches: VecDeque<Batch>,
    bytes: u64,
}

/// Entries that came together.
#[derive(Debug, Clone, Copy)]
struct Batch {
    last: Index,
    at: Duration,
    /// Bytes of this one and all before it.
    bytes: u64,
}

/// What comes after an index.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Behind {
    /// Bytes of it.
    pub bytes: u64,
    /// When the first of it came; `None` if there is nothing, or nothing is known of it.
    pub since: Option<Duration>,
}

impl Appended {
    fn lock(&self) -> MutexGuard<'_, Batches> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The entries `first..=last` came at `at`; whatever was there from `first` on is gone.
    pub(super) fn came(&self, (first, last): (Index, Index), at: Duration, bytes: u64) {
        let mut batches = self.lock();
        while batches.batches.back().is_some_and(|batch| batch.last >= first) {
            batches.batches.pop_back();
            batches.bytes = batches.batches.back().map_or(0, |batch| batch.bytes);
        }
        if batches.batches.len() >= KEPT {
            batches.thin_out(at);
        }
        batches.bytes = batches.bytes.saturating_add(bytes);
        let bytes = batches.bytes;
        batches.batches.push_back(Batch { last, at, bytes });
    }

    /// When the entry came.
    pub(super) fn at(&self, index: Index) -> Option<Duration> {
        let batches = self.lock();
        let place = batches.after(index.get().checked_sub(1).map(Index::new));
        batches.batches.get(place).map(|batch| batch.at)
    }

    /// What came after `upto`; `None`: all that is known.
    pub(super) fn behind(&self, upto: Option<Index>) -> Behind {
        let batches = self.lock();
        let place = batches.after(upto);
        let before = place.checked_sub(1).and_then(|before| batches.batches.get(before));
        let since = batches.batches.get(place).map(|batch| batch.at);
        let known = before.map_or(0, |before| before.bytes);
        let bytes = if since.is_some() { batches.bytes.saturating_sub(known) } else { 0 };
        Behind { bytes, since }
    }
}

impl Batches {
    /// The place of the first batch with an entry after `upto`.
    fn after(&self, upto: Option<Index>) -> usize {
        self.batches.partition_point(|batch| Some(batch.last) <= upto)
    }

    /// Leaves out old batches whose entries may as well count to the next one.
    fn thin_out(&mut self, now: Duration) {
        let mut kept: VecDeque<Batch> = VecDeque::with_capacity(KEPT);
        for (place, batch) in self.batches.iter().enumerate() {
            let next = self.batches.get(place.saturating_add(1)).map_or(now, |next| next.at);
            let too_far = |before: &Batch| {
                let gap = next.saturating_sub(before.at);
                gap > now.saturating_sub(next) / GRAIN
            };
            if place >= KEPT / 2 || kept.back().is_none_or(too_far) {
                kept.push_back(*batch);
            }
        }
        // No clock runs so that all of them are needed, but the bound must not depend on it.
        if kept.len() >= KEPT {
            kept.pop_front();
        }
        self.batches = kept;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn range(first: u64, last: u64) -> (Index, Index) {
        (Index::new(first), Index::new(last))
    }

    #[test]
    fn an_entry_came_with_its_batch() {
        let appended = Appended::default();
        assert_eq!(appended.at(Index::new(1)), None);
        appended.came(range(1, 3), ms(10), 30);
        appended.came(range(4, 4), ms(20), 10);
        assert_eq!(appended.at(Index::new(0)), Some(ms(10)), "before all that is known");
        assert_eq!(appended.at(Index::new(3)), Some(ms(10)));
        assert_eq!(appended.at(Index::new(4)), Some(ms(20)));
        assert_eq!(appended.at(Index::new(5)), None);
    }

    #[test]
    fn what_a_follower_lacks_has_bytes_and_an_age() {
        let appended = Appended::default();
        appended.came(range(1, 3), ms(10), 30);
        appended.came(range(4, 4), ms(20), 10);
        let behind = |upto| appended.behind(upto);
        assert_eq!(behind(Some(Index::new(4))), Behind::default());
        assert_eq!(behind(Some(Index::new(3))), Behind { bytes: 10, since: Some(ms(20)) });
        assert_eq!(behind(Some(Index::new(2))), Behind { bytes: 40, since: Some(ms(10)) });
        assert_eq!(behind(None), Behind { bytes: 40, since: Some(ms(10)) });
    }

    #[test]
    fn entries_that_were_given_up_are_forgotten() {
        let appended = Appended::default();
        appended.came(range(1, 3), ms(10), 30);
        appended.came(range(4, 9), ms(20), 60);
        appended.came(range(4, 4), ms(30), 10);
        assert_eq!(appended.at(Index::new(4)), Some(ms(30)));
        assert_eq!(appended.at(Index::new(5)), None);
    }

    #[test]
    fn memory_is_bounded_and_the_past_is_told_more_coarsely_p1() {
        let appended = Appended::default();
        let count = 5 * KEPT as u64;
        for index in 1..=count {
            appended.came(range(index, index), ms(index), 1);
        }
        assert!(appended.lock().batches.len() <= KEPT);
        assert_eq!(appended.at(Index::new(count)), Some(ms(count)));
        let now = ms(count);
        for upto in [0, 10, 5000, count / 2, count - 10] {
            let behind = appended.behind(Some(Index::new(upto)));
            let age = now.saturating_sub(behind.since.unwrap());
            let true_age = ms(count - upto - 1);
            assert!(
                age <= true_age && age >= true_age.saturating_sub(true_age / GRAIN),
                "{upto}: {behind:?}"
            );
            let lacks = count - upto;
            assert!(behind.bytes >= lacks && behind.bytes <= lacks + lacks / 32, "{behind:?}");
        }
    }

    #[test]
    fn batches_of_one_moment_are_bounded_too_p1() {
        let appended = Appended::default();
        for index in 1..=3 * KEPT as u64 {
            appended.came(range(index, index), ms(7), 1);
        }
        assert!(appended.lock().batches.len() <= KEPT);
    }
}
