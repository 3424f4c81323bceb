//! Clients that write as fast as they are answered, and remember what they were told.
//!
//! Every write is sent once. Client `c` begins with node `c` and takes another node for each write,
//! so every node gets some; a node that cannot be connected to costs a client a short pause, which
//! keeps 64 clients from burning the processor that the nodes need.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::history::{Told, Write};
use super::http::{Connection, Request, Response, post, put};

/// Keys that all clients share, so that they overwrite each other's.
const KEYS: u64 = 200;
/// One write in so many is a `POST /write` of two keys.
const PAIRS_EVERY: u64 = 8;
const PAUSE_AFTER_REFUSAL: Duration = Duration::from_millis(10);

/// A load that runs.
pub struct Load {
    shared: Arc<Shared>,
    clients: Vec<JoinHandle<Vec<Write>>>,
}

struct Shared {
    ports: Vec<u16>,
    stop: AtomicBool,
    acked: AtomicU64,
    /// Answers by the node that was asked: each must have had its share.
    acked_by: Vec<AtomicU64>,
    newest_term: AtomicU64,
    /// When the first write of a term was acknowledged.
    first_acks: Mutex<BTreeMap<u64, Instant>>,
    /// Answers that break the contract.
    broken: Mutex<Vec<String>>,
    /// Why writes are unknown, and how many for each reason.
    unknown: Mutex<BTreeMap<String, usize>>,
}

impl Load {
    pub fn start(name: &str, ports: &[u16], clients: usize) -> Self {
        let shared = Arc::new(Shared {
            ports: ports.to_vec(),
            stop: AtomicBool::new(false),
            acked: AtomicU64::new(0),
            acked_by: ports.iter().map(|_| AtomicU64::new(0)).collect(),
            newest_term: AtomicU64::new(0),
            first_acks: Mutex::default(),
            broken: Mutex::default(),
            unknown: Mutex::default(),
        });
        let client = |number: usize| {
            let shared = shared.clone();
            let name = format!("{name}-{number}");
            let thread = std::thread::Builder::new().name(name.clone());
            thread.spawn(move || Client::new(&shared, name, number).run()).unwrap()
        };
        Self { clients: (0..clients).map(client).collect(), shared }
    }

    pub fn acked(&self) -> u64 {
        self.shared.acked.load(Ordering::Relaxed)
    }

    pub fn acked_by(&self, node: usize) -> u64 {
        self.shared.acked_by[node].load(Ordering::Relaxed)
    }

    /// The newest term that any write was acknowledged in.
    pub fn newest_term(&self) -> u64 {
        self.shared.newest_term.load(Ordering::Relaxed)
    }

    /// When the first write of a later term than this was acknowledged, if one was.
    pub fn first_ack_after_term(&self, term: u64) -> Option<Instant> {
        let first = self.shared.first_acks.lock().unwrap();
        first.range(term + 1..).next().map(|(_, at)| *at)
    }

    /// Why writes are unknown by now, and how many for each reason.
    pub fn why_unknown(&self) -> BTreeMap<String, usize> {
        self.shared.unknown.lock().unwrap().clone()
    }

    /// Stops the clients; all they wrote. Panics on answers that break the contract.
    pub fn finish(self) -> Vec<Write> {
        self.shared.stop.store(true, Ordering::Relaxed);
        let clients = self.clients.into_iter();
        let writes = clients.flat_map(|client| client.join().unwrap()).collect();
        let broken = self.shared.broken.lock().unwrap();
        assert!(broken.is_empty(), "{} answers break the contract: {:#?}", broken.len(), broken);
        writes
    }
}

struct Client<'a> {
    shared: &'a Shared,
    name: String,
    number: usize,
    connections: Vec<Option<Connection>>,
}

impl<'a> Client<'a> {
    fn new(shared: &'a Shared, name: String, number: usize) -> Self {
        let connections = shared.ports.iter().map(|_| None).collect();
        Self { shared, name, number, connections }
    }

