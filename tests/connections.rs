//! Clients that are slow, idle, many, or in the middle of something when the node is asked to stop.

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

use bitacora::os::process::raise_open_files;
use support::cluster::Cluster;
use support::http::{Connection, Tail, get, post, put};
use support::load::Load;
use support::process::Signal;
use support::{SOON, eventually, throughout};

/// Far above any election timeout.
const A_WHILE: Duration = Duration::from_secs(2);

#[test]
fn a_client_that_sends_its_head_slowly_is_cut_off() {
    let cluster = Cluster::start(1, &["--header-timeout-ms", "400"]);
    let node = &cluster.nodes[0];
    for begun in ["", "GET /heart", "GET /heartbeat HTTP/1.1\r\nHost: x\r\nX-Slow: "] {
        let mut slow = Connection::open(node.port).unwrap();
        let opened = Instant::now();
        slow.send(begun.as_bytes()).unwrap();
        assert!(slow.is_closed_within(SOON), "{begun:?} was never cut off");
        let after = opened.elapsed();
        assert!(after >= Duration::from_millis(300), "{begun:?} was cut off after {after:?}");
        assert!(after < Duration::from_secs(5), "{begun:?} was cut off after {after:?}");
    }
    // A byte now and then does not buy more time: the whole head has one deadline.
    let mut drip = Connection::open(node.port).unwrap();
    let opened = Instant::now();
    eventually("the one that drips is cut off", SOON, || drip.send(b"G").is_err().then_some(()));
    assert!(opened.elapsed() < Duration::from_secs(5));
    node.ask(&get("/heartbeat")).expect(200);
}

#[test]
fn a_connection_that_is_used_now_and_then_outlives_the_header_timeout() {
    let cluster = Cluster::start(1, &["--header-timeout-ms", "300"]);
    let node = &cluster.nodes[0];
    let mut kept = Connection::open(node.port).unwrap();
    let started = Instant::now();
    let mut requests = 0;
    // Each request comes well within the timeout of the one before it.
    throughout("the connection is kept", Duration::from_secs(1), || {
        requests += 1;
        kept.exchange(&get("/livez")).unwrap().status == 200
    });
    assert!(started.elapsed() > Duration::from_millis(600) && requests > 10);
}

#[test]
fn a_body_that_comes_slowly_gets_408_and_writes_nothing() {
    let cluster = Cluster::three();
    for node in &cluster.nodes {
        let mut slow = Connection::open(node.port).unwrap();
        let head =
            "PUT /v1/kv/slow?timeout=300ms HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nsl";
        let sent = Instant::now();
        slow.send(head.as_bytes()).unwrap();
        slow.patience(SOON);
        let answer = slow.read_response("PUT").unwrap().expect(408);
        let took = sent.elapsed();
        assert!((Duration::from_millis(250)..Duration::from_secs(5)).contains(&took), "{took:?}");
        assert_eq!(
            (answer.code(), answer.outcome()),
            ("body_timeout".into(), "not_applied".into())
        );
        node.ask(&get("/v1/kv/slow")).expect(404);
    }
}

#[test]
fn two_thousand_idle_connections_keep_neither_clients_nor_peers_out() {
    const IDLE: usize = 2000;
    let files = raise_open_files().unwrap();
    assert!(files > IDLE as u64 + 200, "this test needs more open files than {files}");
    let cluster = Cluster::three();
    let leader = cluster.leader();
    let term = cluster.nodes[leader].heartbeat().unwrap()["term"].clone();
    for attacked in [leader, cluster.followers()[0]] {
        let node = &cluster.nodes[attacked];
        let mut idle = Vec::new();
        for number in 0..IDLE {
            let connection = Connection::open(node.port);
            idle.push(connection.unwrap_or_else(|error| panic!("connection {number}: {error}")));
        }
        let open = || node.metric("bitacora_http_connections", "");
        eventually("the node is at its limit", SOON, || (open() >= 1000.0).then_some(()));
        assert!(open() <= 1024.0, "{} connections are open", open());
        // A client that comes now is served, and writes reach the followers.
        throughout("clients are served", A_WHILE, || {
            node.ask(&put("/v1/kv/crowd", "here")).status == 200
        });
        node.ask(&put("/v1/kv/crowd?acks=all", "everywhere")).expect(200);
        // The longest idle ones had to go.
        assert!(idle[0].is_closed_within(SOON), "the first connection is still open");
        assert!(!idle[IDLE - 1].is_closed_within(Duration::from_millis(50)));
    }
    for node in &cluster.nodes {
        let beat = node.heartbeat().unwrap();
        assert_eq!(beat["term"], term, "there was an election");
    }
}

