//! Every protocol as a value that takes one input and answers with effects.
//!
//! A protocol owns no socket, no clock, no task, and no generator of random numbers but the one
//! given to it. The chassis drives it for real; [`simulator`] drives the same value through a
//! storm. What is absent here is absent on purpose: look at this crate's `Cargo.toml`.

pub mod overlay;
pub mod simulator;
pub mod trace;

use std::fmt::{self, Debug, Display};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Names one member of a system for as long as the system lives.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NodeId(pub u64);

impl Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "n{}", self.0)
    }
}

impl Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "n{}", self.0)
    }
}

/// Ties an answer to its question: the notice that answers a request repeats the request's ticket.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Ticket(pub u64);

impl Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

/// The context of the trace that a request belongs to, carried and never read: 16 bytes trace id,
/// 8 bytes span id, 1 byte flags.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Trace(pub Option<[u8; 25]>);

/// Something that thinks: one input in, an ordered list of effects out.
///
/// `step` cannot fail. A bad message is ignored and counted; a broken belief is an `assert!` that
/// stays on in release.
pub trait Protocol: Debug + Send + Sized + 'static {
    /// What peers say to each other. May be lost, delayed, repeated and reordered.
    type Message: Clone + Debug + Send;
    /// Names this protocol's alarms. Arming one again replaces it.
    type Timer: Copy + Debug + Ord + Send;
    /// What a local caller asks.
    type Request: Debug + Send;
    /// What a local caller is told.
    type Notice: Debug + Send;
    /// What must be durable before any later effect is performed.
    type Record: Clone + Debug + Send;
    /// What an onlooker sees: role, term, neighbours, queue.
    type View: Clone + Debug + PartialEq + Serialize + Send;

    /// Takes one input at `now`, the time since the driver started, and appends the effects to
    /// `out` in the order in which they must be performed.
    fn step(&mut self, now: Duration, input: Input<Self>, out: &mut Outbox<Self>);

    /// What this protocol looks like from outside, at this moment.
    fn view(&self) -> Self::View;

    /// The same at `now`, for a protocol of which something is to be seen that time alone changes.
    fn view_at(&self, _now: Duration) -> Self::View {
        self.view()
    }
}

/// What can happen to a protocol.
pub enum Input<P: Protocol> {
    /// The driver runs: the first input, once.
    Start,
    /// A peer said this.
    Message(NodeId, P::Message),
    /// The link to this peer broke, or could not be made: what was sent may not have arrived.
    /// A hint that lets a protocol give up early; its absence promises nothing.
    Unreachable(NodeId),
    /// An alarm went off, and is no longer armed.
    Timeout(P::Timer),
    /// A local caller asks.
    Request(P::Request),
}

// Derived, `Debug` would be asked of `P` alone and not of what it names.
impl<P: Protocol> Debug for Input<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start => write!(f, "start"),
            Self::Message(from, message) => write!(f, "{from:?} says {message:?}"),
            Self::Unreachable(peer) => write!(f, "{peer:?} unreachable"),
            Self::Timeout(timer) => write!(f, "timeout {timer:?}"),
            Self::Request(request) => write!(f, "request {request:?}"),
        }
    }
}

/// What the driver must do, in this order.
pub enum Effect<P: Protocol> {
    /// Set an alarm, this long from now; one already set under this name is replaced.
    Arm(P::Timer, Duration),
    /// Forget an alarm, whether or not it is set.
    Disarm(P::Timer),
    /// Tell a local caller.
    Notify(P::Notice),
    /// Make durable before any later effect is performed.
    Persist(P::Record),
    /// Say this to a peer; nobody promises that it arrives.
    Send(NodeId, P::Message),
}

impl<P: Protocol> Debug for Effect<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Arm(timer, after) => write!(f, "arm {timer:?} {after:?}"),
            Self::Disarm(timer) => write!(f, "disarm {timer:?}"),
            Self::Notify(notice) => write!(f, "notify {notice:?}"),
            Self::Persist(record) => write!(f, "persist {record:?}"),
            Self::Send(to, message) => write!(f, "to {to:?} {message:?}"),
        }
    }
}

/// The ordered list that a step writes its effects to.
pub struct Outbox<P: Protocol> {
    effects: Vec<Effect<P>>,
}

impl<P: Protocol> Debug for Outbox<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.effects).finish()
    }
}

impl<P: Protocol> Default for Outbox<P> {
    fn default() -> Self {
        Self { effects: Vec::new() }
    }
}

impl<P: Protocol> Outbox<P> {
    /// Sets an alarm, `after` from now.
    pub fn arm(&mut self, timer: P::Timer, after: Duration) {
        self.effects.push(Effect::Arm(timer, after));
    }

    /// Forgets an alarm.
    pub fn disarm(&mut self, timer: P::Timer) {
        self.effects.push(Effect::Disarm(timer));
    }

    /// Tells a local caller.
    pub fn notify(&mut self, notice: P::Notice) {
        self.effects.push(Effect::Notify(notice));
    }

    /// Makes a record durable before any later effect is performed.
    pub fn persist(&mut self, record: P::Record) {
        self.effects.push(Effect::Persist(record));
    }

    /// Says something to a peer.
    pub fn send(&mut self, to: NodeId, message: P::Message) {
        self.effects.push(Effect::Send(to, message));
    }

    /// Takes the effects out, in their order, and leaves the list empty.
    pub fn drain(&mut self) -> impl Iterator<Item = Effect<P>> + '_ {
        self.effects.drain(..)
    }
}
