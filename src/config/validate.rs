//! From gathered values to a [`Config`], or all reasons why not at once.
//!
//! Used by `load`. Every violation names where the value came from, what was expected and what was
//! found, so that one look is enough to repair all of them.
//!
//! # Not here
//! What one value may be (`options`), reading files, environment and flags (`load`).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use super::options::{Draft, OPTIONS};
use super::{Config, DEFAULT_DATA_DIR, DEFAULT_LISTEN, DEFAULT_NODE_NAME, Founding, NodeConfig};
use crate::types::{NodeName, NodeUrl};

/// Room in a segment beside the largest entry: headers, checksums, the entry's own frame.
const SEGMENT_MARGIN_BYTES: u64 = 16 << 10;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Where: a line of a file, a variable, a flag, or the options that do not go together.
    pub place: String,
    /// What was expected and what was found.
    pub problem: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.problem)
    }
}

/// Everything that is wrong with a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError(pub Vec<Violation>);

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the configuration cannot be used:")?;
        self.0.iter().try_for_each(|violation| write!(f, "\n  - {violation}"))
    }
}

impl std::error::Error for ConfigError {}

/// A value as it was found.
#[derive(Debug, Clone)]
pub(super) struct Setting {
    /// Where it was found.
    pub(super) place: String,
    /// The value as text.
    pub(super) text: String,
}

/// Everything that was found, later sources over earlier ones.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Values by option.
    pub(super) settings: BTreeMap<&'static str, Setting>,
    /// What was wrong already.
    pub(super) violations: Vec<Violation>,
    /// The seed's way to found a cluster; `peers` wins over it.
    pub(super) seed_founding: Option<Founding>,
    /// The seed's confirmations.
    pub(super) seed_confirmations: Option<u32>,
}

impl Found {
    pub(super) fn set(&mut self, name: &'static str, place: &str, text: impl Into<String>) {
        self.settings.insert(name, Setting { place: place.to_owned(), text: text.into() });
    }

    pub(super) fn refuse(&mut self, place: impl Into<String>, problem: impl Into<String>) {
        self.violations.push(Violation { place: place.into(), problem: problem.into() });
    }
}

/// Checks every value and every relation.
pub(super) fn build(found: Found) -> Result<Config, ConfigError> {
    let mut check = Check { draft: Draft::default(), found, broken: BTreeSet::new() };
    check.values();
    check.timing();
    check.sizes();
    let node = check.node();
    let Check { draft, found, .. } = check;
    match node {
        Some(node) if found.violations.is_empty() => Ok(Config {
            node,
            timing: draft.timing,
            log: draft.log,
            limits: draft.limits,
            telemetry: draft.telemetry,
            seed_confirmations: found.seed_confirmations,
        }),
        _ => Err(ConfigError(found.violations)),
    }
}

struct Check {
    draft: Draft,
    found: Found,
    /// Options whose value was refused: their relations are not looked at.
    broken: BTreeSet<&'static str>,
}

impl Check {
    fn values(&mut self) {
        for row in OPTIONS {
            let Some(setting) = self.found.settings.get(row.name).cloned() else {
                continue;
            };
            if let Err(problem) = row.set(&mut self.draft, &setting.text) {
                self.broken.insert(row.name);
                self.found.refuse(setting.place, problem);
            }
        }
    }

    /// Where the values of these options came from.
    fn places(&self, names: &[&str]) -> String {
        let place = |name: &&str| match self.found.settings.get(*name) {
            Some(setting) => setting.place.clone(),
            None => format!("{name} (default)"),
        };
        names.iter().map(place).collect::<Vec<_>>().join(" and ")
    }

