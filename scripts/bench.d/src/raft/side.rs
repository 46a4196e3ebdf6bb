//! One of several loads that take turns, and what the nodes and this client use meanwhile.

use std::time::Duration;
use std::{process, thread};

use super::asker::Work;
use super::clients::Clients;
use super::cluster::{Cluster, Kind};
use crate::load::Tally;
use crate::spread::Spread;
use crate::usage;

/// The share of what there is from which on it counts as saturated: some goes to the system.
const SATURATED: f64 = 0.9;

/// Whom the clients ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum To {
    /// All three nodes in turn.
    All,
    /// The leader alone.
    Leader,
}

/// One of those that take turns.
pub(super) struct Side<'a> {
    pub(super) kind: Kind,
    pub(super) to: To,
    cluster: &'a Cluster<'a>,
    clients: Clients,
    rounds: Vec<Tally>,
    /// Processor time of the three nodes, of this program, and of the whole machine.
    used: [Duration; 3],
}

impl<'a> Side<'a> {
    pub(super) async fn new(
        cluster: &'a Cluster<'a>,
        to: To,
        leader: usize,
    ) -> anyhow::Result<Self> {
        let clients = match to {
            To::All => cluster.clients(&[0, 1, 2]).await?,
            To::Leader => cluster.clients(&[leader]).await?,
        };
        let used = [Duration::ZERO; 3];
        Ok(Self { kind: cluster.kind, to, cluster, clients, rounds: Vec::new(), used })
    }

    /// One round that does not count.
    pub(super) async fn warm_up(
        &self,
        work: Work,
        clients: usize,
        length: Duration,
    ) -> anyhow::Result<()> {
        self.clients.ask(work, clients, length).await.map(drop)
    }

    /// One round that counts.
    pub(super) async fn round(
        &mut self,
        work: Work,
        clients: usize,
        length: Duration,
    ) -> anyhow::Result<()> {
        let before = self.processor_times()?;
        self.rounds.push(self.clients.ask(work, clients, length).await?);
        let after = self.processor_times()?;
        for (used, (before, after)) in self.used.iter_mut().zip(before.into_iter().zip(after)) {
            *used += after.saturating_sub(before);
        }
        Ok(())
    }

    fn processor_times(&self) -> anyhow::Result<[Duration; 3]> {
        let mut nodes = Duration::ZERO;
        for node in &self.cluster.processes {
            nodes += usage::ticking_time(node.pid())?;
        }
        Ok([nodes, usage::ticking_time(process::id())?, usage::machine_time()?])
    }

    /// Answers a second, round by round.
    pub(super) fn rates(&self) -> Vec<f64> {
        self.rounds.iter().map(Tally::rate).collect()
    }

    /// Answers a second in the round in the middle.
    pub(super) fn rate(&self) -> f64 {
        Spread::of(self.rates()).median
    }

    /// All rounds.
    pub(super) fn sum(&self) -> Tally {
        Tally::sum(&self.rounds)
    }

    /// Microseconds of processor time for each answer: of the three nodes, and of this program.
    pub(super) fn cost_us(&self) -> [f64; 2] {
        let answered = self.sum().answered as f64;
        let [nodes, client, _] = self.used.map(|used| used.as_secs_f64() * 1e6 / answered);
        [nodes, client]
    }

    /// What was used of the machine, what of it saturates, and what went wrong.
    pub(super) fn note(&self) -> String {
        let sum = self.sum();
        let [nodes, client, machine] = self.used.map(|used| used.as_secs_f64() / sum.seconds);
        let cores = thread::available_parallelism().map_or(1.0, |cores| cores.get() as f64);
        let to = match self.to {
            To::All => "all",
            To::Leader => "its leader",
        };
        let verdict = if client >= SATURATED {
            "the client saturates its one core"
        } else if machine >= SATURATED * cores {
            "the cores are saturated"
        } else {
            "the disk and the turns of the network are waited for"
        };
        let name = self.kind.name();
        let others = (machine - nodes - client).max(0.0);
        let used = format!("nodes {nodes:.2}, client {client:.2}, others {others:.2}");
        let trouble = sum.trouble().map(|trouble| format!("; {trouble}")).unwrap_or_default();
        format!("{name} to {to}: {used} of {cores} cores: {verdict}{trouble}")
    }
}
