//! The bytes of a segment: header block, batches, records; encoding, decoding, checksums.
//!
//! Used by the rest of `wal`; knows no files. All numbers are little-endian. `docs/formats.md`,
//! "Log segments", is the same for people; `tests/data/formats/v1/segment.bin` holds both to it.
//!
//! ```text
//! header, one block of 4096 bytes
//!      0   8  magic "BITACWAL"          40   8  segment number, from 1
//!      8   2  version (1)               48   8  next index, 2^64-1 = any
//!     10   2  zero                      56   8  salt
//!     12   4  CRC32C of the other 4092  64   8  length of the file
//!     16  16  cluster id                72   4  check of the previous segment's last batch
//!     32   8  node id                   80   8  first index, 2^64-1 = none; the rest is zero
//!
//! batch, at a multiple of 8; eight zero bytes in its place are the end
//!      0   4  magic "BTCH"              16   4  check of the batch before (of the header block's
//!      4   4  check: CRC32C of salt,            CRC for the first one)
//!             segment, offset, then     20   4  CRC32C of the body with its padding
//!             bytes 8..40               24   4  end of what was durable in this file
//!      8   4  length of the body        28   4  zero
//!     12   4  number of records         32   8  last index known durable, 2^64-1 = none
//!     40      the body: records, then zeros up to a multiple of 8
//!
//! record
//!      0   4  CRC32C of the rest         8   8  index
//!      4   4  length of the payload     16   4  kind
//!     20      the payload
//! ```
//!
//! # Invariants
//! - The check covers salt, segment and place, so bytes that were written for another segment, or
//!   copied elsewhere, never validate. It covers the body through the body's CRC.
//! - Input may be anything: decoding never panics and never allocates by a length it has read.

use crate::types::{ClusterId, Index, RaftId};

/// Version written by this release.
pub(crate) const VERSION: u16 = 1;
/// Length of the header block; the first batch stands here.
pub(crate) const HEADER_BYTES: u64 = 4096;
/// Length of a batch's header.
pub(crate) const BATCH_HEADER_BYTES: usize = 40;
/// Length of a record's header.
pub(crate) const RECORD_HEADER_BYTES: usize = 20;
/// Length of a batch with one empty record: a seal or a marker.
pub(crate) const NOTE_BATCH_BYTES: u64 = 64;
/// Batches stand at multiples of this.
pub(crate) const ALIGNMENT: u64 = 8;

const MAGIC: &[u8; 8] = b"BITACWAL";
const BATCH_MAGIC: &[u8; 4] = b"BTCH";
const NONE: u64 = u64::MAX;

/// The first block of a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) cluster: ClusterId,
    pub(crate) node: RaftId,
    pub(crate) segment: u64,
    /// The first entry of the log; `None`: it was empty.
    pub(crate) first_index: Option<Index>,
    /// Where the next entry was to go; `None`: the log was empty and took any index.
    pub(crate) next_index: Option<Index>,
    pub(crate) salt: u64,
    pub(crate) size: u64,
    /// Check of the previous segment's last batch before its seal; 0 in the first segment.
    pub(crate) chain: u32,
}

/// Why a header block was not understood.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum HeaderFault {
    Unreadable,
    Version(u16),
}

impl Header {
    /// The block, and its checksum, which the first batch continues.
    pub(crate) fn encode(&self) -> (Vec<u8>, u32) {
        let mut head = Vec::with_capacity(4096);
        head.extend_from_slice(MAGIC);
        head.extend_from_slice(&VERSION.to_le_bytes());
        head.extend_from_slice(&[0; 2]);
        let mut rest = Vec::with_capacity(4096);
        rest.extend_from_slice(&self.cluster.to_bytes());
        rest.extend_from_slice(&self.node.get().to_le_bytes());
        rest.extend_from_slice(&self.segment.to_le_bytes());
        rest.extend_from_slice(&self.next_index.map_or(NONE, Index::get).to_le_bytes());
        rest.extend_from_slice(&self.salt.to_le_bytes());
        rest.extend_from_slice(&self.size.to_le_bytes());
        rest.extend_from_slice(&self.chain.to_le_bytes());
        rest.extend_from_slice(&[0; 4]);
        rest.extend_from_slice(&self.first_index.map_or(NONE, Index::get).to_le_bytes());
        rest.resize(4096 - 16, 0);
        let crc = crc32c::crc32c_append(crc32c::crc32c(&head), &rest);
        head.extend_from_slice(&crc.to_le_bytes());
        head.extend_from_slice(&rest);
        (head, crc)
    }

