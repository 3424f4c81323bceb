//! The doors to the machine: clock, disk, processes, randomness, signals.
//!
//! Each is a value that is passed down, never a global, so that two nodes can live in one process
//! and a simulation can stand in for the machine (`fake`, feature `testing`).

pub mod clock;
pub mod disk;
#[cfg(any(test, feature = "testing"))]
pub mod fake;
pub mod process;
pub mod random;
pub mod signal;

use std::sync::Arc;

use clock::{Clock, SystemClock};
use disk::{Disk, SystemDisk};
use random::Random;

/// The machine as one node sees it.
#[derive(Clone)]
pub struct Os {
    /// Monotonic time for durations, wall time as data.
    pub clock: Arc<dyn Clock>,
    /// Files.
    pub disk: Arc<dyn Disk>,
    /// Ids and jitter.
    pub random: Random,
}

impl Os {
    /// The real machine.
    pub fn system() -> Self {
        Self {
            clock: Arc::new(SystemClock::new()),
            disk: Arc::new(SystemDisk),
            random: Random::from_system(),
        }
    }
}
