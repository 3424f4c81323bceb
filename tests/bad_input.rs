//! Bad input: each has its status and code, nothing changes, and the node goes on.

#![allow(
    clippy::pedantic,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a test stops at the first surprise; real time"
)]

mod support;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use bitacora::peer::envelope::{self, Address};
use bitacora::types::{ClusterId, RaftId};
use serde_json::Value as Json;
use support::cluster::{Cluster, Node};
use support::http::{Connection, Request, Response, delete, get, post, put};
use support::{SOON, eventually, throughout};

const PEER_ROUTES: [&str; 6] =
    ["/replicate", "/heartbeat", "/vote", "/pre-vote", "/snapshot", "/transfer-leader"];
const LIMIT_VALUE: usize = 512 << 10;
const LIMIT_BODY: usize = 1 << 20;

/// The one cluster of this file, for one test at a time: each looks whether anything changed.
struct Shared {
    cluster: Arc<Cluster>,
    _alone: MutexGuard<'static, ()>,
}

fn shared() -> Shared {
    static CLUSTER: Mutex<Weak<Cluster>> = Mutex::new(Weak::new());
    static ALONE: Mutex<()> = Mutex::new(());
    let mut kept = CLUSTER.lock().unwrap_or_else(PoisonError::into_inner);
    let cluster = kept.upgrade().unwrap_or_else(|| Arc::new(Cluster::three()));
    *kept = Arc::downgrade(&cluster);
    drop(kept);
    let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    Shared { cluster, _alone: alone }
}

/// What must be as before: what is applied, and who leads in which term.
#[derive(Debug, PartialEq)]
struct Picture {
    state: (u64, String),
    term: Json,
    leader: Json,
    pids: Vec<Json>,
}

impl Shared {
    fn picture(&self) -> Picture {
        let state = self.cluster.wait_all_caught_up();
        let beats: Vec<Json> =
            self.cluster.nodes.iter().map(|node| node.heartbeat().unwrap()).collect();
        Picture {
            state,
            term: beats[0]["term"].clone(),
            leader: beats[0]["leader"].clone(),
            pids: beats.iter().map(|beat| beat["pid"].clone()).collect(),
        }
    }

    /// Runs cases that must change nothing, then writes something good.
    fn unchanged(&self, cases: impl FnOnce(&Cluster)) {
        let before = self.picture();
        cases(&self.cluster);
        assert_eq!(self.picture(), before);
        for node in &self.cluster.nodes {
            let good = node.ask(&put("/v1/kv/good", "good")).expect(200);
            assert!(good.member("index").as_u64() > Some(before.state.0), "{good}");
        }
    }

    fn leader(&self) -> &Node {
        &self.cluster.nodes[self.cluster.leader()]
    }
}

#[track_caller]
fn problem(response: &Response, status: u16, code: &str) {
    assert_eq!((response.status, response.code().as_str()), (status, code), "{response}");
    assert_eq!(response.header("content-type"), Some("application/problem+json"), "{response}");
    assert_eq!(response.member("status"), Json::from(status), "{response}");
    for name in ["type", "title", "detail"] {
        let member = response.member(name);
        assert!(member.as_str().is_some_and(|text| !text.is_empty()), "{name} in {response}");
    }
}

/// The same refusal by every node, leader or not.
#[track_caller]
fn refused_write(cluster: &Cluster, request: &Request, status: u16, code: &str) {
    for node in &cluster.nodes {
        let response = node.ask(request);
        problem(&response, status, code);
        assert_eq!(response.outcome(), "not_applied", "{response}");
    }
}

#[track_caller]
fn refused_read(cluster: &Cluster, request: &Request, status: u16, code: &str) {
    for node in &cluster.nodes {
        let response = node.ask(request);
        problem(&response, status, code);
        assert_eq!(response.outcome(), "", "a read has no outcome: {response}");
    }
}

