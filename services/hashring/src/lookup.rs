//! The way to a place (section IV-D of the paper): each node on it names the last node before the
//! place that it knows, until one knows the first node at or after it.
//!
//! The node that was asked goes it iteratively, or passes the lookup on recursively. Iteratively it
//! goes round nodes that do not answer: it asks the last one that did again, leaving those out. A
//! recursive lookup from which nothing is heard begins again, iteratively. So does one that comes
//! to a node which cannot do it yet, after a pause, until its time is over.

use std::time::Duration;

use protocols::{Outbox, Ticket, Trace};

use crate::keeping::Caller;
use crate::{AVOID_LIMIT, HOPS_LIMIT};
use crate::{
    Action, Body, Chord, Decline, Hop, Id, Interval, Mode, Notice, Operation, Outcome, Peer,
    Performed, Purpose, Question, Reason, Refusal, Route, Timer, WriteId,
};

/// The least time between two tries, and the most.
const LEAST_PAUSE: Duration = Duration::from_millis(10);
const MOST_PAUSE: Duration = Duration::from_millis(640);

/// A lookup that this node has begun.
#[derive(Debug)]
pub(crate) struct Lookup {
    place: Id,
    goal: Goal,
    /// From whom the way begins, if not from this node.
    through: Option<Peer>,
    mode: Mode,
    path: Vec<Hop>,
    /// Under which ticket something is expected of the first node of a recursive lookup.
    expected: Option<Ticket>,
    /// Nodes that did not answer.
    avoid: Vec<Id>,
    began: Duration,
    /// How often it began again.
    tries: u32,
    /// How often its save or remove was sent without a word of what came of it.
    unresolved: u32,
    /// Why the last try came to nothing.
    reason: Refusal,
}

/// What a lookup is for.
#[derive(Clone, Debug)]
pub(crate) enum Goal {
    /// The operation of the local caller with this ticket.
    Perform(Ticket, Operation),
    /// To find this node's place in the ring.
    Join,
    /// To see whether there is another successor.
    Strengthen,
    /// To mend this finger.
    Finger(u32),
    /// To give what should not be here to whom it belongs.
    Stray,
}

impl Chord {
    /// A local caller wants something done with a key.
    pub(crate) fn on_perform(
        &mut self,
        caller: Ticket,
        operation: Operation,
        mode: Mode,
        budget: Duration,
        out: &mut Outbox<Self>,
    ) {
        let refusal = match self.callers.contains_key(&caller) {
            true => Some(Refusal::Busy),
            false if self.config.waiting_limit <= self.lookups.len() => Some(Refusal::Busy),
            false if !self.circle.contains(operation.id) => Some(Refusal::Lost),
            false => None,
        };
        if let Some(refusal) = refusal {
            self.totals.refused += 1;
            return out.notify(Notice::Performed(caller, Err(refusal)));
        }
        let place = operation.id;
        let ticket = self.begin(place, Goal::Perform(caller, operation), None, mode);
        self.callers.insert(caller, ticket);
        out.arm(Timer::Budget(caller), budget);
        self.set_out(ticket, out);
    }

    /// Looks a place up for this node's own ends, by way of another node.
    pub(crate) fn look_up_through(
        &mut self,
        other: &Peer,
        place: Id,
        goal: Goal,
        out: &mut Outbox<Self>,
    ) {
        let ticket = self.begin(place, goal, Some(other.clone()), Mode::Iterative);
        self.set_out(ticket, out);
    }

    /// Looks up to whom something belongs that should not be here.
    pub(crate) fn look_up_stray(&mut self, place: Id, out: &mut Outbox<Self>) {
        let ticket = self.begin(place, Goal::Stray, None, Mode::Iterative);
        self.set_out(ticket, out);
    }

    fn begin(&mut self, place: Id, goal: Goal, through: Option<Peer>, mode: Mode) -> Ticket {
        let ticket = self.ticket();
        let lookup = Lookup {
            place,
            goal,
            through,
            mode,
            path: Vec::new(),
            expected: None,
            avoid: Vec::new(),
            began: self.now,
            tries: 0,
            unresolved: 0,
            reason: Refusal::Unready,
        };
        self.lookups.insert(ticket, lookup);
        ticket
    }

