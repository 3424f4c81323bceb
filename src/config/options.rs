//! The one table of options: names, limits, words, and where a value goes.
//!
//! Used by `load` (which names exist), `validate` (what a value may be) and by the tests that hold
//! `bitacora.example.toml` and `docs/configuration.md` to it.
//!
//! # Invariants
//! - O1 Every option is one row; its flag is its name with dashes, its variable `BITACORA_` and
//!   its name in capitals.
//! - O2 The default in a row is the default in the code; a test compares them.
//!
//! # Not here
//! Relations between options (`validate`), the seed's names (`seed`).

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::{LimitsConfig, LogConfig, LogFormat, Member, TelemetryConfig, TimingConfig, seed};
use crate::types::{NodeName, NodeUrl};

/// One option.
pub struct OptionRow {
    /// Its name: the key in the file.
    pub name: &'static str,
    /// The flag without its two dashes.
    pub flag: &'static str,
    /// What it means, in one sentence.
    pub doc: &'static str,
    /// The default, as it would stand in the file.
    pub default: &'static str,
    /// What a value may be.
    pub kind: Kind,
}

/// What a value may be and where it goes.
pub enum Kind {
    /// A whole number.
    Number {
        /// What it counts.
        unit: &'static str,
        /// The smallest value.
        min: u64,
        /// The largest value.
        max: u64,
        /// Puts it in its place.
        set: fn(&mut Draft, u64),
    },
    /// A text.
    Text {
        /// What it looks like, for `--help`.
        shape: &'static str,
        /// Puts it in its place or says what was expected and found.
        set: fn(&mut Draft, &str) -> Result<(), String>,
    },
}

impl OptionRow {
    /// The environment variable that sets it.
    pub fn variable(&self) -> String {
        format!("BITACORA_{}", self.name.to_ascii_uppercase())
    }

    /// What a value looks like: a unit or a shape.
    pub fn shape(&self) -> &'static str {
        match self.kind {
            Kind::Number { unit, .. } => unit,
            Kind::Text { shape, .. } => shape,
        }
    }

    /// Puts a value in its place or says what was expected and found.
    pub fn set(&self, draft: &mut Draft, text: &str) -> Result<(), String> {
        match self.kind {
            Kind::Text { set, .. } => set(draft, text),
            Kind::Number { unit, min, max, set } => {
                let number = text.parse::<u64>().ok().filter(|n| (min..=max).contains(n));
                let Some(number) = number else {
                    let expected = format!("a whole number of {unit} from {min} to {max}");
                    return Err(format!("expected {expected}, found {text:?}"));
                };
                set(draft, number);
                Ok(())
            }
        }
    }
}

/// Options as they are being gathered, not yet compared with each other.
#[derive(Debug, Default)]
pub struct Draft {
    /// `node_id`.
    pub name: Option<NodeName>,
    /// `listen`.
    pub listen: Option<SocketAddr>,
    /// `advertise`.
    pub advertise: Option<NodeUrl>,
    /// `peers`.
    pub peers: Vec<Member>,
    /// `data_dir`.
    pub data_dir: Option<PathBuf>,
    /// Heartbeats and elections.
    pub timing: TimingConfig,
    /// The write-ahead log and its snapshots.
    pub log: LogConfig,
    /// What is refused.
    pub limits: LimitsConfig,
    /// What the process prints.
    pub telemetry: TelemetryConfig,
}

const HOUR_MS: u64 = 3_600_000;
const MIB: u64 = 1 << 20;