#[test]
fn a_body_that_is_no_json_object_is_refused() {
    let deep =
        |open: &str, close: &str| format!("{{\"a\":{}1{}}}", open.repeat(200), close.repeat(200));
    let key_too_long = format!("{{\"{}\":1}}", "k".repeat(1025));
    let value_too_long = format!("{{\"a\":\"{}\"}}", "v".repeat(LIMIT_VALUE + 1));
    let cases: Vec<(Vec<u8>, u16, &str)> = vec![
        (b"clave=valor".to_vec(), 400, "bad_json"),
        (b"".to_vec(), 400, "bad_json"),
        (b"{".to_vec(), 400, "bad_json"),
        (b"{\"a\":1} {\"b\":2}".to_vec(), 400, "bad_json"),
        (b"{\"a\":1e400}".to_vec(), 400, "bad_json"),
        (b"{\"a\":NaN}".to_vec(), 400, "bad_json"),
        (b"{\"a\":Infinity}".to_vec(), 400, "bad_json"),
        (b"{\"a\":\"\xff\"}".to_vec(), 400, "bad_json"),
        (b"{\"a\":\"\\ud800\"}".to_vec(), 400, "bad_json"),
        (b"\xef\xbb\xbf{\"a\":1}".to_vec(), 400, "bad_json"),
        (deep("[", "]").into_bytes(), 400, "bad_json"),
        (deep("{\"a\":", "}").into_bytes(), 400, "bad_json"),
        (b"[1]".to_vec(), 400, "not_an_object"),
        (b"\"text\"".to_vec(), 400, "not_an_object"),
        (b"null".to_vec(), 400, "not_an_object"),
        (b"7".to_vec(), 400, "not_an_object"),
        (b"{}".to_vec(), 400, "not_an_object"),
        (b"{\"\":1}".to_vec(), 400, "bad_key"),
        (key_too_long.into_bytes(), 413, "key_too_large"),
        (value_too_long.into_bytes(), 413, "value_too_large"),
        (b"{\"good\":1,\"\":2}".to_vec(), 400, "bad_key"),
    ];
    shared().unchanged(|cluster| {
        for (body, status, code) in cases {
            refused_write(cluster, &post("/write", body), status, code);
        }
    });
}

#[test]
fn a_key_that_breaks_its_rules_is_refused() {
    let long = "k".repeat(1025);
    let cases = [
        ("%ff", 400, "bad_key"),
        ("a%c3%28b", 400, "bad_key"),
        ("", 400, "bad_key"),
        (long.as_str(), 413, "key_too_large"),
    ];
    shared().unchanged(|cluster| {
        for (key, status, code) in cases {
            let target = format!("/v1/kv/{key}");
            refused_write(cluster, &put(&target, "v"), status, code);
            refused_write(cluster, &delete(&target), status, code);
            refused_read(cluster, &get(&target), status, code);
        }
    });
}

#[test]
fn a_key_and_a_value_of_exactly_their_limits_are_accepted() {
    let shared = shared();
    let key = "k".repeat(1024);
    let value = vec![b'v'; LIMIT_VALUE];
    for node in &shared.cluster.nodes {
        node.ask(&put(format!("/v1/kv/{key}"), value.clone())).expect(200);
        let read = node.ask(&get(format!("/v1/kv/{key}"))).expect(200);
        assert!(read.body == value);
    }
    shared.leader().ask(&delete(format!("/v1/kv/{key}"))).expect(200);
}

#[test]
fn a_value_or_body_over_its_limit_is_refused() {
    shared().unchanged(|cluster| {
        let value = vec![b'v'; LIMIT_VALUE + 1];
        refused_write(cluster, &put("/v1/kv/big", value), 413, "value_too_large");
        let body = vec![b' '; LIMIT_BODY + 1];
        refused_write(cluster, &post("/write", body.clone()), 413, "body_too_large");
        refused_write(cluster, &put("/v1/kv/big", body), 413, "body_too_large");
        for node in &cluster.nodes {
            let response = without_length(node.port, LIMIT_BODY + 1);
            problem(&response, 413, "body_too_large");
            assert_eq!(response.outcome(), "not_applied", "{response}");
            let response = announced_only(node.port, "99999999999");
            problem(&response, 413, "body_too_large");
        }
    });
}

/// A chunked `POST /write` whose length nobody announces.
fn without_length(port: u16, size: usize) -> Response {
    let mut connection = Connection::open(port).unwrap();
    let head = "POST /write HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
    connection.send(head.as_bytes()).unwrap();
    let part = 64 << 10;
    for sent in (0..size).step_by(part) {
        let length = part.min(size - sent);
        let mut chunk = format!("{length:x}\r\n").into_bytes();
        chunk.extend(std::iter::repeat_n(b' ', length));
        chunk.extend(b"\r\n");
        // The node may answer and close before all is sent.
        if connection.send(&chunk).is_err() {
            break;
        }
    }
    let _ = connection.send(b"0\r\n\r\n");
    connection.patience(SOON);
    connection.read_response("POST").unwrap()
}

