//! Clients: loops that each ask a random node, wait for the answer, and ask again.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::ensure;
use bytes::Bytes;
use proto::documents;
use proto::documents::overlay_node_client::OverlayNodeClient;
use proto::ensemble::chord::v1 as pb;
use proto::ensemble::chord::v1::node_service_client::NodeServiceClient;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{Rng as _, SeedableRng as _};
use tokio::task::JoinSet;
use tonic::Status;
use tonic::transport::{Channel, Endpoint};

use super::cluster::{Cluster, Kind, NODES};
use crate::load::Tally;
use crate::relay::FOUND;

/// Clients that save keys which are only there to be found.
const FILLERS: usize = 64;
const FILL_DEADLINE: Duration = Duration::from_secs(120);
const CONNECT_DEADLINE: Duration = Duration::from_secs(5);

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Work {
    /// A key that is there is found.
    Find,
    /// A fresh key is saved.
    Save,
}

/// The nodes that a lookup came to, in order: as the digits of a number in base 8, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Way(pub(super) u64);

impl Way {
    fn of(nodes: impl IntoIterator<Item = usize>) -> Self {
        Self(nodes.into_iter().fold(0, |way, node| way << 3 | (node as u64 + 1)))
    }

    /// How many nodes.
    pub(super) fn len(self) -> u32 {
        (u64::BITS - self.0.leading_zeros()).div_ceil(3)
    }

    /// The last node, and the way to it.
    fn split(self) -> Option<(usize, Self)> {
        let last = (self.0 & 7).checked_sub(1)?;
        Some((last as usize, Self(self.0 >> 3)))
    }

    /// The nodes from the last to the first.
    fn backwards(self) -> impl Iterator<Item = usize> {
        std::iter::successors(self.split(), |(_, rest)| rest.split()).map(|(node, _)| node)
    }
}

/// An endpoint as clients and relay use it.
pub(super) fn endpoint(address: SocketAddr) -> Endpoint {
    let endpoint = Endpoint::from_shared(format!("http://{address}"));
    let endpoint = endpoint.expect("an address makes a URI");
    endpoint.tcp_nodelay(true).connect_timeout(CONNECT_DEADLINE)
}

/// A connection to one node.
#[derive(Clone, Debug)]
enum Asker {
    Ours(NodeServiceClient<Channel>),
    Relay(OverlayNodeClient<Channel>),
}

/// One connection to each of six nodes, which all clients share.
#[derive(Clone, Debug)]
pub(super) struct Clients {
    askers: Vec<Asker>,
    addresses: [String; NODES],
    /// What finds look for.
    keys: Arc<[Bytes]>,
    /// The ways that requests go, of which each takes one at random: the relay's.
    ways: Arc<[Way]>,
}

impl Clients {
    /// Connects.
    pub(super) async fn connect(cluster: &Cluster, keys: Arc<[Bytes]>) -> anyhow::Result<Self> {
        let mut askers = Vec::with_capacity(NODES);
        for address in cluster.addresses {
            let channel = endpoint(address).connect().await?;
            askers.push(match cluster.kind {
                Kind::Ours => Asker::Ours(NodeServiceClient::new(channel)),
                Kind::Relay => Asker::Relay(OverlayNodeClient::new(channel)),
            });
        }
        let addresses = cluster.addresses.map(|address| address.to_string());
        Ok(Self { askers, addresses, keys, ways: Arc::default() })
    }

    /// From here on requests go these ways.
    pub(super) fn go(&mut self, ways: impl Into<Arc<[Way]>>) {
        self.ways = ways.into();
    }

    /// So many clients ask for so long. What is answered later is waited for, but not counted.
    pub(super) async fn ask(
        &self,
        work: Work,
        clients: usize,
        length: Duration,
        seed: u64,
    ) -> anyhow::Result<Tally> {
        let until = Instant::now() + length;
        let mut loops = JoinSet::new();
        for client in 0..clients {
            // No two clients, and no two rounds, draw the same.
            let random = StdRng::seed_from_u64(seed << 16 | client as u64);
            loops.spawn(self.clone().client(work, random, until));
        }
        Tally::of(loops, length).await
    }

    async fn client(mut self, work: Work, mut random: StdRng, until: Instant) -> Tally {
        let mut tally = Tally::default();
        loop {
            let asked = Instant::now();
            let outcome = self.one(work, &mut random).await;
            let answered = Instant::now();
            if answered >= until {
                return tally;
            }
            match outcome {
                Ok(way) => {
                    tally.answer(answered - asked);
                    tally.ways.push(way.0);
                }
                Err(status) => tally.fail(status).await,
            }
        }
    }

