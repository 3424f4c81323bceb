//! The production driver: a thread named `wal` that drains a bounded queue into the writer, and one
//! named `wal-spare` that fills spare segments with zeros meanwhile.
//!
//! Batches form where work queues: while one batch is being synced, requests gather for the next.
//!
//! # Not here
//! What a batch does ([`super::Writer`]).

use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use super::error::WalError;
use super::recovery::Opened;
use super::request::{Queue, Refused, Request};
use super::segment::Spares;
use super::view::Handle;
use super::{Observer, Writer};

/// Limits of the queue and of one batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Requests that may wait; more are refused with `Full`.
    pub queue_requests: usize,
    /// Requests are gathered until they carry this many payload bytes.
    pub batch_bytes: u64,
    /// So long without work until a marker is written.
    pub idle_after: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        let idle_after = Duration::from_millis(50);
        Self { queue_requests: 16_384, batch_bytes: 4 << 20, idle_after }
    }
}

/// Whether a batch takes no more requests. The policy of group commit: take what is there, up to
/// a size whose write does not hold up the next batch for long; never wait for more.
fn is_full(batch_bytes: u64, limits: Limits) -> bool {
    batch_bytes >= limits.batch_bytes
}

/// The running threads. Dropping it finishes what is queued and closes the log.
pub struct LogThread {
    queue: Arc<ThreadQueue>,
    writer: Option<JoinHandle<Result<(), WalError>>>,
    spare: Option<JoinHandle<()>>,
}

/// Starts the threads for a log that has been opened.
///
/// # Errors
/// The system cannot start a thread.
pub fn spawn(opened: Opened, limits: Limits) -> io::Result<(Handle, LogThread)> {
    let Opened { writer, log, .. } = opened;
    let (sender, receiver) = sync_channel(limits.queue_requests);
    let queue = Arc::new(ThreadQueue(Mutex::new(Some(sender))));
    let handle = log.handle(queue.clone());
    let (wake, woken) = sync_channel(1);
    let (spares, observer) = (writer.spare_maker(), writer.observer());
    let spare = Builder::new()
        .name("wal-spare".to_owned())
        .spawn(move || prepare_spares(&woken, &spares, &*observer))?;
    let writer = Builder::new()
        .name("wal".to_owned())
        .spawn(move || drive(writer, &receiver, &wake, limits))?;
    Ok((handle, LogThread { queue, writer: Some(writer), spare: Some(spare) }))
}

impl LogThread {
    /// Finishes what is queued, closes the log and waits for the threads.
    ///
    /// # Errors
    /// The first failure of the disk, also if it came earlier.
    pub fn close(mut self) -> Result<(), WalError> {
        self.stop()
    }

    fn stop(&mut self) -> Result<(), WalError> {
        self.queue.close();
        let result = match self.writer.take().map(JoinHandle::join) {
            Some(Ok(result)) => result,
            Some(Err(_)) => Err(WalError::Closed),
            None => Ok(()),
        };
        if let Some(spare) = self.spare.take() {
            let _ended = spare.join();
        }
        result
    }
}

impl Drop for LogThread {
    fn drop(&mut self) {
        // Whoever wants to know calls `close`; the observer has heard of a failure.
        let _closed = self.stop();
    }
}

/// The sending end, until the log is closed.
struct ThreadQueue(Mutex<Option<SyncSender<Request>>>);

impl ThreadQueue {
    fn close(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

impl Queue for ThreadQueue {
    fn submit(&self, request: Request) -> Result<(), Refused> {
        let sender = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(sender) = sender.as_ref() else {
            return Err(Refused::Closed(request));
        };
        sender.try_send(request).map_err(|error| match error {
            TrySendError::Full(request) => Refused::Full(request),
            TrySendError::Disconnected(request) => Refused::Closed(request),
        })
    }
}

/// Takes requests until the queue is closed and empty.
fn drive(
    mut writer: Writer,
    requests: &Receiver<Request>,
    wake: &SyncSender<()>,
    limits: Limits,
) -> Result<(), WalError> {
    let mut batch = Vec::new();
    let mut is_idle = false;
    loop {
        if writer.wants_spare() {
            // Full means that it has been told, disconnected that it has given up.
            let _told = wake.try_send(());
        }
        let first = if is_idle {
            requests.recv().map_err(|_| RecvTimeoutError::Disconnected)
        } else {
            requests.recv_timeout(limits.idle_after)
        };
        match first {
            Ok(request) => {
                is_idle = false;
                gather(request, requests, &mut batch, limits);
                writer.process(&mut batch);
            }
            Err(RecvTimeoutError::Timeout) => {
                writer.idle();
                is_idle = true;
            }
            Err(RecvTimeoutError::Disconnected) => return writer.close(),
        }
    }
}

fn gather(first: Request, more: &Receiver<Request>, batch: &mut Vec<Request>, limits: Limits) {
    let mut bytes = first.payload_bytes();
    batch.push(first);
    while !is_full(bytes, limits) {
        let Ok(request) = more.try_recv() else { return };
        bytes = bytes.saturating_add(request.payload_bytes());
        batch.push(request);
    }
}

/// Makes a spare whenever it is told to. A failure costs nothing that was promised: it stops here,
/// and the writer makes what it needs itself, where a failure is final.
fn prepare_spares(woken: &Receiver<()>, spares: &Spares, observer: &dyn Observer) {
    while woken.recv().is_ok() {
        if let Err(error) = spares.prepare() {
            observer.spare_failed(&error);
            return;
        }
    }
}
