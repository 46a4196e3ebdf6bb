//! What is measured: a console before a fleet.

use std::env;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};

use super::fleet::{Conduct, Fleet};
use super::viewer::Viewer;
use super::views::{Cast, NODES};
use crate::process::{LOOK_INTERVAL, Process, free_addresses};

/// Addresses that a stage needs: the nodes', one more node's, the page's and the spans'.
const ADDRESSES: usize = NODES + 3;
/// Time by which the console has seen every node.
const SEEN_DEADLINE: Duration = Duration::from_secs(15);
/// What remains of the start is no part of what is measured.
const SETTLING: Duration = Duration::from_secs(1);

/// The programs that are run.
#[derive(Debug)]
pub(super) struct Programs {
    binaries: PathBuf,
    /// This program, which is also a peer.
    own: PathBuf,
    /// A peer, if it is there.
    pub(super) rotel: Option<PathBuf>,
    pub(super) logs: PathBuf,
}

impl Programs {
    /// Finds ours in a folder, or beside this program.
    pub(super) fn find(binaries: Option<PathBuf>, rotel: Option<PathBuf>) -> anyhow::Result<Self> {
        let own = env::current_exe().context("finding this program")?;
        let folder = own.parent().context("this program is in no folder")?.to_owned();
        let logs = folder.join("bench-logs");
        Ok(Self { binaries: binaries.unwrap_or(folder), own, rotel, logs })
    }

    /// Starts the console.
    pub(super) fn start_console(
        &self,
        page: SocketAddr,
        traces: SocketAddr,
        nodes: &[SocketAddr],
    ) -> anyhow::Result<Process> {
        let program = self.binaries.join("console");
        ensure!(
            program.is_file(),
            "{}: not there; `cargo build --release --package console` makes it",
            program.display()
        );
        let nodes = nodes.iter().enumerate().map(|(at, address)| format!("n{at}={address}"));
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("CHASSIS_TIED", "on")
            .env("CONSOLE_ADDRESS", page.to_string())
            .env("CONSOLE_TRACES", traces.to_string())
            .env("CONSOLE_NODES", nodes.collect::<Vec<_>>().join(","));
        Process::start("console", command, &self.logs)
    }

    /// Starts the peer that decodes spans and throws them away.
    pub(super) fn start_sink(&self, address: SocketAddr) -> anyhow::Result<Process> {
        let mut command = Command::new(&self.own);
        command.env_clear().arg("sink").arg(address.to_string());
        Process::start("console-sink", command, &self.logs)
    }
}

/// A console that sees a fleet.
#[derive(Debug)]
pub(super) struct Stage {
    pub(super) console: Process,
    /// Where the page is.
    pub(super) page: SocketAddr,
    /// Where spans are taken.
    pub(super) traces: SocketAddr,
    /// One more address that is watched, where nobody is.
    pub(super) spare: SocketAddr,
    pub(super) fleet: Fleet,
}

impl Stage {
    /// Starts everything, and waits until all nodes are seen.
    pub(super) async fn start(programs: &Programs) -> anyhow::Result<Self> {
        let addresses = free_addresses::<ADDRESSES>()?;
        let (nodes, [spare, page, traces]) = addresses.split_at(NODES) else { unreachable!() };
        let (spare, page, traces) = (*spare, *page, *traces);
        let cast = Cast::all().into_iter().map(Conduct::Lives);
        let fleet = Fleet::start(nodes.iter().copied().zip(cast).collect())?;
        let watched = &addresses[..=NODES];
        let mut console = programs.start_console(page, traces, watched)?;
        console.until_serving(page, LOOK_INTERVAL).await?;
        let stage = Self { console, page, traces, spare, fleet };
        stage.until_all_are_seen().await?;
        tokio::time::sleep(SETTLING).await;
        Ok(stage)
    }

    pub(super) fn pid(&self) -> u32 {
        self.console.pid()
    }

    async fn until_all_are_seen(&self) -> anyhow::Result<()> {
        let started = Instant::now();
        loop {
            let seen = Viewer::open(self.page).await?.begin().await?;
            let nodes = seen["nodes"].as_array().map_or(&[][..], Vec::as_slice);
            let shown = nodes.iter().filter(|node| node["view"].is_object()).count();
            if shown == NODES {
                return Ok(());
            }
            ensure!(
                started.elapsed() < SEEN_DEADLINE,
                "{shown} of {NODES} nodes are seen after {SEEN_DEADLINE:?}"
            );
            tokio::time::sleep(LOOK_INTERVAL * 10).await;
        }
    }
}