/// A head that announces much; the answer comes before any of it.
fn announced_only(port: u16, length: &str) -> Response {
    let mut connection = Connection::open(port).unwrap();
    let head = format!("POST /write HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n");
    connection.send(head.as_bytes()).unwrap();
    connection.patience(SOON);
    connection.read_response("POST").unwrap()
}

#[test]
fn parameters_that_are_unknown_or_have_unknown_values_are_refused() {
    let of_writes = [
        ("typo=1", "bad_parameter"),
        ("acks=", "bad_acks"),
        ("acks=most", "bad_acks"),
        ("acks=-1", "bad_acks"),
        ("acks=2.0", "bad_acks"),
        ("acks=18446744073709551616", "bad_acks"),
        ("acks=0", "bad_acks"),
        ("acks=1", "bad_acks"),
        ("acks=4", "bad_acks"),
        ("acks=18446744073709551615", "bad_acks"),
        ("acks=2&acks=3", "bad_parameter"),
        ("timeout=", "bad_parameter"),
        ("timeout=soon", "bad_parameter"),
        ("timeout=5", "bad_parameter"),
        ("timeout=0ms", "bad_parameter"),
        ("timeout=61s", "bad_parameter"),
        ("timeout=-1s", "bad_parameter"),
        ("timeout=%ff", "bad_parameter"),
        ("forward=perhaps", "bad_parameter"),
        ("consistency=stale", "bad_parameter"),
    ];
    let of_reads = [
        "typo=1",
        "acks=2",
        "consistency=",
        "consistency=eventual",
        "consistency=%ff",
        "consistency=stale&consistency=stale",
        "timeout=soon",
        "timeout=0s",
        "forward=1",
    ];
    let of_lists = ["limit=0", "limit=1001", "limit=ten", "limit=-1", "keys_only=2", "from=1"];
    let of_logs =
        ["from=-1", "from=x", "limit=0", "limit=1001", "follow=yes", "consistency=stale", "a"];
    shared().unchanged(|cluster| {
        for (query, code) in of_writes {
            refused_write(cluster, &put(format!("/v1/kv/k?{query}"), "v"), 400, code);
            refused_write(cluster, &delete(format!("/v1/kv/k?{query}")), 400, code);
            refused_write(cluster, &post(format!("/write?{query}"), "{\"a\":1}"), 400, code);
        }
        for query in of_reads {
            refused_read(cluster, &get(format!("/v1/kv/k?{query}")), 400, "bad_parameter");
            refused_read(cluster, &get(format!("/v1/kv?{query}")), 400, "bad_parameter");
        }
        for query in of_lists {
            refused_read(cluster, &get(format!("/v1/kv?{query}")), 400, "bad_parameter");
        }
        for query in of_logs {
            refused_read(cluster, &get(format!("/v1/log?{query}")), 400, "bad_parameter");
        }
        refused_read(cluster, &get("/v1/cluster?typo=1"), 400, "bad_parameter");
    });
}

#[test]
fn headers_with_values_that_mean_nothing_are_refused() {
    let preconditions = [
        ("If-Match", "42"),
        ("If-Match", "\"\""),
        ("If-Match", "\"x\""),
        ("If-Match", "\"1\", \"2\""),
        ("If-Match", "W/\"1\""),
        ("If-Match", "\"18446744073709551616\""),
        ("If-None-Match", "\"42\""),
        ("If-None-Match", ""),
    ];
    shared().unchanged(|cluster| {
        for (name, value) in preconditions {
            let put = put("/v1/kv/k", "v").header(name, value);
            refused_write(cluster, &put, 400, "bad_parameter");
            let delete = delete("/v1/kv/k").header(name, value);
            refused_write(cluster, &delete, 400, "bad_parameter");
        }
        let both = put("/v1/kv/k", "v").header("If-Match", "*").header("If-None-Match", "*");
        refused_write(cluster, &both, 400, "bad_parameter");
        let resumed = get("/v1/log").header("Last-Event-ID", "x");
        refused_read(cluster, &resumed, 400, "bad_parameter");
    });
}

