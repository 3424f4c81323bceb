//! What happens in a cluster, from what its nodes say: rounds of heartbeats in, events out.
//!
//! Pure: [`View::observe`] folds one round of readings into what is known, [`events`] compares two
//! views. Used by `up`, which asks every node five times a second.
//!
//! # Not here
//! How an event is told ([`super::story`]); processes that end ([`super::children`] tells that).

use crate::cli::answers::Heartbeat;

/// Rounds without an answer until a node that still listens counts as missing: one slow answer on
/// a busy machine is no event.
const SILENT_ROUNDS: u32 = 3;
/// Rounds without a leader until that is said: an ordinary election is over before.
const LEADERLESS_ROUNDS: u32 = 5;
/// Rounds with a leader until the cluster counts as ready although a node has not come.
const READY_ROUNDS: u32 = 25;

/// What one node answered in one round.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reading {
    /// Its heartbeat.
    Heard(Heartbeat),
    /// Somebody listens but did not answer in time.
    Silent,
    /// Nobody listens.
    Refused,
    /// Its process has ended, which was told when it happened.
    Ended,
}

/// Whether a node is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Presence {
    NotYet,
    Here,
    Missing,
}

/// What is known of one node.
#[derive(Debug, Clone, PartialEq, Eq)]
struct NodeView {
    name: String,
    presence: Presence,
    /// Its process has ended and that was told.
    ended: bool,
    silent_rounds: u32,
    /// What it must have applied to be as far as the others were when it came.
    catching_up_to: Option<u64>,
    /// What it said last.
    last: Heartbeat,
}

impl NodeView {
    fn observe(&self, reading: &Reading, newest_commit: u64) -> Self {
        let mut next = self.clone();
        match reading {
            Reading::Heard(heartbeat) => {
                let applied = heartbeat.applied_index.unwrap_or(0);
                if self.presence != Presence::Here {
                    next.catching_up_to = Some(newest_commit);
                }
                next.catching_up_to = next.catching_up_to.filter(|target| applied < *target);
                (next.presence, next.ended, next.silent_rounds) = (Presence::Here, false, 0);
                next.last = heartbeat.clone();
            }
            Reading::Silent => {
                next.silent_rounds = self.silent_rounds.saturating_add(1);
                if next.silent_rounds >= SILENT_ROUNDS {
                    next.go_missing();
                }
            }
            Reading::Refused => next.go_missing(),
            Reading::Ended => {
                next.ended = true;
                next.go_missing();
            }
        }
        next
    }

    fn go_missing(&mut self) {
        if self.presence == Presence::Here {
            self.presence = Presence::Missing;
        }
    }
}

/// What is known of all nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    nodes: Vec<NodeView>,
    /// The newest leader that was heard of, and its term.
    leader: Option<(String, u64)>,
    leaderless_rounds: u32,
    led_rounds: u32,
    /// Whether a majority was ever there.
    was_served: bool,
    ready: bool,
}

impl View {
    /// Before anybody was asked.
    pub fn new<'a>(names: impl Iterator<Item = &'a str>) -> Self {
        let node = |name: &str| NodeView {
            name: name.to_owned(),
            presence: Presence::NotYet,
            ended: false,
            silent_rounds: 0,
            catching_up_to: None,
            last: Heartbeat::default(),
        };
        Self {
            nodes: names.map(node).collect(),
            leader: None,
            leaderless_rounds: 0,
            led_rounds: 0,
            was_served: false,
            ready: false,
        }
    }

    /// What is known after one more round; `readings` are in the order of the nodes.
    #[must_use]
    pub fn observe(&self, readings: &[Reading]) -> Self {
        let heard = || {
            readings.iter().filter_map(|reading| match reading {
                Reading::Heard(heartbeat) => Some(heartbeat),
                Reading::Silent | Reading::Refused | Reading::Ended => None,
            })
        };
        let newest_commit = heard().filter_map(|heartbeat| heartbeat.commit_index).max();
        let mut next = self.clone();
        next.nodes = self
            .nodes
            .iter()
            .zip(readings)
            .map(|(node, reading)| node.observe(reading, newest_commit.unwrap_or(0)))
            .collect();
        let leads = heard()
            .filter(|heartbeat| heartbeat.role == "leader")
            .max_by_key(|heartbeat| heartbeat.term)
            .map(|heartbeat| (heartbeat.node.clone(), heartbeat.term));
        next.observe_leader(leads);
        next.was_served |= next.has_majority();
        let waited = next.has_majority() && next.led_rounds >= READY_ROUNDS;
        next.ready |= next.led_rounds > 0 && (next.here() == next.nodes.len() || waited);
        next
    }

    fn observe_leader(&mut self, leads: Option<(String, u64)>) {
        let Some((name, term)) = leads else {
            self.led_rounds = 0;
            self.leaderless_rounds = self.leaderless_rounds.saturating_add(1);
            return;
        };
        self.leaderless_rounds = 0;
        self.led_rounds = self.led_rounds.saturating_add(1);
        // A deposed leader that has not heard of it yet is no news.
        if self.leader.as_ref().is_none_or(|(_, known)| term > *known) {
            self.leader = Some((name, term));
        }
    }

    fn here(&self) -> usize {
        self.nodes.iter().filter(|node| node.presence == Presence::Here).count()
    }

    fn has_majority(&self) -> bool {
        self.here() > self.nodes.len() / 2
    }

    /// Who leads, as far as is known.
    pub fn leader(&self) -> Option<&str> {
        self.leader.as_ref().map(|(name, _)| name.as_str())
    }
}

