//! The words of the protocol: peers, items, operations, messages, requests and notices.

use std::convert::Infallible;
use std::fmt::{self, Debug};
use std::sync::Arc;
use std::time::Duration;

use protocols::{NodeId, Ticket, Trace};
use serde::Serialize;

use crate::{Id, Interval};

/// A node, as others know it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Peer {
    /// Its place on the circle.
    pub id: Id,
    /// Where it is, as `host:port`.
    pub address: Arc<str>,
}

impl Debug for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "n{}", self.id)
    }
}

impl Peer {
    /// Its name to the driver.
    pub fn node(&self) -> NodeId {
        self.id.into()
    }
}

/// The bytes of a key.
pub type Key = Arc<[u8]>;
/// The bytes of a value.
pub type Value = Arc<[u8]>;

/// Names one save or remove, however often it is sent: the node that was asked for it, and that
/// node's ticket for it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct WriteId {
    /// The node that was asked.
    pub origin: Id,
    /// Its ticket.
    pub ticket: Ticket,
}

impl Debug for WriteId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "n{}{:?}", self.origin, self.ticket)
    }
}

/// Orders what was done to one key; of two, the greater holds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stamp {
    /// How often the key was written, as far as the writer knew.
    pub version: u64,
    /// By whom.
    pub write: WriteId,
}

impl Debug for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "v{} of {:?}", self.version, self.write)
    }
}

/// What is known of one key.
#[derive(Clone, PartialEq, Eq)]
pub struct Item {
    /// The key's place on the circle.
    pub id: Id,
    /// The key.
    pub key: Key,
    /// What was done to it last.
    pub stamp: Stamp,
    /// What it holds.
    pub content: Content,
}

/// What a key holds.
#[derive(Clone, PartialEq, Eq)]
pub enum Content {
    /// This value.
    Value(Value),
    /// Nothing: it was removed this long ago. Kept for a while, so that a copy that slept through
    /// the removal does not bring the key back.
    Removed(Duration),
}

impl Debug for Item {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{} {:?}", Text(&self.key), self.id, self.stamp)?;
        match &self.content {
            Content::Value(value) => write!(f, " {}", Text(value)),
            Content::Removed(_) => write!(f, " removed"),
        }
    }
}

/// Bytes as a trace shows them.
pub(crate) struct Text<'a>(pub(crate) &'a [u8]);

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.len() {
            0..=32 => write!(f, "{}", self.0.escape_ascii()),
            long => write!(f, "{}… ({long} bytes)", self.0[..16].escape_ascii()),
        }
    }
}

/// What is to be done with a key, at the node that is responsible for it.
#[derive(Clone, PartialEq, Eq)]
pub struct Operation {
    /// The key's place on the circle.
    pub id: Id,
    /// The key.
    pub key: Key,
    /// What is to be done.
    pub action: Action,
    /// The trace it belongs to.
    pub trace: Trace,
}

impl Debug for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (key, id) = (Text(&self.key), self.id);
        match &self.action {
            Action::Locate => write!(f, "locate {id}"),
            Action::Find => write!(f, "find {key}@{id}"),
            Action::Save(value) => write!(f, "save {key}@{id} {}", Text(value)),
            Action::Remove => write!(f, "remove {key}@{id}"),
        }
    }
}

/// What is to be done with a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Only say who is responsible for the place; the key does not matter.
    Locate,
    /// Say what it holds.
    Find,
    /// Save this value, unless it holds one.
    Save(Value),
    /// Remove what it holds.
    Remove,
}

/// What came of an operation at the node that was thought responsible.
#[derive(Clone, PartialEq, Eq)]
pub enum Outcome {
    /// It is responsible.
    Located,
    /// The key holds this.
    Found(Value),
    /// The key holds nothing: there was nothing to find, or to remove.
    Missing,
    /// Saved, on as many nodes as are needed.
    Saved,
    /// Not saved: the key holds a value.
    Exists,
    /// Removed.
    Removed,
    /// Nothing was done, for this reason.
    Declined(Decline),
}

impl Debug for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Located => write!(f, "located"),
            Self::Found(value) => write!(f, "found {}", Text(value)),
            Self::Missing => write!(f, "missing"),
            Self::Saved => write!(f, "saved"),
            Self::Exists => write!(f, "exists"),
            Self::Removed => write!(f, "removed"),
            Self::Declined(reason) => write!(f, "declined: {reason:?}"),
        }
    }
}