const fn number(
    names: (&'static str, &'static str),
    default: &'static str,
    (unit, min, max): (&'static str, u64, u64),
    set: fn(&mut Draft, u64),
    doc: &'static str,
) -> OptionRow {
    let (name, flag) = names;
    OptionRow { name, flag, doc, default, kind: Kind::Number { unit, min, max, set } }
}

const fn text(
    names: (&'static str, &'static str),
    default: &'static str,
    shape: &'static str,
    set: fn(&mut Draft, &str) -> Result<(), String>,
    doc: &'static str,
) -> OptionRow {
    let (name, flag) = names;
    OptionRow { name, flag, doc, default, kind: Kind::Text { shape, set } }
}

/// Every option, in the order of the reference page.
pub const OPTIONS: &[OptionRow] = &[
    text(
        ("node_id", "node-id"),
        "\"node1\"",
        "NAME",
        set_node_id,
        "This node's name, unique in the cluster. Required when peers is set.",
    ),
    text(
        ("listen", "listen"),
        "\"127.0.0.1:5000\"",
        "ADDRESS:PORT",
        set_listen,
        "Where the HTTP server listens; 0.0.0.0:5000 is every interface.",
    ),
    text(
        ("advertise", "advertise"),
        "\"http://127.0.0.1:5000\"",
        "URL",
        set_advertise,
        "Where other nodes and clients reach this node. By default this node's URL in peers, or \
         else http:// and listen.",
    ),
    text(
        ("peers", "peers"),
        "\"\"",
        "NAME=URL,…",
        set_peers,
        "The founding members, this node among them, the same on every node: \
         node1=http://host1:5000,node2=http://host2:5000. Empty: a cluster of one.",
    ),
    text(
        ("data_dir", "data-dir"),
        "\"bitacora-data\"",
        "DIRECTORY",
        set_data_dir,
        "Everything this node keeps. One directory belongs to one node.",
    ),
    number(
        ("heartbeat_interval_ms", "heartbeat-interval-ms"),
        "50",
        ("milliseconds", 1, HOUR_MS),
        |draft, n| draft.timing.heartbeat_interval = Duration::from_millis(n),
        "How often a leader tells its followers that it lives. Less than half of \
         election_timeout_min_ms.",
    ),
    number(
        ("election_timeout_min_ms", "election-timeout-min-ms"),
        "150",
        ("milliseconds", 1, HOUR_MS),
        |draft, n| draft.timing.election_timeout_min = Duration::from_millis(n),
        "The shortest random wait without a leader before a candidacy.",
    ),
    number(
        ("election_timeout_max_ms", "election-timeout-max-ms"),
        "300",
        ("milliseconds", 1, HOUR_MS),
        |draft, n| draft.timing.election_timeout_max = Duration::from_millis(n),
        "The longest random wait; also how long a follower trusts a silent leader.",
    ),
    number(
        ("segment_size_bytes", "segment-size-bytes"),
        "33554432",
        ("bytes", 64 << 10, 1 << 30),
        |draft, n| draft.log.segment_size_bytes = n,
        "Size of one preallocated log file. More than twice body_max_bytes.",
    ),
    number(
        ("log_cache_bytes", "log-cache-bytes"),
        "16777216",
        ("bytes", 1, 64 << 30),
        |draft, n| draft.log.cache_bytes = n,
        "Newest log entries kept in memory for followers and readers.",
    ),
    number(
        ("snapshot_entries", "snapshot-entries"),
        "100000",
        ("entries", 1, u64::MAX),
        |draft, n| draft.log.snapshot_entries = n,
        "A snapshot is made after this many entries since the last one.",
    ),
    number(
        ("snapshot_log_bytes", "snapshot-log-bytes"),
        "268435456",
        ("bytes", 1, u64::MAX),
        |draft, n| draft.log.snapshot_log_bytes = n,
        "Or after this many bytes of log since the last one.",
    ),
    number(
        ("log_keep_entries", "log-keep-entries"),
        "100000",
        ("entries", 0, u64::MAX),
        |draft, n| draft.log.keep_entries = n,
        "Entries kept before a snapshot, for readers of the log and slow followers.",
    ),
    number(
        ("body_max_bytes", "body-max-bytes"),
        "1048576",
        ("bytes", 1, 64 * MIB),
        |draft, n| draft.limits.body_max_bytes = n,
        "The largest body of a client's request.",
    ),
    number(
        ("connections_max", "connections-max"),
        "1024",
        ("connections", 1, 1_000_000),
        |draft, n| draft.limits.connections_max = n,
        "Open connections; at the limit the longest idle one makes room.",
    ),
    number(
        ("proposals_max", "proposals-max"),
        "4096",
        ("writes", 1, 1_000_000),
        |draft, n| draft.limits.proposals_max = n,
        "Writes in flight on this node; more are refused with 503.",
    ),
    number(
        ("proposals_max_bytes", "proposals-max-bytes"),
        "67108864",
        ("bytes", 1, 64 << 30),
        |draft, n| draft.limits.proposals_max_bytes = n,
        "Bytes of writes in flight on this node; more are refused with 503.",
    ),
    number(
        ("header_timeout_ms", "header-timeout-ms"),
        "10000",
        ("milliseconds", 1, HOUR_MS),
        |draft, n| draft.limits.header_timeout = Duration::from_millis(n),
        "How long a client may take to send a request's head.",
    ),
    number(
        ("request_timeout_ms", "request-timeout-ms"),
        "5000",
        // As long as timeout= may be.
        ("milliseconds", 1, 60_000),
        |draft, n| draft.limits.request_timeout = Duration::from_millis(n),
        "How long a request may take that does not say timeout=.",
    ),
    number(
        ("drain_timeout_ms", "drain-timeout-ms"),
        "10000",
        ("milliseconds", 1, HOUR_MS),
        |draft, n| draft.limits.drain_timeout = Duration::from_millis(n),
        "How long running requests may finish after SIGTERM.",
    ),
    text(
        ("log_level", "log-level"),
        "\"info\"",
        "LEVEL",
        set_log_level,
        "error, warn, info, debug or trace; or by module: info,bitacora::consensus=debug.",
    ),
    text(
        ("log_format", "log-format"),
        "\"json\"",
        "json|text",
        set_log_format,
        "One JSON object a line, or lines for people. Printed to standard error.",
    ),
];

fn set_node_id(draft: &mut Draft, text: &str) -> Result<(), String> {
    draft.name = Some(text.parse().map_err(|invalid| format!("{invalid}"))?);
    Ok(())
}

fn set_listen(draft: &mut Draft, text: &str) -> Result<(), String> {
    let address = text.parse::<SocketAddr>().ok().filter(|address| address.port() != 0);
    let expected = "expected an address and a port from 1 to 65535, like 127.0.0.1:5000";
    draft.listen = Some(address.ok_or_else(|| format!("{expected}, found {text:?}"))?);
    Ok(())
}

fn set_advertise(draft: &mut Draft, text: &str) -> Result<(), String> {
    draft.advertise = Some(text.parse().map_err(|invalid| format!("{invalid}"))?);
    Ok(())
}

fn set_peers(draft: &mut Draft, text: &str) -> Result<(), String> {
    let mut peers: Vec<Member> = Vec::new();
    for part in text.split(',').map(str::trim).filter(|_| !text.trim().is_empty()) {
        let Some((name, url)) = part.split_once('=') else {
            return Err(format!("expected name=http://host:port, found {part:?}"));
        };
        let name = name.trim().parse::<NodeName>().map_err(|invalid| format!("{invalid}"))?;
        let url = url.trim().parse::<NodeUrl>().map_err(|invalid| format!("{invalid}"))?;
        if peers.iter().any(|peer| peer.name == name) {
            return Err(format!("expected every name once, found {:?} twice", name.as_str()));
        }
        if peers.iter().any(|peer| peer.url == url) {
            return Err(format!("expected every URL once, found {url} twice"));
        }
        peers.push(Member { name, url });
    }
    // The order in which people write them means nothing.
    peers.sort();
    draft.peers = peers;
    Ok(())
}

fn set_data_dir(draft: &mut Draft, text: &str) -> Result<(), String> {
    if text.is_empty() {
        return Err("expected the path of a directory, found nothing".to_owned());
    }
    draft.data_dir = Some(PathBuf::from(text));
    Ok(())
}

fn set_log_level(draft: &mut Draft, text: &str) -> Result<(), String> {
    let is_level = |word: &str| {
        let levels = ["off", "error", "warn", "info", "debug", "trace"];
        levels.iter().any(|level| word.eq_ignore_ascii_case(level))
    };
    let is_target = |word: &str| {
        !word.is_empty() && word.chars().all(|c| c.is_ascii_alphanumeric() || "_:-".contains(c))
    };
    let valid = text.split(',').map(str::trim).all(|directive| match directive.split_once('=') {
        Some((target, level)) => is_target(target) && is_level(level),
        None => is_level(directive),
    });
    if !valid {
        let expected = "error, warn, info, debug or trace, or info,bitacora::consensus=debug";
        return Err(format!("expected {expected}, found {text:?}"));
    }
    text.clone_into(&mut draft.telemetry.log_level);
    Ok(())
}

fn set_log_format(draft: &mut Draft, text: &str) -> Result<(), String> {
    draft.telemetry.log_format = match text {
        "json" => LogFormat::Json,
        "text" => LogFormat::Text,
        _ => return Err(format!("expected json or text, found {text:?}")),
    };
    Ok(())
}

/// The content of `bitacora.example.toml`: every option with its default, commented out.
pub fn example() -> String {
    let mut out = String::from(
        "# Every option of bitacora with its default. Remove the # before an option to set it.\n\
         # Start with: bitacora serve --config bitacora.toml\n\
         # Environment variables win over this file, flags win over both.\n\
         # Made from src/config/options.rs by: UPDATE_GENERATED=1 cargo test --test config\n",
    );
    for row in OPTIONS {
        let (name, default) = (row.name, row.default);
        let limits = match row.kind {
            Kind::Number { unit, min, max, .. } => format!("{unit}, {}", limits(min, max)),
            Kind::Text { shape, .. } => shape.to_owned(),
        };
        let doc = wrapped(row.doc);
        // Writing to a String does not fail.
        let _ = write!(out, "\n{doc}# ({limits})\n#{name} = {default}\n");
    }
    out
}

/// The content of `docs/configuration.md`.
pub fn reference() -> String {
    let mut out = String::from(
        "# Configuration\n\n\
         <!-- Made from src/config by: UPDATE_GENERATED=1 cargo test --test config -->\n\n\
         An option has one name in three spellings: the key `node_id` in the file, the\n\
         variable `BITACORA_NODE_ID`, the flag `--node-id`. Flags win over the environment, the\n\
         environment over the file, the file over the defaults. The file is TOML without\n\
         sections; `--config` or `BITACORA_CONFIG` says where it is. Unknown names are errors,\n\
         and all errors are reported at once.\n\
         [`bitacora.example.toml`](../bitacora.example.toml) has every option to copy from.\n\n\
         | option | default | value | meaning |\n|---|---|---|---|\n",
    );
    for row in OPTIONS {
        let value = match row.kind {
            Kind::Number { unit, min, max, .. } => format!("{unit}, {}", limits(min, max)),
            Kind::Text { shape, .. } => format!("`{}`", shape.replace('|', "\\|")),
        };
        let (name, default, doc) = (row.name, row.default, row.doc);
        let _ = writeln!(out, "| `{name}` | `{default}` | {value} | {doc} |");
    }
    out.push_str(seed::REFERENCE);
    out
}

fn limits(min: u64, max: u64) -> String {
    if max == u64::MAX { format!("at least {min}") } else { format!("{min} to {max}") }
}

/// A text as comment lines of at most 100 columns.
fn wrapped(text: &str) -> String {
    let mut lines = String::new();
    let mut line = String::from("#");
    for word in text.split_whitespace() {
        if line.len() + 1 + word.len() > 100 {
            lines.push_str(&line);
            lines.push('\n');
            line = String::from("#");
        }
        line.push(' ');
        line.push_str(word);
    }
    lines + &line + "\n"
}
