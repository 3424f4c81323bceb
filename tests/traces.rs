//! Traces as a collector gets them: real nodes, OTLP over HTTP, parents and links checked.

#![allow(
    clippy::pedantic,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test stops at the first surprise"
)]

mod support;

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use support::cluster::Cluster;
use support::collector::{Collector, Span};
use support::http::{get, post, put};
use support::{SOON, eventually};

const CLIENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

/// Three nodes that send their spans to `endpoint`.
fn traced(endpoint: &str, more: &[(&str, &str)]) -> Cluster {
    let mut cluster = Cluster::planned(3, &[]);
    cluster.set_environment(&[
        ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint),
        ("OTEL_BSP_SCHEDULE_DELAY", "20"),
    ]);
    cluster.set_environment(more);
    for node in &mut cluster.nodes {
        node.start();
    }
    cluster.wait_until_ready();
    cluster
}

fn named<'a>(spans: &'a [Span], name: &str) -> Vec<&'a Span> {
    spans.iter().filter(|span| span.name == name).collect()
}

fn only<'a>(spans: &'a [Span], what: &str, is: impl Fn(&Span) -> bool) -> &'a Span {
    let found: Vec<_> = spans.iter().filter(|span| is(span)).collect();
    assert_eq!(found.len(), 1, "{what} in {spans:#?}");
    found[0]
}

#[test]
fn one_write_is_one_tree_from_the_client_over_the_leader_to_every_followers_disk() {
    let collector = Collector::start();
    let cluster = traced(&collector.url(), &[("OTEL_SERVICE_NAME", "logbook")]);
    let leader = cluster.leader();
    let followers = cluster.followers();
    let door = &cluster.nodes[followers[0]];
    let receipt = door.ask(&put("/v1/kv/k", "v").header("traceparent", CLIENT)).expect(200);
    assert_eq!(receipt.member("trace_id"), TRACE);
    assert_eq!(receipt.header("trace-id"), Some(TRACE));

    let is_whole = |spans: &[Span]| {
        named(spans, "wal.fsync").len() == 3
            && named(spans, "PUT /v1/kv/{key}").len() == 2
            // Of each follower the leader's and its own.
            && named(spans, "POST /replicate").len() == 4
            && named(spans, "raft.apply").len() == 3
    };
    let spans = collector.trace(TRACE, is_whole);
    assert!(spans.iter().all(|span| span.service == "logbook" && !span.is_error), "{spans:#?}");

    // The client, the node it asked, the leader.
    let (asked, leads) = (&door.name, &cluster.nodes[leader].name);
    let entry = only(&spans, "the request", |s| s.parent == "00f067aa0ba902b7");
    assert_eq!((&entry.node, entry.kind), (asked, SpanKind::Server));
    let forward = only(&spans, "the way to the leader", |s| s.parent == entry.id);
    assert_eq!((forward.name.as_str(), forward.kind), ("forward", SpanKind::Client));
    let served = only(&spans, "the leader's request", |s| s.parent == forward.id);
    assert_eq!((&served.node, served.kind), (leads, SpanKind::Server));
    let write = only(&spans, "the write", |s| s.parent == served.id);
    assert_eq!(write.name, "kv.write");
    let index = receipt.member("index").to_string();
    assert_eq!(write.attributes["bitacora.raft.index"], index);
    assert!(write.events.contains(&format!("durable on {leads}")), "{write:?}");

    // The leader's log.
    let append = |parent: &str| {
        only(&spans, "a batch", |s| s.parent == parent && s.name == "raft.append").clone()
    };
    let batch = append(&write.id);
    let disk = |batch: &Span| {
        let fsync = only(&spans, "a sync", |s| s.parent == batch.id && s.name == "wal.fsync");
        only(&spans, "an append", |s| s.parent == batch.id && s.name == "wal.append");
        assert!(fsync.began >= batch.began && fsync.ended <= batch.ended, "{fsync:?} {batch:?}");
        assert_eq!(fsync.node, batch.node);
    };
    disk(&batch);
    assert_eq!(batch.links, vec![(TRACE.to_owned(), write.id.clone())]);

    // Each follower: the message, the node that got it, its disk.
    let messages = named(&spans, "POST /replicate");
    let sent: Vec<_> = messages.iter().filter(|s| s.kind == SpanKind::Client).collect();
    let peers: BTreeSet<_> = sent.iter().map(|s| s.attributes["bitacora.peer"].clone()).collect();
    let others: BTreeSet<_> = followers.iter().map(|at| cluster.nodes[*at].name.clone()).collect();
    assert_eq!(peers, others);
    for message in sent {
        assert_eq!((&message.parent, &message.node), (&write.id, leads));
        assert_eq!(message.attributes["bitacora.replication.result"], "success");
        let received = only(&spans, "the message", |s| s.parent == message.id);
        assert_eq!(received.kind, SpanKind::Server);
        assert_eq!(received.node, message.attributes["bitacora.peer"]);
        disk(&append(&received.id));
    }
    // Every node applied it.
    let applied: BTreeSet<_> =
        named(&spans, "raft.apply").iter().map(|span| span.node.clone()).collect();
    assert_eq!(applied.len(), 3);
}

