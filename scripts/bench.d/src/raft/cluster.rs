//! Three nodes on loopback with their data on disk: ours, or etcd's.

use std::env;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use tempfile::TempDir;

use super::Cli;
use super::asker::{Asker, Knowledge};
use super::clients::{Clients, key};
use super::disk;
use crate::process::{LOOK_INTERVAL, Process, free_addresses};

/// Nodes of a cluster.
pub(super) const NODES: usize = 3;

/// Time for one try where a node may be dead or without a leader; many times what a put takes.
const TRY_DEADLINE: Duration = Duration::from_millis(25);
/// Time until a put must be acknowledged, or a cluster agree; much longer than anything here takes.
const AGREE_DEADLINE: Duration = Duration::from_secs(30);
const QUESTION_DEADLINE: Duration = Duration::from_secs(1);

/// Whose nodes they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// `raft-node` with its default settings.
    Ours,
    /// etcd with its default settings.
    Etcd,
    /// etcd with a heartbeat of 50 ms and an election timeout of 300 ms.
    TunedEtcd,
}

impl Kind {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::Etcd => "etcd",
            Self::TunedEtcd => "etcd at 50/300 ms",
        }
    }
}

/// The programs that are run.
#[derive(Debug)]
pub(super) struct Programs {
    raft_node: PathBuf,
    etcd: PathBuf,
    /// Whether ours are left out.
    peer_only: bool,
    /// Where the nodes keep their data: removed at the end.
    pub(super) data: TempDir,
    logs: PathBuf,
    /// Connections to each node that the clients share.
    pub(super) connections: usize,
}

impl Programs {
    /// Finds them.
    pub(super) fn find(cli: &Cli) -> anyhow::Result<Self> {
        let own = env::current_exe().context("finding this program")?;
        let folder = own.parent().context("this program is in no folder")?;
        let raft_node = cli.binaries.as_deref().unwrap_or(folder).join("raft-node");
        ensure!(
            cli.peer_only || raft_node.is_file(),
            "{}: not there; `cargo build --release --package raft` makes it",
            raft_node.display()
        );
        let data = cli.data.as_deref().unwrap_or(folder);
        disk::expect_real(data)?;
        let data = tempfile::Builder::new()
            .prefix("bench-raft-")
            .tempdir_in(data)
            .with_context(|| format!("making a folder in {}", data.display()))?;
        Ok(Self {
            raft_node,
            etcd: cli.etcd.clone(),
            peer_only: cli.peer_only,
            data,
            logs: folder.join("bench-logs"),
            connections: cli.connections.get(),
        })
    }

    /// Those of these kinds that are to be measured.
    pub(super) fn of<const N: usize>(&self, kinds: [Kind; N]) -> Vec<Kind> {
        kinds.into_iter().filter(|&kind| kind != Kind::Ours || !self.peer_only).collect()
    }
}

/// Three nodes that are killed, and their data removed, when this is dropped.
#[derive(Debug)]
pub(super) struct Cluster<'a> {
    pub(super) kind: Kind,
    programs: &'a Programs,
    /// In their order; killed before the folder goes.
    pub(super) processes: Vec<Process>,
    /// Where clients ask them.
    pub(super) addresses: [SocketAddr; NODES],
    /// Where nodes of etcd speak to each other.
    peers: [SocketAddr; NODES],
    askers: Vec<Asker>,
    folder: TempDir,
}

impl<'a> Cluster<'a> {
    /// Starts three empty nodes, and waits until they agree. The time is that until a first put was
    /// acknowledged.
    pub(super) async fn start(
        programs: &'a Programs,
        kind: Kind,
    ) -> anyhow::Result<(Self, Duration)> {
        let [a, b, c, d, e, f] = free_addresses()?;
        let (addresses, peers) = ([a, b, c], [d, e, f]);
        let folder = tempfile::tempdir_in(programs.data.path()).context("making a folder")?;
        let askers = addresses.iter().map(|&address| Asker::new(kind, address)).collect();
        let processes = Vec::new();
        let mut cluster = Self { kind, programs, processes, addresses, peers, askers, folder };
        let started = Instant::now();
        for index in 0..NODES {
            cluster.processes.push(cluster.start_node(index)?);
        }
        let acknowledged = cluster.until_acknowledged(&[0, 1, 2]).await?;
        cluster.until_agreed().await?;
        Ok((cluster, acknowledged - started))
    }

    fn start_node(&self, index: usize) -> anyhow::Result<Process> {
        let number = index + 1;
        let name = format!("{}-{number}", self.kind.name().replace([' ', '/'], "-"));
        // Also ends when this program is killed and can end nothing itself.
        let mut command = Command::new("setpriv");
        command.env_clear().args(["--pdeathsig", "KILL", "--"]);
        let folder = self.folder.path().join(number.to_string());
        match self.kind {
            Kind::Ours => self.ours(index, &folder, &mut command),
            Kind::Etcd => self.etcd(index, &folder, &mut command),
            Kind::TunedEtcd => {
                self.etcd(index, &folder, &mut command);
                command.args(["--heartbeat-interval", "50", "--election-timeout", "300"]);
            }
        }
        Process::start(&name, command, &self.programs.logs)
    }

