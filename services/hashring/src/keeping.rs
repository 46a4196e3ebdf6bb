//! What the node does that is responsible for a key: find, save, remove, and copy to its
//! successors before it answers.
//!
//! One write of a key goes on at a time; whatever else is asked about the key waits for its end, so
//! that nobody is told of something that may yet be lost.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use protocols::{Outbox, Ticket};

use crate::{
    Action, Answer, Body, Chord, Content, Decline, Hop, Id, Item, Key, Operation, Outcome, Peer,
    Purpose, Question, Stamp, WriteId,
};

/// Operations that wait for the end of one write.
const WAITING_LIMIT: usize = 256;
/// Copies may take so many times the limit before they are refused: what is saved, is saved by the
/// limit of the responsible node.
const COPIES_FACTOR: u64 = 2;

/// Who waits for what comes of an operation.
#[derive(Debug)]
pub(crate) enum Caller {
    /// This node's own lookup.
    Own(Ticket),
    /// A node that asked directly.
    Peer(Peer, Ticket),
    /// The node that began a recursive lookup, which came this way.
    Route(Peer, Ticket, Vec<Hop>),
}

/// A save or remove that waits for its copies.
#[derive(Debug)]
pub(crate) struct Write {
    stamp: Stamp,
    outcome: Outcome,
    caller: Caller,
    /// Who was asked to keep a copy, and when.
    asked: BTreeMap<Id, Duration>,
    /// Who keeps one.
    kept: BTreeSet<Id>,
    /// What is to be done to the key after it.
    waiting: Vec<(Caller, WriteId, Operation)>,
}

impl Chord {
    /// Does something with a key, if this node is responsible and ready.
    pub(crate) fn serve(
        &mut self,
        caller: Caller,
        write: WriteId,
        operation: Operation,
        out: &mut Outbox<Self>,
    ) {
        let outcome = match self.declines(&operation) {
            Some(reason) => Outcome::Declined(reason),
            None => {
                let place = (operation.id, operation.key.clone());
                if let Some(before) = self.writes.get_mut(&place)
                    && operation.action != Action::Locate
                {
                    if before.waiting.len() < WAITING_LIMIT {
                        return before.waiting.push((caller, write, operation));
                    }
                    Outcome::Declined(Decline::Busy)
                } else {
                    self.totals.served += 1;
                    match self.perform(write, operation) {
                        Done::At(outcome) => outcome,
                        Done::After(item, outcome) => {
                            return self.write(caller, item, outcome, out);
                        }
                    }
                }
            }
        };
        self.reply(caller, outcome, out);
    }

    /// Why it does nothing.
    fn declines(&self, operation: &Operation) -> Option<Decline> {
        if !self.is_member() || !self.circle.contains(operation.id) {
            return Some(Decline::Unready);
        }
        match (self.own(), &self.predecessor) {
            (Some(own), _) if own.contains(operation.id, self.circle) => (),
            (_, Some(predecessor)) => return Some(Decline::NotMine(predecessor.clone())),
            (_, None) => return Some(Decline::Unready),
        }
        self.ready.is_none().then_some(Decline::Unready)
    }

    fn perform(&mut self, write: WriteId, operation: Operation) -> Done {
        let Operation { id, key, action, trace: _ } = operation;
        let known = self.store.look(id, &key).map(|(stamp, value)| (stamp, value.cloned()));
        // What was sent again is told again what came of it.
        let again = known.as_ref().is_some_and(|(stamp, _)| stamp.write == write);
        let version = known.as_ref().map_or(0, |(stamp, _)| stamp.version).saturating_add(1);
        let value = known.and_then(|(_, value)| value);
        let stamp = Stamp { version, write };
        let item = |content| Item { id, key, stamp, content };
        match (action, value) {
            (Action::Locate, _) => Done::At(Outcome::Located),
            (Action::Find, Some(value)) => Done::At(Outcome::Found(value)),
            (Action::Find, None) => Done::At(Outcome::Missing),
            (Action::Save(_), Some(_)) if again => Done::At(Outcome::Saved),
            (Action::Save(_), Some(_)) => Done::At(Outcome::Exists),
            (Action::Save(_), None) if self.is_full() => Done::At(Outcome::Declined(Decline::Full)),
            (Action::Save(value), None) => Done::After(item(Content::Value(value)), Outcome::Saved),
            (Action::Remove, Some(_)) => {
                Done::After(item(Content::Removed(Duration::ZERO)), Outcome::Removed)
            }
            (Action::Remove, None) if again => Done::At(Outcome::Removed),
            (Action::Remove, None) => Done::At(Outcome::Missing),
        }
    }

