//! `bitacora up`: a real cluster on this machine, and what happens in it, told as it happens.
//!
//! One process a node, so that `kill -9` of one is what it is in earnest. What is told comes from
//! the nodes' own heartbeats, asked over HTTP.
//!
//! # Not here
//! A node's inside; `up` starts `bitacora serve` and is otherwise a client like any other.

pub mod children;
pub mod plan;
pub mod story;
pub mod watch;

use std::path::PathBuf;
use std::pin::Pin;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::MissedTickBehavior;

use crate::os::clock::{Clock, SystemClock};
use crate::os::signal::stop_requested;

use super::client::Client;
use super::exit::Exit;
use super::failure::Failure;
use super::output;
use children::Children;
use plan::{Asked, Plan, PlannedNode};
use watch::{Event, Reading, View, events};

/// How often the nodes are asked.
const ROUND: Duration = Duration::from_millis(200);
/// How long a node may take to answer before it counts as silent in this round.
const ANSWER_TIMEOUT: Duration = Duration::from_millis(400);

const EXAMPLES: &str = "\
Examples:
  bitacora up                              three nodes on ports 5000 to 5002
  bitacora up                              again: resumes what is in the directory
  bitacora up --nodes 5 --base-port 7000 --data-dir /tmp/five
  bitacora up -- --log-level debug         what follows -- is given to each node's `serve`";

/// `bitacora up`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct UpArgs {
    /// How many nodes; without it, what the directory holds, else 3
    #[arg(long, value_parser = clap::value_parser!(u16).range(1..=9))]
    nodes: Option<u16>,
    /// The first node's port, the others follow; without it, what the directory holds, else 5000
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    base_port: Option<u16>,
    /// Where everything is kept
    #[arg(long, value_name = "DIR", default_value = "./bitacora-data")]
    data_dir: PathBuf,
    /// Leave a node dead that dies; otherwise it is started again after 3 seconds
    #[arg(long)]
    no_restart: bool,
    /// Arguments for each node's `bitacora serve`
    #[arg(last = true, value_name = "SERVE ARGUMENTS")]
    serve: Vec<String>,
}

/// Runs a cluster until it is told to stop.
pub async fn up(args: UpArgs) -> Result<Exit, Failure> {
    // Asked for once before anything starts: from then on Ctrl-C ends no process by itself.
    let mut stop: Pin<Box<_>> = Box::pin(stop_requested());
    let _ = futures_util::poll!(stop.as_mut());

    let asked = Asked { nodes: args.nodes, base_port: args.base_port };
    let plan = Plan::make(&args.data_dir, asked, args.serve)?;
    let client = Client::new(Vec::new(), ANSWER_TIMEOUT)?;
    refuse_taken_ports(&plan, &client).await?;
    let children = Children::start(&plan, !args.no_restart)?;
    let mut cluster = Cluster {
        clock: SystemClock::new(),
        view: View::new(plan.nodes.iter().map(|node| node.name.as_str())),
        restarts: !args.no_restart,
        plan,
        client,
        children,
    };
    cluster.tell(&cluster.first_words());

    let mut rounds = tokio::time::interval(ROUND);
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        // Both branches are cancel-safe: a signal is not lost, a tick holds nothing.
        tokio::select! {
            stopped = stop.as_mut() => {
                stopped.map_err(|error| Failure::machine("cannot wait for signals", error))?;
                return Ok(cluster.stop().await);
            }
            _ = rounds.tick() => cluster.round().await,
        }
        if !cluster.children.any_left() {
            return Err(Failure::Failed("no node is left running".to_owned()));
        }
    }
}

/// The cluster and what is known of it.
struct Cluster {
    clock: SystemClock,
    plan: Plan,
    client: Client,
    children: Children,
    view: View,
    restarts: bool,
}

impl Cluster {
    async fn round(&mut self) {
        for line in self.children.look_after() {
            self.tell(&line);
        }
        let ask = |node: &PlannedNode| {
            let runs = self.children.pid(&node.name).is_some();
            let url = node.url.clone();
            let client = &self.client;
            async move { if runs { ask(client, url).await } else { Reading::Ended } }
        };
        let readings = join_all(self.plan.nodes.iter().map(ask)).await;
        let next = self.view.observe(&readings);
        let happened = events(&self.view, &next);
        self.view = next;
        for event in happened {
            self.tell_event(&event);
        }
    }

    fn tell_event(&self, event: &Event) {
        let pid = |node: &str| match self.children.pid(node) {
            Some(pid) => format!(" (pid {pid})"),
            None => String::new(),
        };
        match event {
            Event::Ready => {
                let leader = self.view.leader();
                let leader = leader.and_then(|name| Some((name, self.children.pid(name)?)));
                output::line(&format!("{}\n", story::hints(&self.plan, leader, self.restarts)));
            }
            Event::Up { node } | Event::Back { node, .. } | Event::Leads { node, .. } => {
                self.tell(&format!("{}{}", story::sentence(event), pid(node)));
            }
            _ => self.tell(&story::sentence(event)),
        }
    }

    fn first_words(&self) -> String {
        let (count, dir) = (self.plan.nodes.len(), self.plan.dir.display());
        let verb = if self.plan.resumes { "resuming" } else { "starting" };
        let nodes = if count == 1 { "node" } else { "nodes" };
        format!("{verb} {count} {nodes} in {dir} (times are UTC)")
    }

    async fn stop(&mut self) -> Exit {
        self.tell("stopping; again to kill");
        let hurry = async {
            // Without signals there is still the limit of time.
            if stop_requested().await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        for line in self.children.stop(hurry).await {
            self.tell(&line);
        }
        self.tell("stopped; `bitacora up` resumes");
        Exit::Ok
    }

    fn tell(&self, text: &str) {
        let now = output::time_of_day(self.clock.wall_unix_ms());
        // A reader that is gone does not stop the cluster.
        output::line(&format!("{now}  {text}"));
    }
}

async fn ask(client: &Client, url: crate::types::NodeUrl) -> Reading {
    match client.heartbeat(&url, ANSWER_TIMEOUT).await {
        Ok(heartbeat) => Reading::Heard(heartbeat),
        Err(silence) if silence.refused => Reading::Refused,
        Err(_) => Reading::Silent,
    }
}

async fn refuse_taken_ports(plan: &Plan, client: &Client) -> Result<(), Failure> {
    let mut lines = Vec::new();
    for node in plan.taken_ports() {
        let port = node.listen.port();
        let who = match client.heartbeat(&node.url, ANSWER_TIMEOUT).await {
            Ok(heard) => {
                let pid = output::or_dash(heard.pid);
                format!("bitacora's {} (pid {pid}) has it: is `up` running already?", heard.node)
            }
            Err(_) => format!("`ss -ltnp 'sport = :{port}'` shows who has it"),
        };
        lines.push(format!("port {port}, for {}, is taken: {who}", node.name));
    }
    if lines.is_empty() {
        return Ok(());
    }
    lines.push("--base-port chooses others for a new directory".to_owned());
    Err(Failure::Failed(lines.join("\n")))
}