    /// Goes the first step.
    fn set_out(&mut self, ticket: Ticket, out: &mut Outbox<Self>) {
        let me = self.config.me.clone();
        let Some(lookup) = self.lookups.get_mut(&ticket) else { return };
        lookup.path = vec![Hop { peer: me, reason: Reason::Entry, took: None, answered: true }];
        lookup.avoid.clear();
        match (&lookup.goal, &lookup.through) {
            // Where this node would be, it is not to be found.
            (Goal::Join | Goal::Strengthen, _) => lookup.avoid.push(self.config.me.id),
            (Goal::Perform(..) | Goal::Finger(_) | Goal::Stray, _) => (),
        }
        let (place, avoid) = (lookup.place, lookup.avoid.clone());
        let next = match lookup.through.clone() {
            Some(other) => Some((other, Reason::Entry)),
            None => self.next_hop(place, &avoid),
        };
        self.go_on(ticket, next, out);
    }

    /// Who is next on the way to a place, by what this node knows.
    pub(crate) fn next_hop(&self, place: Id, avoid: &[Id]) -> Option<(Peer, Reason)> {
        if !self.is_member() || !self.circle.contains(place) {
            return None;
        }
        let me = &self.config.me;
        let avoids = |id: Id| avoid.contains(&id);
        if !avoids(me.id) && self.own().is_some_and(|own| own.contains(place, self.circle)) {
            return Some((me.clone(), Reason::Responsible));
        }
        let mut before = me.id;
        for peer in self.successors.iter().filter(|peer| !avoids(peer.id)) {
            if Interval::new(before, peer.id).contains(place, self.circle) {
                return Some((peer.clone(), Reason::Responsible));
            }
            before = peer.id;
        }
        let successors = (0u32..).zip(&self.successors);
        let successors = successors.map(|(index, peer)| (Reason::Successor(index), peer));
        let fingers = self.fingers.with_index();
        let fingers = fingers.map(|(index, peer)| (Reason::Finger(index), peer));
        let known = successors
            .chain(fingers)
            .filter(|(_, peer)| self.circle.is_between(peer.id, me.id, place) && !avoids(peer.id));
        // Somebody who has just not answered only if there is nobody else.
        let (reason, peer) = known.max_by_key(|(reason, peer)| {
            let distance = self.circle.distance(me.id, peer.id);
            (self.suspicion.trusts(peer.id), distance, matches!(reason, Reason::Finger(_)))
        })?;
        Some((peer.clone(), reason))
    }

    /// The next node is known, or there is none.
    fn go_on(&mut self, ticket: Ticket, next: Option<(Peer, Reason)>, out: &mut Outbox<Self>) {
        let Some(lookup) = self.lookups.get_mut(&ticket) else { return };
        let Some((peer, reason)) = next.filter(|_| lookup.path.len() < HOPS_LIMIT) else {
            return self.pause(ticket, out);
        };
        let first = lookup.path.len() == 1;
        if reason == Reason::Responsible {
            return self.arrive(ticket, &peer, reason, out);
        }
        if peer == self.config.me || lookup.avoid.contains(&peer.id) {
            return self.pause(ticket, out);
        }
        lookup.path.push(Hop { peer: peer.clone(), reason, took: None, answered: false });
        match (&lookup.goal, lookup.mode) {
            (Goal::Perform(_, operation), Mode::Recursive) if first => {
                lookup.unresolved += u32::from(operation.is_write());
                let (operation, mut path) = (operation.clone(), lookup.path.clone());
                if let Some(hop) = path.last_mut() {
                    hop.answered = true;
                }
                // Not for its answer, which comes from elsewhere: for the alarm if none comes.
                let expected = self.expect(&peer, Purpose::Lookup(ticket), out);
                if let Some(lookup) = self.lookups.get_mut(&ticket) {
                    lookup.expected = Some(expected);
                }
                let origin = self.config.me.clone();
                let route = Route { origin, ticket, operation, last: false, path };
                self.say(&peer, Body::Route(route), out);
            }
            (_, Mode::Iterative | Mode::Recursive) => {
                let question = lookup.step();
                self.ask(&peer, question, Purpose::Lookup(ticket), out);
            }
        }
    }

