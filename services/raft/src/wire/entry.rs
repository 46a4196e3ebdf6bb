//! Entries, commands and members.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chassis::status::{Parsed, Wrong, wrong};
use chassis::telemetry::{decode_trace, encode_trace};
use consensus::store::{self, Action, Command, Condition, Key, LeaseId, Ordinal, SessionId, Value};
use consensus::{Configuration, Entry, Index, Member, Payload, Standing, Term, Time};
use proto::ensemble::raft::v1 as pb;
use protocols::NodeId;

/// The most entries in one message or record.
pub(crate) const ENTRIES_LIMIT: usize = 100_000;
/// The most members of a configuration from outside.
const MEMBERS_LIMIT: usize = 1_000;
/// The longest address, in bytes: a DNS name's most, and a port.
const ADDRESS_LIMIT: usize = 253 + 6;
/// No honest count of entries, terms or milliseconds comes near; sums of two do not overflow.
const BEYOND: u64 = 1 << 63;

/// A number that grows from 0 by ones: an index, a term, a time in milliseconds.
fn counted(field: &str, number: u64) -> Parsed<u64> {
    if number < BEYOND {
        return Ok(number);
    }
    Err(wrong(field, format!("{number} is beyond anything that a cluster reaches")))
}

pub(super) fn index(field: &str, number: u64) -> Parsed<Index> {
    counted(field, number).map(Index)
}

pub(super) fn term(field: &str, number: u64) -> Parsed<Term> {
    counted(field, number).map(Term)
}

pub(super) fn time(field: &str, number: u64) -> Parsed<Time> {
    counted(field, number).map(Time)
}

pub(super) fn milliseconds(field: &str, number: u64) -> Parsed<Duration> {
    counted(field, number).map(Duration::from_millis)
}

pub(crate) fn lease_id(number: u64) -> Parsed<LeaseId> {
    counted("lease", number).map(LeaseId)
}

pub(crate) fn session_id(number: u64) -> Parsed<SessionId> {
    counted("session", number).map(SessionId)
}

pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Bytes that share the value: nothing is copied, however long it is.
pub(super) fn shared(bytes: &Arc<[u8]>) -> Bytes {
    Bytes::from_owner(bytes.clone())
}

/// A key from outside.
pub(crate) fn key(bytes: &[u8]) -> Parsed<Key> {
    match bytes.len() {
        0 => Err(wrong("key", "empty")),
        1..=store::KEY_LIMIT => Ok(bytes.into()),
        length => Err(wrong("key", format!("{length} bytes; {} are the most", store::KEY_LIMIT))),
    }
}

/// A value from outside.
pub(crate) fn value(bytes: &[u8]) -> Parsed<Value> {
    match bytes.len() {
        0..=store::VALUE_LIMIT => Ok(bytes.into()),
        length => {
            Err(wrong("value", format!("{length} bytes; {} are the most", store::VALUE_LIMIT)))
        }
    }
}

pub(crate) fn encode_entry(entry: &Entry) -> pb::Entry {
    use pb::entry::Payload as Wire;
    let payload = match &entry.payload {
        Payload::Nothing => None,
        Payload::Command(command) => Some(Wire::Command(encode_command(command))),
        Payload::Configuration(members) => Some(Wire::Configuration(encode_configuration(members))),
    };
    pb::Entry { index: entry.index.0, term: entry.term.0, time_ms: entry.time.0, payload }
}

/// Writes entries in order.
pub(crate) fn encode_entries(entries: &[Arc<Entry>]) -> Vec<pb::Entry> {
    entries.iter().map(|entry| encode_entry(entry)).collect()
}

/// The same for the disk. A trace is of the moment in which an entry is made: whoever reads it
/// again does not go on with it.
pub(crate) fn encode_lasting(entries: &[Arc<Entry>]) -> Vec<pb::Entry> {
    let mut entries = encode_entries(entries);
    for entry in &mut entries {
        if let Some(pb::entry::Payload::Command(command)) = &mut entry.payload {
            command.trace.clear();
        }
    }
    entries
}

