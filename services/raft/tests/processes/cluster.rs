//! Nodes as real processes on loopback, each with a port and a directory of its own. They end with
//! the test.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use chassis::channel::Connector;
use raft::client::{Client, NodeStatus, Options};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// Longer than anything here takes, even on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// A port that nobody has, below those that the system hands out for outgoing connections.
fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let base = 10_000 + (std::process::id() % 300) as u16 * 30;
    for _ in 0..9_000 {
        let port = base.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = 10_000 + (port - 10_000) % 9_000;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no free port");
}

/// One process and what it has logged.
pub(crate) struct Process {
    child: Child,
    log: Arc<Mutex<Vec<String>>>,
}

impl Process {
    pub(crate) fn start(variables: &BTreeMap<String, String>) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_raft-node"))
            .env_clear()
            .env("CHASSIS_TIED", "on")
            .envs(variables)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary is built");
        let log = Arc::new(Mutex::new(Vec::new()));
        let streams: [Box<dyn std::io::Read + Send>; 2] = [
            Box::new(child.stdout.take().expect("piped")),
            Box::new(child.stderr.take().expect("piped")),
        ];
        for stream in streams {
            let log = log.clone();
            thread::spawn(move || {
                for line in BufReader::new(stream).lines().map_while(Result::ok) {
                    log.lock().unwrap().push(line);
                }
            });
        }
        Self { child, log }
    }

    /// Everything that it has said so far.
    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().join("\n")
    }

    /// Waits for its end.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        let started = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(started.elapsed() < PATIENCE, "it has not ended:\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

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
        let address = |id| (id, format!("127.0.0.1:{}", free_port()));
        let mut cluster = Self {
            folder: TempDir::new().unwrap(),
            addresses: (1..=founders).map(address).collect(),
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
        self.addresses.entry(id).or_insert_with(|| format!("127.0.0.1:{}", free_port()));
        let process = Process::start(&self.variables(id));
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