#[test]
fn a_wrong_method_is_told_the_right_ones_and_an_unknown_route_is_not_found() {
    let wrong = [
        ("POST", "/v1/kv/k", "GET,HEAD,PUT,DELETE"),
        ("PATCH", "/v1/kv/k", "GET,HEAD,PUT,DELETE"),
        ("GET", "/write", "POST"),
        ("PUT", "/v1/kv", "GET,HEAD"),
        ("DELETE", "/v1/log", "GET,HEAD"),
        ("PUT", "/heartbeat", "GET,HEAD,POST"),
        ("GET", "/replicate", "POST"),
        ("GET", "/vote", "POST"),
        ("GET", "/escribir", "POST"),
        ("POST", "/readyz", "GET,HEAD"),
        ("BREW", "/", "GET,HEAD"),
    ];
    let unknown = ["/v1", "/v2/kv/k", "/v1/kvs", "/favicon.ico", "/write/", "//", "/%2e%2e/etc"];
    shared().unchanged(|cluster| {
        for (method, path, allowed) in wrong {
            for node in &cluster.nodes {
                let response = node.ask(&Request::new(method, path));
                problem(&response, 405, "method_not_allowed");
                let sorted = |list: &str| {
                    let mut list: Vec<_> =
                        list.split(',').map(|name| name.trim().to_owned()).collect();
                    list.sort();
                    list
                };
                let said = response.header("allow").unwrap_or_default();
                assert_eq!(sorted(said), sorted(allowed), "{method} {path}");
            }
        }
        for path in unknown {
            for node in &cluster.nodes {
                problem(&node.ask(&get(path)), 404, "no_such_route");
                problem(&node.ask(&post(path, "{}")), 404, "no_such_route");
            }
        }
    });
}

struct Peer {
    cluster: ClusterId,
    to: RaftId,
    from: RaftId,
}

impl Peer {
    /// Speaks to a node as another one of its cluster would.
    fn of(cluster: &Cluster, node: &Node) -> Self {
        let id = node.heartbeat().unwrap()["cluster_id"].as_str().unwrap().to_owned();
        // Founding gives ids by the order of names.
        let place = cluster.nodes.iter().position(|other| other.name == node.name).unwrap() as u64;
        Self {
            cluster: id.parse().unwrap(),
            to: RaftId::new(place + 1),
            from: RaftId::new((place + 1) % 3 + 1),
        }
    }

    fn seal(&self, body: &[u8]) -> Vec<u8> {
        let from = Address { cluster: self.cluster, node: self.from };
        envelope::seal(from, self.to, body).to_vec()
    }
}

#[test]
fn messages_for_another_cluster_or_node_or_of_another_version_are_refused() {
    shared().unchanged(|cluster| {
        for node in &cluster.nodes {
            let right = Peer::of(cluster, node);
            let foreign = Peer { cluster: ClusterId::from_bytes([7; 16]), ..right };
            let astray = Peer { to: RaftId::new(9), ..right };
            let refused = || node.metric("bitacora_peer_messages_refused_total", "");
            let before = refused();
            for route in PEER_ROUTES {
                let said = node.ask(&post(route, foreign.seal(b"")));
                problem(&said, 421, "wrong_cluster");
                let said = node.ask(&post(route, astray.seal(b"")));
                problem(&said, 421, "wrong_node");
                for version in [0, 2, 255] {
                    let mut old = right.seal(b"");
                    old[3] = version;
                    problem(&node.ask(&post(route, old)), 400, "bad_peer_message");
                }
            }
            let counted = refused() - before;
            assert_eq!(counted, 5.0 * PEER_ROUTES.len() as f64, "each refusal is counted");
        }
    });
}

#[test]
fn garbage_and_every_cut_of_an_envelope_are_refused_on_every_peer_route() {
    shared().unchanged(|cluster| {
        for node in &cluster.nodes {
            let sealed = Peer::of(cluster, node).seal(b"");
            let mut connection = Connection::open(node.port).unwrap();
            for route in PEER_ROUTES {
                for cut in 0..=sealed.len() {
                    let said = connection.exchange(&post(route, &sealed[..cut])).unwrap();
                    problem(&said, 400, "bad_peer_message");
                }
                for garbage in garbage() {
                    let said = connection.exchange(&post(route, garbage)).unwrap();
                    problem(&said, 400, "bad_peer_message");
                }
            }
            for garbage in garbage() {
                let said = connection.exchange(&post("/found", garbage)).unwrap();
                problem(&said, 400, "bad_peer_message");
            }
        }
    });
}

