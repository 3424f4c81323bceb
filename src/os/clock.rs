//! Time. The only file that asks the system for it.
//!
//! [`Clock::monotonic`] measures durations inside one node; [`Clock::wall_unix`] is data to show
//! to people. Neither is ever used to decide what is safe.

use std::time::Duration;

/// A node's clocks.
pub trait Clock: Send + Sync + 'static {
    /// Time since some fixed moment of this process; never goes back.
    fn monotonic(&self) -> Duration;

    /// Time since 1970 as the machine believes. May jump in any direction.
    fn wall_unix(&self) -> Duration;

    /// The same in milliseconds.
    fn wall_unix_ms(&self) -> u64 {
        u64::try_from(self.wall_unix().as_millis()).unwrap_or(u64::MAX)
    }
}

/// The machine's clocks.
pub struct SystemClock {
    #[expect(clippy::disallowed_types, reason = "this file is the door to the clock")]
    start: std::time::Instant,
}

impl SystemClock {
    /// Starts counting now.
    #[expect(clippy::disallowed_types, reason = "this file is the door to the clock")]
    pub fn new() -> Self {
        Self { start: std::time::Instant::now() }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn monotonic(&self) -> Duration {
        self.start.elapsed()
    }

    #[expect(clippy::disallowed_methods, reason = "this file is the door to the clock")]
    fn wall_unix(&self) -> Duration {
        let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        since_epoch.unwrap_or_default()
    }
}