    fn run(mut self) -> Vec<Write> {
        let mut writes = Vec::new();
        let mut sequence = 0_u64;
        while !self.shared.stop.load(Ordering::Relaxed) {
            let node = (self.number + usize::try_from(sequence).unwrap()) % self.connections.len();
            let (request, pairs) = self.write(sequence);
            sequence += 1;
            let told = self.send(node, &request);
            if let Told::Acked { term, .. } = told {
                self.count(node, term);
            }
            writes.push(Write { pairs, told });
        }
        writes
    }

    fn write(&self, sequence: u64) -> (Request, Vec<(String, String)>) {
        let value = format!("{}-{sequence}", self.name);
        let key = (self.number as u64 * 31 + sequence * 7) % KEYS;
        if sequence.is_multiple_of(PAIRS_EVERY) {
            let pairs = vec![
                (format!("shared/{key}"), format!("{value}-a")),
                (format!("shared/{}", (key + 1) % KEYS), format!("{value}-b")),
            ];
            let object: serde_json::Map<_, _> =
                pairs.iter().map(|(key, value)| (key.clone(), value.clone().into())).collect();
            let body = serde_json::Value::Object(object).to_string();
            return (post("/write?timeout=2s", body), pairs);
        }
        let request = put(format!("/v1/kv/shared/{key}?timeout=2s"), value.clone());
        (request, vec![(format!("shared/{key}"), value)])
    }

    fn send(&mut self, node: usize, request: &Request) -> Told {
        let connection = match self.connections[node].take() {
            Some(connection) if !connection.is_gone() => Ok(connection),
            _ => Connection::open(self.shared.ports[node]),
        };
        let Ok(mut connection) = connection else {
            std::thread::sleep(PAUSE_AFTER_REFUSAL);
            return Told::NotApplied;
        };
        let started = Instant::now();
        let answer = connection.exchange(request);
        let took = started.elapsed();
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => return self.unknown(&format!("no answer: {:?}", error.kind())),
        };
        if took > Duration::from_secs(5) {
            self.complain(format!("a write with timeout=2s took {took:?}: {answer}"));
        }
        if answer.header("connection") != Some("close") {
            self.connections[node] = Some(connection);
        }
        self.told(&answer)
    }

    fn told(&self, answer: &Response) -> Told {
        let Ok(json) = serde_json::from_slice::<serde_json::Value>(&answer.body) else {
            self.complain(format!("no JSON: {answer}"));
            return Told::Unknown;
        };
        let outcome = json["outcome"].as_str().unwrap_or_default();
        match (answer.status, outcome) {
            (200, "") => {
                let acks = json["acks"].as_array().cloned().unwrap_or_default();
                let durable = acks.iter().filter(|ack| ack["state"] == "durable").count() as u64;
                // A leader that was deposed in between learned of the commit from its successor.
                let led = acks.iter().find(|ack| ack["role"] == "leader");
                let led = led.and_then(|ack| ack["node"].as_str());
                let leads_on = led.is_some() && led == answer.header("bitacora-leader");
                if leads_on && Some(durable) < json["quorum"].as_u64() {
                    self.complain(format!("acked without a majority: {answer}"));
                }
                let number = |name: &str| json[name].as_u64().unwrap();
                Told::Acked { index: number("index"), term: number("term") }
            }
            (503 | 408, "not_applied") => Told::NotApplied,
            (504, "unknown") => {
                let detail = json["detail"].as_str().unwrap_or_default();
                // Ports, indexes and times differ; the sentence does not.
                self.unknown(&detail.replace(|letter: char| letter.is_ascii_digit(), "0"))
            }
            _ => {
                self.complain(answer.to_string());
                Told::Unknown
            }
        }
    }

    fn count(&self, node: usize, term: u64) {
        self.shared.acked.fetch_add(1, Ordering::Relaxed);
        self.shared.acked_by[node].fetch_add(1, Ordering::Relaxed);
        if term > self.shared.newest_term.fetch_max(term, Ordering::Relaxed) {
            let now = Instant::now();
            self.shared.first_acks.lock().unwrap().entry(term).or_insert(now);
        }
    }

    fn unknown(&self, why: &str) -> Told {
        *self.shared.unknown.lock().unwrap().entry(why.to_owned()).or_default() += 1;
        Told::Unknown
    }

    fn complain(&self, what: String) {
        self.shared.broken.lock().unwrap().push(what);
    }
}
