//! Bytes of entries, votes, memberships and messages: one format for the log, the wire and
//! snapshots, drawn in `docs/formats.md`.
//!
//! Every message begins with a version byte. Numbers are little endian. Reading checks every length
//! before it takes anything, refuses what is left over, and never panics.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::{Buf, BufMut, Bytes, BytesMut, TryGetError};
use openraft::EntryPayload;
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, SnapshotResponse, TransferLeaderRequest,
    VoteRequest, VoteResponse,
};

use super::raft_types::{
    Entry, LeaderId, LogId, MemberNode, Membership, Payload, SnapshotMeta, StoredMembership,
    TypeConfig, Vote, log_id,
};

/// Version of everything in this file.
const VERSION: u8 = 1;

/// Why bytes are not what they should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    /// They end too early.
    #[error("the bytes end too early")]
    Short,
    /// They go on after the end.
    #[error("{0} bytes are left over")]
    Trailing(usize),
    /// A later program wrote them.
    #[error("version {found} is not known here, only {VERSION}; this program may be too old")]
    Version {
        /// The version byte.
        found: u8,
    },
    /// A field has a value that nothing writes.
    #[error("{what} has the unknown value {found}")]
    Unknown {
        /// Which field.
        what: &'static str,
        /// Its value.
        found: u64,
    },
    /// A name or number breaks its rules.
    #[error("the membership is not valid: {0}")]
    Membership(String),
}

impl From<CodecError> for std::io::Error {
    fn from(error: CodecError) -> Self {
        Self::new(std::io::ErrorKind::InvalidData, error)
    }
}

impl From<TryGetError> for CodecError {
    fn from(_: TryGetError) -> Self {
        Self::Short
    }
}

type Result<T> = std::result::Result<T, CodecError>;

fn versioned(capacity: usize) -> BytesMut {
    let mut out = BytesMut::with_capacity(capacity);
    out.put_u8(VERSION);
    out
}

fn check_version(bytes: &mut Bytes) -> Result<()> {
    match bytes.try_get_u8()? {
        VERSION => Ok(()),
        found => Err(CodecError::Version { found }),
    }
}

fn finish<T>(bytes: &Bytes, value: T) -> Result<T> {
    if bytes.is_empty() { Ok(value) } else { Err(CodecError::Trailing(bytes.len())) }
}

fn take(bytes: &mut Bytes, length: usize) -> Result<Bytes> {
    if bytes.len() < length {
        return Err(CodecError::Short);
    }
    Ok(bytes.split_to(length))
}

fn flag(bytes: &mut Bytes, what: &'static str) -> Result<bool> {
    match bytes.try_get_u8()? {
        0 => Ok(false),
        1 => Ok(true),
        found => Err(CodecError::Unknown { what, found: u64::from(found) }),
    }
}

/// Terms and indexes beyond these are not reached by counting: a message or file that has them is
/// not ours, and openraft's arithmetic would overflow on them.
const TERM_MAX: u64 = 1 << 48;
const INDEX_MAX: u64 = 1 << 56;

fn get_term(bytes: &mut Bytes) -> Result<u64> {
    match bytes.try_get_u64_le()? {
        term if term < TERM_MAX => Ok(term),
        found => Err(CodecError::Unknown { what: "a term", found }),
    }
}

fn put_vote(out: &mut BytesMut, vote: &Vote) {
    out.put_u64_le(vote.leader_id.term);
    out.put_u64_le(vote.leader_id.voted_for);
    out.put_u8(u8::from(vote.committed));
}

fn get_vote(bytes: &mut Bytes) -> Result<Vote> {
    let (term, voted_for) = (get_term(bytes)?, bytes.try_get_u64_le()?);
    let committed = flag(bytes, "a vote's committed flag")?;
    Ok(Vote { leader_id: LeaderId { term, voted_for }, committed })
}

fn put_log_id(out: &mut BytesMut, id: LogId) {
    out.put_u64_le(id.leader_id.term);
    out.put_u64_le(id.index);
}

fn get_log_id(bytes: &mut Bytes) -> Result<LogId> {
    let term = get_term(bytes)?;
    match bytes.try_get_u64_le()? {
        index if index < INDEX_MAX => Ok(log_id(term, index)),
        found => Err(CodecError::Unknown { what: "an index", found }),
    }
}

fn put_optional_log_id(out: &mut BytesMut, id: Option<LogId>) {
    out.put_u8(u8::from(id.is_some()));
    if let Some(id) = id {
        put_log_id(out, id);
    }
}

