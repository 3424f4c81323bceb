//! The committed entries, for those who read the log itself.

use bytes::Bytes;
use openraft::EntryPayload;

use super::Consensus;
use super::codec;
use super::error::ReadLogError;
use super::log_storage::read_encoded;
use super::state_machine::position;
use crate::command::{self, Proposal};
use crate::types::{Index, NodeName, Position};

/// An entry of the log as people see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogEntry {
    /// Where it stands.
    pub position: Position,
    /// What it is.
    pub kind: EntryKind,
}

/// What an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EntryKind {
    /// A proposal of a client.
    Proposal(Proposal),
    /// A new leader's first entry.
    Leader,
    /// A membership.
    Membership {
        /// Names of the voters.
        voters: Vec<NodeName>,
        /// Names of the learners.
        learners: Vec<NodeName>,
    },
}

impl Consensus {
    /// The first index that can still be read; `None` while the log is empty.
    pub fn first_index(&self) -> Option<Index> {
        self.inner.wal.bounds().first
    }

    /// Applied entries from `from` on, at most `limit` and about `max_bytes`. Empty when there is
    /// nothing at `from` yet.
    ///
    /// # Errors
    /// [`ReadLogError::Trimmed`] when `from` is not in the log any more.
    pub async fn read_log(
        &self,
        from: Index,
        limit: u64,
        max_bytes: u64,
    ) -> Result<Vec<LogEntry>, ReadLogError> {
        let Some(applied) = self.view().applied() else { return Ok(Vec::new()) };
        let bounds = self.inner.wal.bounds();
        let first = bounds.first.or(bounds.purged.map(Index::next)).unwrap_or_default();
        if from < first {
            return Err(ReadLogError::Trimmed { first });
        }
        let end = applied.index.next().min(Index::new(from.get().saturating_add(limit)));
        let Some(last) = bounds.last else { return Ok(Vec::new()) };
        let end = end.min(last.next());
        if from >= end {
            return Ok(Vec::new());
        }
        let (wal, tasks) = (&self.inner.wal, &self.inner.tasks);
        let entries = read_encoded(wal, tasks, from..end, max_bytes).await?;
        entries.into_iter().map(decode).collect()
    }
}

fn decode(bytes: Bytes) -> Result<LogEntry, ReadLogError> {
    let entry = codec::decode_entry(bytes)?;
    let kind = match entry.payload {
        EntryPayload::Blank => EntryKind::Leader,
        EntryPayload::Normal(payload) => {
            EntryKind::Proposal(command::decode_proposal(&payload.bytes)?)
        }
        EntryPayload::Membership(membership) => {
            let name = |id: u64| membership.get_node(&id).and_then(|node| node.name.clone());
            EntryKind::Membership {
                voters: membership.voter_ids().filter_map(name).collect(),
                learners: membership.learner_ids().filter_map(name).collect(),
            }
        }
    };
    Ok(LogEntry { position: position(entry.log_id), kind })
}
