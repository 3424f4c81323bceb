//! The endpoints of the HTTP server, and how their answers are counted.
//!
//! # Not here
//! The routes themselves (`api`).

use std::sync::OnceLock;
use std::time::Duration;

use super::exemplars::Exemplar;
use super::metrics::{HTTP_REQUEST_DURATION, HTTP_REQUESTS};
use super::recorder::{Counter, Histogram, Recorder};

/// An endpoint of the HTTP server: a method with a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Endpoint {
    /// Method in capitals.
    pub method: &'static str,
    /// Route template as the router has it.
    pub route: &'static str,
    /// Whether its durations have a histogram of their own: they tell how clients and the log fare.
    /// Those of the rest stand together under the last endpoint, for the number of series.
    pub timed: bool,
    /// Status codes whose series exist from the start; others come with their first answer.
    pub codes: &'static [u16],
}

const READS_CODES: &[u16] = &[200, 400, 500, 503, 504];
const WRITES_CODES: &[u16] = &[200, 400, 412, 413, 500, 503, 504];
/// What rarely comes has only the codes that it has when all is well.
const RARE_CODES: &[u16] = &[200];
const PEERS_CODES: &[u16] = &[200, 400, 421, 500];

/// As a row of the table below.
const fn endpoint(
    method: &'static str,
    route: &'static str,
    timed: bool,
    codes: &'static [u16],
) -> Endpoint {
    Endpoint { method, route, timed, codes }
}

/// Every endpoint; what matches none of them is counted under the last one.
pub const ENDPOINTS: &[Endpoint] = &[
    endpoint("GET", "/", false, &[200]),
    endpoint("POST", "/write", true, WRITES_CODES),
    endpoint("POST", "/escribir", false, &[200, 403, 500]),
    endpoint("GET", "/v1/kv/{key}", true, &[200, 404, 500, 503, 504]),
    endpoint("PUT", "/v1/kv/{key}", true, WRITES_CODES),
    endpoint("DELETE", "/v1/kv/{key}", true, WRITES_CODES),
    endpoint("GET", "/v1/kv", true, READS_CODES),
    endpoint("GET", "/v1/log", true, &[200, 400, 410]),
    endpoint("GET", "/v1/cluster", false, &[200, 500]),
    endpoint("GET", "/heartbeat", false, &[200]),
    endpoint("GET", "/livez", false, &[200]),
    endpoint("GET", "/readyz", false, &[200, 503]),
    endpoint("GET", "/metrics", false, &[200]),
    endpoint("POST", "/replicate", true, PEERS_CODES),
    endpoint("POST", "/replicar", false, RARE_CODES),
    endpoint("POST", "/heartbeat", true, PEERS_CODES),
    endpoint("POST", "/vote", false, RARE_CODES),
    endpoint("POST", "/pre-vote", false, RARE_CODES),
    endpoint("POST", "/snapshot", true, PEERS_CODES),
    endpoint("POST", "/transfer-leader", false, RARE_CODES),
    endpoint("POST", "/found", false, RARE_CODES),
    endpoint("other", "other", true, &[404, 405]),
];

/// A route as metrics and traces name it: the router takes slashes as parts of a key, and the empty
/// key by a route of its own.
pub fn template(route: &str) -> &str {
    match route {
        "/v1/kv/{*key}" | "/v1/kv/" => "/v1/kv/{key}",
        route => route,
    }
}

/// The metrics of all endpoints.
pub(super) struct EndpointsMetrics(Vec<EndpointMetrics>);

/// The metrics of one method and route.
struct EndpointMetrics {
    endpoint: &'static Endpoint,
    duration: Histogram,
    /// By status code from 100 on; a rare one is registered with its first answer.
    codes: Vec<OnceLock<Counter>>,
}

const CODE_MIN: u16 = 100;
const CODES: usize = 500;

impl EndpointsMetrics {
    pub(super) fn new(recorder: &Recorder) -> Self {
        let rest = ENDPOINTS.last().map(|last| histogram(recorder, last));
        let one = |endpoint: &'static Endpoint| {
            let rest = rest.clone().filter(|_| !endpoint.timed);
            EndpointMetrics::new(recorder, endpoint, rest)
        };
        Self(ENDPOINTS.iter().map(one).collect())
    }

    /// Counts one answered request; anything unknown under the last endpoint.
    pub(super) fn answered(
        &self,
        recorder: &Recorder,
        (method, route, code): (&str, &str, u16),
        took: Duration,
        exemplar: Option<Exemplar>,
    ) {
        let matches =
            |one: &&EndpointMetrics| one.endpoint.route == route && one.endpoint.method == method;
        let Some(endpoint) = self.0.iter().find(matches).or(self.0.last()) else {
            return;
        };
        endpoint.duration.observe_in(took, exemplar);
        let Some(slot) = endpoint.codes.get(usize::from(code.saturating_sub(CODE_MIN))) else {
            return;
        };
        slot.get_or_init(|| endpoint.endpoint.counter(recorder, code)).increment();
    }
}

fn histogram(recorder: &Recorder, endpoint: &Endpoint) -> Histogram {
    let labels = [("method", endpoint.method), ("route", endpoint.route)];
    recorder.histogram(&HTTP_REQUEST_DURATION, &labels)
}

impl EndpointMetrics {
    /// With a histogram of its own if there is none to share.
    fn new(recorder: &Recorder, endpoint: &'static Endpoint, shared: Option<Histogram>) -> Self {
        let duration = shared.unwrap_or_else(|| histogram(recorder, endpoint));
        let codes: Vec<OnceLock<Counter>> = (0..CODES).map(|_| OnceLock::new()).collect();
        for code in endpoint.codes {
            if let Some(slot) = codes.get(usize::from(code.saturating_sub(CODE_MIN))) {
                slot.get_or_init(|| endpoint.counter(recorder, *code));
            }
        }
        Self { endpoint, duration, codes }
    }
}

impl Endpoint {
    fn counter(&self, recorder: &Recorder, code: u16) -> Counter {
        let code = code.to_string();
        let labels = [("method", self.method), ("route", self.route), ("code", &code)];
        recorder.counter(&HTTP_REQUESTS, &labels)
    }
}
