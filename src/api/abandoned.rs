//! What is done when a client goes away before its answer: its future is dropped, and only what a
//! destructor does still happens.

/// Does something when it is dropped, unless it was disarmed before.
pub(super) struct OnDrop<F: FnOnce()>(Option<F>);

impl<F: FnOnce()> OnDrop<F> {
    pub(super) fn new(deed: F) -> Self {
        Self(Some(deed))
    }

    /// All went its way.
    pub(super) fn disarm(mut self) {
        self.0 = None;
    }
}

impl<F: FnOnce()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        if let Some(deed) = self.0.take() {
            deed();
        }
    }
}
