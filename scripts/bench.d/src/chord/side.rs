//! One of those loads that take turns.

use std::time::Duration;

use super::clients::{Clients, Way, Work};
use super::cluster::Cluster;
use crate::load::Tally;
use crate::rounds::Rounds;
use crate::spread::quantile;

/// One of those that take turns.
pub(super) struct Side {
    name: &'static str,
    pub(super) clients: Clients,
    pub(super) rounds: Rounds,
}

impl Side {
    pub(super) fn new(name: &'static str, cluster: &Cluster, clients: Clients) -> Self {
        Self { name, clients, rounds: Rounds::of(&cluster.processes) }
    }

    /// One round that counts.
    pub(super) async fn round(
        &mut self,
        work: Work,
        clients: usize,
        length: Duration,
    ) -> anyhow::Result<()> {
        let seed = (self.rounds.count() as u64 + 1) << 8 | clients as u64;
        self.rounds.add(self.clients.ask(work, clients, length, seed)).await
    }

    /// What was used of the machine, what of it saturates, and what went wrong.
    pub(super) fn note(&self) -> String {
        let note = self.rounds.note("the turns of the network are waited for");
        format!("{}: {note}", self.name)
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
