//! `bitacora status` and `bitacora probe`: how the cluster is, for people and for health checks.
//!
//! The leader says who the members are; each member is then asked itself, so that what is shown of
//! a node never comes from hearsay alone.
//!
//! # Not here
//! Telling what changes: `up` does.

use std::time::Duration;

use futures_util::future::join_all;

use super::answers::{Cluster, Heartbeat, Member};
use super::client::{Client, Silence};
use super::exit::Exit;
use super::failure::Failure;
use super::options::{ClientArgs, parse_url};
use super::output::{self, Format, or_dash};
use super::request::{Method, Request};

/// How long a member may take to say how it is.
const MEMBER_TIMEOUT: Duration = Duration::from_secs(1);

/// `bitacora status`.
#[derive(Debug, clap::Args)]
pub struct StatusArgs {
    /// Whom to ask and how to show the answer.
    #[command(flatten)]
    pub client: ClientArgs,
}

/// `bitacora probe`.
#[derive(Debug, clap::Args)]
pub struct ProbeArgs {
    /// live: the process runs its loop, quorum or not. ready: it knows a leader with a majority and
    /// has caught up
    #[arg(value_enum, default_value = "ready")]
    what: Probe,
    /// Whom to ask and how to show the answer.
    #[command(flatten)]
    pub client: ClientArgs,
}

/// What a health check asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Probe {
    Live,
    Ready,
}

/// Asks one node, the first URL, how it is; the exit code is the answer.
pub async fn probe(mut args: ProbeArgs) -> Result<Exit, Failure> {
    // Another node's health says nothing about this one's.
    args.client.urls.truncate(1);
    let path = match args.what {
        Probe::Live => "/livez",
        Probe::Ready => "/readyz",
    };
    let request = Request::new(Method::Get, path);
    if let Some(exit) = args.client.printed_as_curl(&request, false) {
        return Ok(exit);
    }
    let answer = args.client.client()?.send(&request).await?;
    output::line(answer.text().trim_end());
    Ok(Exit::Ok)
}

/// Shows all nodes. 0 while somebody leads a majority, else 1.
pub async fn status(args: StatusArgs) -> Result<Exit, Failure> {
    let request = Request::new(Method::Get, "/v1/cluster");
    if let Some(exit) = args.client.printed_as_curl(&request, false) {
        return Ok(exit);
    }
    let client = args.client.client()?;
    let cluster: Cluster = client.send(&request).await?.json()?;
    let heard = join_all(cluster.members.iter().map(|member| ask(&client, member))).await;
    let nodes: Vec<Node> = cluster
        .members
        .into_iter()
        .zip(heard)
        .map(|(member, heard)| Node { member, heard })
        .collect();
    let health = Health::of(&nodes);
    match args.client.output {
        Format::Table => {
            output::line(&format!("{}\n\n{}", table(&nodes), health.sentence()));
        }
        Format::Json => {
            output::line(&json(&cluster.cluster_id, &nodes, &health).to_string());
        }
    }
    Ok(if health.serves() { Exit::Ok } else { Exit::Error })
}

async fn ask(client: &Client, member: &Member) -> Result<Heartbeat, Silence> {
    let url = parse_url(&member.url).map_err(|why| Silence { refused: true, why })?;
    client.heartbeat(&url, MEMBER_TIMEOUT).await
}

/// A member and what it said.
struct Node {
    member: Member,
    heard: Result<Heartbeat, Silence>,
}

/// What the nodes say together.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Health {
    /// The leader of the newest term that any node is in, if it answers itself.
    leader: Option<(String, u64)>,
    /// Voters there are.
    voters: usize,
    /// Voters that answer.
    answering: usize,
}

impl Health {
    fn of(nodes: &[Node]) -> Self {
        let voters = nodes.iter().filter(|node| node.member.role != "learner");
        let leader = nodes
            .iter()
            .filter_map(|node| node.heard.as_ref().ok())
            .filter(|heartbeat| heartbeat.role == "leader")
            .max_by_key(|heartbeat| heartbeat.term)
            .map(|heartbeat| (heartbeat.node.clone(), heartbeat.term));
        Self {
            leader,
            voters: voters.clone().count(),
            answering: voters.filter(|node| node.heard.is_ok()).count(),
        }
    }

    fn majority(&self) -> usize {
        self.voters / 2 + 1
    }

    fn serves(&self) -> bool {
        self.leader.is_some() && self.answering >= self.majority()
    }

    fn sentence(&self) -> String {
        let (answering, voters, majority) = (self.answering, self.voters, self.majority());
        if answering < majority {
            let missing = majority.saturating_sub(answering);
            return format!(
                "{answering} of {voters} voters answer and {majority} are a majority: writes are \
                 refused until {missing} more {} back",
                if missing == 1 { "is" } else { "are" }
            );
        }
        let Some((leader, term)) = &self.leader else {
            return format!(
                "{answering} of {voters} voters answer but nobody leads: an election should end \
                 this within a second; if it does not, look at the nodes' logs"
            );
        };
        let spare = match answering.saturating_sub(majority) {
            0 => "no node can fail without stopping writes".to_owned(),
            1 => "1 node can fail without stopping writes".to_owned(),
            more => format!("{more} nodes can fail without stopping writes"),
        };
        format!("{leader} leads in term {term}; {answering} of {voters} voters answer: {spare}")
    }
}