fn get_optional_log_id(bytes: &mut Bytes) -> Result<Option<LogId>> {
    if flag(bytes, "a position's flag")? { Ok(Some(get_log_id(bytes)?)) } else { Ok(None) }
}

fn put_text(out: &mut BytesMut, text: Option<&str>) {
    let text = text.unwrap_or_default();
    // Names and URLs are far shorter than this by construction.
    out.put_u16_le(u16::try_from(text.len()).unwrap_or(u16::MAX));
    out.put_slice(text.as_bytes());
}

fn get_text<T>(bytes: &mut Bytes) -> Result<Option<T>>
where
    T: std::str::FromStr,
    T::Err: std::fmt::Display,
{
    let length = usize::from(bytes.try_get_u16_le()?);
    let text = take(bytes, length)?;
    if text.is_empty() {
        return Ok(None);
    }
    let text = std::str::from_utf8(&text).map_err(|e| CodecError::Membership(e.to_string()))?;
    text.parse().map(Some).map_err(|error: T::Err| CodecError::Membership(error.to_string()))
}

fn put_membership(out: &mut BytesMut, membership: &Membership) {
    let configs = membership.get_joint_config();
    out.put_u8(u8::try_from(configs.len()).unwrap_or(u8::MAX));
    for voters in configs {
        out.put_u16_le(u16::try_from(voters.len()).unwrap_or(u16::MAX));
        for voter in voters {
            out.put_u64_le(*voter);
        }
    }
    out.put_u16_le(u16::try_from(membership.nodes().count()).unwrap_or(u16::MAX));
    for (id, node) in membership.nodes() {
        out.put_u64_le(*id);
        put_text(out, node.name.as_ref().map(crate::types::NodeName::as_str));
        put_text(out, node.url.as_ref().map(crate::types::NodeUrl::as_str));
    }
}

fn get_membership(bytes: &mut Bytes) -> Result<Membership> {
    let mut configs = Vec::new();
    for _ in 0..bytes.try_get_u8()? {
        let mut voters = BTreeSet::new();
        for _ in 0..bytes.try_get_u16_le()? {
            voters.insert(bytes.try_get_u64_le()?);
        }
        configs.push(voters);
    }
    let mut nodes = BTreeMap::new();
    for _ in 0..bytes.try_get_u16_le()? {
        let id = bytes.try_get_u64_le()?;
        nodes.insert(id, MemberNode { name: get_text(bytes)?, url: get_text(bytes)? });
    }
    if configs.is_empty() && nodes.is_empty() {
        return Ok(Membership::default());
    }
    Membership::new(configs, nodes).map_err(|error| CodecError::Membership(error.to_string()))
}

const ENTRY_BLANK: u8 = 0;
const ENTRY_NORMAL: u8 = 1;
const ENTRY_MEMBERSHIP: u8 = 2;

/// Bytes of an entry before its payload.
const ENTRY_HEAD_BYTES: usize = 18;

/// How many bytes an entry with this payload has in the log.
pub(super) fn entry_bytes(payload: &Payload) -> u64 {
    payload.bytes.len().saturating_add(ENTRY_HEAD_BYTES) as u64
}

/// An entry as it stands in the log and travels to followers.
pub(super) fn encode_entry(entry: &Entry) -> Bytes {
    let payload = match &entry.payload {
        EntryPayload::Normal(payload) => payload.bytes.len(),
        EntryPayload::Blank | EntryPayload::Membership(_) => 256,
    };
    let mut out = versioned(payload.saturating_add(ENTRY_HEAD_BYTES));
    let kind = match &entry.payload {
        EntryPayload::Blank => ENTRY_BLANK,
        EntryPayload::Normal(_) => ENTRY_NORMAL,
        EntryPayload::Membership(_) => ENTRY_MEMBERSHIP,
    };
    out.put_u8(kind);
    put_log_id(&mut out, entry.log_id);
    match &entry.payload {
        EntryPayload::Blank => {}
        EntryPayload::Normal(payload) => out.put_slice(&payload.bytes),
        EntryPayload::Membership(membership) => put_membership(&mut out, membership),
    }
    out.freeze()
}