/// Something a person cares about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A node answers for the first time.
    Up {
        /// Who.
        node: String,
    },
    /// A node that was there answers no more, though its process was not seen to end.
    Missing {
        /// Who.
        node: String,
    },
    /// A node that was missing answers again.
    Back {
        /// Who.
        node: String,
        /// How many entries it has yet to apply.
        behind: u64,
    },
    /// A node has applied all that was committed when it came.
    CaughtUp {
        /// Who.
        node: String,
        /// The last index it has applied.
        applied: u64,
    },
    /// There is another leader.
    Leads {
        /// Who.
        node: String,
        /// In which term.
        term: u64,
    },
    /// Nobody has led for a while.
    NobodyLeads,
    /// Too few nodes are left for writes.
    MajorityLost {
        /// How many are there.
        here: usize,
        /// Of how many.
        of: usize,
    },
    /// Enough nodes are there again.
    MajorityBack {
        /// How many are there.
        here: usize,
        /// Of how many.
        of: usize,
    },
    /// The cluster serves for the first time.
    Ready,
}

/// What happened between two views, in the order in which it is best told.
pub fn events(previous: &View, current: &View) -> Vec<Event> {
    let mut events = Vec::new();
    for (before, after) in previous.nodes.iter().zip(&current.nodes) {
        events.extend(node_events(before, after));
    }
    let (here, of) = (current.here(), current.nodes.len());
    if previous.has_majority() && !current.has_majority() {
        events.push(Event::MajorityLost { here, of });
    }
    if previous.was_served && !previous.has_majority() && current.has_majority() {
        events.push(Event::MajorityBack { here, of });
    }
    let silence_was_told = previous.leaderless_rounds >= LEADERLESS_ROUNDS;
    let returns = silence_was_told && current.leaderless_rounds == 0;
    if let Some((node, term)) = &current.leader {
        if current.leader != previous.leader || returns {
            events.push(Event::Leads { node: node.clone(), term: *term });
        }
        // Without a majority it is clear that nobody can lead.
        if current.leaderless_rounds == LEADERLESS_ROUNDS && current.has_majority() {
            events.push(Event::NobodyLeads);
        }
    }
    if current.ready && !previous.ready {
        events.push(Event::Ready);
    }
    events
}

