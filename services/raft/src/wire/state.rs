//! What a store holds and answers: items, events, answers, and the pieces of a snapshot.

use std::sync::Arc;

use chassis::status::{Parsed, wrong};
use consensus::Piece;
use consensus::store::{ANSWERS_LIMIT, Answer, Event, Item, Key, Part, Session};
use proto::ensemble::raft::v1 as pb;

use super::entry::{
    decode_configuration, encode_configuration, index, key, lease_id, millis, milliseconds,
    session_id, shared, time, value,
};

pub(crate) fn encode_item(key: &Key, item: &Item) -> pb::Item {
    pb::Item { key: shared(key), ..encode_keyless(item) }
}

/// Writes an item of which it is known what the key is.
fn encode_keyless(item: &Item) -> pb::Item {
    pb::Item {
        key: bytes::Bytes::new(),
        value: shared(&item.value),
        version: item.version.0,
        created: item.created.0,
        lease: item.lease.map(|lease| lease.0),
    }
}

pub(crate) fn decode_item(item: &pb::Item) -> Parsed<(Key, Item)> {
    Ok((key(&item.key)?, decode_keyless(item)?))
}

fn decode_keyless(item: &pb::Item) -> Parsed<Item> {
    let (version, created) = (index("version", item.version)?, index("created", item.created)?);
    if version < created {
        return Err(wrong("created", format!("{created} is after {version}")));
    }
    let lease = item.lease.map(lease_id).transpose()?;
    Ok(Item { value: value(&item.value)?, version, created, lease })
}

pub(crate) fn encode_event(event: &Event) -> pb::Event {
    let item = match &event.item {
        Some(item) => encode_item(&event.key, item),
        None => pb::Item { key: shared(&event.key), ..<_>::default() },
    };
    pb::Event {
        version: event.version.0,
        item: Some(item),
        deleted: event.item.is_none(),
        expired: event.expired,
    }
}

pub(crate) fn decode_event(event: pb::Event) -> Parsed<Event> {
    let item = event.item.ok_or_else(|| wrong("item", "missing"))?;
    if event.expired && !event.deleted {
        return Err(wrong("expired", "nothing was deleted"));
    }
    let version = index("version", event.version)?;
    let key = key(&item.key)?;
    let item = if event.deleted { None } else { Some(decode_keyless(&item)?) };
    Ok(Event { version, key, item, expired: event.expired })
}

/// Writes the answer to a command.
pub(crate) fn encode_answer(answer: &Answer) -> pb::Answer {
    use pb::answer::Answer as Wire;
    let written = |version: &consensus::Index, previous: &Option<consensus::Index>| pb::Written {
        version: version.0,
        previous: previous.map(|previous| previous.0),
    };
    let answer = match answer {
        Answer::Put { version, previous } => Wire::Put(written(version, previous)),
        Answer::Deleted { version, previous } => Wire::Deleted(written(version, previous)),
        Answer::Unmet(item) => Wire::Unmet(pb::Unmet { item: item.as_ref().map(encode_keyless) }),
        Answer::Granted(lease, ttl) => {
            Wire::Granted(pb::LeaseTime { lease: lease.0, ttl_ms: millis(*ttl) })
        }
        Answer::KeptAlive(lease, ttl) => {
            Wire::KeptAlive(pb::LeaseTime { lease: lease.0, ttl_ms: millis(*ttl) })
        }
        Answer::Revoked(keys) => Wire::Revoked(*keys),
        Answer::Opened(session) => Wire::Opened(session.0),
        Answer::Closed => Wire::Closed(pb::Nothing {}),
        Answer::NoLease(lease) => Wire::NoLease(lease.0),
        Answer::NoSession(session) => Wire::NoSession(session.0),
        Answer::Forgotten => Wire::Forgotten(pb::Nothing {}),
        Answer::Item(_) | Answer::Items(..) | Answer::Lease { .. } => {
            unreachable!("a command is never answered with what a query is")
        }
    };
    pb::Answer { answer: Some(answer) }
}

