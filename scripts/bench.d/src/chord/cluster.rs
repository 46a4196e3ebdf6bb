//! Six processes on loopback: our nodes with their registry, or the relay's.

use std::env;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use proto::ensemble::chord::v1 as pb;
use proto::ensemble::chord::v1::node_service_client::NodeServiceClient;

use super::clients;
use crate::process::{LOOK_INTERVAL, Process, START_DEADLINE, free_addresses};

/// Nodes of a ring.
pub(super) const NODES: usize = 6;
/// m: 256 places are enough for six nodes, and the document's hash fills them evenly.
const BITS: &str = "8";
/// Time until all know each other; much longer than it takes.
const SETTLE_DEADLINE: Duration = Duration::from_secs(60);
const QUESTION_DEADLINE: Duration = Duration::from_secs(1);
/// Of each key there are so many copies, unless there are too few nodes.
pub(super) const REPLICAS: usize = 3;

/// Whose processes they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// `chord-node` with its default settings.
    Ours,
    /// A bare relay.
    Relay,
}

/// The programs that are run.
#[derive(Debug)]
pub(super) struct Programs {
    /// Where ours are.
    binaries: PathBuf,
    /// This program, which is also the relay.
    own: PathBuf,
    logs: PathBuf,
}

impl Programs {
    /// Finds ours in a folder, or beside this program.
    pub(super) fn find(binaries: Option<PathBuf>) -> anyhow::Result<Self> {
        let own = env::current_exe().context("finding this program")?;
        let folder = own.parent().context("this program is in no folder")?.to_owned();
        let logs = folder.join("bench-logs");
        Ok(Self { binaries: binaries.unwrap_or(folder), own, logs })
    }

    /// Starts one of ours with these arguments.
    fn start_ours(
        &self,
        role: &str,
        name: &str,
        arguments: [String; 2],
    ) -> anyhow::Result<Process> {
        let program = self.binaries.join(role);
        ensure!(
            program.is_file(),
            "{}: not there; `cargo build --release --package chord` makes it",
            program.display()
        );
        let mut command = Command::new(program);
        command.env_clear().env("CHASSIS_TIED", "on").args(arguments);
        Process::start(name, command, &self.logs)
    }

    /// Starts one process of the relay, which may be told to ask any of these.
    fn start_relay(&self, index: usize, all: &[SocketAddr; NODES]) -> anyhow::Result<Process> {
        let mut command = Command::new(&self.own);
        // Named by its address, as our nodes are.
        let address = all[index].to_string();
        command.env_clear().args(["relay", "--routed", &address, &address]);
        command.args(all.map(|address| address.to_string()));
        Process::start(&format!("chord-relay-{index}"), command, &self.logs)
    }
}

/// Six processes, which are killed when this is dropped.
#[derive(Debug)]
pub(super) struct Cluster {
    pub(super) kind: Kind,
    /// Of ours.
    pub(super) registry: Option<Process>,
    pub(super) processes: Vec<Process>,
    /// Where clients ask them.
    pub(super) addresses: [SocketAddr; NODES],
}

impl Cluster {
    /// Starts our registry and one node after another, so that each has the id that it always has,
    /// and waits until all know each other.
    pub(super) async fn ours(programs: &Programs) -> anyhow::Result<Self> {
        let [registrar] = free_addresses()?;
        let arguments = [registrar.to_string(), BITS.into()];
        let mut registry = programs.start_ours("chord-registry", "chord-registry", arguments)?;
        registry.until_serving(registrar, LOOK_INTERVAL).await?;
        let addresses = free_addresses()?;
        let (kind, processes) = (Kind::Ours, Vec::new());
        let mut cluster = Self { kind, registry: Some(registry), processes, addresses };
        for (index, address) in addresses.iter().enumerate() {
            let arguments = [registrar.to_string(), address.to_string()];
            let name = format!("chord-node-{index}");
            let mut node = programs.start_ours("chord-node", &name, arguments)?;
            node.until_serving(*address, LOOK_INTERVAL).await?;
            cluster.processes.push(node);
        }
        cluster.until_settled().await?;
        Ok(cluster)
    }

    /// Starts the relay.
    pub(super) async fn relay(programs: &Programs) -> anyhow::Result<Self> {
        let addresses = free_addresses()?;
        let processes = (0..NODES).map(|index| programs.start_relay(index, &addresses));
        let processes = processes.collect::<anyhow::Result<Vec<_>>>()?;
        let mut cluster = Self { kind: Kind::Relay, registry: None, processes, addresses };
        for (process, address) in cluster.processes.iter_mut().zip(addresses) {
            while tokio::net::TcpStream::connect(address).await.is_err() {
                process.expect_up_within(START_DEADLINE)?;
                tokio::time::sleep(LOOK_INTERVAL).await;
            }
        }
        Ok(cluster)
    }

    /// Waits until every node is ready and knows the others as it should, and no copy is missing.
    pub(super) async fn until_settled(&mut self) -> anyhow::Result<()> {
        let started = Instant::now();
        let mut last = String::from("not asked");
        while started.elapsed() < SETTLE_DEADLINE {
            for process in &mut self.processes {
                process.expect_alive()?;
            }
            match tokio::time::timeout(QUESTION_DEADLINE, self.states()).await {
                Ok(Ok(states)) => match unsettled(&states) {
                    None => return Ok(()),
                    Some(what) => last = what,
                },
                Ok(Err(status)) => last = status.to_string(),
                Err(_) => last = format!("no answer in {QUESTION_DEADLINE:?}"),
            }
            tokio::time::sleep(LOOK_INTERVAL * 10).await;
        }
        anyhow::bail!("the ring is not at rest after {SETTLE_DEADLINE:?}: {last}")
    }

    /// How every node sees the ring.
    pub(super) async fn states(&self) -> Result<Vec<pb::GetStateResponse>, tonic::Status> {
        let mut states = Vec::with_capacity(NODES);
        for address in self.addresses {
            let mut client = NodeServiceClient::new(clients::endpoint(address).connect_lazy());
            states.push(client.get_state(pb::GetStateRequest {}).await?.into_inner());
        }
        Ok(states)
    }
}

/// What is not yet as it should be.
fn unsettled(states: &[pb::GetStateResponse]) -> Option<String> {
    let mut ids = states.iter().filter_map(|state| Some(state.node.as_ref()?.id));
    let mut ids = ids.by_ref().collect::<Vec<_>>();
    ids.sort_unstable();
    for state in states {
        let own = state.node.as_ref().map_or(0, |node| node.id);
        let at = ids.partition_point(|id| *id <= own);
        let expected = (0..REPLICAS).map(|step| ids[(at + step) % ids.len()]);
        let known = state.successors.iter().map(|peer| peer.id);
        if !state.ready || !known.eq(expected) || state.fingers.is_empty() {
            return Some(format!("node {own} is {} and ready: {}", state.phase, state.ready));
        }
    }
    let sum = |count: fn(&pb::GetStateResponse) -> u64| states.iter().map(count).sum::<u64>();
    let (keys, copies) = (sum(|state| state.keys), sum(|state| state.copies));
    (copies != keys * REPLICAS as u64).then(|| format!("{copies} copies of {keys} keys"))
}
