//! What a node of the ring shows of itself.

use serde_json::Value;

use crate::promises::reading::{field, list, number, optional, print_of_text};

/// The most successors of a node.
const SUCCESSORS_LIMIT: usize = 16;
/// The most nodes that a node looks for.
const LOST_LIMIT: usize = 64;

/// A node as others know it: its id, and what stands for its address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Peer {
    pub(super) id: u64,
    pub(super) address: u64,
}

/// What does not change in a ring at rest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    pub(super) node: Peer,
    pub(super) bits: u32,
    pub(super) phase: Phase,
    pub(super) predecessor: Option<Peer>,
    pub(super) successors: Vec<Peer>,
    /// After which place and up to which it answers.
    pub(super) ready: Option<(u64, u64)>,
    pub(super) lost: Vec<Peer>,
}

/// What a node is to the ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Joining,
    Member,
    Leaving,
    Left,
}

/// A node's view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct View {
    pub(super) shape: Shape,
    /// How many nodes it has counted; 0 if none.
    pub(super) counted: u64,
    /// What changes while keys are on their way.
    pub(super) load: [u64; 4],
}

impl View {
    /// Nothing if it makes no sense.
    pub(super) fn read(view: &Value) -> Option<Self> {
        let bits = field(view, "bits").and_then(|bits| u32::try_from(bits).ok());
        let bits = bits.filter(|bits| (1..=64).contains(bits))?;
        let phase = match view.get("phase")?.as_str()? {
            "joining" => Phase::Joining,
            "member" => Phase::Member,
            "leaving" => Phase::Leaving,
            "left" => Phase::Left,
            _ => return None,
        };
        let place = |value: &Value| number(value).filter(|id| *id <= last(bits));
        let peer = |value: &Value| {
            let address = print_of_text(value.get("address")?.as_str()?);
            Some(Peer { id: place(value.get("id")?)?, address })
        };
        let interval =
            |value: &Value| Some((place(value.get("after")?)?, place(value.get("to")?)?));
        let load = |name| field(view, name).unwrap_or_default();
        let repaired = view.get("totals").and_then(|totals| field(totals, "repaired"));
        Some(Self {
            shape: Shape {
                node: peer(view.get("node")?)?,
                bits,
                phase,
                predecessor: optional(view, "predecessor", peer)?,
                successors: list(view.get("successors")?, SUCCESSORS_LIMIT, peer)?,
                ready: optional(view, "ready", interval)?,
                lost: list(view.get("lost")?, LOST_LIMIT, peer)?,
            },
            counted: field(view, "counted")?,
            load: [load("keys"), load("copies"), load("bytes"), repaired.unwrap_or_default()],
        })
    }

    /// Why what it answers for is not what follows its predecessor.
    pub(super) fn wrong_part(&self) -> Option<String> {
        let Shape { node, predecessor, ready, phase, .. } = &self.shape;
        let (after, to) = (*ready)?;
        // Who has heard of nobody before it is alone, and answers for all.
        let right = (predecessor.map_or(node.id, |peer| peer.id), node.id);
        match phase {
            Phase::Member if (after, to) == right => None,
            Phase::Member => Some(format!(
                "{} answers for the places after {after} up to {to}, not after {} up to {}",
                node.id, right.0, right.1
            )),
            Phase::Joining | Phase::Leaving | Phase::Left => {
                Some(format!("{} answers for places, but is no member", node.id))
            }
        }
    }
}

/// The last place of a circle.
pub(super) fn last(bits: u32) -> u64 {
    u64::MAX >> 64_u32.saturating_sub(bits).min(63)
}