#[test]
fn a_batch_links_the_writes_it_carries_and_they_link_it() {
    let collector = Collector::start();
    let cluster = traced(&collector.url(), &[]);
    let leader = &cluster.nodes[cluster.leader()];
    // Until a batch has carried two: how writes meet is up to the machine.
    let writes = |round: usize| {
        std::thread::scope(|scope| {
            for writer in 0..32 {
                scope.spawn(move || {
                    leader.ask(&put(format!("/v1/kv/{round}-{writer}"), "v")).expect(200)
                });
            }
        });
    };
    let mut round = 0;
    let batch = eventually("a batch with several writes", SOON, || {
        writes(round);
        round += 1;
        let spans = collector.spans();
        let several = |s: &&Span| s.name == "raft.append" && s.links.len() > 1;
        spans.iter().find(several).cloned()
    });
    let linked = |span: &Span, to: &Span| {
        span.links.iter().any(|(trace, id)| *trace == to.trace && *id == to.id)
    };
    for (trace, id) in &batch.links {
        let of_write = |span: &Span| span.id == *id && span.name == "kv.write";
        let spans = collector.trace(trace, |spans| spans.iter().any(of_write));
        let write = only(&spans, "the write of a link", of_write);
        let is_child = batch.parent == write.id && batch.trace == write.trace;
        assert!(is_child || linked(write, &batch), "{write:#?} knows nothing of {batch:#?}");
    }
}

#[test]
fn heartbeats_votes_probes_and_scrapes_have_no_spans() {
    let collector = Collector::start();
    let cluster = traced(&collector.url(), &[("OTEL_TRACES_SAMPLER", "always_on")]);
    for target in ["/metrics", "/livez", "/readyz", "/heartbeat", "/", "/v1/cluster", "/nothing"] {
        let request = get(target).header("traceparent", CLIENT);
        cluster.nodes[0].ask(&request);
    }
    // What comes after them has arrived; so would they have.
    cluster.nodes[0].ask(&put("/v1/kv/last", "v")).expect(200);
    let all = eventually("the write's spans", SOON, || {
        let spans = collector.spans();
        spans.iter().any(|span| span.name == "raft.apply").then_some(spans)
    });
    let names: BTreeSet<_> = all.iter().map(|span| span.name.as_str()).collect();
    let known: BTreeSet<_> = [
        "PUT /v1/kv/{key}",
        "forward",
        "kv.write",
        "raft.append",
        "wal.append",
        "wal.fsync",
        "POST /replicate",
        "raft.apply",
    ]
    .into();
    assert!(names.is_subset(&known), "{names:?}");
    assert!(all.iter().all(|span| span.trace != TRACE), "{all:#?}");
}

#[test]
fn a_linearizable_read_shows_its_barrier_and_a_stale_one_has_none() {
    let collector = Collector::start();
    let cluster = traced(&collector.url(), &[]);
    let leader = &cluster.nodes[cluster.leader()];
    leader.ask(&get("/v1/kv/none").header("traceparent", CLIENT)).expect(404);
    let stale = CLIENT.replace("4bf9", "5bf9");
    leader.ask(&get("/v1/kv/none?consistency=stale").header("traceparent", stale)).expect(404);
    let spans = collector.trace(TRACE, |spans| spans.len() >= 2);
    let request = only(&spans, "the request", |s| s.kind == SpanKind::Server);
    let barrier = only(&spans, "the barrier", |s| s.name == "raft.read_barrier");
    assert_eq!(barrier.parent, request.id);
    assert_eq!(request.attributes["error.type"], "key_not_found");
    assert!(!request.is_error, "a missing key is not the server's failure");
    let spans = collector.trace(&TRACE.replace("4bf9", "5bf9"), |spans| !spans.is_empty());
    assert_eq!(spans.len(), 1, "{spans:#?}");
}

