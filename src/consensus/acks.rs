//! When each node had each entry on its disk, as the leader saw it: the stuff of receipts.
//!
//! The log's thread reports the leader's own fdatasync, `network` each follower's answer. All times
//! are the leader's monotonic clock, so no two clocks are ever compared.
//!
//! # Invariants
//! - A1 What is recorded counts for one term only: a new leadership starts empty. A follower may
//!   have lost an entry that it acknowledged to an earlier leader. The term before is kept for the
//!   receipts of its committed entries, which nobody can lose.
//! - A2 Memory is bounded: [`KEPT`] reports a node.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use super::appended::Appended;
use crate::types::{Index, Position, RaftId, Term};

/// Reports kept for each node: at one a batch, some seconds of full load.
const KEPT: usize = 8192;

/// What the nodes have acknowledged in the current term.
pub(super) struct Acks {
    /// When the entries came that are acknowledged here.
    pub(super) appended: Appended,
    board: Mutex<Board>,
    /// Counts reports, so that waiters know when to look again.
    changed: watch::Sender<u64>,
}

#[derive(Default)]
struct Board {
    term: Term,
    other_voters: Option<Vec<RaftId>>,
    nodes: BTreeMap<RaftId, Reports>,
    /// What was known at the end of the term before.
    before: Option<(Term, BTreeMap<RaftId, Reports>)>,
}

/// Growing indexes with the time at which each was reached.
#[derive(Default)]
struct Reports {
    reached: VecDeque<(Index, Duration)>,
    last_answer: Option<Duration>,
}

impl Default for Acks {
    fn default() -> Self {
        Self {
            appended: Appended::default(),
            board: Mutex::default(),
            changed: watch::Sender::new(0),
        }
    }
}

impl Acks {
    fn board(&self) -> std::sync::MutexGuard<'_, Board> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `node` has everything up to `upto.index` on disk; `upto.term` is the term of the leader that
    /// hears it, which is also the term of its newest entries. `asked` is when the leader asked,
    /// `at` when it heard.
    pub(super) fn durable(&self, node: RaftId, upto: Position, asked: Duration, at: Duration) {
        let mut board = self.board();
        let Some(reports) = board.reports(node, upto.term) else { return };
        reports.last_answer = reports.last_answer.max(Some(asked));
        if reports.reached.back().is_some_and(|(index, _)| *index >= upto.index) {
            return;
        }
        if reports.reached.len() >= KEPT {
            reports.reached.pop_front();
        }
        reports.reached.push_back((upto.index, at));
        drop(board);
        self.changed.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// `node` answered a heartbeat that the leader of `term` sent at `asked`. It followed that
    /// leader then; nothing is known of later.
    pub(super) fn alive(&self, node: RaftId, term: Term, asked: Duration) {
        if let Some(reports) = self.board().reports(node, term) {
            reports.last_answer = reports.last_answer.max(Some(asked));
        }
    }

    /// When `node` had the committed entry at `position` on disk, if it has said so in that term.
    pub(super) fn reached(&self, node: RaftId, position: Position) -> Option<Duration> {
        self.board().of_term(position.term)?.get(&node)?.reached(position.index)
    }

    /// When `me` had the committed entry at `position` on disk, and when a majority had; each only
    /// if it is known by now.
    pub(super) fn milestones(
        &self,
        me: RaftId,
        position: Position,
    ) -> (Option<Duration>, Option<Duration>) {
        let board = self.board();
        let Some(nodes) = board.of_term(position.term) else { return (None, None) };
        let reached = |node| nodes.get(node).and_then(|reports| reports.reached(position.index));
        let mine = reached(&me);
        let others = board.other_voters.iter().flatten();
        let mut times: Vec<_> = others.filter_map(reached).chain(mine).collect();
        times.sort_unstable();
        // Of 2n or 2n+1 voters n+1 are a majority, this one among them or not.
        let needed = board.other_voters.as_ref().map(|others| others.len().div_ceil(2));
        (mine, needed.and_then(|needed| times.get(needed)).copied())
    }

    /// When the last message was sent that `node` has answered in `term`.
    pub(super) fn last_answer(&self, node: RaftId, term: Term) -> Option<Duration> {
        let board = self.board();
        if board.term != term {
            return None;
        }
        board.nodes.get(&node)?.last_answer
    }

    /// Which other nodes vote in the present membership.
    pub(super) fn set_other_voters(&self, others: Vec<RaftId>) {
        self.board().other_voters = Some(others);
    }

    /// How long ago a majority had answered the leader of `term`; `None` if it never did.
    pub(super) fn quorum_age(&self, term: Term, now: Duration) -> Option<Duration> {
        let board = self.board();
        let others = board.other_voters.as_ref()?;
        // Of 2n+1 or 2n+2 voters, this one and n or n+1 others are a majority.
        let Some(needed) = others.len().div_ceil(2).checked_sub(1) else {
            return Some(Duration::ZERO);
        };
        if board.term != term {
            return None;
        }
        let answer = |other| board.nodes.get(other).and_then(|reports| reports.last_answer);
        let mut answers: Vec<_> = others.iter().filter_map(answer).collect();
        answers.sort_unstable_by(|a, b| b.cmp(a));
        answers.get(needed).map(|at| now.saturating_sub(*at))
    }

    /// Tells when there is something new.
    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }
}

impl Reports {
    /// When the first report came that covers `index`.
    fn reached(&self, index: Index) -> Option<Duration> {
        let first = self.reached.partition_point(|(reached, _)| *reached < index);
        self.reached.get(first).map(|(_, at)| *at)
    }
}

