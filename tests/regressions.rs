//! Bugs that were in the program once, replayed as they were met; `docs/found-bugs.md` tells of
//! each.

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

use std::time::{Duration, Instant};

use bitacora::peer::envelope::{self, Address};
use bitacora::types::{ClusterId, RaftId};
use serde_json::{Value as Json, json};
use support::cluster::{Cluster, Node};
use support::http::{Connection, Request, Response, delete, get, post, put};
use support::process::command;
use support::{BITACORA, SOON, eventually};

const KIB: usize = 1 << 10;
/// For bodies of megabytes on a busy machine.
const LONG: Duration = Duration::from_secs(60);

#[track_caller]
fn refused(response: &Response, status: u16, code: &str) {
    assert_eq!((response.status, response.code().as_str()), (status, code), "{response}");
}

/// The place of the leader and of one follower.
fn pair(cluster: &Cluster) -> (usize, usize) {
    (cluster.leader(), cluster.followers()[0])
}

fn index(receipt: &Response) -> u64 {
    receipt.member("index").as_u64().unwrap()
}

/// One member of a cluster as another one speaks to it.
struct Line {
    cluster: ClusterId,
    from: u64,
    to: u64,
    term: u64,
}

impl Line {
    fn between(cluster: &Cluster, from: usize, to: usize) -> Self {
        let beat = cluster.nodes[to].heartbeat().unwrap();
        Self {
            cluster: beat["cluster_id"].as_str().unwrap().parse().unwrap(),
            // Founding gives ids by the order of names.
            from: from as u64 + 1,
            to: to as u64 + 1,
            term: beat["term"].as_u64().unwrap(),
        }
    }

    fn seal(&self, body: &[u8]) -> Vec<u8> {
        let from = Address { cluster: self.cluster, node: RaftId::new(self.from) };
        envelope::seal(from, RaftId::new(self.to), body).to_vec()
    }

    /// A part of a snapshot that covers up to `last`, as `docs/formats.md` draws it.
    fn snapshot(&self, term: u64, last: u64, total: u64, part: &[u8]) -> Vec<u8> {
        let mut meta = vec![1, 1];
        meta.extend(term.to_le_bytes());
        meta.extend(last.to_le_bytes());
        // The membership: its entry, one config of three voters, and their names and URLs.
        meta.push(1);
        meta.extend(1_u64.to_le_bytes());
        meta.extend(0_u64.to_le_bytes());
        meta.push(1);
        meta.extend(3_u16.to_le_bytes());
        (1..=3_u64).for_each(|id| meta.extend(id.to_le_bytes()));
        meta.extend(3_u16.to_le_bytes());
        for id in 1..=3_u64 {
            meta.extend(id.to_le_bytes());
            meta.extend(0_u16.to_le_bytes());
            meta.extend(0_u16.to_le_bytes());
        }
        let mut body = vec![1];
        body.extend(term.to_le_bytes());
        body.extend(self.from.to_le_bytes());
        body.push(1);
        body.extend(u32::try_from(meta.len()).unwrap().to_le_bytes());
        body.extend(meta);
        body.extend(0_u64.to_le_bytes());
        body.extend(total.to_le_bytes());
        body.extend(part);
        self.seal(&body)
    }

    /// A candidate's question for a vote.
    fn vote(&self, term: u64, candidate: u64) -> Vec<u8> {
        let mut body = vec![1];
        body.extend(term.to_le_bytes());
        body.extend(candidate.to_le_bytes());
        // Not committed; no last entry; no hand-over.
        body.extend([0, 0, 0]);
        self.seal(&body)
    }
}

/// Who the nodes are and what term they are in.
fn terms(cluster: &Cluster) -> Vec<(Json, Json)> {
    let beats = cluster.nodes.iter().map(|node| node.heartbeat().unwrap());
    beats.map(|beat| (beat["pid"].clone(), beat["term"].clone())).collect()
}

/// Everybody runs and takes part: a write that all must have.
fn all_serve(cluster: &Cluster) {
    for node in &cluster.nodes {
        node.ask(&put("/v1/kv/all-serve?acks=all&timeout=20s", node.name.clone())).expect(200);
    }
}

