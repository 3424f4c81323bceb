//! Keeps watch: what metrics and diagnostics tell of this node's part, and when a snapshot is due.
//!
//! openraft says what changes; this looks at each change of role, term or leader at once, and at
//! everything else every 50 ms. Nothing here decides anything but the time for a snapshot.
//!
//! # Not here
//! What is counted where it happens: votes, acknowledgements, heartbeats (`peers`, `network`).

use std::time::Duration;

use openraft::async_runtime::WatchReceiver;

use super::error::StartError;
use super::raft_types::Vote;
use super::status::{Role, Status};
use super::{Consensus, Inner};
use crate::tasks::OnError;
use crate::telemetry::metrics::{ElectionResult, MemberRole, RaftState};
use crate::types::{Index, RaftId, Term};

/// How often everything is looked at that does not announce its changes.
const WATCH_INTERVAL: Duration = Duration::from_millis(50);

impl Consensus {
    pub(super) fn keep_watch(&self, snapshot_log_bytes: u64) {
        let this = self.clone();
        let mut stop = self.inner.tasks.stop();
        let mut changes = self.inner.raft.server_metrics();
        let metrics = &self.inner.metrics;
        metrics.follower.show_timing(&self.inner.timing);
        metrics.show_cluster(self.inner.identity.cluster, &self.inner.identity.name);
        let mut watch = Watch::new(self.inner.os.clock.monotonic());
        let watch = async move {
            while !stop.is_requested() {
                let status = this.status();
                this.inner.acks.set_other_voters(
                    status
                        .members
                        .iter()
                        .filter(|member| member.is_voter && member.node != this.inner.identity.node)
                        .map(|member| member.node)
                        .collect(),
                );
                watch.look(&this, &status);
                if this.inner.machine.bytes_since_snapshot() >= snapshot_log_bytes {
                    // An error means that consensus has ended, which `failed` reports.
                    let _ = this.inner.raft.trigger().snapshot().await;
                }
                // All branches are cancel-safe, and whichever it is, it is time for a look; an end
                // shows in the condition. Without news of changes, time alone tells.
                tokio::select! {
                    Ok(()) = changes.changed() => {}
                    () = tokio::time::sleep(WATCH_INTERVAL) => {}
                    () = stop.requested() => {}
                }
            }
            Ok::<(), StartError>(())
        };
        self.inner.tasks.spawn("consensus-watch", OnError::StopNode, watch);
    }

    fn show(&self, status: &Status, now: Duration, floor: Option<Index>) {
        let inner = &self.inner;
        let (raft, state) = (&inner.metrics.raft, &inner.metrics.state);
        let index = |index: Option<Index>| index.map_or(0, Index::get);
        raft.is_leader.set_bool(status.role == Role::Leader);
        raft.state.set_only(match status.role {
            Role::Leader => RaftState::Leader,
            Role::Follower => RaftState::Follower,
            Role::Candidate => RaftState::Candidate,
            Role::Learner => RaftState::Learner,
        });
        raft.term.set(status.term.get());
        raft.commit_index.set(index(status.committed));
        raft.applied_index.set(index(status.applied));
        raft.first_log_index.set(index(inner.wal.bounds().first));
        raft.last_log_index.set(index(status.last));
        raft.snapshot_index.set(index(status.snapshot));
        let voters = status.voters();
        raft.members.set(MemberRole::Voter, voters as u64);
        raft.members.set(MemberRole::Learner, status.members.len().saturating_sub(voters) as u64);
        raft.quorum_size.set(if voters == 0 { 0 } else { status.quorum() as u64 });
        let view = inner.machine.view();
        state.keys.set(view.len() as u64);
        state.key_value_bytes.set(view.key_bytes().saturating_add(view.value_bytes()));
        self.show_peers(status, now, floor);
    }

    /// What a leader knows of its followers; of anybody else their series go.
    fn show_peers(&self, status: &Status, now: Duration, floor: Option<Index>) {
        let inner = &self.inner;
        if status.role != Role::Leader {
            inner.metrics.show_peers(&[]);
            return;
        }
        let others = status.members.iter().filter(|member| member.node != inner.identity.node);
        let (matched, index) = (self.matched(), |index: Option<Index>| index.map_or(0, Index::get));
        for member in others.clone() {
            let peer = inner.metrics.peer(&member.name);
            let has = matched.get(&member.node).copied();
            // Who has not answered this leadership yet lacks what came in it, as far as is known.
            let at_least = has.or(floor);
            let behind = inner.acks.appended.behind(at_least);
            let age = behind.since.map_or(Duration::ZERO, |since| now.saturating_sub(since));
            peer.match_index.set(index(has));
            peer.lag_entries.set(index(status.last).saturating_sub(index(at_least)));
            peer.lag_bytes.set(behind.bytes);
            peer.lag_seconds.set_duration(age);
        }
        let names: Vec<_> = others.map(|member| &member.name).collect();
        inner.metrics.show_peers(&names);
    }
}

