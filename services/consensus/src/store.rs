//! The replicated store: keys and values with versions, keys that expire with a lease, sessions
//! that make a retried command happen once, and the history that watchers read.
//!
//! It is a function of the log: the same entries make the same store everywhere. It owns no clock;
//! time is what the entries say, as their leaders stamped them, and it never runs backwards. A
//! lease therefore lives at least its time to live by its leaders' clocks, and longer by every
//! moment in which there was no leader.
//!
//! A copy shares its pages with the original until one of them writes, so that a snapshot costs
//! hardly more than the list of pages.
//!
//! Sessions are those of Ongaro's dissertation, section 6.3.
//!
//! What is absent: no rule of who may do what, no transaction over several keys, no value before
//! the last one but in the history, and no check of the limits: [`check`] is for those who propose.

mod history;
mod leases;
mod limits;
mod pages;
mod parts;
mod sessions;

use std::fmt::{self, Debug};
use std::mem;
use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use protocols::Trace;
use serde::Serialize;

use self::history::History;
use self::leases::Leases;
pub use self::limits::{check, check_query};
use self::pages::Pages;
pub use self::parts::{Assembly, Part, Parts};
pub use self::sessions::Session;
use self::sessions::Sessions;
use crate::{Index, Time};

/// A key, in bytes. 1 to [`KEY_LIMIT`] long.
pub type Key = Arc<[u8]>;
/// A value, in bytes. Up to [`VALUE_LIMIT`] long.
pub type Value = Arc<[u8]>;

/// The longest key, in bytes.
pub const KEY_LIMIT: usize = 4 << 10;
/// The longest value, in bytes.
pub const VALUE_LIMIT: usize = 1 << 20;
/// Sessions that live at once; one more, and the one that was idle longest is closed.
pub const SESSIONS_LIMIT: usize = 10_000;
/// Answers that are kept for one session; more, and the oldest is forgotten.
pub const ANSWERS_LIMIT: usize = 256;
/// Bytes of values in the answers that are kept for one session, unless one alone is longer.
pub const ANSWER_BYTES_LIMIT: usize = 1 << 20;
/// Bytes of values in the answers that are kept for all sessions; more, and those that were idle
/// longest are closed.
pub const SESSIONS_BYTES_LIMIT: usize = 32 << 20;
/// How long a session lives without a command.
pub const SESSION_PATIENCE: Duration = Duration::from_secs(3600);
/// Bytes of events that the history keeps, each counted with its key, its value and a constant.
pub const HISTORY_BYTES_LIMIT: usize = 4 << 20;
/// Bytes of keys and values in a [`Part`], unless one item alone is longer.
pub const PART_BYTES: usize = 128 << 10;
/// The most items that one answer can be asked for.
pub const RANGE_LIMIT: usize = 10_000;
/// Bytes of keys and values in one answer, unless one item alone is longer.
pub const RANGE_BYTES_LIMIT: usize = 1 << 20;
/// The shortest and the longest time to live of a lease.
pub const TTL_LIMITS: (Duration, Duration) =
    (Duration::from_millis(100), Duration::from_secs(86_400));

/// Names a lease: the index of the entry that granted it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct LeaseId(pub u64);

/// Names a session: the index of the entry that opened it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(transparent)]
pub struct SessionId(pub u64);

/// What a client wants done, once.
#[derive(Clone, PartialEq, Eq)]
pub struct Command {
    /// Which command of which session it is; without it, a repetition is carried out again.
    pub ordinal: Option<Ordinal>,
    /// What to do.
    pub action: Action,
    /// The trace it belongs to.
    pub trace: Trace,
}

/// Without its trace, of which a reader learns nothing.
impl Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { ordinal, action, trace: _ } = self;
        f.debug_struct("Command").field("ordinal", ordinal).field("action", action).finish()
    }
}

/// The place of a command in its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ordinal {
    /// The session.
    pub session: SessionId,
    /// The number of the command in it, from 1; the same again is the same command again.
    pub sequence: u64,
    /// Up to and including this number, the client has its answers and will not ask again.
    pub acknowledged: u64,
}

