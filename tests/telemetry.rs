//! The table of metrics against what is rendered, its own rules and the reference page.
//!
//! What a real cluster shows is in `tests/metrics.rs`.

#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bitacora::config::TimingConfig;
use bitacora::telemetry::Metrics;
use bitacora::telemetry::endpoints::template;
use bitacora::telemetry::metrics::{
    self, AckResult, ENDPOINTS, METRICS, MetricKind, WriteOp, WriteResult,
};
use bitacora::types::{ClusterId, NodeName};

#[test]
fn the_reference_page_is_made_from_the_table() {
    let (path, content) = ("docs/metrics.md", metrics::reference());
    if std::env::var_os("UPDATE_GENERATED").is_some() {
        std::fs::write(path, &content).unwrap();
    }
    let found = std::fs::read_to_string(path).unwrap_or_default();
    let command = "UPDATE_GENERATED=1 cargo test --test telemetry";
    assert!(found == content, "{path} is not what the table says; run: {command}");
}

#[test]
fn every_name_follows_the_rules_t1() {
    let mut names = BTreeSet::new();
    for row in METRICS {
        assert!(names.insert(row.name), "{} is there twice", row.name);
        let ours = ["bitacora_", "process_"].iter().any(|prefix| row.name.starts_with(prefix));
        assert!(ours, "{}", row.name);
        assert_eq!(row.kind == MetricKind::Counter, row.name.ends_with("_total"), "{}", row.name);
        assert!(row.help.ends_with('.'), "{}", row.name);
        if let MetricKind::Histogram(buckets) = row.kind {
            assert!(buckets.bounds().is_sorted());
            let unit = row.name.ends_with("_seconds") || row.name.ends_with("_entries");
            assert!(unit, "{}", row.name);
        }
    }
}

/// Names of labels by metric, as rendered, and whether every value is 0.
fn rendered(text: &str) -> BTreeMap<String, BTreeSet<String>> {
    let mut families: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for line in text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        let (series, _) = line.rsplit_once(' ').unwrap();
        let (name, labels) = series.split_once('{').unwrap_or((series, ""));
        let histogram = METRICS.iter().find(|row| {
            let ends = ["_bucket", "_sum", "_count"];
            matches!(row.kind, MetricKind::Histogram(_))
                && name.strip_prefix(row.name).is_some_and(|rest| ends.contains(&rest))
        });
        let family = histogram.map_or(name, |row| row.name);
        let labels = labels.trim_end_matches('}').split(',').filter(|label| !label.is_empty());
        let names = labels.map(|label| label.split_once('=').unwrap().0.to_owned());
        families.entry(family.to_owned()).or_default().extend(names);
    }
    families
}

#[test]
fn every_row_is_rendered_with_its_kind_and_labels_and_nothing_else_is_t4() {
    let metrics = Metrics::new();
    let node2: NodeName = "node2".parse().unwrap();
    metrics.peer(&node2);
    metrics.show_peers(&[&node2]);
    metrics.show_cluster(ClusterId::from_bytes([7; 16]), &node2);
    let text = metrics.render();
    let mut families = rendered(&text);
    for row in METRICS {
        let kind = match row.kind {
            MetricKind::Counter => "counter",
            MetricKind::Gauge => "gauge",
            MetricKind::Histogram(_) => "histogram",
        };
        assert!(text.contains(&format!("# TYPE {} {kind}\n", row.name)), "{}\n{text}", row.name);
        let mut labels = families.remove(row.name).unwrap();
        labels.remove("le");
        let expected: BTreeSet<String> = row.labels.iter().map(|&name| name.to_owned()).collect();
        assert_eq!(labels, expected, "{}", row.name);
    }
    assert!(families.is_empty(), "not in the table: {families:?}");
    assert!(!text.contains("summary"));
}

#[test]
fn every_combination_exists_from_the_start_and_all_of_them_are_few_t4() {
    let metrics = Metrics::new();
    let text = metrics.render();
    let rejected = "bitacora_writes_total{op=\"delete\",result=\"rejected\"} 0";
    assert!(text.contains(rejected), "{text}");
    assert!(text.contains("bitacora_snapshots_total{op=\"install\",result=\"error\"} 0"));
    assert!(!text.contains("peer=\""), "nobody leads yet");
    let (node2, node3): (NodeName, NodeName) = ("node2".parse().unwrap(), "node3".parse().unwrap());
    metrics.peer(&node2);
    metrics.peer(&node3);
    metrics.show_peers(&[&node2, &node3]);
    let text = metrics.render();
    let is_series = |line: &&str| !line.is_empty() && !line.starts_with('#');
    let series = text.lines().filter(is_series).count();
    assert!(series <= 1000, "{series} series, expected at most 1000");
}

#[test]
fn two_nodes_in_one_process_count_for_themselves() {
    let (one, two) = (Metrics::new(), Metrics::new());
    one.writes.increment(WriteOp::Put, WriteResult::Ok);
    let series = |count| format!("bitacora_writes_total{{op=\"put\",result=\"ok\"}} {count}\n");
    assert!(one.render().contains(&series(1)));
    assert!(two.render().contains(&series(0)));
}

