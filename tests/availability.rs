//! What clients are told when nodes are missing, and that everything works again when they return.

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

use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};
use support::cluster::{Cluster, Node};
use support::http::{Next, Response, Tail, delete, get, post, put};
use support::load::Load;
use support::process::{Process, command};
use support::{BITACORA, SOON, eventually};

/// What a timeout of one second may take until the client has its answer.
const A_SECOND_AND_SOME: Duration = Duration::from_millis(2500);

fn states(response: &Response) -> Vec<(String, String)> {
    let receipt = match response.member("receipt") {
        Json::Null => response.json(),
        receipt => receipt,
    };
    let text = |value: &Json| value.as_str().unwrap().to_owned();
    let acks = receipt["acks"].as_array().unwrap_or_else(|| panic!("no receipt: {response}"));
    acks.iter().map(|ack| (text(&ack["node"]), text(&ack["state"]))).collect()
}

fn durable(response: &Response) -> usize {
    states(response).iter().filter(|(_, state)| state == "durable").count()
}

/// A node that has no majority: refuses writes and fresh reads in time, serves stale ones.
fn lonely(node: &Node, key: &str, value: &str) {
    let started = Instant::now();
    let write = node.ask(&put(format!("/v1/kv/{key}?timeout=1s"), "lost")).expect(503);
    assert!(started.elapsed() < A_SECOND_AND_SOME, "{:?}", started.elapsed());
    assert_eq!(write.outcome(), "not_applied", "{write}");
    assert!(matches!(write.code().as_str(), "no_quorum" | "no_leader"), "{write}");
    assert!(write.number("retry-after").is_some_and(|after| after >= 1), "{write}");
    assert!(write.member("retry_after_ms").is_u64(), "{write}");

    let started = Instant::now();
    let read = node.ask(&get(format!("/v1/kv/{key}?timeout=1s")));
    assert!(started.elapsed() < A_SECOND_AND_SOME, "{:?}", started.elapsed());
    assert!(matches!(read.status, 503 | 504), "{read}");
    assert_eq!(read.outcome(), "", "a read has no outcome: {read}");

    let stale = || node.ask(&get(format!("/v1/kv/{key}?consistency=stale"))).expect(200);
    let first = stale();
    assert_eq!(first.text(), value);
    assert_eq!(first.header("bitacora-consistency"), Some("stale"));
    let staleness = |response: &Response| response.number("bitacora-staleness-ms").unwrap();
    eventually("the staleness grows", SOON, || {
        (staleness(&stale()) >= staleness(&first) + 100).then_some(())
    });
    node.ask(&get("/v1/kv?consistency=stale")).expect(200);
    node.ask(&get("/v1/log")).expect(200);
    node.ask(&get("/v1/cluster")).expect(200);
    node.ask(&get("/livez")).expect(200);
    let ready = node.ask(&get("/readyz")).expect(503);
    assert_eq!(ready.code(), "not_ready");
    assert!(ready.number("retry-after").is_some(), "{ready}");
}

#[test]
fn a_node_without_a_majority_says_so_in_time_and_serves_again_when_the_others_return() {
    for leader_stays in [true, false] {
        let mut cluster = Cluster::three();
        let leader = cluster.leader();
        let stays = if leader_stays { leader } else { cluster.followers()[0] };
        cluster.nodes[stays].ask(&put("/v1/kv/k?acks=all", "before")).expect(200);
        cluster.wait_all_caught_up();
        let gone: Vec<usize> = (0..3).filter(|place| *place != stays).collect();
        for place in &gone {
            cluster.nodes[*place].kill();
        }
        let node = &cluster.nodes[stays];
        eventually("the node notices", SOON, || (!node.is_ready()).then_some(()));
        lonely(node, "k", "before");
        for place in &gone {
            cluster.nodes[*place].start();
        }
        cluster.wait_until_ready();
        for node in &cluster.nodes {
            assert_eq!(node.ask(&get("/v1/kv/k")).expect(200).text(), "before");
        }
        cluster.nodes[stays].ask(&put("/v1/kv/k?acks=all", "after")).expect(200);
        cluster.wait_all_caught_up();
    }
}

