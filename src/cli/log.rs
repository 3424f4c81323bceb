//! `bitacora log`: the committed entries, and with `--follow` those to come.
//!
//! A tail survives the node it reads from: it goes on at the next index on another one. Nothing is
//! shown twice and nothing is left out; if the next entry is trimmed there, it says so and ends.
//!
//! # Not here
//! Sending and cutting an answer into lines ([`super::client`]).

use std::time::Duration;

use bytes::Bytes;

use crate::types::{Index, NodeUrl};

use super::answers::{Entry, LastWords};
use super::client::Client;
use super::exit::Exit;
use super::failure::Failure;
use super::kv::value_text;
use super::options::ClientArgs;
use super::output::{self, Format, or_dash, shown};
use super::request::{Method, Request};

/// Most entries that the server puts in one answer.
const PAGE_MAX: u64 = 1000;
/// Wait before the nodes are asked again when none answers.
const RECONNECT_PAUSE: Duration = Duration::from_millis(500);

/// `bitacora log`.
#[derive(Debug, clap::Args)]
pub struct LogArgs {
    /// The first index to show; without it, the first that is kept
    #[arg(long, value_name = "INDEX")]
    from: Option<u64>,
    /// At most so many entries
    #[arg(long, default_value = "100", conflicts_with = "follow")]
    limit: u64,
    /// Go on with what is committed from now on, for ever
    #[arg(long, short)]
    follow: bool,
    /// Whom to ask and how to show the answer.
    #[command(flatten)]
    pub client: ClientArgs,
}

/// Shows the log.
pub async fn log(args: LogArgs) -> Result<Exit, Failure> {
    let limit = (!args.follow).then_some(args.limit.min(PAGE_MAX));
    let request = log_request(args.from, limit);
    if let Some(exit) = args.client.printed_as_curl(&request, args.follow) {
        return Ok(exit);
    }
    if args.follow { follow(&args).await } else { pages(&args).await }
}

fn log_request(from: Option<u64>, limit: Option<u64>) -> Request {
    Request::new(Method::Get, "/v1/log")
        .query("from", from)
        .query("limit", limit)
        .query("follow", limit.is_none().then_some(true))
        .header("Accept", Some("application/x-ndjson"))
}

async fn pages(args: &LogArgs) -> Result<Exit, Failure> {
    let client = args.client.client()?;
    let mut place = Place { next: args.from };
    let mut left = args.limit;
    while left > 0 {
        let asked = left.min(PAGE_MAX);
        let answer = client.send(&log_request(place.next, Some(asked))).await?;
        let mut got = 0_u64;
        for line in answer.body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            got = got.saturating_add(1);
            if !show(&mut place, line, args.client.output, &answer.url)? {
                return Ok(Exit::Ok);
            }
        }
        left = left.saturating_sub(got);
        // A page may be short because its entries are large; an empty one is the end.
        if got == 0 {
            return Ok(Exit::Ok);
        }
    }
    if let Some(next) = place.next {
        output::note(&format!("there may be more: bitacora log --from {next}"));
    }
    Ok(Exit::Ok)
}

async fn follow(args: &LogArgs) -> Result<Exit, Failure> {
    let mut place = Place { next: args.from };
    let mut urls = args.client.urls.clone();
    loop {
        let client = Client::new(urls.clone(), args.client.timeout)?;
        let why = match tail(&client, &mut place, args.client.output).await? {
            Tail::NobodyReads => return Ok(Exit::Ok),
            Tail::Ended { url, why } => {
                // The next node first: the one that went away comes last.
                if let Some(at) = urls.iter().position(|candidate| *candidate == url) {
                    urls.rotate_left(at.saturating_add(1));
                }
                format!("{url}: {why}")
            }
            Tail::Nobody { why } => why,
        };
        let resume = place.next.map_or_else(String::new, |next| format!(" at index {next}"));
        output::note(&format!("-- {why}; resuming{resume}"));
        tokio::time::sleep(RECONNECT_PAUSE).await;
    }
}

/// Why a tail stopped.
enum Tail {
    /// Our own reader went away.
    NobodyReads,
    /// The node went away.
    Ended { url: NodeUrl, why: String },
    /// No node could be asked.
    Nobody { why: String },
}

