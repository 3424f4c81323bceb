//! What nodes answer, as far as the command line reads it.
//!
//! Used by every verb. Lenient on purpose: a field that is not there is `None`, one that is new is
//! ignored, so that this command line can watch a cluster of another version. The contract is
//! docs/api.md.
//!
//! # Not here
//! Requests ([`super::request`]); how an answer is shown.

use serde::Deserialize;

/// What became of a write: which nodes have it on disk.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Receipt {
    /// Its place in the log.
    pub index: u64,
    /// The term of the leader that put it there.
    pub term: u64,
    /// One for each replica.
    pub acks: Vec<Ack>,
    /// How many voters are a majority.
    pub quorum: u64,
    /// How many voters there are.
    pub voters: u64,
    /// On a `PUT`: whether the key was new.
    pub created: Option<bool>,
    /// On a `DELETE`: whether the key was there.
    pub deleted: Option<bool>,
}

/// One replica's line of a receipt.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Ack {
    /// Who.
    pub node: String,
    /// `leader` or `follower`.
    pub role: String,
    /// `durable` or `pending`.
    pub state: String,
    /// From the proposal until the leader knew, in milliseconds.
    pub ms: Option<f64>,
}

/// What one node says about itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Heartbeat {
    /// Its name.
    pub node: String,
    /// `leader`, `follower`, `candidate` or `learner`.
    pub role: String,
    /// The term it is in.
    pub term: u64,
    /// Who leads, as far as it knows.
    pub leader: Option<String>,
    /// The last index it knows to be committed.
    pub commit_index: Option<u64>,
    /// The last index its state contains.
    pub applied_index: Option<u64>,
    /// Its process.
    pub pid: Option<u32>,
    /// Milliseconds since it started.
    pub uptime_ms: Option<u64>,
}

/// The cluster as its leader sees it.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Cluster {
    /// Its identity.
    pub cluster_id: String,
    /// Who leads, if anybody does.
    pub leader: Option<String>,
    /// The term.
    pub term: u64,
    /// Everybody.
    pub members: Vec<Member>,
}

/// One node of a cluster.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Member {
    /// Its name.
    pub name: String,
    /// Where it is reached.
    pub url: String,
    /// `voter` or `learner`.
    pub role: String,
    /// How many entries it is behind the leader.
    pub lag_entries: Option<u64>,
    /// Milliseconds since it last acknowledged something to the leader.
    pub last_ack_ms: Option<f64>,
}

/// One page of a list.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Page {
    /// The items, ordered by key, as they came.
    pub items: Vec<serde_json::Value>,
    /// Where the next page begins.
    pub next_cursor: Option<String>,
}

/// One item of a list.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Item {
    /// The key.
    pub key: String,
    /// The value, if it is text.
    pub value: Option<String>,
    /// The value, if it is not.
    pub value_base64: Option<String>,
    /// The index of the key's last change.
    pub modify_index: Option<u64>,
    /// How often it was set since it was created.
    pub version: Option<u64>,
}

/// The last words of a tail that the server had to end.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct LastWords {
    /// The code.
    pub error: String,
    /// What to do next.
    pub detail: String,
}

/// One committed entry of the log.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Entry {
    /// Its place.
    pub index: u64,
    /// The term of the leader that put it there.
    pub term: u64,
    /// When, in milliseconds since 1970, by that leader's clock.
    pub time_ms: Option<u64>,
    /// By which node it came.
    pub node: Option<String>,
    /// `write`, `put`, `delete`, `leader` or `membership`.
    pub kind: String,
    /// On `put` and `delete`.
    pub key: Option<String>,
    /// On `put`, if it is text.
    pub value: Option<String>,
    /// On `put`, if it is not.
    pub value_base64: Option<String>,
    /// On `write`.
    pub pairs: Vec<Item>,
}

/// An error as the server tells it (RFC 9457).
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Problem {
    /// What it is, in a few words.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What to do next.
    pub detail: String,
    /// Its stable name.
    pub code: String,
    /// `not_applied`, `unknown` or `applied`; on writes.
    pub outcome: Option<String>,
    /// Who answered.
    pub node: Option<String>,
    /// Who leads, if known.
    pub leader: Option<String>,
    /// When to try again.
    pub retry_after_ms: Option<u64>,
    /// The receipt so far, when a write was applied on fewer nodes than asked for.
    pub receipt: Option<Receipt>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receipt_of_the_contract_is_read() {
        let text = r#"{"index":42,"term":3,"acks":[
            {"node":"node1","role":"leader","state":"durable","ms":0.21},
            {"node":"node3","role":"follower","state":"pending"}],
            "quorum":2,"voters":3,"created":true,"new_in_a_later_version":1}"#;
        let receipt: Receipt = serde_json::from_str(text).unwrap();
        assert_eq!((receipt.index, receipt.created, receipt.deleted), (42, Some(true), None));
        assert_eq!(receipt.acks[1].ms, None);
    }

    #[test]
    fn a_cluster_without_a_leader_is_read() {
        let text = r#"{"cluster_id":"x","leader":null,"term":7,"members":[{"name":"node1",
            "url":"http://127.0.0.1:5000","role":"voter","reachable":null,"match_index":null,
            "lag_entries":null,"last_ack_ms":null}]}"#;
        let cluster: Cluster = serde_json::from_str(text).unwrap();
        assert_eq!((cluster.leader, cluster.members[0].lag_entries), (None, None));
    }

    #[test]
    fn a_heartbeat_before_the_first_entry_is_read() {
        let text = r#"{"cluster_id":"x","node":"node1","role":"candidate","term":1,"leader":null,
            "commit_index":null,"applied_index":null,"state_hash":"0","pid":7,"uptime_ms":3}"#;
        let heartbeat: Heartbeat = serde_json::from_str(text).unwrap();
        assert_eq!((heartbeat.pid, heartbeat.commit_index), (Some(7), None));
    }
}