    fn require(&mut self, holds: bool, names: &[&'static str], problem: impl FnOnce() -> String) {
        if !holds && !names.iter().any(|name| self.broken.contains(name)) {
            let places = self.places(names);
            self.found.refuse(places, problem());
        }
    }

    fn timing(&mut self) {
        let timing = self.draft.timing.clone();
        let (heartbeat, min, max) =
            (timing.heartbeat_interval, timing.election_timeout_min, timing.election_timeout_max);
        let ms = |duration: Duration| format!("{} ms", duration.as_millis());
        let names = ["heartbeat_interval_ms", "election_timeout_min_ms"];
        self.require(heartbeat.saturating_mul(2) < min, &names, || {
            let (heartbeat, min) = (ms(heartbeat), ms(min));
            format!(
                "expected an election timeout of more than two heartbeats, so that one lost \
                 heartbeat costs no election; found {heartbeat} and {min}"
            )
        });
        let names = ["election_timeout_min_ms", "election_timeout_max_ms"];
        self.require(min < max, &names, || {
            let (min, max) = (ms(min), ms(max));
            format!(
                "expected the minimum below the maximum, so that candidates do not stand at the \
                 same moment; found {min} and {max}"
            )
        });
    }

    fn sizes(&mut self) {
        let (body, segment) = (self.draft.limits.body_max_bytes, self.draft.log.segment_size_bytes);
        // An entry can be larger than the JSON that asked for it: up to 4/3 for tiny pairs.
        let least = body.saturating_mul(2).saturating_add(SEGMENT_MARGIN_BYTES);
        self.require(segment > least, &["segment_size_bytes", "body_max_bytes"], || {
            format!(
                "expected a segment of more than twice the largest body and {SEGMENT_MARGIN_BYTES} \
                 bytes, that is {least}, so that every entry fits into one; found {segment}"
            )
        });
        let in_flight = self.draft.limits.proposals_max_bytes;
        self.require(in_flight >= body, &["proposals_max_bytes", "body_max_bytes"], || {
            format!("expected room for at least one largest body of {body}, found {in_flight}")
        });
    }

    fn node(&mut self) -> Option<NodeConfig> {
        let listen = self.draft.listen.unwrap_or(DEFAULT_LISTEN);
        let peers = std::mem::take(&mut self.draft.peers);
        let name = self.name(peers.is_empty())?;
        let own = peers.iter().find(|peer| peer.name == name).map(|peer| peer.url.clone());
        self.require(own.is_some() || peers.is_empty(), &["node_id", "peers"], || {
            let names: Vec<_> = peers.iter().map(|peer| peer.name.as_str()).collect();
            format!("expected this node among the peers {}, found {name}", names.join(", "))
        });
        let given = self.draft.advertise.take();
        if let (Some(given), Some(own)) = (&given, &own) {
            self.require(given == own, &["advertise", "peers"], || {
                format!("expected this node's URL in peers, {own}, found {given}")
            });
        }
        let advertise = match given.or(own) {
            Some(url) => url,
            None => self.advertise_from(listen)?,
        };
        let data_dir = self.draft.data_dir.take();
        let data_dir = data_dir.unwrap_or_else(|| PathBuf::from(DEFAULT_DATA_DIR));
        let founding = match self.found.seed_founding.take() {
            _ if !peers.is_empty() => Founding::Static(peers),
            Some(founding) => founding,
            None => Founding::Alone,
        };
        self.seed_addresses(&founding, &advertise);
        Some(NodeConfig { name, listen, advertise, data_dir, founding })
    }

    fn name(&mut self, alone: bool) -> Option<NodeName> {
        if let Some(name) = self.draft.name.take() {
            return Some(name);
        }
        // With peers a guess could let two nodes take the same name. A refused value is enough.
        self.require(alone, &["node_id", "peers"], || {
            "expected node_id, the name of this node in peers; found none".to_owned()
        });
        alone.then(|| DEFAULT_NODE_NAME.parse().ok()).flatten()
    }

    /// `listen` as others would write it. Every interface is not an address to be reached at.
    fn advertise_from(&mut self, listen: SocketAddr) -> Option<NodeUrl> {
        let ip = match listen.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
            IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
            ip => ip,
        };
        let url = format!("http://{}", SocketAddr::new(ip, listen.port())).parse::<NodeUrl>();
        match url {
            Ok(url) => Some(url),
            Err(invalid) => {
                self.found.refuse("advertise (from listen)", format!("{invalid}"));
                None
            }
        }
    }

    fn seed_addresses(&mut self, founding: &Founding, advertise: &NodeUrl) {
        let others = match founding {
            Founding::Leader(urls) => urls.as_slice(),
            Founding::Follower(url) => std::slice::from_ref(url),
            Founding::Alone | Founding::Static(_) => &[],
        };
        if others.contains(advertise) {
            let problem =
                format!("expected the URLs of other nodes, found this node's {advertise}");
            self.found.refuse(super::seed::OTHERS, problem);
        }
    }
}