    /// The responsible node is known.
    fn arrive(&mut self, ticket: Ticket, peer: &Peer, reason: Reason, out: &mut Outbox<Self>) {
        let Some(lookup) = self.lookups.get_mut(&ticket) else { return };
        let operation = match &lookup.goal {
            Goal::Perform(_, operation) => operation.clone(),
            Goal::Join | Goal::Strengthen | Goal::Finger(_) | Goal::Stray => {
                return self.located(ticket, Some(peer.clone()), out);
            }
        };
        let write = WriteId { origin: self.config.me.id, ticket };
        if *peer == self.config.me {
            return self.serve(Caller::Own(ticket), write, operation, out);
        }
        lookup.path.push(Hop { peer: peer.clone(), reason, took: None, answered: false });
        lookup.unresolved += u32::from(operation.is_write());
        self.ask(peer, Question::Perform(write, operation), Purpose::Lookup(ticket), out);
    }

    /// A lookup for this node's own ends has come to its end.
    fn located(&mut self, ticket: Ticket, found: Option<Peer>, out: &mut Outbox<Self>) {
        let Some(lookup) = self.lookups.remove(&ticket) else { return };
        let other = found.as_ref().filter(|peer| **peer != self.config.me);
        match lookup.goal {
            Goal::Join => self.on_located(other, out),
            Goal::Strengthen => other.into_iter().for_each(|peer| self.on_strengthened(peer, out)),
            Goal::Finger(index) => self.on_finger(index, found.as_ref()),
            Goal::Stray => other.into_iter().for_each(|peer| self.offer(peer, lookup.place, out)),
            Goal::Perform(..) => (),
        }
    }

    /// A node on the way has named the next.
    pub(crate) fn on_stepped(
        &mut self,
        ticket: Ticket,
        from: &Peer,
        took: Duration,
        next: Option<(Peer, Reason)>,
        out: &mut Outbox<Self>,
    ) {
        let Some(lookup) = self.lookups.get_mut(&ticket) else { return };
        let Some(hop) = lookup.path.iter_mut().rev().find(|hop| hop.peer == *from) else { return };
        hop.took = Some(took);
        hop.answered = true;
        let Some((peer, reason)) = next else {
            if let Goal::Join = lookup.goal {
                self.met_rival(from.id);
            }
            return self.go_round(ticket, from, out);
        };
        // Every step comes nearer, or the lookup would never end.
        let left = |peer: &Peer| self.circle.distance(peer.id, lookup.place);
        if reason != Reason::Responsible && left(from) <= left(&peer) {
            return self.go_round(ticket, from, out);
        }
        self.go_on(ticket, Some((peer, reason)), out);
    }

    /// A node did not answer this lookup.
    pub(crate) fn on_silence(&mut self, ticket: Ticket, peer: &Peer, out: &mut Outbox<Self>) {
        let Some(lookup) = self.lookups.get_mut(&ticket) else { return };
        if lookup.mode == Mode::Recursive && lookup.path.len() == 2 {
            // Passed on, and nothing was heard of it: who knows where it is.
            lookup.mode = Mode::Iterative;
            return self.set_out(ticket, out);
        }
        self.go_round(ticket, peer, out);
    }

    /// Asks the last node that answered for another way.
    fn go_round(&mut self, ticket: Ticket, peer: &Peer, out: &mut Outbox<Self>) {
        let me = self.config.me.clone();
        let Some(lookup) = self.lookups.get_mut(&ticket) else { return };
        if lookup.avoid.len() == AVOID_LIMIT || lookup.path.len() == HOPS_LIMIT {
            return self.pause(ticket, out);
        }
        lookup.avoid.push(peer.id);
        let trusted = |hop: &&Hop| {
            hop.answered && hop.reason != Reason::Redirected && !lookup.avoid.contains(&hop.peer.id)
        };
        let last = lookup.path.iter().rev().find(trusted).map(|hop| hop.peer.clone());
        let (place, question) = (lookup.place, lookup.step());
        match last {
            Some(last) if last != me => self.ask(&last, question, Purpose::Lookup(ticket), out),
            // What went by way of another has nowhere else to begin.
            _ if lookup.through.is_some() => self.pause(ticket, out),
            _ => {
                let avoid = lookup.avoid.clone();
                let next = self.next_hop(place, &avoid);
                self.go_on(ticket, next, out);
            }
        }
    }

