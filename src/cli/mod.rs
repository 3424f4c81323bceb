//! The command line: one file a verb, and [`run`], which every process begins with.
//!
//! Whatever it knows of a running node it learns over HTTP, like anybody with curl.
//!
//! # Not here
//! A node's inside; only `serve` starts one and only `check` reads the files of a stopped one.

pub mod answers;
pub mod bench;
pub mod check;
pub mod client;
pub mod exit;
pub mod failure;
pub mod kv;
pub mod log;
pub mod options;
pub mod output;
pub mod request;
pub mod serve;
pub mod status;
pub mod up;

use std::process::ExitCode;

use clap::Parser;

use exit::Exit;
use failure::Failure;
use output::Format;

const EXAMPLES: &str = "\
Examples:
  bitacora up                                three nodes on this machine, data in ./bitacora-data
  bitacora put colour blue                   the answer shows which nodes have it on disk
  bitacora put colour red --if-match 7       only if nobody changed it since index 7
  bitacora put photo @photo.jpg --acks all   every node must have it
  bitacora get colour
  bitacora write '{\"from\":\"10\",\"to\":\"20\"}'    both or none
  bitacora list app/ --keys-only
  bitacora log --follow                      goes on when a node goes away
  bitacora status
  bitacora get colour --curl                 the same with curl";

/// A replicated logbook and key-value store that shows what happened to every write.
#[derive(Debug, Parser)]
#[command(name = "bitacora", version, after_help = help_end(), arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

fn help_end() -> String {
    format!("{EXAMPLES}\n\n{}", exit::HELP)
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Start a cluster on this machine and tell what happens in it
    Up(up::UpArgs),
    /// Run one node
    Serve(Box<serve::ServeCommand>),
    /// Set a key
    Put(kv::PutArgs),
    /// Print a key's value, byte for byte
    Get(kv::GetArgs),
    /// Remove a key
    Del(kv::DelArgs),
    /// Append a JSON object to the log and set each of its members, all or none
    Write(kv::WriteEntryArgs),
    /// List keys in their order
    List(kv::ListArgs),
    /// Show the log, and follow it
    Log(log::LogArgs),
    /// Show all nodes, who leads and how many may fail
    Status(status::StatusArgs),
    /// Ask one node for its health; the exit code is the answer
    Probe(status::ProbeArgs),
    /// Measure a cluster
    Bench(bench::BenchArgs),
    /// Verify the files of a stopped node and print what is in them
    Check(check::CheckArgs),
}

impl Verb {
    /// How failures are printed: as the answers are.
    fn format(&self) -> Format {
        let client = match self {
            Self::Put(args) => &args.client,
            Self::Get(args) => &args.client,
            Self::Del(args) => &args.client,
            Self::Write(args) => &args.client,
            Self::List(args) => &args.client,
            Self::Log(args) => &args.client,
            Self::Status(args) => &args.client,
            Self::Probe(args) => &args.client,
            Self::Up(_) | Self::Serve(_) | Self::Bench(_) | Self::Check(_) => return Format::Table,
        };
        client.output
    }
}

/// Runs the process: reads the command line, does what it says, prints why not.
pub fn run() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // clap knows whether this goes to stdout (help) or stderr; nobody hears if that fails.
            let _ = error.print();
            return if error.use_stderr() { Exit::Usage.into() } else { Exit::Ok.into() };
        }
    };
    let format = cli.verb.format();
    let exit = match on_runtime(cli.verb) {
        Ok(exit) => exit,
        Err(failure) => {
            print(&failure, format);
            failure.exit()
        }
    };
    exit.into()
}

fn on_runtime(verb: Verb) -> Result<Exit, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::machine("cannot start the runtime", error))?;
    runtime.block_on(async {
        match verb {
            Verb::Up(args) => up::up(args).await,
            Verb::Serve(command) => serve::serve(*command).await,
            Verb::Check(args) => check::check(&args),
            Verb::Put(args) => kv::put(args).await,
            Verb::Get(args) => kv::get(args).await,
            Verb::Del(args) => kv::del(args).await,
            Verb::Write(args) => kv::write_entry(args).await,
            Verb::List(args) => kv::list(args).await,
            Verb::Log(args) => log::log(args).await,
            Verb::Status(args) => status::status(args).await,
            Verb::Probe(args) => status::probe(args).await,
            Verb::Bench(args) => bench::bench(args).await,
        }
    })
}

fn print(failure: &Failure, format: Format) {
    match failure {
        // A program reads one place, whatever the answer was.
        Failure::Refused { body, .. } if format == Format::Json => {
            output::line(body.trim_end());
        }
        _ => output::note(&format!("bitacora: {failure}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::NodeUrl;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_negative_number_is_a_value_and_an_unknown_flag_is_not() {
        assert!(Cli::try_parse_from(["bitacora", "put", "k", "-5"]).is_ok());
        assert!(Cli::try_parse_from(["bitacora", "put", "k", "--no-such-flag"]).is_err());
    }

    #[test]
    fn urls_are_repeated_or_parted_with_commas() {
        let line = ["bitacora", "get", "k", "--url", "a:1,b:2", "--url", "http://c:3"];
        let Verb::Get(args) = Cli::try_parse_from(line).unwrap().verb else { panic!() };
        let urls: Vec<&str> = args.client.urls.iter().map(NodeUrl::as_str).collect();
        assert_eq!(urls, ["http://a:1", "http://b:2", "http://c:3"]);
    }

    #[test]
    fn the_help_has_examples_and_exit_codes() {
        let help = Cli::command().render_help().to_string();
        assert!(help.contains("bitacora log --follow") && help.contains("64  the command line"));
    }
}
