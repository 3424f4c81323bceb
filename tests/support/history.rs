//! Judges what clients were told against what the nodes' logs hold.
//!
//! Every write carries values that no other write carries, so a value in a log names its write.

use std::collections::{BTreeMap, HashMap};

use serde_json::Value as Json;

/// What a client was told about its write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// It is there, at this index and term.
    Acked { index: u64, term: u64 },
    /// It did not happen and never will.
    NotApplied,
    /// Nobody knows.
    Unknown,
}

/// A write as a client made it: all its pairs in one entry.
#[derive(Debug, Clone)]
pub struct Write {
    pub pairs: Vec<(String, String)>,
    pub told: Told,
}

/// A node's log entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    pub index: u64,
    pub term: u64,
    /// Empty for entries that are not writes.
    pub pairs: Vec<(String, String)>,
}

impl Entry {
    /// From a line of `GET /v1/log`.
    pub fn of(line: &Json) -> Self {
        let text = |value: &Json| value.as_str().unwrap().to_owned();
        let pair = |pair: &Json| (text(&pair["key"]), text(&pair["value"]));
        let pairs = match line["kind"].as_str().unwrap() {
            "write" => line["pairs"].as_array().unwrap().iter().map(pair).collect(),
            "put" => vec![pair(line)],
            _ => Vec::new(),
        };
        Self { index: line["index"].as_u64().unwrap(), term: line["term"].as_u64().unwrap(), pairs }
    }
}

/// A key as a node shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    pub value: String,
    pub create_index: u64,
    pub modify_index: u64,
    pub version: u64,
}

/// Keys by name, from the lines of `GET /v1/kv`.
pub fn items(lines: &[Json]) -> BTreeMap<String, Item> {
    let item = |line: &Json| {
        let number = |name: &str| line[name].as_u64().unwrap();
        let item = Item {
            value: line["value"].as_str().unwrap().to_owned(),
            create_index: number("create_index"),
            modify_index: number("modify_index"),
            version: number("version"),
        };
        (line["key"].as_str().unwrap().to_owned(), item)
    };
    lines.iter().map(item).collect()
}

/// The keys that a log of writes leads to.
pub fn replay(log: &[Entry]) -> BTreeMap<String, Item> {
    let mut keys: BTreeMap<String, Item> = BTreeMap::new();
    for entry in log {
        for (key, value) in &entry.pairs {
            let old = keys.get(key);
            let item = Item {
                value: value.clone(),
                create_index: old.map_or(entry.index, |old| old.create_index),
                modify_index: entry.index,
                version: old.map_or(1, |old| old.version + 1),
            };
            keys.insert(key.clone(), item);
        }
    }
    keys
}

/// What a history that holds was made of.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Summary {
    pub acked: usize,
    pub not_applied: usize,
    pub unknown_there: usize,
    pub unknown_absent: usize,
    pub entries: usize,
}

/// Every violation of: logs begin at 0 without gap, terms never fall, all logs are equal; an
/// acknowledged write is there once, at its index and term, whole; a write that was said not to be
/// applied is nowhere; an unknown one is there at most once; nothing else is there.
pub fn judge(writes: &[Write], logs: &[(String, Vec<Entry>)]) -> Result<Summary, Vec<String>> {
    let mut wrong = Vec::new();
    for (node, log) in logs {
        shape(node, log, &mut wrong);
    }
    let Some((first, log)) = logs.first() else { return Err(vec!["there is no log".to_owned()]) };
    for (node, other) in &logs[1..] {
        if other != log {
            let at = log.iter().zip(other).position(|(a, b)| a != b);
            let at = at.unwrap_or(log.len().min(other.len()));
            let (a, b) = (log.get(at), other.get(at));
            wrong.push(format!("{first} and {node} differ at place {at}: {a:?} and {b:?}"));
        }
    }
    let summary = against(writes, log, &mut wrong);
    if wrong.is_empty() { Ok(summary) } else { Err(wrong) }
}

fn shape(node: &str, log: &[Entry], wrong: &mut Vec<String>) {
    for (expected, entry) in (0..).zip(log) {
        if entry.index != expected {
            wrong.push(format!("{node}: index {} where {expected} should be", entry.index));
            return;
        }
    }
    for pair in log.windows(2) {
        if pair[1].term < pair[0].term {
            wrong.push(format!("{node}: the term falls at index {}", pair[1].index));
        }
    }
}

fn against(writes: &[Write], log: &[Entry], wrong: &mut Vec<String>) -> Summary {
    let mut known: HashMap<&str, usize> = HashMap::new();
    for (number, write) in writes.iter().enumerate() {
        for (_, value) in &write.pairs {
            if known.insert(value, number).is_some() {
                wrong.push(format!("the test wrote {value} twice: it proves nothing"));
            }
        }
    }
    // Which entries hold each write.
    let mut places: Vec<Vec<&Entry>> = vec![Vec::new(); writes.len()];
    for entry in log.iter().filter(|entry| !entry.pairs.is_empty()) {
        let mut of: Vec<Option<usize>> =
            entry.pairs.iter().map(|(_, value)| known.get(value.as_str()).copied()).collect();
        of.dedup();
        match of[..] {
            [Some(number)] => places[number].push(entry),
            [None] => wrong.push(format!("phantom at index {}: {:?}", entry.index, entry.pairs)),
            _ => wrong.push(format!("index {} mixes writes: {:?}", entry.index, entry.pairs)),
        }
    }
    let mut summary = Summary { entries: log.len(), ..Summary::default() };
    for (write, places) in writes.iter().zip(places) {
        one(write, &places, &mut summary, wrong);
    }
    summary
}

fn one(write: &Write, places: &[&Entry], summary: &mut Summary, wrong: &mut Vec<String>) {
    let indexes: Vec<u64> = places.iter().map(|entry| entry.index).collect();
    let what = &write.pairs;
    if places.len() > 1 {
        wrong.push(format!("{what:?} is there more than once, at {indexes:?}"));
    }
    for entry in places {
        let sorted = |pairs: &[(String, String)]| {
            let mut pairs = pairs.to_vec();
            pairs.sort();
            pairs
        };
        if sorted(&entry.pairs) != sorted(what) {
            wrong.push(format!("{what:?} was torn: index {} has {:?}", entry.index, entry.pairs));
        }
    }
    match (write.told, places) {
        (Told::Acked { index, term }, [entry]) => {
            summary.acked += 1;
            if (entry.index, entry.term) != (index, term) {
                let there = (entry.index, entry.term);
                wrong.push(format!("{what:?} was acked at {:?}, is at {there:?}", (index, term)));
            }
        }
        (Told::Acked { index, .. }, []) => {
            wrong.push(format!("{what:?} was acked at {index} and is lost"));
        }
        (Told::NotApplied, []) => summary.not_applied += 1,
        (Told::NotApplied, _) => {
            wrong.push(format!("{what:?} was said not to be applied, is at {indexes:?}"));
        }
        (Told::Unknown, []) => summary.unknown_absent += 1,
        (Told::Unknown, _) => summary.unknown_there += 1,
        (Told::Acked { .. }, _) => {}
    }
}