#[test]
fn a_reader_of_the_log_that_has_stalled_holds_up_nobody() {
    let cluster = Cluster::three();
    let node = &cluster.nodes[cluster.leader()];
    let mut stalled = Connection::open(node.port).unwrap();
    stalled.send(&get("/v1/log?follow=true&from=0").bytes()).unwrap();
    let mut reading = Tail::open(node.port, 0, false).unwrap();
    // Far more than the buffers of a connection hold.
    let value = vec![b'v'; 400 << 10];
    let mut last = 0;
    for number in 0..40 {
        let target = format!("/v1/kv/large/{}", number % 4);
        let receipt = node.ask(&put(target, value.clone())).expect(200);
        last = receipt.member("index").as_u64().unwrap();
    }
    let seen = eventually("the other reader sees the last write", SOON, || {
        match reading.next(SOON).unwrap() {
            support::http::Next::Entry(entry) => {
                let index = entry["index"].as_u64().unwrap();
                (index >= last).then_some(index)
            }
            support::http::Next::End => panic!("the log ended"),
        }
    });
    assert_eq!(seen, last);
    node.ask(&get("/v1/kv/large/0")).expect(200);
    // The stalled one has missed nothing: it reads on from where it stood.
    stalled.patience(SOON);
    assert_eq!(stalled.read_head().unwrap().status, 200);
    let mut bytes = 0;
    while bytes < 40 * value.len() {
        bytes += stalled.chunk().unwrap().expect("the stream goes on").len();
    }
}

#[test]
fn a_node_that_is_asked_to_stop_answers_what_is_under_way_and_ends_in_time() {
    let mut cluster = Cluster::three();
    let ports: Vec<u16> = cluster.nodes.iter().map(|node| node.port).collect();
    let load = Load::start("drain", &ports, 16);
    for round in 0..3 {
        let acked = load.acked();
        eventually("the load runs", SOON, || (load.acked() > acked + 200).then_some(()));
        let leader = cluster.leader();
        let term = load.newest_term();
        let tail = Tail::open(cluster.nodes[leader].port, 0, false).unwrap();
        let node = &mut cluster.nodes[leader];
        let asked = Instant::now();
        node.process.as_mut().unwrap().signal(Signal::TERM);
        let code = node.wait_for_end(SOON);
        let took = asked.elapsed();
        assert_eq!(code, 0, "round {round}: {}", node.log_text());
        assert!(took < Duration::from_secs(10), "round {round}: the end took {took:?}");
        assert!(node.log_text().contains("\"event\":\"hand_over\""));
        let next =
            eventually("another node takes writes", SOON, || load.first_ack_after_term(term));
        assert!(took < Duration::from_millis(1500), "the load's writes hung for {took:?}");
        println!(
            "SIGTERM: ended after {took:.2?}, the next write was acknowledged {:.0?} after it",
            next.saturating_duration_since(asked)
        );
        drop(tail);
        cluster.nodes[leader].start();
        cluster.wait_until_ready();
    }
    let why = load.why_unknown();
    // `finish` judges every answer: whoever was refused was told that nothing happened.
    let writes = load.finish();
    let lost = writes.iter().filter(|w| w.told == support::history::Told::Unknown).count();
    let hung: Vec<_> = why.keys().filter(|why| why.contains("in time")).collect();
    assert!(hung.is_empty(), "writes hung until their timeout: {hung:?}");
    println!("{lost} of {} got no answer: {why:#?}", writes.len());
    assert!(lost <= 3 * 16, "{lost} of {} got no answer: {why:#?}", writes.len());
}

#[test]
fn a_request_that_waits_when_the_node_is_asked_to_stop_gets_an_answer() {
    let mut cluster = Cluster::three();
    let leader = cluster.leader();
    for follower in cluster.followers() {
        cluster.nodes[follower].pause();
    }
    let mut waiting = Connection::open(cluster.nodes[leader].port).unwrap();
    let request = post("/write?timeout=3s", "{\"a\":\"1\"}");
    waiting.send(&request.bytes()).unwrap();
    eventually("the write is under way", SOON, || {
        let node = &cluster.nodes[leader];
        (node.metric("bitacora_http_requests_in_flight", "") >= 2.0).then_some(())
    });
    let node = &mut cluster.nodes[leader];
    let asked = Instant::now();
    node.process.as_mut().unwrap().signal(Signal::TERM);
    waiting.patience(SOON);
    let answer = waiting.read_response("POST").unwrap();
    assert!(matches!(answer.status, 503 | 504), "{answer}");
    assert!(matches!(answer.outcome().as_str(), "unknown" | "not_applied"), "{answer}");
    assert_eq!(node.wait_for_end(SOON), 0);
    assert!(asked.elapsed() < Duration::from_secs(10), "{:?}", asked.elapsed());
    for node in &mut cluster.nodes {
        if node.process.is_some() {
            node.resume();
        }
    }
}
