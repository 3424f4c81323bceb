//! Options from file, environment, flags and the seed's variables; the example and the reference.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test stops at the first surprise")]

use std::path::{Path, PathBuf};
use std::time::Duration;

use bitacora::config::load::{ServeArgs, load};
use bitacora::config::options::{self, OPTIONS};
use bitacora::config::{
    Config, Founding, LimitsConfig, LogConfig, LogFormat, TelemetryConfig, TimingConfig,
};
use clap::{Args, FromArgMatches};

type Variables<'a> = &'a [(&'a str, &'a str)];

fn owned(variables: Variables<'_>) -> Vec<(String, String)> {
    variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn flags(line: &str) -> ServeArgs {
    let command = ServeArgs::augment_args(clap::Command::new("serve"));
    let matches = command.try_get_matches_from(["serve"].into_iter().chain(line.split(' ')));
    ServeArgs::from_arg_matches(&matches.unwrap()).unwrap()
}

fn from_environment(variables: Variables<'_>) -> Config {
    load(&ServeArgs::default(), owned(variables)).unwrap_or_else(|error| panic!("{error}"))
}

fn refused(variables: Variables<'_>) -> String {
    load(&ServeArgs::default(), owned(variables)).unwrap_err().to_string()
}

fn in_file(text: &str, check: impl Fn(&ServeArgs)) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("bitacora.toml");
    std::fs::write(&path, text).unwrap();
    check(&flags(&format!("--config {}", path.display())));
}

fn generated(path: &str, content: &str) {
    if std::env::var_os("UPDATE_GENERATED").is_some() {
        std::fs::write(path, content).unwrap();
    }
    let found = std::fs::read_to_string(Path::new(path)).unwrap_or_default();
    let command = "UPDATE_GENERATED=1 cargo test --test config";
    assert!(found == content, "{path} is not what the options say; run: {command}");
}

#[test]
fn the_example_and_the_reference_page_are_made_from_the_options() {
    generated("bitacora.example.toml", &options::example());
    generated("docs/configuration.md", &options::reference());
}

#[test]
fn the_example_uncommented_is_the_default_and_has_every_option() {
    let defaults = load(&ServeArgs::default(), []).unwrap();
    assert_eq!(defaults.node.founding, Founding::Alone);
    assert_eq!(defaults.timing, TimingConfig::default());
    assert_eq!(defaults.log, LogConfig::default());
    assert_eq!(defaults.limits, LimitsConfig::default());
    assert_eq!(defaults.telemetry, TelemetryConfig::default());
    let option = |line: &str| {
        line.strip_prefix('#').filter(|rest| !rest.starts_with(' ')).map(str::to_owned)
    };
    let uncommented: Vec<String> = options::example().lines().filter_map(option).collect();
    assert_eq!(uncommented.len(), OPTIONS.len());
    in_file(&uncommented.join("\n"), |args| {
        assert_eq!(load(args, []).unwrap(), defaults);
    });
}

#[test]
fn a_flag_and_a_variable_are_made_from_the_name() {
    for row in OPTIONS {
        assert_eq!(row.flag, row.name.replace('_', "-"));
        assert_eq!(row.variable(), format!("BITACORA_{}", row.name.to_uppercase()));
    }
}

#[test]
fn flags_win_over_the_environment_and_the_environment_over_the_file() {
    in_file("log_level = \"error\"\nproposals_max = 7\nconnections_max = 9", |args| {
        let variables = owned(&[("BITACORA_LOG_LEVEL", "debug"), ("BITACORA_PROPOSALS_MAX", "8")]);
        let config = load(&args.clone().with("log_level", "trace"), variables).unwrap();
        assert_eq!(config.telemetry.log_level, "trace");
        assert_eq!(config.limits.proposals_max, 8);
        assert_eq!(config.limits.connections_max, 9);
    });
    let config = load(&flags("--log-format text --request-timeout-ms 250"), []).unwrap();
    assert_eq!(config.telemetry.log_format, LogFormat::Text);
    assert_eq!(config.limits.request_timeout, Duration::from_millis(250));
}

