//! Nodes die under load, and nothing that was acknowledged is lost, doubled or moved.
//!
//! Plain `cargo test` runs a short version. The full figures:
//! `BITACORA_TEST_KILLS=20 BITACORA_TEST_OUTAGES=10 cargo test --release --test failover -- --nocapture`

#![allow(
    clippy::pedantic,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a test stops at the first surprise; real time"
)]

mod support;

use std::time::{Duration, Instant};

use support::cluster::Cluster;
use support::history::{self, Entry, Summary, Told, Write, judge};
use support::load::Load;
use support::{SOON, count_from_environment, eventually, median};

const CLIENTS: usize = 64;
/// Writes that must have been acknowledged since the last fault, before the next one.
const TRAFFIC: u64 = 500;
/// The whole log is read at the end: none of it may be trimmed.
const KEEP_ALL: [&str; 2] = ["--log-keep-entries", "1000000000"];

/// Under load from here on; answers how many writes were acknowledged before.
fn traffic(load: &Load, what: &str) -> u64 {
    let before = load.acked();
    eventually(&format!("{TRAFFIC} writes are acknowledged {what}"), SOON, || {
        (load.acked() >= before + TRAFFIC).then_some(())
    });
    load.acked()
}

fn caught_up(cluster: &Cluster, node: usize) {
    let goal = cluster.nodes[cluster.leader()].heartbeat().unwrap()["commit_index"].as_u64();
    eventually("the node that came back catches up", SOON, || {
        let applied = cluster.nodes[node].heartbeat()?["applied_index"].as_u64();
        (applied >= goal).then_some(())
    });
}

fn report(what: &str, times: &mut [Duration]) -> Duration {
    let median = median(times);
    let (first, last) = (times.first().unwrap(), times.last().unwrap());
    eprintln!("{what}: median {median:.0?}, {first:.0?} to {last:.0?}, {} rounds", times.len());
    median
}

/// Reads everything from every node and judges it.
fn verdict(cluster: &Cluster, writes: &[Write]) -> Summary {
    let (applied, hash) = cluster.wait_all_caught_up();
    let logs: Vec<(String, Vec<Entry>)> = cluster
        .nodes
        .iter()
        .map(|node| (node.name.clone(), node.whole_log(0).iter().map(Entry::of).collect()))
        .collect();
    let summary = judge(writes, &logs).unwrap_or_else(|wrong| {
        let some: Vec<_> = wrong.iter().take(20).collect();
        panic!("{} violations, the first: {some:#?}", wrong.len())
    });
    let expected = history::replay(&logs[0].1);
    assert!(!expected.is_empty());
    for node in &cluster.nodes {
        let found = history::items(&node.whole_kv());
        assert!(found == expected, "the keys of {} are not what its log says", node.name);
    }
    assert_eq!(applied + 1, summary.entries as u64);
    eprintln!("state {hash} at index {applied} on all nodes; {summary:?}");
    summary
}

#[test]
fn no_acknowledged_write_is_lost_or_doubled_when_the_leader_is_killed_under_load() {
    let rounds = count_from_environment("BITACORA_TEST_KILLS", 3);
    let mut cluster = Cluster::start(3, &KEEP_ALL);
    let ports: Vec<u16> = cluster.nodes.iter().map(|node| node.port).collect();
    let load = Load::start("kill", &ports, CLIENTS);
    let (mut takeovers, mut returns) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        traffic(&load, &format!("before kill {round}"));
        let leader = cluster.leader();
        let term = load.newest_term();
        let killed = Instant::now();
        cluster.nodes[leader].kill();
        let acked = eventually("another node acknowledges a write", SOON, || {
            load.first_ack_after_term(term)
        });
        takeovers.push(acked - killed);
        let next = cluster.leader();
        assert_ne!(next, leader, "the fault did not happen: the killed node leads");
        traffic(&load, &format!("with a node missing after kill {round}"));
        let started = Instant::now();
        cluster.nodes[leader].start();
        eventually("the killed node answers", SOON, || cluster.nodes[leader].heartbeat());
        caught_up(&cluster, leader);
        returns.push(started.elapsed());
    }
    traffic(&load, "after the last kill");
    for node in 0..3 {
        assert!(load.acked_by(node) > TRAFFIC, "node {node} took part in the traffic");
    }
    let writes = load.finish();
    let summary = verdict(&cluster, &writes);
    assert!(summary.acked as u64 >= TRAFFIC * 2 * rounds as u64);
    let median = report("kill -9 of the leader to the next acknowledged write", &mut takeovers);
    report("start of the killed node until it caught up", &mut returns);
    assert!(median < Duration::from_secs(5), "a takeover took {median:?}");
}