    /// Reads a block back, with its checksum.
    pub(crate) fn decode(block: &[u8]) -> Result<(Self, u32), HeaderFault> {
        Self::parse(block).unwrap_or(Err(HeaderFault::Unreadable))
    }

    fn parse(block: &[u8]) -> Option<Result<(Self, u32), HeaderFault>> {
        let (head, rest) = (block.get(..12)?, block.get(16..4096)?);
        let crc = u32_at(block, 12)?;
        let sound = crc32c::crc32c_append(crc32c::crc32c(head), rest) == crc;
        if !sound || head.get(..8)? != MAGIC {
            return None;
        }
        let version = u16::from_le_bytes(head.get(8..10)?.try_into().ok()?);
        if version != VERSION {
            return Some(Err(HeaderFault::Version(version)));
        }
        let header = Self {
            cluster: ClusterId::from_bytes(block.get(16..32)?.try_into().ok()?),
            node: RaftId::new(u64_at(block, 32)?),
            segment: u64_at(block, 40)?,
            next_index: optional(u64_at(block, 48)?),
            salt: u64_at(block, 56)?,
            size: u64_at(block, 64)?,
            chain: u32_at(block, 72)?,
            first_index: optional(u64_at(block, 80)?),
        };
        Some(Ok((header, crc)))
    }
}

/// Which segment a batch is written for; part of its check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) salt: u64,
    pub(crate) segment: u64,
}

impl Place {
    fn seed(self, offset: u64) -> u32 {
        let seed = crc32c::crc32c(&self.salt.to_le_bytes());
        let seed = crc32c::crc32c_append(seed, &self.segment.to_le_bytes());
        crc32c::crc32c_append(seed, &offset.to_le_bytes())
    }
}

/// What a record says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// An entry at its index.
    Entry,
    /// Entries at this index and above are gone.
    Truncate,
    /// The vote slot.
    Vote,
    /// The committed slot, a hint.
    Committed,
    /// Entries up to this index are given up; the payload is the caller's note.
    Purge,
    /// Nothing follows in this segment.
    Seal,
    /// All before this was durable. Written when the log falls idle.
    Marker,
}

impl Kind {
    const ALL: [(u32, Self); 7] = [
        (1, Self::Entry),
        (2, Self::Truncate),
        (3, Self::Vote),
        (4, Self::Committed),
        (5, Self::Purge),
        (6, Self::Seal),
        (7, Self::Marker),
    ];

    fn code(self) -> u32 {
        match self {
            Self::Entry => 1,
            Self::Truncate => 2,
            Self::Vote => 3,
            Self::Committed => 4,
            Self::Purge => 5,
            Self::Seal => 6,
            Self::Marker => 7,
        }
    }

    fn from_code(code: u32) -> Option<Self> {
        Self::ALL.iter().find(|(known, _)| *known == code).map(|(_, kind)| *kind)
    }
}

/// A record as it stands in a buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Record<'a> {
    pub(crate) kind: Kind,
    pub(crate) index: Index,
    pub(crate) payload: &'a [u8],
}

/// Bytes that a record with this payload takes.
pub(crate) const fn record_bytes(payload: usize) -> usize {
    payload.saturating_add(RECORD_HEADER_BYTES)
}

/// Length of the record whose header stands at the start of `bytes`. Not verified.
pub(crate) fn record_length(bytes: &[u8]) -> Option<usize> {
    usize::try_from(u32_at(bytes, 4)?).ok()?.checked_add(RECORD_HEADER_BYTES)
}

/// Decodes and verifies the record at the start of `bytes`.
pub(crate) fn decode_record(bytes: &[u8]) -> Option<Record<'_>> {
    let whole = bytes.get(..record_length(bytes)?)?;
    let sound = crc32c::crc32c(whole.get(4..)?) == u32_at(whole, 0)?;
    if sound { parse_record(whole) } else { None }
}

fn parse_record(whole: &[u8]) -> Option<Record<'_>> {
    let kind = Kind::from_code(u32_at(whole, 16)?)?;
    let index = Index::new(u64_at(whole, 8)?);
    Some(Record { kind, index, payload: whole.get(RECORD_HEADER_BYTES..)? })
}

/// Builds one batch in a buffer that is used again.
pub(crate) struct BatchBuilder {
    bytes: Vec<u8>,
    records: u32,
}

/// What the header of a batch says besides its records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Link {
    /// Check of the batch before.
    pub(crate) previous: u32,
    /// End of what is durable in this file.
    pub(crate) synced_offset: u32,
    /// Last index known durable.
    pub(crate) synced: Option<Index>,
}