async fn tail(client: &Client, place: &mut Place, format: Format) -> Result<Tail, Failure> {
    let mut lines = match client.lines(&log_request(place.next, None)).await {
        Ok(lines) => lines,
        Err(Failure::Unreachable { tries, .. }) => {
            let names: Vec<String> = tries.iter().map(|(url, _)| url.to_string()).collect();
            return Ok(Tail::Nobody { why: format!("cannot connect to {}", names.join(", ")) });
        }
        Err(Failure::Lost { url, why, .. }) => return Ok(Tail::Ended { url, why }),
        // 503: the node is starting or stopping. Anything else will not get better by itself.
        Err(Failure::Refused { problem, .. }) if problem.status == 503 => {
            return Ok(Tail::Nobody { why: problem.title });
        }
        Err(failure) => return Err(failure),
    };
    loop {
        let line = match lines.next().await {
            Ok(Some(line)) => line,
            Ok(None) => {
                return Ok(Tail::Ended { url: lines.url, why: "ended the tail".into() });
            }
            Err(Failure::Lost { url, why, .. }) => return Ok(Tail::Ended { url, why }),
            Err(failure) => return Err(failure),
        };
        if !line.is_empty() && !show(place, &line, format, &lines.url)? {
            return Ok(Tail::NobodyReads);
        }
    }
}

/// How far the log was shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    /// The index that must come next, if one is known.
    next: Option<u64>,
}

impl Place {
    /// Moves past `entry`. An entry out of order means that the promise of the log is broken: that
    /// is worth an error, not a line.
    fn pass(&mut self, entry: &Entry) -> Result<(), String> {
        if let Some(next) = self.next.filter(|next| *next != entry.index) {
            return Err(format!("index {next} must come next, but index {} came", entry.index));
        }
        self.next = Some(Index::new(entry.index).next().get());
        Ok(())
    }
}

/// Prints one entry. `false`: nobody reads any more.
fn show(place: &mut Place, line: &[u8], format: Format, url: &NodeUrl) -> Result<bool, Failure> {
    let bad = |why| Failure::BadAnswer { url: url.clone(), why };
    if let Ok(LastWords { error, detail }) = serde_json::from_slice(line) {
        return Err(Failure::Failed(format!("{url} ended the log ({error}): {detail}")));
    }
    let entry: Entry = serde_json::from_slice(line).map_err(|error| bad(error.to_string()))?;
    place.pass(&entry).map_err(bad)?;
    Ok(match format {
        Format::Json => {
            let mut bytes = Bytes::copy_from_slice(line).to_vec();
            bytes.push(b'\n');
            output::raw(&bytes)
        }
        Format::Table => output::line(&entry_text(&entry)),
    })
}

/// One entry as a line for people.
fn entry_text(entry: &Entry) -> String {
    let what = match entry.kind.as_str() {
        "put" => {
            let value = value_text(entry.value.as_deref(), entry.value_base64.as_deref(), 60);
            format!("{} = {value}", shown(entry.key.as_deref().unwrap_or("-"), 60))
        }
        "delete" => shown(entry.key.as_deref().unwrap_or("-"), 60),
        "write" => {
            let pairs = entry.pairs.iter().map(|pair| {
                let value = value_text(pair.value.as_deref(), pair.value_base64.as_deref(), 40);
                format!("{} = {value}", shown(&pair.key, 40))
            });
            pairs.collect::<Vec<_>>().join(", ")
        }
        _ => String::new(),
    };
    let line = format!(
        "{:>8}  term {:<3} {}  {:<8} {:<10} {what}",
        entry.index,
        entry.term,
        or_dash(entry.time_ms.map(output::utc)),
        entry.node.as_deref().unwrap_or("-"),
        entry.kind,
    );
    line.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(index: u64) -> Entry {
        Entry { index, ..Entry::default() }
    }

    #[test]
    fn a_tail_knows_where_to_resume_and_takes_no_gap_and_no_duplicate() {
        let mut place = Place { next: None };
        place.pass(&entry(7)).unwrap();
        assert_eq!(place.next, Some(8));
        assert!(place.pass(&entry(7)).unwrap_err().contains("index 8 must come next"));
        assert!(place.pass(&entry(9)).is_err());
        place.pass(&entry(8)).unwrap();
        assert_eq!(log_request(place.next, None).target(), "/v1/log?from=9&follow=true");
    }

    #[test]
    fn each_kind_of_entry_has_its_line() {
        let line = |json: serde_json::Value| entry_text(&serde_json::from_value(json).unwrap());
        let base = r"      42  term 3   1970-01-01 00:00:01Z  node1    ";
        let put = serde_json::json!({"index": 42, "term": 3, "time_ms": 1000, "node": "node1",
            "kind": "put", "key": "colour", "value": "blue\n"});
        assert_eq!(line(put), format!("{base}put        colour = blue\\n"));
        let write = serde_json::json!({"index": 42, "term": 3, "time_ms": 1000, "node": "node1",
            "kind": "write", "pairs": [{"key": "a", "value": "1"}, {"key": "b", "value": "2"}]});
        assert_eq!(line(write), format!("{base}write      a = 1, b = 2"));
        let leader = serde_json::json!({"index": 42, "term": 3, "time_ms": 1000, "node": "node1",
            "kind": "leader"});
        assert_eq!(line(leader), format!("{base}leader"));
    }
}
