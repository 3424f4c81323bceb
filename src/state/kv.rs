//! The ordered map of keys, its views and its hash.
//!
//! Used by [`super::State`], which alone changes it. A persistent map: a view shares all of its
//! nodes with the map, and a change copies the few nodes on its way down.
//!
//! # Invariants
//! S3 to S7 of the module above.
//!
//! # Not here
//! Preconditions and outcomes (above), bytes of a snapshot (`snapshot`).

use std::fmt;
use std::ops::Bound;

use imbl::OrdMap;
use xxhash_rust::xxh3::{Xxh3Default, xxh3_128};

use crate::types::{Index, Key, Position, Value};

/// What is known of one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its value.
    pub value: Value,
    /// The index at which it came to be; a deleted key that is set again begins anew.
    pub create_index: Index,
    /// The index of its last change.
    pub modify_index: Index,
    /// How many entries set it since it came to be, from 1.
    pub version: u64,
}

impl Entry {
    /// The entry's share of the multiset hash: 128 bits over a canonical encoding, lengths first.
    fn digest(&self, key: &Key) -> u128 {
        let (key, value) = (key.as_bytes(), self.value.as_bytes());
        let mut hasher = Xxh3Default::new();
        hasher.update(&(key.len() as u64).to_le_bytes());
        hasher.update(&(value.len() as u64).to_le_bytes());
        hasher.update(&self.create_index.get().to_le_bytes());
        hasher.update(&self.modify_index.get().to_le_bytes());
        hasher.update(&self.version.to_le_bytes());
        hasher.update(key);
        hasher.update(value);
        hasher.digest128()
    }
}

/// A fingerprint of a whole state and of where it stands in the log. Two nodes that applied the
/// same entries have the same one; it guards against faults, not against forgery.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct StateHash(u128);

impl StateHash {
    /// The 16 bytes, little endian, as they stand in snapshots.
    pub const fn to_bytes(self) -> [u8; 16] {
        self.0.to_le_bytes()
    }
}

impl fmt::Display for StateHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for StateHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StateHash({self})")
    }
}

/// Which keys are asked for: all bounds must hold, an empty one always does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RangeQuery<'a> {
    /// The first key wanted, inclusive.
    pub start: &'a [u8],
    /// The first key not wanted any more; `None` is no end.
    pub end: Option<&'a [u8]>,
    /// What every key begins with.
    pub prefix: &'a [u8],
}

/// Some keys in order, and where to go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// Keys with what is known of them. Cheap copies: buffers are shared with the state.
    pub items: Vec<(Key, Entry)>,
    /// The `start` of the next page; `None` when this is the last one.
    pub next: Option<Key>,
}

/// The state at one point of the log: what was true there, for ever (S7).
#[derive(Debug, Clone, Default)]
pub struct StateView {
    map: OrdMap<Key, Entry>,
    applied: Option<Position>,
    key_bytes: u64,
    value_bytes: u64,
    /// Wrapping sum of the digests of all entries: order does not matter, and what was added can
    /// be taken out again.
    digests: u128,
}

impl StateView {
    /// What is known of a key.
    pub fn get(&self, key: &[u8]) -> Option<&Entry> {
        self.map.get(key)
    }