/// The entry that [`encode_entry`] wrote; its payload shares the buffer.
pub(super) fn decode_entry(mut bytes: Bytes) -> Result<Entry> {
    check_version(&mut bytes)?;
    let kind = bytes.try_get_u8()?;
    let log_id = get_log_id(&mut bytes)?;
    let payload = match kind {
        ENTRY_BLANK => finish(&bytes, EntryPayload::Blank)?,
        ENTRY_NORMAL => EntryPayload::Normal(Payload::from(bytes)),
        ENTRY_MEMBERSHIP => {
            let membership = get_membership(&mut bytes)?;
            finish(&bytes, EntryPayload::Membership(membership))?
        }
        found => {
            return Err(CodecError::Unknown { what: "an entry's kind", found: u64::from(found) });
        }
    };
    Ok(Entry { log_id, payload })
}

/// A vote for the log.
pub(super) fn encode_vote(vote: &Vote) -> Bytes {
    let mut out = versioned(18);
    put_vote(&mut out, vote);
    out.freeze()
}

pub(super) fn decode_vote(mut bytes: Bytes) -> Result<Vote> {
    check_version(&mut bytes)?;
    let vote = get_vote(&mut bytes)?;
    finish(&bytes, vote)
}

/// A position for the log: the commit hint, the purge frontier.
pub(super) fn encode_log_id(id: LogId) -> Bytes {
    let mut out = versioned(17);
    put_log_id(&mut out, id);
    out.freeze()
}

pub(super) fn decode_log_id(mut bytes: Bytes) -> Result<LogId> {
    check_version(&mut bytes)?;
    let id = get_log_id(&mut bytes)?;
    finish(&bytes, id)
}

/// What a snapshot covers: stands in its file and before its bytes on the wire.
pub(super) fn encode_snapshot_meta(meta: &SnapshotMeta) -> Bytes {
    let mut out = versioned(256);
    put_optional_log_id(&mut out, meta.last_log_id);
    put_optional_log_id(&mut out, *meta.last_membership.log_id());
    put_membership(&mut out, meta.last_membership.membership());
    out.freeze()
}

pub(super) fn decode_snapshot_meta(mut bytes: Bytes) -> Result<SnapshotMeta> {
    check_version(&mut bytes)?;
    let last_log_id = get_optional_log_id(&mut bytes)?;
    let membership_log_id = get_optional_log_id(&mut bytes)?;
    let membership = get_membership(&mut bytes)?;
    let last_membership = StoredMembership::new(membership_log_id, membership);
    finish(&bytes, SnapshotMeta { last_log_id, last_membership })
}

/// No majority has answered the sender yet.
const NO_QUORUM_YET: u32 = u32::MAX;

/// Entries or a heartbeat; `quorum_age` is how long ago a majority answered the sender.
pub(super) fn encode_append(
    request: &AppendEntriesRequest<TypeConfig>,
    quorum_age: Option<Duration>,
) -> Bytes {
    let size = |entry: &Entry| match &entry.payload {
        EntryPayload::Normal(payload) => payload.bytes.len().saturating_add(32),
        EntryPayload::Blank | EntryPayload::Membership(_) => 256,
    };
    let entries: usize = request.entries.iter().map(size).sum();
    let mut out = versioned(entries.saturating_add(64));
    put_vote(&mut out, &request.vote);
    put_optional_log_id(&mut out, request.prev_log_id);
    put_optional_log_id(&mut out, request.leader_commit);
    let age_ms = quorum_age.and_then(|age| u32::try_from(age.as_millis()).ok());
    out.put_u32_le(age_ms.unwrap_or(NO_QUORUM_YET));
    out.put_u32_le(u32::try_from(request.entries.len()).unwrap_or(u32::MAX));
    for entry in &request.entries {
        let encoded = encode_entry(entry);
        out.put_u32_le(u32::try_from(encoded.len()).unwrap_or(u32::MAX));
        out.put_slice(&encoded);
    }
    out.freeze()
}

pub(super) fn decode_append(
    mut bytes: Bytes,
) -> Result<(AppendEntriesRequest<TypeConfig>, Option<Duration>)> {
    check_version(&mut bytes)?;
    let vote = get_vote(&mut bytes)?;
    let prev_log_id = get_optional_log_id(&mut bytes)?;
    let leader_commit = get_optional_log_id(&mut bytes)?;
    let quorum_age = match bytes.try_get_u32_le()? {
        NO_QUORUM_YET => None,
        age_ms => Some(Duration::from_millis(u64::from(age_ms))),
    };
    let count = bytes.try_get_u32_le()?;
    let mut entries = Vec::new();
    for _ in 0..count {
        let length = usize::try_from(bytes.try_get_u32_le()?).unwrap_or(usize::MAX);
        entries.push(decode_entry(take(&mut bytes, length)?)?);
    }
    check_consecutive(prev_log_id, &entries)?;
    let request = AppendEntriesRequest { vote, prev_log_id, entries, leader_commit };
    finish(&bytes, (request, quorum_age))
}

