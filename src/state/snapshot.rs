//! A whole state as bytes, version 1, the same bytes on every node (S3).
//!
//! Used by `consensus`, which stores and sends them and puts what it must know itself into `extra`.
//! Encoding yields chunks and decoding reads a stream, so that a big state is never held twice.
//!
//! ```text
//! "BITASNAP" | u16 version = 1
//! u8 applied? | u64 term | u64 index        zeros when nothing was applied
//! u64 length, extra                         the caller's bytes
//! u64 entries, then for each, in key order:
//!     u16 key length | u32 value length | u64 create | u64 modify | u64 version | key | value
//! 16 bytes state hash
//! u32 CRC-32C of everything before
//! ```
//!
//! # Invariants
//! - N1 Numbers are little endian; equal states with equal `extra` have equal bytes.
//! - N2 A flipped byte, a missing one or one too many is refused; no input panics.
//! - N3 Memory for a part is taken as its bytes arrive, never because a length says so.
//!
//! # Not here
//! Files, their names and their syncs; sending; what `extra` means.

use std::io::{self, Read};

use bytes::{Bytes, BytesMut};

use super::State;
use super::kv::{Entry, StateView};
use crate::types::{Index, Invalid, Key, Position, Term, Value};

/// The largest chunk that [`encode`] yields; all but the last have this size.
pub const CHUNK_BYTES: usize = 1 << 20;

const MAGIC: &[u8; 8] = b"BITASNAP";
const VERSION: u16 = 1;
const ENTRY_FIXED_BYTES: u64 = 2 + 4 + 8 + 8 + 8;
const FRAME_BYTES: u64 = 8 + 2 + 17 + 8 + 8 + 16 + 4;

