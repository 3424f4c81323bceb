//! The bytes of a [`Proposal`]: what stands in the log and travels between nodes, version 1.
//!
//! Used by `consensus` for every entry. Written by hand so that the bytes are ours to keep: a
//! library's next release cannot change them.
//!
//! ```text
//! u8 version = 1 | u8 kind | u64 wall_unix_ms | u8 length, origin | body
//! kind 1, write:  u32 pairs, then for each: key, value
//! kind 2, put:    precondition, key, value
//! kind 3, delete: precondition, key
//! key: u16 length, bytes | value: u32 length, bytes
//! precondition: u8 = 0 none, 1 absent, 2 present, 3 modified at: u64 index
//! ```
//!
//! # Invariants
//! - C1 All numbers are little endian; `decode(encode(p)) == p`; equal proposals have equal bytes.
//! - C2 No input panics, and no length is believed before that many bytes are there.
//! - C3 Kinds and numbers are never given a second meaning; a new kind or field is a new version.
//!
//! # Not here
//! Checksums and framing (`wal`), what a command does (`state`).

use bytes::{BufMut, Bytes, BytesMut};

use super::{Command, Precondition, Proposal};
use crate::types::{Index, Invalid, Key, NodeName, Value};

const VERSION: u8 = 1;
const KIND_WRITE: u8 = 1;
const KIND_PUT: u8 = 2;
const KIND_DELETE: u8 = 3;
/// The fewest bytes that a pair takes: two lengths and a key of one byte.
const PAIR_MIN_BYTES: usize = 2 + 1 + 4;

/// Why bytes are not a proposal of a version that this program knows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The bytes end too early.
    #[error("the proposal ends inside its {what}: expected {expected} more bytes, found {found}")]
    Truncated {
        /// Which part.
        what: &'static str,
        /// How many bytes were due.
        expected: usize,
        /// How many there were.
        found: usize,
    },
    /// Written by another version of this program.
    #[error("expected proposal version {VERSION}, found {0}; written by a newer program?")]
    UnknownVersion(u8),
    /// A command that this program does not know.
    #[error("expected command kind 1, 2 or 3, found {0}; written by a newer program?")]
    UnknownKind(u8),
    /// A precondition that this program does not know.
    #[error("expected precondition 0 to 3, found {0}; written by a newer program?")]
    UnknownPrecondition(u8),
    /// A count that the bytes behind it cannot hold.
    #[error("expected {pairs} pairs, but only {found} bytes follow")]
    TooManyPairs {
        /// The count as written.
        pairs: u32,
        /// Bytes that follow it.
        found: usize,
    },
    /// A name, key or value that breaks its own rules.
    #[error("the proposal holds an invalid {what}")]
    Invalid {
        /// Which part.
        what: &'static str,
        /// The broken rule.
        #[source]
        source: Invalid,
    },
    /// More bytes than the proposal needs.
    #[error("expected the proposal to end, found {0} more bytes")]
    TrailingBytes(usize),
}

/// Encodes a proposal as version 1. One allocation of the exact size.
pub fn encode_proposal(proposal: &Proposal) -> Bytes {
    let mut out = BytesMut::with_capacity(encoded_len(proposal));
    out.put_u8(VERSION);
    out.put_u8(match proposal.command {
        Command::Write { .. } => KIND_WRITE,
        Command::Put { .. } => KIND_PUT,
        Command::Delete { .. } => KIND_DELETE,
    });
    out.put_u64_le(proposal.wall_unix_ms);
    let origin = proposal.origin.as_str().as_bytes();
    out.put_u8(u8::try_from(origin.len()).unwrap_or(u8::MAX));
    out.put_slice(origin);
    match &proposal.command {
        Command::Write { pairs } => {
            out.put_u32_le(u32::try_from(pairs.len()).unwrap_or(u32::MAX));
            for (key, value) in pairs {
                put_key(&mut out, key);
                put_value(&mut out, value);
            }
        }
        Command::Put { key, value, precondition } => {
            put_precondition(&mut out, *precondition);
            put_key(&mut out, key);
            put_value(&mut out, value);
        }
        Command::Delete { key, precondition } => {
            put_precondition(&mut out, *precondition);
            put_key(&mut out, key);
        }
    }
    out.freeze()
}

/// Decodes a proposal. Its keys and values are slices of the given bytes: whoever keeps one for
/// long takes a copy with `detached`, or it keeps the whole buffer alive.
pub fn decode_proposal(bytes: &Bytes) -> Result<Proposal, DecodeError> {
    let mut input = Input(bytes.clone());
    match input.u8("version")? {
        VERSION => {}
        unknown => return Err(DecodeError::UnknownVersion(unknown)),
    }
    let kind = input.u8("kind")?;
    let wall_unix_ms = input.u64("wall clock")?;
    let origin = input.origin()?;
    let command = match kind {
        KIND_WRITE => Command::Write { pairs: input.pairs()? },
        KIND_PUT => {
            let precondition = input.precondition()?;
            Command::Put { key: input.key()?, value: input.value()?, precondition }
        }
        KIND_DELETE => {
            let precondition = input.precondition()?;
            Command::Delete { key: input.key()?, precondition }
        }
        unknown => return Err(DecodeError::UnknownKind(unknown)),
    };
    match input.0.len() {
        0 => Ok(Proposal { wall_unix_ms, origin, command }),
        trailing => Err(DecodeError::TrailingBytes(trailing)),
    }
}