impl BatchBuilder {
    pub(crate) fn new() -> Self {
        Self { bytes: vec![0; BATCH_HEADER_BYTES], records: 0 }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.records == 0
    }

    /// Length so far, header included, padding not.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Adds a record; returns where it begins inside the batch.
    pub(crate) fn push(&mut self, kind: Kind, index: Index, payload: &[u8]) -> usize {
        let begin = self.bytes.len();
        let fields = begin.saturating_add(4);
        // Callers have checked the payload against the segment's size, which fits 32 bits.
        let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
        self.bytes.extend_from_slice(&[0; 4]);
        self.bytes.extend_from_slice(&length.to_le_bytes());
        self.bytes.extend_from_slice(&index.get().to_le_bytes());
        self.bytes.extend_from_slice(&kind.code().to_le_bytes());
        self.bytes.extend_from_slice(payload);
        let crc = crc32c::crc32c(self.bytes.get(fields..).unwrap_or_default());
        if let Some(place) = self.bytes.get_mut(begin..fields) {
            place.copy_from_slice(&crc.to_le_bytes());
        }
        self.records = self.records.saturating_add(1);
        begin
    }

    /// Completes the batch for its place. Returns its bytes and its check.
    pub(crate) fn finish(&mut self, place: Place, offset: u64, link: Link) -> (&mut Vec<u8>, u32) {
        let body = self.bytes.len().saturating_sub(BATCH_HEADER_BYTES);
        self.bytes.resize(self.bytes.len().next_multiple_of(8), 0);
        let body_crc = crc32c::crc32c(self.bytes.get(BATCH_HEADER_BYTES..).unwrap_or_default());
        let mut tail = Vec::with_capacity(BATCH_HEADER_BYTES);
        tail.extend_from_slice(&u32::try_from(body).unwrap_or(u32::MAX).to_le_bytes());
        tail.extend_from_slice(&self.records.to_le_bytes());
        tail.extend_from_slice(&link.previous.to_le_bytes());
        tail.extend_from_slice(&body_crc.to_le_bytes());
        tail.extend_from_slice(&link.synced_offset.to_le_bytes());
        tail.extend_from_slice(&[0; 4]);
        tail.extend_from_slice(&link.synced.map_or(NONE, Index::get).to_le_bytes());
        let check = crc32c::crc32c_append(place.seed(offset), &tail);
        let header = [BATCH_MAGIC.as_slice(), &check.to_le_bytes(), &tail].concat();
        for (slot, byte) in self.bytes.iter_mut().zip(header) {
            *slot = byte;
        }
        (&mut self.bytes, check)
    }

    /// Forgets the records, keeps the buffer.
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.resize(BATCH_HEADER_BYTES, 0);
        self.records = 0;
    }
}

/// The header of a batch whose check is right for its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BatchHeader {
    pub(crate) check: u32,
    pub(crate) link: Link,
    pub(crate) records: u32,
    body: usize,
    body_crc: u32,
}

impl BatchHeader {
    /// The header at `offset`, if what stands there was written for this place.
    pub(crate) fn decode(file: &[u8], offset: u64, place: Place) -> Option<Self> {
        let begin = usize::try_from(offset).ok()?;
        let bytes = file.get(begin..begin.checked_add(BATCH_HEADER_BYTES)?)?;
        let check = u32_at(bytes, 4)?;
        if bytes.get(..4)? != BATCH_MAGIC {
            return None;
        }
        if crc32c::crc32c_append(place.seed(offset), bytes.get(8..)?) != check {
            return None;
        }
        let link = Link {
            previous: u32_at(bytes, 16)?,
            synced_offset: u32_at(bytes, 24)?,
            synced: optional(u64_at(bytes, 32)?),
        };
        let body = usize::try_from(u32_at(bytes, 8)?).ok()?;
        Some(Self { check, link, records: u32_at(bytes, 12)?, body, body_crc: u32_at(bytes, 20)? })
    }

    /// Bytes of the whole batch with its padding.
    pub(crate) fn total(&self) -> usize {
        self.body.saturating_add(BATCH_HEADER_BYTES).next_multiple_of(8)
    }

    /// The records' bytes, if they are all there and unharmed.
    pub(crate) fn body<'a>(&self, file: &'a [u8], offset: u64) -> Option<&'a [u8]> {
        let begin = usize::try_from(offset).ok()?;
        let padded = file
            .get(begin..begin.checked_add(self.total())?)?
            .get(BATCH_HEADER_BYTES..)
            .filter(|padded| crc32c::crc32c(padded) == self.body_crc)?;
        padded.get(..self.body)
    }
}

