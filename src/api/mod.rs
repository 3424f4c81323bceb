//! HTTP: every route in one table. Parses and validates, calls the store, words the answer.
//!
//! # Not here
//! Consensus, files, what commands do.

mod abandoned;
mod body;
mod cluster;
pub mod error;
mod forward;
pub mod founding;
mod health;
mod kv;
mod log;
mod params;
mod peers;
mod receipt;
mod seed;
pub mod serve;
mod stream;
mod traced;

use std::sync::Arc;

use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderValue, Method, Uri};
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::{get, post};

use tokio::sync::Semaphore;
use tokio::time::Instant;

pub use self::cluster::Me;

use self::abandoned::OnDrop;
use self::error::{ApiError, ProblemDocument};
use self::peers::Door;
use self::traced::{Traced, trace_of};
use crate::config::LimitsConfig;
use crate::peer::Rpc;
use crate::peer::inbox::Inbox;
use crate::peer::proxy::Proxy;
use crate::store::{ErrorCode, Store};
use crate::tasks::{Stop, Tasks};
use crate::telemetry::endpoints::template;
use crate::telemetry::traces::TraceId;
use crate::telemetry::{Metrics, Traces};

/// What handlers work with. Every request gets a clone.
#[derive(Clone)]
pub struct App(Arc<Parts>);

impl App {
    /// Put together by `node`.
    pub fn new(parts: Parts) -> Self {
        Self(Arc::new(parts))
    }
}

impl App {
    fn door(&self) -> Door<'_> {
        let max_bytes = self.limits.message_max_bytes();
        Door { inbox: &self.inbox, metrics: &self.metrics, max_bytes }
    }
}

impl std::ops::Deref for App {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

/// What an [`App`] is made of.
pub struct Parts {
    /// The use cases.
    pub store: Store,
    /// Where peers' messages go.
    pub inbox: Inbox,
    /// The way to the leader.
    pub proxy: Proxy,
    /// What is refused.
    pub limits: LimitsConfig,
    /// The seed's `MIN_CONFIRMACIONES_REQUERIDAS`.
    pub seed_confirmations: Option<u32>,
    /// This node.
    pub me: Me,
    /// Metrics.
    pub metrics: Arc<Metrics>,
    /// Traces.
    pub traces: Traces,
    /// Tells when the node stops.
    pub stop: Stop,
    /// For what takes too long for the runtime's thread.
    pub tasks: Tasks,
    /// Places for those who follow the log: they hold their connections for ever.
    pub tails: Arc<Semaphore>,
}

/// Every route.
pub fn router(app: App) -> Router {
    let mut router = Router::new()
        .route("/", get(cluster::root))
        .route("/write", post(kv::write))
        .route("/escribir", post(seed::write))
        .route("/replicar", post(seed::replicate))
        .route("/v1/kv", get(kv::list))
        .route("/v1/kv/", get(kv::get).put(kv::put).delete(kv::delete))
        .route("/v1/kv/{*key}", get(kv::get).put(kv::put).delete(kv::delete))
        .route("/v1/log", get(log::log))
        .route("/v1/cluster", get(cluster::cluster))
        .route("/heartbeat", get(cluster::heartbeat))
        .route("/livez", get(health::livez))
        .route("/readyz", get(health::readyz))
        .route("/metrics", get(health::metrics));
    for rpc in Rpc::ALL {
        let receive = move |State(app): State<App>, request: Request| async move {
            peers::receive(app.door(), rpc, request).await
        };
        router = router.route(rpc.path(), post(receive));
    }
    let observed = middleware::from_fn_with_state(app.clone(), observe);
    router
        .method_not_allowed_fallback(method_not_allowed)
        .fallback(no_such_route)
        .layer(observed)
        .with_state(app)
}

async fn no_such_route(uri: Uri) -> ApiError {
    let detail = format!("{} is not a route here; GET / lists what there is", uri.path());
    ApiError::new(ErrorCode::NoSuchRoute, detail)
}

async fn method_not_allowed(method: Method, uri: Uri) -> ApiError {
    let detail = format!("{} has no {method}; the Allow header says what it has", uri.path());
    ApiError::new(ErrorCode::MethodNotAllowed, detail)
}

/// Counted for a request whose client has gone before its answer: nginx's code for it.
const CLIENT_GONE: u16 = 499;

/// Counts, times and traces each request, and says on each answer who gave it and who leads.
async fn observe(State(app): State<App>, mut request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().cloned();
    let route = template(route.as_ref().map_or("", MatchedPath::as_str));
    let method = request.method().clone();
    let started = Instant::now();
    let in_flight = app.metrics.http_in_flight.hold();
    let traced = Traced::begin(&app.traces, (&method, route), &mut request);
    // A client that goes away takes this future with it: what it asked for is counted all the same.
    let abandoned = OnDrop::new(|| {
        app.metrics.answered((method.as_str(), route, CLIENT_GONE), started.elapsed(), None);
    });
    let mut response = next.run(request).await;
    abandoned.disarm();
    drop(in_flight);
    let (took, code) = (started.elapsed(), response.status().as_u16());
    let exemplar = traced.exemplar(&app.traces);
    app.metrics.answered((method.as_str(), route, code), took, exemplar);
    let trace = traced.end(&method, route, &mut response, took);
    say_who(&app, trace, &mut response);
    response
}

/// A forwarded answer says already who gave it.
fn say_who(app: &App, trace: Option<TraceId>, response: &mut Response) {
    let headers = response.headers_mut();
    if headers.contains_key("bitacora-node") {
        return;
    }
    let status = app.store.status();
    set(headers, "bitacora-node", app.me.name.as_str());
    if let Some(leader) = status.leader() {
        set(headers, "bitacora-leader", leader.name.as_str());
    }
    if !headers.contains_key("bitacora-term") {
        headers.insert("bitacora-term", status.term.get().into());
    }
    if let Some(problem) = response.extensions_mut().remove::<ProblemDocument>() {
        let leader = status.leader().map(|leader| leader.name.as_str());
        *response.body_mut() = problem.body(app.me.name.as_str(), leader, trace).into_body();
    }
}

fn set(headers: &mut axum::http::HeaderMap, name: &'static str, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}