fn garbage() -> Vec<Vec<u8>> {
    vec![
        b"{\"clave\":\"valor\"}".to_vec(),
        vec![0; 36],
        vec![0xff; 36],
        vec![0xff; 4096],
        b"BPM\x01".to_vec(),
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
    ]
}

/// Bodies that lie: lengths and counts far beyond what follows, unknown flags, bytes left over.
fn forgeries() -> Vec<Vec<u8>> {
    let vote = |term: u64, committed: u8| {
        let mut vote = vec![1];
        vote.extend(term.to_le_bytes());
        vote.extend(1_u64.to_le_bytes());
        vote.push(committed);
        vote
    };
    let with = |tail: &[&[u8]]| {
        let mut body = vote(u64::MAX, 1);
        tail.iter().for_each(|part| body.extend_from_slice(part));
        body
    };
    let count = u32::MAX.to_le_bytes();
    let none: &[u8] = &[0];
    let age = &[0, 0, 0, 0];
    // Entries: 4,294,967,295 of them, none there; one of 4 GiB, four bytes there.
    let many = with(&[none, none, age, &count]);
    let long = with(&[none, none, age, &1_u32.to_le_bytes(), &count, b"abcd"]);
    // A membership entry of 255 configs of 65535 voters each, none there.
    let mut entry = vec![1, 2];
    entry.extend([0; 16]);
    entry.extend([255, 0xff, 0xff]);
    let length = u32::try_from(entry.len()).unwrap().to_le_bytes();
    let voters = with(&[none, none, age, &1_u32.to_le_bytes(), &length, &entry]);
    // A snapshot chunk of absurd lengths.
    let chunk = with(&[&count, &[0xff; 64]]);
    let mut bodies = vec![
        many,
        long,
        voters,
        chunk,
        vote(u64::MAX, 7),
        vec![1],
        vec![2; 64],
        vec![0xff; 64],
        vec![1; 100_000],
        with(&[&[9]]),
    ];
    let mut left_over = vote(0, 0);
    left_over.extend([0, 1, 2, 3, 4, 5, 6]);
    bodies.push(left_over);
    bodies
}

#[test]
fn a_right_envelope_with_a_forged_body_is_refused_and_moves_no_term() {
    shared().unchanged(|cluster| {
        for node in &cluster.nodes {
            let peer = Peer::of(cluster, node);
            for route in PEER_ROUTES {
                for (number, body) in forgeries().iter().enumerate() {
                    let said = node.ask(&post(route, peer.seal(body)));
                    assert_eq!(said.status, 400, "{route}, forgery {number}: {said}");
                    problem(&said, 400, "bad_peer_message");
                }
            }
        }
    });
}

#[test]
fn entries_that_do_not_follow_each_other_are_refused() {
    shared().unchanged(|cluster| {
        for node in &cluster.nodes {
            let peer = Peer::of(cluster, node);
            // Old vote, no previous entry, one blank entry at index 7.
            let mut body = vec![1];
            body.extend([0; 16]);
            body.extend([1, 0, 0, 0, 0, 0, 0]);
            body.extend(1_u32.to_le_bytes());
            let mut entry = vec![1, 0];
            entry.extend(0_u64.to_le_bytes());
            entry.extend(7_u64.to_le_bytes());
            body.extend(u32::try_from(entry.len()).unwrap().to_le_bytes());
            body.extend(entry);
            for route in ["/replicate", "/heartbeat"] {
                let said = node.ask(&post(route, peer.seal(&body)));
                problem(&said, 400, "bad_peer_message");
            }
        }
    });
}

