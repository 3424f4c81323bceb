//! How a cluster begins: once, with all its founding members present.
//!
//! The founder asks every other member who it is, draws the cluster's id, writes its own identity,
//! hands every member theirs, and only when all of them have it on disk does consensus begin. So a
//! node whose disk is empty either takes part in a founding or belongs to nobody: an empty disk can
//! never vote under an old id. A founding that was interrupted is finished by the founder when it
//! starts again; every step may be repeated.
//!
//! # Invariants
//! - F1 A node hands out no vote before its identity is durable.
//! - F2 A node with an identity never takes another one.
//! - F3 A node with an empty disk never founds a cluster with a node that has one already.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::identity::{self, FoundingMember, Identity, IdentityError, Member};
use crate::config::{Founding, NodeConfig};
use crate::os::Os;
use crate::peer::{BoxFuture, Handler, Message, PeerError, Refusal, RefusalReason, Rpc, Transport};
use crate::types::{ClusterId, NodeName, NodeUrl, RaftId};

/// How often absent members are asked again.
const RETRY: Duration = Duration::from_millis(100);
/// How long one question may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(2);

/// A message of the founding. JSON, because there is no identity yet to put on an envelope.
#[derive(Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case", deny_unknown_fields)]
enum Question {
    /// Who are you?
    Hello,
    /// Take this identity.
    Join { cluster_id: String, founder: String, members: Vec<Member>, you: u64 },
}

#[derive(Serialize, Deserialize)]
struct Answer {
    node: String,
    /// The cluster it belongs to, if any.
    cluster_id: Option<String>,
    /// Whether that cluster has begun: its log is not empty.
    begun: bool,
}

/// Why this node cannot come to a cluster. Waiting longer will not help.
#[derive(Debug, thiserror::Error)]
pub enum FoundingError {
    /// The disk was lost, or the node is new to a cluster that exists.
    #[error(
        "this node's data directory is empty, but {url} belongs to cluster {cluster}, which has \
         begun already. A node that lost its disk must not come back under its old id: it could \
         vote twice. Adding a node to a running cluster is not possible yet; restore the data \
         directory, or start a new cluster with empty data directories on all nodes"
    )]
    AlreadyBegun {
        /// Who told.
        url: NodeUrl,
        /// Its cluster.
        cluster: String,
    },
    /// A founding was interrupted and its founder lost its disk.
    #[error(
        "{url} was being founded into cluster {cluster} by a node whose disk is gone. Nothing was \
         written yet: stop {url}, remove its data directory, and start it again"
    )]
    Orphaned {
        /// Who told.
        url: NodeUrl,
        /// The cluster that never began.
        cluster: String,
    },
    /// Two members have one name.
    #[error("two founding members are called {0}; give each node a name of its own")]
    SameName(NodeName),
    /// The identity cannot be kept.
    #[error(transparent)]
    Identity(#[from] IdentityError),
}

/// What the waiting node tells those who ask.
pub type Progress = watch::Receiver<String>;

/// A node without identity, on its way to one.
pub struct Founder {
    config: NodeConfig,
    os: Os,
    transport: Arc<dyn Transport>,
    progress: watch::Sender<String>,
    joined: watch::Sender<Option<Identity>>,
    /// Held while an identity is written, so that two foundings cannot interleave.
    writing: Mutex<()>,
}

impl Founder {
    /// For a node whose data directory has no identity.
    pub fn new(config: NodeConfig, os: Os, transport: Arc<dyn Transport>) -> Arc<Self> {
        Arc::new(Self {
            config,
            os,
            transport,
            progress: watch::Sender::new("starting".to_owned()),
            joined: watch::Sender::new(None),
            writing: Mutex::new(()),
        })
    }

    /// What it is waiting for, in words.
    pub fn progress(&self) -> Progress {
        self.progress.subscribe()
    }

