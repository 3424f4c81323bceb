//! Options that every verb which asks a node has in common.
//!
//! # Not here
//! The options of a single verb.

use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;

use crate::types::{NodeUrl, parse_duration};

use super::client::Client;
use super::exit::Exit;
use super::failure::Failure;
use super::output::{self, Format};
use super::request::{Body, Request};

/// Whom to ask and how to show the answer.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Connection and output")]
pub struct ClientArgs {
    /// Nodes to ask, the first that can be connected to is taken; repeat it or part with commas
    #[arg(
        long = "url", env = "BITACORA_URL", value_name = "URL", value_delimiter = ',',
        default_value = "http://127.0.0.1:5000", value_parser = parse_url
    )]
    pub urls: Vec<NodeUrl>,
    /// How long the answer may take: 1ms to 60s
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = parse_timeout)]
    pub timeout: Duration,
    /// For people or for programs
    #[arg(short, long, value_enum, default_value = "table")]
    pub output: Format,
    /// Print the equivalent curl line instead of asking
    #[arg(long)]
    pub curl: bool,
}

impl ClientArgs {
    /// The client for these options.
    pub fn client(&self) -> Result<Client, Failure> {
        Client::new(self.urls.clone(), self.timeout)
    }

    /// With `--curl`, prints the request and is done.
    pub fn printed_as_curl(&self, request: &Request, stream: bool) -> Option<Exit> {
        let node = self.urls.first().filter(|_| self.curl)?;
        output::line(&request.curl(node, stream));
        Some(Exit::Ok)
    }

    /// The timeout as a query parameter.
    pub fn timeout_text(&self) -> String {
        format!("{}ms", self.timeout.as_millis())
    }
}

/// Reads a node's URL; the scheme may be left out.
pub fn parse_url(text: &str) -> Result<NodeUrl, String> {
    let full = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
    full.parse().map_err(|error: crate::types::Invalid| error.to_string())
}

/// Reads a timeout that the server accepts.
fn parse_timeout(text: &str) -> Result<Duration, String> {
    let timeout = parse_duration(text).map_err(|error| error.to_string())?;
    if timeout.is_zero() || timeout > Duration::from_mins(1) {
        return Err(format!("a timeout is from 1ms to 60s, found {text}"));
    }
    Ok(timeout)
}

/// Reads `--acks`.
pub fn parse_acks(text: &str) -> Result<String, String> {
    let number = text.parse::<u32>().is_ok_and(|number| number > 0);
    if number || matches!(text, "quorum" | "all") {
        return Ok(text.to_owned());
    }
    Err(format!("acks is quorum, all or a number of nodes, found {text:?}"))
}

/// Reads where a body comes from: `-` is stdin, `@file` a file, anything else itself.
pub fn parse_body(text: &str) -> Body {
    match text.strip_prefix('@') {
        Some(path) => Body::File(PathBuf::from(path)),
        None if text == "-" => Body::Stdin,
        None => Body::Inline(Bytes::copy_from_slice(text.as_bytes())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_may_leave_out_its_scheme() {
        assert_eq!(parse_url("localhost:5001").unwrap().as_str(), "http://localhost:5001");
        assert!(parse_url("https://localhost:5001").unwrap_err().contains("http://"));
    }

    #[test]
    fn a_timeout_is_one_that_the_server_accepts() {
        assert_eq!(parse_timeout("60s"), Ok(Duration::from_mins(1)));
        for wrong in ["0ms", "61s", "5"] {
            assert!(parse_timeout(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn acks_is_a_word_or_a_number_of_nodes() {
        for right in ["quorum", "all", "1", "3"] {
            assert_eq!(parse_acks(right).as_deref(), Ok(right));
        }
        for wrong in ["", "0", "-1", "most"] {
            assert!(parse_acks(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_body_comes_from_the_command_line_a_file_or_stdin() {
        assert_eq!(parse_body("-"), Body::Stdin);
        assert_eq!(parse_body("@notes.txt"), Body::File("notes.txt".into()));
        assert_eq!(parse_body("-5"), Body::Inline(Bytes::from_static(b"-5")));
        assert_eq!(parse_body(""), Body::Inline(Bytes::new()));
    }
}
