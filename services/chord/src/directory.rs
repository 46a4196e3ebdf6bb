//! What the registry knows: which node has which id, and until when. A value; it is told the time.
//!
//! A node that says an incarnation with its registration must repeat it before its lease is over,
//! or it is forgotten. One address has one live process: the same address with another incarnation
//! is that process started again, and what went before may not renew any more. Nothing is durable:
//! after a restart of the registry, nodes bring the ids that they have.

mod draw;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use hashring::{Circle, Id, Peer};

use self::draw::Draw;

/// The most nodes, however wide the circle is.
const NODES_LIMIT: u64 = 65_536;
/// The incarnation of a node that never renews.
const PLAIN: u64 = 0;

/// One node.
struct Entry {
    address: Arc<str>,
    incarnation: u64,
    /// It was registered so many registrations after the first.
    number: u64,
    /// When it is forgotten, if ever.
    expires: Option<Duration>,
}

/// Why a node has no id from here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// Every id is taken, or as many nodes are registered as may be.
    Full,
    /// A node that never renews has registered already, or another process lives at its address.
    Registered(Id),
    /// Another process at this address has taken its place, or it has another id.
    AddressTaken(Id),
    /// The node at another address has the id.
    IdTaken,
}

/// All registered nodes.
pub(crate) struct Directory {
    circle: Circle,
    lease: Duration,
    draw: Draw,
    entries: BTreeMap<Id, Entry>,
    addresses: BTreeMap<Arc<str>, Id>,
    /// In order of registration.
    order: BTreeMap<u64, Id>,
    expiries: BTreeSet<(Duration, Id)>,
    registrations: u64,
}

impl Directory {
    pub(crate) fn new(circle: Circle, lease: Duration) -> Self {
        Self {
            circle,
            lease,
            draw: Draw::new(circle),
            entries: BTreeMap::new(),
            addresses: BTreeMap::new(),
            order: BTreeMap::new(),
            expiries: BTreeSet::new(),
            registrations: 0,
        }
    }

    /// How many nodes there may be.
    pub(crate) fn room(&self) -> u64 {
        NODES_LIMIT.min(self.circle.last().0.saturating_add(1))
    }

    /// Registers a node, or renews what it has. `id` is the one that it has, if it has one.
    pub(crate) fn register(
        &mut self,
        address: &str,
        id: Option<Id>,
        incarnation: u64,
        now: Duration,
    ) -> Result<Id, Refused> {
        self.expire(now);
        let id = match (self.addresses.get(address).copied(), id) {
            (Some(known), id) => self.again(known, id, incarnation)?,
            (None, Some(id)) if self.entries.contains_key(&id) => return Err(Refused::IdTaken),
            (None, _) if self.entries.len() as u64 >= self.room() => return Err(Refused::Full),
            (None, Some(id)) => id,
            (None, None) => self.free(),
        };
        self.enter(id, address, incarnation, now);
        Ok(id)
    }

    /// Whether a process at an address that is known may have its id.
    fn again(&self, known: Id, id: Option<Id>, incarnation: u64) -> Result<Id, Refused> {
        let same = self.entries[&known].incarnation == incarnation;
        match id {
            _ if incarnation == PLAIN => Err(Refused::Registered(known)),
            None => Ok(known),
            Some(id) if same && id == known => Ok(known),
            Some(_) => Err(Refused::AddressTaken(known)),
        }
    }

    /// An id that nobody has. There is one.
    fn free(&mut self) -> Id {
        loop {
            let id = self.draw.next();
            if !self.entries.contains_key(&id) {
                return id;
            }
        }
    }

    fn enter(&mut self, id: Id, address: &str, incarnation: u64, now: Duration) {
        let before = self.forget(id);
        let number = before.map_or(self.registrations, |entry| entry.number);
        self.registrations += 1;
        let address = Arc::<str>::from(address);
        let expires = (incarnation != PLAIN).then(|| now + self.lease);
        self.expiries.extend(expires.map(|expires| (expires, id)));
        self.addresses.insert(address.clone(), id);
        self.order.insert(number, id);
        self.entries.insert(id, Entry { address, incarnation, number, expires });
    }

    fn forget(&mut self, id: Id) -> Option<Entry> {
        let entry = self.entries.remove(&id)?;
        self.addresses.remove(&entry.address);
        self.order.remove(&entry.number);
        if let Some(expires) = entry.expires {
            self.expiries.remove(&(expires, id));
        }
        Some(entry)
    }

    /// Forgets a node that leaves. False if there is none.
    pub(crate) fn deregister(&mut self, id: Id) -> bool {
        self.forget(id).is_some()
    }

    /// Forgets every node whose lease is over, and tells which.
    pub(crate) fn expire(&mut self, now: Duration) -> Vec<Peer> {
        let mut expired = Vec::new();
        while let Some(&(at, id)) = self.expiries.first()
            && at <= now
        {
            let entry = self.forget(id);
            expired.extend(entry.map(|entry| Peer { id, address: entry.address }));
        }
        expired
    }

    /// All nodes in order of registration. What has expired since the last call may be among them.
    pub(crate) fn nodes(&self) -> impl ExactSizeIterator<Item = Peer> {
        self.order.values().map(|id| self.peer(*id))
    }

    fn peer(&self, id: Id) -> Peer {
        Peer { id, address: self.entries[&id].address.clone() }
    }

    /// The predecessor of a node, and the successors of `id + 2^i` for i from 0 to m − 1, each
    /// once; nothing if there is no such node.
    pub(crate) fn neighbours(&self, id: Id) -> Option<(Peer, Vec<Peer>)> {
        let mut nodes = self.entries.keys().copied();
        let (first, last) = (nodes.next()?, nodes.next_back());
        if !self.entries.contains_key(&id) {
            return None;
        }
        let before = self.entries.range(..id).next_back().map(|(id, _)| *id);
        let predecessor = before.or(last).unwrap_or(first);
        let mut fingers = Vec::<Id>::new();
        for index in 0..self.circle.bits() {
            let begin = self.circle.finger(id, index);
            let finger = self.entries.range(begin..).next().map_or(first, |(id, _)| *id);
            if !fingers.contains(&finger) {
                fingers.push(finger);
            }
        }
        Some((self.peer(predecessor), fingers.into_iter().map(|id| self.peer(id)).collect()))
    }
}
