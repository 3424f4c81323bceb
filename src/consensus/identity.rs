//! Who a data directory belongs to: a small file, written before the first vote.
//!
//! An empty disk has no identity and therefore never votes under an old id. The file is one line of
//! JSON, for people, and one line with its CRC32C, for us.

use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::os::disk::{self, Disk, Open};
use crate::types::{ClusterId, NodeName, NodeUrl, RaftId};

/// The file's name inside the data directory.
pub const FILE_NAME: &str = "identity";
/// Version of the file.
const VERSION: u8 = 1;
/// More than any identity needs: 1,000 members.
const MAX_BYTES: u64 = 1 << 20;

/// A node's place in its cluster, and with whom the cluster was founded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The cluster.
    pub cluster: ClusterId,
    /// This node's name.
    pub name: NodeName,
    /// This node's id in the consensus; never given to another disk.
    pub node: RaftId,
    /// Whether this node founded the cluster, and finishes that if it was interrupted.
    pub founder: bool,
    /// Whether its log has been created; a log that is missing afterwards is lost.
    pub has_log: bool,
    /// The founding members, this node among them.
    pub members: Vec<FoundingMember>,
}

/// A founding member with the id it was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundingMember {
    /// Its id.
    pub node: RaftId,
    /// Its name.
    pub name: NodeName,
    /// Where it is reached.
    pub url: NodeUrl,
}

/// Why an identity cannot be read or kept.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The disk failed.
    #[error("cannot read or write the identity file: {0}")]
    Io(#[from] io::Error),
    /// There is one already, and it is never replaced (F2).
    #[error("this node has an identity already")]
    Taken,
    /// The file is damaged.
    #[error("the identity file is damaged: {0}")]
    Corrupt(String),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    version: u8,
    cluster_id: String,
    node: String,
    raft_id: u64,
    founder: bool,
    has_log: bool,
    members: Vec<Member>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Member {
    pub(super) raft_id: u64,
    pub(super) name: String,
    pub(super) url: String,
}

impl From<&FoundingMember> for Member {
    fn from(member: &FoundingMember) -> Self {
        Self {
            raft_id: member.node.get(),
            name: member.name.to_string(),
            url: member.url.to_string(),
        }
    }
}

impl TryFrom<Member> for FoundingMember {
    type Error = crate::types::Invalid;

    fn try_from(member: Member) -> Result<Self, Self::Error> {
        Ok(Self {
            node: RaftId::new(member.raft_id),
            name: member.name.parse()?,
            url: member.url.parse()?,
        })
    }
}

/// Reads the identity of a data directory; `None` when it has none.
pub fn load(disk: &dyn Disk, dir: &Path) -> Result<Option<Identity>, IdentityError> {
    let file = match disk.open(&dir.join(FILE_NAME), Open::Read) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let length = file.len()?;
    if length > MAX_BYTES {
        return Err(IdentityError::Corrupt(format!("{length} bytes are too many")));
    }
    let length = usize::try_from(length).unwrap_or_default();
    let bytes = disk::read_exact_at(&*file, 0, length)?;
    decode(&bytes).map(Some)
}

/// Writes the identity so that it survives power loss, before anything is done in its name.
pub fn save(disk: &dyn Disk, dir: &Path, identity: &Identity) -> Result<(), IdentityError> {
    Ok(disk::replace_file(disk, dir, FILE_NAME, &encode(identity)?)?)
}

fn encode(identity: &Identity) -> Result<Vec<u8>, IdentityError> {
    let file = File {
        version: VERSION,
        cluster_id: identity.cluster.to_string(),
        node: identity.name.to_string(),
        raft_id: identity.node.get(),
        founder: identity.founder,
        has_log: identity.has_log,
        members: identity.members.iter().map(Member::from).collect(),
    };
    let line = serde_json::to_string(&file).map_err(io::Error::other)?;
    Ok(format!("{line}\n{:08x}\n", crc32c::crc32c(line.as_bytes())).into_bytes())
}

fn decode(bytes: &[u8]) -> Result<Identity, IdentityError> {
    let corrupt = |why: &dyn std::fmt::Display| IdentityError::Corrupt(why.to_string());
    let text = std::str::from_utf8(bytes).map_err(|error| corrupt(&error))?;
    let Some((line, checksum)) = text.split_once('\n') else {
        return Err(corrupt(&"its second line, the checksum, is missing"));
    };
    if checksum != format!("{:08x}\n", crc32c::crc32c(line.as_bytes())) {
        return Err(corrupt(&"its checksum does not match"));
    }
    let file: File = serde_json::from_str(line).map_err(|error| corrupt(&error))?;
    if file.version != VERSION {
        return Err(corrupt(&format!("version {} is not known here", file.version)));
    }
    let members = file.members.into_iter().map(FoundingMember::try_from);
    Ok(Identity {
        cluster: file.cluster_id.parse().map_err(|error| corrupt(&error))?,
        name: file.node.parse().map_err(|error| corrupt(&error))?,
        node: RaftId::new(file.raft_id),
        founder: file.founder,
        has_log: file.has_log,
        members: members.collect::<Result<_, _>>().map_err(|error| corrupt(&error))?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::disk::SystemDisk;

    fn identity() -> Identity {
        let member = |node, name: &str, port: u16| FoundingMember {
            node: RaftId::new(node),
            name: name.parse().unwrap(),
            url: format!("http://localhost:{port}").parse().unwrap(),
        };
        Identity {
            cluster: ClusterId::from_bytes([0xab; 16]),
            name: "node2".parse().unwrap(),
            node: RaftId::new(2),
            founder: false,
            has_log: true,
            members: vec![member(1, "node1", 5000), member(2, "node2", 5001)],
        }
    }

    #[test]
    fn an_identity_is_read_back_and_an_empty_directory_has_none() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(load(&SystemDisk, dir.path()).unwrap(), None);
        save(&SystemDisk, dir.path(), &identity()).unwrap();
        assert_eq!(load(&SystemDisk, dir.path()).unwrap(), Some(identity()));
    }

    #[test]
    fn every_flipped_bit_and_every_cut_of_an_identity_is_noticed() {
        let good = encode(&identity()).unwrap();
        for length in 0..good.len() {
            assert!(decode(&good[..length]).is_err(), "cut at {length}");
        }
        for position in 0..good.len() {
            for bit in 0..8 {
                let mut bad = good.clone();
                bad[position] ^= 1 << bit;
                assert!(decode(&bad).is_err(), "bit {bit} of byte {position}");
            }
        }
    }
}
