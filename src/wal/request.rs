//! What callers ask of the writer, and the promise that each is answered exactly once.
//!
//! # Invariants
//! - W4 A request's [`Done`] runs exactly once: after its bytes are durable, or with an error; also
//!   when the request is dropped on the way.

use bytes::Bytes;

use super::error::WalError;
use crate::types::Index;

/// Told once how a request ended: `Ok` only after its bytes are durable. Runs on the writer's
/// thread, or on the caller's when the request is refused; must be quick.
pub type Done = Box<dyn FnOnce(Result<(), WalError>) + Send>;

/// The two values that the log keeps beside its entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Slot {
    /// Durable when its request is done.
    Vote,
    /// A hint: written with the next batch, made durable by whatever is synced after it.
    Committed,
}

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Work {
    Append { first: Index, payloads: Vec<Bytes> },
    TruncateFrom(Index),
    Save(Slot, Bytes),
    Purge { upto: Index, note: Bytes },
}

/// What the caller saw when it asked: tells the writer's news about old requests from current ones.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// Grows when entries are taken back.
    pub(crate) generation: u64,
    /// The last entry (or the frontier) once this request is done.
    pub(crate) last: Option<Index>,
}

/// One thing for the writer to do. Opaque: a [`Queue`] only carries it.
pub struct Request {
    pub(crate) work: Work,
    pub(crate) stamp: Stamp,
    pub(crate) completion: Completion,
}

impl Request {
    /// Payload bytes that it carries, for the limits of queues and batches.
    pub fn payload_bytes(&self) -> u64 {
        let bytes = match &self.work {
            Work::Append { payloads, .. } => {
                payloads.iter().fold(0, |sum: usize, payload| sum.saturating_add(payload.len()))
            }
            Work::TruncateFrom(_) => 0,
            Work::Save(_, bytes) | Work::Purge { note: bytes, .. } => bytes.len(),
        };
        u64::try_from(bytes).unwrap_or(u64::MAX)
    }

    /// Whether it may be answered before a sync.
    pub(crate) fn is_hint(&self) -> bool {
        matches!(self.work, Work::Save(Slot::Committed, _))
    }
}

impl std::fmt::Debug for Request {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Request").field("work", &self.work).finish_non_exhaustive()
    }
}

/// Holds a [`Done`] and answers it when dropped.
pub(crate) struct Completion(Option<Done>);

impl Completion {
    pub(crate) fn new(done: Done) -> Self {
        Self(Some(done))
    }

    pub(crate) fn finish(mut self, result: Result<(), WalError>) {
        if let Some(done) = self.0.take() {
            done(result);
        }
    }
}

impl Drop for Completion {
    fn drop(&mut self) {
        if let Some(done) = self.0.take() {
            done(Err(WalError::Closed));
        }
    }
}

/// Why a queue did not take a request; the request comes back.
#[derive(Debug)]
pub enum Refused {
    /// Too many wait.
    Full(Request),
    /// Nobody will ever take it.
    Closed(Request),
}

/// Carries requests to the writer, in the order in which they are submitted.
pub trait Queue: Send + Sync + 'static {
    /// Takes a request without blocking and without processing it: the view is locked meanwhile.
    fn submit(&self, request: Request) -> Result<(), Refused>;
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    #[test]
    fn w4_a_dropped_request_is_answered_with_an_error() {
        let heard = Arc::new(Mutex::new(Vec::new()));
        let ear = heard.clone();
        let done: Done = Box::new(move |result| ear.lock().unwrap().push(result.is_ok()));
        let work = Work::TruncateFrom(Index::new(0));
        let stamp = Stamp::default();
        drop(Request { work, stamp, completion: Completion::new(done) });
        assert_eq!(*heard.lock().unwrap(), [false]);
    }
}