/// Why a node did nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decline {
    /// It is not responsible; this peer may be, or may know.
    NotMine(Peer),
    /// It is not a member yet, or is leaving, or has not yet heard from its copies what it
    /// must know of its part of the circle.
    Unready,
    /// Too much waits there.
    Busy,
    /// It, or a node that would keep a copy, has no room.
    Full,
}

/// How a lookup goes from node to node (section IV-D of the paper).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// The node that was asked asks one after another.
    Iterative,
    /// Each node passes it on; the last answers the node that was asked. When no answer comes in
    /// time, that one starts again, iteratively.
    Recursive,
}

/// One node that a lookup came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hop {
    /// The node.
    pub peer: Peer,
    /// Why it was asked.
    pub reason: Reason,
    /// From question to answer; nothing if it passed the lookup on, or never answered.
    pub took: Option<Duration>,
    /// Whether it answered, or passed the lookup on.
    pub answered: bool,
}

/// Why a node was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Its caller asked it.
    Entry,
    /// Of the nodes that the one before knows, it is the last one before the place; it came from
    /// the finger of this index, from 0.
    Finger(u32),
    /// The same, from this place in the list of successors, from 0.
    Successor(u32),
    /// By the one before, it is the first node at or after the place: responsible for it.
    Responsible,
    /// The one that was thought responsible said that this one, before it, is.
    Redirected,
}

/// What is asked of one node by another.
#[derive(Clone, PartialEq, Eq)]
pub enum Question {
    /// How do you see the ring? Also the sign of life that is asked for.
    Describe,
    /// I believe that I am your predecessor (Zave's *rectify*).
    Notify,
    /// Who is next on the way to this place, leaving out these nodes? For something that belongs to
    /// this trace.
    Step(Id, Vec<Id>, Trace),
    /// Do this, if you are responsible.
    Perform(WriteId, Operation),
    /// Keep these items, as copies or as your own.
    Keep(Vec<Item>),
    /// Is what you have in this interval the same as what I have?
    Compare(Interval, Fingerprint),
    /// These are all the items that I have in this page; what differs?
    Reconcile(Page),
    /// I am leaving; you are my predecessor or my successor. These are mine.
    Leave(Option<Peer>, Vec<Peer>),
}

/// Without traces, of which a reader learns nothing.
impl Debug for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Describe => f.write_str("Describe"),
            Self::Notify => f.write_str("Notify"),
            Self::Step(place, avoid, _) => write!(f, "Step({place:?}, {avoid:?})"),
            Self::Perform(write, operation) => write!(f, "Perform({write:?}, {operation:?})"),
            Self::Keep(items) => write!(f, "Keep({items:?})"),
            Self::Compare(interval, sum) => write!(f, "Compare({interval:?}, {sum:?})"),
            Self::Reconcile(page) => write!(f, "Reconcile({page:?})"),
            Self::Leave(predecessor, successors) => {
                write!(f, "Leave({predecessor:?}, {successors:?})")
            }
        }
    }
}

/// The answer to a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// To `Describe`, `Notify` and `Leave`, after the question had its effect.
    Described(Description),
    /// To `Step`; nothing when the node is no member or knows nobody.
    Stepped(Option<(Peer, Reason)>),
    /// To `Perform`.
    Performed(Outcome),
    /// To `Keep`: they are kept. False when there is no room; then some may be.
    Kept(bool),
    /// To `Compare`: nothing when all is the same, otherwise the fingerprints of every part of
    /// the interval that has items.
    Compared(Option<Vec<(u32, Fingerprint)>>),
    /// To `Reconcile`: the keys that the asking node should send, the items that it should take,
    /// and whether there are more of either.
    Reconciled(Vec<(Id, Key)>, Vec<Item>, bool),
}

/// How a node sees the ring.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// Whether it is a member, not one who is joining or leaving.
    pub member: bool,
    /// Who is before it.
    pub predecessor: Option<Peer>,
    /// Who is after it, in order.
    pub successors: Vec<Peer>,
    /// Whether it can keep more.
    pub room: bool,
}

/// The sum of some items: how many, and the exclusive or of their hashes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fingerprint {
    /// How many items.
    pub count: u64,
    /// The exclusive or of their hashes.
    pub hash: u64,
}

/// Everything that a node has in an interval, after one item and up to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The first place.
    pub first: Id,
    /// The last place.
    pub last: Id,
    /// Only items after this one, if there is one, in order of place and key.
    pub after: Option<(Id, Key)>,
    /// Only items up to this one, if there is one.
    pub up_to: Option<(Id, Key)>,
    /// The items' stamps.
    pub stamps: Vec<(Id, Key, Stamp)>,
    /// Whether the sender only wants to know which of them the receiver lacks.
    pub offer: bool,
}