#[test]
fn the_very_first_write_after_the_majority_died_gets_an_honest_answer_in_time() {
    let mut cluster = Cluster::three();
    let leader = cluster.leader();
    for place in cluster.followers() {
        cluster.nodes[place].kill();
    }
    let started = Instant::now();
    let write = cluster.nodes[leader].ask(&put("/v1/kv/k?timeout=1s", "v"));
    assert!(started.elapsed() < A_SECOND_AND_SOME, "{:?}", started.elapsed());
    // Proposed while the leader still believed in its majority: unknown. Else refused.
    let said = (write.status, write.outcome());
    let honest = [(503, "not_applied".to_owned()), (504, "unknown".to_owned())];
    assert!(honest.contains(&said), "{write}");
}

#[test]
fn a_paused_follower_is_pending_and_only_a_write_that_wants_it_waits() {
    let mut cluster = Cluster::three();
    let leader = cluster.leader();
    let everywhere = cluster.nodes[leader].ask(&put("/v1/kv/k?acks=all", "1")).expect(200);
    let names: Vec<String> = states(&everywhere).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["node1", "node2", "node3"]);
    assert_eq!(durable(&everywhere), 3);
    let receipt = everywhere.json();
    assert_eq!((&receipt["quorum"], &receipt["voters"]), (&json!(2), &json!(3)));
    for ack in receipt["acks"].as_array().unwrap() {
        let role =
            if ack["node"] == cluster.nodes[leader].name.as_str() { "leader" } else { "follower" };
        assert_eq!(ack["role"], role);
        let ms = ack["ms"].as_f64().unwrap();
        assert!((0.0..20_000.0).contains(&ms), "{ack}");
    }

    let paused = cluster.followers()[0];
    cluster.nodes[paused].pause();
    let started = Instant::now();
    let all = cluster.nodes[leader].ask(&put("/v1/kv/k?acks=all&timeout=1s", "2")).expect(504);
    let took = started.elapsed();
    assert!(took >= Duration::from_millis(900) && took < A_SECOND_AND_SOME, "{took:?}");
    assert_eq!((all.code(), all.outcome()), ("timeout".into(), "applied".into()), "{all}");
    let pending: Vec<_> =
        states(&all).into_iter().filter(|(_, state)| state == "pending").collect();
    assert_eq!(pending, [(cluster.nodes[paused].name.clone(), "pending".to_owned())]);
    assert_eq!(durable(&all), 2);
    // What was applied is there, at the index of the receipt.
    let read = cluster.nodes[leader].ask(&get("/v1/kv/k")).expect(200);
    assert_eq!(read.text(), "2");
    let index = all.member("receipt")["index"].clone();
    assert_eq!(read.header("etag"), Some(format!("\"{index}\"").as_str()));

    let two = cluster.nodes[leader].ask(&put("/v1/kv/k?acks=2&timeout=1s", "3")).expect(200);
    assert_eq!(durable(&two), 2);
    cluster.nodes[leader].ask(&put("/v1/kv/k", "4")).expect(200);
    cluster.nodes[paused].resume();
    let back = cluster.leader();
    let all = cluster.nodes[back].ask(&put("/v1/kv/k?acks=all&timeout=20s", "5")).expect(200);
    assert_eq!(durable(&all), 3);
    cluster.wait_all_caught_up();
}