pub(crate) fn decode_entry(entry: pb::Entry) -> Parsed<Entry> {
    use pb::entry::Payload as Wire;
    let payload = match entry.payload {
        None => Payload::Nothing,
        Some(Wire::Command(command)) => Payload::Command(decode_command(command)?),
        Some(Wire::Configuration(members)) => {
            Payload::Configuration(Arc::new(decode_configuration(members)?))
        }
    };
    let index = index("index", entry.index)?;
    if index == Index(0) {
        return Err(wrong("index", "0 is before the first entry"));
    }
    let (term, time) = (term("term", entry.term)?, time("time_ms", entry.time_ms)?);
    if term == Term(0) {
        return Err(wrong("term", "nobody leads in term 0"));
    }
    Ok(Entry { index, term, time, payload })
}

/// Reads entries that follow each other without a gap, neither term nor time ever falling.
pub(crate) fn decode_entries(entries: Vec<pb::Entry>) -> Parsed<Vec<Arc<Entry>>> {
    if entries.len() > ENTRIES_LIMIT {
        let reason = format!("{} of them; {ENTRIES_LIMIT} are the most", entries.len());
        return Err(wrong("entries", reason));
    }
    let mut read: Vec<Arc<Entry>> = Vec::with_capacity(entries.len());
    for (number, entry) in entries.into_iter().enumerate() {
        let within = |wrong: Wrong| wrong.within(&format!("entries[{number}]"));
        let entry = decode_entry(entry).map_err(within)?;
        if let Some(before) = read.last() {
            let reason = if entry.index != before.index.next() {
                Err(wrong("index", format!("{} after {}", entry.index, before.index)))
            } else if entry.term < before.term {
                Err(wrong("term", format!("{:?} after {:?}", entry.term, before.term)))
            } else if entry.time < before.time {
                Err(wrong("time_ms", format!("{:?} after {:?}", entry.time, before.time)))
            } else {
                Ok(())
            };
            reason.map_err(within)?;
        }
        read.push(Arc::new(entry));
    }
    Ok(read)
}

pub(crate) fn encode_command(command: &Command) -> pb::Command {
    use pb::command::Action as Wire;
    let action = match &command.action {
        Action::Put { key, value, lease, condition } => Wire::Put(pb::Put {
            key: shared(key),
            value: shared(value),
            lease: lease.map(|lease| lease.0),
            condition: encode_condition(condition),
        }),
        Action::Delete { key, condition } => {
            Wire::Delete(pb::Delete { key: shared(key), condition: encode_condition(condition) })
        }
        Action::Grant(ttl) => Wire::GrantMs(millis(*ttl)),
        Action::KeepAlive(lease) => Wire::KeepAlive(lease.0),
        Action::Revoke(lease) => Wire::Revoke(lease.0),
        Action::OpenSession => Wire::OpenSession(pb::Nothing {}),
        Action::CloseSession(session) => Wire::CloseSession(session.0),
    };
    let (ordinal, trace) = (command.ordinal.map(encode_ordinal), encode_trace(command.trace));
    pb::Command { ordinal, action: Some(action), trace }
}

pub(crate) fn decode_command(command: pb::Command) -> Parsed<Command> {
    use pb::command::Action as Wire;
    let ordinal = command.ordinal.map(decode_ordinal).transpose()?;
    let action = match command.action.ok_or_else(|| wrong("action", "missing"))? {
        Wire::Put(put) => Action::Put {
            key: key(&put.key)?,
            value: value(&put.value)?,
            lease: put.lease.map(lease_id).transpose()?,
            condition: decode_condition(put.condition)?,
        },
        Wire::Delete(delete) => Action::Delete {
            key: key(&delete.key)?,
            condition: decode_condition(delete.condition)?,
        },
        Wire::GrantMs(ttl) => Action::Grant(milliseconds("grant_ms", ttl)?),
        Wire::KeepAlive(lease) => Action::KeepAlive(lease_id(lease)?),
        Wire::Revoke(lease) => Action::Revoke(lease_id(lease)?),
        Wire::OpenSession(pb::Nothing {}) => Action::OpenSession,
        Wire::CloseSession(session) => Action::CloseSession(session_id(session)?),
    };
    store::check(&action).map_err(|(field, reason)| wrong(field, reason))?;
    Ok(Command { ordinal, action, trace: decode_trace(&command.trace)? })
}

