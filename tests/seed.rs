//! The seed's contract: its own three environments, in any order, and its own curl line.

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

use support::cluster::Cluster;
use support::http::{get, post};
use support::ports::{self, Ports};
use support::process::command;
use support::{SOON, eventually};

const WRITTEN: &str = r#"{"success":"Datos escritos y replicados exitosamente."}"#;
const NOT_A_LEADER: &str = r#"{"error":"Este nodo no es un líder."}"#;
const NOT_ENOUGH: &str = r#"{"error":"No hay suficientes confirmaciones de seguidores."}"#;
const A_LEADER: &str = r#"{"error":"Este nodo es el líder y no puede replicarse."}"#;
/// `/escribir` says nothing about its timeout: it is the default of 5 s, and some room.
const ESCRIBIR_AT_MOST: Duration = Duration::from_secs(7);

const ORDERS: [[usize; 3]; 6] = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];

/// The variables of the seed's three terminals, with other ports and perhaps one more variable.
fn environments(ports: [u16; 3], more: &[(&str, &str)]) -> Vec<(u16, Vec<(String, String)>)> {
    let [leader, one, two] = ports;
    let followers = format!("[\"http://localhost:{one}\", \"http://localhost:{two}\"]");
    let url = format!("http://localhost:{leader}");
    let nodes: [Vec<(&str, &str)>; 3] = [
        vec![("NODE_ID", "node_1"), ("ES_LIDER", "1"), ("SEGUIDORES", &followers)],
        vec![("NODE_ID", "node_2"), ("ES_LIDER", "0"), ("SEGUIDORES", "[]"), ("URL_LIDER", &url)],
        vec![("NODE_ID", "node_3"), ("ES_LIDER", "0"), ("SEGUIDORES", "[]"), ("URL_LIDER", &url)],
    ];
    let node = |(variables, port): (Vec<(&str, &str)>, u16)| {
        let number = port.to_string();
        let port_variable = ("PUERTO", number.as_str());
        let all = variables.iter().chain([&port_variable]).chain(more);
        let all = all.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        (port, all.collect())
    };
    nodes.into_iter().zip(ports).map(node).collect()
}

fn seed(more: &[(&str, &str)]) -> Cluster {
    let ports = Ports::take();
    let three = [ports.at(0), ports.at(1), ports.at(2)];
    Cluster::from_environments(ports, environments(three, more))
}

