//! What the registry and the nodes share: who there is, how they see the ring, what is saved, and
//! what is to go wrong.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use proto::ensemble::chord::v1 as pb;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};

use super::{Fault, Who};

/// A call that arrived.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Call {
    /// At whom.
    pub(crate) who: Who,
    pub(crate) method: &'static str,
    /// The time that its caller gives it.
    pub(crate) budget: Option<Duration>,
}

/// The ring.
pub(crate) struct World {
    pub(crate) bits: u32,
    pub(crate) registry: String,
    /// In order of registration.
    pub(crate) registered: Vec<pb::Peer>,
    /// How each node sees the ring.
    pub(crate) states: BTreeMap<u64, pb::GetStateResponse>,
    pub(crate) items: BTreeMap<Vec<u8>, Vec<u8>>,
    pub(crate) calls: Vec<Call>,
    pub(crate) faults: Vec<(&'static str, Fault)>,
    /// The incarnations with which nodes registered.
    incarnations: BTreeMap<u64, u64>,
    /// How many successors each key is copied to.
    replicas: usize,
}

impl World {
    pub(crate) fn new(bits: u32) -> Self {
        Self {
            bits,
            registry: String::new(),
            registered: Vec::new(),
            states: BTreeMap::new(),
            items: BTreeMap::new(),
            calls: Vec::new(),
            faults: Vec::new(),
            incarnations: BTreeMap::new(),
            replicas: 3,
        }
    }

    /// A node is there and registered, but knows nobody.
    pub(crate) fn join(&mut self, id: u64, address: &str) {
        let peer = pb::Peer { id, address: address.into() };
        self.registered.push(peer.clone());
        let state = pb::GetStateResponse {
            node: Some(peer),
            bits: self.bits,
            identity: pb::Identity::Registry.into(),
            ring: "ensemble".into(),
            phase: "member".into(),
            ready: true,
            replicas: self.replicas as u32,
            registry: self.registry.clone(),
            registered: true,
            bytes_limit: 1 << 20,
            ..pb::GetStateResponse::default()
        };
        self.states.insert(id, state);
    }

    /// Every node knows what it ought to.
    pub(crate) fn settle(&mut self) {
        let ids: Vec<u64> = self.states.keys().copied().collect();
        for (place, id) in ids.iter().enumerate() {
            let next = |steps: usize| self.peer(ids[(place + steps) % ids.len()]);
            let successors = (1..ids.len()).take(self.replicas).map(next).collect();
            let predecessor = Some(next(ids.len() - 1));
            let mut fingers: Vec<pb::Finger> = Vec::new();
            for index in 0..self.bits {
                let start = id.wrapping_add(1 << index) & self.last();
                let peer = Some(self.responsible(start));
                match fingers.last_mut() {
                    Some(run) if run.peer == peer => run.count += 1,
                    _ => fingers.push(pb::Finger { index, count: 1, peer }),
                }
            }
            let state = self.states.get_mut(id).expect("it is there");
            (state.predecessor, state.successors) = (predecessor, successors);
            state.fingers = fingers;
            state.counted = ids.len() as u64;
        }
    }

    fn last(&self) -> u64 {
        u64::MAX >> (64 - self.bits)
    }

    /// A node, as others know it.
    pub(crate) fn peer(&self, id: u64) -> pb::Peer {
        self.states[&id].node.clone().expect("a node knows itself")
    }

    /// The first node at or after a place.
    pub(crate) fn responsible(&self, place: u64) -> pb::Peer {
        let after = self.states.range(place..).next();
        let (id, _) = after.or_else(|| self.states.first_key_value()).expect("a node");
        self.peer(*id)
    }

    /// A key's place: its Adler-32 modulo 2^m.
    pub(crate) fn place(&self, key: &[u8]) -> u64 {
        let (mut a, mut b) = (1, 0);
        for byte in key {
            a = (a + u64::from(*byte)) % 65_521;
            b = (b + a) % 65_521;
        }
        (b << 16 | a) & self.last()
    }

    /// The way from a node to who is responsible: by way of its first successor, unless one of the
    /// two is.
    pub(crate) fn path(&self, from: u64, place: u64) -> pb::Path {
        let by = self.responsible(place);
        let hop = |peer: &pb::Peer, reason: pb::Reason, answered: bool| pb::Hop {
            peer: Some(peer.clone()),
            reason: reason.into(),
            index: 0,
            took_us: answered.then_some(1_234),
            answered,
        };
        let mut hops = vec![hop(&self.peer(from), pb::Reason::Entry, true)];
        let next = self.states[&from].successors.first().cloned();
        if let Some(next) = next.filter(|next| by.id != from && *next != by) {
            hops.push(hop(&next, pb::Reason::Finger, false));
        }
        if by.id != from {
            hops.push(hop(&by, pb::Reason::Responsible, true));
        }
        pb::Path { by: Some(by), hops }
    }

    /// Gives a node an id as a registry does.
    pub(crate) fn register(
        &mut self,
        request: &pb::RegisterRequest,
    ) -> Result<pb::RegisterResponse, Status> {
        let known = self.registered.iter().find(|peer| peer.address == request.address);
        let free = (0..=self.last()).find(|id| !self.states.contains_key(id));
        let id = match (known, request.id) {
            (Some(peer), _) => {
                let other = self.incarnations.get(&peer.id).copied().unwrap_or_default();
                if other != request.incarnation {
                    return Err(taken("ADDRESS_TAKEN", "another process has the address"));
                }
                Some(peer.id)
            }
            (None, Some(id)) if self.states.contains_key(&id) => {
                return Err(taken("ID_TAKEN", "another address has the id"));
            }
            (None, Some(id)) => Some(id),
            (None, None) => free,
        };
        let error = if id.is_none() { "the ring is full".to_owned() } else { String::new() };
        if let Some(id) = id.filter(|_| known.is_none()) {
            self.join(id, &request.address);
            self.incarnations.insert(id, request.incarnation);
        }
        Ok(pb::RegisterResponse { id, bits: self.bits, error, lease_ms: 3_000 })
    }
}

fn taken(reason: &str, message: &str) -> Status {
    let details = ErrorDetails::with_error_info(reason, "ensemble.chord", HashMap::new());
    Status::with_error_details(Code::AlreadyExists, message, details)
}