#[test]
fn a_message_between_nodes_over_its_limit_is_refused_before_it_is_read() {
    shared().unchanged(|cluster| {
        for node in &cluster.nodes {
            for route in PEER_ROUTES {
                let mut connection = Connection::open(node.port).unwrap();
                let head = format!(
                    "POST {route} HTTP/1.1\r\nHost: x\r\nContent-Length: 1099511627776\r\n\r\n"
                );
                connection.send(head.as_bytes()).unwrap();
                connection.patience(SOON);
                let said = connection.read_response("POST").unwrap();
                problem(&said, 413, "body_too_large");
            }
        }
    });
}

#[test]
fn bytes_that_are_no_http_end_the_connection_and_nothing_else() {
    let mut cases: Vec<Vec<u8>> = vec![
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
        b"\0\0\0\0\r\n\r\n".to_vec(),
        b"GET /\r\n\r\n".to_vec(),
        b"GET / HTTP/9.9\r\n\r\n".to_vec(),
        b"PUT /v1/kv/k HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n".to_vec(),
        b"PUT /v1/kv/k HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nv"
            .to_vec(),
        b"PUT /v1/kv/k HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n".to_vec(),
        b"PUT /v1/kv/a b HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nv".to_vec(),
    ];
    let many_headers: String = (0..200).map(|number| format!("X-{number}: 1\r\n")).collect();
    cases.push(format!("GET / HTTP/1.1\r\nHost: x\r\n{many_headers}\r\n").into_bytes());
    cases.push(format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(1 << 20)).into_bytes());
    cases.push(format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "x".repeat(100_000)).into_bytes());
    shared().unchanged(|cluster| {
        for node in &cluster.nodes {
            for (number, bytes) in cases.iter().enumerate() {
                let mut connection = Connection::open(node.port).unwrap();
                // The node may close while this is still being sent.
                let _ = connection.send(bytes);
                connection.patience(Duration::from_secs(15));
                if let Ok(head) = connection.read_head() {
                    assert!((400..500).contains(&head.status), "case {number}: {head}");
                }
                assert!(connection.is_closed_within(SOON), "case {number} left open");
            }
        }
    });
}

#[test]
fn a_body_that_breaks_off_writes_nothing() {
    shared().unchanged(|cluster| {
        for node in &cluster.nodes {
            let mut connection = Connection::open(node.port).unwrap();
            let head = "PUT /v1/kv/half HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf";
            connection.send(head.as_bytes()).unwrap();
        }
        throughout("the key that came half is not there", Duration::from_millis(300), || {
            cluster.nodes.iter().all(|node| node.ask(&get("/v1/kv/half")).status == 404)
        });
    });
}

#[test]
fn odd_input_that_means_something_is_taken_at_its_word() {
    let shared = shared();
    let node = shared.leader();
    let set = |key: &str, value: &[u8]| node.ask(&put(format!("/v1/kv/{key}"), value)).expect(200);
    let value = |key: &str| node.ask(&get(format!("/v1/kv/{key}"))).expect(200).body;
    set("odd/empty", b"");
    assert_eq!(value("odd/empty"), b"");
    set("odd/bytes", &[0, 0xff, 0xfe]);
    assert_eq!(value("odd/bytes"), [0, 0xff, 0xfe]);
    set("odd/%00%0a%20", b"control");
    assert_eq!(value("odd/%00%0A%20"), b"control");
    set("odd/../..%2Fetc", b"no path");
    assert_eq!(value("odd%2F..%2F..%2Fetc"), b"no path");
    node.ask(&post("/write", r#"{"odd/n":1,"odd/t":"1","odd/o":{"a":[null,true]},"odd/e":""}"#))
        .expect(200);
    let read = ["odd/n", "odd/t", "odd/o", "odd/e"].map(value);
    assert_eq!(read, [&b"1"[..], b"1", br#"{"a":[null,true]}"#, b""]);
    // The last of two members of one name counts, as in most readers of JSON.
    node.ask(&post("/write", r#"{"odd/twice":1,"odd/twice":2}"#)).expect(200);
    assert_eq!(value("odd/twice"), b"2");
    let (index, _) = shared.cluster.wait_all_caught_up();
    let hashes = eventually("all nodes agree", SOON, || {
        let beats: Option<Vec<Json>> = shared.cluster.nodes.iter().map(Node::heartbeat).collect();
        beats
            .map(|beats| beats.iter().map(|beat| beat["applied_index"].clone()).collect::<Vec<_>>())
    });
    assert!(hashes.iter().all(|applied| applied.as_u64() >= Some(index)));
}