#[test]
fn every_node_takes_writes_and_reads_and_says_where_the_leader_is_when_it_may_not_forward() {
    let cluster = Cluster::three();
    let leader = cluster.leader();
    let leader_name = cluster.nodes[leader].name.clone();
    for node in &cluster.nodes {
        let name = &node.name;
        let put_it = node.ask(&put(format!("/v1/kv/by/{name}"), name.as_str())).expect(200);
        assert_eq!(put_it.member("created"), json!(true));
        assert_eq!(put_it.header("bitacora-leader"), Some(leader_name.as_str()));
        assert_eq!(put_it.number("bitacora-index"), put_it.member("index").as_u64());
        assert_eq!(put_it.number("bitacora-term"), put_it.member("term").as_u64());
        // At once and everywhere: a fresh read sees what was acknowledged.
        for other in &cluster.nodes {
            let read = other.ask(&get(format!("/v1/kv/by/{name}"))).expect(200);
            assert_eq!(read.text(), *name);
            assert_eq!(read.header("etag"), put_it.header("etag"));
            assert_eq!(read.header("bitacora-consistency"), Some("linearizable"));
            assert_eq!(read.header("content-type"), Some("application/octet-stream"));
        }
        let gone = node.ask(&delete(format!("/v1/kv/by/{name}"))).expect(200);
        assert_eq!(gone.member("deleted"), json!(true));
        let again = node.ask(&delete(format!("/v1/kv/by/{name}"))).expect(200);
        assert_eq!(again.member("deleted"), json!(false));
        node.ask(&get(format!("/v1/kv/by/{name}"))).expect(404);
    }
    let url = format!("http://127.0.0.1:{}", cluster.nodes[leader].port);
    for place in cluster.followers() {
        let node = &cluster.nodes[place];
        for request in [
            put("/v1/kv/k?forward=false&acks=2", "v"),
            post("/write?forward=false&acks=2", "{\"a\":1}"),
            delete("/v1/kv/k?forward=false&acks=2"),
            get("/v1/kv/k?forward=false&timeout=2s"),
        ] {
            let elsewhere = node.ask(&request).expect(307);
            assert_eq!(elsewhere.code(), "not_leader");
            let target = format!("{url}{}", request.target);
            assert_eq!(elsewhere.header("location"), Some(target.as_str()));
        }
    }
    let here = cluster.nodes[leader].ask(&put("/v1/kv/k?forward=false", "v")).expect(200);
    assert_eq!(durable(&here).max(2), durable(&here));
}

#[test]
fn preconditions_hold_or_nothing_happens_on_every_node() {
    let cluster = Cluster::three();
    for node in &cluster.nodes {
        let key = format!("/v1/kv/guarded/{}", node.name);
        let absent = |value: &str| node.ask(&put(&key, value).header("If-None-Match", "*"));
        let first = absent("1").expect(200);
        let etag = first.header("etag").unwrap().to_owned();
        let index = first.member("index");
        let second = absent("2").expect(412);
        assert_eq!(second.code(), "precondition_failed");
        assert_eq!(second.outcome(), "not_applied");
        assert_eq!(second.member("actual"), index);
        let matched = node.ask(&put(&key, "3").header("If-Match", &etag)).expect(200);
        node.ask(&put(&key, "4").header("If-Match", &etag)).expect(412);
        node.ask(&delete(&key).header("If-Match", &etag)).expect(412);
        assert_eq!(node.ask(&get(&key)).expect(200).text(), "3");
        let etag = matched.header("etag").unwrap().to_owned();
        node.ask(&put(&key, "5").header("If-Match", "*")).expect(200);
        node.ask(&delete(&key).header("If-Match", &etag)).expect(412);
        node.ask(&delete(&key).header("If-Match", "*")).expect(200);
        let missing = node.ask(&put(&key, "6").header("If-Match", "*")).expect(412);
        assert_eq!(missing.member("actual"), Json::Null);
        node.ask(&get(&key)).expect(404);
        absent("7").expect(200);
    }
}

#[test]
fn a_client_that_wants_no_receipt_gets_headers_only() {
    let cluster = Cluster::three();
    for node in &cluster.nodes {
        let minimal = |request: support::http::Request| request.header("Prefer", "return=minimal");
        let answer = node.ask(&minimal(put("/v1/kv/k", "v"))).expect(204);
        assert!(answer.body.is_empty());
        assert_eq!(answer.header("preference-applied"), Some("return=minimal"));
        let index = answer.number("bitacora-index").unwrap();
        assert_eq!(answer.header("etag"), Some(format!("\"{index}\"").as_str()));
        node.ask(&minimal(post("/write", "{\"a\":\"1\"}"))).expect(204);
        node.ask(&minimal(delete("/v1/kv/k"))).expect(204);
    }
}

