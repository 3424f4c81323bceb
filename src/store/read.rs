//! Reads: how fresh they are, and pages of them.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::error::StoreError;
use super::{LogEntry, Store};
use crate::consensus::error::{BarrierError, ReadLogError, WalError};
use crate::state::{Entry, RangeQuery};
use crate::telemetry::TraceContext;
use crate::telemetry::traces::Kind;
use crate::types::{Index, Key};

/// A page stops here even before its limit: as JSON it may be six times as large, and a forwarder
/// holds all of it.
const PAGE_MAX_BYTES: usize = 1 << 20;
/// As much of the log as one page carries.
const LOG_PAGE_MAX_BYTES: u64 = 1 << 20;

/// How fresh an answer must be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Consistency {
    /// It holds everything that was acknowledged before the request came.
    #[default]
    Linearizable,
    /// What this node has; the answer says how old that may be.
    Stale,
}

/// An answer and how fresh it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Read<T> {
    /// The answer.
    pub value: T,
    /// The applied index it was read at; `None` before the first entry.
    pub index: Option<Index>,
    /// For stale reads: how old the state may be, `None` if this node never was up to date.
    pub staleness: Option<Duration>,
}

/// Which keys to list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListQuery {
    /// What every key begins with.
    pub prefix: Vec<u8>,
    /// The first key wanted.
    pub start: Vec<u8>,
    /// The first key not wanted any more.
    pub end: Option<Vec<u8>>,
    /// At most this many.
    pub limit: usize,
}

/// Some keys in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListPage {
    /// Keys with what is known of them.
    pub items: Vec<(Key, Entry)>,
    /// Where the next page begins; `None` when this is the last one.
    pub next: Option<Key>,
}

/// Some entries of the log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogPage {
    /// Entries in order.
    pub entries: Vec<LogEntry>,
    /// The index after the last of them.
    pub next: Index,
}

impl Store {
    /// Waits until this node may answer with the wanted consistency. For linearizable reads to be
    /// called where [`Store::route`] said [`super::Route::Here`]. `trace` is the request's place
    /// in a trace.
    ///
    /// # Errors
    /// [`StoreError::NotLeader`] when leadership has moved: route again.
    pub async fn prepare(
        &self,
        wanted: Consistency,
        trace: Option<TraceContext>,
        until: Instant,
    ) -> Result<(), StoreError> {
        if wanted == Consistency::Stale {
            return Ok(());
        }
        let mut span = self.inner.traces.follow(trace, Kind::Internal);
        span.name("raft.read_barrier");
        let began = Instant::now();
        let barrier = self.inner.consensus.read_barrier();
        match tokio::time::timeout_at(until, barrier).await {
            Ok(Ok(())) => {
                self.inner.metrics.read_barrier_duration.observe(began.elapsed());
                Ok(())
            }
            Ok(Err(BarrierError::NotLeader)) => Err(StoreError::NotLeader),
            Ok(Err(BarrierError::NoQuorum(_))) => Err(StoreError::NoQuorum),
            Ok(Err(BarrierError::Stopped(why))) => Err(StoreError::Internal { why }),
            Err(_) => {
                let why = "no majority confirmed the leader within the timeout".to_owned();
                Err(StoreError::ReadTimeout { why })
            }
        }
    }

    /// The present entry of a key. Call [`Store::prepare`] first.
    pub fn get(&self, key: &Key, consistency: Consistency) -> Read<Option<Entry>> {
        let view = self.inner.consensus.view();
        let value = view.get(key.as_bytes()).cloned();
        self.read(value, view.applied().map(|at| at.index), consistency)
    }

    /// Keys in order. Call [`Store::prepare`] first.
    pub fn list(&self, query: &ListQuery, consistency: Consistency) -> Read<ListPage> {
        let view = self.inner.consensus.view();
        let range =
            RangeQuery { start: &query.start, end: query.end.as_deref(), prefix: &query.prefix };
        let mut page = ListPage::default();
        let mut bytes = 0_usize;
        for (key, entry) in view.range(range) {
            if page.items.len() >= query.limit || bytes >= PAGE_MAX_BYTES {
                page.next = Some(key.clone());
                break;
            }
            bytes = bytes.saturating_add(entry.value.as_bytes().len());
            page.items.push((key.clone(), entry.clone()));
        }
        self.read(page, view.applied().map(|at| at.index), consistency)
    }

    fn read<T>(&self, value: T, index: Option<Index>, consistency: Consistency) -> Read<T> {
        let staleness = match consistency {
            Consistency::Linearizable => None,
            Consistency::Stale => self.inner.consensus.staleness(),
        };
        if let Some(staleness) = staleness {
            self.inner.metrics.read_staleness.observe(staleness);
        }
        Read { value, index, staleness }
    }

    /// Committed entries of this node's log from `from` on; without it, from the first there is.
    pub async fn log(&self, from: Option<Index>, limit: u64) -> Result<LogPage, StoreError> {
        let from = from.or_else(|| self.inner.consensus.first_index()).unwrap_or_default();
        let read = self.inner.consensus.read_log(from, limit, LOG_PAGE_MAX_BYTES).await;
        let entries = read.map_err(|error| match error {
            ReadLogError::Trimmed { first } => StoreError::LogTrimmed { first },
            // Trimmed between the look and the read.
            ReadLogError::Wal(WalError::Purged { upto }) => {
                StoreError::LogTrimmed { first: upto.next() }
            }
            ReadLogError::Stopping => StoreError::ShuttingDown,
            ReadLogError::Wal(_) | ReadLogError::Codec(_) | ReadLogError::Proposal(_) => {
                StoreError::Internal { why: error.to_string() }
            }
        })?;
        self.inner.metrics.log_entries_served.add(entries.len() as u64);
        let next = entries.last().map_or(from, |entry| entry.position.index.next());
        Ok(LogPage { entries, next })
    }

    /// The last applied index, now and whenever it grows.
    pub fn applied(&self) -> watch::Receiver<Option<Index>> {
        self.inner.consensus.applied()
    }

    /// A fingerprint of the state: equal on all nodes at equal applied index.
    pub fn fingerprint(&self) -> (Option<Index>, String) {
        let view = self.inner.consensus.view();
        (view.applied().map(|at| at.index), view.hash().to_string())
    }
}
