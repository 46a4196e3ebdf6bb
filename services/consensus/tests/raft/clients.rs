//! Clients: what they ask, what they make of the answers, and what they ask again.
//!
//! Each has one request open at a time. What it asks without a session it never asks again unless
//! it was told that nothing was done; a command of its session it repeats, with the same number,
//! until it has the answer. Every value is put once.

use std::collections::BTreeMap;
use std::time::Duration;

use consensus::store::{
    Action, Answer, Command, Condition, Item, Key, LeaseId, Ordinal, Query, SessionId, Value,
};
use consensus::{Refusal, Request, Route};
use protocols::{NodeId, Ticket, Trace};
use rand::Rng as _;
use rand::rngs::StdRng;

use crate::linear::{History, OperationId};
use crate::ms;

/// How long a client waits for an answer.
pub(crate) const PATIENCE: Duration = Duration::from_millis(1_500);
/// How many keys they write.
const KEYS: u64 = 4;
/// How often a command of a session is repeated.
const TRIES: u32 = 12;

/// What a client waits for.
#[derive(Clone, Debug)]
enum Asked {
    /// What a key has.
    Get(OperationId, Key),
    /// A command on one key.
    One(OperationId, Key),
    /// Several keys at once.
    Range(Vec<(Key, OperationId)>),
    /// A command of its session.
    Repeatable(OperationId, Key),
    OpenSession,
    Grant(Duration),
    KeepAlive(LeaseId),
    /// Something whose answer nobody checks.
    Anything,
}

/// A command that is repeated until it is answered.
#[derive(Clone, Debug)]
struct Repeated {
    command: Command,
    id: OperationId,
    key: Key,
    tries: u32,
}

/// One client.
#[derive(Debug)]
struct Client {
    name: u64,
    due: Duration,
    open: Option<Ticket>,
    /// Whom it asks unless it feels like asking another.
    favourite: NodeId,
    session: Option<(SessionId, u64)>,
    repeated: Option<Repeated>,
    seen: BTreeMap<Key, Item>,
    lease: Option<LeaseId>,
}

/// A request that has not come to its end.
#[derive(Debug)]
pub(crate) struct Open {
    client: usize,
    pub(crate) node: NodeId,
    pub(crate) since: Duration,
    asked: Asked,
}

/// When a lease was last known to have its whole time before it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lease {
    pub(crate) ttl: Duration,
    pub(crate) since: Duration,
}

/// How often each end came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ends {
    pub(crate) answered: u64,
    pub(crate) refused: u64,
    pub(crate) overwritten: u64,
    pub(crate) unknown: u64,
    pub(crate) late: u64,
    pub(crate) repeated: u64,
    pub(crate) kept_alive: u64,
}

impl Ends {
    pub(crate) fn fields(&mut self) -> [&mut u64; 7] {
        [
            &mut self.answered,
            &mut self.refused,
            &mut self.overwritten,
            &mut self.unknown,
            &mut self.late,
            &mut self.repeated,
            &mut self.kept_alive,
        ]
    }
}

/// All clients of one storm.
#[derive(Debug)]
pub(crate) struct Clients {
    clients: Vec<Client>,
    pub(crate) open: BTreeMap<Ticket, Open>,
    pub(crate) history: History,
    pub(crate) leases: BTreeMap<LeaseId, Lease>,
    /// How long values are.
    padding: usize,
    serial: u64,
    pub(crate) ends: Ends,
}

impl Clients {
    pub(crate) fn new(count: u64, padding: usize, nodes: &[NodeId], random: &mut StdRng) -> Self {
        let clients = (0..count).map(|name| Client {
            name,
            due: ms(random.random_range(0..600)),
            open: None,
            favourite: nodes[random.random_range(0..nodes.len())],
            session: None,
            repeated: None,
            seen: BTreeMap::new(),
            lease: None,
        });
        Self {
            clients: clients.collect(),
            open: BTreeMap::new(),
            history: History::default(),
            leases: BTreeMap::new(),
            padding,
            serial: 0,
            ends: Ends::default(),
        }
    }

    pub(crate) fn ticket(&mut self) -> Ticket {
        self.serial += 1;
        Ticket(self.serial)
    }