/// What can be done to the store.
#[derive(Clone, PartialEq, Eq)]
pub enum Action {
    /// Sets a key, if the condition holds. Without a lease, one that the key had is detached.
    Put {
        /// The key.
        key: Key,
        /// Its value from then on.
        value: Value,
        /// With what it expires.
        lease: Option<LeaseId>,
        /// What must hold.
        condition: Condition,
    },
    /// Removes a key, if the condition holds.
    Delete {
        /// The key.
        key: Key,
        /// What must hold.
        condition: Condition,
    },
    /// Begins a lease that expires after this time, unless it is kept alive.
    Grant(Duration),
    /// Begins the time to live of a lease anew.
    KeepAlive(LeaseId),
    /// Ends a lease, and removes its keys.
    Revoke(LeaseId),
    /// Opens a session.
    OpenSession,
    /// Closes a session.
    CloseSession(SessionId),
}

/// What must hold of a key for an action to be carried out.
#[derive(Clone, PartialEq, Eq)]
pub enum Condition {
    /// Nothing.
    Always,
    /// There is no such key.
    Absent,
    /// It was last set at this version.
    Version(Index),
    /// It has this value.
    Value(Value),
}

/// What a key has.
#[derive(Clone, PartialEq, Eq)]
pub struct Item {
    /// Its value.
    pub value: Value,
    /// The index of the entry that set it last.
    pub version: Index,
    /// The index of the entry that set it first since it was last absent.
    pub created: Index,
    /// With what it expires.
    pub lease: Option<LeaseId>,
}

/// What a client wants to know.
#[derive(Clone, PartialEq, Eq)]
pub enum Query {
    /// One key.
    Get(Key),
    /// Keys that begin with `prefix`, in order.
    Range {
        /// How they begin; all when empty.
        prefix: Key,
        /// Only keys after this one.
        after: Option<Key>,
        /// The most items; the answer also ends when it holds a mebibyte.
        limit: usize,
    },
    /// One lease.
    Lease(LeaseId),
}

/// What a client is told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Answer {
    /// It was set at this version.
    Put {
        /// The version from then on.
        version: Index,
        /// The version before, if the key existed.
        previous: Option<Index>,
    },
    /// It was removed, if it existed: its last version.
    Deleted {
        /// The version of the deletion; the entry's index even if there was nothing to delete.
        version: Index,
        /// The version before, if the key existed.
        previous: Option<Index>,
    },
    /// The condition did not hold; what there is.
    Unmet(Option<Item>),
    /// The lease was granted.
    Granted(LeaseId, Duration),
    /// The lease has its whole time to live before it.
    KeptAlive(LeaseId, Duration),
    /// The lease has ended, and this many keys with it.
    Revoked(u64),
    /// The session is open.
    Opened(SessionId),
    /// The session is closed.
    Closed,
    /// There is no such lease (it may have expired); nothing was done.
    NoLease(LeaseId),
    /// There is no such session (it may have been idle for too long); nothing was done, and
    /// whether earlier commands of it were is not known.
    NoSession(SessionId),
    /// The client said that it has this command's answer, or its answer is too old: it was
    /// carried out earlier or never will be, and nothing was done.
    Forgotten,
    /// What the key has.
    Item(Option<Item>),
    /// Keys in order, and whether there are more.
    Items(Vec<(Key, Item)>, bool),
    /// A lease: its time to live, what is left of it, and how many keys it has.
    Lease {
        /// The whole time to live.
        ttl: Duration,
        /// What is left of it by the store's time.
        left: Duration,
        /// Keys that expire with it.
        keys: u64,
    },
}

/// One change of one key.
#[derive(Clone, PartialEq, Eq)]
pub struct Event {
    /// The index of the entry that changed it.
    pub version: Index,
    /// The key.
    pub key: Key,
    /// What it has from then on; nothing when it was deleted.
    pub item: Option<Item>,
    /// Whether it was a lease's end that deleted it.
    pub expired: bool,
}

/// The history before this version is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Compacted {
    /// The earliest version from which one can watch.
    pub earliest: Index,
}

/// How much a store holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Keys.
    pub keys: u64,
    /// Bytes of keys and values.
    pub bytes: u64,
    /// Leases that live.
    pub leases: u64,
    /// Sessions that are open.
    pub sessions: u64,
}

