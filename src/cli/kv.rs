//! The verbs of the key-value store: `put`, `get`, `del`, `write`, `list`.
//!
//! A write shows its receipt: which nodes have it on disk and how long each took.
//!
//! # Not here
//! Sending ([`super::client`]); what went wrong ([`super::failure`]).

use crate::types::Key;

use super::answers::{Item, Page, Receipt};
use super::exit::Exit;
use super::failure::Failure;
use super::options::{ClientArgs, parse_acks, parse_body};
use super::output::{self, Format, or_dash, shown};
use super::request::{Body, Method, Request, key_path};

/// Most items that the server puts on one page.
const PAGE_MAX: u64 = 1000;

/// `bitacora put`.
#[derive(Debug, clap::Args)]
pub struct PutArgs {
    /// The key; may contain slashes
    key: Key,
    /// The value; - or nothing reads stdin, @FILE reads a file
    #[arg(default_value = "-", allow_negative_numbers = true, value_name = "VALUE|-|@FILE")]
    value: String,
    #[command(flatten)]
    write: WriteArgs,
    /// Only if the key's last change was at this index
    #[arg(long, value_name = "INDEX", conflicts_with = "if_absent")]
    if_match: Option<u64>,
    /// Only if the key is not there
    #[arg(long)]
    if_absent: bool,
    /// Whom to ask and how to show the answer.
    #[command(flatten)]
    pub client: ClientArgs,
}

/// `bitacora del`.
#[derive(Debug, clap::Args)]
pub struct DelArgs {
    /// The key
    key: Key,
    #[command(flatten)]
    write: WriteArgs,
    /// Only if the key's last change was at this index
    #[arg(long, value_name = "INDEX")]
    if_match: Option<u64>,
    /// Whom to ask and how to show the answer.
    #[command(flatten)]
    pub client: ClientArgs,
}

/// `bitacora write`.
#[derive(Debug, clap::Args)]
pub struct WriteEntryArgs {
    /// A JSON object; its members are set all together or not at all. - reads stdin, @FILE a file
    #[arg(value_name = "JSON|-|@FILE")]
    json: String,
    #[command(flatten)]
    write: WriteArgs,
    /// Whom to ask and how to show the answer.
    #[command(flatten)]
    pub client: ClientArgs,
}

/// What every write has.
#[derive(Debug, clap::Args)]
struct WriteArgs {
    /// How many nodes must have it on disk before the answer: quorum, all or a number
    #[arg(long, value_parser = parse_acks)]
    acks: Option<String>,
}

/// `bitacora get`.
#[derive(Debug, clap::Args)]
pub struct GetArgs {
    /// The key
    key: Key,
    #[command(flatten)]
    read: ReadArgs,
    /// Whom to ask and how to show the answer.
    #[command(flatten)]
    pub client: ClientArgs,
}

/// `bitacora list`.
#[derive(Debug, clap::Args)]
pub struct ListArgs {
    /// Only keys that begin with this
    prefix: Option<String>,
    /// Only keys from this one on
    #[arg(long)]
    start: Option<String>,
    /// Only keys before this one
    #[arg(long)]
    end: Option<String>,
    /// At most so many; without it, all
    #[arg(long)]
    limit: Option<u64>,
    /// Keys without their values
    #[arg(long)]
    keys_only: bool,
    #[command(flatten)]
    read: ReadArgs,
    /// Whom to ask and how to show the answer.
    #[command(flatten)]
    pub client: ClientArgs,
}

/// What every read has.
#[derive(Debug, clap::Args)]
struct ReadArgs {
    /// linearizable sees every write that was answered; stale is what the asked node has
    #[arg(long, value_enum)]
    consistency: Option<Consistency>,
}

/// How fresh an answer must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Consistency {
    /// Sees every write that was answered before it was asked.
    Linearizable,
    /// What the asked node has.
    Stale,
}

impl Consistency {
    /// As the API spells it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Linearizable => "linearizable",
            Self::Stale => "stale",
        }
    }
}

/// Sets a key.
pub async fn put(args: PutArgs) -> Result<Exit, Failure> {
    let request = Request::new(Method::Put, path_of(&args.key)?)
        .query("acks", args.write.acks)
        .query("timeout", Some(args.client.timeout_text()))
        .header("If-Match", args.if_match.map(etag))
        .header("If-None-Match", args.if_absent.then_some("*"))
        .body(parse_body(&args.value));
    write(&args.client, &request).await
}