    /// A client that has nothing open asks somebody something.
    pub(crate) fn ask(
        &mut self,
        now: Duration,
        nodes: &[NodeId],
        random: &mut StdRng,
    ) -> Option<(NodeId, Request)> {
        let ready = |client: &Client| client.open.is_none() && client.due <= now;
        let number = self.clients.iter().position(ready)?;
        let other = random.random_bool(0.3);
        let client = &mut self.clients[number];
        if other {
            client.favourite = nodes[random.random_range(0..nodes.len())];
        }
        let node = client.favourite;
        let route = if random.random_bool(0.75) { Route::Forward } else { Route::Here };
        let ticket = self.ticket();
        let (asked, request) = match self.clients[number].repeated.take() {
            Some(repeated) => self.repeat(number, repeated, (ticket, route)),
            None => self.draw(number, now, (ticket, route), random),
        };
        self.clients[number].open = Some(ticket);
        self.open.insert(ticket, Open { client: number, node, since: now, asked });
        Some((node, request))
    }

    /// Somebody puts and reads a key through this server, in a cluster that nothing ails.
    pub(crate) fn ask_plainly(&mut self, now: Duration, node: NodeId) -> [(Ticket, Request); 2] {
        let (key, name) = (key(0), 1_000 + node.0);
        let (put, read) = (self.ticket(), self.ticket());
        let (value, condition) = (self.value(), Condition::Always);
        let action = Action::Put { key: key.clone(), value, lease: None, condition };
        let id = self.history.act(name, now, action.clone());
        let command = Command { ordinal: None, action, trace: Trace::default() };
        let requests = [
            (put, Request::Propose(put, command, Route::Forward)),
            (read, Request::Read(read, Query::Get(key.clone()), Route::Forward)),
        ];
        let asked = Asked::One(id, key.clone());
        self.open.insert(put, Open { client: 0, node, since: now, asked });
        let asked = Asked::Get(self.history.query(name, now, Query::Get(key.clone())), key);
        self.open.insert(read, Open { client: 0, node, since: now, asked });
        requests
    }

    fn repeat(
        &mut self,
        number: usize,
        mut repeated: Repeated,
        (ticket, route): (Ticket, Route),
    ) -> (Asked, Request) {
        repeated.tries += 1;
        self.ends.repeated += 1;
        let asked = Asked::Repeatable(repeated.id, repeated.key.clone());
        let command = repeated.command.clone();
        self.clients[number].repeated = Some(repeated);
        (asked, Request::Propose(ticket, command, route))
    }

    fn draw(
        &mut self,
        number: usize,
        now: Duration,
        (ticket, route): (Ticket, Route),
        random: &mut StdRng,
    ) -> (Asked, Request) {
        let name = self.clients[number].name;
        let propose = |action| {
            Request::Propose(
                ticket,
                Command { ordinal: None, action, trace: Trace::default() },
                route,
            )
        };
        match random.random_range(0..100_u32) {
            0..30 => {
                let key = key(random.random_range(0..KEYS));
                let query = Query::Get(key.clone());
                let id = self.history.query(name, now, query.clone());
                (Asked::Get(id, key), Request::Read(ticket, query, route))
            }
            30..65 => {
                let (key, action) = self.action(number, random);
                let id = self.history.act(name, now, action.clone());
                (Asked::One(id, key), propose(action))
            }
            65..70 => self.draw_range(number, now, (ticket, route)),
            70..85 => self.draw_session(number, now, (ticket, route), random),
            85..98 => {
                let (asked, action) = self.draw_lease(number, random);
                (asked, propose(action))
            }
            98.. => (Asked::Anything, Request::Peek(ticket, Query::Get(key(0)))),
        }
    }

    fn draw_range(
        &mut self,
        number: usize,
        now: Duration,
        (ticket, route): (Ticket, Route),
    ) -> (Asked, Request) {
        let name = self.clients[number].name;
        let gets = (0..KEYS).map(key).map(|key| {
            let id = self.history.query(name, now, Query::Get(key.clone()));
            (key, id)
        });
        let gets = gets.collect();
        let query = Query::Range { prefix: b"k"[..].into(), after: None, limit: 100 };
        (Asked::Range(gets), Request::Read(ticket, query, route))
    }