#[test]
fn a_trace_that_its_client_does_not_record_is_told_and_not_recorded() {
    let collector = Collector::start();
    let cluster = traced(&collector.url(), &[]);
    let leader = &cluster.nodes[cluster.leader()];
    let unsampled = CLIENT.replace("-01", "-00");
    let receipt = leader.ask(&put("/v1/kv/k", "v").header("traceparent", &unsampled)).expect(200);
    assert_eq!(receipt.member("trace_id"), TRACE);
    let problem = leader.ask(&post("/write", "no json").header("traceparent", &unsampled));
    let problem = problem.expect(400);
    assert_eq!(problem.member("trace_id"), TRACE);
    assert_eq!(problem.header("trace-id"), Some(TRACE));
    let recorded = leader.ask(&put("/v1/kv/k", "v")).expect(200);
    let recorded = recorded.member("trace_id");
    let spans = collector.trace(recorded.as_str().unwrap(), |s| named(s, "raft.apply").len() == 3);
    assert!(!spans.is_empty());
    assert!(collector.spans().iter().all(|span| span.trace != TRACE));
}

#[test]
fn latencies_link_to_traces_for_those_who_ask_for_open_metrics() {
    let collector = Collector::start();
    let cluster = traced(&collector.url(), &[]);
    let leader = &cluster.nodes[cluster.leader()];
    leader.ask(&put("/v1/kv/k", "v").header("traceparent", CLIENT)).expect(200);
    leader.ask(&get("/v1/kv/k").header("traceparent", CLIENT)).expect(200);
    let ask = get("/metrics").header("accept", "application/openmetrics-text;version=1.0.0;q=0.9");
    let of = |text: &str, metric: &str| {
        let exemplar = format!(" # {{trace_id=\"{TRACE}\"}} ");
        text.lines().any(|line| line.starts_with(metric) && line.contains(&exemplar))
    };
    let text = eventually("both followers' acknowledgements", SOON, || {
        let answer = leader.ask(&ask).expect(200);
        let media = answer.header("content-type").unwrap().to_owned();
        assert_eq!(media, "application/openmetrics-text; version=1.0.0; charset=utf-8");
        let text = answer.text();
        of(&text, "bitacora_replication_ack_duration_seconds_bucket").then_some(text)
    });
    for metric in ["http_request", "write", "read"] {
        assert!(of(&text, &format!("bitacora_{metric}_duration_seconds_bucket")), "{text}");
    }
    assert!(text.ends_with("\n# EOF\n") && !text.contains("\n\n"), "{text}");
    let plain = leader.ask(&get("/metrics")).expect(200);
    assert_eq!(plain.header("content-type").unwrap(), "text/plain; version=0.0.4; charset=utf-8");
    assert!(!plain.text().contains("trace_id") && !plain.text().contains("# EOF"));
}

#[test]
fn without_a_collector_there_are_no_traces_and_a_clients_own_trace_still_comes_back() {
    let cluster = Cluster::three();
    let follower = &cluster.nodes[cluster.followers()[0]];
    let receipt = follower.ask(&put("/v1/kv/k", "v").header("traceparent", CLIENT)).expect(200);
    assert_eq!(receipt.member("trace_id"), TRACE, "through the leader, too");
    let receipt = follower.ask(&put("/v1/kv/k", "v")).expect(200);
    assert_eq!(receipt.member("trace_id"), serde_json::Value::Null);
    let broken = put("/v1/kv/k", "v").header("traceparent", "00-zz-zz-01");
    assert_eq!(follower.ask(&broken).expect(200).header("trace-id"), None);
}

#[test]
fn a_collector_that_is_not_there_costs_spans_and_nothing_else() {
    // A port that nobody listens on.
    let nobody = Collector::start().port;
    let dead = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    assert_ne!(nobody, dead);
    let mut cluster = traced(&format!("http://127.0.0.1:{dead}"), &[]);
    let leader = cluster.leader();
    for key in 0..50 {
        cluster.nodes[leader].ask(&put(format!("/v1/kv/{key}"), "v")).expect(200);
    }
    let dropped =
        |cluster: &Cluster| cluster.nodes[leader].metric("bitacora_trace_spans_dropped_total", "");
    eventually("spans are dropped and counted", SOON, || (dropped(&cluster) > 0.0).then_some(()));
    let lines = cluster.nodes[leader].log_text();
    let told = lines.lines().filter(|line| line.contains("traces_lost")).count();
    assert_eq!(told, 1, "told once, not with every batch: {lines}");
    assert_eq!(cluster.nodes[leader].stop(), 0, "and it still stops in order");
}