/// The seed's curl line, word for word but for the port; status and body.
fn curl(port: u16) -> (String, String) {
    let mut curl = command("curl");
    curl.arg("--location").arg(format!("http://127.0.0.1:{port}/escribir"));
    curl.args(["--header", "Content-Type: application/json", "--data", r#"{"clave":"valor"}"#]);
    // Beside the seed's words, only what shows the status.
    let output = curl.args(["--silent", "--write-out", "\n%{http_code}"]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let (body, status) = text.rsplit_once('\n').unwrap();
    (status.to_owned(), body.to_owned())
}

/// Starts the nodes one after the other, each when the one before it answers.
fn start_in(order: [usize; 3], cluster: &mut Cluster) {
    for place in order {
        cluster.nodes[place].start();
        let node = &cluster.nodes[place];
        eventually(&format!("{} answers", node.name), SOON, || node.is_live().then_some(()));
    }
    cluster.wait_until_ready();
}

fn works_as_the_seed_says(cluster: &Cluster) {
    // The curl line goes to the node that was told to lead: it founds the cluster and leads first.
    let leader = cluster.leader();
    assert_eq!(cluster.nodes[leader].name, "node_1");
    let said = curl(cluster.nodes[leader].port);
    assert_eq!(said, ("200".to_owned(), WRITTEN.to_owned()));
    for place in cluster.followers() {
        let node = &cluster.nodes[place];
        assert_eq!(curl(node.port), ("403".to_owned(), NOT_A_LEADER.to_owned()));
        let read = node.ask(&get("/v1/kv/clave")).expect(200);
        assert_eq!(read.text(), "valor", "what was written is readable on {}", node.name);
    }
}

#[test]
fn the_seeds_three_environments_form_a_cluster_in_every_order_and_its_curl_line_works() {
    for order in ORDERS {
        let mut cluster = seed(&[]);
        start_in(order, &mut cluster);
        works_as_the_seed_says(&cluster);
    }
}

#[test]
fn the_seeds_own_ports_work_too_when_they_are_free() {
    let own = [5000, 5001, 5002];
    if !own.into_iter().all(ports::is_free) {
        println!("one of the ports {own:?} is taken: not tried");
        return;
    }
    let mut cluster = Cluster::from_environments(Ports::take(), environments(own, &[]));
    start_in([0, 1, 2], &mut cluster);
    works_as_the_seed_says(&cluster);
}

#[test]
fn the_seeds_other_words_are_kept() {
    let mut cluster = seed(&[]);
    start_in([0, 1, 2], &mut cluster);
    let leader = &cluster.nodes[cluster.leader()];
    let before = cluster.wait_all_caught_up();
    let refused = leader.ask(&post("/replicar", r#"{"clave":"valor"}"#)).expect(403);
    assert_eq!(refused.text(), A_LEADER);
    assert_eq!(refused.header("content-type"), Some("application/json"));
    for place in cluster.followers() {
        let node = &cluster.nodes[place];
        // The seed's followers took anything; ours take only messages between nodes.
        let refused = node.ask(&post("/replicar", r#"{"clave":"valor"}"#)).expect(400);
        assert!(refused.member("error").is_string(), "{refused}");
        let refused = node.ask(&post("/escribir", r#"{"clave":"valor"}"#)).expect(403);
        assert_eq!(refused.text(), NOT_A_LEADER);
        assert_eq!(refused.header("content-type"), Some("application/json"));
    }
    let bad = leader.ask(&post("/escribir", "clave=valor")).expect(400);
    assert!(bad.member("error").is_string(), "{bad}");
    assert_eq!(cluster.wait_all_caught_up(), before, "something was written");
}

#[test]
fn without_confirmations_a_write_says_so_within_its_time_and_works_again_when_they_return() {
    let mut cluster = seed(&[]);
    start_in([0, 1, 2], &mut cluster);
    let leader = cluster.leader();
    let followers = cluster.followers();
    for place in &followers {
        cluster.nodes[*place].kill();
    }
    let started = Instant::now();
    let said = curl(cluster.nodes[leader].port);
    let took = started.elapsed();
    assert_eq!(said, ("500".to_owned(), NOT_ENOUGH.to_owned()));
    assert!(took < ESCRIBIR_AT_MOST, "{took:?}");
    // Later, when the leader has noticed, the same.
    let said = curl(cluster.nodes[leader].port);
    assert_eq!(said, ("500".to_owned(), NOT_ENOUGH.to_owned()));
    for place in &followers {
        cluster.nodes[*place].start();
    }
    cluster.wait_until_ready();
    let leader = cluster.leader();
    assert_eq!(curl(cluster.nodes[leader].port).0, "200");
}

#[test]
fn two_required_confirmations_need_both_followers() {
    let mut cluster = seed(&[("MIN_CONFIRMACIONES_REQUERIDAS", "2")]);
    start_in([0, 1, 2], &mut cluster);
    let leader = cluster.leader();
    let follower = cluster.followers()[0];
    assert_eq!(curl(cluster.nodes[leader].port), ("200".to_owned(), WRITTEN.to_owned()));
    cluster.nodes[follower].kill();
    let started = Instant::now();
    let said = curl(cluster.nodes[leader].port);
    let took = started.elapsed();
    assert_eq!(said, ("500".to_owned(), NOT_ENOUGH.to_owned()));
    assert!(took < ESCRIBIR_AT_MOST, "{took:?}");
    // One confirmation is enough for the English route: the majority is there.
    cluster.nodes[leader].ask(&post("/write", r#"{"clave":"otro"}"#)).expect(200);
    cluster.nodes[follower].start();
    cluster.wait_until_ready();
    let leader = cluster.leader();
    assert_eq!(curl(cluster.nodes[leader].port), ("200".to_owned(), WRITTEN.to_owned()));
}

#[test]
fn one_required_confirmation_is_no_more_than_the_majority() {
    let mut cluster = seed(&[("MIN_CONFIRMACIONES_REQUERIDAS", "1")]);
    start_in([2, 0, 1], &mut cluster);
    let leader = cluster.leader();
    let follower = cluster.followers()[0];
    cluster.nodes[follower].kill();
    assert_eq!(curl(cluster.nodes[leader].port), ("200".to_owned(), WRITTEN.to_owned()));
}
