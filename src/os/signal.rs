//! The signals that ask a process to end.

use std::io;

use tokio::signal::unix::{SignalKind, signal};

/// Which signal asked us to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopSignal {
    /// Ctrl-C.
    Interrupt,
    /// `kill`, `docker stop`, a pod's end.
    Terminate,
}

/// Waits for SIGINT or SIGTERM. From its first call on, neither ends the process by itself.
pub async fn stop_requested() -> io::Result<StopSignal> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    // Both branches are cancel-safe: `recv` loses no signal that the loser saw.
    tokio::select! {
        _ = interrupt.recv() => Ok(StopSignal::Interrupt),
        _ = terminate.recv() => Ok(StopSignal::Terminate),
    }
}
