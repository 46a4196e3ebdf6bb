//! What is answered, as the callers of the client see it.

use std::time::Duration;

use hashring::{Hop, Id, Mode, Peer, Reason};
use proto::ensemble::chord::v1 as pb;

/// What a node is given by the registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Registered {
    /// Its id.
    pub id: Id,
    /// m: ids have so many bits.
    pub bits: u32,
    /// For how long the node is known without another call; nothing: for ever.
    pub lease: Option<Duration>,
}

/// The neighbours of a node by the list of the registered ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Neighbours {
    /// The node before it; itself when it is alone.
    pub predecessor: Peer,
    /// The successors of id + 2^(i − 1) for i from 1 to m, without repetitions.
    pub fingers: Vec<Peer>,
}

/// Who is registered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Info {
    /// The nodes, in order of registration.
    pub nodes: Vec<Peer>,
    /// m: ids have so many bits.
    pub bits: u32,
}

/// A node's fingers as the document has them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fingers {
    /// The node itself.
    pub node: Peer,
    /// Its fingers, in their order, without repetitions.
    pub fingers: Vec<Peer>,
}

/// What came of an operation, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Done<T> {
    /// What came of it.
    pub outcome: T,
    /// The place on the circle that was looked up.
    pub id: Id,
    /// The node that did it: the one that is responsible for the place.
    pub by: Peer,
    /// The nodes that the lookup came to, in order, from the one that was asked.
    pub path: Vec<Hop>,
}

/// A place of the circle, or the key that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// This place.
    Id(Id),
    /// That of this key.
    Key(Vec<u8>),
}

/// How ids are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Identity {
    /// The registry gives nodes theirs; keys have the Adler-32 of their bytes.
    Registry,
    /// Nodes have the SHA-1 of their address, keys that of their bytes.
    Sha1,
}

/// One or more fingers with the same node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FingerRun {
    /// The index of the first, from 0.
    pub index: u32,
    /// How many.
    pub count: u32,
    /// The node.
    pub peer: Peer,
}

/// How a node sees the ring.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeState {
    /// The node.
    pub node: Peer,
    /// m: ids have so many bits, 1 to 64.
    pub bits: u32,
    /// How ids are made; nothing when it does not say.
    pub identity: Option<Identity>,
    /// The ring's name.
    pub ring: String,
    /// `joining`, `member`, `leaving` or `left`.
    pub phase: String,
    /// The node before it, if it knows one.
    pub predecessor: Option<Peer>,
    /// The nodes after it, in order.
    pub successors: Vec<Peer>,
    /// For each i from 0 to m − 1 the successor of id + 2^i, as far as the node knows it.
    pub fingers: Vec<FingerRun>,
    /// Whether it answers for its part of the circle.
    pub ready: bool,
    /// Keys that it is responsible for.
    pub keys: u64,
    /// Keys that it keeps for others.
    pub copies: u64,
    /// Bytes of all of them.
    pub bytes: u64,
    /// How many bytes it may keep.
    pub bytes_limit: u64,
    /// How many nodes the last census that passed it counted; 0 when none has.
    pub counted: u64,
    /// Nodes that did not answer, and that it looks for from time to time.
    pub lost: Vec<Peer>,
    /// How many successors each key is copied to.
    pub replicas: u32,
    /// Where its registry is, if it has one.
    pub registry: Option<String>,
    /// Whether its registry knows it, as far as the node knows.
    pub registered: bool,
}

pub(crate) fn peer(peer: pb::Peer) -> Peer {
    Peer { id: Id(peer.id), address: peer.address.into() }
}

pub(crate) fn peers(peers: Vec<pb::Peer>) -> Vec<Peer> {
    peers.into_iter().map(peer).collect()
}

pub(crate) fn mode(mode: Option<Mode>) -> i32 {
    match mode {
        None => pb::Mode::Unspecified.into(),
        Some(Mode::Iterative) => pb::Mode::Iterative.into(),
        Some(Mode::Recursive) => pb::Mode::Recursive.into(),
    }
}

/// What came of an operation; nothing when the answer does not say where.
pub(crate) fn done<T>(outcome: T, id: u64, path: Option<pb::Path>) -> Option<Done<T>> {
    let pb::Path { by, hops } = path?;
    let path = hops.into_iter().filter_map(hop).collect();
    Some(Done { outcome, id: Id(id), by: peer(by?), path })
}

fn hop(hop: pb::Hop) -> Option<Hop> {
    let reason = match hop.reason() {
        pb::Reason::Unspecified => return None,
        pb::Reason::Entry => Reason::Entry,
        pb::Reason::Finger => Reason::Finger(hop.index),
        pb::Reason::Successor => Reason::Successor(hop.index),
        pb::Reason::Responsible => Reason::Responsible,
        pb::Reason::Redirected => Reason::Redirected,
    };
    let took = hop.took_us.map(Duration::from_micros);
    Some(Hop { peer: peer(hop.peer?), reason, took, answered: hop.answered })
}

/// A node's state; nothing when the answer does not say whose it is, or of what kind of ring.
pub(crate) fn state(state: pb::GetStateResponse) -> Option<NodeState> {
    let identity = match state.identity() {
        pb::Identity::Unspecified => None,
        pb::Identity::Registry => Some(Identity::Registry),
        pb::Identity::Sha1 => Some(Identity::Sha1),
    };
    let finger =
        |it: pb::Finger| Some(FingerRun { index: it.index, count: it.count, peer: peer(it.peer?) });
    Some(NodeState {
        node: peer(state.node?),
        bits: Some(state.bits).filter(|bits| (1..=64).contains(bits))?,
        identity,
        ring: state.ring,
        phase: state.phase,
        predecessor: state.predecessor.map(peer),
        successors: peers(state.successors),
        fingers: state.fingers.into_iter().filter_map(finger).collect(),
        ready: state.ready,
        keys: state.keys,
        copies: state.copies,
        bytes: state.bytes,
        bytes_limit: state.bytes_limit,
        counted: state.counted,
        lost: peers(state.lost),
        replicas: state.replicas,
        registry: Some(state.registry).filter(|address| !address.is_empty()),
        registered: state.registered,
    })
}