fn table(nodes: &[Node]) -> String {
    let head =
        ["NODE", "URL", "ROLE", "TERM", "COMMIT", "APPLIED", "LAG", "LAST ACK", "UPTIME", "PID"];
    let rows: Vec<Vec<String>> = nodes.iter().map(row).collect();
    output::table(&head, &rows)
}

fn row(node: &Node) -> Vec<String> {
    let member = &node.member;
    let mut cells = vec![member.name.clone(), member.url.clone()];
    match &node.heard {
        Ok(heartbeat) => cells.extend([
            heartbeat.role.clone(),
            heartbeat.term.to_string(),
            or_dash(heartbeat.commit_index),
            or_dash(heartbeat.applied_index),
        ]),
        Err(silence) => {
            let word = if silence.refused { "unreachable" } else { "silent" };
            cells.extend([word, "-", "-", "-"].map(str::to_owned));
        }
    }
    let heard = node.heard.as_ref().ok();
    cells.extend([
        or_dash(member.lag_entries),
        or_dash(member.last_ack_ms.map(|ms| format!("{ms:.0} ms ago"))),
        or_dash(heard.and_then(|heartbeat| heartbeat.uptime_ms).map(age)),
        or_dash(heard.and_then(|heartbeat| heartbeat.pid)),
    ]);
    cells
}

/// A time span as its largest unit.
fn age(ms: u64) -> String {
    let seconds = ms / 1_000;
    match seconds {
        0 => format!("{ms}ms"),
        1..120 => format!("{seconds}s"),
        120..7_200 => format!("{}m", seconds / 60),
        7_200..172_800 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

fn json(cluster_id: &str, nodes: &[Node], health: &Health) -> serde_json::Value {
    let nodes: Vec<serde_json::Value> = nodes
        .iter()
        .map(|node| {
            let heard = node.heard.as_ref().ok();
            serde_json::json!({
                "name": node.member.name,
                "url": node.member.url,
                "member_role": node.member.role,
                "reachable": node.heard.is_ok(),
                "why_not": node.heard.as_ref().err().map(|silence| &silence.why),
                "role": heard.map(|heartbeat| &heartbeat.role),
                "term": heard.map(|heartbeat| heartbeat.term),
                "commit_index": heard.and_then(|heartbeat| heartbeat.commit_index),
                "applied_index": heard.and_then(|heartbeat| heartbeat.applied_index),
                "lag_entries": node.member.lag_entries,
                "last_ack_ms": node.member.last_ack_ms,
                "uptime_ms": heard.and_then(|heartbeat| heartbeat.uptime_ms),
                "pid": heard.and_then(|heartbeat| heartbeat.pid),
            })
        })
        .collect();
    serde_json::json!({
        "cluster_id": cluster_id,
        "leader": health.leader.as_ref().map(|(name, _)| name),
        "term": health.leader.as_ref().map(|(_, term)| term),
        "voters": health.voters,
        "voters_answering": health.answering,
        "nodes_that_can_fail": health.answering.saturating_sub(health.majority()),
        "serves_writes": health.serves(),
        "nodes": nodes,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str, role: Option<(&str, u64)>) -> Node {
        let member = Member {
            name: name.into(),
            url: format!("http://{name}:5000"),
            role: "voter".into(),
            ..Member::default()
        };
        let silent = || Silence { refused: true, why: "connection refused".into() };
        let heard = role.ok_or_else(silent).map(|(role, term)| Heartbeat {
            node: name.into(),
            role: role.into(),
            term,
            applied_index: Some(9),
            ..Heartbeat::default()
        });
        Node { member, heard }
    }

    #[test]
    fn a_whole_cluster_says_who_leads_and_how_many_may_fail() {
        let nodes = [
            node("a", Some(("leader", 3))),
            node("b", Some(("follower", 3))),
            node("c", Some(("follower", 3))),
        ];
        let health = Health::of(&nodes);
        assert!(health.serves());
        let expected =
            "a leads in term 3; 3 of 3 voters answer: 1 node can fail without stopping writes";
        assert_eq!(health.sentence(), expected);
    }

    #[test]
    fn without_a_majority_it_says_what_is_needed_even_if_one_still_believes_to_lead() {
        let nodes = [node("a", Some(("leader", 3))), node("b", None), node("c", None)];
        let health = Health::of(&nodes);
        assert!(!health.serves());
        assert!(health.sentence().contains("writes are refused until 1 more is back"));
        assert!(table(&nodes).contains("unreachable"));
    }

    #[test]
    fn of_two_that_believe_to_lead_the_newer_term_counts() {
        let nodes = [
            node("a", Some(("leader", 3))),
            node("b", Some(("leader", 4))),
            node("c", Some(("follower", 4))),
        ];
        assert_eq!(Health::of(&nodes).leader, Some(("b".to_owned(), 4)));
    }

    #[test]
    fn a_learner_is_no_voter() {
        let mut learner = node("d", Some(("learner", 3)));
        learner.member.role = "learner".into();
        let health = Health::of(&[node("a", Some(("leader", 3))), learner]);
        assert_eq!((health.voters, health.answering), (1, 1));
        assert!(health.sentence().ends_with("no node can fail without stopping writes"));
    }

    #[test]
    fn an_age_has_one_unit() {
        assert_eq!([age(7), age(61_000), age(600_000)], ["7ms", "61s", "10m"]);
        assert_eq!([age(7_200_000), age(200_000_000)], ["2h", "2d"]);
    }
}
