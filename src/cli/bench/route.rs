//! Where a bench's clients send their requests, also after a leader is gone.
//!
//! Clients that lose their leader together look for the next one only once.
//!
//! # Not here
//! Connections ([`super::connection`]).

use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::cli::answers::Cluster;
use crate::cli::client::Client;
use crate::cli::failure::Failure;
use crate::cli::options::parse_url;
use crate::types::NodeUrl;

/// How long one node may take to say who leads.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(1);
/// Wait before the nodes are asked again when nobody leads.
const LOOKUP_PAUSE: Duration = Duration::from_millis(20);

/// Where a client sends, and how new that is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The node.
    pub url: NodeUrl,
    /// Grows each time it was looked up.
    generation: u64,
}

/// Decides where to send.
pub struct Route {
    /// Nodes that may know who leads.
    known: Vec<NodeUrl>,
    /// One of them: there always is one.
    first: NodeUrl,
    spread: bool,
    leader: Mutex<Target>,
}

impl Route {
    /// Asks the cluster at `urls`. `spread`: clients are shared out over its nodes, else all go to
    /// the leader.
    pub async fn find(urls: Vec<NodeUrl>, spread: bool) -> Result<Self, Failure> {
        let cluster = Client::new(urls.clone(), LOOKUP_TIMEOUT)?.cluster().await?;
        let members = member_urls(&cluster);
        let leader = leader_of(&cluster);
        if leader.is_none() && !spread {
            let why = "nobody leads this cluster; `bitacora status` shows why";
            return Err(Failure::Failed(why.to_owned()));
        }
        // Several URLs given are a choice; one is only a way in.
        let known = if urls.len() > 1 || members.is_empty() { urls } else { members };
        let Some(first) = known.first().cloned() else {
            return Err(Failure::Usage("there is no URL".to_owned()));
        };
        let url = leader.unwrap_or_else(|| first.clone());
        Ok(Self { known, first, spread, leader: Mutex::new(Target { url, generation: 0 }) })
    }

    /// Whether the clients are shared out over the nodes.
    pub const fn is_spread(&self) -> bool {
        self.spread
    }

    /// Where client number `client` sends first.
    pub async fn first(&self, client: usize) -> Target {
        if self.spread {
            return self.spread_to(client as u64, 0);
        }
        self.leader.lock().await.clone()
    }

    /// Where it sends when `failed` is of no use: the new leader or, when spread, the next node.
    /// `None` if no leader was found before `deadline`.
    pub async fn next(&self, client: usize, failed: &Target, deadline: Instant) -> Option<Target> {
        if self.spread {
            tokio::time::sleep(LOOKUP_PAUSE).await;
            return Some(self.spread_to(client as u64, failed.generation.saturating_add(1)));
        }
        let mut leader = self.leader.lock().await;
        while leader.generation <= failed.generation {
            if Instant::now() >= deadline {
                return None;
            }
            match self.look_up().await {
                Some(url) => {
                    if url == failed.url {
                        // Nobody knows better yet: no reason to ask without a pause.
                        tokio::time::sleep(LOOKUP_PAUSE).await;
                    }
                    let generation = failed.generation.saturating_add(1);
                    *leader = Target { url, generation };
                }
                None => tokio::time::sleep(LOOKUP_PAUSE).await,
            }
        }
        Some(leader.clone())
    }

    fn spread_to(&self, client: u64, generation: u64) -> Target {
        let count = self.known.len().max(1) as u64;
        let at = usize::try_from(client.wrapping_add(generation) % count).unwrap_or(0);
        let url = self.known.get(at).unwrap_or(&self.first).clone();
        Target { url, generation }
    }

    async fn look_up(&self) -> Option<NodeUrl> {
        for url in &self.known {
            let Ok(client) = Client::new(vec![url.clone()], LOOKUP_TIMEOUT) else {
                continue;
            };
            if let Some(leader) = client.cluster().await.ok().and_then(|c| leader_of(&c)) {
                return Some(leader);
            }
        }
        None
    }
}

fn member_urls(cluster: &Cluster) -> Vec<NodeUrl> {
    cluster.members.iter().filter_map(|member| parse_url(&member.url).ok()).collect()
}

fn leader_of(cluster: &Cluster) -> Option<NodeUrl> {
    let name = cluster.leader.as_ref()?;
    let member = cluster.members.iter().find(|member| member.name == *name)?;
    parse_url(&member.url).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::answers::Member;

    fn cluster(leader: Option<&str>) -> Cluster {
        let member = |name: &str| Member {
            name: name.into(),
            url: format!("http://{name}:5000"),
            ..Member::default()
        };
        Cluster {
            leader: leader.map(str::to_owned),
            members: vec![member("a"), member("b")],
            ..Cluster::default()
        }
    }

    #[test]
    fn the_leader_is_found_by_its_name() {
        let url = leader_of(&cluster(Some("b"))).unwrap();
        assert_eq!(url.as_str(), "http://b:5000");
        assert_eq!(leader_of(&cluster(None)), None);
        assert_eq!(leader_of(&cluster(Some("gone"))), None);
    }

    #[tokio::test]
    async fn clients_are_shared_out_and_move_on_when_their_node_fails() {
        let known = member_urls(&cluster(None));
        let leader = Mutex::new(Target { url: known[0].clone(), generation: 0 });
        let route = Route { first: known[0].clone(), known, spread: true, leader };
        let first: Vec<Target> = vec![route.first(0).await, route.first(1).await];
        assert_ne!(first[0].url, first[1].url);
        tokio::time::pause();
        let next = route.next(0, &first[0], Instant::now()).await.unwrap();
        assert_eq!(next.url, first[1].url);
    }
}