    /// Waits until this node has an identity, by founding or by being founded.
    pub async fn identity(&self) -> Result<Identity, FoundingError> {
        let mut joined = self.joined.subscribe();
        // Both branches are cancel-safe: what `find_cluster` has done is on disk and may be
        // repeated, and `wait_for` keeps nothing.
        tokio::select! {
            found = self.find_cluster() => found,
            given = joined.wait_for(Option::is_some) => match given.map(|given| given.clone()) {
                Ok(Some(identity)) => Ok(identity),
                // The sender is `self`, so this cannot happen; waiting is the harmless answer.
                Ok(None) | Err(_) => std::future::pending().await,
            },
        }
    }

    async fn find_cluster(&self) -> Result<Identity, FoundingError> {
        let me = (self.config.name.clone(), self.config.advertise.clone());
        let members = match &self.config.founding {
            Founding::Alone => vec![me],
            Founding::Static(members) => {
                let mut members = members.clone();
                members.sort();
                let founder = members.first().map(|member| member.name.clone());
                let others = members.iter().map(|member| member.url.clone());
                let others: Vec<_> = others.filter(|url| *url != self.config.advertise).collect();
                if founder.as_ref() != Some(&self.config.name) {
                    return self.wait_for_founder(&others).await;
                }
                self.gather(&others).await?;
                members.into_iter().map(|member| (member.name, member.url)).collect()
            }
            Founding::Leader(urls) => {
                let mut members = vec![me];
                for (name, url) in self.gather(urls).await? {
                    if members.iter().any(|(other, _)| *other == name) {
                        return Err(FoundingError::SameName(name));
                    }
                    members.push((name, url));
                }
                members
            }
            Founding::Follower(url) => {
                return self.wait_for_founder(std::slice::from_ref(url)).await;
            }
        };
        let identity = self.draw(members);
        self.keep(&identity)?;
        Ok(identity)
    }

    fn draw(&self, members: Vec<(NodeName, NodeUrl)>) -> Identity {
        let members = (1..).zip(members).map(|(id, (name, url))| FoundingMember {
            node: RaftId::new(id),
            name,
            url,
        });
        let members: Vec<_> = members.collect();
        let mine = members.iter().find(|member| member.name == self.config.name);
        Identity {
            cluster: ClusterId::from_bytes(self.os.random.next_bytes16()),
            name: self.config.name.clone(),
            node: mine.map_or(RaftId::new(1), |member| member.node),
            founder: true,
            has_log: false,
            members,
        }
    }

    fn keep(&self, identity: &Identity) -> Result<(), IdentityError> {
        let _writing = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        if identity::load(&*self.os.disk, &self.config.data_dir)?.is_some() {
            return Err(IdentityError::Taken);
        }
        identity::save(&*self.os.disk, &self.config.data_dir, identity)
    }

    /// Waits to be founded, and notices when that is in vain.
    async fn wait_for_founder(&self, others: &[NodeUrl]) -> Result<Identity, FoundingError> {
        let names: Vec<_> = others.iter().map(NodeUrl::as_str).collect();
        self.say(&format!("waiting to be founded together with {}", names.join(", ")));
        loop {
            for url in others {
                if let Ok(answer) = ask(&*self.transport, url, &Question::Hello).await
                    && answer.begun
                {
                    let cluster = answer.cluster_id.unwrap_or_default();
                    // The founder may have begun right after it handed us our identity.
                    if self.joined.borrow().is_none() {
                        return Err(FoundingError::AlreadyBegun { url: url.clone(), cluster });
                    }
                }
            }
            tokio::time::sleep(RETRY).await;
        }
    }

    /// Asks the others for their names until every one has answered and is free.
    async fn gather(&self, others: &[NodeUrl]) -> Result<Vec<(NodeName, NodeUrl)>, FoundingError> {
        loop {
            let mut round = Round::default();
            for url in others {
                round.note(url, ask(&*self.transport, url, &Question::Hello).await);
            }
            if let Some((url, cluster)) = round.begun {
                return Err(FoundingError::AlreadyBegun { url, cluster });
            }
            if round.absent.is_empty() {
                // Only when every one has answered is it known that none of them has begun.
                return match round.orphan {
                    Some((url, cluster)) => Err(FoundingError::Orphaned { url, cluster }),
                    None => Ok(round.free),
                };
            }
            let absent = round.absent.join(", ");
            self.say(&format!("a new cluster needs all its members once; waiting for {absent}"));
            tokio::time::sleep(RETRY).await;
        }
    }

