//! Peers, places, and the hops of a lookup.

use std::sync::Arc;
use std::time::Duration;

use chassis::status::{Parsed, wrong};
use hashring::{Circle, Hop, Id, Peer, REPLICAS_LIMIT, Reason};
use proto::ensemble::chord::v1 as pb;

use super::{list, there, within};
use crate::identity::Ring;

/// The longest address, in bytes.
const ADDRESS_LIMIT: usize = 255;

/// Where a node is: `host:port`, in characters that names and addresses are made of.
pub(crate) fn address(field: &str, text: &str) -> Parsed<Arc<str>> {
    let refuse = |reason: &str| Err(wrong(field, format!("{text:?} {reason}")));
    if text.len() > ADDRESS_LIMIT {
        let reason = format!("{} bytes; {ADDRESS_LIMIT} are the most", text.len());
        return Err(wrong(field, reason));
    }
    let Some((host, port)) = text.rsplit_once(':') else {
        return refuse("is no host and port, such as 127.0.0.1:5001");
    };
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
    let inner = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let good = match inner {
        Some(inner) => inner.parse::<std::net::Ipv6Addr>().is_ok(),
        None => !host.is_empty() && host.bytes().all(plain),
    };
    match port.parse::<u16>() {
        _ if !good => refuse("has no host, or one with characters that none has"),
        Ok(1..) => Ok(text.into()),
        Ok(0) | Err(_) => refuse("has no port from 1 to 65535"),
    }
}

/// A place of the circle.
pub(crate) fn place(field: &str, number: u64, circle: Circle) -> Parsed<Id> {
    let (id, last) = (Id(number), circle.last());
    if circle.contains(id) {
        return Ok(id);
    }
    Err(wrong(field, format!("{number}; ids have {} bits: 0 to {last}", circle.bits())))
}

pub(crate) fn encode_peer(peer: &Peer) -> pb::Peer {
    pb::Peer { id: peer.id.0, address: peer.address.to_string() }
}

pub(crate) fn encode_peers<'a>(peers: impl IntoIterator<Item = &'a Peer>) -> Vec<pb::Peer> {
    peers.into_iter().map(encode_peer).collect()
}

/// A node of this ring, at its address's place where ids follow from addresses.
fn some_peer(peer: &pb::Peer, ring: &Ring) -> Parsed<Peer> {
    let address = address("address", &peer.address)?;
    let id = place("id", peer.id, ring.circle)?;
    match ring.node(&address) {
        Some(expected) if expected != id => {
            Err(wrong("id", format!("{id}, but {expected} is the id of {address}")))
        }
        Some(_) | None => Ok(Peer { id, address }),
    }
}

pub(super) fn peer(field: &str, peer: Option<pb::Peer>, ring: &Ring) -> Parsed<Peer> {
    within(field, there("", peer).and_then(|peer| some_peer(&peer, ring)))
}

pub(super) fn optional_peer(
    field: &str,
    peer: Option<pb::Peer>,
    ring: &Ring,
) -> Parsed<Option<Peer>> {
    peer.map(|peer| within(field, some_peer(&peer, ring))).transpose()
}

/// A list of successors.
pub(super) fn successors(peers: Vec<pb::Peer>, ring: &Ring) -> Parsed<Vec<Peer>> {
    list("successors", peers, REPLICAS_LIMIT, |peer| some_peer(&peer, ring))
}

/// Writes why a node was asked, and where that stood in its list.
fn encode_reason(reason: Reason) -> (pb::Reason, u32) {
    match reason {
        Reason::Entry => (pb::Reason::Entry, 0),
        Reason::Finger(index) => (pb::Reason::Finger, index),
        Reason::Successor(index) => (pb::Reason::Successor, index),
        Reason::Responsible => (pb::Reason::Responsible, 0),
        Reason::Redirected => (pb::Reason::Redirected, 0),
    }
}

pub(super) fn encode_step(peer: &Peer, reason: Reason) -> pb::Hop {
    let (reason, index) = encode_reason(reason);
    pb::Hop { peer: Some(encode_peer(peer)), reason: reason.into(), index, ..<_>::default() }
}

pub(crate) fn encode_hop(hop: &Hop) -> pb::Hop {
    let took = hop.took.map(|took| u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
    pb::Hop { took_us: took, answered: hop.answered, ..encode_step(&hop.peer, hop.reason) }
}

pub(super) fn step(hop: pb::Hop, ring: &Ring) -> Parsed<(Peer, Reason)> {
    let index = |limit: u32| match hop.index < limit {
        true => Ok(hop.index),
        false => Err(wrong("index", format!("{}; less than {limit}", hop.index))),
    };
    let reason = match hop.reason() {
        pb::Reason::Entry => Reason::Entry,
        pb::Reason::Finger => Reason::Finger(index(ring.circle.bits())?),
        pb::Reason::Successor => Reason::Successor(index(REPLICAS_LIMIT as u32)?),
        pb::Reason::Responsible => Reason::Responsible,
        pb::Reason::Redirected => Reason::Redirected,
        pb::Reason::Unspecified => {
            return Err(wrong("reason", format!("{} is none", hop.reason)));
        }
    };
    Ok((peer("peer", hop.peer, ring)?, reason))
}

pub(super) fn hop(hop: pb::Hop, ring: &Ring) -> Parsed<Hop> {
    let (took, answered) = (hop.took_us.map(Duration::from_micros), hop.answered);
    let (peer, reason) = step(hop, ring)?;
    Ok(Hop { peer, reason, took, answered })
}
