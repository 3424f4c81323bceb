//! Nodes as real processes.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value as Json;
use tempfile::TempDir;

use super::http::{self, NoAnswer, Request, Response, get};
use super::ports::Ports;
use super::process::{self, Process, Signal};
use super::{BITACORA, SOON, eventually};

/// One node: its place on disk and on the network, and its process if it runs.
pub struct Node {
    pub name: String,
    pub port: u16,
    pub data_dir: PathBuf,
    pub log_file: PathBuf,
    pub process: Option<Process>,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
}

impl Node {
    pub fn start(&mut self) {
        assert!(self.process.is_none(), "{} runs already", self.name);
        let mut command = process::command(BITACORA);
        command.arg("serve").args(&self.arguments);
        command.args(["--exit-with-parent", &std::process::id().to_string()]);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        self.process = Some(Process::start(command, &self.log_file));
    }

    fn process(&mut self) -> &mut Process {
        self.process.as_mut().unwrap_or_else(|| panic!("{} does not run", self.name))
    }

    pub fn pid(&self) -> u32 {
        self.process.as_ref().unwrap().pid()
    }

    pub fn kill(&mut self) {
        self.process.take().unwrap().kill();
    }

    pub fn pause(&mut self) {
        self.process().pause();
    }

    pub fn resume(&mut self) {
        self.process().resume();
    }

    /// SIGTERM, then waits; the exit code.
    pub fn stop(&mut self) -> i32 {
        self.process().signal(Signal::TERM);
        self.wait_for_end(SOON)
    }

    /// Waits until it ends by itself; the exit code.
    pub fn wait_for_end(&mut self, within: Duration) -> i32 {
        let status = self.process().wait(within);
        self.process = None;
        status.code().unwrap_or(-1)
    }

    pub fn ask(&self, request: &Request) -> Response {
        self.try_ask(request).unwrap_or_else(|error| {
            panic!("{} {} on {}: {error:?}", request.method, request.target, self.name)
        })
    }

    pub fn try_ask(&self, request: &Request) -> Result<Response, NoAnswer> {
        http::ask(self.port, request)
    }

    /// `GET /heartbeat`, if it answers.
    pub fn heartbeat(&self) -> Option<Json> {
        let request = get("/heartbeat").within(Duration::from_secs(2));
        let response = self.try_ask(&request).ok()?;
        (response.status == 200).then(|| response.json())
    }

    pub fn is_live(&self) -> bool {
        self.try_ask(&get("/livez").within(Duration::from_secs(5))).is_ok_and(|r| r.status == 200)
    }

    pub fn is_ready(&self) -> bool {
        let request = get("/readyz").within(Duration::from_secs(2));
        self.try_ask(&request).is_ok_and(|response| response.status == 200)
    }

    /// A counter or gauge of `GET /metrics`, summed over its labels that contain `label`.
    pub fn metric(&self, name: &str, label: &str) -> f64 {
        let text = self.ask(&get("/metrics")).text();
        let line = |line: &&str| {
            line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']))
                && line.contains(label)
        };
        let value = |line: &str| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap();
        text.lines().filter(line).map(value).sum()
    }

    /// Every committed entry from `from` on, page by page.
    pub fn whole_log(&self, from: u64) -> Vec<Json> {
        let mut entries = Vec::new();
        let mut next = from;
        loop {
            let page = self.ask(&get(format!("/v1/log?from={next}&limit=1000"))).expect(200);
            let before = entries.len();
            entries.extend(
                page.body
                    .split(|byte| *byte == b'\n')
                    .filter(|l| !l.is_empty())
                    .map(|line| serde_json::from_slice::<Json>(line).unwrap()),
            );
            if entries.len() == before {
                return entries;
            }
            next = entries.last().unwrap()["index"].as_u64().unwrap() + 1;
        }
    }

    /// Every key as this node has it, page by page.
    pub fn whole_kv(&self) -> Vec<Json> {
        let mut items = Vec::new();
        let mut cursor = String::new();
        loop {
            let target = format!("/v1/kv?consistency=stale&limit=1000&cursor={cursor}");
            let page = self.ask(&get(target)).expect(200);
            items.extend(page.member("items").as_array().unwrap().iter().cloned());
            match page.member("next_cursor").as_str() {
                Some(next) => next.clone_into(&mut cursor),
                None => return items,
            }
        }
    }

    pub fn log_text(&self) -> String {
        std::fs::read_to_string(&self.log_file).unwrap_or_default()
    }
}

/// Some nodes in a directory that goes with them.
pub struct Cluster {
    pub nodes: Vec<Node>,
    pub ports: Ports,
    dir: TempDir,
}

impl Cluster {
    /// Three nodes that serve.
    pub fn three() -> Self {
        Self::start(3, &[])
    }

