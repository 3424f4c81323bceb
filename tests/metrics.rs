//! What real nodes show in `GET /metrics`: every row, what moves when a node dies, and how many
//! series there are.

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

use std::collections::BTreeSet;

use bitacora::telemetry::metrics::{METRICS, MetricKind};
use support::cluster::{Cluster, Node};
use support::http::{delete, get, post, put};
use support::load::Load;
use support::{SOON, eventually};

/// So many series may a node have: the contract of docs/metrics.md.
const SERIES_MAX: usize = 1000;
/// Nobody else leads meanwhile, however busy the machine is: what is counted exactly must be
/// counted by one leader.
const CALM: [&str; 4] = ["--election-timeout-min-ms", "3000", "--election-timeout-max-ms", "6000"];

fn text(node: &Node) -> String {
    node.ask(&get("/metrics")).expect(200).text()
}

fn series(text: &str) -> Vec<&str> {
    text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).collect()
}

/// Full names of the metrics that have a series.
fn shown(text: &str) -> BTreeSet<&'static str> {
    let lines = series(text);
    let has = |row: &&bitacora::telemetry::metrics::Row| {
        let suffix = if matches!(row.kind, MetricKind::Histogram(_)) { "_count" } else { "" };
        let name = format!("{}{suffix}", row.name);
        lines.iter().any(|l| l.strip_prefix(&name).is_some_and(|l| l.starts_with(['{', ' '])))
    };
    METRICS.iter().filter(has).map(|row| row.name).collect()
}

fn of_peers(of_peers: bool) -> BTreeSet<&'static str> {
    let rows = METRICS.iter().filter(|row| row.labels.contains(&"peer") == of_peers);
    rows.map(|row| row.name).collect()
}

fn has_peers(node: &Node) -> bool {
    text(node).contains("peer=\"")
}

fn value(node: &Node, name: &str, label: &str) -> f64 {
    node.metric(&format!("bitacora_{name}"), label)
}

/// Waits until a value has grown over what it was.
fn grows(node: &Node, name: &str, label: &str, over: f64) {
    eventually(&format!("{name} {label} of {} grows over {over}", node.name), SOON, || {
        (value(node, name, label) > over).then_some(())
    });
}

