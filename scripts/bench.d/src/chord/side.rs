//! One of those loads that take turns, and what the processes and this client use meanwhile.

use std::time::Duration;
use std::{process, thread};

use super::clients::{Clients, Way, Work};
use super::cluster::Cluster;
use crate::load::Tally;
use crate::spread::{Spread, quantile};
use crate::usage;

/// One of those that take turns.
pub(super) struct Side<'a> {
    name: &'static str,
    cluster: &'a Cluster,
    pub(super) clients: Clients,
    pub(super) rounds: Vec<Tally>,
    /// Processor time of the six processes, of this program, and of the whole machine.
    used: [Duration; 3],
}

impl<'a> Side<'a> {
    pub(super) fn new(name: &'static str, cluster: &'a Cluster, clients: Clients) -> Self {
        let used = [Duration::ZERO; 3];
        Self { name, cluster, clients, rounds: Vec::new(), used }
    }

    /// One round that counts.
    pub(super) async fn round(
        &mut self,
        work: Work,
        clients: usize,
        length: Duration,
    ) -> anyhow::Result<()> {
        let before = self.processor_times()?;
        let seed = self.rounds.len() as u64 + 1;
        let seed = seed << 8 | clients as u64;
        self.rounds.push(self.clients.ask(work, clients, length, seed).await?);
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

    /// Microseconds of processor time for each answer: of the six, and of this program.
    pub(super) fn cost_us(&self) -> [f64; 2] {
        let answered = self.sum().answered as f64;
        let [nodes, client, _] = self.used.map(|used| used.as_secs_f64() * 1e6 / answered);
        [nodes, client]
    }

    /// What was used of the machine, and what went wrong.
    pub(super) fn note(&self) -> String {
        let sum = self.sum();
        let [nodes, client, machine] = self.used.map(|used| used.as_secs_f64() / sum.seconds);
        let cores = thread::available_parallelism().map_or(1, |cores| cores.get());
        let others = (machine - nodes - client).max(0.0);
        let used = format!("nodes {nodes:.2}, client {client:.2}, others {others:.2}");
        let trouble = sum.trouble().map(|trouble| format!("; {trouble}")).unwrap_or_default();
        format!("{}: {used} of {cores} cores{trouble}", self.name)
    }
}

/// How many nodes an answer came by, on average: the one that is asked and the responsible one
/// included.
pub(super) fn nodes(tally: &Tally) -> f64 {
    let sum = tally.ways.iter().map(|way| u64::from(Way(*way).len())).sum::<u64>();
    sum as f64 / tally.ways.len() as f64
}

/// Medians of the times to an answer that came by one node, by two, and so on, in milliseconds,
/// each with the share of such answers.
pub(super) fn medians_by_nodes(tally: &Tally) -> Vec<(f64, f64)> {
    let mut by_nodes = Vec::<Vec<u32>>::new();
    for (way, latency) in tally.ways.iter().zip(&tally.latencies) {
        let nodes = Way(*way).len() as usize;
        by_nodes.resize(by_nodes.len().max(nodes), Vec::new());
        by_nodes[nodes - 1].push(*latency);
    }
    let all = tally.ways.len() as f64;
    let summed = by_nodes.into_iter().map(|mut latencies| {
        latencies.sort_unstable();
        (f64::from(quantile(&latencies, 0.5)) / 1e3, latencies.len() as f64 / all)
    });
    summed.collect()
}