    fn ours(&self, index: usize, folder: &Path, command: &mut Command) {
        let members = self.named(&self.addresses, |number, address| format!("{number}={address}"));
        command
            .arg(&self.programs.raft_node)
            .env("RAFT_ID", (index + 1).to_string())
            .env("RAFT_MEMBERS", members)
            .env("RAFT_DIRECTORY", folder);
    }

    fn etcd(&self, index: usize, folder: &Path, command: &mut Command) {
        let (clients, peers) = (self.addresses[index], self.peers[index]);
        let members = self.named(&self.peers, |number, peer| format!("n{number}=http://{peer}"));
        command.arg(&self.programs.etcd).arg("--data-dir").arg(folder);
        command.arg("--name").arg(format!("n{}", index + 1));
        command.arg("--listen-client-urls").arg(format!("http://{clients}"));
        command.arg("--advertise-client-urls").arg(format!("http://{clients}"));
        command.arg("--listen-peer-urls").arg(format!("http://{peers}"));
        command.arg("--initial-advertise-peer-urls").arg(format!("http://{peers}"));
        command.arg("--initial-cluster").arg(members);
        command.args(["--initial-cluster-state", "new"]);
    }

    fn named(
        &self,
        addresses: &[SocketAddr; NODES],
        name: impl Fn(usize, SocketAddr) -> String,
    ) -> String {
        let names = addresses.iter().enumerate().map(|(index, &address)| name(index + 1, address));
        names.collect::<Vec<_>>().join(",")
    }

    /// Connects clients to these nodes.
    pub(super) async fn clients(&self, nodes: &[usize]) -> anyhow::Result<Clients> {
        let addresses: Vec<_> = nodes.iter().map(|&node| self.addresses[node]).collect();
        Clients::connect(self.kind, &addresses, self.programs.connections).await
    }

    /// Tries these nodes in turn until one acknowledges a put, and says when that was.
    pub(super) async fn until_acknowledged(&mut self, nodes: &[usize]) -> anyhow::Result<Instant> {
        let started = Instant::now();
        let mut last = String::from("no answer");
        for &node in nodes.iter().cycle() {
            match tokio::time::timeout(TRY_DEADLINE, self.askers[node].put(key(0))).await {
                Ok(Ok(())) => return Ok(Instant::now()),
                Ok(Err(status)) => {
                    last = status.to_string();
                    self.processes[node].expect_alive()?;
                    tokio::time::sleep(LOOK_INTERVAL).await;
                }
                // It had its time.
                Err(_) => (),
            }
            if started.elapsed() >= AGREE_DEADLINE {
                break;
            }
        }
        let name = self.kind.name();
        anyhow::bail!("{name} acknowledges no put in {AGREE_DEADLINE:?}: {last}")
    }

    /// Waits until all have applied what any has, and agree on a leader: its place.
    pub(super) async fn until_agreed(&mut self) -> anyhow::Result<usize> {
        let started = Instant::now();
        let mut goal = None;
        let mut last = String::from("not asked");
        while started.elapsed() < AGREE_DEADLINE {
            for process in &mut self.processes {
                process.expect_alive()?;
            }
            match tokio::time::timeout(QUESTION_DEADLINE, self.knowledge()).await {
                Ok(Ok(all)) => {
                    let most = all.iter().map(|one| one.applied).max().unwrap_or_default();
                    let goal = *goal.get_or_insert(most);
                    let caught_up = all.iter().all(|one| one.applied >= goal);
                    let leader = all.iter().position(|one| Some(one.id) == one.leader);
                    match leader.filter(|_| caught_up) {
                        Some(at) if all.iter().all(|one| one.leader == all[at].leader) => {
                            return Ok(at);
                        }
                        _ => last = format!("{all:?}"),
                    }
                }
                Ok(Err(status)) => last = status.to_string(),
                Err(_) => last = format!("no answer in {QUESTION_DEADLINE:?}"),
            }
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
        let name = self.kind.name();
        anyhow::bail!("{name} does not agree in {AGREE_DEADLINE:?}: {last}")
    }

    async fn knowledge(&mut self) -> Result<Vec<Knowledge>, tonic::Status> {
        let mut all = Vec::with_capacity(NODES);
        for asker in &mut self.askers {
            all.push(asker.knowledge().await?);
        }
        Ok(all)
    }

    /// Kills a node, and starts it again once it is gone.
    pub(super) fn restart(&mut self, node: usize) -> anyhow::Result<()> {
        self.processes[node].end();
        self.processes[node] = self.start_node(node)?;
        Ok(())
    }
}
