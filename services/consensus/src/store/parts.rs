//! A copy of a store in pieces, for a file or for the wire, and how they become a store again.

use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use super::history::{self, History, event_bytes};
use super::sessions::value_bytes;
use super::{
    ANSWERS_LIMIT, Event, Item, KEY_LIMIT, Key, LeaseId, PART_BYTES, SESSIONS_LIMIT, Session,
    SessionId, Store, TTL_LIMITS, VALUE_LIMIT, limits,
};
use crate::{Index, Time};

/// What an item, a lease, a session or an answer costs in a piece beside its key and value.
const OVERHEAD_BYTES: usize = 64;

/// A piece of a copy of the store, for a file or for the wire.
#[derive(Clone, PartialEq, Eq)]
pub enum Part {
    /// The first: the store's time, and where its history begins.
    Head {
        /// The store's time.
        time: Time,
        /// From which version one can watch.
        earliest: Index,
    },
    /// Keys in order, after those of the parts before.
    Items(Vec<(Key, Item)>),
    /// Leases in order: name, time to live, deadline.
    Leases(Vec<(LeaseId, Duration, Time)>),
    /// Sessions in order.
    Sessions(Vec<Session>),
    /// Events in order.
    History(Vec<Arc<Event>>),
}

/// The pieces of a store, made as they are asked for.
#[derive(Clone, Debug)]
pub struct Parts {
    store: Store,
    next: Next,
}

/// After which entry the next piece begins.
#[derive(Clone, Debug)]
enum Next {
    Head,
    Items(Bound<Key>),
    Leases(Bound<LeaseId>),
    Sessions(Bound<SessionId>),
    History(Bound<history::Place>),
    Nothing,
}

impl Parts {
    /// The pieces of this store, which nobody changes meanwhile.
    pub(super) fn new(store: Store) -> Self {
        Self { store, next: Next::Head }
    }

    fn items(&mut self, after: Bound<&Key>) -> Option<Part> {
        let entries = self.store.items.range(after);
        let items = piece(entries, |(key, item)| OVERHEAD_BYTES + key.len() + item.value.len());
        let last = items.last().map(|(key, _)| Key::clone(key));
        let items = items.into_iter().map(|(key, item)| (key.clone(), item.clone())).collect();
        self.next = Next::Items(Bound::Excluded(last?));
        Some(Part::Items(items))
    }

    fn leases(&mut self, after: Bound<&LeaseId>) -> Option<Part> {
        let leases = piece(self.store.leases.range(after), |_| OVERHEAD_BYTES);
        let tell =
            |(id, lease): (&LeaseId, &super::leases::Lease)| (*id, lease.ttl, lease.deadline);
        let leases: Vec<_> = leases.into_iter().map(tell).collect();
        self.next = Next::Leases(Bound::Excluded(leases.last()?.0));
        Some(Part::Leases(leases))
    }

    fn sessions(&mut self, after: Bound<&SessionId>) -> Option<Part> {
        let sessions = piece(self.store.sessions.range(after), |session| {
            let answers = session.answers.values();
            OVERHEAD_BYTES + answers.map(|it| OVERHEAD_BYTES + value_bytes(it)).sum::<usize>()
        });
        let sessions: Vec<_> = sessions.into_iter().map(|it| Session::clone(it)).collect();
        self.next = Next::Sessions(Bound::Excluded(sessions.last()?.id));
        Some(Part::Sessions(sessions))
    }

    fn history(&mut self, after: Bound<&history::Place>) -> Option<Part> {
        let events = piece(self.store.history.range(after), |(_, event)| event_bytes(event));
        let last = events.last().map(|(place, _)| **place);
        let events = events.into_iter().map(|(_, event)| event.clone()).collect();
        self.next = Next::History(Bound::Excluded(last?));
        Some(Part::History(events))
    }
}

/// As many entries as make a piece.
fn piece<T>(entries: impl Iterator<Item = T>, size: impl Fn(&T) -> usize) -> Vec<T> {
    limits::first_within(entries, usize::MAX, PART_BYTES, size).0
}

impl Iterator for Parts {
    type Item = Part;

    fn next(&mut self) -> Option<Part> {
        loop {
            let (part, afterwards) = match self.next.clone() {
                Next::Head => {
                    self.next = Next::Items(Bound::Unbounded);
                    let earliest = self.store.history.earliest();
                    return Some(Part::Head { time: self.store.time, earliest });
                }
                Next::Items(after) => (self.items(after.as_ref()), Next::Leases(Bound::Unbounded)),
                Next::Leases(after) => {
                    (self.leases(after.as_ref()), Next::Sessions(Bound::Unbounded))
                }
                Next::Sessions(after) => {
                    (self.sessions(after.as_ref()), Next::History(Bound::Unbounded))
                }
                Next::History(after) => (self.history(after.as_ref()), Next::Nothing),
                Next::Nothing => return None,
            };
            if part.is_some() {
                return part;
            }
            self.next = afterwards;
        }
    }
}

/// A store that is put together from its pieces.
///
/// It takes them in order and refuses what no store has. It cannot tell that the last pieces are
/// missing: who carries the pieces must know which is the last.
#[derive(Debug, Default)]
pub struct Assembly {
    store: Store,
    /// The kind of the last piece.
    reached: Option<Kind>,
    /// Which keys end with which leases; the leases come later.
    attached: Vec<(LeaseId, Key)>,
}

