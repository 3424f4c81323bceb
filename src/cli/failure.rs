//! Why a command failed: what is known about a write, what to try, and the exit code.
//!
//! Every verb returns a [`Failure`]; [`super::run`] prints it and ends with its exit code.
//!
//! # Not here
//! Printing.

use std::io;

use crate::types::NodeUrl;

use super::answers::Problem;
use super::exit::Exit;

/// What is known about a write that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It did not happen and will not.
    NotApplied,
    /// Nobody knows.
    Unknown,
    /// It happened, though not on as many nodes as asked for.
    Applied,
}

impl Outcome {
    const fn sentence(self) -> &'static str {
        match self {
            Self::NotApplied => "the write did not happen",
            Self::Unknown => "it is not known whether the write happened",
            Self::Applied => {
                "the write happened: a majority has it on disk, but fewer nodes than --acks says"
            }
        }
    }

    const fn exit(self) -> Exit {
        match self {
            Self::NotApplied => Exit::Error,
            Self::Unknown => Exit::Unknown,
            Self::Applied => Exit::Partial,
        }
    }
}

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The server answered with an error.
    #[error("{}", refused_text(problem, *write))]
    Refused {
        /// What it said.
        problem: Box<Problem>,
        /// Its words, for `-o json`.
        body: String,
        /// Whether a write was asked for.
        write: bool,
    },
    /// No URL could be connected to; nothing was sent.
    #[error("{}", unreachable_text(tries, *write))]
    Unreachable {
        /// Each URL and why it failed.
        tries: Vec<(NodeUrl, String)>,
        /// Whether a write was asked for.
        write: bool,
    },
    /// The connection failed after the request may have gone out.
    #[error("{}", lost_text(url, why, *write))]
    Lost {
        /// To whom.
        url: NodeUrl,
        /// How.
        why: String,
        /// Whether a write was asked for.
        write: bool,
    },
    /// A successful answer was not what docs/api.md says.
    #[error("{url} answered what this bitacora does not understand: {why}")]
    BadAnswer {
        /// Who answered.
        url: NodeUrl,
        /// What was expected and found.
        why: String,
    },
    /// The command line asks for what cannot be.
    #[error("{0}")]
    Usage(String),
    /// The machine refused something.
    #[error("{what}: {source}")]
    Machine {
        /// What was tried.
        what: String,
        /// Why not.
        source: io::Error,
    },
    /// What was tried did not come about.
    #[error("{0}")]
    Failed(String),
}

impl Failure {
    /// The machine refused to do `what`.
    pub fn machine(what: impl Into<String>, source: io::Error) -> Self {
        Self::Machine { what: what.into(), source }
    }

    /// How the command ends.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Refused { problem, .. } if problem.code == "key_not_found" => Exit::NotFound,
            Self::Refused { problem, write: true, .. } => outcome_of(problem).exit(),
            Self::Lost { write: true, .. } => Exit::Unknown,
            Self::Usage(_) => Exit::Usage,
            Self::Refused { .. }
            | Self::Unreachable { .. }
            | Self::Lost { .. }
            | Self::BadAnswer { .. }
            | Self::Machine { .. }
            | Self::Failed(_) => Exit::Error,
        }
    }
}

/// What the server said of the write; if it said nothing, what its status proves.
fn outcome_of(problem: &Problem) -> Outcome {
    match problem.outcome.as_deref() {
        Some("not_applied") => Outcome::NotApplied,
        Some("applied") => Outcome::Applied,
        None if (400..500).contains(&problem.status) => Outcome::NotApplied,
        _ => Outcome::Unknown,
    }
}

fn refused_text(problem: &Problem, write: bool) -> String {
    let mut lines = vec![format!("{} ({}, HTTP {})", problem.title, problem.code, problem.status)];
    if !problem.detail.is_empty() {
        lines.push(problem.detail.clone());
    }
    if let Some(ms) = problem.retry_after_ms {
        lines.push(format!("try again after {ms} ms"));
    }
    if write && problem.code != "key_not_found" {
        lines.push(outcome_of(problem).sentence().to_owned());
    }
    lines.join("\n")
}

fn unreachable_text(tries: &[(NodeUrl, String)], write: bool) -> String {
    let mut lines: Vec<String> =
        tries.iter().map(|(url, why)| format!("cannot connect to {url}: {why}")).collect();
    lines.push(
        "is a node running there? `bitacora up` starts three on this machine; \
         --url or BITACORA_URL says where others are"
            .to_owned(),
    );
    if write {
        lines.push(Outcome::NotApplied.sentence().to_owned());
    }
    lines.join("\n")
}

fn lost_text(url: &NodeUrl, why: &str, write: bool) -> String {
    let mut text = format!("no answer from {url}: {why}");
    if write {
        text.push('\n');
        text.push_str(Outcome::Unknown.sentence());
        text.push_str("; `bitacora log` or a read shows it if it did");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(status: u16, code: &str, outcome: Option<&str>, write: bool) -> Failure {
        let problem = Problem {
            title: "No leader".into(),
            status,
            detail: "Start more nodes.".into(),
            code: code.into(),
            outcome: outcome.map(str::to_owned),
            ..Problem::default()
        };
        Failure::Refused { problem: Box::new(problem), body: String::new(), write }
    }

    fn url() -> NodeUrl {
        "http://127.0.0.1:5000".parse().unwrap()
    }

    #[test]
    fn the_exit_code_of_a_write_is_its_outcome() {
        let exit = |status, outcome| refused(status, "x", outcome, true).exit();
        assert_eq!(exit(503, Some("not_applied")), Exit::Error);
        assert_eq!(exit(504, Some("unknown")), Exit::Unknown);
        assert_eq!(exit(504, Some("applied")), Exit::Partial);
    }

    #[test]
    fn a_write_that_the_server_says_nothing_about_is_unknown_unless_its_status_proves_more() {
        assert_eq!(refused(502, "x", None, true).exit(), Exit::Unknown);
        assert_eq!(refused(413, "x", None, true).exit(), Exit::Error);
        assert_eq!(
            refused(400, "x", Some("a word of a later version"), true).exit(),
            Exit::Unknown
        );
    }

    #[test]
    fn a_read_never_has_an_unknown_outcome() {
        let failure = refused(504, "timeout", None, false);
        assert_eq!(failure.exit(), Exit::Error);
        assert!(!failure.to_string().contains("write"));
        assert_eq!(refused(404, "key_not_found", None, false).exit(), Exit::NotFound);
    }

    #[test]
    fn a_refusal_shows_title_detail_and_outcome() {
        let text = refused(503, "no_leader", Some("not_applied"), true).to_string();
        let expected =
            "No leader (no_leader, HTTP 503)\nStart more nodes.\nthe write did not happen";
        assert_eq!(text, expected);
    }

    #[test]
    fn a_lost_connection_leaves_a_write_unknown_and_a_failed_one_proves_that_it_did_not_happen() {
        let lost = Failure::Lost { url: url(), why: "reset".into(), write: true };
        assert_eq!(lost.exit(), Exit::Unknown);
        assert!(lost.to_string().contains("it is not known whether the write happened"));
        let tries = vec![(url(), "connection refused".into())];
        let unreachable = Failure::Unreachable { tries, write: true };
        assert_eq!(unreachable.exit(), Exit::Error);
        let text = unreachable.to_string();
        assert!(text.starts_with("cannot connect to http://127.0.0.1:5000: connection refused"));
        assert!(text.ends_with("the write did not happen"));
    }
}
