//! Keys, values, what is to be done with them, and what is known of them.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chassis::status::{Parsed, wrong};
use chassis::telemetry::{decode_trace, encode_trace};
use hashring::{
    Action, Content, Fingerprint, ITEMS_BYTES, Id, Interval, Item, KEY_LIMIT, Key, Operation,
    PAGE_STAMPS, Page, Stamp, VALUE_LIMIT, Value, WriteId,
};
use proto::ensemble::chord::v1 as pb;
use protocols::Ticket;

use super::{list, path, there, within};
use crate::identity::Ring;

/// No honest count comes near; sums of two do not overflow.
const BEYOND: u64 = 1 << 63;
/// The most parts of the circle whose fingerprints are told.
const PARTS_LIMIT: usize = 1 << 10;

/// A number that grows by ones.
pub(super) fn counted(field: &str, number: u64) -> Parsed<u64> {
    if number < BEYOND {
        return Ok(number);
    }
    Err(wrong(field, format!("{number} is beyond anything that a ring reaches")))
}

/// Bytes that share the value: nothing is copied, however long it is.
pub(crate) fn shared(bytes: &Arc<[u8]>) -> Bytes {
    Bytes::from_owner(bytes.clone())
}

/// A key from outside.
pub(crate) fn key(bytes: &[u8]) -> Parsed<Key> {
    match bytes.len() {
        0 => Err(wrong("key", "empty")),
        1..=KEY_LIMIT => Ok(bytes.into()),
        length => Err(wrong("key", format!("{length} bytes; {KEY_LIMIT} are the most"))),
    }
}

/// A value from outside.
pub(crate) fn value(field: &str, bytes: &[u8]) -> Parsed<Value> {
    match bytes.len() {
        0..=VALUE_LIMIT => Ok(bytes.into()),
        length => Err(wrong(field, format!("{length} bytes; {VALUE_LIMIT} are the most"))),
    }
}

/// A key where it belongs.
fn placed(id: u64, bytes: &[u8], ring: &Ring) -> Parsed<(Id, Key)> {
    let key = key(bytes)?;
    let expected = ring.key(&key);
    if expected == Id(id) {
        return Ok((expected, key));
    }
    Err(wrong("id", format!("{id}, but {expected} is the place of the key")))
}

pub(super) fn encode_operation(operation: &Operation) -> pb::Operation {
    use pb::operation::Action as Wire;
    let action = match &operation.action {
        Action::Locate => Wire::Locate(pb::Nothing {}),
        Action::Find => Wire::Find(pb::Nothing {}),
        Action::Save(value) => Wire::Save(shared(value)),
        Action::Remove => Wire::Remove(pb::Nothing {}),
    };
    let (key, trace) = (shared(&operation.key), encode_trace(operation.trace));
    pb::Operation { id: operation.id.0, key, action: Some(action), trace }
}

pub(super) fn operation(operation: pb::Operation, ring: &Ring) -> Parsed<Operation> {
    use pb::operation::Action as Wire;
    let trace = decode_trace(&operation.trace)?;
    let action = match there("action", operation.action)? {
        Wire::Locate(pb::Nothing {}) => {
            // Any place can be looked up: the key does not matter, and is not kept.
            let (id, key) = (path::place("id", operation.id, ring.circle)?, Key::default());
            return Ok(Operation { id, key, action: Action::Locate, trace });
        }
        Wire::Find(pb::Nothing {}) => Action::Find,
        Wire::Save(bytes) => Action::Save(value("save", &bytes)?),
        Wire::Remove(pb::Nothing {}) => Action::Remove,
    };
    let (id, key) = placed(operation.id, &operation.key, ring)?;
    Ok(Operation { id, key, action, trace })
}

pub(super) fn encode_place(id: Id, key: &Key) -> pb::Place {
    pb::Place { id: id.0, key: shared(key) }
}

pub(super) fn place(place: &pb::Place, ring: &Ring) -> Parsed<(Id, Key)> {
    placed(place.id, &place.key, ring)
}

fn encode_stamp(id: Id, key: &Key, stamp: Stamp) -> pb::Stamp {
    pb::Stamp {
        place: Some(encode_place(id, key)),
        version: stamp.version,
        origin: stamp.write.origin.0,
        ticket: stamp.write.ticket.0,
    }
}