    /// Asks once, and checks the answer.
    async fn one(&mut self, work: Work, random: &mut StdRng) -> Result<Way, Status> {
        let node = random.random_range(0..NODES);
        let way = self.ways.choose(random).copied();
        match (&mut self.askers[node], work, way) {
            (Asker::Ours(_), Work::Save, _) => self.save(node, key(random)).await,
            (Asker::Ours(client), Work::Find, _) => {
                let key = self.keys.choose(random).expect("there are keys").clone();
                let request = pb::FindRequest { key, ..pb::FindRequest::default() };
                let answer = client.find(request).await?.into_inner();
                match answer.value {
                    Some(value) if value == FOUND.as_bytes() => self.way(answer.path),
                    _ => Err(Status::internal("a key that was saved does not have its value")),
                }
            }
            (Asker::Relay(_), _, Some(way)) => {
                let key = self.keys.choose(random).expect("there are keys").clone();
                self.relay(way, &key).await
            }
            (Asker::Relay(_), _, None) => Err(Status::internal("no way to go")),
        }
    }

    async fn save(&mut self, node: usize, key: Bytes) -> Result<Way, Status> {
        let Asker::Ours(client) = &mut self.askers[node] else {
            return Err(Status::internal("a relay keeps nothing"));
        };
        let value = Bytes::from_static(FOUND.as_bytes());
        let request = pb::SaveRequest { key, value, ..pb::SaveRequest::default() };
        let answer = client.save(request).await?.into_inner();
        match answer.saved {
            true => self.way(answer.path),
            false => Err(Status::internal("a fresh key is there already")),
        }
    }

    async fn relay(&mut self, way: Way, key: &Bytes) -> Result<Way, Status> {
        let mut hops = way.backwards().map(|node| node.to_string()).collect::<Vec<_>>();
        let first = hops.pop().and_then(|first| first.parse::<usize>().ok());
        let Some(Asker::Relay(client)) = first.and_then(|first| self.askers.get_mut(first)) else {
            return Err(Status::internal("a way that begins nowhere"));
        };
        let payload = String::from_utf8_lossy(key).into_owned();
        let answer = client.forward(documents::Request { payload, hops }).await?.into_inner();
        match answer.result == FOUND && answer.hops.len() == way.len() as usize {
            true => Ok(way),
            false => Err(Status::internal("the relay does not go the way that it is told")),
        }
    }

    /// By which nodes an answer came.
    fn way(&self, path: Option<pb::Path>) -> Result<Way, Status> {
        let hops = path.map(|path| path.hops).unwrap_or_default();
        let place = |hop: &pb::Hop| {
            let address = &hop.peer.as_ref()?.address;
            self.addresses.iter().position(|known| known == address)
        };
        let nodes = hops.iter().map(place).collect::<Option<Vec<_>>>();
        match nodes {
            Some(nodes) if !nodes.is_empty() => Ok(Way::of(nodes)),
            _ => Err(Status::internal("a path by a node that nobody knows")),
        }
    }

    /// Saves all keys, each once.
    pub(super) async fn fill(&self) -> anyhow::Result<()> {
        let mut loops = JoinSet::new();
        for filler in 0..FILLERS {
            let mut clients = self.clone();
            loops.spawn(async move {
                let mut tally = Tally::default();
                for (number, key) in clients.keys.clone().iter().enumerate() {
                    if number % FILLERS != filler {
                        continue;
                    }
                    let asked = Instant::now();
                    match clients.save(number % NODES, key.clone()).await {
                        Ok(_) => tally.answer(asked.elapsed()),
                        Err(status) => tally.fail(status).await,
                    }
                }
                tally
            });
        }
        let tally = Tally::of(loops, FILL_DEADLINE).await?;
        let reason = tally.failure.unwrap_or_default();
        ensure!(
            tally.failed == 0,
            "{} of {} saves failed: {reason}",
            tally.failed,
            self.keys.len()
        );
        Ok(())
    }
}

/// So many distinct keys, the same in every run.
pub(super) fn keys(count: usize) -> Arc<[Bytes]> {
    let mut random = StdRng::seed_from_u64(0);
    (0..count).map(|_| key(&mut random)).collect()
}

/// A key of 16 bytes: so many that none is drawn twice.
fn key(random: &mut StdRng) -> Bytes {
    format!("{:016x}", random.random::<u64>()).into()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_way_is_read_as_it_was_written() {
        for nodes in [vec![0], vec![5], vec![0, 0], vec![3, 1, 5, 0]] {
            let way = Way::of(nodes.clone());
            assert_eq!(way.len() as usize, nodes.len(), "{nodes:?}");
            assert!(way.backwards().eq(nodes.iter().rev().copied()), "{nodes:?}");
        }
    }

    #[test]
    fn keys_are_distinct_and_as_long_as_they_say() {
        let keys = keys(10_000);
        assert_eq!(keys.iter().collect::<BTreeSet<_>>().len(), 10_000);
        assert!(keys.iter().all(|key| key.len() == 16));
        assert_eq!(FOUND.len(), 64);
    }
}