#[test]
fn a_key_with_dot_segments_or_backslashes_is_that_key_on_every_node() {
    let cluster = Cluster::three();
    let (leader, follower) = pair(&cluster);
    let (leader, follower) = (&cluster.nodes[leader], &cluster.nodes[follower]);
    let untouched = leader.ask(&put("/v1/kv/b", "untouched")).expect(200);
    // How it is asked for, and the key that this is.
    let keys = [
        ("a/../b", "a/../b"),
        ("q/%2E%2E/b", "q/../b"),
        ("c/./b", "c/./b"),
        ("../b", "../b"),
        ("d//b", "d//b"),
        (r"x%5Cz", r"x\z"),
        (r"y\..\b", r"y\..\b"),
        ("p%2525", "p%25"),
    ];
    for (through, back) in [(follower, leader), (leader, follower)] {
        for (path, key) in keys {
            let target = format!("/v1/kv/{path}");
            let value = format!("{key} through {}", through.name);
            through.ask(&put(&target, value.clone())).expect(200);
            for reader in [back, through] {
                let read = reader.ask(&get(&target)).expect(200);
                assert_eq!(read.text(), value, "{path} on {}", reader.name);
            }
        }
        let items: Vec<Json> =
            leader.ask(&get("/v1/kv")).expect(200).member("items").as_array().unwrap().clone();
        let mut found: Vec<_> =
            items.iter().map(|item| item["key"].as_str().unwrap().to_owned()).collect();
        let mut expected: Vec<_> = keys.iter().map(|(_, key)| (*key).to_owned()).collect();
        expected.push("b".to_owned());
        found.sort();
        expected.sort();
        assert_eq!(found, expected);
    }
    for (path, _) in keys {
        let gone = follower.ask(&delete(format!("/v1/kv/{path}"))).expect(200);
        assert_eq!(gone.member("deleted"), json!(true), "{path}");
    }
    for node in &cluster.nodes {
        let read = node.ask(&get("/v1/kv/b")).expect(200);
        assert_eq!(read.header("etag"), Some(format!("\"{}\"", index(&untouched)).as_str()));
        // What looks like another route is a key like any other.
        for target in ["/v1/kv/../../metrics", "/v1/kv/%2e%2e/%2E%2E/metrics"] {
            refused(&node.ask(&get(target)), 404, "key_not_found");
        }
        for whole in [".", "..", "%2e", "%2E%2e", ".%2e"] {
            let target = format!("/v1/kv/{whole}");
            for request in [put(&target, "v"), delete(&target), get(&target)] {
                refused(&node.ask(&request), 400, "bad_key");
            }
        }
    }
}