#[test]
fn the_log_has_every_entry_in_order_in_pages_and_tails() {
    let cluster = Cluster::three();
    let node = &cluster.nodes[cluster.followers()[0]];
    let mut tails = [false, true].map(|events| Tail::open(node.port, 0, events).unwrap());
    node.ask(&put("/v1/kv/a", "1")).expect(200);
    node.ask(&put("/v1/kv/b", vec![0xff, 0xfe])).expect(200);
    node.ask(&post("/write", "{\"c\":\"3\",\"d\":4}")).expect(200);
    let last = node.ask(&delete("/v1/kv/a?acks=all")).expect(200).member("index").as_u64().unwrap();
    cluster.wait_all_caught_up();
    let whole = node.whole_log(0);
    let indexes: Vec<u64> = whole.iter().map(|entry| entry["index"].as_u64().unwrap()).collect();
    assert_eq!(indexes, (0..=last).collect::<Vec<_>>());
    for other in &cluster.nodes {
        assert_eq!(other.whole_log(0), whole, "{} has another log", other.name);
    }
    let kinds: Vec<&str> = whole.iter().map(|entry| entry["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds[0], "membership");
    assert_eq!(kinds[kinds.len() - 4..], ["put", "put", "write", "delete"]);
    let [put_a, put_b, write, delete_a] = &whole[whole.len() - 4..] else { panic!() };
    assert_eq!((&put_a["key"], &put_a["value"]), (&json!("a"), &json!("1")));
    assert_eq!((&put_b["key"], &put_b["value_base64"]), (&json!("b"), &json!("//4=")));
    let pairs = json!([{"key": "c", "value": "3"}, {"key": "d", "value": "4"}]);
    assert_eq!(write["pairs"], pairs);
    assert_eq!(delete_a["key"], "a");
    assert!(whole[whole.len() - 1]["time_ms"].is_u64());
    // A page begins where it is told and ends where it is told.
    let page = node.ask(&get("/v1/log?from=1&limit=2")).expect(200);
    assert_eq!(page.header("content-type"), Some("application/x-ndjson"));
    assert_eq!(page.text().lines().count(), 2);
    assert!(page.text().starts_with("{\"index\":1,") || page.text().contains("\"index\":1,"));
    let beyond = node.ask(&get(format!("/v1/log?from={}", last + 1))).expect(200);
    assert!(beyond.body.is_empty());
    let events = get("/v1/log?limit=1").header("Accept", "text/event-stream");
    assert!(node.ask(&events).expect(200).text().starts_with("id: 0\ndata: {"));
    let resumed = get("/v1/log?limit=1").header("Last-Event-ID", "1");
    assert!(node.ask(&resumed).expect(200).text().contains("\"index\":2,"));
    for tail in &mut tails {
        for expected in &whole {
            assert_eq!(tail.next(SOON).unwrap(), Next::Entry(expected.clone()));
        }
    }
    // And what comes later.
    node.ask(&put("/v1/kv/later", "5")).expect(200);
    for tail in &mut tails {
        let Next::Entry(entry) = tail.next(SOON).unwrap() else { panic!("the tail ended") };
        assert_eq!((&entry["index"], &entry["key"]), (&json!(last + 1), &json!("later")));
    }
}

#[test]
fn a_tail_goes_on_at_another_node_without_gap_or_duplicate_when_its_node_dies() {
    let mut cluster = Cluster::start(3, &["--log-keep-entries", "1000000"]);
    let ports: Vec<u16> = cluster.nodes.iter().map(|node| node.port).collect();
    let load = Load::start("tail", &ports, 8);
    let mut seen: Vec<Json> = Vec::new();
    for round in 0..2 {
        let leader = cluster.leader();
        let mut tail = Tail::open(ports[leader], seen.len() as u64, round == 0).unwrap();
        let goal = seen.len() + 300;
        while seen.len() < goal {
            let Next::Entry(entry) = tail.next(SOON).unwrap() else { panic!("the tail ended") };
            seen.push(entry);
        }
        cluster.nodes[leader].kill();
        while let Next::Entry(entry) = tail.next(SOON).unwrap() {
            seen.push(entry);
        }
        let elsewhere = cluster.leader();
        assert_ne!(elsewhere, leader);
        let mut tail = Tail::open(ports[elsewhere], seen.len() as u64, false).unwrap();
        let goal = seen.len() + 300;
        while seen.len() < goal {
            let Next::Entry(entry) = tail.next(SOON).unwrap() else { panic!("the tail ended") };
            seen.push(entry);
        }
        cluster.nodes[leader].start();
        cluster.wait_until_ready();
    }
    load.finish();
    cluster.wait_all_caught_up();
    let whole = cluster.nodes[0].whole_log(0);
    assert!(seen.len() >= 1200 && whole.len() >= seen.len());
    assert!(whole[..seen.len()] == seen[..], "the tail is not the log");
}

/// Small logs: a snapshot every 50 entries, 10 of them kept.
const TRIMMED: [&str; 8] = [
    "--snapshot-entries",
    "50",
    "--log-keep-entries",
    "10",
    "--segment-size-bytes",
    "262144",
    "--body-max-bytes",
    "65536",
];

fn first_index_left(node: &Node) -> Option<u64> {
    let answer = node.ask(&get("/v1/log?from=0"));
    if answer.status == 200 {
        return None;
    }
    assert_eq!((answer.status, answer.code().as_str()), (410, "log_trimmed"), "{answer}");
    let first = answer.member("first_index");
    let first = first.as_u64();
    assert!(first.is_some(), "410 says where the log begins: {answer}");
    first
}

#[test]
fn a_follower_that_missed_what_was_trimmed_gets_a_snapshot_while_writes_go_on() {
    let mut cluster = Cluster::start(3, &TRIMMED);
    let away = cluster.followers()[0];
    cluster.nodes[away].ask(&put("/v1/kv/first?acks=all", "1")).expect(200);
    cluster.nodes[away].kill();
    let behind = {
        let leader = &cluster.nodes[cluster.leader()];
        leader.heartbeat().unwrap()["commit_index"].as_u64().unwrap()
    };
    let ports: Vec<u16> = cluster.running().map(|node| node.port).collect();
    let load = Load::start("trim", &ports, 4);
    let leader = cluster.leader();
    let first = eventually("the log is trimmed beyond the follower", SOON, || {
        first_index_left(&cluster.nodes[leader]).filter(|first| *first > behind + 1)
    });
    let page = cluster.nodes[leader].ask(&get("/v1/log"));
    let begins = page.expect(200).text();
    let begins: Json = serde_json::from_str(begins.lines().next().unwrap()).unwrap();
    assert!(begins["index"].as_u64() >= Some(first), "from= defaults to what is left");
    let before = load.acked();
    cluster.nodes[away].start();
    eventually("the follower caught up by a snapshot", SOON, || {
        let applied = cluster.nodes[away].heartbeat()?["applied_index"].as_u64()?;
        (applied > first && cluster.nodes[away].is_ready()).then_some(())
    });
    assert!(load.acked() > before, "writes went on");
    // It cannot have come from the log: that no longer has what the follower missed.
    assert!(first_index_left(&cluster.nodes[away]).is_some_and(|left| left > behind + 1));
    eventually("more writes go on", SOON, || (load.acked() > before + 200).then_some(()));
    load.finish();
    cluster.wait_all_caught_up();
    assert_eq!(
        cluster.nodes[away].ask(&get("/v1/kv/first?consistency=stale")).expect(200).text(),
        "1"
    );
    // The snapshot also carries a restart of that follower.
    assert_eq!(cluster.nodes[away].stop(), 0);
    cluster.nodes[away].start();
    cluster.wait_until_ready();
    cluster.wait_all_caught_up();
}

#[test]
fn a_follower_whose_disk_was_lost_refuses_to_start_and_votes_for_nobody() {
    let mut cluster = Cluster::three();
    let wiped = cluster.followers()[0];
    cluster.nodes[wiped].ask(&put("/v1/kv/k?acks=all", "v")).expect(200);
    cluster.nodes[wiped].kill();
    std::fs::remove_dir_all(&cluster.nodes[wiped].data_dir).unwrap();
    cluster.nodes[wiped].start();
    let code = cluster.nodes[wiped].wait_for_end(SOON);
    assert_eq!(code, 1);
    let said = cluster.nodes[wiped].log_text();
    assert!(
        said.contains("data directory is empty") && said.contains("restore the data"),
        "{said}"
    );

    // With only one other node it can reach, it still must not become the second vote.
    let leader = cluster.leader();
    let term = cluster.nodes[leader].heartbeat().unwrap()["term"].as_u64();
    let survivor = (0..3).find(|place| *place != leader && *place != wiped).unwrap();
    cluster.nodes[leader].kill();
    cluster.nodes[wiped].start();
    assert_eq!(cluster.nodes[wiped].wait_for_end(SOON), 1);
    let alone = cluster.nodes[survivor].heartbeat().unwrap();
    assert_ne!(alone["role"], "leader");
    assert_eq!(alone["term"].as_u64(), term, "pre-vote keeps the term of a lonely candidate");
    cluster.nodes[leader].start();
    eventually("the two that kept their disks serve", SOON, || cluster.find_leader());
    let read = cluster.nodes[survivor].ask(&get("/v1/kv/k")).expect(200);
    assert_eq!(read.text(), "v");
}

#[test]
fn a_second_process_on_a_data_directory_is_refused() {
    let cluster = Cluster::start(1, &[]);
    let node = &cluster.nodes[0];
    let log = cluster.path().join("second.log");
    let mut second = command(BITACORA);
    second.args(["serve", "--listen", &format!("127.0.0.1:{}", cluster.ports.at(5))]);
    second.args(["--data-dir", node.data_dir.to_str().unwrap()]);
    let status = Process::start(second, &log).wait(SOON);
    assert_eq!(status.code(), Some(1));
    let said = std::fs::read_to_string(&log).unwrap();
    assert!(said.contains("in use by another process"), "{said}");
    node.ask(&put("/v1/kv/k", "v")).expect(200);
    let (code, said) = check(&node.data_dir, cluster.path());
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("a running node uses this directory"), "{said}");
}

/// `bitacora check`: exit code and words.
fn check(data_dir: &Path, scratch: &Path) -> (i32, String) {
    let log = scratch.join("check.out");
    let _ = std::fs::remove_file(&log);
    let mut check = command(BITACORA);
    check.arg("check").arg(data_dir);
    let status = Process::start(check, &log).wait(SOON);
    (status.code().unwrap(), std::fs::read_to_string(&log).unwrap())
}

/// The segment that the marker was written into, and where.
fn find(dir: &Path, marker: &[u8]) -> (PathBuf, u64) {
    let files = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    for file in files.filter(|file| file.is_file()) {
        let bytes = std::fs::read(&file).unwrap();
        if let Some(at) = bytes.windows(marker.len()).position(|window| window == marker) {
            return (file, at as u64);
        }
    }
    panic!("the marker is nowhere in {}", dir.display());
}

#[test]
fn a_damaged_log_is_told_apart_from_a_whole_one_and_its_node_refuses_to_start() {
    let mut cluster = Cluster::three();
    let damaged = cluster.followers()[0];
    let marker = "a value that can be found again on disk";
    cluster.nodes[damaged].ask(&put("/v1/kv/marked?acks=all", marker)).expect(200);
    for number in 0..50 {
        cluster.nodes[damaged].ask(&put(format!("/v1/kv/after/{number}"), "more")).expect(200);
    }
    cluster.wait_all_caught_up();
    assert_eq!(cluster.nodes[damaged].stop(), 0);
    let data_dir = cluster.nodes[damaged].data_dir.clone();
    let (code, said) = check(&data_dir, cluster.path());
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("ok"), "{said}");

    let (file, at) = find(&data_dir.join("log"), marker.as_bytes());
    let file = std::fs::File::options().read(true).write(true).open(file).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 1], at).unwrap();
    drop(file);

    let (code, said) = check(&data_dir, cluster.path());
    assert_eq!(code, 74, "{said}");
    assert!(said.contains("DAMAGED"), "{said}");
    cluster.nodes[damaged].start();
    assert_eq!(cluster.nodes[damaged].wait_for_end(SOON), 74);
    let said = cluster.nodes[damaged].log_text();
    assert!(said.contains("\"event\":\"damaged\""), "{said}");
    // The others have the data and go on.
    let leader = cluster.leader();
    assert_eq!(cluster.nodes[leader].ask(&get("/v1/kv/marked")).expect(200).text(), marker);
    cluster.nodes[leader].ask(&put("/v1/kv/marked", "again")).expect(200);
}