fn encoded_len(proposal: &Proposal) -> usize {
    let key_len = |key: &Key| 2 + key.as_bytes().len();
    let value_len = |value: &Value| 4 + value.as_bytes().len();
    let body = match &proposal.command {
        Command::Write { pairs } => {
            4 + pairs.iter().map(|(key, value)| key_len(key) + value_len(value)).sum::<usize>()
        }
        Command::Put { key, value, precondition } => {
            precondition_len(*precondition) + key_len(key) + value_len(value)
        }
        Command::Delete { key, precondition } => precondition_len(*precondition) + key_len(key),
    };
    1 + 1 + 8 + 1 + proposal.origin.as_str().len() + body
}

fn precondition_len(precondition: Precondition) -> usize {
    match precondition {
        Precondition::None | Precondition::Absent | Precondition::Present => 1,
        Precondition::ModifiedAt(_) => 9,
    }
}

// Names, keys and values are shorter than their length fields can say, by their own rules, so the
// conversions below never saturate.

fn put_key(out: &mut BytesMut, key: &Key) {
    out.put_u16_le(u16::try_from(key.as_bytes().len()).unwrap_or(u16::MAX));
    out.put_slice(key.as_bytes());
}

fn put_value(out: &mut BytesMut, value: &Value) {
    out.put_u32_le(u32::try_from(value.as_bytes().len()).unwrap_or(u32::MAX));
    out.put_slice(value.as_bytes());
}

fn put_precondition(out: &mut BytesMut, precondition: Precondition) {
    match precondition {
        Precondition::None => out.put_u8(0),
        Precondition::Absent => out.put_u8(1),
        Precondition::Present => out.put_u8(2),
        Precondition::ModifiedAt(index) => {
            out.put_u8(3);
            out.put_u64_le(index.get());
        }
    }
}

/// What is left to decode.
struct Input(Bytes);

impl Input {
    fn take(&mut self, what: &'static str, expected: usize) -> Result<Bytes, DecodeError> {
        let found = self.0.len();
        if found < expected {
            return Err(DecodeError::Truncated { what, expected, found });
        }
        Ok(self.0.split_to(expected))
    }

    fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], DecodeError> {
        let found = self.0.len();
        let truncated = DecodeError::Truncated { what, expected: N, found };
        let array = *self.0.first_chunk::<N>().ok_or(truncated)?;
        bytes::Buf::advance(&mut self.0, N);
        Ok(array)
    }

    fn u8(&mut self, what: &'static str) -> Result<u8, DecodeError> {
        Ok(u8::from_le_bytes(self.array(what)?))
    }

    fn u64(&mut self, what: &'static str) -> Result<u64, DecodeError> {
        Ok(u64::from_le_bytes(self.array(what)?))
    }

    fn origin(&mut self) -> Result<NodeName, DecodeError> {
        let length = self.u8("origin's length")?;
        let bytes = self.take("origin", usize::from(length))?;
        // Bytes that are not UTF-8 become characters that no name may have.
        let text = String::from_utf8_lossy(&bytes);
        text.parse().map_err(|source| DecodeError::Invalid { what: "origin", source })
    }

    fn key(&mut self) -> Result<Key, DecodeError> {
        let length = u16::from_le_bytes(self.array("key's length")?);
        let bytes = self.take("key", usize::from(length))?;
        Key::new(bytes).map_err(|source| DecodeError::Invalid { what: "key", source })
    }

    fn value(&mut self) -> Result<Value, DecodeError> {
        let length = u32::from_le_bytes(self.array("value's length")?);
        let bytes = self.take("value", usize::try_from(length).unwrap_or(usize::MAX))?;
        Value::new(bytes).map_err(|source| DecodeError::Invalid { what: "value", source })
    }

    fn pairs(&mut self) -> Result<Vec<(Key, Value)>, DecodeError> {
        let pairs = u32::from_le_bytes(self.array("number of pairs")?);
        let count = usize::try_from(pairs).unwrap_or(usize::MAX);
        let found = self.0.len();
        if count > found / PAIR_MIN_BYTES {
            return Err(DecodeError::TooManyPairs { pairs, found });
        }
        let mut decoded = Vec::with_capacity(count);
        for _ in 0..count {
            decoded.push((self.key()?, self.value()?));
        }
        Ok(decoded)
    }

    fn precondition(&mut self) -> Result<Precondition, DecodeError> {
        match self.u8("precondition")? {
            0 => Ok(Precondition::None),
            1 => Ok(Precondition::Absent),
            2 => Ok(Precondition::Present),
            3 => Ok(Precondition::ModifiedAt(Index::new(self.u64("expected index")?))),
            unknown => Err(DecodeError::UnknownPrecondition(unknown)),
        }
    }
}