/// Removes a key.
pub async fn del(args: DelArgs) -> Result<Exit, Failure> {
    let request = Request::new(Method::Delete, path_of(&args.key)?)
        .query("acks", args.write.acks)
        .query("timeout", Some(args.client.timeout_text()))
        .header("If-Match", args.if_match.map(etag));
    write(&args.client, &request).await
}

/// Appends a JSON object to the log and sets its members.
pub async fn write_entry(args: WriteEntryArgs) -> Result<Exit, Failure> {
    let request = Request::new(Method::Post, "/write")
        .query("acks", args.write.acks)
        .query("timeout", Some(args.client.timeout_text()))
        .header("Content-Type", Some("application/json"))
        .body(parse_body(&args.json));
    write(&args.client, &request).await
}

async fn write(client: &ClientArgs, request: &Request) -> Result<Exit, Failure> {
    if let Some(exit) = client.printed_as_curl(request, false) {
        return Ok(exit);
    }
    let answer = client.client()?.send(request).await?;
    match client.output {
        Format::Json => output::line(&answer.text()),
        Format::Table => output::line(&receipt_text(&answer.json()?)),
    };
    Ok(Exit::Ok)
}

/// Prints a value's bytes as they are.
pub async fn get(args: GetArgs) -> Result<Exit, Failure> {
    let consistency = args.read.consistency.map(Consistency::as_str);
    let request = Request::new(Method::Get, path_of(&args.key)?).query("consistency", consistency);
    if let Some(exit) = args.client.printed_as_curl(&request, false) {
        return Ok(exit);
    }
    let client = args.client.client()?;
    if args.client.output == Format::Table {
        output::raw(&client.send(&request).await?.body);
        return Ok(Exit::Ok);
    }
    // As JSON the value needs its item: the list has it, also when it is not text.
    let item = Request::new(Method::Get, "/v1/kv")
        .query("start", Some(args.key.as_str()))
        .query("limit", Some(1))
        .query("consistency", consistency);
    let page: Page = client.send(&item).await?.json()?;
    let is_it = |item: &&serde_json::Value| {
        item.get("key").and_then(serde_json::Value::as_str) == Some(args.key.as_str())
    };
    let Some(item) = page.items.first().filter(is_it) else {
        output::note("there is no such key");
        return Ok(Exit::NotFound);
    };
    output::line(&item.to_string());
    Ok(Exit::Ok)
}

/// Lists keys, page after page.
pub async fn list(args: ListArgs) -> Result<Exit, Failure> {
    let mut left = args.limit.unwrap_or(u64::MAX);
    let mut cursor = None;
    let client = args.client.client()?;
    let mut is_first = true;
    while left > 0 {
        let request = list_request(&args, left.min(PAGE_MAX), cursor.take());
        if let Some(exit) = args.client.printed_as_curl(&request, false) {
            return Ok(exit);
        }
        let page: Page = client.send(&request).await?.json()?;
        left = left.saturating_sub(page.items.len() as u64);
        let text = page_text(&page, args.client.output, args.keys_only, is_first);
        if !text.is_empty() && !output::line(&text) {
            break;
        }
        let Some(next) = page.next_cursor else { break };
        cursor = Some(next);
        is_first = false;
    }
    Ok(Exit::Ok)
}

fn list_request(args: &ListArgs, limit: u64, cursor: Option<String>) -> Request {
    Request::new(Method::Get, "/v1/kv")
        .query("prefix", args.prefix.as_ref())
        .query("start", args.start.as_ref())
        .query("end", args.end.as_ref())
        .query("limit", Some(limit))
        .query("cursor", cursor)
        .query("keys_only", args.keys_only.then_some(true))
        .query("consistency", args.read.consistency.map(Consistency::as_str))
}

fn page_text(page: &Page, format: Format, keys_only: bool, is_first: bool) -> String {
    if format == Format::Json {
        return page.items.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n");
    }
    let items = page
        .items
        .iter()
        .map(|item| serde_json::from_value::<Item>(item.clone()).unwrap_or_default());
    if keys_only {
        return items.map(|item| shown(&item.key, usize::MAX)).collect::<Vec<_>>().join("\n");
    }
    let rows: Vec<Vec<String>> = items.map(|item| item_row(&item)).collect();
    let text = output::table(&["KEY", "INDEX", "VERSION", "VALUE"], &rows);
    let without_head = || text.split_once('\n').map_or("", |(_, rows)| rows).to_owned();
    if is_first { text } else { without_head() }
}