    fn say(&self, what: &str) {
        let news = self.progress.send_if_modified(|said| {
            let news = said != what;
            what.clone_into(said);
            news
        });
        if news {
            tracing::info!(event = "founding", "{what}");
        }
    }

    fn take(&self, question: &Bytes) -> Result<Answer, Refusal> {
        let question = parse(question)?;
        let answer = Answer { node: self.config.name.to_string(), cluster_id: None, begun: false };
        let Question::Join { cluster_id, founder, members, you } = question else {
            return Ok(answer);
        };
        if let Some(identity) = &*self.joined.borrow() {
            return rejoin(identity, &cluster_id);
        }
        let identity = self.accept(&cluster_id, &founder, members, you)?;
        self.keep(&identity).map_err(|e| Refusal::new(RefusalReason::NotReady, e))?;
        self.joined.send_replace(Some(identity));
        Ok(Answer { cluster_id: Some(cluster_id), ..answer })
    }

    /// Checks what a founder offers against what this node was told.
    fn accept(
        &self,
        cluster: &str,
        founder: &str,
        members: Vec<Member>,
        you: u64,
    ) -> Result<Identity, Refusal> {
        let malformed = |why: &dyn std::fmt::Display| Refusal::new(RefusalReason::Malformed, why);
        let not_ours = |why: String| Refusal::new(RefusalReason::WrongCluster, why);
        let members = members.into_iter().map(FoundingMember::try_from);
        let members: Vec<_> = members.collect::<Result<_, _>>().map_err(|e| malformed(&e))?;
        let node = RaftId::new(you);
        let me = members.iter().find(|member| member.node == node);
        if me.is_none_or(|me| me.name != self.config.name) {
            return Err(not_ours(format!("this node is {}, not who is meant", self.config.name)));
        }
        match &self.config.founding {
            Founding::Static(expected) => {
                let mut expected: Vec<_> = expected.iter().map(|m| (&m.name, &m.url)).collect();
                let mut offered: Vec<_> = members.iter().map(|m| (&m.name, &m.url)).collect();
                expected.sort();
                offered.sort();
                if expected != offered {
                    let why = "the list of peers there differs from the list here; \
                               give every node the same list";
                    return Err(not_ours(why.to_owned()));
                }
            }
            Founding::Follower(url) if url.as_str() != founder => {
                return Err(not_ours(format!("this node waits for {url}, not for {founder}")));
            }
            Founding::Alone | Founding::Leader(_) => {
                return Err(not_ours("this node founds a cluster of its own".to_owned()));
            }
            Founding::Follower(_) => {}
        }
        Ok(Identity {
            cluster: cluster.parse().map_err(|e| malformed(&e))?,
            name: self.config.name.clone(),
            node,
            founder: false,
            has_log: false,
            members,
        })
    }
}

/// What the others said when they were asked once.
#[derive(Default)]
struct Round {
    free: Vec<(NodeName, NodeUrl)>,
    absent: Vec<String>,
    begun: Option<(NodeUrl, String)>,
    orphan: Option<(NodeUrl, String)>,
}

impl Round {
    fn note(&mut self, url: &NodeUrl, answer: Result<Answer, PeerError>) {
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => return self.absent.push(format!("{url} ({error})")),
        };
        match (answer.cluster_id, answer.node.parse()) {
            (Some(cluster), _) if answer.begun => self.begun = Some((url.clone(), cluster)),
            (Some(cluster), _) => self.orphan = Some((url.clone(), cluster)),
            (None, Ok(name)) => self.free.push((name, url.clone())),
            (None, Err(error)) => self.absent.push(format!("{url} ({error})")),
        }
    }
}