    /// Whether this node or one that is to keep a copy has no room.
    fn is_full(&self) -> bool {
        self.config.bytes_limit <= self.store.bytes() || !self.full.is_empty()
    }

    /// Writes an item here, and has it copied.
    fn write(&mut self, caller: Caller, item: Item, outcome: Outcome, out: &mut Outbox<Self>) {
        let place = (item.id, item.key.clone());
        let stamp = item.stamp;
        self.store.merge(item, self.now, self.config.remembers);
        let write = Write {
            stamp,
            outcome,
            caller,
            asked: BTreeMap::new(),
            kept: BTreeSet::new(),
            waiting: Vec::new(),
        };
        self.writes.insert(place.clone(), write);
        self.copy(&place, out);
        self.complete(&place, out);
    }

    /// Asks the successors to keep what was written, unless they have been asked just now.
    fn copy(&mut self, place: &(Id, Key), out: &mut Outbox<Self>) {
        let Some(item) = self.store.item(place, self.now, self.config.remembers) else { return };
        for peer in self.successors.clone() {
            let Some(write) = self.writes.get_mut(place) else { return };
            let asked = write.asked.get(&peer.id);
            let waits = asked.is_some_and(|at| self.now < *at + self.config.patience);
            if !waits && !write.kept.contains(&peer.id) {
                write.asked.insert(peer.id, self.now);
                let purpose = Purpose::Copy(place.clone(), write.stamp);
                self.ask(&peer, Question::Keep(vec![item.clone()]), purpose, out);
            }
        }
    }

    /// A successor keeps a copy, or cannot.
    pub(crate) fn on_copied(
        &mut self,
        from: &Peer,
        place: (Id, Key),
        stamp: Stamp,
        kept: bool,
        out: &mut Outbox<Self>,
    ) {
        if let Some(write) = self.writes.get_mut(&place)
            && write.stamp == stamp
            && kept
        {
            write.kept.insert(from.id);
            self.complete(&place, out);
        }
    }

    /// Ends a write that has as many copies as it needs, and does what waited for it.
    fn complete(&mut self, place: &(Id, Key), out: &mut Outbox<Self>) {
        let needed = self.successors.len().min(self.config.replicas - 1);
        let enough = |write: &Write| needed <= write.kept.len();
        if !self.writes.get(place).is_some_and(enough) {
            return;
        }
        let Some(write) = self.writes.remove(place) else { return };
        self.reply(write.caller, write.outcome, out);
        for (caller, id, operation) in write.waiting {
            self.serve(caller, id, operation, out);
        }
        self.hand_over(out);
    }

    /// Looks after the writes that wait: the successors may be others, or a message was lost.
    pub(crate) fn tend_writes(&mut self, out: &mut Outbox<Self>) {
        for place in self.writes.keys().cloned().collect::<Vec<_>>() {
            self.copy(&place, out);
            self.complete(&place, out);
        }
    }

    /// Keeps what another node asks this one to keep.
    pub(crate) fn on_keep(&mut self, items: Vec<Item>) -> bool {
        let limit = self.config.bytes_limit.saturating_mul(COPIES_FACTOR);
        for item in items {
            // A removal makes room, and follows a save for which there was some.
            let needs_room = matches!(item.content, Content::Value(_));
            if (needs_room && limit <= self.store.bytes()) || !self.circle.contains(item.id) {
                return false;
            }
            self.store.merge(item, self.now, self.config.remembers);
        }
        true
    }

    fn reply(&mut self, caller: Caller, outcome: Outcome, out: &mut Outbox<Self>) {
        match caller {
            Caller::Own(ticket) => self.conclude(ticket, outcome, out),
            Caller::Peer(peer, ticket) => {
                self.answer(&peer, ticket, Answer::Performed(outcome), out);
            }
            Caller::Route(origin, ticket, path) if origin == self.config.me => {
                self.on_routed(ticket, outcome, path, out);
            }
            Caller::Route(origin, ticket, path) => {
                self.say(&origin, Body::Routed(ticket, outcome, path), out);
            }
        }
    }

    /// Whether a save or remove of this lookup waits for copies at this very node.
    pub(crate) fn waits_here(&self, ticket: Ticket) -> bool {
        let own = |caller: &Caller| matches!(caller, Caller::Own(of) if *of == ticket);
        self.writes.values().any(|write| own(&write.caller))
    }
}

/// What came of an operation, at once or when there are copies of an item.
enum Done {
    At(Outcome),
    After(Item, Outcome),
}