fn hello() -> Request {
    post("/found", r#"{"ask":"hello"}"#)
}

/// An invitation of the right members into another cluster.
fn join(cluster: &Cluster, you: usize) -> Request {
    let url = |node: &Node| format!("http://127.0.0.1:{}", node.port);
    let members = (1..).zip(&cluster.nodes);
    let members: Vec<_> = members
        .map(|(id, node)| json!({"raft_id": id, "name": node.name, "url": url(node)}))
        .collect();
    let question = json!({
        "ask": "join",
        "cluster_id": ClusterId::from_bytes([7; 16]).to_string(),
        "founder": url(&cluster.nodes[0]),
        "members": members,
        "you": you + 1,
    });
    post("/found", question.to_string())
}

#[test]
fn a_node_with_an_identity_never_gives_it_up_not_even_while_it_starts() {
    let mut cluster = Cluster::three();
    let follower = cluster.followers()[0];
    let identity = cluster.nodes[follower].data_dir.join("identity");
    let before = std::fs::read(&identity).unwrap();
    let id = cluster.nodes[follower].heartbeat().unwrap()["cluster_id"].clone();
    let said = cluster.nodes[follower].ask(&hello()).expect(200);
    assert_eq!((said.member("cluster_id"), said.member("begun")), (id.clone(), json!(true)));
    refused(&cluster.nodes[follower].ask(&join(&cluster, follower)), 421, "wrong_cluster");
    assert_eq!(std::fs::read(&identity).unwrap(), before);

    fill(&cluster.nodes[cluster.leader()], 10_000);
    cluster.wait_all_caught_up();
    let join = join(&cluster, follower);
    for round in 0..3 {
        cluster.nodes[follower].kill();
        cluster.nodes[follower].start();
        let node = &cluster.nodes[follower];
        let mut starting = 0;
        eventually("the node has started", SOON, || {
            // Without a pause: the time in question is short.
            loop {
                let joined = node.try_ask(&join).ok()?;
                assert_ne!(joined.status, 200, "round {round}: {joined}");
                let said = node.try_ask(&hello()).ok()?;
                if said.status == 200 {
                    assert_eq!(said.member("cluster_id"), id, "round {round}");
                    return Some(());
                }
                refused(&said, 503, "not_ready");
                starting += 1;
            }
        });
        println!("round {round}: {starting} answers while it was starting");
        assert_eq!(std::fs::read(&identity).unwrap(), before, "round {round}");
        cluster.wait_until_ready();
    }
    all_serve(&cluster);
}

/// So many writes, as fast as some clients can.
fn fill(leader: &Node, entries: usize) {
    const CLIENTS: usize = 16;
    std::thread::scope(|scope| {
        for client in 0..CLIENTS {
            scope.spawn(move || {
                let mut connection = Connection::open(leader.port).unwrap();
                for number in 0..entries / CLIENTS {
                    let key = format!("/v1/kv/fill/{client}/{}?timeout=20s", number % 100);
                    let request = put(key, number.to_string()).within(SOON);
                    connection.exchange(&request).unwrap().expect(200);
                }
            });
        }
    });
}

#[test]
fn a_received_snapshot_of_junk_is_refused_and_the_node_goes_on() {
    let cluster = Cluster::three();
    let (leader, follower) = pair(&cluster);
    let before = terms(&cluster);
    let node = &cluster.nodes[follower];
    let other = cluster.followers()[1];
    // From the leader in its term, and from one who says that it leads the next one.
    for (from, later) in [(leader, 0), (other, 1), (leader, 1)] {
        let line = Line::between(&cluster, from, follower);
        let term = line.term + later;
        for junk in [vec![0xa5; 100], vec![0; 100], b"BSN".repeat(40)] {
            let total = junk.len() as u64;
            let message = line.snapshot(term, 1_000_000, total, &junk);
            refused(&node.ask(&post("/snapshot", message)), 400, "bad_peer_message");
            assert!(node.is_live());
        }
    }
    all_serve(&cluster);
    assert_eq!(terms(&cluster), before, "a node ended or an election began");
    let kept: Vec<_> = std::fs::read_dir(node.data_dir.join("snapshots")).unwrap().collect();
    assert!(kept.is_empty(), "left behind: {kept:?}");
}

#[test]
fn a_snapshot_whose_sender_goes_away_does_not_block_the_next_one() {
    let cluster = Cluster::three();
    let (leader, follower) = pair(&cluster);
    let before = terms(&cluster);
    let node = &cluster.nodes[follower];
    let line = Line::between(&cluster, leader, follower);
    let part = vec![0x5a; 512 * KIB];
    let total = 4 * part.len() as u64;
    let message = line.snapshot(line.term, 1_000_000, total, &part);
    let sent = post("/snapshot", message).bytes();
    // In the middle of the part, and between the part and its answer.
    for length in [sent.len() / 2, sent.len()] {
        for _ in 0..20 {
            let mut connection = Connection::open(node.port).unwrap();
            // The node is not obliged to take it all.
            let _ = connection.send(&sent[..length]);
        }
    }
    // A larger snapshot, later.
    let message = line.snapshot(line.term, 2_000_000, 2 * total, &part);
    let answer = node.ask(&post("/snapshot", message)).expect(200);
    let next = answer.body.last_chunk::<8>().map(|next| u64::from_le_bytes(*next));
    assert_eq!(next, Some(part.len() as u64));
    all_serve(&cluster);
    assert_eq!(terms(&cluster), before, "a node ended or an election began");
}

#[test]
fn a_vote_of_an_absurd_term_or_in_the_name_of_another_node_changes_no_term() {
    let cluster = Cluster::three();
    let before = terms(&cluster);
    for to in 0..3 {
        let from = (to + 1) % 3;
        let line = Line::between(&cluster, from, to);
        let third = (to as u64 + 2) % 3 + 1;
        let next = line.term + 1;
        let cases = [
            (u64::MAX, line.from),
            (u64::MAX - 1, line.from),
            (1 << 48, line.from),
            (next, third),
            (next, line.to),
            (next, 9),
        ];
        for (term, candidate) in cases {
            for route in ["/vote", "/pre-vote"] {
                let said = cluster.nodes[to].ask(&post(route, line.vote(term, candidate)));
                assert_eq!(said.status, 400, "{route} {term} {candidate}: {said}");
                refused(&said, 400, "bad_peer_message");
            }
        }
    }
    all_serve(&cluster);
    assert_eq!(terms(&cluster), before);
}

#[test]
fn a_body_as_large_as_it_may_be_set_to_is_replicated() {
    const BODY_MAX: usize = 16 << 20;
    // Elections are not what this is about: on a busy machine a body like this may cost one.
    let flags = [
        "--body-max-bytes",
        &BODY_MAX.to_string(),
        "--segment-size-bytes",
        "67108864",
        "--election-timeout-min-ms",
        "3000",
        "--election-timeout-max-ms",
        "6000",
    ];
    let cluster = Cluster::start(3, &flags);
    let (leader, follower) = pair(&cluster);
    for (round, (through, members)) in
        [(leader, 24), (follower, 24), (leader, 36)].into_iter().enumerate()
    {
        let value = char::from(b'a' + u8::try_from(round).unwrap()).to_string().repeat(440 * KIB);
        let members: serde_json::Map<_, _> =
            (0..members).map(|at| (format!("large/{at:02}"), json!(value))).collect();
        let body = Json::Object(members).to_string();
        assert!(body.len() > 10 << 20 && body.len() <= BODY_MAX, "{}", body.len());
        let request = post("/write?acks=all&timeout=50s", body).within(LONG);
        cluster.nodes[through].ask(&request).expect(200);
        for node in &cluster.nodes {
            let small = put("/v1/kv/small?acks=all&timeout=20s", round.to_string()).within(SOON);
            node.ask(&small).expect(200);
        }
        for node in &cluster.nodes {
            let read = node.ask(&get("/v1/kv/large/23?consistency=stale")).expect(200);
            assert!(read.body == value.as_bytes(), "{} has another value", node.name);
        }
    }
}

#[test]
fn numbers_keep_their_digits_and_take_no_more_room_than_they_came_with() {
    let cluster = Cluster::three();
    let (leader, follower) = pair(&cluster);
    let node = &cluster.nodes[follower];
    let numbers = [
        ("n", "12345678901234567890123"),
        ("d", "1.10"),
        ("e", "1E5"),
        ("f", "0.1000000000000000055511151231257827"),
        ("z", "-0"),
        ("l", "[1.0,1e15,{\"a\":100000000000000000000}]"),
    ];
    let members: Vec<_> = numbers.iter().map(|(key, text)| format!("\"{key}\":{text}")).collect();
    node.ask(&post("/write", format!("{{{}}}", members.join(", ")))).expect(200);
    for (key, text) in numbers {
        for node in &cluster.nodes {
            let read = node.ask(&get(format!("/v1/kv/{key}"))).expect(200);
            assert_eq!(read.text(), text, "{key} on {}", node.name);
        }
    }
    // Printed again, each of these would be four times as long.
    let list = format!("[{}]", vec!["1e15"; 40_000].join(","));
    let members: Vec<_> = (0..5).map(|at| format!("\"list/{at}\":{list}")).collect();
    let body = format!("{{{}}}", members.join(","));
    assert!(body.len() > 900 * KIB && body.len() < 1024 * KIB);
    let before = terms(&cluster);
    let node = &cluster.nodes[leader];
    let written = || node.metric("bitacora_wal_append_bytes_total", "");
    let (already, length) = (written(), body.len() as f64);
    node.ask(&post("/write?acks=all&timeout=20s", body).within(SOON)).expect(200);
    let grown = written() - already;
    assert!((length * 0.9..length * 1.5).contains(&grown), "{length} bytes became {grown}");
    for node in &cluster.nodes {
        let read = node.ask(&get("/v1/kv/list/4")).expect(200);
        assert!(read.body == list.as_bytes());
    }
    let pids = |terms: Vec<(Json, Json)>| terms.into_iter().map(|(pid, _)| pid).collect::<Vec<_>>();
    assert_eq!(pids(terms(&cluster)), pids(before), "a node ended");
}

#[test]
fn an_idle_node_that_is_asked_to_stop_does_so_at_once() {
    let mut cluster = Cluster::three();
    let (leader, follower) = pair(&cluster);
    stops_at_once(&mut cluster.nodes[follower]);
    stops_at_once(&mut cluster.nodes[leader]);
    stops_at_once(&mut Cluster::start(1, &[]).nodes[0]);
}

fn stops_at_once(node: &mut Node) {
    let asked = Instant::now();
    let code = node.stop();
    let took = asked.elapsed();
    let said = node.log_text();
    assert_eq!(code, 0, "{said}");
    assert!(took < Duration::from_secs(2), "the stop took {took:?}: {said}");
    assert!(said.contains("\"event\":\"stopped\""), "{said}");
}

#[test]
fn unfinished_heads_take_no_more_connections_than_there_may_be() {
    const MAX: usize = 50;
    let cluster = Cluster::start(1, &["--connections-max", &MAX.to_string()]);
    let node = &cluster.nodes[0];
    let sockets = || {
        let files = std::fs::read_dir(format!("/proc/{}/fd", node.pid())).unwrap();
        let names = files.filter_map(|file| std::fs::read_link(file.ok()?.path()).ok());
        names.filter(|name| name.to_string_lossy().starts_with("socket:")).count()
    };
    // What it has without clients: the one it listens on, those of signals.
    let own = eventually("no client is left", SOON, || {
        let open = sockets();
        (open <= 5).then_some(open)
    });
    let mut unfinished = Vec::new();
    for number in 1..=400 {
        let mut connection = Connection::open(node.port).unwrap();
        // Some were chosen to go already.
        let _ = connection.send(b"GET /heartbeat HTTP/1.1\r\nHost: x\r\nX-Un");
        unfinished.push(connection);
        if number % 20 == 0 {
            node.ask(&put("/v1/kv/k", number.to_string())).expect(200);
            let open = sockets();
            assert!(open <= MAX + own + 5, "{open} sockets after {number} connections");
            let counted = node.metric("bitacora_http_connections", "");
            assert!(counted <= MAX as f64 + 10.0, "{counted} after {number} connections");
        }
    }
    assert!(unfinished[0].is_closed_within(SOON), "the first one is still open");
    let counted = node.metric("bitacora_http_connections", "");
    assert!(counted <= MAX as f64 && counted > 10.0, "{counted} connections");
}

#[test]
fn preconditions_that_cannot_be_kept_are_refused_and_not_left_out() {
    let cluster = Cluster::three();
    let (leader, _) = pair(&cluster);
    let first = cluster.nodes[leader].ask(&put("/v1/kv/k", "first")).expect(200);
    let tag = format!("\"{}\"", index(&first));
    let plus = format!("\"+{}\"", index(&first));
    let before = cluster.wait_all_caught_up();
    let write = || post("/write", r#"{"k":"changed","other":"made"}"#);
    let change = || put("/v1/kv/k", "changed");
    let cases = [
        write().header("If-None-Match", "*"),
        write().header("If-Match", "*"),
        write().header("If-Match", &tag),
        write().header("If-Match", &tag).header("If-Match", &tag),
        change().header("If-Match", &tag).header("If-Match", "\"999\""),
        change().header("If-Match", &tag).header("If-Match", &tag),
        change().header("If-None-Match", "*").header("If-None-Match", "*"),
        delete("/v1/kv/k").header("If-Match", &tag).header("If-Match", &tag),
        change().header("If-Match", "\"+1\""),
        change().header("If-Match", &plus),
        delete("/v1/kv/k").header("If-Match", &plus),
    ];
    for node in &cluster.nodes {
        for (number, request) in cases.iter().enumerate() {
            let said = node.ask(request);
            assert_eq!(said.status, 400, "case {number}: {said}");
            refused(&said, 400, "bad_parameter");
            assert_eq!(said.outcome(), "not_applied", "{said}");
        }
    }
    assert_eq!(cluster.wait_all_caught_up(), before);
    // The precondition itself is fine.
    cluster.nodes[leader].ask(&change().header("If-Match", &tag)).expect(200);
}

#[test]
fn the_verb_log_prints_every_entry_also_when_pages_end_by_their_size() {
    let cluster = Cluster::start(1, &[]);
    let node = &cluster.nodes[0];
    for number in 0..10 {
        let value = number.to_string().repeat(400 * KIB);
        node.ask(&put(format!("/v1/kv/large/{number}"), value)).expect(200);
    }
    let whole: Vec<_> = node.whole_log(0).iter().map(|entry| entry["index"].clone()).collect();
    assert!(whole.len() > 10);
    let page = node.ask(&get("/v1/log?limit=100")).expect(200);
    let lines = page.body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).count();
    assert!(lines < whole.len(), "the test is about pages that are cut, this one was whole");
    let mut log = command(BITACORA);
    log.args(["log", "--output", "json", "--url", &format!("http://127.0.0.1:{}", node.port)]);
    let printed = log.output().unwrap();
    assert!(printed.status.success(), "{}", String::from_utf8_lossy(&printed.stderr));
    let printed = String::from_utf8(printed.stdout).unwrap();
    let indexes = printed.lines().map(|line| serde_json::from_str::<Json>(line).unwrap());
    let indexes: Vec<_> = indexes.map(|entry| entry["index"].clone()).collect();
    assert_eq!(indexes, whole);
}

#[test]
fn a_list_of_values_that_grow_as_json_can_be_paged_through_a_follower() {
    const KEYS: usize = 12;
    let cluster = Cluster::three();
    let (leader, follower) = pair(&cluster);
    // One byte becomes six.
    let value = vec![1_u8; 512 * KIB];
    for number in 0..KEYS {
        let request = put(format!("/v1/kv/c/{number:02}?timeout=20s"), value.clone());
        cluster.nodes[leader].ask(&request.within(SOON)).expect(200);
    }
    let mut found = Vec::new();
    let mut cursor = String::new();
    loop {
        let target = format!("/v1/kv?prefix=c/&limit=1000&timeout=30s&cursor={cursor}");
        let page = cluster.nodes[follower].ask(&get(target).within(LONG)).expect(200);
        // It was the leader who read.
        assert_eq!(page.header("bitacora-node"), Some(cluster.nodes[leader].name.as_str()));
        let page = page.json();
        let items = page["items"].as_array().unwrap();
        assert!(!items.is_empty(), "a page without anything");
        for item in items {
            assert!(item["value"].as_str().unwrap().as_bytes() == value);
            found.push(item["key"].as_str().unwrap().to_owned());
        }
        match page["next_cursor"].as_str() {
            Some(next) => next.clone_into(&mut cursor),
            None => break,
        }
    }
    let expected: Vec<_> = (0..KEYS).map(|number| format!("c/{number:02}")).collect();
    assert_eq!(found, expected);
}

#[test]
fn the_log_shows_the_condition_of_a_write_that_it_refused() {
    let cluster = Cluster::three();
    let (leader, follower) = pair(&cluster);
    let node = &cluster.nodes[follower];
    let first = node.ask(&put("/v1/kv/k", "first")).expect(200);
    let wrong = index(&first) + 1000;
    let tag = format!("\"{wrong}\"");
    let cases = [
        (put("/v1/kv/k", "no").header("If-Match", &tag), "if_match", json!(wrong)),
        (put("/v1/kv/k", "no").header("If-None-Match", "*"), "if_none_match", json!("*")),
        (put("/v1/kv/absent", "no").header("If-Match", "*"), "if_match", json!("*")),
        (delete("/v1/kv/k").header("If-Match", &tag), "if_match", json!(wrong)),
    ];
    for (request, _, _) in &cases {
        refused(&node.ask(request), 412, "precondition_failed");
    }
    let last = cluster.nodes[leader].ask(&put("/v1/kv/k", "last")).expect(200);
    cluster.wait_all_caught_up();
    let condition = |entry: &Json| {
        let named = ["if_match", "if_none_match"].into_iter();
        let mut named = named.filter_map(|name| Some((name, entry.get(name)?.clone())));
        named.next()
    };
    for node in &cluster.nodes {
        let log = node.whole_log(index(&first));
        let of = |kinds: &[&str]| {
            let some = |entry: &&Json| kinds.contains(&entry["kind"].as_str().unwrap());
            log.iter().filter(some).map(condition).collect::<Vec<_>>()
        };
        let mut expected = vec![None];
        expected.extend(cases.iter().map(|(_, name, value)| Some((*name, value.clone()))));
        expected.push(None);
        assert_eq!(of(&["put", "delete"]), expected, "on {}", node.name);
        assert_eq!(log.last().unwrap()["index"], last.member("index"));
    }
}