pub(crate) fn encode_ordinal(ordinal: Ordinal) -> pb::Ordinal {
    pb::Ordinal {
        session: ordinal.session.0,
        sequence: ordinal.sequence,
        acknowledged: ordinal.acknowledged,
    }
}

pub(crate) fn decode_ordinal(ordinal: pb::Ordinal) -> Parsed<Ordinal> {
    if ordinal.sequence == 0 {
        return Err(wrong("sequence", "0; the first command of a session is 1"));
    }
    Ok(Ordinal {
        session: session_id(ordinal.session)?,
        sequence: counted("sequence", ordinal.sequence)?,
        acknowledged: counted("acknowledged", ordinal.acknowledged)?,
    })
}

/// Writes what must hold; nothing when it is nothing.
pub(crate) fn encode_condition(condition: &Condition) -> Option<pb::Condition> {
    use pb::condition::Condition as Wire;
    let condition = match condition {
        Condition::Always => return None,
        Condition::Absent => Wire::Absent(pb::Nothing {}),
        Condition::Version(version) => Wire::Version(version.0),
        Condition::Value(value) => Wire::Value(shared(value)),
    };
    Some(pb::Condition { condition: Some(condition) })
}

/// Reads what must hold; a condition that says nothing always holds.
pub(crate) fn decode_condition(condition: Option<pb::Condition>) -> Parsed<Condition> {
    use pb::condition::Condition as Wire;
    let within = |wrong: Wrong| wrong.within("condition");
    match condition.and_then(|condition| condition.condition) {
        None => Ok(Condition::Always),
        Some(Wire::Absent(pb::Nothing {})) => Ok(Condition::Absent),
        Some(Wire::Version(version)) => {
            index("version", version).map(Condition::Version).map_err(within)
        }
        Some(Wire::Value(bytes)) => value(&bytes).map(Condition::Value).map_err(within),
    }
}

pub(crate) fn encode_configuration(configuration: &Configuration) -> pb::Configuration {
    let members = configuration.members.iter();
    pb::Configuration { members: members.map(|(&id, member)| encode_member(id, member)).collect() }
}

pub(crate) fn decode_configuration(configuration: pb::Configuration) -> Parsed<Configuration> {
    let count = configuration.members.len();
    if count > MEMBERS_LIMIT {
        return Err(wrong("members", format!("{count} of them; {MEMBERS_LIMIT} are the most")));
    }
    let mut members = BTreeMap::new();
    for (number, member) in configuration.members.into_iter().enumerate() {
        let within = |wrong: Wrong| wrong.within(&format!("members[{number}]"));
        let (id, member) = decode_member(member).map_err(within)?;
        if members.last_key_value().is_some_and(|(&before, _)| id <= before) {
            return Err(within(wrong("id", "not in order")));
        }
        members.insert(id, member);
    }
    if members.is_empty() {
        return Err(wrong("members", "there are none"));
    }
    Ok(Configuration { members })
}

pub(crate) fn encode_member(id: NodeId, member: &Member) -> pb::Member {
    let standing = match member.standing {
        Standing::Voter => pb::member::Standing::Voter,
        Standing::Joining => pb::member::Standing::Joining,
        Standing::Learner => pb::member::Standing::Learner,
    };
    pb::Member { id: id.0, address: member.address.to_string(), standing: standing.into() }
}

pub(crate) fn decode_member(member: pb::Member) -> Parsed<(NodeId, Member)> {
    let standing = match pb::member::Standing::try_from(member.standing) {
        Ok(pb::member::Standing::Voter) => Standing::Voter,
        Ok(pb::member::Standing::Joining) => Standing::Joining,
        Ok(pb::member::Standing::Learner) => Standing::Learner,
        Ok(pb::member::Standing::Unspecified) | Err(_) => {
            return Err(wrong("standing", format!("{} is none", member.standing)));
        }
    };
    Ok((NodeId(member.id), Member { address: address(&member.address)?, standing }))
}

/// Where a member is, from outside.
pub(crate) fn address(text: &str) -> Parsed<Arc<str>> {
    if text.is_empty() {
        return Err(wrong("address", "empty"));
    }
    if text.len() > ADDRESS_LIMIT {
        let reason = format!("{} bytes; {ADDRESS_LIMIT} are the most", text.len());
        return Err(wrong("address", reason));
    }
    Ok(text.into())
}
