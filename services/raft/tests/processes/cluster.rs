//! Nodes as real processes on loopback, each with a port and a directory of its own. They end with
//! the test.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use chassis::channel::Connector;
use raft::client::{Client, NodeStatus, Options};
use tempfile::TempDir;

use crate::process::{Process, free_address};

/// Longer than anything here takes, even on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The binary of a node.
pub(crate) const NODE: &str = env!("CARGO_BIN_EXE_raft-node");

/// Nodes of one cluster.
pub(crate) struct Cluster {
    pub(crate) folder: TempDir,
    addresses: BTreeMap<u64, String>,
    founders: u64,
    variables: Vec<(&'static str, String)>,
    pub(crate) nodes: BTreeMap<u64, Process>,
}

impl Cluster {
    /// Starts so many nodes with these variables, and waits until they have a leader.
    pub(crate) async fn start(founders: u64, variables: &[(&'static str, &str)]) -> Self {
        let mut cluster = Self {
            folder: TempDir::new().unwrap(),
            addresses: (1..=founders).map(|id| (id, free_address())).collect(),
            founders,
            variables: variables.iter().map(|(name, value)| (*name, (*value).into())).collect(),
            nodes: BTreeMap::new(),
        };
        for id in 1..=founders {
            cluster.run(id);
        }
        cluster.leader().await;
        cluster
    }

    /// What a node is told.
    pub(crate) fn variables(&self, id: u64) -> BTreeMap<String, String> {
        let founders = self.addresses.range(..=self.founders);
        let members = founders.map(|(id, address)| format!("{id}={address}"));
        let mut variables = BTreeMap::from([
            ("RAFT_ID".to_owned(), id.to_string()),
            ("RAFT_MEMBERS".to_owned(), members.collect::<Vec<_>>().join(",")),
            ("RAFT_DIRECTORY".to_owned(), self.directory(id).display().to_string()),
        ]);
        if self.founders < id {
            variables.insert("RAFT_ADDRESS".to_owned(), self.addresses[&id].clone());
        }
        let own = self.variables.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
        variables.extend(own);
        variables
    }

    pub(crate) fn directory(&self, id: u64) -> PathBuf {
        self.folder.path().join(id.to_string())
    }

    pub(crate) fn address(&self, id: u64) -> &str {
        &self.addresses[&id]
    }

    /// Starts a node that does not run; one that is no founder joins.
    pub(crate) fn run(&mut self, id: u64) {
        self.addresses.entry(id).or_insert_with(free_address);
        let process = Process::start(NODE, &self.variables(id));
        self.nodes.insert(id, process);
    }

    /// Ends a node as a crash would.
    pub(crate) fn kill(&mut self, id: u64) {
        self.nodes.remove(&id);
    }

    pub(crate) fn ids(&self) -> Vec<u64> {
        self.nodes.keys().copied().collect()
    }

    pub(crate) fn node(&mut self, id: u64) -> &mut Process {
        self.nodes.get_mut(&id).expect("it runs")
    }

    /// A client of every node there is, with this deadline for a call.
    pub(crate) fn client_within(&self, deadline: Duration) -> Client {
        let options = Options { deadline, ..Options::default() };
        Client::new(Connector::new(None), self.addresses.values(), options).unwrap()
    }

    pub(crate) fn client(&self) -> Client {
        self.client_within(PATIENCE)
    }

    pub(crate) async fn status(&self, id: u64) -> Option<NodeStatus> {
        let client = self.client_within(Duration::from_secs(1));
        client.node(self.address(id)).unwrap().status().await.ok()
    }

    /// Waits until a node that runs leads, in the view of all that run.
    pub(crate) async fn leader(&self) -> u64 {
        let mut last = Vec::new();
        let started = Instant::now();
        while started.elapsed() < PATIENCE {
            last.clear();
            for id in self.nodes.keys() {
                last.push(self.status(*id).await.and_then(|status| status.leader));
            }
            if let Some(Some(leader)) = last.first()
                && last.iter().all(|other| *other == Some(*leader))
                && self.nodes.contains_key(leader)
            {
                return *leader;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let logs = self.nodes.values().map(Process::log).collect::<Vec<_>>();
        panic!("no leader that all know: {last:?}\n{}", logs.join("\n---\n"));
    }

    /// Waits until every node that runs has applied the same, and as much as the leader had.
    pub(crate) async fn level(&self) {
        let leader = self.leader().await;
        let wanted = self.status(leader).await.map_or(0, |status| status.commit);
        let started = Instant::now();
        while started.elapsed() < PATIENCE {
            let mut behind = false;
            for id in self.nodes.keys() {
                let applied = self.status(*id).await.map_or(0, |status| status.applied);
                behind |= applied < wanted;
            }
            if !behind {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("not all have applied {wanted}");
    }
}