/// The replicated store. A clone shares its pages.
#[derive(Clone, Default, PartialEq)]
pub struct Store {
    time: Time,
    items: Pages<Key, Item>,
    /// Bytes of keys and values.
    bytes: u64,
    leases: Leases,
    sessions: Sessions,
    history: History,
}

impl Store {
    /// Carries out one entry: first time passes to `time`, and what ends by then ends; then the
    /// command, if the entry has one. Answers the command and tells every change, in order.
    ///
    /// A condition is looked at before a lease: what meets neither is answered as unmet.
    ///
    /// # Panics
    ///
    /// When the entry is not after those that were carried out before.
    pub fn apply(
        &mut self,
        index: Index,
        time: Time,
        command: Option<&Command>,
    ) -> (Option<Answer>, Vec<Arc<Event>>) {
        assert!(self.history.last() < index, "{index:?} is carried out out of order");
        let mut events = Vec::new();
        self.time = self.time.max(time);
        while let Some(lease) = self.leases.due(self.time) {
            self.end(index, lease, &mut events);
        }
        self.sessions.expire(self.time);
        let answer = command.map(|command| self.carry_out_once(index, command, &mut events));
        events.iter().for_each(|event| self.history.push(event.clone()));
        self.history.trim();
        (answer, events)
    }

    /// Answers a query.
    pub fn query(&self, query: &Query) -> Answer {
        match query {
            Query::Get(key) => Answer::Item(self.items.get(key).cloned()),
            Query::Range { prefix, after, limit } => self.list(prefix, after.as_ref(), *limit),
            Query::Lease(id) => self.leases.lease(*id).map_or(Answer::NoLease(*id), |lease| {
                let left = lease.deadline.since(self.time);
                Answer::Lease { ttl: lease.ttl, left, keys: lease.keys }
            }),
        }
    }

    /// Every event after `version`, in order.
    ///
    /// # Errors
    ///
    /// When the history does not reach back so far: when an event after `version` may be gone.
    pub fn history(&self, version: Index) -> Result<Vec<Arc<Event>>, Compacted> {
        self.history.after(version)
    }

    /// The time, as the last entry told it.
    pub fn time(&self) -> Time {
        self.time
    }

    /// When the next lease or session ends, if nothing keeps it.
    pub fn next_deadline(&self) -> Option<Time> {
        let deadlines = [self.leases.next_deadline(), self.sessions.next_deadline()];
        deadlines.into_iter().flatten().min()
    }

    /// How much it holds. It is known, not counted for whoever asks.
    pub fn counts(&self) -> Counts {
        Counts {
            keys: self.items.len() as u64,
            bytes: self.bytes,
            leases: self.leases.len() as u64,
            sessions: self.sessions.len() as u64,
        }
    }

    /// Its pieces, in the order in which an [`Assembly`] takes them. They are made one by one, and
    /// tell the store as it is at this moment.
    pub fn parts(&self) -> Parts {
        Parts::new(self.clone())
    }

    /// Carries out a command, unless its session says that it was or must not be.
    fn carry_out_once(
        &mut self,
        index: Index,
        command: &Command,
        events: &mut Vec<Arc<Event>>,
    ) -> Answer {
        let Some(ordinal) = command.ordinal else {
            return self.carry_out(index, &command.action, events);
        };
        self.sessions.recall(ordinal, self.time).unwrap_or_else(|| {
            let answer = self.carry_out(index, &command.action, events);
            self.sessions.keep(ordinal, &answer);
            answer
        })
    }

