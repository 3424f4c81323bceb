//! The deterministic state machine: committed commands in, outcomes out, the same on every node.
//!
//! Used by `consensus` (apply, snapshots) and, through [`StateView`], by `store` for reads. Plain
//! data and plain functions: what an entry does depends on the entries before it and nothing else.
//!
//! # Invariants
//! - S1 Entries are applied one by one in the order of their indexes. One that was applied already
//!   changes nothing (and stops a debug build). That none is left out is for the caller to hold
//!   (`consensus`, M4): only it knows where the log begins.
//! - S2 [`State::apply`] is total: every command has an outcome, a failed precondition too, and
//!   every entry that comes next advances `applied`.
//! - S3 Same history, same state: equal outcomes, equal [`StateHash`], equal snapshot bytes.
//! - S4 The hash is kept up to date with each change and equals one computed from scratch.
//! - S5 Keys and values own their buffers: none keeps a request or a log record alive.
//! - S6 Of every key `create_index <= modify_index <= applied` and `version >= 1`.
//! - S7 A view never changes: it is what was true at its `applied`.
//!
//! # Not here
//! Time, files, network, threads, who waits for an outcome, who leads.

mod kv;
pub mod snapshot;

pub use kv::{Entry, Page, RangeQuery, StateHash, StateView};

use crate::command::{Command, Outcome, Precondition, Proposal, Rejection};
use crate::types::{Index, Key, Position};

/// The state as the entries up to `applied` made it.
#[derive(Debug, Clone, Default)]
pub struct State {
    now: StateView,
}

impl State {
    /// Before the first entry.
    pub fn new() -> Self {
        Self::default()
    }

    /// Applies one committed entry; `None` is an entry that carries no command. See S1 and S2.
    pub fn apply(&mut self, at: Position, entry: Option<&Proposal>) -> Outcome {
        let is_new = self.now.applied().is_none_or(|applied| applied.index < at.index);
        debug_assert!(is_new, "S1: entries are applied in order, {at:?} came again");
        if !is_new {
            return Outcome::Nothing;
        }
        self.now.advance(at);
        match entry {
            Some(proposal) => self.run(at.index, &proposal.command),
            None => Outcome::Nothing,
        }
    }

    /// A consistent cut that later entries do not touch (S7). O(1).
    pub fn view(&self) -> StateView {
        self.now.clone()
    }

    /// The state as it is now, without a copy.
    pub fn current(&self) -> &StateView {
        &self.now
    }

    fn run(&mut self, at: Index, command: &Command) -> Outcome {
        match command {
            Command::Write { pairs } => {
                for (key, value) in pairs {
                    self.now.set(at, key, value);
                }
                Outcome::Written { pairs: u32::try_from(pairs.len()).unwrap_or(u32::MAX) }
            }
            Command::Put { key, value, precondition } => match self.check(key, *precondition) {
                Err(rejection) => Outcome::Rejected(rejection),
                Ok(previous) => {
                    self.now.set(at, key, value);
                    Outcome::Put { previous }
                }
            },
            Command::Delete { key, precondition } => match self.check(key, *precondition) {
                Err(rejection) => Outcome::Rejected(rejection),
                Ok(previous) => {
                    self.now.remove(key);
                    Outcome::Deleted { previous }
                }
            },
        }
    }

    /// The key's last change if the precondition holds.
    fn check(&self, key: &Key, precondition: Precondition) -> Result<Option<Index>, Rejection> {
        let actual = self.now.get(key.as_bytes()).map(|entry| entry.modify_index);
        let holds = match precondition {
            Precondition::None => true,
            Precondition::Absent => actual.is_none(),
            Precondition::Present => actual.is_some(),
            Precondition::ModifiedAt(index) => actual == Some(index),
        };
        if holds { Ok(actual) } else { Err(Rejection::PreconditionFailed { actual }) }
    }
}

#[cfg(test)]
mod tests;
