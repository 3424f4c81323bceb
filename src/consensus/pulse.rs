//! Heartbeats as their rhythm: the leader's as a follower hears them, and a leader's own.
//!
//! Tells what is counted and nothing else: elections are openraft's, by its own clock.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::types::Term;

/// The leader's heartbeats, as this node hears them.
#[derive(Default)]
pub(super) struct Pulse(Mutex<Heard>);

#[derive(Debug, Clone, Copy, Default)]
struct Heard {
    /// The last message of a leader, whatever was in it.
    sign: Option<Duration>,
    /// The last heartbeat.
    heartbeat: Option<Duration>,
    /// From when on heartbeats are due.
    due_from: Option<Duration>,
    /// How many of those have been counted that did not come since then.
    missed: u128,
}

impl Pulse {
    fn lock(&self) -> MutexGuard<'_, Heard> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Entries came from a leader.
    pub(super) fn sign(&self, now: Duration) {
        self.lock().sign = Some(now);
    }

    /// A heartbeat came. Answers how long after the one before it.
    pub(super) fn heartbeat(&self, now: Duration, interval: Duration) -> (Option<Duration>, u64) {
        let mut heard = self.lock();
        let (before, missed) = (heard.heartbeat, heard.newly_missed(now, interval));
        *heard = Heard { sign: Some(now), heartbeat: Some(now), due_from: Some(now), missed: 0 };
        (before.map(|before| now.saturating_sub(before)), missed)
    }

    /// This node leads: nothing is due. It will be from the time on at which that ends. It is a
    /// leader to anybody only while a majority answers it; `sign` is when one last did.
    pub(super) fn leads(&self, now: Duration, sign: Option<Duration>) {
        let mut heard = self.lock();
        let sign = heard.sign.max(sign);
        *heard = Heard { sign, heartbeat: None, due_from: Some(now), missed: 0 };
    }

    /// The last sign of a leader.
    pub(super) fn last_sign(&self) -> Option<Duration> {
        self.lock().sign
    }

    /// How many heartbeats did not come when they were due that were not answered here before. One
    /// is missing when the next is due, so that a little unevenness is no miss.
    pub(super) fn newly_missed(&self, now: Duration, interval: Duration) -> u64 {
        self.lock().newly_missed(now, interval)
    }
}

impl Heard {
    fn newly_missed(&mut self, now: Duration, interval: Duration) -> u64 {
        let Some(due_from) = self.due_from else { return 0 };
        let silence = now.saturating_sub(due_from).as_nanos();
        let elapsed = silence.checked_div(interval.as_nanos()).unwrap_or_default();
        let missed = elapsed.saturating_sub(1);
        let newly = missed.saturating_sub(self.missed);
        self.missed = self.missed.max(missed);
        u64::try_from(newly).unwrap_or(u64::MAX)
    }
}

/// This leader's own heartbeats, whoever they go to.
pub(super) struct OwnBeat {
    interval: Duration,
    last: Mutex<Option<(Term, Duration)>>,
}

impl OwnBeat {
    /// That should beat so often.
    pub(super) fn new(interval: Duration) -> Self {
        Self { interval, last: Mutex::default() }
    }

    /// A heartbeat goes out. True if it is more than an interval late.
    pub(super) fn is_late(&self, term: Term, now: Duration) -> bool {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let before = last.replace((term, now)).filter(|(before, _)| *before == term);
        before.is_some_and(|(_, at)| now.saturating_sub(at) > self.interval.saturating_mul(2))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    const INTERVAL: Duration = ms(50);

    #[test]
    fn each_heartbeat_that_does_not_come_is_missed_once() {
        let pulse = Pulse::default();
        assert_eq!(pulse.newly_missed(ms(900), INTERVAL), 0, "there never was a leader");
        assert_eq!(pulse.heartbeat(ms(1000), INTERVAL), (None, 0));
        assert_eq!(pulse.newly_missed(ms(1099), INTERVAL), 0, "it may still be under way");
        assert_eq!(pulse.newly_missed(ms(1100), INTERVAL), 1);
        assert_eq!(pulse.newly_missed(ms(1149), INTERVAL), 0);
        assert_eq!(pulse.newly_missed(ms(1260), INTERVAL), 3);
        assert_eq!(pulse.heartbeat(ms(1270), INTERVAL), (Some(ms(270)), 0));
        assert_eq!(pulse.newly_missed(ms(1280), INTERVAL), 0);
        let late = pulse.heartbeat(ms(1390), INTERVAL);
        assert_eq!(late, (Some(ms(120)), 1), "nobody has looked meanwhile");
    }

    #[test]
    fn a_leader_misses_nothing_and_a_deposed_one_counts_from_its_end() {
        let pulse = Pulse::default();
        pulse.heartbeat(ms(0), INTERVAL);
        pulse.leads(ms(5000), Some(ms(4990)));
        assert_eq!(pulse.last_sign(), Some(ms(4990)));
        pulse.leads(ms(5000), None);
        assert_eq!(pulse.last_sign(), Some(ms(4990)), "cut off since then");
        assert_eq!(pulse.newly_missed(ms(5050), INTERVAL), 0);
        assert_eq!(pulse.newly_missed(ms(5150), INTERVAL), 2);
        assert_eq!(pulse.heartbeat(ms(5160), INTERVAL), (None, 0), "its own time is no gap");
        assert_eq!(pulse.last_sign(), Some(ms(5160)));
        pulse.sign(ms(5170));
        assert_eq!(pulse.last_sign(), Some(ms(5170)));
    }

    #[test]
    fn a_leaders_own_beat_is_late_after_two_intervals_of_one_term() {
        let (beat, term) = (OwnBeat::new(INTERVAL), Term::new(3));
        assert!(!beat.is_late(term, ms(0)));
        assert!(!beat.is_late(term, ms(1)), "the same beat to another follower");
        assert!(!beat.is_late(term, ms(101)));
        assert!(beat.is_late(term, ms(202)));
        assert!(!beat.is_late(Term::new(4), ms(900)));
    }
}
