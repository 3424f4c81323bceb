//! A client's connection that must make progress: one that does not read its answer is ended, so
//! that nobody can make this node hold answers for ever.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};

use crate::telemetry::Metrics;

/// How long a client may take nothing of what it was sent.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

/// A connection whose writes may not wait for ever.
pub(super) struct Guarded {
    inner: TcpStream,
    /// Runs while the client takes nothing.
    patience: Option<Pin<Box<Sleep>>>,
    /// Whether something waits to be taken; shared with the connection's record.
    waits: Arc<AtomicBool>,
    /// Where bytes are counted.
    metrics: Arc<Metrics>,
}

impl Guarded {
    pub(super) fn new(inner: TcpStream, waits: Arc<AtomicBool>, metrics: Arc<Metrics>) -> Self {
        Self { inner, patience: None, waits, metrics }
    }

    /// Notes what became of a write, and ends the wait that has lasted too long.
    fn watch(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        self.waits.store(written.is_pending(), Ordering::Relaxed);
        if let Poll::Ready(Ok(bytes)) = &written {
            self.metrics.http_sent.add(*bytes as u64);
        }
        if written.is_ready() {
            self.patience = None;
            return written;
        }
        let patience = self.patience.get_or_insert_with(|| Box::pin(sleep(WRITE_TIMEOUT)));
        ready!(patience.as_mut().poll(cx));
        let why = "the client did not take its answer in time";
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, why)))
    }
}

impl AsyncRead for Guarded {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.inner).poll_read(cx, buffer);
        self.metrics.http_received.add(buffer.filled().len().saturating_sub(before) as u64);
        read
    }
}

impl AsyncWrite for Guarded {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write(cx, bytes);
        self.watch(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write_vectored(cx, slices);
        self.watch(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
