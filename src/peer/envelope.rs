//! The first bytes of every message between nodes: who sends it, to whom, in which cluster.
//!
//! ```text
//! "BPM" version:u8 | cluster id:16 | from:u64 | to:u64 | body
//! ```
//! Numbers are little endian. A node that gets a message for somebody else must not read on: pods
//! change addresses, and an address may belong to another cluster tomorrow.

use bytes::{BufMut, Bytes, BytesMut};

use super::{Refusal, RefusalReason};
use crate::types::{ClusterId, RaftId};

/// Magic and version.
const HEAD: &[u8; 4] = b"BPM\x01";
/// Bytes before the body.
const ENVELOPE_BYTES: usize = 4 + 16 + 8 + 8;

/// Sender's or receiver's place: a cluster and a node in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Address {
    /// The cluster.
    pub cluster: ClusterId,
    /// The node.
    pub node: RaftId,
}

/// Puts `body` into an envelope.
pub fn seal(from: Address, to: RaftId, body: &[u8]) -> Bytes {
    let mut sealed = BytesMut::with_capacity(ENVELOPE_BYTES.saturating_add(body.len()));
    sealed.put_slice(HEAD);
    sealed.put_slice(&from.cluster.to_bytes());
    sealed.put_u64_le(from.node.get());
    sealed.put_u64_le(to.get());
    sealed.put_slice(body);
    sealed.freeze()
}

/// Takes the body out of an envelope that is meant for `me`, with the sender.
pub fn open(me: Address, sealed: &Bytes) -> Result<(RaftId, Bytes), Refusal> {
    let malformed = |why: &str| Refusal::new(RefusalReason::Malformed, why);
    let Some((head, rest)) = sealed.split_first_chunk::<4>() else {
        return Err(malformed("a message between nodes has at least 36 bytes"));
    };
    if head != HEAD {
        return Err(malformed("a message between nodes begins with BPM and version 1"));
    }
    let short = || malformed("a message between nodes has at least 36 bytes");
    let (cluster, rest) = rest.split_first_chunk::<16>().ok_or_else(short)?;
    let (from, rest) = rest.split_first_chunk::<8>().ok_or_else(short)?;
    let (to, body) = rest.split_first_chunk::<8>().ok_or_else(short)?;
    let cluster = ClusterId::from_bytes(*cluster);
    let to = RaftId::new(u64::from_le_bytes(*to));
    if cluster != me.cluster {
        let detail = format!("this node belongs to cluster {}, not {cluster}", me.cluster);
        return Err(Refusal::new(RefusalReason::WrongCluster, detail));
    }
    if to != me.node {
        let detail = format!("this is node {} of the cluster, not {to}", me.node);
        return Err(Refusal::new(RefusalReason::WrongNode, detail));
    }
    Ok((RaftId::new(u64::from_le_bytes(*from)), sealed.slice_ref(body)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(cluster: u8, node: u64) -> Address {
        Address { cluster: ClusterId::from_bytes([cluster; 16]), node: RaftId::new(node) }
    }

    #[test]
    fn a_message_arrives_with_its_sender_and_body() {
        let sealed = seal(address(1, 7), RaftId::new(8), b"body");
        let (from, body) = open(address(1, 8), &sealed).unwrap();
        assert_eq!((from, &body[..]), (RaftId::new(7), &b"body"[..]));
    }

    #[test]
    fn a_message_for_another_cluster_or_node_is_refused() {
        let sealed = seal(address(1, 7), RaftId::new(8), b"body");
        let reason = |me| open(me, &sealed).unwrap_err().reason;
        assert_eq!(reason(address(2, 8)), RefusalReason::WrongCluster);
        assert_eq!(reason(address(1, 9)), RefusalReason::WrongNode);
    }

    #[test]
    fn every_cut_of_an_envelope_and_any_other_head_is_malformed() {
        let sealed = seal(address(1, 7), RaftId::new(8), b"");
        for length in 0..sealed.len() {
            let refusal = open(address(1, 8), &sealed.slice(..length)).unwrap_err();
            assert_eq!(refusal.reason, RefusalReason::Malformed, "{length}");
        }
        let garbage = Bytes::from_static(b"{\"clave\":\"valor\", \"and so on\": \"and so on\"}");
        assert_eq!(open(address(1, 8), &garbage).unwrap_err().reason, RefusalReason::Malformed);
    }
}