#[test]
fn unknown_names_are_errors_that_suggest_the_nearest() {
    in_file("\nlog_levle = \"info\"\nbananas = 1\nconfig = \"x\"", |args| {
        let error = load(args, owned(&[("BITACORA_PEER", "")])).unwrap_err().to_string();
        assert!(
            error.contains("line 2, log_levle: no option has this name; did you mean log_level?"),
            "{error}"
        );
        assert!(error.contains("line 3, bananas: no option has this name\n"), "{error}");
        assert!(error.contains("a file cannot name another file"), "{error}");
        assert!(
            error.contains("BITACORA_PEER: no option has this name; did you mean BITACORA_PEERS?"),
            "{error}"
        );
    });
}

#[test]
fn variables_of_an_orchestrator_or_of_the_command_line_are_not_options() {
    from_environment(&[
        ("BITACORA_URL", "http://localhost:5000"),
        ("BITACORA_SERVICE_HOST", "10.0.0.1"),
        ("BITACORA_SERVICE_PORT", "5000"),
        ("BITACORA_SERVICE_PORT_HTTP", "5000"),
        ("BITACORA_PORT", "tcp://10.0.0.1:5000"),
        ("BITACORA_PORT_5000_TCP", "tcp://10.0.0.1:5000"),
        ("BITACORA_PORT_5000_TCP_ADDR", "10.0.0.1"),
    ]);
    assert!(refused(&[("BITACORA_PORT", "5001")]).contains("no option has this name"));
}

#[test]
fn all_violations_are_reported_at_once_with_their_places() {
    let error = refused(&[
        ("BITACORA_LISTEN", "127.0.0.1:0"),
        ("BITACORA_HEARTBEAT_INTERVAL_MS", "80"),
        ("BITACORA_ELECTION_TIMEOUT_MAX_MS", "100"),
        ("BITACORA_SEGMENT_SIZE_BYTES", "1048576"),
        ("BITACORA_CONNECTIONS_MAX", "0"),
        ("BITACORA_LOG_LEVEL", "loud"),
        ("BITACORA_LOG_FORMAT", "xml"),
        ("BITACORA_DATA_DIR", ""),
    ]);
    for expected in [
        "BITACORA_LISTEN: expected an address and a port from 1 to 65535",
        "BITACORA_HEARTBEAT_INTERVAL_MS and election_timeout_min_ms (default): expected",
        "environment BITACORA_ELECTION_TIMEOUT_MAX_MS: expected the minimum",
        "BITACORA_SEGMENT_SIZE_BYTES and body_max_bytes (default): expected a segment",
        "a whole number of connections from 1 to 1000000, found \"0\"",
        "BITACORA_LOG_LEVEL: expected error, warn",
        "BITACORA_LOG_FORMAT: expected json or text",
        "BITACORA_DATA_DIR: expected the path",
    ] {
        assert!(error.contains(expected), "{expected}\nis not in\n{error}");
    }
    assert_eq!(error.lines().count(), 9, "{error}");
}

#[test]
fn a_broken_file_is_reported_with_its_line() {
    in_file("log_level = \"info\"\nlisten = = 3\n", |args| {
        let error = load(args, []).unwrap_err().to_string();
        assert!(error.contains("bitacora.toml line 2: "), "{error}");
    });
    in_file("log_level = 3\nproposals_max = \"3\"\nlisten = \"[::1]:5003\"", |args| {
        let error = load(args, []).unwrap_err().to_string();
        assert!(error.contains("expected a text in quotes (LEVEL), found integer"), "{error}");
        assert!(error.contains("expected a whole number of writes, found string"), "{error}");
    });
    let missing = load(&flags("--config /nonexistent/x.toml"), []).unwrap_err().to_string();
    assert!(missing.contains("file /nonexistent/x.toml: expected a readable"), "{missing}");
}

