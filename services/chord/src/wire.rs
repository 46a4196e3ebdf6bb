//! Between the messages of `ensemble.chord.v1` and those of the protocol.
//!
//! What comes from outside is refused with the name of the field that is wrong: every id is on the
//! circle, every key is at its place, nothing is longer than it may be, and where ids follow from
//! addresses they do. Whether what a message says is true is left to the protocol.

mod answer;
mod item;
mod path;
mod question;
#[cfg(test)]
mod tests;

use chassis::status::{Parsed, Wrong, wrong};
use hashring::{Body, Census, HOPS_LIMIT, Message, Peer, Route};
use proto::ensemble::chord::v1 as pb;
use protocols::Ticket;

pub(crate) use self::item::{key, shared, value};
pub(crate) use self::path::{address, encode_hop, encode_peer, encode_peers, place};
use crate::identity::Ring;

/// What stands within a field, with its name before that of what is wrong.
fn within<T>(field: &str, parsed: Parsed<T>) -> Parsed<T> {
    parsed.map_err(|wrong| match wrong.0.is_empty() {
        true => Wrong(field.into(), wrong.1),
        false => wrong.within(field),
    })
}

/// What must be there.
fn there<T>(field: &str, value: Option<T>) -> Parsed<T> {
    value.ok_or_else(|| wrong(field, "missing"))
}

/// All of a list that is not longer than it may be.
fn list<W, T>(
    field: &str,
    all: Vec<W>,
    limit: usize,
    mut read: impl FnMut(W) -> Parsed<T>,
) -> Parsed<Vec<T>> {
    if all.len() > limit {
        return Err(wrong(field, format!("{} of them; {limit} are the most", all.len())));
    }
    let read = |(number, one)| within(&format!("{field}[{number}]"), read(one));
    all.into_iter().enumerate().map(read).collect()
}

/// Writes a message. By whom and to whom it is, the link has said already.
pub(crate) fn encode(message: &Message) -> pb::LinkRequest {
    use pb::link_request::Body as Wire;
    let body = match &message.body {
        Body::Question(ticket, what) => Wire::Question(question::encode(*ticket, what)),
        Body::Answer(ticket, what) => Wire::Answer(answer::encode(*ticket, what)),
        Body::Route(route) => Wire::Route(pb::Route {
            origin: Some(encode_peer(&route.origin)),
            ticket: route.ticket.0,
            operation: Some(item::encode_operation(&route.operation)),
            last: route.last,
            path: route.path.iter().map(encode_hop).collect(),
        }),
        Body::Routed(ticket, outcome, path) => Wire::Routed(pb::Routed {
            ticket: ticket.0,
            outcome: Some(answer::encode_outcome(outcome)),
            path: path.iter().map(encode_hop).collect(),
        }),
        Body::Census(census) => Wire::Census(pb::Census {
            origin: Some(encode_peer(&census.origin)),
            ticket: census.ticket.0,
            nodes: census.nodes,
            walked: census.walked as u64,
            walked_above: (census.walked >> 64) as u64,
            total: census.total,
        }),
    };
    pb::LinkRequest { body: Some(body) }
}

/// Reads a message of a peer to this node.
pub(crate) fn decode(
    message: pb::LinkRequest,
    from: &Peer,
    me: &Peer,
    ring: &Ring,
) -> Parsed<Message> {
    use pb::link_request::Body as Wire;
    let body = match there("body", message.body)? {
        Wire::Question(what) => within("question", question::decode(what, ring))?,
        Wire::Answer(what) => within("answer", answer::decode(what, ring))?,
        Wire::Route(route) => Body::Route(within("route", decode_route(route, ring))?),
        Wire::Routed(routed) => within("routed", decode_routed(routed, ring))?,
        Wire::Census(census) => Body::Census(within("census", decode_census(&census, ring))?),
    };
    Ok(Message { from: from.clone(), to: me.clone(), body })
}

fn decode_route(route: pb::Route, ring: &Ring) -> Parsed<Route> {
    let operation = there("operation", route.operation)?;
    Ok(Route {
        origin: path::peer("origin", route.origin, ring)?,
        ticket: Ticket(route.ticket),
        operation: within("operation", item::operation(operation, ring))?,
        last: route.last,
        path: list("path", route.path, HOPS_LIMIT, |hop| path::hop(hop, ring))?,
    })
}

fn decode_routed(routed: pb::Routed, ring: &Ring) -> Parsed<Body> {
    let outcome = there("outcome", routed.outcome)?;
    let outcome = within("outcome", answer::outcome(outcome, ring))?;
    let path = list("path", routed.path, HOPS_LIMIT, |hop| path::hop(hop, ring))?;
    Ok(Body::Routed(Ticket(routed.ticket), outcome, path))
}

fn decode_census(census: &pb::Census, ring: &Ring) -> Parsed<Census> {
    let walked = u128::from(census.walked_above) << 64 | u128::from(census.walked);
    if walked > u128::from(ring.circle.last().0) + 1 {
        return Err(wrong("walked", format!("{walked} is more than the circle")));
    }
    Ok(Census {
        origin: path::peer("origin", census.origin.clone(), ring)?,
        ticket: Ticket(census.ticket),
        nodes: item::counted("nodes", census.nodes)?,
        walked,
        total: census.total.map(|total| item::counted("total", total)).transpose()?,
    })
}