/// Walks the records of a body that has been verified. `None` in place of one that makes no sense.
pub(crate) fn records(body: &[u8]) -> impl Iterator<Item = Option<(usize, Record<'_>)>> {
    let mut at = 0_usize;
    std::iter::from_fn(move || {
        let rest = body.get(at..).filter(|rest| !rest.is_empty())?;
        let found = record_length(rest).and_then(|length| {
            let record = parse_record(rest.get(..length)?)?;
            Some((length, record))
        });
        let begin = at;
        let step = found.as_ref().map_or(rest.len(), |(length, _)| *length);
        at = at.saturating_add(step);
        Some(found.map(|(_, record)| (begin, record)))
    })
}

fn optional(number: u64) -> Option<Index> {
    (number != NONE).then(|| Index::new(number))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let field = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_le_bytes(field.try_into().ok()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    let field = bytes.get(at..at.checked_add(8)?)?;
    Some(u64::from_le_bytes(field.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PLACE: Place = Place { salt: 7, segment: 3 };
    const LINK: Link = Link { previous: 9, synced_offset: 4096, synced: None };

    fn batch(payloads: &[&[u8]], offset: u64) -> Vec<u8> {
        let mut builder = BatchBuilder::new();
        for (n, payload) in payloads.iter().enumerate() {
            builder.push(Kind::Entry, Index::new(n as u64), payload);
        }
        builder.finish(PLACE, offset, LINK).0.clone()
    }

    #[test]
    fn a_header_survives_its_bytes_and_no_flipped_byte_does() {
        let header = Header {
            cluster: ClusterId::from_bytes([5; 16]),
            node: RaftId::new(2),
            segment: 9,
            first_index: Some(Index::new(5)),
            next_index: Some(Index::new(77)),
            salt: 1,
            size: 8192,
            chain: 4,
        };
        let (mut bytes, crc) = header.encode();
        assert_eq!(Header::decode(&bytes), Ok((header, crc)));
        for at in 0..bytes.len() {
            bytes[at] ^= 0x10;
            assert_eq!(Header::decode(&bytes), Err(HeaderFault::Unreadable), "byte {at}");
            bytes[at] ^= 0x10;
        }
    }

    #[test]
    fn a_batch_validates_only_in_its_own_place() {
        let mut file = vec![0; 64];
        file.extend(batch(&[b"one", b"two"], 64));
        let header = BatchHeader::decode(&file, 64, PLACE).unwrap();
        let body = header.body(&file, 64).unwrap();
        let payloads: Vec<_> = records(body).map(|found| found.unwrap().1.payload).collect();
        assert_eq!(payloads, [b"one", b"two"]);
        for other in [Place { salt: 8, ..PLACE }, Place { segment: 4, ..PLACE }] {
            assert_eq!(BatchHeader::decode(&file, 64, other), None);
        }
        file.drain(..8);
        assert_eq!(BatchHeader::decode(&file, 56, PLACE), None);
    }

    #[test]
    fn a_note_batch_has_the_length_that_is_reserved_for_it() {
        let mut builder = BatchBuilder::new();
        builder.push(Kind::Seal, Index::new(0), b"");
        assert_eq!(builder.finish(PLACE, 0, LINK).0.len() as u64, NOTE_BATCH_BYTES);
    }

    #[test]
    fn a_length_bomb_is_refused_without_an_allocation() {
        let mut bytes = batch(&[b"x"], 0);
        bytes[8..12].copy_from_slice(&u32::MAX.to_le_bytes());
        let check = crc32c::crc32c_append(PLACE.seed(0), &bytes[8..40]);
        bytes[4..8].copy_from_slice(&check.to_le_bytes());
        let header = BatchHeader::decode(&bytes, 0, PLACE).unwrap();
        assert_eq!(header.body(&bytes, 0), None);
    }

    proptest! {
        #[test]
        fn any_flipped_bit_of_a_batch_is_seen(
            payload in proptest::collection::vec(any::<u8>(), 0..80),
            at in any::<prop::sample::Index>(),
            bit in 0_u8..8,
        ) {
            let mut bytes = batch(&[&payload], 0);
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            let body = BatchHeader::decode(&bytes, 0, PLACE)
                .and_then(|header| header.body(&bytes, 0).map(<[u8]>::to_vec));
            prop_assert_eq!(body, None);
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Header::decode(&bytes);
            let _ = BatchHeader::decode(&bytes, 0, PLACE);
            let _ = decode_record(&bytes);
            for record in records(&bytes) {
                let _ = record;
            }
        }
    }
}