/// Why bytes are not a snapshot that can be trusted.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The source of the bytes failed.
    #[error("the snapshot could not be read")]
    Read(#[source] io::Error),
    /// The bytes end too early.
    #[error("the snapshot ends inside its {0}")]
    Truncated(&'static str),
    /// Not a snapshot at all.
    #[error("expected a snapshot, found a file that begins otherwise")]
    NotASnapshot,
    /// Written by another version of this program.
    #[error("expected snapshot version {VERSION}, found {0}; written by a newer program?")]
    UnknownVersion(u16),
    /// A key or value that breaks its own rules.
    #[error("the snapshot holds an invalid {what}")]
    Invalid {
        /// Which part.
        what: &'static str,
        /// The broken rule.
        #[source]
        source: Invalid,
    },
    /// Parts that do not fit together.
    #[error("the snapshot is damaged: {0}")]
    Damaged(&'static str),
    /// The checksum does not match.
    #[error("the snapshot is damaged: expected CRC-32C {expected:08x}, found {found:08x}")]
    Checksum {
        /// As written in the snapshot.
        expected: u32,
        /// Of the bytes that came.
        found: u32,
    },
    /// More bytes than the snapshot needs.
    #[error("expected the snapshot to end, found more bytes")]
    TrailingBytes,
}

/// Encodes a view with the caller's `extra` bytes, chunk by chunk.
pub fn encode<'a>(view: &'a StateView, extra: &'a [u8]) -> impl Iterator<Item = Bytes> + Send + 'a {
    let mut head = Vec::with_capacity(64);
    head.extend_from_slice(MAGIC);
    head.extend_from_slice(&VERSION.to_le_bytes());
    let (term, index) =
        view.applied().map_or((0, 0), |applied| (applied.term.get(), applied.index.get()));
    head.push(u8::from(view.applied().is_some()));
    head.extend_from_slice(&term.to_le_bytes());
    head.extend_from_slice(&index.to_le_bytes());
    head.extend_from_slice(&(extra.len() as u64).to_le_bytes());
    let mut chunks = Chunks {
        entries: view.iter(),
        hash: Some(view.hash().to_bytes()),
        pending: BytesMut::new(),
        crc: 0,
    };
    chunks.put(&head);
    chunks.put(extra);
    chunks.put(&(view.len() as u64).to_le_bytes());
    chunks
}

/// How many bytes [`encode`] will yield in all.
pub fn encoded_len(view: &StateView, extra: &[u8]) -> u64 {
    let content = view.key_bytes().saturating_add(view.value_bytes());
    let fixed = (view.len() as u64).saturating_mul(ENTRY_FIXED_BYTES).saturating_add(FRAME_BYTES);
    content.saturating_add(fixed).saturating_add(extra.len() as u64)
}

struct Chunks<I> {
    entries: I,
    /// Still to be written behind the entries.
    hash: Option<[u8; 16]>,
    pending: BytesMut,
    /// Of the chunks that were yielded.
    crc: u32,
}

impl<I> Chunks<I> {
    fn put(&mut self, bytes: &[u8]) {
        self.pending.extend_from_slice(bytes);
    }

    fn put_entry(&mut self, key: &Key, entry: &Entry) {
        let (key, value) = (key.as_bytes(), entry.value.as_bytes());
        // Keys and values are shorter than these fields can say, by their own rules.
        self.put(&u16::try_from(key.len()).unwrap_or(u16::MAX).to_le_bytes());
        self.put(&u32::try_from(value.len()).unwrap_or(u32::MAX).to_le_bytes());
        self.put(&entry.create_index.get().to_le_bytes());
        self.put(&entry.modify_index.get().to_le_bytes());
        self.put(&entry.version.to_le_bytes());
        self.put(key);
        self.put(value);
    }
}

impl<'a, I: Iterator<Item = (&'a Key, &'a Entry)>> Iterator for Chunks<I> {
    type Item = Bytes;

    fn next(&mut self) -> Option<Bytes> {
        while self.pending.len() < CHUNK_BYTES {
            if let Some((key, entry)) = self.entries.next() {
                self.put_entry(key, entry);
            } else if let Some(hash) = self.hash.take() {
                self.put(&hash);
                let crc = crc32c::crc32c_append(self.crc, &self.pending);
                self.put(&crc.to_le_bytes());
            } else {
                break;
            }
        }
        let length = self.pending.len().min(CHUNK_BYTES);
        if length == 0 {
            return None;
        }
        let chunk = self.pending.split_to(length).freeze();
        self.crc = crc32c::crc32c_append(self.crc, &chunk);
        Some(chunk)
    }
}

/// Decodes a snapshot and checks all of it; gives the state and the caller's `extra` bytes.
/// Reads small pieces: give it a buffered reader.
pub fn decode(reader: impl Read) -> Result<(State, Vec<u8>), SnapshotError> {
    let mut input = Input { reader, crc: 0 };
    if &input.array::<8>("head")? != MAGIC {
        return Err(SnapshotError::NotASnapshot);
    }
    match u16::from_le_bytes(input.array("head")?) {
        VERSION => {}
        unknown => return Err(SnapshotError::UnknownVersion(unknown)),
    }
    let applied = input.applied()?;
    let extra_len = input.u64("head")?;
    let extra = input.bytes(extra_len, "extra bytes")?;
    let view = input.entries(applied)?;
    if input.array::<16>("state hash")? != view.hash().to_bytes() {
        return Err(SnapshotError::Damaged("its entries do not have the hash that it names"));
    }
    let found = input.crc;
    let expected = u32::from_le_bytes(input.array("checksum")?);
    if expected != found {
        return Err(SnapshotError::Checksum { expected, found });
    }
    match input.bytes(1, "end") {
        Err(SnapshotError::Truncated(_)) => Ok((State { now: view }, extra)),
        Ok(_) => Err(SnapshotError::TrailingBytes),
        Err(error) => Err(error),
    }
}

struct Input<R> {
    reader: R,
    crc: u32,
}

impl<R: Read> Input<R> {
    fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], SnapshotError> {
        let mut array = [0; N];
        self.reader.read_exact(&mut array).map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => SnapshotError::Truncated(what),
            _ => SnapshotError::Read(error),
        })?;
        self.crc = crc32c::crc32c_append(self.crc, &array);
        Ok(array)
    }

    fn u64(&mut self, what: &'static str) -> Result<u64, SnapshotError> {
        Ok(u64::from_le_bytes(self.array(what)?))
    }

    /// Exactly this many bytes; the buffer grows with what really comes (N3).
    fn bytes(&mut self, length: u64, what: &'static str) -> Result<Vec<u8>, SnapshotError> {
        let mut bytes = Vec::new();
        let read = self.reader.by_ref().take(length).read_to_end(&mut bytes);
        let read = read.map_err(SnapshotError::Read)?;
        if (read as u64) < length {
            return Err(SnapshotError::Truncated(what));
        }
        self.crc = crc32c::crc32c_append(self.crc, &bytes);
        Ok(bytes)
    }

    fn applied(&mut self) -> Result<Option<Position>, SnapshotError> {
        let [flag] = self.array("head")?;
        let term = Term::new(self.u64("head")?);
        let index = Index::new(self.u64("head")?);
        match (flag, term.get(), index.get()) {
            (1, _, _) => Ok(Some(Position { term, index })),
            (0, 0, 0) => Ok(None),
            _ => Err(SnapshotError::Damaged("its place in the log is neither there nor absent")),
        }
    }

    fn entries(&mut self, applied: Option<Position>) -> Result<StateView, SnapshotError> {
        let count = self.u64("number of entries")?;
        let mut view = StateView::default();
        if let Some(applied) = applied {
            view.advance(applied);
        }
        let mut last: Option<Bytes> = None;
        for _ in 0..count {
            let (key, entry) = self.entry(applied)?;
            if last.as_deref().is_some_and(|last| last >= key.as_bytes()) {
                return Err(SnapshotError::Damaged("its keys are not in ascending order"));
            }
            last = Some(Bytes::copy_from_slice(key.as_bytes()));
            view.insert_new(key, entry);
        }
        Ok(view)
    }

    fn entry(&mut self, applied: Option<Position>) -> Result<(Key, Entry), SnapshotError> {
        let key_len = u16::from_le_bytes(self.array("entry")?);
        let value_len = u32::from_le_bytes(self.array("entry")?);
        let create_index = Index::new(self.u64("entry")?);
        let modify_index = Index::new(self.u64("entry")?);
        let version = self.u64("entry")?;
        let in_order = create_index <= modify_index
            && applied.is_some_and(|applied| modify_index <= applied.index);
        if !in_order || version == 0 {
            return Err(SnapshotError::Damaged("an entry's indexes or version break S6"));
        }
        let key = self.bytes(u64::from(key_len), "key")?;
        let key = Key::new(key.into())
            .map_err(|source| SnapshotError::Invalid { what: "key", source })?;
        let value = self.bytes(u64::from(value_len), "value")?;
        let value = Value::new(value.into())
            .map_err(|source| SnapshotError::Invalid { what: "value", source })?;
        Ok((key, Entry { value, create_index, modify_index, version }))
    }
}
