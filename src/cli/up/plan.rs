//! Which nodes `up` starts: their names, ports, directories, arguments and environment.
//!
//! A directory is for one shape of cluster, kept in `up.json`: its nodes know each other by their
//! ports, so they would not find each other on others.
//!
//! # Not here
//! Processes ([`super::children`]).

use std::ffi::{OsStr, OsString};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::cli::failure::Failure;
use crate::os::disk::{Disk, SystemDisk, read_whole, replace_file};
use crate::types::NodeUrl;

const SHAPE_FILE: &str = "up.json";
const DEFAULT_NODES: u16 = 3;
const DEFAULT_BASE_PORT: u16 = 5000;
/// The seed's variables: they mean something to `serve` and are not meant for these nodes.
const SEED_VARIABLES: [&str; 9] = [
    "NODE_ID",
    "ES_LIDER",
    "SEGUIDORES",
    "URL_LIDER",
    "PUERTO",
    "MIN_CONFIRMACIONES_REQUERIDAS",
    "HEARTBEAT_INTERVAL",
    "HEARTBEAT_TIMEOUT",
    "ARCHIVO_LOG",
];

/// How many nodes, and on which ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shape {
    /// How many.
    pub nodes: u16,
    /// The first node's port; the others follow.
    pub base_port: u16,
}

/// What `up` was asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Asked {
    /// `--nodes`.
    pub nodes: Option<u16>,
    /// `--base-port`.
    pub base_port: Option<u16>,
}

impl Shape {
    /// What is asked for, else what the directory holds, else the default. An error if the first
    /// two contradict each other.
    fn decide(asked: Asked, kept: Option<Self>) -> Result<Self, String> {
        let Some(kept) = kept else {
            let shape = Self {
                nodes: asked.nodes.unwrap_or(DEFAULT_NODES),
                base_port: asked.base_port.unwrap_or(DEFAULT_BASE_PORT),
            };
            return match shape.base_port.checked_add(shape.nodes.saturating_sub(1)) {
                Some(_) => Ok(shape),
                None => {
                    Err(format!("{} ports from {} on are too many", shape.nodes, shape.base_port))
                }
            };
        };
        let same = asked.nodes.is_none_or(|nodes| nodes == kept.nodes)
            && asked.base_port.is_none_or(|port| port == kept.base_port);
        if same {
            return Ok(kept);
        }
        Err(format!(
            "the directory holds a cluster of {} nodes from port {} on: leave out --nodes and \
             --base-port to resume it, or choose another --data-dir",
            kept.nodes, kept.base_port
        ))
    }
}

/// One node that is to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedNode {
    /// `node1`, `node2`, …
    pub name: String,
    /// Where it listens.
    pub listen: SocketAddr,
    /// Where it is reached.
    pub url: NodeUrl,
}

/// The nodes that are to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Where everything is kept.
    pub dir: PathBuf,
    /// The nodes.
    pub nodes: Vec<PlannedNode>,
    /// Arguments that the user added for `serve`.
    pub extra: Vec<String>,
    /// Whether the directory held this cluster before.
    pub resumes: bool,
}

impl Plan {
    /// Decides what to run in `dir` and writes it down there.
    pub fn make(dir: &Path, asked: Asked, extra: Vec<String>) -> Result<Self, Failure> {
        let io = |error| Failure::machine(format!("cannot use {}", dir.display()), error);
        SystemDisk.create_dir_all(dir).map_err(io)?;
        let kept = kept_shape(dir)?;
        let shape = Shape::decide(asked, kept)
            .map_err(|why| Failure::Usage(format!("{}: {why}", dir.display())))?;
        if kept.is_none() {
            let text = serde_json::json!({ "nodes": shape.nodes, "base_port": shape.base_port });
            replace_file(&SystemDisk, dir, SHAPE_FILE, format!("{text}\n").as_bytes())
                .map_err(io)?;
        }
        let nodes = planned(shape)?;
        Ok(Self { dir: dir.to_owned(), nodes, extra, resumes: kept.is_some() })
    }

    /// The arguments of one node's process, which is to end with the process `parent`.
    pub fn arguments(&self, node: &PlannedNode, parent: u32) -> Vec<OsString> {
        let peers: Vec<String> =
            self.nodes.iter().map(|peer| format!("{}={}", peer.name, peer.url)).collect();
        let mut arguments: Vec<OsString> = vec![
            "serve".into(),
            "--node-id".into(),
            node.name.clone().into(),
            "--listen".into(),
            node.listen.to_string().into(),
            "--peers".into(),
            peers.join(",").into(),
            "--data-dir".into(),
            self.dir.join(&node.name).into(),
            "--exit-with-parent".into(),
            parent.to_string().into(),
        ];
        arguments.extend(self.extra.iter().map(OsString::from));
        arguments
    }