#[test]
fn an_answered_request_is_counted_under_its_template_and_code() {
    let metrics = Metrics::new();
    metrics.answered(("GET", "/v1/kv/{key}", 200), Duration::from_millis(3), None);
    metrics.answered(("GET", "/v1/kv/{key}", 418), Duration::from_millis(3), None);
    metrics.answered(("BREW", "/coffee/secret", 405), Duration::from_millis(3), None);
    let text = metrics.render();
    let line = |method, route, code| {
        let labels = format!("method=\"{method}\",route=\"{route}\",code=\"{code}\"");
        format!("bitacora_http_requests_total{{{labels}}} 1\n")
    };
    assert!(text.contains(&line("GET", "/v1/kv/{key}", 200)), "{text}");
    assert!(text.contains(&line("GET", "/v1/kv/{key}", 418)), "{text}");
    assert!(text.contains(&line("other", "other", 405)), "{text}");
    assert!(!text.contains("coffee"));
    let labels = "method=\"GET\",route=\"/v1/kv/{key}\"";
    let bucket = |le: &str, count| {
        format!("bitacora_http_request_duration_seconds_bucket{{{labels},le=\"{le}\"}} {count}\n")
    };
    assert!(text.contains(&bucket("0.0025", 0)), "{text}");
    assert!(text.contains(&bucket("0.005", 2)), "{text}");
    assert_eq!(ENDPOINTS.last().unwrap().route, "other");
}

#[test]
fn a_peer_is_shown_while_this_node_leads_t5() {
    let metrics = Metrics::new();
    let (node2, node22) = ("node2".parse().unwrap(), "node22".parse().unwrap());
    let peer = metrics.peer(&node2);
    metrics.peer(&node22);
    assert!(!metrics.render().contains("peer=\""), "a candidate has peers too");
    metrics.show_peers(&[&node2, &node22]);
    peer.acks.increment(AckResult::Success);
    peer.lag_entries.set(7);
    assert!(metrics.render().contains("bitacora_replication_lag_entries{peer=\"node2\"} 7\n"));
    metrics.show_peers(&[&node22]);
    let text = metrics.render();
    assert!(!text.contains("peer=\"node2\""), "{text}");
    assert!(text.contains("peer=\"node22\""));
    metrics.show_peers(&[]);
    assert!(!metrics.render().contains("peer=\""));
    metrics.show_peers(&[&node2]);
    let text = metrics.render();
    assert!(text.contains("bitacora_replication_lag_entries{peer=\"node2\"} 0\n"));
    let acks = "bitacora_replication_acks_total{peer=\"node2\",result=\"success\"} 1\n";
    assert!(text.contains(acks));
}

#[test]
fn the_lesser_routes_share_one_histogram_and_keys_count_under_their_template() {
    let metrics = Metrics::new();
    metrics.answered(("GET", "/livez", 200), Duration::from_millis(3), None);
    metrics.answered(("GET", "/v1/cluster", 200), Duration::from_millis(3), None);
    metrics.answered(("PUT", template("/v1/kv/{*key}"), 200), Duration::from_millis(3), None);
    let text = metrics.render();
    let count = |method, route, count| {
        let labels = format!("method=\"{method}\",route=\"{route}\"");
        format!("bitacora_http_request_duration_seconds_count{{{labels}}} {count}\n")
    };
    assert!(text.contains(&count("other", "other", 2)), "{text}");
    assert!(text.contains(&count("PUT", "/v1/kv/{key}", 1)), "{text}");
    assert!(!text.contains("request_duration_seconds_count{method=\"GET\",route=\"/livez\""));
    assert!(text.contains("http_requests_total{method=\"GET\",route=\"/livez\",code=\"200\"} 1"));
}

#[test]
fn times_are_shown_in_seconds_and_so_is_a_counter_of_them() {
    let metrics = Metrics::new();
    metrics.follower.show_timing(&TimingConfig::default());
    metrics.machine.cpu.set(Duration::from_millis(1500));
    metrics.state.snapshot_timestamp.set_unix_ms(1_700_000_000_250);
    let text = metrics.render();
    for line in [
        "bitacora_config_heartbeat_interval_seconds 0.05",
        "bitacora_config_election_timeout_max_seconds 0.3",
        "# TYPE process_cpu_seconds_total counter",
        "process_cpu_seconds_total 1.5",
        "bitacora_snapshot_timestamp_seconds 1700000000.25",
    ] {
        assert!(text.contains(&format!("{line}\n")), "{line}\n{text}");
    }
}

#[test]
fn upkeep_keeps_what_was_recorded() {
    let metrics = Metrics::new();
    for _ in 0..10_000 {
        metrics.wal.fsync_duration.observe(Duration::from_micros(100));
    }
    metrics.upkeep();
    metrics.wal.batch_entries.observe_count(3);
    let text = metrics.render();
    assert!(text.contains("bitacora_wal_fsync_duration_seconds_count 10000\n"), "{text}");
    assert!(text.contains("bitacora_wal_batch_entries_bucket{le=\"4\"} 1\n"), "{text}");
}

#[test]
fn a_held_gauge_comes_back_however_the_work_ends() {
    let metrics = Metrics::new();
    let held = metrics.http_in_flight.hold();
    assert!(metrics.render().contains("bitacora_http_requests_in_flight 1\n"));
    drop(held);
    assert!(metrics.render().contains("bitacora_http_requests_in_flight 0\n"));
}
