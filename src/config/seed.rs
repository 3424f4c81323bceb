//! The seed's environment: the Spanish names that started the first version of this system.
//!
//! Used by `load`. The only file of the configuration that knows them. They count when `NODE_ID`,
//! `PUERTO` or `ES_LIDER` is set; they win over the file, and `BITACORA_*` and flags win over them.
//!
//! # Choices
//! - Heartbeats: `HEARTBEAT_INTERVAL` is the leader's interval and `HEARTBEAT_TIMEOUT` the silence
//!   after which a leader counts as gone, both in seconds. The timeout is raised to three intervals
//!   if it is shorter: the seed accepted any pair, and one lost heartbeat may not cost an election.
//!   Candidates wait up to twice the timeout.
//! - `ARCHIVO_LOG` named one file; a node now keeps a directory, `<ARCHIVO_LOG>.d/<NODE_ID>`. The
//!   name at its end keeps nodes apart that are started in one directory with one `ARCHIVO_LOG`.
//!
//! # Not here
//! The seed's routes and answers (`api`).

use std::collections::BTreeMap;
use std::time::Duration;

use super::validate::Found;
use super::{DEFAULT_DATA_DIR, DEFAULT_LISTEN, Founding, TimingConfig};
use crate::types::NodeUrl;

/// The variables that name other nodes, for messages.
pub(super) const OTHERS: &str = "environment SEGUIDORES or URL_LIDER";

/// Longest time that the seed's heartbeats may be set to.
const SECONDS_MAX: f64 = 600.0;

/// This file's part of the reference page.
pub const REFERENCE: &str = "
## The seed's variables

They count when `NODE_ID`, `PUERTO` or `ES_LIDER` is set. They win over the file; `BITACORA_*` and
flags win over them.

| variable | sets |
|---|---|
| `NODE_ID` | `node_id`; without it `node_<PUERTO>` |
| `PUERTO` | `listen = \"127.0.0.1:<PUERTO>\"` \
and `advertise = \"http://localhost:<PUERTO>\"`; default 5000 |
| `ES_LIDER` | `1`: founds the cluster with the nodes in `SEGUIDORES`; \
`0`: waits to be founded by `URL_LIDER`. \
Only the first start: afterwards any node may lead |
| `SEGUIDORES` | the followers' URLs, a JSON list: `[\"http://localhost:5001\"]` |
| `URL_LIDER` | the founding leader's URL |
| `MIN_CONFIRMACIONES_REQUERIDAS` | followers that must have a write of \
`/escribir` on disk before its answer; \
never less than a majority needs |
| `HEARTBEAT_INTERVAL` | seconds, fractions allowed: `heartbeat_interval_ms` |
| `HEARTBEAT_TIMEOUT` | seconds without a heartbeat until a leader counts as gone: \
`election_timeout_min_ms` \
(at least three intervals) and twice that as `election_timeout_max_ms` |
| `ARCHIVO_LOG` | `data_dir = \"<ARCHIVO_LOG>.d/<NODE_ID>\"`; without it `bitacora-data/<NODE_ID>` |
";

/// Adds what the seed's variables say, if they count.
pub(super) fn gather(environment: &BTreeMap<String, String>, found: &mut Found) {
    let seed = Seed { environment };
    if ["NODE_ID", "PUERTO", "ES_LIDER"].iter().all(|name| seed.get(name).is_none()) {
        return;
    }
    let port = seed.port(found);
    found.set("listen", "environment PUERTO", format!("127.0.0.1:{port}"));
    found.set("advertise", "environment PUERTO", format!("http://localhost:{port}"));
    let name = seed.get("NODE_ID").map_or_else(|| format!("node_{port}"), str::to_owned);
    found.set("node_id", "environment NODE_ID", &name);
    let directory = match seed.get("ARCHIVO_LOG") {
        Some("") => {
            found.refuse("environment ARCHIVO_LOG", "expected a file name, found nothing");
            return;
        }
        Some(file) => format!("{file}.d"),
        None => DEFAULT_DATA_DIR.to_owned(),
    };
    found.set("data_dir", "environment ARCHIVO_LOG", format!("{directory}/{name}"));
    seed.founding(found);
    seed.confirmations(found);
    seed.heartbeats(found);
}

struct Seed<'a> {
    environment: &'a BTreeMap<String, String>,
}

