//! Time. The only file that asks the system for it.
//!
//! [`Clock::monotonic`] measures durations inside one node; [`Clock::wall_unix_ms`] is data to show
//! to people. Neither is ever used to decide what is safe.

use std::time::Duration;

/// A node's clocks.
pub trait Clock: Send + Sync + 'static {
    /// Time since some fixed moment of this process; never goes back.
    fn monotonic(&self) -> Duration;

    /// Milliseconds since 1970 as the machine believes. May jump in any direction.
    fn wall_unix_ms(&self) -> u64;
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
    fn wall_unix_ms(&self) -> u64 {
        let since_epoch = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        since_epoch.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }
}
