//! Finds every node of the ring: asks those that are known, then those that they tell of, until
//! nobody tells of another.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use chord::client::{Error, Id, Info, Node, NodeState, Options, Peer};
use tokio::task::JoinSet;

use super::{PROMPT, Ring};

/// Nodes that are asked at once.
const AT_ONCE: usize = 32;
/// Addresses that are asked at all.
const NODES_LIMIT: usize = 4096;

/// What is known of the ring.
#[derive(Debug)]
pub(super) struct Survey {
    /// Where its registry is, and who is registered there.
    pub(super) registry: Option<(String, Result<Info, Error>)>,
    /// Every node that was asked, in order of ids; those that nobody has told the id of come last.
    pub(super) sightings: Vec<Sighting>,
    /// Whether there are more nodes than were asked.
    pub(super) more: bool,
}

/// One node that was asked.
#[derive(Clone, Debug)]
pub(super) struct Sighting {
    /// Where.
    pub(super) at: String,
    /// The node that others say is there.
    pub(super) told: Option<Peer>,
    pub(super) state: Result<NodeState, Error>,
}

impl Survey {
    /// Asks them all.
    pub(super) async fn take(ring: &Ring) -> Self {
        let mut crawl = Crawl::default();
        for node in ring.client.nodes() {
            crawl.add(None, node.address());
        }
        crawl.run(ring).await;
        let said = crawl.sightings.iter().filter_map(|it| it.state.as_ref().ok());
        let said = said.filter_map(|state| state.registry.clone()).next();
        let mut registry = None;
        if let Some(address) = ring.registry.clone().or(said) {
            let info = match ring.registry_at(&address) {
                Ok(registry) => registry.with_deadline(prompt(ring)).info().await,
                Err(error) => Err(error),
            };
            if let Ok(info) = &info {
                info.nodes.iter().for_each(|peer| crawl.hear_of(peer));
            }
            registry = Some((address, info));
        }
        crawl.run(ring).await;
        let Crawl { mut sightings, asked, answered, .. } = crawl;
        // A node that answered elsewhere, at a published port perhaps, is not silent.
        sightings.retain(|it| {
            it.state.is_ok() || it.told.as_ref().is_none_or(|peer| !answered.contains(peer))
        });
        // Where nodes usually are, none need be.
        if ring.given.is_empty() && ring.known.is_empty() {
            sightings.retain(|it| it.state.is_ok() || it.told.is_some());
        }
        sightings.sort_by_key(|it| (it.id().is_none(), it.id(), it.state.is_err()));
        // Two addresses may be one node's.
        sightings.dedup_by(|later, it| match (&later.state, &it.state) {
            (Ok(later), Ok(state)) => later.node == state.node,
            (Ok(_) | Err(_), _) => false,
        });
        Self { registry, sightings, more: asked.len() >= NODES_LIMIT }
    }

    /// The nodes that answered: where they were asked, and what they say.
    pub(super) fn states(&self) -> impl Iterator<Item = (&str, &NodeState)> {
        self.sightings.iter().filter_map(|it| Some((it.at.as_str(), it.state.as_ref().ok()?)))
    }

    /// The nodes that did not answer, and why.
    pub(super) fn silent(&self) -> impl Iterator<Item = (&Sighting, &Error)> {
        self.sightings.iter().filter_map(|it| Some((it, it.state.as_ref().err()?)))
    }
}

impl Sighting {
    /// The id of the node, by its own word or else by that of others.
    pub(super) fn id(&self) -> Option<Id> {
        match &self.state {
            Ok(state) => Some(state.node.id),
            Err(_) => self.told.as_ref().map(|peer| peer.id),
        }
    }
}

/// A survey under way.
#[derive(Default)]
struct Crawl {
    waiting: VecDeque<(Option<Peer>, String)>,
    /// The addresses that were asked or are to be.
    asked: BTreeSet<String>,
    /// The nodes that answered, perhaps at another address than their own.
    answered: BTreeSet<Peer>,
    sightings: Vec<Sighting>,
}

impl Crawl {
    fn add(&mut self, told: Option<Peer>, address: &str) {
        if self.asked.len() < NODES_LIMIT && self.asked.insert(address.to_owned()) {
            self.waiting.push_back((told, address.to_owned()));
        }
    }

    fn hear_of(&mut self, peer: &Peer) {
        if self.answered.contains(peer) {
            return;
        }
        let silent = |it: &&mut Sighting| it.state.is_err() && *it.at == *peer.address;
        if let Some(sighting) = self.sightings.iter_mut().find(silent) {
            sighting.told.get_or_insert_with(|| peer.clone());
        }
        self.add(Some(peer.clone()), &peer.address);
    }

    /// Asks until nobody is left to be asked.
    async fn run(&mut self, ring: &Ring) {
        let mut asking = JoinSet::new();
        loop {
            while asking.len() < AT_ONCE {
                let Some((told, at)) = self.waiting.pop_front() else { break };
                if told.as_ref().is_some_and(|peer| self.answered.contains(peer)) {
                    continue;
                }
                let options = Options { deadline: prompt(ring), ..ring.options };
                let node = Node::new(ring.connector.clone(), &at, options);
                asking.spawn(async move {
                    let state = match node {
                        Ok(node) => node.state().await,
                        Err(error) => Err(error),
                    };
                    Sighting { at, told, state }
                });
            }
            match asking.join_next().await {
                Some(sighting) => self.note(sighting.expect("asking does not panic")),
                None => return,
            }
        }
    }

    fn note(&mut self, sighting: Sighting) {
        if let Ok(state) = &sighting.state {
            self.answered.insert(state.node.clone());
            let fingers = state.fingers.iter().map(|run| &run.peer);
            let others = state.successors.iter().chain(&state.predecessor).chain(&state.lost);
            let others: Vec<_> = others.chain(fingers).cloned().collect();
            others.iter().for_each(|peer| self.hear_of(peer));
        }
        self.sightings.push(sighting);
    }
}

fn prompt(ring: &Ring) -> Duration {
    ring.options.deadline.min(PROMPT)
}
