//! One node, put together: construction order, stop order, and no rule of the domain.

mod sampler;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;

use crate::api::founding::Waiting;
use crate::api::serve::Server;
use crate::api::{self, App, Me};
use crate::config::{Config, LimitsConfig};
use crate::consensus::error::StartError;
use crate::consensus::founding::{Founder, FoundingError};
use crate::consensus::identity::{self, Identity};
use crate::consensus::spans::Spans;
use crate::consensus::{Consensus, Parts};
use crate::os::Os;
use crate::peer::client::{ClientError, HttpTransport};
use crate::peer::envelope::Address;
use crate::peer::inbox::Inbox;
use crate::peer::proxy::Proxy;
use crate::peer::{Handler, NotReadyYet, Transport};
use crate::store::Store;
use crate::tasks::{OnError, TaskFailure, Tasks};
use crate::telemetry::{Metrics, Traces};
use crate::wal::thread::{self as log_thread, LogThread};
use crate::wal::{self, Presence, WalError};

/// The log's folder inside the data directory.
pub const LOG_FOLDER: &str = "log";
/// Held by the process that uses a data directory.
pub const LOCK_FILE: &str = "lock";
/// How long a hand-over may take before the node stops all the same.
const HAND_OVER: Duration = Duration::from_secs(1);
/// How often the end of the writes under way is looked for.
const LOOK_AGAIN: Duration = Duration::from_millis(2);