    fn draw_session(
        &mut self,
        number: usize,
        now: Duration,
        (ticket, route): (Ticket, Route),
        random: &mut StdRng,
    ) -> (Asked, Request) {
        let name = self.clients[number].name;
        let Some((session, sequence)) = self.clients[number].session else {
            let command =
                Command { ordinal: None, action: Action::OpenSession, trace: Trace::default() };
            return (Asked::OpenSession, Request::Propose(ticket, command, route));
        };
        let (key, action) = self.action(number, random);
        let sequence = sequence + 1;
        self.clients[number].session = Some((session, sequence));
        let ordinal = Ordinal { session, sequence, acknowledged: sequence - 1 };
        let id = self.history.act(name, now, action.clone());
        let command = Command { ordinal: Some(ordinal), action, trace: Trace::default() };
        let repeated = Repeated { command: command.clone(), id, key: key.clone(), tries: 1 };
        self.clients[number].repeated = Some(repeated);
        (Asked::Repeatable(id, key), Request::Propose(ticket, command, route))
    }

    fn draw_lease(&mut self, number: usize, random: &mut StdRng) -> (Asked, Action) {
        let client = &mut self.clients[number];
        let Some(lease) = client.lease else {
            let ttl = ms(random.random_range(100..1_000));
            return (Asked::Grant(ttl), Action::Grant(ttl));
        };
        match random.random_range(0..10_u32) {
            0..5 => (Asked::KeepAlive(lease), Action::KeepAlive(lease)),
            5..8 => {
                let key = format!("lease {}", client.name).into_bytes().into();
                let value = self.value();
                let condition = Condition::Always;
                (Asked::Anything, Action::Put { key, value, lease: Some(lease), condition })
            }
            8.. => {
                client.lease = None;
                if random.random_bool(0.3) {
                    self.leases.remove(&lease);
                    return (Asked::Anything, Action::Revoke(lease));
                }
                let ttl = ms(random.random_range(100..1_000));
                (Asked::Grant(ttl), Action::Grant(ttl))
            }
        }
    }

    fn value(&mut self) -> Value {
        self.serial += 1;
        let mut value = format!("v{}", self.serial).into_bytes();
        value.resize(value.len().max(self.padding), b'.');
        value.into()
    }

    /// A put or a deletion of one key, on a condition that may hold.
    fn action(&mut self, number: usize, random: &mut StdRng) -> (Key, Action) {
        let key = key(random.random_range(0..KEYS));
        let seen = self.clients[number].seen.get(&key).cloned();
        let condition = match (random.random_range(0..6), seen) {
            (0, Some(item)) => Condition::Value(item.value),
            (1, Some(item)) => Condition::Version(item.version),
            (2, _) => Condition::Absent,
            _ => Condition::Always,
        };
        if random.random_bool(0.2) {
            return (key.clone(), Action::Delete { key, condition });
        }
        let value = self.value();
        (key.clone(), Action::Put { key, value, lease: None, condition })
    }

    /// Somebody has an answer.
    pub(crate) fn answer(&mut self, ticket: Ticket, now: Duration, answer: Answer) {
        let Some(open) = self.open.remove(&ticket) else { return };
        self.ends.answered += 1;
        let client = &mut self.clients[open.client];
        (client.open, client.due) = (None, now + ms(5));
        match open.asked {
            Asked::Get(id, key) | Asked::One(id, key) => {
                self.learn(open.client, (id, key), now, answer);
            }
            Asked::Range(gets) => {
                let Answer::Items(items, more) = answer else { panic!("{answer:?} to a range") };
                assert!(items.is_sorted_by(|(one, _), (other, _)| one < other) && !more);
                let items = items.into_iter().collect::<BTreeMap<_, _>>();
                for (key, id) in gets {
                    let item = items.get(&key).cloned();
                    self.history.answer(id, now, Answer::Item(item));
                }
            }
            Asked::Repeatable(id, key) => {
                client.repeated = None;
                if let Answer::NoSession(_) = answer {
                    client.session = None;
                } else {
                    assert_ne!(answer, Answer::Forgotten, "a command was taken for an old one");
                    self.learn(open.client, (id, key), now, answer);
                }
            }
            Asked::OpenSession => {
                let Answer::Opened(session) = answer else { panic!("{answer:?} to an opening") };
                client.session = Some((session, 0));
            }
            Asked::Grant(asked) => {
                let Answer::Granted(id, ttl) = answer else { panic!("{answer:?} to a grant") };
                assert_eq!(asked, ttl);
                client.lease = Some(id);
                self.leases.insert(id, Lease { ttl, since: open.since });
            }
            Asked::KeepAlive(lease) if matches!(answer, Answer::KeptAlive(..)) => {
                self.ends.kept_alive += 1;
                if let Some(lease) = self.leases.get_mut(&lease) {
                    lease.since = open.since;
                }
            }
            Asked::KeepAlive(_) => client.lease = None,
            Asked::Anything => (),
        }
    }