/// What one node says to another.
#[derive(Clone, PartialEq, Eq)]
pub struct Message {
    /// Who says it.
    pub from: Peer,
    /// To whom.
    pub to: Peer,
    /// What.
    pub body: Body,
}

impl Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.body)
    }
}

/// What a message says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// A question; its answer repeats the ticket.
    Question(Ticket, Question),
    /// An answer.
    Answer(Ticket, Answer),
    /// A recursive lookup, passed on.
    Route(Route),
    /// The end of a recursive lookup, said to the node that began it.
    Routed(Ticket, Outcome, Vec<Hop>),
    /// A census goes round the ring.
    Census(Census),
}

/// A recursive lookup on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Who began it, and waits for [`Body::Routed`].
    pub origin: Peer,
    /// The origin's ticket.
    pub ticket: Ticket,
    /// What is to be done at its end.
    pub operation: Operation,
    /// Whether the receiver is responsible, as the one before believes.
    pub last: bool,
    /// The nodes that it came to, the receiver last.
    pub path: Vec<Hop>,
}

/// A walk once round the ring by first successors, which tells every node on it that the ring is
/// one and in order, and how many there are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Census {
    /// Who began it.
    pub origin: Peer,
    /// Which of the origin's.
    pub ticket: Ticket,
    /// Steps so far.
    pub nodes: u64,
    /// How much of the circle was walked; the whole is 2^m.
    pub walked: u128,
    /// On a second walk, which tells what the first has shown: how many nodes there are.
    pub total: Option<u64>,
}

/// What a local caller asks. Its tickets are its own.
#[derive(Clone, Debug)]
pub enum Request {
    /// Does something with a key, wherever in the ring, within this time.
    Perform(Ticket, Operation, Mode, Duration),
    /// The caller of this ticket went away.
    Forget(Ticket),
    /// These nodes may be members: of this ring, or of a part that was cut off.
    Meet(Vec<Peer>),
    /// What is at this address is not the node that it was taken for.
    Mistaken(Peer),
    /// This node is to leave: what it is responsible for goes to its successor first.
    Leave,
}

/// What a local caller is told.
#[derive(Clone, Debug)]
pub enum Notice {
    /// What came of [`Request::Perform`].
    Performed(Ticket, Result<Performed, Refusal>),
    /// This node is a member.
    Joined(Joined),
    /// This node has left, and everything that it was responsible for is elsewhere. Said once
    /// after [`Request::Leave`].
    Left,
    /// Something that an onlooker wants to know.
    Event(Event),
}

/// Where a node found itself when it had joined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Joined {
    /// Who is before it; itself if it is alone.
    pub predecessor: Peer,
    /// Who is after it; itself if it is alone.
    pub successor: Peer,
}

/// What came of an operation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Performed {
    /// What; never [`Outcome::Declined`].
    pub outcome: Outcome,
    /// The node that did it.
    pub by: Peer,
    /// The nodes that its lookup came to, in order, from the one that was asked.
    pub path: Vec<Hop>,
}

/// Why an operation was not performed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Nothing was done: this node, or the responsible one, has too much to do.
    Busy,
    /// Nothing was done: there is no room where the key belongs.
    Full,
    /// Nothing was done: this node is not a member yet, or is leaving.
    Unready,
    /// Nothing was done within the time: no node that is responsible was found.
    Lost,
    /// The time is over; the save or remove may have been done, or may yet be.
    Unknown,
}

/// What an onlooker wants to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// This node began a ring of its own.
    Founded,
    /// Its predecessor is another.
    Predecessor(Option<Peer>),
    /// Its first successor is another.
    Successor(Peer),
    /// A node does not answer.
    Suspected(Peer),
    /// A node that did not answer is there again.
    Returned(Peer),
    /// It is, again, ready to answer for its part of the circle.
    Ready(Interval),
    /// A census that this node began came back: one ring, in order, of so many nodes.
    Counted(u64),
    /// A census did not come back to this node, but passed it: this node is not on the ring.
    Astray,
}

/// Names an alarm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Timer {
    /// Look after the ring.
    Stabilise,
    /// No answer came to the question of this ticket.
    Patience(Ticket),
    /// The time of the local caller with this ticket is over.
    Budget(Ticket),
    /// Try this lookup again.
    Again(Ticket),
}

/// Nothing is durable: what is kept, is kept on several nodes.
pub type Record = Infallible;