    /// Where one node's diagnostics go.
    pub fn log_file(&self, node: &PlannedNode) -> PathBuf {
        self.dir.join(format!("{}.log", node.name))
    }

    /// The nodes whose port somebody else has.
    pub fn taken_ports(&self) -> Vec<&PlannedNode> {
        self.nodes.iter().filter(|node| TcpListener::bind(node.listen).is_err()).collect()
    }
}

fn planned(shape: Shape) -> Result<Vec<PlannedNode>, Failure> {
    let ports = shape.base_port..=shape.base_port.saturating_add(shape.nodes.saturating_sub(1));
    let node = |(number, port): (usize, u16)| {
        let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let url = format!("http://{listen}").parse();
        let url = url.map_err(|error: crate::types::Invalid| Failure::Usage(error.to_string()))?;
        Ok(PlannedNode { name: format!("node{}", number.saturating_add(1)), listen, url })
    };
    ports.enumerate().map(node).collect()
}

fn kept_shape(dir: &Path) -> Result<Option<Shape>, Failure> {
    let path = dir.join(SHAPE_FILE);
    let bytes = match read_whole(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => {
            return Err(Failure::machine(format!("cannot read {}", path.display()), error));
        }
    };
    let wrong =
        |error| Failure::Failed(format!("{} is not what `up` wrote: {error}", path.display()));
    serde_json::from_slice(&bytes).map(Some).map_err(wrong)
}

/// Whether a variable of our environment would change what a node does.
pub fn is_for_nodes(variable: &OsStr) -> bool {
    let Some(name) = variable.to_str() else {
        return false;
    };
    name.starts_with("BITACORA_") || SEED_VARIABLES.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEPT: Shape = Shape { nodes: 3, base_port: 5000 };

    fn asked(nodes: Option<u16>, base_port: Option<u16>) -> Asked {
        Asked { nodes, base_port }
    }

    #[test]
    fn a_new_directory_takes_what_is_asked_or_the_default() {
        assert_eq!(Shape::decide(asked(None, None), None), Ok(KEPT));
        let five = Shape { nodes: 5, base_port: 6000 };
        assert_eq!(Shape::decide(asked(Some(5), Some(6000)), None), Ok(five));
        assert!(Shape::decide(asked(Some(5), Some(65_534)), None).is_err());
    }

    #[test]
    fn a_directory_is_resumed_in_its_own_shape_and_no_other() {
        assert_eq!(Shape::decide(asked(None, None), Some(KEPT)), Ok(KEPT));
        assert_eq!(Shape::decide(asked(Some(3), None), Some(KEPT)), Ok(KEPT));
        assert!(Shape::decide(asked(Some(5), None), Some(KEPT)).unwrap_err().contains("3 nodes"));
        assert!(Shape::decide(asked(None, Some(6000)), Some(KEPT)).is_err());
    }

    #[test]
    fn a_second_start_finds_what_the_first_one_wrote() {
        let dir = tempfile::tempdir().unwrap();
        let first = Plan::make(dir.path(), asked(Some(2), Some(7000)), Vec::new()).unwrap();
        assert!(!first.resumes);
        let second = Plan::make(dir.path(), Asked::default(), Vec::new()).unwrap();
        assert!(second.resumes);
        assert_eq!(second.nodes, first.nodes);
        assert!(Plan::make(dir.path(), asked(Some(3), None), Vec::new()).is_err());
    }

    #[test]
    fn every_node_gets_the_same_list_of_peers_and_its_own_directory() {
        let dir = tempfile::tempdir().unwrap();
        let extra = vec!["--log-level".to_owned(), "debug".to_owned()];
        let plan = Plan::make(dir.path(), asked(Some(2), Some(5000)), extra).unwrap();
        let arguments = plan.arguments(&plan.nodes[1], 77);
        let expected = format!(
            "serve --node-id node2 --listen 127.0.0.1:5001 \
             --peers node1=http://127.0.0.1:5000,node2=http://127.0.0.1:5001 \
             --data-dir {}/node2 --exit-with-parent 77 --log-level debug",
            dir.path().display()
        );
        assert_eq!(arguments.join(OsStr::new(" ")).to_str(), Some(expected.as_str()));
    }

    #[test]
    fn a_taken_port_is_found_before_anything_starts() {
        let dir = tempfile::tempdir().unwrap();
        let holder = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = holder.local_addr().unwrap().port();
        let plan = Plan::make(dir.path(), asked(Some(1), Some(port)), Vec::new()).unwrap();
        assert_eq!(plan.taken_ports().len(), 1);
    }

    #[test]
    fn variables_meant_for_other_nodes_are_known() {
        for name in ["BITACORA_PEERS", "BITACORA_URL", "ES_LIDER", "PUERTO"] {
            assert!(is_for_nodes(OsStr::new(name)), "{name}");
        }
        assert!(!is_for_nodes(OsStr::new("PATH")));
    }
}
