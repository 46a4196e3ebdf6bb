//! How entries, messages and actions read in a trace: keys and values as text, entries by their
//! places, and nothing that goes without saying.

use std::fmt::{Debug, Formatter, Result};

use crate::store::{Action, Condition, Event, Item, Part, Query};
use crate::{Configuration, Entry, Message, Payload, Snapshot};

/// Bytes that a trace shows of a key or a value.
const SHOWN: usize = 32;

/// Bytes as text, shortened.
struct Text<'a>(&'a [u8]);

impl Debug for Text<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        write!(f, "{}", self.0[..self.0.len().min(SHOWN)].escape_ascii())?;
        if SHOWN < self.0.len() {
            write!(f, "…({} bytes)", self.0.len())?;
        }
        Ok(())
    }
}

impl Debug for Entry {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        write!(f, "{:?}@{:?}", self.index, self.term)?;
        match &self.payload {
            Payload::Nothing => Ok(()),
            Payload::Command(command) => {
                if let Some(ordinal) = command.ordinal {
                    write!(f, " s{}/{}", ordinal.session.0, ordinal.sequence)?;
                }
                write!(f, " {:?}", command.action)
            }
            Payload::Configuration(configuration) => write!(f, " {configuration:?}"),
        }
    }
}

impl Debug for Configuration {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        f.debug_map().entries(self.members.iter().map(|(id, of)| (id, of.standing))).finish()
    }
}

impl Debug for Snapshot {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let (index, term) = self.last;
        write!(f, "to {index:?}@{term:?}: {:?}, {:?}", self.configuration, self.store)
    }
}

impl Debug for Message {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Self::RequestVote { term, last: (index, of), pre, transfer } => {
                let kind = if *pre { "RequestPreVote" } else { "RequestVote" };
                let wanted = if *transfer { " by transfer" } else { "" };
                write!(f, "{kind} {term:?} last {index:?}@{of:?}{wanted}")
            }
            Self::Vote { term, granted, pre } => {
                let kind = if *pre { "PreVote" } else { "Vote" };
                write!(f, "{kind} {term:?} {}", if *granted { "granted" } else { "refused" })
            }
            Self::AppendEntries { term, previous: (index, of), entries, commit, round } => {
                write!(f, "AppendEntries {term:?} r{round} after {index:?}@{of:?} {entries:?}")?;
                write!(f, " commit {commit:?}")
            }
            Self::Appended { term, round, outcome: Ok(matched) } => {
                write!(f, "Appended {term:?} r{round} to {matched:?}")
            }
            Self::Appended { term, round, outcome: Err(mismatch) } => {
                write!(f, "Appended {term:?} r{round} not: {mismatch:?}")
            }
            Self::InstallSnapshot { term, last: (index, of), number, piece: _, done } => {
                let end = if *done { ", the last" } else { "" };
                write!(f, "InstallSnapshot {term:?} {index:?}@{of:?} piece {number}{end}")
            }
            Self::Installing { term, last, wanted } => {
                write!(f, "Installing {term:?} {last:?} wants {wanted}")
            }
            Self::TimeoutNow { term } => write!(f, "TimeoutNow {term:?}"),
            Self::Propose(term, ticket, command) => {
                write!(f, "Propose {term:?} {ticket:?} {:?}", command.action)
            }
            Self::Proposed(ticket, outcome) => write!(f, "Proposed {ticket:?} {outcome:?}"),
            Self::ReadIndex(ticket) => write!(f, "ReadIndex {ticket:?}"),
            Self::Readable(ticket, outcome) => write!(f, "Readable {ticket:?} {outcome:?}"),
            Self::Administer(ticket, change) => write!(f, "Administer {ticket:?} {change:?}"),
            Self::Administered(ticket, outcome) => {
                write!(f, "Administered {ticket:?} {outcome:?}")
            }
        }
    }
}

impl Debug for Action {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Self::Put { key, value, lease, condition } => {
                write!(f, "put {:?}={:?}{condition:?}", Text(key), Text(value))?;
                lease.map_or(Ok(()), |lease| write!(f, " with l{}", lease.0))
            }
            Self::Delete { key, condition } => write!(f, "delete {:?}{condition:?}", Text(key)),
            Self::Grant(ttl) => write!(f, "grant {ttl:?}"),
            Self::KeepAlive(lease) => write!(f, "keep l{} alive", lease.0),
            Self::Revoke(lease) => write!(f, "revoke l{}", lease.0),
            Self::OpenSession => write!(f, "open a session"),
            Self::CloseSession(session) => write!(f, "close s{}", session.0),
        }
    }
}

/// With a space before it, or nothing.
impl Debug for Condition {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Self::Always => Ok(()),
            Self::Absent => write!(f, " if absent"),
            Self::Version(version) => write!(f, " if at {version:?}"),
            Self::Value(value) => write!(f, " if {:?}", Text(value)),
        }
    }
}

impl Debug for Item {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        write!(f, "{:?} at {:?}", Text(&self.value), self.version)
    }
}

impl Debug for Query {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Self::Get(key) => write!(f, "get {:?}", Text(key)),
            Self::Range { prefix, after, limit } => {
                write!(f, "range {:?} of {limit}", Text(prefix))?;
                after.as_ref().map_or(Ok(()), |after| write!(f, " after {:?}", Text(after)))
            }
            Self::Lease(lease) => write!(f, "lease l{}", lease.0),
        }
    }
}

impl Debug for Event {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        let cause = if self.expired { " expired" } else { "" };
        match &self.item {
            Some(item) => write!(f, "{:?}={:?}", Text(&self.key), item),
            None => write!(f, "{:?} gone{cause} at {:?}", Text(&self.key), self.version),
        }
    }
}

impl Debug for Part {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match self {
            Self::Head { time, earliest } => write!(f, "head {time:?} from {earliest:?}"),
            Self::Items(items) => write!(f, "{} items", items.len()),
            Self::Leases(leases) => write!(f, "{} leases", leases.len()),
            Self::Sessions(sessions) => write!(f, "{} sessions", sessions.len()),
            Self::History(events) => write!(f, "{} events", events.len()),
        }
    }
}

impl Debug for crate::log::Log {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        write!(f, "log {:?}..={:?}", self.first(), self.last().0)
    }
}
