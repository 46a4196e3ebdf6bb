//! Whose a directory is, and which directories its peers had when it first heard of them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, ErrorKind, Write as _};

use anyhow::{Context as _, bail};
use protocols::NodeId;
use serde::{Deserialize, Serialize};

use super::Owner;
use super::directory::Directory;

pub(super) const NAME: &str = "meta";
const KIND: &str = "ensemble-raft";
const FORMAT: u32 = 1;

/// What is known of a directory.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct Meta {
    pub(super) cluster: String,
    pub(super) node: NodeId,
    /// A random number that no other directory has.
    pub(super) identity: u64,
    pub(super) founders: BTreeSet<NodeId>,
    /// The identities of peers.
    pub(super) peers: BTreeMap<NodeId, u64>,
}

impl Meta {
    /// Of a directory that is made for this owner.
    pub(super) fn of(owner: &Owner) -> Self {
        Self {
            cluster: owner.cluster.clone(),
            node: owner.node,
            identity: chassis::seed(),
            founders: owner.founders.clone(),
            peers: BTreeMap::new(),
        }
    }

    /// Makes it durable.
    pub(super) fn write(&self, directory: &Directory) -> io::Result<()> {
        let text = serde_json::to_string(self).expect("names and numbers can be written");
        let check = crc32c::crc32c(text.as_bytes());
        let text = format!("{KIND} {FORMAT}\n{check:08x}\n{text}\n");
        directory.create(NAME, |file| file.write_all(text.as_bytes()))?;
        Ok(())
    }

    /// Reads what a directory has; nothing if it has nothing.
    pub(super) fn read(directory: &Directory) -> anyhow::Result<Option<Self>> {
        let text = match fs::read(directory.path.join(NAME)) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            read => read.map_err(|error| directory.failure("read meta", &error))?,
        };
        let text = String::from_utf8(text);
        let text = text.map_err(|_| directory.damage(NAME, "it is not text"))?;
        let mut lines = text.splitn(3, '\n');
        let mut line = || lines.next().unwrap_or_default().trim_end_matches('\n');
        let (kind, check, content) = (line(), line(), line());
        let format = kind.strip_prefix(KIND).and_then(|rest| rest.trim().parse::<u32>().ok());
        match format {
            None => return Err(directory.damage(NAME, "its first line is not what was written")),
            Some(FORMAT) => (),
            Some(format) => bail!(
                "data directory {}: its format is {format}, and this program knows {FORMAT}; use \
                 the version of the program that made it, or a later one",
                directory.path.display()
            ),
        }
        if format!("{:08x}", crc32c::crc32c(content.as_bytes())) != check {
            return Err(directory.damage(NAME, "its content does not match its check"));
        }
        let meta = serde_json::from_str(content);
        meta.with_context(|| directory.damage(NAME, "its content has no meaning")).map(Some)
    }

    /// Refuses anyone but the owner.
    pub(super) fn check(&self, directory: &Directory, owner: &Owner) -> anyhow::Result<()> {
        let path = directory.path.display();
        if (self.node, &self.cluster) != (owner.node, &owner.cluster) {
            bail!(
                "data directory {path} belongs to node {} of cluster {:?}; this is node {} of \
                 cluster {:?}: set RAFT_DIRECTORY to its own directory, or RAFT_ID and \
                 RAFT_CLUSTER to what they were",
                self.node.0,
                self.cluster,
                owner.node.0,
                owner.cluster
            );
        }
        if self.founders != owner.founders {
            bail!(
                "data directory {path} was made for a cluster founded by {}; this node is told {}: \
                 set the founding members to what they were (members change while the cluster \
                 runs), or RAFT_DIRECTORY to an empty directory",
                listed(&self.founders),
                listed(&owner.founders)
            );
        }
        Ok(())
    }
}

fn listed(nodes: &BTreeSet<NodeId>) -> String {
    if nodes.is_empty() {
        return "others, which it joined".into();
    }
    let names = nodes.iter().map(|node| node.0.to_string()).collect::<Vec<_>>();
    format!("nodes {}", names.join(", "))
}