/// What was seen at the last look.
struct Watch {
    /// Who led when somebody last did.
    leader: Option<(Term, RaftId)>,
    /// That its loss was told.
    leaderless: bool,
    /// In which term this node leads.
    leads: Option<Term>,
    /// What was committed when that began.
    floor: Option<Index>,
    /// In which term it asks for votes.
    asks: Option<Term>,
    /// Since when there has been no sign of a leader.
    lost: Option<Duration>,
    /// When this began.
    began: Duration,
}

impl Watch {
    fn new(began: Duration) -> Self {
        let (leader, leads, floor, asks, lost) = (None, None, None, None, None);
        Self { leader, leaderless: false, leads, floor, asks, lost, began }
    }

    fn look(&mut self, consensus: &Consensus, status: &Status) {
        let inner = &consensus.inner;
        let now = inner.os.clock.monotonic();
        let vote = inner.raft.metrics().borrow_watched().vote;
        self.count_elections(status, vote, inner);
        self.count_silence(status, now, inner);
        consensus.show(status, now, self.floor);
        self.narrate(status, inner);
    }

    fn count_elections(&mut self, status: &Status, vote: Vote, inner: &Inner) {
        let raft = &inner.metrics.raft;
        let leads = (status.role == Role::Leader).then_some(status.term);
        // Asking whether one would be elected (`/pre-vote`) changes no vote and is no candidacy.
        let is_mine = vote.leader_id.voted_for == inner.identity.node.get() && !vote.committed;
        let asks = status.role == Role::Candidate && is_mine;
        let asks = asks.then(|| Term::new(vote.leader_id.term));
        if self.asks.is_some() && self.asks != asks && self.asks != leads {
            raft.elections.increment(ElectionResult::Lost);
        }
        if self.leads.is_some() && self.leads != leads {
            raft.stepdowns.increment();
            raft.leader_start.set(0);
        }
        if leads.is_some() && self.leads != leads {
            self.floor = status.committed;
            raft.elections.increment(ElectionResult::Won);
            raft.leader_start.set_unix_ms(inner.os.clock.wall_unix_ms());
        }
        (self.leads, self.asks) = (leads, asks);
    }

    /// openraft knows a leader until it knows of another candidate, also if nothing was heard for
    /// hours; here one that is silent for longer than any election waits is lost.
    fn count_silence(&mut self, status: &Status, now: Duration, inner: &Inner) {
        let (raft, follower) = (&inner.metrics.raft, &inner.metrics.follower);
        let leads = status.role == Role::Leader;
        if leads {
            let is_alone = status.voters() == 1;
            let age = if is_alone { Some(Duration::ZERO) } else { status.quorum_age };
            inner.pulse.leads(now, age.map(|age| now.saturating_sub(age)));
        } else {
            follower
                .heartbeat_misses
                .add(inner.pulse.newly_missed(now, inner.timing.heartbeat_interval));
        }
        let sign = inner.pulse.last_sign();
        let patience = inner.timing.election_timeout_max;
        let hears = sign.is_some_and(|sign| now.saturating_sub(sign) <= patience);
        // Also for a leader: one that was cut off goes on believing in itself, and leads nobody.
        let has_leader = hears && status.leader.is_some();
        raft.has_leader.set_bool(has_leader);
        if !has_leader {
            let lost = *self.lost.get_or_insert(sign.unwrap_or(self.began));
            raft.leaderless.set_duration(now.saturating_sub(lost));
            return;
        }
        raft.leaderless.set(0);
        // The time before the first leader that this process knew is such a time too.
        let first = self.leader.is_none().then_some(self.began);
        if let Some(lost) = self.lost.take().or(first) {
            raft.election_duration.observe(now.saturating_sub(lost));
        }
    }

    /// One line for each change that a person cares about.
    fn narrate(&mut self, status: &Status, inner: &Inner) {
        let leader = status.leader.map(|leader| (status.term, leader));
        match leader {
            Some(leader) if self.leader != Some(leader) => {
                let name = status.leader().map(|member| member.name.to_string());
                let is_me = leader.1 == inner.identity.node;
                // The first that this process sees is no change.
                if self.leader.is_some() {
                    inner.metrics.raft.leader_changes.increment();
                }
                tracing::info!(
                    event = "leader_elected",
                    leader = name,
                    term = status.term.get(),
                    is_me,
                    "a leader is known"
                );
                self.leader = Some(leader);
                self.leaderless = false;
            }
            None if self.leader.is_some() && !self.leaderless => {
                tracing::warn!(
                    event = "leader_lost",
                    term = status.term.get(),
                    "no leader is known"
                );
                self.leaderless = true;
            }
            _ => {}
        }
    }
}
