//! What the simulator keeps of one node, and what can come to it.

use std::collections::BTreeMap;
use std::time::Duration;

use super::clock::Clock;
use super::disk::Disk;
use crate::{NodeId, Protocol};

/// One node: the incarnation that runs, and what outlives it.
pub(super) struct Member<P: Protocol> {
    /// None while the node is down.
    pub(super) incarnation: Option<Incarnation<P>>,
    /// What is durable.
    pub(super) records: Vec<P::Record>,
    /// Grows whenever the node starts, crashes, pauses or resumes, and so outdates whatever was
    /// on the agenda to end the condition before.
    pub(super) fate: u64,
    /// The serial number of the latest message taken from each peer.
    pub(super) latest: BTreeMap<NodeId, u64>,
}

impl<P: Protocol> Member<P> {
    /// A node that has never run.
    pub(super) fn unborn() -> Self {
        Self { incarnation: None, records: Vec::new(), fate: 0, latest: BTreeMap::new() }
    }
}

/// What a node is from a start to the next crash.
pub(super) struct Incarnation<P: Protocol> {
    pub(super) protocol: P,
    pub(super) clock: Clock,
    /// The alarms that are set, each by the serial number of its setting.
    pub(super) alarms: BTreeMap<P::Timer, u64>,
    pub(super) disk: Disk<P>,
    /// What came since the node was paused; none while it is not.
    pub(super) waiting: Option<Vec<Arrival<P>>>,
    /// The crash that is coming.
    pub(super) doom: Option<Doom>,
}

impl<P: Protocol> Incarnation<P> {
    pub(super) fn new(protocol: P, clock: Clock) -> Self {
        Self {
            protocol,
            clock,
            alarms: BTreeMap::new(),
            disk: Disk::idle(),
            waiting: None,
            doom: None,
        }
    }

    /// Whether this setting of an alarm is the one that holds.
    pub(super) fn is_armed(&self, timer: P::Timer, serial: u64) -> bool {
        self.alarms.get(&timer) == Some(&serial)
    }
}

/// What comes to a node, unless the node is down or it is out of date: all but one become inputs.
pub(super) enum Arrival<P: Protocol> {
    /// An alarm, by the serial number of its setting.
    Alarm(P::Timer, u64),
    /// A peer's message, by the serial number of its sending.
    Message(NodeId, P::Message, u64),
    /// A local caller's question.
    Request(P::Request),
    /// The hint that a peer cannot be reached.
    Unreachable(NodeId),
    /// The end of a sync, by its serial number; no input, but what it releases is performed.
    Synced(u64),
}

/// A crash that is coming.
#[derive(Clone, Copy, Debug)]
pub(super) struct Doom {
    /// In which step.
    pub(super) moment: Moment,
    /// How long until the reboot; none if whoever ordered the crash will see to it.
    pub(super) down: Option<Duration>,
}

/// The step, or the end of a sync, in which a node crashes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Moment {
    /// The next step, after this many effects.
    After(usize),
    /// The next, after a random number of effects.
    Any,
    /// The next that persists anything, after a random number of effects.
    Persisting,
    /// The end of the next sync, after a random number of the effects that it releases.
    Synced,
}