/// openraft trusts its peers to send consecutive entries; a broken peer must not crash this node.
fn check_consecutive(previous: Option<LogId>, entries: &[Entry]) -> Result<()> {
    let mut expected = previous.map_or(0, |id| id.index.saturating_add(1));
    for entry in entries {
        if entry.log_id.index != expected {
            let what = "an entry's index, which must follow the one before it,";
            return Err(CodecError::Unknown { what, found: entry.log_id.index });
        }
        expected = expected.saturating_add(1);
    }
    Ok(())
}

const APPEND_SUCCESS: u8 = 0;
const APPEND_PARTIAL: u8 = 1;
const APPEND_CONFLICT: u8 = 2;
const APPEND_HIGHER_VOTE: u8 = 3;

pub(super) fn encode_append_response(response: &AppendEntriesResponse<TypeConfig>) -> Bytes {
    let mut out = versioned(32);
    match response {
        AppendEntriesResponse::Success => out.put_u8(APPEND_SUCCESS),
        AppendEntriesResponse::PartialSuccess(upto) => {
            out.put_u8(APPEND_PARTIAL);
            put_optional_log_id(&mut out, *upto);
        }
        AppendEntriesResponse::Conflict => out.put_u8(APPEND_CONFLICT),
        AppendEntriesResponse::HigherVote(vote) => {
            out.put_u8(APPEND_HIGHER_VOTE);
            put_vote(&mut out, vote);
        }
    }
    out.freeze()
}

pub(super) fn decode_append_response(
    mut bytes: Bytes,
) -> Result<AppendEntriesResponse<TypeConfig>> {
    check_version(&mut bytes)?;
    let response = match bytes.try_get_u8()? {
        APPEND_SUCCESS => AppendEntriesResponse::Success,
        APPEND_PARTIAL => AppendEntriesResponse::PartialSuccess(get_optional_log_id(&mut bytes)?),
        APPEND_CONFLICT => AppendEntriesResponse::Conflict,
        APPEND_HIGHER_VOTE => AppendEntriesResponse::HigherVote(get_vote(&mut bytes)?),
        found => {
            let found = u64::from(found);
            return Err(CodecError::Unknown { what: "an append's answer", found });
        }
    };
    finish(&bytes, response)
}

pub(super) fn encode_vote_request(request: &VoteRequest<TypeConfig>) -> Bytes {
    let mut out = versioned(48);
    put_vote(&mut out, &request.vote);
    put_optional_log_id(&mut out, request.last_log_id);
    out.put_u8(u8::from(request.leadership_transfer));
    out.freeze()
}

pub(super) fn decode_vote_request(mut bytes: Bytes) -> Result<VoteRequest<TypeConfig>> {
    check_version(&mut bytes)?;
    let vote = get_vote(&mut bytes)?;
    let last_log_id = get_optional_log_id(&mut bytes)?;
    let leadership_transfer = flag(&mut bytes, "a vote request's transfer flag")?;
    finish(&bytes, VoteRequest { vote, last_log_id, leadership_transfer })
}

pub(super) fn encode_vote_response(response: &VoteResponse<TypeConfig>) -> Bytes {
    let mut out = versioned(48);
    put_vote(&mut out, &response.vote);
    put_optional_log_id(&mut out, response.last_log_id);
    out.put_u8(u8::from(response.vote_granted));
    out.freeze()
}

pub(super) fn decode_vote_response(mut bytes: Bytes) -> Result<VoteResponse<TypeConfig>> {
    check_version(&mut bytes)?;
    let vote = get_vote(&mut bytes)?;
    let last_log_id = get_optional_log_id(&mut bytes)?;
    let vote_granted = flag(&mut bytes, "a vote's answer")?;
    finish(&bytes, VoteResponse { vote, vote_granted, last_log_id })
}

pub(super) fn encode_transfer(request: &TransferLeaderRequest<TypeConfig>) -> Bytes {
    let mut out = versioned(64);
    put_vote(&mut out, request.from_leader());
    out.put_u64_le(*request.to_node_id());
    put_optional_log_id(&mut out, request.last_log_id().copied());
    out.freeze()
}