/// Reads the answer to a command.
pub(crate) fn decode_answer(answer: pb::Answer) -> Parsed<Answer> {
    use pb::answer::Answer as Wire;
    let previous = |written: &pb::Written| {
        written.previous.map(|previous| index("previous", previous)).transpose()
    };
    Ok(match answer.answer.ok_or_else(|| wrong("answer", "missing"))? {
        Wire::Put(written) => Answer::Put {
            version: index("version", written.version)?,
            previous: previous(&written)?,
        },
        Wire::Deleted(written) => Answer::Deleted {
            version: index("version", written.version)?,
            previous: previous(&written)?,
        },
        Wire::Unmet(unmet) => Answer::Unmet(unmet.item.as_ref().map(decode_keyless).transpose()?),
        Wire::Granted(granted) => {
            Answer::Granted(lease_id(granted.lease)?, milliseconds("ttl_ms", granted.ttl_ms)?)
        }
        Wire::KeptAlive(kept) => {
            Answer::KeptAlive(lease_id(kept.lease)?, milliseconds("ttl_ms", kept.ttl_ms)?)
        }
        Wire::Revoked(keys) => Answer::Revoked(keys),
        Wire::Opened(session) => Answer::Opened(session_id(session)?),
        Wire::Closed(pb::Nothing {}) => Answer::Closed,
        Wire::NoLease(lease) => Answer::NoLease(lease_id(lease)?),
        Wire::NoSession(session) => Answer::NoSession(session_id(session)?),
        Wire::Forgotten(pb::Nothing {}) => Answer::Forgotten,
    })
}

pub(crate) fn encode_piece(piece: &Piece) -> pb::SnapshotPiece {
    use pb::snapshot_piece::Piece as Wire;
    let piece = match piece {
        Piece::Configuration(members) => Wire::Configuration(encode_configuration(members)),
        Piece::Store(Part::Head { time, earliest }) => {
            Wire::Head(pb::SnapshotHead { time_ms: time.0, earliest: earliest.0 })
        }
        Piece::Store(Part::Items(items)) => Wire::Items(pb::Items {
            items: items.iter().map(|(key, item)| encode_item(key, item)).collect(),
        }),
        Piece::Store(Part::Leases(leases)) => Wire::Leases(pb::Leases {
            leases: (leases.iter())
                .map(|(id, ttl, deadline)| pb::leases::Lease {
                    id: id.0,
                    ttl_ms: millis(*ttl),
                    deadline_ms: deadline.0,
                })
                .collect(),
        }),
        Piece::Store(Part::Sessions(sessions)) => {
            Wire::Sessions(pb::Sessions { sessions: sessions.iter().map(encode_session).collect() })
        }
        Piece::Store(Part::History(events)) => Wire::History(pb::History {
            events: events.iter().map(|event| encode_event(event)).collect(),
        }),
    };
    pb::SnapshotPiece { piece: Some(piece) }
}

pub(crate) fn decode_piece(piece: pb::SnapshotPiece) -> Parsed<Piece> {
    use pb::snapshot_piece::Piece as Wire;
    Ok(Piece::Store(match piece.piece.ok_or_else(|| wrong("piece", "missing"))? {
        Wire::Configuration(members) => {
            return Ok(Piece::Configuration(Arc::new(decode_configuration(members)?)));
        }
        Wire::Head(head) => Part::Head {
            time: time("time_ms", head.time_ms)?,
            earliest: index("earliest", head.earliest)?,
        },
        Wire::Items(items) => {
            Part::Items(items.items.iter().map(decode_item).collect::<Parsed<_>>()?)
        }
        Wire::Leases(leases) => {
            let lease = |lease: pb::leases::Lease| {
                let ttl = milliseconds("ttl_ms", lease.ttl_ms)?;
                Ok((lease_id(lease.id)?, ttl, time("deadline_ms", lease.deadline_ms)?))
            };
            Part::Leases(leases.leases.into_iter().map(lease).collect::<Parsed<_>>()?)
        }
        Wire::Sessions(sessions) => {
            let sessions = sessions.sessions.into_iter().map(decode_session);
            Part::Sessions(sessions.collect::<Parsed<_>>()?)
        }
        Wire::History(history) => {
            let events = history.events.into_iter().map(|event| decode_event(event).map(Arc::new));
            Part::History(events.collect::<Parsed<_>>()?)
        }
    }))
}

fn encode_session(session: &Session) -> pb::sessions::Session {
    let answers = session.answers.iter();
    pb::sessions::Session {
        id: session.id.0,
        used_ms: session.used.0,
        forgotten: session.forgotten,
        answers: answers.map(|(&number, answer)| (number, encode_answer(answer))).collect(),
    }
}

fn decode_session(session: pb::sessions::Session) -> Parsed<Session> {
    let count = session.answers.len();
    if count > ANSWERS_LIMIT {
        return Err(wrong("answers", format!("{count} of them; {ANSWERS_LIMIT} are the most")));
    }
    let answers = session.answers.into_iter();
    Ok(Session {
        id: session_id(session.id)?,
        used: time("used_ms", session.used_ms)?,
        forgotten: session.forgotten,
        answers: answers
            .map(|(number, answer)| Ok((number, decode_answer(answer)?)))
            .collect::<Parsed<_>>()?,
    })
}
