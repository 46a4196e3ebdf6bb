//! Predecessor and successors: how they are kept right while nodes come and go.
//!
//! Stabilise and rectify are Zave's: a member asks its first successor who is before it, and adopts
//! that node if it lies between, lives and is a member; it takes over its successor's list; and it
//! tells its successor that it may be its predecessor. What the paper calls *notify* and what asks
//! for the successor's predecessor are one question here.
//!
//! A node that finds every successor dead goes on with the nearest node that it knows otherwise,
//! and alone when it knows none. And from time to time it has a node that it knows from elsewhere
//! (a finger, a contact, a node that was lost) look up who comes after it: so two rings that have
//! nothing to do with each other become one (strong stabilisation: Liben-Nowell, Balakrishnan,
//! Karger, "Analysis of the Evolution of Peer-to-Peer Systems", 2002; after a partition: Shafaat,
//! Ghodsi, Haridi, "Handling Network Partitions and Mergers in Structured Overlay Networks", 2007).

use protocols::Outbox;
use rand::seq::IndexedRandom as _;

use crate::lookup::Goal;
use crate::{Chord, Description, Event, Id, Interval, Peer, Phase, Purpose, Question};

/// How many looks after the ring go by between two tests whether it is the only one.
const STRENGTHEN_TICKS: u64 = 4;

impl Chord {
    /// Looks after predecessor and successors.
    pub(crate) fn stabilise(&mut self, out: &mut Outbox<Self>) {
        self.notify_successor(out);
        if let Some(predecessor) = self.predecessor.clone() {
            self.watch(&predecessor, out);
        }
        self.probe(out);
        if self.ticks.is_multiple_of(STRENGTHEN_TICKS) && self.is_member() {
            let others = self.fingers.all().chain(&self.successors).chain(&self.contacts);
            let others = others.filter(|peer| self.suspicion.trusts(peer.id));
            let others = others.cloned().collect::<Vec<_>>();
            if let Some(other) = others.choose(&mut self.random) {
                self.strengthen(&other.clone(), out);
            }
        }
    }

    /// Tells the first successor who is before it, and hears who it thinks is.
    fn notify_successor(&mut self, out: &mut Outbox<Self>) {
        let Some(successor) = self.successors.first().cloned() else {
            // Alone; unless somebody has made himself known.
            if let Some(predecessor) = self.predecessor.clone() {
                self.ask(&predecessor, Question::Describe, Purpose::Candidate, out);
            }
            return;
        };
        let question = match self.phase {
            Phase::Member => Question::Notify,
            Phase::Joining(_) | Phase::Leaving(_) | Phase::Left => Question::Describe,
        };
        self.ask(&successor, question, Purpose::Notify, out);
    }

    /// Asks for a sign of life.
    pub(crate) fn watch(&mut self, peer: &Peer, out: &mut Outbox<Self>) {
        if !self.is_asked(peer.id) {
            self.ask(peer, Question::Describe, Purpose::Watch, out);
        }
    }

    /// Has another node look up who comes after this one.
    fn strengthen(&mut self, other: &Peer, out: &mut Outbox<Self>) {
        let next = self.circle.after(self.config.me.id, 1);
        self.look_up_through(other, next, Goal::Strengthen, out);
    }

    /// Whether a node lies between this one and its successor.
    pub(crate) fn belongs_next(&self, id: Id) -> bool {
        self.circle.is_between(id, self.config.me.id, self.successor().id)
    }

    /// Zave's rectify: this one may be before us.
    pub(crate) fn on_notify(&mut self, from: &Peer, out: &mut Outbox<Self>) {
        if !self.is_member() {
            return;
        }
        match self.predecessor.clone() {
            None => self.set_predecessor(Some(from.clone()), out),
            Some(known) if known == *from => (),
            Some(known) if self.circle.is_between(from.id, known.id, self.config.me.id) => {
                self.set_predecessor(Some(from.clone()), out);
            }
            // Only if the one before is dead.
            Some(known) => {
                self.claimant = Some(from.clone());
                self.watch(&known, out);
            }
        }
    }