    fn carry_out(&mut self, index: Index, action: &Action, events: &mut Vec<Arc<Event>>) -> Answer {
        match action {
            Action::Put { key, value, lease, condition } => {
                self.unmet(key, condition).unwrap_or_else(|| {
                    let value = value.clone();
                    let item = Item { value, version: index, created: index, lease: *lease };
                    self.put(key, item, events)
                })
            }
            Action::Delete { key, condition } => self.unmet(key, condition).unwrap_or_else(|| {
                let previous = self.remove(index, key, false, events);
                Answer::Deleted { version: index, previous }
            }),
            Action::Grant(ttl) => {
                let id = LeaseId(index.0);
                self.leases.begin(id, *ttl, self.time.after(*ttl));
                Answer::Granted(id, *ttl)
            }
            Action::KeepAlive(id) => {
                let ttl = self.leases.keep(*id, self.time);
                ttl.map_or(Answer::NoLease(*id), |ttl| Answer::KeptAlive(*id, ttl))
            }
            Action::Revoke(id) => {
                self.end(index, *id, events).map_or(Answer::NoLease(*id), Answer::Revoked)
            }
            Action::OpenSession => {
                let id = SessionId(index.0);
                self.sessions.open(id, self.time);
                Answer::Opened(id)
            }
            Action::CloseSession(id) if self.sessions.close(*id) => Answer::Closed,
            Action::CloseSession(id) => Answer::NoSession(*id),
        }
    }

    /// What is answered if the condition does not hold.
    fn unmet(&self, key: &Key, condition: &Condition) -> Option<Answer> {
        let current = || self.items.get(key);
        let holds = match condition {
            Condition::Always => true,
            Condition::Absent => current().is_none(),
            Condition::Version(version) => current().is_some_and(|item| item.version == *version),
            Condition::Value(value) => current().is_some_and(|item| item.value == *value),
        };
        (!holds).then(|| Answer::Unmet(current().cloned()))
    }

    fn put(&mut self, key: &Key, item: Item, events: &mut Vec<Arc<Event>>) -> Answer {
        if let Some(lease) = item.lease
            && !self.leases.attach(lease, key)
        {
            return Answer::NoLease(lease);
        }
        let version = item.version;
        self.bytes += item.value.len() as u64;
        let (item, before) = match self.items.get_mut(key) {
            Some(present) => {
                let item = Item { created: present.created, ..item };
                let before = mem::replace(present, item.clone());
                self.bytes -= before.value.len() as u64;
                (item, Some(before))
            }
            None => {
                self.bytes += key.len() as u64;
                self.items.insert(key.clone(), item.clone());
                (item, None)
            }
        };
        if let Some(Item { lease: Some(lease), .. }) = before
            && item.lease != Some(lease)
        {
            self.leases.detach(lease, key);
        }
        let key = key.clone();
        events.push(Arc::new(Event { version, key, item: Some(item), expired: false }));
        Answer::Put { version, previous: before.map(|item| item.version) }
    }

    /// Removes a key, if it exists, and gives back its last version.
    fn remove(
        &mut self,
        version: Index,
        key: &Key,
        expired: bool,
        events: &mut Vec<Arc<Event>>,
    ) -> Option<Index> {
        let before = self.items.remove(key)?;
        self.bytes -= (key.len() + before.value.len()) as u64;
        // A lease that has ended has let go of its keys.
        if let Some(lease) = before.lease.filter(|_| !expired) {
            self.leases.detach(lease, key);
        }
        events.push(Arc::new(Event { version, key: key.clone(), item: None, expired }));
        Some(before.version)
    }

    /// Ends a lease, if there is such a lease, and tells how many keys ended with it.
    fn end(&mut self, version: Index, id: LeaseId, events: &mut Vec<Arc<Event>>) -> Option<u64> {
        let keys = self.leases.end(id)?;
        for key in &keys {
            self.remove(version, key, true, events);
        }
        Some(keys.len() as u64)
    }

    fn list(&self, prefix: &Key, after: Option<&Key>, limit: usize) -> Answer {
        let from = match after {
            Some(after) if prefix <= after => Bound::Excluded(after),
            Some(_) | None => Bound::Included(prefix),
        };
        let items = self.items.range(from).take_while(|(key, _)| key.starts_with(prefix));
        let size = |(key, item): &(&Key, &Item)| key.len() + item.value.len();
        let (items, more) = limits::first_within(items, limit, RANGE_BYTES_LIMIT, size);
        let items = items.into_iter().map(|(key, item)| (key.clone(), item.clone())).collect();
        Answer::Items(items, more)
    }
}

/// In one line: a trace shows stores.
impl Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Counts { keys, leases, sessions, .. } = self.counts();
        write!(f, "{keys} keys, {leases} leases and {sessions} sessions at {:?}", self.time)
    }
}