    /// Begins anew after a while, as long as the caller waits. What is for this node's own ends is
    /// tried again by whatever wants it.
    fn pause(&mut self, ticket: Ticket, out: &mut Outbox<Self>) {
        let Some(lookup) = self.lookups.get_mut(&ticket) else { return };
        if !matches!(lookup.goal, Goal::Perform(..)) {
            return self.located(ticket, None, out);
        }
        let pause = LEAST_PAUSE * (1 << lookup.tries.min(16));
        lookup.tries += 1;
        lookup.mode = Mode::Iterative;
        out.arm(Timer::Again(ticket), pause.min(MOST_PAUSE));
    }

    /// The pause is over.
    pub(crate) fn try_again(&mut self, ticket: Ticket, out: &mut Outbox<Self>) {
        self.set_out(ticket, out);
    }

    /// The node that was thought responsible has said what came of it.
    pub(crate) fn on_performed(
        &mut self,
        ticket: Ticket,
        took: Duration,
        outcome: Outcome,
        out: &mut Outbox<Self>,
    ) {
        let Some(lookup) = self.lookups.get_mut(&ticket) else { return };
        if let Some(hop) = lookup.path.last_mut()
            && !hop.answered
        {
            hop.answered = true;
            hop.took = Some(took);
            lookup.unresolved = lookup.unresolved.saturating_sub(1);
        }
        self.conclude(ticket, outcome, out);
    }

    /// A recursive lookup has come to its end.
    pub(crate) fn on_routed(
        &mut self,
        ticket: Ticket,
        outcome: Outcome,
        path: Vec<Hop>,
        out: &mut Outbox<Self>,
    ) {
        let Some(lookup) = self.lookups.get_mut(&ticket) else { return };
        let current = lookup.expected.take();
        let late = current.is_none_or(|expected| !self.asked.contains_key(&expected));
        // Of one that was given up only what was done is of use.
        if path.first().is_none_or(|hop| hop.peer != self.config.me)
            || (late && matches!(outcome, Outcome::Declined(_)))
        {
            return self.totals.ignored += 1;
        }
        lookup.path = path;
        lookup.unresolved -= u32::from(!late && lookup.unresolved > 0);
        if let Some(expected) = current {
            self.asked.remove(&expected);
            out.disarm(Timer::Patience(expected));
        }
        self.conclude(ticket, outcome, out);
    }

    /// What came of an operation: its end, another node to ask, or another try.
    pub(crate) fn conclude(&mut self, ticket: Ticket, outcome: Outcome, out: &mut Outbox<Self>) {
        let Some(lookup) = self.lookups.get_mut(&ticket) else { return };
        match outcome {
            Outcome::Declined(Decline::NotMine(peer)) => {
                let by = lookup.path.last().map_or(lookup.place, |hop| hop.peer.id);
                // The one before must be nearer to the place, and still at or after it.
                let left = |id: Id| self.circle.distance(lookup.place, id);
                let nearer = left(peer.id) < left(by);
                lookup.reason = Refusal::Lost;
                if nearer
                    && peer != self.config.me
                    && !lookup.avoid.contains(&peer.id)
                    && lookup.path.len() < HOPS_LIMIT
                {
                    return self.arrive(ticket, &peer, Reason::Redirected, out);
                }
                self.pause(ticket, out);
            }
            Outcome::Declined(Decline::Unready) => {
                lookup.reason = Refusal::Unready;
                self.pause(ticket, out);
            }
            Outcome::Declined(Decline::Busy) => self.refuse(ticket, Refusal::Busy, out),
            Outcome::Declined(Decline::Full) => self.refuse(ticket, Refusal::Full, out),
            Outcome::Located
            | Outcome::Found(_)
            | Outcome::Missing
            | Outcome::Saved
            | Outcome::Exists
            | Outcome::Removed => self.finish(ticket, outcome, out),
        }
    }