    fn learn(
        &mut self,
        client: usize,
        (id, key): (OperationId, Key),
        now: Duration,
        answer: Answer,
    ) {
        if let Answer::Item(Some(item)) | Answer::Unmet(Some(item)) = &answer {
            self.clients[client].seen.insert(key, item.clone());
        }
        self.history.answer(id, now, answer);
    }

    /// Somebody was refused.
    pub(crate) fn refuse(&mut self, ticket: Ticket, now: Duration, refusal: &Refusal) {
        let undone = match refusal {
            Refusal::Unknown => false,
            Refusal::NotLeader(_)
            | Refusal::Busy
            | Refusal::Full
            | Refusal::HandingOver
            | Refusal::Overwritten
            | Refusal::ChangePending
            | Refusal::NoMember(_)
            | Refusal::AlreadyVoter(_)
            | Refusal::Behind(..)
            | Refusal::LastVoter
            | Refusal::NoHeir
            | Refusal::TooManyMembers => true,
            Refusal::Invalid(field, problem) => panic!("{field}: {problem}"),
        };
        if let Refusal::NotLeader(Some(leader)) = refusal
            && let Some(open) = self.open.get(&ticket)
        {
            self.clients[open.client].favourite = *leader;
        }
        self.ends.refused += u64::from(undone);
        self.ends.overwritten += u64::from(*refusal == Refusal::Overwritten);
        self.ends.unknown += u64::from(!undone);
        self.end(ticket, now, undone);
    }

    /// A request ends without an answer.
    fn end(&mut self, ticket: Ticket, now: Duration, undone: bool) {
        let Some(open) = self.open.remove(&ticket) else { return };
        let client = &mut self.clients[open.client];
        (client.open, client.due) = (None, now + ms(20));
        match open.asked {
            Asked::Get(id, _) => self.history.refuse(id),
            Asked::One(id, _) if undone => self.history.refuse(id),
            Asked::Range(gets) => gets.into_iter().for_each(|(_, id)| self.history.refuse(id)),
            Asked::Repeatable(..) => {
                if client.repeated.as_ref().is_some_and(|repeated| TRIES < repeated.tries) {
                    // Whoever gives up knows nothing, and begins again.
                    (client.repeated, client.session) = (None, None);
                }
            }
            Asked::One(..)
            | Asked::OpenSession
            | Asked::Grant(_)
            | Asked::KeepAlive(_)
            | Asked::Anything => (),
        }
    }

    /// A server has crashed: its callers see the connection break.
    pub(crate) fn crash(&mut self, node: NodeId, now: Duration) {
        let lost = self.open.iter().filter(|(_, open)| open.node == node);
        for ticket in lost.map(|(ticket, _)| *ticket).collect::<Vec<_>>() {
            self.end(ticket, now, false);
        }
    }

    /// Clients wait no longer than their patience: whom they tell that they have gone.
    pub(crate) fn lose_patience(&mut self, now: Duration) -> Vec<(NodeId, Ticket)> {
        let late = self.open.iter().filter(|(_, open)| open.since + PATIENCE <= now);
        let late = late.map(|(ticket, open)| (open.node, *ticket)).collect::<Vec<_>>();
        for (_, ticket) in &late {
            self.ends.late += 1;
            self.end(*ticket, now, false);
        }
        late
    }
}

fn key(number: u64) -> Key {
    format!("k{number}").into_bytes().into()
}