#[test]
fn a_setting_that_cannot_be_followed_is_told_and_keeps_no_node_from_starting() {
    let cluster = traced("http://127.0.0.1:9", &[("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")]);
    let by_node: HashMap<_, _> =
        cluster.nodes.iter().map(|node| (&node.name, node.log_text())).collect();
    for (name, text) in by_node {
        assert!(text.contains("traces are off") && text.contains("4318"), "{name}: {text}");
    }
}

#[test]
fn a_write_that_waits_for_all_shows_when_all_had_it() {
    let collector = Collector::start();
    let cluster = traced(&collector.url(), &[]);
    let leader = &cluster.nodes[cluster.leader()];
    leader.ask(&put("/v1/kv/k?acks=all", "v").header("traceparent", CLIENT)).expect(200);
    let spans = collector.trace(TRACE, |spans| !named(spans, "kv.write").is_empty());
    let write = named(&spans, "kv.write")[0];
    for node in &cluster.nodes {
        let event = format!("durable on {}", node.name);
        assert!(write.events.contains(&event), "{event}: {write:#?}");
    }
}

#[test]
fn a_forwarded_request_is_recorded_as_the_node_decided_that_was_asked() {
    let collector = Collector::start();
    let half =
        [("OTEL_TRACES_SAMPLER", "parentbased_traceidratio"), ("OTEL_TRACES_SAMPLER_ARG", "0.5")];
    let cluster = traced(&collector.url(), &half);
    let leader = cluster.nodes[cluster.leader()].name.clone();
    let follower = &cluster.nodes[cluster.followers()[0]];
    for key in 0..60 {
        follower.ask(&put(format!("/v1/kv/{key}"), "v")).expect(200);
    }
    let of_leader = |span: &Span| span.kind == SpanKind::Server && span.node == leader;
    let served = eventually("some of sixty writes are recorded", SOON, || {
        let spans: Vec<_> = collector.spans().into_iter().filter(of_leader).collect();
        (spans.len() >= 10).then_some(spans)
    });
    assert!(served.iter().all(|span| !span.parent.is_empty()), "{served:#?}");
}

#[test]
fn a_strangers_message_makes_no_span() {
    let collector = Collector::start();
    let cluster = traced(&collector.url(), &[]);
    for route in ["/replicate", "/replicar", "/snapshot"] {
        let junk = post(route, "junk").header("traceparent", CLIENT);
        let answer = cluster.nodes[0].ask(&junk);
        assert!(answer.status >= 400, "{answer}");
    }
    cluster.nodes[0].ask(&put("/v1/kv/last", "v")).expect(200);
    eventually("what came after it", SOON, || {
        collector.spans().iter().any(|span| span.name == "raft.apply").then_some(())
    });
    assert!(collector.spans().iter().all(|span| span.trace != TRACE));
}

#[test]
fn a_client_that_goes_away_leaves_a_failed_span_and_is_counted() {
    let collector = Collector::start();
    let mut cluster = traced(&collector.url(), &[]);
    let leader = cluster.leader();
    for follower in cluster.followers() {
        cluster.nodes[follower].pause();
    }
    let node = &cluster.nodes[leader];
    let asked = put("/v1/kv/k", "v").header("traceparent", CLIENT);
    node.try_ask(&asked.within(Duration::from_millis(500))).unwrap_err();
    let spans = collector.trace(TRACE, |spans| !named(spans, "PUT /v1/kv/{key}").is_empty());
    assert!(named(&spans, "PUT /v1/kv/{key}")[0].is_error, "{spans:#?}");
    assert_eq!(node.metric("bitacora_http_requests_total", "code=\"499\""), 1.0);
    assert_eq!(node.metric("bitacora_writes_total", "op=\"put\",result=\"unknown\""), 1.0);
}

#[test]
fn a_follower_that_is_gone_does_not_make_a_trace_grow() {
    let collector = Collector::start();
    let mut cluster = traced(&collector.url(), &[]);
    let (leader, gone) = (cluster.leader(), cluster.followers()[0]);
    cluster.nodes[gone].kill();
    let leader = &cluster.nodes[leader];
    leader.ask(&put("/v1/kv/k", "v").header("traceparent", CLIENT)).expect(200);
    let peer = format!("peer=\"{}\"", cluster.nodes[gone].name);
    let failed = || leader.metric("bitacora_replication_acks_total", &peer);
    let before = failed();
    eventually("many more attempts", SOON, || (failed() >= before + 12.0).then_some(()));
    let tries = collector.spans();
    let tries =
        tries.iter().filter(|s| s.trace == TRACE && s.name == "POST /replicate" && s.is_error);
    assert!((1..=8).contains(&tries.count()), "of a dozen attempts those of the first two seconds");
}