    /// The keys asked for, in order, found one by one as the iterator is driven.
    pub fn range<'a>(
        &'a self,
        query: RangeQuery<'a>,
    ) -> impl Iterator<Item = (&'a Key, &'a Entry)> + 'a {
        let first = query.start.max(query.prefix);
        let empty = query.end.is_some_and(|end| end <= first);
        let end = if empty { Some(first) } else { query.end };
        let bounds = (Bound::Included(first), end.map_or(Bound::Unbounded, Bound::Excluded));
        self.map
            .range::<_, [u8]>(bounds)
            .take_while(move |(key, _)| !empty && key.as_bytes().starts_with(query.prefix))
    }

    /// The first `limit` keys asked for.
    pub fn page(&self, query: RangeQuery<'_>, limit: usize) -> Page {
        let mut found = self.range(query).map(|(key, entry)| (key.clone(), entry.clone()));
        let items = found.by_ref().take(limit).collect();
        Page { items, next: found.next().map(|(key, _)| key) }
    }

    /// Every key in order.
    pub fn iter(&self) -> impl Iterator<Item = (&Key, &Entry)> + Send {
        self.map.iter()
    }

    /// Number of keys.
    pub fn len(&self) -> usize {
        self.map.len()
    }

    /// Whether there is no key.
    pub fn is_empty(&self) -> bool {
        self.map.is_empty()
    }

    /// Sum of the lengths of all keys in bytes.
    pub fn key_bytes(&self) -> u64 {
        self.key_bytes
    }

    /// Sum of the lengths of all values in bytes.
    pub fn value_bytes(&self) -> u64 {
        self.value_bytes
    }

    /// The last entry applied; `None` before the first.
    pub fn applied(&self) -> Option<Position> {
        self.applied
    }

    /// The fingerprint of every entry and of `applied`. O(1).
    pub fn hash(&self) -> StateHash {
        let mut place = [0_u8; 17];
        if let Some(applied) = self.applied {
            let (term, index) = (applied.term.get(), applied.index.get());
            let bytes = [1].into_iter().chain(term.to_le_bytes()).chain(index.to_le_bytes());
            place.iter_mut().zip(bytes).for_each(|(to, from)| *to = from);
        }
        StateHash(self.digests.wrapping_add(xxh3_128(&place)))
    }

    pub(super) fn advance(&mut self, to: Position) {
        self.applied = Some(to);
    }

    /// Sets a key on behalf of the entry at `at`. An entry that sets a key twice changed it once,
    /// so the second time only the value is new.
    pub(super) fn set(&mut self, at: Index, key: &Key, value: &Value) {
        let value = value.detached();
        let Some(entry) = self.map.get_mut(key.as_bytes()) else {
            let entry = Entry { value, create_index: at, modify_index: at, version: 1 };
            self.insert_new(key.detached(), entry);
            return;
        };
        let (old_digest, old_len) = (entry.digest(key), value_len(entry));
        if entry.modify_index != at {
            entry.version = entry.version.saturating_add(1);
            entry.modify_index = at;
        }
        entry.value = value;
        let (digest, len) = (entry.digest(key), value_len(entry));
        self.value_bytes = self.value_bytes.saturating_sub(old_len).saturating_add(len);
        self.digests = self.digests.wrapping_sub(old_digest).wrapping_add(digest);
    }

    /// Puts a key that is not there: also how a snapshot is read. The buffers must be its own (S5).
    pub(super) fn insert_new(&mut self, key: Key, entry: Entry) {
        self.key_bytes = self.key_bytes.saturating_add(key.as_bytes().len() as u64);
        self.value_bytes = self.value_bytes.saturating_add(value_len(&entry));
        self.digests = self.digests.wrapping_add(entry.digest(&key));
        let replaced = self.map.insert(key, entry);
        debug_assert!(replaced.is_none(), "S4: the key was new");
    }

    pub(super) fn remove(&mut self, key: &Key) {
        if let Some(old) = self.map.remove(key.as_bytes()) {
            self.key_bytes = self.key_bytes.saturating_sub(key.as_bytes().len() as u64);
            self.value_bytes = self.value_bytes.saturating_sub(value_len(&old));
            self.digests = self.digests.wrapping_sub(old.digest(key));
        }
    }
}

fn value_len(entry: &Entry) -> u64 {
    entry.value.as_bytes().len() as u64
}

impl PartialEq for StateView {
    /// Equal content at an equal place; compares every entry, so it is for tests.
    fn eq(&self, other: &Self) -> bool {
        self.applied == other.applied && self.map == other.map
    }
}
