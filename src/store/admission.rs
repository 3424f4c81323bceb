//! How many writes may be in flight, so that overload is refused at the door and not discovered in
//! the middle.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::error::StoreError;
use crate::config::LimitsConfig;

/// The door. Never waits: a queue here would only hide that the node is slower than its clients.
pub(super) struct Admission {
    proposals: Arc<Semaphore>,
    bytes: Arc<Semaphore>,
    proposals_max: usize,
    bytes_max: usize,
    closed: AtomicBool,
}

/// A place inside, given back when dropped.
pub struct Admitted {
    _proposal: OwnedSemaphorePermit,
    _bytes: OwnedSemaphorePermit,
}

impl Admission {
    pub(super) fn new(limits: &LimitsConfig) -> Self {
        let permits =
            |limit: u64| usize::try_from(limit).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS);
        let proposals_max = permits(limits.proposals_max);
        let bytes_max = permits(limits.proposals_max_bytes);
        Self {
            proposals: Arc::new(Semaphore::new(proposals_max)),
            bytes: Arc::new(Semaphore::new(bytes_max)),
            proposals_max,
            bytes_max,
            closed: AtomicBool::new(false),
        }
    }

    /// Lets a write of about `bytes` in, or refuses it.
    pub(super) fn admit(&self, bytes: usize) -> Result<Admitted, StoreError> {
        if self.closed.load(Ordering::Relaxed) {
            return Err(StoreError::ShuttingDown);
        }
        let full = |what| move |_| StoreError::Overloaded { what };
        let proposal = self.proposals.clone().try_acquire_owned();
        let proposal = proposal.map_err(full("proposals_max"))?;
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let bytes = self.bytes.clone().try_acquire_many_owned(bytes);
        let bytes = bytes.map_err(full("proposals_max_bytes"))?;
        Ok(Admitted { _proposal: proposal, _bytes: bytes })
    }

    /// How many are inside.
    pub(super) fn pending(&self) -> usize {
        self.proposals_max.saturating_sub(self.proposals.available_permits())
    }

    /// How many bytes.
    pub(super) fn pending_bytes(&self) -> usize {
        self.bytes_max.saturating_sub(self.bytes.available_permits())
    }

    /// Lets nobody in any more.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admission(proposals_max: u64, proposals_max_bytes: u64) -> Admission {
        Admission::new(&LimitsConfig { proposals_max, proposals_max_bytes, ..Default::default() })
    }

    #[test]
    fn writes_are_let_in_up_to_their_number_and_out_again() {
        let door = admission(2, 1000);
        let first = door.admit(1).unwrap();
        let _second = door.admit(1).unwrap();
        assert_eq!(door.pending(), 2);
        let refused = door.admit(1).err().unwrap();
        assert!(matches!(refused, StoreError::Overloaded { what: "proposals_max" }));
        drop(first);
        assert!(door.admit(1).is_ok());
    }

    #[test]
    fn writes_are_let_in_up_to_their_bytes() {
        let door = admission(100, 1000);
        let _large = door.admit(900).unwrap();
        let refused = door.admit(101).err().unwrap();
        assert!(matches!(refused, StoreError::Overloaded { what: "proposals_max_bytes" }));
        assert!(door.admit(100).is_ok());
        assert_eq!(door.pending(), 1, "what was refused holds no place");
        assert_eq!(door.pending_bytes(), 900);
    }

    #[test]
    fn a_closed_door_lets_nobody_in() {
        let door = admission(2, 1000);
        door.close();
        assert!(matches!(door.admit(1), Err(StoreError::ShuttingDown)));
    }
}