fn node_events(before: &NodeView, after: &NodeView) -> Option<Event> {
    let node = after.name.clone();
    let applied = after.last.applied_index.unwrap_or(0);
    match (before.presence, after.presence) {
        (Presence::NotYet, Presence::Here) => Some(Event::Up { node }),
        (Presence::Missing, Presence::Here) => {
            let behind = after.catching_up_to.map_or(0, |target| target.saturating_sub(applied));
            Some(Event::Back { node, behind })
        }
        (Presence::Here, Presence::Missing) if !after.ended => Some(Event::Missing { node }),
        (Presence::Here, Presence::Here)
            if before.catching_up_to.is_some() && after.catching_up_to.is_none() =>
        {
            Some(Event::CaughtUp { node, applied })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: [&str; 3] = ["node1", "node2", "node3"];

    fn says(at: usize, role: &str, term: u64, applied: u64) -> Reading {
        Reading::Heard(Heartbeat {
            node: NAMES[at].into(),
            role: role.into(),
            term,
            commit_index: Some(applied),
            applied_index: Some(applied),
            ..Heartbeat::default()
        })
    }

    /// All three there, node1 leads in term 1, everything up to index 10.
    fn healthy() -> [Reading; 3] {
        [says(0, "leader", 1, 10), says(1, "follower", 1, 10), says(2, "follower", 1, 10)]
    }

    /// Plays rounds and collects what is told.
    struct Play {
        view: View,
    }

    impl Play {
        fn new() -> Self {
            Self { view: View::new(NAMES.into_iter()) }
        }

        fn running() -> Self {
            let mut play = Self::new();
            play.round(&healthy());
            play
        }

        fn round(&mut self, readings: &[Reading]) -> Vec<Event> {
            let next = self.view.observe(readings);
            let told = events(&self.view, &next);
            self.view = next;
            told
        }

        fn rounds(&mut self, count: u32, readings: &[Reading]) -> Vec<Event> {
            (0..count).flat_map(|_| self.round(readings)).collect()
        }
    }

    fn up(at: usize) -> Event {
        Event::Up { node: NAMES[at].into() }
    }

    fn missing(at: usize) -> Event {
        Event::Missing { node: NAMES[at].into() }
    }

    fn leads(at: usize, term: u64) -> Event {
        Event::Leads { node: NAMES[at].into(), term }
    }

    #[test]
    fn a_start_tells_each_node_then_the_leader_then_that_it_is_ready() {
        let mut play = Play::new();
        let refused = [Reading::Refused, Reading::Refused, Reading::Refused];
        assert_eq!(play.rounds(9, &refused), []);
        let two = [says(0, "candidate", 1, 0), says(1, "follower", 1, 0), Reading::Refused];
        assert_eq!(play.round(&two), [up(0), up(1)]);
        assert_eq!(play.round(&healthy()), [up(2), leads(0, 1), Event::Ready]);
        assert_eq!(play.rounds(50, &healthy()), []);
    }

    #[test]
    fn a_cluster_with_a_node_that_never_comes_is_ready_after_a_while() {
        let mut play = Play::new();
        let two = [says(0, "leader", 1, 0), says(1, "follower", 1, 0), Reading::Refused];
        assert_eq!(play.round(&two), [up(0), up(1), leads(0, 1)]);
        assert_eq!(play.rounds(READY_ROUNDS, &two), [Event::Ready]);
    }

    #[test]
    fn one_slow_answer_is_no_event_and_a_node_that_stays_silent_is_missing_once() {
        let mut play = Play::running();
        let mut silent = healthy();
        silent[2] = Reading::Silent;
        assert_eq!(play.rounds(SILENT_ROUNDS - 1, &silent), []);
        assert_eq!(play.round(&healthy()), []);
        assert_eq!(play.rounds(30, &silent), [missing(2)]);
    }

    #[test]
    fn a_killed_leader_has_a_successor_and_returns_and_catches_up() {
        let mut play = Play::running();
        let others = [says(1, "follower", 1, 10), says(2, "follower", 1, 10)];
        let [second, third] = others;
        // Its process was seen to end, which is told elsewhere; the election is too short to tell.
        assert_eq!(play.rounds(2, &[Reading::Ended, second, third]), []);
        let led = [Reading::Ended, says(1, "leader", 2, 40), says(2, "follower", 2, 40)];
        assert_eq!(play.rounds(9, &led), [leads(1, 2)]);
        let back =
            [says(0, "follower", 2, 10), says(1, "leader", 2, 50), says(2, "follower", 2, 50)];
        assert_eq!(play.round(&back), [Event::Back { node: "node1".into(), behind: 40 }]);
        // What is committed since then does not count: it would never end on a busy cluster.
        let caught =
            [says(0, "follower", 2, 50), says(1, "leader", 2, 90), says(2, "follower", 2, 90)];
        assert_eq!(play.round(&caught), [Event::CaughtUp { node: "node1".into(), applied: 50 }]);
        assert_eq!(play.rounds(9, &caught), []);
    }

    #[test]
    fn a_deposed_leader_that_does_not_know_it_is_not_told() {
        let mut play = Play::running();
        let both = [says(0, "leader", 1, 10), says(1, "leader", 2, 10), says(2, "follower", 2, 10)];
        assert_eq!(play.round(&both), [leads(1, 2)]);
        let only_old = [says(0, "leader", 1, 10), Reading::Silent, says(2, "follower", 2, 10)];
        assert_eq!(play.round(&only_old), []);
        assert_eq!(play.view.leader(), Some("node2"));
    }

    #[test]
    fn without_a_majority_that_is_told_and_so_is_its_return() {
        let mut play = Play::running();
        let alone = [says(0, "leader", 1, 10), Reading::Refused, Reading::Refused];
        let told = play.round(&alone);
        assert_eq!(told, [missing(1), missing(2), Event::MajorityLost { here: 1, of: 3 }]);
        let back = Event::Back { node: "node2".into(), behind: 0 };
        let two = [says(0, "leader", 1, 10), says(1, "follower", 1, 10), Reading::Refused];
        assert_eq!(play.round(&two), [back, Event::MajorityBack { here: 2, of: 3 }]);
    }

    #[test]
    fn a_long_time_without_a_leader_is_told_and_so_is_its_end_even_in_the_same_term() {
        let mut play = Play::running();
        let nobody =
            [says(0, "candidate", 1, 10), says(1, "follower", 1, 10), says(2, "follower", 1, 10)];
        assert_eq!(play.rounds(LEADERLESS_ROUNDS + 9, &nobody), [Event::NobodyLeads]);
        assert_eq!(play.round(&healthy()), [leads(0, 1)]);
    }
}
