//! A toy protocol: every node counts what its callers add, and tells the others until they heard.
//!
//! It promises that no count is told twice, to a caller or to a peer, for different additions; so
//! a count must be durable before anybody is told. Its [`Order`] can break that promise.

use std::collections::BTreeMap;
use std::time::Duration;

use protocols::{Input, NodeId, Outbox, Protocol, Ticket};

/// All the nodes of a tally.
pub(crate) const MEMBERS: [NodeId; 3] = [NodeId(1), NodeId(2), NodeId(3)];
const PATIENCE: Duration = Duration::from_millis(100);

/// When a count becomes durable.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Order {
    PersistFirst,
    /// The deliberate mistake.
    PersistLast,
}

#[derive(Debug)]
pub(crate) struct Tally {
    me: NodeId,
    order: Order,
    count: u64,
    heard: BTreeMap<NodeId, u64>,
    /// The highest count that each peer says it heard of us.
    acknowledged: BTreeMap<NodeId, u64>,
}

#[derive(Clone, Debug)]
pub(crate) enum Message {
    Told(u64),
    Heard(u64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Timer {
    TellAgain,
}

#[derive(Debug)]
pub(crate) enum Request {
    Add(Ticket),
}

#[derive(Debug, PartialEq)]
pub(crate) enum Notice {
    Added(Ticket, u64),
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Record {
    Counted(u64),
    Heard(NodeId, u64),
}

impl Tally {
    pub(crate) fn new(me: NodeId, order: Order, records: Vec<Record>) -> Self {
        let mut tally =
            Self { me, order, count: 0, heard: BTreeMap::new(), acknowledged: BTreeMap::new() };
        for record in records {
            match record {
                Record::Counted(count) => tally.count = count,
                Record::Heard(peer, count) => drop(tally.heard.insert(peer, count)),
            }
        }
        tally
    }

    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    pub(crate) fn heard(&self, peer: NodeId) -> u64 {
        self.heard.get(&peer).copied().unwrap_or_default()
    }

    fn add(&mut self, ticket: Ticket, out: &mut Outbox<Self>) {
        self.count += 1;
        match self.order {
            Order::PersistFirst => {
                out.persist(Record::Counted(self.count));
                out.notify(Notice::Added(ticket, self.count));
                self.tell(out);
            }
            Order::PersistLast => {
                out.notify(Notice::Added(ticket, self.count));
                self.tell(out);
                out.persist(Record::Counted(self.count));
            }
        }
    }

    fn tell(&self, out: &mut Outbox<Self>) {
        let owed = MEMBERS.into_iter().filter(|peer| *peer != self.me && self.owes(*peer));
        for peer in owed.clone() {
            out.send(peer, Message::Told(self.count));
        }
        if owed.count() != 0 {
            out.arm(Timer::TellAgain, PATIENCE);
        }
    }

    fn owes(&self, peer: NodeId) -> bool {
        self.acknowledged.get(&peer).copied().unwrap_or_default() < self.count
    }

    fn hear(&mut self, peer: NodeId, count: u64, out: &mut Outbox<Self>) {
        if self.heard(peer) < count {
            self.heard.insert(peer, count);
            out.persist(Record::Heard(peer, count));
        }
        out.send(peer, Message::Heard(self.heard(peer)));
    }
}

impl Protocol for Tally {
    type Message = Message;
    type Timer = Timer;
    type Request = Request;
    type Notice = Notice;
    type Record = Record;
    type View = (u64, BTreeMap<u64, u64>);

    fn step(&mut self, _now: Duration, input: Input<Self>, out: &mut Outbox<Self>) {
        match input {
            Input::Start | Input::Timeout(Timer::TellAgain) => self.tell(out),
            Input::Message(from, Message::Told(count)) => self.hear(from, count, out),
            Input::Message(from, Message::Heard(count)) => {
                let acknowledged = self.acknowledged.entry(from).or_default();
                *acknowledged = count.max(*acknowledged);
            }
            Input::Request(Request::Add(ticket)) => self.add(ticket, out),
            Input::Unreachable(_) => (),
        }
    }

    fn view(&self) -> Self::View {
        (self.count, self.heard.iter().map(|(peer, count)| (peer.0, *count)).collect())
    }
}