fn item_row(item: &Item) -> Vec<String> {
    vec![
        shown(&item.key, 60),
        or_dash(item.modify_index),
        or_dash(item.version),
        value_text(item.value.as_deref(), item.value_base64.as_deref(), 60),
    ]
}

/// A value for people: text, or a word about bytes.
pub fn value_text(text: Option<&str>, base64: Option<&str>, max: usize) -> String {
    match (text, base64) {
        (Some(text), _) => shown(text, max),
        (None, Some(base64)) => format!("({} bytes, not text)", decoded_length(base64)),
        (None, None) => "-".to_owned(),
    }
}

fn decoded_length(base64: &str) -> usize {
    let digits = base64.trim_end_matches('=').len();
    digits.saturating_mul(3) / 4
}

/// A receipt for people.
pub fn receipt_text(receipt: &Receipt) -> String {
    let mut first = format!("index {}, term {}", receipt.index, receipt.term);
    match (receipt.created, receipt.deleted) {
        (Some(true), _) => first.push_str(", new key"),
        (_, Some(false)) => first.push_str(", the key was not there"),
        _ => {}
    }
    let rows: Vec<Vec<String>> = receipt
        .acks
        .iter()
        .map(|ack| {
            let ms = or_dash(ack.ms.map(|ms| format!("{ms:.2}")));
            vec![ack.node.clone(), ack.role.clone(), ack.state.clone(), ms]
        })
        .collect();
    let durable = receipt.acks.iter().filter(|ack| ack.state == "durable").count();
    let last = format!("on disk on {durable} of {} (majority: {})", receipt.voters, receipt.quorum);
    format!("{first}\n{}\n{last}", output::table(&["NODE", "ROLE", "STATE", "MS"], &rows))
}

fn etag(index: u64) -> String {
    format!("\"{index}\"")
}

fn path_of(key: &Key) -> Result<String, Failure> {
    key_path(key).ok_or_else(|| {
        let why = "the keys . and .. cannot stand in a URL; `bitacora write` can set them";
        Failure::Usage(why.to_owned())
    })
}

/// The request that sets many keys at once: how the bench fills a store.
pub fn write_request(json: String) -> Request {
    Request::new(Method::Post, "/write")
        .header("Content-Type", Some("application/json"))
        .body(Body::Inline(json.into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::answers::Ack;

    fn ack(node: &str, role: &str, state: &str, ms: Option<f64>) -> Ack {
        Ack { node: node.into(), role: role.into(), state: state.into(), ms }
    }

    #[test]
    fn a_receipt_shows_who_has_the_write_on_disk() {
        let receipt = Receipt {
            index: 42,
            term: 3,
            acks: vec![
                ack("node1", "leader", "durable", Some(0.214)),
                ack("node2", "follower", "durable", Some(0.48)),
                ack("node3", "follower", "pending", None),
            ],
            quorum: 2,
            voters: 3,
            created: Some(true),
            deleted: None,
        };
        let expected = "index 42, term 3, new key\n\
                        NODE   ROLE      STATE    MS\n\
                        node1  leader    durable  0.21\n\
                        node2  follower  durable  0.48\n\
                        node3  follower  pending  -\n\
                        on disk on 2 of 3 (majority: 2)";
        assert_eq!(receipt_text(&receipt), expected);
    }

    #[test]
    fn deleting_what_is_not_there_is_said() {
        let receipt = Receipt { deleted: Some(false), ..Receipt::default() };
        assert!(receipt_text(&receipt).starts_with("index 0, term 0, the key was not there\n"));
    }

    #[test]
    fn a_later_page_has_no_head_and_bytes_are_not_thrown_at_the_terminal() {
        let items = serde_json::json!([
            {"key": "a", "value": "x\u{1b}", "modify_index": 4, "version": 1},
            {"key": "b", "value_base64": "/w==", "modify_index": 5, "version": 2},
        ]);
        let page = Page { items: items.as_array().unwrap().clone(), next_cursor: None };
        let text = page_text(&page, Format::Table, false, false);
        assert_eq!(text, "a    4      1        x\\u{1b}\nb    5      2        (1 bytes, not text)");
        assert!(page_text(&page, Format::Table, false, true).starts_with("KEY"));
        assert_eq!(page_text(&page, Format::Table, true, true), "a\nb");
        assert_eq!(page_text(&page, Format::Json, false, true).lines().count(), 2);
    }
}