    /// The first successor has said who is before it.
    pub(crate) fn on_notified(
        &mut self,
        from: &Peer,
        description: Description,
        out: &mut Outbox<Self>,
    ) {
        if self.successors.first() != Some(from) {
            return;
        }
        if !description.member {
            // It has come back and looks for its place, or is about to leave: it will say so. Who
            // knows nobody else waits for that.
            let others = self.successors.iter().chain(self.fingers.all()).chain(&self.predecessor);
            return match others.filter(|peer| *peer != from).count() {
                0 => self.watch(from, out),
                _ => self.part_with(from, &description.successors, out),
            };
        }
        let me = self.config.me.id;
        let before = description.predecessor;
        self.adopt(from, &description.successors, out);
        let accepted = before
            .as_ref()
            .is_some_and(|peer| peer.id == me || self.circle.is_between(peer.id, me, from.id));
        self.set_accepted(accepted.then_some(from.id), out);
        if let Some(peer) = before
            && self.circle.is_between(peer.id, me, from.id)
        {
            self.ask(&peer, Question::Describe, Purpose::Candidate, out);
        }
    }

    /// One that may belong between this node and its successor has said what it is.
    pub(crate) fn on_candidate(
        &mut self,
        from: &Peer,
        description: Description,
        out: &mut Outbox<Self>,
    ) {
        // Who leaves gives what it keeps to its successor, and needs the right one.
        let on_ring = matches!(self.phase, Phase::Member | Phase::Leaving(_));
        if description.member && on_ring && self.belongs_next(from.id) {
            self.adopt(from, &description.successors, out);
            self.notify_successor(out);
        }
    }

    /// Strong stabilisation has found this one.
    pub(crate) fn on_strengthened(&mut self, found: &Peer, out: &mut Outbox<Self>) {
        if self.belongs_next(found.id) {
            self.ask(found, Question::Describe, Purpose::Candidate, out);
        }
    }

    /// A node that was lost, or a contact, lives.
    pub(crate) fn on_probed(
        &mut self,
        from: &Peer,
        description: &Description,
        out: &mut Outbox<Self>,
    ) {
        match self.phase {
            _ if !description.member => (),
            Phase::Member => self.strengthen(from, out),
            // Somebody to give everything to, after all.
            Phase::Leaving(_) if self.leaves_alone() => {
                self.suspicion.find(from.id);
                self.adopt(from, &description.successors, out);
                self.hand_over(out);
            }
            Phase::Joining(_) | Phase::Leaving(_) | Phase::Left => (),
        }
    }

    /// Makes a node the first successor, and its successors those after it.
    pub(crate) fn adopt(&mut self, first: &Peer, after: &[Peer], out: &mut Outbox<Self>) {
        let mut successors = vec![first.clone()];
        for peer in after {
            let last = successors.last().map_or(first.id, |peer| peer.id);
            // Whoever is not between the last one and this node: the list has gone round.
            if successors.len() == self.config.replicas
                || !self.circle.is_between(peer.id, last, self.config.me.id)
            {
                break;
            }
            if !self.suspicion.is_gone(peer.id) {
                successors.push(peer.clone());
            }
        }
        self.set_successors(successors, out);
    }

    fn set_successors(&mut self, successors: Vec<Peer>, out: &mut Outbox<Self>) {
        let first = self.successor().clone();
        self.full.retain(|id| successors.iter().any(|peer| peer.id == *id));
        let changed = self.successors != successors;
        self.successors = successors;
        if *self.successor() != first {
            let successor = self.successor().clone();
            self.fingers.set_first(&successor);
            Self::event(Event::Successor(successor), out);
        }
        if changed {
            self.tend_writes(out);
            self.become_ready(out);
        }
    }