#[test]
fn every_acknowledged_write_is_on_all_nodes_after_all_were_killed_at_once_under_load() {
    let rounds = count_from_environment("BITACORA_TEST_OUTAGES", 2);
    let mut cluster = Cluster::start(3, &KEEP_ALL);
    let ports: Vec<u16> = cluster.nodes.iter().map(|node| node.port).collect();
    let load = Load::start("outage", &ports, CLIENTS);
    let mut outages = Vec::new();
    for round in 0..rounds {
        traffic(&load, &format!("before outage {round}"));
        for node in &mut cluster.nodes {
            node.process.as_mut().unwrap().strike();
        }
        for node in &mut cluster.nodes {
            node.process.take().unwrap().wait(SOON);
        }
        let acked = load.acked();
        let started = Instant::now();
        cluster.nodes.iter_mut().for_each(support::cluster::Node::start);
        eventually("writes are acknowledged again", SOON, || (load.acked() > acked).then_some(()));
        outages.push(started.elapsed());
        (0..3).for_each(|node| caught_up(&cluster, node));
    }
    traffic(&load, "after the last outage");
    let writes = load.finish();
    let summary = verdict(&cluster, &writes);
    assert!(summary.acked as u64 >= TRAFFIC * rounds as u64);
    report("start of all three until the first acknowledged write", &mut outages);
}

// The judge itself: each violation that it must see, planted into a history that holds.

fn value(value: &str) -> Vec<(String, String)> {
    vec![("k".to_owned(), value.to_owned())]
}

fn write(name: &str, told: Told) -> Write {
    Write { pairs: value(name), told }
}

fn acked(index: u64) -> Told {
    Told::Acked { index, term: 1 }
}

fn good() -> (Vec<Write>, Vec<Entry>) {
    let entry = |index, name: &str| Entry { index, term: 1, pairs: value(name) };
    let writes = vec![
        write("a", acked(1)),
        write("b", acked(2)),
        write("never", Told::NotApplied),
        write("perhaps", Told::Unknown),
        write("perhaps not", Told::Unknown),
    ];
    let leader = Entry { index: 0, term: 1, pairs: Vec::new() };
    (writes, vec![leader, entry(1, "a"), entry(2, "b"), entry(3, "perhaps")])
}

fn judged(writes: &[Write], log: &[Entry]) -> Result<Summary, Vec<String>> {
    judge(writes, &[("n1".to_owned(), log.to_vec()), ("n2".to_owned(), log.to_vec())])
}

#[track_caller]
fn sees(violation: &str, spoil: impl FnOnce(&mut Vec<Write>, &mut Vec<Entry>)) {
    let (mut writes, mut log) = good();
    spoil(&mut writes, &mut log);
    let wrong = judged(&writes, &log).unwrap_err();
    assert!(wrong.iter().any(|w| w.contains(violation)), "{violation:?} is not in {wrong:?}");
}

#[test]
fn the_judge_accepts_a_history_that_holds_and_counts_it() {
    let (writes, log) = good();
    let counted =
        Summary { acked: 2, not_applied: 1, unknown_there: 1, unknown_absent: 1, entries: 4 };
    assert_eq!(judged(&writes, &log), Ok(counted));
}

#[test]
fn the_judge_sees_every_planted_violation() {
    sees("is lost", |_, log| {
        log.remove(3);
        log.remove(2);
    });
    sees("more than once", |_, log| log.push(Entry { index: 4, ..log[1].clone() }));
    sees("more than once", |_, log| log.push(Entry { index: 4, ..log[3].clone() }));
    sees("index 3 where 2 should be", |_, log| drop(log.remove(2)));
    sees("index 1 where 0 should be", |_, log| drop(log.remove(0)));
    sees("index 1 where 2 should be", |_, log| log[2].index = 1);
    sees("is at (2, 1)", |_, log| (log[1].pairs, log[2].pairs) = (value("b"), value("a")));
    sees("was acked at (2, 1), is at (2, 2)", |_, log| log[2].term = 2);
    sees("the term falls", |_, log| log[0].term = 2);
    sees("phantom", |_, log| log[3].pairs = value("nobody wrote this"));
    sees("not to be applied", |_, log| log[3].pairs = value("never"));
    sees("is lost", |_, log| log[2].pairs = value("perhaps not"));
    sees("mixes writes", |_, log| log[3].pairs.extend(value("perhaps not")));
    sees("torn", |writes, _| writes[0].pairs.extend(value("a2")));
    sees("torn", |_, log| log[1].pairs[0].0 = "another key".to_owned());
    sees("twice", |writes, _| writes.push(write("a", Told::Unknown)));
}

#[test]
fn the_judge_sees_that_two_nodes_differ() {
    let (writes, log) = good();
    let shorter = log[..3].to_vec();
    let mut other = log.clone();
    other[3].pairs = value("perhaps not");
    for different in [shorter, other] {
        let logs = [("n1".to_owned(), log.clone()), ("n2".to_owned(), different)];
        let wrong = judge(&writes, &logs).unwrap_err();
        assert!(wrong.iter().any(|w| w.contains("n1 and n2 differ at place 3")), "{wrong:?}");
    }
}

#[test]
fn a_replayed_log_counts_versions_and_keeps_where_a_key_began() {
    let (_, log) = good();
    let keys = history::replay(&log);
    let item = &keys["k"];
    assert_eq!((item.create_index, item.modify_index, item.version), (1, 3, 3));
    assert_eq!(item.value, "perhaps");
}