const PEERS: &str = "node2=http://b:5000, node1=http://a:5000/,node3=http://c:5000";

#[test]
fn with_peers_a_node_finds_its_own_url_among_them() {
    let config = from_environment(&[
        ("BITACORA_PEERS", PEERS),
        ("BITACORA_NODE_ID", "node1"),
        ("BITACORA_LISTEN", "0.0.0.0:5000"),
    ]);
    assert_eq!(config.node.advertise.as_str(), "http://a:5000");
    let Founding::Static(members) = config.node.founding else { panic!("peers make it static") };
    let names: Vec<_> = members.iter().map(|member| member.name.as_str()).collect();
    assert_eq!(names, ["node1", "node2", "node3"]);
}

#[test]
fn peers_must_hold_this_node_once_under_the_url_that_it_advertises() {
    let no_name = refused(&[("BITACORA_PEERS", PEERS)]);
    assert!(no_name.contains("expected node_id, the name of this node in peers"), "{no_name}");
    let stranger = refused(&[("BITACORA_PEERS", PEERS), ("BITACORA_NODE_ID", "node4")]);
    assert!(
        stranger.contains("expected this node among the peers node1, node2, node3"),
        "{stranger}"
    );
    let elsewhere = refused(&[
        ("BITACORA_PEERS", PEERS),
        ("BITACORA_NODE_ID", "node1"),
        ("BITACORA_ADVERTISE", "http://z:5000"),
    ]);
    assert!(elsewhere.contains("expected this node's URL in peers, http://a:5000"), "{elsewhere}");
    let twice = refused(&[("BITACORA_PEERS", "a=http://x:1,b=http://x:1")]);
    assert!(twice.contains("expected every URL once"), "{twice}");
    let same_name = refused(&[("BITACORA_PEERS", "a=http://x:1,a=http://x:2")]);
    assert!(same_name.contains("expected every name once"), "{same_name}");
    let no_sign = refused(&[("BITACORA_PEERS", "http://x:1")]);
    assert!(no_sign.contains("expected name=http://host:port"), "{no_sign}");
}

#[test]
fn a_node_alone_on_every_interface_advertises_this_machine() {
    let config = from_environment(&[("BITACORA_LISTEN", "0.0.0.0:5009")]);
    assert_eq!(config.node.advertise.as_str(), "http://127.0.0.1:5009");
    assert_eq!(config.node.name.as_str(), "node1");
}

#[test]
fn the_seeds_three_commands_make_a_leader_and_two_followers() {
    let leader = from_environment(&[
        ("NODE_ID", "node_1"),
        ("ES_LIDER", "1"),
        ("SEGUIDORES", "[\"http://localhost:5001\", \"http://localhost:5002/\"]"),
        ("PUERTO", "5000"),
    ]);
    let followers =
        ["http://localhost:5001", "http://localhost:5002"].map(|url| url.parse().unwrap());
    assert_eq!(leader.node.founding, Founding::Leader(followers.to_vec()));
    assert_eq!(leader.node.name.as_str(), "node_1");
    assert_eq!(leader.node.listen.to_string(), "127.0.0.1:5000");
    assert_eq!(leader.node.advertise.as_str(), "http://localhost:5000");
    assert_eq!(leader.node.data_dir, PathBuf::from("bitacora-data/node_1"));
    assert_eq!(leader.seed_confirmations, None);
    let follower = from_environment(&[
        ("NODE_ID", "node_2"),
        ("ES_LIDER", "0"),
        ("SEGUIDORES", "[]"),
        ("URL_LIDER", "http://localhost:5000"),
        ("PUERTO", "5001"),
    ]);
    let url = "http://localhost:5000".parse().unwrap();
    assert_eq!(follower.node.founding, Founding::Follower(url));
    assert_eq!(follower.node.advertise.as_str(), "http://localhost:5001");
}