    fn finish(&mut self, ticket: Ticket, outcome: Outcome, out: &mut Outbox<Self>) {
        let Some((caller, lookup)) = self.end(ticket, out) else { return };
        let by = lookup.path.last().map_or(&self.config.me, |hop| &hop.peer).clone();
        self.totals.performed += 1;
        self.totals.hops += lookup.path.len() as u64 - 1;
        self.totals.took += self.now.saturating_sub(lookup.began);
        let performed = Performed { outcome, by, path: lookup.path };
        out.notify(Notice::Performed(caller, Ok(performed)));
    }

    fn refuse(&mut self, ticket: Ticket, refusal: Refusal, out: &mut Outbox<Self>) {
        let Some((caller, lookup)) = self.end(ticket, out) else { return };
        self.totals.refused += 1;
        let refusal = if lookup.unresolved == 0 { refusal } else { Refusal::Unknown };
        out.notify(Notice::Performed(caller, Err(refusal)));
    }

    /// Forgets a local caller's lookup.
    fn end(&mut self, ticket: Ticket, out: &mut Outbox<Self>) -> Option<(Ticket, Lookup)> {
        let lookup = self.lookups.remove(&ticket)?;
        let Goal::Perform(caller, _) = lookup.goal else { return None };
        self.callers.remove(&caller);
        out.disarm(Timer::Budget(caller));
        out.disarm(Timer::Again(ticket));
        Some((caller, lookup))
    }

    /// The time of a local caller is over.
    pub(crate) fn expire(&mut self, caller: Ticket, out: &mut Outbox<Self>) {
        let Some(ticket) = self.callers.get(&caller).copied() else { return };
        let (own, member) = (self.waits_here(ticket), self.is_member());
        let Some(lookup) = self.lookups.get_mut(&ticket) else { return };
        lookup.unresolved += u32::from(own);
        let refusal = if member { lookup.reason } else { Refusal::Unready };
        self.refuse(ticket, refusal, out);
    }

    /// A local caller went away.
    pub(crate) fn forget(&mut self, caller: Ticket, out: &mut Outbox<Self>) {
        if let Some(ticket) = self.callers.get(&caller).copied() {
            self.end(ticket, out);
        }
    }

    /// A recursive lookup comes by.
    pub(crate) fn on_route(&mut self, route: Route, out: &mut Outbox<Self>) {
        let place = route.operation.id;
        let next = match route.path.len() {
            ..HOPS_LIMIT if !route.last => self.next_hop(place, &[]),
            _ => None,
        };
        match next {
            Some((peer, reason)) if peer != self.config.me => {
                let mut path = route.path;
                path.push(Hop { peer: peer.clone(), reason, took: None, answered: true });
                let last = reason == Reason::Responsible;
                self.say(&peer, Body::Route(Route { path, last, ..route }), out);
            }
            Some(_) | None => {
                let write = WriteId { origin: route.origin.id, ticket: route.ticket };
                let caller = Caller::Route(route.origin, route.ticket, route.path);
                self.serve(caller, write, route.operation, out);
            }
        }
    }
}

impl Operation {
    /// Whether it changes anything.
    pub(crate) fn is_write(&self) -> bool {
        match self.action {
            Action::Locate | Action::Find => false,
            Action::Save(_) | Action::Remove => true,
        }
    }
}

impl Goal {
    /// Whether it ends with an operation at the responsible node, not with its name.
    pub(crate) fn is_performed(&self) -> bool {
        matches!(self, Self::Perform(..))
    }
}

impl Lookup {
    /// What it is for.
    pub(crate) fn goal(&self) -> &Goal {
        &self.goal
    }

    /// What a node on the way is asked.
    fn step(&self) -> Question {
        let trace = match &self.goal {
            Goal::Perform(_, operation) => operation.trace,
            Goal::Join | Goal::Strengthen | Goal::Finger(_) | Goal::Stray => Trace::default(),
        };
        Question::Step(self.place, self.avoid.clone(), trace)
    }
}