    /// A node is not to be counted on: `instead` are those after it, if it was a successor.
    pub(crate) fn part_with(&mut self, peer: &Peer, instead: &[Peer], out: &mut Outbox<Self>) {
        self.fingers.remove(peer.id);
        if self.predecessor.as_ref() == Some(peer) {
            let claimant = self.claimant.take();
            let claimant = claimant.filter(|claimant| !self.suspicion.is_gone(claimant.id));
            self.set_predecessor(claimant, out);
        }
        let Some(at) = self.successors.iter().position(|known| known == peer) else { return };
        let mut rest = self.successors.clone();
        rest.truncate(at);
        let after = self.successors[at + 1..].iter().chain(instead).cloned().collect::<Vec<_>>();
        for next in after {
            let last = rest.last().map_or(self.config.me.id, |peer| peer.id);
            if rest.len() < self.config.replicas
                && self.circle.is_between(next.id, last, self.config.me.id)
                && !self.suspicion.is_gone(next.id)
            {
                rest.push(next);
            }
        }
        if rest.is_empty() {
            rest.extend(self.nearest());
        }
        self.set_successors(rest, out);
        if at == 0 && !matches!(self.phase, Phase::Joining(_)) {
            self.notify_successor(out);
        }
    }

    /// Of all the nodes that it knows otherwise, the nearest after this one.
    fn nearest(&self) -> Option<Peer> {
        let known = self.fingers.all().chain(&self.predecessor);
        let known = known.filter(|peer| !self.suspicion.is_gone(peer.id));
        known.min_by_key(|peer| self.circle.distance(self.config.me.id, peer.id)).cloned()
    }

    pub(crate) fn set_predecessor(&mut self, predecessor: Option<Peer>, out: &mut Outbox<Self>) {
        if self.predecessor == predecessor {
            return;
        }
        self.claimant = None;
        self.predecessor = predecessor.clone();
        Self::event(Event::Predecessor(predecessor.clone()), out);
        let Some(predecessor) = predecessor else {
            // Unless it is alone, it waits to hear who is before it.
            self.ready = None;
            return self.become_ready(out);
        };
        let own = Interval::new(predecessor.id, self.config.me.id);
        match self.ready {
            Some(ready) if ready.covers(own, self.circle) => self.ready = Some(own),
            Some(_) | None => {
                self.ready = None;
                self.confirmed.clear();
                self.tend_copies(out);
                self.become_ready(out);
            }
        }
        if self.successors.is_empty() {
            self.notify_successor(out);
        }
    }

    /// Whether the first successor agrees that what is before it is this node's. Who does not has
    /// perhaps answered for it; what it has by then must be compared after it agrees.
    fn set_accepted(&mut self, by: Option<Id>, out: &mut Outbox<Self>) {
        let agrees_now = by.is_some() && self.accepted != by;
        self.accepted = by;
        if by.is_none() {
            self.ready = None;
        } else if agrees_now && self.ready.is_none() {
            self.confirmed.clear();
            self.tend_copies(out);
        }
    }

    /// Answers for its part of the circle from here on, if all is as it should be.
    pub(crate) fn become_ready(&mut self, out: &mut Outbox<Self>) {
        let confirmed = |peer: &Peer| self.confirmed.contains(&peer.id);
        let Some(own) = self.own() else { return };
        let whole = self.successors.is_empty() && self.predecessor.is_none();
        let accepted = self.accepted.is_some_and(|by| by == self.successor().id);
        let all = whole || (accepted && self.successors.iter().all(confirmed));
        if self.ready.is_none() && self.is_member() && all {
            self.ready = Some(own);
            Self::event(Event::Ready(own), out);
        }
    }

    /// A neighbour leaves.
    pub(crate) fn on_leave(
        &mut self,
        from: &Peer,
        predecessor: Option<Peer>,
        successors: Vec<Peer>,
        out: &mut Outbox<Self>,
    ) {
        let was_before = self.predecessor.as_ref() == Some(from);
        self.let_go(from, &successors, out);
        let me = self.config.me.id;
        if was_before && self.predecessor.is_none() {
            let next = predecessor.filter(|peer| {
                peer.id != me && peer.id != from.id && !self.suspicion.is_gone(peer.id)
            });
            self.set_predecessor(next, out);
        }
    }
}
