//! What a log holds, as a value: the range of entries, the purge frontier and the two slots.
//!
//! The same rules move three of these: what callers see ([`super::view`]), what the writer has put
//! in the file ([`super::writer`]) and what recovery reads back ([`super::recovery`]). One set of
//! rules, so the three cannot disagree.
//!
//! # Invariants
//! - W1 `purged < first <= last`; the purge frontier never goes back.
//! - W2 Indexes are consecutive: an entry goes to [`Content::expected`] or, while the log is empty
//!   and nothing was ever purged, anywhere.

use bytes::Bytes;

use super::request::{Slot, Work};
use crate::types::Index;

/// The purge frontier and what the caller wrote beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Frontier {
    pub(crate) upto: Index,
    pub(crate) note: Bytes,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Content {
    pub(crate) purged: Option<Frontier>,
    /// First and last entry.
    pub(crate) range: Option<(Index, Index)>,
    pub(crate) vote: Option<Bytes>,
    pub(crate) committed: Option<Bytes>,
}

impl Content {
    /// Where the next entry must go; `None`: anywhere.
    pub(crate) fn expected(&self) -> Option<Index> {
        self.last_or_purged().map(Index::next)
    }

    /// The last entry, or the frontier if there is none after it.
    pub(crate) fn last_or_purged(&self) -> Option<Index> {
        let frontier = self.purged.as_ref().map(|frontier| frontier.upto);
        self.range.map(|(_, last)| last).or(frontier)
    }

    /// Last index that was purged.
    pub(crate) fn purged_upto(&self) -> Option<Index> {
        self.purged.as_ref().map(|frontier| frontier.upto)
    }

    /// Takes the entry at `index` in; the caller has checked [`Content::expected`].
    pub(crate) fn append(&mut self, index: Index) {
        let first = self.range.map_or(index, |(first, _)| first);
        self.range = Some((first, index));
    }

    /// Drops entries at `from` and above.
    pub(crate) fn truncate_from(&mut self, from: Index) {
        self.range = match (self.range, from.previous()) {
            (Some((first, last)), Some(before)) if before >= first => {
                Some((first, last.min(before)))
            }
            _ => None,
        };
    }

    /// Drops entries up to `upto`. Returns whether the frontier moved.
    pub(crate) fn purge(&mut self, upto: Index, note: Bytes) -> bool {
        if self.purged_upto().is_some_and(|known| known >= upto) {
            return false;
        }
        self.purged = Some(Frontier { upto, note });
        self.range = self
            .range
            .filter(|(_, last)| *last > upto)
            .map(|(first, last)| (first.max(upto.next()), last));
        true
    }

    /// Puts bytes in a slot.
    pub(crate) fn save(&mut self, slot: Slot, bytes: Bytes) {
        match slot {
            Slot::Vote => self.vote = Some(bytes),
            Slot::Committed => self.committed = Some(bytes),
        }
    }

    /// What a slot holds.
    pub(crate) fn saved(&self, slot: Slot) -> Option<&Bytes> {
        match slot {
            Slot::Vote => self.vote.as_ref(),
            Slot::Committed => self.committed.as_ref(),
        }
    }

    /// Does what a request asks for, as far as it shows here.
    pub(crate) fn apply(&mut self, work: &Work) {
        match work {
            Work::Append { first, payloads } => {
                let mut index = *first;
                for _ in payloads {
                    self.append(index);
                    index = index.next();
                }
            }
            Work::TruncateFrom(from) => self.truncate_from(*from),
            Work::Save(slot, bytes) => self.save(*slot, bytes.clone()),
            Work::Purge { upto, note } => {
                self.purge(*upto, note.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(first: u64, last: u64) -> Content {
        let mut content = Content::default();
        (first..=last).for_each(|index| content.append(Index::new(index)));
        content
    }

    #[test]
    fn an_empty_log_takes_any_index_until_something_was_purged() {
        let mut content = with(3, 5);
        content.truncate_from(Index::new(3));
        assert_eq!(content.expected(), None);
        content.purge(Index::new(9), Bytes::new());
        assert_eq!(content.expected(), Some(Index::new(10)));
    }

    #[test]
    fn the_purge_frontier_never_goes_back() {
        let mut content = with(0, 9);
        assert!(content.purge(Index::new(4), Bytes::from_static(b"4")));
        assert!(!content.purge(Index::new(3), Bytes::from_static(b"3")));
        assert_eq!(content.range, Some((Index::new(5), Index::new(9))));
        content.truncate_from(Index::new(0));
        assert_eq!(content.expected(), Some(Index::new(5)));
    }
}