pub(super) fn decode_transfer(mut bytes: Bytes) -> Result<TransferLeaderRequest<TypeConfig>> {
    check_version(&mut bytes)?;
    let from = get_vote(&mut bytes)?;
    let to = bytes.try_get_u64_le()?;
    let last_log_id = get_optional_log_id(&mut bytes)?;
    finish(&bytes, TransferLeaderRequest::new(from, to, last_log_id))
}

/// A part of a snapshot on its way to a follower.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SnapshotChunk {
    /// The sender's vote: a deposed leader installs nothing.
    pub(super) vote: Vote,
    /// What the whole snapshot covers.
    pub(super) meta: SnapshotMeta,
    /// Where this part begins.
    pub(super) offset: u64,
    /// Bytes of the whole snapshot.
    pub(super) total: u64,
    /// This part.
    pub(super) bytes: Bytes,
}

pub(super) fn encode_chunk(chunk: &SnapshotChunk) -> Bytes {
    let meta = encode_snapshot_meta(&chunk.meta);
    let mut out = versioned(chunk.bytes.len().saturating_add(meta.len()).saturating_add(64));
    put_vote(&mut out, &chunk.vote);
    out.put_u32_le(u32::try_from(meta.len()).unwrap_or(u32::MAX));
    out.put_slice(&meta);
    out.put_u64_le(chunk.offset);
    out.put_u64_le(chunk.total);
    out.put_slice(&chunk.bytes);
    out.freeze()
}

pub(super) fn decode_chunk(mut bytes: Bytes) -> Result<SnapshotChunk> {
    check_version(&mut bytes)?;
    let vote = get_vote(&mut bytes)?;
    let length = usize::try_from(bytes.try_get_u32_le()?).unwrap_or(usize::MAX);
    let meta = decode_snapshot_meta(take(&mut bytes, length)?)?;
    let (offset, total) = (bytes.try_get_u64_le()?, bytes.try_get_u64_le()?);
    Ok(SnapshotChunk { vote, meta, offset, total, bytes })
}

/// The answer to a chunk: the receiver's vote, and how many bytes it has.
pub(super) fn encode_chunk_response(response: &SnapshotResponse<TypeConfig>, next: u64) -> Bytes {
    let mut out = versioned(32);
    put_vote(&mut out, &response.vote);
    out.put_u64_le(next);
    out.freeze()
}