impl<'a> Seed<'a> {
    fn get(&self, name: &str) -> Option<&'a str> {
        self.environment.get(name).map(|value| value.trim())
    }

    fn port(&self, found: &mut Found) -> u16 {
        let default = DEFAULT_LISTEN.port();
        let Some(text) = self.get("PUERTO") else {
            return default;
        };
        text.parse().ok().filter(|port| *port != 0).unwrap_or_else(|| {
            let problem = format!("expected a port from 1 to 65535, found {text:?}");
            found.refuse("environment PUERTO", problem);
            default
        })
    }

    fn founding(&self, found: &mut Found) {
        let followers = self.followers(found);
        let leader = self.get("URL_LIDER").filter(|text| !text.is_empty());
        let leads = match self.get("ES_LIDER") {
            Some("1" | "true" | "True") => true,
            Some("0" | "false" | "False") => false,
            None if leader.is_some() => false,
            // Only a name or a port: `peers` says who the others are.
            None => return,
            Some(other) => {
                found.refuse("environment ES_LIDER", format!("expected 1 or 0, found {other:?}"));
                return;
            }
        };
        found.seed_founding = match (leads, leader) {
            (true, _) if followers.is_empty() => Some(Founding::Alone),
            (true, _) => Some(Founding::Leader(followers)),
            (false, None) => {
                let problem = "expected the leader's URL, as ES_LIDER is 0; found none";
                found.refuse("environment URL_LIDER", problem);
                None
            }
            (false, Some(text)) => match text.parse() {
                Ok(url) => Some(Founding::Follower(url)),
                Err(invalid) => {
                    found.refuse("environment URL_LIDER", format!("{invalid}"));
                    None
                }
            },
        };
    }

    fn followers(&self, found: &mut Found) -> Vec<NodeUrl> {
        let place = "environment SEGUIDORES";
        let Some(text) = self.get("SEGUIDORES").filter(|text| !text.is_empty()) else {
            return Vec::new();
        };
        let Ok(list) = serde_json::from_str::<Vec<String>>(text) else {
            let expected = "expected a JSON list like [\"http://localhost:5001\"]";
            found.refuse(place, format!("{expected}, found {text:?}"));
            return Vec::new();
        };
        let mut urls = Vec::new();
        for text in list {
            match text.parse::<NodeUrl>() {
                Ok(url) if urls.contains(&url) => {
                    found.refuse(place, format!("expected every URL once, found {url} twice"));
                }
                Ok(url) => urls.push(url),
                Err(invalid) => found.refuse(place, format!("{invalid}")),
            }
        }
        urls
    }

    fn confirmations(&self, found: &mut Found) {
        let place = "environment MIN_CONFIRMACIONES_REQUERIDAS";
        let Some(text) = self.get("MIN_CONFIRMACIONES_REQUERIDAS") else {
            return;
        };
        let Ok(needed) = text.parse::<u32>() else {
            found.refuse(place, format!("expected a number of followers, found {text:?}"));
            return;
        };
        found.seed_confirmations = Some(needed);
        if let Some(Founding::Leader(urls)) = &found.seed_founding {
            let followers = urls.len();
            if usize::try_from(needed).is_ok_and(|needed| needed > followers) {
                let problem =
                    format!("expected at most the {followers} SEGUIDORES, found {needed}");
                found.refuse(place, problem);
            }
        }
    }

    fn heartbeats(&self, found: &mut Found) {
        let interval = self.seconds("HEARTBEAT_INTERVAL", found);
        let timeout = self.seconds("HEARTBEAT_TIMEOUT", found);
        let (interval, timeout) = match (interval, timeout) {
            (None, None) => return,
            (Some(interval), None) => (interval, interval.saturating_mul(3)),
            // As many heartbeats in a timeout as by default, and never a slower heart.
            (None, Some(timeout)) => {
                (TimingConfig::default().heartbeat_interval.min(timeout / 3), timeout)
            }
            (Some(interval), Some(timeout)) => (interval, timeout.max(interval.saturating_mul(3))),
        };
        let longest = timeout.saturating_mul(2);
        let ms = |duration: Duration| duration.as_millis().to_string();
        found.set("heartbeat_interval_ms", "environment HEARTBEAT_INTERVAL", ms(interval));
        found.set("election_timeout_min_ms", "environment HEARTBEAT_TIMEOUT", ms(timeout));
        found.set("election_timeout_max_ms", "environment HEARTBEAT_TIMEOUT", ms(longest));
    }

    fn seconds(&self, name: &str, found: &mut Found) -> Option<Duration> {
        let text = self.get(name)?;
        let seconds = text.parse::<f64>().ok().filter(|s| (0.001..=SECONDS_MAX).contains(s));
        if seconds.is_none() {
            let expected = format!("expected seconds from 0.001 to {SECONDS_MAX}");
            found.refuse(format!("environment {name}"), format!("{expected}, found {text:?}"));
        }
        seconds.map(Duration::from_secs_f64)
    }
}
