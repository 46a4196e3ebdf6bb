//! What an onlooker sees of a node.

use std::time::Duration;

use serde::Serialize;

use crate::{Interval, Peer};

/// What a node looks like from outside.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct View {
    /// The node.
    pub node: Peer,
    /// m: ids have so many bits.
    pub bits: u32,
    /// `joining`, `member`, `leaving` or `left`.
    pub phase: &'static str,
    /// Who is before it.
    pub predecessor: Option<Peer>,
    /// Who is after it, in order; none when it is alone.
    pub successors: Vec<Peer>,
    /// Its fingers: index of the first (from 0), how many in a row, and the node.
    pub fingers: Vec<(u32, u32, Peer)>,
    /// For which part of the circle it answers; none while it is not ready.
    pub ready: Option<Interval>,
    /// Keys that it is responsible for.
    pub keys: u64,
    /// Keys that it keeps for others.
    pub copies: u64,
    /// Bytes of keys and values, its own and copies.
    pub bytes: u64,
    /// How many it may keep.
    pub bytes_limit: u64,
    /// Saves and removes that wait for their copies.
    pub writing: usize,
    /// Lookups that are under way.
    pub lookups: usize,
    /// How many nodes the last census counted that passed it or came back to it.
    pub counted: u64,
    /// Whether the last census that it began came back; none before the first.
    pub on_ring: Option<bool>,
    /// Nodes that did not answer, and that it looks for from time to time.
    pub lost: Vec<Peer>,
    /// What happened so far.
    pub totals: Totals,
}

/// What happened since the node began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// Operations that its own callers asked and that were performed.
    pub performed: u64,
    /// Those that were refused or whose time was over.
    pub refused: u64,
    /// Hops of the lookups of those that were performed, from this node to the responsible one.
    pub hops: u64,
    /// The time that they took.
    pub took: Duration,
    /// Operations that it did because it is responsible.
    pub served: u64,
    /// Nodes that it suspected.
    pub suspected: u64,
    /// Items that it sent because a copy lacked them.
    pub repaired: u64,
    /// Messages that made no sense.
    pub ignored: u64,
}