pub(super) fn decode_chunk_response(
    mut bytes: Bytes,
) -> Result<(SnapshotResponse<TypeConfig>, u64)> {
    check_version(&mut bytes)?;
    let vote = get_vote(&mut bytes)?;
    let next = bytes.try_get_u64_le()?;
    finish(&bytes, (SnapshotResponse { vote }, next))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vote(committed: bool) -> Vote {
        Vote { leader_id: LeaderId { term: 3, voted_for: 2 }, committed }
    }

    fn membership() -> Membership {
        let node = |n: u16| MemberNode {
            name: Some(format!("node{n}").parse().unwrap()),
            url: Some(format!("http://h{n}:5000").parse().unwrap()),
        };
        let nodes: BTreeMap<u64, MemberNode> = [(1, node(1)), (2, node(2))].into();
        Membership::new(vec![BTreeSet::from([1, 2])], nodes).unwrap()
    }

    fn entry(index: u64, payload: EntryPayload<Payload, u64, MemberNode>) -> Entry {
        Entry { log_id: log_id(3, index), payload }
    }

    fn meta() -> SnapshotMeta {
        let last_membership = StoredMembership::new(Some(log_id(1, 0)), membership());
        SnapshotMeta { last_log_id: Some(log_id(3, 9)), last_membership }
    }

    fn append() -> AppendEntriesRequest<TypeConfig> {
        AppendEntriesRequest {
            vote: vote(true),
            prev_log_id: Some(log_id(2, 4)),
            entries: vec![
                entry(5, EntryPayload::Blank),
                entry(6, EntryPayload::Normal(Payload::from(Bytes::from_static(b"payload")))),
                entry(7, EntryPayload::Membership(membership())),
            ],
            leader_commit: Some(log_id(2, 3)),
        }
    }

    fn chunk() -> SnapshotChunk {
        let bytes = Bytes::from_static(b"part");
        SnapshotChunk { vote: vote(true), meta: meta(), offset: 512, total: 1024, bytes }
    }

    fn messages() -> Vec<(&'static str, Bytes)> {
        let vote_request = VoteRequest {
            vote: vote(false),
            last_log_id: Some(log_id(2, 7)),
            leadership_transfer: true,
        };
        let vote_response =
            VoteResponse { vote: vote(false), vote_granted: true, last_log_id: Some(log_id(2, 7)) };
        let transfer = TransferLeaderRequest::new(vote(true), 1, Some(log_id(3, 9)));
        let higher = AppendEntriesResponse::HigherVote(vote(true));
        let partial = AppendEntriesResponse::PartialSuccess(Some(log_id(3, 6)));
        vec![
            ("append", encode_append(&append(), Some(Duration::from_millis(20)))),
            ("append_success", encode_append_response(&AppendEntriesResponse::Success)),
            ("append_partial", encode_append_response(&partial)),
            ("append_conflict", encode_append_response(&AppendEntriesResponse::Conflict)),
            ("append_higher_vote", encode_append_response(&higher)),
            ("vote_request", encode_vote_request(&vote_request)),
            ("vote_response", encode_vote_response(&vote_response)),
            ("transfer", encode_transfer(&transfer)),
            ("snapshot_chunk", encode_chunk(&chunk())),
            ("snapshot_answer", encode_chunk_response(&SnapshotResponse { vote: vote(true) }, 516)),
            ("log_id", encode_log_id(log_id(3, 9))),
            ("vote", encode_vote(&vote(true))),
        ]
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().concat()
    }

    #[test]
    fn messages_between_nodes_are_the_golden_bytes_of_version_1() {
        let written: Vec<_> = messages().iter().map(|(n, b)| format!("{n} {}\n", hex(b))).collect();
        let golden = include_str!("../../tests/data/formats/v1/messages.txt");
        assert_eq!(written.concat(), golden);
    }

    #[test]
    fn an_append_is_read_as_it_was_written() {
        let bytes = encode_append(&append(), Some(Duration::from_millis(20)));
        let (read, age) = decode_append(bytes).unwrap();
        assert_eq!(read.entries, append().entries);
        assert_eq!((read.vote, read.prev_log_id), (append().vote, append().prev_log_id));
        assert_eq!(
            (read.leader_commit, age),
            (append().leader_commit, Some(Duration::from_millis(20)))
        );
        assert_eq!(decode_append(encode_append(&append(), None)).unwrap().1, None);
        assert_eq!(decode_chunk(encode_chunk(&chunk())).unwrap(), chunk());
        assert_eq!(decode_snapshot_meta(encode_snapshot_meta(&meta())).unwrap(), meta());
    }

    #[test]
    fn every_cut_of_a_message_is_refused_and_never_panics() {
        for (name, bytes) in messages() {
            for length in 0..bytes.len() {
                let cut = bytes.slice(..length);
                let refused = match name {
                    "append" => decode_append(cut).is_err(),
                    "vote_request" => decode_vote_request(cut).is_err(),
                    "vote_response" => decode_vote_response(cut).is_err(),
                    "transfer" => decode_transfer(cut).is_err(),
                    "snapshot_answer" => decode_chunk_response(cut).is_err(),
                    "log_id" => decode_log_id(cut).is_err(),
                    "vote" => decode_vote(cut).is_err(),
                    // A chunk's bytes go to the end of the message, whatever their number.
                    "snapshot_chunk" => decode_chunk(cut).is_err() || length >= bytes.len() - 4,
                    _ => decode_append_response(cut).is_err(),
                };
                assert!(refused, "{name} cut at {length}");
            }
        }
    }

    #[test]
    fn numbers_that_counting_never_reaches_are_refused() {
        let term = |term| {
            encode_vote(&Vote { leader_id: LeaderId { term, voted_for: 1 }, committed: false })
        };
        assert!(decode_vote(term(TERM_MAX - 1)).is_ok());
        assert!(decode_vote(term(TERM_MAX)).is_err());
        assert!(decode_vote(term(u64::MAX)).is_err());
        assert!(decode_log_id(encode_log_id(log_id(1, INDEX_MAX))).is_err());
    }

    #[test]
    fn entries_that_do_not_follow_each_other_are_refused() {
        let mut request = append();
        request.entries.remove(1);
        assert!(decode_append(encode_append(&request, None)).is_err());
    }
}
