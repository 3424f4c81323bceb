//! The accept loop: connections, their limits, and their orderly end.
//!
//! Our own because `axum::serve` sets no header timeout and no cap. At the cap the connection
//! that has been idle longest makes room, so that neither a crowd of idle clients nor a slow one
//! can lock out the rest; connections that carried peers' messages are never chosen.
//!
//! # Invariants
//! - V1 At most `connections_max` connections are open.
//! - V2 A request's head must come within `header_timeout`.
//! - V3 A drain ends: idle connections at once, busy ones after their answer or at the deadline.
//! - V4 A client that takes nothing of its answer for 10 s is ended (`stream`).

use std::collections::BTreeMap;
use std::io;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::{Method, Request, Response};
use bytes::Bytes;
use hyper::body::{Body as HttpBody, Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tower::ServiceExt;

use super::stream::Guarded;
use crate::config::LimitsConfig;
use crate::os::clock::Clock;
use crate::peer::Rpc;
use crate::tasks::{OnError, Stop, Tasks};
use crate::telemetry::Metrics;

/// Header lines of a request.
const HEADERS_MAX: usize = 64;
/// Bytes of a request's head.
const HEAD_MAX_BYTES: usize = 64 << 10;
/// Pause after `accept` failed, as it does when file descriptors run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Serves whatever routes are current.
#[derive(Clone)]
pub struct Server {
    routes: watch::Receiver<Router>,
    limits: LimitsConfig,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
    tasks: Tasks,
    open: Arc<Mutex<BTreeMap<u64, Arc<Connection>>>>,
}

/// An open connection, as the cap and the drain see it.
struct Connection {
    /// Answers under way.
    busy: AtomicU32,
    /// When the last answer ended, on the node's clock.
    idle_since_ns: AtomicU64,
    of_peer: AtomicBool,
    /// Chosen to make room.
    evicted: AtomicBool,
    /// The client has not taken all that it was sent.
    unsent: Arc<AtomicBool>,
    end: Notify,
}

impl Server {
    /// With routes that may be replaced while it runs.
    pub fn new(
        routes: watch::Receiver<Router>,
        limits: LimitsConfig,
        clock: Arc<dyn Clock>,
        metrics: Arc<Metrics>,
        tasks: Tasks,
    ) -> Self {
        Self { routes, limits, clock, metrics, tasks, open: Arc::default() }
    }

    /// Accepts until the node stops, then lets running requests finish. While they do, other nodes
    /// still get through: what is under way here may need what they have to say.
    pub async fn run(self, listener: TcpListener, mut stop: Stop) -> io::Result<()> {
        let mut next_id = 0_u64;
        let drained = async {
            stop.requested().await;
            self.drain().await;
        };
        let mut drained = pin!(drained);
        loop {
            // Both branches are cancel-safe: `accept` loses no connection.
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = drained.as_mut() => break,
            };
            match accepted {
                Ok((stream, _)) => {
                    next_id = next_id.wrapping_add(1);
                    self.admit(next_id, stream);
                }
                Err(error) => {
                    tracing::warn!(event = "accept_failed", %error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        drop(listener);
        self.end(|_| true);
        Ok(())
    }

    fn open(&self) -> std::sync::MutexGuard<'_, BTreeMap<u64, Arc<Connection>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn admit(&self, id: u64, stream: TcpStream) {
        if !self.make_room() {
            // Every connection is busy: closing the new one is all that can be done.
            return;
        }
        let connection = Arc::new(Connection {
            busy: AtomicU32::new(0),
            idle_since_ns: AtomicU64::new(self.now_ns()),
            of_peer: AtomicBool::new(false),
            evicted: AtomicBool::new(false),
            unsent: Arc::default(),
            end: Notify::new(),
        });
        self.open().insert(id, connection.clone());
        let server = self.clone();
        let serve = async move {
            let counted = server.metrics.http_connections.hold();
            let served = server.serve(stream, connection).await;
            server.open().remove(&id);
            drop(counted);
            if let Err(error) = served {
                // A client that goes away in the middle is no fault of ours.
                tracing::debug!(event = "connection_ended", %error, "a connection broke off");
            }
            Ok::<(), io::Error>(())
        };
        self.tasks.spawn("http-connection", OnError::Log, serve);
    }

    /// Makes sure that one more connection fits. False when every one is busy.
    fn make_room(&self) -> bool {
        let mut open = self.open();
        if (open.len() as u64) < self.limits.connections_max {
            return true;
        }
        let idle = open.iter().filter(|(_, connection)| connection.may_go());
        let since = |connection: &Connection| connection.idle_since_ns.load(Ordering::Relaxed);
        let Some(id) = idle.min_by_key(|(_, connection)| since(connection)).map(|(id, _)| *id)
        else {
            return false;
        };
        if let Some(connection) = open.remove(&id) {
            connection.evicted.store(true, Ordering::Relaxed);
            connection.end.notify_one();
        }
        true
    }

    fn now_ns(&self) -> u64 {
        u64::try_from(self.clock.monotonic().as_nanos()).unwrap_or(u64::MAX)
    }

    async fn serve(&self, stream: TcpStream, state: Arc<Connection>) -> hyper::Result<()> {
        // Answers are small and wait for nobody.
        let _ = stream.set_nodelay(true);
        let unsent = state.unsent.clone();
        let service = service_fn(|request: Request<Incoming>| {
            let answering = Answering::begin(state.clone(), self.clock.clone());
            let from_peer = is_peers(&request);
            let router = self.routes.borrow().clone();
            let state = state.clone();
            async move {
                let response = match router.oneshot(request.map(Body::new)).await {
                    Ok(response) => response,
                    Err(never) => match never {},
                };
                if from_peer && response.status().is_success() {
                    state.of_peer.store(true, Ordering::Relaxed);
                }
                let body = |inner| Answer { inner, _answering: answering };
                Ok::<Response<Answer>, std::convert::Infallible>(response.map(body))
            }
        });
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(self.limits.header_timeout)
            .max_headers(HEADERS_MAX)
            .max_buf_size(HEAD_MAX_BYTES)
            .serve_connection(
                TokioIo::new(Guarded::new(stream, unsent, self.metrics.clone())),
                service,
            );
        let mut connection = pin!(connection);
        // Both branches are cancel-safe: the connection is polled on afterwards.
        tokio::select! {
            ended = connection.as_mut() => return ended,
            () = state.end.notified() => {}
        }
        if state.evicted.load(Ordering::Relaxed) && state.is_idle() {
            // At most the first bytes of a head are lost, which nobody has acted upon. An orderly
            // end would wait for the rest of it.
            return Ok(());
        }
        connection.as_mut().graceful_shutdown();
        connection.await
    }

    /// Ends the connections that clients have now. Who comes later is served until they are done.
    async fn drain(&self) {
        let until = Instant::now() + self.limits.drain_timeout;
        let is_client = |it: &Connection| !it.of_peer.load(Ordering::Relaxed);
        let clients: Vec<u64> =
            self.open().iter().filter(|(_, it)| is_client(it)).map(|(id, _)| *id).collect();
        self.end(is_client);
        let left = || clients.iter().filter(|id| self.open().contains_key(id)).count();
        while left() > 0 && Instant::now() < until {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let left = left();
        if left > 0 {
            tracing::warn!(event = "drain_timeout", left, "connections were still busy at the end");
        }
    }

    /// Ends connections, the busy ones after their answer.
    fn end(&self, which: impl Fn(&Connection) -> bool) {
        self.open().values().filter(|it| which(it)).for_each(|it| it.end.notify_one());
    }
}

impl Connection {
    fn may_go(&self) -> bool {
        self.is_idle() && !self.of_peer.load(Ordering::Relaxed)
    }

    /// No answer is being made, and none is still on its way out.
    fn is_idle(&self) -> bool {
        self.busy.load(Ordering::Relaxed) == 0 && !self.unsent.load(Ordering::Relaxed)
    }
}

fn is_peers(request: &Request<Incoming>) -> bool {
    let path = request.uri().path();
    let rpcs = Rpc::ALL.iter().filter(|rpc| **rpc != Rpc::Found);
    request.method() == Method::POST && rpcs.map(|rpc| rpc.path()).any(|known| known == path)
}

/// Marks its connection busy until the last byte of the answer is handed over.
struct Answering {
    connection: Arc<Connection>,
    clock: Arc<dyn Clock>,
}

impl Answering {
    fn begin(connection: Arc<Connection>, clock: Arc<dyn Clock>) -> Self {
        connection.busy.fetch_add(1, Ordering::Relaxed);
        Self { connection, clock }
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        let now = u64::try_from(self.clock.monotonic().as_nanos()).unwrap_or(u64::MAX);
        self.connection.idle_since_ns.store(now, Ordering::Relaxed);
        self.connection.busy.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A body that keeps its connection busy.
struct Answer {
    inner: Body,
    _answering: Answering,
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.inner).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
