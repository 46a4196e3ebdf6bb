//! One of several loads that take turns.

use std::time::Duration;

use super::asker::Work;
use super::clients::Clients;
use super::cluster::{Cluster, Kind};
use crate::rounds::Rounds;

/// Whom the clients ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum To {
    /// All three nodes in turn.
    All,
    /// The leader alone.
    Leader,
}

/// One of those that take turns.
pub(super) struct Side {
    pub(super) kind: Kind,
    pub(super) to: To,
    clients: Clients,
    pub(super) rounds: Rounds,
}

impl Side {
    pub(super) async fn new(cluster: &Cluster<'_>, to: To, leader: usize) -> anyhow::Result<Self> {
        let clients = match to {
            To::All => cluster.clients(&[0, 1, 2]).await?,
            To::Leader => cluster.clients(&[leader]).await?,
        };
        Ok(Self { kind: cluster.kind, to, clients, rounds: Rounds::of(&cluster.processes) })
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
        self.rounds.add(self.clients.ask(work, clients, length)).await
    }

    /// What was used of the machine, what of it saturates, and what went wrong.
    pub(super) fn note(&self) -> String {
        let to = match self.to {
            To::All => "all",
            To::Leader => "its leader",
        };
        let note = self.rounds.note("the disk and the turns of the network are waited for");
        format!("{} to {to}: {note}", self.kind.name())
    }
}