/// Why a node could not start or had to end.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The port is taken, or not ours.
    #[error("cannot listen on {listen}: {source}")]
    Listen {
        /// The address.
        listen: std::net::SocketAddr,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// Another process uses the data directory.
    #[error("the data directory {0} is in use by another process")]
    Locked(String),
    /// The data directory cannot be used.
    #[error("cannot use the data directory {dir}: {source}")]
    DataDir {
        /// The directory.
        dir: String,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// The data directory belongs to a node of another name.
    #[error("the data directory {dir} belongs to node {owner}, not to {name}")]
    OtherNode {
        /// The directory.
        dir: String,
        /// Whose it is.
        owner: String,
        /// Who we are.
        name: String,
    },
    /// No cluster could be founded.
    #[error(transparent)]
    Founding(#[from] FoundingError),
    /// Log, snapshot or consensus could not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The HTTP client could not be made.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// Consensus has failed for good while running.
    #[error("consensus failed: {0}")]
    Consensus(String),
    /// A task that the node cannot do without has ended.
    #[error("{0}")]
    Task(TaskFailure),
}

impl NodeError {
    /// Whether the data directory is damaged, so that starting again will not help.
    pub fn is_damage(&self) -> bool {
        let Self::Start(error) = self else {
            return matches!(
                self,
                Self::Founding(FoundingError::Identity(identity::IdentityError::Corrupt(_)))
            );
        };
        match error {
            StartError::Wal(error) => error.is_damage(),
            StartError::Snapshot { .. }
            | StartError::Identity(identity::IdentityError::Corrupt(_)) => true,
            StartError::Identity(
                identity::IdentityError::Io(_) | identity::IdentityError::Taken,
            )
            | StartError::Io(_)
            | StartError::Config(_)
            | StartError::Raft(_) => false,
        }
    }
}

/// Runs a node until `stop` completes or it fails. All it needs from outside is in the arguments,
/// so that several can run in one process.
pub async fn run(
    config: Config,
    os: Os,
    (metrics, traces): (Arc<Metrics>, Traces),
    stop: impl Future<Output = ()>,
) -> Result<(), NodeError> {
    let tasks = Tasks::new();
    let node = Node::new(config, os, (metrics, traces), tasks.clone());
    let mut stop = std::pin::pin!(stop);
    // Dropping `serve` when asked to stop is safe: nothing of it is promised to anybody yet.
    let running = tokio::select! {
        started = node.start() => match started {
            Ok(running) => running,
            Err(error) => {
                tasks.shutdown(HAND_OVER).await;
                return Err(error);
            }
        },
        () = &mut stop => {
            tasks.shutdown(HAND_OVER).await;
            return Ok(());
        }
    };
    let ended = tokio::select! {
        () = stop => Ok(()),
        why = running.consensus.failed() => Err(NodeError::Consensus(why)),
        failure = tasks.failed() => Err(NodeError::Task(failure)),
    };
    running.stop(&node, ended.is_ok()).await;
    ended
}

/// A quarter of the connections may follow the log; the rest stays for requests and peers.
fn tails_max(limits: &LimitsConfig) -> usize {
    usize::try_from(limits.connections_max / 4).unwrap_or(usize::MAX).max(1)
}

/// Counts what the log's thread does.
struct LogObserver {
    metrics: Arc<Metrics>,
    spans: Spans,
}

impl wal::Observer for LogObserver {
    fn synced(&self, synced: wal::Synced) {
        self.metrics.wal.append_duration.observe(synced.write);
        self.metrics.wal.append_entries.add(synced.entries as u64);
        self.metrics.wal.fsync_duration.observe(synced.sync);
        self.metrics.wal.batch_entries.observe_count(synced.entries as u64);
        self.metrics.wal.append_bytes.add(synced.bytes);
        self.spans.logged(&synced);
    }

    fn rolled(&self, _segment: u64) {
        self.metrics.wal.segments_rolled.increment();
        self.metrics.wal.segments.increment();
    }

    fn retired(&self, _segment: u64) {
        self.metrics.wal.segments_retired.increment();
        self.metrics.wal.segments.decrement();
    }

    fn spare_failed(&self, error: &WalError) {
        tracing::warn!(event = "spare_failed", %error, "no spare log segment could be prepared");
    }

    fn failed(&self, first: &WalError) {
        self.metrics.wal.errors.increment();
        tracing::error!(event = "log_failed", error = %first, "the log has stopped for good");
    }
}

struct Node {
    config: Config,
    os: Os,
    metrics: Arc<Metrics>,
    traces: Traces,
    spans: Spans,
    tasks: Tasks,
    me: Me,
}

/// What must be stopped in order.
struct Running {
    consensus: Consensus,
    store: Store,
    log_thread: LogThread,
    _lock: Box<dyn Send + Sync>,
}

impl Node {
    fn new(
        config: Config,
        os: Os,
        (metrics, traces): (Arc<Metrics>, Traces),
        tasks: Tasks,
    ) -> Self {
        let me =
            Me { name: config.node.name.clone(), pid: std::process::id(), started: Instant::now() };
        let spans = Spans::new(traces.clone());
        Self { config, os, metrics, traces, spans, tasks, me }
    }

    async fn start(&self) -> Result<Running, NodeError> {
        let lock = self.take_data_dir()?;
        let listen = self.config.node.listen;
        let listener = TcpListener::bind(listen).await;
        let listener = listener.map_err(|source| NodeError::Listen { listen, source })?;
        let transport: Arc<dyn Transport> = Arc::new(HttpTransport::new()?);
        // Before anybody is answered: a node with an identity never speaks as one without.
        let known = self.known_identity()?;
        let founder = Founder::new(self.config.node.clone(), self.os.clone(), transport.clone());
        let (routes, serving) = watch::channel(self.waiting(&founder, known.is_some()));
        self.serve(listener, serving);
        let (disk, dir) = (self.os.disk.clone(), &self.config.node.data_dir);
        sampler::start(&self.tasks, disk, dir, &self.metrics);
        let identity = match known {
            Some(known) => known,
            None => founder.identity().await?,
        };
        let (log, log_thread) = self.open_log(&identity)?;
        let consensus = self.consensus(identity.clone(), log, transport.clone()).await?;
        let store = Store::new(
            consensus.clone(),
            self.os.clone(),
            &self.config.limits,
            self.metrics.clone(),
            self.traces.clone(),
        );
        let address = Address { cluster: identity.cluster, node: identity.node };
        let inbox = Inbox::new(Some(address), Arc::new(consensus.clone()));
        drop(routes.send_replace(self.routes(store.clone(), inbox)?));
        tracing::info!(
            event = "started",
            cluster_id = %identity.cluster,
            raft_id = identity.node.get(),
            listen = %listen,
            "the node serves"
        );
        // Dropping `begin` is safe: every step of it may be repeated.
        tokio::select! {
            begun = consensus.begin(&*transport) => begun?,
            why = consensus.failed() => return Err(NodeError::Consensus(why)),
        }
        Ok(Running { consensus, store, log_thread, _lock: lock })
    }

    fn take_data_dir(&self) -> Result<Box<dyn Send + Sync>, NodeError> {
        let dir = &self.config.node.data_dir;
        let failed = |source: io::Error| {
            let dir = dir.display().to_string();
            if source.kind() == io::ErrorKind::WouldBlock {
                return NodeError::Locked(dir);
            }
            NodeError::DataDir { dir, source }
        };
        self.os.disk.create_dir_all(dir).map_err(failed)?;
        self.os.disk.lock(&dir.join(LOCK_FILE)).map_err(failed)
    }

    fn waiting(&self, founder: &Arc<Founder>, is_known: bool) -> Router {
        let handler: Arc<dyn Handler> =
            if is_known { Arc::new(NotReadyYet) } else { founder.clone() };
        api::founding::router(Waiting {
            inbox: Inbox::new(None, handler),
            progress: founder.progress(),
            me: self.me.clone(),
            metrics: self.metrics.clone(),
        })
    }

    fn serve(&self, listener: TcpListener, routes: watch::Receiver<Router>) {
        let server = Server::new(
            routes,
            self.config.limits.clone(),
            self.os.clock.clone(),
            self.metrics.clone(),
            self.tasks.clone(),
        );
        let stop = self.tasks.stop();
        self.tasks.spawn("http-accept", OnError::StopNode, server.run(listener, stop));
    }

    /// This disk's identity; an empty disk has none yet.
    fn known_identity(&self) -> Result<Option<Identity>, NodeError> {
        let dir = &self.config.node.data_dir;
        let known = identity::load(&*self.os.disk, dir).map_err(FoundingError::from)?;
        let Some(known) = known else { return Ok(None) };
        if known.name != self.config.node.name {
            return Err(NodeError::OtherNode {
                dir: dir.display().to_string(),
                owner: known.name.to_string(),
                name: self.config.node.name.to_string(),
            });
        }
        Ok(Some(known))
    }

    fn open_log(&self, identity: &Identity) -> Result<(wal::Handle, LogThread), NodeError> {
        let options = wal::Options {
            segment_size_bytes: self.config.log.segment_size_bytes,
            cache_bytes: self.config.log.cache_bytes,
            cluster: identity.cluster,
            node: identity.node,
            salt_seed: self.os.random.next_u64(),
            presence: if identity.has_log { Presence::MustExist } else { Presence::MayBeNew },
        };
        let dir = self.config.node.data_dir.join(LOG_FOLDER);
        let observer =
            Arc::new(LogObserver { metrics: self.metrics.clone(), spans: self.spans.clone() });
        let (disk, clock) = (self.os.disk.clone(), self.os.clock.clone());
        let opened = wal::open(disk, clock, &dir, &options, observer).map_err(StartError::from)?;
        let (recovered, metrics) = (&opened.recovered, &self.metrics.wal);
        metrics.segments.set(recovered.segments as u64);
        metrics.recovery_duration.set_duration(recovered.duration);
        metrics.recovered_entries.set(recovered.entries);
        metrics.torn_tail.set_bool(recovered.torn.is_some());
        tracing::info!(event = "log_opened", recovered = ?opened.recovered, "the log is open");
        if !identity.has_log {
            // From here on a missing log is a lost log. Before the first vote: see `identity`.
            let identity = Identity { has_log: true, ..identity.clone() };
            let saved = identity::save(&*self.os.disk, &self.config.node.data_dir, &identity);
            saved.map_err(FoundingError::from)?;
        }
        Ok(log_thread::spawn(opened, log_thread::Limits::default()).map_err(StartError::from)?)
    }

    async fn consensus(
        &self,
        identity: Identity,
        wal: wal::Handle,
        transport: Arc<dyn Transport>,
    ) -> Result<Consensus, NodeError> {
        let parts = Parts {
            config: self.config.clone(),
            os: self.os.clone(),
            identity,
            wal,
            transport,
            tasks: self.tasks.clone(),
            metrics: self.metrics.clone(),
            spans: self.spans.clone(),
        };
        Ok(Consensus::start(parts).await?)
    }

    fn routes(&self, store: Store, inbox: Inbox) -> Result<Router, NodeError> {
        Ok(api::router(App::new(api::Parts {
            store,
            inbox,
            proxy: Proxy::new()?,
            limits: self.config.limits.clone(),
            seed_confirmations: self.config.seed_confirmations,
            me: self.me.clone(),
            metrics: self.metrics.clone(),
            traces: self.traces.clone(),
            stop: self.tasks.stop(),
            tasks: self.tasks.clone(),
            tails: Arc::new(Semaphore::new(tails_max(&self.config.limits))),
        })))
    }
}

impl Running {
    /// Stops in order: no new writes, leadership away, connections drained, consensus, the log.
    async fn stop(self, node: &Node, hand_over: bool) {
        tracing::info!(event = "shutdown", "stopping");
        self.store.close();
        // What was proposed here is answered here: afterwards it would never be heard of again.
        let until = Instant::now() + HAND_OVER;
        while hand_over && self.store.pending() > 0 && Instant::now() < until {
            tokio::time::sleep(LOOK_AGAIN).await;
        }
        if hand_over && !self.consensus.hand_over(Instant::now() + HAND_OVER).await {
            tracing::warn!(event = "hand_over_failed", "stopping while still leading");
        }
        let late = node.tasks.shutdown(node.config.limits.drain_timeout).await;
        if !late.is_empty() {
            tracing::warn!(event = "tasks_late", ?late, "some tasks did not end in time");
        }
        self.consensus.shutdown().await;
        if let Err(error) = self.log_thread.close() {
            tracing::error!(event = "log_close_failed", %error, "the log did not close cleanly");
        }
        tracing::info!(event = "stopped", "stopped");
    }
}
