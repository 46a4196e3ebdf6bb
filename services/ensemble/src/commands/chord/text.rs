//! What is known of the ring, as lines for people and as JSON.

use std::fmt::Display;

use chord::client::{Done, Hop, Id, Identity, NodeState, Peer, Reason};
use serde_json::{Map, Value, json};

use crate::commands::bytes;
use crate::paint::{Cell, Colour, Palette, Table};

/// The most of anything that is listed in one line.
const LISTED: usize = 16;

/// A node as the document's client prints it.
pub(super) fn line(peer: &Peer) -> String {
    format!("{}: {}", peer.id, peer.address)
}

/// Some things in one line, with commas.
pub(super) fn listed<T: Display>(things: impl IntoIterator<Item = T>) -> String {
    joined(things, ", ")
}

/// Some nodes in one line, each before the next.
pub(super) fn chain(ids: &[Id]) -> String {
    joined(ids, " → ")
}

fn joined<T: Display>(things: impl IntoIterator<Item = T>, between: &str) -> String {
    let mut things = things.into_iter();
    let shown: Vec<_> = things.by_ref().take(LISTED).map(|thing| thing.to_string()).collect();
    let more = things.count();
    let rest = if more == 0 { String::new() } else { format!("{between}… ({more} more)") };
    shown.join(between) + &rest
}

/// A text, or a dash in its place.
pub(super) fn or_dash(value: Option<impl Display>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

/// A node, as JSON.
pub(super) fn peer(peer: &Peer) -> Value {
    json!({ "id": peer.id.0, "address": peer.address.as_ref() })
}

/// Some nodes, as JSON.
pub(super) fn peers<'a>(peers: impl IntoIterator<Item = &'a Peer>) -> Value {
    peers.into_iter().map(peer).collect()
}

/// What came of an operation, as JSON: whether it was done, with what key if there was one, where,
/// and how the lookup went there.
pub(super) fn done<T>(done: Option<bool>, key: Option<&[u8]>, it: &Done<T>) -> Map<String, Value> {
    let mut object = Map::new();
    if let Some(done) = done {
        object.insert("done".into(), done.into());
    }
    if let Some(key) = key {
        bytes::put(&mut object, "key", key);
    }
    object.insert("id".into(), it.id.0.into());
    object.insert("node".into(), peer(&it.by));
    object.insert("path".into(), it.path.iter().map(hop).collect());
    object
}

fn hop(hop: &Hop) -> Value {
    let (reason, number) = match hop.reason {
        Reason::Entry => ("entry", None),
        Reason::Finger(index) => ("finger", Some(index)),
        Reason::Successor(index) => ("successor", Some(index)),
        Reason::Responsible => ("responsible", None),
        Reason::Redirected => ("redirected", None),
    };
    json!({
        "id": hop.peer.id.0,
        "address": hop.peer.address.as_ref(),
        "reason": reason,
        // From 1, as in the paper.
        "number": number.map(|index| u64::from(index) + 1),
        "answered": hop.answered,
        "took_us": hop.took.map(|took| u64::try_from(took.as_micros()).unwrap_or(u64::MAX)),
    })
}

/// The way of a lookup, one hop a row.
pub(super) fn path(path: &[Hop], place: Id, palette: Palette) -> Table {
    let mut table = Table::new(palette, ["HOP", "NODE", "ADDRESS", "REASON", "TIME"]);
    let mut before = None;
    for (number, hop) in path.iter().enumerate() {
        let reason = reason(hop, before, place);
        let reason = match hop.answered {
            true => Cell::from(reason),
            false => Cell::painted(reason, Colour::Red),
        };
        let time = or_dash(hop.took.map(|took| format!("{:.1} ms", took.as_secs_f64() * 1e3)));
        let Peer { id, address } = &hop.peer;
        table.row([(number + 1).into(), id.into(), address.into(), reason, time.into()]);
        if hop.answered {
            before = Some(*id);
        }
    }
    table
}

/// Why a lookup came to a node, in words. Fingers and successors count from 1, as in the paper.
fn reason(hop: &Hop, before: Option<Id>, place: Id) -> String {
    let by = before.map(|id| format!(" by node {id}")).unwrap_or_default();
    let reason = match hop.reason {
        Reason::Entry => "asked first".into(),
        Reason::Finger(index) => {
            format!("finger {}: the last that does not pass {place}", u64::from(index) + 1)
        }
        Reason::Successor(index) => {
            format!("successor {}: the last that does not pass {place}", u64::from(index) + 1)
        }
        Reason::Responsible => format!("responsible{by}"),
        Reason::Redirected => format!("redirected{by}"),
    };
    if hop.answered { reason } else { format!("{reason}; no answer") }
}

/// How ids are made, in one word.
pub(super) fn identity(identity: Option<Identity>) -> Option<&'static str> {
    identity.map(|identity| match identity {
        Identity::Registry => "registry",
        Identity::Sha1 => "sha1",
    })
}

/// How a node sees the ring, as JSON.
pub(super) fn state(state: &NodeState) -> Value {
    let fingers = state.fingers.iter().map(|run| {
        let first = u64::from(run.index) + 1;
        json!({ "first": first, "count": run.count, "node": peer(&run.peer) })
    });
    json!({
        "ring": state.ring,
        "bits": state.bits,
        "identity": identity(state.identity),
        "phase": state.phase,
        "ready": state.ready,
        "predecessor": state.predecessor.as_ref().map(peer),
        "successors": peers(&state.successors),
        "fingers": fingers.collect::<Value>(),
        "keys": state.keys,
        "copies": state.copies,
        "bytes": state.bytes,
        "bytes_limit": state.bytes_limit,
        "counted": state.counted,
        "lost": peers(&state.lost),
        "replicas": state.replicas,
        "registry": state.registry,
        "registered": state.registered,
    })
}
