//! Where one write's time went, on the node that led it.
//!
//! Made once, when the write is decided, from what `appended` and `acks` have noted anyway.

use std::time::Duration;

use super::Inner;
use crate::telemetry::Metrics;
use crate::telemetry::metrics::WritePhase;
use crate::types::Position;

/// The moments between a proposal and its outcome, each at or after the one before it, on the
/// node's monotonic clock. The differences are the phases of `write_phase_duration_seconds`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Phases {
    /// It was proposed.
    pub proposed_at: Duration,
    /// It had its place in this node's log.
    pub appended_at: Duration,
    /// It was on this node's disk, or decided without that.
    pub logged_at: Duration,
    /// It was on a majority's disks.
    pub replicated_at: Duration,
    /// It was applied, and whoever had proposed it heard of it.
    pub applied_at: Duration,
}

impl Phases {
    pub(super) fn of(inner: &Inner, position: Position, proposed_at: Duration) -> Self {
        let applied_at = inner.os.clock.monotonic();
        let appended = inner.acks.appended.at(position.index);
        let (logged, replicated) = inner.acks.milestones(inner.identity.node, position);
        Self::between(proposed_at, [appended, logged, replicated], applied_at)
    }

    /// What is not known is taken to have come with what follows it. A majority without this node
    /// may be faster than its own disk: then nobody waited for that.
    fn between(
        proposed_at: Duration,
        [appended, logged, replicated]: [Option<Duration>; 3],
        applied_at: Duration,
    ) -> Self {
        let at = |known: Option<Duration>, before: Duration| {
            known.unwrap_or(applied_at).max(before).min(applied_at)
        };
        let appended_at = at(appended, proposed_at);
        let decided = at(replicated, appended_at);
        let logged_at = at(logged, appended_at).min(decided.max(appended_at));
        Self { proposed_at, appended_at, logged_at, replicated_at: decided, applied_at }
    }

    /// From the proposal to its place in the log.
    pub fn queue(&self) -> Duration {
        self.appended_at.saturating_sub(self.proposed_at)
    }

    /// From there to this node's disk.
    pub fn log(&self) -> Duration {
        self.logged_at.saturating_sub(self.appended_at)
    }

    /// From there to a majority's disks.
    pub fn replicate(&self) -> Duration {
        self.replicated_at.saturating_sub(self.logged_at)
    }

    /// From there to its outcome.
    pub fn apply(&self) -> Duration {
        self.applied_at.saturating_sub(self.replicated_at)
    }

    pub(super) fn observe(&self, metrics: &Metrics) {
        let phases = &metrics.write_phases;
        phases.observe(WritePhase::Queue, self.queue());
        phases.observe(WritePhase::Log, self.log());
        phases.observe(WritePhase::Replicate, self.replicate());
        phases.observe(WritePhase::Apply, self.apply());
        let quorum = self.replicated_at.saturating_sub(self.appended_at);
        metrics.raft.quorum_duration.observe(quorum);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn phases(known: [Option<u64>; 3]) -> [u64; 4] {
        let phases = Phases::between(ms(10), known.map(|at| at.map(ms)), ms(20));
        let parts = [phases.queue(), phases.log(), phases.replicate(), phases.apply()];
        assert_eq!(parts.iter().sum::<Duration>(), ms(10), "{phases:?}");
        parts.map(|part| u64::try_from(part.as_millis()).unwrap())
    }

    #[test]
    fn phases_follow_each_other_and_their_sum_is_the_whole() {
        assert_eq!(phases([Some(11), Some(13), Some(16)]), [1, 2, 3, 4]);
        assert_eq!(phases([Some(11), Some(13), Some(13)]), [1, 2, 0, 7], "alone");
    }

    #[test]
    fn nobody_waits_for_a_leaders_disk_that_is_slower_than_a_majority() {
        assert_eq!(phases([Some(11), Some(18), Some(16)]), [1, 5, 0, 4]);
        assert_eq!(phases([Some(11), None, Some(16)]), [1, 5, 0, 4]);
    }

    #[test]
    fn what_is_not_known_takes_no_time_from_what_is() {
        assert_eq!(phases([Some(11), Some(13), None]), [1, 2, 7, 0]);
        assert_eq!(phases([None, None, None]), [10, 0, 0, 0]);
        assert_eq!(phases([Some(5), Some(25), Some(30)]), [0, 10, 0, 0], "outside of the write");
    }
}