fn stamp(stamp: pb::Stamp, ring: &Ring) -> Parsed<(Id, Key, Stamp)> {
    let (id, key) = within("place", place(&there("place", stamp.place)?, ring))?;
    let origin = path::place("origin", stamp.origin, ring.circle)?;
    let write = WriteId { origin, ticket: Ticket(stamp.ticket) };
    Ok((id, key, Stamp { version: counted("version", stamp.version)?, write }))
}

pub(super) fn encode_items(items: &[Item]) -> Vec<pb::Item> {
    let encode = |item: &Item| {
        let content = match &item.content {
            Content::Value(value) => pb::item::Content::Value(shared(value)),
            Content::Removed(ago) => {
                let ago = u64::try_from(ago.as_millis()).unwrap_or(u64::MAX);
                pb::item::Content::RemovedMs(ago)
            }
        };
        let stamp = encode_stamp(item.id, &item.key, item.stamp);
        pb::Item { stamp: Some(stamp), content: Some(content) }
    };
    items.iter().map(encode).collect()
}

fn item(item: pb::Item, ring: &Ring) -> Parsed<Item> {
    let (id, key, stamp) = within("stamp", stamp(there("stamp", item.stamp)?, ring))?;
    let content = match there("content", item.content)? {
        pb::item::Content::Value(bytes) => Content::Value(value("value", &bytes)?),
        pb::item::Content::RemovedMs(ago) => {
            Content::Removed(Duration::from_millis(counted("removed_ms", ago)?))
        }
    };
    Ok(Item { id, key, stamp, content })
}

/// As many items as one message has.
pub(super) fn items(field: &str, items: Vec<pb::Item>, ring: &Ring) -> Parsed<Vec<Item>> {
    let items = list(field, items, PAGE_STAMPS, |one| item(one, ring))?;
    let bytes = |item: &Item| match &item.content {
        Content::Value(value) => item.key.len() + value.len(),
        Content::Removed(_) => item.key.len(),
    };
    let all = items.iter().map(bytes).sum::<usize>();
    if all > ITEMS_BYTES && items.len() > 1 {
        return Err(wrong(field, format!("{all} bytes; {ITEMS_BYTES} are the most")));
    }
    Ok(items)
}

pub(super) fn encode_page(page: &Page) -> pb::Page {
    let place = |place: &Option<(Id, Key)>| place.as_ref().map(|(id, key)| encode_place(*id, key));
    pb::Page {
        first: page.first.0,
        last: page.last.0,
        after: place(&page.after),
        up_to: place(&page.up_to),
        stamps: page.stamps.iter().map(|(id, key, stamp)| encode_stamp(*id, key, *stamp)).collect(),
        offer: page.offer,
    }
}

pub(super) fn page(page: pb::Page, ring: &Ring) -> Parsed<Page> {
    let optional = |field: &str, wire: Option<pb::Place>| {
        wire.map(|wire| within(field, place(&wire, ring))).transpose()
    };
    Ok(Page {
        first: path::place("first", page.first, ring.circle)?,
        last: path::place("last", page.last, ring.circle)?,
        after: optional("after", page.after)?,
        up_to: optional("up_to", page.up_to)?,
        stamps: list("stamps", page.stamps, PAGE_STAMPS, |one| stamp(one, ring))?,
        offer: page.offer,
    })
}

pub(super) fn interval(after: u64, to: u64, ring: &Ring) -> Parsed<Interval> {
    Ok(Interval::new(
        path::place("after", after, ring.circle)?,
        path::place("to", to, ring.circle)?,
    ))
}

pub(super) fn encode_fingerprint(part: u32, fingerprint: Fingerprint) -> pb::Fingerprint {
    pb::Fingerprint { count: fingerprint.count, hash: fingerprint.hash, part }
}

pub(super) fn fingerprint(fingerprint: &pb::Fingerprint) -> Parsed<Fingerprint> {
    Ok(Fingerprint { count: counted("count", fingerprint.count)?, hash: fingerprint.hash })
}

/// The fingerprints of parts of the circle.
pub(super) fn parts(parts: Vec<pb::Fingerprint>) -> Parsed<Vec<(u32, Fingerprint)>> {
    list("parts", parts, PARTS_LIMIT, |part| match part.part < PARTS_LIMIT as u32 {
        true => Ok((part.part, fingerprint(&part)?)),
        false => Err(wrong("part", format!("{}; less than {PARTS_LIMIT}", part.part))),
    })
}