    /// Nodes that serve, each with these flags too.
    pub fn start(count: usize, flags: &[&str]) -> Self {
        let mut cluster = Self::planned(count, flags);
        cluster.nodes.iter_mut().for_each(Node::start);
        cluster.wait_until_ready();
        cluster
    }

    /// Nodes that do not run yet.
    pub fn planned(count: usize, flags: &[&str]) -> Self {
        let ports = Ports::take();
        let name = |place: usize| format!("node{}", place + 1);
        let url = |place: usize| format!("http://127.0.0.1:{}", ports.at(place));
        let peers: Vec<_> = (0..count).map(|i| format!("{}={}", name(i), url(i))).collect();
        let peers = peers.join(",");
        let dir = tempfile::tempdir().unwrap();
        let node = |place: usize| {
            let data_dir = dir.path().join(name(place));
            let mut arguments: Vec<String> = [
                "--node-id",
                &name(place),
                "--listen",
                &format!("127.0.0.1:{}", ports.at(place)),
                "--peers",
                &peers,
                "--data-dir",
                data_dir.to_str().unwrap(),
            ]
            .map(str::to_owned)
            .to_vec();
            arguments.extend(flags.iter().map(|flag| (*flag).to_owned()));
            Node {
                name: name(place),
                port: ports.at(place),
                log_file: dir.path().join(format!("{}.log", name(place))),
                data_dir,
                process: None,
                arguments,
                environment: Vec::new(),
            }
        };
        Self { nodes: (0..count).map(node).collect(), ports, dir }
    }

    /// Nodes that get all they know from these variables, as the seed's did; none runs yet.
    pub fn from_environments(ports: Ports, nodes: Vec<(u16, Vec<(String, String)>)>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let nodes = nodes.into_iter().map(|(port, mut environment)| {
            let name = environment.iter().find(|(name, _)| name == "NODE_ID").unwrap().1.clone();
            let data = dir.path().join("datos").to_str().unwrap().to_owned();
            environment.push(("ARCHIVO_LOG".to_owned(), data));
            Node {
                port,
                data_dir: dir.path().join("datos.d").join(&name),
                log_file: dir.path().join(format!("{name}.log")),
                process: None,
                arguments: Vec::new(),
                environment,
                name,
            }
        });
        Self { nodes: nodes.collect(), ports, dir }
    }

    /// Before a node starts: variables of its environment.
    pub fn set_environment(&mut self, variables: &[(&str, &str)]) {
        for node in &mut self.nodes {
            let owned = variables.iter().map(|(name, value)| (*name, *value));
            let owned = owned.map(|(name, value)| (name.to_owned(), value.to_owned()));
            node.environment.extend(owned);
        }
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    pub fn running(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter().filter(|node| node.process.is_some())
    }

    /// Who leads a majority now, if that is so.
    pub fn find_leader(&self) -> Option<usize> {
        let leads = |node: &Node| {
            let heartbeat = node.heartbeat()?;
            (heartbeat["role"] == "leader" && node.is_ready())
                .then(|| heartbeat["term"].as_u64().unwrap())
        };
        let runs = |place: &usize| self.nodes[*place].process.is_some();
        let terms = (0..self.nodes.len()).filter(runs).map(|at| (leads(&self.nodes[at]), at));
        terms.filter_map(|(term, at)| Some((term?, at))).max().map(|(_, at)| at)
    }

    pub fn leader(&self) -> usize {
        eventually("a node leads a majority", SOON, || self.find_leader())
    }

    pub fn followers(&self) -> Vec<usize> {
        let leader = self.leader();
        (0..self.nodes.len()).filter(|place| *place != leader).collect()
    }

    pub fn wait_until_ready(&self) {
        for node in self.running() {
            eventually(&format!("{} is ready", node.name), SOON, || node.is_ready().then_some(()));
        }
    }

    /// Waits until all running nodes have applied the same, and answers index and hash.
    pub fn wait_all_caught_up(&self) -> (u64, String) {
        eventually("all nodes have the same state", SOON, || {
            let beats: Option<Vec<Json>> = self.running().map(Node::heartbeat).collect();
            let states = beats?.into_iter().map(|beat| {
                let index = beat["applied_index"].as_u64()?;
                let same = beat["commit_index"].as_u64() == Some(index);
                same.then(|| (index, beat["state_hash"].as_str().unwrap().to_owned()))
            });
            let states: Vec<_> = states.collect::<Option<_>>()?;
            let first = states.first()?.clone();
            states.iter().all(|state| *state == first).then_some(first)
        })
    }

    pub fn wait_for_majority(&self) {
        self.leader();
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        for node in &self.nodes {
            let text = node.log_text();
            let lines: Vec<_> = text.lines().collect();
            eprintln!("--- the last lines of {} (port {}) ---", node.name, node.port);
            for line in lines.iter().skip(lines.len().saturating_sub(25)) {
                eprintln!("{line}");
            }
        }
    }
}