impl Handler for Founder {
    fn handle(&self, _: RaftId, _: Message) -> BoxFuture<Result<Bytes, Refusal>> {
        let refusal = Refusal::new(RefusalReason::NotReady, "this node belongs to no cluster yet");
        Box::pin(std::future::ready(Err(refusal)))
    }

    fn found(&self, body: Bytes) -> BoxFuture<Result<Bytes, Refusal>> {
        let answer = self.take(&body).and_then(|answer| encode(&answer));
        Box::pin(std::future::ready(answer))
    }
}

/// What a node with an identity answers to a founder.
pub(super) fn answer(identity: &Identity, begun: bool, body: &Bytes) -> Result<Bytes, Refusal> {
    let known = Answer {
        node: identity.name.to_string(),
        cluster_id: Some(identity.cluster.to_string()),
        begun,
    };
    match parse(body)? {
        Question::Hello => encode(&known),
        Question::Join { cluster_id, .. } => encode(&rejoin(identity, &cluster_id)?),
    }
}

fn rejoin(identity: &Identity, offered: &str) -> Result<Answer, Refusal> {
    let cluster = identity.cluster.to_string();
    if cluster != offered {
        let why = format!("this node belongs to cluster {cluster} already");
        return Err(Refusal::new(RefusalReason::WrongCluster, why));
    }
    Ok(Answer { node: identity.name.to_string(), cluster_id: Some(cluster), begun: false })
}

/// Hands every other founding member its identity. Returns when all of them have it on disk: when
/// one whole round went well, since a member may lose its disk while another one is waited for.
pub(super) async fn hand_out(identity: &Identity, transport: &dyn Transport) {
    let me = identity.members.iter().find(|member| member.node == identity.node);
    let founder = me.map(|me| me.url.to_string()).unwrap_or_default();
    let mut told = None;
    loop {
        let mut failed = None;
        for member in identity.members.iter().filter(|member| member.node != identity.node) {
            let question = Question::Join {
                cluster_id: identity.cluster.to_string(),
                founder: founder.clone(),
                members: identity.members.iter().map(Member::from).collect(),
                you: member.node.get(),
            };
            if let Err(error) = ask(transport, &member.url, &question).await {
                failed = Some((member, error));
            }
        }
        let Some((member, error)) = failed else { return };
        if told.as_ref() != Some(&error) {
            let (node, url) = (&member.name, &member.url);
            tracing::warn!(event = "founding", %node, %url, %error, "cannot join a member");
            told = Some(error);
        }
        tokio::time::sleep(RETRY).await;
    }
}

async fn ask(
    transport: &dyn Transport,
    url: &NodeUrl,
    question: &Question,
) -> Result<Answer, PeerError> {
    let broken = |error: serde_json::Error| PeerError::Broken(error.to_string());
    let body = Bytes::from(serde_json::to_vec(question).map_err(broken)?);
    let answer = transport.call(url, Message::new(Rpc::Found, body), CALL_TIMEOUT).await?;
    serde_json::from_slice(&answer).map_err(broken)
}

fn parse(body: &Bytes) -> Result<Question, Refusal> {
    serde_json::from_slice(body).map_err(|error| Refusal::new(RefusalReason::Malformed, error))
}

