//! What a leader knows of its followers: series that come and go with its leadership.
//!
//! # Invariants
//! - T5 A peer's series are shown while this node leads and the peer is a member; a deposed leader
//!   would go on telling the past. What was counted is kept: counters never go back.
//!
//! # Not here
//! Who leads (`consensus`).

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::metrics::{self as rows, AckResult, MissReason};
use super::recorder::{Counter, CounterBy, Gauge, Histogram, Recorder};
use crate::types::NodeName;

/// What this node knows of one other node.
pub struct PeerMetrics {
    /// Its answers to entries.
    pub acks: CounterBy<AckResult>,
    /// Time to its durable acknowledgement.
    pub ack_duration: Histogram,
    /// Entries sent to it.
    pub entries: Counter,
    /// Bytes of the messages with them.
    pub bytes: Counter,
    /// Such messages under way.
    pub inflight: Gauge,
    /// The last index that it is known to have.
    pub match_index: Gauge,
    /// Entries that it is not known to have.
    pub lag_entries: Gauge,
    /// Their bytes.
    pub lag_bytes: Gauge,
    /// Age of the oldest of them.
    pub lag_seconds: Gauge,
    /// When it last acknowledged entries.
    pub last_ack: Gauge,
    /// Heartbeats sent to it.
    pub heartbeats_sent: Counter,
    /// Heartbeats without a good answer.
    pub heartbeat_misses: CounterBy<MissReason>,
    /// Time of a heartbeat and its answer.
    pub heartbeat_rtt: Histogram,
}

struct Peer {
    metrics: Arc<PeerMetrics>,
    is_shown: bool,
}

/// All other nodes that were ever members.
#[derive(Default)]
pub(super) struct Peers(Mutex<BTreeMap<NodeName, Peer>>);

impl Peers {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<NodeName, Peer>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn get(&self, recorder: &Recorder, name: &NodeName) -> Arc<PeerMetrics> {
        let mut peers = self.lock();
        if let Some(peer) = peers.get(name) {
            return Arc::clone(&peer.metrics);
        }
        let metrics = Arc::new(PeerMetrics::new(recorder, name.as_str()));
        let peer = Peer { metrics: Arc::clone(&metrics), is_shown: false };
        peers.insert(name.clone(), peer);
        metrics
    }

    /// Shows these and no others.
    pub(super) fn show(&self, names: &[&NodeName]) {
        for (name, peer) in self.lock().iter_mut() {
            let is_shown = names.contains(&name);
            if peer.is_shown && !is_shown {
                peer.metrics.forget();
            }
            peer.is_shown = is_shown;
        }
    }

    /// The text without the series of those that are not shown: the library cannot take back a
    /// series.
    pub(super) fn without_hidden(&self, text: String) -> String {
        let peers = self.lock();
        let hidden = peers.iter().filter(|(_, peer)| !peer.is_shown);
        let hidden: Vec<_> = hidden.map(|(name, _)| format!("peer=\"{name}\"")).collect();
        drop(peers);
        if hidden.is_empty() {
            return text;
        }
        let is_shown = |line: &&str| {
            line.starts_with('#') || !hidden.iter().any(|label| line.contains(label.as_str()))
        };
        text.lines().filter(is_shown).flat_map(|line| [line, "\n"]).collect()
    }
}

impl PeerMetrics {
    fn new(recorder: &Recorder, name: &str) -> Self {
        let peer = [("peer", name)];
        Self {
            acks: recorder.counters(&rows::REPLICATION_ACKS, &peer),
            ack_duration: recorder.histogram(&rows::REPLICATION_ACK_DURATION, &peer),
            entries: recorder.counter(&rows::REPLICATION_ENTRIES, &peer),
            bytes: recorder.counter(&rows::REPLICATION_BYTES, &peer),
            inflight: recorder.gauge(&rows::REPLICATION_INFLIGHT, &peer),
            match_index: recorder.gauge(&rows::REPLICATION_MATCH_INDEX, &peer),
            lag_entries: recorder.gauge(&rows::REPLICATION_LAG, &peer),
            lag_bytes: recorder.gauge(&rows::REPLICATION_LAG_BYTES, &peer),
            lag_seconds: recorder.gauge(&rows::REPLICATION_LAG_SECONDS, &peer),
            last_ack: recorder.gauge(&rows::REPLICATION_LAST_ACK, &peer),
            heartbeats_sent: recorder.counter(&rows::HEARTBEATS_SENT, &peer),
            heartbeat_misses: recorder.counters(&rows::HEARTBEAT_MISSES, &peer),
            heartbeat_rtt: recorder.histogram(&rows::HEARTBEAT_RTT, &peer),
        }
    }

    /// What was true in one leadership says nothing of the next. `inflight` keeps its own account.
    fn forget(&self) {
        for gauge in [&self.match_index, &self.lag_entries, &self.lag_bytes, &self.lag_seconds] {
            gauge.set(0);
        }
        self.last_ack.set(0);
    }
}