#[test]
fn the_seeds_other_variables_set_confirmations_heartbeats_and_the_directory() {
    let config = from_environment(&[
        ("NODE_ID", "node_1"),
        ("ES_LIDER", "1"),
        ("SEGUIDORES", "[\"http://localhost:5001\"]"),
        ("MIN_CONFIRMACIONES_REQUERIDAS", "1"),
        ("HEARTBEAT_INTERVAL", "0.5"),
        ("HEARTBEAT_TIMEOUT", "2"),
        ("ARCHIVO_LOG", "registro.log"),
    ]);
    assert_eq!(config.seed_confirmations, Some(1));
    assert_eq!(config.timing.heartbeat_interval, Duration::from_millis(500));
    assert_eq!(config.timing.election_timeout_min, Duration::from_secs(2));
    assert_eq!(config.timing.election_timeout_max, Duration::from_secs(4));
    assert_eq!(config.node.data_dir, PathBuf::from("registro.log.d/node_1"));
    let short = from_environment(&[
        ("PUERTO", "5001"),
        ("HEARTBEAT_INTERVAL", "5"),
        ("HEARTBEAT_TIMEOUT", "2"),
    ]);
    assert_eq!(short.timing.election_timeout_min, Duration::from_secs(15));
    assert_eq!(short.node.name.as_str(), "node_5001");
    let only_timeout = from_environment(&[("PUERTO", "5001"), ("HEARTBEAT_TIMEOUT", "0.06")]);
    assert_eq!(only_timeout.timing.heartbeat_interval, Duration::from_millis(20));
}

#[test]
fn the_new_names_win_over_the_seeds_and_the_seeds_count_only_when_asked_for() {
    let config = from_environment(&[
        ("NODE_ID", "node_1"),
        ("PUERTO", "5000"),
        ("BITACORA_LISTEN", "0.0.0.0:6000"),
        ("BITACORA_DATA_DIR", "/var/lib/bitacora"),
    ]);
    assert_eq!(config.node.listen.to_string(), "0.0.0.0:6000");
    assert_eq!(config.node.data_dir, PathBuf::from("/var/lib/bitacora"));
    assert_eq!(config.node.founding, Founding::Alone);
    let ignored = from_environment(&[("HEARTBEAT_INTERVAL", "many"), ("URL_LIDER", "?")]);
    assert_eq!(ignored, from_environment(&[]));
}

#[test]
fn bad_values_of_the_seed_are_named() {
    let error = refused(&[
        ("NODE_ID", "node 1"),
        ("ES_LIDER", "si"),
        ("PUERTO", "70000"),
        ("SEGUIDORES", "http://localhost:5001"),
        ("MIN_CONFIRMACIONES_REQUERIDAS", "-1"),
        ("HEARTBEAT_INTERVAL", "0"),
    ]);
    for name in [
        "NODE_ID",
        "ES_LIDER",
        "PUERTO",
        "SEGUIDORES",
        "MIN_CONFIRMACIONES_REQUERIDAS",
        "HEARTBEAT_INTERVAL",
    ] {
        assert!(error.contains(&format!("environment {name}: ")), "{name}\n{error}");
    }
    let itself = refused(&[("ES_LIDER", "0"), ("URL_LIDER", "http://localhost:5000")]);
    assert!(itself.contains("expected the URLs of other nodes"), "{itself}");
    let nobody = refused(&[("ES_LIDER", "0")]);
    assert!(nobody.contains("environment URL_LIDER: expected the leader's URL"), "{nobody}");
    let too_many = refused(&[
        ("ES_LIDER", "1"),
        ("SEGUIDORES", "[\"http://localhost:5001\"]"),
        ("MIN_CONFIRMACIONES_REQUERIDAS", "2"),
    ]);
    assert!(too_many.contains("expected at most the 1 SEGUIDORES, found 2"), "{too_many}");
}
