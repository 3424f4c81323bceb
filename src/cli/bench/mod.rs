//! `bitacora bench`: how fast a cluster is, measured from outside.
//!
//! A closed loop: each client waits for its answer before it asks again, so the latencies hold for
//! the load that is reported and not for another one.
//!
//! # Not here
//! A node's inside: this is a client, only cheaper than others ([`connection`]).

pub mod connection;
pub mod histogram;
pub mod load;
pub mod record;
pub mod route;
pub mod runner;
pub mod tally;

use std::path::PathBuf;
use std::time::Duration;

use serde_json::json;

use crate::os::process::raise_open_files;
use crate::types::{NodeUrl, parse_duration};

use super::client::Client;
use super::exit::Exit;
use super::failure::Failure;
use super::kv::{Consistency, write_request};
use super::options::{parse_acks, parse_url};
use super::output;
use load::{Load, Op};
use record::Recorder;
use route::Route;
use runner::Schedule;

/// Files that the process needs beside the clients' connections.
const OTHER_FILES: u64 = 32;
/// How long one write that fills the store may take.
const FILL_TIMEOUT: Duration = Duration::from_secs(30);

const EXAMPLES: &str = "\
Examples:
  bitacora bench                                       64 clients put 256 bytes for 10 seconds
  bitacora bench --op get --clients 256
  bitacora bench --op write --pairs 16                 16 keys a request
  bitacora bench --any-node --acks all --json
  bitacora bench --record history.ndjson --keys 10     for a checker of histories";

/// `bitacora bench`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
#[expect(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub struct BenchArgs {
    /// Nodes to ask; repeat it or part with commas
    #[arg(
        long = "url", env = "BITACORA_URL", value_name = "URL", value_delimiter = ',',
        default_value = "http://127.0.0.1:5000", value_parser = parse_url
    )]
    urls: Vec<NodeUrl>,
    /// Share the clients out over all nodes instead of sending to the leader
    #[arg(long)]
    any_node: bool,
    /// What to ask
    #[arg(long, value_enum, default_value = "put")]
    op: Op,
    /// Clients at once, each with one connection
    #[arg(long, default_value = "64", value_parser = clap::value_parser!(u16).range(1..))]
    clients: u16,
    /// Bytes of a value
    #[arg(long, value_name = "BYTES", default_value = "256",
          value_parser = clap::value_parser!(u32).range(..=524_288))]
    value_size: u32,
    /// Keys to choose from
    #[arg(long, default_value = "10000", value_parser = clap::value_parser!(u64).range(1..))]
    keys: u64,
    /// Keys that one write sets (--op write)
    #[arg(long, default_value = "1", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pairs: u32,
    /// How long to measure
    #[arg(long, default_value = "10s", value_parser = parse_duration)]
    duration: Duration,
    /// How long to run before that
    #[arg(long, default_value = "1s", value_parser = parse_duration)]
    warmup: Duration,
    /// How long an answer may take until the connection is given up
    #[arg(long, default_value = "10s", value_parser = parse_duration)]
    timeout: Duration,
    /// Writes: how many nodes must have it on disk: quorum, all or a number
    #[arg(long, value_parser = parse_acks)]
    acks: Option<String>,
    /// Reads: linearizable or stale
    #[arg(long, value_enum)]
    consistency: Option<Consistency>,
    /// Writes: answers without a receipt
    #[arg(long)]
    minimal: bool,
    /// Reads: do not set all keys first
    #[arg(long)]
    no_fill: bool,
    /// Append each request and its answer to this file, one JSON object a line
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
    /// Report as JSON, with all parameters
    #[arg(long)]
    json: bool,
}

/// Measures a cluster.
pub async fn bench(args: BenchArgs) -> Result<Exit, Failure> {
    refuse_too_few_files(args.clients)?;
    let load = Load {
        op: args.op,
        keys: args.keys,
        value_size: usize::try_from(args.value_size).unwrap_or(usize::MAX),
        pairs: args.pairs,
        acks: args.acks.clone(),
        consistency: args.consistency,
        minimal: args.minimal,
    };
    let recorder = args.record.as_ref().map(|path| {
        Recorder::open(path)
            .map_err(|error| Failure::machine(format!("cannot write {}", path.display()), error))
    });
    let recorder = recorder.transpose()?;
    let route = Route::find(args.urls.clone(), args.any_node).await?;
    if args.op == Op::Get && !args.no_fill {
        output::note(&format!("setting {} keys first", args.keys));
        fill(&args, &load).await?;
    }
    let schedule = Schedule {
        clients: usize::from(args.clients),
        warmup: args.warmup,
        duration: args.duration,
        timeout: args.timeout,
    };
    let (tally, measured) = runner::run(load, schedule, route, recorder, output::note).await?;
    if args.json {
        output::line(&tally.json(&parameters(&args), measured).to_string());
    } else {
        let (op, clients, size) = (args.op.as_str(), args.clients, args.value_size);
        output::line(&tally.text(&format!("{op}, {clients} clients, {size} bytes"), measured));
    }
    Ok(if tally.any_success() { Exit::Ok } else { Exit::Error })
}

fn refuse_too_few_files(clients: u16) -> Result<(), Failure> {
    let open = raise_open_files()
        .map_err(|error| Failure::machine("cannot raise the limit of open files", error))?;
    if open >= u64::from(clients) + OTHER_FILES {
        return Ok(());
    }
    let why =
        format!("{clients} clients need more open files than the {open} allowed: `ulimit -n`");
    Err(Failure::Usage(why))
}

async fn fill(args: &BenchArgs, load: &Load) -> Result<(), Failure> {
    let client = Client::new(args.urls.clone(), FILL_TIMEOUT)?;
    for body in load.fills() {
        client.send(&write_request(body)).await?;
    }
    Ok(())
}

fn parameters(args: &BenchArgs) -> serde_json::Value {
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "urls": args.urls.iter().map(NodeUrl::as_str).collect::<Vec<_>>(),
        "any_node": args.any_node,
        "op": args.op.as_str(),
        "clients": args.clients,
        "value_size": args.value_size,
        "keys": args.keys,
        "pairs": args.pairs,
        "duration_s": args.duration.as_secs_f64(),
        "warmup_s": args.warmup.as_secs_f64(),
        "timeout_s": args.timeout.as_secs_f64(),
        "acks": args.acks.as_deref().unwrap_or("quorum"),
        "consistency": args.consistency.map_or("linearizable", Consistency::as_str),
        "minimal": args.minimal,
        "filled": args.op == Op::Get && !args.no_fill,
        "recorded": args.record.is_some(),
    })
}
