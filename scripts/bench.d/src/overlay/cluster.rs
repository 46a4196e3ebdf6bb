//! Six processes on loopback: ours, or the relay's.

use std::env;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use chassis::channel::Connector;
use proto::documents;
use proto::documents::overlay_node_client::OverlayNodeClient;

use super::PAYLOAD;
use crate::process::{Process, START_DEADLINE, free_addresses};

/// One process of the overlay.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) id: &'static str,
    /// The binary that runs it.
    pub(super) role: &'static str,
    /// Whom it asks, as places in [`PLACES`].
    asks: &'static [usize],
}

/// The document's processes in their order.
pub(super) const PLACES: [Place; 6] = [
    Place { id: "A", role: "overlay-leader", asks: &[1, 4] },
    Place { id: "B", role: "overlay-team-leader", asks: &[2] },
    Place { id: "C", role: "overlay-worker", asks: &[] },
    Place { id: "D", role: "overlay-worker", asks: &[] },
    Place { id: "E", role: "overlay-team-leader", asks: &[5, 3] },
    Place { id: "F", role: "overlay-worker", asks: &[] },
];

/// The three roles.
pub(super) const ROLES: [&str; 3] = ["overlay-leader", "overlay-team-leader", "overlay-worker"];

/// What both sides make of a request, so that both carry the same bytes.
const ANSWER: &str = "A|B|C-processed;B-processed;E|F-processed;D-processed;E-processed";

/// Time between two questions whether everybody takes part already.
const QUESTION_INTERVAL: Duration = Duration::from_millis(10);
const QUESTION_DEADLINE: Duration = Duration::from_secs(1);

/// The programs that are run.
#[derive(Debug)]
pub(super) struct Programs {
    /// Where ours are.
    binaries: PathBuf,
    /// This program, which is also the peers.
    own: PathBuf,
    /// Where the logs go.
    pub(super) logs: PathBuf,
}

impl Programs {
    /// Finds ours in a folder, or beside this program.
    pub(super) fn find(binaries: Option<PathBuf>) -> anyhow::Result<Self> {
        let own = env::current_exe().context("finding this program")?;
        let folder = own.parent().context("this program is in no folder")?.to_owned();
        let logs = folder.join("bench-logs");
        Ok(Self { binaries: binaries.unwrap_or(folder), own, logs })
    }

    /// The path of one of ours, if it has been built.
    pub(super) fn built(&self, binary: &str) -> Option<PathBuf> {
        Some(self.binaries.join(binary)).filter(|path| path.is_file())
    }

    /// Starts one of our processes of a cluster at these addresses.
    pub(super) fn start_ours(
        &self,
        place: &Place,
        addresses: &[SocketAddr; 6],
    ) -> anyhow::Result<Process> {
        let binary = self.built(place.role).with_context(|| {
            let folder = self.binaries.display();
            format!("{folder}: no {} here; `cargo build --release` makes it", place.role)
        })?;
        let mut all = String::new();
        for (place, address) in PLACES.iter().zip(addresses) {
            let _ = write!(all, "{}={address},", place.id);
        }
        let mut command = Command::new(binary);
        command
            .env_clear()
            .env("OVERLAY_ID", place.id)
            .env("OVERLAY_ADDRESSES", all.trim_end_matches(','))
            .env("CHASSIS_TIED", "on");
        Process::start(&format!("{}-{}", place.role, place.id), command, &self.logs)
    }

    fn start_relay(&self, place: &Place, addresses: &[SocketAddr; 6]) -> anyhow::Result<Process> {
        let index = PLACES.iter().position(|other| other.id == place.id).expect("a place");
        let mut command = Command::new(&self.own);
        command.env_clear().arg("relay").arg(place.id).arg(addresses[index].to_string());
        command.args(place.asks.iter().map(|&asked| addresses[asked].to_string()));
        Process::start(&format!("relay-{}", place.id), command, &self.logs)
    }

    /// Starts a server with nothing but health.
    pub(super) fn start_bare(&self, address: SocketAddr) -> anyhow::Result<Process> {
        let mut command = Command::new(&self.own);
        command.env_clear().arg("bare").arg(address.to_string());
        Process::start("bare", command, &self.logs)
    }
}

/// Six processes that answer together.
#[derive(Debug)]
pub(super) struct Cluster {
    /// In the order of [`PLACES`].
    pub(super) processes: Vec<Process>,
    /// Where A is.
    pub(super) address: String,
}

impl Cluster {
    /// Starts ours, and waits until an answer is whole.
    pub(super) async fn ours(programs: &Programs) -> anyhow::Result<Self> {
        Self::start(Programs::start_ours, programs).await
    }

    /// Starts the relay, and waits until an answer is whole.
    pub(super) async fn relay(programs: &Programs) -> anyhow::Result<Self> {
        Self::start(Programs::start_relay, programs).await
    }

    async fn start(
        start: fn(&Programs, &Place, &[SocketAddr; 6]) -> anyhow::Result<Process>,
        programs: &Programs,
    ) -> anyhow::Result<Self> {
        let addresses = free_addresses()?;
        let processes = PLACES.iter().map(|place| start(programs, place, &addresses));
        let processes = processes.collect::<anyhow::Result<Vec<_>>>()?;
        let mut cluster = Self { processes, address: addresses[0].to_string() };
        cluster.until_whole().await?;
        Ok(cluster)
    }

    /// Asks A until everybody takes part, and checks that the answer is what it should be.
    async fn until_whole(&mut self) -> anyhow::Result<()> {
        let started = Instant::now();
        let mut last = String::from("no answer");
        while started.elapsed() < START_DEADLINE {
            for process in &mut self.processes {
                process.expect_up_within(START_DEADLINE)?;
            }
            match tokio::time::timeout(QUESTION_DEADLINE, self.one_answer()).await {
                Ok(Ok(answer)) if answer.hops.len() == PLACES.len() => {
                    let result = answer.result;
                    ensure!(result == ANSWER, "A answers {result:?} instead of {ANSWER:?}");
                    return Ok(());
                }
                Ok(Ok(answer)) => last = format!("only {:?} took part", answer.hops),
                Ok(Err(error)) => last = format!("{error:#}"),
                Err(_) => last = format!("no answer in {QUESTION_DEADLINE:?}"),
            }
            tokio::time::sleep(QUESTION_INTERVAL).await;
        }
        let name = self.processes[0].name();
        anyhow::bail!("{name} gives no whole answer after {START_DEADLINE:?}: {last}")
    }

    async fn one_answer(&self) -> anyhow::Result<documents::Response> {
        let channel = Connector::new(None).connect(&self.address, QUESTION_DEADLINE).await?;
        let request = documents::Request { payload: PAYLOAD.into(), hops: Vec::new() };
        Ok(OverlayNodeClient::new(channel).forward(request).await?.into_inner())
    }
}
