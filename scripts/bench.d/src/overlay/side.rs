//! One of several loads that take turns, and what the processes use meanwhile.

use std::process;
use std::time::Duration;

use super::PAYLOAD;
use super::cluster::{Cluster, PLACES};
use crate::load::{Askers, By, Load, Tally};
use crate::process::Process;
use crate::usage;

/// One of those that take turns.
pub(super) struct Side<'a> {
    pub(super) name: &'static str,
    cluster: &'a Cluster,
    askers: Askers,
    pub(super) rounds: Vec<Tally>,
    /// Processor time of each process in the order of the cluster, and of this program last.
    used: Vec<Duration>,
}

impl<'a> Side<'a> {
    pub(super) async fn new(
        name: &'static str,
        cluster: &'a Cluster,
        by: By,
    ) -> anyhow::Result<Self> {
        let askers = Askers::connect(&cluster.address, by).await?;
        let used = vec![Duration::ZERO; cluster.processes.len() + 1];
        Ok(Self { name, cluster, askers, rounds: Vec::new(), used })
    }

    /// One round that does not count.
    pub(super) async fn warm_up(&self, load: Load) -> anyhow::Result<()> {
        self.askers.ask(load, PAYLOAD).await.map(drop)
    }

    /// One round that counts.
    pub(super) async fn round(&mut self, load: Load) -> anyhow::Result<()> {
        let before = self.processor_times()?;
        self.rounds.push(self.askers.ask(load, PAYLOAD).await?);
        let after = self.processor_times()?;
        for (used, (before, after)) in self.used.iter_mut().zip(before.into_iter().zip(after)) {
            *used += after.saturating_sub(before);
        }
        Ok(())
    }

    fn processor_times(&self) -> anyhow::Result<Vec<Duration>> {
        let processes = self.cluster.processes.iter().map(Process::pid);
        processes.chain([process::id()]).map(usage::processor_time).collect()
    }

    /// Whole answers a second, round by round.
    pub(super) fn rates(&self) -> Vec<f64> {
        self.rounds.iter().map(Tally::rate).collect()
    }

    /// Microseconds of processor time for each whole answer: of the six, and of this program.
    pub(super) fn cost_us(&self, sum: &Tally) -> (f64, f64) {
        let micros = |used: &[Duration]| {
            used.iter().sum::<Duration>().as_secs_f64() * 1e6 / sum.answered as f64
        };
        let (six, client) = self.used.split_at(self.used.len() - 1);
        (micros(six), micros(client))
    }

    /// What each process used of a core, and which saturates first.
    pub(super) fn note(&self, sum: &Tally) -> String {
        let names = PLACES.iter().map(|place| place.id).chain(["the client"]);
        let shares: Vec<_> =
            names.zip(self.used.iter().map(|used| used.as_secs_f64() / sum.seconds)).collect();
        let all: f64 = shares.iter().map(|(_, share)| share).sum();
        let busiest = shares.iter().max_by(|(_, a), (_, b)| a.total_cmp(b)).expect("seven");
        let list: Vec<_> =
            shares.iter().map(|(name, share)| format!("{name} {share:.2}")).collect();
        format!("{} used {all:.2} cores, most by {}: {}", self.name, busiest.0, list.join(", "))
    }
}