/// The kinds of pieces in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Head,
    Items,
    Leases,
    Sessions,
    History,
}

impl Assembly {
    /// Takes the next piece. After an error it is of no use.
    ///
    /// # Errors
    ///
    /// What is wrong with it: it is out of order, or contradicts the pieces before.
    pub fn add(&mut self, part: Part) -> Result<(), &'static str> {
        self.reach(match &part {
            Part::Head { .. } => Kind::Head,
            Part::Items(_) => Kind::Items,
            Part::Leases(_) => Kind::Leases,
            Part::Sessions(_) => Kind::Sessions,
            Part::History(_) => Kind::History,
        })?;
        match part {
            Part::Head { time, earliest } => {
                self.store.time = time;
                self.store.history = History::since(earliest);
                Ok(())
            }
            Part::Items(items) => items.into_iter().try_for_each(|(key, it)| self.item(key, it)),
            Part::Leases(leases) => leases.into_iter().try_for_each(|lease| self.lease(lease)),
            Part::Sessions(sessions) => sessions.into_iter().try_for_each(|it| self.session(it)),
            Part::History(events) => events.into_iter().try_for_each(|it| self.event(it)),
        }
    }

    /// The store.
    ///
    /// # Errors
    ///
    /// What is missing.
    pub fn finish(mut self) -> Result<Store, &'static str> {
        self.reached.ok_or("the head is missing")?;
        for (lease, key) in &self.attached {
            if !self.store.leases.attach(*lease, key) {
                return Err("the lease of a key is missing");
            }
        }
        // Another version of this program may have had another limit.
        self.store.history.trim();
        Ok(self.store)
    }

    fn reach(&mut self, kind: Kind) -> Result<(), &'static str> {
        match (self.reached, kind) {
            (None, Kind::Head) => (),
            (None, _) => return Err("the head is missing"),
            (Some(_), Kind::Head) => return Err("there is a second head"),
            (Some(reached), _) if kind < reached => return Err("the pieces are out of order"),
            (Some(_), _) => (),
        }
        self.reached = Some(kind);
        Ok(())
    }

    fn item(&mut self, key: Key, item: Item) -> Result<(), &'static str> {
        well_formed(&key, Some(&item))?;
        if self.store.items.last().is_some_and(|(last, _)| key <= *last) {
            return Err("the keys are out of order");
        }
        if let Some(lease) = item.lease {
            self.attached.push((lease, key.clone()));
        }
        self.store.bytes += (key.len() + item.value.len()) as u64;
        self.store.items.insert(key, item);
        Ok(())
    }

    fn lease(&mut self, lease: (LeaseId, Duration, Time)) -> Result<(), &'static str> {
        let (id, ttl, deadline) = lease;
        if self.store.leases.last().is_some_and(|last| id <= last) {
            return Err("the leases are out of order");
        }
        if ttl < TTL_LIMITS.0 || TTL_LIMITS.1 < ttl {
            return Err("the time to live of a lease is outside the limits");
        }
        if self.store.time.after(ttl) < deadline {
            return Err("a lease ends later than its time to live allows");
        }
        self.store.leases.begin(id, ttl, deadline);
        Ok(())
    }

    fn session(&mut self, session: Session) -> Result<(), &'static str> {
        if self.store.sessions.last().is_some_and(|last| session.id <= last) {
            return Err("the sessions are out of order");
        }
        if SESSIONS_LIMIT <= self.store.sessions.len() {
            return Err("there are too many sessions");
        }
        if self.store.time < session.used {
            return Err("a session was used later than the store's time");
        }
        if ANSWERS_LIMIT < session.answers.len() {
            return Err("a session has too many answers");
        }
        if session.answers.keys().any(|sequence| *sequence <= session.forgotten) {
            return Err("a session has an answer that it has forgotten");
        }
        if session.answers.values().any(|answer| VALUE_LIMIT < value_bytes(answer)) {
            return Err("a value is too long");
        }
        self.store.sessions.restore(session);
        Ok(())
    }

    fn event(&mut self, event: Arc<Event>) -> Result<(), &'static str> {
        well_formed(&event.key, event.item.as_ref())?;
        if event.item.as_ref().is_some_and(|item| item.version != event.version || event.expired) {
            return Err("an event contradicts its item");
        }
        let history = &self.store.history;
        if event.version < history.last() || event.version <= history.earliest() {
            return Err("the events are out of order");
        }
        self.store.history.push(event);
        Ok(())
    }
}

/// Whether a store could have this key and what it has.
fn well_formed(key: &Key, item: Option<&Item>) -> Result<(), &'static str> {
    if key.is_empty() {
        return Err("a key is empty");
    }
    if KEY_LIMIT < key.len() {
        return Err("a key is too long");
    }
    let Some(item) = item else { return Ok(()) };
    if VALUE_LIMIT < item.value.len() {
        return Err("a value is too long");
    }
    if item.version < item.created {
        return Err("a key was created after its version");
    }
    Ok(())
}

#[cfg(test)]
mod tests;