impl Board {
    /// What is known of a term: the present one or the one before.
    fn of_term(&self, term: Term) -> Option<&BTreeMap<RaftId, Reports>> {
        match &self.before {
            _ if self.term == term => Some(&self.nodes),
            Some((before, nodes)) if *before == term => Some(nodes),
            _ => None,
        }
    }

    /// The node's reports in `term`; starts anew when the term is new, `None` when it is old.
    fn reports(&mut self, node: RaftId, term: Term) -> Option<&mut Reports> {
        if term < self.term {
            return None;
        }
        if term > self.term {
            self.before = Some((self.term, std::mem::take(&mut self.nodes)));
            self.term = term;
        }
        Some(self.nodes.entry(node).or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(term: u64, index: u64) -> Position {
        Position { term: Term::new(term), index: Index::new(index) }
    }

    const NODE: RaftId = RaftId::new(2);

    #[test]
    fn an_entry_is_reached_by_the_first_report_that_covers_it() {
        let acks = Acks::default();
        acks.durable(NODE, at(1, 10), Duration::ZERO, Duration::from_millis(5));
        acks.durable(NODE, at(1, 20), Duration::ZERO, Duration::from_millis(9));
        acks.durable(NODE, at(1, 15), Duration::ZERO, Duration::from_millis(11));
        assert_eq!(acks.reached(NODE, at(1, 10)), Some(Duration::from_millis(5)));
        assert_eq!(acks.reached(NODE, at(1, 11)), Some(Duration::from_millis(9)));
        assert_eq!(acks.reached(NODE, at(1, 21)), None);
        assert_eq!(acks.reached(RaftId::new(3), at(1, 10)), None);
    }

    #[test]
    fn what_was_acknowledged_in_one_term_says_nothing_of_the_next() {
        let acks = Acks::default();
        acks.durable(NODE, at(1, 100), Duration::ZERO, Duration::from_millis(5));
        acks.alive(RaftId::new(3), Term::new(2), Duration::from_millis(6));
        assert_eq!(acks.reached(NODE, at(2, 90)), None);
        acks.durable(NODE, at(1, 200), Duration::ZERO, Duration::from_millis(7));
        assert_eq!(acks.reached(NODE, at(2, 90)), None);
        assert_eq!(acks.reached(NODE, at(1, 190)), None, "too late to be heard");
    }

    #[test]
    fn a_write_that_was_acknowledged_before_the_term_ended_keeps_its_receipt() {
        let acks = Acks::default();
        acks.durable(NODE, at(1, 100), Duration::ZERO, Duration::from_millis(5));
        acks.alive(NODE, Term::new(2), Duration::from_millis(6));
        assert_eq!(acks.reached(NODE, at(1, 90)), Some(Duration::from_millis(5)));
        acks.alive(NODE, Term::new(3), Duration::from_millis(7));
        assert_eq!(acks.reached(NODE, at(1, 90)), None, "only the term before is kept");
    }

    #[test]
    fn a_majority_is_as_old_as_its_oldest_answer() {
        let (acks, term, ms) = (Acks::default(), Term::new(1), Duration::from_millis);
        assert_eq!(acks.quorum_age(term, ms(0)), None, "the membership is not known yet");
        acks.set_other_voters(vec![]);
        assert_eq!(acks.quorum_age(term, ms(9)), Some(ms(0)), "alone");
        acks.set_other_voters((2..=5).map(RaftId::new).collect());
        for (node, at) in [(1, 90), (2, 10), (3, 50), (9, 95)] {
            acks.alive(RaftId::new(node), term, ms(at));
        }
        assert_eq!(acks.quorum_age(term, ms(100)), Some(ms(90)), "3 of 5: this one, 2 and 3");
        acks.alive(RaftId::new(4), term, ms(70));
        assert_eq!(acks.quorum_age(term, ms(100)), Some(ms(50)));
        assert_eq!(acks.quorum_age(Term::new(2), ms(100)), None);
    }

    #[test]
    fn a_majority_has_an_entry_when_the_middle_one_has_it() {
        let (acks, ms) = (Acks::default(), Duration::from_millis);
        let (me, place) = (RaftId::new(1), at(1, 7));
        assert_eq!(acks.milestones(me, place), (None, None));
        acks.set_other_voters(vec![NODE, RaftId::new(3)]);
        acks.durable(NODE, place, ms(0), ms(20));
        assert_eq!(acks.milestones(me, place), (None, None), "one of three");
        acks.durable(RaftId::new(3), place, ms(0), ms(30));
        assert_eq!(acks.milestones(me, place), (None, Some(ms(30))), "the followers alone");
        acks.durable(me, place, ms(0), ms(5));
        assert_eq!(acks.milestones(me, place), (Some(ms(5)), Some(ms(20))));
        acks.set_other_voters(vec![]);
        assert_eq!(acks.milestones(me, place), (Some(ms(5)), Some(ms(5))), "alone");
    }

    #[test]
    fn reports_are_bounded() {
        let acks = Acks::default();
        for index in 0..2 * KEPT as u64 {
            acks.durable(NODE, at(1, index), Duration::ZERO, Duration::from_millis(index));
        }
        assert_eq!(acks.board().nodes[&NODE].reached.len(), KEPT);
        let newest = at(1, 2 * KEPT as u64 - 1);
        assert_eq!(acks.reached(NODE, newest), Some(Duration::from_millis(newest.index.get())));
    }
}