fn encode(answer: &Answer) -> Result<Bytes, Refusal> {
    let bytes = serde_json::to_vec(answer);
    bytes.map(Bytes::from).map_err(|error| Refusal::new(RefusalReason::NotReady, error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Member as Peer;

    /// No node can be reached.
    struct Nobody;

    impl Transport for Nobody {
        fn call(
            &self,
            _: &NodeUrl,
            _: Message,
            _: Duration,
        ) -> BoxFuture<Result<Bytes, PeerError>> {
            Box::pin(std::future::ready(Err(PeerError::Unreachable("nobody".to_owned()))))
        }
    }

    fn url(node: u16) -> NodeUrl {
        format!("http://localhost:{}", 5000 + node).parse().unwrap()
    }

    fn founder(data_dir: &std::path::Path) -> Arc<Founder> {
        let peer = |n: u16| Peer { name: format!("node{n}").parse().unwrap(), url: url(n) };
        let config = NodeConfig {
            name: "node2".parse().unwrap(),
            listen: "127.0.0.1:5002".parse().unwrap(),
            advertise: url(2),
            data_dir: data_dir.to_owned(),
            founding: Founding::Static(vec![peer(1), peer(2)]),
        };
        Founder::new(config, Os::system(), Arc::new(Nobody))
    }

    fn join(cluster: u8, names: [&str; 2], you: u64) -> Bytes {
        let cluster = ClusterId::from_bytes([cluster; 16]);
        let member = |id: u16, name: &str| Member {
            raft_id: u64::from(id),
            name: name.to_owned(),
            url: url(id).to_string(),
        };
        let question = Question::Join {
            cluster_id: cluster.to_string(),
            founder: url(1).to_string(),
            members: vec![member(1, names[0]), member(2, names[1])],
            you,
        };
        serde_json::to_vec(&question).unwrap().into()
    }

    const NAMES: [&str; 2] = ["node1", "node2"];

    fn on_disk(dir: &std::path::Path) -> Option<Identity> {
        identity::load(&crate::os::disk::SystemDisk, dir).unwrap()
    }

    #[tokio::test]
    async fn a_node_takes_the_identity_that_its_founder_hands_out_and_keeps_it_f1_f2() {
        let dir = tempfile::tempdir().unwrap();
        let node = founder(dir.path());
        node.found(join(7, NAMES, 2)).await.unwrap();
        let kept = on_disk(dir.path()).unwrap();
        assert_eq!((kept.cluster, kept.node), (ClusterId::from_bytes([7; 16]), RaftId::new(2)));
        assert!(node.found(join(7, NAMES, 2)).await.is_ok(), "every step may be repeated");
        let other = node.found(join(8, NAMES, 2)).await.unwrap_err();
        assert_eq!(other.reason, RefusalReason::WrongCluster);
        assert_eq!(on_disk(dir.path()), Some(kept));
    }

    #[tokio::test]
    async fn an_identity_on_disk_is_not_replaced_even_by_a_founder_who_does_not_know_of_it_f2() {
        let dir = tempfile::tempdir().unwrap();
        founder(dir.path()).found(join(7, NAMES, 2)).await.unwrap();
        let kept = on_disk(dir.path());
        let forgetful = founder(dir.path());
        assert!(forgetful.found(join(8, NAMES, 2)).await.is_err());
        assert_eq!(on_disk(dir.path()), kept);
    }

    #[tokio::test]
    async fn a_founder_with_another_list_or_for_another_node_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let node = founder(dir.path());
        for (names, you) in [(["other", "node2"], 2), (NAMES, 1)] {
            let refused = node.found(join(7, names, you)).await.unwrap_err();
            assert_eq!(refused.reason, RefusalReason::WrongCluster);
        }
        let garbage = node.found(Bytes::from_static(b"{")).await.unwrap_err();
        assert_eq!(garbage.reason, RefusalReason::Malformed);
        assert_eq!(on_disk(dir.path()), None);
    }

    fn answer(cluster: Option<&str>, begun: bool) -> Answer {
        let cluster_id = cluster.map(str::to_owned);
        Answer { node: "node1".to_owned(), cluster_id, begun }
    }

    #[test]
    fn a_member_of_a_cluster_that_has_begun_counts_more_than_one_that_never_began_f3() {
        let mut round = Round::default();
        round.note(&url(1), Ok(answer(Some("a"), false)));
        round.note(&url(2), Err(PeerError::Unreachable("gone".to_owned())));
        round.note(&url(3), Ok(answer(Some("a"), true)));
        round.note(&url(4), Ok(answer(None, false)));
        assert_eq!(round.begun.map(|(url, _)| url), Some(url(3)));
        assert_eq!((round.absent.len(), round.free.len()), (1, 1));
    }
}