/// Every kind of request, through every node.
fn requests(cluster: &Cluster, round: usize) {
    for node in &cluster.nodes {
        let key = format!("/v1/kv/{}-{round}", node.name);
        node.ask(&put(&key, "value")).expect(200);
        node.ask(&put(&key, "again").header("If-None-Match", "*")).expect(412);
        node.ask(&post("/write?acks=all", r#"{"a":"1","b":"2"}"#)).expect(200);
        node.ask(&post("/write", "no json")).expect(400);
        node.ask(&get(&key)).expect(200);
        node.ask(&get(format!("{key}?consistency=stale")));
        node.ask(&get("/v1/kv/nothing")).expect(404);
        node.ask(&get("/v1/kv?limit=3")).expect(200);
        node.ask(&get("/v1/log?limit=3")).expect(200);
        node.ask(&get("/v1/cluster")).expect(200);
        node.ask(&get("/no/such/route")).expect(404);
        node.ask(&delete(&key)).expect(200);
    }
}

#[test]
fn a_leader_shows_every_row_and_a_follower_all_but_those_of_peers_within_the_budget() {
    let cluster = Cluster::three();
    requests(&cluster, 1);
    let ports: Vec<u16> = cluster.nodes.iter().map(|node| node.port).collect();
    let load = Load::start("metrics", &ports, 16);
    eventually("some hundred writes", SOON, || (load.acked() > 500).then_some(()));
    load.finish();
    requests(&cluster, 2);
    let leader = &cluster.nodes[cluster.leader()];
    grows(leader, "runtime_loop_lag_seconds_count", "", 0.0);
    let every = METRICS.iter().map(|row| row.name).collect();
    let of_leader = text(leader);
    assert_eq!(shown(&of_leader), every);
    assert!(!of_leader.contains(" summary"));
    let count = series(&of_leader).len();
    eprintln!("series of a leader: {count}");
    assert!(count <= SERIES_MAX, "{count} series, at most {SERIES_MAX}");
    for place in cluster.followers() {
        let of_follower = text(&cluster.nodes[place]);
        assert_eq!(shown(&of_follower), of_peers(false));
        eprintln!("series of a follower: {}", series(&of_follower).len());
        assert!(series(&of_follower).len() <= SERIES_MAX);
    }
}

#[test]
fn what_clients_do_is_counted_where_it_is_decided() {
    let cluster = Cluster::start(3, &CALM);
    requests(&cluster, 1);
    let leader = &cluster.nodes[cluster.leader()];
    let of = |name, label| value(leader, name, label);
    assert_eq!(of("writes_total", "op=\"put\",result=\"ok\""), 3.0);
    assert_eq!(of("writes_total", "op=\"put\",result=\"rejected\""), 3.0);
    assert_eq!(of("writes_total", "op=\"delete\",result=\"ok\""), 3.0);
    assert_eq!(of("write_bytes_total", ""), 3.0 * 5.0 + 3.0 * 17.0);
    assert_eq!(of("reads_total", "consistency=\"linearizable\",result=\"not_found\""), 3.0);
    assert!(of("read_barrier_duration_seconds_count", "") >= 9.0);
    assert_eq!(of("proposals_pending", ""), 0.0);
    assert_eq!(of("proposals_pending_bytes", ""), 0.0);
    assert!(of("http_received_bytes_total", "") > 1000.0);
    assert!(of("http_sent_bytes_total", "") > 1000.0);
    assert_eq!(of("cluster_members", "role=\"voter\""), 3.0);
    assert_eq!(of("cluster_quorum_size", ""), 2.0);
    let me = format!("node_id=\"{}\"", leader.name);
    assert_eq!(value(leader, "cluster_info", &me), 1.0);
    assert!(of("wal_append_entries_total", "") >= 9.0);
    assert!(of("applied_entries_total", "") >= 9.0);
    grows(leader, "storage_size_bytes", "component=\"log\"", 0.0);
    assert!(of("disk_free_bytes", "") > 0.0);
    assert_eq!(of("raft_state", "state=\"leader\""), 1.0);
    assert_eq!(of("raft_state", ""), 1.0, "one state at a time");
    assert_eq!(of("raft_elections_total", "result=\"won\""), 1.0);
    assert!(of("raft_leader_start_timestamp_seconds", "") > 1.6e9);
    assert_eq!(of("raft_leaderless_seconds", ""), 0.0);
    assert_eq!(of("config_heartbeat_interval_seconds", ""), 0.05);
    assert!(of("log_events_total", "level=\"info\"") >= 1.0);
    let granted: f64 = cluster
        .followers()
        .iter()
        .map(|&place| {
            let node = &cluster.nodes[place];
            assert!(value(node, "forwarded_requests_total", "result=\"ok\"") >= 6.0);
            assert!(value(node, "read_staleness_seconds_count", "") >= 1.0);
            value(node, "raft_votes_total", "kind=\"vote\",result=\"granted\"")
        })
        .sum();
    assert!(granted >= 1.0, "the leader was elected by somebody");

    let mut tail = support::http::Tail::open(leader.port, 1, false).unwrap();
    let _first = tail.next(SOON).unwrap();
    assert_eq!(of("log_tails", ""), 1.0);
    drop(tail);
    assert!(of("log_entries_served_total", "") >= 9.0);
    let ended = || {
        // The node finds out with the next entry that it cannot deliver.
        leader.ask(&put("/v1/kv/more", "x")).expect(200);
        (of("log_tails", "") == 0.0).then_some(())
    };
    eventually("the tail has ended", SOON, ended);
}

#[test]
fn the_phases_of_writes_follow_each_other_and_make_up_their_duration() {
    let cluster = Cluster::start(3, &CALM);
    let leader = &cluster.nodes[cluster.leader()];
    for n in 0..200 {
        leader.ask(&put(format!("/v1/kv/k{}", n % 10), "value")).expect(200);
    }
    let phases = ["queue", "log", "replicate", "apply", "respond"];
    for phase in phases {
        let label = format!("phase=\"{phase}\"");
        assert_eq!(value(leader, "write_phase_duration_seconds_count", &label), 200.0, "{phase}");
    }
    let sum = value(leader, "write_phase_duration_seconds_sum", "");
    let whole = value(leader, "write_duration_seconds_sum", "op=\"put\"");
    assert!(sum <= whole && sum > whole * 0.8, "phases {sum} s, writes {whole} s");
    let log = value(leader, "write_phase_duration_seconds_sum", "phase=\"log\"");
    assert!(log > 0.0, "a disk takes time");
    let quorum = value(leader, "replication_quorum_duration_seconds_sum", "");
    assert!(quorum >= log * 0.99 && quorum <= sum, "quorum {quorum} s, log {log} s, all {sum} s");
}

#[test]
fn a_dead_follower_shows_on_its_leader() {
    let mut cluster = Cluster::three();
    let (leader, follower) = (cluster.leader(), cluster.followers()[0]);
    cluster.nodes[leader].ask(&put("/v1/kv/k", "v")).expect(200);
    let peer = format!("peer=\"{}\"", cluster.nodes[follower].name);
    let failed = |node: &Node| {
        let all = value(node, "replication_acks_total", &peer);
        all - value(node, "replication_acks_total", &format!("{peer},result=\"success\""))
    };
    let of = |node: &Node, name| value(node, name, &peer);
    let acked = of(&cluster.nodes[leader], "replication_last_ack_timestamp_seconds");
    assert!(acked > 1.6e9, "{acked}");
    let (missed, before) = {
        let node = &cluster.nodes[leader];
        (of(node, "heartbeat_misses_total"), failed(node))
    };
    cluster.nodes[follower].kill();
    let node = &cluster.nodes[leader];
    node.ask(&put("/v1/kv/k", vec![b'x'; 10_000])).expect(200);
    grows(node, "heartbeat_misses_total", &peer, missed);
    eventually("an acknowledgement fails", SOON, || (failed(node) > before).then_some(()));
    grows(node, "replication_lag_entries", &peer, 0.0);
    grows(node, "replication_lag_bytes", &peer, 9_999.0);
    grows(node, "replication_lag_seconds", &peer, 0.5);
    cluster.nodes[follower].start();
    cluster.wait_until_ready();
    let node = &cluster.nodes[leader];
    eventually("it has caught up", SOON, || {
        (of(node, "replication_lag_entries") == 0.0 && of(node, "replication_lag_bytes") == 0.0)
            .then_some(())
    });
    assert_eq!(of(node, "replication_lag_seconds"), 0.0);
    assert!(value(&cluster.nodes[follower], "wal_recovered_entries", "") >= 1.0);
}

#[test]
fn followers_miss_a_dead_leader_and_one_that_comes_back_shows_no_peers() {
    let mut cluster = Cluster::three();
    let (old, followers) = (cluster.leader(), cluster.followers());
    eventually("the leader shows its peers", SOON, || has_peers(&cluster.nodes[old]).then_some(()));
    let missed = |place: usize| value(&cluster.nodes[place], "leader_heartbeat_misses_total", "");
    let before: Vec<f64> = followers.iter().map(|&place| missed(place)).collect();
    for &place in &followers {
        let node = &cluster.nodes[place];
        grows(node, "leader_heartbeats_received_total", "", 3.0);
        grows(node, "leader_heartbeat_gap_seconds_count", "", 2.0);
        assert!(value(node, "leader_last_heartbeat_timestamp_seconds", "") > 1.6e9);
        assert!(!has_peers(node), "{} follows", node.name);
    }
    cluster.nodes[old].kill();
    let new = cluster.leader();
    for (&place, before) in followers.iter().zip(before) {
        grows(&cluster.nodes[place], "leader_heartbeat_misses_total", "", before);
        // The first spell was before the first leader.
        grows(&cluster.nodes[place], "raft_election_duration_seconds_count", "", 1.0);
        let lost = value(&cluster.nodes[place], "raft_election_duration_seconds_sum", "");
        assert!(lost > 0.1, "an election waits at least 150 ms, not {lost} s");
    }
    eventually("the new one shows its peers", SOON, || {
        let shown = shown(&text(&cluster.nodes[new]));
        shown.is_superset(&of_peers(true)).then_some(())
    });
    assert_eq!(value(&cluster.nodes[new], "raft_is_leader", ""), 1.0);
    cluster.nodes[old].start();
    cluster.wait_until_ready();
    assert!(!has_peers(&cluster.nodes[old]), "it follows now");
}

#[test]
fn a_deposed_leader_hides_its_peers_and_counts_its_stepdown() {
    let mut cluster = Cluster::three();
    let old = cluster.leader();
    eventually("the leader shows its peers", SOON, || has_peers(&cluster.nodes[old]).then_some(()));
    cluster.nodes[old].pause();
    let others = |place: &usize| *place != old;
    eventually("another one leads", SOON, || {
        let leads = |place: &usize| value(&cluster.nodes[*place], "raft_is_leader", "") == 1.0;
        (0..3).filter(others).find(leads)
    });
    cluster.nodes[old].resume();
    eventually("it steps down", SOON, || {
        (value(&cluster.nodes[old], "raft_stepdowns_total", "") == 1.0).then_some(())
    });
    let node = &cluster.nodes[old];
    eventually("its peers are hidden", SOON, || (!has_peers(node)).then_some(()));
    assert_eq!(value(node, "raft_leader_start_timestamp_seconds", ""), 0.0);
    assert_eq!(value(node, "raft_is_leader", ""), 0.0);
}

#[test]
fn a_node_without_a_majority_has_no_leader_and_says_for_how_long() {
    let mut cluster = Cluster::three();
    let leader = cluster.leader();
    let followers = cluster.followers();
    cluster.nodes[leader].kill();
    cluster.nodes[followers[0]].kill();
    let left = &cluster.nodes[followers[1]];
    eventually("nobody leads it", SOON, || {
        (value(left, "raft_has_leader", "") == 0.0).then_some(())
    });
    grows(left, "raft_leaderless_seconds", "", 0.5);
}

#[test]
fn a_snapshot_is_counted_measured_and_dated() {
    let cluster = Cluster::start(1, &["--snapshot-entries", "100"]);
    let node = &cluster.nodes[0];
    assert_eq!(value(node, "snapshot_timestamp_seconds", ""), 0.0);
    for n in 0..150 {
        node.ask(&put(format!("/v1/kv/k{n}"), "value")).expect(200);
    }
    grows(node, "snapshots_total", "op=\"create\",result=\"ok\"", 0.0);
    grows(node, "snapshot_duration_seconds_count", "op=\"create\"", 0.0);
    grows(node, "snapshot_size_bytes", "", 0.0);
    grows(node, "snapshot_timestamp_seconds", "", 1.6e9);
    grows(node, "storage_size_bytes", "component=\"snapshots\"", 0.0);
}

#[test]
fn a_leader_that_nobody_answers_has_no_leader_either() {
    let mut cluster = Cluster::three();
    let leader = cluster.leader();
    let followers = cluster.followers();
    let has_leader = |node: &Node| value(node, "raft_has_leader", "") > 0.0;
    eventually("the leader is answered", SOON, || has_leader(&cluster.nodes[leader]).then_some(()));
    for follower in &followers {
        cluster.nodes[*follower].pause();
    }
    let alone = &cluster.nodes[leader];
    eventually("it leads nobody", SOON, || (!has_leader(alone)).then_some(()));
    eventually("its time without a leader grows", SOON, || {
        (value(alone, "raft_leaderless_seconds", "") > 0.5).then_some(())
    });
    for follower in &followers {
        cluster.nodes[*follower].resume();
    }
    for node in &cluster.nodes {
        eventually("all have a leader again", SOON, || has_leader(node).then_some(()));
        assert_eq!(value(node, "raft_leaderless_seconds", ""), 0.0);
    }
}

#[test]
fn only_messages_with_entries_count_as_replication() {
    let cluster = Cluster::start(3, &CALM);
    let leader = &cluster.nodes[cluster.leader()];
    for key in 0..50 {
        leader.ask(&put(format!("/v1/kv/{key}"), "v")).expect(200);
    }
    cluster.wait_all_caught_up();
    for place in cluster.followers() {
        let follower = &cluster.nodes[place];
        let peer = format!("peer=\"{}\"", follower.name);
        let entries = value(leader, "replication_entries_total", &peer);
        let acks = value(leader, "replication_acks_total", &peer);
        assert!((50.0..=60.0).contains(&entries) && acks <= entries, "{acks} of {entries}");
        assert_eq!(value(leader, "replication_ack_duration_seconds_count", &peer), acks);
        assert_eq!(value(follower, "append_requests_total", ""), acks);
    }
}
